// Pauses between attempts: exponential with full jitter, so that many clients of a restarted server
// do not come back in step. Pure: randomness is given.

/** Doublings after which the pause no longer grows, whatever the bounds. */
const DOUBLINGS_MAX = 20;

export class Backoff {
  attempt = 0;
  private readonly minMs: number;
  private readonly maxMs: number;
  private readonly random: () => number;

  constructor(minMs: number, maxMs: number, random: () => number) {
    this.minMs = minMs;
    this.maxMs = Math.max(minMs, maxMs);
    this.random = random;
  }

  /** The pause before the next attempt, from minMs up to a bound that doubles; at least `atLeastMs`. */
  nextMs(atLeastMs = 0): number {
    const bound = Math.min(this.maxMs, this.minMs * 2 ** Math.min(this.attempt, DOUBLINGS_MAX));
    this.attempt += 1;
    return Math.max(atLeastMs, Math.round(this.minMs + this.random() * (bound - this.minMs)));
  }

  /** To be called after a success. */
  reset(): void {
    this.attempt = 0;
  }
}
