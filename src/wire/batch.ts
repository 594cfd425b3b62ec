// The record batch of protocol v1 §5: one layout on the wire, on disk and in replication. Accessors,
// the leader's stamp and the checks, all on (buffer, position), without allocation. Building batches
// is in batch-build.ts, reading records in record.ts. Nothing here decompresses.
// Invariant: `header_crc` covers bytes 8..71 and so `body_crc`; who changes one of the four stamped
// fields must go through stampBatch.
import { readU16, readU32, readU64, writeU32, writeU64 } from './bytes.ts';
import { crc32 } from './checksum.ts';
import { ErrorCode } from './errors.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX, RECORD_FIXED_SIZE, U64_MAX } from './limits.ts';

/** "SLB1" as a u32. */
export const BATCH_MAGIC = 0x534c_4231;

export const AT_MAGIC = 0;
export const AT_HEADER_CRC = 4;
export const AT_INDEX = 8;
export const AT_TERM = 16;
export const AT_BASE_OFFSET = 24;
export const AT_APPEND_TIME = 32;
export const AT_BODY_CRC = 40;
export const AT_BODY_LEN = 44;
export const AT_COUNT = 48;
export const AT_ATTRIBUTES = 52;
export const AT_PRODUCER_EPOCH = 54;
export const AT_PRODUCER_ID = 56;
export const AT_SEQ = 64;

/** Bits 0–3 of the attributes. */
export const ATTRIBUTE_COMPRESSION_MASK = 0x000f;
/** An entry that is not data: it has an index and no offset, and never leaves towards a client. */
export const ATTRIBUTE_CONTROL = 0x0010;

/** Record flags that v1.0 knows: KEY, HEADERS, NULL_VALUE. */
const RECORD_FLAGS_KNOWN = 0x07;

export const batchIndex = (b: Buffer, at: number): number => readU64(b, at + AT_INDEX);
export const batchTerm = (b: Buffer, at: number): number => readU64(b, at + AT_TERM);
export const baseOffset = (b: Buffer, at: number): number => readU64(b, at + AT_BASE_OFFSET);
export const appendTime = (b: Buffer, at: number): number => readU64(b, at + AT_APPEND_TIME);
export const bodyCrc = (b: Buffer, at: number): number => readU32(b, at + AT_BODY_CRC);
export const bodyLen = (b: Buffer, at: number): number => readU32(b, at + AT_BODY_LEN);
export const batchCount = (b: Buffer, at: number): number => readU32(b, at + AT_COUNT);
export const attributes = (b: Buffer, at: number): number => readU16(b, at + AT_ATTRIBUTES);
export const producerEpoch = (b: Buffer, at: number): number => readU16(b, at + AT_PRODUCER_EPOCH);
/** 0 = none. */
export const producerId = (b: Buffer, at: number): number => readU64(b, at + AT_PRODUCER_ID);
export const producerSeq = (b: Buffer, at: number): number => readU64(b, at + AT_SEQ);
/** Bytes of the whole batch, header included. */
export const batchSize = (b: Buffer, at: number): number => BATCH_HEADER_SIZE + readU32(b, at + AT_BODY_LEN);
export const isControl = (b: Buffer, at: number): boolean => (b[at + AT_ATTRIBUTES + 1]! & ATTRIBUTE_CONTROL) !== 0;
export const batchCompression = (b: Buffer, at: number): number =>
  b[at + AT_ATTRIBUTES + 1]! & ATTRIBUTE_COMPRESSION_MASK;

/** Writes the leader's four fields and the header_crc over them. */
export function stampBatch(
  buffer: Buffer,
  position: number,
  index: number,
  term: number,
  baseOffset: number,
  appendTime: number,
): void {
  writeU64(buffer, position + AT_INDEX, index);
  writeU64(buffer, position + AT_TERM, term);
  writeU64(buffer, position + AT_BASE_OFFSET, baseOffset);
  writeU64(buffer, position + AT_APPEND_TIME, appendTime);
  stampHeaderCrc(buffer, position);
}

/** Writes header_crc for the header as it is. */
export function stampHeaderCrc(buffer: Buffer, position: number): void {
  writeU32(buffer, position + AT_HEADER_CRC, crc32(buffer, position + AT_INDEX, position + BATCH_HEADER_SIZE));
}

/** Writes body_crc (bytes 44..end) and then header_crc. */
export function stampBodyCrc(buffer: Buffer, position: number): void {
  const end = position + batchSize(buffer, position);
  writeU32(buffer, position + AT_BODY_CRC, crc32(buffer, position + AT_BODY_LEN, end));
  stampHeaderCrc(buffer, position);
}

/** What checkHeader and checkBody found; OK is 0. */
export const BatchFault = {
  OK: 0,
  /** Fewer than 72 bytes, or fewer than 72 + body_len: a torn end rather than rot. */
  SHORT: 1,
  MAGIC: 2,
  HEADER_CRC: 3,
  BODY_CRC: 4,
  /** Checksums hold, but a field is out of the range that this version writes. */
  FIELDS: 5,
} as const;
export type BatchFault = (typeof BatchFault)[keyof typeof BatchFault];

const FAULT_NAMES = ['ok', 'cut short', 'bad magic', 'bad header checksum', 'bad body checksum', 'bad field'];

/** What a fault means, for messages. */
export function faultName(fault: BatchFault): string {
  return FAULT_NAMES[fault]!;
}

