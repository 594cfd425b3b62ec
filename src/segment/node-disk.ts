// The disk port on node:fs: everything under one data directory. Callbacks are wrapped once here;
// above it there is only the port. It decides nothing about durability beyond the port's contract,
// and retries nothing but a write that the kernel took in part.
//
// Invariant: a descriptor is closed only when no call on it is under way (a reused number would
// write into another file), and never while a part of the file is mapped.
import * as fs from 'node:fs';
import { join } from 'node:path';
import { DiskError, WRITE_NOW_SIZE_MAX, type Disk, type DiskFile, type Mapping } from '../index/disk.ts';
import { checkDiskPath } from '../index/disk-path.ts';
import { assert } from '../wire/assert.ts';
import { loadMmap, mmapIsSafeOn, type Mmap } from './mmap-ffi.ts';
import { diskError, MirrorMapping, MmapMapping, writeSyncWhole, type NodeMapping } from './node-disk-map.ts';

export type IndexBackend = 'auto' | 'mmap' | 'mirror';

/** Data belongs to the account that runs the server. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

export class NodeDisk implements Disk {
  /** Absolute path of the data directory. */
  readonly root: string;
  readonly mapBackend: 'mmap' | 'mirror';
  private readonly mmap: Mmap | null;

  /**
   * `root` must exist. Backend 'auto' takes mmap where this Node has it and the file system keeps
   * overwritten blocks in place; 'mmap' throws an Error when there is none.
   */
  constructor(root: string, backend: IndexBackend = 'auto') {
    this.root = fs.realpathSync(root);
    this.mmap = backend === 'mirror' ? null : loadMmap();
    if (backend === 'mmap' && this.mmap === null) {
      throw new Error('index backend mmap: this Node has no node:ffi, or its libc no mmap; use mirror or auto');
    }
    if (backend === 'auto' && this.mmap !== null && !mmapIsSafeOn(fs.statfsSync(this.root).type)) this.mmap = null;
    this.mapBackend = this.mmap === null ? 'mirror' : 'mmap';
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    const flags = mode === 'read' ? 'r' : mode === 'write' ? 'r+' : 'wx+';
    const fd = await this.call<number>('open', path, (at, done) => fs.open(at, flags, FILE_MODE, done));
    return new NodeFile(fd, path, this.mmap);
  }

  async list(path: string): Promise<string[]> {
    const names = await this.call<string[]>('list', path, (at, done) => fs.readdir(at, done));
    return names.sort();
  }

  async exists(path: string): Promise<boolean> {
    try {
      await this.call<fs.Stats>('exists', path, (at, done) => fs.lstat(at, done));
      return true;
    } catch (error) {
      if (error instanceof DiskError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false;
      throw error;
    }
  }

  makeDirectory(path: string): Promise<void> {
    return this.call('makeDirectory', path, (at, done) => fs.mkdir(at, DIRECTORY_MODE, done));
  }

  rename(from: string, to: string): Promise<void> {
    const target = this.resolve(to);
    return this.call('rename', from, (at, done) => fs.rename(at, target, done));
  }

  unlink(path: string): Promise<void> {
    return this.call('unlink', path, (at, done) => fs.unlink(at, done));
  }

  removeTree(path: string): Promise<void> {
    assert(path !== '', 'the data directory itself is never removed');
    return this.call('removeTree', path, (at, done) => fs.rm(at, { recursive: true, force: true }, done));
  }

  async syncDirectory(path: string): Promise<void> {
    const fd = await this.call<number>('syncDirectory', path, (at, done) => fs.open(at, 'r', done));
    try {
      await this.call<void>('syncDirectory', path, (_at, done) => fs.fsync(fd, done));
    } finally {
      await this.call<void>('syncDirectory', path, (_at, done) => fs.close(fd, done));
    }
  }

  async space(): Promise<{ freeBytes: number; totalBytes: number }> {
    const stats = await this.call<fs.StatsFs>('space', '', (at, done) => fs.statfs(at, done));
    // bavail: what an ordinary account may still take.
    return { freeBytes: stats.bavail * stats.bsize, totalBytes: stats.blocks * stats.bsize };
  }

  private resolve(path: string): string {
    return join(this.root, checkDiskPath(path));
  }

  private call<T>(
    name: string,
    path: string,
    start: (at: string, done: (error: NodeJS.ErrnoException | null, result?: T) => void) => void,
  ): Promise<T> {
    const at = this.resolve(path);
    return new Promise((resolve, reject) => {
      start(at, (error, result) => {
        if (error) reject(diskError(error, name, path));
        else resolve(result as T);
      });
    });
  }
}

