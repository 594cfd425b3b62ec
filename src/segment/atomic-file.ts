// Small files that are replaced whole: written beside under a temporary name, synced, renamed, and
// the folder synced. Whoever reads the name sees the old content or the new, after any crash, and
// once `replaceFile` resolved only the new. One writer per path at a time is the caller's affair.
import { DiskError, type Disk } from '../index/disk.ts';
import { parentPath } from '../index/disk-path.ts';
import { assert } from '../wire/assert.ts';

/** What a half-made file is called; one that a crash left is overwritten by the next. */
export const TEMPORARY_SUFFIX = '.tmp';

/** Puts `bytes` at `path`, in place of what is there. Throws DiskError; then the old content counts. */
export async function replaceFile(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  const temporary = path + TEMPORARY_SUFFIX;
  await unlinkIfThere(disk, temporary);
  const file = await disk.open(temporary, 'create');
  try {
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } catch (error) {
    await file.close().catch(() => {});
    await unlinkIfThere(disk, temporary).catch(() => {}); // gives its space back, if it can
    throw error;
  }
  await file.close();
  await disk.rename(temporary, path);
  await disk.syncDirectory(parentPath(path));
}

/** All of a file of at most `sizeMax` bytes. Throws DiskError (ENOENT when missing, EFBIG when larger). */
export async function readWholeFile(disk: Disk, path: string, sizeMax: number): Promise<Buffer> {
  const file = await disk.open(path, 'read');
  try {
    const size = await file.size();
    if (size > sizeMax) throw new DiskError('EFBIG', 'read', path);
    const bytes = Buffer.alloc(size);
    const read = await file.read(bytes, 0, size, 0);
    assert(read <= size, 'read more than asked for');
    return bytes.subarray(0, read);
  } finally {
    await file.close();
  }
}

/** Removes a file; none there is fine. Throws DiskError. */
export async function unlinkIfThere(disk: Disk, path: string): Promise<void> {
  try {
    await disk.unlink(path);
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== 'ENOENT') throw error;
  }
}
