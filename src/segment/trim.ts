// Deletes the oldest segments of a log: out of sight at once, off the disk when nobody reads them.
//
// Invariant: files go oldest first, each durably before the next, whatever is pinned or fails: what a
// crash leaves is a log without a gap.
import type { Disk } from '../index/disk.ts';
import type { HandleCache } from './handles.ts';
import type { SegmentList } from './list.ts';
import type { Segment } from './segment.ts';
import { removeSegment } from './segment-file.ts';

export class Trimmer {
  readonly #disk: Disk;
  readonly #list: SegmentList;
  readonly #handles: HandleCache;
  /** Out of the list already, and still on disk. */
  readonly #leaving: Segment[] = [];
  #work: Promise<number> = Promise.resolve(0);

  constructor(disk: Disk, list: SegmentList, handles: HandleCache) {
    this.#disk = disk;
    this.#list = list;
    this.#handles = handles;
  }

  /**
   * Takes the sealed segments below `offset` and `keepFromIndex` out of the list. Resolves with the
   * bytes freed; a call after a failed one tries again what was left. Rejects with DiskError.
   */
  trim(offset: number, keepFromIndex: number): Promise<number> {
    const segments = this.#list.trimmable(offset, keepFromIndex);
    this.#list.trim(segments.length);
    this.#leaving.push(...segments);
    this.#work = this.#work.catch(() => 0).then(() => this.#remove());
    return this.#work;
  }

  /** Resolves when nothing is being removed, whether or not that worked. */
  async whenIdle(): Promise<void> {
    await this.#work.catch(() => 0);
  }

  async #remove(): Promise<number> {
    let bytes = 0;
    for (let segment = this.#leaving[0]; segment !== undefined; segment = this.#leaving[0]) {
      await segment.whenUnpinned();
      await this.#handles.drop(segment);
      await removeSegment(this.#disk, segment);
      bytes += segment.end.position;
      this.#leaving.shift();
    }
    return bytes;
  }
}
