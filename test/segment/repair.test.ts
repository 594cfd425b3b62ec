// Damaged entries put back in their place: only the very entries, only where they fit, synced.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SegmentedLog } from '../../src/segment/log.ts';
import { ColdError } from '../../src/segment/lookup.ts';
import type { LogOptions } from '../../src/segment/log-options.ts';
import { SyncGate } from '../../src/segment/sync-gate.ts';
import { batchSize, stampBatch } from '../../src/wire/batch.ts';
import { buildBatch } from '../../src/wire/batch-build.ts';
import { SimDisk } from '../support/sim-disk.ts';

const test = suite('segment/repair');

const COUNT = 12;
const HEAD = 4096;

function batchOf(i: number, size = 500): Buffer {
  return buildBatch([{ value: Buffer.alloc(size, 97 + i) }]);
}

/** Entry `index` as it is in the log. */
function entry(index: number, term = 1, offset = index - 1, size = 500): Buffer {
  const batch = Buffer.from(batchOf(index, size));
  stampBatch(batch, 0, index, term, offset, 1000);
  return batch;
}

const SIZE = batchSize(batchOf(1), 0);

class Rig {
  disk = new SimDisk();

  options(): LogOptions {
    return {
      disk: this.disk, directory: 'log', logUid: Buffer.alloc(16, 1), segmentBytes: HEAD + 5 * SIZE + 100, maxSegmentAgeMs: 1e12,
      durability: { mode: 'fsync' }, cacheBytes: 0, syncGate: new SyncGate(4), defer: (task) => queueMicrotask(task),
    };
  }

  /** Twelve entries in three segments; the bytes at these places of the first are spoilt. */
  async damaged(places: readonly number[], segment = 0): Promise<SegmentedLog> {
    await this.disk.makeDirectory('log');
    await this.disk.syncDirectory('');
    const log = await SegmentedLog.create(this.options());
    for (let i = 1; i <= COUNT; i++) {
      const batch = batchOf(i);
      log.append(batch, 0, batch.length, 1, 1000);
      await log.whenIdle();
    }
    await log.close();
    const path = this.disk.media.files().map(([name]) => name).filter((name) => name.endsWith('.seg')).sort()[segment]!;
    for (const place of places) this.disk.corrupt(path, place);
    return SegmentedLog.open(this.options(), () => {}, 0);
  }

  async again(log: SegmentedLog): Promise<SegmentedLog> {
    await log.close();
    this.disk = this.disk.crash({ keep: 'none' });
    return SegmentedLog.open(this.options(), () => {}, 0);
  }
}

async function isWhole(log: SegmentedLog): Promise<void> {
  assert.equal(log.damage, []);
  const parts: Buffer[] = [];
  for (let next = 1; next <= COUNT; ) {
    const { buffers, lastIndex } = await log.read(next, 1 << 20, COUNT);
    parts.push(...buffers);
    next = lastIndex + 1;
  }
  assert.ok(Buffer.concat(parts).equals(Buffer.concat(Array.from({ length: COUNT }, (_, i) => entry(i + 1)))));
}

/** Where each record is, as the indexes on disk say; every entry has one. */
async function areFound(log: SegmentedLog): Promise<void> {
  for (let offset = 0; offset < COUNT; ) {
    try {
      assert.is(log.indexOfOffset(offset), offset + 1);
      offset++;
    } catch (error) {
      if (!(error instanceof ColdError)) throw error;
      await error.load();
    }
  }
}

