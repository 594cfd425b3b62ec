// A log that is deleted and made again while a producer and a consumer are away: they are told LOG_CHANGED,
// and nothing of theirs gets into the other history, nor that history to them. And a deleted log that
// is brought back, or that nobody wants back.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ChildProcess } from 'node:child_process';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, exitOf, run, serve, spawnSidelog, until } from '../support/sidecar.ts';
import { connect, ErrorCode } from '../../src/wire/client/client.ts';
import type { Client, SidelogError } from '../../src/wire/client/client.ts';

const test = suite('faults/recreated');
test.after(endAll);

interface Command {
  readonly child: ChildProcess;
  readonly output: { stdout: string; stderr: string };
}

function start(args: string[]): Command {
  const child = spawnSidelog(args);
  const output = { stdout: '', stderr: '' };
  child.stdout?.on('data', (chunk: Buffer) => (output.stdout += String(chunk)));
  child.stderr?.on('data', (chunk: Buffer) => (output.stderr += String(chunk)));
  return { child, output };
}

const values = async (client: Client, log: string): Promise<string[]> => (await client.fetch(log)).records.map(({ value }) => String(value));

async function codeOf(work: Promise<unknown>): Promise<number> {
  return work.then(() => 0, (error: SidelogError) => error.code);
}

test('a producer and a consumer that slept through it are told LOG_CHANGED, never another history', async () => {
  const server = await serve();
  const admin = await connect({ address: server.address });
  await admin.logs.create('t');
  const at = ['--to', server.address];
  const named = start(['produce', 't', '--producer', 'p', '--batch', '1', ...at]);
  const plain = start(['produce', 't', '--batch', '1', ...at]);
  const reader = start(['consume', 't', '--follow', '--from', server.address]);
  named.child.stdin!.write('old named\n');
  await until(async () => (await admin.logs.describe('t')).committedEnd === 1);
  plain.child.stdin!.write('old plain\n');
  await until(() => reader.output.stdout === 'old named\nold plain\n');
  const commands = [named, plain, reader];
  for (const { child } of commands) child.kill('SIGSTOP');
  for (const producer of [named, plain]) producer.child.stdin!.write('late\n');
  await admin.logs.delete('t');
  const { logUid } = await admin.logs.create('t');
  for (let i = 0; i < 5; i++) await admin.produce('t', { value: Buffer.from(`new ${i}`) });
  for (const { child } of commands) child.kill('SIGCONT');
  for (const producer of [named, plain]) producer.child.stdin!.end();
  for (const { child, output } of commands) {
    assert.is(await exitOf(child), 1, output.stderr);
    // A subscription that was there when its log went ends with that.
    assert.match(output.stderr, output === reader.output ? /LOG_CHANGED|LOG_NOT_FOUND/ : /LOG_CHANGED/);
  }
  assert.is(reader.output.stdout, 'old named\nold plain\n');
  assert.equal(await values(admin, 't'), [0, 1, 2, 3, 4].map((i) => `new ${i}`));
  assert.is((await admin.logs.describe('t')).logUid, logUid);
  await admin.close();
  assert.is(await server.end(), 0);
});

