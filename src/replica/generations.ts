// The generations of one log's files: folders `logs/<uid>/<eight digits>`, of which `CURRENT` names the one
// that counts. A new one is made when a snapshot is installed; the others go when the log is opened.
import type { Disk } from '../index/disk.ts';
import { readWholeFile } from '../segment/atomic-file.ts';

export const CURRENT = 'CURRENT';
export const FIRST_GENERATION = '00000001';
export const GENERATION = /^[0-9]{8}$/;

/** Besides generations that count no more: those that were being made. */
const ANY_GENERATION = /^[0-9]{8}(\.tmp)?$/;

export function nextGeneration(name: string): string {
  return String(Number(name) + 1).padStart(FIRST_GENERATION.length, '0');
}

/**
 * Removes what an install left beside the generation `name` that is open; only where CURRENT itself names
 * it, because nothing is deleted for want of metadata. Rejects with DiskError.
 */
export async function removeOtherGenerations(disk: Disk, folder: string, name: string): Promise<void> {
  const others = (await disk.list(folder)).filter((other) => ANY_GENERATION.test(other) && other !== name);
  if (others.length === 0) return;
  const current = await readWholeFile(disk, `${folder}/${CURRENT}`, 64);
  if (current.toString('latin1').trim() !== name) return;
  for (const other of others) await disk.removeTree(`${folder}/${other}`);
}
