// What a simulated disk holds: files as 512-byte sectors with all their unsynced versions, folders
// with all their unsynced changes, and what a crash can make of that. No calls, no time and no
// failures: those are sim-disk.ts. Sector arrays are never changed after they are stored, so copies
// of a medium share them.
//
// Model, on purpose wider than any real file system: after a power cut each unsynced sector has its
// durable content or that of any unsynced write to it, the file has any size it had since its last
// sync, and any subset of the unsynced name changes happened (each of them whole, in order).

export const SECTOR_SIZE = 512;

/** Unsynced versions kept per sector; older ones in between are forgotten (a subset of the model). */
const VERSIONS_MAX = 4;

/** The content of a hole; compared by identity, so that holes take no space. */
const HOLE = new Uint8Array(SECTOR_SIZE);

/** What sectors of zeros share; each has a view of its own, because versions are told apart by identity. */
const ZEROS = new Uint8Array(SECTOR_SIZE);

/** Sectors are cut from pieces of this size: many small buffers cost more than what they hold. */
const ARENA_SIZE = 64 * 1024;
let arena = new Uint8Array(ARENA_SIZE);
let arenaUsed = 0;

/** A sector that nobody shares, with `content`. */
function newSector(content: Uint8Array): Uint8Array {
  if (arenaUsed === ARENA_SIZE) {
    arena = new Uint8Array(ARENA_SIZE);
    arenaUsed = 0;
  }
  const sector = arena.subarray(arenaUsed, (arenaUsed += SECTOR_SIZE));
  sector.set(content);
  return sector;
}

/** A whole sector of what is written. */
function wholeSector(bytes: Uint8Array, from: number): Uint8Array {
  const content = bytes.subarray(from, from + SECTOR_SIZE);
  return content[0] === 0 && Buffer.compare(content, ZEROS) === 0 ? ZEROS.subarray(0) : newSector(content);
}

const LOOP_SIZE_MAX = 96;

/** Copies part of a sector. */
function copySector(sector: Uint8Array, within: number, take: number, target: Uint8Array, at: number): void {
  // A view costs more than these few bytes.
  if (take <= LOOP_SIZE_MAX) for (let i = 0; i < take; i++) target[at + i] = sector[within + i]!;
  else target.set(take === SECTOR_SIZE ? sector : sector.subarray(within, within + take), at);
}

export interface SectorState {
  /** Content since the last sync, oldest first; the last is what a read returns. */
  versions: Uint8Array[];
  /** A sync failed over it: the kernel thinks it clean, so later syncs do not store it. */
  forgotten: boolean;
}

/** What a sync that starts now will make durable when it ends. */
export interface SyncTicket {
  number: number;
  sectors: Map<number, Uint8Array>;
  size: number;
}

export class SimFileNode {
  readonly kind = 'file';
  durable = new Map<number, Uint8Array>();
  durableSize = 0;
  dirty = new Map<number, SectorState>();
  /** Sizes since the last sync, oldest first; the last is the current one. */
  sizes: number[] = [];
  /** Sectors with content now: what the file takes of the space. */
  allocatedCount = 0;
  private syncsBegun = 0;
  private syncsEnded = 0;

  get size(): number {
    return this.sizes.length > 0 ? (this.sizes[this.sizes.length - 1] as number) : this.durableSize;
  }

  sector(number: number): Uint8Array {
    const state = this.dirty.get(number);
    if (state !== undefined) return state.versions[state.versions.length - 1] as Uint8Array;
    return this.durable.get(number) ?? HOLE;
  }

  isAllocated(number: number): boolean {
    return this.sector(number) !== HOLE;
  }

  /** Copies what there is of [position, position + length) to `target`; returns how many bytes. */
  read(target: Uint8Array, offset: number, length: number, position: number): number {
    const end = Math.min(position + length, this.size);
    for (let at = position; at < end; ) {
      const within = at % SECTOR_SIZE;
      const take = Math.min(SECTOR_SIZE - within, end - at);
      copySector(this.sector((at - within) / SECTOR_SIZE), within, take, target, offset + at - position);
      at += take;
    }
    return Math.max(0, end - position);
  }

