import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { From, Op } from '../../src/wire/ops.ts';
import {
  alterLogRequest, deleteLogRequest, describeClusterRequest, describeLogRequest, listLogsRequest, removeNodeRequest,
  transferLeaderRequest, trimRequest,
} from '../../src/wire/requests-admin.ts';
import { describeClusterResponse, describeLogResponse, listLogsResponse, transferLeaderResponse } from '../../src/wire/responses-admin.ts';
import { findOffsetRequest, putPositionRequest, getPositionRequest } from '../../src/wire/requests-read.ts';
import { fenceRequest, initProducerRequest } from '../../src/wire/requests-write.ts';
import {
  fenceResponse, getPositionResponse, initProducerResponse, putPositionResponse, subscribeResponse,
} from '../../src/wire/responses-data.ts';
import { Reader } from '../../src/wire/bytes.ts';
import { batchSize } from '../../src/wire/batch.ts';
import type { TestClient } from './support.ts';
import { decode, EMPTY, encode, producerRecords, records, sized, valuesOf, WALL_START_MS, World } from './support.ts';

/** Calls that change something on disk, and `open` without which none is made. */
const CHANGES: readonly string[] = ['open', 'write', 'sync', 'rename', 'unlink', 'syncDirectory'];

const test = suite('replica/logs');

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

const list = (client: TestClient, prefix = '', trash?: true) =>
  client.call(Op.LIST_LOGS, listLogsRequest, { prefix, trash }, listLogsResponse);

test('the log default is there at the first start, and not made again once it was deleted', async () => {
  let { world, client } = await ready();
  assert.is((await client.describe('default')).code, 'OK');
  await client.deleteLog('default');
  world = await world.restart();
  client = await world.connect();
  assert.is((await client.describe('default')).code, 'LOG_NOT_FOUND');
});

test('a created log takes records, shows its settings with defaults filled in, and survives a power cut', async () => {
  let { world, client } = await ready();
  const made = await client.createLog('orders', { retainMs: 5_000_000, compressions: 0 });
  assert.is(made.code, 'OK');
  await client.produce('orders', records('a'));
  const info = (await client.describe('orders')).value;
  assert.equal(info.logUid, made.value.logUid);
  assert.equal(
    [info.durability, info.replication, info.intervalMs, info.retainBytes, info.retainMs, info.segmentBytes, info.compressions],
    [1, 1, 0, 0, 5_000_000, 1024 * 1024, 3],
  );
  assert.equal([info.leader, info.committedEnd, info.created], ['n1', 1, world.clock.wall]);
  assert.equal(info.replicas, [{ node: 'n1', role: 1 }]);
  world = await world.crash({ keep: 'none' });
  client = await world.connect();
  assert.equal(valuesOf((await client.fetch('orders')).value.batches), ['0:a']);
});

test('answers carry log_uid exactly when the request did not', async () => {
  const { world, client } = await ready();
  await client.produce('default', records('a'));
  const uid = (await client.describe('default')).value.logUid;
  const known = { log: 'default', logUid: uid };
  const unknown = { log: 'default' };
  for (const request of [known, unknown]) {
    const expected = request === known ? undefined : uid;
    const described = (await client.call(Op.DESCRIBE_LOG, describeLogRequest, request, describeLogResponse)).value;
    assert.equal(described.uid, expected);
    const init = (await client.call(Op.INIT_PRODUCER, initProducerRequest, { ...request, name: 'p' }, initProducerResponse)).value;
    assert.equal(init.logUid, expected);
    const fence = (await client.call(Op.FENCE, fenceRequest, { ...request, token: 4 }, fenceResponse)).value;
    assert.equal(fence.logUid, expected);
    assert.equal((await client.fetch('default', { logUid: request === known ? uid : undefined, flags: 1 })).value.logUid, expected);
    const id = client.sendSubscribe('default', { logUid: request === known ? uid : undefined });
    await world.settle();
    assert.equal(subscribeResponse.read(new Reader(client.answers(id)[0]!.payload)).logUid, expected);
  }
  const wrong = { log: 'default', logUid: Buffer.alloc(16, 7) };
  for (const [op, request] of [[Op.DESCRIBE_LOG, describeLogRequest], [Op.DELETE_LOG, deleteLogRequest]] as const) {
    const refused = await client.call(op, request, wrong, EMPTY);
    assert.is(refused.code, 'LOG_CHANGED');
    assert.equal(refused.error.detail.logUid, uid);
  }
});

