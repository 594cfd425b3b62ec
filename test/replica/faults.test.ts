import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode } from '../../src/wire/errors.ts';
import { NONE } from '../../src/wire/limits.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { findOffsetRequest, getPositionRequest, putPositionRequest } from '../../src/wire/requests-read.ts';
import { findOffsetResponse, getPositionResponse, putPositionResponse } from '../../src/wire/responses-data.ts';
import { acceptLossOf, checkLog, findLogs } from '../../src/replica/offline.ts';
import type { LogCheck } from '../../src/replica/offline.ts';
import { Prng } from '../support/prng.ts';
import type { DiskCall, SimDisk } from '../support/sim-disk.ts';
import type { TestClient } from './support.ts';
import { records, sized, valuesOf, WALL_START_MS, World } from './support.ts';

const test = suite('replica/faults');

const MIB = 1024 * 1024;

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

test('a failed fsync stops the log: in flight LEADERSHIP_LOST, new ones LOG_STOPPED, reading goes on', async () => {
  const { world, client } = await ready();
  await client.createLog('other');
  await client.produce('default', records('safe'));
  world.disk.failNext('sync', 'EIO', /\.seg$/);
  const ids = [client.sendProduce('default', records('a')), client.sendProduce('default', records('b'), { expectedOffset: 9 })];
  await world.settle();
  assert.is(client.produced(ids[0]!)!.code, 'LEADERSHIP_LOST');
  assert.ok(client.produced(ids[0]!)!.error.outcomeUnknown);
  assert.is(client.produced(ids[1]!)!.code, 'LOG_STOPPED');
  const later = await client.produce('default', records('c'));
  assert.is(later.code, 'LOG_STOPPED');
  assert.match(later.error.message, /restart/);
  assert.equal(valuesOf((await client.fetch('default')).value.batches), ['0:safe']);
  await world.advance(30_000);
  assert.is((await client.produce('default', records('d'))).code, 'LOG_STOPPED', 'it is never tried again');
  assert.is((await client.produce('other', records('e'))).code, 'OK', 'other logs go on');
  const next = await world.crash({ mode: 'process' });
  assert.is((await (await next.connect()).produce('default', records('f'))).code, 'OK');
});

test('a log that failed does not hold back the memory of the others', async () => {
  const { world, client } = await ready({ memoryLimitBytes: 8 * MIB, segmentBytes: 64 * MIB });
  await client.produce('default', records('safe'));
  world.disk.failNext('write', 'EIO', /\.seg$/);
  const ids = Array.from({ length: 12 }, () => client.sendProduce('default', sized(MIB)));
  await world.settle();
  assert.ok(ids.every((id) => client.produced(id)!.code === 'LEADERSHIP_LOST'));
  assert.is(world.node.context.memory.bytes, 0);
  assert.equal(world.pauses, [true, false]);
});

test('a sync that fails for want of room stops the log like any other failed sync', async () => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const { world, client } = await ready();
    await client.produce('default', records('safe'));
    world.disk.failNext('sync', code, /\.seg$/);
    const inFlight = client.sendProduce('default', records('a'));
    await world.settle();
    assert.is(client.produced(inFlight)?.code, 'LEADERSHIP_LOST', 'it may or may not be on disk');
    assert.is((await client.produce('default', records('b'))).code, 'LOG_STOPPED', 'room would not help');
    assert.equal(valuesOf((await client.fetch('default')).value.batches), ['0:safe']);
  }
});

test('a log that cannot be opened leaves no file open, however often it is tried', async () => {
  const faults: [DiskCall, string, RegExp][] = [['open', 'EMFILE', /\.idx$/], ['syncDirectory', 'ENOSPC', /00000001$/]];
  for (const [call, code, path] of faults) {
    const { world, client } = await ready();
    await client.produce('default', records('safe'));
    const next = await world.crash({ mode: 'process' });
    const asker = await next.connect();
    const { openFileCount } = next.disk;
    next.disk.failNext(call, code, path, 5);
    for (let i = 0; i < 5; i++) assert.is((await asker.produce('default', records('a'))).code, 'OVERLOADED');
    assert.is(next.disk.openFileCount, openFileCount, `${call} failed`);
    await next.advance(5000);
    assert.is((await asker.produce('default', records('b'))).code, 'OK');
  }
});

