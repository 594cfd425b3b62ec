// A producer as an application uses it: the core's promises, timers and requests. What to send and
// what a failure means is decided in producer-core.ts.
import { Reader } from '../bytes.ts';
import { readErrorBody } from '../error-body.ts';
import type { ProtocolError } from '../errors.ts';
import type { FrameReader } from '../frame.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX, BATCH_SIZE_DEFAULT, NONE, TIMEOUT_MS_MAX } from '../limits.ts';
import { Op } from '../ops.ts';
import type { RecordInput } from '../record.ts';
import { initProducerRequest, produceRequest } from '../requests-write.ts';
import { initProducerResponse, produceResponse } from '../responses-data.ts';
import { Backoff } from './backoff.ts';
import { call } from './call.ts';
import { compress, compressionCode } from './compression.ts';
import { LocalCode, LocalError } from './errors.ts';
import type { Link, LinkListener } from './link.ts';
import type { AnswerSink } from './pending.ts';
import { parseUid } from './pins.ts';
import type { LogPins } from './pins.ts';
import type { ProducerBatch } from './producer-batch.ts';
import { ProducerCore } from './producer-core.ts';
import type { ProducerPort, ProducerSettings } from './producer-core.ts';
import { checkNumber } from './read-start.ts';
import { receiptOf } from './receipts.ts';
import type { ProducerInfo, ProducerOptions, Receipt, RecordReceipt } from './types.ts';

const BATCH_BYTES_DEFAULT = 256 * 1024;
const IN_FLIGHT_DEFAULT = 16;
const BUFFER_BYTES_DEFAULT = 16 * 1024 * 1024;
const DELIVERY_TIMEOUT_MS_DEFAULT = 120_000;
const RETRY_MIN_MS = 10;
const RETRY_MAX_MS = 1_000;
/** Longest span that a timer takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;
const NOTHING = Buffer.alloc(0);

interface Waiter {
  /** Resolved when every batch up to this ordinal is done. */
  readonly ordinal: number;
  resolve(): void;
  reject(error: ProtocolError): void;
}

/**
 * Writes records to one log, in order, in batches. With a `name` every record is stored once whatever
 * happens to the connection, and the first failure that cannot be repaired ends the producer: nothing
 * after it is stored. Without a name a batch whose outcome is unknown fails with `outcomeUnknown`, is
 * not sent again, and later batches go on.
 */
export class Producer {
  readonly log: string;
  /** Records and batches acked so far. */
  ackedRecords = 0;
  ackedBatches = 0;
  /** Offset of the first acked record whose place is known; −1 before. */
  firstOffset = -1;
  /** Offset after the last acked record whose place is known; −1 before. */
  nextOffset = -1;

  private readonly link: Link;
  private readonly pins: LogPins;
  private readonly options: ProducerOptions;
  private readonly settings: ProducerSettings;
  private readonly core: ProducerCore;
  private readonly backoff: Backoff;
  private uid: Buffer | undefined;
  private info: Promise<ProducerInfo | null> = Promise.resolve(null);
  private waiters: Waiter[] = [];
  private drainWaiters: Waiter[] = [];
  /** The first loss since the last flush told one. */
  private lost: ProtocolError | null = null;
  private isClosed = false;
  private isPumpScheduled = false;
  private lingerTimer: NodeJS.Timeout | null = null;
  private pauseTimer: NodeJS.Timeout | null = null;
  private expiryTimer: NodeJS.Timeout | null = null;

