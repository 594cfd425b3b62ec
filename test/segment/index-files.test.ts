// The index is disposable: whatever happens to its file, the log answers the same. And many segments are
// no burden to a start.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SegmentedLog } from '../../src/segment/log.ts';
import { verifyLog } from '../../src/segment/verify.ts';
import { crc32 } from '../../src/wire/checksum.ts';
import { Prng } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { testDisks } from '../support/disks.ts';
import { batchOf, controlOf, createLog, expectHolds, LOG_UID, Model, openLog, optionsOn, randomBatch, readAll } from './support.ts';

const test = suite('segment/index-files');
const OPTIONS = { segmentBytes: 12_000, cacheBytes: 1 };

async function filled(disk: SimDisk, count = 80): Promise<Model> {
  const log = await createLog(disk, OPTIONS);
  const model = new Model();
  for (let i = 0; i < count; i++) {
    model.append(log, i % 9 === 0 ? controlOf(`c${i}`) : batchOf(`e${i}`, 1 + (i % 2), 400), 1 + (i >> 5), 50 + i);
    if (i % 5 === 0) await log.whenIdle();
  }
  await log.close();
  return model;
}

async function expectAnswers(log: SegmentedLog, model: Model): Promise<void> {
  for (let index = 1; index <= model.lastIndex; index++) {
    const base = Number(model.at(index).readBigUInt64BE(24));
    assert.is(await log.ask(() => log.offsetAtIndex(index)), base);
    assert.is(await log.ask(() => log.firstIndexAtTime(49 + index)), index);
  }
  for (let offset = 0; offset < model.nextOffset; offset++) {
    const index = await log.ask(() => log.indexOfOffset(offset));
    const base = Number(model.at(index).readBigUInt64BE(24));
    assert.ok(base <= offset && offset < base + model.at(index).readUInt32BE(48));
  }
  await expectHolds(log, model);
}

async function rewrite(disk: SimDisk, path: string, change: (bytes: Buffer) => Buffer | null): Promise<void> {
  const bytes = change(disk.contents(path));
  await disk.unlink(path);
  if (bytes === null) return;
  const file = await disk.open(path, 'create');
  if (bytes.length > 0) await file.write(bytes, 0, bytes.length, 0);
  await file.close();
}

const prng = new Prng(7);
const DAMAGES: Record<string, (bytes: Buffer) => Buffer | null> = {
  'is lost': () => null,
  'is empty': () => Buffer.alloc(0),
  'is too short': (bytes) => bytes.subarray(0, 1000),
  'is too long': (bytes) => Buffer.concat([bytes, bytes, prng.bytes(100)]),
  'is garbage': (bytes) => prng.bytes(bytes.length),
  'is all zeros': (bytes) => Buffer.alloc(bytes.length),
  'has a flipped entry': (bytes) => (bytes.writeUInt8(bytes.readUInt8(16 + 12 * 3 + 3) ^ 0x40, 16 + 12 * 3 + 3), bytes),
  'has a flipped checksum': (bytes) => (bytes.writeUInt8(bytes.readUInt8(9) ^ 1, 9), bytes),
  'is not sealed': (bytes) => (bytes.writeUInt32BE(0, 4), bytes),
};

for (const [damage, change] of Object.entries(DAMAGES)) {
  test(`the log answers the same when each index file ${damage}`, async () => {
    const disk = new SimDisk();
    const model = await filled(disk);
    for (const name of await disk.list('log')) if (name.endsWith('.idx')) await rewrite(disk, `log/${name}`, change);
    const log = await openLog(disk, OPTIONS);
    await expectAnswers(log, model);
    assert.equal(log.damage, []);
    await log.close();
    // What was rebuilt was sealed: the next start finds it whole.
    const again = await openLog(disk, OPTIONS);
    let built = 0;
    disk.onOperation = (operation) => void (operation.call === 'write' && operation.path.endsWith('.idx') && built++);
    await expectAnswers(again, model);
    assert.is(built, 0);
  });
}

test('a sealed index that vouches for wrong positions does not make the segment look damaged, nor serves another batch', async () => {
  const changes: Array<(position: number, next: number) => number> = [(position) => position + 1, (_position, next) => next];
  for (const change of changes) {
    const disk = new SimDisk();
    const model = await filled(disk);
    const name = (await disk.list('log')).find((file) => file.endsWith('.idx'))!;
    await rewrite(disk, `log/${name}`, (bytes) => {
      const count = bytes.readUInt32BE(4);
      const at = (i: number): number => 16 + 12 * i;
      for (let i = 0; i + 1 < count; i++) bytes.writeUInt32BE(change(bytes.readUInt32BE(at(i)), bytes.readUInt32BE(at(i + 1))), at(i));
      bytes.writeUInt32BE(bytes.readUInt32BE(at(count - 1)) + 1, at(count - 1));
      bytes.writeUInt32BE(crc32(bytes, 16, at(count)), 8);
      return bytes;
    });
    const log = await openLog(disk, OPTIONS);
    for (let index = 1; index <= 6; index++) assert.ok((await readAll(log, index, 1, index))[0]!.equals(model.at(index)));
    await expectHolds(log, model);
    assert.equal(log.damage, []);
  }
});

test('an index without a segment and a half-made segment are cleared away at the start', async () => {
  const disk = new SimDisk();
  const model = await filled(disk, 20);
  for (const name of ['00000000000000000999.idx', 'next.seg.tmp', 'snapshot-5']) {
    await (await disk.open(`log/${name}`, 'create')).close();
  }
  const log = await openLog(disk, OPTIONS);
  await expectHolds(log, model);
  const names = await disk.list('log');
  assert.not.ok(names.includes('00000000000000000999.idx'));
  assert.not.ok(names.includes('next.seg.tmp'));
  assert.ok(names.includes('snapshot-5'), 'what is not ours stays');
});

