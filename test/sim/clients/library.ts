// The idempotent producer of the client library that ships: its core decides what is sent again and
// what a failure means, here over simulated time and a simulated connection. Each life of the app is
// one core; when the core gives up, or now and then, the app begins a new life.
import { ErrorCode, ProtocolError } from '../../../src/wire/errors.ts';
import { LocalCode, LocalError } from '../../../src/wire/client/errors.ts';
import { ProducerCore } from '../../../src/wire/client/producer-core.ts';
import type { ProducerBatch } from '../../../src/wire/client/producer-batch.ts';
import { receiptOf } from '../../../src/wire/client/receipts.ts';
import { BATCH_HEADER_SIZE, NONE } from '../../../src/wire/limits.ts';
import { Op } from '../../../src/wire/ops.ts';
import { RecordReader } from '../../../src/wire/record.ts';
import { initProducerRequest } from '../../../src/wire/requests-write.ts';
import { initProducerResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import type { Fate } from '../history/fate.ts';
import { idOf, valueOf } from '../history/fate.ts';
import { NamedProducer } from '../history/named-producer.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

const RECORDS_WAITING_MAX = 40;

export class LibraryProducer extends SimClient {
  readonly #ref: LogRef;
  readonly #named: NamedProducer;
  readonly #reader = new RecordReader();
  #core: ProducerCore;
  #waiting = 0;
  #asking = false;
  #wanted = true;
  #epoch = 0;
  /** Tells answers to an earlier life's batches from those to this one's. */
  #life = 0;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
    this.#named = new NamedProducer(name, () => ref.history);
    this.#core = this.#newCore();
  }

  override get settled(): boolean {
    return super.settled && this.#waiting === 0;
  }

  protected step(): void {
    if (this.#core.failure !== null) this.#begin();
    if (this.#wanted) {
      this.#initialize();
      return;
    }
    if (!this.draining) {
      if (this.prng.chance(0.002)) return this.#begin();
      for (let i = this.prng.between(0, 5); i > 0 && this.#waiting < RECORDS_WAITING_MAX; i--) this.#append();
      if (this.prng.chance(0.3)) this.#core.flush();
    } else this.#core.flush();
    this.#core.expire(this.#nowMs());
    this.#core.pump(this.#nowMs());
  }

  protected override connected(): void {
    this.#core.connected();
    if (this.#core.mode === 'paused') this.#core.resume();
  }

  protected override disconnected(): void {
    this.#core.disconnected();
  }

  #begin(): void {
    this.#life++;
    this.#waiting = 0;
    this.#wanted = true;
    this.#core = this.#newCore();
  }

  #append(): void {
    const [fate] = this.newFates(this.#ref.name, 1, 300) as [Fate];
    this.#waiting++;
    const life = this.#life;
    const over = (): void => {
      if (life === this.#life) this.#waiting--;
    };
    this.#core.append({ value: valueOf(fate) }, this.#nowMs(), { resolve: over, reject: over });
  }

  #newCore(): ProducerCore {
    const settings = {
      isIdempotent: true, lingerMs: this.prng.pick([0, 0, 5, 30]), batchBytes: 4096, batchRecords: 8, compression: 0,
      maxInFlight: this.prng.between(1, 8), bufferBytes: 1024 * 1024, deliveryTimeoutMs: 20_000, expectedOffset: NONE,
    };
    const core: ProducerCore = new ProducerCore(settings, this.world.batchBytesMax, {
      transmit: (batch) => this.#transmit(core, batch),
      pack: () => {},
      initialize: () => {
        if (core === this.#core) this.#wanted = true;
      },
      pause: (error) => this.#pause(core, error),
      acked: () => {},
      failed: (batch, error) => void batch.reject(error),
    });
    if (this.link?.ready) core.connected();
    return core;
  }

  #initialize(): void {
    if (this.#asking) return;
    const { history } = this.#ref;
    const core = this.#core;
    const ticket = this.#named.asking();
    this.#asking = true;
    this.begin('init');
    const request = { log: this.#ref.name, name: this.#named.name, logUid: this.#ref.uid };
    this.link.call(Op.INIT_PRODUCER, initProducerRequest, request, initProducerResponse, (outcome) => {
      this.ended('init', outcome);
      this.#asking = false;
      if (!outcome.ok) {
        this.refusal(history, outcome, { floor: 0, fenceFloor: 0, expectedOffset: NONE, fence: 0, fates: [] });
        return this.backOff();
      }
      const { producerId, epoch, nextSeq, window } = outcome.value;
      this.#named.initialized(ticket, producerId, epoch, nextSeq, this.link.stale && history.soft);
      if (core !== this.#core) return;
      this.#wanted = false;
      this.#epoch = epoch;
      core.initialized(producerId, epoch, nextSeq, window);
      if (this.link.ready) core.connected();
    });
  }

  #transmit(core: ProducerCore, batch: ProducerBatch): void {
    const fates = this.#fatesOf(batch.bytes);
    if (batch.sendings === 1) {
      for (const fate of fates) fate.seq = batch.seq;
      this.#named.sent(this.#epoch, batch.seq, fates);
    }
    const { seq, ordinal } = batch;
    const epoch = this.#epoch;
    // The core may give the bytes another header after it lost its id; what was sent stays as it was.
    const bytes = Buffer.from(batch.bytes);
    this.produce({ ref: this.#ref, fates, bytes, sendings: batch.sendings }, (outcome) => {
      if (outcome.ok) {
        this.#named.acked(epoch, seq);
        core.ack(ordinal, receiptOf(outcome.value), this.#nowMs());
      } else {
        const error = outcome.error instanceof ProtocolError ? outcome.error : new LocalError(LocalCode.CONNECTION_LOST, '', 'unknown');
        if (outcome.code === ErrorCode.LOG_STOPPED) this.backOff();
        core.refuse(ordinal, error, this.#nowMs());
      }
    });
  }

  #pause(core: ProducerCore, error: ProtocolError | null): void {
    const pauseUs = error === null ? 1000 : 10_000 + this.prng.next(50_000);
    this.world.scheduler.after(pauseUs, () => {
      if (core !== this.#core || !this.link.ready) return;
      core.resume();
      this.link.deliver(() => core.pump(this.#nowMs()));
    });
  }

  #fatesOf(bytes: Buffer): Fate[] {
    const fates: Fate[] = [];
    const reader = this.#reader.reset(bytes, BATCH_HEADER_SIZE, bytes.length);
    while (reader.next()) fates.push(this.world.history.fates[idOf(bytes, reader.valueStart, reader.valueEnd)]!);
    return fates;
  }

  #nowMs(): number {
    return this.world.scheduler.nowUs / 1000;
  }
}
