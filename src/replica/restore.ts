// Brings a deleted log back under a new log_uid: its segments' heads and its snapshots are rewritten to
// name the new one, file by file, each in one synced step.
//
// Invariant: restartable at any point: a file names the old uid or the new one, never anything else,
// and the folder gets its place among the living logs only when all name the new one.
import type { Disk, DiskFile } from '../index/disk.ts';
import { readWholeFile, replaceFile } from '../segment/atomic-file.ts';
import { decodeHead, relabelHead, segmentFirstIndex } from '../segment/head.ts';
import { SEGMENT_HEAD_SIZE } from '../segment/mark.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts';
import { isSnapshotName, SNAPSHOT_BYTES_MAX } from './snapshot-store.ts';
import { StateError } from './state-error.ts';

/** Sector that holds uid and checksum: written whole or not at all. */
const SECTOR_SIZE = 512;

/** A head is damaged or belongs to another log: the log cannot be given a new uid. */
export class RestoreError extends Error {
  override name = 'RestoreError';
}

/** Rejects with RestoreError when `relabel` would, before anything is changed; else with DiskError. */
export async function checkRelabel(disk: Disk, directory: string, from: Buffer): Promise<void> {
  for (const name of await disk.list(directory)) {
    const firstIndex = segmentFirstIndex(name);
    if (firstIndex <= 0) continue;
    const file = await disk.open(`${directory}/${name}`, 'read');
    try {
      await readHead(file, firstIndex, from, from);
    } finally {
      await file.close();
    }
  }
}

/** Gives every file of a generation folder the uid `to`. Rejects with DiskError or RestoreError. */
export async function relabel(disk: Disk, directory: string, from: Buffer, to: Buffer): Promise<void> {
  for (const name of await disk.list(directory)) {
    const path = `${directory}/${name}`;
    const firstIndex = segmentFirstIndex(name);
    if (firstIndex > 0) await relabelSegment(disk, path, firstIndex, from, to);
    else if (isSnapshotName(name)) await relabelSnapshot(disk, path, from, to);
  }
  // A snapshot that was replaced before a crash may not have its name for good yet.
  await disk.syncDirectory(directory);
}

async function relabelSegment(disk: Disk, path: string, firstIndex: number, from: Buffer, to: Buffer): Promise<void> {
  const file = await disk.open(path, 'write');
  try {
    // One that names the new uid already is written again: nobody knows whether it was synced.
    const bytes = await readHead(file, firstIndex, from, to);
    relabelHead(bytes, to);
    await file.write(bytes, 0, SECTOR_SIZE, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function readHead(file: DiskFile, firstIndex: number, from: Buffer, to: Buffer): Promise<Buffer> {
  const bytes = Buffer.alloc(SEGMENT_HEAD_SIZE);
  const size = await file.read(bytes, 0, SEGMENT_HEAD_SIZE, 0);
  const { head, fault } = decodeHead(bytes, size, firstIndex);
  if (head === null) throw new RestoreError(`${file.path}: ${fault}`);
  const { logUid } = head;
  if (!logUid.equals(from) && !logUid.equals(to)) {
    throw new RestoreError(`${file.path} belongs to log ${logUid.toString('hex')}`);
  }
  return bytes;
}

async function relabelSnapshot(disk: Disk, path: string, from: Buffer, to: Buffer): Promise<void> {
  const bytes = await readWholeFile(disk, path, SNAPSHOT_BYTES_MAX);
  try {
    const state = decodeSnapshot(bytes, from);
    to.copy(state.logUid);
    await replaceFile(disk, path, encodeSnapshot(state));
  } catch (error) {
    // One that names the new uid was rewritten before a crash; a damaged one is judged at opening.
    if (!(error instanceof StateError)) throw error;
  }
}
