import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { NONE } from '../../src/wire/limits.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { getPositionRequest, listPositionsRequest, putPositionRequest } from '../../src/wire/requests-read.ts';
import type { PutPositionRequest } from '../../src/wire/requests-read.ts';
import { getPositionResponse, listPositionsResponse, putPositionResponse } from '../../src/wire/responses-data.ts';
import type { DiskOperation } from '../support/sim-disk.ts';
import type { TestClient } from './support.ts';
import { encode, records, valuesOf, World } from './support.ts';

const test = suite('replica/positions');

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

const sendPut = (client: TestClient, name: string, offset: number, expected: number = NONE) =>
  client.send(Op.PUT_POSITION, encode<PutPositionRequest>(putPositionRequest, { log: 'default', name, offset, expected }));

async function put(client: TestClient, name: string, offset: number, expected: number = NONE) {
  const id = sendPut(client, name, offset, expected);
  await client.world.settle();
  return client.result(id, putPositionResponse)!;
}

const get = (client: TestClient, name: string) =>
  client.call(Op.GET_POSITION, getPositionRequest, { log: 'default', name }, getPositionResponse);

test('stores, goes back, deletes, and knows nothing of what is not there', async () => {
  const { client } = await ready();
  assert.is((await get(client, 'app')).code, 'POSITION_NOT_FOUND');
  assert.is((await put(client, 'app', 7)).value.offset, 7);
  assert.is((await put(client, 'app', 3)).value.offset, 3);
  const found = await get(client, 'app');
  assert.is(found.value.offset, 3);
  assert.is(found.value.logUid!.length, 16);
  assert.is((await put(client, 'app', NONE)).value.offset, NONE);
  assert.is((await get(client, 'app')).code, 'POSITION_NOT_FOUND');
  assert.is((await put(client, 'app', NONE)).code, 'OK');
});

test('expected makes it compare-and-set; what does not exist compares as 0', async () => {
  const { client } = await ready();
  assert.is((await put(client, 'app', 5, 0)).code, 'OK');
  const lost = await put(client, 'app', 9, 0);
  assert.is(lost.code, 'POSITION_MISMATCH');
  assert.is(lost.error.detail.nextOffset, 5);
  assert.is((await put(client, 'app', 9, 5)).code, 'OK');
});

test('of two compare-and-sets in one turn one wins, and the other is told what it then is', async () => {
  const { world, client } = await ready();
  const ids = [sendPut(client, 'app', 4, 0), sendPut(client, 'app', 8, 0), sendPut(client, 'app', 9, 4)];
  await world.settle();
  const results = ids.map((id) => client.result(id, putPositionResponse)!);
  assert.equal(results.map(({ code }) => code), ['OK', 'POSITION_MISMATCH', 'OK']);
  assert.is(results[1]!.error.detail.nextOffset, 4);
  assert.is((await get(client, 'app')).value.offset, 9);
});

test('updates of one turn become one entry', async () => {
  const { world, client } = await ready();
  await put(client, 'warm', 1);
  const replica = world.node.logs.find('default')!.replica!;
  const before = replica.log.lastIndex;
  const ids = Array.from({ length: 50 }, (_, i) => sendPut(client, `p${i}`, i));
  await world.settle();
  assert.is(replica.log.lastIndex, before + 1);
  assert.ok(ids.every((id) => client.result(id, putPositionResponse)!.code === 'OK'));
});

test('lists by name in pages, with the time of the change', async () => {
  const { world, client } = await ready();
  for (const name of ['b', 'a.1', 'Z']) await put(client, name, 2);
  const listed = await client.call(Op.LIST_POSITIONS, listPositionsRequest, { log: 'default' }, listPositionsResponse);
  assert.equal(listed.value.positions.map(({ name }) => name), ['Z', 'a.1', 'b']);
  assert.is(listed.value.positions[0]!.updated, world.clock.wall);
});

test('a read from a position starts there, or says that it does not exist', async () => {
  const { world, client } = await ready();
  await client.produce('default', records('a', 'b', 'c'));
  await put(client, 'app', 2);
  const found = (await client.fetch('default', { from: From.POSITION, positionName: 'app' })).value;
  assert.is(found.startOffset, 2);
  assert.equal(valuesOf(found.batches).at(-1), '2:c');
  assert.is((await client.fetch('default', { from: From.POSITION, positionName: 'nobody' })).code, 'POSITION_NOT_FOUND');
  await put(client, 'far', 99);
  assert.is((await client.fetch('default', { from: From.POSITION, positionName: 'far' })).code, 'OFFSET_OUT_OF_RANGE');
  const id = client.sendSubscribe('default', { from: From.POSITION, positionName: 'app' });
  await world.settle();
  assert.ok(client.delivered(id).started);
});

test('positions, producers and the fence survive a crash, with a snapshot and without', async () => {
  let { world, client } = await ready();
  await put(client, 'app', 2);
  const { producerId } = (await client.initProducer('default', 'p')).value;
  world = await world.crash({ keep: 'none' });
  client = await world.connect();
  assert.is((await get(client, 'app')).value.offset, 2);
  world = await world.restart();
  client = await world.connect();
  assert.is((await get(client, 'app')).value.offset, 2);
  assert.is((await client.initProducer('default', 'p')).value.producerId, producerId);
});

test('positions beyond the limit are refused with it', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 10_000; i++) {
    sendPut(client, `p${i}`, 1);
    if (i % 500 === 499) await world.settle();
  }
  const over = await put(client, 'one-more', 1);
  assert.is(over.code, 'INVALID_ARGUMENT');
  assert.is(over.error.detail.limit, 10_000);
  assert.is(over.error.detail.field, 'name');
  assert.is((await put(client, 'p5', 2)).code, 'OK');
});

test('a log with positions that are not proposed yet is not closed under them', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const { world, client } = await ready({
    openLogsMax: 0,
    diskOptions: {
      schedule: (end: () => void, { call, path }: DiskOperation) => (hold && call === 'sync' && path.endsWith('.seg') ? void ends.push(end) : queueMicrotask(end)),
    },
  });
  await put(client, 'app', 1);
  world.clock.monotonic += 20_000;
  await world.settle();
  const id = sendPut(client, 'app', 2);
  // The tick comes before the end of the turn, in which they are proposed.
  hold = true;
  world.node.tick();
  await world.settle();
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.is(client.result(id, putPositionResponse)?.code, 'OK');
  await world.advance(20_000);
  assert.is(world.node.logs.opener.openCount, 0, 'afterwards it is');
  assert.is((await get(client, 'app')).value.offset, 2);
});

test.run();
