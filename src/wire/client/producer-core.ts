// The logic of a producer, without sockets, timers and promises: gathers records into batches, keeps
// so many of them under way, and decides what a failure means. Time is an argument; what it wants done
// goes through ProducerPort.
//
// After a failure nothing new is sent until every batch under way was answered ("settling"): only then
// is it known which batches must go again, and in which order.
// - In order (idempotent, or each batch expecting its offset): everything from the first failed batch on
//   goes again, byte for byte; what cannot go again ends the producer, so no record is ever skipped.
// - Otherwise each batch stands alone: it goes again only if it certainly had no effect.
import { BatchBuilder } from '../batch-build.ts';
import { ErrorCode, ProtocolError } from '../errors.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX, NONE } from '../limits.ts';
import { recordSize } from '../record.ts';
import type { RecordInput } from '../record.ts';
import { LocalCode, LocalError, withOutcome } from './errors.ts';
import type { Outcome } from './errors.ts';
import { ProducerBatch } from './producer-batch.ts';
import type { RecordWaiter } from './producer-batch.ts';
import type { Receipt } from './types.ts';

export interface ProducerSettings {
  readonly isIdempotent: boolean;
  readonly lingerMs: number;
  readonly batchBytes: number;
  readonly batchRecords: number;
  /** Attribute bits; 0 = none. */
  readonly compression: number;
  readonly maxInFlight: number;
  readonly bufferBytes: number;
  readonly deliveryTimeoutMs: number;
  /** The offset that the first record must get; NONE = any. */
  readonly expectedOffset: number;
}

export interface ProducerPort {
  /** Sends a batch whose header is sealed. */
  transmit(batch: ProducerBatch): void;
  /** Compresses a batch and calls core.packed() later. */
  pack(batch: ProducerBatch): void;
  /** Asks for INIT_PRODUCER; core.initialized() and core.connected() follow. */
  initialize(): void;
  /** A pause before the next sending, after `error` or (null) only to change connections: then core.resume(). */
  pause(error: ProtocolError | null): void;
  /** In order of the batches, when its records are in. */
  acked(batch: ProducerBatch, receipt: Receipt): void;
  /** Its records are lost to `error`. */
  failed(batch: ProducerBatch, error: ProtocolError): void;
}

/**
 * down: no connection or no producer id yet · open: sending · settling: waiting for what is under way ·
 * paused: before sending again · failed: for ever.
 */
export type ProducerMode = 'down' | 'open' | 'settling' | 'paused' | 'failed';

export class ProducerCore {
  mode: ProducerMode = 'down';
  /** Why the mode is `failed`. */
  failure: ProtocolError | null = null;
  inFlight = 0;
  /** Bytes of all records that are not acked. */
  bufferedBytes = 0;
  /** Largest batch the server takes. */
  maxBatch: number;

  private readonly settings: ProducerSettings;
  private readonly port: ProducerPort;
  private readonly builder: BatchBuilder;
  private builderSinceMs = 0;
  private builderWaiters: RecordWaiter[] | null = null;
  /** Batches not acked, oldest first; those before `nextToSend` were sent. */
  private readonly batches: ProducerBatch[] = [];
  private nextToSend = 0;
  private nextOrdinal = 0;
  /** False while an idempotent producer waits for its id. */
  private hasId: boolean;
  private producerId = 0;
  private epoch = 0;
  private nextSeq = 0;
  private window = Number.POSITIVE_INFINITY;
  private expectedOffset: number;
  /** Batches up to this ordinal go without lingering. */
  private flushOrdinal = -1;

  constructor(settings: ProducerSettings, maxBatch: number, port: ProducerPort) {
    this.settings = settings;
    this.maxBatch = maxBatch;
    this.port = port;
    this.expectedOffset = settings.expectedOffset;
    this.hasId = !settings.isIdempotent;
    this.builder = new BatchBuilder(Math.min(settings.batchBytes, 64 * 1024));
  }

