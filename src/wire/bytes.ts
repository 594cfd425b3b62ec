// Bounds-checked reading and growing writing of the protocol's basic types (§1). Big-endian.
// A u64 is a JS number, moved as two u32 halves: no BigInt. The free functions at the end are for
// hot paths that have already checked their bounds; they check nothing.
// Invariant of Reader: position ≤ end, also after a FieldError. Reads return views, never copies.
import { isUtf8 } from 'node:buffer';
import { assert } from './assert.ts';
import { FieldError } from './errors.ts';
import { ID_SIZE, LIST_LENGTH_MAX, NONE, U16_MAX, U64_MAX } from './limits.ts';

const TWO_32 = 0x1_0000_0000;
const EMPTY = Buffer.alloc(0);

/** Writing and reading of one layout. */
export interface Codec<T> {
  /** @throws InvariantError when a value does not fit its field: that is the caller's mistake. */
  write(w: Writer, value: T): void;
  /** @throws FieldError naming the first field at fault. */
  read(r: Reader): T;
}

/** Reads fields out of buffer[position, end); every read names its field for the error. */
export class Reader {
  buffer: Buffer;
  position: number;
  end: number;

  constructor(buffer: Buffer = EMPTY, start = 0, end = buffer.length) {
    this.buffer = buffer;
    this.position = start;
    this.end = end;
  }

  reset(buffer: Buffer, start = 0, end = buffer.length): this {
    assert(start >= 0 && start <= end && end <= buffer.length, 'reader range lies inside its buffer');
    this.buffer = buffer;
    this.position = start;
    this.end = end;
    return this;
  }

  get remaining(): number {
    return this.end - this.position;
  }

  u8(field: string): number {
    const at = this.skip(1, field);
    return this.buffer[at]!;
  }

  u16(field: string): number {
    const at = this.skip(2, field);
    return readU16(this.buffer, at);
  }

  u32(field: string): number {
    const at = this.skip(4, field);
    return readU32(this.buffer, at);
  }

  /** 0 … 2^53 − 1. */
  u64(field: string): number {
    const value = this.u64OrNone(field);
    if (value === NONE) throw new FieldError(field);
    return value;
  }

  /** 0 … 2^53 − 1, or NONE for eight FF. */
  u64OrNone(field: string): number {
    const at = this.skip(8, field);
    const value = readU64(this.buffer, at);
    if (value > U64_MAX) throw new FieldError(field);
    return value;
  }

  /** u16 length and UTF-8. */
  str(field: string): string {
    const size = this.u16(field);
    const at = this.skip(size, field);
    return this.utf8(at, at + size, field);
  }

  /** u32 length and bytes; a view. */
  bytes(field: string): Buffer {
    return this.raw(this.u32(field), field);
  }

  /** 16 bytes; a view. */
  id16(field: string): Buffer {
    return this.raw(ID_SIZE, field);
  }

  /** `size` bytes; a view. */
  raw(size: number, field: string): Buffer {
    const at = this.skip(size, field);
    return this.buffer.subarray(at, at + size);
  }

  /** All that is left; a view. */
  rest(): Buffer {
    return this.raw(this.remaining, 'end');
  }

  /** Passes over `size` bytes and returns where they begin. */
  skip(size: number, field: string): number {
    const at = this.position;
    if (size > this.end - at) throw new FieldError(field);
    this.position = at + size;
    return at;
  }

  /** @throws FieldError 'end' when bytes are left. */
  expectEnd(): void {
    if (this.position !== this.end) throw new FieldError('end');
  }

  private utf8(start: number, end: number, field: string): string {
    const buffer = this.buffer;
    for (let i = start; i < end; i++) {
      if (buffer[i]! < 0x80) continue;
      if (!isUtf8(buffer.subarray(start, end))) throw new FieldError(field);
      return buffer.toString('utf8', start, end);
    }
    return buffer.toString('latin1', start, end);
  }
}

/** Appends fields to `buffer`, which is replaced by a larger one when it is full. */
export class Writer {
  buffer: Buffer;
  length = 0;

  constructor(initialSize = 256) {
    this.buffer = Buffer.allocUnsafe(initialSize);
  }

