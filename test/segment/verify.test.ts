import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acceptLoss } from '../../src/segment/accept-loss.ts';
import { DamageError } from '../../src/segment/damage.ts';
import { LogState } from '../../src/segment/log-options.ts';
import { verifyLog, type VerifyReport } from '../../src/segment/verify.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, controlOf, createLog, expectHolds, LOG_UID, Model, openLog } from './support.ts';

const test = suite('segment/verify');
const OPTIONS = { segmentBytes: 4096 + 900 };
const turn = (): Promise<void> => Promise.resolve();

function verify(disk: SimDisk, repairIndex = false, logUid: Buffer | null = LOG_UID): Promise<VerifyReport> {
  return verifyLog({ disk, directory: 'log', logUid, repairIndex, yieldTurn: turn });
}

interface Place {
  readonly file: string;
  readonly start: number;
  readonly end: number;
}

/** Three segments of some batches, cleanly closed, and where each entry lies. */
async function filled(): Promise<{ disk: SimDisk; model: Model; places: Place[] }> {
  const disk = new SimDisk();
  const log = await createLog(disk, OPTIONS);
  const model = new Model();
  for (let i = 0; i < 17; i++) {
    model.append(log, i % 4 === 2 ? controlOf(`c${i}`) : batchOf(`e${i}`, 1 + (i % 2), 40), 1, i);
    await log.whenIdle();
  }
  const places: Place[] = [];
  let at = 0;
  let file = '';
  for (let index = 1; index <= 17; index++) {
    if (log.segmentSummaries().some((summary) => summary.firstIndex === index)) {
      at = 4096;
      file = `log/${String(index).padStart(20, '0')}.seg`;
    }
    places.push({ file, start: at, end: at + model.at(index).length });
    at += model.at(index).length;
  }
  await log.close();
  assert.is(log.segmentSummaries().length, 3);
  return { disk, model, places };
}

test('a sound log verifies without findings, and nothing is changed by it', async () => {
  const { disk, model } = await filled();
  const before = (await disk.list('log')).map((name) => disk.contents(`log/${name}`).toString('hex'));
  const calls = new Set<string>();
  disk.onOperation = (operation) => void calls.add(operation.call);
  let last = 0;
  const report = await verifyLog({
    disk, directory: 'log', logUid: LOG_UID, repairIndex: false, yieldTurn: turn,
    progress: (done, total) => {
      assert.ok(done >= last && done <= total);
      last = done;
    },
  });
  assert.equal(report.damage, []);
  assert.equal(report.index, []);
  assert.is(report.segments, 3);
  assert.is(report.batches, 17);
  assert.is(report.records, model.nextOffset);
  assert.is(report.lastIndex, 17);
  assert.is(report.nextOffset, model.nextOffset);
  assert.is(report.unsyncedBytes, 0);
  for (const call of ['write', 'truncate', 'unlink', 'rename', 'writeNow']) assert.not.ok(calls.has(call), call);
  assert.equal((await disk.list('log')).map((name) => disk.contents(`log/${name}`).toString('hex')), before);
});

test('every flipped byte of every batch is found, with file, position and offsets', async () => {
  const { disk, model, places } = await filled();
  for (const [i, { file, start, end }] of places.entries()) {
    for (let position = start; position < end; position += 1 + (position % 3)) {
      const copy = disk.after({ mode: 'process' });
      copy.corrupt(file, position, 1 << (position % 8));
      const { damage } = await verify(copy);
      const base = Number(model.at(i + 1).readBigUInt64BE(24));
      const count = model.at(i + 1).readUInt32BE(48);
      assert.is(damage.length, 1, `byte ${position} of ${file}`);
      const { reason, ...found } = damage[0]!;
      assert.ok(reason !== '');
      assert.equal(found, { file, position: start, firstIndex: i + 1, lastIndex: i + 1, firstOffset: base, lastOffset: base + count - 1 });
    }
  }
});

test('every damage is found, however many there are', async () => {
  const { disk, places } = await filled();
  for (const entry of [2, 3, 8, 16]) disk.corrupt(places[entry]!.file, places[entry]!.start + 75);
  for (const entry of [5, 7]) disk.corrupt(places[entry]!.file, places[entry]!.start + 10);
  disk.corrupt(places[0]!.file, 40);
  const { damage, batches } = await verify(disk);
  assert.equal(damage.map((range) => [range.position === 0 ? 0 : range.firstIndex, range.lastIndex]), [
    [0, 0], [3, 3], [4, 4], [6, 6], [8, 8], [9, 9], [17, 17],
  ]);
  assert.is(batches, 11);
});

