// The bytes that a connection still has to send, in order: pooled chunks for small frames, and
// foreign buffers (record batches) queued behind their frame head without copying.
//
//   written ≤ taken ≤ queued     (running byte counts; all three go back to 0 when all is written)
//   ├──────────┤ the socket has them   ├────────┤ taken by the host   ├─────────┤ still here
//
// A chunk is filled up behind bytes that were already taken, and given back to the pool when its
// last byte was counted by `written`; an empty queue holds no chunk. It does no framing and no I/O.
import { assert } from '../assert.ts';
import { CHUNK_SIZES, sharedChunkPool } from './chunk-pool.ts';
import type { ChunkPool } from './chunk-pool.ts';

const NO_CHUNK = Buffer.alloc(0);
/** Consumed entries at the front of a list that are tolerated before it is cut. */
const CONSUMED_MAX = 64;

export class OutputQueue {
  /** The chunk being filled; where `reserve` points into. */
  chunk: Buffer = NO_CHUNK;
  /** Session frames (PING answers) queued and perhaps not yet written; at most a little too many. */
  sessionFrames = 0;

  private readonly pool: ChunkPool;
  /** chunk[runStart, used) is queued but not yet in `ready`. */
  private used = 0;
  private runStart = 0;
  private ready: Buffer[] = [];
  private readyHead = 0;
  /** Full chunks, each with the count at which its last byte is written. */
  private retired: Buffer[] = [];
  private retiredEnds: number[] = [];
  private retiredHead = 0;
  private queued = 0;
  private taken = 0;
  private writtenCount = 0;
  private sizeClass = 0;
  /** Session frames up to `markAt` bytes, and since. Two generations instead of a list. */
  private markAt = 0;
  private marked = 0;

  constructor(pool: ChunkPool = sharedChunkPool) {
    this.pool = pool;
  }

  /** Bytes not yet accepted by the socket. */
  get size(): number {
    return this.queued - this.writtenCount;
  }

  /** Bytes the host has not taken. */
  get untaken(): number {
    return this.queued - this.taken;
  }

  /** Queues `size` contiguous bytes (at most the smallest chunk) and returns where they begin in `chunk`; write them at once. */
  reserve(size: number): number {
    if (this.used + size > this.chunk.length) this.nextChunk();
    const at = this.used;
    this.used = at + size;
    this.queued += size;
    return at;
  }

  /** Queues a copy of source[start, end). */
  append(source: Buffer, start: number, end: number): void {
    for (let from = start; from < end; ) {
      if (this.used === this.chunk.length) this.nextChunk();
      const size = Math.min(end - from, this.chunk.length - this.used);
      source.copy(this.chunk, this.used, from, from + size);
      this.used += size;
      this.queued += size;
      from += size;
    }
  }

  /** Queues `buffer` itself; its bytes must not change until they are written. */
  appendForeign(buffer: Buffer): void {
    if (buffer.length === 0) return;
    this.closeRun();
    this.ready.push(buffer);
    this.queued += buffer.length;
  }

  /** Notes that the bytes queued last are a session frame. */
  countSessionFrame(): void {
    this.sessionFrames++;
  }

  /** Hands out up to `maxBytes` in order. They stay as they are until `written` has counted them. */
  take(maxBytes: number): Buffer[] {
    this.closeRun();
    const out: Buffer[] = [];
    let room = maxBytes;
    while (room > 0 && this.readyHead < this.ready.length) {
      let buffer = this.ready[this.readyHead]!;
      if (buffer.length > room) {
        this.ready[this.readyHead] = buffer.subarray(room);
        buffer = buffer.subarray(0, room);
      } else {
        this.ready[this.readyHead++] = NO_CHUNK;
      }
      out.push(buffer);
      room -= buffer.length;
      this.taken += buffer.length;
    }
    this.trimReady();
    return out;
  }

  /** The socket is done with `bytes` more of what was taken: their memory may be used again. */
  written(bytes: number): void {
    assert(bytes >= 0, 'written bytes are counted up');
    assert(this.writtenCount + bytes <= this.taken, 'only what was taken can be written');
    this.writtenCount += bytes;
    while (this.retiredHead < this.retired.length && this.retiredEnds[this.retiredHead]! <= this.writtenCount) {
      this.pool.give(this.retired[this.retiredHead]!);
      this.retired[this.retiredHead++] = NO_CHUNK;
    }
    this.trimRetired();
    if (this.sessionFrames > 0 && this.markAt <= this.writtenCount) {
      this.sessionFrames -= this.marked;
      this.startMark();
    }
    if (this.writtenCount === this.queued) this.reset();
  }

  /** Forgets everything, also bytes that the host has taken: their chunks are left to the garbage collector. */
  discard(): void {
    this.chunk = NO_CHUNK;
    this.used = this.runStart = 0;
    this.ready = [];
    this.retired = [];
    this.retiredEnds = [];
    this.readyHead = this.retiredHead = 0;
    this.queued = this.taken = this.writtenCount = 0;
    this.sessionFrames = this.marked = this.markAt = 0;
  }

  /** All is written: the chunk goes back, and the next one is smaller if this one was hardly used. */
  private reset(): void {
    if (this.chunk !== NO_CHUNK) this.pool.give(this.chunk);
    if (this.queued * 8 < CHUNK_SIZES[this.sizeClass]! && this.sizeClass > 0) this.sizeClass--;
    this.chunk = NO_CHUNK;
    this.used = this.runStart = 0;
    this.queued = this.taken = this.writtenCount = 0;
    this.sessionFrames = this.marked = this.markAt = 0;
  }

  private nextChunk(): void {
    if (this.chunk !== NO_CHUNK) {
      this.closeRun();
      this.retired.push(this.chunk);
      this.retiredEnds.push(this.queued);
      if (this.sizeClass < CHUNK_SIZES.length - 1) this.sizeClass++;
    }
    this.chunk = this.pool.take(this.sizeClass);
    this.used = this.runStart = 0;
  }

  private closeRun(): void {
    if (this.runStart === this.used) return;
    this.ready.push(this.chunk.subarray(this.runStart, this.used));
    this.runStart = this.used;
  }

  private startMark(): void {
    this.marked = this.sessionFrames;
    this.markAt = this.queued;
  }

  private trimReady(): void {
    if (this.readyHead === this.ready.length) {
      this.ready.length = 0;
      this.readyHead = 0;
    } else if (this.readyHead > CONSUMED_MAX && this.readyHead * 2 > this.ready.length) {
      this.ready.splice(0, this.readyHead);
      this.readyHead = 0;
    }
  }

  private trimRetired(): void {
    if (this.retiredHead === 0) return;
    if (this.retiredHead === this.retired.length || this.retiredHead > CONSUMED_MAX) {
      this.retired.splice(0, this.retiredHead);
      this.retiredEnds.splice(0, this.retiredHead);
      this.retiredHead = 0;
    }
  }
}