test('a log whose term cannot be stored cannot be opened, and leaves no file open either', async () => {
  const { world, client } = await ready();
  await client.produce('default', records('safe'));
  const next = await world.crash({ mode: 'process' });
  const asker = await next.connect();
  const { openFileCount } = next.disk;
  next.disk.failNext('sync', 'EIO', /^raft-state/);
  assert.is((await asker.produce('default', records('a'))).code, 'LOG_STOPPED');
  assert.is(next.disk.openFileCount, openFileCount);
});

test('entries that a snapshot knows and no segment has are DATA_LOSS to readers, and hang nobody', async () => {
  const { world, client } = await ready({ segmentBytes: MIB });
  for (let i = 0; i < 4; i++) assert.is((await client.produce('default', sized(600 * 1024))).code, 'OK');
  const [uid] = await world.disk.list('logs');
  await world.stop();
  const folder = `logs/${uid!}/00000001`;
  const newest = (await world.disk.list(folder)).filter((name) => name.endsWith('.seg')).sort().pop()!;
  await world.disk.unlink(`${folder}/${newest}`);
  const next = await world.restart();
  const reader = await next.connect();
  const { committedEnd } = (await reader.describe('default')).value;
  assert.is(committedEnd, 4);
  assert.is((await reader.fetch('default', { value: 2 })).code, 'OK');
  assert.is((await reader.fetch('default', { value: 3 })).code, 'DATA_LOSS');
  const subscription = reader.sendSubscribe('default', { value: 2, creditBytes: 8 * MIB });
  await next.settle();
  assert.is(reader.delivered(subscription).end?.code, ErrorCode.DATA_LOSS);
  assert.ok(reader.delivered(subscription).bytes.length > 500 * 1024, 'what there is comes first');
  assert.is((await reader.produce('default', records('a'))).code, 'LOG_STOPPED');
});

/** Three segments of two records each in `default`, a snapshot behind them, and the first file gone. */
async function withoutFirstSegment(trimmed: number): Promise<{ world: World; removed: string | undefined; folder: string }> {
  const { world, client } = await ready({ segmentBytes: MIB });
  for (let i = 0; i < 6; i++) {
    assert.is((await client.produce('default', sized(500 * 1024))).code, 'OK');
    await world.advance(1000);
  }
  if (trimmed > 0) assert.is((await client.trim('default', trimmed)).value.logStart, trimmed);
  await world.advance(10_000);
  const [uid] = await world.disk.list('logs');
  await world.stop();
  const folder = `logs/${uid!}/00000001`;
  const segments = (await world.disk.list(folder)).filter((name) => name.endsWith('.seg')).sort();
  const removed = trimmed > 0 ? undefined : segments[0]!;
  if (removed !== undefined) await world.disk.unlink(`${folder}/${removed}`);
  return { world, removed, folder };
}

async function checked(disk: SimDisk): Promise<LogCheck> {
  const [found] = await findLogs(disk);
  return checkLog(found!, { disk, yieldTurn: () => Promise.resolve(), repairIndex: false, progress: () => {} });
}

