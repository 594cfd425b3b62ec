// The simulated disk's own claims: what a crash may leave, and that equal seeds give equal disks.
// The proofs of recovery stand on this model, so each of its promises is held here.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError, type DiskFile } from '../../src/index/disk.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { Prng } from '../support/prng.ts';
import { SimDisk, type CrashOptions } from '../support/sim-disk.ts';

const SECTOR = 512;

const test = suite('simulated disk');

function bytesOf(value: number, sectorCount = 1): Buffer {
  return Buffer.alloc(sectorCount * SECTOR, value);
}

/** A durable file of three sectors of ones. */
async function durableFile(disk: SimDisk, path = 'a'): Promise<DiskFile> {
  const file = await disk.open(path, 'create');
  await file.write(bytesOf(1, 3), 0, 3 * SECTOR, 0);
  await file.sync();
  await disk.syncDirectory('');
  return file;
}

/** The first byte of each sector, as text. */
function sectors(disk: SimDisk, path = 'a'): string {
  const bytes = disk.contents(path);
  let text = '';
  for (let at = 0; at < bytes.length; at += SECTOR) text += bytes[at];
  return text;
}

/** All outcomes of many random crashes at this moment. */
function outcomes(disk: SimDisk, look: (left: SimDisk) => string, options: CrashOptions = {}): Set<string> {
  const seen = new Set<string>();
  for (let i = 0; i < 1000; i++) seen.add(look(disk.after(options)));
  return seen;
}

test('keeps what was synced, and of the rest any subset of sectors', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  assert.equal([...outcomes(disk, sectors)], ['111']);
  await file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  assert.is(sectors(disk.after({ keep: 'none' })), '111');
  assert.is(sectors(disk.after({ keep: 'all' })), '222');
  assert.is(outcomes(disk, sectors).size, 8);
  assert.is(sectors(disk.after({ keep: (_path, sector) => (sector === 1 ? 1 : 0) })), '121');
  assert.equal(disk.unsyncedSectors('a'), [0, 1, 2]);
  await file.sync();
  assert.equal([...outcomes(disk, sectors)], ['222']);
});

test('a sector may keep any version since the last sync, never a mixture within it', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  for (const value of [2, 3]) await file.write(bytesOf(value), 0, SECTOR, 0);
  assert.equal([...outcomes(disk, sectors)].sort(), ['111', '211', '311']);
  await file.write(Buffer.from([9]), 0, 1, 5);
  for (const left of Array.from({ length: 100 }, () => disk.after())) {
    const bytes = left.contents('a');
    if (bytes[5] === 9) assert.is(bytes[0], 3);
  }
});

test('a sync covers what was written before it began, not what came while it ran', async () => {
  const ends: (() => void)[] = [];
  const disk = new SimDisk({ schedule: (end, { call }) => void (call === 'sync' ? ends.push(end) : queueMicrotask(end)) });
  const file = await disk.open('a', 'create');
  await disk.syncDirectory('');
  await file.write(bytesOf(1), 0, SECTOR, 0);
  const first = file.sync();
  await file.write(bytesOf(2), 0, SECTOR, 0);
  await file.write(bytesOf(2), 0, SECTOR, SECTOR);
  assert.ok(outcomes(disk, sectors).has(''), 'the sync did not end yet');
  (ends.shift() as () => void)();
  await first;
  const left = outcomes(disk, sectors);
  assert.ok(left.has('1'));
  assert.ok(left.has('22'));
  assert.ok([...left].every((text) => text === '1' || text === '2' || /^[12][02]$/.test(text)), [...left].join());
});

test('the size is any that the file had since its last sync, and holes read as zeros', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  await file.truncate(SECTOR + 10);
  await file.write(bytesOf(2), 0, SECTOR, 4 * SECTOR);
  const sizes = outcomes(disk, (left) => String(left.contents('a').length));
  assert.equal([...sizes].map(Number).sort((a, b) => a - b), [SECTOR + 10, 3 * SECTOR, 5 * SECTOR]);
  await file.sync();
  const bytes = disk.crash().contents('a');
  assert.is(bytes.length, 5 * SECTOR);
  assert.is(bytes[SECTOR + 9], 1);
  assert.ok(bytes.subarray(SECTOR + 10, 4 * SECTOR).every((byte) => byte === 0));
});

test('names are durable only after their folder was synced', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  await disk.rename('a', 'b');
  await (await disk.open('c', 'create')).close();
  const names = (left: SimDisk): string => left.media.files().map(([path]) => path).join();
  assert.equal([...outcomes(disk, names)].sort(), ['a', 'a,c', 'b', 'b,c']);
  await disk.syncDirectory('');
  assert.equal([...outcomes(disk, names)], ['b,c']);
  await disk.unlink('c');
  assert.equal([...outcomes(disk, names)].sort(), ['b', 'b,c']);
  assert.is(sectors(disk.after(), 'b'), '111');
  await file.close();
});

