// An open file of the simulated disk, and the mappings of it. What a call does to the content is
// sim-media.ts; when it ends, and whether it fails, is sim-disk.ts.
import { WRITE_NOW_SIZE_MAX, type DiskFile, type Mapping } from '../../src/index/disk.ts';
import { assert } from '../../src/wire/assert.ts';
import type { DiskOperation, Effect, SimDisk } from './sim-disk.ts';
import { SECTOR_SIZE, type SimFileNode } from './sim-media.ts';

/** An open file of a SimDisk. */
export class SimFile implements DiskFile {
  readonly path: string;
  readonly node: SimFileNode;
  private readonly disk: SimDisk;
  private readonly mode: 'read' | 'write' | 'create';
  private readonly mappings = new Set<SimMapping>();
  private closed = false;

  constructor(disk: SimDisk, path: string, node: SimFileNode, mode: 'read' | 'write' | 'create') {
    this.disk = disk;
    this.path = path;
    this.node = node;
    this.mode = mode;
    disk.openFiles.add(this);
    disk.openFileCount++;
  }

  read(target: Buffer, offset: number, length: number, position: number): Promise<number> {
    this.checkOpen('read');
    assert(offset + length <= target.length, 'read past the target');
    return this.disk.run('read', this.path, position, length, () => {
      this.absorbMappings();
      return this.node.read(target, offset, length, position);
    });
  }

  write(source: Buffer, offset: number, length: number, position: number): Promise<void> {
    this.checkOpen('write');
    assert(offset + length <= source.length, 'write past the source');
    const bytes = Buffer.allocUnsafe(length);
    source.copy(bytes, 0, offset, offset + length);
    const act = (operation: DiskOperation): void => {
      assert(source.compare(bytes, 0, length, offset, offset + length) === 0, `the source of a write to ${this.path} changed under it`);
      this.disk.store(this.node, bytes, operation);
    };
    return this.disk.run('write', this.path, position, length, act, this.writeEffect(bytes, position));
  }

  writeNow(source: Buffer, offset: number, length: number, position: number): void {
    this.checkOpen('writeNow');
    assert(length <= WRITE_NOW_SIZE_MAX, 'writeNow is for little');
    let bytes = source.subarray(offset, offset + length);
    // What a halted process had begun may be looked at when the source is long in use again.
    if (this.disk.mayHalt) bytes = Buffer.from(bytes);
    const operation = this.disk.runNow('writeNow', this.path, position, length, this.writeEffect(bytes, position));
    if (operation !== null) this.disk.store(this.node, bytes, operation);
  }

  sync(): Promise<void> {
    this.checkOpen('sync');
    this.absorbMappings();
    const ticket = this.node.beginSync();
    return this.disk.run('sync', this.path, 0, 0, () => this.node.endSync(ticket), { failed: () => this.node.failSync() });
  }

  truncate(size: number): Promise<void> {
    this.checkOpen('truncate');
    const apply = (node: SimFileNode, sectorsMax: number): void => {
      if (sectorsMax > 0) node.truncate(size);
    };
    return this.disk.run(
      'truncate', this.path, size, 0,
      () => {
        for (const mapping of this.mappings) assert(mapping.end <= size, 'truncated under a mapping');
        this.node.truncate(size);
      },
      { file: { node: this.node, apply, sectorCount: 1 } },
    );
  }

  size(): Promise<number> {
    this.checkOpen('size');
    return this.disk.run('size', this.path, 0, 0, () => this.node.size);
  }

  map(position: number, length: number): Mapping {
    this.checkOpen('map');
    this.disk.runNow('map', this.path, position, length);
    assert(position + length <= this.node.size, 'mapped past the end of the file');
    const bytes = new Uint8Array(length);
    this.absorbMappings();
    this.node.read(bytes, 0, length, position);
    const mapping = new SimMapping(this, bytes, position);
    this.mappings.add(mapping);
    return mapping;
  }

  close(): Promise<void> {
    this.checkOpen('close');
    assert(this.mappings.size === 0, `${this.path} closed with ${this.mappings.size} mappings`);
    this.closed = true;
    return this.disk.run('close', this.path, 0, 0, () => {
      this.disk.openFiles.delete(this);
      this.disk.openFileCount--;
    });
  }

  /** With the mmap backend what was stored in mapped memory is in the page cache at once. */
  absorbMappings(): void {
    if (this.disk.mapBackend !== 'mmap') return;
    for (const file of this.disk.openFiles) {
      if (file.node !== this.node) continue;
      for (const mapping of file.mappings) mapping.store(0, mapping.bytes.length);
    }
  }

  flushMapping(mapping: SimMapping, start: number, end: number): void {
    if (this.disk.runNow('flush', this.path, mapping.position + start, end - start) !== null) mapping.store(start, end);
  }

  unmapped(mapping: SimMapping): void {
    assert(this.mappings.delete(mapping), 'unmapped twice');
  }

  private writeEffect(bytes: Uint8Array, position: number): Effect {
    const apply = (node: SimFileNode, sectorsMax: number): void => {
      let left = sectorsMax;
      node.write(bytes, position, () => left-- > 0);
    };
    const failed = (): void => {
      this.node.write(bytes, position, () => this.disk.prng.chance(0.5));
    };
    return { file: { node: this.node, apply, sectorCount: Math.ceil(bytes.length / SECTOR_SIZE) + 1 }, failed };
  }

  private checkOpen(call: string): void {
    assert(!this.closed, `${call} on ${this.path}, which is closed`);
    assert(this.mode !== 'read' || !WRITING.has(call), `${call} on ${this.path}, which is open for reading`);
  }
}

const WRITING: ReadonlySet<string> = new Set(['write', 'writeNow', 'truncate']);

class SimMapping implements Mapping {
  bytes: Uint8Array;
  readonly position: number;
  readonly end: number;
  private readonly file: SimFile;

  constructor(file: SimFile, bytes: Uint8Array, position: number) {
    this.file = file;
    this.bytes = bytes;
    this.position = position;
    this.end = position + bytes.length;
  }

  flush(start: number, end: number): void {
    this.file.flushMapping(this, start, end);
  }

  unmap(): void {
    this.file.absorbMappings();
    this.file.unmapped(this);
    // Touching it afterwards must fail loudly, as it does with real mapped memory.
    structuredClone(this.bytes.buffer, { transfer: [this.bytes.buffer as ArrayBuffer] });
    this.bytes = new Uint8Array(0);
  }

  /** Puts the sectors of [start, end) that differ from the file into the page cache. */
  store(start: number, end: number): void {
    const before = new Uint8Array(SECTOR_SIZE);
    for (let at = start; at < end; ) {
      const take = Math.min(SECTOR_SIZE - ((this.position + at) % SECTOR_SIZE), end - at);
      this.file.node.read(before, 0, take, this.position + at);
      const now = this.bytes.subarray(at, at + take);
      if (Buffer.compare(now, before.subarray(0, take)) !== 0) this.file.node.write(now, this.position + at);
      at += take;
    }
  }
}