test('records whose segment file is gone are DATA_LOSS however they are asked for, never skipped in silence', async () => {
  const { world } = await withoutFirstSegment(0);
  const { report, faults } = await checked(world.disk);
  assert.equal(faults, []);
  assert.equal(report!.damage.map(({ firstOffset, lastOffset, firstIndex }) => [firstOffset, lastOffset, firstIndex]), [[0, 1, 1]]);
  const next = await world.restart();
  const client = await next.connect();
  const lost = { logStart: 0, committedEnd: 2 };
  for (const changes of [{ value: 0 }, { value: 1 }, { from: From.EARLIEST }, { from: From.TIME, value: WALL_START_MS }]) {
    const answer = await client.fetch('default', changes);
    assert.is(answer.code, 'DATA_LOSS', JSON.stringify(changes));
    assert.equal(answer.error.detail.range, lost);
    const subscription = client.sendSubscribe('default', changes);
    await next.settle();
    assert.is(client.delivered(subscription).end?.code, ErrorCode.DATA_LOSS);
  }
  const found = await client.call(Op.FIND_OFFSET, findOffsetRequest, { log: 'default', time: WALL_START_MS }, findOffsetResponse);
  assert.is(found.value.offset, 0, 'where reading says what is lost');
  assert.is((await client.fetch('default', { value: 2, prevTerm: 77 })).code, 'OK', 'the batch before is not there to be compared');
  assert.is((await client.fetch('default', { value: 6 })).code, 'OK');
  assert.is((await client.trim('default', 1)).value.logStart, 0, 'nobody knows a border there');
  assert.is((await client.produce('default', records('on'))).value.baseOffset, 6);
  assert.is((await client.trim('default', 3)).value.logStart, 3);
  assert.is((await client.fetch('default', { value: 2 })).code, 'OFFSET_OUT_OF_RANGE');
  assert.ok(next.node.counters.damageFound > 0);
});

test('records that were trimmed are not missed', async () => {
  const { world, folder } = await withoutFirstSegment(3);
  const segments = (await world.disk.list(folder)).filter((name) => name.endsWith('.seg')).sort();
  assert.is(segments.includes('00000000000000000001.seg'), false, 'their file is gone');
  const { report, faults } = await checked(world.disk);
  assert.equal([report!.damage, faults], [[], []]);
  const next = await world.restart();
  assert.is((await (await next.connect()).fetch('default', { value: 2 })).code, 'OFFSET_OUT_OF_RANGE');
  assert.is(next.node.counters.damageFound, 0);
});

test('a first segment that is gone before any snapshot stops the log until the loss is accepted', async () => {
  const { world, client } = await ready({ segmentBytes: MIB });
  for (let i = 0; i < 3; i++) await client.produce('default', sized(500 * 1024));
  const disk = world.disk.crash({ mode: 'process' });
  const [uid] = await disk.list('logs');
  const folder = `logs/${uid!}/00000001`;
  await disk.unlink(`${folder}/00000000000000000001.seg`);
  const { report, faults } = await checked(disk);
  assert.equal(report!.damage.map(({ firstOffset, lastOffset }) => [firstOffset, lastOffset]), [[0, 1]]);
  assert.match(faults[0]!, /entries 1 to \d+ are damaged or missing: the log takes no records/);
  const broken = await World.start({ disk: disk.after({ mode: 'process' }), clock: world.clock, createDefault: false });
  const reader = await broken.connect();
  assert.is((await reader.produce('default', records('x'))).code, 'LOG_STOPPED');
  assert.is((await reader.fetch('default')).code, 'DATA_LOSS');
  assert.is((await reader.fetch('default', { value: 2 })).code, 'OK');
  const [found] = await findLogs(disk);
  assert.match((await acceptLossOf(found!, disk, () => Promise.resolve())).join(), /is forgotten/);
  const mended = await checked(disk);
  assert.equal([mended.report!.damage, mended.faults], [[], []]);
  const next = await World.start({ disk, clock: world.clock, createDefault: false });
  const other = await next.connect();
  assert.is((await other.produce('default', records('x'))).value.baseOffset, 3);
  assert.is((await other.fetch('default', { from: From.EARLIEST })).value.startOffset, 2);
  assert.is((await other.fetch('default')).code, 'OFFSET_OUT_OF_RANGE');
});

/** Small groups are written in the turn, large ones through the thread pool. */
const WRITES: [DiskCall, number][] = [['writeNow', 10], ['write', 100_000]];

for (const [call, size] of WRITES) {
  test(`a failed ${call} other than for want of room stops the log, too`, async () => {
    const { world, client } = await ready();
    await client.produce('default', records('safe'));
    world.disk.failNext(call, 'EIO', /\.seg$/);
    assert.is((await client.produce('default', sized(size))).code, 'LEADERSHIP_LOST');
    assert.is((await client.produce('default', records('b'))).code, 'LOG_STOPPED');
  });
}

