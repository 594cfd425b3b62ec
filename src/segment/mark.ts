// The durable mark: two checksummed slots in a segment's head that say up to where the file was
// synced. Each lies in a 512-byte sector of its own, so that a torn write can spoil one at most.
//
//   slot   0 u32 magic "SLMK"   4 u32 crc (bytes 8..511)   8 u64 sequence   16 u64 durable_end (position)
//         24 u64 index  32 u64 term  40 u64 next_offset  48 u64 append_time   of the batch that ends there
//         56 u64 commit_index   64 u64 first_index of the segment   72..511 zero
//
// Invariant: a slot is written only after a sync covered `durable_end`; the valid slot with the higher
// sequence counts; two bad slots are damage with unknown end, never "nothing".
import { BATCH_HEADER_SIZE, U64_MAX } from '../wire/limits.ts';
import { crc32 } from '../wire/checksum.ts';
import { assert } from '../wire/assert.ts';
import { readU32, readU64, writeU32, writeU64 } from '../wire/bytes.ts';

/** "SLMK" as a u32. */
const MARK_MAGIC = 0x534c_4d4b;
/** Bytes of a segment's head; batches begin right after it. */
export const SEGMENT_HEAD_SIZE = 4096;
/** Bytes of a slot: the unit that a disk writes whole or not at all. */
export const MARK_SLOT_SIZE = 512;
/** Where the two slots lie in the segment file; slot = sequence modulo 2. */
export const MARK_POSITIONS: readonly [number, number] = [512, 1024];

const AT_CRC = 4;
const AT_SEQUENCE = 8;
const AT_DURABLE_END = 16;
const AT_INDEX = 24;
const AT_TERM = 32;
const AT_NEXT_OFFSET = 40;
const AT_APPEND_TIME = 48;
const AT_COMMIT_INDEX = 56;
const AT_FIRST_INDEX = 64;

/**
 * The state of a log after one batch: what the next batch must continue. `position` is the byte in the
 * segment file right after it. Mutable, because the hot path reuses one.
 */
export class LogEnd {
  position: number;
  index: number;
  term: number;
  nextOffset: number;
  appendTime: number;

  constructor(position: number, index: number, term: number, nextOffset: number, appendTime: number) {
    this.position = position;
    this.index = index;
    this.term = term;
    this.nextOffset = nextOffset;
    this.appendTime = appendTime;
  }

  set(other: LogEnd): void {
    this.position = other.position;
    this.index = other.index;
    this.term = other.term;
    this.nextOffset = other.nextOffset;
    this.appendTime = other.appendTime;
  }

  copy(): LogEnd {
    return new LogEnd(this.position, this.index, this.term, this.nextOffset, this.appendTime);
  }

  /** Whether both name the same batch at the same place. */
  equals(other: LogEnd): boolean {
    return (
      this.position === other.position && this.index === other.index && this.term === other.term &&
      this.nextOffset === other.nextOffset && this.appendTime === other.appendTime
    );
  }
}

export interface DurableMark {
  readonly sequence: number;
  readonly end: LogEnd;
  /** What was known to be committed when the slot was written; never above `end.index`. */
  readonly commitIndex: number;
}

/** Writes a slot's 512 bytes into `target` at `at`. */
export function encodeMark(
  target: Buffer, at: number, sequence: number, end: LogEnd, commitIndex: number, firstIndex: number,
): void {
  assert(end.index >= firstIndex - 1, 'a mark lies in its segment');
  target.fill(0, at + AT_FIRST_INDEX + 8, at + MARK_SLOT_SIZE);
  writeU32(target, at, MARK_MAGIC);
  writeU64(target, at + AT_SEQUENCE, sequence);
  writeU64(target, at + AT_DURABLE_END, end.position);
  writeU64(target, at + AT_INDEX, end.index);
  writeU64(target, at + AT_TERM, end.term);
  writeU64(target, at + AT_NEXT_OFFSET, end.nextOffset);
  writeU64(target, at + AT_APPEND_TIME, end.appendTime);
  writeU64(target, at + AT_COMMIT_INDEX, Math.min(commitIndex, end.index));
  writeU64(target, at + AT_FIRST_INDEX, firstIndex);
  writeU32(target, at + AT_CRC, crc32(target, at + AT_SEQUENCE, at + MARK_SLOT_SIZE));
}

/** The slot at `at`, or null when it does not hold for this segment. */
export function decodeMark(source: Buffer, at: number, slot: 0 | 1, firstIndex: number): DurableMark | null {
  if (readU32(source, at) !== MARK_MAGIC) return null;
  if (readU32(source, at + AT_CRC) !== crc32(source, at + AT_SEQUENCE, at + MARK_SLOT_SIZE)) return null;
  for (let field = AT_SEQUENCE; field <= AT_FIRST_INDEX; field += 8) {
    const value = readU64(source, at + field);
    if (value < 0 || value > U64_MAX) return null;
  }
  const sequence = readU64(source, at + AT_SEQUENCE);
  if (sequence % 2 !== slot || readU64(source, at + AT_FIRST_INDEX) !== firstIndex) return null;
  const end = new LogEnd(
    readU64(source, at + AT_DURABLE_END), readU64(source, at + AT_INDEX), readU64(source, at + AT_TERM),
    readU64(source, at + AT_NEXT_OFFSET), readU64(source, at + AT_APPEND_TIME),
  );
  // Impossible claims are refused here, so that nobody downstream sizes a table by one.
  const count = end.index - (firstIndex - 1);
  if (count < 0 || end.position < SEGMENT_HEAD_SIZE + count * BATCH_HEADER_SIZE) return null;
  return { sequence, end, commitIndex: readU64(source, at + AT_COMMIT_INDEX) };
}

/** The newer of two slots; null when both are bad. */
export function newerMark(a: DurableMark | null, b: DurableMark | null): DurableMark | null {
  if (a === null || b === null) return a ?? b;
  return a.sequence > b.sequence ? a : b;
}
