// One FETCH, from its first judgment to its answer: it may wait for records, for the client to take
// what is already queued, or for the disk, and is judged again after each wait (protocol-v1 "Reading").
//
// Invariant: it is in exactly one place at a time (judged now, waiting at the log, stalled at the
// client, reading, done), and is answered exactly once unless the connection is gone.
import type { ErrorOptions } from '../wire/errors.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { FetchRequest } from '../wire/requests-read.ts';
import { FETCH_LINEARIZABLE, From, Op } from '../wire/ops.ts';
import { NONE, TIMEOUT_MS_MAX } from '../wire/limits.ts';
import { ColdError } from '../segment/lookup.ts';
import { writeReadHead } from './answers.ts';
import type { Client, StoredReader } from './client.ts';
import type { Waiting } from './deadlines.ts';
import { NOT_QUEUED } from './deadlines.ts';
import type { LogReplica } from './log-replica.ts';
import { indexToServe, isBeyondEnd, judgeStart, readErrorOptions, specOf, startOf } from './read-start.ts';
import type { ReadSpec } from './read-start.ts';
import { readCachedData, readStoredData } from './reader.ts';
import type { DataRun } from './reader.ts';

/** Batch bytes in one FETCH answer, whatever its max_bytes: it bounds what a connection may pin. */
export const FETCH_BYTES_MAX = 4 * 1024 * 1024;

/** So long a linearizable FETCH waits for the leader's word, also when it is to wait for records less long. */
const CONFIRM_MS = 1_000;

/** Frame header and head fields of an answer that carries data, with room to spare. */
export const READ_OVERHEAD_SIZE = 128;

export class Fetch implements Waiting, StoredReader {
  readonly id: number;
  readonly client: Client;
  readonly log: LogReplica;
  bucket = NOT_QUEUED;
  /** `log.committedBytes` at which a waiting one is judged again. */
  wakeBytes = 0;
  /** Ticket of a linearizable read that is not confirmed yet; 0 = none. */
  ticket = 0;
  done = false;
  reading = false;

  readonly #deadlineMs: number;
  readonly #confirmByMs: number;
  readonly #spec: ReadSpec;
  readonly #bytesMin: number;
  readonly #bytesMax: number;
  readonly #uidKnown: boolean;
  /** It asks the leader only whether its start really lies beyond the end (I13). */
  #isBeyond = false;
  /** Answer with what there is: the wait is over, or the connection is ending. */
  #final = false;
  #waiting = false;
  #waitCounted = false;
  #startOffset = NONE;

  /** `nowMs`: monotonic, when it came. */
  constructor(client: Client, log: LogReplica, id: number, request: FetchRequest, nowMs: number) {
    this.client = client;
    this.log = log;
    this.id = id;
    this.#deadlineMs = nowMs + Math.min(request.maxWaitMs, TIMEOUT_MS_MAX);
    this.#confirmByMs = Math.max(this.#deadlineMs, nowMs + CONFIRM_MS);
    this.#spec = specOf(request);
    this.#bytesMax = Math.min(request.maxBytes, FETCH_BYTES_MAX, client.session.peerMaxFrame - READ_OVERHEAD_SIZE);
    this.#bytesMin = Math.max(1, Math.min(request.minBytes, this.#bytesMax));
    this.#uidKnown = request.logUid !== undefined;
    this.#final = request.maxWaitMs === 0;
    if ((request.flags & FETCH_LINEARIZABLE) !== 0 || request.from === From.POSITION) this.ticket = NONE;
  }

  /** Asking the leader is not the wait that the client bounds: it would never end in time with a max_wait_ms of 0. */
  get deadlineMs(): number {
    const isAsking = this.ticket > this.log.group.confirmedTicket && !this.#isBeyond;
    return isAsking ? this.#confirmByMs : this.#deadlineMs;
  }

