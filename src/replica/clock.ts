// Time for the replica layer: the clock port, and the watch that decides which wall time to believe.
// It reads no clock of its own and starts no timer.
//
// Invariant: `nowMs()` follows the monotonic clock while the wall clock is suspect, so that a wall
// clock that shows 2099 for a second is never stamped on a record (append_time never goes down, so
// one such stamp would poison the log for good), and age retention stands still meanwhile.

import { mut } from '../wire/mut.ts';

/** Where time comes from: the real clocks in the composition root, virtual ones in tests. */
export interface Clock {
  /** Unix milliseconds, may jump either way. */
  wallMs(): number;
  /** Milliseconds from any start, never goes back. */
  monotonicMs(): number;
}

/** A wall clock that moved further than this against the monotonic one is suspect. */
export const CLOCK_JUMP_MS = 60_000;

/** How long a jumped wall clock must stay where it is before it is believed. */
export const CLOCK_SUSPECT_MS = 600_000;

/** Believed wall time, cached for one turn so that a thousand produces read the clock once. */
export class TrustedClock {
  /** Called when the clock becomes suspect, with how far it moved, and when it is believed again (0). */
  onSuspect: ((movedMs: number) => void) | null = null;

  readonly #clock: Clock;
  readonly #defer: (task: () => void) => void;
  readonly #endTurn: () => void;
  /** Wall and monotonic time of the last believed reading. */
  #wallMs: number;
  #monotonicMs: number;
  /** While suspect: the reading that is on probation. */
  #probationWallMs = 0;
  #probationMonotonicMs = 0;
  #suspect = false;
  #fresh = false;
  #turnWallMs = 0;
  #turnMonotonicMs = 0;

  constructor(clock: Clock, defer: (task: () => void) => void) {
    this.#clock = clock;
    this.#defer = defer;
    this.#wallMs = clock.wallMs();
    this.#monotonicMs = clock.monotonicMs();
    this.#endTurn = () => {
      this.#fresh = false;
    };
  }

  /** Unix milliseconds that may be stamped on a record: the same value for the whole turn. */
  nowMs(): number {
    if (!this.#fresh) this.#read();
    return this.#turnWallMs;
  }

  /** Monotonic milliseconds, read once per turn: for deadlines. */
  monotonicMs(): number {
    if (!this.#fresh) this.#read();
    return this.#turnMonotonicMs;
  }

  /** True while the wall clock is not believed: nothing may be trimmed by age. */
  get suspect(): boolean {
    return this.#suspect;
  }

  /** Reads both clocks now, whatever was cached; called at each tick of the node. */
  observe(): void {
    this.#read();
  }

  #read(): void {
    const wall = Math.floor(this.#clock.wallMs());
    const monotonic = this.#clock.monotonicMs();
    if (this.#suspect) this.#judgeProbation(wall, monotonic);
    const expected = this.#wallMs + (monotonic - this.#monotonicMs);
    if (Math.abs(wall - expected) <= CLOCK_JUMP_MS || mut('clock-jump-believed')) {
      // Small steps are how time servers correct a clock: they are followed at once. A clock that
      // came back from a jump stays suspect until its probation ends, but is right again.
      this.#wallMs = wall;
      this.#monotonicMs = monotonic;
      this.#turnWallMs = wall;
    } else {
      if (!this.#suspect) this.#becomeSuspect(wall, monotonic, wall - expected);
      this.#turnWallMs = Math.floor(expected);
    }
    this.#turnMonotonicMs = monotonic;
    if (!this.#fresh) {
      this.#fresh = true;
      this.#defer(this.#endTurn);
    }
  }

  #becomeSuspect(wall: number, monotonic: number, movedMs: number): void {
    this.#suspect = true;
    this.#probationWallMs = wall;
    this.#probationMonotonicMs = monotonic;
    this.onSuspect?.(movedMs);
  }

  /** Believes the reading on probation once it ran along with the monotonic clock long enough. */
  #judgeProbation(wall: number, monotonic: number): void {
    const elapsed = monotonic - this.#probationMonotonicMs;
    if (Math.abs(wall - (this.#probationWallMs + elapsed)) > CLOCK_JUMP_MS) {
      // It moved again (back to where it was, too): the ten minutes start anew.
      this.#probationWallMs = wall;
      this.#probationMonotonicMs = monotonic;
      return;
    }
    if (elapsed < CLOCK_SUSPECT_MS) return;
    this.#suspect = false;
    this.#wallMs = wall;
    this.#monotonicMs = monotonic;
    this.onSuspect?.(0);
  }
}
