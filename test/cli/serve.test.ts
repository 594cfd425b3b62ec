// `sidelog serve` as an operator meets it: the ready line, where settings come from, what stops it from
// starting, and how it ends.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, connect as connectSocket } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect } from '../../src/wire/client/client.ts';
import { BUILT, cleanEnvironment, endAll, exitOf, hasProgram, run, serve, skipUnless, spawnSidelog, temporaryFolder, until } from '../support/sidecar.ts';
import { makeCertificate } from '../support/certificate.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { Op } from '../../src/wire/ops.ts';
import { frame, hello, PREFACE } from '../session/support.ts';

const test = suite('cli/serve');

test.after(endAll);

const openLoopback = ['--listen', '127.0.0.1:0'];

test('prints exactly one JSON line when ready, and ends with 0 at SIGTERM', async () => {
  const server = await serve();
  const { event, address, node, indexBackend, threadPool, firstStart, tls } = server.ready;
  assert.is(event, 'ready');
  assert.match(String(address), /^127\.0\.0\.1:\d+$/);
  assert.type(node, 'string');
  assert.ok(['mmap', 'mirror'].includes(String(indexBackend)));
  assert.is(threadPool, 16);
  assert.is(firstStart, true);
  assert.is(tls, false);
  assert.is(await server.end('SIGTERM'), 0);
  assert.is(server.output.stdout.trim().split('\n').length, 1);
  for (const line of server.output.stderr.trim().split('\n')) assert.type(JSON.parse(line), 'object');
  assert.equal(readdirSync(server.dataDir).filter((name) => name.startsWith('lock')), [], 'the lock is gone');
});

test('SIGINT ends it like SIGTERM', async () => {
  const server = await serve();
  assert.is(await server.end('SIGINT'), 0);
});

test('the data directory is closed to others', async () => {
  const server = await serve();
  assert.is(statSync(server.dataDir).mode & 0o777, 0o700);
  assert.is(statSync(join(server.dataDir, 'node.json')).mode & 0o777, 0o600);
  await server.end();
});

test('the thread pool has the size that the environment says, if it says one', async () => {
  const server = await serve({ env: { UV_THREADPOOL_SIZE: '6' } });
  assert.is(server.ready['threadPool'], 6);
  await server.end();
});

test('flags go before variables, variables before the file, the file before defaults', async () => {
  const config = join(temporaryFolder(), 'sidelog.json');
  writeFileSync(config, JSON.stringify({ nodeName: 'from-file', logLevel: 'error', idle: '7s', listen: '127.0.0.1:1', httpHost: ['a.example', 'b.example'] }));
  const env = { SIDELOG_CONFIG: config, SIDELOG_IDLE: '8s', SIDELOG_LISTEN: '127.0.0.1:2', SIDELOG_NODE_NAME: '' };
  const server = await serve({ env });
  assert.is(server.ready['node'], 'from-file');
  const client = await connect({ address: server.address });
  assert.is(client.server!.node, 'from-file');
  await client.close();
  const answered = await fetch(`http://${server.address}/metrics`);
  assert.is(answered.status, 200);
  assert.is(await server.end(), 0);
  // Nothing below `error` was logged.
  assert.is(server.output.stderr, '');
});

test('a second server on a data directory exits 1 and names the first', async () => {
  const server = await serve({ args: ['--node-name', 'first'] });
  const { code, stderr, stdout } = await run(['serve', '--data-dir', server.dataDir, ...openLoopback]);
  assert.is(code, 1);
  assert.is(stdout, '');
  assert.ok(stderr.startsWith(`sidelog: data directory ${server.dataDir} is in use by process ${server.pid} `), stderr);
  assert.match(stderr, `("first", ${server.address}); stop it, or use another directory\n`);
  await server.end();
});

