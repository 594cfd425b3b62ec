import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { SegmentedLog } from '../../src/segment/log.ts';
import { TrimmedError } from '../../src/segment/reader.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, controlOf, createLog, EventLog, expectHolds, Model, openLog, readAll, split } from './support.ts';

const test = suite('segment/change');
const OPTIONS = { segmentBytes: 6_000, cacheBytes: 2_000 };

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A log of about `count / 9` segments. */
async function filled(count: number, disk = new SimDisk()): Promise<{ disk: SimDisk; log: SegmentedLog; model: Model; events: EventLog }> {
  const log = await createLog(disk, OPTIONS);
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  for (let i = 0; i < count; i++) {
    model.append(log, i % 10 === 4 ? controlOf(`c${i}`) : batchOf(`e${i}`, 1, 500), 1 + (i >> 4), 100 + i);
    if (i % 4 === 3) await log.whenIdle();
  }
  await log.whenIdle();
  return { disk, log, model, events };
}

test('a truncation raises the generation at once, and reports of older ones can be told apart', async () => {
  const { log, model, events } = await filled(6);
  events.reports.length = 0;
  for (let i = 0; i < 4; i++) model.append(log, batchOf(`in flight ${i}`), 3, 300);
  log.flush();
  const cut = log.truncateSuffix(9);
  model.truncate(9);
  assert.is(log.generation, 1);
  assert.is(log.lastIndex, 8);
  model.append(log, batchOf('instead'), 4, 300);
  await cut;
  await log.whenIdle();
  assert.equal(events.reports, [[10, 3, 0], [8, 3, 1], [9, 4, 1]]);
  await expectHolds(log, model);
});

test('nothing that was appended after a truncation is acked by a sync from before it', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, OPTIONS);
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  for (let i = 0; i < 5; i++) model.append(log, batchOf(`old ${i}`), 1, 0);
  log.flush();
  void log.truncateSuffix(3);
  model.truncate(3);
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`new ${i}`), 2, 0);
  events.onDurable = (index, generation) => {
    if (generation !== log.generation) return;
    assert.ok(disk.contents('log/00000000000000000001.seg').includes(model.at(index).subarray(72)), 'what is acked is in the file');
  };
  await log.whenIdle();
  assert.is(log.durableIndex, 5);
  await expectHolds(await openLog(disk.crash({ keep: 'none' }), OPTIONS), model);
});

test('a log whose truncation failed is closed with all that its mark names', async () => {
  for (const call of ['sync', 'writeNow', 'truncate'] as const) {
    const { disk, log } = await filled(6);
    disk.failNext(call, 'EIO', /seg/);
    await log.truncateSuffix(6).then(() => assert.unreachable(call), () => {});
    await log.close();
    for (const keep of ['none', 'all'] as const) {
      const again = await openLog(disk.after({ keep }), OPTIONS);
      assert.equal(again.damage, [], `${call} failed, ${keep} kept`);
      assert.ok(again.lastIndex >= 5);
      await again.close();
    }
  }
});

test('a truncation over segment borders leaves exactly the prefix, and the log goes on from there', async () => {
  for (const from of [2, 9, 10, 11, 27, 28, 29, 40, 60]) {
    const { disk, log, model } = await filled(60);
    const firsts = log.segmentSummaries().map((summary) => summary.firstIndex);
    await log.truncateSuffix(from);
    model.truncate(from);
    await expectHolds(log, model);
    await expectHolds(await openLog(disk.after({ keep: 'none' }), OPTIONS), model);
    for (let i = 0; i < 15; i++) model.append(log, batchOf(`again ${i}`, 1, 500), 9, 1000);
    await log.whenIdle();
    await expectHolds(log, model);
    assert.is(log.nextOffset, model.nextOffset);
    const again = await openLog(disk.crash({ keep: 'none' }), OPTIONS);
    await expectHolds(again, model);
    for (let index = 1; index <= again.lastIndex; index++) {
      assert.is(await again.ask(() => again.termAt(index)), Number(model.at(index).readBigUInt64BE(16)), `from ${from} of ${firsts.join()}: term of ${index}`);
    }
  }
});

test('a truncation to exactly a segment border removes that segment and begins it anew', async () => {
  const { disk, log, model } = await filled(30);
  const border = log.segmentSummaries()[2]!.firstIndex;
  await log.truncateSuffix(border);
  model.truncate(border);
  const names = (await disk.list('log')).filter((name) => name.endsWith('.seg'));
  assert.is(names.length, 2);
  model.append(log, batchOf('new', 1, 100), 5, 500);
  await log.whenIdle();
  assert.ok((await disk.list('log')).includes(`${String(border).padStart(20, '0')}.seg`));
  await expectHolds(await openLog(disk.crash({ keep: 'none' }), OPTIONS), model);
});

