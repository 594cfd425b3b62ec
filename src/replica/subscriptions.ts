// One SUBSCRIBE: judged once like a FETCH, then a stream of DELIVERs within the client's credit.
//
// Credit counts batch bytes and may be overdrawn by one batch, so that it cannot deadlock; data is
// read only while the connection wants it, so that a slow reader costs a bounded buffer. Invariant:
// `nextOffset` never skips a record, and at most one read is under way.
import { assert } from '../wire/assert.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { ErrorCode } from '../wire/errors.ts';
import { CREDIT_MAX, NONE, TIMEOUT_MS_DEFAULT } from '../wire/limits.ts';
import { From, Op } from '../wire/ops.ts';
import type { SubscribeRequest } from '../wire/requests-read.ts';
import { ColdError } from '../segment/lookup.ts';
import { writeDeliverHead, writeReadHead } from './answers.ts';
import type { Client, StoredReader } from './client.ts';
import type { Waiting } from './deadlines.ts';
import { NOT_QUEUED } from './deadlines.ts';
import type { LogReplica } from './log-replica.ts';
import { indexToServe, isBeyondEnd, judgeStart, readErrorOptions, specOf, startOf } from './read-start.ts';
import type { ReadSpec } from './read-start.ts';
import { readCachedData, readStoredData } from './reader.ts';
import type { DataRun } from './reader.ts';
import { READ_OVERHEAD_SIZE } from './waits.ts';

/** Batch bytes per DELIVER: large enough for a disk read, small enough to take turns. */
export const DELIVER_BYTES_MAX = 512 * 1024;

/** `after` in SUBSCRIBE waits so long. */
export const SUBSCRIBE_AFTER_MS = TIMEOUT_MS_DEFAULT;

export class Subscription implements Waiting, StoredReader {
  readonly id: number;
  readonly client: Client;
  readonly log: LogReplica;
  readonly deadlineMs: number;
  bucket = NOT_QUEUED;
  wakeBytes = 0;
  ticket = 0;
  done = false;
  reading = false;

  readonly #spec: ReadSpec;
  readonly #uidKnown: boolean;
  /** Granted and not yet delivered, in batch bytes; below 0 when overdrawn. */
  #balance: number;
  /** The SUBSCRIBE was answered. */
  #started = false;
  #waiting = false;
  /** It asks the leader only whether its start really lies beyond the end (I13). */
  #isBeyond = false;
  #nextOffset = NONE;
  #nextIndex = 0;

  constructor(client: Client, log: LogReplica, id: number, request: SubscribeRequest, deadlineMs: number) {
    this.client = client;
    this.log = log;
    this.id = id;
    this.deadlineMs = deadlineMs;
    this.#balance = request.creditBytes;
    this.#spec = specOf(request);
    this.#uidKnown = request.logUid !== undefined;
    if (request.from === From.POSITION) this.ticket = NONE;
  }

  get nextOffset(): number {
    return this.#nextOffset;
  }

