// Everybody who waits for something at one log: FETCHes at its end, subscriptions, linearizable reads
// that are not confirmed. It wakes them; what they then do is their own affair.
//
// Invariant: waking goes over a copy, because whoever is woken may leave or come back at once.
import type { ErrorOptions } from '../wire/errors.ts';
import type { ErrorCode } from '../wire/errors.ts';
import type { Subscription } from './subscriptions.ts';

/** Something that waits at the log. */
export interface LogWait {
  /** `committedBytes` of the log at which it is to be judged again. */
  readonly wakeBytes: number;
  /** The confirmation of leadership that it waits for; 0 or below = none. */
  readonly ticket: number;
  /** Judges it again; it leaves the list for that, and may come back. */
  advance(): void;
  /** Leaves and answers with an error. */
  fail(code: ErrorCode, options?: ErrorOptions): void;
}

export class LogReaders {
  readonly #waits = new Set<LogWait>();
  readonly #subscriptions = new Set<Subscription>();
  /** The smallest wakeBytes of all waits: most commits of a busy log wake nobody. */
  #wakeBytesMin = Infinity;

  /** FETCHes that wait and subscriptions, answered or not. */
  get count(): number {
    return this.#waits.size + this.#subscriptions.size;
  }

  addWait(wait: LogWait): void {
    this.#waits.add(wait);
    if (wait.wakeBytes < this.#wakeBytesMin) this.#wakeBytesMin = wait.wakeBytes;
  }

  removeWait(wait: LogWait): void {
    this.#waits.delete(wait);
    if (this.#waits.size === 0) this.#wakeBytesMin = Infinity;
  }

  addSubscription(subscription: Subscription): void {
    this.#subscriptions.add(subscription);
  }

  removeSubscription(subscription: Subscription): void {
    this.#subscriptions.delete(subscription);
  }

  /** More data is committed: `committedBytes` since the log was opened. Control batches wake nobody. */
  committed(committedBytes: number): void {
    for (const subscription of this.#subscriptions) subscription.pump();
    if (committedBytes < this.#wakeBytesMin) return;
    const due: (LogWait)[] = [];
    this.#wakeBytesMin = Infinity;
    for (const wait of this.#waits) {
      if (wait.wakeBytes <= committedBytes) due.push(wait);
      else if (wait.wakeBytes < this.#wakeBytesMin) this.#wakeBytesMin = wait.wakeBytes;
    }
    for (const wait of due) wait.advance();
  }

  /** Leadership was confirmed for every ticket up to this one. */
  confirmed(ticket: number): void {
    for (const wait of [...this.#waits]) if (wait.ticket > 0 && wait.ticket <= ticket) wait.advance();
  }

  /** The start of the log moved: subscriptions below it end, and waits are judged again. */
  trimmed(): void {
    for (const subscription of [...this.#subscriptions]) subscription.pump();
    for (const wait of [...this.#waits]) wait.advance();
  }

  /** Leadership was lost: linearizable reads that are not confirmed cannot be any more. */
  failUnconfirmed(confirmedTicket: number, code: ErrorCode): void {
    for (const wait of [...this.#waits]) if (wait.ticket > confirmedTicket) wait.fail(code);
  }

  /** Ends all of them with an error: the log was deleted, or can no longer be read. */
  end(code: ErrorCode, options: ErrorOptions = {}): void {
    for (const wait of [...this.#waits]) wait.fail(code, options);
    for (const subscription of [...this.#subscriptions]) subscription.fail(code, options);
  }
}
