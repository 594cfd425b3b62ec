// Runs sidelog and the bare loop in turn, in one run, as separate processes with the same client
// process, and prints both and the ratio. Never a pass or fail: machines differ, the ratio is
// what travels.
//
//   npm run bench -- [--quick] [--json] [--transport plain|tls] [--case P1,P2] [--node PATH]
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { readOptions } from '../test/support/run-options.mjs';

const USAGE = 'usage: npm run bench -- [--quick] [--json] [--transport plain|tls] [--case P1,P2,…] [--node PATH] [--dir DIR]';
const values = readOptions({
  name: 'bench',
  usage: USAGE,
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    transport: { type: 'string', default: 'plain' },
    case: { type: 'string' },
    node: { type: 'string', default: process.execPath },
    dir: { type: 'string', default: tmpdir() },
  },
  isValid: ({ transport }) => ['plain', 'tls'].includes(transport),
});

const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname;
const product = join(here, '..', 'dist', 'sidelog.cjs');
const home = mkdtempSync(join(values.dir, 'sidelog-bench-'));
const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(home, { recursive: true, force: true });
});
process.on('SIGINT', () => process.exit(130));

const rounds = values.quick ? 1 : 5;
const runMs = values.quick ? 1000 : 2000;
const scale = values.quick ? 0.1 : 1;
const tls = values.transport === 'tls' ? makeCertificate() : null;

/** Produce cases: connections × requests in flight on each, records per batch, bytes per value. */
const PRODUCE = {
  P1: { connections: 1, window: 1, count: 1, valueSize: 100 },
  P2: { connections: 1, window: 256, count: 1, valueSize: 100 },
  P3: { connections: 8, window: 1024, count: 1, valueSize: 100 },
  P4: { connections: 1, window: 64, count: 1, valueSize: 16_384 },
  B1: { connections: 1, window: 64, count: 100, valueSize: 100 },
};
/** Consume cases: how the log was written, and how many records are read. */
const CONSUME = {
  C1a: { records: 1_000_000 * scale, count: 1, valueSize: 100, connections: 8, window: 1024 },
  C1b: { records: 1_000_000 * scale, count: 100, valueSize: 100, connections: 1, window: 64 },
  C2: { records: 65_536 * scale, count: 1, valueSize: 16_384, connections: 1, window: 64 },
};