  /** Judges it and goes as far as it can now. */
  advance(): void {
    if (this.done || this.reading) return;
    this.#stopWaiting();
    const { log } = this;
    if (log.readRefusal !== 0) return this.fail(log.readRefusal);
    if (this.#spec.from === From.POSITION && log.stateLags) return this.fail(ErrorCode.LOG_STOPPED);
    if (this.#spec.after > log.committedEnd) {
      return this.#final ? this.fail(ErrorCode.BEHIND) : this.#wait(1);
    }
    if (this.ticket === NONE) {
      this.ticket = log.group.requestRead();
      if (this.ticket === 0) return this.#nobodyToAsk();
    }
    if (this.ticket > log.group.confirmedTicket) return this.#wait(Infinity);

    try {
      this.#judge();
    } catch (error) {
      if (!(error instanceof ColdError)) throw error;
      // Where the records lie is known only to a segment whose files are closed.
      this.client.readStored(this, error.load, () => this.advance());
    }
  }

  #judge(): void {
    const { log } = this;
    const offset = startOf(log, this.#spec, this.#startOffset);
    if (offset === NONE) return this.fail(ErrorCode.POSITION_NOT_FOUND);
    this.#startOffset = offset;
    const code = judgeStart(log, offset, this.#spec.prevTerm);
    if (isBeyondEnd(log, offset, code) && this.ticket === 0) return this.#askLeader();
    if (code !== 0) return this.fail(code);
    if (offset === log.committedEnd) {
      return this.#final || this.client.session.draining ? this.#answer(null) : this.#wait(this.#bytesMin);
    }
    if (!this.client.mayRead) return this.client.stall(this);
    const index = indexToServe(log, offset);
    const run = readCachedData(log.log, index, this.#bytesMax, log.commitIndex);
    if (run !== null) return this.#take(run);
    this.client.readStored(
      this,
      () => readStoredData(log.log, index, this.#bytesMax, log.commitIndex),
      (stored) => this.#take(stored),
    );
  }

  #askLeader(): void {
    this.#isBeyond = true;
    this.ticket = NONE;
    this.advance();
  }

  /** Whoever asked for an offset may have got it from a leader that this node cannot hear now. */
  #nobodyToAsk(): void {
    if (!this.#isBeyond) return this.fail(ErrorCode.NO_LEADER, { message: this.log.group.refusalMessage });
    if (this.#final) return this.fail(ErrorCode.BEHIND);
    this.#wait(1);
  }

  #take(run: DataRun): void {
    run.checkStart(this.#startOffset);
    const atEnd = run.bytes === 0 || run.nextOffset >= this.log.committedEnd;
    if (atEnd && run.bytes < this.#bytesMin && !this.#final && !this.client.session.draining) {
      return this.#wait(this.#bytesMin - run.bytes);
    }
    this.#answer(run);
  }

  readFailed(error: unknown): void {
    // A trim may have overtaken the read: then the range judgment says so.
    if (this.#startOffset < this.log.logStart || this.log.readRefusal !== 0) return this.advance();
    const { code, options } = this.log.readFailure(error);
    this.fail(code, options);
  }

  /** Waits until `bytes` more were committed (Infinity: for a confirmation), or the deadline. */
  #wait(bytes: number): void {
    const { client, log } = this;
    if (client.session.draining && !this.#final) {
      this.#final = true;
      return this.advance();
    }
    if (!this.#waitCounted && !client.session.toWaiting(this.id, 'fetch')) {
      return this.fail(ErrorCode.TOO_MANY_INFLIGHT, { limit: client.waitsMax });
    }
    this.#waitCounted = true;
    this.#waiting = true;
    this.wakeBytes = log.committedBytes + bytes;
    log.readers.addWait(this);
    client.deadlines.add(this);
  }

  #stopWaiting(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.log.readers.removeWait(this);
    this.client.deadlines.remove(this);
  }

  /** The deadline passed, or the connection is ending: answer with what there is. */
  expire(): void {
    this.#final = true;
    if (this.ticket > this.log.group.confirmedTicket) return this.fail(this.#isBeyond ? ErrorCode.BEHIND : ErrorCode.TIMEOUT);
    this.advance();
  }

  /** Do not wait any more, but answer: the peer has closed its sending side. */
  hurry(): void {
    this.#final = true;
  }

  get waiting(): boolean {
    return this.#waiting;
  }

  /** Forgets it without an answer: the connection is gone. */
  drop(): void {
    this.#stopWaiting();
    this.#finish();
  }

  fail(code: ErrorCode, options: ErrorOptions = {}): void {
    this.#stopWaiting();
    this.#finish();
    this.client.fail(this.id, Op.FETCH, code, { ...readErrorOptions(this.log, code), ...options });
  }

  #answer(run: DataRun | null): void {
    const { client, log } = this;
    this.#finish();
    const start = this.#startOffset;
    const uid = this.#uidKnown ? null : log.uid;
    log.countRead(run === null ? 0 : run.bytes);
    client.session.replyWithData(
      this.id,
      Op.FETCH,
      (w) => writeReadHead(w, start, log.logStart, log.committedEnd, uid),
      run === null ? [] : run.buffers,
      false,
    );
  }

  #finish(): void {
    this.done = true;
    this.client.fetches.delete(this.id);
  }
}