test('a full disk refuses before it accepts; fetch, trim and positions go on; producing resumes by itself', async () => {
  const { world, client } = await ready({ diskOptions: { totalBytes: 30 * MIB }, reserveBytes: 8 * MIB });
  let acked = 0;
  let refusal = '';
  for (let i = 0; i < 40 && refusal === ''; i++) {
    const answer = await client.produce('default', sized(MIB));
    if (answer.code === 'OK') acked++;
    else refusal = answer.code;
    await world.advance(1000);
  }
  assert.is(refusal, 'STORAGE_FULL');
  assert.ok(acked >= 10, `${acked} were taken`);
  const describe = await client.describe('default');
  assert.is(describe.value.committedEnd, acked, 'what was refused is not there');
  assert.is((await client.fetch('default', { value: acked - 1 })).code, 'OK');
  const put = await client.call(
    Op.PUT_POSITION, putPositionRequest, { log: 'default', name: 'app', offset: 3, expected: -1 }, putPositionResponse,
  );
  assert.is(put.code, 'OK', 'positions may use half of the reserve');
  assert.is((await client.trim('default', acked)).value.logStart, acked);
  await world.advance(5000);
  const again = await client.produce('default', sized(MIB));
  assert.is(again.code, 'OK');
  assert.is(again.value.baseOffset, acked);
  const position = await client.call(Op.GET_POSITION, getPositionRequest, { log: 'default', name: 'app' }, getPositionResponse);
  assert.is(position.value.offset, 3);
});

test('a duplicate is recognized also when there is no room', async () => {
  const { world, client } = await ready({ diskOptions: { totalBytes: 30 * MIB }, reserveBytes: 8 * MIB });
  const { producerRecords } = await import('./support.ts');
  const { producerId } = (await client.initProducer('default', 'p')).value;
  const body = producerRecords({ producerId, epoch: 0, seq: 0 }, 'a');
  await client.produce('default', body);
  world.node.context.space.exhausted();
  assert.is((await client.produce('default', records('x'))).code, 'STORAGE_FULL');
  assert.is((await client.produce('default', body)).value.flags, 1);
});

for (const [call, size] of WRITES) {
  test(`ENOSPC in a ${call}: what was in flight is cut and STORAGE_FULL, never there later, and a new term goes on`, async () => {
    const { world, client } = await ready({ reserveBytes: 0 });
    const first = (await client.produce('default', records('kept'))).value;
    world.disk.failNext(call, 'ENOSPC', /\.seg$/);
    const ids = [client.sendProduce('default', sized(size)), client.sendProduce('default', records('b'))];
    await world.settle();
    assert.equal(ids.map((id) => client.produced(id)!.code), ['STORAGE_FULL', 'STORAGE_FULL']);
    assert.not.ok(client.produced(ids[0]!)!.error.outcomeUnknown);
    assert.is((await client.produce('default', records('c'))).code, 'STORAGE_FULL', 'until the next look at the disk');
    await world.advance(2000);
    const next = await client.produce('default', records('d'));
    assert.is(next.code, 'OK');
    assert.is(next.value.baseOffset, 1);
    assert.ok(next.value.term > first.term);
    const after = await world.crash({ keep: 'random' });
    const found = (await (await after.connect()).fetch('default')).value;
    assert.equal(valuesOf(found.batches), ['0:kept', '1:d']);
  });
}

test('the trash is emptied, oldest first, when there is no room', async () => {
  const { world, client } = await ready({ diskOptions: { totalBytes: 40 * MIB }, reserveBytes: 8 * MIB });
  for (const log of ['a', 'b']) {
    await client.createLog(log);
    for (let i = 0; i < 8; i++) await client.produce(log, sized(MIB));
    await client.deleteLog(log);
    await world.advance(1000);
  }
  let code = '';
  for (let i = 0; i < 25; i++) {
    code = (await client.produce('default', sized(MIB))).code;
    await world.advance(3000);
  }
  assert.is(code, 'OK');
  assert.equal(await world.disk.list('trash'), []);
});

