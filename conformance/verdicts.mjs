// The verdicts that this repository promises, all at the same time, since a run mostly waits: our server
// over plaintext with every hook (the test build, whose kill is a loss of power), the shipped file over
// TLS, and the second implementation. `--selftest` also tries every mutant. Takes a build
// (node build.mjs --all); the reports lie in build/conformance/. Ends with `N passed, N failed`.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const OUT = 'build/conformance';
const ALL = 'core, tls, idempotence, conditional, streaming, durability (L3), http, peer-refusal';
const cleanups = [];
const children = new Set();
let isBrokenOff = false;

/** Our server with its hooks; `flags` of targets/sidelog.ts. */
async function ownServer(...flags) {
  const folder = mkdtempSync(join(tmpdir(), 'sidelog-verdict-'));
  cleanups.push(() => {
    spawnSync(process.execPath, [`${OUT}/target.mjs`, 'end', folder]);
    rmSync(folder, { recursive: true, force: true }); // broken off, it may not be a target yet
  });
  const made = await run('a target', process.execPath, [`${OUT}/target.mjs`, 'init', folder, ...flags]);
  if (made.code !== 0) throw new Error(made.output);
  return join(folder, 'target.json');
}

async function secondServer() {
  const child = spawn('python3', ['conformance/second/server.py', '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  cleanups.push(() => child.kill('SIGKILL'));
  const port = await new Promise((resolve, reject) => {
    child.stdout.once('data', (line) => resolve(JSON.parse(line).port));
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the second server ended with ${code}`)));
  });
  const file = join(OUT, 'second-target.json');
  writeFileSync(file, JSON.stringify({ schema: 'sidelog-target/1', name: 'second implementation (Python)', endpoints: [{ host: '127.0.0.1', port, pid: child.pid }] }));
  return file;
}

function run(name, command, argv) {
  return new Promise((resolve) => {
    // Broken off: nothing new begins.
    if (isBrokenOff) return;
    const child = spawn(command, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => resolve({ name, code: -1, output: error.message }));
    child.on('close', (code) => {
      children.delete(child);
      if (!isBrokenOff) resolve({ name, code, output });
    });
  });
}

/** Ends the runs, which end what they began, and then the servers. */
async function breakOff() {
  if (isBrokenOff) return;
  isBrokenOff = true;
  const ends = [...children].map((child) => new Promise((resolve) => child.once('close', resolve)));
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(ends);
  for (const end of cleanups) end();
  process.exit(1);
}

async function verdict(name, file, wanted, ...argv) {
  const report = (kind) => `${kind}=${OUT}/${file}.${kind === 'junit' ? 'xml' : kind}`;
  const target = await argv.shift()();
  const made = await run(name, process.execPath, ['dist/conformance.mjs', 'run', '--target', target, '--timeout-scale', '2', '--quiet', '--report', ['json', 'junit', 'html'].map(report).join(','), ...argv]);
  const { cases, verdict: got, seconds } = made.code === 2 ? { cases: [], verdict: '', seconds: 0 } : JSON.parse(readFileSync(`${OUT}/${file}.json`, 'utf8'));
  const passed = cases.filter(({ status }) => status === 'pass' || status === 'info').length;
  const bad = cases.filter(({ status }) => ['fail', 'flaky', 'error', 'xpass', 'warn'].includes(status));
  const isRight = made.code === 0 && got.startsWith(`sidelog 1.0: ${wanted}; suite `);
  console.log(`${name}: ${got || 'no verdict'} (${passed} cases, ${seconds.toFixed(0)} s)`);
  if (!isRight) console.log(`  wanted: sidelog 1.0: ${wanted}\n${made.output.replace(/^/gm, '  ')}`);
  return { passed, failed: Math.max(bad.length, isRight ? 0 : 1) };
}

async function mutants() {
  const made = await run('selftest', process.execPath, ['dist/conformance.mjs', 'selftest', '--part', 'nulls,proxy,faults']);
  const gates = made.output.split('\n').filter((line) => /^(not )?ok - /.test(line) && line !== 'not ok - everything was tried');
  const caught = made.output.split('\n').filter((line) => line.startsWith('# caught')).length;
  const failed = gates.filter((line) => line.startsWith('not ok')).length + (gates.length < 5 ? 1 : 0);
  console.log(`selftest: ${caught} trials of mutants caught, ${gates.length - failed} gates hold, ${failed} do not`);
  if (failed > 0) console.log(made.output.split('\n').filter((line) => !line.startsWith('# caught')).join('\n').replace(/^/gm, '  '));
  return { passed: gates.length - failed, failed };
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void breakOff());
process.stdout.on('error', () => void breakOff()); // a closed pipe, as of `| head`
mkdirSync(OUT, { recursive: true });
const began = Date.now();
let counts = [];
try {
  counts = await Promise.all([
    verdict('our server, plaintext, with power loss', 'plaintext', ALL, () => ownServer('--test-build')),
    verdict('our server, the shipped file, TLS', 'tls', ALL.replace('L3', 'L2'), () => ownServer(), '--transport', 'tls'),
    verdict('the second implementation', 'second', 'core, streaming, peer-refusal', secondServer),
    ...(process.argv.includes('--selftest') ? [mutants()] : []),
  ]);
} finally {
  if (isBrokenOff) await new Promise(() => undefined);
  for (const end of cleanups) end();
}
const sum = (key) => counts.reduce((total, count) => total + count[key], 0);
console.log(`${((Date.now() - began) / 1000).toFixed(0)} s\n${sum('passed')} passed, ${sum('failed')} failed`);
process.exit(sum('failed') > 0 ? 1 : 0);
