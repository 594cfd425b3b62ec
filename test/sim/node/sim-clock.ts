// The two clocks of one simulated node: they drift against true time, the wall clock jumps, and the
// monotonic one stands still while the machine under the node is stopped.
//
// Invariant: the monotonic clock never goes back while a process lives; it begins anew with each.
import { CLOCK_JUMP_MS } from '../../../src/replica/clock.ts';
import type { Clock } from '../../../src/replica/clock.ts';
import type { Scheduler } from '../core/scheduler.ts';

/** 2026-09-21T14:13:20Z, where true time begins, in Unix milliseconds. */
export const WALL_START_MS = 1_790_000_000_000;

export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  /** Parts per million that both clocks run fast. */
  #driftPpm = 0;
  #sinceUs = 0;
  /** Monotonic microseconds at `#sinceUs`. */
  #monotonicUs = 0;
  #frozenAtUs = 0;
  #wallUs = WALL_START_MS * 1000;
  /** How far a node that believes steps of at most CLOCK_JUMP_MS is ahead of true time, and since when. */
  readonly #beliefs: { readonly atUs: number; readonly aheadMs: number }[] = [{ atUs: 0, aheadMs: 0 }];

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  wallMs(): number {
    return Math.floor((this.#wallUs + this.#elapsedUs()) / 1000);
  }

  monotonicMs(): number {
    return (this.#monotonicUs + this.#elapsedUs()) / 1000;
  }

  set driftPpm(ppm: number) {
    this.#settle();
    this.#driftPpm = ppm;
  }

  jumpWall(ms: number): void {
    this.#wallUs += ms * 1000;
    this.#step();
  }

  /** How far the wall clock is from true time, in milliseconds. */
  get wallErrorMs(): number {
    return this.wallMs() - (WALL_START_MS + Math.floor(this.#scheduler.nowUs / 1000));
  }

  /** How far a node that does as it should was ahead of true time at most, at or after `fromUs`. */
  aheadMaxMs(fromUs: number): number {
    let most = -Infinity;
    for (let i = this.#beliefs.length - 1; i >= 0; i--) {
      const { atUs, aheadMs } = this.#beliefs[i]!;
      most = Math.max(most, aheadMs);
      if (atUs <= fromUs) break;
    }
    return most;
  }

  /** Brings the wall clock back to true time. */
  correct(): void {
    this.#settle();
    this.#wallUs = WALL_START_MS * 1000 + this.#scheduler.nowUs;
    this.#step();
  }

  /** The machine stands still: from now on only the wall clock goes on, until it is thawed. */
  freeze(): void {
    this.#settle();
    this.#frozenAtUs = this.#monotonicUs;
  }

  thaw(): void {
    this.#settle();
    this.#monotonicUs = this.#frozenAtUs;
  }

  /** A new process begins to count. */
  restart(): void {
    this.#settle();
    this.#monotonicUs = 0;
    // Its first reading is all that it has to go by.
    this.#believe(this.wallErrorMs);
  }

  #step(): void {
    // Nearly a minute may be one, as the two clocks drift.
    const error = this.wallErrorMs;
    if (Math.abs(error - this.#beliefs.at(-1)!.aheadMs) <= CLOCK_JUMP_MS + 1000) this.#believe(error);
  }

  #believe(aheadMs: number): void {
    this.#beliefs.push({ atUs: this.#scheduler.nowUs, aheadMs });
  }

  #settle(): void {
    const elapsed = this.#elapsedUs();
    this.#monotonicUs += elapsed;
    this.#wallUs += elapsed;
    this.#sinceUs = this.#scheduler.nowUs;
  }

  #elapsedUs(): number {
    const us = this.#scheduler.nowUs - this.#sinceUs;
    return us + Math.floor((us * this.#driftPpm) / 1_000_000);
  }
}