  /** Judges it; answers and begins to deliver when it may. */
  advance(): void {
    if (this.done || this.reading) return;
    if (this.#started) return this.pump();
    this.#stopWaiting();
    const { log } = this;
    if (this.#balance > CREDIT_MAX) return this.fail(ErrorCode.FLOW_CONTROL);
    if (log.readRefusal !== 0) return this.fail(log.readRefusal);
    if (this.#spec.from === From.POSITION && log.stateLags) return this.fail(ErrorCode.LOG_STOPPED);
    if (this.#spec.after > log.committedEnd) return this.#wait(1);
    if (this.ticket === NONE) {
      this.ticket = log.group.requestRead();
      if (this.ticket === 0) {
        if (this.#isBeyond) return this.#wait(1);
        return this.fail(ErrorCode.NO_LEADER, { message: log.group.refusalMessage });
      }
    }
    if (this.ticket > log.group.confirmedTicket) return this.#wait(Infinity);
    try {
      const offset = startOf(log, this.#spec, NONE);
      if (offset === NONE) return this.fail(ErrorCode.POSITION_NOT_FOUND);
      const code = judgeStart(log, offset, this.#spec.prevTerm);
      if (isBeyondEnd(log, offset, code) && this.ticket === 0) {
        this.#isBeyond = true;
        this.ticket = NONE;
        return this.advance();
      }
      if (code !== 0) return this.fail(code);
      this.#nextIndex = indexToServe(log, offset);
      this.#start(offset);
    } catch (error) {
      if (!(error instanceof ColdError)) throw error;
      // Where the records lie is known only to a segment whose files are closed.
      this.client.readStored(this, error.load, () => this.advance());
    }
  }

  #start(offset: number): void {
    const { client, log } = this;
    this.#started = true;
    this.#nextOffset = offset;
    const uid = this.#uidKnown ? null : log.uid;
    log.readers.addSubscription(this);
    client.session.reply(
      this.id,
      Op.SUBSCRIBE,
      (w) => writeReadHead(w, offset, log.logStart, log.committedEnd, uid),
      true,
    );
    this.pump();
  }

  /** Delivers while there are records, credit and room in the connection's output. */
  pump(): void {
    const { client, log } = this;
    if (this.done || !this.#started) return;
    // A trim ends it even when it has no credit: it could never go on.
    if (this.#nextOffset < log.logStart) return this.fail(ErrorCode.OFFSET_OUT_OF_RANGE);
    while (!this.done && !this.reading && this.#balance > 0) {
      if (this.#nextOffset >= log.committedEnd) return;
      if (log.readRefusal !== 0) return this.fail(log.readRefusal);
      if (!client.mayRead) return client.lag(this);
      this.#passDeleted();
      assert(this.#nextIndex <= log.commitIndex, 'a record below the end lies in an entry that is committed');
      const bytesMax = Math.min(this.#balance, DELIVER_BYTES_MAX, client.session.peerMaxFrame - READ_OVERHEAD_SIZE);
      const run = readCachedData(log.log, this.#nextIndex, bytesMax, log.commitIndex);
      if (run !== null) {
        this.#deliver(run);
        continue;
      }
      return client.readStored(
        this,
        () => readStoredData(log.log, this.#nextIndex, bytesMax, log.commitIndex),
        (stored) => {
          this.#deliver(stored);
          this.pump();
        },
      );
    }
  }

  /**
   * While it waited at the end nothing but control batches may have come, and their segments gone: the next
   * record lies behind them. Where records themselves are missing it is for the read to say so.
   */
  #passDeleted(): void {
    const { firstIndex, firstOffset } = this.log.log;
    if (this.#nextIndex < firstIndex && this.#nextOffset >= firstOffset) this.#nextIndex = firstIndex;
  }

  readFailed(error: unknown): void {
    if (this.#started && this.#nextOffset < this.log.logStart) return this.fail(ErrorCode.OFFSET_OUT_OF_RANGE);
    if (this.log.readRefusal !== 0) return this.fail(this.log.readRefusal);
    const { code, options } = this.log.readFailure(error);
    this.fail(code, options);
  }

  #deliver(run: DataRun): void {
    const { client, log } = this;
    run.checkStart(this.#nextOffset);
    this.#nextIndex = run.nextIndex;
    if (run.bytes === 0) return;
    this.#nextOffset = run.nextOffset;
    this.#balance -= run.bytes;
    log.countRead(run.bytes);
    client.session.replyWithData(this.id, Op.DELIVER, (w) => writeDeliverHead(w, log.committedEnd), run.buffers, true);
  }

  addCredit(bytes: number): void {
    this.#balance += bytes;
    if (this.#balance > CREDIT_MAX) return this.fail(ErrorCode.FLOW_CONTROL);
    this.pump();
  }

  /** Waits for `after` or a confirmation. */
  #wait(bytes: number): void {
    this.#waiting = true;
    this.wakeBytes = this.log.committedBytes + bytes;
    this.log.readers.addWait(this);
    this.client.deadlines.add(this);
  }

  #stopWaiting(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.log.readers.removeWait(this);
    this.client.deadlines.remove(this);
  }

  expire(): void {
    const isUnsure = this.ticket > this.log.group.confirmedTicket && !this.#isBeyond;
    this.fail(isUnsure ? ErrorCode.TIMEOUT : ErrorCode.BEHIND);
  }

  /** Ends it with an error answer: of the SUBSCRIBE before that was answered, else as last DELIVER. */
  fail(code: ErrorCode, options: ErrorOptions = {}): void {
    if (this.done) return;
    this.drop();
    const op = this.#started ? Op.DELIVER : Op.SUBSCRIBE;
    this.client.fail(this.id, op, code, { ...readErrorOptions(this.log, code), ...options });
  }

  /** Forgets it without an answer: the connection is gone. */
  drop(): void {
    this.#stopWaiting();
    this.done = true;
    this.log.readers.removeSubscription(this);
    this.client.subscriptions.delete(this.id);
  }
}