test('a name in use is LOG_EXISTS with its uid, also when both come at once', async () => {
  const { world, client } = await ready();
  const uid = (await client.createLog('a')).value.logUid;
  const again = await client.createLog('a');
  assert.is(again.code, 'LOG_EXISTS');
  assert.equal(again.error.detail.logUid, uid);
  const both = await Promise.all([client.createLog('b'), client.createLog('b')]);
  assert.equal(both.map(({ code }) => code).sort(), ['LOG_EXISTS', 'OK']);
  void world;
});

test('refuses settings that make no sense, naming the field', async () => {
  const { client } = await ready();
  const wrong = async (changes: object): Promise<string> => {
    const { code, error } = await client.createLog('x', changes);
    return `${code} ${error?.detail.field}`;
  };
  assert.is(await wrong({ durability: 2 }), 'INVALID_ARGUMENT interval_ms');
  assert.is(await wrong({ durability: 2, intervalMs: 60_001 }), 'INVALID_ARGUMENT interval_ms');
  assert.is(await wrong({ durability: 3, replication: 3 }), 'INVALID_ARGUMENT replication');
  assert.is(await wrong({ segmentBytes: 1024 }), 'INVALID_ARGUMENT segment_bytes');
  assert.is(await wrong({ segmentBytes: 2 ** 31 }), 'INVALID_ARGUMENT segment_bytes');
  assert.is((await client.createLog('ok', { durability: 2, intervalMs: 1000 })).code, 'OK');
});

test('more logs than the limit are refused with it', async () => {
  const { client } = await ready({ logsMax: 3 });
  await client.createLog('a');
  await client.createLog('b');
  const over = await client.createLog('c');
  assert.is(over.code, 'INVALID_ARGUMENT');
  assert.equal([over.error.detail.limit, over.error.detail.field], [3, 'log']);
});

test('logs created one while the other is being opened reach the limit exactly', async () => {
  const { client } = await ready({ logsMax: 13 });
  const answers = [];
  for (let i = 0; i < 13; i++) {
    answers.push(client.createLog(`log-${i}`));
    for (let turn = 0; turn < i * 5; turn++) await Promise.resolve();
  }
  const codes = (await Promise.all(answers)).map(({ code }) => code);
  assert.is(codes.filter((code) => code === 'OK').length, 12, codes.join(' '));
  assert.is((await list(client)).value.logs.length, 13);
});

test('lists by prefix in the order of names, in pages that fit the client', async () => {
  const { world, client } = await ready();
  for (const name of ['b2', 'b1', 'A', 'c']) await client.createLog(name);
  assert.equal((await list(client)).value.logs.map(({ log }) => log), ['A', 'b1', 'b2', 'c', 'default']);
  assert.equal((await list(client, 'b')).value.logs.map(({ log }) => log), ['b1', 'b2']);
  assert.equal((await list(client, 'zz')).value.logs, []);
  void world;
});

test('a log never opened since the start is listed with all its acked records', async () => {
  let { world, client } = await ready();
  await client.createLog('quiet');
  await client.produce('quiet', records('a', 'b'));
  world = await world.crash({ mode: 'process' });
  client = await world.connect();
  assert.is((await list(client, 'quiet')).value.logs[0]!.committedEnd, 2);
});

test('ALTER_LOG changes exactly what it names, by the rules of creation', async () => {
  const { world, client } = await ready();
  await client.createLog('m', { durability: 3 });
  const alter = (changes: object) => client.call(Op.ALTER_LOG, alterLogRequest, {
    log: 'm', retainBytes: -1, retainMs: -1, replication: 0 as const, compressions: 0, ...changes,
  }, EMPTY);
  assert.is((await alter({ retainMs: 1000 })).code, 'OK');
  assert.is((await alter({ replication: 3 })).error.detail.field, 'replication');
  assert.is((await alter({ compressions: 5 })).code, 'OK');
  const info = (await client.describe('m')).value;
  assert.equal([info.retainBytes, info.retainMs, info.compressions, info.durability], [0, 1000, 5, 3]);
  const next = await world.restart();
  const after = (await (await next.connect()).describe('m')).value;
  assert.equal([after.retainMs, after.compressions], [1000, 5]);
});

