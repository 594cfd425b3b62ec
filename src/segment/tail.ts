// The newest part of a log, in memory: where batches are copied as they are accepted, from where they
// are written, and what readers at the end of the log are served from. Also the log's end (last index,
// term, offset, time), which is the end of the tail even when no slab is left. No disk here.
//
// Invariant: slabs are contiguous in index, hold at least one batch each, end at `lastIndex`, and their
// bytes are verified by construction: checked by who appended, stamped or chain-checked here.
import { assert } from '../wire/assert.ts';
import { appendTime as timeOf, baseOffset, batchCount, batchIndex, batchSize, batchTerm, stampBatch } from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, NONE, U32_MAX } from '../wire/limits.ts';
import { LogEnd, SEGMENT_HEAD_SIZE } from './mark.ts';
import type { Segment } from './segment.ts';
import { Slab, SLAB_SIZE_MAX, SLAB_SIZE_MIN, type SlabPool } from './slab.ts';
import type { TermTable } from './terms.ts';
import { mut } from '../wire/mut.ts';

/** What a read gives: whole batches in order, in one or more pieces. */
export interface BatchRange {
  readonly buffers: Buffer[];
  readonly bytes: number;
  /** Index after the last batch in `buffers`. */
  readonly nextIndex: number;
}

export interface TailOptions {
  /** Bytes of slabs that are kept for readers once they are durable. */
  readonly cacheBytes: number;
  readonly pool: SlabPool;
  readonly segmentBytes: number;
  /** Makes the segment that the next batch begins. */
  readonly plan: (end: LogEnd) => Segment;
}

export class Tail {
  readonly slabs: Slab[] = [];
  readonly terms: TermTable;
  lastIndex: number;
  lastTerm: number;
  nextOffset: number;
  lastAppendTime: number;
  /** Appended and not yet covered by a finished write. */
  unwrittenBytes = 0;
  /** Truncations so far: what was read from disk across one is in doubt. */
  cutCount = 0;
  /** Memory held by the slabs. */
  memoryBytes = 0;
  #maxSegmentAgeMs: number;
  readonly #options: TailOptions;
  /** The slab that takes the next batch; null when the next batch needs a new one. */
  #slab: Slab | null = null;
  #segment: Segment;
  /** Bytes that #slab may hold without going over the segment's size. */
  #slabLimit = 0;
  /** Latest append time and highest offset that the segment's index can hold, by age too. */
  #timeLimit = -1;
  #offsetLimit = -1;
  /** End of what was appended to #segment: where its next batch lies in the file. */
  #position: number;

  /** Begins after `end`, in `segment`. */
  constructor(segment: Segment, end: LogEnd, terms: TermTable, maxSegmentAgeMs: number, options: TailOptions) {
    this.#options = options;
    this.terms = terms;
    this.#segment = segment;
    this.#position = end.position;
    this.#maxSegmentAgeMs = maxSegmentAgeMs;
    this.lastIndex = end.index;
    this.lastTerm = end.term;
    this.nextOffset = end.nextOffset;
    this.lastAppendTime = end.appendTime;
  }

  /** First index that is in memory; lastIndex + 1 when nothing is. */
  get firstIndex(): number {
    return this.slabs.length === 0 ? this.lastIndex + 1 : this.slabs[0]!.firstIndex;
  }

  /** The segment that the last batch went to. */
  get segment(): Segment {
    return this.#segment;
  }

  /** Bytes of the segment that the last batch went to, written or not. */
  get position(): number {
    return this.#position;
  }

  /** Milliseconds of append time after which a segment is complete; counts from the next batch on. */
  setMaxSegmentAge(ms: number): void {
    this.#maxSegmentAgeMs = ms;
    this.#timeLimit = -1;
  }

