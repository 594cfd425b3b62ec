// Carries out what the core wants done to the log, in its order. Most of it is done on the spot; what
// comes while the log cannot take it (a truncation still looks for its place, a full disk is being cut
// back) waits here.
//
// Invariant: `generation` is the core's generation of what the log holds now, so a completion that is
// current for the log is current for the core under this number, and under no other (ABA, DESIGN §4).
import { assert } from '../../wire/assert.ts';
import type { AppendOp, LogOp } from '../effects.ts';
import type { Index } from '../types.ts';
import type { LogPort } from './ports.ts';

export class LogQueue {
  generation = 1;
  readonly #log: LogPort;
  readonly #waiting: LogOp[] = [];

  constructor(log: LogPort) {
    this.#log = log;
  }

  /** Nothing waits, and the log is as the core believes it to be. */
  get empty(): boolean {
    return this.#waiting.length === 0;
  }

  take(ops: readonly LogOp[]): void {
    for (let i = 0; i < ops.length; i++) {
      const op = ops[i]!;
      // Proposals went into the log when they were made.
      if (op.kind === 'append' && op.source === 'proposal') continue;
      this.#waiting.push(op);
    }
    if (this.#waiting.length > 0) this.go();
  }

  /** Does what can be done now. */
  go(): void {
    while (this.#waiting.length > 0) {
      const op = this.#waiting[0]!;
      const nothingToCut = op.kind === 'truncate' && op.afterIndex >= this.#log.lastIndex;
      if (!this.#log.ready && !nothingToCut) return;
      if (op.kind === 'truncate') this.#truncate(op.afterIndex, nothingToCut);
      else this.#append(op);
      // It stays first until the log has made the cut: only then does the generation count.
      if (!this.#log.ready && !nothingToCut) return;
      this.generation = op.generation;
      this.#waiting.shift();
    }
  }

  #truncate(afterIndex: Index, nothingToCut: boolean): void {
    if (!nothingToCut) this.#log.truncateAfter(afterIndex);
  }

  #append(op: AppendOp): void {
    const log = this.#log;
    assert(op.from === log.lastIndex + 1, 'entries follow each other without a gap');
    if (op.source === 'noop') log.appendNoop(op.term);
    else if (op.source === 'config') log.appendConfig(op.term, op.config!);
    else log.appendFrom(op.message!, op.from, op.to);
    assert(log.lastIndex === op.to, 'the log holds what the core believes');
  }

  /** The log was cut back by itself: what waited was to come behind that. Where the earliest cut would be. */
  drop(): Index {
    let lowest = Infinity;
    for (const op of this.#waiting) if (op.kind === 'truncate') lowest = Math.min(lowest, op.afterIndex);
    this.#waiting.length = 0;
    return lowest;
  }
}