/** Checks the 72 header bytes: magic, header_crc, u64 ranges. The body need not be there. */
export function checkHeader(buffer: Buffer, position: number, end: number): BatchFault {
  if (end - position < BATCH_HEADER_SIZE) return BatchFault.SHORT;
  if (readU32(buffer, position) !== BATCH_MAGIC) return BatchFault.MAGIC;
  const crc = crc32(buffer, position + AT_INDEX, position + BATCH_HEADER_SIZE);
  if (crc !== readU32(buffer, position + AT_HEADER_CRC)) return BatchFault.HEADER_CRC;
  for (let at = position + AT_INDEX; at < position + AT_BODY_CRC; at += 8) {
    if (!isU64(buffer, at)) return BatchFault.FIELDS;
  }
  // Without a producer seq is ignored, here as at admission: what was acked must never read as damage.
  if (!isU64(buffer, position + AT_PRODUCER_ID)) return BatchFault.FIELDS;
  if (!isU64(buffer, position + AT_SEQ) && producerId(buffer, position) !== 0) return BatchFault.FIELDS;
  return BatchFault.OK;
}

/** Checks the body of a batch whose header holds: that it is all there, and body_crc. */
export function checkBody(buffer: Buffer, position: number, end: number): BatchFault {
  const batchEnd = position + batchSize(buffer, position);
  if (batchEnd > end) return BatchFault.SHORT;
  const crc = crc32(buffer, position + AT_BODY_LEN, batchEnd);
  return crc === bodyCrc(buffer, position) ? BatchFault.OK : BatchFault.BODY_CRC;
}

/** Both checks of a whole batch, the header's first. */
export function checkBatch(buffer: Buffer, position: number, end: number): BatchFault {
  const fault = checkHeader(buffer, position, end);
  return fault === BatchFault.OK ? checkBody(buffer, position, end) : fault;
}

/** Where the batch at `position` ends, or −1 when less than the whole of it lies before `end`. */
export function batchEnd(buffer: Buffer, position: number, end: number): number {
  if (end - position < BATCH_HEADER_SIZE) return -1;
  const next = position + batchSize(buffer, position);
  return next <= end ? next : -1;
}

export interface BatchLimits {
  /** Bytes a whole batch may have, header included; also bounds raw_len. */
  readonly maxBatch: number;
  /** Accepted compressions, bit n = compression n. */
  readonly compressions: number;
}

/**
 * Judges a client's batch that should fill buffer[start, end) exactly: 0 when the server may accept
 * it, else CORRUPT_BATCH, BATCH_TOO_LARGE or UNSUPPORTED_COMPRESSION (§5). One pass, no allocation.
 */
export function checkClientBatch(buffer: Buffer, start: number, end: number, limits: BatchLimits): ErrorCode | 0 {
  const size = end - start;
  if (size < BATCH_HEADER_SIZE || readU32(buffer, start) !== BATCH_MAGIC) return ErrorCode.CORRUPT_BATCH;
  const headerCrc = crc32(buffer, start + AT_INDEX, start + BATCH_HEADER_SIZE);
  if (headerCrc !== readU32(buffer, start + AT_HEADER_CRC)) return ErrorCode.CORRUPT_BATCH;
  if (batchSize(buffer, start) !== size) return ErrorCode.CORRUPT_BATCH;
  if (size > limits.maxBatch) return ErrorCode.BATCH_TOO_LARGE;
  if (crc32(buffer, start + AT_BODY_LEN, end) !== bodyCrc(buffer, start)) return ErrorCode.CORRUPT_BATCH;

  const bits = attributes(buffer, start);
  if ((bits & ~ATTRIBUTE_COMPRESSION_MASK) !== 0) return ErrorCode.CORRUPT_BATCH;
  const count = batchCount(buffer, start);
  if (count === 0) return ErrorCode.CORRUPT_BATCH;
  if (count > BATCH_RECORDS_MAX) return ErrorCode.BATCH_TOO_LARGE;
  // epoch and seq are ignored without a producer, so only a producer's seq must be a u64 of ours.
  if (!isU64(buffer, start + AT_PRODUCER_ID)) return ErrorCode.CORRUPT_BATCH;
  if (!isU64(buffer, start + AT_SEQ) && producerId(buffer, start) !== 0) return ErrorCode.CORRUPT_BATCH;

  if ((limits.compressions & (1 << bits)) === 0) return ErrorCode.UNSUPPORTED_COMPRESSION;
  const body = start + BATCH_HEADER_SIZE;
  return bits === 0 ? checkRecords(buffer, body, end, count) : checkCompressed(buffer, body, end, limits.maxBatch);
}

/** Checks lengths, flags and number of the records in an uncompressed body, nothing inside them. */
export function checkRecords(buffer: Buffer, start: number, end: number, count: number): ErrorCode | 0 {
  let at = start;
  for (let i = 0; i < count; i++) {
    if (end - at < 4 + RECORD_FIXED_SIZE) return ErrorCode.CORRUPT_BATCH;
    const size = readU32(buffer, at);
    if (size < RECORD_FIXED_SIZE || size > end - at - 4) return ErrorCode.CORRUPT_BATCH;
    if ((buffer[at + 4]! & ~RECORD_FLAGS_KNOWN) !== 0) return ErrorCode.CORRUPT_BATCH;
    at += 4 + size;
  }
  return at === end ? 0 : ErrorCode.CORRUPT_BATCH;
}

function checkCompressed(buffer: Buffer, start: number, end: number, maxBatch: number): ErrorCode | 0 {
  if (end - start < 4) return ErrorCode.CORRUPT_BATCH;
  return readU32(buffer, start) > maxBatch ? ErrorCode.BATCH_TOO_LARGE : 0;
}

function isU64(buffer: Buffer, at: number): boolean {
  const value = readU64(buffer, at);
  return value >= 0 && value <= U64_MAX;
}
