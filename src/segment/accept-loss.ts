// Ends the doubt about a log whose end is not known (both slots of the newest mark are bad): what is valid
// from the start of the segment on is declared to be the log, the rest is cut off. Only on an
// operator's word, with the data directory locked: what was acknowledged behind that place is gone.
//
// Damage with a known extent needs nothing from here: its range stays unreadable, the log goes on after it.
// Only heads are written anew on the way, where nothing is lost by it: else they would be reported for ever.
import type { Disk, DiskFile } from '../index/disk.ts';
import type { DamageRange } from './damage.ts';
import { encodeHead, endBefore, type SegmentHead } from './head.ts';
import { listSegments, readHeads, unknownEnd } from './heads-read.ts';
import { MARK_POSITIONS, MARK_SLOT_SIZE, SEGMENT_HEAD_SIZE } from './mark.ts';
import { Scan } from './scan.ts';
import type { Segment } from './segment.ts';

/** The part of a head behind the mark's slots. */
const HEAD_REST = MARK_POSITIONS[1] + MARK_SLOT_SIZE;

/**
 * Gives the newest segment a mark again, and a head where that is damaged too. Resolves with what was given
 * up, null when there was no doubt. Rejects with DiskError, and with DamageError when not even the segments can be told.
 */
export async function acceptLoss(
  disk: Disk, directory: string, logUid: Buffer, yieldTurn: () => Promise<void>,
): Promise<DamageRange | null> {
  const read = await readHeads(disk, directory, null, listSegments(await disk.list(directory)), () => {});
  const newest = read[read.length - 1];
  if (newest === undefined || newest.decoded.mark !== null) return null;
  const { segment } = newest;
  const file = await disk.open(segment.path, 'write');
  try {
    const scan = new Scan(endBefore(segment), {
      file, limit: await file.size(), bodiesFrom: 0, controlBodies: true, visit: null, betweenReads: yieldTurn,
    });
    await scan.run();
    await file.truncate(scan.end.position);
    if (newest.decoded.head === null) await writeHeadAnew(file, segment, logUid);
    await file.sync();
    segment.file = file;
    segment.end.set(scan.end);
    segment.synced.set(scan.end);
    const scratch = Buffer.alloc(MARK_SLOT_SIZE);
    segment.writeMark(scratch, 0);
    segment.writeMark(scratch, 0);
    await file.sync();
    return unknownEnd(segment, scan.end);
  } finally {
    await file.close();
  }
}

/**
 * Writes damaged heads anew of which every field is known from the segment before. Resolves with the files.
 * Rejects with DiskError and DamageError.
 */
export async function mendHeads(disk: Disk, directory: string, logUid: Buffer): Promise<string[]> {
  const mended: string[] = [];
  for (const { segment, decoded, headKnown } of await readHeads(disk, directory, logUid, listSegments(await disk.list(directory)), () => {})) {
    // Without a mark there is more to it than the head.
    if (!headKnown || decoded.mark === null) continue;
    const file = await disk.open(segment.path, 'write');
    try {
      const bytes = encodeHead({ ...headOf(segment), logUid });
      // The sector with the checksum goes last: before that it is a damaged head, as it was.
      await file.write(bytes, HEAD_REST, SEGMENT_HEAD_SIZE - HEAD_REST, HEAD_REST);
      await file.sync();
      await file.write(bytes, 0, MARK_POSITIONS[0], 0);
      await file.sync();
    } finally {
      await file.close();
    }
    mended.push(segment.path);
  }
  return mended;
}

function headOf({ firstIndex, firstOffset, termBefore, appendTimeBefore }: Segment): Omit<SegmentHead, 'logUid'> {
  return { firstIndex, firstOffset, termBefore, appendTimeBefore };
}

/** What stands in for the head is written into it: it is all that the log goes by from here on. */
async function writeHeadAnew(file: DiskFile, segment: Segment, logUid: Buffer): Promise<void> {
  const bytes = encodeHead({ ...headOf(segment), logUid });
  await file.write(bytes, 0, bytes.length, 0);
}