test('a cut, a lengthened, a missing and a foreign segment file are found', async () => {
  const { disk, places } = await filled();
  const [first, second] = [places[0]!.file, places[8]!.file];
  assert.ok(first !== second);

  const cut = disk.after({ mode: 'process' });
  const file = await cut.open(first, 'write');
  await file.truncate(places[4]!.start + 5);
  const found = (await verify(cut)).damage;
  assert.equal(found.map((range) => [range.file, range.position, range.firstIndex]), [[first, places[4]!.start, 5]]);

  const longer = disk.after({ mode: 'process' });
  const size = longer.contents(first).length;
  await (await longer.open(first, 'write')).write(Buffer.alloc(10, 1), 0, 10, size);
  assert.equal((await verify(longer)).damage.map((range) => [range.file, range.position, range.reason]), [
    [first, size, 'bytes behind the end of a complete segment'],
  ]);

  const missing = disk.after({ mode: 'process' });
  await missing.unlink(second);
  const gap = (await verify(missing)).damage;
  assert.is(gap.length, 1);
  assert.match(gap[0]!.reason, /is missing/);
  assert.is(gap[0]!.file, first);
  assert.is(gap[0]!.firstIndex, places.findIndex((place) => place.file === second) + 1);

  const foreign = (await verify(disk, false, Buffer.alloc(16, 9))).damage;
  assert.match(foreign[0]!.reason, /belongs to log 00112233445566778899aabbccddeeff/);

  assert.match((await verifyLog({ disk: await empty(), directory: 'log', logUid: null, repairIndex: false, yieldTurn: turn })).damage[0]!.reason, /no segment file/);
});

test('a sealed segment cut anywhere, or with no byte of its marks and batches left, is damaged up to its end', async () => {
  const { disk, model, places } = await filled();
  const files = [...new Set(places.map((place) => place.file))];
  for (const file of files.slice(0, 2)) {
    const first = places.findIndex((place) => place.file === file) + 1;
    const last = places.findLastIndex((place) => place.file === file) + 1;
    for (const size of [0, 1, 511, 512, 1024, 4095, 4096, 4097, 4096 + 72]) {
      const copy = disk.after({ mode: 'process' });
      await (await copy.open(file, 'write')).truncate(size);
      await expectLost(copy, model, first, last, `${file} cut to ${size}`);
    }
    const torn = disk.after({ mode: 'process' });
    for (const position of [520, 1030]) torn.corrupt(file, position);
    await (await torn.open(file, 'write')).truncate(4096 + 80);
    await expectLost(torn, model, first, last, `${file} cut, without marks`);
  }
});

/** Entries [first, last] are reported, by verify and by reads; all others are as they were. */
async function expectLost(disk: SimDisk, model: Model, first: number, last: number, what: string): Promise<void> {
  const { damage, lastIndex } = await verify(disk);
  assert.is(lastIndex, 17, what);
  const found = damage.filter((range) => range.lastIndex >= range.firstIndex);
  const offsets = [Number(model.at(first).readBigUInt64BE(24)), Number(model.at(last + 1).readBigUInt64BE(24)) - 1];
  assert.equal(found.map((range) => [range.firstIndex, range.lastIndex, range.firstOffset, range.lastOffset]), [[first, last, ...offsets]], what);
  const log = await openLog(disk, OPTIONS);
  for (let index = 1; index <= 17; index++) {
    let error: unknown = null;
    const range = await log.read(index, 1, 17).catch((reason: unknown) => void (error = reason));
    if (index < first || index > last) assert.ok(range!.buffers[0]!.equals(model.at(index)), `${what}: ${index}`);
    else assert.ok(error instanceof DamageError && error.firstIndex <= index && index <= error.lastIndex, `${what}: ${index}: ${String(error)}`);
  }
  await log.close();
}

test('the oldest segment without a head and without a next one that tells where it ended does not open', async () => {
  const { disk, places } = await filled();
  const [, second, third] = [...new Set(places.map((place) => place.file))];
  await disk.unlink(places[0]!.file);
  for (const file of [second!, third!]) await (await disk.open(file, 'write')).truncate(100);
  assert.match((await verify(disk)).damage[0]!.reason, /the head is cut short/);
  const error = await openLog(disk, OPTIONS).then(() => null, (reason: unknown) => reason);
  assert.instance(error, DamageError);
});