  /** Ordinal of the oldest batch that is not done; Infinity when there is none. */
  get oldestOrdinal(): number {
    return this.batches[0]?.ordinal ?? (this.builder.count > 0 ? this.nextOrdinal : Number.POSITIVE_INFINITY);
  }

  /** When the batch in the making should go, in ms; null = it is empty. */
  get sealAtMs(): number | null {
    return this.builder.count === 0 ? null : this.builderSinceMs + this.settings.lingerMs;
  }

  /** When the oldest batch's delivery time is over; null = there is none. */
  get expiresAtMs(): number | null {
    const oldest = this.batches[0]?.createdMs ?? (this.builder.count > 0 ? this.builderSinceMs : null);
    return oldest === null ? null : oldest + this.settings.deliveryTimeoutMs;
  }

  /**
   * Takes a record. @throws BATCH_TOO_LARGE, BUFFER_FULL, the error that ended the producer, or RangeError;
   * the record then is not taken.
   */
  append(record: RecordInput, nowMs: number, waiter?: Omit<RecordWaiter, 'index'>): void {
    if (this.failure !== null) throw this.failure;
    const { settings, builder } = this;
    const size = recordSize(record);
    if (size + BATCH_HEADER_SIZE > this.maxBatch) {
      throw new ProtocolError(ErrorCode.BATCH_TOO_LARGE, {
        message: `a record of ${size} bytes does not fit a batch of ${this.maxBatch}`,
        limit: this.maxBatch,
      });
    }
    if (this.bufferedBytes > settings.bufferBytes * 4) {
      throw new LocalError(LocalCode.BUFFER_FULL, `${this.bufferedBytes} bytes are waiting already`, 'none');
    }
    const limit = Math.min(settings.batchBytes, this.maxBatch);
    if (builder.count > 0 && builder.size + size > limit) this.seal();
    if (builder.count === 0) this.builderSinceMs = nowMs;
    builder.add(record);
    this.bufferedBytes += size;
    if (waiter !== undefined) {
      this.builderWaiters ??= [];
      this.builderWaiters.push({ index: builder.count - 1, resolve: waiter.resolve, reject: waiter.reject });
    }
    const isFull = builder.size >= limit || builder.count >= Math.min(settings.batchRecords, BATCH_RECORDS_MAX);
    if (isFull) this.seal();
  }

  /** Lets the records so far go without lingering; returns the ordinal of their last batch. */
  flush(): number {
    this.flushOrdinal = this.builder.count > 0 ? this.nextOrdinal : this.nextOrdinal - 1;
    return this.flushOrdinal;
  }

  /** Sends what may go. */
  pump(nowMs: number): void {
    while (this.mode === 'open' && this.inFlight < Math.min(this.settings.maxInFlight, this.window)) {
      // With no room to send, a batch goes on growing: load makes batches larger by itself.
      if (this.nextToSend === this.batches.length && this.isDue(nowMs)) this.seal();
      const batch = this.batches[this.nextToSend];
      if (batch === undefined || batch.state === 'packing') break;
      this.send(batch);
    }
  }

  /** INIT_PRODUCER was answered. */
  initialized(producerId: number, epoch: number, nextSeq: number, window: number): void {
    this.producerId = producerId;
    this.epoch = epoch;
    this.nextSeq = nextSeq;
    this.window = window;
    this.hasId = true;
    for (const batch of this.batches) batch.isSealed = false;
  }

  /** A connection is there. */
  connected(): void {
    if (this.mode === 'down' && this.hasId) this.mode = 'open';
  }

  /** The connection takes nothing new. What is under way gets its answers, or is lost. */
  disconnected(): void {
    if (this.mode === 'open') this.mode = this.inFlight > 0 ? 'settling' : 'down';
  }

  /** The pause after a failure is over. */
  resume(): void {
    if (this.mode === 'paused') this.mode = 'open';
  }