test('after kill -9 the next start needs no help', async () => {
  const first = await serve();
  assert.is((await run(['produce', 'default', '--to', first.address], { input: 'kept\n' })).code, 0);
  assert.is(await first.end('SIGKILL'), null);
  const second = await serve({ dataDir: first.dataDir });
  assert.is(second.ready['firstStart'], false);
  assert.is((await run(['consume', 'default', '--from', second.address])).stdout, 'kept\n');
  await second.end();
});

test('a port that is taken, a certificate that is wrong and a folder that cannot be made are said by their flag', async () => {
  const blocker = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => blocker.once('listening', done));
  const taken = `127.0.0.1:${(blocker.address() as AddressInfo).port}`;
  const folder = temporaryFolder();
  const file = join(folder, 'a-file');
  writeFileSync(file, 'not a certificate');
  const data = join(folder, 'data');
  const cases: [string[], number, string][] = [
    [['--data-dir', join(folder, 'data-1'), '--listen', taken], 1, `--listen ${taken}: something else listens there; stop it or take another port`],
    [['--data-dir', join(file, 'data')], 1, `--data-dir ${join(file, 'data')}: cannot be made: ENOTDIR`],
    [['--data-dir', data, '--tls-cert', file], 2, '--tls-cert and --tls-key go together: give both or neither'],
    [['--data-dir', data, '--tls-cert', '/nope', '--tls-key', file], 2, '--tls-cert /nope: cannot be read: ENOENT'],
    [['--data-dir', data, '--tls-cert', file, '--tls-key', file], 2, `--tls-cert ${file}: is not a certificate in PEM`],
    [['--data-dir', data, '--listen', '0.0.0.0:0'], 2, '--listen 0.0.0.0:0 is reachable from other hosts: give --tls-cert and --tls-key, or --allow-plaintext'],
    [['--data-dir', data, '--listen', '0.0.0.0:0', '--allow-plaintext'], 2, '--listen 0.0.0.0:0 is reachable from other hosts and this version cannot tell clients apart: give --allow-anonymous'],
    [['--data-dir', join(folder, 'new'), '--listen', '0.0.0.0:0', '--allow-plaintext', '--allow-anonymous'], 1, 'the data directory is new and --listen is not loopback: give --bootstrap-expect 1'],
    [['--data-dir', join(folder, 'data-2'), ...openLoopback, '--unix-socket', file], 1, `--unix-socket ${file}: there is something at this path that is not a socket; it is left alone`],
    [['--data-dir', file, ...openLoopback], 1, `--data-dir ${file}: there is a file at this path`],
    [['--data-dir', '/proc/nothing/here', ...openLoopback], 1, '--data-dir /proc/nothing/here: cannot be made: E'],
    [['--data-dir', data, '--memory-limit', '-1'], 2, "Option '--memory-limit' argument is ambiguous: a value that begins with a dash is given as --memory-limit=VALUE; see: sidelog serve --help\n"],
    [['--data-dir', join(folder, 'data-3'), ...openLoopback, '--unix-socket', join(folder, 'x'.repeat(100))], 1, `--unix-socket ${join(folder, 'x'.repeat(100))}: the path has`],
  ];
  const results = await Promise.all(cases.map(([args]) => run(['serve', ...args])));
  blocker.close();
  for (const [i, [args, code, message]] of cases.entries()) {
    assert.is(results[i]!.code, code, `${args.join(' ')}: ${results[i]!.stderr}`);
    assert.ok(results[i]!.stderr.startsWith(`sidelog: ${message}`), `${args.join(' ')}: ${results[i]!.stderr}`);
  }
});

