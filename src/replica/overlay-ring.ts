// What the overlay remembers of each uncommitted entry, in typed arrays addressed by index: noting a
// plain data batch costs a few stores and no object. Entries with an effect beyond the end of the log
// (a producer's batch, a control entry) are chained, so that committing a run of plain ones is one step.
// Invariant: entry i of (base, last] lies in slot i & mask, and last − base ≤ capacity.
import { assert } from '../wire/assert.ts';

const CAPACITY_START = 64;
/** A ring that grew beyond this in a burst is made small again once it is empty (72 bytes per entry). */
const CAPACITY_KEPT_MAX = 65_536;

export class OverlayRing<Effect> {
  /** The last index that is not in the ring any more. */
  base = 0;
  last = 0;
  /** First and last index in the ring with an effect; 0 = none. */
  firstEffect = 0;
  lastEffect = 0;
  private mask = CAPACITY_START - 1;
  private terms = new Float64Array(CAPACITY_START);
  private times = new Float64Array(CAPACITY_START);
  private offsets = new Float64Array(CAPACITY_START);
  private effects: (Effect | null)[] = new Array<Effect | null>(CAPACITY_START).fill(null);
  private following = new Float64Array(CAPACITY_START);
  /** Of a producer's batch: count, seq, epoch × 2^32 + body_crc, and its producer's batch before it. */
  private counts = new Uint32Array(CAPACITY_START);
  private seqs = new Float64Array(CAPACITY_START);
  private marks = new Float64Array(CAPACITY_START);
  private previous = new Float64Array(CAPACITY_START);

  get capacity(): number {
    return this.mask + 1;
  }

  /** Empties the ring; the next entry is `base` + 1. */
  reset(base: number): void {
    if (this.capacity > CAPACITY_START) this.allocate(CAPACITY_START);
    else this.effects.fill(null);
    this.base = base;
    this.last = base;
    this.firstEffect = 0;
    this.lastEffect = 0;
  }

  /** Adds entry last + 1; `nextOffset` is the one after it. */
  push(term: number, appendTime: number, nextOffset: number): void {
    if (this.last - this.base === this.mask + 1) this.grow();
    this.last += 1;
    const slot = this.last & this.mask;
    this.terms[slot] = term;
    this.times[slot] = appendTime;
    this.offsets[slot] = nextOffset;
  }

  /** Gives the entry just added an effect. */
  setEffect(effect: Effect): void {
    const index = this.last;
    const slot = index & this.mask;
    this.effects[slot] = effect;
    this.following[slot] = 0;
    if (this.lastEffect === 0) this.firstEffect = index;
    else this.following[this.lastEffect & this.mask] = index;
    this.lastEffect = index;
  }

  /** Says that the entry just added is a producer's batch; `previous` is that producer's last one. */
  setBatch(count: number, seq: number, epoch: number, bodyCrc: number, previous: number): void {
    const slot = this.last & this.mask;
    this.counts[slot] = count;
    this.seqs[slot] = seq;
    this.marks[slot] = epoch * 0x1_0000_0000 + bodyCrc;
    this.previous[slot] = previous;
  }

  /** Forgets the entries up to `index`, whose effects were taken with `takeEffect`. */
  drop(index: number): void {
    assert(index <= this.last && index >= this.base, 'the ring holds what it drops');
    assert(this.firstEffect === 0 || this.firstEffect > index, 'effects are taken before they are dropped');
    this.base = index;
    if (index === this.last && this.capacity > CAPACITY_KEPT_MAX) this.allocate(CAPACITY_START);
  }

  /** Removes the first effect from the chain and returns it; its entry's other fields stay. */
  takeEffect(): Effect {
    const slot = this.firstEffect & this.mask;
    const effect = this.effects[slot]!;
    this.effects[slot] = null;
    this.firstEffect = this.following[slot]!;
    if (this.firstEffect === 0) this.lastEffect = 0;
    return effect;
  }

  term(index: number): number {
    return this.terms[index & this.mask]!;
  }

  appendTime(index: number): number {
    return this.times[index & this.mask]!;
  }

  /** The offset after entry `index` of (base, last]. */
  nextOffset(index: number): number {
    return this.offsets[index & this.mask]!;
  }

  count(index: number): number {
    return this.counts[index & this.mask]!;
  }

  seq(index: number): number {
    return this.seqs[index & this.mask]!;
  }

  epoch(index: number): number {
    return Math.floor(this.marks[index & this.mask]! / 0x1_0000_0000);
  }

  bodyCrc(index: number): number {
    return this.marks[index & this.mask]! % 0x1_0000_0000;
  }

  /** The batch of the same producer before `index`, or 0; may be one that was dropped since. */
  previousBatch(index: number): number {
    return this.previous[index & this.mask]!;
  }

  private grow(): void {
    // A shallow copy keeps the old arrays while `allocate` replaces them.
    const from = { ...this };
    this.allocate((this.mask + 1) * 2);
    for (let index = this.base + 1; index <= this.last; index++) {
      const source = index & from.mask;
      const slot = index & this.mask;
      this.terms[slot] = from.terms[source]!;
      this.times[slot] = from.times[source]!;
      this.offsets[slot] = from.offsets[source]!;
      this.effects[slot] = from.effects[source]!;
      this.following[slot] = from.following[source]!;
      this.counts[slot] = from.counts[source]!;
      this.seqs[slot] = from.seqs[source]!;
      this.marks[slot] = from.marks[source]!;
      this.previous[slot] = from.previous[source]!;
    }
  }

  private allocate(capacity: number): void {
    this.mask = capacity - 1;
    this.terms = new Float64Array(capacity);
    this.times = new Float64Array(capacity);
    this.offsets = new Float64Array(capacity);
    this.effects = new Array<Effect | null>(capacity).fill(null);
    this.following = new Float64Array(capacity);
    this.counts = new Uint32Array(capacity);
    this.seqs = new Float64Array(capacity);
    this.marks = new Float64Array(capacity);
    this.previous = new Float64Array(capacity);
  }
}
