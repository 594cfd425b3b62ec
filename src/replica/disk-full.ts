// Whether a failure of the disk passes by itself: there was no room.
import { DiskError } from '../index/disk.ts';

const CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

export function isDiskFull(error: unknown): boolean {
  return error instanceof DiskError && CODES.has(error.code);
}
