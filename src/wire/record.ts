// Records inside an uncompressed (or decompressed) batch body (§5): encoding one, and reading them
// in turn without an object per record. What lies inside a record is judged here, by readers only;
// the server checks lengths, flags and number (checkRecords in batch.ts).
import { isUtf8 } from 'node:buffer';
import { assert } from './assert.ts';
import { readU16, readU32, readU64, writeU32, writeU64 } from './bytes.ts';
import type { Writer } from './bytes.ts';
import { RECORD_FIXED_SIZE, RECORD_KEY_SIZE_MAX, U16_MAX, U64_MAX } from './limits.ts';

export const RECORD_KEY = 1;
export const RECORD_HEADERS = 2;
export const RECORD_NULL_VALUE = 4;
const RECORD_FLAGS_KNOWN = RECORD_KEY | RECORD_HEADERS | RECORD_NULL_VALUE;

/** A record as an application gives it. */
export interface RecordInput {
  /** null is a value of its own (a tombstone), not an empty one. */
  readonly value: Uint8Array | null;
  /** At most 65,535 bytes. */
  readonly key?: Uint8Array | null | undefined;
  /** At most 65,535; each value at most 65,535 bytes. */
  readonly headers?: readonly (readonly [string, Uint8Array])[] | undefined;
  /** Unix ms; 0 or absent = unset. */
  readonly clientTime?: number | undefined;
}

/** Bytes that encodeRecord will write. */
export function recordSize(record: RecordInput): number {
  let size = 4 + RECORD_FIXED_SIZE + (record.value?.length ?? 0);
  if (record.key != null) size += 2 + record.key.length;
  if (record.headers !== undefined) {
    size += 2;
    for (const [name, value] of record.headers) size += 4 + Buffer.byteLength(name, 'utf8') + value.length;
  }
  return size;
}

/** Appends one record. @throws RangeError when key, headers or a header value are too long. */
export function encodeRecord(w: Writer, record: RecordInput): void {
  const { value, key, headers, clientTime = 0 } = record;
  assert(clientTime >= 0 && clientTime <= U64_MAX, 'client time is a u64');
  const at = w.reserve(4 + RECORD_FIXED_SIZE);
  let flags = value === null ? RECORD_NULL_VALUE : 0;
  if (key != null) {
    if (key.length > RECORD_KEY_SIZE_MAX) throw new RangeError('a record key has at most 65,535 bytes');
    flags |= RECORD_KEY;
    w.u16(key.length);
    w.raw(key);
  }
  if (headers !== undefined) {
    flags |= RECORD_HEADERS;
    encodeHeaders(w, headers);
  }
  if (value !== null) w.raw(value);
  const buffer = w.buffer;
  writeU32(buffer, at, w.length - at - 4);
  buffer[at + 4] = flags;
  writeU64(buffer, at + 5, clientTime);
}

function encodeHeaders(w: Writer, headers: readonly (readonly [string, Uint8Array])[]): void {
  if (headers.length > U16_MAX) throw new RangeError('a record has at most 65,535 headers');
  w.u16(headers.length);
  for (const [name, value] of headers) {
    if (value.length > U16_MAX || Buffer.byteLength(name) > U16_MAX) {
      throw new RangeError('a header name or value has at most 65,535 bytes');
    }
    w.str(name);
    w.u16(value.length);
    w.raw(value);
  }
}

/**
 * Walks the records of one body. After `next()` returned true the fields describe one record, as
 * ranges of `buffer`. `corrupt` tells why next() returned false: bytes that are no records.
 */
export class RecordReader {
  buffer: Buffer = Buffer.alloc(0);
  flags = 0;
  /** Unix ms as the producer said; 0 = unset. */
  clientTime = 0;
  /** −1 = no key. */
  keyStart = -1;
  keyEnd = -1;
  /** Range of the headers' elements, after their count. */
  headersStart = 0;
  headersEnd = 0;
  headersCount = 0;
  /** −1 = null. */
  valueStart = -1;
  valueEnd = -1;
  corrupt = false;

  private position = 0;
  private end = 0;

  reset(buffer: Buffer, start: number, end: number): this {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
    this.corrupt = false;
    return this;
  }

  /** Moves to the next record. */
  next(): boolean {
    if (this.corrupt || this.position === this.end) return false;
    const at = this.position;
    const left = this.end - at;
    if (left < 4 + RECORD_FIXED_SIZE) return this.fail();
    const size = readU32(this.buffer, at);
    if (size < RECORD_FIXED_SIZE || size > left - 4) return this.fail();
    const recordEnd = at + 4 + size;
    const flags = this.buffer[at + 4]!;
    this.flags = flags;
    this.clientTime = readU64(this.buffer, at + 5);
    if ((flags & ~RECORD_FLAGS_KNOWN) !== 0) return this.fail();
    if (this.clientTime < 0 || this.clientTime > U64_MAX) return this.fail();

    let cursor = at + 4 + RECORD_FIXED_SIZE;
    this.keyStart = this.keyEnd = -1;
    if ((flags & RECORD_KEY) !== 0) {
      this.keyStart = cursor + 2;
      cursor = this.sized(cursor, recordEnd);
      this.keyEnd = cursor;
    }
    this.headersCount = 0;
    if ((flags & RECORD_HEADERS) !== 0 && cursor >= 0) cursor = this.passHeaders(cursor, recordEnd);
    if (cursor < 0) return this.fail();
    const isNull = (flags & RECORD_NULL_VALUE) !== 0;
    if (isNull && cursor !== recordEnd) return this.fail();
    this.valueStart = isNull ? -1 : cursor;
    this.valueEnd = isNull ? -1 : recordEnd;
    this.position = recordEnd;
    return true;
  }

  /** A view; null when there is none. */
  value(): Buffer | null {
    return this.valueStart < 0 ? null : this.buffer.subarray(this.valueStart, this.valueEnd);
  }

  /** A view; null when there is none. */
  key(): Buffer | null {
    return this.keyStart < 0 ? null : this.buffer.subarray(this.keyStart, this.keyEnd);
  }

  /** Names and views of the values, in order; names may repeat. */
  headers(): [string, Buffer][] {
    const list: [string, Buffer][] = [];
    let at = this.headersStart;
    for (let i = 0; i < this.headersCount; i++) {
      const nameEnd = at + 2 + readU16(this.buffer, at);
      const valueEnd = nameEnd + 2 + readU16(this.buffer, nameEnd);
      list.push([this.buffer.toString('utf8', at + 2, nameEnd), this.buffer.subarray(nameEnd + 2, valueEnd)]);
      at = valueEnd;
    }
    return list;
  }

  private passHeaders(at: number, end: number): number {
    if (end - at < 2) return -1;
    const count = readU16(this.buffer, at);
    let cursor = at + 2;
    this.headersStart = cursor;
    for (let i = 0; i < count; i++) {
      const nameStart = cursor + 2;
      const nameEnd = this.sized(cursor, end);
      if (nameEnd < 0 || !isUtf8(this.buffer.subarray(nameStart, nameEnd))) return -1;
      cursor = this.sized(nameEnd, end);
      if (cursor < 0) return -1;
    }
    this.headersEnd = cursor;
    this.headersCount = count;
    return cursor;
  }

  /** End of a u16-sized value at `at`, or −1 when it does not lie before `end`. */
  private sized(at: number, end: number): number {
    if (end - at < 2) return -1;
    const next = at + 2 + readU16(this.buffer, at);
    return next <= end ? next : -1;
  }

  private fail(): false {
    this.corrupt = true;
    return false;
  }
}