for (const [what, places, segment, from, to] of [
  ['a header in the middle', [HEAD + SIZE + 20], 0, 2, 2],
  ['the first header', [HEAD + 20], 0, 1, 1],
  ['the last header of a sealed segment', [HEAD + 4 * SIZE + 20], 0, 5, 5],
  ['two headers beside each other', [HEAD + SIZE + 20, HEAD + 2 * SIZE + 20], 0, 2, 3],
  ['a header in the newest segment', [HEAD + 20], 2, 11, 11],
  ['the last header of all', [HEAD + SIZE + 20], 2, 12, 12],
] as const) {
  test(`${what} is put back, and stays over a power cut`, async () => {
    const rig = new Rig();
    const log = await rig.damaged(places, segment);
    assert.is(log.damage.length, 1);
    const [range] = log.damage;
    assert.equal([range!.firstIndex, range!.lastIndex], [from, to]);
    assert.ok(log.canRepair(range!));
    const bytes = Buffer.concat(Array.from({ length: to - from + 1 }, (_, i) => entry(from + i)));
    assert.ok(await log.repair(range!, bytes));
    await isWhole(await rig.again(log));
  });
}

test('a body that a read found damaged is put back', async () => {
  const rig = new Rig();
  const log = await rig.damaged([HEAD + 2 * SIZE + 200]);
  let failed = false;
  await log.read(3, 1, 3).catch(() => (failed = true));
  assert.ok(failed);
  assert.ok(await log.repair(log.damage[0]!, entry(3)));
  await isWhole(await rig.again(log));
});

test('an index that was built around damage does not outlive it', async () => {
  const rig = new Rig();
  const log = await rig.damaged([HEAD + SIZE + 20, HEAD + 2 * SIZE + 20]);
  const [range] = log.damage;
  let failed = false;
  await log.read(2, 1, 3).catch(() => (failed = true));
  assert.ok(failed, 'the read has the index built again');
  assert.ok(await log.repair(range!, Buffer.concat([entry(2), entry(3)])));
  await log.close();
  rig.disk = rig.disk.crash({ mode: 'process' });
  const again = await SegmentedLog.open(rig.options(), () => {}, 0);
  await areFound(again);
  await isWhole(again);
  await again.close();
});

test('other entries, other sizes and other places are refused, and nothing is written', async () => {
  const rig = new Rig();
  const log = await rig.damaged([HEAD + SIZE + 20]);
  const range = log.damage[0]!;
  const before = rig.disk.contents(range.file);
  const flipped = entry(2);
  flipped[100]! ^= 1;
  for (const [wrong, what] of [
    [entry(3), 'another index'], [entry(2, 1, 7), 'another offset'], [entry(2, 1, 1, 499), 'shorter'], [entry(2, 1, 1, 501), 'longer'],
    [flipped, 'damaged'], [Buffer.concat([entry(2), entry(3)]), 'too many'], [Buffer.alloc(0), 'none'], [entry(2).subarray(0, -1), 'cut short'],
  ] as const) {
    assert.not(await log.repair(range, wrong), what);
    assert.ok(rig.disk.contents(range.file).equals(before), what);
  }
  await log.close();
});

test('damage of a head, of a missing file or of an unknown end cannot be repaired in place', async () => {
  const rig = new Rig();
  const log = await rig.damaged([20], 1);
  assert.ok(log.damage.length > 0);
  for (const range of log.damage) assert.not(log.canRepair(range));
  const unknown = { ...log.damage[0]!, position: HEAD, firstIndex: 6, lastIndex: 6, firstOffset: 5, lastOffset: -1 };
  assert.not(log.canRepair(unknown));
  assert.not(log.canRepair({ ...unknown, lastOffset: 5, lastIndex: 99 }));
  assert.not(log.canRepair({ ...unknown, lastOffset: 5, file: 'log/other.seg' }));
  await log.close();
});

test('a disk that fails while bytes are put back is said to have', async () => {
  const rig = new Rig();
  const log = await rig.damaged([HEAD + SIZE + 20]);
  rig.disk.failNext('sync', 'EIO', /seg$/);
  let code = '';
  await log.repair(log.damage[0]!, entry(2)).catch((error: { code: string }) => (code = error.code));
  assert.is(code, 'EIO');
  await log.close();
});

test.run();
