// A deterministic disk in memory behind the disk port: what the simulator and the fault tests run
// the real code on. Failures are asked for by rule, by rate or by operation number; a crash makes a
// new SimDisk from what survives (sim-media.ts has the model) and the old object is dead: its calls
// never return and change nothing, like those of a process that is gone.
//
// Invariant: equal seeds, options and calls give equal results, and nothing here reads the time.
import { DiskError, type Disk, type DiskFile } from '../../src/index/disk.ts';
import { checkDiskPath, parentPath, baseName } from '../../src/index/disk-path.ts';
import { assert } from '../../src/wire/assert.ts';
import { SECTOR_SIZE, SimFileNode, SimFolderNode, SimMedia, type SimNode } from './sim-media.ts';
import { SimFile } from './sim-file.ts';
import { Prng } from './prng.ts';

export type DiskCall =
  | 'open' | 'read' | 'write' | 'writeNow' | 'sync' | 'truncate' | 'size' | 'map' | 'flush' | 'close'
  | 'list' | 'exists' | 'makeDirectory' | 'rename' | 'unlink' | 'removeTree' | 'syncDirectory' | 'space';

export interface DiskOperation {
  /** Counts all operations of this SimDisk from 1. */
  number: number;
  call: DiskCall;
  path: string;
  /** Bytes, for read, write, writeNow, flush and map. */
  position: number;
  length: number;
}

/** Answers the errno code this operation fails with, or null. */
export type FaultRule = (operation: DiskOperation) => string | null;

export interface SimDiskOptions {
  /** Chooses what is left to chance; the default is always the same. */
  prng?: Prng;
  /** When an operation ends; the default is the next microtask. */
  schedule?: (end: () => void, operation: DiskOperation) => void;
  /** Whether mapped memory is the file ('mmap') or an image of it ('mirror', the default). */
  mapBackend?: 'mmap' | 'mirror';
  /** Space of the whole disk, default none; a write past it fails with ENOSPC after what fits. */
  totalBytes?: number;
}

/** Which of `versionCount` unsynced versions a sector keeps; 0 = its durable content. */
export type SectorChooser = (path: string, sector: number, versionCount: number) => number;

export interface CrashOptions {
  /** 'power' (the default) loses the page cache, 'process' keeps all that calls had finished. */
  mode?: 'power' | 'process';
  /** What a power cut keeps of unsynced sectors and sizes; 'random' is the default. */
  keep?: 'none' | 'all' | 'random' | SectorChooser;
  /** What it keeps of unsynced names; default as `keep`, and all with a chooser. */
  names?: 'none' | 'all' | 'random' | ((names: string[]) => boolean);
}

/** What a call that had not ended at a crash may have done all the same. */
export interface Effect {
  /** On a file: of its first `sectorsMax` sectors only, where it can be done in part. */
  file?: { node: SimFileNode; apply: (node: SimFileNode, sectorsMax: number) => void; sectorCount: number };
  /** On names: whole or not at all. */
  names?: () => void;
  /** What a failing call leaves behind. */
  failed?: () => void;
}

export class SimDisk implements Disk {
  readonly mapBackend: 'mmap' | 'mirror';
  readonly prng: Prng;
  media = new SimMedia();
  totalBytes: number;
  /** Sees each operation when it is called: for traces. */
  onOperation: ((operation: DiskOperation) => void) | null = null;
  /** Chance (0 … 1) that a call of this kind fails with EIO. */
  rates: Partial<Record<DiskCall, number>> = {};
  operationCount = 0;
  openFileCount = 0;
  private dead = false;
  private readonly options: SimDiskOptions;
  private rules: FaultRule[] = [];
  /** Paths that were checked. */
  private readonly knownPaths = new Set<string>();
  private halt: { at: number; reached: () => void } | null = null;
  private readonly inFlight = new Set<Effect>();
  readonly openFiles = new Set<SimFile>();

  constructor(options: SimDiskOptions = {}) {
    this.options = options;
    this.prng = options.prng ?? new Prng(1);
    this.mapBackend = options.mapBackend ?? 'mirror';
    this.totalBytes = options.totalBytes ?? Number.MAX_SAFE_INTEGER;
  }

  // ---- faults -------------------------------------------------------------------------------

  /** Adds a rule; the first one that answers a code decides. Returns the call that removes it. */
  fail(rule: FaultRule): () => void {
    this.rules.push(rule);
    return () => {
      this.rules = this.rules.filter((other) => other !== rule);
    };
  }

