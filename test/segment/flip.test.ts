// Every byte of a small last segment, flipped or cut off, one at a time, after kill -9: below the
// durable mark that is damage, named exactly; above it the log ends before it; never a wrong record.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { acceptLoss } from '../../src/segment/accept-loss.ts';
import { DamageError, describeDamage } from '../../src/segment/damage.ts';
import { LogState } from '../../src/segment/log-options.ts';
import type { SegmentedLog } from '../../src/segment/log.ts';
import { stampBodyCrc } from '../../src/wire/batch.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, controlOf, createLog, LOG_UID, Model, openLog, split } from './support.ts';

const test = suite('segment/flip');
const FILE = 'log/00000000000000000001.seg';
const HEAD_SIZE = 4096;

interface Killed {
  disk: SimDisk;
  model: Model;
  acked: number;
  /** Where each entry begins; one more for the end of the last. */
  starts: number[];
}

/** Seven acknowledged entries, and three more that were written when the process was killed in their sync. */
async function killed(): Promise<Killed> {
  const disk = new SimDisk();
  const log = await createLog(disk);
  const model = new Model();
  for (let i = 0; i < 7; i++) {
    model.append(log, i === 3 ? controlOf('control') : batchOf(`acked ${i}`, 1 + (i % 2)), 1, i);
    if (i % 2 === 0) await log.whenIdle();
  }
  await log.whenIdle();
  const acked = log.durableIndex;
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`written ${i}`), 1, 10);
  let written = false;
  disk.fail((operation) => {
    if (operation.call !== 'sync' || !operation.path.endsWith('.seg')) return null;
    written = true;
    return null;
  });
  log.flush();
  while (!written) await Promise.resolve();
  const dead = disk.crash({ mode: 'process', keep: 'all' });
  const starts = [HEAD_SIZE];
  for (const entry of model.entries) starts.push(starts[starts.length - 1]! + entry.length);
  return { disk: dead, model, acked, starts };
}

/** Reads each entry on its own: its bytes, or the damage that stands in its place. */
async function readEach(log: SegmentedLog): Promise<Array<Buffer | DamageError>> {
  const found: Array<Buffer | DamageError> = [];
  for (let index = log.firstIndex; index <= log.lastIndex; index++) {
    try {
      const range = await log.read(index, 1, index);
      assert.is(range.lastIndex, index);
      found.push(split(range.buffers[0]!)[0]!);
    } catch (error) {
      if (!(error instanceof DamageError)) throw error;
      found.push(error);
    }
  }
  return found;
}

function entryAt(starts: number[], position: number): number {
  let entry = 0;
  while (entry + 1 < starts.length && starts[entry + 1]! <= position) entry++;
  return entry + 1;
}

async function expectFlip(life: Killed, position: number): Promise<void> {
  const { model, acked, starts } = life;
  const disk = life.disk.after({ mode: 'process', keep: 'all' });
  disk.corrupt(FILE, position, position % 3 === 0 ? 0xff : 1 << (position % 8));
  const log = await openLog(disk);
  const found = await readEach(log);
  const bad = position < HEAD_SIZE ? 0 : entryAt(starts, position);
  const total = model.entries.length;
  if (bad === 0 || bad > total || bad <= acked) assert.is(found.length, total);
  else assert.is(found.length, bad - 1, 'the unsynced group ends before its first bad batch');
  for (const [i, entry] of found.entries()) {
    if (i + 1 !== bad) {
      assert.ok(entry instanceof Buffer && entry.equals(model.entries[i]!), `entry ${i + 1} is what it was`);
      continue;
    }
    if (!(entry instanceof DamageError)) return assert.unreachable('damage is never served');
    assert.is(entry.file, FILE);
    assert.is(entry.position, starts[i]);
    const base = Number(model.entries[i]!.readBigUInt64BE(24));
    assert.is(entry.firstOffset, base);
    assert.is(entry.lastOffset, base + model.entries[i]!.readUInt32BE(48) - 1);
    assert.is(log.damage.length, 1);
  }
  const inSlots = position >= 512 && position < 1536;
  const reported = position < HEAD_SIZE ? !inSlots : bad <= acked;
  assert.is(log.damage.length, reported ? 1 : 0);
  if (position < HEAD_SIZE && !inSlots) assert.is(log.damage[0]!.file, FILE);
  assert.is(log.nextOffset, found.length === total ? model.nextOffset : Number(model.entries[found.length]!.readBigUInt64BE(24)));
  await log.close();
  // What was cut stays cut, what was damaged stays damaged: a second start finds the same.
  const again = await openLog(disk);
  assert.is(again.lastIndex, log.lastIndex);
}

test('a flipped byte below the mark is damage of exactly that batch, above it the end of the log', async () => {
  const life = await killed();
  assert.is(life.acked, 7);
  const end = life.starts[life.starts.length - 1]!;
  for (let position = 0; position < end + 40; position++) {
    // The unused parts of the head and of the slots are all alike: a few of their bytes will do.
    const dull = position < HEAD_SIZE && (position % 512 >= 72 || position >= 1536);
    if (dull && position % 37 !== 0) continue;
    try {
      await expectFlip(life, position);
    } catch (error) {
      (error as Error).message = `byte ${position}: ${(error as Error).message}`;
      throw error;
    }
  }
});

