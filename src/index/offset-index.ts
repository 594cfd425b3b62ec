// Where each batch of a segment begins: entry i belongs to the batch with Raft index firstIndex + i.
// Lookup by index is one access; by offset or time a binary search, in mapped memory. Disposable:
// the segment is the truth, and an index that is missing or damaged is built again from it. The
// number of entries comes from the caller, never from the file.
//
//   block of 65,536 bytes, big-endian           entry of 12 bytes
//    0 u32 magic "SLIX"                           0 u32 position in the segment
//    4 u32 sealed_count (0 = not sealed)          4 u32 offset − first
//    8 u32 crc32 of the sealed entries            8 u32 ms − first
//   12 u16 version 1   14 u16 0
//   16 5,460 entries
//
// Invariant: positions rise, offsets and times never fall (asserted on append). Blocks of an opened
// index are verified against their seal before the first lookup in them. A guess is never sealed: it
// would outlive the damage that made it necessary, and lookups would go past what was mended.
import { assert } from '../wire/assert.ts';
import { crc32 } from '../wire/checksum.ts';
import { mut } from '../wire/mut.ts';
import type { Disk } from './disk.ts';
import { BLOCK_SIZE, MappedFile } from './mapped-file.ts';

export const INDEX_MAGIC = 0x534c_4958; // "SLIX"
const INDEX_VERSION = 1;
const HEAD_SIZE = 16;
const ENTRY_SIZE = 12;
export const ENTRIES_PER_BLOCK = 5460;
const DELTA_MAX = 0xffff_ffff;

/** A block does not match its seal; the index must be built again from the segment. */
export class IndexDamageError extends Error {
  override name = 'IndexDamageError';
  readonly path: string;
  readonly block: number;

  constructor(path: string, block: number) {
    super(`${path}: block ${block} does not match its checksum`);
    this.path = path;
    this.block = block;
  }
}

export class OffsetIndex {
  readonly firstIndex: number;
  readonly firstOffset: number;
  readonly firstMs: number;
  count: number;
  private readonly file: MappedFile;
  /** Blocks [0, sealedBlocks) carry a seal in memory and in the page cache. */
  private sealedBlocks: number;
  /** Blocks whose seal was checked, or that this process wrote. */
  private readonly trusted: boolean[] = [];
  private lastPosition = -1;
  private lastOffset: number;
  private lastMs: number;
  private growing: Promise<void> | null = null;
  /** Number of the first entry that is a guess; Infinity when all are known. */
  private guessedFrom = Infinity;

  private constructor(file: MappedFile, firstIndex: number, firstOffset: number, firstMs: number, count: number) {
    this.file = file;
    this.firstIndex = firstIndex;
    this.firstOffset = firstOffset;
    this.firstMs = firstMs;
    this.count = count;
    this.sealedBlocks = blocksFor(count);
    this.lastOffset = firstOffset;
    this.lastMs = firstMs;
  }

  get path(): string {
    return this.file.path;
  }

  /** Makes an empty index, in place of one that may be there. Throws DiskError. */
  static async create(disk: Disk, path: string, firstIndex: number, firstOffset: number, firstMs: number): Promise<OffsetIndex> {
    return new OffsetIndex(await MappedFile.create(disk, path), firstIndex, firstOffset, firstMs, 0);
  }

  /**
   * Opens an index that was sealed with `count` entries; null when the file is missing or too short.
   * Blocks are mapped and verified at the first lookup in them. Throws DiskError.
   */
  static async open(
    disk: Disk,
    path: string,
    firstIndex: number,
    firstOffset: number,
    firstMs: number,
    count: number,
  ): Promise<OffsetIndex | null> {
    const file = await MappedFile.open(disk, path, blocksFor(count));
    const entries = mut('index-trusted-by-length') && file !== null ? file.blockCount * ENTRIES_PER_BLOCK : count;
    return file === null ? null : new OffsetIndex(file, firstIndex, firstOffset, firstMs, entries);
  }

  /** Whether an entry with these values can be stored; if not, the segment must roll. */
  fits(position: number, offset: number, ms: number): boolean {
    return position <= DELTA_MAX && offset - this.firstOffset <= DELTA_MAX && ms - this.firstMs <= DELTA_MAX;
  }

