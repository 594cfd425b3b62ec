// The disk of the test build of our server: NodeDisk with a page cache of its own, so that `kill -9`
// is a loss of power. What was written and not synced is only in this process; a sync carries it to
// the files. Delays, failures and a full disk come from a small file that the hooks write.
// Names (create, rename, unlink) are durable at once here; the simulator tests them.
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Disk, DiskFile, Mapping } from '../../src/index/disk.ts';
import { DiskError } from '../../src/index/disk.ts';
import type { IndexBackend } from '../../src/segment/node-disk.ts';
import { NodeDisk as RealDisk } from '../../src/segment/node-disk.ts';

const PAGE_SIZE = 4096;

interface Faults {
  readonly syncDelayMs?: number;
  readonly failSync?: boolean;
  readonly full?: boolean;
}

function faults(): Faults {
  const path = process.env['SIDELOG_FAULTS'];
  if (path === undefined) return {};
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Faults;
  } catch {
    return {}; // being written at this moment, or not there: no faults
  }
}

const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Stands in for the class of this name in src/segment/node-disk.ts. */
export class NodeDisk implements Disk {
  readonly root: string;
  readonly mapBackend = 'mirror' as const;
  private readonly real: RealDisk;
  private readonly open_ = new Map<string, FaultFile>();

  constructor(root: string, _backend: IndexBackend = 'auto') {
    this.real = new RealDisk(root, 'mirror');
    this.root = this.real.root;
  }

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    const file = await this.real.open(path, mode === 'read' ? 'write' : mode);
    const held = this.open_.get(path);
    // Two handles of one file see the same unsynced bytes.
    const shared = held ?? new FaultFile(this.root, path, file, await file.size(), (now) => this.open_.delete(now));
    if (held !== undefined) await file.close();
    this.open_.set(path, shared);
    shared.handles++;
    return shared;
  }

  async rename(from: string, to: string): Promise<void> {
    await this.real.rename(from, to);
    const moved = [...this.open_].filter(([path]) => path === from || path.startsWith(`${from}/`));
    for (const [path, file] of moved) {
      this.open_.delete(path);
      file.path = to + path.slice(from.length);
      this.open_.set(file.path, file);
    }
  }

  async space(): Promise<{ freeBytes: number; totalBytes: number }> {
    const space = await this.real.space();
    return faults().full ? { ...space, freeBytes: 0 } : space;
  }

  async unlink(path: string): Promise<void> {
    this.open_.delete(path);
    await this.real.unlink(path);
  }

  async removeTree(path: string): Promise<void> {
    for (const name of this.open_.keys()) if (name.startsWith(`${path}/`)) this.open_.delete(name);
    await this.real.removeTree(path);
  }

  list(path: string): Promise<string[]> {
    return this.real.list(path);
  }
  exists(path: string): Promise<boolean> {
    return this.real.exists(path);
  }
  makeDirectory(path: string): Promise<void> {
    return this.real.makeDirectory(path);
  }
  syncDirectory(_path: string): Promise<void> {
    return Promise.resolve();
  }
}

class FaultFile implements DiskFile {
  path: string;
  handles = 0;
  private readonly root: string;
  private readonly real: DiskFile;
  private readonly forget: (path: string) => void;
  private readonly pages = new Map<number, Buffer>();
  /** Size as the process sees it. */
  private length: number;
  /** Size that the file had when it was last synced, or was cut to. */
  private realLength: number;

  constructor(root: string, path: string, real: DiskFile, length: number, forget: (path: string) => void) {
    this.root = root;
    this.path = path;
    this.real = real;
    this.length = length;
    this.realLength = length;
    this.forget = forget;
  }

  async read(target: Buffer, offset: number, length: number, position: number): Promise<number> {
    const size = Math.max(0, Math.min(length, this.length - position));
    target.fill(0, offset, offset + size);
    if (position < this.realLength) await this.real.read(target, offset, Math.min(size, this.realLength - position), position);
    for (const [start, page] of this.pages) {
      const from = Math.max(position, start);
      const to = Math.min(position + size, start + PAGE_SIZE);
      if (from < to) page.copy(target, offset + from - position, from - start, to - start);
    }
    return size;
  }

  write(source: Buffer, offset: number, length: number, position: number): Promise<void> {
    this.put(source, offset, length, position);
    return Promise.resolve();
  }

  writeNow(source: Buffer, offset: number, length: number, position: number): void {
    this.put(source, offset, length, position);
  }

  async sync(): Promise<void> {
    const { syncDelayMs = 0, failSync = false } = faults();
    const pages = [...this.pages].map(([start, page]) => [start, Buffer.from(page)] as const);
    const size = this.length;
    if (syncDelayMs > 0) await delay(syncDelayMs);
    if (failSync) throw new DiskError('EIO', 'sync', this.path);
    for (const [start, page] of pages) {
      const part = Math.min(PAGE_SIZE, size - start);
      if (part > 0) await this.real.write(page, 0, part, start);
      // Written again meanwhile: it stays unsynced.
      if (this.pages.get(start)?.equals(page)) this.pages.delete(start);
    }
    if (size !== this.realLength) await this.real.truncate(size);
    this.realLength = size;
  }

  async truncate(size: number): Promise<void> {
    for (const [start, page] of this.pages) {
      if (start >= size) this.pages.delete(start);
      else if (start + PAGE_SIZE > size) page.fill(0, size - start);
    }
    if (size < this.realLength) {
      await this.real.truncate(size);
      this.realLength = size;
    }
    this.length = size;
  }

  size(): Promise<number> {
    return Promise.resolve(this.length);
  }

  map(position: number, length: number): Mapping {
    const bytes = Buffer.from(new ArrayBuffer(length));
    this.readNow(bytes, position);
    return {
      bytes,
      flush: (start, end) => this.put(bytes, start, end - start, position + start),
      unmap: () => undefined,
    };
  }

  async close(): Promise<void> {
    if (--this.handles > 0) return;
    // A closed file keeps its unsynced bytes in a real page cache; here they must reach the file some
    // time, and a close is when nobody can sync them any more.
    if (this.pages.size > 0) return;
    this.forget(this.path);
    await this.real.close();
  }

  private readNow(target: Buffer, position: number): void {
    target.fill(0);
    if (position < this.realLength) this.readReal(target, 0, Math.min(target.length, this.realLength - position), position);
    for (const [start, page] of this.pages) {
      const from = Math.max(position, start);
      const to = Math.min(position + target.length, start + PAGE_SIZE);
      if (from < to) page.copy(target, from - position, from - start, to - start);
    }
  }

  private put(source: Buffer, offset: number, length: number, position: number): void {
    for (let at = position; at < position + length; ) {
      const start = at - (at % PAGE_SIZE);
      const end = Math.min(start + PAGE_SIZE, position + length);
      source.copy(this.page(start), at - start, offset + at - position, offset + end - position);
      at = end;
    }
    this.length = Math.max(this.length, position + length);
  }

  private page(start: number): Buffer {
    let page = this.pages.get(start);
    if (page === undefined) {
      page = Buffer.alloc(PAGE_SIZE);
      if (start < this.realLength) this.readReal(page, 0, Math.min(PAGE_SIZE, this.realLength - start), start);
      this.pages.set(start, page);
    }
    return page;
  }

  /** What the file itself holds, before this call returns. */
  private readReal(target: Buffer, offset: number, length: number, position: number): void {
    const fd = openSync(join(this.root, this.path), 'r');
    try {
      readSync(fd, target, offset, length, position);
    } finally {
      closeSync(fd);
    }
  }
}