test('DELETE_LOG ends waits and subscriptions with LOG_NOT_FOUND, and the name can be used again', async () => {
  const { world, client } = await ready();
  const uid = (await client.createLog('x')).value.logUid;
  await client.produce('x', records('old'));
  const fetch = client.sendFetch('x', { from: From.NEXT, maxWaitMs: 60_000 });
  const subscription = client.sendSubscribe('x');
  await world.settle();
  assert.is((await client.deleteLog('x')).code, 'OK');
  assert.is(client.fetched(fetch)!.code, 'LOG_NOT_FOUND');
  assert.is(client.delivered(subscription).end!.name, 'LOG_NOT_FOUND');
  assert.is((await client.produce('x', records('a'))).code, 'LOG_NOT_FOUND');
  assert.is((await client.fetch('x')).code, 'LOG_NOT_FOUND');
  const made = await client.createLog('x');
  assert.is(made.code, 'OK');
  assert.not.equal(made.value.logUid, uid);
  assert.equal((await client.fetch('x')).value.committedEnd, 0);
  const changed = await client.produce('x', records('a'), { logUid: uid });
  assert.is(changed.code, 'LOG_CHANGED');
  assert.equal(changed.error.detail.logUid, made.value.logUid);
  assert.is((await client.fetch('x', { logUid: uid })).code, 'LOG_CHANGED');
});

test('what was given an index before a deletion is answered with its result', async () => {
  const { world, client } = await ready();
  await client.createLog('x');
  const ids = Array.from({ length: 5 }, (_, i) => client.sendProduce('x', records(`v${i}`)));
  const deletion = client.deleteLog('x');
  const late = client.sendProduce('x', records('late'));
  await deletion;
  assert.ok(ids.every((id) => client.produced(id)!.code === 'OK'));
  assert.ok(['OK', 'LOG_NOT_FOUND'].includes(client.produced(late)!.code));
  void world;
});

test('a deletion that a crash interrupts is finished at the next start', async () => {
  for (let operation = 1; operation < 60; operation += 1) {
    const { world, client } = await ready();
    await client.createLog('x');
    await client.produce('x', records('a'));
    const before = world.disk.operationCount;
    void world.disk.haltAt(before + operation);
    const answer = await Promise.race([client.deleteLog('x').catch(() => null), world.settle().then(() => null)]);
    const next = await world.crash({ keep: 'random' });
    const found = await (await next.connect()).describe('x');
    if (answer !== null && answer.code === 'OK') assert.is(found.code, 'LOG_NOT_FOUND');
    else if (found.code === 'OK') assert.is(found.value.committedEnd, 1, `halted at ${operation}`);
    const trash = (await list(await next.connect(), '', true)).value.logs;
    assert.is(trash.length, found.code === 'OK' ? 0 : 1, `halted at ${operation}: ${found.code}`);
    assert.equal(next.events.filter(({ level }) => level === 'error'), []);
  }
});

test('the trash lists what can be restored, and a restored log has everything under a new uid', async () => {
  let { world, client } = await ready();
  await client.createLog('x', { retainBytes: 123_456_789 });
  await client.call(Op.PUT_POSITION, putPositionRequest, { log: 'x', name: 'app', offset: 9, expected: -1 }, putPositionResponse);
  const producer = (await client.initProducer('x', 'p')).value;
  for (let i = 0; i < 30; i++) await client.produce('x', sized(100_000));
  // So far that these two entries are gone from the segments: only a snapshot knows of them.
  await client.trim('x', 15);
  await world.advance(3000);
  assert.ok(world.node.logs.find('x')!.replica!.log.firstIndex > 2);
  await client.produce('x', producerRecords({ producerId: producer.producerId, epoch: 0, seq: 0 }, 'mine'));
  const before = (await client.fetch('x', { value: 29, maxBytes: 4_000_000 })).value.batches;
  const uid = (await client.describe('x')).value.logUid;
  await world.advance(5000);
  await client.deleteLog('x');
  const [entry] = (await list(client, 'x', true)).value.logs;
  assert.equal([entry!.log, entry!.logStart, entry!.committedEnd, entry!.created, entry!.leader], ['x', 15, 31, world.clock.wall, '']);
  assert.equal([entry!.logUid, entry!.replicas], [uid, []]);
  assert.equal((await list(client)).value.logs.map(({ log }) => log), ['default']);

  assert.is((await client.createLog('y', { restoreUid: Buffer.alloc(16, 3) })).code, 'LOG_NOT_FOUND');
  assert.is((await client.createLog('default', { restoreUid: uid })).code, 'LOG_EXISTS');
  const restored = await client.createLog('y', { restoreUid: uid, durability: 3 });
  assert.is(restored.code, 'OK');
  assert.not.equal(restored.value.logUid, uid);
  assert.equal((await list(client, '', true)).value.logs, []);
  assert.is((await client.createLog('z', { restoreUid: uid })).code, 'LOG_NOT_FOUND');

  world = await world.restart();
  client = await world.connect();
  const info = (await client.describe('y')).value;
  assert.equal([info.logStart, info.committedEnd, info.retainBytes, info.durability], [15, 31, 123_456_789, 1]);
  const after = (await client.fetch('y', { value: 29, maxBytes: 4_000_000 })).value.batches;
  assert.equal(after, before);
  assert.is(batchSize(after, 0), 100_000);
  const position = await client.call(Op.GET_POSITION, getPositionRequest, { log: 'y', name: 'app' }, getPositionResponse);
  assert.is(position.value.offset, 9);
  const again = await client.produce('y', producerRecords({ producerId: producer.producerId, epoch: 0, seq: 0 }, 'mine'));
  assert.is(again.value.baseOffset, 30);
  assert.is((await client.produce('y', records('new'))).value.baseOffset, 31);
});

