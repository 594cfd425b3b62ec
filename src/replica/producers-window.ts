// The last batches of one producer, kept to recognize a batch that is sent again: (epoch, seq,
// body_crc, count, base_offset, append_time), as protocol-v1 "Idempotence" says.
// A producer's seqs have no gaps, so the batch with seq s lies in slot s mod capacity and lookup is
// arithmetic. Capacity grows with use up to `limit`: most producers of 10,000 are quiet.
// Invariant: exactly the seqs [first, next) are held; next − first ≤ limit.
import { assert } from '../wire/assert.ts';

/** f64 fields per batch: base_offset, append_time, body_crc, epoch × 2^32 + count. */
const STRIDE = 4;
const EPOCH_UNIT = 0x1_0000_0000;
const CAPACITY_START = 4;

export class BatchWindow {
  /** Batches kept at most. */
  readonly limit: number;
  /** Seq of the oldest batch held; equal to `next` when there is none. */
  first: number;
  /** Seq that the next batch gets. */
  next: number;
  private capacity: number;
  private fields: Float64Array;

  constructor(limit: number, next: number) {
    this.limit = limit;
    this.first = next;
    this.next = next;
    this.capacity = Math.min(limit, CAPACITY_START);
    this.fields = new Float64Array(this.capacity * STRIDE);
  }

  get size(): number {
    return this.next - this.first;
  }

  has(seq: number): boolean {
    return seq >= this.first && seq < this.next;
  }

  /** Takes the batch with seq `next`; the oldest one leaves when the window is full. */
  push(epoch: number, bodyCrc: number, count: number, baseOffset: number, appendTime: number): void {
    if (this.size === this.limit) this.first += 1;
    else if (this.size === this.capacity) this.grow();
    const at = this.at(this.next);
    const fields = this.fields;
    fields[at] = baseOffset;
    fields[at + 1] = appendTime;
    fields[at + 2] = bodyCrc;
    fields[at + 3] = epoch * EPOCH_UNIT + count;
    this.next += 1;
  }

  baseOffset(seq: number): number {
    return this.fields[this.at(seq)]!;
  }

  appendTime(seq: number): number {
    return this.fields[this.at(seq) + 1]!;
  }

  bodyCrc(seq: number): number {
    return this.fields[this.at(seq) + 2]!;
  }

  epoch(seq: number): number {
    return Math.floor(this.fields[this.at(seq) + 3]! / EPOCH_UNIT);
  }

  count(seq: number): number {
    return this.fields[this.at(seq) + 3]! % EPOCH_UNIT;
  }

  private at(seq: number): number {
    return (seq % this.capacity) * STRIDE;
  }

  private grow(): void {
    const from = this.fields;
    const fromCapacity = this.capacity;
    this.capacity = Math.min(this.limit, fromCapacity * 2);
    assert(this.capacity > fromCapacity, 'a window grows only below its limit');
    this.fields = new Float64Array(this.capacity * STRIDE);
    for (let seq = this.first; seq < this.next; seq++) {
      const source = (seq % fromCapacity) * STRIDE;
      this.fields.set(from.subarray(source, source + STRIDE), this.at(seq));
    }
  }
}