test('the whole of the first segment can be truncated, and an earlier time may follow', async () => {
  const { disk, log, model } = await filled(5);
  await log.truncateSuffix(1);
  model.truncate(1);
  assert.is(log.lastIndex, 0);
  assert.is(log.lastAppendTime, 0);
  model.append(log, batchOf('earlier'), 1, 7);
  await log.whenIdle();
  assert.is(await log.ask(() => log.firstIndexAtTime(7)), 1);
  await expectHolds(await openLog(disk.crash({ keep: 'none' }), OPTIONS), model);
});

test('two truncations at one index, with a segment planned between them, cut the file once and for all', async () => {
  for (let from = 4; from <= 9; from++) {
    const { disk, log, model } = await filled(9);
    for (let i = 0; i < 3; i++) model.append(log, batchOf('in flight'), 3, 300);
    log.flush();
    for (let n = 0; n < 3; n++) {
      void log.truncateSuffix(from);
      model.truncate(from);
      for (let i = 0; i < 12; i++) model.append(log, batchOf(`round ${n}`, 1, 900), 4 + n, 300);
    }
    await log.whenIdle();
    log.shrinkCache(0);
    await expectHolds(log, model);
    await expectHolds(await openLog(disk.crash({ keep: 'none' }), OPTIONS), model);
  }
});

test('after a truncation the log is sound even if the newer slot of the mark rots', async () => {
  const { disk, log, model } = await filled(5);
  const newest = log.segmentSummaries().at(-1)!.firstIndex;
  await log.truncateSuffix(newest + 1);
  model.truncate(newest + 1);
  for (const slot of [512, 1024]) {
    const copy = disk.after({ keep: 'none' });
    copy.corrupt(`log/${String(newest).padStart(20, '0')}.seg`, slot + 20);
    const again = await openLog(copy, OPTIONS);
    assert.equal(again.damage, []);
    await expectHolds(again, model);
  }
});

test('an index that had sealed blocks is replaced when its segment is cut', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 1 << 20 });
  const model = new Model();
  for (let i = 0; i < 6000; i++) model.append(log, controlOf('x'), 1, i);
  await log.whenIdle();
  let removed = 0;
  disk.onOperation = (operation) => void (operation.call === 'unlink' && operation.path.endsWith('.idx') && removed++);
  await log.truncateSuffix(5000);
  model.truncate(5000);
  assert.is(removed, 1);
  for (let i = 0; i < 1000; i++) model.append(log, batchOf('y'), 2, 7000 + i);
  await log.whenIdle();
  log.shrinkCache(0);
  for (const index of [1, 4999, 5000, 5461, 5999]) assert.is(log.indexOfOffset(log.offsetAtIndex(index)), Math.max(index, 5000));
  await expectHolds(log, model, 100_000);
});

test('lookups and reads are right while a truncation waits for the write in flight', async () => {
  let release: Array<() => void> = [];
  const disk = new SimDisk({ schedule: (end, operation) => (operation.call === 'sync' ? release.push(end) : queueMicrotask(end)) });
  const go = async (): Promise<void> => {
    for (let i = 0; i < 20; i++) {
      for (const end of release.splice(0)) end();
      await turn();
    }
  };
  const opening = createLog(disk, { ...OPTIONS, segmentBytes: 60_000 });
  await go();
  const log = await opening;
  const model = new Model();
  for (let i = 0; i < 40; i++) model.append(log, batchOf(`e${i}`, 1, 300), 1, 100 + i);
  await turn();
  await go();
  assert.is(log.durableIndex, 40);
  log.shrinkCache(0);
  model.append(log, batchOf('in flight', 1, 300), 1, 140);
  await turn();
  void log.truncateSuffix(20);
  model.truncate(20);
  assert.is(log.indexOfOffset(100), 19);
  assert.is(log.firstIndexAtTime(130), 20);
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`new ${i}`, 3, 10), 2, 500);
  for (const check of [async () => {}, go]) {
    await check();
    assert.is(log.indexOfOffset(19), 20);
    assert.is(log.indexOfOffset(100), 22);
    assert.is(log.offsetAtIndex(21), 22);
    assert.is(log.firstIndexAtTime(115), 16);
    assert.is(log.firstIndexAtTime(130), 20);
    assert.is(log.firstIndexAtTime(501), 23);
    assert.is(log.termAt(19), 1);
    assert.is(log.termAt(20), 2);
    await expectHolds(log, model, 2000);
  }
  release = [];
});

