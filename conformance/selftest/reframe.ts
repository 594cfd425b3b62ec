// Building blocks of the mutations: a frame with some of it changed, by field name.
import { buildFrame } from '../wire/frame.ts';
import type { Frame, FrameInput } from '../wire/frame.ts';
import { DecodeError, decodeFields, encodeFields, encodeResponse } from '../wire/codec.ts';
import { ERROR_FIELDS, LAYOUTS, layoutOf, opName } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';
import { errorByName } from '../wire/errors.ts';

export type Fields = Record<string, unknown>;

export const isResponse = (frame: Frame): boolean => (frame.flags & 1) !== 0;
export const isOk = (frame: Frame): boolean => isResponse(frame) && frame.status === 0;
export const isError = (frame: Frame): boolean => isResponse(frame) && frame.status !== 0;
export const isGoaway = (frame: Frame): boolean => !isResponse(frame) && frame.op === LAYOUTS.GOAWAY.op;
export const isFatalGoaway = (frame: Frame): boolean => isGoaway(frame) && frame.payload.length > 2 && (frame.payload[2]! & 4) !== 0;
export const isOp = (frame: Frame, name: OpName): boolean => frame.op === LAYOUTS[name].op;

/** The frame's bytes with some parts replaced. */
export function reframe(frame: Frame, change: Partial<FrameInput> = {}): Buffer {
  return buildFrame({ op: frame.op, flags: frame.flags, status: frame.status, id: frame.id, payload: frame.payload, ...change });
}

/** Null when the payload has not the layout. */
function editFields(layout: Parameters<typeof decodeFields>[0], frame: Frame, edit: (fields: Fields) => void): Buffer[] | null {
  let fields: Fields;
  try {
    fields = decodeFields(layout, frame.payload);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
  edit(fields);
  return [reframe(frame, { payload: encodeFields(layout, fields) })];
}

export function editRequest(frame: Frame, edit: (fields: Fields, name: OpName) => void): Buffer[] | null {
  const name = opName(frame.op);
  return name === undefined || isResponse(frame) ? null : editFields(layoutOf(name).request, frame, (fields) => edit(fields, name));
}

export function editOk(frame: Frame, edit: (fields: Fields, name: OpName) => void): Buffer[] | null {
  const name = opName(frame.op);
  return name === undefined || !isOk(frame) ? null : editFields(layoutOf(name).response, frame, (fields) => edit(fields, name));
}

/** Changes the body of an error answer or of a GOAWAY: both have class, message and ext. */
export function editError(frame: Frame, edit: (fields: Fields) => void): Buffer[] | null {
  if (isError(frame)) return editFields(ERROR_FIELDS, frame, edit);
  return isGoaway(frame) ? editFields(LAYOUTS.GOAWAY.request, frame, edit) : null;
}

export function okFrame(op: number, id: number, fields: Fields = {}): Buffer {
  const name = opName(op);
  const payload = name === undefined ? Buffer.alloc(2) : encodeResponse(name, { base_offset: 0n, next_offset: 0n, offset: 0n, ...fields });
  return buildFrame({ op, id, flags: name === 'SUBSCRIBE' ? 3 : 1, payload });
}

export function errorFrame(op: number, id: number, error: string, ext: Tlv[] = []): Buffer {
  const row = errorByName(error);
  const payload = encodeFields(ERROR_FIELDS, { class: row.class, message: 'by the proxy', ext });
  return buildFrame({ op, id, flags: 1, status: row.code, payload });
}

export function goawayFrame(error: string): Buffer {
  const row = errorByName(error);
  return buildFrame({ op: LAYOUTS.GOAWAY.op, id: 0, payload: encodeFields(LAYOUTS.GOAWAY.request, { code: row.code, class: row.class, message: 'by the proxy' }) });
}

/** Any value, changed: numbers by one, bytes by one bit, texts by a letter, lists by losing their last. */
export function altered(value: unknown): unknown {
  if (typeof value === 'number') return value ^ 1;
  if (typeof value === 'bigint') return value === (1n << 64n) - 1n ? 5n : value + 1n;
  if (typeof value === 'string') return `${value}x`;
  if (Buffer.isBuffer(value)) {
    if (value.length === 0) return Buffer.from('x');
    const copy = Buffer.from(value);
    copy[copy.length - 1]! ^= 1;
    return copy;
  }
  if (Array.isArray(value)) return value.length > 0 && !('type' in (value[0] as object)) ? value.slice(0, -1) : [...value, { type: 0x0a0a, value: Buffer.from('x') }];
  return value;
}

