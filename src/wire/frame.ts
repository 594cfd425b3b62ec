// Frames (§3) without I/O: FrameReader finds them in a stream of chunks, the functions below write
// their headers. It checks what makes a frame MALFORMED or FRAME_TOO_LARGE and nothing else.
//
// A frame that lies whole in one chunk is used where it lies. One that spans chunks is put together
// in `carry`, which gets only the bytes of that frame and grows as they come, never by the claimed
// length. A failure is sticky (I10): nothing after the first broken header is ever interpreted.
// Invariant, executed by `check`: carryLength ≤ carry.length, position ≤ chunk.length, and
// `buffered` is the sum of all bytes held and not yet handed out.
import { assert } from './assert.ts';
import { readU16, readU32, writeU16, writeU32 } from './bytes.ts';
import type { Writer } from './bytes.ts';
import { ErrorCode } from './errors.ts';
import { FRAME_HEADER_SIZE, FRAME_LENGTH_MIN, FRAME_SIZE_BEFORE_READY_MAX } from './limits.ts';
import { FLAG_RESPONSE, FLAGS_RESERVED } from './ops.ts';

/** A carry up to this size is kept for the next frame; a larger one is given back. */
const CARRY_KEEP_SIZE = 64 * 1024;
const CARRY_FIRST_SIZE = 512;
const EMPTY = Buffer.alloc(0);

export type FrameFailure = typeof ErrorCode.MALFORMED | typeof ErrorCode.FRAME_TOO_LARGE;

export class FrameReader {
  /** Largest length taken, in bytes; applies to headers read after it was set. */
  maxFrame: number;
  failure: FrameFailure | null = null;
  /** Bytes held that no frame handed out has used yet. */
  buffered = 0;

  // The frame that next() found; valid until the next call of next() or push().
  buffer: Buffer = EMPTY;
  op = 0;
  flags = 0;
  status = 0;
  id = 0;
  /** Range of the payload in `buffer`. */
  start = 0;
  end = 0;

  private chunk: Buffer = EMPTY;
  private position = 0;
  private readonly queue: Buffer[] = [];
  private carry: Buffer = EMPTY;
  private carryLength = 0;
  /** Length the carried header may have been judged by already; 0 = not judged yet. */
  private carryFrameSize = 0;

  constructor(maxFrame: number = FRAME_SIZE_BEFORE_READY_MAX) {
    this.maxFrame = maxFrame;
  }

  /** Adds received bytes. The chunk is kept, not copied, until its frames were read. */
  push(chunk: Buffer): void {
    if (this.failure !== null || chunk.length === 0) return;
    this.buffered += chunk.length;
    if (this.position === this.chunk.length && this.queue.length === 0) {
      this.chunk = chunk;
      this.position = 0;
    } else {
      this.queue.push(chunk);
    }
    this.check();
  }

  /** Moves to the next whole frame; false when there is none (yet), or ever again after a failure. */
  next(): boolean {
    if (this.failure !== null) return false;
    while (this.carryLength === 0) {
      const at = this.position;
      const available = this.chunk.length - at;
      if (available === 0) {
        if (!this.nextChunk()) return this.nothing();
        continue;
      }
      if (available < FRAME_HEADER_SIZE || !this.headerFits(this.chunk, at, available)) break;
      const size = 4 + readU32(this.chunk, at);
      this.position = at + size;
      this.buffered -= size;
      this.show(this.chunk, at, size);
      return true;
    }
    if (this.failure !== null) return this.fail();
    return this.nextCarried();
  }

  /** Takes back the frame that next() has just found: the next call finds it again, also after a push(). */
  unread(): void {
    const size = this.end - this.start + FRAME_HEADER_SIZE;
    assert(this.end >= FRAME_HEADER_SIZE, 'frame reader: only a frame that was found is taken back');
    this.buffered += size;
    if (this.buffer === this.chunk) {
      this.position -= size;
    } else {
      this.carry = this.buffer;
      this.carryLength = size;
      this.carryFrameSize = size;
    }
    this.nothing();
  }

  /** Gives back memory that is only kept for the next frame; for a connection that has gone quiet. */
  shrink(): void {
    if (this.carryLength === 0) this.carry = EMPTY;
  }

  /**
   * Lets the present frame's bytes live on: the reader will not write over them. To be called before
   * the next next(), by whoever keeps a view of the payload.
   */
  keep(): void {
    if (this.buffer === this.carry) this.carry = EMPTY;
  }

  /** True when the header at `at` is sound and the whole frame lies in `available` bytes. */
  private headerFits(buffer: Buffer, at: number, available: number): boolean {
    this.judgeHeader(buffer, at);
    return this.failure === null && 4 + readU32(buffer, at) <= available;
  }

