// Ends the doubt about a log whose end is not known (both slots of the newest mark are bad): what is valid
// from the start of the segment on is declared to be the log, the rest is cut off. Only on an
// operator's word, with the data directory locked: what was acknowledged behind that place is gone.
//
// Damage with a known extent needs nothing from here: its range stays unreadable, the log goes on after it.
import type { Disk, DiskFile } from '../index/disk.ts';
import type { DamageRange } from './damage.ts';
import { encodeHead, endBefore } from './head.ts';
import { listSegments, readHeads, unknownEnd } from './heads-read.ts';
import { MARK_SLOT_SIZE } from './mark.ts';
import { Scan } from './scan.ts';
import type { Segment } from './segment.ts';

/**
 * Gives the newest segment a mark again, and a head where that is damaged too. Resolves with what was given up, null when there was no doubt.
 * Rejects with DiskError, and with DamageError when not even the segments can be told.
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

/** What stands in for the head is written into it: it is all that the log goes by from here on. */
async function writeHeadAnew(file: DiskFile, segment: Segment, logUid: Buffer): Promise<void> {
  const { firstIndex, firstOffset, termBefore, appendTimeBefore } = segment;
  const bytes = encodeHead({ logUid, firstIndex, firstOffset, termBefore, appendTimeBefore });
  await file.write(bytes, 0, bytes.length, 0);
}
