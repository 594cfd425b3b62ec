// Reads batches of a log from disk. Every batch is checked, both checksums and its place in the log,
// before its bytes are given out; what does not hold becomes a DamageError, never bytes.
//
// Invariant: what is returned begins with the asked index, is contiguous and verified, and does not
// go above the limit; a segment is pinned from the choice of its position to the end of the read.
import { DiskError } from '../index/disk.ts';
import { IndexDamageError, type OffsetIndex } from '../index/offset-index.ts';
import { BatchFault, batchIndex, batchSize, checkBody, checkHeader, faultName } from '../wire/batch.ts';
import { DamageError, type DamageRange } from './damage.ts';
import type { HandleCache } from './handles.ts';
import type { SegmentList } from './list.ts';
import { damageAt, type Lookup } from './lookup.ts';
import { type Segment, SegmentState } from './segment.ts';
import type { Tail } from './tail.ts';
import { mut } from '../wire/mut.ts';

/** What a read from disk gives: whole verified batches in order. */
export interface StoredRange {
  readonly buffers: Buffer[];
  readonly bytes: number;
  /** Index of the last batch in `buffers`; the asked one − 1 when there is none. */
  readonly lastIndex: number;
}

/** The entry is below the log's first index by now: it was trimmed while the read waited. */
export class TrimmedError extends Error {
  override name = 'TrimmedError';
  readonly firstIndex: number;

  constructor(index: number, firstIndex: number) {
    super(`entry ${index} was trimmed: the log begins at ${firstIndex}`);
    this.firstIndex = firstIndex;
  }
}

export class Reader {
  readonly #list: SegmentList;
  readonly #tail: Tail;
  readonly #handles: HandleCache;
  readonly #lookup: Lookup;

  constructor(list: SegmentList, tail: Tail, handles: HandleCache, lookup: Lookup) {
    this.#list = list;
    this.#tail = tail;
    this.#handles = handles;
    this.#lookup = lookup;
  }

  /**
   * Batches from `index` on: at most `maxBytes` but at least one, none above `limitIndex`. Rejects with
   * DamageError when the first one does not hold, TrimmedError, and DiskError.
   */
  async read(index: number, maxBytes: number, limitIndex: number): Promise<StoredRange> {
    for (;;) {
      const cached = this.#tail.read(index, maxBytes, limitIndex);
      if (cached !== null) return { buffers: cached.buffers, bytes: cached.bytes, lastIndex: cached.nextIndex - 1 };
      const range = await this.readStored(index, maxBytes, limitIndex);
      if (range !== null) return range;
    }
  }

  /** The same, from the file even if the batches are in memory. Null: look again, the log was cut meanwhile. */
  async readStored(index: number, maxBytes: number, limitIndex: number): Promise<StoredRange | null> {
    const segment = this.#list.withIndex(index);
    if (index < segment.firstIndex) throw new TrimmedError(index, segment.firstIndex);
    segment.pin();
    try {
      // No turn between the last look and the use: whoever closes the log takes the files away in any.
      for (let wait = this.#handles.open(segment); wait !== null; wait = this.#handles.open(segment)) await this.#opened(segment, wait);
      if (index > segment.end.index) return this.#behind(segment, index);
      // What is in memory is newer than the file where a truncation has not reached that yet.
      const limit = Math.min(limitIndex, segment.end.index, Math.max(index, this.#tail.firstIndex - 1));
      return await this.#readFrom(segment, index, maxBytes, limit);
    } catch (error) {
      if (!(error instanceof IndexDamageError)) throw error;
      await this.#lookup.rebuild(segment);
      return null;
    } finally {
      segment.unpin();
    }
  }

  async #opened(segment: Segment, wait: Promise<void>): Promise<void> {
    try {
      await wait;
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'ENOENT' || !this.#list.segments.includes(segment)) throw error;
      throw this.#damage(segment, wholeOf(segment, 'the file is missing'));
    }
  }

  async #readFrom(segment: Segment, index: number, maxBytes: number, limitIndex: number): Promise<StoredRange | null> {
    const offsets = segment.index!;
    const first = index - segment.firstIndex;
    const endOf = (i: number): number => (i + 1 < segment.count ? offsets.positionAt(i + 1) : segment.end.position);
    const start = offsets.positionAt(first);
    let low = first;
    let high = limitIndex - segment.firstIndex;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (endOf(middle) - start <= maxBytes) low = middle;
      else high = middle - 1;
    }
    const size = endOf(low) - start;
    const { cutCount } = this.#tail;
    const buffer = Buffer.allocUnsafeSlow(size);
    const count = await segment.file!.read(buffer, 0, size, start);
    // A truncation may have put other bytes there, which are not damage.
    if (this.#tail.cutCount !== cutCount) return null;
    return this.#verified(segment, offsets, index, buffer, count);
  }

  /** The batches of `buffer` up to the first that does not hold. */
  async #verified(segment: Segment, offsets: OffsetIndex, index: number, buffer: Buffer, size: number): Promise<StoredRange | null> {
    let at = 0;
    let next = index;
    let fault = '';
    while (at < buffer.length) {
      fault = faultAt(buffer, at, size, next);
      if (fault !== '') break;
      at += batchSize(buffer, at);
      next++;
    }
    if (next > index) return { buffers: [at === buffer.length ? buffer : buffer.subarray(0, at)], bytes: at, lastIndex: next - 1 };
    if (!segment.indexBuilt) {
      // The index may be to blame: it is disposable, so it is built anew before the segment is accused.
      await this.#lookup.rebuild(segment);
      return null;
    }
    throw this.#damage(segment, damageAt(segment, offsets, index, fault));
  }

  /** Nothing of the segment reaches `index`: it is cut away by now, or a file is missing behind this one. */
  #behind(segment: Segment, index: number): StoredRange | null {
    const next = this.#list.after(segment);
    if (segment.state !== SegmentState.SEALED || next === null) return index > this.#tail.lastIndex ? nothing(index) : null;
    throw this.#damage(segment, {
      file: segment.path,
      position: segment.end.position,
      firstIndex: segment.end.index + 1,
      lastIndex: next.firstIndex - 1,
      firstOffset: segment.end.nextOffset,
      lastOffset: next.firstOffset - 1,
      reason: 'the segment file behind this one is missing',
    });
  }

  #damage(segment: Segment, range: DamageRange): DamageError {
    segment.noteDamage(range);
    return new DamageError(range);
  }
}

function nothing(index: number): StoredRange {
  return { buffers: [], bytes: 0, lastIndex: index - 1 };
}

/** '' when the batch at `at` holds and is number `index` of the log. */
function faultAt(buffer: Buffer, at: number, size: number, index: number): string {
  const header = checkHeader(buffer, at, size);
  if (header !== BatchFault.OK) return faultName(header);
  if (batchIndex(buffer, at) !== index) return `index ${batchIndex(buffer, at)} instead of ${index}`;
  const body = mut('damaged-body-served') ? BatchFault.OK : checkBody(buffer, at, size);
  return body === BatchFault.OK ? '' : faultName(body);
}

function wholeOf(segment: Segment, reason: string): DamageRange {
  const { path: file, firstIndex, firstOffset, end } = segment;
  return { file, position: 0, firstIndex, lastIndex: end.index, firstOffset, lastOffset: end.nextOffset - 1, reason };
}
