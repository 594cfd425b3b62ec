import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { stampBodyCrc } from '../../src/wire/batch.ts';
import { NONE } from '../../src/wire/limits.ts';
import { Op, PRODUCE_DUPLICATE } from '../../src/wire/ops.ts';
import { fenceRequest } from '../../src/wire/requests-write.ts';
import { fenceResponse } from '../../src/wire/responses-data.ts';
import type { TestClient } from './support.ts';
import { encode, producerRecords, records, sized, valuesOf, World } from './support.ts';

const test = suite('replica/produce');

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

const fence = (client: TestClient, log: string, token: number) =>
  client.call(Op.FENCE, fenceRequest, { log, token }, fenceResponse);

test('acks a batch with its offsets, time, term and durability, and shows it to a fetch', async () => {
  const { world, client } = await ready();
  const first = await client.produce('default', records('a', 'b'));
  assert.is(first.code, 'OK');
  assert.is(first.value.baseOffset, 0);
  assert.is(first.value.nextOffset, 2);
  assert.is(first.value.appendTime, world.clock.wall);
  assert.is(first.value.durability, 1);
  assert.is(first.value.copies, 1);
  assert.ok(first.value.term >= 1);
  const found = await client.fetch('default');
  assert.equal(valuesOf(found.value.batches), ['0:a', '1:b']);
  await world.stop();
});

test('sends log_uid on an ack exactly when the request did not carry it', async () => {
  const { client } = await ready();
  const { logUid } = (await client.describe('default')).value;
  const without = await client.produce('default', records('a'));
  assert.equal(without.value.logUid, logUid);
  const carried = await client.produce('default', records('b'), { logUid });
  assert.is(carried.code, 'OK');
  assert.is(carried.value.logUid, undefined);
});

test('keeps pipelined produces of a connection in order, in effect and in reply, refusals included', async () => {
  const { world, client } = await ready();
  const good = records('x');
  const bad = Buffer.from(good);
  bad[80]! ^= 1;
  const ids = [
    client.sendProduce('default', good), client.sendProduce('default', bad),
    client.sendProduce('default', good, { expectedOffset: 9 }), client.sendProduce('default', good),
    client.sendProduce('default', good, { logUid: Buffer.alloc(16, 9) }), client.sendProduce('default', good),
  ];
  assert.equal(client.order.slice(1), []);
  await world.settle();
  assert.equal(client.order.slice(1), ids);
  assert.equal(ids.map((id) => client.produced(id)!.code), [
    'OK', 'CORRUPT_BATCH', 'OFFSET_MISMATCH', 'OK', 'LOG_CHANGED', 'OK',
  ]);
  assert.equal(ids.map((id) => client.produced(id)!.value?.baseOffset), [0, undefined, undefined, 1, undefined, 2]);
});

test('keeps the order also while the log is being opened', async () => {
  const first = await ready();
  const world = await first.world.restart();
  const client = await world.connect();
  const bad = records('x');
  bad[80]! ^= 1;
  const ids = [
    client.sendProduce('default', records('a')), client.sendProduce('default', bad), client.sendProduce('default', records('b')),
  ];
  await world.settle();
  assert.equal(client.order.slice(1), ids);
  assert.equal(ids.map((id) => client.produced(id)!.code), ['OK', 'CORRUPT_BATCH', 'OK']);
});

test('judges expected_offset against the uncommitted tail and says the next offset', async () => {
  const { world, client } = await ready();
  const ids = [
    client.sendProduce('default', records('a', 'b'), { expectedOffset: 0 }),
    client.sendProduce('default', records('c'), { expectedOffset: 2 }),
    client.sendProduce('default', records('d'), { expectedOffset: 2 }),
  ];
  await world.settle();
  assert.equal(ids.map((id) => client.produced(id)!.code), ['OK', 'OK', 'OFFSET_MISMATCH']);
  assert.is(client.produced(ids[2]!)!.error.detail.nextOffset, 3);
});