  constructor(link: Link, pins: LogPins, log: string, options: ProducerOptions) {
    this.link = link;
    this.pins = pins;
    this.log = log;
    this.options = options;
    this.uid = options.logUid === undefined ? pins.get(log) : parseUid(options.logUid);
    this.settings = settingsOf(options);
    this.backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, link.random);
    this.core = new ProducerCore(this.settings, link.server?.maxBatch ?? BATCH_SIZE_DEFAULT, this.port);
    link.add(this.listener);
    if (options.name !== undefined) this.initialize(options.name);
    else if (link.machine !== null) this.core.connected();
  }

  /** Resolves when the producer may send: with what the server knows of its name, or null without a name. */
  ready(): Promise<ProducerInfo | null> {
    return this.info;
  }

  /** Appends a record; resolves when it is committed. */
  send(record: RecordInput): Promise<RecordReceipt> {
    return new Promise((resolve, reject) => this.take(record, { resolve, reject }));
  }

  /**
   * Appends a record without a promise; `flush` or `onAck` tell when it is committed. False: more than
   * bufferBytes are waiting, and the caller should await `drained()`. @throws SidelogError, RangeError
   */
  append(record: RecordInput): boolean {
    this.take(record, undefined);
    return this.core.bufferedBytes < this.settings.bufferBytes;
  }

  /** Resolves when fewer than bufferBytes are waiting. Rejects when the producer failed. */
  drained(): Promise<void> {
    if (this.core.failure !== null) return Promise.reject(this.core.failure);
    if (this.core.bufferedBytes < this.settings.bufferBytes) return Promise.resolve();
    return new Promise((resolve, reject) => this.drainWaiters.push({ ordinal: 0, resolve, reject }));
  }

  /**
   * Sends what waits and resolves when all records appended before are committed. Rejects with the first
   * error that records were lost to since the last flush.
   */
  flush(): Promise<void> {
    const ordinal = this.core.flush();
    this.pumpSoon();
    return new Promise((resolve, reject) => {
      this.waiters.push({ ordinal, resolve, reject });
      this.tellWaiters();
    });
  }

  /** Flushes and ends the producer. Rejects as flush does; it is ended in any case. */
  async close(): Promise<void> {
    const flushed = this.flush();
    this.isClosed = true;
    try {
      await flushed;
    } finally {
      this.link.remove(this.listener);
      for (const timer of [this.lingerTimer, this.pauseTimer, this.expiryTimer]) if (timer !== null) clearTimeout(timer);
    }
  }

  private take(record: RecordInput, waiter: { resolve(r: RecordReceipt): void; reject(e: Error): void } | undefined): void {
    if (this.isClosed) throw new LocalError(LocalCode.CLIENT_CLOSED, 'the producer was closed', 'none');
    this.core.append(record, now(), waiter);
    this.pumpSoon();
  }

  /** Once per turn, so that records appended in one turn share a batch. */
  private pumpSoon(): void {
    if (this.isPumpScheduled) return;
    this.isPumpScheduled = true;
    setImmediate(() => {
      this.isPumpScheduled = false;
      this.pump();
    });
  }

  private pump(): void {
    const { core } = this;
    const nowMs = now();
    core.pump(nowMs);
    const sealAtMs = core.sealAtMs;
    if (sealAtMs !== null && core.mode === 'open' && sealAtMs > nowMs && this.lingerTimer === null) {
      this.lingerTimer = setTimeout(() => {
        this.lingerTimer = null;
        this.pump();
      }, Math.ceil(sealAtMs - nowMs));
    }
    this.watchExpiry(nowMs);
  }

  private watchExpiry(nowMs: number): void {
    const at = this.core.expiresAtMs;
    if (at === null || at === Number.POSITIVE_INFINITY || this.expiryTimer !== null) return;
    this.expiryTimer = setTimeout(
      () => {
        this.expiryTimer = null;
        this.core.expire(now());
        this.tellWaiters();
        this.watchExpiry(now());
      },
      Math.min(TIMER_MS_MAX, Math.max(1, Math.ceil(at - nowMs))),
    );
    this.expiryTimer.unref();
  }

  private initialize(name: string): void {
    const timeoutMs = Math.min(TIMER_MS_MAX, this.settings.deliveryTimeoutMs);
    const { log } = this;
    const asked = call(this.link, {
      op: Op.INIT_PRODUCER,
      write: (w, grease) => initProducerRequest.write(w, { log, name, logUid: this.uid }, grease),
      read: (r) => initProducerResponse.read(r),
      // Each INIT_PRODUCER gives a new epoch, and only the last one is used: asking twice is harmless.
      retry: 'always',
      timeoutMs,
    });
    this.info = asked.then((answer) => {
      this.learnUid(answer.logUid);
      const { producerId, epoch, nextSeq, window } = answer;
      this.core.initialized(producerId, epoch, nextSeq, window);
      if (this.link.machine !== null) this.core.connected();
      this.pumpSoon();
      return { producerId, epoch, nextSeq, window, logUid: this.uid!.toString('hex') };
    });
    this.info.catch((error: ProtocolError) => {
      this.core.fail(error);
      this.tellWaiters();
    });
  }

  private learnUid(uid: Buffer | undefined): void {
    if (uid === undefined || this.uid !== undefined) return;
    this.uid = Buffer.from(uid);
    this.pins.learn(this.log, uid);
  }

  private readonly listener: LinkListener = {
    linkReady: () => {
      this.core.maxBatch = this.link.server!.maxBatch;
      this.core.connected();
      if (this.pauseTimer === null) this.core.resume();
      this.pumpSoon();
    },
    linkLost: () => this.core.disconnected(),
    linkFailed: (error) => {
      // Other failures may pass before the delivery time is over; until then the link goes on trying.
      if (!this.link.isClosed) return;
      this.core.fail(error);
      this.tellWaiters();
    },
  };

  private readonly sink: AnswerSink = {
    answer: (ordinal, frame) => this.answered(ordinal, frame),
    lost: (ordinal, error) => {
      this.core.refuse(ordinal, error, now());
      this.tellWaiters();
    },
  };

  private answered(ordinal: number, frame: FrameReader): void {
    const r = new Reader(frame.buffer, frame.start, frame.end);
    if (frame.status !== 0) {
      this.core.refuse(ordinal, readErrorBody(r, frame.status), now());
    } else {
      const answer = produceResponse.read(r);
      this.learnUid(answer.logUid);
      this.backoff.reset();
      this.core.ack(ordinal, receiptOf(answer), now());
    }
    this.tellWaiters();
    this.pumpSoon();
  }

  private readonly port: ProducerPort = {
    transmit: (batch) => this.transmit(batch),
    pack: (batch) => {
      void compress(this.settings.compression, batch.bytes.subarray(BATCH_HEADER_SIZE)).then(
        (packed) => this.core.packed(batch, packed),
        // zlib refuses nothing but for want of memory: then the batch goes as it is.
        () => this.core.packed(batch, null),
      ).then(() => this.pumpSoon());
    },
    initialize: () => this.initialize(this.options.name!),
    pause: (error) => {
      const isLost = error === null || error.code === (LocalCode.CONNECTION_LOST as number);
      // After a lost connection the link has made the pause.
      const delayMs = isLost ? 0 : this.backoff.nextMs(error.retryAfterMs);
      this.pauseTimer = setTimeout(() => {
        this.pauseTimer = null;
        if (this.link.machine !== null) this.core.resume();
        this.pumpSoon();
      }, delayMs);
    },
    acked: (batch, receipt) => this.acked(batch, receipt),
    failed: (batch, error) => {
      this.lost ??= error;
      if (!batch.reject(error)) this.options.onError?.(error);
    },
  };

  private transmit(batch: ProducerBatch): void {
    const machine = this.link.machine!;
    const at = machine.begin(Op.PRODUCE, this.sink, batch.ordinal);
    produceRequest.write(
      machine.output.writer,
      {
        log: this.log,
        flags: 0,
        timeoutMs: this.options.timeoutMs ?? 0,
        expectedOffset: batch.expectedOffset,
        fence: this.options.fence ?? 0,
        logUid: this.uid,
        batch: NOTHING,
      },
      machine.grease(),
    );
    machine.finish(at, batch.bytes);
  }

  private acked(batch: ProducerBatch, receipt: Receipt): void {
    this.ackedRecords += batch.count;
    this.ackedBatches += 1;
    if (receipt.baseOffset !== NONE) {
      if (this.firstOffset < 0) this.firstOffset = receipt.baseOffset;
      this.nextOffset = Math.max(this.nextOffset, receipt.nextOffset);
    }
    this.options.onAck?.(receipt, batch.count);
  }

  private tellWaiters(): void {
    const { core } = this;
    if (this.drainWaiters.length > 0 && (core.failure !== null || core.bufferedBytes < this.settings.bufferBytes)) {
      const waiters = this.drainWaiters;
      this.drainWaiters = [];
      for (const waiter of waiters) {
        if (core.failure === null) waiter.resolve();
        else waiter.reject(core.failure);
      }
    }
    if (this.waiters.length === 0) return;
    const oldest = core.oldestOrdinal;
    const done = this.waiters.filter((waiter) => waiter.ordinal < oldest);
    this.waiters = this.waiters.filter((waiter) => waiter.ordinal >= oldest);
    for (const waiter of done) this.tell(waiter);
  }

  private tell(waiter: Waiter): void {
    const error = this.core.failure ?? this.lost;
    this.lost = null;
    if (error === null) waiter.resolve();
    else waiter.reject(error);
  }
}

