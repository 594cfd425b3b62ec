// A slab: one piece of memory into which batches are copied as they are accepted, from which they are
// written to the file in one go, and which then serves readers at the tail. And the pool that hands
// slabs out again.
//
// Invariant: bytes [0, length) never change once they are there. A slab whose bytes were handed to
// a reader (`shared`) or may still be under a disk write is never used again; the collector takes it.
import { assert } from '../wire/assert.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import type { Segment } from './segment.ts';

/** Smallest slab: what an idle log holds. */
export const SLAB_SIZE_MIN = 16 * 1024;
/** Largest slab: what one write of a busy log carries; a larger batch gets a slab of its own. */
export const SLAB_SIZE_MAX = 1024 * 1024;
/** Bytes of idle slabs that a pool keeps. */
const POOL_BYTES_DEFAULT = 8 * 1024 * 1024;

export class Slab {
  readonly buffer: Buffer;
  /** Where each batch begins in `buffer`; `count` of them are set. */
  readonly starts: Uint32Array;
  /** The segment its batches belong to: a slab never spans two. */
  segment: Segment | null = null;
  /** Where byte 0 of the buffer lies in the segment file. */
  filePosition = 0;
  firstIndex = 0;
  count = 0;
  length = 0;
  /** Bytes and batches that a finished write covered. */
  written = 0;
  writtenCount = 0;
  /** No more batches go in: it is full, or was cut. */
  closed = false;
  /** A reader was given its bytes. */
  shared = false;

  constructor(size: number) {
    this.buffer = Buffer.allocUnsafeSlow(size);
    this.starts = new Uint32Array(Math.ceil(size / BATCH_HEADER_SIZE));
  }

  /** Index of the batch after the last one in here. */
  get endIndex(): number {
    return this.firstIndex + this.count;
  }

  /** Bytes of memory it holds, which is what memory limits count. */
  get memoryBytes(): number {
    return this.buffer.length + this.starts.byteLength;
  }

  /** Where the batch with `index` begins in the buffer; `endIndex` gives the end of the last one. */
  startOf(index: number): number {
    const i = index - this.firstIndex;
    return i === this.count ? this.length : this.starts[i]!;
  }

  /** Forgets the batches from `index` on, which must be in here, and takes no more. */
  cut(index: number): void {
    assert(index >= this.firstIndex && index <= this.endIndex, 'a slab is cut inside');
    this.length = this.startOf(index);
    this.count = index - this.firstIndex;
    this.written = Math.min(this.written, this.length);
    this.writtenCount = Math.min(this.writtenCount, this.count);
    // A write may be reading the bytes behind the cut: new batches must not be put there.
    this.closed = true;
    this.shared = true;
  }
}

/** Keeps slabs that nobody refers to any more, by size; sizes are powers of two. */
export class SlabPool {
  readonly #limitBytes: number;
  readonly #free = new Map<number, Slab[]>();
  #freeBytes = 0;

  constructor(limitBytes = POOL_BYTES_DEFAULT) {
    this.#limitBytes = limitBytes;
  }

  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** A clean slab with room for at least `size` bytes. */
  take(size: number): Slab {
    if (size > SLAB_SIZE_MAX) return new Slab(size);
    let rounded = SLAB_SIZE_MIN;
    while (rounded < size) rounded *= 2;
    const slab = this.#free.get(rounded)?.pop();
    if (slab === undefined) return new Slab(rounded);
    this.#freeBytes -= slab.memoryBytes;
    return slab;
  }

  /** Takes a slab back when it may be used again. */
  give(slab: Slab): void {
    const size = slab.buffer.length;
    if (slab.shared || size > SLAB_SIZE_MAX || this.#freeBytes + slab.memoryBytes > this.#limitBytes) return;
    slab.segment = null;
    slab.count = slab.length = slab.written = slab.writtenCount = 0;
    slab.closed = false;
    this.#freeBytes += slab.memoryBytes;
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [slab]);
    else list.push(slab);
  }
}
