// Making and removing segment files, each step in an order that a crash may end anywhere.
//
//   make     temporary file with head (and first batches) → sync → rename → sync directory
//   remove   index → segment → sync directory, one segment at a time
//
// Invariant: a file with a segment's name has a whole head; a segment is removed only after every newer
// (truncation) or every older one (trim) is durably gone, so that what is left never has a gap.
import { DiskError, type Disk, type DiskFile } from '../index/disk.ts';
import { encodeHead, TEMPORARY_SUFFIX } from './head.ts';
import { SEGMENT_HEAD_SIZE } from './mark.ts';
import type { Segment } from './segment.ts';
import { mut } from '../wire/mut.ts';

/** The file that the next segment is made in; at most one per log. */
const NEXT_NAME = `next.seg${TEMPORARY_SUFFIX}`;

/** A segment file that has no name of its own yet. */
export interface UnnamedFile {
  readonly path: string;
  readonly file: DiskFile;
}

/** Opens an empty temporary file for a segment of the log in `directory`. Rejects with DiskError. */
export async function createUnnamed(disk: Disk, directory: string): Promise<UnnamedFile> {
  const path = `${directory}/${NEXT_NAME}`;
  try {
    return { path, file: await disk.open(path, 'create') };
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'EEXIST') throw error;
  }
  await disk.unlink(path);
  return { path, file: await disk.open(path, 'create') };
}

/** Writes the head, unsynced. Rejects with DiskError. */
export async function writeHead(unnamed: UnnamedFile, segment: Segment, logUid: Buffer): Promise<void> {
  const { firstIndex, firstOffset, termBefore, appendTimeBefore } = segment;
  const head = encodeHead({ logUid, firstIndex, firstOffset, termBefore, appendTimeBefore });
  await unnamed.file.write(head, 0, SEGMENT_HEAD_SIZE, 0);
}

/** Gives the synced file its name, durably. Rejects with DiskError. */
export async function giveName(disk: Disk, unnamed: UnnamedFile, segment: Segment): Promise<void> {
  await disk.rename(unnamed.path, segment.path);
  if (!mut('segment-named-without-sync')) await disk.syncDirectory(segment.directory);
}

/** Closes and removes a file that got no name; it does not matter whether that works. */
export async function discardUnnamed(disk: Disk, unnamed: UnnamedFile): Promise<void> {
  await unnamed.file.close().catch(() => {});
  await disk.unlink(unnamed.path).catch(() => {});
}

/** Removes a segment's files, durably. What is open stays readable. Rejects with DiskError. */
export async function removeSegment(disk: Disk, segment: Segment): Promise<void> {
  await removeIfThere(disk, segment.indexPath);
  await removeIfThere(disk, segment.path);
  await disk.syncDirectory(segment.directory);
}

/** Removes a file that may be missing. Rejects with DiskError. */
export async function removeIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'ENOENT') throw error;
  }
}