test('the same when the server was restarted meanwhile', async () => {
  const server = await serve();
  const away = await connect({ address: server.address, backoff: { minMs: 5, maxMs: 20 } });
  await away.logs.create('t');
  const producer = away.producer('t', { name: 'p' });
  await producer.send({ value: Buffer.from('old') });
  const records = away.subscribe('t')[Symbol.asyncIterator]();
  assert.is(String((await records.next()).value!.value), 'old');
  await away.positions.put('t', 'app', 1);
  const next = records.next();
  next.catch(() => undefined);
  const admin = await connect({ address: server.address });
  await admin.logs.delete('t');
  await admin.logs.create('t');
  await admin.produce('t', [{ value: Buffer.from('new 0') }, { value: Buffer.from('new 1') }]);
  await admin.close();
  await server.end('SIGKILL');
  const again = await serve({ dataDir: server.dataDir, listen: server.address });
  const late = [producer.send({ value: Buffer.from('late') }), away.fetch('t', { from: { offset: 1 } }), away.positions.get('t', 'app')];
  for (const code of await Promise.all(late.map(codeOf))) assert.is(code, ErrorCode.LOG_CHANGED);
  const ended = await codeOf(next);
  assert.ok(ended === ErrorCode.LOG_CHANGED || ended === ErrorCode.LOG_NOT_FOUND, `${ended}`);
  await producer.close().catch(() => undefined);
  const other = await connect({ address: again.address });
  assert.equal(await values(other, 't'), ['new 0', 'new 1']);
  await Promise.all([away.close(), other.close()]);
  assert.is(await again.end(), 0);
});

test('undelete brings records, positions, producers and fence back under a new uid', async () => {
  const server = await serve();
  const sidelog = (...args: string[]) => run([...args, '--to', server.address]);
  const client = await connect({ address: server.address });
  const { logUid } = await client.logs.create('t', { segmentBytes: 1 << 20 });
  const lines = Array.from({ length: 3000 }, (_, i) => `${i} ${'x'.repeat(1000)}`);
  assert.is((await run(['produce', 't', '--producer', 'importer', '--to', server.address], { input: lines.join('\n') })).code, 0);
  await client.positions.put('t', 'app', 77);
  await client.fence('t', 9);
  const deleted = await sidelog('log', 'delete', 't');
  assert.match(deleted.stdout, logUid);
  assert.match((await sidelog('log', 'list', '--deleted')).stdout, logUid);
  const back = await sidelog('log', 'undelete', logUid);
  assert.is(back.code, 0, back.stderr);
  const found = await client.logs.describe('t');
  assert.is.not(found.logUid, logUid);
  assert.equal([found.committedEnd, found.fence], [lines.length, 9]);
  const consumed = await run(['consume', 't', '--from', server.address]);
  assert.ok(consumed.stdout === `${lines.join('\n')}\n`, 'every line, byte for byte');
  const other = await connect({ address: server.address });
  assert.is(await other.positions.get('t', 'app'), 77);
  const resumed = other.producer('t', { name: 'importer', fence: 9 });
  assert.is((await resumed.send({ value: Buffer.from('next') })).offset, lines.length);
  assert.is((await resumed.ready())!.epoch, 1, 'it is known');
  await resumed.close();
  assert.is((await sidelog('log', 'undelete', logUid)).code, 1, 'only once');
  await Promise.all([client.close(), other.close()]);
  assert.is(await server.end('SIGKILL'), null);
  const again = await run(['verify', '--data-dir', server.dataDir]);
  assert.is(again.code, 0, again.stdout);
});

test('what nobody wants back is removed when its time is over, and not before', async () => {
  const server = await serve({ args: ['--trash-after', '1s'] });
  const client = await connect({ address: server.address });
  for (const log of ['a', 'b']) {
    await client.logs.create(log);
    await client.produce(log, { value: Buffer.alloc(100_000) });
    await client.logs.delete(log);
  }
  const trash = join(server.dataDir, 'trash');
  const [first] = await client.logs.list({ trash: true });
  await client.logs.restore('again', first!.logUid);
  assert.is(readdirSync(trash).length, 1, 'it is kept for a while');
  await until(async () => (await client.logs.list({ trash: true })).length === 0, 5000);
  await until(() => readdirSync(trash).length === 0);
  assert.is(await codeOf(client.logs.restore('late', first!.logUid)), ErrorCode.LOG_NOT_FOUND);
  assert.is((await client.fetch('again')).records.length, 1);
  await client.close();
  assert.is(await server.end(), 0);
  assert.ok(existsSync(trash));
  assert.is((await run(['verify', '--data-dir', server.dataDir])).code, 0);
});

test.run();