test('a log of 1,000 segments opens with a few calls per segment, and reads anywhere', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, { segmentBytes: 4_300, cacheBytes: 1 });
  const model = new Model();
  for (let i = 0; i < 1000; i++) model.append(log, batchOf(`e${i}`, 1, 60));
  await log.close();
  assert.is(log.segmentSummaries().length, 1000);
  let calls = 0;
  disk.onOperation = () => void calls++;
  const again = await openLog(disk, { segmentBytes: 4_300, cacheBytes: 1 });
  assert.ok(calls < 1000 * 3 + 50, `${calls} calls`);
  assert.is(again.lastIndex, 1000);
  for (const index of [1, 2, 500, 999, 1000]) {
    assert.ok((await readAll(again, index, 1, index))[0]!.equals(model.at(index)));
    assert.is(await again.ask(() => again.indexOfOffset(index - 1)), index);
  }
  await again.close();
  assert.is(disk.openFileCount, 0);
});

/** Opens everything that there is to see, as a start without a snapshot, or reads it all for the offline check; returns the files that were opened. */
async function filesOpened(disk: SimDisk, what: 'start' | 'verify'): Promise<string[]> {
  const opened: string[] = [];
  disk.onOperation = ({ call, path }) => void (call === 'open' && opened.push(path));
  if (what === 'start') {
    const log = await SegmentedLog.open(optionsOn(disk, OPTIONS), () => {}, 0);
    await log.close();
  } else {
    await verifyLog({ disk, directory: 'log', logUid: LOG_UID, repairIndex: false, yieldTurn: () => Promise.resolve() });
  }
  disk.onOperation = null;
  assert.is(disk.openFileCount, 0);
  return opened;
}

test('a start that reads every segment opens the index of none that is whole, and of a damaged one once', async () => {
  const disk = new SimDisk();
  await filled(disk);
  const segments = (await disk.list('log')).filter((name) => name.endsWith('.seg')).sort();
  const newest = `log/${segments.at(-1)!.replace('.seg', '.idx')}`;
  assert.ok(segments.length > 3);
  const indexesOf = (opened: string[]): string[] => opened.filter((path) => path.endsWith('.idx') && path !== newest);
  assert.equal(indexesOf(await filesOpened(disk, 'start')), []);
  assert.is(indexesOf(await filesOpened(disk, 'verify')).length, segments.length - 1, 'to compare each with its segment');
  // Two places, each longer than a batch: the second is asked of the index that is open.
  const damaged = `log/${segments[1]!}`;
  const size = disk.contents(damaged).length;
  for (const place of [0.3, 0.7]) for (let i = 0; i < 700; i++) disk.corrupt(damaged, Math.floor(4096 + (size - 4096) * place) + i);
  assert.equal(indexesOf(await filesOpened(disk, 'start')), [damaged.replace('.seg', '.idx')]);
  assert.is(indexesOf(await filesOpened(disk, 'verify')).length, segments.length);
});

for (const { name, make } of testDisks()) {
  test(`a log lives through reopening, truncation and trim on the ${name}`, async () => {
    const { disk, remove } = make();
    try {
      const random = new Prng(3);
      const options = { segmentBytes: 40_000, cacheBytes: 30_000, defer: setImmediate };
      let log = await createLog(disk, options);
      const model = new Model();
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 60; i++) {
          model.append(log, randomBatch(random, `${round}/${i}`), model.term, model.lastTime + random.next(3));
          if (i % 13 === 0) await log.whenIdle();
        }
        await log.whenIdle();
        const from = log.lastIndex - random.next(30);
        await log.truncateSuffix(from);
        model.truncate(from);
        await expectHolds(log, model);
        await log.close();
        log = await openLog(disk, options);
        await expectHolds(log, model);
      }
      await log.trimPrefix(log.nextOffset, log.lastIndex - 50);
      assert.ok(log.firstIndex > 1);
      model.entries.splice(0, log.firstIndex - 1);
      model.firstIndex = log.firstIndex;
      await expectHolds(log, model);
      const scrubbed = await log.scrub(1 << 30);
      assert.ok(scrubbed.bytes > 10_000);
      assert.equal(scrubbed.found, []);
      await log.close();
    } finally {
      remove();
    }
  });
}

test('a scrub finds rot in sealed segments, says where, goes round, and keeps its budget', async () => {
  const disk = new SimDisk();
  const model = await filled(disk);
  const starts: number[] = [4096];
  for (const entry of model.entries) starts.push(starts[starts.length - 1]! + entry.length);
  disk.corrupt('log/00000000000000000001.seg', starts[4]! + 100);
  disk.corrupt('log/00000000000000000001.seg', starts[6]! + 20);
  const log = await openLog(disk, OPTIONS);
  const places: string[] = [];
  for (let step = 0; step < 200; step++) {
    const { bytes, found, wrapped } = await log.scrub(3000);
    assert.ok(bytes <= 3000 + 1000);
    for (const error of found) places.push(`${error.file} ${error.position} ${error.firstIndex}..${error.lastIndex}`);
    if (wrapped) break;
  }
  assert.equal(places, [
    `log/00000000000000000001.seg ${starts[4]} 5..5`,
    `log/00000000000000000001.seg ${starts[6]} 7..7`,
  ]);
  assert.is(log.damage.length, 2);
});

test.run();
