// Admission: what a leader says to a write, judged against the log including its uncommitted tail, in
// the order of protocol-v1 §4. Before these come authorization, log and log_uid, and the batch's own
// checks. Judging changes nothing; an accepted request is then appended and noted in the overlay.
//
// An answer other than ACCEPT rests on entries that may never commit. So a verdict names the entry to
// wait for: `waitIndex` must be committed before the answer leaves, and if `confirm` is set, leadership
// must have been confirmed after the request came, too (I13). If leadership is lost meanwhile, a refusal
// becomes NOT_LEADER and a duplicate LEADERSHIP_LOST.
import * as batch from '../wire/batch.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { NONE } from '../wire/limits.ts';
import type { Overlay } from './overlay.ts';
import { mut } from '../wire/mut.ts';

/** Verdicts that are not refusals; a refusal is its ErrorCode, which is positive. */
export const Judgment = {
  /** Append it. Nothing was written into the Verdict. */
  ACCEPT: 0,
  /** It is in the log already: OK + DUPLICATE with the offsets and time in the Verdict. */
  DUPLICATE: -1,
  /** OK, and there is nothing to append; the current value is in `detail`. */
  UNCHANGED: -2,
  /** The proposed producer id is taken: draw another one. */
  ID_TAKEN: -3,
} as const;

/** Where a judgment puts its details; made once, used for every request. */
export class Verdict {
  code = 0;
  /** The answer must wait until this entry is committed; 0 = for none. */
  waitIndex = 0;
  /** The answer must wait for a confirmation of leadership that was asked for after the request came. */
  confirm = false;
  /** Staged position updates were judged against: propose them first and wait for that entry instead. */
  flushFirst = false;
  /** fence, expected seq, next offset, position or limit, whatever belongs to `code`. */
  detail = 0;
  /** Of a duplicate: the original's; NONE, NONE and 0 when it has left the window. */
  baseOffset = NONE;
  nextOffset = NONE;
  appendTime = 0;
}

/**
 * Judges the PRODUCE of the checked client batch at buffer[position]. Allocates nothing.
 * Returns a Judgment or UNKNOWN_PRODUCER, SEQ_REUSED, PRODUCER_FENCED, SEQ_GAP, FENCED,
 * OFFSET_MISMATCH or STORAGE_FULL.
 */
export function judgeProduce(
  view: Overlay,
  verdict: Verdict,
  buffer: Buffer,
  position: number,
  fence: number,
  expectedOffset: number,
  hasRoom: boolean,
): number {
  if (batch.producerId(buffer, position) !== 0) {
    const code = judgeProducer(view, verdict, buffer, position);
    if (code !== Judgment.ACCEPT) return code;
  }
  if (fence !== view.fence && !mut('fence-ignored')) return refuse(view, verdict, ErrorCode.FENCED, view.fence);
  if (expectedOffset !== NONE && expectedOffset !== view.nextOffset) {
    return refuse(view, verdict, ErrorCode.OFFSET_MISMATCH, view.nextOffset);
  }
  return hasRoom ? Judgment.ACCEPT : refuseFull(verdict);
}

/** Judges INIT_PRODUCER with a freshly drawn id: a Judgment (ACCEPT, ID_TAKEN) or STORAGE_FULL. */
export function judgeInitProducer(view: Overlay, verdict: Verdict, freshId: number, hasRoom: boolean): number {
  if (freshId === 0 || view.producers.find(freshId) !== null) return settle(verdict, Judgment.ID_TAKEN, 0, 0);
  return hasRoom ? Judgment.ACCEPT : refuseFull(verdict);
}

/** Judges FENCE: ACCEPT raises it, UNCHANGED is the current token again, FENCED a lower one. */
export function judgeFence(view: Overlay, verdict: Verdict, token: number): number {
  if (token > view.fence) return Judgment.ACCEPT;
  if (token < view.fence) return refuse(view, verdict, ErrorCode.FENCED, view.fence);
  return refuse(view, verdict, Judgment.UNCHANGED, token);
}

/** Judges TRIM to `offset`, a batch border ≤ the commit: UNCHANGED (detail = log start) if it was done. */
export function judgeTrim(view: Overlay, verdict: Verdict, offset: number): number {
  if (offset > view.logStart) return Judgment.ACCEPT;
  return refuse(view, verdict, Judgment.UNCHANGED, view.logStart);
}

/**
 * Judges PUT_POSITION (offset NONE deletes; expected NONE = any): ACCEPT, POSITION_MISMATCH,
 * INVALID_ARGUMENT (the limit) or STORAGE_FULL. An accepted one is staged by the caller.
 */
export function judgePutPosition(
  view: Overlay,
  verdict: Verdict,
  name: string,
  offset: number,
  expected: number,
  hasRoom: boolean,
): number {
  const positions = view.positions;
  const current = positions.get(name);
  // A position that does not exist compares as 0.
  const compared = current === NONE ? 0 : current;
  if (expected !== NONE && expected !== compared && !mut('position-set-without-comparing')) {
    return refuseStaged(view, verdict, ErrorCode.POSITION_MISMATCH, compared);
  }
  const limit = view.state.limits.positionsMax;
  if (current === NONE && offset !== NONE && positions.size >= limit) {
    return refuseStaged(view, verdict, ErrorCode.INVALID_ARGUMENT, limit);
  }
  return hasRoom ? Judgment.ACCEPT : refuseFull(verdict);
}