test('a damaged log in the trash is not restored and stays where it is', async () => {
  const { world, client } = await ready();
  await client.createLog('x');
  await client.produce('x', records('a'));
  const uid = (await client.describe('x')).value.logUid;
  await client.deleteLog('x');
  world.disk.corrupt(`trash/${uid.toString('hex')}/00000001/00000000000000000001.seg`, 40);
  const refused = await client.createLog('y', { restoreUid: uid });
  assert.is(refused.code, 'INTERNAL');
  assert.match(refused.error.message, /damaged/);
  assert.is((await client.describe('y')).code, 'LOG_NOT_FOUND');
  assert.is((await list(client, '', true)).value.logs.length, 1);
  const next = await world.restart();
  assert.is((await list(await next.connect(), '', true)).value.logs.length, 1);
});

test('a log that cannot be opened says why, and the others go on', async () => {
  const first = await ready();
  await first.client.createLog('x');
  const uid = (await first.client.describe('x')).value.logUid.toString('hex');
  await first.world.stop();
  await first.world.disk.removeTree(`logs/${uid}/00000001`);
  const world = await World.start({ disk: first.world.disk, clock: first.world.clock, createDefault: false });
  const client = await world.connect();
  const refused = await client.produce('x', records('a'));
  assert.is(refused.code, 'LOG_STOPPED');
  assert.match(refused.error.message, /cannot be opened/);
  assert.is((await client.fetch('x')).code, 'LOG_STOPPED');
  assert.is((await client.produce('default', records('a'))).code, 'OK');
  assert.is((await client.describe('x')).code, 'OK');
});

test('what waits for a log to be opened is answered in time', async () => {
  const first = await ready();
  await first.world.stop();
  const ends: (() => void)[] = [];
  let hold = true;
  const disk = first.world.disk.crash({ mode: 'process' });
  const options = { disk, clock: first.world.clock, createDefault: false };
  const world = await World.start(options);
  const client = await world.connect();
  const open = world.disk.open.bind(world.disk);
  world.disk.open = async (path, mode) => {
    if (hold && path.endsWith('.seg')) await new Promise<void>((resolve) => ends.push(resolve));
    return open(path, mode);
  };
  const produce = client.sendProduce('default', records('a'), { timeoutMs: 2000 });
  const fetch = client.sendFetch('default');
  await world.advance(3000);
  assert.is(client.produced(produce)!.code, 'TIMEOUT');
  assert.is(client.fetched(fetch), null);
  hold = false;
  for (const end of ends.splice(0)) end();
  await world.settle();
  assert.is(client.fetched(fetch)!.code, 'OK');
  assert.is(client.fetched(fetch)!.value.committedEnd, 0, 'what timed out while it waited has had no effect');
});

