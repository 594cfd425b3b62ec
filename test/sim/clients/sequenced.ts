// An idempotent producer written against the protocol alone: takes its name with INIT_PRODUCER, numbers
// its batches, sends every unanswered one again after a failure, byte for byte, and now and then does
// what a faulty or restarted app would do (probes.ts). Several may share a name: then they fence each
// other off.
//
// Invariant: at most `window` batches are unacknowledged, and they are sent in the order of their seq.
import { buildBatch } from '../../../src/wire/batch-build.ts';
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { Op, PRODUCE_DUPLICATE } from '../../../src/wire/ops.ts';
import { initProducerRequest } from '../../../src/wire/requests-write.ts';
import { initProducerResponse } from '../../../src/wire/responses-data.ts';
import type { ProduceResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import type { Fate } from '../history/fate.ts';
import type { NamedProducer } from '../history/named-producer.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';
import type { Outcome } from './link.ts';

interface SentBatch {
  readonly seq: number;
  readonly epoch: number;
  readonly bytes: Buffer;
  readonly fates: readonly Fate[];
  sendings: number;
  inFlight: boolean;
  baseOffset: number;
}

export interface SequencedOptions {
  readonly thinkUs: number;
  readonly depth: number;
  /** Chance per step that the app is restarted, or that it probes. */
  readonly restartChance: number;
  readonly probeChance: number;
}

/** Acked batches that are kept, to be sent again by a probe. */
const KEPT_MAX = 80;
/** A seq or epoch so far ahead that nobody reaches it, however late a probe arrives. */
const FAR = 20_000;

export class SequencedProducer extends SimClient {
  readonly #ref: LogRef;
  readonly #options: SequencedOptions;
  readonly #shared: NamedProducer;
  /** It gives every batch little time, and sends it again while the first one may still be under way. */
  readonly #impatient: boolean;
  #id = 0;
  #epoch = 0;
  #nextSeq = 0;
  #window = 0;
  #asking = false;
  /** Not acknowledged yet, by seq. */
  #open: SentBatch[] = [];
  #acked: SentBatch[] = [];
  /** Something failed: nothing new until all answers are in. */
  #settling = false;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, shared: NamedProducer, options: SequencedOptions) {
    super(world, name, prng, options.thinkUs, ref);
    this.#ref = ref;
    this.#shared = shared;
    this.#options = options;
    this.#impatient = world.nodes.length > 1 && prng.chance(0.75);
  }

  override get settled(): boolean {
    return super.settled && this.#open.length === 0;
  }

  protected step(): void {
    if (this.#asking) return;
    if (this.#id === 0) return this.#initialize();
    if (this.#settling) return this.#resendWhenQuiet();
    if (this.draining) return;
    if (this.prng.chance(this.#options.restartChance)) return this.#restart();
    if (this.prng.chance(this.#options.probeChance)) return this.#probe();
    const room = Math.min(this.#options.depth, this.#window) - this.#open.length;
    if (room <= 0) return;
    for (let i = this.prng.between(1, Math.min(room, 8)); i > 0; i--) this.#sendNew();
  }

  #initialize(): void {
    const { history } = this.#ref;
    this.#asking = true;
    this.begin('init');
    const ticket = this.#shared.asking();
    const request = { log: this.#ref.name, name: this.#shared.name, logUid: this.#ref.uid };
    this.link.call(Op.INIT_PRODUCER, initProducerRequest, request, initProducerResponse, (outcome) => {
      this.ended('init', outcome);
      this.#asking = false;
      if (!outcome.ok) {
        this.refusal(history, outcome, { floor: 0, fenceFloor: 0, expectedOffset: NONE, fence: 0, fates: [] });
        this.backOff();
        return;
      }
      const { producerId, epoch, nextSeq, window } = outcome.value;
      this.#shared.initialized(ticket, producerId, epoch, nextSeq, this.link.stale && history.soft);
      this.#id = producerId;
      this.#epoch = epoch;
      this.#nextSeq = nextSeq;
      this.#window = window;
      this.#settling = false;
    });
  }

  /** The app begins anew and knows nothing of what it had sent. */
  #restart(): void {
    this.#id = 0;
    this.#open = [];
    this.#acked = [];
    this.#settling = false;
    if (this.prng.chance(0.5)) this.link.drop();
  }

  #sendNew(): void {
    const fates = this.newFates(this.#ref.name, 3, 400);
    const seq = this.#nextSeq++;
    const bytes = buildBatch(this.records(fates), { producerId: this.#id, epoch: this.#epoch, seq });
    for (const fate of fates) fate.seq = seq;
    this.#shared.sent(this.#epoch, seq, fates);
    const batch: SentBatch = { seq, epoch: this.#epoch, bytes, fates, sendings: 0, inFlight: false, baseOffset: NONE };
    this.#open.push(batch);
    this.#send(batch);
  }

  #send(batch: SentBatch): void {
    const { bytes, fates } = batch;
    const id = this.#id;
    const { asked } = this.#shared;
    batch.sendings++;
    batch.inFlight = true;
    const timeoutMs = this.#impatient ? this.prng.between(30, 300) : this.prng.chance(0.1) ? this.prng.between(1, 1000) : 0;
    this.produce({ ref: this.#ref, fates, bytes, timeoutMs, sendings: batch.sendings }, (outcome) => {
      batch.inFlight = false;
      if (id === this.#id && batch.epoch === this.#epoch) this.#answered(batch, outcome, asked);
    });
  }

  #answered(batch: SentBatch, outcome: Outcome<ProduceResponse>, asked: number): void {
    if (!outcome.ok) {
      if (outcome.code === ErrorCode.SEQ_GAP) this.#checkGap(outcome.error.detail.expectedSeq!);
      if (outcome.code === ErrorCode.SEQ_REUSED) this.#lostToPowerCut(`seq ${batch.seq} was given to nobody else`);
      return this.#failed(outcome.code, outcome.retriable);
    }
    const { value } = outcome;
    const duplicate = (value.flags & PRODUCE_DUPLICATE) !== 0;
    if (duplicate) this.world.counters.duplicates++;
    if (duplicate) this.#checkRemembered(batch.seq, value.baseOffset, asked);
    demand(!duplicate || batch.sendings > 1, 'producers', () => `${this.name}: seq ${batch.seq} was sent once and answered DUPLICATE`);
    batch.baseOffset = value.baseOffset;
    this.#open = this.#open.filter((other) => other !== batch);
    this.#acked.push(batch);
    if (this.#acked.length > KEPT_MAX) this.#acked.shift();
    this.#shared.acked(batch.epoch, batch.seq);
  }

  /** The server knows each of the last `window` batches; `asked` as it was when the request went out. */
  #checkRemembered(seq: number, baseOffset: number, asked: number): void {
    const alone = asked === this.#shared.asked && !this.#ref.history.soft;
    const remembered = baseOffset !== NONE || seq < this.#nextSeq - this.#window;
    demand(!alone || remembered, 'producers', () => `${this.name}: seq ${seq} is one of the last ${this.#window} below ${this.#nextSeq}, and was forgotten`);
  }

  #failed(code: number, retriable: boolean): void {
    this.#settling = true;
    if (retriable) this.backOff();
    // A lone node whose log is damaged waits for its operator, so sending again would never end.
    const isWaiting = code === ErrorCode.LOG_STOPPED && this.#ref.history.damaged;
    // Another app took the name, or the log forgot it: what is unanswered stays unknown.
    if (isWaiting || code === ErrorCode.PRODUCER_FENCED || code === ErrorCode.UNKNOWN_PRODUCER || code === ErrorCode.LOG_CHANGED || code === ErrorCode.LOG_NOT_FOUND) {
      this.#restart();
      this.backOff();
    }
  }

  #checkGap(expectedSeq: number): void {
    const oldest = this.#open[0]!.seq;
    if (expectedSeq < oldest) this.#lostToPowerCut(`everything below seq ${oldest} was stored, and it wants seq ${expectedSeq}`);
  }

  /**
   * The server has forgotten what it had stored, or given: only a power cut on a log that promises less
   * than fsync can do that. Sending the rest again would not help, so the app begins anew.
   */
  #lostToPowerCut(what: string): void {
    const { history } = this.#ref;
    demand(history.soft, 'producers', () => `${this.name} of ${history.name}: ${what}`);
    this.#restart();
  }

  #resendWhenQuiet(): void {
    if (this.#open.some((batch) => batch.inFlight)) return;
    this.#settling = false;
    // What was refused without effect leaves a gap that would never be filled, so all goes again.
    for (const batch of this.#open) this.#send(batch);
  }

  /** Does what a faulty app would do, and checks that it is refused, or answered as before. */
  #probe(): void {
    const old = this.#acked.length > 0 ? this.prng.pick(this.#acked) : null;
    switch (this.prng.next(4)) {
      case 0:
        if (old !== null) this.#probeAgain(old);
        return;
      case 1:
        if (old !== null) this.#probeOtherBody(old);
        return;
      case 2:
        return this.#probeWith(this.#epoch, this.#nextSeq + FAR, [ErrorCode.SEQ_GAP]);
      default:
        return this.#probeWith(this.#epoch + FAR, this.#nextSeq, [ErrorCode.PRODUCER_FENCED]);
    }
  }

  #probeAgain(old: SentBatch): void {
    const { baseOffset, fates } = old;
    const id = this.#id;
    const { asked } = this.#shared;
    old.sendings++;
    this.produce({ ref: this.#ref, fates, bytes: old.bytes, sendings: old.sendings }, (outcome) => {
      if (!outcome.ok) return;
      const { value } = outcome;
      demand((value.flags & PRODUCE_DUPLICATE) !== 0, 'producers', () => `${this.name}: seq ${old.seq} was acked, sent again, and not answered DUPLICATE`);
      this.world.counters.duplicates++;
      if (id === this.#id && old.epoch === this.#epoch) this.#checkRemembered(old.seq, value.baseOffset, asked);
      const same = value.baseOffset === NONE || baseOffset === NONE || value.baseOffset === baseOffset;
      demand(same || this.#ref.history.soft, 'producers', () => `${this.name}: seq ${old.seq} was acked at ${baseOffset} and again at ${value.baseOffset}`);
    });
  }

  #probeOtherBody(old: SentBatch): void {
    const fates = this.#bannedFates('its seq belongs to another batch');
    const bytes = buildBatch(this.records(fates), { producerId: this.#id, epoch: old.epoch, seq: old.seq });
    this.produce({ ref: this.#ref, fates, bytes }, (outcome) => {
      // A duplicate that left the window cannot be told from this one any more.
      if (outcome.ok) {
        const isOld = outcome.value.baseOffset === NONE;
        demand(isOld, 'producers', () => `${this.name}: another body under seq ${old.seq} was answered OK`);
      }
    });
  }

  #probeWith(epoch: number, seq: number, codes: readonly number[]): void {
    const fates = this.#bannedFates(`epoch ${epoch} and seq ${seq} were not next`);
    const bytes = buildBatch(this.records(fates), { producerId: this.#id, epoch, seq });
    // Nothing else may be under way, or the number might be the next one when it comes.
    if (this.#open.length > 0) return;
    const asked = this.#shared.asked;
    this.produce({ ref: this.#ref, fates, bytes }, (outcome) => {
      const alone = asked === this.#shared.asked;
      if (outcome.ok) demand(!alone || this.#ref.history.soft, 'producers', () => `${this.name}: epoch ${epoch} seq ${seq} was answered OK, not ${codes.join()}`);
    });
  }

  #bannedFates(why: string): Fate[] {
    const fates = this.newFates(this.#ref.name, 1, 100);
    for (const fate of fates) fate.banned = why;
    return fates;
  }
}