  /** The same of what a power cut that keeps nothing unsynced would leave. */
  readDurable(target: Uint8Array, offset: number, length: number, position: number): number {
    const end = Math.min(position + length, this.durableSize);
    for (let at = position; at < end; ) {
      const within = at % SECTOR_SIZE;
      const take = Math.min(SECTOR_SIZE - within, end - at);
      copySector(this.durable.get((at - within) / SECTOR_SIZE) ?? HOLE, within, take, target, offset + at - position);
      at += take;
    }
    return Math.max(0, end - position);
  }

  /**
   * Writes `bytes` at `position` into the page cache; only the sectors that `chosen` takes, in order
   * (all when it is left out). Returns how many sectors became allocated.
   */
  write(bytes: Uint8Array, position: number, chosen?: (sector: number) => boolean): number {
    const end = position + bytes.length;
    let grown = 0;
    let reached = 0;
    for (let at = position; at < end; ) {
      const within = at % SECTOR_SIZE;
      const take = Math.min(SECTOR_SIZE - within, end - at);
      const number = (at - within) / SECTOR_SIZE;
      if (chosen === undefined || chosen(number)) {
        const before = this.sector(number);
        let next: Uint8Array;
        if (take === SECTOR_SIZE) next = wholeSector(bytes, at - position);
        else (next = newSector(before)).set(bytes.subarray(at - position, at - position + take), within);
        if (before === HOLE) grown++;
        this.push(number, next);
        reached = at + take;
      }
      at += take;
    }
    if (reached > this.size) this.sizes.push(reached);
    this.allocatedCount += grown;
    return grown;
  }

  truncate(size: number): void {
    const first = Math.floor(size / SECTOR_SIZE);
    const within = size % SECTOR_SIZE;
    const numbers = new Set<number>();
    for (const number of this.durable.keys()) if (number >= first) numbers.add(number);
    for (const number of this.dirty.keys()) if (number >= first) numbers.add(number);
    for (const number of [...numbers].sort((a, b) => a - b)) {
      if (!this.isAllocated(number)) continue;
      if (number === first && within > 0) {
        const next = newSector(this.sector(number));
        next.fill(0, within);
        this.push(number, next);
      } else {
        this.push(number, HOLE);
        this.allocatedCount--;
      }
    }
    if (size !== this.size) this.sizes.push(size);
  }

  beginSync(): SyncTicket {
    const sectors = new Map<number, Uint8Array>();
    for (const [number, state] of this.dirty) {
      if (!state.forgotten) sectors.set(number, state.versions[state.versions.length - 1] as Uint8Array);
    }
    return { number: ++this.syncsBegun, sectors, size: this.size };
  }

  endSync(ticket: SyncTicket): void {
    // A later sync that ended first covered all of this one.
    if (ticket.number < this.syncsEnded) return;
    this.syncsEnded = ticket.number;
    for (const [number, bytes] of ticket.sectors) {
      if (bytes === HOLE) this.durable.delete(number);
      else this.durable.set(number, bytes);
      const versions = this.dirty.get(number)?.versions;
      if (versions === undefined) continue;
      if (versions[versions.length - 1] === bytes) this.dirty.delete(number);
      else versions.splice(0, versions.lastIndexOf(bytes) + 1);
    }
    const at = this.sizes.lastIndexOf(ticket.size);
    if (at >= 0) this.sizes.splice(0, at + 1);
    this.durableSize = ticket.size;
  }

  /** A failed sync: nothing that was unsynced will ever be stored by a later one. */
  failSync(): void {
    this.syncsEnded = this.syncsBegun + 1;
    this.syncsBegun = this.syncsEnded;
    for (const state of this.dirty.values()) state.forgotten = true;
  }

  /** Flips the bits of `mask` in the byte at `position`, in every version of it. */
  rot(position: number, mask: number): void {
    const number = Math.floor(position / SECTOR_SIZE);
    const flip = (bytes: Uint8Array): Uint8Array => {
      const copy = new Uint8Array(bytes);
      copy[position % SECTOR_SIZE] = (copy[position % SECTOR_SIZE] as number) ^ mask;
      return copy;
    };
    if (!this.isAllocated(number)) this.allocatedCount++;
    const stored = this.durable.get(number);
    const state = this.dirty.get(number);
    if (stored !== undefined || state === undefined) this.durable.set(number, flip(stored ?? HOLE));
    if (state !== undefined) state.versions = state.versions.map(flip);
  }

