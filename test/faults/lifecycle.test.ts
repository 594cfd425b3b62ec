// Kills, stops and crowds: what happens to the built server from outside never costs an acked record,
// and needs no help afterwards.
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { exitOf, serve, spawnSidelog, temporaryFolder, until } from '../support/sidecar.ts';
import { connect } from '../../src/wire/client/client.ts';
import type { Client } from '../../src/wire/client/client.ts';
import { join } from 'node:path';

const test = suite('faults/lifecycle');
const CROWD = 20;
const STOP_MS = 3000;

function open(address: string): Promise<Client> {
  return connect({ address, backoff: { minMs: 5, maxMs: 50 } });
}

/** Values of all records, in order; offsets must be dense. */
async function readAll(client: Client, log: string): Promise<string[]> {
  const values: string[] = [];
  for (;;) {
    const { records, committedEnd } = await client.fetch(log, { from: { offset: values.length }, maxBytes: 4 << 20, linearizable: true });
    for (const { offset, value } of records) {
      assert.is(offset, values.length);
      values.push(String(value));
    }
    if (values.length >= committedEnd) return values;
  }
}

/** Produces one record per request until told to stop or until it fails; collects what was acked. */
function load(client: Client, name: string, lanes: number): { acked: Map<number, string>; errors: unknown[]; stop(): Promise<void> } {
  const acked = new Map<number, string>();
  const errors: unknown[] = [];
  let going = true;
  const lane = async (k: number): Promise<void> => {
    for (let i = 0; going; i++) {
      const value = `${name} ${k} ${i}`;
      try {
        const { baseOffset } = await client.produce('default', { value: Buffer.from(value) });
        assert.not(acked.has(baseOffset), `offset ${baseOffset} acked twice`);
        acked.set(baseOffset, value);
      } catch (error) {
        errors.push(error);
        return;
      }
    }
  };
  const ended = Promise.all(Array.from({ length: lanes }, (_, k) => lane(k)));
  return {
    acked,
    errors,
    stop: async () => {
      going = false;
      await ended;
    },
  };
}

function assertHolds(values: readonly string[], acked: ReadonlyMap<number, string>): void {
  for (const [offset, value] of acked) assert.is(values[offset], value, `offset ${offset}`);
}

test('of twenty servers started at once on a directory left by kill -9 exactly one runs', async () => {
  const first = await serve();
  const client = await open(first.address);
  await client.produce('default', { value: Buffer.from('kept') });
  await client.close();
  await first.end('SIGKILL');

  const outputs = Array.from({ length: CROWD }, () => ({ stdout: '', stderr: '' }));
  const children = outputs.map((output) => {
    const child = spawnSidelog(['serve', '--data-dir', first.dataDir, '--listen', '127.0.0.1:0']);
    child.stdin?.end();
    child.stdout?.on('data', (chunk: Buffer) => (output.stdout += String(chunk)));
    child.stderr?.on('data', (chunk: Buffer) => (output.stderr += String(chunk)));
    return child;
  });
  const isRunning = (i: number): boolean => children[i]!.exitCode === null && children[i]!.signalCode === null;
  await until(() => children.filter((_, i) => !isRunning(i)).length === CROWD - 1 && outputs.some(({ stdout }) => stdout.includes('\n')), 25_000);
  const winner = children.findIndex((_, i) => isRunning(i));
  const ready = JSON.parse(outputs[winner]!.stdout) as { event: string; address: string };
  assert.is(ready.event, 'ready');
  for (const [i, { stdout, stderr }] of outputs.entries()) {
    if (i === winner) continue;
    assert.is(children[i]!.exitCode, 1, stderr);
    assert.is(stdout, '');
    assert.match(stderr, /is in use by .*; stop it, or use another directory/);
    assert.not.match(stderr, /\n\s+at /);
  }
  const other = await open(ready.address);
  assert.equal(await readAll(other, 'default'), ['kept']);
  await other.close();
  children[winner]!.kill('SIGTERM');
  assert.is(await exitOf(children[winner]!), 0);
  assert.equal(readdirSync(first.dataDir).filter((name) => name.includes('lock') || name.endsWith('.tmp')), []);
});

