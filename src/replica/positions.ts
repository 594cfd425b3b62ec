// The named positions of one log, as committed: where a consumer will go on reading. Judges nothing
// (judge.ts) and knows no uncommitted entry (overlay.ts).
// Invariant: a stored position is never changed, only replaced, so a list of them is a snapshot.
import { assert } from '../wire/assert.ts';
import { NONE } from '../wire/limits.ts';
import type { PositionUpdate } from './control.ts';

export interface Position {
  readonly name: string;
  /** The next offset to read. */
  readonly offset: number;
  /** Unix milliseconds: append_time of the entry that set it. */
  readonly updatedMs: number;
}

export class PositionTable {
  /** Positions kept at most. */
  readonly limit: number;
  /** Sum over the table, for the size of a snapshot. */
  nameBytes = 0;
  private readonly byName = new Map<string, Position>();

  constructor(limit: number) {
    this.limit = limit;
  }

  get size(): number {
    return this.byName.size;
  }

  get(name: string): Position | undefined {
    return this.byName.get(name);
  }

  /** All positions, by name (bytewise: names are ASCII). */
  list(): Position[] {
    return [...this.byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** How many positions there would be after `updates`, in which each name occurs once. */
  sizeAfter(updates: readonly PositionUpdate[]): number {
    let size = this.size;
    for (const update of updates) {
      const exists = this.byName.has(update.name);
      if (update.offset === NONE && exists) size -= 1;
      if (update.offset !== NONE && !exists) size += 1;
    }
    return size;
  }

  /** Sets or deletes; the caller has checked the limit. */
  apply(updates: readonly PositionUpdate[], updatedMs: number): void {
    for (const { name, offset } of updates) {
      if (offset === NONE) this.delete(name);
      else this.set({ name, offset, updatedMs });
    }
    assert(this.size <= this.limit, 'positions stay within their limit');
  }

  set(position: Position): void {
    if (!this.byName.has(position.name)) this.nameBytes += Buffer.byteLength(position.name);
    this.byName.set(position.name, position);
  }

  private delete(name: string): void {
    if (this.byName.delete(name)) this.nameBytes -= Buffer.byteLength(name);
  }
}
