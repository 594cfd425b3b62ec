// What an operator can do about a disk call that failed, in words. Only for messages: nothing decides by it.
import { DiskError } from '../index/disk.ts';

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: 'it is missing: put it back from a backup',
  EISDIR: 'a directory is where a file should be: move it away, or put the file back from a backup',
  ENOTDIR: 'a file is where a directory should be: move it away, or put the directory back from a backup',
  EACCES: 'the user that runs sidelog has no right to it: give that user the data directory (chown -R)',
  EPERM: 'the user that runs sidelog has no right to it: give that user the data directory (chown -R)',
  EROFS: 'the file system is mounted read-only',
  EIO: 'the disk fails: look at the system log',
  ENOSPC: 'no space is left: free some',
  EDQUOT: 'the quota is used up: free some space, or raise it',
  EMFILE: 'too many files are open: raise the limit (ulimit -n, LimitNOFILE)',
  ENFILE: 'too many files are open in the whole system',
  EFBIG: 'it is larger than any that sidelog writes: put it back from a backup',
};

/** Which call failed on which path and why, and what to do: one line. `root` = '' leaves the path relative. */
export function describeDiskError({ code, path, message }: DiskError, root = ''): string {
  const advice = ADVICE[code];
  const said = root === '' ? message : message.replace(path, path === '' ? root : `${root}/${path}`);
  return advice === undefined ? said : `${said} (${advice})`;
}

/** The message of any error; of a DiskError with what to do. */
export function messageOf(error: unknown, root = ''): string {
  if (error instanceof DiskError) return describeDiskError(error, root);
  return error instanceof Error ? error.message : String(error);
}