test('CREATE_LOG on a full disk is STORAGE_FULL and leaves nothing behind', async () => {
  const { world, client } = await ready({ reserveBytes: 0 });
  world.disk.failNext('write', 'ENOSPC', /tmp-/);
  assert.is((await client.createLog('x')).code, 'STORAGE_FULL');
  assert.is((await client.describe('x')).code, 'LOG_NOT_FOUND');
  assert.is((await world.disk.list('logs')).length, 1);
  assert.is((await client.createLog('x')).code, 'OK');
});

test('a log opened on a full disk can be read, and takes records when there is room', async () => {
  const first = await ready();
  await first.client.produce('default', records('a'));
  await first.world.stop();
  const rule = first.world.disk.fail(({ call, path }) => (call === 'write' && path.startsWith('raft-state') ? 'ENOSPC' : null));
  const copy = first.world.disk.after({ mode: 'process' });
  copy.totalBytes = copy.usedBytes + MIB;
  const full = await World.start({ disk: copy, clock: first.world.clock, createDefault: false });
  assert.equal(full.events.map(({ event }) => event), ['disk nearly full'], 'it says so at once');
  const world = await World.start({ disk: first.world.disk, clock: first.world.clock, createDefault: false });
  const client = await world.connect();
  assert.equal(valuesOf((await client.fetch('default')).value.batches), ['0:a']);
  assert.is((await client.produce('default', records('b'))).code, 'STORAGE_FULL');
  rule();
  await world.advance(3000);
  assert.is((await client.produce('default', records('b'))).code, 'OK');
});

test('a snapshot that is damaged costs nothing while the entries behind the older one are there', async () => {
  const { world, client } = await ready();
  const { producerId } = (await client.initProducer('default', 'p')).value;
  for (let i = 0; i < 5; i++) await client.produce('default', sized(400_000));
  let next = await world.restart();
  const other = await next.connect();
  await other.produce('default', records('x'));
  next = await next.restart();
  const uid = (await (await next.connect()).describe('default')).value.logUid.toString('hex');
  await next.stop();
  const snapshots = (await next.disk.list(`logs/${uid}/00000001`)).filter((name) => name.startsWith('snapshot-'));
  assert.is(snapshots.length, 2);
  next.disk.corrupt(`logs/${uid}/00000001/${snapshots[1]!}`, 60);
  const last = await World.start({ disk: next.disk, clock: next.clock, createDefault: false });
  const client2 = await last.connect();
  assert.is((await client2.initProducer('default', 'p')).value.producerId, producerId);
  assert.is((await client2.produce('default', records('y'))).code, 'OK');
  assert.is(last.events.filter(({ event }) => event === 'snapshot damaged').length, 1);
});

test('a start while the disk gives no snapshot forgets nothing of a trimmed log', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 8; i++) await client.produce('default', sized(400_000));
  assert.is((await client.trim('default', 6)).code, 'OK');
  await world.advance(5000);
  const uid = (await client.describe('default')).value.logUid.toString('hex');
  await world.stop();
  const folder = `logs/${uid}/00000001`;
  const before = await world.disk.list(folder);
  assert.not.ok(before.includes('00000000000000000001.seg'), 'entries that the snapshots stand for are gone');
  let fails = true;
  world.disk.fail(({ call, path }) => (fails && call === 'read' && path.includes('/snapshot-') ? 'EIO' : null));
  const blind = await World.start({ disk: world.disk, clock: world.clock, createDefault: false });
  assert.is((await (await blind.connect()).fetch('default')).code, 'LOG_STOPPED');
  await blind.stop();
  assert.equal((await world.disk.list(folder)).sort(), before.sort());
  fails = false;
  const again = await World.start({ disk: world.disk, clock: world.clock, createDefault: false });
  assert.is((await (await again.connect()).describe('default')).value.logStart, 6);
});

