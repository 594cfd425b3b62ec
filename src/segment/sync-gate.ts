// Lets at most N disk syncs run at once. The thread pool also serves cold reads and compression, and
// a sync may hold its thread for milliseconds: at most pool − 2 of them keeps two threads free for the rest.
//
// Fair over logs without keeping count: a log has one sync outstanding, and waiters go in order.

export class SyncGate {
  readonly limit: number;
  #active = 0;
  readonly #waiting: Array<() => void> = [];

  /** `limit` syncs at once, at least 1. */
  constructor(limit: number) {
    this.limit = Math.max(1, limit);
  }

  get activeCount(): number {
    return this.#active;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Null when the caller may sync at once, else a promise of its turn. Each needs one `leave`. */
  enter(): Promise<void> | null {
    if (this.#active < this.limit) {
      this.#active++;
      return null;
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    // The place goes to the next in line directly, so that nobody can slip in between.
    if (next !== undefined) next();
    else this.#active--;
  }

  /** Runs one sync under the gate. */
  async run(sync: () => Promise<void>): Promise<void> {
    const turn = this.enter();
    if (turn !== null) await turn;
    try {
      await sync();
    } finally {
      this.leave();
    }
  }
}
