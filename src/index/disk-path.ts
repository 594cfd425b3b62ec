// Rules for the paths of the disk port, shared by every disk. A path is relative to the data
// directory, parts joined by '/', and '' is the data directory itself. It can never leave the data
// directory: a bad path is a bug of ours, not of a user, and asserts.
import { assert } from '../wire/assert.ts';

/** Bytes a path may have in all, and a part of it: below every limit of Linux and macOS. */
const PATH_BYTES_MAX = 1024;
const PART_BYTES_MAX = 255;

/** Asserts that `path` stays inside the data directory; returns it. */
export function checkDiskPath(path: string): string {
  if (path === '') return path;
  assert(path.length <= PATH_BYTES_MAX, `path longer than ${PATH_BYTES_MAX}`);
  assert(!path.includes('\0'), 'NUL in path');
  for (const part of path.split('/')) {
    assert(part !== '' && part !== '.' && part !== '..', `bad path ${path}`);
    assert(part.length <= PART_BYTES_MAX, `part of a path longer than ${PART_BYTES_MAX}`);
  }
  return path;
}

/** The folder that holds `path`; '' for a name in the data directory itself. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}

/** The last part of `path`. */
export function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