test('a certificate that is not in PEM is said by its flag, before anything is begun', async () => {
  const certificate = makeCertificate();
  if (!skipUnless(certificate !== null, 'a certificate in another format: there is no openssl')) return;
  const der = join(temporaryFolder(), 'cert.der');
  execFileSync('openssl', ['x509', '-in', certificate!.cert, '-outform', 'der', '-out', der]);
  const dataDir = join(temporaryFolder(), 'data');
  const { code, stderr } = await run(['serve', '--data-dir', dataDir, ...openLoopback, '--tls-cert', der, '--tls-key', certificate!.key]);
  assert.is(code, 2);
  assert.ok(stderr.startsWith(`sidelog: --tls-cert ${der}: is not a certificate in PEM`), stderr);
  assert.not(existsSync(dataDir));
});

test('logs without their node.json, or with one of another version, are left alone', async () => {
  const dataDir = join(temporaryFolder(), 'data');
  mkdirSync(join(dataDir, 'logs'), { recursive: true });
  const missing = await run(['serve', '--data-dir', dataDir, ...openLoopback]);
  assert.is(missing.code, 1);
  assert.match(missing.stderr, /^sidelog: the data directory has logs but no node\.json/);
  writeFileSync(join(dataDir, 'node.json'), '{"format":99}');
  const newer = await run(['serve', '--data-dir', dataDir, ...openLoopback]);
  assert.is(newer.code, 1);
  assert.match(newer.stderr, /^sidelog: node\.json has format 99; this version reads 1: use a newer sidelog/);
  writeFileSync(join(dataDir, 'node.json'), 'garbage');
  const damaged = await run(['serve', '--data-dir', dataDir, ...openLoopback]);
  assert.is(damaged.code, 1);
  assert.match(damaged.stderr, /^sidelog: node\.json is damaged: put it back from a backup/);
});

test('a data directory that cannot be written to is said, not reported as a bug', async () => {
  if (!skipUnless(process.getuid?.() !== 0, 'root writes everywhere')) return;
  const dataDir = join(temporaryFolder(), 'data');
  mkdirSync(dataDir);
  chmodSync(dataDir, 0o500);
  const { code, stderr } = await run(['serve', '--data-dir', dataDir, ...openLoopback]);
  assert.is(code, 1);
  assert.match(stderr, /^sidelog: cannot start: /);
});

test('the Unix socket is its owner\'s alone, and a stale one is replaced', async () => {
  const folder = temporaryFolder();
  const path = join(folder, 'run', 'sidelog.sock');
  const first = await serve({ args: ['--unix-socket', path] });
  assert.is(statSync(path).mode & 0o777, 0o600);
  assert.is(statSync(join(folder, 'run')).mode & 0o777, 0o700);
  const other = await run(['serve', '--data-dir', join(folder, 'other'), ...openLoopback, '--unix-socket', path]);
  assert.is(other.code, 1);
  assert.is(other.stderr, `sidelog: --unix-socket ${path}: another process listens there\n`);
  await first.end('SIGKILL');
  assert.ok(existsSync(path), 'kill -9 leaves the socket behind');
  const second = await serve({ dataDir: first.dataDir, args: ['--unix-socket', path] });
  assert.is((await run(['produce', 'default', '--to', path], { input: 'a\n' })).code, 0);
  assert.is(await second.end(), 0);
  assert.not.ok(existsSync(path), 'a clean end removes it');
});

test('listens on IPv6', async () => {
  const probe = createServer().listen(0, '::1');
  const has = await new Promise<boolean>((done) => {
    probe.once('listening', () => done(true));
    probe.once('error', () => done(false));
  });
  probe.close();
  if (!skipUnless(has, 'there is no IPv6 loopback')) return;
  const server = await serve({ listen: '[::1]:0' });
  assert.match(server.address, /^\[::1\]:\d+$/);
  assert.is((await run(['produce', 'default', '--to', server.address], { input: 'six\n' })).code, 0);
  assert.is((await fetch(`http://${server.address}/metrics`)).status, 200);
  await server.end();
});