test('answers a refusal that depends on state only when what it was judged against is committed', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const { world, client } = await ready({
    diskOptions: { schedule: (end: () => void, op: { call: string }) => (hold && op.call === 'sync' ? void ends.push(end) : queueMicrotask(end)) },
  });
  await client.produce('default', records('a'));
  hold = true;
  const other = await world.connect();
  const first = client.sendProduce('default', records('b'), { timeoutMs: 10 });
  const refused = other.sendProduce('default', records('c'), { expectedOffset: 0 });
  await world.advance(1000);
  assert.is(client.produced(first)!.code, 'TIMEOUT');
  assert.is(other.produced(refused), null, 'the batch that it was judged against may still be lost');
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.is(other.produced(refused)!.code, 'OFFSET_MISMATCH');
});

test('recognizes a batch that is sent again, also after a restart and with another fence', async () => {
  let { world, client } = await ready();
  const init = (await client.initProducer('default', 'p1')).value;
  assert.is(init.nextSeq, 0);
  assert.is(init.epoch, 0);
  assert.ok(init.window >= 64);
  const body = producerRecords({ producerId: init.producerId, epoch: 0, seq: 0 }, 'one');
  const first = await client.produce('default', body);
  assert.is(first.value.flags, 0);
  const again = await client.produce('default', body, { fence: 77, expectedOffset: 55 });
  assert.is(again.code, 'OK');
  assert.is(again.value.flags, PRODUCE_DUPLICATE);
  assert.is(again.value.baseOffset, first.value.baseOffset);
  world = await world.restart();
  client = await world.connect();
  const later = await client.produce('default', body);
  assert.is(later.value.flags, PRODUCE_DUPLICATE);
  assert.is(later.value.appendTime, first.value.appendTime);
  assert.is((await client.describe('default')).value.committedEnd, 1);
  const next = (await client.initProducer('default', 'p1')).value;
  assert.is(next.producerId, init.producerId);
  assert.is(next.epoch, 1);
  assert.is(next.nextSeq, 1);
});

test('refuses a gap, a reused seq, an old epoch and an unknown producer, each with its code', async () => {
  const { client } = await ready();
  const { producerId } = (await client.initProducer('default', 'p')).value;
  const at = (seq: number, value: string, epoch = 0, id = producerId) => producerRecords({ producerId: id, epoch, seq }, value);
  assert.is((await client.produce('default', at(0, 'a'))).code, 'OK');
  const gap = await client.produce('default', at(5, 'b'));
  assert.is(gap.code, 'SEQ_GAP');
  assert.is(gap.error.detail.expectedSeq, 1);
  assert.is((await client.produce('default', at(0, 'other'))).code, 'SEQ_REUSED');
  await client.initProducer('default', 'p');
  assert.is((await client.produce('default', at(1, 'c'))).code, 'PRODUCER_FENCED');
  assert.is((await client.produce('default', at(0, 'a'))).value.flags, PRODUCE_DUPLICATE);
  assert.is((await client.produce('default', at(0, 'a', 0, producerId + 1))).code, 'UNKNOWN_PRODUCER');
});

test('a duplicate that has left the window is OK with NONE, one from an earlier epoch is SEQ_REUSED', async () => {
  const { world, client } = await ready();
  const { producerId, window } = (await client.initProducer('default', 'p')).value;
  const at = (seq: number, epoch = 0) => producerRecords({ producerId, epoch, seq }, `v${seq}`);
  for (let seq = 0; seq < window + 6; seq++) client.sendProduce('default', at(seq));
  await world.settle();
  const gone = await client.produce('default', at(3));
  assert.is(gone.code, 'OK');
  assert.equal([gone.value.flags, gone.value.baseOffset, gone.value.nextOffset, gone.value.appendTime], [PRODUCE_DUPLICATE, NONE, NONE, 0]);
  const kept = await client.produce('default', at(10));
  assert.equal([kept.value.flags, kept.value.baseOffset], [PRODUCE_DUPLICATE, 10]);
  await client.initProducer('default', 'p');
  assert.is((await client.produce('default', at(3, 1))).code, 'SEQ_REUSED');
  assert.is((await client.describe('default')).value.committedEnd, window + 6);
});

