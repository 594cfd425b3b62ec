// The offset index against a plain array of the same entries, on every disk and both backends.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError, type Disk } from '../../src/index/disk.ts';
import { ENTRIES_PER_BLOCK, IndexDamageError, OffsetIndex } from '../../src/index/offset-index.ts';
import { BLOCK_SIZE } from '../../src/index/mapped-file.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { Prng, testSeed } from '../support/prng.ts';
import { testDisks } from '../support/disks.ts';
import { SimDisk } from '../support/sim-disk.ts';

const FIRST_INDEX = 1_000;
const FIRST_OFFSET = 2 ** 40;
const FIRST_MS = 1_700_000_000_000;

interface Entry {
  position: number;
  offset: number;
  ms: number;
}

/** Entries as a segment makes them: control batches share the offset of what follows, times repeat. */
function entries(prng: Prng, count: number): Entry[] {
  const made: Entry[] = [];
  const next = { position: 4096, offset: FIRST_OFFSET, ms: FIRST_MS };
  for (let i = 0; i < count; i++) {
    made.push({ ...next });
    next.position += 72 + prng.next(200);
    next.offset += prng.chance(0.2) ? 0 : 1 + prng.next(10);
    next.ms += prng.chance(0.5) ? 0 : prng.next(5);
  }
  return made;
}

function create(disk: Disk): Promise<OffsetIndex> {
  return OffsetIndex.create(disk, 'x.idx', FIRST_INDEX, FIRST_OFFSET, FIRST_MS);
}

function reopen(disk: Disk, count: number): Promise<OffsetIndex | null> {
  return OffsetIndex.open(disk, 'x.idx', FIRST_INDEX, FIRST_OFFSET, FIRST_MS, count);
}

async function fill(index: OffsetIndex, list: readonly Entry[]): Promise<void> {
  for (const { position, offset, ms } of list) {
    const growth = index.ensureRoom(1);
    if (growth !== null) await growth;
    index.append(position, offset, ms);
  }
}

/** Compares lookups at random places, and around every block border, with the array. */
function check(index: OffsetIndex, list: readonly Entry[], prng: Prng): void {
  assert.is(index.count, list.length);
  const probes = [0, list.length - 1];
  for (let at = ENTRIES_PER_BLOCK; at < list.length; at += ENTRIES_PER_BLOCK) probes.push(at - 1, at);
  for (let i = 0; i < 200; i++) probes.push(prng.next(list.length));
  for (const i of probes) {
    const entry = list[i] as Entry;
    if (index.positionAt(i) !== entry.position || index.offsetAt(i) !== entry.offset || index.msAt(i) !== entry.ms) {
      assert.equal({ i, position: index.positionAt(i), offset: index.offsetAt(i), ms: index.msAt(i) }, { i, ...entry });
    }
    const offset = entry.offset + prng.next(3) - 1;
    let rightmost = i;
    while (rightmost + 1 < list.length && (list[rightmost + 1] as Entry).offset <= offset) rightmost++;
    while (rightmost >= 0 && (list[rightmost] as Entry).offset > offset) rightmost--;
    assert.is(index.findOffset(offset), rightmost, `findOffset(${offset})`);
    const ms = entry.ms + prng.next(3) - 1;
    let first = i;
    while (first > 0 && (list[first - 1] as Entry).ms >= ms) first--;
    while (first < list.length && (list[first] as Entry).ms < ms) first++;
    assert.is(index.findTime(ms), first, `findTime(${ms})`);
  }
}

const seed = testSeed('offset-index');

