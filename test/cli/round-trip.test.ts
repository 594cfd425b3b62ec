// What goes in through `sidelog produce` comes out of `sidelog consume`, over every way in and in every
// form, and the commands about logs and positions do what they say.
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, exitOf, run, serve, spawnSidelog, temporaryFolder, until } from '../support/sidecar.ts';
import type { RunResult, Server } from '../support/sidecar.ts';

const test = suite('cli/round-trip');

let server: Server;

test.before(async () => {
  server = await serve({ args: ['--unix-socket', join(temporaryFolder(), 'run', 'sidelog.sock')] });
});
test.after(async () => {
  await server.end();
  await endAll();
});

function sidelog(args: string[], input?: string | Buffer): Promise<RunResult> {
  return run(args, { input, env: { SIDELOG_TO: server.address } });
}

async function make(log: string, ...options: string[]): Promise<string> {
  const { stdout, stderr } = await sidelog(['log', 'create', log, ...options]);
  assert.is(stderr, '');
  return (JSON.parse(stdout) as { logUid: string }).logUid;
}

test('each line is a record, byte for byte, whatever the bytes', async () => {
  await make('bytes');
  const every = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 10));
  const input = Buffer.concat([Buffer.from('\n\r\n a \n'), every, Buffer.from('\nlast without newline')]);
  const produced = await sidelog(['produce', 'bytes'], input);
  assert.is(produced.code, 0, produced.stderr);
  const { seconds, ...answer } = JSON.parse(produced.stdout) as { seconds: number };
  assert.equal(answer, { records: 5, firstOffset: 0, lastOffset: 4 });
  assert.type(seconds, 'number');
  const consumed = await sidelog(['consume', 'bytes']);
  assert.is(consumed.code, 0, consumed.stderr);
  assert.ok(consumed.bytes.equals(Buffer.concat([input, Buffer.from('\n')])));
});

test('an empty input is no record and no failure', async () => {
  const { code, stdout, stderr } = await sidelog(['produce', 'default'], '');
  assert.is(code, 0, stderr);
  assert.match(stdout, /^\{"records":0,"firstOffset":null,"lastOffset":null,"seconds":[\d.]+\}\n$/);
});

test('batches of every size keep the order', async () => {
  await make('batched');
  const lines = Array.from({ length: 5000 }, (_, i) => `record ${i} ${'x'.repeat(i % 300)}`);
  for (const [i, batch] of ['1', '7', '65535'].entries()) {
    const { code, stderr, stdout } = await sidelog(['produce', 'batched', '--batch', batch], lines.join('\n'));
    assert.is(code, 0, stderr);
    assert.match(stdout, `"firstOffset":${i * 5000},"lastOffset":${i * 5000 + 4999}`);
  }
  const { stdout } = await sidelog(['consume', 'batched', '--offset', '5000', '--count', '5000']);
  assert.is(stdout, `${lines.join('\n')}\n`);
});

test('gzip is undone on the way out, and a log may refuse it', async () => {
  await make('packed');
  const text = 'the same again and again\n'.repeat(2000);
  assert.is((await sidelog(['produce', 'packed', '--compression', 'gzip'], text)).code, 0);
  assert.is((await sidelog(['consume', 'packed'])).stdout, text);
  const { bytes } = JSON.parse((await sidelog(['log', 'describe', 'packed'])).stdout) as { bytes: number };
  assert.ok(bytes < text.length / 2, `${bytes} bytes are stored`);
  await sidelog(['log', 'alter', 'packed', '--compressions', 'none']);
  const refused = await sidelog(['produce', 'packed', '--compression', 'gzip'], text);
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /UNSUPPORTED_COMPRESSION|compression/i);
});

test('json carries keys, headers, bytes and null, there and back', async () => {
  await make('json');
  await make('json-copy');
  const records = [
    { value: 'plain' },
    { value: null, key: 'tombstone' },
    { value: '', key: '' },
    { value: { base64: Buffer.from([255, 0, 10]).toString('base64') }, key: { base64: '/w==' }, headers: [['h', 'v'], ['h', { base64: '/w==' }]] },
    { value: 'ümläut\n', headers: { a: 'b' }, clientTime: 1_790_000_000_000 },
  ];
  const produced = await sidelog(['produce', 'json', '--input', 'json'], records.map((record) => JSON.stringify(record)).join('\n'));
  assert.is(produced.code, 0, produced.stderr);
  const consumed = await sidelog(['consume', 'json', '--format', 'json']);
  const read = consumed.stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(read.map(({ appendTime: _, ...rest }) => rest), [
    { offset: 0, value: 'plain' },
    { offset: 1, key: 'tombstone', value: null },
    { offset: 2, key: '', value: '' },
    { offset: 3, key: { base64: '/w==' }, headers: [['h', 'v'], ['h', { base64: '/w==' }]], value: { base64: '/wAK' } },
    { offset: 4, clientTime: 1_790_000_000_000, headers: [['a', 'b']], value: 'ümläut\n' },
  ]);
  // What comes out goes in again.
  assert.is((await sidelog(['produce', 'json-copy', '--input', 'json'], consumed.stdout)).code, 0);
  const copy = await sidelog(['consume', 'json-copy', '--format', 'json']);
  const withoutTime = (text: string): string => text.replace(/"appendTime":\d+/g, '');
  assert.is(withoutTime(copy.stdout), withoutTime(consumed.stdout));
});

