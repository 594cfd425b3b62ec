// Writes one group into the newest segment, or into a new one: bytes, index entries, sync, mark; and for
// a new one the roll around it. Knows no queue and no events; whoever calls does one thing at a time.
//
// Invariant: when `write` has resolved, the group is as durable as the log promises and the mark says
// so; when it has rejected, `inDoubt` tells whether a later start may find it all the same.
import { WRITE_NOW_SIZE_MAX, type DiskFile } from '../index/disk.ts';
import { OffsetIndex } from '../index/offset-index.ts';
import { assert } from '../wire/assert.ts';
import { NONE } from '../wire/limits.ts';
import { mut } from '../wire/mut.ts';
import type { FlusherParts } from './flusher.ts';
import { MARK_SLOT_SIZE } from './mark.ts';
import { type Segment, SegmentState } from './segment.ts';
import { createUnnamed, discardUnnamed, giveName, removeIfThere, type UnnamedFile, writeHead } from './segment-file.ts';
import type { WriteGroup } from './write-group.ts';
import { cutZeros, zeroAhead } from './zero-ahead.ts';

/** Index entries for which room is made ahead, beyond those of the last group. */
const ENTRIES_AHEAD = 2048;

export class SegmentWriter {
  /** The newest segment that has a file. */
  newest: Segment;
  rolledCount = 0;
  /** A sync or the naming of a file failed: what is on disk is not known any more. */
  inDoubt = false;
  /** For mark slots. */
  readonly scratch = Buffer.alloc(MARK_SLOT_SIZE);
  readonly #parts: FlusherParts;
  #prepared: Promise<UnnamedFile | null> | null = null;
  /** Entries written since the log was opened: one that is opened to be read gets a single one, for its new term. */
  #entries = 0;
  #sealing: Promise<void> = Promise.resolve();

  constructor(parts: FlusherParts, newest: Segment) {
    this.#parts = parts;
    this.newest = newest;
  }

  /** Whether the newest file holds written bytes that no sync has covered. */
  get unsynced(): boolean {
    return this.newest.synced.index < this.newest.end.index;
  }

  /** Rejects with DiskError. */
  async write(group: WriteGroup, commitIndex: number): Promise<void> {
    const segment = group.segment!;
    if (segment.state === SegmentState.PLANNED) return this.#writeFirst(segment, group, commitIndex);
    assert(segment === this.newest, 'groups go to the newest segment');
    await this.#writeParts(segment, group);
    segment.end.set(group.end);
    const { options } = this.#parts;
    if (options.durability.mode === 'fsync') await this.#syncAndMark(segment, commitIndex);
    if (this.#entries > 1 && segment.end.position > options.segmentBytes / 2) this.#prepare();
  }

  /** Rejects with DiskError. */
  async syncNewest(commitIndex: number): Promise<void> {
    if (this.unsynced) await this.#syncAndMark(this.newest, commitIndex);
  }

  /**
   * Waits for what runs in the background. Zeros behind the end are cut off: they are only for what comes next.
   * Where writing has `failed` the mark may name more than a cut left here, so that is up to the next start.
   */
  async close(failed: boolean): Promise<void> {
    await this.#sealing;
    if (!failed && this.newest.file !== null) await cutZeros(this.newest).catch(() => {});
    const prepared = await this.#takePrepared();
    if (prepared !== null) await discardUnnamed(this.#parts.options.disk, prepared);
  }

  /** Writes the group's bytes and, while the disk is busy with them, its index entries. */
  async #writeParts(segment: Segment, group: WriteGroup): Promise<void> {
    const file = segment.file!;
    if (segment.index === null) {
      segment.index = await this.#createIndex(segment);
      segment.indexBuilt = true;
    }
    const index = segment.index;
    const room = index.ensureRoom(group.batchCount);
    if (room !== null) await room;
    const { durability, segmentBytes } = this.#parts.options;
    for (let i = 0; i < group.slabs.length; i++) {
      const slab = group.slabs[i]!;
      const from = group.from[i]!;
      const size = group.to[i]! - from;
      const position = slab.filePosition + from;
      // Where each group is synced there is nothing that the kernel could hold back such a write for.
      const now = durability.mode === 'fsync' && size <= WRITE_NOW_SIZE_MAX;
      if (now) file.writeNow(slab.buffer, from, size, position);
      const write = now ? null : file.write(slab.buffer, from, size, position);
      group.indexPart(i, index);
      if (write !== null) await write;
    }
    this.#entries += group.batchCount;
    // Room for what comes next, if anything seems to come.
    if (this.#entries > 1 && durability.mode === 'fsync') await zeroAhead(segment, group.end.position, group.bytes, segmentBytes);
    // Ahead of need, so that the next group finds room.
    index.ensureRoom(group.batchCount + ENTRIES_AHEAD)?.catch(() => {});
  }

  #createIndex(segment: Segment): Promise<OffsetIndex> {
    const { indexPath, firstIndex, firstOffset, firstMs } = segment;
    assert(firstMs !== NONE, 'a segment with a batch has a first time');
    return OffsetIndex.create(this.#parts.options.disk, indexPath, firstIndex, firstOffset, firstMs);
  }

  async #sync(file: DiskFile): Promise<void> {
    if (mut('ack-before-fsync')) return;
    const { syncGate } = this.#parts.options;
    const turn = syncGate.enter();
    if (turn !== null) await turn;
    try {
      await (mut('sync-again-after-a-failure') ? file.sync().catch(() => file.sync()) : file.sync());
    } catch (error) {
      this.inDoubt = true;
      throw error;
    } finally {
      syncGate.leave();
    }
  }

  /** Nothing else writes to the file meanwhile, so a sync covers all of it. */
  async #syncAndMark(segment: Segment, commitIndex: number): Promise<void> {
    await this.#sync(segment.file!);
    segment.synced.set(segment.end);
    // Unsynced: it becomes durable with the next sync. After kill -9 the mark is exact, after a power
    // cut it lags by this group.
    segment.writeMark(this.scratch, commitIndex);
  }