for (const kind of testDisks()) {
  const test = suite<{ disk: Disk; remove(): void; prng: Prng }>(`offset index: ${kind.name}`);
  test.before.each((context) => {
    Object.assign(context, kind.make(), { prng: new Prng(seed) });
  });
  test.after.each((context) => context.remove());

  test('answers as a plain array does, over block borders', async ({ disk, prng }) => {
    const list = entries(prng, 2 * ENTRIES_PER_BLOCK + 17);
    const index = await create(disk);
    assert.is(index.findOffset(FIRST_OFFSET), -1);
    assert.is(index.findTime(FIRST_MS), 0);
    await fill(index, list);
    check(index, list, prng);
    await index.close();
  });

  test('opens again after seal with the same answers, and verifies every block', async ({ disk, prng }) => {
    for (const count of [0, 1, ENTRIES_PER_BLOCK - 1, ENTRIES_PER_BLOCK, ENTRIES_PER_BLOCK + 1]) {
      const list = entries(prng, count);
      const index = await create(disk);
      await fill(index, list);
      await index.seal();
      assert.ok(index.verifySealed());
      await index.close();
      const again = (await reopen(disk, count)) as OffsetIndex;
      assert.ok(again.verifySealed());
      if (count > 0) check(again, list, prng);
      await again.close();
    }
  });

  test('an index that was not sealed, or with another count, is damaged and not believed', async ({ disk, prng }) => {
    const list = entries(prng, ENTRIES_PER_BLOCK + 10);
    const index = await create(disk);
    await fill(index, list);
    await index.close();
    const unsealed = (await reopen(disk, list.length)) as OffsetIndex;
    assert.is(unsealed.verifySealed(), false);
    assert.throws(() => unsealed.positionAt(list.length - 1), (error: unknown) => error instanceof IndexDamageError);
    await unsealed.close();

    const sealed = await create(disk);
    await fill(sealed, list);
    await sealed.seal();
    await sealed.close();
    const shorter = (await reopen(disk, list.length - 1)) as OffsetIndex;
    assert.is(shorter.positionAt(0), (list[0] as Entry).position);
    assert.throws(() => shorter.positionAt(list.length - 2), (error: unknown) => error instanceof IndexDamageError);
    await shorter.close();
    assert.is(await reopen(disk, 2 * ENTRIES_PER_BLOCK + 1), null, 'the file is too short');
    await disk.unlink('x.idx');
    assert.is(await reopen(disk, 1), null, 'the file is missing');
  });

  test('finds a flipped bit in the block that is touched, and only there', async ({ disk, prng }) => {
    const list = entries(prng, 2 * ENTRIES_PER_BLOCK);
    const index = await create(disk);
    await fill(index, list);
    await index.seal();
    await index.close();
    const file = await disk.open('x.idx', 'write');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, BLOCK_SIZE + 5_000);
    byte[0] = (byte[0] as number) ^ 4;
    await file.write(byte, 0, 1, BLOCK_SIZE + 5_000);
    await file.close();
    const again = (await reopen(disk, list.length)) as OffsetIndex;
    assert.is(again.positionAt(7), (list[7] as Entry).position);
    assert.throws(() => again.positionAt(ENTRIES_PER_BLOCK), (error: unknown) => error instanceof IndexDamageError && error.block === 1);
    assert.is(again.verifySealed(), false);
    await again.close();
  });

  test('goes on after truncate, and an old seal does not vouch for new entries', async ({ disk, prng }) => {
    const list = entries(prng, 2 * ENTRIES_PER_BLOCK + 100);
    const index = await create(disk);
    await fill(index, list);
    await index.seal();
    await index.close();
    const again = (await reopen(disk, list.length)) as OffsetIndex;
    const keep = ENTRIES_PER_BLOCK + 50;
    again.truncate(keep);
    const other = entries(prng, list.length)
      .slice(keep)
      .map((entry) => ({ position: entry.position + 40_000_000, offset: entry.offset + 1e6, ms: entry.ms + 1e6 }));
    const mixed = list.slice(0, keep).concat(other.slice(0, 30));
    await fill(again, mixed.slice(keep));
    check(again, mixed, prng);
    await again.close();
    const unsealed = (await reopen(disk, mixed.length)) as OffsetIndex;
    assert.is(unsealed.verifySealed(), false);
    await unsealed.close();
  });

  test('seals again after truncate and append', async ({ disk, prng }) => {
    const list = entries(prng, ENTRIES_PER_BLOCK + 3);
    const index = await create(disk);
    await fill(index, list);
    await index.seal();
    index.truncate(ENTRIES_PER_BLOCK);
    index.truncate(10);
    await fill(index, list.slice(10));
    await index.seal();
    check(index, list, prng);
    await index.close();
    const again = (await reopen(disk, list.length)) as OffsetIndex;
    assert.ok(again.verifySealed());
    check(again, list, prng);
    await again.close();
  });

  test('seals anew what was only cut, and what was only added to', async ({ disk, prng }) => {
    const list = entries(prng, ENTRIES_PER_BLOCK + 9);
    const index = await create(disk);
    await fill(index, list);
    await index.seal();
    await index.close();
    const cut = (await reopen(disk, list.length)) as OffsetIndex;
    cut.truncate(ENTRIES_PER_BLOCK - 5);
    await cut.seal();
    await cut.close();
    const longer = (await reopen(disk, ENTRIES_PER_BLOCK - 5)) as OffsetIndex;
    assert.ok(longer.verifySealed());
    await fill(longer, list.slice(ENTRIES_PER_BLOCK - 5, -1));
    assert.is(longer.verifySealed(), false, 'no seal while it changes');
    await longer.seal();
    await longer.close();
    const again = (await reopen(disk, list.length - 1)) as OffsetIndex;
    assert.ok(again.verifySealed());
    check(again, list.slice(0, -1), prng);
    await again.close();
  });

  test('stays usable until the last holder lets go', async ({ disk, prng }) => {
    const list = entries(prng, 5);
    const index = await create(disk);
    await fill(index, list);
    index.retain();
    let closed = false;
    const closing = index.close().then(() => {
      closed = true;
    });
    await disk.exists('x.idx');
    assert.is(closed, false);
    assert.is(index.positionAt(4), (list[4] as Entry).position);
    index.release();
    await closing;
    assert.throws(() => index.positionAt(4), (error: unknown) => error instanceof InvariantError);
  });

  test.run();
}

