// Encodes requests and decodes answers by the tables of layouts.ts. The decoder is strict: what does
// not have its layout byte for byte is a DecodeError that names the field. Shares no code with any
// server or client under test.
import {
  ERROR_FIELDS, LOG_FIELDS, NODE_FIELDS, NONE, POSITION_FIELDS, REPLICA_FIELDS, U64_MAX, layoutOf,
} from './layouts.ts';
import type { Field, FieldType, FieldsOf, InputOf, OpName, ResponseOf, Tlv } from './layouts.ts';

/** The bytes do not have the layout; `field` says where. */
export class DecodeError extends Error {
  override name = 'DecodeError';
  readonly field: string;
  constructor(field: string, why: string) {
    super(`field ${field}: ${why}`);
    this.field = field;
  }
}

type Input = Record<string, unknown>;
const LISTS: Partial<Record<FieldType, readonly Field[]>> = {
  logs: LOG_FIELDS, nodes: NODE_FIELDS, replicas: REPLICA_FIELDS, positions: POSITION_FIELDS,
};
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}
export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}
/** Any 64 bits: values above 2^53 − 1 are sent on purpose. */
export function u64(value: bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt.asUintN(64, value));
  return out;
}
export function str(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([u16(bytes.length), bytes]);
}
export function tlv(type: number, value: Buffer): Tlv {
  return { type, value };
}
export function encodeExt(tlvs: readonly Tlv[]): Buffer {
  const body = Buffer.concat(tlvs.flatMap(({ type, value }) => [u16(type), u16(value.length), value]));
  return Buffer.concat([u16(body.length), body]);
}

/** One field's bytes; a missing value is zero, empty, or NONE where that is allowed. */
export function encodeField(type: FieldType, value: unknown): Buffer {
  switch (type) {
    case 'u8': case 'reserved': return Buffer.from([(value as number | undefined) ?? 0]);
    case 'u16': return u16((value as number | undefined) ?? 0);
    case 'u32': return u32((value as number | undefined) ?? 0);
    case 'u64': return u64((value as bigint | undefined) ?? 0n);
    case 'u64n': return u64((value as bigint | undefined) ?? NONE);
    case 'id16': return (value as Buffer | undefined) ?? Buffer.alloc(16);
    case 'str': return str((value as string | Buffer | undefined) ?? '');
    case 'bytes': {
      const bytes = (value as Buffer | undefined) ?? Buffer.alloc(0);
      return Buffer.concat([u32(bytes.length), bytes]);
    }
    case 'ext': return encodeExt((value as Tlv[] | undefined) ?? []);
    case 'batch': case 'batches': return (value as Buffer | undefined) ?? Buffer.alloc(0);
    case 'strings': {
      const items = (value as string[] | undefined) ?? [];
      return Buffer.concat([u16(items.length), ...items.map((item) => str(item))]);
    }
    default: {
      const items = (value as Input[] | undefined) ?? [];
      return Buffer.concat([u16(items.length), ...items.map((item) => encodeFields(LISTS[type]!, item))]);
    }
  }
}

export function encodeFields(layout: readonly Field[], input: Input): Buffer {
  return Buffer.concat(layout.map(([name, type]) => encodeField(type, input[name])));
}

export function encodeRequest<K extends OpName>(name: K, input: InputOf<K>): Buffer {
  return encodeFields(layoutOf(name).request, input as Input);
}

export function encodeResponse(name: OpName, input: Input): Buffer {
  return encodeFields(layoutOf(name).response, input);
}

export interface Span {
  readonly name: string;
  readonly type: FieldType;
  readonly start: number;
  readonly end: number;
}

/** Where each field of a request lies in its payload. */
export function requestSpans(name: OpName, input: Input): Span[] {
  let at = 0;
  return layoutOf(name).request.map(([field, type]) => {
    const start = at;
    at += encodeField(type, input[field]).length;
    return { name: field, type, start, end: at };
  });
}

class Cursor {
  at = 0;
  readonly bytes: Buffer;
  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }
  take(size: number, field: string): Buffer {
    if (this.at + size > this.bytes.length) {
      throw new DecodeError(field, `the payload ends after ${this.bytes.length} bytes, ${size} more expected from byte ${this.at}`);
    }
    this.at += size;
    return this.bytes.subarray(this.at - size, this.at);
  }
}

function decodeU64(cursor: Cursor, field: string, none: boolean): bigint {
  const value = cursor.take(8, field).readBigUInt64BE();
  if (value > U64_MAX && !(none && value === NONE)) throw new DecodeError(field, `u64 ${value} is above 2^53 − 1`);
  return value;
}

function decodeStr(cursor: Cursor, field: string): string {
  const bytes = cursor.take(cursor.take(2, field).readUInt16BE(), field);
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new DecodeError(field, `${bytes.toString('hex')} is not valid UTF-8`);
  }
}

function decodeExt(cursor: Cursor, field: string): Tlv[] {
  const inner = new Cursor(cursor.take(cursor.take(2, field).readUInt16BE(), field));
  const tlvs: Tlv[] = [];
  while (inner.at < inner.bytes.length) {
    const type = inner.take(2, field).readUInt16BE();
    tlvs.push({ type, value: inner.take(inner.take(2, field).readUInt16BE(), field) });
  }
  return tlvs;
}

function decodeField(cursor: Cursor, field: string, type: FieldType): unknown {
  switch (type) {
    case 'u8': return cursor.take(1, field)[0]!;
    case 'reserved': {
      const value = cursor.take(1, field)[0]!;
      if (value !== 0) throw new DecodeError(field, `a reserved byte is ${value}`);
      return value;
    }
    case 'u16': return cursor.take(2, field).readUInt16BE();
    case 'u32': return cursor.take(4, field).readUInt32BE();
    case 'u64': return decodeU64(cursor, field, false);
    case 'u64n': return decodeU64(cursor, field, true);
    case 'id16': return cursor.take(16, field);
    case 'str': return decodeStr(cursor, field);
    case 'bytes': return cursor.take(cursor.take(4, field).readUInt32BE(), field);
    case 'ext': return decodeExt(cursor, field);
    case 'batch': case 'batches': return cursor.take(cursor.bytes.length - cursor.at, field);
    case 'strings': {
      const count = cursor.take(2, field).readUInt16BE();
      return Array.from({ length: count }, () => decodeStr(cursor, field));
    }
    default: {
      const count = cursor.take(2, field).readUInt16BE();
      return Array.from({ length: count }, () => decodeAt(cursor, LISTS[type]!));
    }
  }
}

function decodeAt(cursor: Cursor, layout: readonly Field[]): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const [name, type] of layout) fields[name] = decodeField(cursor, name, type);
  return fields;
}

/** Decodes a whole payload; @throws DecodeError when a byte is missing, left over or not allowed. */
export function decodeFields(layout: readonly Field[], payload: Buffer): Record<string, unknown> {
  const cursor = new Cursor(payload);
  const fields = decodeAt(cursor, layout);
  if (cursor.at !== payload.length) throw new DecodeError('end', `${payload.length - cursor.at} bytes after the last field`);
  return fields;
}

export function decodeResponse<K extends OpName>(name: K, payload: Buffer): ResponseOf<K> {
  return decodeFields(layoutOf(name).response, payload) as ResponseOf<K>;
}

export function decodeRequest(name: OpName, payload: Buffer): Record<string, unknown> {
  return decodeFields(layoutOf(name).request, payload);
}

export function decodeError(payload: Buffer): FieldsOf<typeof ERROR_FIELDS> {
  return decodeFields(ERROR_FIELDS, payload) as FieldsOf<typeof ERROR_FIELDS>;
}