  /** Fails the next `count` calls of this kind, where `path` matches. */
  failNext(call: DiskCall, code = 'EIO', path: RegExp = /(?:)/, count = 1): void {
    let left = count;
    this.fail((operation) => {
      if (left === 0 || operation.call !== call || !path.test(operation.path)) return null;
      left--;
      return code;
    });
  }

  /** Fails operation `number` (of all, counted from 1; see operationCount). */
  failAt(number: number, code = 'EIO'): void {
    this.fail((operation) => (operation.number === number ? code : null));
  }

  /**
   * Stops the process at operation `number`: it and all after it never end, as if the power went
   * then. Resolves when it was reached; `crash()` follows.
   */
  haltAt(number: number): Promise<void> {
    return new Promise((resolve) => {
      this.halt = { at: number, reached: resolve };
    });
  }

  get mayHalt(): boolean {
    return this.halt !== null;
  }

  clearFaults(): void {
    this.rules = [];
    this.rates = {};
    this.halt = null;
  }

  /** Bit rot: flips the bits of `mask` in one byte of a file. */
  corrupt(path: string, position: number, mask = 0xff): void {
    const node = this.find(path);
    assert(node?.kind === 'file', `no file ${path}`);
    assert(position < node.size, `position ${position} past the end of ${path}`);
    node.rot(position, mask);
  }

  /** A file is there, durably and without anybody's doing, in the root. */
  place(name: string, bytes: Uint8Array): void {
    const node = new SimFileNode();
    node.write(bytes, 0);
    node.endSync(node.beginSync());
    this.media.place(name, node);
  }

  /** A file or a folder is gone, for certain and without anybody's doing. */
  vanish(path: string): void {
    const parent = this.find(parentPath(path));
    assert(parent?.kind === 'folder', `no folder of ${path}`);
    this.media.vanish(parent, baseName(path));
  }

  // ---- crashes ------------------------------------------------------------------------------

  /** Ends the process (and the power, as `mode` says); this object is dead, the answer goes on. */
  crash(options: CrashOptions = {}): SimDisk {
    const left = this.after(options);
    this.dead = true;
    return left;
  }

  /** What a crash at this moment would leave, without crashing. */
  after(options: CrashOptions = {}): SimDisk {
    const keep = options.keep ?? 'random';
    const names = options.names ?? (typeof keep === 'function' ? 'all' : keep);
    for (const file of this.openFiles) file.absorbMappings();
    const process = options.mode === 'process';
    const before = this.media.copy();
    const finished = this.media;
    this.media = before; // calls that had not ended act on the copy, or not at all
    try {
      this.finishSome(process, keep, finished);
    } finally {
      this.media = finished;
    }
    const left = new SimDisk({ ...this.options, prng: this.prng });
    left.totalBytes = this.totalBytes;
    left.media = process
      ? before
      : before.afterPowerCut(
          (changed) => (typeof names === 'function' ? names(changed) : this.choose(names)),
          (file, path) => this.leave(file, path, keep),
        );
    return left;
  }

  /** Unsynced sectors of a file, in order: what a chooser will be asked about. */
  unsyncedSectors(path: string): number[] {
    const node = this.find(path);
    assert(node?.kind === 'file', `no file ${path}`);
    return [...node.dirty.keys()].sort((a, b) => a - b);
  }

  /** The bytes of a file as a read would give them. */
  contents(path: string): Buffer {
    const node = this.find(path);
    assert(node?.kind === 'file', `no file ${path}`);
    const bytes = Buffer.alloc(node.size);
    node.read(bytes, 0, bytes.length, 0);
    return bytes;
  }

  get usedBytes(): number {
    const nodes = new Set<SimFileNode>(this.media.files().map(([, node]) => node));
    for (const file of this.openFiles) nodes.add(file.node);
    let sectors = 0;
    for (const node of nodes) sectors += node.allocatedCount;
    return sectors * SECTOR_SIZE;
  }