test('a folder that was not synced into its parent takes its files with it', async () => {
  const disk = new SimDisk();
  await disk.makeDirectory('logs');
  const file = await disk.open('logs/a', 'create');
  await file.write(bytesOf(1), 0, SECTOR, 0);
  await file.sync();
  await disk.syncDirectory('logs');
  assert.is(await disk.after({ names: 'none' }).exists('logs'), false);
  await disk.syncDirectory('');
  assert.is(sectors(disk.after({ keep: 'none' }), 'logs/a'), '1');
});

test('a rename across folders is whole or not at all, and durable when both are synced', async () => {
  const disk = new SimDisk();
  await disk.makeDirectory('x');
  await disk.makeDirectory('y');
  await disk.syncDirectory('');
  await (await disk.open('x/a', 'create')).close();
  await disk.syncDirectory('x');
  await disk.rename('x/a', 'y/a');
  const names = (left: SimDisk): string => left.media.files().map(([path]) => path).join();
  await disk.syncDirectory('y');
  assert.equal([...outcomes(disk, names)].sort(), ['x/a', 'y/a']);
  await disk.syncDirectory('x');
  assert.equal([...outcomes(disk, names)], ['y/a']);
});

test('a process crash keeps the page cache and the names, and a later power cut may still take them', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  await file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  await disk.rename('a', 'b');
  const left = disk.crash({ mode: 'process' });
  assert.is(sectors(left, 'b'), '222');
  assert.ok(outcomes(left, (cut) => cut.media.files().map(([path]) => path + sectors(cut, path)).join()).has('a111'));
  const again = await left.open('b', 'write');
  await again.sync();
  await left.syncDirectory('');
  assert.is(sectors(left.crash({ keep: 'none' }), 'b'), '222');
});

test('calls that had not ended at a crash happened, or not, or in part', async () => {
  const ends: (() => void)[] = [];
  let hold = false;
  const disk = new SimDisk({ schedule: (end) => void (hold ? ends.push(end) : queueMicrotask(end)) });
  const file = await durableFile(disk);
  hold = true;
  void file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  assert.is(sectors(disk), '111');
  assert.is(outcomes(disk, sectors).size, 8, 'a power cut stores any sectors of it');
  assert.equal([...outcomes(disk, sectors, { mode: 'process' })].sort(), ['111', '211', '221', '222']);
  void disk.rename('a', 'b');
  void disk.open('c', 'create');
  const names = (left: SimDisk): string => left.media.files().map(([path]) => path).join();
  assert.equal([...outcomes(disk, names, { mode: 'process' })].sort(), ['a', 'a,c', 'b', 'b,c']);
  assert.is(names(disk.after({ keep: 'none' })), 'a');
});

test('a dead disk does nothing any more', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  const left = disk.crash();
  let ended = false;
  void file.write(bytesOf(7), 0, SECTOR, 0).then(() => (ended = true));
  void disk.unlink('a').then(() => (ended = true));
  file.writeNow(bytesOf(7), 0, SECTOR, 0);
  await new Promise((resolve) => setImmediate(resolve));
  assert.is(ended, false);
  assert.is(sectors(disk), '111');
  assert.is(sectors(left), '111');
});

test('haltAt stops at that operation, which may have had its effect', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  const halted = disk.haltAt(disk.operationCount + 2);
  await file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  void file.write(bytesOf(3, 3), 0, 3 * SECTOR, 0);
  await halted;
  assert.is(sectors(disk.after({ keep: 'none' })), '111');
  assert.is(sectors(disk.after({ keep: 'all' })), '333');
  assert.ok(outcomes(disk, sectors).has('222'));
});

test('a failed sync stores nothing, and the next one does not make up for it', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  await file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  disk.failNext('sync');
  await refused(file.sync(), 'EIO');
  await file.sync();
  assert.is(sectors(disk), '222', 'the page cache still has it');
  assert.is(sectors(disk.after({ keep: 'none' })), '111', 'the disk may not');
  await file.write(bytesOf(3), 0, SECTOR, SECTOR);
  await file.sync();
  assert.is(sectors(disk.after({ keep: 'none' })), '131');
});

test('a failed write may have stored any part', async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 100; seed++) {
    const disk = new SimDisk({ prng: new Prng(seed) });
    const file = await durableFile(disk);
    disk.failNext('write');
    await refused(file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0), 'EIO');
    seen.add(sectors(disk));
  }
  assert.is(seen.size, 8);
});

test('fails by number, by kind and path, and by rate', async () => {
  const disk = new SimDisk();
  const file = await durableFile(disk);
  disk.failAt(disk.operationCount + 2, 'EROFS');
  await file.sync();
  await refused(disk.list(''), 'EROFS');
  disk.failNext('rename', 'EACCES', /^b$/);
  await disk.rename('a', 'b');
  await refused(disk.rename('b', 'a'), 'EACCES');
  await disk.rename('b', 'a');
  disk.rates = { list: 0.5 };
  let failures = 0;
  for (let i = 0; i < 200; i++) await disk.list('').catch(() => failures++);
  assert.ok(failures > 50 && failures < 150, `${failures} of 200`);
  disk.clearFaults();
  await disk.list('');
});