function settingsOf(options: ProducerOptions): ProducerSettings {
  const positive = (key: 'batchBytes' | 'batchRecords' | 'maxInFlight' | 'bufferBytes', fallback: number): number =>
    Math.max(1, checkNumber(key, options[key] ?? fallback));
  const deliveryTimeoutMs = options.deliveryTimeoutMs ?? DELIVERY_TIMEOUT_MS_DEFAULT;
  if (deliveryTimeoutMs !== Number.POSITIVE_INFINITY) checkNumber('deliveryTimeoutMs', deliveryTimeoutMs);
  if (options.timeoutMs !== undefined) checkNumber('timeoutMs', options.timeoutMs, TIMEOUT_MS_MAX);
  if (options.fence !== undefined) checkNumber('fence', options.fence);
  if (options.expectedOffset !== undefined) checkNumber('expectedOffset', options.expectedOffset);
  return {
    isIdempotent: options.name !== undefined,
    lingerMs: checkNumber('lingerMs', options.lingerMs ?? 0),
    batchBytes: positive('batchBytes', BATCH_BYTES_DEFAULT),
    batchRecords: Math.min(BATCH_RECORDS_MAX, positive('batchRecords', BATCH_RECORDS_MAX)),
    compression: compressionCode(options.compression ?? 'none'),
    maxInFlight: positive('maxInFlight', IN_FLIGHT_DEFAULT),
    bufferBytes: positive('bufferBytes', BUFFER_BYTES_DEFAULT),
    deliveryTimeoutMs,
    expectedOffset: options.expectedOffset ?? NONE,
  };
}

/** Milliseconds that never go back. */
function now(): number {
  return performance.now();
}
