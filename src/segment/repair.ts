// Puts damaged entries of a segment back: the same bytes, from a replica that has them whole, in the same
// place. The caller opens the log anew afterwards: what the damage made this process believe about indexes
// and terms goes with it.
//
// Invariant: nothing but the damaged stretch is written, and only bytes that fill it exactly.
import type { Disk, DiskFile } from '../index/disk.ts';
import * as batch from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, NONE } from '../wire/limits.ts';
import type { DamageRange } from './damage.ts';
import { SEGMENT_HEAD_SIZE } from './mark.ts';
import type { Segment } from './segment.ts';

/** Whether the range lies among the batches of `segment`: not in its head, nor in a file that is gone. */
export function isRepairable(segment: Segment, range: DamageRange): boolean {
  return range.file === segment.path && range.position >= SEGMENT_HEAD_SIZE && range.lastOffset !== NONE &&
    range.firstIndex >= segment.firstIndex && range.lastIndex >= range.firstIndex && range.lastIndex <= segment.end.index;
}

/** Writes and syncs `bytes`; false when they are not the entries of the range. Rejects with DiskError. */
export async function repairSegment(disk: Disk, segment: Segment, range: DamageRange, bytes: Buffer): Promise<boolean> {
  if (!areEntriesOf(range, bytes)) return false;
  const end = range.position + bytes.length;
  const file = await disk.open(segment.path, 'write');
  try {
    if (!(await goesOnAt(file, segment, range, end))) return false;
    await file.write(bytes, 0, bytes.length, range.position);
    await file.sync();
  } finally {
    await file.close();
  }
  return true;
}

function areEntriesOf(range: DamageRange, bytes: Buffer): boolean {
  let index = range.firstIndex;
  let offset = range.firstOffset;
  for (let at = 0; at < bytes.length; index++) {
    if (batch.checkBatch(bytes, at, bytes.length) !== batch.BatchFault.OK) return false;
    if (batch.batchIndex(bytes, at) !== index || batch.baseOffset(bytes, at) !== offset) return false;
    offset += batch.batchCount(bytes, at);
    at += batch.batchSize(bytes, at);
  }
  return index === range.lastIndex + 1 && offset === range.lastOffset + 1;
}

/** Right behind the range is the segment's end, or the header of the batch that follows. */
async function goesOnAt(file: DiskFile, segment: Segment, range: DamageRange, end: number): Promise<boolean> {
  if (range.lastIndex === segment.end.index) return end === segment.end.position;
  const header = Buffer.alloc(BATCH_HEADER_SIZE);
  const size = await file.read(header, 0, BATCH_HEADER_SIZE, end);
  return batch.checkHeader(header, 0, size) === batch.BatchFault.OK && batch.batchIndex(header, 0) === range.lastIndex + 1;
}
