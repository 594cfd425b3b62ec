// The ids of a connection's open requests, each with a small number beside it (op and kind): an
// open-addressing table in one Uint32Array, because it is touched twice per request and a Map would
// allocate. Linear probing; removal shifts back, so there are no tombstones and a table that was
// full once is as fast as a new one. Key 0 means empty: no request has id 0.
// It does not judge ids; a caller that adds an id twice is told so. Ids chosen to collide cost at
// most one probe per open id, and the number of those is bounded by the session.
// Invariant: size ≤ half of the capacity, so every probe meets an empty slot.
import { assert } from '../assert.ts';

/** Slots of an idle connection's table: 128 bytes. */
const CAPACITY_MIN = 16;
/** 2^32 / golden ratio: spreads ids that count up, and those that do not. */
const MULTIPLIER = 0x9e37_79b1;

export class IdSet {
  size = 0;
  /** id, value, id, value, … */
  private slots = new Uint32Array(CAPACITY_MIN * 2);
  private mask = CAPACITY_MIN - 1;
  private shift = Math.clz32(CAPACITY_MIN - 1);

  get capacity(): number {
    return this.mask + 1;
  }

  /** False when `id` is there already. `value` is a u32 above 0. */
  add(id: number, value: number): boolean {
    const slots = this.slots;
    const mask = this.mask;
    let at = Math.imul(id, MULTIPLIER) >>> this.shift;
    for (let found = slots[at * 2]!; found !== 0; found = slots[at * 2]!) {
      if (found === id) return false;
      at = (at + 1) & mask;
    }
    slots[at * 2] = id;
    slots[at * 2 + 1] = value;
    this.size++;
    if (this.size * 2 > mask) this.resize(this.capacity * 2);
    return true;
  }

  /** The value of `id`; 0 when it is not there. */
  get(id: number): number {
    const at = this.find(id);
    return at < 0 ? 0 : this.slots[at * 2 + 1]!;
  }

  /** Replaces the value of an id that is there. */
  set(id: number, value: number): void {
    const at = this.find(id);
    assert(at >= 0, 'only the value of an open id is changed');
    this.slots[at * 2 + 1] = value;
  }

  /** The value that `id` had; 0 when it was not there. */
  remove(id: number): number {
    const hole = this.find(id);
    if (hole < 0) return 0;
    const value = this.slots[hole * 2 + 1]!;
    this.size--;
    this.shiftBack(hole);
    return value;
  }

  /** Removes every id whose value `unwanted` says so about; returns how many. */
  removeWhere(unwanted: (value: number) => boolean): number {
    const ids: number[] = [];
    for (let at = 0; at <= this.mask; at++) {
      if (this.slots[at * 2] !== 0 && unwanted(this.slots[at * 2 + 1]!)) ids.push(this.slots[at * 2]!);
    }
    for (const id of ids) this.remove(id);
    return ids.length;
  }

  /** Gives memory back after a burst; only an empty set does. */
  shrink(): void {
    if (this.size === 0 && this.capacity > CAPACITY_MIN) this.resize(CAPACITY_MIN);
  }

  private find(id: number): number {
    const slots = this.slots;
    let at = Math.imul(id, MULTIPLIER) >>> this.shift;
    for (let found = slots[at * 2]!; found !== id; found = slots[at * 2]!) {
      if (found === 0) return -1;
      at = (at + 1) & this.mask;
    }
    return at;
  }

  /** Closes the hole: a later entry of the same run moves into it if its home is not after it. */
  private shiftBack(hole: number): void {
    const slots = this.slots;
    const mask = this.mask;
    let at = hole;
    for (;;) {
      at = (at + 1) & mask;
      const id = slots[at * 2]!;
      if (id === 0) break;
      const home = Math.imul(id, MULTIPLIER) >>> this.shift;
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      slots[hole * 2] = id;
      slots[hole * 2 + 1] = slots[at * 2 + 1]!;
      hole = at;
    }
    slots[hole * 2] = 0;
    slots[hole * 2 + 1] = 0;
  }

  private resize(capacity: number): void {
    const old = this.slots;
    this.slots = new Uint32Array(capacity * 2);
    this.mask = capacity - 1;
    this.shift = Math.clz32(capacity - 1);
    for (let i = 0; i < old.length; i += 2) {
      if (old[i] !== 0) this.insertNew(old[i]!, old[i + 1]!);
    }
  }

  private insertNew(id: number, value: number): void {
    let at = Math.imul(id, MULTIPLIER) >>> this.shift;
    while (this.slots[at * 2] !== 0) at = (at + 1) & this.mask;
    this.slots[at * 2] = id;
    this.slots[at * 2 + 1] = value;
  }
}
