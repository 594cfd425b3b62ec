// The 4 KiB head of a segment file, and the names of the files of a log. The fixed part says what
// lies *before* the segment (so the first batch can be judged like any other) and never changes after
// the file got its name, except when a whole log is given a new log_uid.
//
//   sector 0   0 u32 magic "SLSG"   4 u32 crc (see headCrc)   8 u16 version 1   10 u16 0
//             12 u32 head size 4096   16 id16 log_uid   32 u64 first_index   40 u64 first_offset
//             48 u64 term_before   56 u64 append_time_before   64..511 zero
//   sectors 1, 2   the durable mark's slots (mark.ts)          sectors 3..7   zero
//
// Invariant: uid and checksum lie in one sector, so the head is never half relabelled.
import { assert } from '../wire/assert.ts';
import { readU16, readU32, readU64, writeU16, writeU32, writeU64 } from '../wire/bytes.ts';
import { crc32 } from '../wire/checksum.ts';
import { ID_SIZE, U64_MAX } from '../wire/limits.ts';
import type { DurableMark } from './mark.ts';
import { decodeMark, encodeMark, LogEnd, MARK_POSITIONS, MARK_SLOT_SIZE, newerMark, SEGMENT_HEAD_SIZE } from './mark.ts';

/** "SLSG" as a u32. */
const SEGMENT_MAGIC = 0x534c_5347;
const SEGMENT_VERSION = 1;
const SECTOR_SIZE = 512;
const AT_CRC = 4;
const AT_VERSION = 8;
const AT_HEAD_SIZE = 12;
const AT_LOG_UID = 16;
const AT_FIRST_INDEX = 32;
const AT_FIRST_OFFSET = 40;
const AT_TERM_BEFORE = 48;
const AT_APPEND_TIME_BEFORE = 56;
/** First byte behind the mark's slots. */
const AT_REST = MARK_POSITIONS[1] + MARK_SLOT_SIZE;

/** What a head says about its segment. */
export interface SegmentHead {
  readonly logUid: Buffer;
  readonly firstIndex: number;
  /** Offset of the first record that it holds or will hold. */
  readonly firstOffset: number;
  /** Term of the entry before `firstIndex`; 0 when there is none. */
  readonly termBefore: number;
  /** append_time of the entry before `firstIndex`; no batch in here is older. 0 when there is none. */
  readonly appendTimeBefore: number;
}

/** What was read from the first 4 KiB of a segment file. */
export interface DecodedHead {
  /** Null when the fixed part is damaged; `fault` says how. */
  readonly head: SegmentHead | null;
  readonly fault: string;
  /** Null when both slots are bad. */
  readonly mark: DurableMark | null;
  /** One slot is bad: after a power cut that is ordinary. */
  readonly slotLost: boolean;
}

/** The end of a log that has nothing but this head: where its first batch continues. */
export function endBefore(head: Omit<SegmentHead, 'logUid'>): LogEnd {
  return new LogEnd(SEGMENT_HEAD_SIZE, head.firstIndex - 1, head.termBefore, head.firstOffset, head.appendTimeBefore);
}

/** A whole head for a new segment, both slots valid and at its empty end. */
export function encodeHead(head: SegmentHead): Buffer {
  assert(head.logUid.length === ID_SIZE, 'a log_uid has 16 bytes');
  assert(head.firstIndex >= 1, 'indexes begin at 1');
  const bytes = Buffer.alloc(SEGMENT_HEAD_SIZE);
  writeU32(bytes, 0, SEGMENT_MAGIC);
  writeU16(bytes, AT_VERSION, SEGMENT_VERSION);
  writeU32(bytes, AT_HEAD_SIZE, SEGMENT_HEAD_SIZE);
  head.logUid.copy(bytes, AT_LOG_UID);
  writeU64(bytes, AT_FIRST_INDEX, head.firstIndex);
  writeU64(bytes, AT_FIRST_OFFSET, head.firstOffset);
  writeU64(bytes, AT_TERM_BEFORE, head.termBefore);
  writeU64(bytes, AT_APPEND_TIME_BEFORE, head.appendTimeBefore);
  writeU32(bytes, AT_CRC, headCrc(bytes));
  const end = endBefore(head);
  // Both slots from the start: a segment with two bad slots is then damaged, without exception.
  encodeMark(bytes, MARK_POSITIONS[0], 0, end, 0, head.firstIndex);
  encodeMark(bytes, MARK_POSITIONS[1], 1, end, 0, head.firstIndex);
  return bytes;
}

