// PRODUCE as the server reads it: one reusable view per server, no object, string or closure per
// request. It judges the fixed fields and the ext; the name's characters are judged by whoever has
// not seen the same bytes before (`logName`), the batch by checkClientBatch.
import { readU16, readU32, readU64, Reader } from './bytes.ts';
import { ErrorCode, FieldError, ProtocolError } from './errors.ts';
import { findTlv, readExt } from './ext.ts';
import type { ExtShape } from './ext.ts';
import { isNameRange } from './layout.ts';
import { ID_SIZE, NAME_SIZE_MAX, NONE, U64_MAX } from './limits.ts';
import { PRODUCE_NO_FORWARD } from './ops.ts';
import { logUidTlv } from './requests-admin.ts';

/** u8 flags, u8 0, u32 timeout_ms, u64 expected_offset, u64 fence, u16 ext length. */
const FIXED_SIZE = 24;
const LOG_UID_TYPE = 2;
const LOG_UID_BITS = 0x8002;
/** An ext that holds log_uid alone: what nearly every request has that has one at all. */
const LOG_UID_ONLY_SIZE = 4 + ID_SIZE;
const SHAPE: ExtShape = [{ key: 'logUid', field: 'log_uid', tlv: logUidTlv }];

export class ProduceView {
  /** Range of the log's name in the buffer; not judged yet, see logName. */
  logStart = 0;
  logEnd = 0;
  flags = 0;
  /** As sent: 0 = default, not clamped. */
  timeoutMs = 0;
  expectedOffset: number = NONE;
  /** 0 = none. */
  fence = 0;
  hasUid = false;
  uidStart = 0;
  batchStart = 0;
  batchEnd = 0;
  /** Wire name of the field at fault, when parse returned an error. */
  field = '';

  private buffer: Buffer = Buffer.alloc(0);
  private readonly reader = new Reader();

  /** Reads buffer[start, end), a PRODUCE payload: 0, or INVALID_ARGUMENT / UNSUPPORTED_FEATURE with `field`. */
  parse(buffer: Buffer, start: number, end: number): ErrorCode | 0 {
    this.buffer = buffer;
    if (end - start < 2) return this.wrong('log');
    const at = start + 2 + readU16(buffer, start);
    if (at > end) return this.wrong('log');
    this.logStart = start + 2;
    this.logEnd = at;
    if (end - at < FIXED_SIZE) return this.wrong(missingField(end - at));

    this.flags = buffer[at]!;
    if ((this.flags & ~PRODUCE_NO_FORWARD) !== 0) return this.wrong('flags');
    if (buffer[at + 1] !== 0) return this.wrong('reserved');
    this.timeoutMs = readU32(buffer, at + 2);
    this.expectedOffset = readU64(buffer, at + 6);
    if (this.expectedOffset > U64_MAX) return this.wrong('expected_offset');
    this.fence = readU64(buffer, at + 14);
    if (this.fence > U64_MAX || this.fence === NONE) return this.wrong('fence');

    const extSize = readU16(buffer, at + 22);
    const extStart = at + FIXED_SIZE;
    if (extStart + extSize > end) return this.wrong('ext');
    this.batchStart = extStart + extSize;
    this.batchEnd = end;
    this.hasUid = false;
    return extSize === 0 ? 0 : this.parseExt(buffer, extStart, extSize);
  }

  /** The log's name as a string. @throws FieldError when it is not a valid name. */
  logName(): string {
    const { buffer, logStart, logEnd } = this;
    if (!isNameRange(buffer, logStart, logEnd)) {
      const limit = logEnd - logStart > NAME_SIZE_MAX ? NAME_SIZE_MAX : undefined;
      throw new FieldError('log', ErrorCode.INVALID_ARGUMENT, { limit });
    }
    return buffer.toString('latin1', logStart, logEnd);
  }

  private parseExt(buffer: Buffer, start: number, size: number): ErrorCode | 0 {
    if (size === LOG_UID_ONLY_SIZE && readU16(buffer, start) === LOG_UID_BITS && readU16(buffer, start + 2) === ID_SIZE) {
      this.hasUid = true;
      this.uidStart = start + 4;
      return 0;
    }
    try {
      readExt(this.reader.reset(buffer, start - 2, start + size), SHAPE, {});
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.field = error.detail.field ?? 'ext';
      return error.code;
    }
    const uid = findTlv(buffer, start, start + size, LOG_UID_TYPE);
    this.hasUid = uid >= 0;
    this.uidStart = uid;
    return 0;
  }

  private wrong(field: string): ErrorCode {
    this.field = field;
    return ErrorCode.INVALID_ARGUMENT;
  }
}

/** The first field that does not fit when only `size` bytes follow the name. */
function missingField(size: number): string {
  if (size < 1) return 'flags';
  if (size < 2) return 'reserved';
  if (size < 6) return 'timeout_ms';
  if (size < 14) return 'expected_offset';
  return size < 22 ? 'fence' : 'ext';
}
