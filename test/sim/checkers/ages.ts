// Age retention takes no record that is younger than retain_ms, whatever the wall clock of its node says: a
// clock that jumps by more than a minute is not believed. Steps up to that are, and so is what a start finds.
// Watched on one node, on logs that nothing else trims there.
import { demand } from '../core/failure.ts';
import type { LogHistory } from '../history/log-history.ts';
import type { Checker, RangeSeen } from '../history/watch.ts';
import { WALL_START_MS } from '../node/sim-clock.ts';
import type { SimClock } from '../node/sim-clock.ts';
import type { SimOptions } from '../options.ts';

/** How far below the start a record is looked for whose time is known. */
const LOOK_BACK = 100;
/** Drift of the clock in a world's life. */
const SLACK_MS = 200;
/** An answer may have been under way for so long. */
const DELAY_US = 10_000_000;

export class Ages implements Checker {
  readonly rule = 'ages';
  readonly #options: SimOptions;
  readonly #nowUs: () => number;
  readonly #clock: () => SimClock;
  /** By log: when it was last seen to begin where it had begun before. */
  readonly #lastUs = new Map<LogHistory, number>();

  constructor(options: SimOptions, nowUs: () => number, clock: () => SimClock) {
    this.#options = options;
    this.#nowUs = nowUs;
    this.#clock = clock;
  }

  range({ log, logStart }: RangeSeen): void {
    if (this.#options.nodeCount > 1) return;
    const lastUs = this.#lastUs.get(log) ?? 0;
    this.#lastUs.set(log, this.#nowUs());
    if (logStart <= log.start || logStart <= log.trimAsked || log.soft) return;
    const plan = this.#options.logs.find(({ name }) => name === log.name);
    if (plan === undefined || plan.retainBytes > 0 || plan.retainMs === 0) return;
    let offset = logStart - 1;
    const least = Math.max(0, logStart - LOOK_BACK);
    while (offset >= least && (log.appendTimes[offset] ?? -1) < 0) offset--;
    if (offset < least) return;
    const ageMs = WALL_START_MS + this.#nowUs() / 1000 - log.appendTimes[offset]!;
    // By the clock of the node, at some time since.
    const aheadMs = this.#clock().aheadMaxMs(lastUs - DELAY_US);
    demand(ageMs + aheadMs + SLACK_MS >= plan.retainMs, this.rule, () => `${log.name} keeps records ${plan.retainMs} ms, and begins at ${logStart}; that at ${offset} is ${Math.round(ageMs)} ms old`);
  }
}