const limits = suite('offset index: limits and failures');

limits('says what does not fit, and asserts what may not happen', async () => {
  const index = await create(new SimDisk());
  assert.ok(index.fits(0xffff_ffff, FIRST_OFFSET + 0xffff_ffff, FIRST_MS + 0xffff_ffff));
  assert.is(index.fits(0x1_0000_0000, FIRST_OFFSET, FIRST_MS), false);
  assert.is(index.fits(0, FIRST_OFFSET + 0x1_0000_0000, FIRST_MS), false);
  assert.is(index.fits(0, FIRST_OFFSET, FIRST_MS + 0x1_0000_0000), false);
  const broken = (error: unknown): boolean => error instanceof InvariantError;
  assert.throws(() => index.append(0, FIRST_OFFSET, FIRST_MS), broken, 'no room');
  await index.ensureRoom(1);
  index.append(4096, FIRST_OFFSET + 5, FIRST_MS + 5);
  assert.throws(() => index.append(4096, FIRST_OFFSET + 5, FIRST_MS + 5), broken, 'position');
  assert.throws(() => index.append(5000, FIRST_OFFSET + 4, FIRST_MS + 5), broken, 'offset');
  assert.throws(() => index.append(5000, FIRST_OFFSET + 5, FIRST_MS + 4), broken, 'time');
  assert.throws(() => index.append(0x1_0000_0000, FIRST_OFFSET + 5, FIRST_MS + 5), broken, 'does not fit');
  assert.throws(() => index.positionAt(1), broken, 'no such entry');
  index.append(0xffff_ffff, FIRST_OFFSET + 0xffff_ffff, FIRST_MS + 0xffff_ffff);
  assert.is(index.positionAt(1), 0xffff_ffff);
  assert.is(index.offsetAt(1), FIRST_OFFSET + 0xffff_ffff);
  assert.is(index.msAt(1), FIRST_MS + 0xffff_ffff);
});

limits('guesses are never sealed, and what lies before them is', async () => {
  const list = entries(new Prng(4), ENTRIES_PER_BLOCK + 2);
  const disk = new SimDisk();
  const index = await create(disk);
  await fill(index, list);
  const [position, offset, ms] = [index.positionAt(index.count - 1) + 1, index.offsetAt(index.count - 1), index.msAt(index.count - 1)];
  await index.ensureRoom(3);
  index.appendGuesses(3, position, offset, ms);
  await index.seal();
  const again = (await reopen(disk, list.length + 3)) as OffsetIndex;
  assert.is(again.positionAt(0), index.positionAt(0), 'the first block has no guess');
  assert.throws(() => again.positionAt(ENTRIES_PER_BLOCK), (error: unknown) => error instanceof IndexDamageError);
  index.truncate(list.length);
  await index.seal();
  check((await reopen(disk, list.length)) as OffsetIndex, list, new Prng(1));
});

limits('a full disk is an error of ensureRoom, and growing goes on when there is room', async () => {
  const disk = new SimDisk({ totalBytes: BLOCK_SIZE + 4096 });
  const index = await create(disk);
  await index.ensureRoom(ENTRIES_PER_BLOCK);
  assert.is(index.ensureRoom(ENTRIES_PER_BLOCK), null);
  await (index.ensureRoom(ENTRIES_PER_BLOCK + 1) as Promise<void>).then(
    () => assert.unreachable(),
    (error) => assert.ok(error instanceof DiskError && error.code === 'ENOSPC'),
  );
  const list = entries(new Prng(1), ENTRIES_PER_BLOCK + 1);
  await fill(index, list.slice(0, -1));
  disk.totalBytes += BLOCK_SIZE;
  await fill(index, list.slice(-1));
  check(index, list, new Prng(1));
});

limits('after a power cut a sealed and synced index is whole, whatever else was lost', async () => {
  const list = entries(new Prng(3), ENTRIES_PER_BLOCK + 20);
  const disk = new SimDisk({ mapBackend: 'mmap' });
  const index = await create(disk);
  await fill(index, list);
  await index.seal();
  await disk.syncDirectory('');
  for (const keep of ['none', 'all', 'random'] as const) {
    const again = (await reopen(disk.after({ keep }), list.length)) as OffsetIndex;
    assert.ok(again.verifySealed());
    check(again, list, new Prng(1));
  }
});

limits.run();
