// Where in the log an index, an offset or a time lies, and which term an entry has. Answered in the
// same turn from memory and from open indexes; a segment that is not open raises ColdError.
//
// Invariant: an answer is exact for the log as it is now; nothing here waits. Where a truncation has not
// reached the disk yet, an index still has entries of what is gone, all of them at or above the first
// index in memory: so from there on only memory is asked.
import type { DiskFile } from '../index/disk.ts';
import { IndexDamageError, type OffsetIndex } from '../index/offset-index.ts';
import { assert } from '../wire/assert.ts';
import { appendTime, baseOffset, batchCount, BatchFault, batchIndex, batchTerm, checkHeader, faultName } from '../wire/batch.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import { DamageError, type DamageRange } from './damage.ts';
import type { HandleCache } from './handles.ts';
import { endBefore } from './head.ts';
import type { SegmentList } from './list.ts';
import { LogEnd, SEGMENT_HEAD_SIZE } from './mark.ts';
import type { Segment } from './segment.ts';
import type { Tail } from './tail.ts';
import { TermTable } from './terms.ts';

/** The answer lies in a segment that is not open: wait for `load` and ask again. */
export class ColdError extends Error {
  override name = 'ColdError';
  /** Opens what the question needs. Rejects with DiskError or DamageError. */
  readonly load: () => Promise<void>;

  constructor(load: () => Promise<void>) {
    super('the segment is not open');
    this.load = load;
  }
}

export class Lookup {
  readonly #list: SegmentList;
  readonly #tail: Tail;
  readonly #handles: HandleCache;

  constructor(list: SegmentList, tail: Tail, handles: HandleCache) {
    this.#list = list;
    this.#tail = tail;
    this.#handles = handles;
  }