test('a restoration that a crash interrupts is either finished or not begun', async () => {
  const outcomes = new Set<string>();
  for (let operation = 1; operation < 120; operation += 2) {
    const { world, client } = await ready();
    await client.createLog('x');
    for (let i = 0; i < 3; i++) await client.produce('x', sized(600_000));
    const uid = (await client.describe('x')).value.logUid;
    await client.deleteLog('x');
    void world.disk.haltAt(world.disk.operationCount + operation);
    void client.createLog('y', { restoreUid: uid }).catch(() => null);
    await world.settle();
    const next = await world.crash({ keep: 'random' });
    const other = await next.connect();
    const found = await other.describe('y');
    outcomes.add(found.code);
    if (found.code === 'OK') {
      assert.is(found.value.committedEnd, 3);
      assert.is((await other.fetch('y', { value: 2 })).code, 'OK');
    } else {
      assert.is((await list(other, '', true)).value.logs.length, 1, `halted at ${operation}`);
      assert.is((await other.createLog('y', { restoreUid: uid })).code, 'OK', `halted at ${operation}`);
    }
    assert.equal(next.events.filter(({ level }) => level === 'error'), []);
  }
  assert.equal([...outcomes].sort(), ['LOG_NOT_FOUND', 'OK']);
});

test('the trash is emptied after its time, but not by a clock that jumped', async () => {
  const { world, client } = await ready({ trashKeepMs: 3_600_000 });
  await client.createLog('x');
  await client.deleteLog('x');
  await world.advance(2000, 30 * 24 * 3_600_000);
  assert.is((await list(client, '', true)).value.logs.length, 1);
  world.clock.wall -= 30 * 24 * 3_600_000;
  await world.advance(2000);
  world.clock.monotonic += 3_700_000;
  world.clock.wall += 3_700_000;
  await world.advance(3000);
  assert.is((await list(client, '', true)).value.logs.length, 0);
  assert.equal(await world.disk.list('trash'), []);
});

test('closes logs that nobody uses when too many are open, and opens them again', async () => {
  const { world, client } = await ready({ openLogsMax: 5 });
  for (let i = 0; i < 20; i++) {
    await client.createLog(`l${i}`);
    await client.produce(`l${i}`, records(`v${i}`));
  }
  const waiting = client.sendFetch('l0', { from: From.NEXT, maxWaitMs: 600_000 });
  await world.advance(30_000);
  assert.is(world.node.logs.opener.openCount, 5);
  assert.ok(world.node.logs.find('l0')!.replica !== null, 'one that is waited at stays open');
  assert.is(client.fetched(waiting), null);
  for (let i = 0; i < 20; i++) {
    assert.equal(valuesOf((await client.fetch(`l${i}`)).value.batches), [`0:v${i}`]);
    assert.is((await client.produce(`l${i}`, records('more'))).value.baseOffset, 1);
  }
});

test('a thousand logs are created, used and found again', async () => {
  const { world, client } = await ready({ openLogsMax: 50, ballastBytes: 0 });
  for (let i = 0; i < 999; i++) {
    void client.createLog(`l${i}`).catch(() => {});
    if (i % 100 === 99) await world.advance(11_000);
  }
  await world.advance(11_000);
  assert.is(world.node.logs.count, 1000);
  const next = await world.restart();
  const other = await next.connect();
  assert.is((await other.produce('l998', records('x'))).code, 'OK');
  const id = other.send(Op.LIST_LOGS, Buffer.from('00000000', 'hex'));
  await next.settle();
  const logs = other.answers(id).flatMap((answer) => decode(answer, listLogsResponse).value.logs);
  assert.is(logs.length, 1000);
});

test('describes the cluster of one, transfers to itself, removes nobody', async () => {
  const { client } = await ready();
  const cluster = (await client.call(Op.DESCRIBE_CLUSTER, describeClusterRequest, {}, describeClusterResponse)).value;
  assert.equal([cluster.catalogLeader, cluster.nodes.length, cluster.nodes[0]!.state, cluster.nodes[0]!.role], ['n1', 1, 1, 1]);
  const transfer = (node: string) => client.call(Op.TRANSFER_LEADER, transferLeaderRequest, { log: 'default', node }, transferLeaderResponse);
  assert.is((await transfer('')).value.leader, 'n1');
  assert.is((await transfer('n1')).code, 'OK');
  assert.is((await transfer('n2')).error.detail.field, 'node');
  const remove = await client.call(Op.REMOVE_NODE, removeNodeRequest, { node: 'n1', flags: 0 }, EMPTY);
  assert.equal([remove.code, remove.error.detail.field], ['INVALID_ARGUMENT', 'node']);
  const other = await client.world.connect({ admin: false });
  assert.is((await other.call(Op.REMOVE_NODE, removeNodeRequest, { node: 'n1', flags: 0 }, EMPTY)).code, 'FORBIDDEN');
});