  /** The same content and unsynced state, independent of this one from here on. */
  copy(): SimFileNode {
    const copy = new SimFileNode();
    copy.durable = new Map(this.durable);
    copy.durableSize = this.durableSize;
    copy.sizes = this.sizes.slice();
    copy.allocatedCount = this.allocatedCount;
    for (const [number, state] of this.dirty) {
      copy.dirty.set(number, { versions: state.versions.slice(), forgotten: state.forgotten });
    }
    return copy;
  }

  /** What a power cut leaves: `keepSector` and `keepSize` choose, 0 = the durable one. */
  afterPowerCut(
    keepSector: (sector: number, versionCount: number) => number,
    keepSize: (sizes: readonly number[]) => number,
  ): SimFileNode {
    const left = new SimFileNode();
    left.durable = new Map(this.durable);
    for (const number of [...this.dirty.keys()].sort((a, b) => a - b)) {
      const versions = (this.dirty.get(number) as SectorState).versions;
      const kept = keepSector(number, versions.length);
      if (kept === 0) continue;
      const bytes = versions[kept - 1] as Uint8Array;
      if (bytes === HOLE) left.durable.delete(number);
      else left.durable.set(number, bytes);
    }
    const kept = keepSize(this.sizes);
    left.durableSize = kept === 0 ? this.durableSize : (this.sizes[kept - 1] as number);
    for (const number of left.durable.keys()) {
      if (number * SECTOR_SIZE >= left.durableSize) left.durable.delete(number);
    }
    left.clearPastEnd();
    left.allocatedCount = left.durable.size;
    return left;
  }

  /** Bytes after the end in the last sector read as zeros once the file grows again. */
  private clearPastEnd(): void {
    const within = this.durableSize % SECTOR_SIZE;
    const number = Math.floor(this.durableSize / SECTOR_SIZE);
    const last = this.durable.get(number);
    if (within === 0 || last === undefined) return;
    const cleared = new Uint8Array(last);
    cleared.fill(0, within);
    this.durable.set(number, cleared);
  }

  private push(number: number, bytes: Uint8Array): void {
    const state = this.dirty.get(number);
    if (state === undefined) {
      this.dirty.set(number, { versions: [bytes], forgotten: false });
      return;
    }
    state.versions.push(bytes);
    state.forgotten = false;
    if (state.versions.length > VERSIONS_MAX) state.versions.shift();
  }
}

export class SimFolderNode {
  readonly kind = 'folder';
  entries = new Map<string, SimNode>();
  durable = new Map<string, SimNode>();
}

export type SimNode = SimFileNode | SimFolderNode;

interface NameDelta {
  folder: SimFolderNode;
  name: string;
  /** What the name means afterwards; null = gone. */
  node: SimNode | null;
}

/** One atomic change of names; durable when every folder it touches was synced. */
interface NameChange {
  deltas: NameDelta[];
  unsynced: Set<SimFolderNode>;
}

export class SimMedia {
  root = new SimFolderNode();
  /** What `files` found, until a name changes. */
  private found: readonly (readonly [string, SimFileNode])[] | null = null;
  /** In the order they were made; those at the front that are synced are folded into `durable`. */
  private changes: NameChange[] = [];

  get pendingNameChanges(): number {
    return this.changes.filter((change) => change.unsynced.size > 0).length;
  }

  change(deltas: NameDelta[]): void {
    this.found = null;
    for (const { folder, name, node } of deltas) setName(folder.entries, name, node);
    this.changes.push({ deltas, unsynced: new Set(deltas.map((delta) => delta.folder)) });
  }

  syncFolder(folder: SimFolderNode): void {
    for (const change of this.changes) change.unsynced.delete(folder);
    while (this.changes[0]?.unsynced.size === 0) {
      for (const { folder: at, name, node } of (this.changes.shift() as NameChange).deltas) setName(at.durable, name, node);
    }
  }

  /** A file is there, for certain and without anybody's doing. */
  place(name: string, node: SimFileNode): void {
    this.found = null;
    this.root.entries.set(name, node);
    this.root.durable.set(name, node);
  }

  /** What a path leads to now, '' to the root; null when there is nothing. */
  find(path: string): SimNode | null {
    if (path === '') return this.root;
    let node: SimNode | undefined = this.root;
    for (const name of path.split('/')) node = node?.kind === 'folder' ? node.entries.get(name) : undefined;
    return node ?? null;
  }

