// A subscription as an application uses it: an async iterable that goes on over lost connections.
// It asks for what comes after the last batch it has, with the term of that batch, so a server with
// another history answers LOG_CHANGED instead of continuing it.
import { Reader } from '../bytes.ts';
import { readErrorBody } from '../error-body.ts';
import { ProtocolError } from '../errors.ts';
import type { FrameReader } from '../frame.ts';
import { Op } from '../ops.ts';
import { subscribeRequest } from '../requests-read.ts';
import { cancelRequest, creditRequest } from '../requests-session.ts';
import { deliver, subscribeResponse } from '../responses-data.ts';
import { Backoff } from './backoff.ts';
import type { BatchSpan } from './batches.ts';
import { LocalCode, LocalError } from './errors.ts';
import type { Link, LinkListener } from './link.ts';
import type { ClientMachine } from './machine.ts';
import type { AnswerSink } from './pending.ts';
import { parseUid } from './pins.ts';
import type { LogPins } from './pins.ts';
import { checkNumber, readStart } from './read-start.ts';
import { SubscriptionState } from './subscription-state.ts';
import type { LogRecord, SubscribeOptions } from './types.ts';

const CREDIT_DEFAULT = 4 * 1024 * 1024;
/** Half of what the protocol allows, so that a batch that overdraws can be given back at once. */
const CREDIT_MAX = 2 ** 30;
const RETRY_MIN_MS = 25;
const RETRY_MAX_MS = 2_000;

/**
 * Records of a log as they come. Iterate it once, by records or by `chunks()`; leaving the loop closes
 * it. The iteration ends when `close()` was called, and throws a SidelogError when it cannot go on:
 * LOG_NOT_FOUND, LOG_CHANGED, OFFSET_OUT_OF_RANGE (trimmed away), CORRUPT_BATCH, FORBIDDEN …
 */
export class Subscription implements AsyncIterable<LogRecord> {
  readonly log: string;
  /** Offset of the first record; −1 until the server has answered. */
  startOffset = -1;
  /** Offset after the last record handed out; −1 until the server has answered. */
  nextOffset = -1;
  /** Term of the last record handed out; undefined before the first. */
  lastTerm: number | undefined;
  /** End of the log as last heard; −1 until the server has answered. */
  committedEnd = -1;

  private readonly link: Link;
  private readonly pins: LogPins;
  private readonly options: SubscribeOptions;
  private readonly state: SubscriptionState;
  private readonly backoff: Backoff;
  private uid: Buffer | undefined;
  /** Where the subscription is open, and under which id. */
  private machine: ClientMachine | null = null;
  private id = 0;
  private retryTimer: NodeJS.Timeout | null = null;
  /** Why no more batches will come. */
  private ending: ProtocolError | 'closed' | null = null;
  private wake: (() => void) | null = null;
  /** Records of a batch that next() has begun to hand out. */
  private chunk: LogRecord[] = [];
  private chunkNext = 0;
  private isClaimed = false;
  /** Calls of next() that wait, one behind the other. */
  private waitingNexts = 0;
  private lastNext: Promise<unknown> = Promise.resolve();