  /** Goes on with a frame that spans chunks. */
  private nextCarried(): boolean {
    for (;;) {
      const wanted = this.carryFrameSize === 0 ? headerStep(this.carryLength) : this.carryFrameSize;
      if (this.carryLength === wanted && this.carryFrameSize !== 0) break;
      if (this.carryLength < wanted) {
        if (this.position === this.chunk.length && !this.nextChunk()) return this.nothing();
        this.take(wanted);
        if (this.carryLength < wanted) continue;
      }
      if (this.carryLength === 4) {
        // The length is judged as soon as it is there: a peer need not send the rest to be refused.
        this.judgeLength(readU32(this.carry, 0));
      } else if (this.carryLength === FRAME_HEADER_SIZE && this.carryFrameSize === 0) {
        this.judgeHeader(this.carry, 0);
        this.carryFrameSize = 4 + readU32(this.carry, 0);
      }
      if (this.failure !== null) return this.fail();
    }
    const size = this.carryFrameSize;
    const frame = this.carry;
    this.carryLength = 0;
    this.carryFrameSize = 0;
    if (frame.length > CARRY_KEEP_SIZE) this.carry = EMPTY;
    this.buffered -= size;
    this.show(frame, 0, size);
    return true;
  }

  /** Moves bytes of the chunk to the carry, until it holds `wanted` or the chunk is used up. */
  private take(wanted: number): void {
    const size = Math.min(wanted - this.carryLength, this.chunk.length - this.position);
    const needed = this.carryLength + size;
    if (needed > this.carry.length) {
      const grown = Math.max(needed, Math.min(wanted, this.carry.length * 2), CARRY_FIRST_SIZE);
      const larger = Buffer.allocUnsafeSlow(grown);
      this.carry.copy(larger, 0, 0, this.carryLength);
      this.carry = larger;
    }
    this.chunk.copy(this.carry, this.carryLength, this.position, this.position + size);
    this.carryLength = needed;
    this.position += size;
  }

  /** Goes to the next queued chunk; lets the used one go. */
  private nextChunk(): boolean {
    this.chunk = this.queue.shift() ?? EMPTY;
    this.position = 0;
    return this.chunk.length > 0;
  }

  private judgeLength(length: number): void {
    if (length < FRAME_LENGTH_MIN) this.failure = ErrorCode.MALFORMED;
    else if (length > this.maxFrame) this.failure = ErrorCode.FRAME_TOO_LARGE;
  }

  private judgeHeader(buffer: Buffer, at: number): void {
    this.judgeLength(readU32(buffer, at));
    if (this.failure !== null) return;
    const flags = buffer[at + 5]!;
    if ((flags & FLAGS_RESERVED) !== 0) {
      this.failure = ErrorCode.MALFORMED;
    } else if ((flags & FLAG_RESPONSE) === 0) {
      const isGoAway = buffer[at + 4] === 0x04;
      if (readU16(buffer, at + 6) !== 0 || (readU32(buffer, at + 8) === 0 && !isGoAway)) {
        this.failure = ErrorCode.MALFORMED;
      }
    }
  }

  private show(buffer: Buffer, at: number, size: number): void {
    this.buffer = buffer;
    this.op = buffer[at + 4]!;
    this.flags = buffer[at + 5]!;
    this.status = readU16(buffer, at + 6);
    this.id = readU32(buffer, at + 8);
    this.start = at + FRAME_HEADER_SIZE;
    this.end = at + size;
    this.check();
  }

  /** No whole frame: lets go of the last one's buffer, so that an idle connection pins no chunk. */
  private nothing(): false {
    this.buffer = EMPTY;
    this.start = 0;
    this.end = 0;
    this.check();
    return false;
  }

  private fail(): false {
    this.chunk = EMPTY;
    this.position = 0;
    this.queue.length = 0;
    this.carry = EMPTY;
    this.carryLength = 0;
    this.carryFrameSize = 0;
    this.buffered = 0;
    return this.nothing();
  }

  private check(): void {
    assert(this.position <= this.chunk.length, 'frame reader: position lies in the chunk');
    assert(this.carryLength <= this.carry.length, 'frame reader: carry holds what it says');
    assert(
      this.queue.length > 0 || this.buffered === this.chunk.length - this.position + this.carryLength,
      'frame reader: buffered counts every byte held',
    );
  }
}

/** Bytes of a header wanted next: first the length, then the rest. */
function headerStep(have: number): number {
  return have < 4 ? 4 : FRAME_HEADER_SIZE;
}

/** Writes a frame header with the length left open; returns its position for endFrame. */
export function beginFrame(w: Writer, op: number, flags: number, status: number, id: number): number {
  const at = w.reserve(FRAME_HEADER_SIZE);
  const buffer = w.buffer;
  buffer[at + 4] = op;
  buffer[at + 5] = flags;
  writeU16(buffer, at + 6, status);
  writeU32(buffer, at + 8, id);
  return at;
}

/** Fills in the length of the frame begun at `at`; `extra` counts payload bytes sent from elsewhere. */
export function endFrame(w: Writer, at: number, extra = 0): void {
  writeU32(w.buffer, at, w.length - at - 4 + extra);
}
