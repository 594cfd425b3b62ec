// Batch bytes of data up to each uncommitted entry, so that a FETCH that waits for 1 MiB is woken once
// and not at every commit. A ring of numbers addressed by index: one store per entry.
//
// Invariant: slot i & mask holds the total up to entry i for every i in (base, last].
const CAPACITY_START = 64;

export class CommittedBytes {
  /** Data bytes committed since the log was opened. */
  committed = 0;
  #total = 0;
  #base = 0;
  #last = 0;
  #mask = CAPACITY_START - 1;
  #totals = new Float64Array(CAPACITY_START);

  /** Starts over behind entry `index`: nothing is uncommitted. */
  reset(index: number): void {
    this.#base = index;
    this.#last = index;
    this.#total = this.committed;
  }

  /** Entry last + 1 holds `dataBytes` of data, 0 when it is a control batch. */
  push(dataBytes: number): void {
    if (this.#last - this.#base > this.#mask) this.#grow();
    this.#last += 1;
    this.#total += dataBytes;
    this.#totals[this.#last & this.#mask] = this.#total;
  }

  /** Entries up to `index` are committed. */
  commit(index: number): void {
    if (index === this.#base) return;
    this.committed = this.#totals[index & this.#mask]!;
    this.#base = index;
  }

  #grow(): void {
    const from = this.#totals;
    const fromMask = this.#mask;
    this.#mask = (fromMask + 1) * 2 - 1;
    this.#totals = new Float64Array(this.#mask + 1);
    for (let i = this.#base + 1; i <= this.#last; i++) this.#totals[i & this.#mask] = from[i & fromMask]!;
  }
}