/** What an error answer carries for a refusal of this file. */
export function refusalOptions(code: number, detail: number): ErrorOptions {
  switch (code) {
    case ErrorCode.FENCED:
      return { fence: detail };
    case ErrorCode.SEQ_GAP:
    case ErrorCode.SEQ_REUSED:
      return { expectedSeq: detail };
    case ErrorCode.OFFSET_MISMATCH:
    case ErrorCode.POSITION_MISMATCH:
      return { nextOffset: detail };
    case ErrorCode.INVALID_ARGUMENT:
      return { limit: detail, field: 'name' };
    default:
      return {};
  }
}

/** Producer known → duplicate → epoch → gap. */
function judgeProducer(view: Overlay, verdict: Verdict, buffer: Buffer, position: number): number {
  const producer = view.producers.find(batch.producerId(buffer, position));
  if (producer === null) return refuse(view, verdict, ErrorCode.UNKNOWN_PRODUCER, 0);
  const epoch = batch.producerEpoch(buffer, position);
  const seq = batch.producerSeq(buffer, position);
  const next = producer.nextSeq;
  if (seq < next) {
    const code = judgeEarlier(view, verdict, producer.id, epoch, seq, next, batch.bodyCrc(buffer, position));
    if (code !== Judgment.ACCEPT) return code;
  }
  if (epoch !== producer.epoch) return refuse(view, verdict, ErrorCode.PRODUCER_FENCED, 0);
  if (seq > next) return refuse(view, verdict, ErrorCode.SEQ_GAP, next);
  if (seq === next) return Judgment.ACCEPT;
  if (seq < producer.firstSeq) return refuse(view, verdict, ErrorCode.SEQ_REUSED, next);
  // It has left the window: it was appended once, but nobody knows any more as what.
  const tailIndex = view.producers.findBatch(producer.id, seq);
  duplicate(verdict, tailIndex, NONE, NONE, 0);
  return Judgment.DUPLICATE;
}

/** Looks for (epoch, seq) among the producer's last `window` batches; ACCEPT = it is not there. */
function judgeEarlier(
  view: Overlay,
  verdict: Verdict,
  id: number,
  epoch: number,
  seq: number,
  next: number,
  bodyCrc: number,
): number {
  if (seq < next - view.state.limits.window) return Judgment.ACCEPT;
  const index = view.producers.findBatch(id, seq);
  if (index !== 0) {
    const ring = view.ring;
    if (ring.epoch(index) !== epoch) return Judgment.ACCEPT;
    if (ring.bodyCrc(index) !== bodyCrc) return refuse(view, verdict, ErrorCode.SEQ_REUSED, next);
    const end = ring.nextOffset(index);
    duplicate(verdict, index, end - ring.count(index), end, ring.appendTime(index));
    return Judgment.DUPLICATE;
  }
  const window = view.state.producers.get(id)?.window;
  if (window === undefined || !window.has(seq) || window.epoch(seq) !== epoch) return Judgment.ACCEPT;
  if (window.bodyCrc(seq) !== bodyCrc) return refuse(view, verdict, ErrorCode.SEQ_REUSED, next);
  const base = window.baseOffset(seq);
  duplicate(verdict, 0, base, base + window.count(seq), window.appendTime(seq));
  return Judgment.DUPLICATE;
}

/** An answer that rests on the whole log up to its last entry. */
function refuse(view: Overlay, verdict: Verdict, code: number, detail: number): number {
  settle(verdict, code, mut('refusal-before-its-tail-commits') ? 0 : view.lastIndex, detail);
  verdict.confirm = true;
  return code;
}

/** The same for an answer that rests on the staged positions, too, which are in no entry yet. */
function refuseStaged(view: Overlay, verdict: Verdict, code: number, detail: number): number {
  refuse(view, verdict, code, detail);
  verdict.flushFirst = view.positions.stagedCount > 0;
  return code;
}

/** Room is no part of the log's state: this refusal only keeps its place. */
function refuseFull(verdict: Verdict): number {
  return settle(verdict, ErrorCode.STORAGE_FULL, 0, 0);
}

function duplicate(verdict: Verdict, index: number, base: number, next: number, appendTime: number): void {
  settle(verdict, Judgment.DUPLICATE, mut('duplicate-answered-before-its-commit') ? 0 : index, 0);
  verdict.baseOffset = base;
  verdict.nextOffset = next;
  verdict.appendTime = appendTime;
}

function settle(verdict: Verdict, code: number, waitIndex: number, detail: number): number {
  verdict.code = code;
  verdict.waitIndex = waitIndex;
  verdict.confirm = false;
  verdict.flushFirst = false;
  verdict.detail = detail;
  return code;
}
