import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { appendTime, baseOffset, batchSize, batchTerm, checkBody, checkHeader, isControl } from '../../src/wire/batch.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { findOffsetRequest } from '../../src/wire/requests-read.ts';
import { findOffsetResponse } from '../../src/wire/responses-data.ts';
import type { TestClient } from './support.ts';
import { records, sized, valuesOf, World } from './support.ts';

const test = suite('replica/reading');

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

const find = (client: TestClient, log: string, time: number) =>
  client.call(Op.FIND_OFFSET, findOffsetRequest, { log, time }, findOffsetResponse);

async function fill(world: World, client: TestClient, count: number, log = 'default'): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    world.clock.wall += 10;
    world.clock.monotonic += 10;
    times.push((await client.produce(log, records(`r${2 * i}`, `r${2 * i + 1}`))).value.appendTime);
  }
  return times;
}

test('starts at an offset inside a batch with the whole batch, and says where to begin', async () => {
  const { world, client } = await ready();
  await fill(world, client, 3);
  const found = (await client.fetch('default', { value: 3 })).value;
  assert.is(found.startOffset, 3);
  assert.equal(valuesOf(found.batches), ['2:r2', '3:r3', '4:r4', '5:r5']);
  assert.equal([found.logStart, found.committedEnd], [0, 6]);
});

test('reads from earliest, next and time', async () => {
  const { world, client } = await ready();
  const times = await fill(world, client, 3);
  assert.is((await client.fetch('default', { from: From.EARLIEST })).value.startOffset, 0);
  const next = (await client.fetch('default', { from: From.NEXT })).value;
  assert.is(next.startOffset, 6);
  assert.is(next.batches.length, 0);
  assert.is((await client.fetch('default', { from: From.TIME, value: times[1]! })).value.startOffset, 2);
  assert.is((await client.fetch('default', { from: From.TIME, value: times[1]! + 1 })).value.startOffset, 4);
  assert.is((await client.fetch('default', { from: From.TIME, value: times[2]! + 1 })).value.startOffset, 6);
  assert.is((await find(client, 'default', times[1]!)).value.offset, 2);
  const none = (await find(client, 'default', times[2]! + 1)).value;
  assert.equal([none.offset, none.logStart, none.committedEnd], [6, 0, 6]);
});

test('refuses offsets below log_start and above the end, with the range', async () => {
  const { world, client } = await ready();
  await fill(world, client, 3);
  const above = await client.fetch('default', { value: 7, maxWaitMs: 1000 });
  assert.is(above.code, 'OFFSET_OUT_OF_RANGE');
  assert.equal(above.error.detail.range, { logStart: 0, committedEnd: 6 });
  assert.is((await client.trim('default', 3)).value.logStart, 2);
  const below = await client.fetch('default', { value: 1 });
  assert.is(below.code, 'OFFSET_OUT_OF_RANGE');
  assert.equal(below.error.detail.range, { logStart: 2, committedEnd: 6 });
  assert.equal(valuesOf((await client.fetch('default', { from: From.EARLIEST })).value.batches).length, 4);
});

test('gives whole batches within max_bytes, and one even if it is larger', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 4; i++) await client.produce('default', sized(1000));
  assert.is((await client.fetch('default', { maxBytes: 1 })).value.batches.length, 1000);
  assert.is((await client.fetch('default', { maxBytes: 1999 })).value.batches.length, 1000);
  assert.is((await client.fetch('default', { maxBytes: 2000 })).value.batches.length, 2000);
  assert.is((await client.fetch('default', { maxBytes: 0 })).value.batches.length, 1000);
  void world;
});

test('at the end waits for a record, and answers as soon as it is committed', async () => {
  const { world, client } = await ready();
  const id = client.sendFetch('default', { maxWaitMs: 10_000 });
  await world.advance(2000);
  assert.is(client.fetched(id), null);
  await client.produce('default', records('late'));
  assert.equal(valuesOf(client.fetched(id)!.value.batches), ['0:late']);
});

test('waits for min_bytes, and at the end of the wait gives what there is', async () => {
  const { world, client } = await ready();
  const enough = client.sendFetch('default', { minBytes: 3000, maxBytes: 10_000, maxWaitMs: 60_000 });
  const never = client.sendFetch('default', { minBytes: 9000, maxBytes: 10_000, maxWaitMs: 5000 });
  const capped = client.sendFetch('default', { minBytes: 9000, maxBytes: 2000, maxWaitMs: 60_000 });
  await client.produce('default', sized(1000));
  assert.is(client.fetched(enough), null);
  await client.produce('default', sized(1000));
  assert.is(client.fetched(enough), null);
  assert.is(client.fetched(capped)!.value.batches.length, 2000);
  await client.produce('default', sized(1000));
  assert.is(client.fetched(enough)!.value.batches.length, 3000);
  assert.is(client.fetched(never), null);
  await world.advance(5100);
  assert.is(client.fetched(never)!.value.batches.length, 3000);
});

