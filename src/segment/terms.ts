// Which term each entry of the log's newer part has: runs of equal terms, in memory. Terms change only
// at elections and restarts, so a run is an entry of two small arrays. Entries older than the table
// are found through the segment heads (the term before each segment) or read from disk.
//
// Invariant: starts and terms both increase strictly; the table covers [starts[0], lastIndex].

export class TermTable {
  readonly #starts: number[] = [];
  readonly #terms: number[] = [];

  /** First index that the table knows; Infinity when it is empty. */
  get firstIndex(): number {
    return this.#starts.length === 0 ? Infinity : this.#starts[0]!;
  }

  /** Notes that the entry `index`, the next one of the log, has `term`. */
  add(index: number, term: number): void {
    const last = this.#terms.length - 1;
    if (last >= 0 && this.#terms[last] === term) return;
    this.#starts.push(index);
    this.#terms.push(term);
  }

  /** The term of `index`, which the table must cover. */
  at(index: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#starts[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    return this.#terms[low]!;
  }

  /** Forgets the entries from `index` on. */
  truncate(index: number): void {
    while (this.#starts.length > 0 && this.#starts[this.#starts.length - 1]! >= index) {
      this.#starts.pop();
      this.#terms.pop();
    }
  }

  /** Forgets the runs that end before `index`. */
  trim(index: number): void {
    while (this.#starts.length > 1 && this.#starts[1]! <= index) {
      this.#starts.shift();
      this.#terms.shift();
    }
  }

  /** Puts the table of older entries in front of this one. */
  clear(): void {
    this.#starts.length = 0;
    this.#terms.length = 0;
  }
}