test('a duplicate waits until its original is committed', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const { world, client } = await ready({
    diskOptions: { schedule: (end: () => void, op: { call: string }) => (hold && op.call === 'sync' ? void ends.push(end) : queueMicrotask(end)) },
  });
  const other = await world.connect();
  const { producerId } = (await client.initProducer('default', 'p')).value;
  hold = true;
  const body = producerRecords({ producerId, epoch: 0, seq: 0 }, 'a');
  const first = client.sendProduce('default', body, { timeoutMs: 10 });
  const again = other.sendProduce('default', body);
  await world.advance(1000);
  assert.is(client.produced(first)!.code, 'TIMEOUT');
  assert.is(other.produced(again), null);
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.equal([other.produced(again)!.code, other.produced(again)!.value.flags], ['OK', PRODUCE_DUPLICATE]);
});

test('two INIT_PRODUCERs of one name in one turn get two epochs', async () => {
  const { world, client } = await ready();
  const request = { log: 'default', name: 'twice' };
  const { initProducerRequest } = await import('../../src/wire/requests-write.ts');
  const { initProducerResponse } = await import('../../src/wire/responses-data.ts');
  const ids = [client.send(Op.INIT_PRODUCER, encode(initProducerRequest, request)), client.send(Op.INIT_PRODUCER, encode(initProducerRequest, request))];
  await world.settle();
  assert.equal(ids.map((id) => client.result(id, initProducerResponse)!.value.epoch), [0, 1]);
});

test('fences: a set token must be shown, a lower one is refused, an equal one changes nothing', async () => {
  const { client } = await ready();
  await client.produce('default', records('a'));
  const unset = await client.produce('default', records('b'), { fence: 3 });
  assert.is(unset.code, 'FENCED');
  assert.is(unset.error.detail.fence, 0);
  const raised = await fence(client, 'default', 10);
  assert.equal([raised.value.token, raised.value.nextOffset], [10, 1]);
  const none = await client.produce('default', records('b'));
  assert.is(none.code, 'FENCED');
  assert.is(none.error.detail.fence, 10);
  assert.is((await client.produce('default', records('b'), { fence: 10 })).code, 'OK');
  assert.equal((await fence(client, 'default', 10)).value.token, 10);
  const lower = await fence(client, 'default', 9);
  assert.is(lower.code, 'FENCED');
  assert.is(lower.error.detail.fence, 10);
  assert.is((await client.describe('default')).value.fence, 10);
});

test('names what is wrong with a batch', async () => {
  const { client } = await ready({ maxBatchBytes: 64 * 1024 });
  const control = records('x');
  control[53]! |= 0x10;
  stampBodyCrc(control, 0);
  assert.is((await client.produce('default', control)).code, 'CORRUPT_BATCH');
  const zstd = Buffer.concat([records('x')]);
  zstd[53] = 2;
  stampBodyCrc(zstd, 0);
  const compressed = await client.produce('default', zstd);
  assert.is(compressed.code, 'UNSUPPORTED_COMPRESSION');
  assert.is(compressed.error.detail.supported, 3);
  const large = await client.produce('default', sized(64 * 1024 + 1));
  assert.is(large.code, 'BATCH_TOO_LARGE');
  assert.is(large.error.detail.limit, 64 * 1024);
  assert.is((await client.produce('default', sized(64 * 1024))).code, 'OK');
});

