// Output chunks in three sizes, used again and again. A busy connection writes thousands of small
// answers per turn into one large chunk; one with a single answer to send holds 4 KiB, so that ten
// thousand slow readers do not hold ten thousand large chunks.
// It keeps a bounded number of free chunks and leaves the rest to the garbage collector.
import { assert } from '../assert.ts';

/** Bytes per chunk, smallest first. */
export const CHUNK_SIZES = [4 * 1024, 16 * 1024, 64 * 1024] as const;
/** Free bytes kept per size: what one turn of a loaded node uses, and little beside the heap. */
const FREE_BYTES_MAX = 2 * 1024 * 1024;

export class ChunkPool {
  private readonly free: Buffer[][] = CHUNK_SIZES.map(() => []);

  /** A chunk of CHUNK_SIZES[sizeClass] bytes; it holds garbage. */
  take(sizeClass: number): Buffer {
    return this.free[sizeClass]!.pop() ?? Buffer.allocUnsafeSlow(CHUNK_SIZES[sizeClass]!);
  }

  /** Takes back a chunk that nobody reads any more. */
  give(chunk: Buffer): void {
    const sizeClass = CHUNK_SIZES.indexOf(chunk.length as 4096);
    assert(sizeClass >= 0, 'only chunks of this pool come back');
    const free = this.free[sizeClass]!;
    if ((free.length + 1) * chunk.length <= FREE_BYTES_MAX) free.push(chunk);
  }
}

/** The process-wide pool. */
export const sharedChunkPool = new ChunkPool();
