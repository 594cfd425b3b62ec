// The body of an answer with status ≠ 0, and of GOAWAY (§6). Both end in the same error TLVs.
// The code itself travels in the frame's status (or in GOAWAY's first field), not in the body.
import { isUtf8 } from 'node:buffer';
import type { Codec, Reader, Writer } from './bytes.ts';
import { errorClass, FieldError, ProtocolError } from './errors.ts';
import type { ErrorDetail, ErrorOptions } from './errors.ts';
import { readExt, writeExt } from './ext.ts';
import type { ExtShape, Tlv } from './ext.ts';
import { id16, str, struct, tlv, u64 } from './layout.ts';
import type { Field } from './layout.ts';

/** Characters of a message that are sent; more would only fill logs. */
const MESSAGE_LENGTH_MAX = 500;

const utf8Rest: Field<string> = {
  write: (w, v) => w.raw(Buffer.from(v, 'utf8')),
  read(r, field) {
    // A str without its length: the TLV's own length is the string's.
    const view = r.rest();
    if (!isUtf8(view)) throw new FieldError(field);
    return view.toString('utf8');
  },
};

function fromStruct<T>(codec: Codec<T>): Field<T> {
  return { write: codec.write, read: (r) => codec.read(r) };
}

const ERROR_TLVS: { [K in keyof Required<ErrorDetail>]: Tlv<NonNullable<ErrorDetail[K]>> } = {
  leader: tlv(1, false, fromStruct(struct({ node: str, term: u64, address: str }))),
  logUid: tlv(2, false, id16),
  fence: tlv(3, false, u64),
  range: tlv(4, false, fromStruct(struct({ logStart: u64, committedEnd: u64 }))),
  expectedSeq: tlv(5, false, u64),
  limit: tlv(6, false, u64),
  field: tlv(7, false, utf8Rest),
  supported: tlv(8, false, u64),
  nextOffset: tlv(9, false, u64),
};
const SHAPE: ExtShape = Object.entries(ERROR_TLVS).map(([key, entry]) => ({
  key,
  field: key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  tlv: entry as Tlv<unknown>,
}));

/** Writes an error body; the class bits are the table's unless `options.class` says otherwise. */
export function writeErrorBody(w: Writer, code: number, options: ErrorOptions = {}): void {
  w.u8(options.class ?? errorClass(code));
  w.u8(0);
  w.u32(options.retryAfterMs ?? 0);
  w.str((options.message ?? '').slice(0, MESSAGE_LENGTH_MAX));
  writeExt(w, SHAPE, options as Record<string, unknown>);
}

/** Reads a whole error body of an answer with status `code`. Ids in it are copied. */
export function readErrorBody(r: Reader, code: number): ProtocolError {
  const classBits = r.u8('class');
  if (r.u8('reserved') !== 0) throw new FieldError('reserved');
  const retryAfterMs = r.u32('retry_after_ms');
  const message = r.str('message');
  const detail = readDetail(r);
  r.expectEnd();
  return new ProtocolError(code, { ...detail, class: classBits, retryAfterMs, message });
}

export interface GoAway {
  /** 0 when a client has simply finished. */
  code: number;
  class: number;
  /** Milliseconds after which the connection ends in any case. */
  graceMs: number;
  message: string;
  detail: ErrorDetail;
}

export const goAway: Codec<GoAway> = {
  write(w, value) {
    w.u16(value.code);
    w.u8(value.class);
    w.u8(0);
    w.u32(value.graceMs);
    w.str(value.message.slice(0, MESSAGE_LENGTH_MAX));
    writeExt(w, SHAPE, value.detail as Record<string, unknown>);
  },
  read(r) {
    const code = r.u16('code');
    const classBits = r.u8('class');
    if (r.u8('reserved') !== 0) throw new FieldError('reserved');
    const graceMs = r.u32('grace_ms');
    const message = r.str('message');
    const detail = readDetail(r);
    r.expectEnd();
    return { code, class: classBits, graceMs, message, detail };
  },
};

function readDetail(r: Reader): ErrorDetail {
  const detail: ErrorDetail = {};
  readExt(r, SHAPE, detail as Record<string, unknown>, true);
  if (detail.logUid !== undefined) detail.logUid = Buffer.from(detail.logUid);
  return detail;
}
