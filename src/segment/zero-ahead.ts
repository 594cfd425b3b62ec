// Zeros written ahead of a segment's end, so that the sync of a small group only has to write data:
// one that makes the file longer also waits for the file system's journal. Measured on ext4, 46 KB
// groups: 0.23 ms per group instead of 0.40; 200 bytes: 0.22 instead of 0.28 (docs/decisions.md).
// Recovery needs to know nothing of it: zeros are no batch, and what follows the end is cut off.
//
// Invariant: a file with zeros behind its end is the newest of its log; it is cut to its end before
// the next segment gets a name, and when the log is closed.
import { SEGMENT_HEAD_SIZE } from './mark.ts';
import type { Segment } from './segment.ts';

/** Groups above this are bound by the disk's bandwidth: writing zeros first would only cost. */
const GROUP_SIZE_MAX = 256 * 1024;
/** Least and most bytes of zeros at once. A log that holds little gets little. */
const AHEAD_SIZE_MIN = 16 * 1024;
const AHEAD_SIZE_MAX = 256 * 1024;

const zeros = Buffer.alloc(AHEAD_SIZE_MAX);

/**
 * Makes room behind the group of `groupBytes` that was just written up to `end`, unsynced, in a file
 * that is to hold `segmentBytes`. Rejects with DiskError; a full disk here is a full disk: the reserve
 * is far larger.
 */
export async function zeroAhead(segment: Segment, end: number, groupBytes: number, segmentBytes: number): Promise<void> {
  if (end <= segment.zeroedTo || groupBytes > GROUP_SIZE_MAX || end >= segmentBytes) return;
  const size = Math.min(AHEAD_SIZE_MAX, Math.max(AHEAD_SIZE_MIN, end - SEGMENT_HEAD_SIZE));
  segment.zeroedTo = end + size;
  await segment.file!.write(zeros, 0, size, end);
}

/** Cuts the zeros off again, unsynced. Rejects with DiskError. */
export async function cutZeros(segment: Segment): Promise<void> {
  if (segment.zeroedTo <= segment.end.position) return;
  await segment.file!.truncate(segment.end.position);
  segment.zeroedTo = 0;
}
