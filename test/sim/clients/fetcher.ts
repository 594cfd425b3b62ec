// A reader that asks with FETCH: from somewhere, then on from where it stands, waiting at the end. It
// also asks where a time begins, and reads from there.
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { FETCH_LINEARIZABLE, From, Op } from '../../../src/wire/ops.ts';
import { fetchRequest, findOffsetRequest } from '../../../src/wire/requests-read.ts';
import type { FetchRequest } from '../../../src/wire/requests-read.ts';
import { fetchResponse, findOffsetResponse } from '../../../src/wire/responses-data.ts';
import type { FetchResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

/** Requests that it has under way at most. */
const ASKED_MAX = 6;

export class Fetcher extends SimClient {
  /** The next offset it wants; NONE = it begins anew. */
  next = NONE;
  /** Reads to the end and stops: the last reading of a world. */
  readonly #once: boolean;
  readonly #ref: LogRef;
  done = false;
  #generation: number;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number, once = false) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
    this.#once = once;
    this.#generation = ref.generation;
  }

  /** Whether an answer must reflect everything that was acknowledged before it was asked. */
  #isLinear(flags: number): boolean {
    return this.world.nodes.length === 1 || (flags & FETCH_LINEARIZABLE) !== 0;
  }

  /** A request at the end, which may wait there, leaves nothing open: with several readers one always waits. */
  override get settled(): boolean {
    return this.#once ? this.done : this.next >= this.#ref.history.end || this.#ref.history.damaged;
  }

  protected step(): void {
    if (this.done) return;
    if (this.underWay > 0) {
      if (this.underWay < ASKED_MAX && !this.draining && !this.#once && this.prng.chance(0.6)) this.#askEnd();
      return;
    }
    if (this.#generation !== this.#ref.generation) {
      this.#generation = this.#ref.generation;
      this.next = NONE;
    }
    if (!this.draining && !this.#once && this.prng.chance(0.05)) return this.#find();
    if (!this.draining && !this.#once && this.prng.chance(0.02)) this.next = NONE;
    this.#fetch();
  }

  #request(): FetchRequest {
    const { prng, next } = this;
    const end = this.#ref.history.end;
    const waits = !this.#once && !this.draining && prng.chance(0.5);
    const flags = prng.chance(0.5) || this.#once ? FETCH_LINEARIZABLE : 0;
    // Whoever asks another node for the present state must give it time to ask the leader.
    const patienceMs = flags !== 0 && this.world.nodes.length > 1 ? 300 : 0;
    const base = {
      log: this.#ref.name, flags, positionName: '',
      minBytes: prng.chance(0.8) ? 0 : prng.next(2000), maxBytes: this.draining || this.#once ? 60_000 : prng.pick([200, 4000, 60_000]),
      maxWaitMs: waits ? prng.between(1, 2000) : patienceMs, logUid: this.#ref.uid,
    };
    if (next !== NONE) {
      const after = prng.chance(0.1) ? { after: Math.min(next, end) } : {};
      return { ...base, from: From.OFFSET, value: next, ...after };
    }
    if (this.#once || prng.chance(0.5)) return { ...base, from: From.EARLIEST, value: 0 };
    if (prng.chance(0.4)) return { ...base, from: From.NEXT, value: 0 };
    return { ...base, from: From.OFFSET, value: end === 0 ? 0 : prng.next(end) };
  }

  #fetch(): void {
    const log = this.#ref.history;
    const request = this.#request();
    const floor = log.end;
    const startFloor = log.start;
    this.begin('fetch');
    this.link.call(Op.FETCH, fetchRequest, request, fetchResponse, (outcome) => {
      this.ended('fetch', outcome);
      if (!outcome.ok) return this.#failed(outcome.code, request, floor, startFloor, outcome.error.detail.range);
      this.#take(request, outcome.value, floor, startFloor);
    });
  }

  #take(request: FetchRequest, answer: FetchResponse, floor: number, startFloor: number): void {
    const log = this.#ref.history;
    const { stale } = this.link;
    if (stale && log.soft) return;
    const { startOffset, logStart, committedEnd, batches } = answer;
    const { history, counters } = this.world;
    const linear = this.#isLinear(request.flags);
    history.range({ log, logStart, committedEnd, floor, startFloor, linear, stale });
    const { after } = request;
    demand(after === undefined || committedEnd >= after, 'reads', () => `${this.name} asked for ${log.name} as of ${after} and got it as of ${committedEnd}`);
    demand(request.from !== From.OFFSET || startOffset === request.value, 'reads', () => `${this.name} asked for offset ${request.value} of ${log.name} and got ${startOffset}`);
    // A trim may overtake a read that has begun.
    const low = linear ? Math.min(startFloor, logStart) : 0;
    demand(startOffset >= low && startOffset <= committedEnd, 'reads', () => `${this.name} got start ${startOffset} outside of ${logStart} to ${committedEnd}`);
    if (request.from === From.EARLIEST) demand((startOffset >= startFloor || !linear) && startOffset <= logStart, 'reads', () => `the earliest record of ${log.name} is ${logStart}, not ${startOffset}`);
    const next = history.batches(log, batches, startOffset, this.name);
    demand(next <= committedEnd, 'reads', () => `${this.name} got records up to ${next} of ${log.name}, which ends at ${committedEnd}`);
    counters.recordsRead += next - startOffset;
    this.next = next;
    if (this.#once && next === committedEnd) this.done = true;
  }

  #failed(code: number, request: FetchRequest, floor: number, startFloor: number, range: { logStart: number; committedEnd: number } | undefined): void {
    const log = this.#ref.history;
    if (code === ErrorCode.OFFSET_OUT_OF_RANGE && range !== undefined) {
      const { stale } = this.link;
      if (stale && log.soft) return;
      const { value } = request;
      // Only what is refused for lying beyond the end says where the end is now.
      const linear = this.world.nodes.length === 1 || value > range.committedEnd;
      this.world.history.range({ log, ...range, floor, startFloor: linear ? startFloor : 0, linear, stale });
      demand(value < range.logStart || value > range.committedEnd, 'reads', () => `offset ${value} of ${log.name} is refused, and the log has ${range.logStart} to ${range.committedEnd}`);
      this.next = value < range.logStart ? range.logStart : log.soft ? NONE : value;
      demand(value <= range.committedEnd || log.soft || request.value > floor, 'reads', () => `${this.name} stood at ${value} of ${log.name}, which ends at ${range.committedEnd}`);
      return;
    }
    if (code === ErrorCode.DATA_LOSS && this.world.nodes.length > 1) this.mayBeDamaged();
    else if (code === ErrorCode.DATA_LOSS) {
      demand(log.damaged, 'reads', () => `offset ${request.value} of ${log.name} is refused as damaged, and nothing damaged it`);
      // What lies behind the damage is whole.
      this.next = range !== undefined && range.committedEnd > this.next && this.next !== NONE ? range.committedEnd : NONE;
    }
    this.backOff();
  }

  /** Where the log ends now, whatever else it waits for: a node that has lost the lead without knowing must not say. */
  #askEnd(): void {
    const log = this.#ref.history;
    const floor = log.end;
    const startFloor = log.start;
    const request = {
      log: this.#ref.name, flags: FETCH_LINEARIZABLE, positionName: '', from: From.NEXT, value: 0,
      minBytes: 0, maxBytes: 200, maxWaitMs: 300, logUid: this.#ref.uid,
    };
    this.begin('fetch');
    this.link.call(Op.FETCH, fetchRequest, request, fetchResponse, (outcome) => {
      this.ended('fetch', outcome);
      const { stale } = this.link;
      if (!outcome.ok || (stale && log.soft)) return;
      const { logStart, committedEnd } = outcome.value;
      this.world.history.range({ log, logStart, committedEnd, floor, startFloor, linear: true, stale });
    });
  }

  /** FIND_OFFSET of a time that a known record has. */
  #find(): void {
    const log = this.#ref.history;
    const known = log.records.length;
    const probe = known === 0 ? -1 : this.prng.next(known);
    const time = probe < 0 || log.appendTimes[probe]! <= 0 ? this.prng.next(2 ** 31) : log.appendTimes[probe]!;
    const floor = log.end;
    const startFloor = log.start;
    this.begin('find');
    this.link.call(Op.FIND_OFFSET, findOffsetRequest, { log: this.#ref.name, time, logUid: this.#ref.uid }, findOffsetResponse, (outcome) => {
      this.ended('find', outcome);
      const { stale } = this.link;
      if (!outcome.ok || (stale && log.soft)) return;
      const { offset, logStart, committedEnd } = outcome.value;
      const linear = this.#isLinear(0);
      this.world.history.range({ log, logStart, committedEnd, floor, startFloor, linear, stale });
      demand(offset >= logStart && offset <= committedEnd, 'reads', () => `time ${time} of ${log.name} begins at ${offset}, outside of ${logStart} to ${committedEnd}`);
      const timeAt = (known: number): number => (log.outdated(known) ? -1 : (log.appendTimes[known] ?? -1));
      const at = timeAt(offset);
      const before = offset > logStart ? timeAt(offset - 1) : -1;
      demand(at < 0 || at >= time || (!linear && offset === committedEnd), 'reads', () => `time ${time} of ${log.name} is said to begin at ${offset}, which has ${at}`);
      // The batch before may hold the time, too, if `offset` lies inside of it: then it is not a border.
      demand(before < time || before === at, 'reads', () => `time ${time} of ${log.name} is said to begin at ${offset}, but ${offset - 1} has ${before}`);
      this.next = offset;
    });
  }
}