test('reading starts where it is told', async () => {
  await make('places');
  await sidelog(['produce', 'places', '--batch', '1'], 'a\nb\nc\nd\n');
  const from = async (...args: string[]): Promise<string> => (await sidelog(['consume', 'places', ...args])).stdout;
  assert.is(await from(), 'a\nb\nc\nd\n');
  assert.is(await from('--offset', 'earliest', '--count', '1'), 'a\n');
  assert.is(await from('--offset', '2'), 'c\nd\n');
  assert.is(await from('--offset', 'next'), '');
  assert.is(await from('--count', '0'), '');
  assert.is(await from('--offset', 'time:2020-01-01T00:00:00Z', '--count', '2'), 'a\nb\n');
  assert.is(await from('--offset', 'time:2999-01-01'), '');
  await sidelog(['position', 'put', 'places', 'worker', '3']);
  assert.is(await from('--offset', 'position:worker'), 'd\n');
  const beyond = await sidelog(['consume', 'places', '--offset', '99']);
  assert.is(beyond.code, 1);
  assert.match(beyond.stderr, 'OFFSET_OUT_OF_RANGE: offset out of range; the log has the offsets 0 to 3');
});

test('positions are put, got, compared, listed and deleted', async () => {
  await make('positions');
  await sidelog(['produce', 'positions'], 'a\nb\n');
  assert.is((await sidelog(['position', 'put', 'positions', 'p', '2'])).stdout, '{"log":"positions","name":"p","offset":2}\n');
  assert.is((await sidelog(['position', 'get', 'positions', 'p'])).stdout, '{"log":"positions","name":"p","offset":2}\n');
  const stale = await sidelog(['position', 'put', 'positions', 'p', '1', '--expected', '0']);
  assert.is(stale.code, 1);
  assert.match((await sidelog(['position', 'list', 'positions'])).stdout, /^\{"name":"p","offset":2,"updated":\d+\}\n$/);
  assert.is((await sidelog(['position', 'put', 'positions', 'p', 'none'])).code, 0);
  const gone = await sidelog(['position', 'get', 'positions', 'p']);
  assert.is(gone.code, 1);
  assert.is(gone.stderr, 'sidelog: log "positions" has no position "p"\n');
});

test('--expect appends at exactly that offset, over several batches, or not at all', async () => {
  await make('expected');
  const lines = `${'x'.repeat(1000)}\n`.repeat(3000);
  const { code, stdout, stderr } = await sidelog(['produce', 'expected', '--expect', '0'], lines);
  assert.is(code, 0, stderr);
  assert.match(stdout, '"records":3000,"firstOffset":0,"lastOffset":2999');
  const late = await sidelog(['produce', 'expected', '--expect', '0'], 'again\n');
  assert.is(late.code, 1);
  assert.match(late.stdout, '"records":0');
  assert.match(late.stderr, 'OFFSET_MISMATCH: offset mismatch; the next offset is 3000');
});

test('a fenced log takes only who shows the token', async () => {
  await make('fenced');
  const { connect } = await import('../../src/wire/client/client.ts');
  const client = await connect({ address: server.address });
  await client.fence('fenced', 7);
  await client.close();
  assert.is((await sidelog(['produce', 'fenced', '--fence', '7'], 'a\n')).code, 0);
  const refused = await sidelog(['produce', 'fenced', '--fence', '6'], 'b\n');
  assert.is(refused.code, 1);
  assert.match(refused.stderr, /^sidelog: FENCED/);
});

test('a named producer writes each record once, run after run', async () => {
  await make('named');
  for (const text of ['a\nb\n', 'c\n']) assert.is((await sidelog(['produce', 'named', '--producer', 'importer'], text)).code, 0);
  assert.is((await sidelog(['consume', 'named'])).stdout, 'a\nb\nc\n');
});

