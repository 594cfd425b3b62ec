// Reads what the heads of all segments of a log say, and fits them together: each head names the state
// before its segment, each mark the state at its end, so that either can stand in for a damaged
// neighbour. Opens nothing for longer than one read, and changes nothing.
//
// Invariant: the segments returned are in order and without a gap that is not reported as damage.
import type { Disk } from '../index/disk.ts';
import { baseOffset } from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, NONE } from '../wire/limits.ts';
import { DamageError, type DamageRange } from './damage.ts';
import { type DecodedHead, decodeHead, endBefore, segmentFirstIndex, segmentName, type SegmentHead } from './head.ts';
import { firstBatchMs } from './index-build.ts';
import { type LogEnd, MARK_POSITIONS, SEGMENT_HEAD_SIZE } from './mark.ts';
import { Segment, SegmentState } from './segment.ts';
import { rangeOf } from './walk.ts';

/** Segment files whose heads are read at once. */
const HEADS_AT_ONCE = 16;
/** The head and the header of the first batch. */
const READ_SIZE = SEGMENT_HEAD_SIZE + BATCH_HEADER_SIZE;

export interface ReadSegment {
  readonly segment: Segment;
  readonly decoded: DecodedHead;
  /** The head is damaged, and what stands in for it is what it said, to the letter. */
  readonly headKnown: boolean;
}

/** First indexes of the segment files among `names`, in order. */
export function listSegments(names: readonly string[]): number[] {
  return names.map(segmentFirstIndex).filter((first) => first !== NONE).sort((a, b) => a - b);
}

/**
 * The segments of the log in `directory` as their heads describe them; the last one's end is that of its
 * mark, if it has one. Rejects with DiskError, and with DamageError when a file belongs to another log
 * or nothing can stand in for a damaged head.
 */
export async function readHeads(
  disk: Disk,
  directory: string,
  logUid: Buffer | null,
  firstIndexes: readonly number[],
  damaged: (range: DamageRange) => void,
): Promise<ReadSegment[]> {
  const raw: RawHead[] = [];
  for (let i = 0; i < firstIndexes.length; i += HEADS_AT_ONCE) {
    const some = firstIndexes.slice(i, i + HEADS_AT_ONCE).map((first) => readRaw(disk, directory, first));
    raw.push(...(await Promise.all(some)));
  }
  const read: ReadSegment[] = [];
  for (const [i, head] of raw.entries()) {
    const segment = new Segment(directory, headOf(head, read[i - 1], raw[i + 1], logUid, damaged));
    segment.firstMs = head.firstMs;
    const { mark } = head.decoded;
    if (mark !== null) {
      segment.end.set(mark.end);
      segment.synced.set(mark.end);
      segment.markSequence = mark.sequence;
    }
    segment.state = i === raw.length - 1 ? SegmentState.ACTIVE : SegmentState.SEALED;
    const known = head.decoded.head === null && (head.firstIndex === 1 || read[i - 1]?.decoded.mark?.end.index === head.firstIndex - 1);
    read.push({ segment, decoded: head.decoded, headKnown: known });
    if (i > 0) await fit(disk, read[i - 1]!, segment, damaged);
  }
  return read;
}

interface RawHead {
  readonly path: string;
  readonly firstIndex: number;
  readonly decoded: DecodedHead;
  readonly firstMs: number;
  /** base_offset of the first batch; NONE when it does not hold. */
  readonly firstOffset: number;
}

async function readRaw(disk: Disk, directory: string, firstIndex: number): Promise<RawHead> {
  const path = `${directory}/${segmentName(firstIndex)}`;
  const file = await disk.open(path, 'read');
  try {
    const bytes = Buffer.alloc(READ_SIZE);
    const size = await file.read(bytes, 0, READ_SIZE, 0);
    const firstMs = firstBatchMs(bytes, size);
    const firstOffset = firstMs === NONE ? NONE : baseOffset(bytes, SEGMENT_HEAD_SIZE);
    return { path, firstIndex, decoded: decodeHead(bytes, size, firstIndex), firstMs, firstOffset };
  } finally {
    await file.close();
  }
}

