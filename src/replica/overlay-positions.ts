// The positions of one log as of its last entry, committed or not, and those judged in this turn but
// not yet in an entry ("staged"): updates of one turn go into one entry, the last per name wins.
// Part of the overlay; see overlay.ts.
import { NONE } from '../wire/limits.ts';
import type { PositionUpdate } from './control.ts';
import type { ReplicaState } from './state.ts';

interface TailPosition {
  /** NONE = deleted. */
  readonly offset: number;
  /** The entry that says so. */
  readonly index: number;
}

export class OverlayPositions {
  private readonly state: ReplicaState;
  private readonly tail = new Map<string, TailPosition>();
  private readonly staged = new Map<string, number>();
  /** Positions as of the last entry, and how many more the staged updates make. */
  private tailSize = 0;
  private stagedDelta = 0;
  private bytes = 0;

  constructor(state: ReplicaState) {
    this.state = state;
  }

  reset(): void {
    this.tail.clear();
    this.tailSize = this.state.positions.size;
    this.dropStaged();
  }

  /** Positions there will be. */
  get size(): number {
    return this.tailSize + this.stagedDelta;
  }

  /** Positions that the tail has touched. */
  get touched(): number {
    return this.tail.size;
  }

  get stagedCount(): number {
    return this.staged.size;
  }

  /** Bytes of the staged updates in an entry. */
  get stagedBytes(): number {
    return this.bytes;
  }

  /** The offset of a position, NONE when there is none of that name. */
  get(name: string): number {
    return this.staged.get(name) ?? this.noted(name);
  }

  /** Takes an update that was judged; it goes into the next entry that `takeStaged` makes. */
  stage(name: string, offset: number): void {
    this.stagedDelta += change(this.get(name), offset);
    if (!this.staged.has(name)) this.bytes += 2 + Buffer.byteLength(name) + 8;
    this.staged.set(name, offset);
  }

  /** Hands over the staged updates, which must be proposed at once, before the next judgment. */
  takeStaged(): PositionUpdate[] {
    const updates: PositionUpdate[] = [];
    for (const [name, offset] of this.staged) updates.push({ name, offset });
    this.dropStaged();
    return updates;
  }

  /** Notes a POSITIONS entry of the tail. */
  note(updates: readonly PositionUpdate[], index: number): void {
    for (const { name, offset } of updates) {
      this.tailSize += change(this.noted(name), offset);
      this.tail.set(name, { offset, index });
    }
  }

  /** The POSITIONS entry `index` is applied. */
  settle(updates: readonly PositionUpdate[], index: number): void {
    for (const { name } of updates) {
      if (this.tail.get(name)?.index === index) this.tail.delete(name);
    }
  }

  private noted(name: string): number {
    return this.tail.get(name)?.offset ?? this.state.positions.get(name)?.offset ?? NONE;
  }

  dropStaged(): void {
    this.staged.clear();
    this.stagedDelta = 0;
    this.bytes = 0;
  }
}

/** By how many positions a table grows when `before` becomes `after`. */
function change(before: number, after: number): number {
  return Number(after !== NONE) - Number(before !== NONE);
}