test('a restore that failed for want of room can be asked for again', async () => {
  const world = await World.start();
  const client = await world.connect();
  await client.createLog('gone');
  await client.produce('gone', records('a'));
  await client.deleteLog('gone');
  const { uid } = world.node.logs.trash.list('gone')[0]!;
  const restore = async (): Promise<string> => {
    const outcome = world.node.logs.restore('gone', uid).then(() => 'OK', (error: Error) => error.message);
    await world.settle();
    return outcome;
  };
  world.disk.failNext('write', 'ENOSPC', /log\.json/);
  assert.match(await restore(), /ENOSPC/);
  assert.is(await restore(), 'OK');
  assert.equal(valuesOf((await client.fetch('gone')).value.batches), ['0:a']);
});

test('a restore that failed at any step can be asked for again at once, under any name, and ends as one log', async () => {
  const first = await ready();
  await first.client.createLog('gone', { segmentBytes: 1024 * 1024 });
  for (let i = 0; i < 3; i++) assert.is((await first.client.produce('gone', sized(700 * 1024))).code, 'OK');
  await first.client.deleteLog('gone');
  const { uid } = first.world.node.logs.trash.list('gone')[0]!;
  const restoreUid = Buffer.from(uid, 'hex');
  await first.world.stop();
  for (const code of ['ENOSPC', 'EIO']) {
    // Every call that changes anything fails once, until a restore goes through undisturbed.
    for (let nth = 0, failed = true; failed; nth++) {
      const disk = first.world.disk.after({ mode: 'process' });
      const world = await World.start({ disk, clock: first.world.clock, createDefault: false, seed: 8 });
      const client = await world.connect();
      let left = nth;
      failed = false;
      const rule = disk.fail(({ call, path }) => {
        if (!CHANGES.includes(call) || failed || !/^(logs|trash)/.test(path) || left-- > 0) return null;
        failed = true;
        return code;
      });
      const answer = await client.createLog('back', { restoreUid });
      rule();
      const what = `${code} at call ${nth}: ${answer.code}`;
      let name = 'back';
      if (world.node.logs.find('back') === null) {
        assert.equal(world.node.logs.trash.list('').map((entry) => entry.uid), [uid], `${what}: it is in the trash`);
        await world.advance(7_200_000);
        name = 'other';
        assert.is((await client.createLog(name, { restoreUid })).code, 'OK', `${what}: whoever wants it back can have it`);
        assert.is((await client.fetch(name, { value: 2 })).code, 'OK', what);
      }
      await world.stop();
      const again = await World.start({ disk: disk.crash({ keep: 'none' }), clock: world.clock, createDefault: false });
      const reader = await again.connect();
      for (const offset of [0, 1, 2]) assert.is((await reader.fetch(name, { value: offset })).code, 'OK', what);
      assert.equal(again.node.logs.list('').map((slot) => slot.name), ['default', name].sort(), what);
      const names = [...(await again.disk.list('trash')), ...(await again.disk.list('logs'))];
      assert.is(names.length, 2, `${what}: ${names.join()}`);
    }
  }
});

test('a restore that failed halfway waits at the next start where its name was given to another log meanwhile', async () => {
  const { world, client } = await ready();
  await client.createLog('name');
  await client.produce('name', records('old'));
  await client.deleteLog('name');
  const restoreUid = Buffer.from(world.node.logs.trash.list('name')[0]!.uid, 'hex');
  world.disk.failNext('rename', 'EIO', /^logs\/restore-/);
  assert.is.not((await client.createLog('name', { restoreUid })).code, 'OK');
  assert.is((await client.createLog('name')).code, 'OK');
  await client.produce('name', records('new'));

  const after = await world.crash({ keep: 'all' });
  const reader = await after.connect();
  assert.equal(valuesOf((await reader.fetch('name')).value.batches), ['0:new']);
  const [left, ...others] = [...after.node.logs.leftOut];
  assert.equal(others, []);
  assert.match(left![0], /^logs\/restore-/);
  assert.is(left![1], 'it cannot be restored under its name');
  // The name is free again: the next start brings it back.
  await reader.deleteLog('name');
  await after.stop();
  const last = await World.start({ disk: after.disk, clock: after.clock });
  const again = await last.connect();
  assert.equal(valuesOf((await again.fetch('name')).value.batches), ['0:old']);
  assert.equal([...last.node.logs.leftOut], []);
  await last.stop();
});

