// The error table of protocol v1 §6 and the one error class that carries a code of it. Both sides
// use it: the server throws it from decoders and handlers and turns it into an answer, the client
// makes it from an answer. It does no encoding (see error-body.ts).
// Rule: behaviour follows the class bits, never the code, so that a code we do not know is safe.

export const ErrorCode = {
  MALFORMED: 1,
  UNSUPPORTED_VERSION: 2,
  UNKNOWN_OP: 3,
  OP_NOT_ALLOWED: 4,
  FRAME_TOO_LARGE: 5,
  DUPLICATE_ID: 6,
  UNSUPPORTED_FEATURE: 7,
  TLS_REQUIRED: 8,
  TOO_MANY_INFLIGHT: 9,
  FLOW_CONTROL: 10,
  SHUTTING_DOWN: 11,
  IDLE_TIMEOUT: 12,
  CONTROL_FLOOD: 13,
  WRONG_CLUSTER: 14,
  AUTH_REQUIRED: 100,
  AUTH_FAILED: 101,
  FORBIDDEN: 102,
  LOG_NOT_FOUND: 200,
  LOG_EXISTS: 201,
  INVALID_ARGUMENT: 202,
  OFFSET_OUT_OF_RANGE: 203,
  CORRUPT_BATCH: 204,
  BATCH_TOO_LARGE: 205,
  UNSUPPORTED_COMPRESSION: 206,
  DATA_LOSS: 207,
  CANCELED: 208,
  POSITION_NOT_FOUND: 209,
  LOG_CHANGED: 210,
  OFFSET_MISMATCH: 300,
  FENCED: 301,
  PRODUCER_FENCED: 302,
  SEQ_GAP: 303,
  UNKNOWN_PRODUCER: 304,
  STORAGE_FULL: 305,
  SEQ_REUSED: 306,
  POSITION_MISMATCH: 307,
  LOG_STOPPED: 308,
  NOT_LEADER: 400,
  NO_LEADER: 401,
  TIMEOUT: 402,
  LEADERSHIP_LOST: 403,
  OVERLOADED: 404,
  BEHIND: 405,
  INTERNAL: 500,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** The same request may be sent again later. */
export const CLASS_RETRIABLE = 1;
/** The request may have had its effect; without this bit it certainly had none. */
export const CLASS_OUTCOME_UNKNOWN = 2;
/** The connection ends with this error. */
export const CLASS_FATAL = 4;
/** Another node may be able to answer; the leader TLV may say which. */
export const CLASS_REDIRECT = 8;

export interface ErrorKind {
  readonly name: string;
  readonly class: number;
}

const kind = (name: string, classBits: number): ErrorKind => ({ name, class: classBits });
const R = CLASS_RETRIABLE;
const U = CLASS_OUTCOME_UNKNOWN;
const F = CLASS_FATAL;
const D = CLASS_REDIRECT;

/** Name and default class of every code; AUTH_FAILED becomes fatal at the third time. */
export const ERROR_TABLE: ReadonlyMap<number, ErrorKind> = new Map([
  [ErrorCode.MALFORMED, kind('MALFORMED', F)],
  [ErrorCode.UNSUPPORTED_VERSION, kind('UNSUPPORTED_VERSION', F)],
  [ErrorCode.UNKNOWN_OP, kind('UNKNOWN_OP', 0)],
  [ErrorCode.OP_NOT_ALLOWED, kind('OP_NOT_ALLOWED', F)],
  [ErrorCode.FRAME_TOO_LARGE, kind('FRAME_TOO_LARGE', F)],
  [ErrorCode.DUPLICATE_ID, kind('DUPLICATE_ID', F)],
  [ErrorCode.UNSUPPORTED_FEATURE, kind('UNSUPPORTED_FEATURE', 0)],
  [ErrorCode.TLS_REQUIRED, kind('TLS_REQUIRED', F)],
  [ErrorCode.TOO_MANY_INFLIGHT, kind('TOO_MANY_INFLIGHT', R)],
  [ErrorCode.FLOW_CONTROL, kind('FLOW_CONTROL', 0)],
  [ErrorCode.SHUTTING_DOWN, kind('SHUTTING_DOWN', R | D)],
  [ErrorCode.IDLE_TIMEOUT, kind('IDLE_TIMEOUT', F)],
  [ErrorCode.CONTROL_FLOOD, kind('CONTROL_FLOOD', F)],
  [ErrorCode.WRONG_CLUSTER, kind('WRONG_CLUSTER', F)],
  [ErrorCode.AUTH_REQUIRED, kind('AUTH_REQUIRED', F)],
  [ErrorCode.AUTH_FAILED, kind('AUTH_FAILED', 0)],
  [ErrorCode.FORBIDDEN, kind('FORBIDDEN', 0)],
  [ErrorCode.LOG_NOT_FOUND, kind('LOG_NOT_FOUND', 0)],
  [ErrorCode.LOG_EXISTS, kind('LOG_EXISTS', 0)],
  [ErrorCode.INVALID_ARGUMENT, kind('INVALID_ARGUMENT', 0)],
  [ErrorCode.OFFSET_OUT_OF_RANGE, kind('OFFSET_OUT_OF_RANGE', 0)],
  [ErrorCode.CORRUPT_BATCH, kind('CORRUPT_BATCH', 0)],
  [ErrorCode.BATCH_TOO_LARGE, kind('BATCH_TOO_LARGE', 0)],
  [ErrorCode.UNSUPPORTED_COMPRESSION, kind('UNSUPPORTED_COMPRESSION', 0)],
  [ErrorCode.DATA_LOSS, kind('DATA_LOSS', D)],
  [ErrorCode.CANCELED, kind('CANCELED', 0)],
  [ErrorCode.POSITION_NOT_FOUND, kind('POSITION_NOT_FOUND', 0)],
  [ErrorCode.LOG_CHANGED, kind('LOG_CHANGED', 0)],
  [ErrorCode.OFFSET_MISMATCH, kind('OFFSET_MISMATCH', 0)],
  [ErrorCode.FENCED, kind('FENCED', 0)],
  [ErrorCode.PRODUCER_FENCED, kind('PRODUCER_FENCED', U)],
  [ErrorCode.SEQ_GAP, kind('SEQ_GAP', 0)],
  [ErrorCode.UNKNOWN_PRODUCER, kind('UNKNOWN_PRODUCER', U)],
  [ErrorCode.STORAGE_FULL, kind('STORAGE_FULL', R)],
  [ErrorCode.SEQ_REUSED, kind('SEQ_REUSED', 0)],
  [ErrorCode.POSITION_MISMATCH, kind('POSITION_MISMATCH', 0)],
  [ErrorCode.LOG_STOPPED, kind('LOG_STOPPED', 0)],
  [ErrorCode.NOT_LEADER, kind('NOT_LEADER', R | D)],
  [ErrorCode.NO_LEADER, kind('NO_LEADER', R)],
  [ErrorCode.TIMEOUT, kind('TIMEOUT', R | U)],
  [ErrorCode.LEADERSHIP_LOST, kind('LEADERSHIP_LOST', R | U)],
  [ErrorCode.OVERLOADED, kind('OVERLOADED', R)],
  [ErrorCode.BEHIND, kind('BEHIND', R)],
  [ErrorCode.INTERNAL, kind('INTERNAL', U)],
]);

/** Default class bits of a code; 0 for one we do not know. */
export function errorClass(code: number): number {
  return ERROR_TABLE.get(code)?.class ?? 0;
}

/** Name of a code; `ERROR_n` for one we do not know. */
export function errorName(code: number): string {
  return ERROR_TABLE.get(code)?.name ?? `ERROR_${code}`;
}

export interface LeaderHint {
  node: string;
  term: number;
  /** Advertised client address, `host:port`. */
  address: string;
}

/** What an error carries besides its code: the TLVs of §6, each absent unless sent. */
export interface ErrorDetail {
  leader?: LeaderHint | undefined;
  logUid?: Buffer | undefined;
  fence?: number | undefined;
  range?: { logStart: number; committedEnd: number } | undefined;
  expectedSeq?: number | undefined;
  limit?: number | undefined;
  /** Wire name (snake_case) of the field at fault. */
  field?: string | undefined;
  /** Bit mask of what is supported. */
  supported?: number | undefined;
  nextOffset?: number | undefined;
}

export interface ErrorOptions extends ErrorDetail {
  message?: string | undefined;
  retryAfterMs?: number | undefined;
  /** Class bits when they differ from the table's. */
  class?: number | undefined;
  cause?: unknown;
}

/** An answer of the protocol other than OK. `name` is the code's name in capitals. */
export class ProtocolError extends Error {
  readonly code: ErrorCode;
  readonly class: number;
  readonly retryAfterMs: number;
  readonly detail: ErrorDetail;

  constructor(code: number, options: ErrorOptions = {}) {
    const { message, retryAfterMs = 0, class: classBits, cause, ...detail } = options;
    super(message || describe(code, detail), cause === undefined ? undefined : { cause });
    this.code = code as ErrorCode;
    this.name = errorName(code);
    this.class = classBits ?? errorClass(code);
    this.retryAfterMs = retryAfterMs;
    this.detail = detail;
  }

  /** The same request may be sent again (if the outcome is unknown: only when it is idempotent). */
  get retriable(): boolean {
    return (this.class & CLASS_RETRIABLE) !== 0;
  }

  /** The request may have had its effect; false means that it certainly had none. */
  get outcomeUnknown(): boolean {
    return (this.class & CLASS_OUTCOME_UNKNOWN) !== 0;
  }

  /** The connection ended with this error. */
  get fatal(): boolean {
    return (this.class & CLASS_FATAL) !== 0;
  }
}

function describe(code: number, detail: ErrorDetail): string {
  const parts = [errorName(code)];
  if (detail.field !== undefined) parts.push(`field ${detail.field}`);
  if (detail.limit !== undefined) parts.push(`limit ${detail.limit}`);
  if (detail.range !== undefined) parts.push(`range ${detail.range.logStart}..${detail.range.committedEnd}`);
  if (detail.nextOffset !== undefined) parts.push(`next offset ${detail.nextOffset}`);
  if (detail.fence !== undefined) parts.push(`fence ${detail.fence}`);
  if (detail.expectedSeq !== undefined) parts.push(`expected seq ${detail.expectedSeq}`);
  if (detail.leader !== undefined) parts.push(`leader ${detail.leader.node}`);
  return parts.join(', ');
}

/** A field that is missing, out of range or not understood; `field` is its wire name. */
export class FieldError extends ProtocolError {
  readonly field: string;
  readonly limit: number | undefined;

  constructor(field: string, code: number = ErrorCode.INVALID_ARGUMENT, options: ErrorOptions = {}) {
    super(code, { ...options, field });
    this.field = field;
    this.limit = options.limit;
  }
}
