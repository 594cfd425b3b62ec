// The Appends that a follower has not acknowledged yet: their last indexes and sizes, oldest first.
//
// A ring that grows by doubling up to the bound. It bounds what a slow follower can pile up in
// memory and on the wire (pipelining, thesis §10.2.1).
import { assert } from '../wire/assert.ts';
import type { Index } from './types.ts';

export class Inflight {
  /** Bytes under way. */
  size = 0;
  count = 0;
  private lasts: Float64Array = new Float64Array(8);
  private sizes: Float64Array = new Float64Array(8);
  private head = 0;
  private readonly sizeMax: number;
  private readonly countMax: number;

  constructor(sizeMax: number, countMax: number) {
    this.sizeMax = sizeMax;
    this.countMax = countMax;
  }

  /** True when nothing more may be sent. One Append may overshoot the byte bound. */
  get full(): boolean {
    return this.count >= this.countMax || this.size >= this.sizeMax;
  }

  add(lastIndex: Index, size: number): void {
    assert(!this.full, 'the window has room for what is sent');
    if (this.count === this.lasts.length) this.grow();
    const at = (this.head + this.count) & (this.lasts.length - 1);
    this.lasts[at] = lastIndex;
    this.sizes[at] = size;
    this.count++;
    this.size += size;
  }

  /** Everything up to `match` has arrived. */
  freeUpTo(match: Index): void {
    while (this.count > 0 && this.lasts[this.head]! <= match) {
      this.size -= this.sizes[this.head]!;
      this.head = (this.head + 1) & (this.lasts.length - 1);
      this.count--;
    }
  }

  clear(): void {
    this.head = 0;
    this.count = 0;
    this.size = 0;
  }

  private grow(): void {
    const lasts = new Float64Array(this.lasts.length * 2);
    const sizes = new Float64Array(this.lasts.length * 2);
    for (let i = 0; i < this.count; i++) {
      const from = (this.head + i) & (this.lasts.length - 1);
      lasts[i] = this.lasts[from]!;
      sizes[i] = this.sizes[from]!;
    }
    this.lasts = lasts;
    this.sizes = sizes;
    this.head = 0;
  }
}