  /** The state after the last batch, as a new object. */
  end(): LogEnd {
    return new LogEnd(this.#position, this.lastIndex, this.lastTerm, this.nextOffset, this.lastAppendTime);
  }

  /** Copies a checked batch, stamps it, and returns its index. */
  append(source: Buffer, start: number, end: number, term: number, appendTime: number): number {
    const size = end - start;
    assert(term >= this.lastTerm && appendTime >= this.lastAppendTime, 'term and append time never go down');
    const slab = this.#room(size, appendTime);
    const at = slab.length;
    source.copy(slab.buffer, at, start, end);
    assert(batchSize(slab.buffer, at) === size, 'a batch is appended whole');
    const index = this.lastIndex + 1;
    stampBatch(slab.buffer, at, index, term, this.nextOffset, appendTime);
    this.#take(slab, at, size, term, appendTime);
    return index;
  }

  /** Copies a batch that its leader stamped, and that continues this log. */
  appendStamped(source: Buffer, start: number, end: number): void {
    const size = end - start;
    assert(size >= BATCH_HEADER_SIZE && batchSize(source, start) === size, 'a batch is appended whole');
    const term = batchTerm(source, start);
    const appendTime = timeOf(source, start);
    assert(batchIndex(source, start) === this.lastIndex + 1, 'a stamped batch has the next index');
    assert(baseOffset(source, start) === this.nextOffset, 'a stamped batch has the next offset');
    assert(term >= this.lastTerm && appendTime >= this.lastAppendTime, 'term and append time never go down');
    const slab = this.#room(size, appendTime);
    const at = slab.length;
    source.copy(slab.buffer, at, start, end);
    this.#take(slab, at, size, term, appendTime);
  }

  #take(slab: Slab, at: number, size: number, term: number, appendTime: number): void {
    slab.starts[slab.count++] = at;
    slab.length = at + size;
    this.#position += size;
    this.unwrittenBytes += size;
    this.lastIndex++;
    this.nextOffset += batchCount(slab.buffer, at);
    this.lastAppendTime = appendTime;
    if (term !== this.lastTerm || this.terms.firstIndex > this.lastIndex) {
      this.lastTerm = term;
      this.terms.add(this.lastIndex, term);
    }
  }