  /** The file that a path leads to now; null when there is none. */
  file(path: string): SimFileNode | null {
    const node = this.find(path);
    return node?.kind === 'file' ? node : null;
  }

  /** Whether no power cut can change what names a folder has. */
  namesAreSynced(folder: SimFolderNode): boolean {
    return !this.changes.some((change) => change.unsynced.size > 0 && change.deltas.some((delta) => delta.folder === folder));
  }

  /** A name is gone, for certain and without anybody's doing. */
  vanish(folder: SimFolderNode, name: string): void {
    this.found = null;
    folder.entries.delete(name);
    folder.durable.delete(name);
    for (const change of this.changes) change.deltas = change.deltas.filter((delta) => delta.folder !== folder || delta.name !== name);
  }

  /** Every file that a name leads to now, with its path, in path order. */
  files(): readonly (readonly [string, SimFileNode])[] {
    if (this.found !== null) return this.found;
    const found: [string, SimFileNode][] = [];
    const visit = (folder: SimFolderNode, prefix: string): void => {
      for (const name of [...folder.entries.keys()].sort()) {
        const node = folder.entries.get(name) as SimNode;
        if (node.kind === 'file') found.push([prefix + name, node]);
        else visit(node, `${prefix}${name}/`);
      }
    };
    visit(this.root, '');
    return (this.found = found);
  }

  /** After a process crash: the page cache and what was unsynced stay as they are. */
  copy(): SimMedia {
    const copies = new Map<SimNode, SimNode>();
    const copyNode = (node: SimNode): SimNode => {
      const known = copies.get(node);
      if (known !== undefined) return known;
      if (node.kind === 'file') {
        const file = node.copy();
        copies.set(node, file);
        return file;
      }
      const folder = new SimFolderNode();
      copies.set(node, folder);
      for (const [name, child] of node.entries) folder.entries.set(name, copyNode(child));
      for (const [name, child] of node.durable) folder.durable.set(name, copyNode(child));
      return folder;
    };
    const media = new SimMedia();
    media.root = copyNode(this.root) as SimFolderNode;
    media.changes = this.changes.map((change) => ({
      deltas: change.deltas.map(({ folder, name, node }) => ({
        folder: copyNode(folder) as SimFolderNode,
        name,
        node: node === null ? null : copyNode(node),
      })),
      unsynced: new Set([...change.unsynced].map((folder) => copyNode(folder) as SimFolderNode)),
    }));
    return media;
  }

  /** After a power cut: `keepChange` chooses among unsynced names, `leave` makes what is left of a file. */
  afterPowerCut(keepChange: (names: string[]) => boolean, leave: (file: SimFileNode, path: string) => SimFileNode): SimMedia {
    const names = new Map<SimFolderNode, Map<string, SimNode>>();
    const namesOf = (folder: SimFolderNode): Map<string, SimNode> => {
      let kept = names.get(folder);
      if (kept === undefined) names.set(folder, (kept = new Map(folder.durable)));
      return kept;
    };
    for (const change of this.changes) {
      if (change.unsynced.size > 0 && !keepChange(change.deltas.map((delta) => delta.name))) continue;
      for (const { folder, name, node } of change.deltas) setName(namesOf(folder), name, node);
    }
    const left = new Map<SimFileNode, SimFileNode>();
    const visit = (folder: SimFolderNode, prefix: string): SimFolderNode => {
      const copy = new SimFolderNode();
      for (const name of [...namesOf(folder).keys()].sort()) {
        const node = namesOf(folder).get(name) as SimNode;
        let kept: SimNode | undefined;
        if (node.kind === 'folder') kept = visit(node, `${prefix}${name}/`);
        else {
          kept = left.get(node);
          if (kept === undefined) left.set(node, (kept = leave(node, prefix + name)));
        }
        copy.entries.set(name, kept);
        copy.durable.set(name, kept);
      }
      return copy;
    };
    const media = new SimMedia();
    media.root = visit(this.root, '');
    return media;
  }
}

function setName(names: Map<string, SimNode>, name: string, node: SimNode | null): void {
  if (node === null) names.delete(name);
  else names.set(name, node);
}
