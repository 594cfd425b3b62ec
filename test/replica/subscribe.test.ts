import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NONE } from '../../src/wire/limits.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { putPositionRequest } from '../../src/wire/requests-read.ts';
import { putPositionResponse } from '../../src/wire/responses-data.ts';
import type { TestClient } from './support.ts';
import { records, sized, valuesOf, World } from './support.ts';

const test = suite('replica/subscribe');

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

test('delivers what is there and what comes, in order, each once, and no control batch', async () => {
  const { world, client } = await ready();
  await client.produce('default', records('a', 'b'));
  const id = client.sendSubscribe('default');
  await world.settle();
  assert.ok(client.delivered(id).started);
  await client.initProducer('default', 'p');
  await client.produce('default', records('c'));
  await client.produce('default', records('d'));
  assert.equal(valuesOf(client.delivered(id).bytes), ['0:a', '1:b', '2:c', '3:d']);
  assert.ok(client.answers(id).every(({ more }) => more));
});

test('credit zero sends nothing; one batch may overdraw; CREDIT goes on', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 5; i++) await client.produce('default', sized(1000));
  const id = client.sendSubscribe('default', { creditBytes: 0 });
  await world.settle();
  assert.ok(client.delivered(id).started);
  assert.is(client.delivered(id).bytes.length, 0);
  client.credit(id, 1);
  await world.settle();
  assert.is(client.delivered(id).bytes.length, 1000, 'overdrawn by one batch');
  client.credit(id, 999);
  await world.settle();
  assert.is(client.delivered(id).bytes.length, 1000, 'the balance is 0');
  client.credit(id, 1500);
  await world.settle();
  assert.is(client.delivered(id).bytes.length, 3000, 'one within, one over');
});

test('too much credit is FLOW_CONTROL, in the request and later', async () => {
  const { world, client } = await ready();
  const refused = client.sendSubscribe('default', { creditBytes: 2 ** 31 });
  const id = client.sendSubscribe('default', { creditBytes: 2 ** 31 - 1 });
  await world.settle();
  assert.is(client.delivered(refused).end!.name, 'FLOW_CONTROL');
  assert.not.ok(client.delivered(refused).started);
  assert.is(client.delivered(id).end, null);
  client.credit(id, 1);
  await world.settle();
  assert.is(client.delivered(id).end!.name, 'FLOW_CONTROL');
});

test('CANCEL ends it with one last DELIVER', async () => {
  const { world, client } = await ready();
  const id = client.sendSubscribe('default');
  await world.settle();
  client.cancel(id);
  await client.produce('default', records('a'));
  const { end, bytes } = client.delivered(id);
  assert.is(end!.name, 'CANCELED');
  assert.is(bytes.length, 0);
  assert.not.ok(client.answers(id).at(-1)!.more);
});

test('a subscription overtaken by a trim ends with OFFSET_OUT_OF_RANGE, with and without credit', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 4; i++) await client.produce('default', sized(1000));
  const id = client.sendSubscribe('default', { creditBytes: 1 });
  const fresh = client.sendSubscribe('default', { from: From.NEXT });
  await world.settle();
  await client.trim('default', 3);
  const { end } = client.delivered(id);
  assert.is(end!.name, 'OFFSET_OUT_OF_RANGE');
  assert.equal(end!.detail.range, { logStart: 3, committedEnd: 4 });
  assert.is(client.delivered(fresh).end, null);
});

test('a subscription that waits at the end goes on when the segment of its last record has been deleted', async () => {
  const { world, client } = await ready({ cacheBytes: 0 });
  await client.createLog('short', { retainMs: 5000 });
  const put = (offset: number) => client.call(Op.PUT_POSITION, putPositionRequest, { log: 'short', name: 'p', offset, expected: NONE }, putPositionResponse);
  await client.produce('short', records('a'));
  const id = client.sendSubscribe('short');
  await world.settle();
  await put(1);
  for (let i = 0; i < 4; i++) {
    await world.advance(4000);
    await put(2 + i);
  }
  assert.is((await client.describe('short')).value.logStart, 1);
  assert.ok(world.node.logs.find('short')!.replica!.log.firstIndex > 3, 'what followed the record is deleted');
  await client.produce('short', records('b'));
  await world.settle();
  const { end, bytes } = client.delivered(id);
  assert.is(end, null);
  assert.equal(valuesOf(bytes), ['0:a', '1:b']);
});