  /** base_offset of the batch `index`; the next offset for lastIndex + 1. Throws ColdError. */
  offsetAtIndex(index: number): number {
    if (index > this.#tail.lastIndex) return this.#tail.nextOffset;
    const slab = this.#tail.slabWith(index);
    if (slab !== null) return baseOffset(slab.buffer, slab.startOf(index));
    const segment = this.#list.withIndex(index);
    assert(index >= segment.firstIndex, 'no such entry: it was trimmed');
    if (index === segment.firstIndex) return segment.firstOffset;
    return this.#ask(segment, (offsets) => offsets.offsetAt(Math.min(index - segment.firstIndex, offsets.count - 1)));
  }

  /**
   * The last entry whose base_offset is at most `offset`: the batch with that record, if the log has
   * it. The log's first index where all are above. Throws ColdError.
   */
  indexOfOffset(offset: number): number {
    const cached = this.#tail.findOffset(offset);
    if (cached >= 0) return cached;
    const segment = this.#list.withOffset(offset);
    if (offset < segment.firstOffset) return segment.firstIndex;
    if (segment.firstMs < 0) return segment.firstIndex - 1;
    const found = segment.firstIndex + this.#ask(segment, (offsets) => offsets.findOffset(offset));
    return Math.min(found, this.#tail.firstIndex - 1);
  }

  /** The first entry with append_time ≥ `ms`; lastIndex + 1 when there is none. Throws ColdError. */
  firstIndexAtTime(ms: number): number {
    const segment = this.#list.withTime(ms);
    const { firstIndex } = segment;
    if (segment.count === 0 || firstIndex >= this.#tail.firstIndex) return this.#tail.findTime(ms, firstIndex);
    const found = firstIndex + this.#ask(segment, (offsets) => offsets.findTime(ms));
    return found < this.#tail.firstIndex ? found : this.#tail.findTime(ms, firstIndex);
  }

  /** Term of the entry `index`; 0 for index 0. Throws ColdError. */
  termAt(index: number): number {
    const { terms, lastIndex, lastTerm } = this.#tail;
    assert(index <= lastIndex, 'no such entry yet');
    if (index === lastIndex) return lastTerm;
    if (index >= terms.firstIndex) return terms.at(index);
    const { first } = this.#list;
    if (index < first.firstIndex) {
      assert(index === first.firstIndex - 1, 'no such entry: it was trimmed');
      return first.termBefore;
    }
    const segment = this.#list.withIndex(index);
    const next = this.#list.after(segment);
    if (next !== null && index === next.firstIndex - 1) return next.termBefore;
    const termAfter = next !== null ? next.termBefore : terms.firstIndex <= lastIndex ? terms.at(terms.firstIndex) : lastTerm;
    // Terms never go down, so equal ends leave nothing else in between.
    if (segment.termBefore === termAfter) return termAfter;
    if (segment.terms !== null) return segment.terms.at(index);
    throw new ColdError(() => this.#loadTerms(segment));
  }

  /**
   * Bytes of the batches `from … to`, those beyond the log's end not counted. Where they lie in a segment
   * that is not open: an estimate for a single batch, Infinity for more.
   */
  bytesBetween(from: number, to: number): number {
    let bytes = 0;
    for (let index = from; index <= Math.min(to, this.#tail.lastIndex); ) {
      const slab = this.#tail.slabWith(index);
      if (slab !== null) {
        const end = Math.min(to + 1, slab.endIndex);
        bytes += slab.startOf(end) - slab.startOf(index);
        index = end;
        continue;
      }
      const segment = this.#list.withIndex(index);
      const last = Math.max(index, Math.min(to, segment.end.index, this.#tail.firstIndex - 1));
      bytes += last > segment.end.index ? 0 : storedBytes(segment, index, last);
      index = last + 1;
    }
    return bytes;
  }

  /**
   * The log's state before `fromIndex`, which it has: where a truncation cuts. Throws ColdError, and DamageError
   * where that entry is damaged: its term and place may be guesses, and cutting by guess loses what was promised.
   */
  endBefore(fromIndex: number): LogEnd {
    const segment = this.#list.withIndex(fromIndex);
    const damage = segment.damage.find((range) => range.firstIndex <= fromIndex && fromIndex <= range.lastIndex);
    if (damage !== undefined && this.#tail.slabWith(fromIndex) === null) throw new DamageError(damage);
    if (fromIndex === segment.firstIndex) return endBefore(segment);
    const previous = fromIndex - 1;
    const slab = this.#tail.slabWith(previous);
    if (slab !== null) {
      const at = slab.startOf(previous);
      const offset = baseOffset(slab.buffer, at) + batchCount(slab.buffer, at);
      const position = slab.filePosition + slab.startOf(fromIndex);
      return new LogEnd(position, previous, batchTerm(slab.buffer, at), offset, appendTime(slab.buffer, at));
    }
    const term = this.termAt(previous);
    const time = this.#ask(segment, (offsets) => offsets.msAt(previous - segment.firstIndex));
    const next = this.#tail.slabWith(fromIndex);
    const position = next !== null
      ? next.filePosition + next.startOf(fromIndex)
      : this.#ask(segment, (offsets) => offsets.positionAt(fromIndex - segment.firstIndex));
    return new LogEnd(position, previous, term, this.offsetAtIndex(fromIndex), time);
  }

  /** Opens a segment's files and leaves them to the cache. Rejects with DiskError. */
  async load(segment: Segment): Promise<void> {
    segment.pin();
    try {
      for (let wait = this.#handles.open(segment); wait !== null; wait = this.#handles.open(segment)) await wait;
    } finally {
      segment.unpin();
    }
  }

  #ask(segment: Segment, question: (offsets: OffsetIndex) => number): number {
    const { index } = segment;
    if (index === null || segment.busy !== null) throw new ColdError(() => this.load(segment));
    try {
      return question(index);
    } catch (error) {
      if (!(error instanceof IndexDamageError)) throw error;
      throw new ColdError(() => this.rebuild(segment));
    }
  }

  /** Builds a sealed segment's index anew from its batches. Rejects with DiskError. */
  async rebuild(segment: Segment): Promise<void> {
    segment.indexDamaged = true;
    await this.#handles.drop(segment);
    await this.load(segment);
  }

  /** Finds the runs of equal terms by halving: a few headers are read per run. */
  async #loadTerms(segment: Segment): Promise<void> {
    segment.pin();
    try {
      for (let wait = this.#handles.open(segment); wait !== null; wait = this.#handles.open(segment)) await wait;
      const { cutCount } = this.#tail;
      const terms = new TermTable();
      const headers = new HeaderReader(segment);
      const last = Math.min(segment.end.index, this.#tail.firstIndex - 1);
      for (let index = segment.firstIndex; index <= last; ) {
        const term = await headers.termOf(index);
        terms.add(index, term);
        let low = index;
        let high = last;
        while (low < high) {
          const middle = Math.ceil((low + high) / 2);
          if ((await headers.termOf(middle)) === term) low = middle;
          else high = middle - 1;
          if (this.#tail.cutCount !== cutCount) return;
        }
        index = low + 1;
      }
      if (this.#tail.cutCount === cutCount) segment.terms = terms;
    } catch (error) {
      if (!(error instanceof IndexDamageError)) throw error;
      await this.rebuild(segment);
    } finally {
      segment.unpin();
    }
  }
}

/** Bytes of the batches `from … to` of one segment, by its index if that is open. */
function storedBytes(segment: Segment, from: number, to: number): number {
  const { index, firstIndex, end } = segment;
  if (index === null || segment.busy !== null) {
    return from === to ? Math.ceil((end.position - SEGMENT_HEAD_SIZE) / segment.count) : Infinity;
  }
  try {
    const endPosition = to < end.index ? index.positionAt(to + 1 - firstIndex) : end.position;
    return endPosition - index.positionAt(from - firstIndex);
  } catch (error) {
    if (!(error instanceof IndexDamageError)) throw error;
    return from === to ? Math.ceil((end.position - SEGMENT_HEAD_SIZE) / segment.count) : Infinity;
  }
}

/** Reads single headers of a pinned segment, whose open files stay what they are even if the cache moves on. */
class HeaderReader {
  readonly #segment: Segment;
  readonly #file: DiskFile;
  readonly #offsets: OffsetIndex;
  readonly #header = Buffer.alloc(BATCH_HEADER_SIZE);

  constructor(segment: Segment) {
    this.#segment = segment;
    this.#file = segment.file!;
    this.#offsets = segment.index!;
  }

  /** Rejects with DamageError when the header does not hold. */
  async termOf(index: number): Promise<number> {
    const header = this.#header;
    const position = this.#offsets.positionAt(index - this.#segment.firstIndex);
    const size = await this.#file.read(header, 0, BATCH_HEADER_SIZE, position);
    const fault = checkHeader(header, 0, size);
    if (fault === BatchFault.OK && batchIndex(header, 0) === index) return batchTerm(header, 0);
    const range = damageAt(this.#segment, this.#offsets, index, fault === BatchFault.OK ? 'another batch' : faultName(fault));
    this.#segment.noteDamage(range);
    throw new DamageError(range);
  }
}

/** The damage of the batch `index`, with the records that its neighbours say it holds. */
export function damageAt(segment: Segment, offsets: OffsetIndex, index: number, reason: string): DamageRange {
  const known = segment.damage.find((range) => range.firstIndex <= index && index <= range.lastIndex);
  if (known !== undefined) return known;
  const i = index - segment.firstIndex;
  const next = i + 1 < offsets.count ? offsets.offsetAt(i + 1) : segment.end.nextOffset;
  return {
    file: segment.path,
    position: offsets.positionAt(i),
    firstIndex: index,
    lastIndex: index,
    firstOffset: offsets.offsetAt(i),
    lastOffset: next - 1,
    reason,
  };
}