test('--follow prints records as they come and ends with 130 when interrupted', async () => {
  await make('followed');
  await sidelog(['produce', 'followed'], 'before\n');
  const follower = spawnSidelog(['consume', 'followed', '--follow', '--from', server.address]);
  let seen = '';
  follower.stdout!.on('data', (chunk: Buffer) => (seen += chunk.toString()));
  await until(() => seen === 'before\n');
  await sidelog(['produce', 'followed'], 'live\n');
  await until(() => seen === 'before\nlive\n');
  follower.kill('SIGINT');
  assert.is(await exitOf(follower), 130);
});

test('an interrupted produce keeps what was read and says how much that was', async () => {
  await make('interrupted');
  const producer = spawnSidelog(['produce', 'interrupted', '--to', server.address]);
  let stdout = '';
  producer.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  producer.stdin!.write('one\ntwo\nhalf a line');
  await until(async () => (await sidelog(['consume', 'interrupted'])).stdout === 'one\ntwo\n');
  producer.kill('SIGINT');
  assert.is(await exitOf(producer), 130);
  assert.match(stdout, '"records":2,"firstOffset":0,"lastOffset":1');
});

test('every way in leads to the same log', async () => {
  await make('ways');
  const { port } = server;
  for (const to of [`127.0.0.1:${port}`, `localhost:${port}`, `unix:${String(server.ready['unixSocket'])}`, String(server.ready['unixSocket'])]) {
    const { code, stderr } = await run(['produce', 'ways', '--to', to], { input: `${to}\n` });
    assert.is(code, 0, stderr);
  }
  assert.is((await run(['consume', 'ways'], { env: { SIDELOG_FROM: server.address } })).stdout.split('\n').length, 5);
});

test('logs are created, listed, described, altered, trimmed, deleted and brought back', async () => {
  const logUid = await make('life', '--retain-bytes', '1GiB', '--retain-time', '7d', '--segment-bytes', '1MiB', '--durability', 'interval:50ms');
  assert.match(logUid, /^[0-9a-f]{32}$/);
  const twice = await sidelog(['log', 'create', 'life']);
  assert.is(twice.code, 1);
  assert.match(twice.stderr, /^sidelog: LOG_EXISTS/);
  const described = JSON.parse((await sidelog(['log', 'describe', 'life'])).stdout) as Record<string, unknown>;
  assert.is(described['retainBytes'], 1024 ** 3);
  assert.is(described['retainMs'], 7 * 86_400_000);
  assert.is(described['segmentBytes'], 1024 ** 2);
  assert.is(described['durability'], 'interval');
  assert.is(described['intervalMs'], 50);
  const altered = JSON.parse((await sidelog(['log', 'alter', 'life', '--retain-time', '0', '--compressions', 'none,zstd'])).stdout) as Record<string, unknown>;
  assert.is(altered['retainMs'], 0);
  assert.equal(altered['compressions'], ['none', 'zstd']);
  await sidelog(['produce', 'life', '--batch', '1'], 'a\nb\nc\n');
  assert.is((await sidelog(['log', 'trim', 'life', '2'])).stdout, '{"log":"life","logStart":2}\n');
  assert.is((await sidelog(['consume', 'life'])).stdout, 'c\n');
  const listed = (await sidelog(['log', 'list', 'lif'])).stdout.trim().split('\n').map((line) => JSON.parse(line) as { log: string });
  assert.equal(listed.map(({ log }) => log), ['life']);
  const deleted = JSON.parse((await sidelog(['log', 'delete', 'life'])).stdout) as { undelete: string };
  assert.is(deleted.undelete, `sidelog log undelete ${logUid}`);
  assert.is((await sidelog(['consume', 'life'])).code, 1);
  assert.match((await sidelog(['log', 'list', '--deleted'])).stdout, logUid);
  const restored = JSON.parse((await sidelog(['log', 'undelete', logUid, '--as', 'second-life'])).stdout) as { logUid: string };
  assert.is.not(restored.logUid, logUid);
  assert.is((await sidelog(['consume', 'second-life'])).stdout, 'c\n');
});

test('status shows the node to people and to programs', async () => {
  const { code, stdout } = await sidelog(['status']);
  assert.is(code, 0);
  assert.match(stdout, /^state +ready$/m);
  const json = JSON.parse((await sidelog(['status', '--json'])).stdout) as Record<string, unknown>;
  assert.is(json['address'], server.address);
  assert.is(json['ready'], true);
  assert.is(json['threadPool'], 16);
  const overUnix = await run(['status', '--to', `unix:${String(server.ready['unixSocket'])}`]);
  assert.is(overUnix.code, 0, overUnix.stderr);
});

test.run();