test('a closed stdout or stderr is nothing to die of', async () => {
  const dataDir = join(temporaryFolder(), 'data');
  const child = spawnSidelog(['serve', '--data-dir', dataDir, ...openLoopback, '--log-level', 'debug']);
  child.stdout!.destroy();
  child.stderr!.destroy();
  const path = join(dataDir, 'node.json');
  await until(() => existsSync(path) && (JSON.parse(readFileSync(path, 'utf8')) as { fresh: boolean }).fresh === false);
  const again = await until(async () => {
    const { code, stderr } = await run(['serve', '--data-dir', dataDir, ...openLoopback]);
    return code === 1 && stderr.includes('127.0.0.1:') ? stderr : null;
  });
  const address = /127\.0\.0\.1:\d+/.exec(again)![0];
  assert.is((await run(['produce', 'default', '--to', address], { input: 'a\n' })).code, 0);
  child.kill('SIGTERM');
  assert.is(await exitOf(child), 0);
});

test('a terminal is told what to try next, and stdout stays one line', async () => {
  if (!skipUnless(existsSync('/usr/bin/script'), 'there is no script(1)')) return;
  const dataDir = join(temporaryFolder(), 'data');
  const out = join(temporaryFolder(), 'stdout');
  const command = `exec ${process.execPath} ${BUILT} serve --data-dir ${dataDir} --listen 127.0.0.1:0 > ${out}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: cleanEnvironment(), stdio: ['pipe', 'pipe', 'pipe'] });
  let terminal = '';
  child.stdout.on('data', (chunk: Buffer) => (terminal += chunk.toString()));
  await until(() => terminal.includes('Ctrl-C stops it'));
  assert.match(terminal, 'produce default --to 127.0.0.1:');
  child.stdin.write('\x03');
  assert.is(await exitOf(child), 0);
  assert.is(readFileSync(out, 'utf8').trim().split('\n').length, 1);
});

test('SIGTERM answers what was read, tells those who wait, and ends before the grace is over', async () => {
  const server = await serve({ args: ['--shutdown-grace', '5s'] });
  const client = await connect({ address: server.address });
  const subscription = client.subscribe('default', { from: 'next' });
  const waiting = client.fetch('default', { from: 'next', maxWaitMs: 60_000 });
  const states: string[] = [];
  const iterating = subscription[Symbol.asyncIterator]().next().catch(() => ({ done: true }));
  await client.ping();
  const produced = Promise.all(Array.from({ length: 50 }, (_, i) => client.produce('default', { value: Buffer.from(`r${i}`) })));
  await client.ping();
  const started = performance.now();
  const ended = server.end('SIGTERM');
  await Promise.allSettled([produced, waiting]).then((results) => results.forEach(({ status }) => states.push(status)));
  assert.is(states[0], 'fulfilled', 'what was read before the signal is acked');
  assert.is(await ended, 0);
  assert.ok(performance.now() - started < 5000, 'it did not wait for the grace to end');
  await client.close();
  await iterating;
  const again = await serve({ dataDir: server.dataDir });
  assert.is((await run(['consume', 'default', '--from', again.address])).stdout.trim().split('\n').length, 50);
  await again.end();
});

/** A client that asks for more than it reads: its answers hold up a drain until the grace is over. */
async function stuckClient(port: number): Promise<Socket> {
  const socket = connectSocket({ port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => undefined);
  socket.write(Buffer.concat([PREFACE, hello()]));
  await new Promise((done) => socket.once('data', done));
  socket.pause();
  const requests = Buffer.concat(Array.from({ length: 20_000 }, (_, i) => frame(Op.DESCRIBE_CLUSTER, i + 2)));
  for (let i = 0; i < 50; i++) socket.write(requests);
  return socket;
}

test('while it drains, probes hear 503 and new connections SHUTTING_DOWN', async () => {
  const server = await serve({ args: ['--shutdown-grace', '60s'] });
  const stuck = await stuckClient(server.port);
  await until(async () => /^sidelog_requests_total\{op="DESCRIBE_CLUSTER"\}/m.test(await (await fetch(`http://${server.address}/metrics`)).text()));
  const ended = server.end('SIGTERM');
  await until(async () => (await fetch(`http://${server.address}/readyz`)).status === 503);
  assert.is((await fetch(`http://${server.address}/livez`)).status, 200);
  const refused = connectSocket({ port: server.port, host: '127.0.0.1' });
  refused.write(PREFACE);
  const answer = await new Promise<Buffer>((done) => refused.once('data', done));
  assert.is(answer.toString('hex').slice(0, 12), 'fa534c474300', 'major 0: refused');
  assert.is(answer.readUInt16BE(6), ErrorCode.SHUTTING_DOWN);
  stuck.destroy();
  refused.destroy();
  assert.is(await ended, 0);
});