class NodeFile implements DiskFile {
  readonly path: string;
  private readonly fd: number;
  private readonly mmap: Mmap | null;
  private readonly mappings = new Set<NodeMapping>();
  private callsUnderWay = 0;
  private closing: (() => void) | null = null;
  private closed = false;
  /** After a truncate the new size must be stored too: a full fsync instead of fdatasync. */
  private sizeChanged = false;

  constructor(fd: number, path: string, mmap: Mmap | null) {
    this.fd = fd;
    this.path = path;
    this.mmap = mmap;
  }

  read(target: Buffer, offset: number, length: number, position: number): Promise<number> {
    assert(offset + length <= target.length, 'read past the target');
    this.begin('read');
    return new Promise((resolve, reject) => {
      let done = 0;
      const step = (error: NodeJS.ErrnoException | null, bytesRead: number): void => {
        if (error) return this.end(() => reject(diskError(error, 'read', this.path)));
        done += bytesRead;
        if (bytesRead === 0 || done === length) return this.end(() => resolve(done));
        fs.read(this.fd, target, offset + done, length - done, position + done, step);
      };
      fs.read(this.fd, target, offset, length, position, step);
    });
  }

  write(source: Buffer, offset: number, length: number, position: number): Promise<void> {
    assert(offset + length <= source.length, 'write past the source');
    this.begin('write');
    return new Promise((resolve, reject) => {
      let done = 0;
      const step = (error: NodeJS.ErrnoException | null, bytesWritten: number): void => {
        if (error) return this.end(() => reject(diskError(error, 'write', this.path)));
        done += bytesWritten;
        if (done === length) return this.end(resolve);
        if (bytesWritten === 0) return this.end(() => reject(new DiskError('EIO', 'write', this.path)));
        fs.write(this.fd, source, offset + done, length - done, position + done, step);
      };
      fs.write(this.fd, source, offset, length, position, step);
    });
  }

  writeNow(source: Buffer, offset: number, length: number, position: number): void {
    assert(length <= WRITE_NOW_SIZE_MAX, 'writeNow is for little');
    assert(!this.closed, `writeNow on ${this.path}, which is closed`);
    writeSyncWhole(this.fd, source, offset, length, position, this.path);
  }

  sync(): Promise<void> {
    this.begin('sync');
    const whole = this.sizeChanged;
    this.sizeChanged = false;
    return new Promise((resolve, reject) => {
      const done = (error: NodeJS.ErrnoException | null): void => {
        if (!error) return this.end(resolve);
        this.sizeChanged ||= whole;
        this.end(() => reject(diskError(error, 'sync', this.path)));
      };
      if (whole) fs.fsync(this.fd, done);
      else fs.fdatasync(this.fd, done);
    });
  }

  truncate(size: number): Promise<void> {
    for (const mapping of this.mappings) assert(mapping.end <= size, `${this.path} truncated under a mapping`);
    this.begin('truncate');
    return new Promise((resolve, reject) => {
      fs.ftruncate(this.fd, size, (error) => {
        this.sizeChanged = true;
        this.end(() => (error ? reject(diskError(error, 'truncate', this.path)) : resolve()));
      });
    });
  }

  size(): Promise<number> {
    this.begin('size');
    return new Promise((resolve, reject) => {
      fs.fstat(this.fd, (error, stats) => {
        this.end(() => (error ? reject(diskError(error, 'size', this.path)) : resolve(stats.size)));
      });
    });
  }

  map(position: number, length: number): Mapping {
    assert(!this.closed, `map on ${this.path}, which is closed`);
    // A page past the end of the file is SIGBUS on the first touch, and ends the process.
    assert(position + length <= this.statSize(), `${this.path} mapped past its end`);
    const mapping: NodeMapping =
      this.mmap === null
        ? new MirrorMapping(this.fd, this.path, position, length, this.mappings)
        : new MmapMapping(this.mmap, this.fd, this.path, position, length, this.mappings);
    this.mappings.add(mapping);
    return mapping;
  }

  close(): Promise<void> {
    assert(this.mappings.size === 0, `${this.path} closed with ${this.mappings.size} mappings`);
    assert(!this.closed, `${this.path} closed twice`);
    this.closed = true;
    return new Promise((resolve, reject) => {
      this.closing = () => {
        fs.close(this.fd, (error) => (error ? reject(diskError(error, 'close', this.path)) : resolve()));
      };
      if (this.callsUnderWay === 0) this.closing();
    });
  }

  private statSize(): number {
    try {
      return fs.fstatSync(this.fd).size;
    } catch (error) {
      throw diskError(error as NodeJS.ErrnoException, 'map', this.path);
    }
  }

  private begin(call: string): void {
    assert(!this.closed, `${call} on ${this.path}, which is closed`);
    this.callsUnderWay++;
  }

  private end(answer: () => void): void {
    this.callsUnderWay--;
    if (this.closing !== null && this.callsUnderWay === 0) this.closing();
    answer();
  }
}
