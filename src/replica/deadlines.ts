// Deadlines of things that wait, checked at ticks: buckets by time, so that adding and removing cost
// the same with ten waits and with a million, and a tick touches only what is due.
//
// Invariant: an item is in at most one bucket, the one it names; it is due at the first tick whose
// bucket lies behind its deadline's.

/** Width of a bucket; deadlines are kept to about this. */
const BUCKET_MS = 50;

/** An item's `bucket` while it is in no queue. */
export const NOT_QUEUED = -1;

export interface Waiting {
  /** Monotonic milliseconds. */
  readonly deadlineMs: number;
  /** Kept by the queue; NOT_QUEUED at first. */
  bucket: number;
  /** Called once, at the tick that found the deadline past; the item is out of the queue by then. */
  expire(nowMs: number): void;
}

export class DeadlineQueue {
  readonly #buckets = new Map<number, Set<Waiting>>();
  /** The first bucket that was not emptied yet. */
  #next: number;

  constructor(nowMs: number) {
    this.#next = bucketOf(nowMs);
  }

  get size(): number {
    let size = 0;
    for (const bucket of this.#buckets.values()) size += bucket.size;
    return size;
  }

  /** An item whose deadline has passed already is due at the next tick. */
  add(item: Waiting): void {
    this.remove(item);
    const key = Math.max(bucketOf(item.deadlineMs), this.#next);
    item.bucket = key;
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) this.#buckets.set(key, new Set([item]));
    else bucket.add(item);
  }

  /** Takes an item out; one that is in no queue is ignored. */
  remove(item: Waiting): void {
    if (item.bucket === NOT_QUEUED) return;
    const bucket = this.#buckets.get(item.bucket);
    if (bucket !== undefined) {
      bucket.delete(item);
      if (bucket.size === 0) this.#buckets.delete(item.bucket);
    }
    item.bucket = NOT_QUEUED;
  }

  /** Expires everything whose deadline has passed. */
  tick(nowMs: number): void {
    const current = bucketOf(nowMs);
    // After a long pause it is cheaper to look at the buckets there are than at each that could be.
    if (current - this.#next > this.#buckets.size) {
      const due = [...this.#buckets.keys()].filter((key) => key < current).sort((a, b) => a - b);
      this.#next = current;
      for (const key of due) this.#empty(key, nowMs);
      return;
    }
    while (this.#next < current) {
      const key = this.#next++;
      this.#empty(key, nowMs);
    }
  }

  #empty(key: number, nowMs: number): void {
    const bucket = this.#buckets.get(key);
    if (bucket === undefined) return;
    this.#buckets.delete(key);
    for (const item of bucket) item.bucket = NOT_QUEUED;
    for (const item of bucket) item.expire(nowMs);
  }
}

function bucketOf(ms: number): number {
  return Math.floor(ms / BUCKET_MS);
}