const wanted = values.case?.split(',') ?? [...Object.keys(PRODUCE), ...Object.keys(CONSUME), 'E1', 'M1'];
const report = {
  machine: `${cpus()[0].model.trim()}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
  node: execFileSync(values.node, ['--version'], { encoding: 'utf8' }).trim(),
  cases: [],
};
say(`${report.machine}, Node ${report.node}, ${values.transport}, fsync on`);

for (const name of wanted) {
  if (name in PRODUCE) await produceCase(name, PRODUCE[name]);
  else if (name in CONSUME) await consumeCase(name, CONSUME[name]);
  else if (name === 'E1') await latencyCase();
  else if (name === 'M1') await memoryCase();
  else {
    console.error(`unknown case ${name}; there are ${[...Object.keys(PRODUCE), ...Object.keys(CONSUME)].join(', ')}, E1, M1`);
    process.exit(2);
  }
}
if (values.json) console.log(JSON.stringify(report));

async function produceCase(name, shape) {
  const data = freshDirectory(name);
  const bare = await startBare(['produce', data]);
  const sidelog = await startSidelog(join(data, 'data'));
  const samples = { sidelog: [], bare: [] };
  for (let round = 0; round < rounds; round++) {
    samples.bare.push(await load(bare, shape, { hello: false, warmMs: 300, runMs }));
    samples.sidelog.push(await load(sidelog, shape, { hello: true, warmMs: 300, runMs }));
  }
  await stop(bare, sidelog);
  rmSync(data, { recursive: true });
  record(name, samples, shape.window === 1 && shape.connections === 1 ? 'p50ms' : 'rps');
}

async function consumeCase(name, shape) {
  const data = freshDirectory(name);
  const sidelog = await startSidelog(join(data, 'data'));
  await load(sidelog, shape, { hello: true, warmMs: 0, runMs: 0, total: shape.records / shape.count });
  const bare = await startBare(['send', ...segmentFiles(join(data, 'data'))]);
  const samples = { sidelog: [], bare: [] };
  const target = { records: shape.records, log: 'default' };
  for (let round = 0; round < rounds; round++) {
    samples.bare.push(await client('consume.mjs', { ...target, port: bare.port, hello: false }));
    samples.sidelog.push(await client('consume.mjs', { ...target, port: sidelog.port, hello: true }));
  }
  if (name === 'C1a') report.bytesPerRecord = +(treeSize(join(data, 'data', 'logs')) / shape.records).toFixed(1);
  await stop(bare, sidelog);
  rmSync(data, { recursive: true });
  record(name, samples, 'rps');
  if (name === 'C1a') say(`     bytes on disk per 100-byte record, one per batch: ${report.bytesPerRecord}`);
}

async function latencyCase() {
  const data = freshDirectory('E1');
  const sidelog = await startSidelog(join(data, 'data'));
  const options = { port: sidelog.port, log: 'default', records: values.quick ? 1000 : 5000 };
  await client('latency.mjs', { ...options, records: 500 });
  const endToEnd = [];
  const single = [];
  for (let round = 0; round < rounds; round++) {
    endToEnd.push(await client('latency.mjs', options));
    single.push(await load(sidelog, PRODUCE.P1, { hello: true, warmMs: 200, runMs }));
  }
  await stop(sidelog);
  rmSync(data, { recursive: true });
  const entry = {
    case: 'E1', transport: values.transport,
    sidelog: { p50ms: median(endToEnd, 'p50ms'), p99ms: median(endToEnd, 'p99ms') },
    p1: { p50ms: median(single, 'p50ms'), p99ms: median(single, 'p99ms') },
  };
  report.cases.push(entry);
  say(`E1   end to end at 1,000 records/s: p50 ${entry.sidelog.p50ms} ms, p99 ${entry.sidelog.p99ms} ms; produce alone p99 ${entry.p1.p99ms} ms`);
}

async function memoryCase() {
  const data = join(freshDirectory('M1'), 'data');
  const emptyMs = [];
  let sidelog = null;
  for (let round = 0; round < Math.max(3, rounds); round++) {
    if (sidelog !== null) await stop(sidelog);
    sidelog = await startSidelog(data);
    emptyMs.push({ ms: sidelog.readyMs });
  }
  await load(sidelog, PRODUCE.P1, { hello: true, warmMs: 0, runMs: 200 });
  const idle = residentMiB(sidelog.child.pid, 'VmRSS');
  const shape = { connections: 1, window: 64, count: 1, valueSize: 16_384 };
  const stalled = spawnClient('consume.mjs', { port: sidelog.port, log: 'default', records: 1e9, hello: true, stall: true, ca: tls?.cert ?? null });
  await stalled.firstLine;
  await load(sidelog, shape, { hello: true, warmMs: 0, runMs: 0, total: values.quick ? 6554 : 65_536 });
  const loaded = residentMiB(sidelog.child.pid, 'VmHWM');
  stalled.child.kill('SIGKILL');
  const fullMs = [];
  for (let round = 0; round < Math.max(3, rounds); round++) {
    await stop(sidelog);
    sidelog = await startSidelog(data);
    fullMs.push({ ms: sidelog.readyMs });
  }
  await stop(sidelog);
  rmSync(data, { recursive: true });
  const entry = { case: 'M1', transport: values.transport, idleMiB: idle, loadedMiB: loaded, readyEmptyMs: median(emptyMs, 'ms'), readyFullMs: median(fullMs, 'ms') };
  report.cases.push(entry);
  say(`M1   RSS idle ${idle} MiB, peak ${loaded} MiB while ${values.quick ? '0.1' : '1'} GiB went in with a stalled consumer; ready in ${entry.readyEmptyMs} ms empty, ${entry.readyFullMs} ms with data`);
}

/** Prints and keeps one case: medians, and the median of the ratios taken round by round. */
function record(name, samples, by) {
  const ratios = samples.sidelog.map((sample, i) => ({ ratio: sample[by] / samples.bare[i][by] }));
  const summary = (list) => Object.fromEntries(['rps', 'mbps', 'p50ms', 'p99ms'].filter((key) => key in list[0]).map((key) => [key, median(list, key)]));
  const entry = { case: name, transport: values.transport, sidelog: summary(samples.sidelog), bare: summary(samples.bare), ratio: +median(ratios, 'ratio').toFixed(3) };
  report.cases.push(entry);
  const show = (side) => `${side.rps.toLocaleString('en')}/s ${side.mbps} MB/s${side.p50ms === undefined ? '' : ` p50 ${side.p50ms} p99 ${side.p99ms} ms`}`;
  const spread = ratios.map(({ ratio }) => ratio);
  say(`${name.padEnd(4)} sidelog ${show(entry.sidelog)} | bare ${show(entry.bare)} | ${by} ratio ${entry.ratio} (${Math.min(...spread).toFixed(2)} to ${Math.max(...spread).toFixed(2)})`);
}

function load(server, shape, more) {
  return client('load.mjs', { ...shape, ...more, port: server.port, log: 'default' });
}

/** Runs one client process to its end; resolves with the object it printed last. */
async function client(script, options) {
  const { child, done } = spawnClient(script, { ca: tls?.cert ?? null, ...options });
  const output = await done;
  if (child.exitCode !== 0) throw new Error(`${script} failed: ${output}`);
  return JSON.parse(output.trim().split('\n').at(-1));
}

function spawnClient(script, options) {
  const child = spawn(values.node, [join(here, script), JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let output = '';
  let resolveLine;
  const firstLine = new Promise((resolve) => (resolveLine = resolve));
  child.stdout.on('data', (chunk) => {
    output += chunk;
    resolveLine();
  });
  const done = new Promise((resolve) => child.on('close', () => resolve(output)));
  return { child, firstLine, done };
}

function startBare(args) {
  return startServer([join(here, 'bare.mjs'), ...args, ...(tls === null ? [] : ['--tls', tls.cert, tls.key])], {});
}

function startSidelog(data) {
  const args = [product, 'serve', '--data-dir', data, '--listen', '127.0.0.1:0', '--log-level', 'warn'];
  if (tls !== null) args.push('--tls-cert', tls.cert, '--tls-key', tls.key);
  return startServer(args, {});
}

/** Starts a server and waits for the line that says where it listens. */
async function startServer(args, environment) {
  const began = performance.now();
  const child = spawn(values.node, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...environment } });
  children.add(child);
  const line = await new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.split('\n')[0]);
    });
    child.on('exit', (code) => reject(new Error(`${args[0]} ended with ${code}`)));
  });
  const readyMs = Math.round(performance.now() - began);
  const ready = JSON.parse(line);
  return { child, readyMs, port: ready.port ?? Number(ready.address.split(':').at(-1)) };
}

async function stop(...servers) {
  await Promise.all(
    servers.map(({ child }) => {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      return ended;
    }),
  );
  for (const { child } of servers) children.delete(child);
}

function segmentFiles(data) {
  return readdirSync(data, { recursive: true }).filter((name) => name.endsWith('.seg')).sort().map((name) => join(data, name));
}

function treeSize(folder) {
  return readdirSync(folder, { recursive: true }).reduce((sum, name) => {
    const stats = statSync(join(folder, name));
    return stats.isFile() ? sum + stats.blocks * 512 : sum;
  }, 0);
}

function residentMiB(pid, key) {
  try {
    const match = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Math.round(Number(match[1]) / 1024);
  } catch {
    return null;
  }
}

function freshDirectory(name) {
  const path = join(home, name);
  mkdirSync(path, { recursive: true });
  return path;
}

function makeCertificate() {
  const cert = join(home, 'cert.pem');
  const key = join(home, 'key.pem');
  try {
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'ignore' });
  } catch {
    console.error('bench: --transport tls needs the openssl command to make a certificate');
    process.exit(2);
  }
  return { cert, key };
}

function median(list, key) {
  const sorted = list.map((item) => item[key]).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function say(line) {
  if (values.json) console.error(line);
  else console.log(line);
}
