// A reader that subscribes, gives credit as it takes what comes, is slow now and then, and begins again
// where it stood when its subscription ends.
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { From, Op } from '../../../src/wire/ops.ts';
import { subscribeRequest } from '../../../src/wire/requests-read.ts';
import type { SubscribeRequest } from '../../../src/wire/requests-read.ts';
import { Reader } from '../../../src/wire/bytes.ts';
import { deliver, subscribeResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

type Frame = { readonly first: { startOffset: number; logStart: number; committedEnd: number } } | { readonly data: { committedEnd: number; batches: Buffer } };

const CREDIT_FIRST = 20_000;

export class Subscriber extends SimClient {
  next = NONE;
  readonly #ref: LogRef;
  #id = 0;
  #owed = 0;
  #started = false;
  #generation: number;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
    this.#generation = ref.generation;
  }

  /** Its subscription goes on for ever; it is settled when it has everything. */
  override get settled(): boolean {
    return this.next >= this.#ref.history.end || this.#ref.history.damaged;
  }

  protected step(): void {
    if (this.#id === 0) return this.#subscribe();
    if (this.#owed > 0) {
      this.link.credit(this.#id, this.#owed);
      this.#owed = 0;
    }
    if (this.draining) return this.link.readOn();
    if (this.prng.chance(0.01)) this.link.cancel(this.#id);
    else if (this.prng.chance(0.01)) this.link.stopReading();
    else if (this.prng.chance(0.2)) this.link.readOn();
  }

  #subscribe(): void {
    if (this.#generation !== this.#ref.generation) {
      this.#generation = this.#ref.generation;
      this.next = NONE;
    }
    const log = this.#ref.history;
    const floor = log.end;
    const startFloor = log.start;
    this.begin('subscribe');
    const request: SubscribeRequest = {
      log: this.#ref.name, from: this.next === NONE ? From.EARLIEST : From.OFFSET, value: Math.max(0, this.next), positionName: '',
      creditBytes: CREDIT_FIRST, logUid: this.#ref.uid,
    };
    this.#started = false;
    this.#owed = 0;
    this.link.readOn();
    const codec = { read: (r: Reader): Frame => this.#read(r) };
    this.#id = this.link.call<SubscribeRequest, Frame>(Op.SUBSCRIBE, subscribeRequest, request, codec, (outcome) => {
      if (outcome.ok) return this.#take(outcome.value, request.value, floor, startFloor);
      this.ended('subscribe', outcome);
      this.#id = 0;
      if (outcome.code === ErrorCode.OFFSET_OUT_OF_RANGE) {
        const range = outcome.error.detail.range;
        const at = Math.max(0, this.next);
        demand(range === undefined || at < range.logStart || at > range.committedEnd, 'reads', () => `${this.name}: offset ${at} is refused, the log has ${range!.logStart} to ${range!.committedEnd}`);
        demand(range === undefined || at <= range.committedEnd || log.soft, 'reads', () => `${this.name} stood at ${at} of ${log.name}, which ends at ${range!.committedEnd}`);
        this.next = range === undefined || log.soft ? NONE : range.logStart;
      } else if (outcome.code === ErrorCode.DATA_LOSS && this.world.nodes.length > 1) this.mayBeDamaged();
      else if (outcome.code === ErrorCode.DATA_LOSS) {
        demand(log.damaged, 'reads', () => `${this.name}: offset ${this.next} of ${log.name} is refused as damaged, and nothing damaged it`);
        const end = outcome.error.detail.range?.committedEnd ?? NONE;
        this.next = end > this.next && this.next !== NONE ? end : NONE;
      }
      this.backOff();
    });
  }

  /** The answer to SUBSCRIBE comes first, DELIVER after it. */
  #read(r: Reader): Frame {
    if (!this.#started) return { first: subscribeResponse.read(r) };
    return { data: deliver.read(r) };
  }

  #take(frame: Frame, asked: number, floor: number, startFloor: number): void {
    const log = this.#ref.history;
    const { stale } = this.link;
    if ('first' in frame) {
      this.#started = true;
      const { startOffset, logStart, committedEnd } = frame.first;
      if (stale && log.soft) return;
      this.world.history.range({ log, logStart, committedEnd, floor, startFloor, linear: this.world.nodes.length === 1, stale });
      demand(this.next === NONE || startOffset === asked, 'reads', () => `${this.name} subscribed from ${asked} and is served from ${startOffset}`);
      this.next = startOffset;
      return;
    }
    const { committedEnd, batches } = frame.data;
    this.#owed += batches.length;
    if (stale && log.soft) return;
    const before = this.next;
    this.next = this.world.history.batches(log, batches, before, this.name);
    demand(this.next <= committedEnd, 'reads', () => `${this.name} got records up to ${this.next} of ${log.name}, which ends at ${committedEnd}`);
    this.world.counters.recordsRead += this.next - before;
  }
}