test('a log that is not there, a name that is none, and a right that is missing, in this order', async () => {
  const policy = { version: 1, allows: (_who: unknown, action: string, log: string) => !(action === 'produce' && log.startsWith('secret')) };
  const { client } = await ready({ policy });
  assert.is((await client.produce('nothing', records('a'))).code, 'LOG_NOT_FOUND');
  const bad = await client.produce('.hidden', records('a'));
  assert.is(bad.code, 'INVALID_ARGUMENT');
  assert.is(bad.error.detail.field, 'log');
  assert.is((await client.produce('secret', records('a'))).code, 'FORBIDDEN');
  const flags = await client.produce('default', records('a'), { flags: 8 });
  assert.is(flags.code, 'INVALID_ARGUMENT');
  assert.is(flags.error.detail.field, 'flags');
});

test('a refusal by right keeps its place behind a batch that waits for the disk', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  let allowed = true;
  const policy = { version: 1, allows: () => allowed };
  const { world, client } = await ready({
    policy,
    diskOptions: { schedule: (end: () => void, op: { call: string }) => (hold && op.call === 'sync' ? void ends.push(end) : queueMicrotask(end)) },
  });
  await client.produce('default', records('a'));
  hold = true;
  const first = client.sendProduce('default', records('b'));
  allowed = false;
  policy.version = 2;
  const second = client.sendProduce('default', records('c'));
  await world.settle();
  assert.is(client.produced(second), null);
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.is(client.produced(first)!.code, 'OK');
  assert.is(client.produced(second)!.code, 'FORBIDDEN');
});

test('a slow sync gives TIMEOUT, never before the produce ahead of it, and the batch is there later', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const { world, client } = await ready({
    diskOptions: { schedule: (end: () => void, op: { call: string }) => (hold && op.call === 'sync' ? void ends.push(end) : queueMicrotask(end)) },
  });
  await client.produce('default', records('a'));
  hold = true;
  const long = client.sendProduce('default', records('b'), { timeoutMs: 4000 });
  const short = client.sendProduce('default', records('c'), { timeoutMs: 10 });
  await world.settle();
  await world.advance(2000);
  assert.is(client.produced(short), null, 'the later one waits as long as the one ahead of it');
  await world.advance(2500);
  assert.is(client.produced(long)!.code, 'TIMEOUT');
  assert.is(client.produced(short)!.code, 'TIMEOUT');
  assert.ok(client.produced(long)!.error.outcomeUnknown);
  assert.equal(client.order.slice(-2), [long, short]);
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.equal(valuesOf((await client.fetch('default')).value.batches), ['0:a', '1:b', '2:c']);
});

test('append_time never goes down when the wall clock does', async () => {
  const { world, client } = await ready();
  const before = (await client.produce('default', records('a'))).value.appendTime;
  world.clock.wall -= 5000;
  await world.settle();
  const after = (await client.produce('default', records('b'))).value.appendTime;
  assert.is(after, before);
});

test('the term rises with every start, so that prev_term shows a lost history', async () => {
  let { world, client } = await ready();
  const first = (await client.produce('default', records('a'))).value.term;
  world = await world.restart();
  client = await world.connect();
  const second = (await client.produce('default', records('b'))).value.term;
  assert.ok(second > first);
});

test('too much that waits for the disk stops the reading of clients until it is written', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const { world, client } = await ready({
    memoryLimitBytes: 8 * 1024 * 1024,
    diskOptions: { schedule: (end: () => void, op: { call: string }) => (hold && op.call === 'write' ? void ends.push(end) : queueMicrotask(end)) },
  });
  await client.produce('default', records('a'));
  hold = true;
  for (let i = 0; i < 10; i++) client.sendProduce('default', sized(1024 * 1024));
  await world.settle();
  assert.equal(world.pauses, [true]);
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.equal(world.pauses, [true, false]);
  assert.is(world.node.context.memory.bytes, 0);
});

test('the producer of nothing: an empty ext and NONE mean no condition', async () => {
  const { client } = await ready();
  assert.is((await client.produce('default', records('a'), { expectedOffset: NONE, fence: 0 })).code, 'OK');
});

test.run();
