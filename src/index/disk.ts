// The disk port: everything sidelog does to files goes through these two interfaces, so that the
// simulator can tear writes, lose what was not synced and fail any call, under the code that ships.
// Declared here because index/ is its lowest consumer. `segment/node-disk.ts` is the real one.
//
// Contract: what `write` stored is durable only after a later `sync` resolved, in any subset of
// 512-byte sectors before that; a name (create, rename, unlink) is durable only after
// `syncDirectory` of its folder. Paths are relative to the data directory, with `/`; '' is the data
// directory itself (disk-path.ts has the rules).

/** Why a disk call failed; `code` is the errno name (`ENOSPC`, `EIO`, `ENOENT`, …). */
export class DiskError extends Error {
  override name = 'DiskError';
  readonly code: string;
  readonly path: string;

  constructor(code: string, call: string, path: string, options?: ErrorOptions) {
    super(`${call} ${path}: ${code}`, options);
    this.code = code;
    this.path = path;
  }
}

const FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** There was no room: the one failure of a disk that passes when somebody frees some. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof DiskError && FULL_CODES.has(error.code);
}

/** A 64 KiB (or other fixed-size) window of a file that is read and written as memory. */
export interface Mapping {
  readonly bytes: Uint8Array;
  /** Writes [start, end) into the page cache of the file; a no-op where the mapping is the file. */
  flush(start: number, end: number): void;
  /** Ends the mapping; `bytes` is empty afterwards, and no view of it may be touched. */
  unmap(): void;
}

/** The largest write that may hold up the event loop: copying it costs less than a trip through the thread pool. */
export const WRITE_NOW_SIZE_MAX = 64 * 1024;

export interface DiskFile {
  readonly path: string;
  /** Reads up to `length` bytes at `position` into `target` at `offset`; fewer only at the end of the file. */
  read(target: Buffer, offset: number, length: number, position: number): Promise<number>;
  /**
   * Writes all of source[offset, offset + length) at `position`, or rejects with DiskError (then any
   * part of it may have been written). These bytes must not change until it ends.
   */
  write(source: Buffer, offset: number, length: number, position: number): Promise<void>;
  /** The same, before it returns, for at most WRITE_NOW_SIZE_MAX bytes. Throws DiskError. */
  writeNow(source: Buffer, offset: number, length: number, position: number): void;
  /** fdatasync: resolves when all writes that had completed before the call are durable. */
  sync(): Promise<void>;
  /** Durable after the next `sync`; never below the end of a mapping. */
  truncate(size: number): Promise<void>;
  size(): Promise<number>;
  /** Maps [position, position + length), which must exist, as memory (shared mmap or mirror). */
  map(position: number, length: number): Mapping;
  /** Ends after the calls under way; there must be no mapping left. */
  close(): Promise<void>;
}

export interface Disk {
  /** Which backend `DiskFile.map` uses. */
  readonly mapBackend: 'mmap' | 'mirror';
  /** `read`: must exist. `write`: must exist, read and write. `create`: must not exist (EEXIST). */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile>;
  /** Names in a folder, sorted; ENOENT when it is missing. */
  list(path: string): Promise<string[]>;
  exists(path: string): Promise<boolean>;
  /** EEXIST when it is there, ENOENT when its parent is not. */
  makeDirectory(path: string): Promise<void>;
  /** Replaces a file of the new name; atomic, also across folders (then sync both). */
  rename(from: string, to: string): Promise<void>;
  /** Removes a file. */
  unlink(path: string): Promise<void>;
  /** Removes a folder and all in it; not atomic; nothing to remove is no error. */
  removeTree(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  /** Bytes free and in total on the file system that holds the data directory. */
  space(): Promise<{ freeBytes: number; totalBytes: number }>;
}
