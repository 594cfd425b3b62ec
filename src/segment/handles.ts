// Open files of sealed segments, least recently used first to go: a node with a thousand logs may have
// more segments than it may have descriptors. Active segments are not in here; their log owns them.
//
// Invariant: who uses a segment's files has it pinned, so that eviction never closes a file under a read.
import { type Disk, DiskError, type DiskFile } from '../index/disk.ts';
import type { OffsetIndex } from '../index/offset-index.ts';
import { assert } from '../wire/assert.ts';
import { buildIndex, openStoredIndex } from './index-build.ts';
import { type Segment, SegmentState } from './segment.ts';

/** Sealed segments that may be open at once; each has two descriptors and its mapped index. */
export const HANDLES_DEFAULT = 128;

export interface HandleCacheOptions {
  readonly disk: Disk;
  readonly yieldTurn: () => Promise<void>;
  /** Sealed segments that may be open at once, over all logs that share the cache. */
  readonly limit?: number;
}

export class HandleCache {
  readonly #disk: Disk;
  readonly #yieldTurn: () => Promise<void>;
  readonly #limit: number;
  /** In order of use, the oldest first. */
  readonly #open = new Set<Segment>();
  readonly #opening = new Map<Segment, Promise<void>>();

  constructor(options: HandleCacheOptions) {
    this.#disk = options.disk;
    this.#yieldTurn = options.yieldTurn;
    this.#limit = options.limit ?? HANDLES_DEFAULT;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /**
   * Null when `segment`, which the caller has pinned, is open; else a promise after which to ask again.
   * Rejects with DiskError.
   */
  open(segment: Segment): Promise<void> | null {
    assert(segment.pinned, 'files are opened for somebody who has them pinned');
    if (segment.busy !== null) return segment.busy;
    if (this.#open.has(segment)) {
      this.#open.delete(segment);
      this.#open.add(segment);
      return null;
    }
    // The active segment is open as long as its log is.
    if (segment.file !== null) return null;
    if (segment.state !== SegmentState.SEALED) return Promise.reject(new DiskError('EBADF', 'open', segment.path));
    let opening = this.#opening.get(segment);
    if (opening === undefined) {
      opening = this.#openFiles(segment).finally(() => this.#opening.delete(segment));
      this.#opening.set(segment, opening);
    }
    return opening;
  }

  /** Takes over the open files of a segment that was just sealed. */
  adopt(segment: Segment): void {
    assert(segment.state === SegmentState.SEALED && segment.file !== null, 'only open sealed segments are cached');
    this.#open.add(segment);
    while (this.#open.size > this.#limit) {
      const [oldest] = this.#open;
      void this.drop(oldest!);
    }
  }

  /** Closes the segment's files as soon as nobody has them pinned. */
  async drop(segment: Segment): Promise<void> {
    if (this.#open.delete(segment)) await segment.letGo();
  }

  /** Closes the files of a segment that its log is about to change; the caller has set `busy`. */
  async reclaim(segment: Segment): Promise<void> {
    await this.#opening.get(segment)?.catch(() => {});
    await this.drop(segment);
  }

  async #openFiles(segment: Segment): Promise<void> {
    const file = await this.#disk.open(segment.path, 'read');
    try {
      const index = await this.#openIndex(segment, file);
      segment.file = file;
      segment.index = index;
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
    this.adopt(segment);
  }

  async #openIndex(segment: Segment, file: DiskFile): Promise<OffsetIndex> {
    if (!segment.indexDamaged) {
      const index = await openStoredIndex(this.#disk, segment);
      segment.indexBuilt = false;
      if (index !== null) return index;
    }
    const index = await buildIndex({
      disk: this.#disk,
      segment,
      file,
      final: segment.end,
      visit: null,
      header: null,
      lost: null,
      damaged: (range) => segment.noteDamage(range),
      yieldTurn: this.#yieldTurn,
    });
    segment.indexDamaged = false;
    segment.indexBuilt = true;
    await this.#keep(segment, index);
    return index;
  }

  /** Seals a rebuilt index, and makes sure that the old one does not come back. If that fails it is built again some day. */
  async #keep(segment: Segment, index: OffsetIndex): Promise<void> {
    try {
      await index.seal();
      await this.#disk.syncDirectory(segment.directory);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
    }
  }
}
