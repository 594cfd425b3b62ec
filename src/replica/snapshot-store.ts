// Snapshots of one log's small state on disk: `snapshot-<index>` beside its segments, written whole
// under a temporary name, synced, renamed, the folder synced. Two are kept, so that one damaged file
// costs nothing: entries are deleted only below the older one.
//
// Invariant: `indexes` lists exactly the snapshots that are complete and synced, oldest first.
import { DiskError } from '../index/disk.ts';
import type { Disk } from '../index/disk.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { readWholeFile } from '../segment/atomic-file.ts';
import { decodeSnapshotInSlices, SnapshotEncoder } from './snapshot.ts';
import { StateError } from './state-error.ts';
import type { ReplicaState } from './state.ts';

const NAME = /^snapshot-(\d{20})$/;
const TEMPORARY_SUFFIX = '.tmp';
const DIGITS = 20;
export const SNAPSHOTS_KEPT = 2;

/** Full tables have about 30 MB. */
export const SNAPSHOT_BYTES_MAX = 256 * 1024 * 1024;

export function snapshotName(index: number): string {
  return `snapshot-${String(index).padStart(DIGITS, '0')}`;
}

export function isSnapshotName(name: string): boolean {
  return NAME.test(name);
}

/** The index in a snapshot's name; 0 when it is none. */
export function snapshotIndex(name: string): number {
  const match = NAME.exec(name);
  return match === null ? 0 : Number(match[1]);
}

export interface LoadedSnapshot {
  /** Null when there is no valid one: the state begins empty. */
  readonly state: ReplicaState | null;
  /** What was found damaged, for the log. */
  readonly damaged: string[];
  /** What the disk does not give now; it may give it at the next start. */
  readonly unreadable: DiskError | null;
}

export class SnapshotStore {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #yieldTurn: () => Promise<void>;
  #indexes: number[] = [];
  /** Bytes of the newest one. */
  newestBytes = 0;
  /** The log's start that it states. */
  newestStart = 0;

  constructor(disk: Disk, directory: string, yieldTurn: () => Promise<void>) {
    this.#disk = disk;
    this.#directory = directory;
    this.#yieldTurn = yieldTurn;
  }

  /** Index of the newest snapshot, 0 when there is none. */
  get newestIndex(): number {
    return this.#indexes[this.#indexes.length - 1] ?? 0;
  }

  get newestPath(): string {
    return this.#path(this.newestIndex);
  }

  /** Entries up to here may be deleted: it is covered by two snapshots. 0 when there are fewer. */
  get safeIndex(): number {
    return this.#indexes.length < SNAPSHOTS_KEPT ? 0 : this.#indexes[0]!;
  }

  /** Reads the newest valid snapshot; damaged and unfinished ones are removed. Rejects with DiskError. */
  async load(logUid: Buffer): Promise<LoadedSnapshot> {
    const damaged: string[] = [];
    const found: number[] = [];
    for (const name of await this.#disk.list(this.#directory)) {
      const match = NAME.exec(name);
      if (match !== null) found.push(Number(match[1]));
      else if (name.endsWith(TEMPORARY_SUFFIX) && NAME.test(name.slice(0, -TEMPORARY_SUFFIX.length))) {
        await this.#disk.unlink(`${this.#directory}/${name}`);
      }
    }
    found.sort((a, b) => a - b);
    let state: ReplicaState | null = null;
    let unreadable: DiskError | null = null;
    while (found.length > 0 && state === null) {
      const index = found[found.length - 1]!;
      const path = this.#path(index);
      try {
        state = await this.#read(path, logUid);
      } catch (error) {
        const isDirectory = error instanceof DiskError && error.code === 'EISDIR';
        if (error instanceof DiskError && error.code === 'EIO') unreadable = error;
        else if (!(error instanceof StateError || isDirectory)) throw error;
        damaged.push(error instanceof DiskError ? messageOf(error) : `${path}: ${error.message}`);
        // Kept for whoever looks into it, under a name that is not taken for a snapshot.
        if (error !== unreadable) await this.#disk.rename(path, `${path}.damaged`);
        found.pop();
      }
    }
    this.#indexes = found.slice(-SNAPSHOTS_KEPT);
    this.newestStart = state?.logStart ?? 0;
    return { state, damaged, unreadable };
  }

  async #read(path: string, logUid: Buffer): Promise<ReplicaState> {
    const bytes = await readWholeFile(this.#disk, path, SNAPSHOT_BYTES_MAX);
    this.newestBytes = bytes.length;
    const slices = decodeSnapshotInSlices(bytes, logUid);
    for (let step = slices.next(); ; step = slices.next()) {
      if (step.done === true) return step.value;
      await this.#yieldTurn();
    }
  }

  /**
   * Writes a snapshot of the state as it is at this call, in slices; entries may be applied meanwhile.
   * Does nothing when there is one of this index. Rejects with DiskError; then nothing has changed.
   */
  async write(state: ReplicaState): Promise<void> {
    if (state.appliedIndex === 0 || state.appliedIndex === this.newestIndex) return;
    const encoder = new SnapshotEncoder(state);
    const { logStart } = state;
    const path = this.#path(encoder.index);
    const temporary = path + TEMPORARY_SUFFIX;
    try {
      await this.#writeFile(temporary, encoder);
    } catch (error) {
      encoder.abandon();
      throw error;
    }
    await this.#disk.rename(temporary, path);
    await this.#disk.syncDirectory(this.#directory);
    this.#indexes.push(encoder.index);
    this.newestBytes = encoder.size;
    this.newestStart = logStart;
    while (this.#indexes.length > SNAPSHOTS_KEPT) await this.#disk.unlink(this.#path(this.#indexes.shift()!));
  }

  async #writeFile(path: string, encoder: SnapshotEncoder): Promise<void> {
    if (await this.#disk.exists(path)) await this.#disk.unlink(path);
    const file = await this.#disk.open(path, 'create');
    try {
      let position = 0;
      for (let slice = encoder.next(); slice !== null; slice = encoder.next()) {
        await file.write(slice, 0, slice.length, position);
        position += slice.length;
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  #path(index: number): string {
    return `${this.#directory}/${snapshotName(index)}`;
  }
}