  // ---- the port -----------------------------------------------------------------------------

  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    const createNode = (operation: DiskOperation): SimFileNode => {
      if (this.find(path) !== null) throw this.error('EEXIST', operation);
      const node = new SimFileNode();
      this.media.change([{ folder: this.parent(operation), name: baseName(path), node }]);
      return node;
    };
    const act = (operation: DiskOperation): DiskFile => {
      if (mode === 'create') return new SimFile(this, path, createNode(operation), mode);
      const found = this.find(path);
      if (found === null) throw this.error('ENOENT', operation);
      if (found.kind !== 'file') throw this.error('EISDIR', operation);
      return new SimFile(this, path, found, mode);
    };
    return this.run('open', path, 0, 0, act, mode === 'create' ? { names: () => void createNode(UNFINISHED) } : {});
  }

  list(path: string): Promise<string[]> {
    return this.run('list', path, 0, 0, (operation) => [...this.folder(operation).entries.keys()].sort());
  }

  exists(path: string): Promise<boolean> {
    return this.run('exists', path, 0, 0, () => this.find(path) !== null);
  }

  makeDirectory(path: string): Promise<void> {
    return this.runNames('makeDirectory', path, (operation) => {
      if (this.find(path) !== null) throw this.error('EEXIST', operation);
      this.media.change([{ folder: this.parent(operation), name: baseName(path), node: new SimFolderNode() }]);
    });
  }

  rename(from: string, to: string): Promise<void> {
    checkDiskPath(to);
    return this.runNames('rename', from, (operation) => {
      const node = this.find(from);
      if (node === null) throw this.error('ENOENT', operation);
      const target = this.find(to);
      if (target === node) return;
      if (target?.kind === 'folder' && target.entries.size > 0) throw this.error('ENOTEMPTY', operation);
      if (target !== null && target.kind !== node.kind) {
        throw this.error(target.kind === 'folder' ? 'EISDIR' : 'ENOTDIR', operation);
      }
      this.media.change([
        { folder: this.parent(operation), name: baseName(from), node: null },
        { folder: this.parent({ ...operation, path: to }), name: baseName(to), node },
      ]);
    });
  }

  unlink(path: string): Promise<void> {
    return this.runNames('unlink', path, (operation) => {
      const node = this.find(path);
      if (node === null) throw this.error('ENOENT', operation);
      if (node.kind !== 'file') throw this.error('EISDIR', operation);
      this.media.change([{ folder: this.parent(operation), name: baseName(path), node: null }]);
    });
  }

  removeTree(path: string): Promise<void> {
    return this.runNames('removeTree', path, (operation) => {
      const remove = (folder: SimFolderNode, name: string): void => {
        const node = folder.entries.get(name) as SimNode;
        if (node.kind === 'folder') for (const child of [...node.entries.keys()]) remove(node, child);
        this.media.change([{ folder, name, node: null }]);
      };
      if (this.find(path) !== null) remove(this.parent(operation), baseName(path));
    });
  }

  syncDirectory(path: string): Promise<void> {
    return this.runNames('syncDirectory', path, (operation) => this.media.syncFolder(this.folder(operation)));
  }

  space(): Promise<{ freeBytes: number; totalBytes: number }> {
    return this.run('space', '', 0, 0, () => ({
      freeBytes: Math.max(0, this.totalBytes - this.usedBytes),
      totalBytes: this.totalBytes,
    }));
  }

  // ---- for SimFile --------------------------------------------------------------------------

  /** Runs one asynchronous call: count, decide failure, wait for the schedule, act, answer. */
  run<T>(
    call: DiskCall,
    path: string,
    position: number,
    length: number,
    act: (operation: DiskOperation) => T,
    effect: Effect = {},
  ): Promise<T> {
    if (!this.knownPaths.has(path)) {
      checkDiskPath(path);
      this.knownPaths.add(path);
    }
    const operation = this.begin(call, path, position, length, effect);
    if (operation === null) return new Promise<T>(() => {});
    const code = this.faultOf(operation);
    this.inFlight.add(effect);
    return new Promise<T>((resolve, reject) => {
      const end = (): void => {
        if (this.dead) return;
        this.inFlight.delete(effect);
        try {
          if (code !== null) {
            effect.failed?.();
            throw this.error(code, operation);
          }
          resolve(act(operation));
        } catch (error) {
          reject(error);
        }
      };
      (this.options.schedule ?? nextMicrotask)(end, operation);
    });
  }

  /** The same for calls that act before they return; null = the process is dead: do nothing. */
  runNow(call: DiskCall, path: string, position: number, length: number, effect: Effect = {}): DiskOperation | null {
    const operation = this.begin(call, path, position, length, effect);
    const code = operation === null ? null : this.faultOf(operation);
    if (code !== null) {
      effect.failed?.();
      throw this.error(code, operation as DiskOperation);
    }
    return operation;
  }

  error(code: string, operation: DiskOperation): DiskError {
    return new DiskError(code, operation.call, operation.path);
  }

  /** Writes as much as there is room for; throws ENOSPC when that is not all. */
  store(node: SimFileNode, bytes: Uint8Array, operation: DiskOperation): void {
    if (this.totalBytes === Number.MAX_SAFE_INTEGER) return void node.write(bytes, operation.position);
    let room = Math.floor((this.totalBytes - this.usedBytes) / SECTOR_SIZE);
    let full = false;
    node.write(bytes, operation.position, (sector) => {
      if (full || node.isAllocated(sector)) return !full;
      full = room-- <= 0;
      return !full;
    });
    if (full) throw this.error('ENOSPC', operation);
  }

  // ---- inside -------------------------------------------------------------------------------

  private runNames(call: DiskCall, path: string, act: (operation: DiskOperation) => void): Promise<void> {
    return this.run(call, path, 0, 0, act, { names: () => act({ ...UNFINISHED, path }) });
  }

  private begin(call: DiskCall, path: string, position: number, length: number, effect: Effect): DiskOperation | null {
    if (this.dead) return null;
    const operation = { number: ++this.operationCount, call, path, position, length };
    if (this.halt !== null && operation.number >= this.halt.at) {
      this.inFlight.add(effect);
      this.dead = true;
      this.halt.reached();
      return null;
    }
    this.onOperation?.(operation);
    return operation;
  }

  private faultOf(operation: DiskOperation): string | null {
    for (const rule of this.rules) {
      const code = rule(operation);
      if (code !== null) return code;
    }
    const rate = this.rates[operation.call];
    return rate !== undefined && rate > 0 && this.prng.chance(rate) ? 'EIO' : null;
  }

  private find(path: string): SimNode | null {
    return this.media.find(path);
  }

  private folder(operation: DiskOperation): SimFolderNode {
    const node = this.find(operation.path);
    if (node === null) throw this.error('ENOENT', operation);
    if (node.kind !== 'folder') throw this.error('ENOTDIR', operation);
    return node;
  }

  private parent(operation: DiskOperation): SimFolderNode {
    return this.folder({ ...operation, path: parentPath(operation.path) });
  }

  private choose(keep: 'none' | 'all' | 'random'): boolean {
    return keep === 'random' ? this.prng.chance(0.5) : keep === 'all';
  }

  /** Calls that had not ended at the crash: none, all, or any of them, writes also in part. */
  private finishSome(process: boolean, keep: CrashOptions['keep'], finished: SimMedia): void {
    if (keep === 'none') return;
    const paths = new Map(finished.files().map(([path, node]) => [node, path]));
    for (const { file, names } of this.inFlight) {
      if (names !== undefined) {
        if (keep === 'random' && this.prng.chance(0.5)) continue;
        try {
          names();
        } catch (error) {
          if (!(error instanceof DiskError)) throw error; // it would have failed: no effect
        }
      }
      if (file === undefined) continue;
      const path = paths.get(file.node);
      const node = path === undefined ? null : this.find(path);
      if (node?.kind !== 'file') continue;
      // kill -9 stops a write between two pages; where the power went afterPowerCut chooses sectors.
      const part = process && keep === 'random' ? this.prng.next(file.sectorCount + 1) : file.sectorCount;
      file.apply(node, part);
    }
  }

  private leave(file: SimFileNode, path: string, keep: 'none' | 'all' | 'random' | SectorChooser): SimFileNode {
    if (typeof keep === 'function') {
      return file.afterPowerCut((sector, count) => keep(path, sector, count), (sizes) => sizes.length);
    }
    if (keep === 'none') return file.afterPowerCut(() => 0, () => 0);
    if (keep === 'all') return file.afterPowerCut((_sector, count) => count, (sizes) => sizes.length);
    // Uniform choices alone would hardly ever leave a clean prefix or lose just one sector.
    const style = this.prng.next(5);
    const odds = this.prng.next(101) / 100;
    const sectors = file.dirty.size;
    let prefix = style === 3 ? this.prng.next(sectors + 1) : style === 4 ? this.prng.next(sectors + 1) : 0;
    return file.afterPowerCut(
      (_sector, count) => {
        if (style === 0) return 0;
        if (style === 1) return count;
        if (style === 3) return prefix-- > 0 ? count : 0; // a prefix survives
        if (style === 4) return prefix-- > 0 ? 0 : count; // a prefix is lost
        return this.prng.chance(odds) ? this.prng.between(1, count) : 0;
      },
      (sizes) => (style === 0 ? 0 : style === 1 ? sizes.length : this.prng.next(sizes.length + 1)),
    );
  }
}

/** Stands for a call of which only the effect is wanted. */
const UNFINISHED: DiskOperation = { number: 0, call: 'open', path: '', position: 0, length: 0 };

function nextMicrotask(end: () => void): void {
  queueMicrotask(end);
}