test('a read that a truncation overtakes gives neither damage nor what was cut', async () => {
  const ends: Array<() => void> = [];
  let slow = false;
  const disk = new SimDisk({ schedule: (end, operation) => (slow && operation.call === 'read' ? ends.push(end) : queueMicrotask(end)) });
  const log = await createLog(disk, { segmentBytes: 60_000 });
  const model = new Model();
  for (let i = 0; i < 30; i++) model.append(log, batchOf(`e${i}`, 1, 300), 1, i);
  await log.whenIdle();
  log.shrinkCache(0);
  slow = true;
  const reads = [log.read(15, 1 << 20, 30), log.read(25, 1 << 20, 30)];
  await turn();
  assert.is(ends.length, 2);
  await log.truncateSuffix(20);
  model.truncate(20);
  model.append(log, batchOf('another', 1, 2000), 2, 100);
  await log.whenIdle();
  slow = false;
  for (const end of ends) end();
  assert.equal(await reads[1], { buffers: [], bytes: 0, lastIndex: 24 });
  const range = await reads[0]!;
  for (const [i, entry] of split(range.buffers[0]!).entries()) assert.ok(entry.equals(model.at(15 + i)));
  assert.ok(range.lastIndex <= 20);
  assert.equal(log.damage, []);
});

test('a trim removes whole sealed segments below both limits, oldest first', async () => {
  const { disk, log, model } = await filled(60);
  const before = log.segmentSummaries();
  assert.is(await log.trimPrefix(0, 1000), 0);
  assert.is(await log.trimPrefix(1000, 1), 0);
  const third = before[2]!;
  const freed = await log.trimPrefix(third.firstOffset, 1000);
  assert.is(freed, before[0]!.bytes + before[1]!.bytes);
  assert.is(log.firstIndex, third.firstIndex);
  assert.is(log.firstOffset, third.firstOffset);
  const rest = (await disk.list('log')).filter((name) => name.endsWith('.seg'));
  assert.is(rest.length, before.length - 2);
  await log.trimPrefix(1e9, 1e9);
  assert.is(log.segmentSummaries().length, 1, 'the newest stays');
  model.entries.splice(0, log.firstIndex - 1);
  model.firstIndex = log.firstIndex;
  await expectHolds(log, model);
  const again = await openLog(disk.crash({ keep: 'none' }), OPTIONS);
  assert.is(again.firstIndex, log.firstIndex);
  assert.is(again.firstOffset, log.firstOffset);
  await expectHolds(again, model);
});

test('a trimmed segment disappears only when its last reader has gone', async () => {
  const ends: Array<() => void> = [];
  let slow = false;
  const disk = new SimDisk({ schedule: (end, operation) => (slow && operation.call === 'read' ? ends.push(end) : queueMicrotask(end)) });
  const { log, model } = await filled(60, disk);
  await readAll(log, 1, 500, 3);
  slow = true;
  const read = log.read(1, 500, 3);
  await turn();
  assert.is(ends.length, 1);
  const trimmed = log.trimPrefix(log.segmentSummaries()[1]!.nextOffset, 1000);
  await turn();
  assert.ok(await disk.exists('log/00000000000000000001.seg'));
  slow = false;
  ends[0]!();
  assert.ok((await read).buffers[0]!.equals(model.at(1)));
  await trimmed;
  assert.not.ok(await disk.exists('log/00000000000000000001.seg'));
  let error: unknown = null;
  await log.read(1, 500, 3).catch((caught) => (error = caught));
  assert.instance(error, TrimmedError);
});

test('a trim that failed half-way is finished by the next one', async () => {
  const { disk, log } = await filled(60);
  const second = log.segmentSummaries()[1]!;
  disk.failNext('unlink', 'EIO', new RegExp(`${String(second.firstIndex).padStart(20, '0')}.seg`));
  let error: Error | null = null;
  await log.trimPrefix(1e9, 1e9).catch((caught) => (error = caught));
  assert.ok(error !== null);
  assert.is((await openLog(disk.after({ keep: 'none' }), OPTIONS)).firstIndex, second.firstIndex);
  await log.trimPrefix(0, 0);
  assert.is((await disk.list('log')).filter((name) => name.endsWith('.seg')).length, 1);
});

test('what is committed can not be truncated', async () => {
  const { log } = await filled(10);
  log.commitIndex = 6;
  assert.throws(() => log.truncateSuffix(6), (error: Error) => /committed is never truncated/.test(error.message));
  await log.truncateSuffix(7);
  assert.is(log.lastIndex, 6);
  await log.truncateSuffix(100);
  assert.is(log.lastIndex, 6);
});

test.run();