test('damage above the newest snapshot makes the log read-only and says what to do', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 8; i++) await client.produce('default', sized(100_000));
  const uid = (await client.describe('default')).value.logUid.toString('hex');
  const disk = world.disk.crash({ mode: 'process' });
  // Behind the head and the no-op of the log's first term.
  disk.corrupt(`logs/${uid}/00000001/00000000000000000001.seg`, 4096 + 74 + 2 * 100_000 + 10);
  const next = await World.start({ disk, clock: world.clock, createDefault: false });
  const other = await next.connect();
  const refused = await other.produce('default', records('x'));
  assert.is(refused.code, 'LOG_STOPPED');
  assert.match(refused.error.message, /--accept-loss/);
  assert.is((await other.fetch('default', { value: 1, maxBytes: 100_000 })).code, 'OK');
  assert.is((await other.fetch('default', { value: 5, maxBytes: 100_000 })).code, 'OK');
  assert.is((await other.fetch('default', { value: 2, maxBytes: 100_000 })).code, 'DATA_LOSS');
});

test('positions are not told from a state that ends before damage', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 3; i++) await client.produce('default', sized(1000));
  const put = { log: 'default', name: 'app', offset: 3, expected: NONE };
  assert.is((await client.call(Op.PUT_POSITION, putPositionRequest, put, putPositionResponse)).code, 'OK');
  const uid = (await client.describe('default')).value.logUid.toString('hex');
  const disk = world.disk.crash({ mode: 'process' });
  // Behind the head and the no-op of the log's first term.
  disk.corrupt(`logs/${uid}/00000001/00000000000000000001.seg`, 4096 + 74 + 1000 + 10);
  const next = await World.start({ disk, clock: world.clock, createDefault: false });
  const other = await next.connect();
  const found = await other.call(Op.GET_POSITION, getPositionRequest, { log: 'default', name: 'app' }, getPositionResponse);
  assert.is(found.code, 'LOG_STOPPED');
  assert.match(found.error.message, /--accept-loss/);
  assert.is((await other.fetch('default', { from: From.POSITION, positionName: 'app' })).code, 'LOG_STOPPED');
  assert.is((await other.fetch('default', { value: 2 })).code, 'OK', 'records can be read');
});

test('acked records are there once, in order, after power cuts at random moments', async () => {
  const seed = Number(process.env['SEED'] ?? 20_260_921);
  console.log(`# SEED=${seed}`);
  const prng = new Prng(seed);
  let world = await World.start({ diskOptions: { prng: new Prng(seed + 1) } });
  const acked = new Map<number, string>();
  const refused = new Set<string>();
  let number = 0;
  for (let round = 0; round < 25; round++) {
    const client = await world.connect();
    const sent = new Map<number, string>();
    void world.disk.haltAt(world.disk.operationCount + 1 + prng.next(120));
    for (let turn = 0; turn < 12; turn++) {
      for (let i = 0; i < 1 + prng.next(6); i++) {
        const value = `v${number++}-${'x'.repeat(prng.next(60_000))}`;
        const conditional = prng.next(5) === 0;
        sent.set(client.sendProduce('default', records(value), conditional ? { expectedOffset: 0 } : {}), value);
      }
      await world.settle();
    }
    for (const [id, value] of sent) {
      const answer = client.produced(id);
      if (answer?.code === 'OK') acked.set(answer.value.baseOffset, value);
      else if (answer !== null && !answer.error.outcomeUnknown) refused.add(value);
    }
    world = await world.crash({ keep: prng.next(4) === 0 ? 'none' : 'random', mode: prng.next(3) === 0 ? 'process' : 'power' });
  }
  const client = await world.connect();
  const end = (await client.describe('default')).value.committedEnd;
  const stored: string[] = [];
  while (stored.length < end) {
    const found = (await client.fetch('default', { value: stored.length })).value;
    for (const line of valuesOf(found.batches)) {
      assert.ok(line.startsWith(`${stored.length}:`));
      stored.push(line.slice(line.indexOf(':') + 1));
    }
  }
  for (const [offset, value] of acked) assert.ok(stored[offset] === value, `offset ${offset} of seed ${seed}`);
  for (const value of stored) assert.not.ok(refused.has(value), 'a record that was refused without doubt never appears');
  assert.is(new Set(stored).size, stored.length);
  assert.ok(acked.size > 100, `${acked.size} acked`);
});

test.run();