/** Writes another log_uid, and the checksum with it, into a valid head: both lie in sector 0. */
export function relabelHead(bytes: Buffer, logUid: Buffer): void {
  assert(logUid.length === ID_SIZE, 'a log_uid has 16 bytes');
  logUid.copy(bytes, AT_LOG_UID);
  writeU32(bytes, AT_CRC, headCrc(bytes));
}

/** Sequence of the newer slot that encodeHead writes. */
export const FIRST_MARK_SEQUENCE = 1;

/**
 * Judges `size` bytes read from the start of a segment file. `firstIndex` comes from the file's name:
 * a head or slot that says otherwise is damage.
 */
export function decodeHead(bytes: Buffer, size: number, firstIndex: number): DecodedHead {
  if (size < SEGMENT_HEAD_SIZE) return { head: null, fault: 'the head is cut short', mark: null, slotLost: true };
  const a = decodeMark(bytes, MARK_POSITIONS[0], 0, firstIndex);
  const b = decodeMark(bytes, MARK_POSITIONS[1], 1, firstIndex);
  const mark = newerMark(a, b);
  const slotLost = a === null || b === null;
  const fault = headFault(bytes, firstIndex);
  if (fault !== '') return { head: null, fault, mark, slotLost };
  const head: SegmentHead = {
    logUid: Buffer.from(bytes.subarray(AT_LOG_UID, AT_LOG_UID + ID_SIZE)),
    firstIndex,
    firstOffset: readU64(bytes, AT_FIRST_OFFSET),
    termBefore: readU64(bytes, AT_TERM_BEFORE),
    appendTimeBefore: readU64(bytes, AT_APPEND_TIME_BEFORE),
  };
  return { head, fault: '', mark, slotLost };
}

function headFault(bytes: Buffer, firstIndex: number): string {
  if (readU32(bytes, 0) !== SEGMENT_MAGIC) return 'the head has no magic';
  if (readU32(bytes, AT_CRC) !== headCrc(bytes)) return 'the head has a bad checksum';
  if (readU16(bytes, AT_VERSION) !== SEGMENT_VERSION) return `unknown segment version ${readU16(bytes, AT_VERSION)}`;
  if (readU32(bytes, AT_HEAD_SIZE) !== SEGMENT_HEAD_SIZE) return 'the head has another size';
  for (let at = AT_FIRST_INDEX; at <= AT_APPEND_TIME_BEFORE; at += 8) {
    const value = readU64(bytes, at);
    if (value < 0 || value > U64_MAX) return 'a field of the head is out of range';
  }
  if (readU64(bytes, AT_FIRST_INDEX) !== firstIndex) return 'the head names another first index than the file name';
  return '';
}

/** CRC-32 of bytes 8..511 followed by the u32 CRC-32 of bytes 1536..4095: all but the mark's slots. */
function headCrc(bytes: Buffer): number {
  const rest = crc32(bytes, AT_REST, SEGMENT_HEAD_SIZE);
  const scratch = Buffer.allocUnsafe(SECTOR_SIZE - AT_VERSION + 4);
  bytes.copy(scratch, 0, AT_VERSION, SECTOR_SIZE);
  writeU32(scratch, SECTOR_SIZE - AT_VERSION, rest);
  return crc32(scratch, 0, scratch.length);
}

const NAME_DIGITS = 20;
/** A file with this ending was never finished; start-up removes it. */
export const TEMPORARY_SUFFIX = '.tmp';
const SEGMENT_NAME = /^(\d{20})\.seg$/;
const INDEX_NAME = /^(\d{20})\.idx$/;

export function segmentName(firstIndex: number): string {
  return `${String(firstIndex).padStart(NAME_DIGITS, '0')}.seg`;
}

export function indexName(firstIndex: number): string {
  return `${String(firstIndex).padStart(NAME_DIGITS, '0')}.idx`;
}

/** The first index in a segment file's name, or −1 when it is no such name. */
export function segmentFirstIndex(name: string): number {
  return firstIndexIn(SEGMENT_NAME, name);
}

/** The first index in an index file's name, or −1 when it is no such name. */
export function indexFirstIndex(name: string): number {
  return firstIndexIn(INDEX_NAME, name);
}

function firstIndexIn(pattern: RegExp, name: string): number {
  const match = pattern.exec(name);
  if (match === null) return -1;
  const value = Number(match[1]);
  return value >= 1 && value <= U64_MAX ? value : -1;
}