async function empty(): Promise<SimDisk> {
  const disk = new SimDisk();
  await disk.makeDirectory('log');
  return disk;
}

test('a gap between segments is DATA_LOSS to readers and not the end of the log', async () => {
  const { disk, model, places } = await filled();
  const second = places[8]!.file;
  const from = places.findIndex((place) => place.file === second) + 1;
  const to = places.findLastIndex((place) => place.file === second) + 1;
  await disk.unlink(second);
  const log = await openLog(disk, OPTIONS);
  assert.is(log.lastIndex, 17);
  for (let index = 1; index <= 17; index++) {
    let reason = '';
    const range = await log.read(index, 1, 17).catch((error) => void (reason = error.message));
    if (index < from || index > to) assert.ok(range!.buffers[0]!.equals(model.at(index)));
    else assert.match(reason, new RegExp(`indexes ${from}..${to}`));
  }
});

test('flipped bytes of an index are found entry by entry, and repaired when asked', async () => {
  const { disk, places } = await filled();
  const file = places[0]!.file.replace('.seg', '.idx');
  const entries = places.filter((place) => place.file === places[0]!.file).length;
  for (let position = 0; position < 16 + 12 * entries; position++) {
    if (position === 14 || position === 15) continue; // reserved, says nothing
    const copy = disk.after({ mode: 'process' });
    copy.corrupt(file, position, 4);
    const report = await verify(copy);
    assert.equal(report.damage, []);
    assert.equal(report.index.map((finding) => [finding.file, finding.repaired]), [[file, false]], `byte ${position}`);
    assert.is((await verify(copy, true)).index[0]!.repaired, true);
    assert.equal((await verify(copy)).index, []);
  }
});

test('an index that a crash left unfinished is told from a damaged one', async () => {
  const { disk, places } = await filled();
  const path = places[0]!.file.replace('.seg', '.idx');
  const spoil: [string, (copy: SimDisk) => Promise<void>, boolean][] = [
    ['not sealed', async (copy) => (await copy.open(path, 'write')).write(Buffer.alloc(8), 0, 8, 4), true],
    ['missing', (copy) => copy.unlink(path), true],
    ['too short', async (copy) => (await copy.open(path, 'write')).truncate(30), true],
    ['another seal', async (copy) => copy.corrupt(path, 9), false],
  ];
  for (const [what, how, unfinished] of spoil) {
    const copy = disk.after({ mode: 'process' });
    await how(copy);
    assert.equal((await verify(copy)).index.map((finding) => finding.unfinished), [unfinished], what);
    assert.is((await verify(copy, true)).index[0]!.repaired, true, what);
    assert.equal((await verify(copy)).index, [], what);
  }
});

test('an unsynced group behind the mark is no damage', async () => {
  const { disk, places } = await filled();
  const last = places[16]!;
  const file = await disk.open(last.file, 'write');
  await file.write(Buffer.alloc(777, 5), 0, 777, last.end);
  const report = await verify(disk);
  assert.equal(report.damage, []);
  assert.is(report.unsyncedBytes, 777);
  assert.is(report.lastIndex, 17);
});

test('an unknown end is reported, and accepted only when asked: then the valid prefix is the log', async () => {
  const { disk, model, places } = await filled();
  const file = places[16]!.file;
  disk.corrupt(file, 520);
  disk.corrupt(file, 1030);
  disk.corrupt(file, places[15]!.start + 20);
  const report = await verify(disk);
  assert.is(report.damage.length, 1);
  assert.is(report.damage[0]!.firstIndex, 16);
  assert.is(report.damage[0]!.lastOffset, -1);
  assert.is((await openLog(disk.after({ mode: 'process' }))).state, LogState.READ_ONLY);
  const accepted = await acceptLoss(disk, 'log', LOG_UID, turn);
  assert.is(accepted!.firstIndex, 16);
  assert.is(await acceptLoss(disk, 'log', LOG_UID, turn), null);
  assert.equal((await verify(disk)).damage, []);
  const log = await openLog(disk.crash({ keep: 'none' }), OPTIONS);
  assert.is(log.state, LogState.OPEN);
  model.truncate(16);
  await expectHolds(log, model);
});

test.run();