  /** Writes a group into a new file: the roll. */
  async #writeFirst(segment: Segment, group: WriteGroup, commitIndex: number): Promise<void> {
    const { disk, logUid, directory } = this.#parts.options;
    const unnamed = (await this.#takePrepared()) ?? (await createUnnamed(disk, directory));
    segment.file = unnamed.file;
    try {
      await writeHead(unnamed, segment, logUid);
      await this.#writeParts(segment, group);
      // The segment before must be complete on disk before this one exists: recovery relies on it.
      await bothOrThrow(this.#settle(this.newest, commitIndex), this.#sync(unnamed.file));
    } catch (error) {
      await this.#undoFirst(segment, unnamed);
      throw error;
    }
    try {
      await giveName(disk, unnamed, segment);
    } catch (error) {
      this.inDoubt = true;
      throw error;
    }
    const before = this.newest;
    this.newest = segment;
    this.rolledCount++;
    segment.state = SegmentState.ACTIVE;
    segment.end.set(group.end);
    segment.synced.set(group.end);
    segment.writeMark(this.scratch, commitIndex);
    if (before.state === SegmentState.ACTIVE) this.#seal(before);
  }

  /** The segment stays planned, as if nothing had been tried. */
  async #undoFirst(segment: Segment, unnamed: UnnamedFile): Promise<void> {
    const { disk } = this.#parts.options;
    segment.file = null;
    segment.zeroedTo = 0;
    await segment.letGoIndex();
    await discardUnnamed(disk, unnamed);
    await removeIfThere(disk, segment.indexPath).catch(() => {});
  }

  /** Makes a segment's data and its final mark durable. */
  async #settle(segment: Segment, commitIndex: number): Promise<void> {
    if (segment.state === SegmentState.SEALED) return;
    if (segment.synced.index < segment.end.index) await this.#syncAndMark(segment, commitIndex);
    await cutZeros(segment);
    await this.#sync(segment.file!);
  }

  /** In the background: an index that is not sealed is only built again some day. */
  #seal(segment: Segment): void {
    segment.state = SegmentState.SEALED;
    const index = segment.index!;
    index.retain();
    this.#sealing = this.#sealing.then(() => index.seal()).catch(() => {}).finally(() => index.release());
    this.#parts.handles.adopt(segment);
  }

  /** Opens the next segment's file ahead of need. */
  #prepare(): void {
    const { disk, directory } = this.#parts.options;
    this.#prepared ??= createUnnamed(disk, directory).catch(() => null);
  }

  #takePrepared(): Promise<UnnamedFile | null> {
    const prepared = this.#prepared ?? Promise.resolve(null);
    this.#prepared = null;
    return prepared;
  }
}

/** Waits for both, then throws the first error: nothing of a failed roll may still be running. */
async function bothOrThrow(a: Promise<void>, b: Promise<void>): Promise<void> {
  const results = await Promise.allSettled([a, b]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