test('a second SIGTERM ends it at once', async () => {
  const server = await serve({ args: ['--shutdown-grace', '60s'] });
  const stuck = await stuckClient(server.port);
  await until(async () => /^sidelog_requests_total\{op="DESCRIBE_CLUSTER"\}/m.test(await (await fetch(`http://${server.address}/metrics`)).text()));
  server.child.kill('SIGTERM');
  await until(() => server.output.stderr.includes('"stopping"'));
  assert.is(await server.end('SIGTERM'), null);
  assert.is(server.child.signalCode, 'SIGTERM');
  stuck.destroy();
});

test('a disk that hangs does not keep it from ending, by one signal or two', async () => {
  if (!skipUnless(hasProgram('mkfifo'), 'a disk that hangs: there is no mkfifo')) return;
  const first = await serve();
  const client = await connect({ address: first.address });
  const { logUid } = await client.logs.create('hangs');
  await client.close();
  await first.end();
  const current = join(first.dataDir, 'logs', logUid, 'CURRENT');
  rmSync(current);
  // Who opens it waits for a writer: as on a network file system that is gone.
  execFileSync('mkfifo', [current]);
  for (const twice of [false, true]) {
    const server = await serve({ dataDir: first.dataDir, args: ['--shutdown-grace', twice ? '60s' : '400ms'] });
    const asker = await connect({ address: server.address });
    const asked = asker.fetch('hangs').catch(() => null);
    await asker.produce('default', { value: Buffer.from('another log goes on') });
    const started = performance.now();
    server.child.kill('SIGTERM');
    if (twice) {
      await until(() => server.output.stderr.includes('"stopping"'));
      server.child.kill('SIGTERM');
    }
    assert.is(await exitOf(server.child), null);
    assert.is(server.child.signalCode, twice ? 'SIGTERM' : 'SIGKILL');
    assert.ok(performance.now() - started < 3000);
    if (!twice) assert.match(server.output.stderr, /"not stopped in time".*what was acked is safe/);
    await asker.close();
    await asked;
  }
  rmSync(current);
  const again = await serve({ dataDir: first.dataDir });
  assert.is((await run(['consume', 'default', '--from', again.address])).stdout.trim().split('\n').length, 2);
  await again.end();
});

test('npm start ends its server with itself', async () => {
  if (!skipUnless(hasProgram('npm'), 'npm start: there is no npm')) return;
  const child = spawn('npm', ['start', '--silent', '--ignore-scripts', '--', '--data-dir', join(temporaryFolder(), 'data'), '--listen', '127.0.0.1:0'], {
    env: cleanEnvironment(), stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const { address } = JSON.parse(String(line)) as { address: string };
  assert.is((await fetch(`http://${address}/livez`)).status, 200);
  child.kill('SIGTERM');
  await exitOf(child);
  await until(() => fetch(`http://${address}/livez`).then(() => false, () => true), 3000);
});

test('the grace ends what a client does not take', async () => {
  const server = await serve({ args: ['--shutdown-grace', '200ms'] });
  const stuck = await stuckClient(server.port);
  assert.is(await server.end('SIGTERM'), 0);
  stuck.destroy();
});

test.run();