test('a wait without records ends with OK and no batch', async () => {
  const { world, client } = await ready();
  const id = client.sendFetch('default', { from: From.NEXT, maxWaitMs: 1000 });
  await world.advance(1100);
  const answer = client.fetched(id)!;
  assert.is(answer.code, 'OK');
  assert.is(answer.value.batches.length, 0);
  assert.equal([answer.value.startOffset, answer.value.committedEnd], [0, 0]);
});

test('control batches never leave, wake nobody and count for nothing', async () => {
  const { world, client } = await ready();
  await client.produce('default', records('a'));
  const id = client.sendFetch('default', { value: 1, maxWaitMs: 60_000 });
  for (let i = 0; i < 5; i++) await client.initProducer('default', `p${i}`);
  await client.trim('default', 0);
  assert.is(client.fetched(id), null);
  await client.produce('default', records('b'));
  assert.equal(valuesOf(client.fetched(id)!.value.batches), ['1:b']);
  await client.initProducer('default', 'last');
  const all = (await client.fetch('default')).value.batches;
  assert.equal(valuesOf(all), ['0:a', '1:b']);
  for (let at = 0; at < all.length; at += batchSize(all, at)) {
    assert.not.ok(isControl(all, at));
    assert.is(checkHeader(all, at, all.length), 0);
    assert.is(checkBody(all, at, all.length), 0);
  }
  assert.is((await client.fetch('default', { value: 2 })).value.batches.length, 0);
  void world;
});

test('reads from disk what has left memory, control batches in between', async () => {
  const { world, client } = await ready({ cacheBytes: 0 });
  for (let i = 0; i < 40; i++) {
    await client.produce('default', sized(100_000));
    await client.initProducer('default', 'p');
  }
  let offset = 0;
  while (offset < 40) {
    const found = (await client.fetch('default', { value: offset, maxBytes: 250_000 })).value;
    assert.is(baseOffset(found.batches, 0), offset);
    offset += found.batches.length / 100_000;
  }
  assert.is(offset, 40);
  const inner = (await client.fetch('default', { value: 17, maxBytes: 1 })).value;
  assert.is(baseOffset(inner.batches, 0), 17);
  void world;
});

test('after makes an offset a session token: answered once it is reached, else BEHIND', async () => {
  const { world, client } = await ready();
  const behind = await client.fetch('default', { after: 2 });
  assert.is(behind.code, 'BEHIND');
  assert.equal(behind.error.detail.range, { logStart: 0, committedEnd: 0 });
  const id = client.sendFetch('default', { after: 2, maxWaitMs: 30_000 });
  const late = client.sendFetch('default', { after: 9, maxWaitMs: 3000 });
  await client.produce('default', records('a'));
  assert.is(client.fetched(id), null);
  await client.produce('default', records('b'));
  assert.equal(valuesOf(client.fetched(id)!.value.batches), ['0:a', '1:b']);
  await world.advance(3100);
  assert.is(client.fetched(late)!.code, 'BEHIND');
});

test('prev_term that differs is LOG_CHANGED with the range; not judged at the start or below log_start', async () => {
  let { world, client } = await ready();
  await client.produce('default', records('a'));
  world = await world.restart();
  client = await world.connect();
  await client.produce('default', records('b'));
  const all = (await client.fetch('default')).value.batches;
  const terms = [batchTerm(all, 0), batchTerm(all, batchSize(all, 0))];
  assert.ok(terms[1]! > terms[0]!);
  assert.is((await client.fetch('default', { value: 1, prevTerm: terms[0]! })).code, 'OK');
  assert.is((await client.fetch('default', { value: 2, prevTerm: terms[1]! })).code, 'OK');
  const changed = await client.fetch('default', { value: 1, prevTerm: terms[1]! });
  assert.is(changed.code, 'LOG_CHANGED');
  assert.equal(changed.error.detail.range, { logStart: 0, committedEnd: 2 });
  assert.is((await client.fetch('default', { value: 0, prevTerm: 99 })).code, 'OK');
  await client.trim('default', 1);
  assert.is((await client.fetch('default', { value: 1, prevTerm: 99 })).code, 'OK');
});

