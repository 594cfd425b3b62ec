// Answers to writes that waited in a log's ring, apart from the PRODUCE acks (log-replica.ts): what
// each kind of request is told when its entry committed, failed, or took too long.
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { Op } from '../wire/ops.ts';
import { fenceResponse, initProducerResponse, putPositionResponse } from '../wire/responses-data.ts';
import { trimResponse } from '../wire/responses-admin.ts';
import type { Session } from '../wire/session/ports.ts';
import { refusalOptions } from './judge.ts';
import type { LogReplica } from './log-replica.ts';
import type { PendingRing } from './pending.ts';

/** What waits in the ring. Of each: the numbers `a`, `b`, `c`, `code` and `extra` of its slot. */
export const PendingKind = {
  /** a, b: offsets; c: append_time; extra: log_uid to send, or null. */
  PRODUCE: 0,
  /** The same for a batch that was there already; code: the answer's flags. */
  DUPLICATE: 1,
  /** Rests on state. code: error; a: detail; b: op. */
  REFUSAL: 2,
  /** Keeps its place only. code: error; a: detail; b: op; extra: field or null. */
  PLAIN_REFUSAL: 3,
  /** a: producer id; b: epoch; c: next seq; extra: log_uid or null. */
  INIT_PRODUCER: 4,
  /** a: token; b: next offset; extra: log_uid or null. */
  FENCE: 5,
  /** a: log start. */
  TRIM: 6,
  /** a: offset or NONE. */
  PUT_POSITION: 7,
} as const;
export type PendingKind = (typeof PendingKind)[keyof typeof PendingKind];

/** Answers the request in `slot`, whose entry is committed or has failed. */
export function answerWrite(log: LogReplica, ring: PendingRing<Session>, slot: number): void {
  const kind = ring.kind(slot);
  const session = ring.session(slot);
  const id = ring.id(slot);
  const failure = ring.failure(slot);
  const op = opOf(ring, slot);
  if (failure !== 0) return sendError(log, session, id, op, failureCode(log, kind, failure), 0, null);
  const a = ring.a(slot);
  const uid = (ring.extra(slot) as Buffer | null) ?? undefined;
  switch (kind) {
    case PendingKind.REFUSAL:
      return sendError(log, session, id, op, ring.code(slot), a, null);
    case PendingKind.PLAIN_REFUSAL:
      return sendError(log, session, id, op, ring.code(slot), a, ring.extra(slot) as string | null);
    case PendingKind.INIT_PRODUCER: {
      const answer = { producerId: a, epoch: ring.b(slot), nextSeq: ring.c(slot), window: log.state.limits.window, logUid: uid };
      return session.reply(id, op, (w) => initProducerResponse.write(w, answer));
    }
    case PendingKind.FENCE: {
      const answer = { token: a, nextOffset: ring.b(slot), logUid: uid };
      return session.reply(id, op, (w) => fenceResponse.write(w, answer));
    }
    case PendingKind.TRIM:
      return session.reply(id, op, (w) => trimResponse.write(w, { logStart: a }));
    case PendingKind.PUT_POSITION:
      return session.reply(id, op, (w) => putPositionResponse.write(w, { offset: a }));
  }
}

/** Answers the request in `slot`, whose deadline came before its entry was committed. */
export function expireWrite(log: LogReplica, ring: PendingRing<Session>, slot: number): void {
  const session = ring.session(slot);
  const id = ring.id(slot);
  // A refusal that only kept its place is as true now as later.
  const plain = ring.kind(slot) === PendingKind.PLAIN_REFUSAL;
  const code = plain ? ring.code(slot) : ErrorCode.TIMEOUT;
  sendError(log, session, id, opOf(ring, slot), code, ring.a(slot), plain ? (ring.extra(slot) as string | null) : null);
}

/**
 * Why a request ends that waited for an entry which is lost. A refusal rested on entries that may be
 * gone, and had no effect: whoever asks again is told what holds then. A duplicate's original may
 * survive elsewhere: unknown.
 */
function failureCode(log: LogReplica, kind: number, failure: number): number {
  if (kind === PendingKind.DUPLICATE) return ErrorCode.LEADERSHIP_LOST;
  if (kind !== PendingKind.REFUSAL || failure === ErrorCode.STORAGE_FULL) return failure;
  return log.group.refusal === ErrorCode.LOG_STOPPED ? ErrorCode.LOG_STOPPED : ErrorCode.NOT_LEADER;
}

function sendError(log: LogReplica, session: Session, id: number, op: Op, code: number, detail: number, field: string | null): void {
  log.countError(code);
  session.error(id, op, code as ErrorCode, writeErrorOptions(log, code, detail, field));
}

/** Message and TLVs of a write's error. */
export function writeErrorOptions(log: LogReplica, code: number, detail: number, field: string | null): ErrorOptions {
  switch (code) {
    case ErrorCode.LOG_CHANGED:
      return { logUid: log.uid, message: 'a log with another log_uid has this name now' };
    case ErrorCode.BATCH_TOO_LARGE:
      return { limit: detail };
    case ErrorCode.UNSUPPORTED_COMPRESSION:
      return { supported: detail };
    case ErrorCode.STORAGE_FULL:
      return { retryAfterMs: 1000, message: 'the disk is nearly full' };
    case ErrorCode.LOG_STOPPED:
    case ErrorCode.NO_LEADER:
    case ErrorCode.NOT_LEADER:
      return { message: log.group.refusalMessage };
    default:
      return field === null ? refusalOptions(code, detail) : { field };
  }
}

function opOf(ring: PendingRing<Session>, slot: number): Op {
  switch (ring.kind(slot)) {
    case PendingKind.REFUSAL:
    case PendingKind.PLAIN_REFUSAL:
      return ring.b(slot) as Op;
    case PendingKind.INIT_PRODUCER:
      return Op.INIT_PRODUCER;
    case PendingKind.FENCE:
      return Op.FENCE;
    case PendingKind.TRIM:
      return Op.TRIM;
    case PendingKind.PUT_POSITION:
      return Op.PUT_POSITION;
    default:
      return Op.PRODUCE;
  }
}
