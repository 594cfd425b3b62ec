// The segments of one log in order, and which of them an index, an offset or a time lies in. The newest
// may still be planned; everything before it is complete.
//
// Invariant: never empty; segment i + 1 begins right after the last index of segment i; planned ones
// come last.
import { assert } from '../wire/assert.ts';
import type { LogEnd } from './mark.ts';
import { Segment, SegmentState } from './segment.ts';

/** One segment as retention sees it. */
export interface SegmentSummary {
  readonly firstIndex: number;
  /** Offset of its first record; equal to `nextOffset` when it holds no data. */
  readonly firstOffset: number;
  /** One past the offset of its last record. */
  readonly nextOffset: number;
  readonly bytes: number;
  /** append_time of its last batch. */
  readonly lastAppendTimeMs: number;
}

export class SegmentList {
  readonly segments: Segment[];
  readonly #directory: string;

  constructor(directory: string, segments: Segment[]) {
    assert(segments.length > 0, 'a log has at least one segment');
    this.#directory = directory;
    this.segments = segments;
  }

  get first(): Segment {
    return this.segments[0]!;
  }

  get last(): Segment {
    return this.segments[this.segments.length - 1]!;
  }

  /** Adds the segment that begins after `end`; its file is made when its first batch is written. */
  plan(end: LogEnd): Segment {
    const segment = new Segment(this.#directory, {
      firstIndex: end.index + 1,
      firstOffset: end.nextOffset,
      termBefore: end.term,
      appendTimeBefore: end.appendTime,
    });
    this.segments.push(segment);
    return segment;
  }

  /** The segment that holds `index`, or would hold it: the last one that begins at or before it. */
  withIndex(index: number): Segment {
    return this.#lastWhere((segment) => segment.firstIndex <= index);
  }

  /** The last segment that begins at or before `offset`: it holds the data batch with that offset. */
  withOffset(offset: number): Segment {
    return this.#lastWhere((segment) => segment.firstOffset <= offset);
  }

  /** The segment in which the first batch with append_time ≥ `ms` lies, if there is one at all. */
  withTime(ms: number): Segment {
    return this.#lastWhere((segment) => segment.appendTimeBefore < ms);
  }

  /** The segment after `segment`, or null. */
  after(segment: Segment): Segment | null {
    const next = this.#positionWhere((other) => other.firstIndex <= segment.firstIndex) + 1;
    return next < this.segments.length ? this.segments[next]! : null;
  }

  /**
   * Takes out what lies above `fromIndex` and returns it, newest first. A segment that begins exactly
   * there goes too, and is planned anew (returned by `last`), unless it is the log's first.
   */
  truncate(fromIndex: number): Segment[] {
    const removed: Segment[] = [];
    while (this.segments.length > 1 && this.last.firstIndex >= fromIndex) removed.push(this.segments.pop()!);
    const boundary = removed[removed.length - 1];
    if (boundary !== undefined && boundary.firstIndex === fromIndex) {
      this.segments.push(new Segment(this.#directory, boundary));
    }
    return removed;
  }

  /** The sealed segments whose records all lie below `offset` and whose entries below `keepFromIndex`. */
  trimmable(offset: number, keepFromIndex: number): Segment[] {
    let count = 0;
    while (count + 1 < this.segments.length && this.segments[count]!.state === SegmentState.SEALED) {
      const next = this.segments[count + 1]!;
      if (next.firstOffset > offset || next.firstIndex > keepFromIndex) break;
      count++;
    }
    return this.segments.slice(0, count);
  }

  /** Removes the first `count` segments. */
  trim(count: number): void {
    assert(count < this.segments.length, 'the newest segment is never trimmed');
    this.segments.splice(0, count);
  }

  /** `tail` is the end of the newest segment, which may have batches in memory only. */
  summaries(tail: LogEnd): SegmentSummary[] {
    return this.segments.map((segment, i) => {
      const next = this.segments[i + 1];
      return {
        firstIndex: segment.firstIndex,
        firstOffset: segment.firstOffset,
        nextOffset: next?.firstOffset ?? tail.nextOffset,
        bytes: next === undefined ? tail.position : segment.end.position,
        lastAppendTimeMs: next?.appendTimeBefore ?? tail.appendTime,
      };
    });
  }

  /** Bytes of all segments; `tailPosition` is the end of the newest one. */
  bytes(tailPosition: number): number {
    let bytes = tailPosition;
    for (let i = 0; i < this.segments.length - 1; i++) bytes += this.segments[i]!.end.position;
    return bytes;
  }

  #lastWhere(holds: (segment: Segment) => boolean): Segment {
    return this.segments[Math.max(0, this.#positionWhere(holds))]!;
  }

  #positionWhere(holds: (segment: Segment) => boolean): number {
    let low = -1;
    let high = this.segments.length - 1;
    // The newest is asked for most.
    if (holds(this.segments[high]!)) return high;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (holds(this.segments[middle]!)) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