  packed(batch: ProducerBatch, packed: Buffer | null): void {
    if (batch.state !== 'packing') return;
    batch.packed(this.settings.compression, packed);
  }

  /** OK answer to the batch with this ordinal. */
  ack(ordinal: number, receipt: Receipt, nowMs: number): void {
    const batch = this.sent(ordinal);
    if (batch === null) return;
    batch.state = 'acked';
    batch.receipt = receipt;
    this.inFlight -= 1;
    this.removeDone();
    if (this.mode === 'settling' && this.inFlight === 0) this.settle(nowMs);
  }

  /** Error answer to the batch with this ordinal, or the loss of its connection. */
  refuse(ordinal: number, error: ProtocolError, nowMs: number): void {
    const batch = this.sent(ordinal);
    if (batch === null) return;
    batch.state = 'failed';
    batch.error = error;
    this.inFlight -= 1;
    if (this.mode === 'open') this.mode = 'settling';
    if (this.mode === 'settling' && this.inFlight === 0) this.settle(nowMs);
  }

  /** Gives up what was not delivered in time. */
  expire(nowMs: number): void {
    const at = this.expiresAtMs;
    if (at === null || nowMs < at || this.failure !== null) return;
    if (this.batches.length === 0) this.seal();
    const oldest = this.batches[0]!;
    if (this.isOrdered()) return this.fail(this.tooLate(oldest));
    // What is under way is answered by the server, or lost with the connection.
    for (const batch of this.batches.filter((each) => each.state === 'waiting' && this.isTooLate(each, nowMs))) {
      this.giveUp(batch, this.tooLate(batch));
    }
    this.findNextToSend();
  }

  /** Ends the producer: nothing more is sent, and all that is not acked fails. */
  fail(error: ProtocolError): void {
    if (this.failure !== null) return;
    this.mode = 'failed';
    this.failure = error;
    if (this.builder.count > 0) this.seal();
    const batches = this.batches.splice(0);
    this.nextToSend = 0;
    this.inFlight = 0;
    batches.forEach((batch, i) => {
      // What was never sent certainly had no effect; what was refused the only time it was sent may say so.
      const isUnknown = batch.sendings > 1 || (batch.sendings === 1 && batch.error?.outcomeUnknown !== false);
      const outcome = isUnknown ? 'unknown' : 'none';
      // The first one met the error itself, the others are lost because of it.
      this.drop(batch, i === 0 ? withOutcome(error, outcome) : afterFailure(error, outcome));
    });
  }

  /** Finishes the batch in the making. */
  private seal(): void {
    const { builder, settings } = this;
    const count = builder.count;
    const bytes = builder.detach();
    const isPacking = settings.compression !== 0 && this.failure === null;
    const batch = new ProducerBatch(this.nextOrdinal++, bytes, count, this.builderSinceMs, this.builderWaiters, isPacking);
    this.builderWaiters = null;
    if (this.expectedOffset !== NONE) {
      batch.expectedOffset = this.expectedOffset;
      this.expectedOffset += count;
    }
    this.batches.push(batch);
    if (isPacking) this.port.pack(batch);
  }

  private send(batch: ProducerBatch): void {
    if (!batch.isSealed) {
      batch.seal(this.producerId, this.epoch, this.settings.isIdempotent ? this.nextSeq : 0);
      this.nextSeq += 1;
    }
    batch.state = 'sent';
    batch.error = null;
    batch.sendings += 1;
    this.inFlight += 1;
    this.nextToSend += 1;
    while (this.batches[this.nextToSend]?.state === 'acked') this.nextToSend += 1;
    this.port.transmit(batch);
  }

  private sent(ordinal: number): ProducerBatch | null {
    const batch = this.batches.find((candidate) => candidate.ordinal === ordinal);
    return batch !== undefined && batch.state === 'sent' ? batch : null;
  }

