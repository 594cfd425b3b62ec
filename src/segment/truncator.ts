// Removes the newest entries of a log: from the list and the tail at once, from the disk when the write
// in flight has ended (flusher, cut.ts). Only where the new end lies in a segment that is not open does
// it wait for the disk before anything changes.
//
// Invariant: the tail, the list and the flusher hear of a truncation in one turn, or not at all.
import { DamageError } from './damage.ts';
import type { Flusher } from './flusher.ts';
import type { SegmentList } from './list.ts';
import { ColdError, type Lookup } from './lookup.ts';
import type { LogEnd } from './mark.ts';
import type { Tail } from './tail.ts';

export class Truncator {
  readonly #list: SegmentList;
  readonly #tail: Tail;
  readonly #lookup: Lookup;
  readonly #flusher: Flusher;
  #loading: Promise<void> | null = null;

  constructor(list: SegmentList, tail: Tail, lookup: Lookup, flusher: Flusher) {
    this.#list = list;
    this.#tail = tail;
    this.#lookup = lookup;
    this.#flusher = flusher;
  }

  /** The place to cut is being read from disk; the log is still what it was. */
  get loading(): boolean {
    return this.#loading !== null;
  }

  /** Resolves when nothing is being read for a truncation, whether or not that worked. */
  async whenLoaded(): Promise<void> {
    while (this.#loading !== null) await this.#loading.catch(() => {});
  }

  /** Removes the entries from `fromIndex` on, which the log has. Rejects with DiskError or DamageError. */
  truncate(fromIndex: number): Promise<void> {
    try {
      return this.#cutTo(this.#lookup.endBefore(fromIndex));
    } catch (error) {
      if (error instanceof DamageError) return Promise.reject(error);
      if (!(error instanceof ColdError)) throw error;
      return this.#truncateCold(fromIndex, error);
    }
  }

  #cutTo(end: LogEnd): Promise<void> {
    const removed = this.#list.truncate(end.index + 1);
    const target = this.#list.last;
    this.#tail.truncate(target, end);
    return this.#flusher.cut(end, target, removed);
  }

  async #truncateCold(fromIndex: number, cold: ColdError): Promise<void> {
    let cut: Promise<void> | null = null;
    this.#loading = cold.load();
    try {
      while (cut === null) {
        await this.#loading;
        // A full disk may have cut the log back further meanwhile.
        if (fromIndex > this.#tail.lastIndex) return;
        try {
          cut = this.#cutTo(this.#lookup.endBefore(fromIndex));
        } catch (error) {
          if (!(error instanceof ColdError)) throw error;
          this.#loading = error.load();
        }
      }
    } finally {
      this.#loading = null;
    }
    await cut;
  }
}