test('a read from next keeps its start while it waits; one from a time looks again', async () => {
  const { world, client } = await ready();
  const next = client.sendFetch('default', { from: From.NEXT, minBytes: 1500, maxWaitMs: 60_000 });
  const later = client.sendFetch('default', { from: From.TIME, value: world.clock.wall + 500, maxWaitMs: 60_000 });
  await client.produce('default', sized(1000));
  assert.is(client.fetched(later), null);
  await world.advance(1000);
  const acked = await client.produce('default', sized(1000));
  assert.is(client.fetched(next)!.value.startOffset, 0);
  assert.is(client.fetched(next)!.value.batches.length, 2000);
  assert.is(client.fetched(later)!.value.startOffset, 1);
  assert.is(appendTime(client.fetched(later)!.value.batches, 0), acked.value.appendTime);
});

test('a waiting fetch overtaken by a trim is out of range; one from earliest goes on', async () => {
  const { world, client } = await ready();
  await fill(world, client, 2);
  const id = client.sendFetch('default', { value: 2, minBytes: 100_000, maxWaitMs: 60_000 });
  const earliest = client.sendFetch('default', { from: From.EARLIEST, minBytes: 100_000, maxWaitMs: 5000 });
  await world.settle();
  await client.trim('default', 4);
  assert.is(client.fetched(id)!.code, 'OFFSET_OUT_OF_RANGE');
  await world.advance(5100);
  assert.is(client.fetched(earliest)!.value.startOffset, 4);
});

test('more waiting FETCHes than allowed are refused, and CANCEL ends one', async () => {
  const { world, client } = await ready();
  const ids = Array.from({ length: 9 }, () => client.sendFetch('default', { maxWaitMs: 60_000 }));
  await world.settle();
  assert.is(client.fetched(ids[8]!)!.code, 'TOO_MANY_INFLIGHT');
  assert.is(client.fetched(ids[0]!), null);
  client.cancel(ids[0]!);
  await world.settle();
  assert.is(client.fetched(ids[0]!)!.code, 'CANCELED');
  await client.produce('default', records('a'));
  for (const id of ids.slice(1, 8)) assert.is(client.fetched(id)!.code, 'OK');
  assert.is(client.answers(ids[0]!).length, 1);
});

test('GOAWAY answers waiting FETCHes with what there is', async () => {
  const { world, client } = await ready();
  await client.produce('default', sized(1000));
  const id = client.sendFetch('default', { minBytes: 5000, maxWaitMs: 60_000 });
  await world.settle();
  client.session.goAway(11, 'stopping');
  await world.settle();
  assert.is(client.fetched(id)!.value.batches.length, 1000);
});

test('a reader that stops costs a bounded buffer, its other requests go on, and so does it later', async () => {
  const { world, client } = await ready();
  const other = await world.connect();
  for (let i = 0; i < 30; i++) await other.produce('default', sized(500_000));
  client.stalled = true;
  const ids = Array.from({ length: 30 }, (_, i) => client.sendFetch('default', { value: i, maxBytes: 500_000 }));
  await world.settle();
  assert.ok(client.session.outputBytes < 2 * 1024 * 1024, `${client.session.outputBytes} bytes are queued`);
  const produced = await other.produce('default', records('x'));
  assert.is(produced.code, 'OK');
  client.stalled = false;
  await world.settle();
  assert.equal(ids.map((id) => client.fetched(id)?.value.startOffset), ids.map((_, i) => i));
});

test('damage answers DATA_LOSS for its range, and the rest is served', async () => {
  let { world, client } = await ready();
  for (let i = 0; i < 30; i++) await client.produce('default', sized(100_000));
  const { logUid } = (await client.describe('default')).value;
  world = await world.restart({ cacheBytes: 0 });
  client = await world.connect();
  await client.produce('default', records('on'));
  const path = `logs/${logUid.toString('hex')}/00000001/00000000000000000001.seg`;
  world.disk.corrupt(path, 4096 + 3 * 100_000 + 500, 0x10);
  const lost = await client.fetch('default', { value: 3, maxBytes: 100_000 });
  assert.is(lost.code, 'DATA_LOSS');
  assert.equal(lost.error.detail.range, { logStart: 3, committedEnd: 4 });
  assert.is((await client.fetch('default', { value: 2, maxBytes: 1000_000 })).value.batches.length, 100_000);
  assert.is((await client.fetch('default', { value: 4, maxBytes: 100_000 })).code, 'OK');
  assert.is((await client.produce('default', records('more'))).code, 'OK');
});

test.run();
