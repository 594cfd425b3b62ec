import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InvariantError } from '../../src/wire/assert.ts';
import { batchIndex } from '../../src/wire/batch.ts';
import { LogState } from '../../src/segment/log-options.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, controlOf, createLog, EventLog, expectHolds, Model, openLog, optionsOn, readAll, split } from './support.ts';
import { SegmentedLog } from '../../src/segment/log.ts';

const test = suite('segment/log');

test('a new log is empty, and says so after reopening', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk);
  for (const each of [log, await openLog(disk.crash())]) {
    assert.is(each.firstIndex, 1);
    assert.is(each.lastIndex, 0);
    assert.is(each.nextOffset, 0);
    assert.is(each.durableIndex, 0);
    assert.is(each.lastTerm, 0);
    assert.equal((await each.read(1, 1000, 0)).buffers, []);
  }
});

test('append gives indexes and offsets at once, durable comes later and names the last of the group', async () => {
  const log = await createLog();
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  assert.is(model.append(log, batchOf('a', 3), 1, 1000), 1);
  assert.is(model.append(log, controlOf('b'), 1, 1000), 2);
  assert.is(model.append(log, batchOf('c', 2), 2, 1001), 3);
  assert.is(log.nextOffset, 5);
  assert.is(log.durableIndex, 0);
  assert.ok(log.unwrittenBytes > 0);
  await log.whenIdle();
  assert.is(log.unwrittenBytes, 0);
  assert.is(log.durableIndex, 3);
  assert.equal(events.reports, [[3, 2, 0]]);
  await expectHolds(log, model);
});

test('what queues during a write goes into the next group, which starts by itself', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk);
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  model.append(log, batchOf('first'));
  log.flush();
  for (let i = 0; i < 10; i++) model.append(log, batchOf(`queued ${i}`));
  const syncs: number[] = [];
  disk.onOperation = (operation) => void (operation.call === 'sync' && syncs.push(operation.number));
  await log.whenIdle();
  assert.equal(events.reports.map(([index]) => index), [1, 11]);
  assert.is(syncs.length, 2, 'one sync for the first, one for the ten');
});

test('the flush starts at the end of the turn without being asked', async () => {
  const tasks: Array<() => void> = [];
  const disk = new SimDisk();
  const log = await createLog(disk, { defer: (task) => tasks.push(task) });
  const events = new EventLog();
  log.events = events;
  new Model().append(log, batchOf('a'));
  assert.is(tasks.length, 1);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(events.reports, []);
  tasks[0]!();
  await log.whenIdle();
  assert.equal(events.reports, [[1, 1, 0]]);
});

test('a follower appends stamped batches unchanged', async () => {
  const leader = await createLog();
  const model = new Model();
  for (let i = 0; i < 20; i++) model.append(leader, batchOf(`entry ${i}`, 1 + (i % 3)), 1 + (i >> 3), 1000 + i);
  const follower = await createLog();
  for (const entry of model.entries) follower.appendStamped(entry, 0, entry.length);
  assert.is(follower.nextOffset, leader.nextOffset);
  assert.is(follower.lastTerm, leader.lastTerm);
  await follower.whenIdle();
  await expectHolds(follower, model);
  const gap = Buffer.from(model.entries[3]!);
  assert.throws(() => follower.appendStamped(gap, 0, gap.length), (error: Error) => error instanceof InvariantError && /next index/.test(error.message));
});

test('readCached serves whole batches up to the limit index and no further', async () => {
  const log = await createLog(undefined, { cacheBytes: 1 << 20 });
  const model = new Model();
  for (let i = 0; i < 100; i++) model.append(log, batchOf(`entry ${i}`, 1, 200));
  const size = model.at(1).length;
  const range = log.readCached(5, size * 3 + 10, 100)!;
  assert.is(range.nextIndex, 8);
  assert.is(range.bytes, size * 3);
  assert.equal(split(range.buffers[0]!).map((batch) => batchIndex(batch, 0)), [5, 6, 7]);
  assert.is(log.readCached(5, 1, 100)!.nextIndex, 6, 'at least one batch');
  assert.is(log.readCached(5, 1 << 20, 9)!.nextIndex, 10);
  assert.equal(log.readCached(10, 1 << 20, 9), { buffers: [], bytes: 0, nextIndex: 10 });
  assert.equal(log.readCached(101, 1 << 20, 1000), { buffers: [], bytes: 0, nextIndex: 101 });
});