  /** The slab that takes a batch of `size` bytes now. */
  #room(size: number, appendTime: number): Slab {
    const slab = this.#slab;
    if (
      slab !== null && slab.length + size <= this.#slabLimit &&
      appendTime <= this.#timeLimit && this.nextOffset <= this.#offsetLimit
    ) {
      return slab;
    }
    return this.#newSlab(size, appendTime);
  }

  #newSlab(size: number, appendTime: number): Slab {
    const { segmentBytes, pool } = this.#options;
    if (this.#slab !== null) this.#slab.closed = true;
    if (this.#segment.firstMs !== NONE && this.#mustRoll(size, appendTime)) {
      this.#segment = this.#options.plan(this.end());
      this.#position = SEGMENT_HEAD_SIZE;
    }
    const segment = this.#segment;
    if (segment.firstMs === NONE) segment.firstMs = appendTime;
    // Room for about two groups of what is queued now, so that slabs grow and shrink with the load.
    const slab = pool.take(Math.max(size, Math.min(SLAB_SIZE_MAX, Math.max(SLAB_SIZE_MIN, this.unwrittenBytes * 2))));
    slab.segment = segment;
    slab.filePosition = this.#position;
    slab.firstIndex = this.lastIndex + 1;
    // A segment holds at least one batch, however large.
    const left = Math.max(segmentBytes - this.#position, this.#position === SEGMENT_HEAD_SIZE ? size : 0);
    this.#slab = slab;
    this.#slabLimit = Math.min(slab.buffer.length, Math.max(left, size));
    this.#offsetLimit = segment.firstOffset + U32_MAX;
    this.#timeLimit = segment.firstMs + Math.min(this.#maxSegmentAgeMs, U32_MAX);
    this.slabs.push(slab);
    this.memoryBytes += slab.memoryBytes;
    return slab;
  }

  #mustRoll(size: number, appendTime: number): boolean {
    const segment = this.#segment;
    const age = appendTime - segment.firstMs;
    return (
      this.#position + size > this.#options.segmentBytes ||
      age > this.#maxSegmentAgeMs || age > U32_MAX ||
      this.nextOffset - segment.firstOffset > U32_MAX ||
      this.#position > U32_MAX
    );
  }

  /** Batches from `index` on as views, at most `maxBytes` but at least one, none above `limitIndex`. */
  read(index: number, maxBytes: number, limitIndex: number): BatchRange | null {
    if (index < this.firstIndex) return null;
    const last = Math.min(limitIndex, this.lastIndex);
    const buffers: Buffer[] = [];
    let bytes = 0;
    let next = index;
    for (let i = index > last ? this.slabs.length : this.slabOf(index); i < this.slabs.length && next <= last; i++) {
      const slab = this.slabs[i]!;
      const from = slab.startOf(next);
      let endIndex = Math.min(last + 1, slab.endIndex);
      const full = slab.startOf(endIndex) - from > maxBytes - bytes;
      if (full) endIndex = lastEndWithin(slab, next, endIndex, from + maxBytes - bytes);
      if (endIndex === next && bytes === 0) endIndex = next + 1;
      if (endIndex === next) break;
      const to = slab.startOf(endIndex);
      buffers.push(slab.buffer.subarray(from, to));
      slab.shared = true;
      bytes += to - from;
      next = endIndex;
      if (full) break;
    }
    return { buffers, bytes, nextIndex: next };
  }

  /** Position in `slabs` of the one that holds `index`, which must be in memory. */
  slabOf(index: number): number {
    let low = 0;
    let high = this.slabs.length - 1;
    if (this.slabs[high]!.firstIndex <= index) return high;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.slabs[middle]!.firstIndex <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The slab that holds `index`, or null. */
  slabWith(index: number): Slab | null {
    return index >= this.firstIndex && index <= this.lastIndex ? this.slabs[this.slabOf(index)]! : null;
  }

  /** The last index in memory whose base_offset is at most `offset`; NONE when all are above. */
  findOffset(offset: number): number {
    return this.#lastWhere((buffer, at) => baseOffset(buffer, at) <= offset);
  }

  /** The first index in memory, from `from` on, whose append_time is at least `ms`; lastIndex + 1 if none. */
  findTime(ms: number, from: number): number {
    return Math.max(from, this.#lastWhere((buffer, at) => timeOf(buffer, at) < ms) + 1, this.firstIndex);
  }

  /** The last index in memory for which `holds`, where it holds for a prefix; NONE if for none. */
  #lastWhere(holds: (buffer: Buffer, at: number) => boolean): number {
    let low = this.firstIndex - 1;
    const none = low;
    let high = this.lastIndex;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      const slab = this.slabs[this.slabOf(middle)]!;
      if (holds(slab.buffer, slab.startOf(middle))) low = middle;
      else high = middle - 1;
    }
    return low === none ? NONE : low;
  }

  /** Forgets what lies after `end`; the next batch goes to `segment`. */
  truncate(segment: Segment, end: LogEnd): void {
    const from = end.index + 1;
    while (this.slabs.length > 0 && this.slabs[this.slabs.length - 1]!.firstIndex >= from) {
      // Not for the pool: a write may be under way from it.
      this.memoryBytes -= this.slabs.pop()!.memoryBytes;
    }
    const last = this.slabs[this.slabs.length - 1];
    if (last !== undefined && last.endIndex > from) last.cut(from);
    // The base of an index's times is that of the first batch, which will be another one.
    if (end.index < segment.firstIndex) segment.firstMs = NONE;
    this.cutCount++;
    this.#slab = null;
    this.#segment = segment;
    this.#position = end.position;
    this.lastIndex = end.index;
    this.lastTerm = end.term;
    if (!mut('offsets-go-on-after-a-cut')) this.nextOffset = end.nextOffset;
    if (mut('offsets-used-again-after-a-cut')) this.nextOffset = segment.firstOffset;
    this.lastAppendTime = end.appendTime;
    this.terms.truncate(from);
    this.recount();
  }

  /** Counts the unwritten bytes anew, after a truncation crossed a write. */
  recount(): void {
    let bytes = 0;
    for (const slab of this.slabs) bytes += slab.length - slab.written;
    this.unwrittenBytes = bytes;
  }

  /** Gives back the oldest slabs beyond `limitBytes` whose batches are durable. */
  evict(durableIndex: number, limitBytes = this.#options.cacheBytes): void {
    while (this.memoryBytes > limitBytes && this.slabs.length > 0) {
      const slab = this.slabs[0]!;
      if (slab.written < slab.length || slab.endIndex - 1 > durableIndex) return;
      // The slab in use stays while there is any budget: replacing it costs more than it holds.
      if (slab === this.#slab && limitBytes > 0) return;
      if (slab === this.#slab) this.#slab = null;
      this.slabs.shift();
      this.memoryBytes -= slab.memoryBytes;
      this.#options.pool.give(slab);
    }
  }
}

/** The largest e in (index, endIndex] with startOf(e) ≤ limit, or `index` when not even one fits. */
function lastEndWithin(slab: Slab, index: number, endIndex: number, limit: number): number {
  let low = index;
  let high = endIndex;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (slab.startOf(middle) <= limit) low = middle;
    else high = middle - 1;
  }
  return low;
}