  /** Null when `entryCount` more entries have room, else resolves when they do. Throws DiskError. */
  ensureRoom(entryCount: number): Promise<void> | null {
    if (this.count + entryCount <= this.file.blockCount * ENTRIES_PER_BLOCK && this.growing === null) return null;
    const before = this.growing;
    const growing = (async () => {
      if (before !== null) await before.catch(() => {});
      while (this.count + entryCount > this.file.blockCount * ENTRIES_PER_BLOCK) {
        await this.file.grow();
        // Full blocks are sealed on the way, so that a roll has only the last one left to do.
        this.sealFullBlocks();
      }
    })();
    const settled = growing.finally(() => {
      if (this.growing === settled) this.growing = null;
    });
    this.growing = settled;
    return settled;
  }

  /** Adds the entry of the next batch: its position, base offset and append time (absolute). */
  append(position: number, offset: number, ms: number): void {
    const number = this.count;
    const block = (number / ENTRIES_PER_BLOCK) | 0;
    assert(block < this.file.blockCount, 'no room in the index: call ensureRoom first');
    if (this.lastPosition < 0 && number > 0) this.loadLast();
    if (block < this.sealedBlocks) this.unsealFrom(block);
    assert(position > this.lastPosition, 'index positions must rise');
    assert(offset >= this.lastOffset, 'index offsets must not fall');
    assert(ms >= this.lastMs, 'index times must not fall');
    assert(this.fits(position, offset, ms), 'index entry does not fit: roll the segment first');
    const at = HEAD_SIZE + (number - block * ENTRIES_PER_BLOCK) * ENTRY_SIZE;
    const view = this.file.view(block);
    if (at === HEAD_SIZE) this.startBlock(block, view);
    view.setUint32(at, position);
    view.setUint32(at + 4, offset - this.firstOffset);
    view.setUint32(at + 8, ms - this.firstMs);
    this.lastPosition = position;
    this.lastOffset = offset;
    this.lastMs = ms;
    this.count = number + 1;
  }

  /** Adds entries whose batches are lost: they point into the damaged stretch at `position`. Room is there. */
  appendGuesses(entryCount: number, position: number, offset: number, ms: number): void {
    this.guessedFrom = Math.min(this.guessedFrom, this.count);
    // Positions must rise: a lost stretch of n batches has at least 72 n bytes to point into.
    for (let i = 0; i < entryCount; i++) this.append(position + i, offset, ms);
  }

  /** Keeps the first `count` entries; the file keeps its length. */
  truncate(count: number): void {
    assert(count >= 0 && count <= this.count, 'an index is only cut shorter');
    if (count === this.count) return;
    if (count > 0) this.word(count - 1, 0); // verifies the block that is kept in part
    this.unsealFrom((count / ENTRIES_PER_BLOCK) | 0);
    this.count = count;
    if (count <= this.guessedFrom) this.guessedFrom = Infinity;
    this.lastPosition = -1;
    this.lastOffset = this.firstOffset;
    this.lastMs = this.firstMs;
  }

  /** Byte position in the segment of entry i, 0 ≤ i < count. Throws IndexDamageError, as all lookups. */
  positionAt(i: number): number {
    return this.word(i, 0);
  }

  /** Base offset of batch i: that of the next record where it is a control batch. */
  offsetAt(i: number): number {
    return this.firstOffset + this.word(i, 4);
  }

  /** Append time of batch i, in ms since 1970. */
  msAt(i: number): number {
    return this.firstMs + this.word(i, 8);
  }

  /** The rightmost entry whose offset is ≤ `offset` (control batches share what follows); −1 if none. */
  findOffset(offset: number): number {
    const target = offset - this.firstOffset;
    let low = -1;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.word(middle, 4) <= target) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The first entry whose time is ≥ `ms`; count if none. */
  findTime(ms: number): number {
    const target = ms - this.firstMs;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.word(middle, 8) >= target) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /**
   * Writes the checksum of every block and syncs the file; from the first guess on blocks stay unsealed, and
   * the index is built again when it is opened again. Throws DiskError.
   */
  async seal(): Promise<void> {
    this.sealBlocks(blocksFor(this.count));
    await this.file.sync();
  }

