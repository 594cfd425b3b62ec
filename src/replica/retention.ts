// Which of a log's oldest segments have outlived its retention: pure rules, no clock and no log.
// They name a trim offset; deleting files is the segmented log's affair, later and lower.
//
// Invariant: age never takes more than one segment per minute beyond what was rolled in that minute,
// so that a clock gone wrong costs at most a segment a minute before somebody looks.
import type { SegmentSummary } from '../segment/list.ts';
import { SEGMENT_HEAD_SIZE } from '../segment/mark.ts';

/**
 * The offset up to which a log may be trimmed so that at least `retainBytes` remain (whole segments
 * only; the active one always stays), or -1 when nothing may go. `retainBytes` 0 keeps all.
 */
export function trimOffsetByBytes(segments: readonly SegmentSummary[], retainBytes: number): number {
  if (retainBytes === 0) return -1;
  let total = 0;
  for (const segment of segments) total += segment.bytes - SEGMENT_HEAD_SIZE;
  let trimOffset = -1;
  for (let i = 0; i < segments.length - 1; i++) {
    const segment = segments[i]!;
    const bytes = segment.bytes - SEGMENT_HEAD_SIZE;
    if (total - bytes < retainBytes) break;
    total -= bytes;
    trimOffset = segment.nextOffset;
  }
  return trimOffset;
}

export interface AgeTrim {
  /** -1 = nothing may go. */
  readonly offset: number;
  /** Segments that this takes. */
  readonly segments: number;
}

/**
 * How far a log may be trimmed by age, taking at most `segmentsMax` segments that hold data above
 * `logStart`. `retainMs` 0 keeps all. The active segment may be taken too: an idle log must also
 * forget, and the trim entry itself makes such an old segment roll.
 */
export function trimOffsetByAge(
  segments: readonly SegmentSummary[],
  retainMs: number,
  nowMs: number,
  logStart: number,
  segmentsMax: number,
): AgeTrim {
  let trimOffset = -1;
  let taken = 0;
  if (retainMs === 0) return { offset: trimOffset, segments: taken };
  for (const segment of segments) {
    if (nowMs - segment.lastAppendTimeMs <= retainMs) break;
    if (segment.nextOffset <= Math.max(logStart, trimOffset)) continue;
    if (taken === segmentsMax) break;
    trimOffset = segment.nextOffset;
    taken++;
  }
  return { offset: trimOffset, segments: taken };
}

const MINUTE_MS = 60_000;

/** Counts how many segments one log may lose to age now: one a minute, and one per segment just rolled. */
export class AgeBudget {
  /** When the one of the minute was taken last. */
  #takenAtMs = -Infinity;
  /** Rolled segments that were not made up for yet, and when the last of them was seen. */
  #credit = 0;
  #creditAtMs = -Infinity;
  #rolledSeen = 0;

  /** Segments that may go now; `rolledTotal` counts the rolls of this log since it was opened. */
  available(monotonicMs: number, rolledTotal: number): number {
    if (monotonicMs - this.#creditAtMs >= MINUTE_MS) this.#credit = 0;
    if (rolledTotal > this.#rolledSeen) {
      this.#credit += rolledTotal - this.#rolledSeen;
      this.#creditAtMs = monotonicMs;
      this.#rolledSeen = rolledTotal;
    }
    return this.#credit + this.#oneMore(monotonicMs);
  }

  spend(segments: number, monotonicMs: number): void {
    if (segments > this.#credit) this.#takenAtMs = monotonicMs;
    this.#credit = Math.max(0, this.#credit - segments);
  }

  #oneMore(monotonicMs: number): number {
    return monotonicMs - this.#takenAtMs >= MINUTE_MS ? 1 : 0;
  }
}
