// Builds every test file with esbuild, runs each in a process of its own, one more at a time than there
// are cores (many of them wait for a server or a disk), and ends with one line `N passed, N failed, N skipped`, counted from what the suites printed.
//
//   node test/run.mjs [WORD...]   only files whose path contains one of the words
//   --all                         type-check and build the product first (what `npm test` does)
//   --built                       run what the last call built (to test another Node version)
import { spawn, spawnSync } from 'node:child_process';
import { globSync } from './support/glob.mjs';
import { existsSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** A file that runs longer than this hangs: it is killed and counts as failed. */
const FILE_TIMEOUT_MS = 240_000;
/** Begun first, so that none of them runs on alone at the end. */
const LONG = ['conformance/', 'sim/', 'faults/', 'cli/', 'hostile/', 'replica/logs'];

const flags = process.argv.slice(2).filter((arg) => arg.startsWith('--'));
const words = process.argv.slice(2).filter((arg) => !arg.startsWith('--'));
const started = Date.now();

if (flags.includes('--all')) {
  step('type-check', [process.execPath, 'node_modules/typescript/bin/tsc', '--noEmit', '-p', '.']);
  step('build', [process.execPath, 'build.mjs', '--all']);
}

const sources = globSync('test', '.test.ts')
  .concat(globSync('conformance', '.test.ts'))
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)))
  .sort();
const outputs = sources.map((path) => `build/${path.replace(/\.ts$/, '.mjs')}`);

if (!flags.includes('--built')) {
  const { build } = await import('esbuild');
  if (words.length === 0) rmSync('build', { recursive: true, force: true });
  await build({
    entryPoints: sources,
    outdir: 'build',
    outbase: '.',
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'esm',
    packages: 'external',
    sourcemap: 'linked',
    outExtension: { '.js': '.mjs' },
    define: { __SIDELOG_VERSION__: '"test"' },
    logLevel: 'warning',
  });
}

const totals = { passed: 0, failed: 0, skipped: 0 };
const isLong = (path) => LONG.some((part) => path.includes(part));
const built = outputs.filter((path) => existsSync(path));
const queue = [...built.filter(isLong), ...built.filter((path) => !isLong(path))];
await Promise.all(Array.from({ length: Math.min(4, availableParallelism() + 1) }, worker));

console.log(`\n${process.version}, ${((Date.now() - started) / 1000).toFixed(1)} s`);
const skipped = totals.skipped > 0 ? `, ${totals.skipped} skipped` : '';
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exit(totals.failed > 0 || totals.passed === 0 ? 1 : 0);

async function worker() {
  for (let path = queue.shift(); path !== undefined; path = queue.shift()) {
    const began = Date.now();
    const { code, output, timedOut } = await run(path);
    count(path, code, output, timedOut, Date.now() - began);
  }
}

/** Runs one built test file; resolves with its exit code and everything it printed. */
function run(path) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['--enable-source-maps', path], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' },
    });
    let output = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, FILE_TIMEOUT_MS);
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output, timedOut });
    });
  });
}

function count(path, code, output, timedOut, ms) {
  const sum = (label) =>
    [...output.matchAll(new RegExp(`^\\s*${label}:\\s+(\\d+)`, 'gm'))].reduce((n, m) => n + Number(m[1]), 0);
  const total = sum('Total');
  const passed = sum('Passed');
  const skips = sum('Skipped');
  let failed = total - passed;
  // A crash, a hang or a file without tests must never count as green.
  if (failed === 0 && (code !== 0 || timedOut || total + skips === 0)) failed = 1;
  totals.passed += passed;
  totals.failed += failed;
  totals.skipped += skips;
  const verdict = failed > 0 ? 'FAIL' : 'ok';
  console.log(`${verdict.padEnd(4)} ${path}  ${passed} passed, ${failed} failed${skips ? `, ${skips} skipped` : ''}  ${ms} ms`);
  for (const line of output.matchAll(/^# skipped:.*$/gm)) console.log(`     ${line[0]}`);
  if (failed > 0) {
    if (timedOut) console.log(`     no end after ${FILE_TIMEOUT_MS / 1000} s: killed`);
    console.log(output.replace(/^/gm, '     '));
  }
}

function step(name, [command, ...args]) {
  const result = spawnSync(command, args, { stdio: 'inherit' });
  if (result.status !== 0) {
    console.log(`\n${name} failed\n0 passed, 1 failed`);
    process.exit(1);
  }
}
