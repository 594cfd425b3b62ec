// A group: the queued batches that one write and one sync cover. It is taken from the tail's slabs when
// the write before it has ended, and belongs to one segment. One object per log, used again and again.
//
// Invariant: parts are contiguous in the file and in index; a truncation may cut the slabs under it, but
// not the bytes that it names.
import { appendTime, baseOffset, batchCount, batchTerm } from '../wire/batch.ts';
import type { OffsetIndex } from '../index/offset-index.ts';
import { LogEnd } from './mark.ts';
import type { Segment } from './segment.ts';
import type { Slab } from './slab.ts';
import type { Tail } from './tail.ts';

/** Bytes after which a group ends, so that acks of a long queue do not all wait for its last byte. */
const GROUP_SIZE_MAX = 8 * 1024 * 1024;

export class WriteGroup {
  segment: Segment | null = null;
  generation = 0;
  batchCount = 0;
  bytes = 0;
  /** After its last batch. */
  readonly end = new LogEnd(0, 0, 0, 0, 0);
  readonly slabs: Slab[] = [];
  /** Bytes [from, to) and batches [firstCount, lastCount) of each slab. */
  readonly from: number[] = [];
  readonly to: number[] = [];
  readonly fromCount: number[] = [];
  readonly toCount: number[] = [];

  /** Takes what is queued for the oldest segment that has something queued; false when nothing is. */
  take(tail: Tail, generation: number): boolean {
    this.clear();
    const all = tail.slabs;
    let first = all.length;
    while (first > 0 && all[first - 1]!.written < all[first - 1]!.length) first--;
    if (first === all.length) return false;
    this.segment = all[first]!.segment;
    this.generation = generation;
    for (let i = first; i < all.length && all[i]!.segment === this.segment && this.bytes < GROUP_SIZE_MAX; i++) {
      this.#add(all[i]!);
    }
    const slab = this.slabs[this.slabs.length - 1]!;
    const at = slab.starts[slab.count - 1]!;
    this.end.position = slab.filePosition + slab.length;
    this.end.index = slab.endIndex - 1;
    this.end.term = batchTerm(slab.buffer, at);
    this.end.nextOffset = baseOffset(slab.buffer, at) + batchCount(slab.buffer, at);
    this.end.appendTime = appendTime(slab.buffer, at);
    return true;
  }

  #add(slab: Slab): void {
    this.slabs.push(slab);
    this.from.push(slab.written);
    this.to.push(slab.length);
    this.fromCount.push(slab.writtenCount);
    this.toCount.push(slab.count);
    this.bytes += slab.length - slab.written;
    this.batchCount += slab.count - slab.writtenCount;
  }

  /** Writes the index entries of part `i`. The index must have room. */
  indexPart(i: number, index: OffsetIndex): void {
    const slab = this.slabs[i]!;
    for (let k = this.fromCount[i]!; k < this.toCount[i]!; k++) {
      const at = slab.starts[k]!;
      index.append(slab.filePosition + at, baseOffset(slab.buffer, at), appendTime(slab.buffer, at));
    }
  }

  /** Notes in the slabs that the group is in the file. */
  noteWritten(tail: Tail): void {
    for (let i = 0; i < this.slabs.length; i++) {
      const slab = this.slabs[i]!;
      slab.written = Math.min(this.to[i]!, slab.length);
      slab.writtenCount = Math.min(this.toCount[i]!, slab.count);
    }
    tail.unwrittenBytes -= this.bytes;
  }

  /** Lets go of the slabs. */
  clear(): void {
    this.segment = null;
    this.batchCount = 0;
    this.bytes = 0;
    this.slabs.length = this.from.length = this.to.length = this.fromCount.length = this.toCount.length = 0;
  }
}
