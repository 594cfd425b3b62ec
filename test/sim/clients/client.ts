// What all simulated clients share: a link, a pace, and sending a batch with the bookkeeping that the
// checkers rely on. A client is an app with one connection; it is paced by simulated time, never waits
// in a promise, and knows of a node only what an answer says.
//
// Invariant: each sending of a record is counted when it goes out and when its outcome is known.
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { Op, PRODUCE_DUPLICATE } from '../../../src/wire/ops.ts';
import { produceRequest } from '../../../src/wire/requests-write.ts';
import { produceResponse } from '../../../src/wire/responses-data.ts';
import type { ProduceResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import { TraceKind } from '../core/trace.ts';
import type { Counters } from '../counters.ts';
import { Fate, valueOf } from '../history/fate.ts';
import type { History } from '../history/history.ts';
import type { LogHistory } from '../history/log-history.ts';
import type { SimNode } from '../node/sim-node.ts';
import { ClientLink } from './link.ts';
import type { LinkWorld, Outcome } from './link.ts';

/** A log that the world keeps alive, as its clients know it. */
export interface LogRef {
  readonly name: string;
  /** Unfenced writers are refused here; fenced ones keep away from the others. */
  readonly fenced: boolean;
  uid: Buffer;
  history: LogHistory;
  /** Raised when the name means another log. */
  generation: number;
}

export interface ClientWorld extends LinkWorld {
  /** The nodes that hold the log; any of them for null. */
  hostsOf(ref: LogRef | null): readonly SimNode[];
  /** Who leads the log, as this node believes; null = it does not know. */
  hint(node: SimNode, ref: LogRef): SimNode | null;
  readonly history: History;
  readonly counters: Counters;
  readonly logs: readonly LogRef[];
  readonly batchBytesMax: number;
}

export interface Sending {
  readonly ref: LogRef;
  readonly fates: readonly Fate[];
  readonly bytes: Buffer;
  readonly expectedOffset?: number;
  readonly fence?: number;
  readonly timeoutMs?: number;
  /** How often this very batch went out, this time included. */
  readonly sendings?: number;
}

/** Errors that say something about the state of the log. */
const STATE_REFUSALS: ReadonlySet<number> = new Set([
  ErrorCode.OFFSET_MISMATCH, ErrorCode.FENCED, ErrorCode.PRODUCER_FENCED, ErrorCode.SEQ_GAP, ErrorCode.SEQ_REUSED,
  ErrorCode.UNKNOWN_PRODUCER, ErrorCode.LOG_NOT_FOUND, ErrorCode.LOG_CHANGED, ErrorCode.POSITION_MISMATCH, ErrorCode.POSITION_NOT_FOUND,
]);

/** Errors after which another node may do better. */
const ELSEWHERE: ReadonlySet<number> = new Set([
  ErrorCode.NOT_LEADER, ErrorCode.NO_LEADER, ErrorCode.LOG_STOPPED, ErrorCode.LOG_NOT_FOUND, ErrorCode.LEADERSHIP_LOST, ErrorCode.DATA_LOSS,
]);

/** Pause after an answer that says "not now". */
const BACKOFF_US = 40_000;

/** Mean time between two steps of a client that only finishes what it began. */
const DRAINING_US = 20_000;

export abstract class SimClient {
  readonly name: string;
  readonly link: ClientLink;
  /** Begins nothing new: what is under way is brought to its end. */
  draining = false;
  /** Requests whose outcome is not known yet. */
  underWay = 0;
  protected readonly world: ClientWorld;
  protected readonly prng: Prng;
  protected notBeforeUs = 0;
  readonly #thinkUs: number;

  readonly #log: LogRef | null;

  /** `thinkUs`: mean time between two steps. `log`: the only one it uses, if there is only one. */
  constructor(world: ClientWorld, name: string, prng: Prng, thinkUs: number, log: LogRef | null = null) {
    this.world = world;
    this.#log = log;
    this.name = name;
    this.prng = prng;
    this.#thinkUs = thinkUs;
    this.link = new ClientLink(world, name, prng.fork(), () => world.hostsOf(log), {
      ready: () => this.connected(),
      lost: () => this.disconnected(),
    });
    this.#next();
  }

  /** Whether everything it began has come to its end. */
  get settled(): boolean {
    return this.underWay === 0;
  }

  /** Does the next thing; called at the client's pace while it is connected. */
  protected abstract step(): void;

  protected connected(): void {}

  protected disconnected(): void {}

  #next(): void {
    const { scheduler } = this.world;
    const thinkUs = this.draining ? Math.min(this.#thinkUs, DRAINING_US) : this.#thinkUs;
    scheduler.after(1 + this.prng.next(2 * thinkUs), () => {
      if (this.link.closed) return;
      if (this.link.ready && scheduler.nowUs >= this.notBeforeUs) this.link.deliver(() => this.step());
      this.#next();
    });
  }

  protected backOff(): void {
    this.notBeforeUs = this.world.scheduler.nowUs + BACKOFF_US + this.prng.next(BACKOFF_US);
  }

  protected newFates(log: string, countMax: number, sizeMax: number): Fate[] {
    const count = this.prng.between(1, countMax);
    const fates: Fate[] = [];
    for (let i = 0; i < count; i++) {
      const size = this.prng.chance(0.9) ? this.prng.between(8, Math.min(sizeMax, 200)) : this.prng.between(8, sizeMax);
      fates.push(this.world.history.newFate(this.name, log, size));
    }
    return fates;
  }

  protected records(fates: readonly Fate[]): { value: Buffer }[] {
    return fates.map((fate) => ({ value: valueOf(fate) }));
  }

  /** Sends one batch and keeps the books; `done` learns how it ended. */
  protected produce(sending: Sending, done: (outcome: Outcome<ProduceResponse>) => void): void {
    const { history, counters } = this.world;
    const { ref, fates, bytes } = sending;
    const log = ref.history;
    const fence = sending.fence ?? 0;
    const expectedOffset = sending.expectedOffset ?? NONE;
    const floor = log.end;
    const fenceFloor = log.fence;
    this.begin('produce');
    history.sending(fates, log, fence);
    const value = {
      log: ref.name, flags: 0, timeoutMs: sending.timeoutMs ?? 0, expectedOffset, fence, logUid: ref.uid, batch: bytes,
    };
    this.link.call(Op.PRODUCE, produceRequest, value, produceResponse, (outcome) => {
      this.ended('produce', outcome);
      if (outcome.ok) {
        const { value: answer } = outcome;
        counters.recordsAcked += fates.length;
        history.acked({
          ...answer, log, fates, floor, expectedOffset, fence, duplicate: (answer.flags & PRODUCE_DUPLICATE) !== 0,
          sendings: sending.sendings ?? 1, stale: this.link.stale,
        });
      } else {
        if (outcome.noEffect) history.refused(fates);
        else history.unknown(fates);
        this.refusal(log, outcome, { floor, fenceFloor, expectedOffset, fence, fates });
      }
      done(outcome);
    });
  }

  /** Shows an error answer to the checkers, if it is one about the log's state. */
  protected refusal(
    log: LogHistory,
    outcome: Outcome<unknown> & { ok: false },
    asked: { floor: number; fenceFloor: number; expectedOffset: number; fence: number; fates: readonly Fate[] },
  ): void {
    if (!STATE_REFUSALS.has(outcome.code)) return;
    const { nextOffset, fence, expectedSeq } = outcome.error.detail;
    this.world.history.watch.refusal({
      log, code: outcome.code, detail: nextOffset ?? fence ?? expectedSeq ?? NONE, ...asked,
      node: this.link.stale ? null : this.link.node, fewReplicas: this.world.nodes.length > 1,
    });
  }

  /** Of several nodes one has answered DATA_LOSS: its disk must have lost something. */
  protected mayBeDamaged(): void {
    const { node, stale } = this.link;
    demand(stale || node!.rotted.size > 0, 'reads', () => `${node!.name} says that records are damaged, and nothing damaged them`);
  }

  /** Counts a request that begins. */
  protected begin(what: string): void {
    this.underWay++;
    this.world.counters.began(what);
  }

  /** Follows the hint that came with the answer, or tries its luck. */
  #moveOn(outcome: Outcome<unknown>): void {
    const { world, link } = this;
    if (world.nodes.length === 1 || outcome.ok || link.node === null) return;
    const hint = outcome.code === ErrorCode.NOT_LEADER && this.#log !== null ? world.hint(link.node, this.#log) : null;
    if (hint !== null || this.prng.chance(0.5)) link.moveTo(hint);
  }

  /** Counts the end of a request. */
  protected ended(what: string, outcome: Outcome<unknown>): void {
    this.underWay--;
    const code = outcome.ok ? 0 : outcome.code;
    this.world.counters.ended(what, code);
    if (ELSEWHERE.has(code)) this.#moveOn(outcome);
    this.world.trace.add(TraceKind.CLIENT, code, this.underWay, 0);
    if (this.world.trace.lines !== null) this.world.trace.line(`${this.name} ${what}: ${outcome.ok ? `OK ${text(outcome.value)}` : outcome.error.message}`);
  }
}

function text(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) =>
    typeof field === 'object' && field !== null && 'type' in field && field.type === 'Buffer' ? '…' : field,
  );
}
