// A moving window over a file for scans: one buffer, refilled in large reads, smaller ones where the
// batches are so large that only their headers are wanted. It judges nothing.
//
// Invariant: `bytes[at(p)]` is file byte p for every p in [start, end); never reads at or beyond `limit`.
import type { DiskFile } from '../index/disk.ts';
import { assert } from '../wire/assert.ts';

/** Bytes per read where batches are small: every byte is needed, and few calls are cheap. */
export const WINDOW_SIZE = 256 * 1024;
/** Bytes per read after a batch that is larger than this many: only the next header is wanted. */
const SMALL_WINDOW_SIZE = 4096;
const SPARSE_BATCH_SIZE = 64 * 1024;

export class FileWindow {
  readonly file: DiskFile;
  /** No byte at or after this position is read. */
  readonly limit: number;
  bytes: Buffer;
  start = 0;
  end = 0;
  readonly #betweenReads: (() => Promise<void> | null) | null;

  constructor(file: DiskFile, limit: number, betweenReads: (() => Promise<void> | null) | null) {
    this.file = file;
    this.limit = limit;
    this.#betweenReads = betweenReads;
    this.bytes = Buffer.allocUnsafe(Math.min(WINDOW_SIZE, Math.max(SMALL_WINDOW_SIZE, limit)));
  }

  /** Whether [position, position + size) is in memory. */
  has(position: number, size: number): boolean {
    return position >= this.start && position + size <= this.end;
  }

  /** Where the file's byte `position` lies in `bytes`. */
  at(position: number): number {
    return position - this.start;
  }

  /**
   * Moves the window so that it begins at `position` and holds `size` bytes, or as many as the file
   * has before `limit`. `lastBatchSize` tells how far apart headers lie. Rejects with DiskError.
   */
  async load(position: number, size: number, lastBatchSize: number): Promise<void> {
    assert(position <= this.limit, 'a window stays below its limit');
    const usual = lastBatchSize > SPARSE_BATCH_SIZE ? SMALL_WINDOW_SIZE : WINDOW_SIZE;
    const wanted = Math.min(Math.max(size, usual), this.limit - position);
    if (wanted > this.bytes.length) this.bytes = Buffer.allocUnsafe(wanted);
    const pause = this.#betweenReads?.();
    if (pause) await pause;
    const count = wanted === 0 ? 0 : await this.file.read(this.bytes, 0, wanted, position);
    this.start = position;
    this.end = position + count;
  }
}
