// Reads sealed segments again, slowly, so that rot is found while a good copy still exists elsewhere,
// and not when a reader needs the record. A step reads as many bytes as it was given; the caller's
// tick sets the pace.
//
// Invariant: each step goes on where the last one ended, and damage is passed over, not stumbled on twice.
import { DamageError } from './damage.ts';
import type { SegmentList } from './list.ts';
import type { Reader } from './reader.ts';
import { SegmentState } from './segment.ts';

/** Bytes per read of a scrub: large enough to be cheap, small enough not to hold up other reads. */
const READ_SIZE = 256 * 1024;

export interface ScrubResult {
  /** Bytes that were read and checked. */
  readonly bytes: number;
  readonly found: readonly DamageError[];
  /** The last sealed segment was finished; the next step begins with the first again. */
  readonly wrapped: boolean;
}

export class Scrubber {
  readonly #list: SegmentList;
  readonly #reader: Reader;
  /** Index that the next step begins with. */
  #next = 0;
  #step: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(list: SegmentList, reader: Reader) {
    this.#list = list;
    this.#reader = reader;
  }

  /** Checks about `budgetBytes` bytes; one step at a time. Rejects with DiskError. */
  step(budgetBytes: number): Promise<ScrubResult> {
    const step = this.#check(budgetBytes);
    this.#step = step.catch(() => {});
    return step;
  }

  /** Ends what is under way: the files of a closed log may go to another place, which is no damage. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#step;
  }

  async #check(budgetBytes: number): Promise<ScrubResult> {
    const found: DamageError[] = [];
    let bytes = 0;
    while (bytes < budgetBytes && !this.#stopped) {
      this.#next = Math.max(this.#next, this.#list.first.firstIndex);
      const segment = this.#list.withIndex(this.#next);
      if (segment.state !== SegmentState.SEALED) {
        this.#next = 0;
        return { bytes, found, wrapped: true };
      }
      try {
        const range = await this.#reader.readStored(this.#next, Math.min(READ_SIZE, budgetBytes - bytes), segment.end.index);
        if (range === null) continue;
        bytes += range.bytes;
        this.#next = range.lastIndex + 1;
      } catch (error) {
        if (!(error instanceof DamageError)) throw error;
        found.push(error);
        this.#next = error.lastIndex + 1;
      }
    }
    return { bytes, found, wrapped: this.#stopped };
  }
}
