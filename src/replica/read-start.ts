// Where a read starts and whether it may: the judgments that FETCH and SUBSCRIBE share (protocol-v1
// "Reading"), in the order where it starts → range → prev_term. Pure questions to one log; waiting,
// `after` and the bytes are the callers' affair. What lies in a segment whose files are closed raises
// ColdError: the caller waits for its `load` and asks again.
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { NONE } from '../wire/limits.ts';
import { From } from '../wire/ops.ts';
import type { FetchRequest, SubscribeRequest } from '../wire/requests-read.ts';
import type { SegmentedLog } from '../segment/log.ts';
import type { LogReplica } from './log-replica.ts';

/** What a request says about its start. */
export interface ReadSpec {
  readonly from: From;
  /** Offset or time, as `from` says. */
  readonly value: number;
  readonly positionName: string;
  /** NONE = not given. */
  readonly after: number;
  /** NONE = not given. */
  readonly prevTerm: number;
}

export function specOf({ from, value, positionName, after, prevTerm }: FetchRequest | SubscribeRequest): ReadSpec {
  return { from, value, positionName, after: after ?? NONE, prevTerm: prevTerm ?? NONE };
}

/**
 * The offset that the read starts at now, or −1 when the named position does not exist. `pinned` is
 * what an earlier call found: "next" means the end at the first judgment, not at each.
 */
export function startOf(log: LogReplica, spec: ReadSpec, pinned: number): number {
  switch (spec.from) {
    case From.EARLIEST:
      return log.logStart;
    case From.NEXT:
      return pinned === NONE ? log.committedEnd : pinned;
    case From.TIME:
      return offsetOfTime(log, spec.value);
    case From.POSITION:
      return log.state.positions.get(spec.positionName)?.offset ?? NONE;
    default:
      return spec.value;
  }
}

/** The first record of the first batch with append_time ≥ `timeMs`; committed_end when there is none. */
export function offsetOfTime(log: LogReplica, timeMs: number): number {
  // It may be among those that are lost: whoever reads from there is told so.
  if (lostBelow(log) > log.logStart && timeMs <= log.log.appendTimeBefore) return log.logStart;
  const index = log.log.firstIndexAtTime(timeMs);
  if (index > log.commitIndex) return log.committedEnd;
  const offset = log.log.offsetAtIndex(index);
  return Math.min(Math.max(offset, log.logStart), log.committedEnd);
}

/**
 * The records from the log's start up to this offset are lost with their segment files; the log's start when
 * none are. (Trimming moves the start first and deletes files afterwards, never the other way round.)
 */
export function lostBelow(log: LogReplica): number {
  return Math.max(log.logStart, log.log.firstOffset);
}

/** 0, OFFSET_OUT_OF_RANGE, DATA_LOSS or LOG_CHANGED for a read from `offset` on. */
export function judgeStart(log: LogReplica, offset: number, prevTerm: number): ErrorCode | 0 {
  if (offset < log.logStart || offset > log.committedEnd) return ErrorCode.OFFSET_OUT_OF_RANGE;
  const readable = lostBelow(log);
  if (offset < readable) return ErrorCode.DATA_LOSS;
  // The batch before that is gone, whether or not its file still is there.
  if (prevTerm === NONE || offset <= readable) return 0;
  const term = log.log.termAt(log.log.indexOfOffset(offset - 1));
  return term === prevTerm ? 0 : ErrorCode.LOG_CHANGED;
}

/**
 * Whether `code` says that `offset` is too high: that is true only as of the leader's state, and a follower,
 * or a leader that was replaced without knowing it, asks before it says so.
 */
export function isBeyondEnd(log: LogReplica, offset: number, code: ErrorCode | 0): boolean {
  return code === ErrorCode.OFFSET_OUT_OF_RANGE && offset > log.committedEnd;
}

/** What an error of a read carries. */
export function readErrorOptions(log: LogReplica, code: ErrorCode): ErrorOptions {
  switch (code) {
    case ErrorCode.OFFSET_OUT_OF_RANGE:
    case ErrorCode.LOG_CHANGED:
    case ErrorCode.BEHIND:
      return { range: { logStart: log.logStart, committedEnd: log.committedEnd } };
    case ErrorCode.DATA_LOSS:
      return { range: { logStart: log.logStart, committedEnd: lostBelow(log) }, message: 'the segment files of these records are missing' };
    default:
      return {};
  }
}

/**
 * Index of the entry that holds the record `offset`, for a reader; of the next one to be committed at the end:
 * what follows there now may be cut off, and others may come that hold it earlier. Where batches are lost their
 * borders are unknown, and the search by offset ends behind them: no committed record lies above the commit index.
 */
export function indexToServe(log: LogReplica, offset: number): number {
  return offset < log.committedEnd ? Math.min(indexToRead(log.log, offset), log.commitIndex) : log.commitIndex + 1;
}

/** Index of the batch that holds the record `offset`, or of the one that will: lastIndex + 1. */
export function indexToRead(log: SegmentedLog, offset: number): number {
  if (log.lastIndex < log.firstIndex) return log.firstIndex;
  const index = log.indexOfOffset(offset);
  const end = index === log.lastIndex ? log.nextOffset : log.offsetAtIndex(index + 1);
  return offset < end ? index : index + 1;
}