test('a log that is deleted while a request opens its files is not found', async () => {
  const ends: (() => void)[] = [];
  let held = false;
  const { world, client } = await ready({
    segmentBytes: 1024 * 1024,
    diskOptions: { schedule: (end: () => void, { call }: { call: string }) => (held && call === 'open' ? void ends.push(end) : queueMicrotask(end)) },
  });
  const requests: [number, Buffer][] = [
    [Op.FIND_OFFSET, encode(findOffsetRequest, { log: 'x', time: WALL_START_MS + 1500 })],
    [Op.TRIM, encode(trimRequest, { log: 'x', offset: 1 })],
  ];
  // Deleted before the file is open, and while it is being deleted: both are late by one step or another.
  for (const [op, request] of requests) {
    for (const early of [true, false]) {
      await client.createLog('x');
      for (let i = 0; i < 5; i++) {
        await client.produce('x', sized(400 * 1024));
        await world.advance(1000);
      }
      await world.node.logs.opener.close(world.node.logs.find('x')!);
      await client.fetch('x', { value: 4 });
      held = true;
      const asked = client.send(op, request);
      await world.settle();
      assert.ok(ends.length > 0, 'it waits for a file to be opened');
      held = false;
      const deleted = client.send(Op.DELETE_LOG, encode(deleteLogRequest, { log: 'x' }));
      if (early) await world.settle();
      for (const end of ends.splice(0)) end();
      await world.settle();
      assert.is(client.result(deleted, EMPTY)!.code, 'OK');
      const answer = client.result(asked, EMPTY);
      // One that was quicker than the deletion has its result.
      if (early) assert.is(answer?.code, 'LOG_NOT_FOUND', `op ${op}`);
      else assert.ok(['OK', 'LOG_NOT_FOUND', 'LEADERSHIP_LOST'].includes(answer?.code ?? 'no answer'), `op ${op}: ${answer?.code}`);
    }
  }
});

test('while a log folder cannot be read nobody is told that a log does not exist', async () => {
  const first = await ready();
  await first.client.createLog('x');
  await first.client.createLog('y');
  await first.client.produce('x', records('a'));
  await first.client.deleteLog('y');
  const uid = (await first.client.describe('x')).value.logUid.toString('hex');
  await first.world.stop();
  const disk = first.world.disk.crash({ mode: 'process' });
  disk.failNext('read', 'EIO', new RegExp(`logs/${uid}/log.json`));
  let world = await World.start({ disk, clock: first.world.clock, createDefault: false });
  let client = await world.connect();
  for (const name of ['x', 'y']) {
    for (const { code, error } of [await client.produce(name, records('b')), await client.fetch(name), await client.createLog(name)]) {
      assert.is(code, 'LOG_STOPPED');
      assert.match(error.message, new RegExp(`1 logs that cannot be read \\(logs/${uid}\\)`));
    }
  }
  assert.is((await client.produce('default', records('a'))).code, 'OK');
  world = await world.restart();
  client = await world.connect();
  assert.equal(valuesOf((await client.fetch('x')).value.batches), ['0:a']);
  assert.is((await client.fetch('y')).code, 'LOG_NOT_FOUND');
});

test('a log whose creation failed never comes back under a name that was used since', async () => {
  // Of each attempt the sync that ends it fails, and the one that undoes it.
  for (const [failures, refusals] of [[1, 1], [2, 1], [3, 2]] as const) {
    let { world, client } = await ready();
    world.disk.failNext('syncDirectory', 'EIO', /^logs$/, failures);
    for (let i = 0; i < refusals; i++) assert.is((await client.createLog('x')).code, 'INTERNAL');
    assert.is((await client.createLog('x')).code, 'OK');
    assert.is((await client.produce('x', records('a'))).code, 'OK');
    world = await world.restart();
    client = await world.connect();
    assert.equal(valuesOf((await client.fetch('x')).value.batches), ['0:a']);
    await client.deleteLog('x');
    world = await world.restart();
    client = await world.connect();
    assert.is((await client.describe('x')).code, 'LOG_NOT_FOUND');
  }
});

test.run();