test('readCached crosses slabs without copying, and gives null for what has left memory', async () => {
  const log = await createLog(undefined, { cacheBytes: 40_000 });
  const model = new Model();
  for (let i = 0; i < 200; i++) {
    model.append(log, batchOf(`entry ${i}`, 1, 500));
    await log.whenIdle();
  }
  assert.ok(log.cachedFromIndex > 1);
  assert.ok(log.cachedBytes <= 40_000);
  assert.is(log.readCached(log.cachedFromIndex - 1, 1000, 200), null);
  const range = log.readCached(log.cachedFromIndex, 1 << 20, 200)!;
  assert.is(range.nextIndex, 201);
  assert.ok(range.buffers.length > 1);
  const entries = range.buffers.flatMap(split);
  for (const [i, entry] of entries.entries()) assert.ok(entry.equals(model.at(log.cachedFromIndex + i)));
  await expectHolds(log, model, 2000);
});

test('bytes handed to a reader stay as they are when the cache moves on', async () => {
  const log = await createLog(undefined, { cacheBytes: 1 });
  const model = new Model();
  model.append(log, batchOf('kept', 1, 300));
  const kept = log.readCached(1, 1000, 1)!.buffers[0]!;
  const before = Buffer.from(kept);
  for (let i = 0; i < 500; i++) {
    model.append(log, batchOf(`later ${i}`, 1, 400));
    await log.whenIdle();
  }
  assert.is(log.readCached(1, 1000, 1), null);
  assert.ok(kept.equals(before));
});

test('a batch larger than a slab and larger than a segment gets through', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 64 * 1024 });
  const model = new Model();
  model.append(log, batchOf('small'));
  model.append(log, batchOf('huge', 1, 3_000_000));
  model.append(log, batchOf('small'));
  await log.whenIdle();
  await expectHolds(log, model);
  assert.equal((await disk.list('log')).filter((name) => name.endsWith('.seg')), [
    '00000000000000000001.seg', '00000000000000000002.seg', '00000000000000000003.seg',
  ]);
  await expectHolds(await openLog(disk.crash({ keep: 'none' })), model);
});

test('a segment rolls by size, and every record stays readable', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 10_000 });
  const model = new Model();
  for (let i = 0; i < 100; i++) {
    model.append(log, batchOf(`entry ${i}`, 1, 400));
    if (i % 7 === 0) await log.whenIdle();
  }
  await log.whenIdle();
  assert.is(log.rolledCount, log.segmentSummaries().length - 1);
  assert.ok(log.rolledCount >= 5);
  for (const summary of log.segmentSummaries()) assert.ok(summary.bytes <= 10_000);
  await expectHolds(log, model);
  const again = await openLog(disk.crash({ keep: 'none' }), { segmentBytes: 10_000 });
  await expectHolds(again, model);
  assert.equal(again.segmentSummaries(), log.segmentSummaries());
  assert.is(again.sizeBytes, log.sizeBytes);
});

test('a segment rolls by age in append time, and when a delta does not fit its index', async () => {
  const log = await createLog(undefined, { maxSegmentAgeMs: 1000 });
  const model = new Model();
  model.append(log, batchOf('a'), 1, 5000);
  model.append(log, batchOf('b'), 1, 6000);
  assert.is(log.segmentSummaries().length, 1);
  model.append(log, batchOf('c'), 1, 6001);
  assert.is(log.segmentSummaries().length, 2);
  log.setMaxSegmentAge(Infinity);
  model.append(log, batchOf('d'), 1, 6001 + 0xffff_ffff);
  assert.is(log.segmentSummaries().length, 2);
  model.append(log, batchOf('e'), 1, 6002 + 0xffff_ffff);
  assert.is(log.segmentSummaries().length, 3);
  await log.whenIdle();
  await expectHolds(log, model);
});

test('lookups by index, offset and time agree with a plain search, in memory and on disk', async () => {
  const disk = new SimDisk();
  const options = { segmentBytes: 8_000, cacheBytes: 20_000 };
  const log = await createLog(disk, options);
  const model = new Model();
  const offsets: number[] = [];
  const times: number[] = [];
  for (let i = 0; i < 120; i++) {
    offsets.push(model.nextOffset);
    times.push(1000 + 10 * (i >> 1));
    model.append(log, i % 5 === 0 ? controlOf(`c${i}`) : batchOf(`e${i}`, 1 + (i % 3), 150), 1 + (i >> 5), times[i]!);
    if (i % 11 === 0) await log.whenIdle();
  }
  for (const each of [log, (await log.whenIdle(), await openLog(disk.crash({ keep: 'none' }), options))]) {
    for (let i = 0; i < 120; i++) {
      assert.is(await each.ask(() => each.offsetAtIndex(i + 1)), offsets[i]!);
      assert.is(await each.ask(() => each.termAt(i + 1)), 1 + (i >> 5));
    }
    assert.is(each.termAt(0), 0);
    for (let offset = 0; offset < model.nextOffset + 2; offset++) {
      assert.is(await each.ask(() => each.indexOfOffset(offset)), offsets.filter((base) => base <= offset).length, `offset ${offset}`);
    }
    for (let ms = 990; ms < 1610; ms += 5) {
      const found = times.findIndex((time) => time >= ms);
      assert.is(await each.ask(() => each.firstIndexAtTime(ms)), found < 0 ? 121 : found + 1, `time ${ms}`);
    }
    assert.is(each.offsetAtIndex(121), model.nextOffset);
  }
});