  /** Makes room for `size` bytes, moves past them and returns where they begin; they hold garbage. */
  reserve(size: number): number {
    const at = this.length;
    const needed = at + size;
    if (needed > this.buffer.length) this.grow(needed);
    this.length = needed;
    return at;
  }

  u8(value: number): void {
    assert(value >= 0 && value <= 0xff, 'u8 out of range');
    const at = this.reserve(1);
    this.buffer[at] = value;
  }

  u16(value: number): void {
    assert(value >= 0 && value <= U16_MAX, 'u16 out of range');
    const at = this.reserve(2);
    writeU16(this.buffer, at, value);
  }

  u32(value: number): void {
    assert(value >= 0 && value < TWO_32, 'u32 out of range');
    const at = this.reserve(4);
    writeU32(this.buffer, at, value);
  }

  /** 0 … 2^53 − 1, or NONE (−1), which becomes eight FF. */
  u64(value: number): void {
    assert(value >= NONE && value <= U64_MAX, 'u64 out of range');
    const at = this.reserve(8);
    writeU64(this.buffer, at, value);
  }

  str(value: string): void {
    const size = Buffer.byteLength(value, 'utf8');
    this.u16(size);
    const at = this.reserve(size);
    this.buffer.write(value, at, size, 'utf8');
  }

  bytes(value: Uint8Array): void {
    this.u32(value.length);
    this.raw(value);
  }

  id16(value: Uint8Array): void {
    assert(value.length === ID_SIZE, 'an id has 16 bytes');
    this.raw(value);
  }

  /** The bytes as they are, without a length. */
  raw(value: Uint8Array): void {
    const at = this.reserve(value.length);
    this.buffer.set(value, at);
  }

  patchU16(position: number, value: number): void {
    assert(position + 2 <= this.length && value >= 0 && value <= U16_MAX, 'patch lies inside and fits');
    writeU16(this.buffer, position, value);
  }

  patchU32(position: number, value: number): void {
    assert(position + 4 <= this.length && value >= 0 && value < TWO_32, 'patch lies inside and fits');
    writeU32(this.buffer, position, value);
  }

  /** Forgets what was written; the buffer is used again. */
  clear(): void {
    this.length = 0;
  }

  /** A view of what was written, valid until the next write. */
  view(): Buffer {
    return this.buffer.subarray(0, this.length);
  }

  /** A copy of what was written. */
  copy(): Buffer {
    return Buffer.from(this.view());
  }

  private grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

/** Reads a u16 count and that many elements. */
export function readList<T>(r: Reader, field: string, element: (r: Reader) => T): T[] {
  const count = r.u16(field);
  const list: T[] = [];
  for (let i = 0; i < count; i++) list.push(element(r));
  return list;
}

export function writeList<T>(w: Writer, list: readonly T[], element: (w: Writer, value: T) => void): void {
  assert(list.length <= LIST_LENGTH_MAX, 'a list has at most 65,535 elements');
  w.u16(list.length);
  for (const value of list) element(w, value);
}

export function readU16(buffer: Uint8Array, at: number): number {
  return (buffer[at]! << 8) | buffer[at + 1]!;
}

export function readU32(buffer: Uint8Array, at: number): number {
  return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0;
}

/** NONE for eight FF; a value above 2^53 − 1 comes back as a number above U64_MAX (not exact). */
export function readU64(buffer: Uint8Array, at: number): number {
  const high = readU32(buffer, at);
  const low = readU32(buffer, at + 4);
  if (high === 0xffff_ffff && low === 0xffff_ffff) return NONE;
  return high * TWO_32 + low;
}

export function writeU16(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 8;
  buffer[at + 1] = value;
}

export function writeU32(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

/** 0 … 2^53 − 1, or NONE. */
export function writeU64(buffer: Uint8Array, at: number, value: number): void {
  if (value < 0) {
    writeU32(buffer, at, 0xffff_ffff);
    writeU32(buffer, at + 4, 0xffff_ffff);
    return;
  }
  // The quotient is below 2^21, so truncation is exact; `>>> 0` is the value modulo 2^32.
  writeU32(buffer, at, (value / TWO_32) >>> 0);
  writeU32(buffer, at + 4, value >>> 0);
}
