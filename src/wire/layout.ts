// A payload layout as a table: fields in wire order, then the ext's TLVs, then perhaps raw bytes. The
// request and response files are such tables and read like §4 of the protocol; this file moves them.
// A key in camelCase is the field's wire name in snake_case, which errors name.
// PRODUCE does not come through here on the server: see produce-view.ts.
import { readList, writeList } from './bytes.ts';
import type { Codec, Reader, Writer } from './bytes.ts';
import { ErrorCode, FieldError } from './errors.ts';
import { readExt, writeExt } from './ext.ts';
import type { ExtShape, Tlv } from './ext.ts';
import { NAME_SIZE_MAX } from './limits.ts';

/** One field: `sofar` holds what was read before it, for fields that depend on another. */
export interface Field<T> {
  write(w: Writer, value: T): void;
  read(r: Reader, field: string, sofar: Record<string, unknown>): T;
}

type ValueOf<F> = F extends Field<infer T> ? T : F extends Tlv<infer T> ? T : never;
/** A reserved byte is moved and judged, but is no value. */
type FieldsOf<F> = { [K in Exclude<keyof F, 'reserved'>]: ValueOf<F[K]> };
type TlvsOf<X> = { [K in keyof X]?: ValueOf<X[K]> | undefined };
type Fields = Record<string, Field<any>>;
type TlvTable = Record<string, Tlv<any>>;

/** The values that a layout, a struct or a list moves. */
export type Values<L> = L extends Codec<infer T> ? T : never;

export interface Layout<T> extends Codec<T> {
  /** `grease` ≠ 0 adds an empty TLV of that type, which receivers must ignore. */
  write(w: Writer, value: T, grease?: number): void;
}

/** A whole request: the fields, an ext with `tlvs`, nothing after it. */
export function layout<F extends Fields, X extends TlvTable = {}>(
  fields: F,
  tlvs: X = {} as X,
): Layout<FieldsOf<F> & TlvsOf<X>> {
  return untilEnd(headOf(fields, tlvs, false));
}

/** A whole answer: like layout, but unknown TLVs in it are ignored, critical or not. */
export function answer<F extends Fields, X extends TlvTable = {}>(
  fields: F,
  tlvs: X = {} as X,
): Layout<FieldsOf<F> & TlvsOf<X>> {
  return untilEnd(headOf(fields, tlvs, true));
}

/** A whole request that goes on, after the ext, with raw bytes under the key `tail` (a view). */
export function layoutWithTail<F extends Fields, X extends TlvTable, K extends string>(
  fields: F,
  tlvs: X,
  tail: K,
): Layout<FieldsOf<F> & TlvsOf<X> & Record<K, Buffer>> {
  return withTail(headOf(fields, tlvs, false), tail);
}

/** The same for an answer. */
export function answerWithTail<F extends Fields, X extends TlvTable, K extends string>(
  fields: F,
  tlvs: X,
  tail: K,
): Layout<FieldsOf<F> & TlvsOf<X> & Record<K, Buffer>> {
  return withTail(headOf(fields, tlvs, true), tail);
}

function untilEnd<T>(head: Layout<T>): Layout<T> {
  return {
    write: head.write,
    read(r) {
      const values = head.read(r);
      r.expectEnd();
      return values;
    },
  };
}

function withTail<T, K extends string>(head: Layout<T>, tail: K): Layout<T & Record<K, Buffer>> {
  return {
    write(w, value, grease) {
      head.write(w, value, grease);
      w.raw(value[tail]);
    },
    read(r) {
      const values = head.read(r) as Record<string, unknown>;
      values[tail] = r.rest();
      return values as T & Record<K, Buffer>;
    },
  };
}

function headOf<F extends Fields, X extends TlvTable>(
  fields: F,
  tlvs: X,
  isAnswer: boolean,
): Layout<FieldsOf<F> & TlvsOf<X>> {
  const body = struct(fields);
  const shape: ExtShape = Object.entries(tlvs).map(([key, tlv]) => ({ key, field: wireName(key), tlv }));
  return {
    write(w, value, grease) {
      body.write(w, value);
      writeExt(w, shape, value, grease);
    },
    read(r) {
      const values = body.read(r);
      readExt(r, shape, values, isAnswer);
      return values as FieldsOf<F> & TlvsOf<X>;
    },
  };
}

/** Fields one after the other, without an ext: an element of a list, the LOG of §4. */
export function struct<F extends Fields>(fields: F): Codec<FieldsOf<F>> {
  const table = Object.entries(fields).map(([key, field]) => ({ key, field, name: wireName(key) }));
  return {
    write(w, value) {
      const values = value as Record<string, unknown>;
      for (const { key, field } of table) field.write(w, values[key]);
    },
    read(r) {
      const values: Record<string, unknown> = {};
      for (const { key, field, name } of table) {
        const value = field.read(r, name, values);
        if (key !== 'reserved') values[key] = value;
      }
      return values as FieldsOf<F>;
    },
  };
}

function wireName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