test('opening shows the visitor every batch above its index, control batches whole', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 6_000 });
  const model = new Model();
  for (let i = 0; i < 60; i++) model.append(log, i % 4 === 0 ? controlOf(`control ${i}`) : batchOf(`e${i}`, 1, 250));
  await log.whenIdle();
  for (const from of [0, 17, 59, 60]) {
    const seen: number[] = [];
    await SegmentedLog.open(optionsOn(disk.after({ keep: 'none' })), (buffer, at) => {
      const index = batchIndex(buffer, at);
      seen.push(index);
      const entry = model.at(index);
      const size = (index - 1) % 4 === 0 ? entry.length : 72;
      assert.ok(buffer.subarray(at, at + size).equals(entry.subarray(0, size)));
    }, from);
    assert.equal(seen, Array.from({ length: 60 - from }, (_, i) => from + 1 + i));
  }
});

test('a clean close and reopen keeps all, in every durability', async () => {
  for (const durability of [{ mode: 'fsync' }, { mode: 'interval', ms: 10 }, { mode: 'memory' }] as const) {
    const disk = new SimDisk();
    const log = await createLog(disk, { durability, segmentBytes: 5_000 });
    const model = new Model();
    for (let i = 0; i < 50; i++) model.append(log, batchOf(`e${i}`, 1, 200));
    await log.close();
    assert.is(log.state, LogState.CLOSED);
    assert.is(disk.openFileCount, 0);
    const again = await openLog(disk.crash({ keep: 'none' }), { durability });
    assert.is(again.lastIndex, 50);
    await expectHolds(again, model);
    assert.throws(() => log.append(batchOf('x'), 0, 10, 1, 0), (error: Error) => /takes no appends/.test(error.message));
  }
});

test('interval reports after the write and syncs by the tick; memory never syncs by itself', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { durability: { mode: 'interval', ms: 100 } });
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  log.tick(1000);
  model.append(log, batchOf('a'));
  await log.whenIdle();
  assert.is(events.reports.length, 1);
  assert.is((await openLog(disk.after({ keep: 'none' }))).lastIndex, 0);
  log.tick(1050);
  await log.whenIdle();
  assert.is((await openLog(disk.after({ keep: 'none' }))).lastIndex, 0);
  log.tick(1100);
  await log.whenIdle();
  assert.is((await openLog(disk.after({ keep: 'none' }))).lastIndex, 1);
});

test('the commit hint comes back from the mark, never above what is durable', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk);
  const model = new Model();
  for (let i = 0; i < 10; i++) model.append(log, batchOf(`e${i}`));
  await log.whenIdle();
  log.commitIndex = 7;
  log.commitIndex = 5;
  assert.is(log.commitIndex, 7);
  model.append(log, batchOf('more'));
  await log.whenIdle();
  assert.is((await openLog(disk.after({ mode: 'process' }))).commitIndex, 7);
  assert.is((await openLog(disk.after({ keep: 'none' }))).commitIndex, 0);
  log.commitIndex = 1000;
  model.append(log, batchOf('more'));
  await log.whenIdle();
  assert.is((await openLog(disk.after({ mode: 'process' }))).commitIndex, 12);
});

test('the next segment is begun ahead of need, and cleared away when it was not needed', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 8_000 });
  const model = new Model();
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`e${i}`, 1, 800));
  await log.whenIdle();
  assert.ok(await disk.exists('log/next.seg.tmp'));
  await log.close();
  assert.not.ok(await disk.exists('log/next.seg.tmp'));
});

test('every file is closed in the end, and the cache of open segments keeps its budget', async () => {
  const disk = new SimDisk();
  const options = { segmentBytes: 5_000, cacheBytes: 1 };
  const log = await createLog(disk, options);
  const model = new Model();
  for (let i = 0; i < 200; i++) {
    model.append(log, batchOf(`e${i}`, 1, 300));
    if (i % 5 === 0) await log.whenIdle();
  }
  await log.close();
  assert.is(disk.openFileCount, 0);
  const again = await openLog(disk, options);
  assert.is((await readAll(again)).length, 200);
  await again.close();
  assert.is(disk.openFileCount, 0);
});

test.run();
