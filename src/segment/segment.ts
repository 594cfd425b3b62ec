// One segment of a log: what it holds and how far that is written and synced, and the open file and
// index behind it. A segment is `planned` (its batches are only in slabs, there is no file yet), `active`
// (the newest file, written to) or `sealed` (complete, synced, read only).
//
// Invariant: synced.index ≤ end.index; a sealed segment has synced = end and never changes again, except
// that a truncation may reach back into it and make it active. Files that somebody has pinned are
// closed only after the last unpin: a reused descriptor would return another file's bytes.
import type { DiskFile } from '../index/disk.ts';
import type { OffsetIndex } from '../index/offset-index.ts';
import { assert } from '../wire/assert.ts';
import { NONE } from '../wire/limits.ts';
import type { DamageRange } from './damage.ts';
import { endBefore, FIRST_MARK_SEQUENCE, indexName, segmentName, type SegmentHead } from './head.ts';
import { Latch } from './latch.ts';
import { encodeMark, type LogEnd, MARK_POSITIONS, MARK_SLOT_SIZE } from './mark.ts';
import type { TermTable } from './terms.ts';

export const SegmentState = { PLANNED: 0, ACTIVE: 1, SEALED: 2 } as const;
export type SegmentState = (typeof SegmentState)[keyof typeof SegmentState];

export class Segment {
  readonly directory: string;
  readonly firstIndex: number;
  readonly firstOffset: number;
  readonly termBefore: number;
  readonly appendTimeBefore: number;
  state: SegmentState = SegmentState.PLANNED;
  /** append_time of its first batch, the base of its index; NONE while it has none. */
  firstMs = NONE;
  /** After the last batch that the file holds. */
  readonly end: LogEnd;
  /** After the last batch that a sync covered. */
  readonly synced: LogEnd;
  /** The file may hold zeros from `end.position` up to here; 0 = none. */
  zeroedTo = 0;
  /** Sequence of the mark's newest slot. */
  markSequence = FIRST_MARK_SEQUENCE;
  /** Null while it is not open. */
  file: DiskFile | null = null;
  /** Null while it is not open, or has no batch yet. */
  index: OffsetIndex | null = null;
  /** Set while a truncation changes the files; nobody opens them meanwhile. */
  busy: Promise<void> | null = null;
  /** The stored index was found damaged: the next opening builds it anew. */
  indexDamaged = false;
  /** The open index was made by this process from the batches, not read from disk. */
  indexBuilt = false;
  /** Terms of its entries, where it is sealed, has more than one, and was asked for them. */
  terms: TermTable | null = null;
  /** Damage found in it so far. */
  damage: DamageRange[] = [];
  #pins = 0;
  readonly #retired: Array<{ close(): Promise<void> }> = [];
  readonly #unpinned = new Latch();

  constructor(directory: string, head: Omit<SegmentHead, 'logUid'>) {
    this.directory = directory;
    this.firstIndex = head.firstIndex;
    this.firstOffset = head.firstOffset;
    this.termBefore = head.termBefore;
    this.appendTimeBefore = head.appendTimeBefore;
    this.end = endBefore(head);
    this.synced = endBefore(head);
  }

  get path(): string {
    return `${this.directory}/${segmentName(this.firstIndex)}`;
  }

  get indexPath(): string {
    return `${this.directory}/${indexName(this.firstIndex)}`;
  }

  /** Batches in the file. */
  get count(): number {
    return this.end.index - this.firstIndex + 1;
  }

  get pinned(): boolean {
    return this.#pins > 0;
  }

  /** Keeps the files that are open, or will be, from being closed until the matching unpin. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    assert(this.#pins > 0, 'unpinned as often as pinned');
    if (--this.#pins > 0) return;
    void this.#closeRetired();
    this.#unpinned.release();
  }

  /** Resolves when nobody has it pinned. */
  async whenUnpinned(): Promise<void> {
    while (this.#pins > 0) await this.#unpinned.wait();
  }

  /** Parts with the open files; they are closed now, or at the last unpin. */
  async letGo(): Promise<void> {
    if (this.file !== null) this.#retired.push(this.file);
    if (this.index !== null) this.#retired.push(this.index);
    this.file = null;
    this.index = null;
    if (this.#pins === 0) await this.#closeRetired();
  }

  /** Keeps a finding, once. */
  noteDamage(range: DamageRange): void {
    const known = this.damage.some((other) => other.position === range.position && other.firstIndex === range.firstIndex);
    if (!known) this.damage.push(range);
  }

  /** Drops what was found out about entries above `index`, which are being cut off. */
  forgetAfter(index: number): void {
    this.terms = null;
    this.damage = this.damage.filter((range) => range.firstIndex <= index);
  }

  /** Parts with the index alone, to take another one. */
  async letGoIndex(): Promise<void> {
    if (this.index !== null) this.#retired.push(this.index);
    this.index = null;
    if (this.#pins === 0) await this.#closeRetired();
  }

  async #closeRetired(): Promise<void> {
    for (const file of this.#retired.splice(0)) {
      // Nothing that counts hangs on closing: what had to be synced was synced before.
      await file.close().catch(() => {});
    }
  }

  /**
   * Writes the mark's next slot, unsynced: `synced` as it is now. Throws DiskError. `scratch` has 512
   * bytes of the caller's.
   */
  writeMark(scratch: Buffer, commitIndex: number): void {
    assert(this.synced.index <= this.end.index, 'a mark never names what is not written');
    const sequence = this.markSequence + 1;
    encodeMark(scratch, 0, sequence, this.synced, commitIndex, this.firstIndex);
    this.file!.writeNow(scratch, 0, MARK_SLOT_SIZE, MARK_POSITIONS[sequence % 2]!);
    this.markSequence = sequence;
  }
}