test('is full after its bytes, stores what fits, and gives space back', async () => {
  const disk = new SimDisk({ totalBytes: 5 * SECTOR });
  const file = await durableFile(disk);
  assert.equal(await disk.space(), { freeBytes: 2 * SECTOR, totalBytes: 5 * SECTOR });
  await file.write(bytesOf(2, 3), 0, 3 * SECTOR, 0);
  await refused(file.write(bytesOf(3, 3), 0, 3 * SECTOR, 3 * SECTOR), 'ENOSPC');
  assert.is(sectors(disk), '22233');
  await file.truncate(SECTOR);
  assert.is((await disk.space()).freeBytes, 4 * SECTOR);
  const other = await disk.open('b', 'create');
  await other.write(bytesOf(1, 4), 0, 4 * SECTOR, 0);
  await disk.unlink('b');
  assert.is((await disk.space()).freeBytes, 0, 'an open file keeps its space');
  await other.close();
  assert.is((await disk.space()).freeBytes, 4 * SECTOR);
});

test('rots bits in what is stored and in what is cached', async () => {
  const disk = new SimDisk();
  await durableFile(disk);
  disk.corrupt('a', 700, 0x10);
  assert.is(disk.contents('a')[700], 0x11);
  assert.is(disk.crash().contents('a')[700], 0x11);
});

test('catches a source that changes under a write', async () => {
  const disk = new SimDisk();
  const file = await disk.open('a', 'create');
  const source = bytesOf(1);
  const write = file.write(source, 0, SECTOR, 0);
  source[100] = 2;
  await write.then(() => assert.unreachable(), (error) => assert.instance(error, InvariantError));
});

test('with mmap a store reaches the page cache by itself, with a mirror only by flush', async () => {
  for (const mapBackend of ['mmap', 'mirror'] as const) {
    const disk = new SimDisk({ mapBackend });
    const file = await durableFile(disk);
    const mapping = file.map(0, 2 * SECTOR);
    mapping.bytes[0] = 5;
    const reached = mapBackend === 'mmap' ? '511' : '111';
    assert.is(sectors(disk.after({ mode: 'process' })), reached);
    assert.is(outcomes(disk, sectors).has('511'), mapBackend === 'mmap');
    await file.sync();
    assert.is(sectors(disk.after({ keep: 'none' })), reached);
    mapping.flush(0, SECTOR);
    await file.sync();
    assert.is(sectors(disk.after({ keep: 'none' })), '511');
    const view = mapping.bytes;
    mapping.unmap();
    assert.is(view.length, 0, 'a late touch finds nothing');
  }
});

test('equal seeds and calls give equal disks', async () => {
  const run = async (): Promise<string> => {
    let trace = '';
    let disk = new SimDisk({ prng: new Prng(42) });
    disk.rates = { write: 0.1, sync: 0.1 };
    for (let life = 0; life < 5; life++) {
      disk.onOperation = ({ call, path, position }) => (trace += `${call}${path}${position};`);
      const file = (await disk.exists('a')) ? await disk.open('a', 'write') : await durableFile(disk).catch(() => null);
      if (file !== null) {
        for (let i = 0; i < 30; i++) {
          await file.write(bytesOf(i, 2), 0, 2 * SECTOR, (i % 7) * SECTOR).catch(() => {});
          if (i % 5 === 0) await file.sync().catch(() => {});
        }
      }
      disk = disk.crash();
      if (await disk.exists('a')) trace += sectors(disk);
    }
    return trace;
  };
  assert.is(await run(), await run());
});

const prngTest = suite('prng');

prngTest('gives one sequence per seed, the same everywhere', () => {
  const prng = new Prng(1);
  assert.equal(Array.from({ length: 4 }, () => prng.next32()), [2442144158, 3238099751, 3819917871, 2104621829]);
  assert.not.equal(new Prng(2).next32(), new Prng(1).next32());
});

prngTest('draws evenly below a bound, and with a chance', () => {
  const prng = new Prng(9);
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < 60_000; i++) counts[prng.next(6)]!++;
  assert.ok(counts.every((count) => count > 9_500 && count < 10_500), counts.join());
  let hits = 0;
  for (let i = 0; i < 10_000; i++) hits += prng.chance(0.25) ? 1 : 0;
  assert.ok(hits > 2_200 && hits < 2_800, String(hits));
  assert.is(prng.chance(0), false);
  assert.is(prng.chance(1), true);
  assert.equal(prng.shuffle([1, 2, 3, 4]).sort(), [1, 2, 3, 4]);
  assert.throws(() => prng.next(0), /bound 0/);
});

async function refused(call: Promise<unknown>, code: string): Promise<void> {
  const error = await call.then(() => null, (reason: unknown) => reason);
  assert.instance(error, DiskError, `expected ${code}`);
  assert.is((error as DiskError).code, code);
}

test.run();
prngTest.run();
