// The codes of §11.2 with their class and TLVs, and the TLVs of error bodies. Decides what an error
// answer must look like; sends nothing.
import { DecodeError } from './codec.ts';
import { U64_MAX } from './layouts.ts';
import type { Tlv } from './layouts.ts';

export const RETRIABLE = 1;
export const OUTCOME_UNKNOWN = 2;
export const FATAL = 4;
export const REDIRECT = 8;

export interface ErrorRow {
  readonly code: number;
  readonly name: string;
  readonly class: number;
  /** TLVs that the answer must carry; the ones that may be missing are not listed. */
  readonly tlvs: readonly TlvName[];
}

export type TlvName =
  | 'leader' | 'log_uid' | 'fence' | 'range' | 'expected_seq' | 'limit' | 'field' | 'supported' | 'next_offset';

const TLV_TYPES: Readonly<Record<number, TlvName>> = {
  1: 'leader', 2: 'log_uid', 3: 'fence', 4: 'range', 5: 'expected_seq', 6: 'limit', 7: 'field', 8: 'supported', 9: 'next_offset',
};
export const TLV_NUMBER = Object.fromEntries(Object.entries(TLV_TYPES).map(([type, name]) => [name, Number(type)])) as Record<TlvName, number>;

const row = (code: number, name: string, cls: number, ...tlvs: TlvName[]): ErrorRow => ({ code, name, class: cls, tlvs });

export const ERRORS = [
  row(1, 'MALFORMED', 4), row(2, 'UNSUPPORTED_VERSION', 4), row(3, 'UNKNOWN_OP', 0), row(4, 'OP_NOT_ALLOWED', 4),
  row(5, 'FRAME_TOO_LARGE', 4, 'limit'), row(6, 'DUPLICATE_ID', 4), row(7, 'UNSUPPORTED_FEATURE', 0), row(8, 'TLS_REQUIRED', 4),
  row(9, 'TOO_MANY_INFLIGHT', 1, 'limit'), row(10, 'FLOW_CONTROL', 0), row(11, 'SHUTTING_DOWN', 9), row(12, 'IDLE_TIMEOUT', 4),
  row(13, 'CONTROL_FLOOD', 4), row(14, 'WRONG_CLUSTER', 4), row(100, 'AUTH_REQUIRED', 4), row(101, 'AUTH_FAILED', 0),
  row(102, 'FORBIDDEN', 0, 'field'), row(200, 'LOG_NOT_FOUND', 0), row(201, 'LOG_EXISTS', 0, 'log_uid'),
  row(202, 'INVALID_ARGUMENT', 0, 'field'), row(203, 'OFFSET_OUT_OF_RANGE', 0, 'range'), row(204, 'CORRUPT_BATCH', 0),
  row(205, 'BATCH_TOO_LARGE', 0, 'limit'), row(206, 'UNSUPPORTED_COMPRESSION', 0, 'supported'), row(207, 'DATA_LOSS', 8, 'range'),
  row(208, 'CANCELED', 0), row(209, 'POSITION_NOT_FOUND', 0), row(210, 'LOG_CHANGED', 0), row(300, 'OFFSET_MISMATCH', 0, 'next_offset'),
  row(301, 'FENCED', 0, 'fence'), row(302, 'PRODUCER_FENCED', 2), row(303, 'SEQ_GAP', 0, 'expected_seq'), row(304, 'UNKNOWN_PRODUCER', 2),
  row(305, 'STORAGE_FULL', 1), row(306, 'SEQ_REUSED', 0, 'expected_seq'), row(307, 'POSITION_MISMATCH', 0, 'next_offset'),
  row(308, 'LOG_STOPPED', 0), row(400, 'NOT_LEADER', 9), row(401, 'NO_LEADER', 1), row(402, 'TIMEOUT', 3), row(403, 'LEADERSHIP_LOST', 3),
  row(404, 'OVERLOADED', 1), row(405, 'BEHIND', 1, 'range'), row(500, 'INTERNAL', 2),
] as const;

const BY_CODE = new Map<number, ErrorRow>(ERRORS.map((entry) => [entry.code, entry]));
const BY_NAME = new Map<string, ErrorRow>(ERRORS.map((entry) => [entry.name, entry]));

export function errorRow(code: number): ErrorRow | undefined {
  return BY_CODE.get(code);
}
export function errorByName(name: string): ErrorRow {
  const found = BY_NAME.get(name);
  if (found === undefined) throw new Error(`no error is called ${name}`);
  return found;
}
/** `0` is OK; an unlisted code is shown by number. */
export function statusName(code: number): string {
  return code === 0 ? 'OK' : (BY_CODE.get(code)?.name ?? `status ${code}`);
}

export interface ErrorTlvs {
  leader?: { node: string; term: bigint; address: string };
  log_uid?: Buffer;
  fence?: bigint;
  range?: { log_start: bigint; committed_end: bigint };
  expected_seq?: bigint;
  limit?: bigint;
  field?: string;
  supported?: bigint;
  next_offset?: bigint;
}

function exact(value: Buffer, size: number, name: string): Buffer {
  if (value.length !== size) throw new DecodeError(name, `the TLV has ${value.length} bytes, not ${size}`);
  return value;
}
function number(value: Buffer, at: number, name: string): bigint {
  const read = value.readBigUInt64BE(at);
  if (read > U64_MAX) throw new DecodeError(name, `u64 ${read} is above 2^53 − 1`);
  return read;
}

function leader(value: Buffer): NonNullable<ErrorTlvs['leader']> {
  const node = value.readUInt16BE(0);
  const address = value.readUInt16BE(2 + node + 8);
  exact(value, 2 + node + 8 + 2 + address, 'leader');
  return {
    node: value.toString('utf8', 2, 2 + node),
    term: number(value, 2 + node, 'leader'),
    address: value.toString('utf8', 12 + node),
  };
}

/** The known TLVs of an error body or GOAWAY; @throws DecodeError when one has the wrong form. */
export function errorTlvs(tlvs: readonly Tlv[]): ErrorTlvs {
  const out: ErrorTlvs = {};
  for (const { type, value } of tlvs) {
    const name = TLV_TYPES[type & 0x7fff];
    if (name === undefined) continue;
    if (name === 'leader') out.leader = leader(value);
    else if (name === 'log_uid') out.log_uid = exact(value, 16, name);
    else if (name === 'range') {
      exact(value, 16, name);
      out.range = { log_start: number(value, 0, name), committed_end: number(value, 8, name) };
    } else if (name === 'field') out.field = value.toString('utf8');
    else out[name] = number(exact(value, 8, name), 0, name);
  }
  return out;
}
