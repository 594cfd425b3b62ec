// Frames that a mock sends, and values out of a script: u64 come as decimal strings, bytes as hex.
import { encodeFields, encodeResponse } from '../wire/codec.ts';
import { FATAL, errorByName } from '../wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE, buildFrame } from '../wire/frame.ts';
import { ERROR_FIELDS, LAYOUTS, NONE, layoutOf } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';
import { ScriptError } from './script.ts';

type Fields = Readonly<Record<string, unknown>>;

export function okFrame(name: OpName, id: number, fields: Fields, more = false): Buffer {
  return buildFrame({ op: LAYOUTS[name].op, flags: FLAG_RESPONSE | (more ? FLAG_MORE : 0), id, payload: encodeResponse(name, fields) });
}

export interface ErrorOptions {
  readonly message?: string;
  readonly retry_after_ms?: number;
  /** The TLV `field`. */
  readonly field?: string;
}

export function errorFrame(op: number, id: number, name: string, { message = 'by the script', retry_after_ms, field }: ErrorOptions): Buffer {
  const row = errorByName(name);
  const ext: Tlv[] = field === undefined ? [] : [{ type: 7, value: Buffer.from(field) }];
  const isHello = op === LAYOUTS.HELLO.op;
  const payload = encodeFields(ERROR_FIELDS, { class: isHello ? row.class | FATAL : row.class, retry_after_ms, message, ext });
  return buildFrame({ op, flags: FLAG_RESPONSE, id, status: row.code, payload });
}

export function goawayFrame(name: string, message: string, graceMs: number): Buffer {
  const row = errorByName(name);
  const cls = graceMs > 0 ? row.class : row.class | FATAL;
  const fields = { code: row.code, class: cls, grace_ms: graceMs, message };
  return buildFrame({ op: LAYOUTS.GOAWAY.op, id: 0, payload: encodeFields(LAYOUTS.GOAWAY.request, fields) });
}

/** Fields of a script as an answer's fields; @throws ScriptError at a name that the layout does not have. */
export function answerFields(name: OpName, fields: Fields): Record<string, unknown> {
  const layout = layoutOf(name).response;
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    const type = layout.find(([field]) => field === key)?.[1];
    if (type === undefined) throw new ScriptError(`answer.${key}: the answer to ${name} has the fields ${layout.map(([field]) => field).join(' ')}`);
    if (type === 'u64' || type === 'u64n') out[key] = value === 'NONE' ? NONE : BigInt(String(value));
    else if (type === 'id16' || type === 'bytes' || type === 'batches' || type === 'batch') out[key] = Buffer.from(String(value), 'hex');
    else out[key] = value;
  }
  return out;
}

/** Fields of a request as JSON shows them. */
export function printable(value: unknown): unknown {
  if (typeof value === 'bigint') return value === NONE ? 'NONE' : String(value);
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(printable);
  if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, printable(inner)]));
  return value;
}
