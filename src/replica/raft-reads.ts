// Tickets for linearizable reads: from the core's confirmation (thesis §6.4, ReadIndex) to the moment
// when the confirmed index is applied here. Tickets and confirmations come in order, so each step is a
// short queue of numbers.
//
// Invariant: `confirmed` only rises, and reaches a ticket only when everything that was committed when
// the ticket was taken is applied.
import type { Index } from '../raft/types.ts';

export class RaftReads {
  /** Highest ticket whose answer may be given. */
  confirmed = 0;
  #ticket = 0;
  /** Asked, not yet confirmed: tickets and the core's sequences. */
  readonly #asked: Array<{ readonly ticket: number; readonly sequence: number }> = [];
  /** Confirmed as of an index that is not applied yet. */
  readonly #confirmedAt: Array<{ readonly ticket: number; readonly index: Index }> = [];

  get undecided(): boolean {
    return this.#asked.length > 0 || this.#confirmedAt.length > 0;
  }

  /** A ticket that needs nobody's consent. */
  takeConfirmed(): number {
    this.confirmed = ++this.#ticket;
    return this.#ticket;
  }

  take(sequence: number): number {
    this.#asked.push({ ticket: ++this.#ticket, sequence });
    return this.#ticket;
  }

  /** Leadership was confirmed after the reads up to `sequence` came: they hold once `index` is applied. */
  settle(sequence: number, index: Index): void {
    let ticket = 0;
    while (this.#asked.length > 0 && this.#asked[0]!.sequence <= sequence) ticket = this.#asked.shift()!.ticket;
    if (ticket > 0) this.#confirmedAt.push({ ticket, index });
  }

  /** True when more tickets are confirmed than before. */
  applied(index: Index): boolean {
    const before = this.confirmed;
    while (this.#confirmedAt.length > 0 && this.#confirmedAt[0]!.index <= index) {
      this.confirmed = this.#confirmedAt.shift()!.ticket;
    }
    return this.confirmed > before;
  }

  /** Reads up to `sequence` will not be confirmed: whoever waits for them is told otherwise. */
  fail(sequence: number): void {
    while (this.#asked.length > 0 && this.#asked[0]!.sequence <= sequence) this.#asked.shift();
    this.#confirmedAt.length = 0;
  }
}
