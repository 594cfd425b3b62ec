// The `ext` block that ends every layout (§1): a u16 byte length and TLVs `u16 type, u16 len, value`.
// Bit 15 of a type marks it critical; the type itself is the low 15 bits, and a known type is
// understood with or without the bit. Unknown critical → UNSUPPORTED_FEATURE, unknown other →
// ignored, the same type twice (GREASE too) → INVALID_ARGUMENT. Order is free.
import { assert } from './assert.ts';
import { Reader, readU16 } from './bytes.ts';
import type { Writer } from './bytes.ts';
import { ErrorCode, FieldError } from './errors.ts';
import { EXT_SIZE_MAX } from './limits.ts';

const TLV_HEADER_SIZE = 4;
const CRITICAL = 0x8000;
const TYPE_MASK = 0x7fff;

/** One known TLV of a layout: how its value is moved, and whether we send it as critical. */
export interface Tlv<T> {
  readonly type: number;
  readonly critical: boolean;
  write(w: Writer, value: T): void;
  /** Reads the value; the reader ends where the value ends, and all of it must be used. */
  read(r: Reader, field: string): T;
}

/** Type `n` of 0 … 7: 0x0A0A, 0x1A1A … 0x7A7A, never assigned. */
export function greaseType(n: number): number {
  return 0x0a0a + (n & 7) * 0x1010;
}

/** The values of `tlvs` by key, each undefined unless sent; `fields` are their wire names. */
export type ExtShape = { readonly key: string; readonly field: string; readonly tlv: Tlv<unknown> }[];

/** Writes the TLVs whose key is set in `values`; `grease` ≠ 0 adds an empty TLV of that type. */
export function writeExt(w: Writer, shape: ExtShape, values: Record<string, unknown>, grease = 0): void {
  const lengthAt = w.length;
  w.u16(0);
  for (const { key, tlv } of shape) {
    const value = values[key];
    if (value === undefined) continue;
    w.u16(tlv.critical ? tlv.type | CRITICAL : tlv.type);
    const sizeAt = w.length;
    w.u16(0);
    tlv.write(w, value);
    w.patchU16(sizeAt, w.length - sizeAt - 2);
  }
  if (grease !== 0) {
    w.u16(grease);
    w.u16(0);
  }
  const size = w.length - lengthAt - 2;
  assert(size <= EXT_SIZE_MAX, 'an ext has at most 4 KiB');
  w.patchU16(lengthAt, size);
}

/**
 * Reads an ext into `into`, by the keys of `shape`. In an answer (`isAnswer`) unknown TLVs are ignored
 * even when they are critical: a client must not fail over what a newer server adds.
 */
export function readExt(r: Reader, shape: ExtShape, into: Record<string, unknown>, isAnswer = false): void {
  const size = r.u16('ext');
  if (size === 0) return;
  if (size > EXT_SIZE_MAX) throw new FieldError('ext', ErrorCode.INVALID_ARGUMENT, { limit: EXT_SIZE_MAX });
  const at = r.skip(size, 'ext');
  const tlvs = new Reader(r.buffer, at, at + size);
  const value = new Reader();
  const seen: number[] = [];
  while (tlvs.remaining > 0) {
    const typeBits = tlvs.u16('ext');
    const valueSize = tlvs.u16('ext');
    const type = typeBits & TYPE_MASK;
    noteType(seen, type);
    const valueAt = tlvs.skip(valueSize, 'ext');
    const known = shape.find(({ tlv }) => tlv.type === type);
    if (known === undefined) {
      if ((typeBits & CRITICAL) !== 0 && !isAnswer) throw new FieldError('ext', ErrorCode.UNSUPPORTED_FEATURE);
      continue;
    }
    into[known.key] = known.tlv.read(value.reset(r.buffer, valueAt, valueAt + valueSize), known.field);
    if (value.remaining > 0) throw new FieldError(known.field);
  }
}

/** Remembers a type and refuses it the second time. At most 1,024 fit, so a scan will do. */
function noteType(seen: number[], type: number): void {
  if (seen.includes(type)) throw new FieldError('ext');
  seen.push(type);
}

/** Finds the value of TLV `type` in an ext that was checked before; −1 when it is not there. */
export function findTlv(buffer: Buffer, start: number, end: number, type: number): number {
  for (let at = start; at < end; at += TLV_HEADER_SIZE + readU16(buffer, at + 2)) {
    if ((readU16(buffer, at) & TYPE_MASK) === type) return at + TLV_HEADER_SIZE;
  }
  return -1;
}