export const u8: Field<number> = { write: (w, v) => w.u8(v), read: (r, field) => r.u8(field) };
export const u16: Field<number> = { write: (w, v) => w.u16(v), read: (r, field) => r.u16(field) };
export const u32: Field<number> = { write: (w, v) => w.u32(v), read: (r, field) => r.u32(field) };
export const u64: Field<number> = { write: (w, v) => w.u64(v), read: (r, field) => r.u64(field) };
/** NONE = −1. */
export const u64OrNone: Field<number> = { write: (w, v) => w.u64(v), read: (r, field) => r.u64OrNone(field) };
export const str: Field<string> = { write: (w, v) => w.str(v), read: (r, field) => r.str(field) };
/** u32 length and bytes; read as a view. */
export const bytes: Field<Buffer> = { write: (w, v) => w.bytes(v), read: (r, field) => r.bytes(field) };
/** 16 bytes; read as a view. */
export const id16: Field<Buffer> = { write: (w, v) => w.id16(v), read: (r, field) => r.id16(field) };

/** Bytes of at most `max`, else INVALID_ARGUMENT with the limit. */
export function bytesUpTo(max: number): Field<Buffer> {
  return {
    write: (w, v) => w.bytes(v),
    read(r, field) {
      const value = r.bytes(field);
      if (value.length > max) throw new FieldError(field, ErrorCode.INVALID_ARGUMENT, { limit: max });
      return value;
    },
  };
}

/** A u8 with a closed set of values. */
export function oneOf<T extends number>(...allowed: T[]): Field<T> {
  return {
    write: (w, v) => w.u8(v),
    read(r, field) {
      const value = r.u8(field) as T;
      if (!allowed.includes(value)) throw new FieldError(field);
      return value;
    },
  };
}

/** A u8 of flags in a request: unknown bits are an error. */
export function flags(known: number): Field<number> {
  return {
    write: (w, v) => w.u8(v),
    read(r, field) {
      const value = r.u8(field);
      if ((value & ~known) !== 0) throw new FieldError(field);
      return value;
    },
  };
}

/** A u8 of flags in an answer: unknown bits are ignored, as the receiver must (§1). */
export function answerFlags(known: number): Field<number> {
  return { write: (w, v) => w.u8(v), read: (r, field) => r.u8(field) & known };
}

/** A reserved u8, which must be 0; its key must be `reserved`. */
export const reserved: Field<0> = {
  write: (w) => w.u8(0),
  read(r, field) {
    if (r.u8(field) !== 0) throw new FieldError(field);
    return 0;
  },
};

/** The name of a log, position or producer: 1–200 of `[A-Za-z0-9._-]`, not starting with a dot. */
export const name: Field<string> = {
  write: (w, v) => w.str(v),
  read(r, field) {
    const size = r.u16(field);
    const at = r.skip(size, field);
    if (!isNameRange(r.buffer, at, at + size)) {
      const limit = size > NAME_SIZE_MAX ? NAME_SIZE_MAX : undefined;
      throw new FieldError(field, ErrorCode.INVALID_ARGUMENT, { limit });
    }
    return r.buffer.toString('latin1', at, at + size);
  },
};

/** A u8, u64 or str that the chosen variant does not use: passed over, whatever it holds (§1). */
export const unusedU64: Field<number> = { write: (w, v) => w.u64(v), read: (r, field) => (r.skip(8, field), 0) };
export const unusedStr: Field<string> = {
  write: (w, v) => w.str(v),
  read: (r, field) => (r.skip(r.u16(field), field), ''),
};

/** A field that counts only while `used(sofar)`; otherwise whatever it holds is ignored (§1). */
export function usedIf<T>(used: (sofar: Record<string, unknown>) => boolean, field: Field<T>, unused: Field<T>): Field<T> {
  return {
    write: field.write,
    read: (r, wire, sofar) => (used(sofar) ? field : unused).read(r, wire, sofar),
  };
}

export function list<T>(element: Codec<T>): Field<T[]> {
  return {
    write: (w, v) => writeList(w, v, (writer, value) => element.write(writer, value)),
    read: (r, field) => readList(r, field, (reader) => element.read(reader)),
  };
}

/** A list of plain fields, such as `list str`. */
export function listOf<T>(element: Field<T>): Field<T[]> {
  return {
    write: (w, v) => writeList(w, v, (writer, value) => element.write(writer, value)),
    read: (r, field) => readList(r, field, (reader) => element.read(reader, field, {})),
  };
}

/** A TLV whose value is one field. */
export function tlv<T>(type: number, critical: boolean, field: Field<T>): Tlv<T> {
  return { type, critical, write: field.write, read: (r, wire) => field.read(r, wire, {}) };
}

/** A TLV without a value: present or not. */
export function marker(type: number, critical: boolean): Tlv<true> {
  return { type, critical, write: () => undefined, read: () => true };
}

/** True when buffer[start, end) is a valid name (§8). */
export function isNameRange(buffer: Uint8Array, start: number, end: number): boolean {
  const size = end - start;
  if (size < 1 || size > NAME_SIZE_MAX || buffer[start] === 0x2e) return false;
  for (let i = start; i < end; i++) {
    const c = buffer[i]!;
    const isLetterOrDigit = (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a);
    if (!isLetterOrDigit && c !== 0x2e && c !== 0x5f && c !== 0x2d) return false;
  }
  return true;
}