  /** Takes acked batches off the front, in order. */
  private removeDone(): void {
    for (let batch = this.batches[0]; batch?.state === 'acked'; batch = this.batches[0]) {
      this.batches.shift();
      this.nextToSend -= 1;
      this.bufferedBytes -= batch.rawSize;
      batch.settle(batch.receipt!);
      this.port.acked(batch, batch.receipt!);
    }
  }

  private isDue(nowMs: number): boolean {
    if (this.builder.count === 0) return false;
    return nowMs >= this.builderSinceMs + this.settings.lingerMs || this.nextOrdinal <= this.flushOrdinal;
  }

  /** Nothing is under way any more: decides what goes again. */
  private settle(nowMs: number): void {
    const failed = this.batches.filter((batch) => batch.state === 'failed');
    const first = failed[0];
    this.mode = 'paused';
    if (first === undefined) return this.port.pause(null);
    const error = first.error!;
    if (this.hasOnlyLostItsId(failed)) return this.startOver(failed);
    if (this.isOrdered()) {
      if (!this.mayGoAgain(first)) return this.fail(error);
      if (this.isTooLate(first, nowMs)) return this.fail(this.tooLate(first));
    }
    for (const batch of failed) {
      if (this.isOrdered() || (this.mayGoAgain(batch) && !this.isTooLate(batch, nowMs))) batch.state = 'waiting';
      else this.giveUp(batch, this.mayGoAgain(batch) ? this.tooLate(batch) : batch.error!);
    }
    this.removeDone();
    this.findNextToSend();
    this.port.pause(error);
  }

  private findNextToSend(): void {
    const next = this.batches.findIndex((batch) => batch.state === 'waiting' || batch.state === 'packing');
    this.nextToSend = next < 0 ? this.batches.length : next;
  }

  private isOrdered(): boolean {
    return this.settings.isIdempotent || this.settings.expectedOffset !== NONE;
  }

  private mayGoAgain(batch: ProducerBatch): boolean {
    const error = batch.error!;
    return error.retriable && (this.settings.isIdempotent || !error.outcomeUnknown);
  }

  private isTooLate(batch: ProducerBatch, nowMs: number): boolean {
    return nowMs >= batch.createdMs + this.settings.deliveryTimeoutMs;
  }

  private tooLate(batch: ProducerBatch): ProtocolError {
    const why = batch.error ?? undefined;
    const message = `not delivered in ${this.settings.deliveryTimeoutMs} ms${why === undefined ? '' : `: ${why.message}`}`;
    // A batch on its own goes again only after a refusal without effect, so it has none.
    const isUnknown = batch.sendings > 0 && (this.isOrdered() || batch.state === 'sent');
    return new LocalError(LocalCode.TIMED_OUT, message, isUnknown ? 'unknown' : 'none', why);
  }

  /**
   * The server has forgotten the producer (it keeps a bounded number), and every batch that is not acked
   * was sent once and refused: none of them is stored, so they may be numbered anew under a new id.
   */
  private hasOnlyLostItsId(failed: readonly ProducerBatch[]): boolean {
    return (
      this.settings.isIdempotent &&
      failed.every((batch) => batch.error!.code === ErrorCode.UNKNOWN_PRODUCER && batch.sendings === 1)
    );
  }

  private startOver(failed: readonly ProducerBatch[]): void {
    for (const batch of failed) {
      batch.state = 'waiting';
      batch.sendings = 0;
    }
    this.findNextToSend();
    this.mode = 'down';
    this.hasId = false;
    this.port.initialize();
  }

  private giveUp(batch: ProducerBatch, error: ProtocolError): void {
    this.batches.splice(this.batches.indexOf(batch), 1);
    this.drop(batch, error);
  }

  private drop(batch: ProducerBatch, error: ProtocolError): void {
    this.bufferedBytes -= batch.rawSize;
    batch.state = 'failed';
    this.port.failed(batch, error);
  }
}

function afterFailure(error: ProtocolError, outcome: Outcome): ProtocolError {
  return new LocalError(LocalCode.PRODUCER_FAILED, `the producer failed: ${error.message}`, outcome, error);
}
