// Logs that may be open at once: file descriptors that run out would stop logs that are in use, so another
// log is closed first, and where all are in use the newcomer waits for its turn.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { records, valuesOf, World } from './support.ts';

const test = suite('replica/open-limit');
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

test('however many logs are used, no more are open than may be', async () => {
  const world = await World.start({ openLogsLimit: 3 });
  const client = await world.connect();
  const { opener } = world.node.logs;
  let most = 0;
  world.disk.onOperation = () => (most = Math.max(most, opener.openCount));
  for (const log of NAMES) assert.is((await client.createLog(log)).code, 'OK');
  for (let round = 0; round < 3; round++) {
    const ids = NAMES.map((log) => client.sendProduce(log, records(`${log}${round}`)));
    for (let i = 0; i < NAMES.length; i++) await world.advance(100);
    for (const id of ids) assert.is(client.produced(id)?.code, 'OK');
  }
  for (const log of NAMES) assert.equal(valuesOf((await client.fetch(log)).value.batches), [0, 1, 2].map((i) => `${i}:${log}${i}`));
  assert.ok(most <= 3 && opener.openCount <= 3, `${most} were open`);
  assert.is((await (await (await world.crash({ mode: 'process' })).connect()).fetch('f')).value.committedEnd, 3);
});

test('the one that was not used for longest is closed, and none that somebody reads or writes', async () => {
  const world = await World.start({ openLogsLimit: 3 });
  const client = await world.connect();
  for (const log of ['a', 'b']) await client.createLog(log);
  const subscribed = client.sendSubscribe('default');
  for (let i = 0; i < 3; i++) {
    // Between two requests it is idle, and in use all the same.
    await client.produce('a', records(`${i}`));
    await world.advance(1000);
  }
  const isOpen = (log: string): boolean => world.node.logs.find(log)!.replica !== null;
  await client.createLog('c');
  assert.equal(['default', 'a', 'b', 'c'].map(isOpen), [true, true, false, true]);
  for (const log of ['a', 'c']) client.sendSubscribe(log);
  await world.settle();
  const refused = client.sendProduce('b', records('x'));
  await world.settle();
  assert.is(client.produced(refused), null, 'it waits a little');
  await world.advance(2000);
  assert.is(client.produced(refused)!.code, 'OVERLOADED');
  assert.match(client.produced(refused)!.error.message, /3 logs are in use, and for more the limit of open files is too low/);
  const patient = client.sendProduce('b', records('x'));
  await world.settle();
  client.cancel(subscribed);
  await world.advance(100);
  assert.is(client.produced(patient)!.code, 'OK');
});

test('unused logs above the lower bound are closed after a while, at any tick', async () => {
  const world = await World.start({ openLogsMax: 1 });
  const client = await world.connect();
  for (const log of NAMES) await client.createLog(log);
  assert.is(world.node.logs.opener.openCount, NAMES.length + 1);
  await world.advance(12_000);
  assert.is(world.node.logs.opener.openCount, 1);
});

test.run();