  /** Whether every block matches its seal; maps them all. */
  verifySealed(): boolean {
    const blocks = blocksFor(this.count);
    if (this.sealedBlocks < blocks) return false;
    for (let block = 0; block < blocks; block++) if (!this.matchesSeal(block)) return false;
    return true;
  }

  /** Nobody has sealed this block yet: the process ended between a roll and that. */
  isUnsealed(block: number): boolean {
    const view = this.file.view(block);
    const magic = view.getUint32(0);
    return (magic === INDEX_MAGIC || magic === 0) && view.getUint32(4) === 0 && view.getUint32(8) === 0;
  }

  retain(): void {
    this.file.retain();
  }

  release(): void {
    this.file.release();
  }

  /** Lets go of the own hold; resolves when the last holder has let go and the file is closed. */
  close(): Promise<void> {
    return this.file.close();
  }

  private word(i: number, field: number): number {
    assert(i >= 0 && i < this.count, 'no such index entry');
    const block = (i / ENTRIES_PER_BLOCK) | 0;
    if (this.trusted[block] !== true) this.verifyBlock(block);
    return this.file.view(block).getUint32(HEAD_SIZE + (i - block * ENTRIES_PER_BLOCK) * ENTRY_SIZE + field);
  }

  private startBlock(block: number, view: DataView): void {
    view.setUint32(0, INDEX_MAGIC);
    view.setUint32(4, 0);
    view.setUint32(8, 0);
    view.setUint16(12, INDEX_VERSION);
    view.setUint16(14, 0);
    this.trusted[block] = true;
  }

  private loadLast(): void {
    const last = this.count - 1;
    this.lastPosition = this.positionAt(last);
    this.lastOffset = this.offsetAt(last);
    this.lastMs = this.msAt(last);
  }

  private sealFullBlocks(): void {
    this.sealBlocks(Math.floor(this.count / ENTRIES_PER_BLOCK));
  }

  private sealBlocks(end: number): void {
    const known = Math.min(end, Math.floor(this.guessedFrom / ENTRIES_PER_BLOCK));
    for (let block = this.sealedBlocks; block < known; block++) this.sealBlock(block);
  }

  private sealBlock(block: number): void {
    assert(block === this.sealedBlocks, 'blocks are sealed in order');
    assert(this.trusted[block] === true, 'only verified blocks are sealed');
    const entryCount = this.entriesIn(block);
    const view = this.file.view(block);
    view.setUint32(8, crc32(this.file.bytes(block), HEAD_SIZE, HEAD_SIZE + entryCount * ENTRY_SIZE));
    view.setUint32(4, entryCount);
    this.file.flush(block);
    this.sealedBlocks = block + 1;
  }

  /** An old seal must not vouch for entries that change under it. */
  private unsealFrom(block: number): void {
    for (let sealed = block; sealed < this.sealedBlocks; sealed++) {
      const view = this.file.view(sealed);
      view.setUint32(4, 0);
      view.setUint32(8, 0);
      this.file.flush(sealed, 0, HEAD_SIZE);
    }
    this.sealedBlocks = Math.min(this.sealedBlocks, block);
  }

  private verifyBlock(block: number): void {
    if (!this.matchesSeal(block)) throw new IndexDamageError(this.path, block);
    this.trusted[block] = true;
  }

  private matchesSeal(block: number): boolean {
    const view = this.file.view(block);
    const entryCount = this.entriesIn(block);
    if (view.getUint32(0) !== INDEX_MAGIC) return false;
    if (mut('index-trusted-by-length')) return true;
    if (view.getUint16(12) !== INDEX_VERSION) return false;
    if (view.getUint32(4) !== entryCount) return false;
    return view.getUint32(8) === crc32(this.file.bytes(block), HEAD_SIZE, HEAD_SIZE + entryCount * ENTRY_SIZE);
  }

  private entriesIn(block: number): number {
    return Math.min(ENTRIES_PER_BLOCK, this.count - block * ENTRIES_PER_BLOCK);
  }
}

function blocksFor(count: number): number {
  return Math.ceil(count / ENTRIES_PER_BLOCK);
}

assert(HEAD_SIZE + ENTRIES_PER_BLOCK * ENTRY_SIZE === BLOCK_SIZE, 'a block is filled exactly');
