// A part of a file as memory, on the real disk: as an image that is written back, or as the pages
// themselves. Both show what the file held when they were made and lose nothing at `unmap` that was
// flushed; the image loses the rest, as every crash does.
import * as fs from 'node:fs';
import { DiskError, type Mapping } from '../index/disk.ts';
import { assert } from '../wire/assert.ts';
import type { Mmap } from './mmap-ffi.ts';

export interface NodeMapping extends Mapping {
  /** Position after its last byte. */
  readonly end: number;
}

/** An image of a part of a file; `flush` writes it back. */
export class MirrorMapping implements NodeMapping {
  bytes: Buffer;
  readonly end: number;
  private readonly fd: number;
  private readonly path: string;
  private readonly position: number;
  private readonly owner: Set<NodeMapping>;

  constructor(fd: number, path: string, position: number, length: number, owner: Set<NodeMapping>) {
    this.fd = fd;
    this.path = path;
    this.position = position;
    this.end = position + length;
    this.owner = owner;
    this.bytes = Buffer.from(new ArrayBuffer(length)); // of its own: a slice of the pool is not aligned
    readSyncWhole(fd, this.bytes, length, position, path);
  }

  flush(start: number, end: number): void {
    writeSyncWhole(this.fd, this.bytes, start, end - start, this.position + start, this.path);
  }

  unmap(): void {
    assert(this.owner.delete(this), `${this.path} unmapped twice`);
    this.bytes = Buffer.alloc(0);
  }
}

/** The file's own pages. After `unmap` every view of them has length 0, so a late touch is an error, not a crash. */
export class MmapMapping implements NodeMapping {
  bytes: Uint8Array;
  readonly end: number;
  private readonly mmap: Mmap;
  private readonly address: bigint;
  private readonly owner: Set<NodeMapping>;
  private readonly path: string;

  constructor(mmap: Mmap, fd: number, path: string, position: number, length: number, owner: Set<NodeMapping>) {
    // A sector that cannot be read is SIGBUS under a mapping, which ends the process; here it is EIO.
    // (One that goes bad while it is mapped and out of memory still is.)
    readSyncWhole(fd, Buffer.allocUnsafe(length), length, position, path);
    const mapped = mmap.map(fd, position, length);
    if (typeof mapped === 'string') throw new DiskError(mapped, 'map', path);
    this.mmap = mmap;
    this.address = mapped.address;
    this.bytes = mapped.bytes;
    this.end = position + length;
    this.owner = owner;
    this.path = path;
  }

  flush(): void {
    // The pages are the page cache: nothing to move. fdatasync on the file stores them.
    if (!this.mmap.syncCoversMappings) this.mmap.startFlush(this.address, this.bytes.length);
  }

  unmap(): void {
    assert(this.owner.delete(this), `${this.path} unmapped twice`);
    const bytes = this.bytes;
    this.bytes = new Uint8Array(0);
    this.mmap.unmap(this.address, bytes);
  }
}

function readSyncWhole(fd: number, target: Buffer, length: number, position: number, path: string): void {
  try {
    for (let done = 0; done < length; ) {
      const bytesRead = fs.readSync(fd, target, done, length - done, position + done);
      if (bytesRead === 0) throw new DiskError('EIO', 'map', path);
      done += bytesRead;
    }
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(error as NodeJS.ErrnoException, 'map', path);
  }
}

/** fs.writeSync until all is written. Throws DiskError. */
export function writeSyncWhole(fd: number, source: Buffer, offset: number, length: number, position: number, path: string): void {
  try {
    for (let done = 0; done < length; ) {
      const bytesWritten = fs.writeSync(fd, source, offset + done, length - done, position + done);
      if (bytesWritten === 0) throw new DiskError('EIO', 'write', path);
      done += bytesWritten;
    }
  } catch (error) {
    throw error instanceof DiskError ? error : diskError(error as NodeJS.ErrnoException, 'write', path);
  }
}

/** The fs error as a DiskError; `path` is ours, so that messages do not depend on the data directory's place. */
export function diskError(error: NodeJS.ErrnoException, call: string, path: string): DiskError {
  return new DiskError(error.code ?? 'EIO', call, path, { cause: error });
}