  constructor(link: Link, pins: LogPins, log: string, options: SubscribeOptions) {
    this.link = link;
    this.pins = pins;
    this.log = log;
    this.options = options;
    this.uid = options.logUid === undefined ? pins.get(log) : parseUid(options.logUid);
    const credit = Math.max(1, checkNumber('creditBytes', options.creditBytes ?? CREDIT_DEFAULT, CREDIT_MAX));
    this.state = new SubscriptionState(readStart(options.from), credit, options.prevTerm ?? -1);
    this.backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, link.random);
    this.subscribe();
  }

  /** Uid (hex) of the log; undefined until the server has answered. */
  get logUid(): string | undefined {
    return this.uid?.toString('hex');
  }

  /** Records that are here and can be taken without waiting, not counting batches that wait unopened. */
  get bufferedRecords(): number {
    return this.chunk.length - this.chunkNext + this.state.waitingBatches;
  }

  [Symbol.asyncIterator](): AsyncIterator<LogRecord, undefined> {
    this.claim();
    return {
      next: () => {
        const isHere = this.waitingNexts === 0 && this.chunkNext < this.chunk.length;
        if (isHere) return Promise.resolve({ done: false, value: this.chunk[this.chunkNext++]! });
        return this.inTurn(() => this.nextRecord());
      },
      return: () => this.leave(),
    };
  }

  /** The records of one batch at a time, which is faster than one by one. */
  chunks(): AsyncIterable<LogRecord[]> {
    this.claim();
    const next = async (): Promise<IteratorResult<LogRecord[], undefined>> => {
      const chunk = await this.nextChunk();
      return chunk === null ? { done: true, value: undefined } : { done: false, value: chunk };
    };
    return { [Symbol.asyncIterator]: () => ({ next: () => this.inTurn(next), return: () => this.leave() }) };
  }

  /** Ends the subscription and the iteration of it. */
  close(): void {
    this.end('closed');
  }

  private claim(): void {
    if (this.isClaimed) throw new TypeError('a subscription can be iterated once');
    this.isClaimed = true;
  }

  /** next() may be called again before the last one's promise is settled: then they queue up. */
  private inTurn<T>(step: () => Promise<T>): Promise<T> {
    this.waitingNexts += 1;
    const done = (): void => {
      this.waitingNexts -= 1;
    };
    const result = this.waitingNexts === 1 ? step() : this.lastNext.then(step);
    this.lastNext = result.then(done, done);
    return result;
  }

  private async nextRecord(): Promise<IteratorResult<LogRecord, undefined>> {
    while (this.chunkNext === this.chunk.length) {
      const chunk = await this.nextChunk();
      if (chunk === null) return { done: true, value: undefined };
      this.chunk = chunk;
      this.chunkNext = 0;
    }
    return { done: false, value: this.chunk[this.chunkNext++]! };
  }

  private leave(): Promise<{ done: true; value: undefined }> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** The records of the next batch that has some; null at the end. */
  private async nextChunk(): Promise<LogRecord[] | null> {
    for (;;) {
      if (this.ending === 'closed') return null;
      const span = this.state.take();
      if (span === null) {
        if (this.ending !== null) throw this.ending;
        await new Promise<void>((resolve) => (this.wake = resolve));
        continue;
      }
      this.giveCredit();
      const records = await this.open(span);
      this.nextOffset = span.nextOffset;
      this.lastTerm = span.term;
      if (records.length > 0) return records;
    }
  }

  private async open(span: BatchSpan): Promise<LogRecord[]> {
    try {
      const records = span.records();
      return records instanceof Promise ? await records : records;
    } catch (error) {
      const { onBadBatch } = this.options;
      if (onBadBatch === undefined || !(error instanceof ProtocolError)) {
        this.end('closed');
        throw error;
      }
      onBadBatch(error, span.baseOffset, span.nextOffset);
      return [];
    }
  }

  private giveCredit(): void {
    const { machine } = this;
    if (machine === null) return;
    const addBytes = this.state.creditDue();
    if (addBytes > 0) machine.about(Op.CREDIT, this.id, (w) => creditRequest.write(w, { addBytes }));
  }

  private subscribe(): void {
    this.retryTimer = null;
    if (this.ending !== null) return;
    if (this.link.isClosed) return this.end(new LocalError(LocalCode.CLIENT_CLOSED, 'the client was closed', 'none'));
    const machine = this.link.machine;
    if (machine === null) return this.link.add(this.listener);
    this.link.remove(this.listener);
    this.machine = machine;
    const { state, options } = this;
    const hasResumed = state.receivedEnd >= 0;
    this.id = machine.request(Op.SUBSCRIBE, this.sink, 0, (w) =>
      subscribeRequest.write(
        w,
        {
          log: this.log,
          ...state.startNow(),
          creditBytes: state.firstCredit(),
          after: hasResumed ? undefined : options.after,
          logUid: this.uid,
          prevTerm: state.receivedTerm < 0 ? undefined : state.receivedTerm,
        },
        machine.grease(),
      ),
    );
  }

  private readonly listener: LinkListener = {
    linkReady: () => this.subscribe(),
    linkFailed: (error) => this.end(error),
  };

  private readonly sink: AnswerSink = {
    answer: (_tag, frame, more) => this.answered(frame, more),
    lost: (_tag, error) => {
      this.machine = null;
      if (error.code === (LocalCode.PROTOCOL_VIOLATION as number)) this.end(error);
      else this.subscribe();
    },
  };

  private answered(frame: FrameReader, more: boolean): void {
    if (!more) this.machine = null;
    const r = new Reader(frame.buffer, frame.start, frame.end);
    if (frame.status !== 0) return this.refused(readErrorBody(r, frame.status));
    if (!more) return this.refused(new LocalError(LocalCode.PROTOCOL_VIOLATION, 'a subscription ended without a reason', 'none'));
    if (frame.op === Op.SUBSCRIBE) {
      const { startOffset, committedEnd, logUid } = subscribeResponse.read(r);
      this.opened(startOffset, committedEnd, logUid);
      return;
    }
    const { committedEnd, batches } = deliver.read(r);
    if (this.ending !== null) return;
    this.committedEnd = committedEnd;
    frame.keep();
    const error = this.state.received(batches, 0, batches.length);
    if (error !== null) this.end(error);
    this.wakeUp();
  }

  private opened(startOffset: number, committedEnd: number, logUid: Buffer | undefined): void {
    this.backoff.reset();
    this.committedEnd = committedEnd;
    if (this.uid === undefined && logUid !== undefined) {
      this.uid = Buffer.from(logUid);
      this.pins.learn(this.log, logUid);
    }
    this.state.opened(startOffset);
    if (this.startOffset < 0) {
      this.startOffset = startOffset;
      this.nextOffset = startOffset;
    }
  }

  private refused(error: ProtocolError): void {
    if (this.ending !== null) return;
    // SHUTTING_DOWN, NOT_LEADER, OVERLOADED and the like pass: whatever says RETRIABLE.
    if (!error.retriable) return this.end(error);
    this.retryTimer = setTimeout(() => this.subscribe(), this.backoff.nextMs(error.retryAfterMs));
  }

  private end(why: ProtocolError | 'closed'): void {
    if (this.ending === 'closed' || (this.ending !== null && why !== 'closed')) return;
    this.ending = why;
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.link.remove(this.listener);
    this.machine?.about(Op.CANCEL, this.id, (w) => cancelRequest.write(w, {}));
    this.wakeUp();
  }

  private wakeUp(): void {
    const { wake } = this;
    this.wake = null;
    wake?.();
  }
}