test('after in SUBSCRIBE waits for the offset, 30 s at most', async () => {
  const { world, client } = await ready();
  const met = client.sendSubscribe('default', { after: 1 });
  const never = client.sendSubscribe('default', { after: 5 });
  await world.settle();
  assert.not.ok(client.delivered(met).started);
  await client.produce('default', records('a'));
  assert.ok(client.delivered(met).started);
  await world.advance(31_000);
  assert.is(client.delivered(never).end!.name, 'BEHIND');
  assert.not.ok(client.delivered(never).started);
});

test('a subscription cancelled before its answer gets an error answer and no DELIVER', async () => {
  const { world, client } = await ready();
  const id = client.sendSubscribe('default', { after: 5 });
  client.cancel(id);
  await world.settle();
  assert.is(client.answers(id).length, 1);
  assert.is(client.answers(id)[0]!.op, 0x31);
  assert.is(client.delivered(id).end!.name, 'CANCELED');
});

test('a SUBSCRIBE that waits for its log to be opened can be cancelled and given credit', async () => {
  const first = await ready();
  await first.client.produce('default', sized(1000));
  const world = await first.world.restart();
  const client = await world.connect();
  const cancelled = client.sendSubscribe('default');
  client.cancel(cancelled);
  const credited = client.sendSubscribe('default', { creditBytes: 0 });
  client.credit(credited, 10);
  await world.settle();
  assert.is(client.delivered(cancelled).end!.name, 'CANCELED');
  assert.is(client.delivered(credited).bytes.length, 1000);
});

test('catches up from disk and goes on live without a gap', async () => {
  const { world, client } = await ready({ cacheBytes: 64 * 1024 });
  for (let i = 0; i < 200; i++) client.sendProduce('default', records(`v${i}`, 'x'.repeat(20_000)));
  await world.settle();
  const id = client.sendSubscribe('default', { creditBytes: 100_000_000 });
  for (let i = 200; i < 260; i++) client.sendProduce('default', records(`v${i}`, 'x'.repeat(20_000)));
  await world.settle();
  const values = valuesOf(client.delivered(id).bytes).filter((_, i) => i % 2 === 0);
  assert.equal(values, Array.from({ length: 260 }, (_, i) => `${2 * i}:v${i}`));
});

test('a subscriber that stops reading holds a bounded buffer and goes on where it was', async () => {
  const { world, client } = await ready();
  const producer = await world.connect();
  const id = client.sendSubscribe('default', { creditBytes: 1_000_000_000 });
  await world.settle();
  client.stalled = true;
  for (let i = 0; i < 100; i++) await producer.produce('default', sized(100_000));
  assert.ok(client.session.outputBytes < 2 * 1024 * 1024);
  client.stalled = false;
  await world.settle();
  assert.is(client.delivered(id).bytes.length, 100 * 100_000);
});

test('a subscription without credit does not hold back a fetch of the same connection', async () => {
  const { world, client } = await ready();
  await client.produce('default', sized(1000));
  client.sendSubscribe('default', { creditBytes: 0 });
  assert.is((await client.fetch('default')).value.batches.length, 1000);
  void world;
});

test('GOAWAY ends subscriptions with SHUTTING_DOWN', async () => {
  const { world, client } = await ready();
  const id = client.sendSubscribe('default');
  await world.settle();
  client.session.goAway(11, 'stopping');
  await world.settle();
  assert.is(client.delivered(id).end!.name, 'SHUTTING_DOWN');
});

test('the end of the peer\'s stream drops subscriptions and waits, accepted produces still commit', async () => {
  const { world, client } = await ready();
  client.sendSubscribe('default');
  client.sendFetch('default', { from: From.NEXT, maxWaitMs: 60_000 });
  await world.settle();
  const replica = world.node.logs.find('default')!.replica!;
  assert.is(replica.readers.count, 2);
  const id = client.sendProduce('default', records('last'));
  client.session.peerEnded(world.clock.monotonic);
  await world.settle();
  assert.is(replica.readers.count, 0);
  assert.is(client.produced(id)!.code, 'OK');
  const other = await world.connect();
  assert.equal(valuesOf((await other.fetch('default')).value.batches), ['0:last']);
});

test('more subscriptions than allowed are refused', async () => {
  const { world, client } = await ready();
  const ids = Array.from({ length: 9 }, () => client.sendSubscribe('default'));
  await world.settle();
  assert.is(client.delivered(ids[8]!).end!.name, 'TOO_MANY_INFLIGHT');
  assert.ok(client.delivered(ids[7]!).started);
});

test.run();
