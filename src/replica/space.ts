// Room on the disk: says before an entry gets an index whether it may be taken (DESIGN §3, "Disk
// full"), and keeps a ballast file to give back when even the reserve is used up.
//
// It knows the file system only through statfs and what was accepted since; it frees nothing but the
// ballast (the trash is the caller's). Invariant: `free` never counts bytes that were accepted after
// the reading it rests on, nor those accepted before and not yet written when it was taken.
import type { Disk } from '../index/disk.ts';
import { unlinkIfThere } from '../segment/atomic-file.ts';

/** Given back when the disk is nearly full, so that trims, fences and snapshots still find room. */
export const BALLAST_BYTES = 8 * 1024 * 1024;
export const BALLAST_PATH = 'ballast';

const RESERVE_BYTES_MAX = 256 * 1024 * 1024;
const RESERVE_PERCENT = 2;
const RESERVE_BATCHES_MIN = 4;
/** A new reading is wanted when this part of the room above the reserve was given away since the last. */
const STALE_SHARE = 8;

/** What wants room, in the order in which it is refused. */
export const RoomFor = { RECORDS: 0, SMALL_STATE: 1, MAINTENANCE: 2 } as const;
export type RoomFor = (typeof RoomFor)[keyof typeof RoomFor];

export interface SpaceOptions {
  readonly disk: Disk;
  readonly maxBatchBytes: number;
  /** -1 = the smaller of 256 MiB and 2 %, at least four batches. */
  readonly reserveBytes: number;
  readonly ballastBytes: number;
  /** Bytes accepted by all logs and not yet written. */
  unwrittenBytes(): number;
}

export class Space {
  /** Free bytes at the last reading, less what was then accepted but not yet written. */
  #freeBytes = Number.MAX_SAFE_INTEGER;
  #acceptedBytes = 0;
  #reserveBytes = 0;
  #totalBytes = 0;
  #measured = false;
  #measuring: Promise<void> | null = null;
  #ballastHeld = false;
  /** Whether an earlier run's ballast was looked for. */
  #looked = false;
  readonly #options: SpaceOptions;

  constructor(options: SpaceOptions) {
    this.#options = options;
  }

  get freeBytes(): number {
    return Math.max(0, this.#freeBytes - this.#acceptedBytes);
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  get reserveBytes(): number {
    return this.#reserveBytes;
  }

  get ballastHeld(): boolean {
    return this.#ballastHeld;
  }

  /** True when a batch may be refused for want of room: the largest one would be. */
  get full(): boolean {
    return !this.admits(RoomFor.RECORDS, this.#options.maxBatchBytes);
  }

  /**
   * True when so much was accepted since the reading that what comes beside the records (heads,
   * indexes, zeros ahead), which only a reading knows, could use up the reserve before the next one.
   */
  get stale(): boolean {
    const room = Math.max(0, this.#freeBytes - this.#reserveBytes);
    return this.#measured && this.#acceptedBytes * STALE_SHARE > room;
  }

  /** Whether `bytes` more may be taken for this purpose. No reading yet admits all. */
  admits(purpose: RoomFor, bytes: number): boolean {
    const left = this.#freeBytes - this.#acceptedBytes - bytes;
    if (purpose === RoomFor.RECORDS) return left >= this.#reserveBytes;
    if (purpose === RoomFor.SMALL_STATE) return left >= this.#reserveBytes / 2;
    return left >= 0;
  }

  /** Counts bytes that were given an index: they will be written before the next reading is believed. */
  accepted(bytes: number): void {
    this.#acceptedBytes += bytes;
  }

  /** Reads the file system; concurrent calls share one reading. Rejects with DiskError. */
  measure(): Promise<void> {
    this.#measuring ??= this.#measure().finally(() => {
      this.#measuring = null;
    });
    return this.#measuring;
  }

  async #measure(): Promise<void> {
    const acceptedBefore = this.#acceptedBytes;
    const unwritten = this.#options.unwrittenBytes();
    const { freeBytes, totalBytes } = await this.#options.disk.space();
    this.#acceptedBytes -= acceptedBefore;
    this.#freeBytes = Math.max(0, freeBytes - unwritten);
    this.#totalBytes = totalBytes;
    if (!this.#measured) this.#reserveBytes = this.#reserveFor(totalBytes);
    this.#measured = true;
  }

  #reserveFor(totalBytes: number): number {
    if (this.#options.reserveBytes >= 0) return this.#options.reserveBytes;
    const wished = Math.min(RESERVE_BYTES_MAX, Math.floor((totalBytes / 100) * RESERVE_PERCENT));
    return Math.max(wished, RESERVE_BATCHES_MIN * this.#options.maxBatchBytes);
  }

  /** A write met ENOSPC although room was expected: nothing is admitted until the next reading. */
  exhausted(): void {
    this.#freeBytes = 0;
    this.#acceptedBytes = 0;
  }

  /**
   * Writes the ballast when there is room for it beyond the reserve, gives it back when the disk is
   * nearly full. Called now and then, never in the way of a request. Rejects with DiskError.
   */
  async tendBallast(): Promise<void> {
    const size = this.#options.ballastBytes;
    if (size === 0) return;
    if (!this.#looked) {
      this.#ballastHeld = await this.#isThere(size);
      this.#looked = true;
    }
    if (this.#ballastHeld) {
      if (this.freeBytes < size / 2) await this.releaseBallast();
      return;
    }
    if (this.freeBytes < this.#reserveBytes + 2 * size) return;
    await this.#writeBallast(size);
    this.#ballastHeld = true;
  }

  async releaseBallast(): Promise<void> {
    if (!this.#ballastHeld) return;
    this.#ballastHeld = false;
    await unlinkIfThere(this.#options.disk, BALLAST_PATH);
    await this.measure();
  }

  async #isThere(size: number): Promise<boolean> {
    const { disk } = this.#options;
    if (!(await disk.exists(BALLAST_PATH))) return false;
    const file = await disk.open(BALLAST_PATH, 'read');
    try {
      return (await file.size()) === size;
    } finally {
      await file.close();
    }
  }

  /** Real zeros, so that the blocks are really there when they are given back. */
  async #writeBallast(size: number): Promise<void> {
    const { disk } = this.#options;
    await unlinkIfThere(disk, BALLAST_PATH);
    const file = await disk.open(BALLAST_PATH, 'create');
    try {
      const zeros = Buffer.alloc(Math.min(size, 256 * 1024));
      for (let position = 0; position < size; position += zeros.length) {
        await file.write(zeros, 0, Math.min(zeros.length, size - position), position);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