test('a server that stands still for three seconds under load loses no ack, and its clients go on', async () => {
  const server = await serve();
  const client = await open(server.address);
  const work = load(client, 'stop', 32);
  const followed: number[] = [];
  const reader = await open(server.address);
  const subscription = reader.subscribe('default', { from: 'earliest' });
  const reading = (async () => {
    for await (const { offset } of subscription) followed.push(offset);
  })();
  await until(() => work.acked.size > 500);
  server.child.kill('SIGSTOP');
  // Real time must pass here: that is the fault.
  await new Promise((done) => setTimeout(done, STOP_MS));
  const before = work.acked.size;
  server.child.kill('SIGCONT');
  await until(() => work.acked.size > before + 1000);
  await work.stop();
  assert.equal(work.errors, []);
  const values = await readAll(client, 'default');
  assert.is(values.length, work.acked.size);
  assertHolds(values, work.acked);
  await until(() => followed.length === values.length);
  assert.ok(followed.every((offset, i) => offset === i));
  await subscription.close();
  await reading;
  await Promise.all([client.close(), reader.close()]);
  assert.is(await server.end(), 0);
});

test('SIGTERM under load ends with exit code 0 within the grace, and every ack is durable', async () => {
  const server = await serve();
  const clients = await Promise.all([open(server.address), open(server.address)]);
  const works = clients.map((client, i) => load(client, `term${i}`, 64));
  await until(() => works.every(({ acked }) => acked.size > 500));
  const started = performance.now();
  assert.is(await server.end(), 0, server.output.stderr);
  const tookMs = performance.now() - started;
  assert.ok(tookMs < 4000, `took ${tookMs} ms`);
  await Promise.all(clients.map((client) => client.close()));
  await Promise.all(works.map((work) => work.stop()));
  const again = await serve({ dataDir: server.dataDir });
  const client = await open(again.address);
  const values = await readAll(client, 'default');
  for (const { acked } of works) assertHolds(values, acked);
  assert.is(new Set(values).size, values.length);
  await client.close();
  assert.is(await again.end(), 0);
});

test('a named producer of the command line survives kill -9 of the server, without doubles', async () => {
  let server = await serve();
  const listen = server.address;
  const child = spawnSidelog(['produce', 'default', '--producer', 'p', '--batch', '20', '--to', listen]);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += String(chunk)));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += String(chunk)));
  const lines: string[] = [];
  const ended = exitOf(child);
  const feed = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      lines.push(`line ${lines.length} ${'.'.repeat(lines.length % 90)}`);
      if (!child.stdin!.write(`${lines.at(-1)}\n`)) await once(child.stdin!, 'drain');
    }
  };
  for (let round = 0; round < 4; round++) {
    await feed(20_000);
    await server.end('SIGKILL');
    await feed(3000);
    server = await serve({ dataDir: server.dataDir, listen });
  }
  child.stdin!.end();
  assert.is(await ended, 0, stderr);
  assert.match(stdout, `"records":${lines.length},`);
  const client = await open(server.address);
  assert.equal(await readAll(client, 'default'), lines);
  await client.close();
  assert.is(await server.end(), 0);
});

test('a data directory that is somebody else\'s is refused with one line', async () => {
  const folder = temporaryFolder();
  const server = await serve({ dataDir: join(folder, 'data') });
  const second = spawnSidelog(['serve', '--data-dir', server.dataDir, '--listen', '127.0.0.1:0']);
  let stderr = '';
  second.stderr?.on('data', (chunk: Buffer) => (stderr += String(chunk)));
  assert.is(await exitOf(second), 1);
  await until(() => stderr.endsWith('\n'));
  assert.match(stderr, new RegExp(`^sidelog: data directory .* is in use by process ${server.pid} on .*${server.address}`));
  assert.is(stderr.split('\n').length, 2);
  await server.end();
  assert.not(existsSync(join(server.dataDir, 'lock')));
});

test.run();