async function expectCut(life: Killed, size: number): Promise<void> {
  const { model, acked, starts } = life;
  const disk = life.disk.after({ mode: 'process', keep: 'all' });
  const file = await disk.open(FILE, 'write');
  await file.truncate(size);
  await file.close();
  const log = await openLog(disk);
  let whole = 0;
  while (whole < model.entries.length && starts[whole + 1]! <= size) whole++;
  const found = await readEach(log);
  assert.is(found.length, Math.max(acked, whole), 'what was acknowledged is known to be missing');
  for (const [i, entry] of found.entries()) {
    if (i < whole) assert.ok(entry instanceof Buffer && entry.equals(model.entries[i]!));
    else assert.ok(entry instanceof DamageError && entry.firstIndex <= i + 1 && entry.lastIndex >= i + 1);
  }
  if (whole >= acked) return assert.equal(log.damage, []);
  assert.is(log.damage.length, 1);
  assert.is(log.damage[0]!.position, starts[whole]);
  assert.is(log.damage[0]!.firstIndex, whole + 1);
  assert.is(log.damage[0]!.lastIndex, acked);
  assert.is(log.damage[0]!.lastOffset, Number(model.entries[acked]!.readBigUInt64BE(24)) - 1);
  assert.is(log.lastIndex, acked);
}

test('a file cut below the mark is damage up to the mark, cut above it the end of the log', async () => {
  const life = await killed();
  const end = life.starts[life.starts.length - 1]!;
  for (let size = HEAD_SIZE; size <= end; size++) {
    try {
      await expectCut(life, size);
    } catch (error) {
      (error as Error).message = `cut to ${size} bytes: ${(error as Error).message}`;
      throw error;
    }
  }
});

test('a file cut inside its head is not taken for an empty log: how much it held is not known', async () => {
  const life = await killed();
  for (const size of [0, 1, 511, 512, 1023, 1024, 1536, 4095]) {
    const disk = life.disk.after({ mode: 'process', keep: 'all' });
    const file = await disk.open(FILE, 'write');
    await file.truncate(size);
    const log = await openLog(disk);
    assert.is(log.state, LogState.READ_ONLY, `${size} bytes`);
    assert.equal(log.damage.map((range) => [range.file, range.position, range.lastOffset]), [[FILE, 0, -1], [FILE, 512, -1]]);
    assert.match(describeDamage(log.damage[0]!), / \(no records, /);
    assert.is(await file.size(), size, 'nothing was cut or written');
    await log.close();
    assert.is((await acceptLoss(disk, 'log', LOG_UID, () => Promise.resolve()))!.firstIndex, 1);
    const mended = await openLog(disk.crash({ keep: 'none' }));
    assert.equal([mended.state, mended.lastIndex, mended.damage], [LogState.OPEN, 0, []]);
    await mended.close();
  }
});

test('both slots bad is damage with unknown end: nothing is cut, the log is read only', async () => {
  const life = await killed();
  const disk = life.disk.after({ mode: 'process', keep: 'all' });
  disk.corrupt(FILE, 600);
  disk.corrupt(FILE, 1100);
  disk.corrupt(FILE, life.starts[9]! + 80);
  const before = disk.contents(FILE);
  const log = await openLog(disk);
  assert.is(log.state, LogState.READ_ONLY);
  assert.not.ok(log.acceptsAppends);
  assert.is(log.lastIndex, 9);
  assert.is(log.damage.length, 1);
  assert.is(log.damage[0]!.lastOffset, -1);
  assert.is(log.damage[0]!.firstIndex, 10);
  for (const [i, entry] of (await readEach(log)).entries()) assert.ok(entry instanceof Buffer && entry.equals(life.model.entries[i]!));
  await log.close();
  assert.ok(disk.contents(FILE).equals(before));
});

test('damage does not end the log: it goes on after the mark, around the damage', async () => {
  const life = await killed();
  const { model, starts } = life;
  life.disk.corrupt(FILE, starts[2]! + 5);
  life.disk.corrupt(FILE, starts[4]! + 90);
  const log = await openLog(life.disk);
  assert.is(log.lastIndex, 10);
  for (let i = 0; i < 5; i++) model.append(log, batchOf(`later ${i}`), 2, 20);
  await log.whenIdle();
  log.shrinkCache(0);
  const kinds = (await readEach(log)).map((entry) => (entry instanceof Buffer ? 'ok' : 'damage'));
  assert.equal(kinds, ['ok', 'ok', 'damage', 'ok', 'damage', ...Array<string>(10).fill('ok')]);
  // A read that begins before the damage gives what is good, the next one names it.
  const range = await log.read(1, 1 << 20, 15);
  assert.is(range.lastIndex, 2);
  const again = await openLog(life.disk.crash({ keep: 'none' }));
  assert.is(again.lastIndex, 15);
  assert.is(again.damage.length, 1, 'the header is found at the start, the body when it is read');
});

test('a record that contains a segment is not mistaken for the rest of the log', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk);
  const model = new Model();
  const inner = await killed();
  // Batches inside a record whose indexes fit exactly where the outer log has lost its header.
  const nested = Buffer.concat(inner.model.entries.slice(2, 6));
  model.append(log, batchOf('first'), 1, 0);
  model.append(log, batchOf('second'), 1, 1);
  const raw = batchOf('x', 1, nested.length + 1);
  nested.copy(raw, raw.length - nested.length);
  stampBodyCrc(raw, 0);
  model.append(log, raw, 1, 2);
  for (let i = 0; i < 4; i++) model.append(log, batchOf(`after ${i}`), 1, 3);
  await log.whenIdle();
  const start = HEAD_SIZE + model.entries[0]!.length + model.entries[1]!.length;
  const dead = disk.crash({ mode: 'process', keep: 'all' });
  dead.corrupt(FILE, start + 9);
  const found = await readEach(await openLog(dead));
  assert.equal(found.map((entry) => (entry instanceof Buffer ? 'ok' : 'damage')), ['ok', 'ok', 'damage', 'ok', 'ok', 'ok', 'ok']);
  for (const [i, entry] of found.entries()) if (entry instanceof Buffer) assert.ok(entry.equals(model.entries[i]!));
});

test.run();