/** The head, or what stands in for it when it is damaged. */
function headOf(
  raw: RawHead,
  before: ReadSegment | undefined,
  after: RawHead | undefined,
  logUid: Buffer | null,
  damaged: (range: DamageRange) => void,
): Omit<SegmentHead, 'logUid'> {
  const { head, fault } = raw.decoded;
  if (head !== null) {
    if (logUid === null || head.logUid.equals(logUid)) return head;
    throw new DamageError(headDamage(raw, head.firstOffset, `belongs to log ${head.logUid.toString('hex')}`));
  }
  const mark = before?.decoded.mark;
  if (mark && mark.end.index === raw.firstIndex - 1) {
    const { nextOffset, term, appendTime } = mark.end;
    damaged(headDamage(raw, nextOffset, fault));
    return { firstIndex: raw.firstIndex, firstOffset: nextOffset, termBefore: term, appendTimeBefore: appendTime };
  }
  const firstOffset = firstOffsetOf(raw, before === undefined ? after : undefined);
  if (firstOffset === NONE) throw new DamageError(headDamage(raw, 0, fault));
  damaged(headDamage(raw, firstOffset, fault));
  return { firstIndex: raw.firstIndex, firstOffset, termBefore: 0, appendTimeBefore: 0 };
}

/**
 * Where the records of a segment begin whose head nothing before it stands in for; NONE when nobody can
 * say. Where only the next head is left, at its end: then none of its records can be found by offset,
 * and all of them lie below the log's first.
 */
function firstOffsetOf(raw: RawHead, after: RawHead | undefined): number {
  if (raw.firstOffset !== NONE) return raw.firstOffset;
  if (raw.firstIndex === 1) return 0;
  return after?.decoded.head?.firstOffset ?? NONE;
}

/** Damage of a head: no record is lost by it. */
function headDamage(raw: RawHead, firstOffset: number, reason: string): DamageRange {
  const { path: file, firstIndex } = raw;
  return { file, position: 0, firstIndex, lastIndex: firstIndex - 1, firstOffset, lastOffset: firstOffset - 1, reason };
}

/** Fits a segment to the one after it, which says where it must end. */
async function fit(disk: Disk, read: ReadSegment, next: Segment, damaged: (range: DamageRange) => void): Promise<void> {
  const { segment, decoded } = read;
  const { mark } = decoded;
  const wanted = endBefore(next);
  const { end } = segment;
  if (mark !== null && agrees(end, wanted)) return;
  if (mark !== null && end.index >= wanted.index) {
    throw new DamageError(rangeOf(segment.path, wanted, end, `disagrees with ${segmentName(next.firstIndex)}`));
  }
  const size = await sizeOf(disk, segment.path);
  if (mark !== null && size <= end.position) {
    damaged(rangeOf(segment.path, end, wanted, `a segment file between this and ${segmentName(next.firstIndex)} is missing`));
    return;
  }
  // The newest slot is bad, but a complete segment ends with its file, and the next head says what it holds.
  // A file cut short has fewer bytes than its batches had: each needs a place of its own to be missed at.
  wanted.position = Math.max(size, end.position + (wanted.index - end.index) * BATCH_HEADER_SIZE);
  damaged({ ...rangeOf(segment.path, wanted, wanted, 'the durable mark is bad'), position: MARK_POSITIONS[0] });
  end.set(wanted);
  segment.synced.set(wanted);
}

function agrees(end: LogEnd, wanted: LogEnd): boolean {
  return (
    end.index === wanted.index && end.nextOffset === wanted.nextOffset &&
    (end.term === wanted.term || wanted.term === 0) && (end.appendTime === wanted.appendTime || wanted.appendTime === 0)
  );
}

async function sizeOf(disk: Disk, path: string): Promise<number> {
  const file = await disk.open(path, 'read');
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}

/** A log without a single segment file: lost, not empty, because a log is made with one. */
export function noSegment(directory: string): DamageRange {
  return { file: directory, position: 0, firstIndex: 1, lastIndex: NONE, firstOffset: 0, lastOffset: NONE, reason: 'no segment file' };
}

/** Both slots of the newest segment's mark are bad; `end` is where its valid batches end. */
export function unknownEnd(segment: Segment, end: LogEnd): DamageRange {
  return {
    file: segment.path,
    position: MARK_POSITIONS[0],
    firstIndex: end.index + 1,
    lastIndex: NONE,
    firstOffset: end.nextOffset,
    lastOffset: NONE,
    reason: 'both slots of the durable mark are bad: how much was durable is not known',
  };
}
