// The raft-state journal: term, vote and life of every replica of this node, in one append-only file
// that exists twice (raft-state.a, .b), so that one bad sector never makes a replica vote twice. All
// groups share it: what is put while a write is under way goes into the next one. It does not judge
// Raft: it keeps what it is given, and refuses only what would break I2 and I3.
//
// Invariants: a put resolves only when both copies are synced; .a is synced before .b is written
// (journal-merge.ts relies on it); and `get` never answers what is not yet, or no more, to be believed.
import { DiskError, isDiskFull, type Disk, type DiskFile } from '../index/disk.ts';
import { assert } from '../wire/assert.ts';
import { replaceFile } from './atomic-file.ts';
import { mergeCopies, replicaKey } from './journal-merge.ts';
import { RECORD_SIZE, writeRecord, type RaftStateRecord } from './journal-record.ts';

export const JOURNAL_PATHS = ['raft-state.a', 'raft-state.b'] as const;

/** Records a copy has room for at least: 64 KiB, a few thousand elections between rewrites. */
const CAPACITY_MIN = 1024;
/** A rewritten copy has room for this many times what it states, so that rewrites stay rare. */
const CAPACITY_FACTOR = 4;
/** Far above what 100,000 replicas need; a larger file is not ours. */
const FILE_SIZE_MAX = 64 * 1024 * 1024;
const SECTOR_SIZE = 512;

interface Waiting {
  /** Null = the head is to say that nothing is missing. */
  readonly record: RaftStateRecord | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class RaftStateJournal {
  private readonly disk: Disk;
  /** What both copies hold, synced. */
  private readonly entries: Map<string, RaftStateRecord>;
  private incomplete: boolean;
  private nextSequence: number;
  private readonly capacityMin: number;
  private files: DiskFile[] = [];
  /** Both copies must be written anew before anything can be added. */
  private mustRewrite = true;
  /** What was read at the start is on disk for certain. */
  private hasStored = false;
  private first = 0;
  private usedSize = 0;
  private capacity = 0;
  private queue: Waiting[] = [];
  private draining: Promise<void> | null = null;
  private failure: DiskError | null = null;
  private closed = false;

  private constructor(
    disk: Disk,
    capacityMin: number,
    entries: Map<string, RaftStateRecord>,
    incomplete: boolean,
    nextSequence: number,
  ) {
    this.disk = disk;
    this.capacityMin = capacityMin;
    this.entries = entries;
    this.incomplete = incomplete;
    this.nextSequence = nextSequence;
  }

  /**
   * Reads both copies, settles what they say together, and makes both whole again. On a full disk
   * it opens all the same, in doubt, and puts fail until there is room. `capacityMin` is in records (tests). What
   * the disk does not give now is lost only with `givesUp`: it may give it at the next start.
   * Throws DiskError, JournalVersionError.
   */
  static async open(disk: Disk, capacityMin = CAPACITY_MIN, givesUp = false): Promise<RaftStateJournal> {
    const copies = [await readCopy(disk, JOURNAL_PATHS[0]), await readCopy(disk, JOURNAL_PATHS[1])] as const;
    const [a, b] = [copies[0].bytes, copies[1].bytes];
    const merged = mergeCopies(a, b);
    const unreadable = copies[0].unreadable ?? copies[1].unreadable;
    if (merged.damaged && unreadable !== null && !givesUp) throw unreadable;
    const journal = new RaftStateJournal(disk, capacityMin, merged.entries, merged.incomplete, merged.nextSequence);
    if (merged.cleanEnd === null) {
      try {
        await journal.rewrite([], merged.incomplete);
      } catch (error) {
        if (!isDiskFull(error)) throw error;
      }
      return journal;
    }
    journal.usedSize = merged.cleanEnd;
    journal.capacity = (a as Buffer).length;
    journal.first = merged.nextSequence - merged.cleanEnd / RECORD_SIZE;
    await journal.storeAgain(a as Buffer);
    return journal;
  }

  /**
   * After a mere process crash what was read from .b may be in the page cache only: make it two. A sync
   * alone would not store what a failed one left, because the kernel may take those pages for clean.
   */
  private async storeAgain(bytes: Buffer): Promise<void> {
    for (const path of JOURNAL_PATHS) this.files.push(await this.disk.open(path, 'write'));
    try {
      for (const file of this.files) {
        await file.write(bytes, 0, this.usedSize, 0);
        await file.sync();
      }
    } catch (error) {
      // Some file systems want room for what they had already: then the next put writes both anew.
      if (!isDiskFull(error)) throw error;
      return;
    }
    this.mustRewrite = false;
    this.hasStored = true;
  }

  /**
   * The disk was too full at the start to store what was read, which may have been in the page cache only:
   * until the next put has succeeded a power cut may take back what `get` answers.
   */
  get inDoubt(): boolean {
    return !this.hasStored;
  }

  /** The state of a replica, durable unless `inDoubt`, or null when it was never entered. */
  get(logUid: Buffer, replicaId: number): RaftStateRecord | null {
    return this.entries.get(replicaKey(logUid, replicaId)) ?? null;
  }

  /** All replicas that were ever entered and not forgotten. */
  list(): RaftStateRecord[] {
    return [...this.entries.values()];
  }

  /** Replicas whose newest state is damaged: they never vote again under their replica_id. */
  get lost(): RaftStateRecord[] {
    return this.list().filter((entry) => entry.state === 'lost');
  }

  /**
   * True when damage may have swallowed replicas altogether: then a log directory without an entry
   * is a lost replica, not a new one. Stays until `acceptIncomplete`.
   */
  get mayMissReplicas(): boolean {
    return this.incomplete;
  }

  /** What ended the journal for good, or null. */
  get failed(): DiskError | null {
    return this.failure;
  }

  /**
   * Enters a replica's whole state; resolves when both copies are synced. Terms never fall, and a
   * vote within a term never changes (I2). Rejects with DiskError; after ENOSPC or EDQUOT the same
   * put may be tried again, after any other code every put is rejected.
   */
  put(record: RaftStateRecord): Promise<void> {
    const known = this.get(record.logUid, record.replicaId);
    if (known !== null) {
      assert(record.term >= known.term, 'I2: a term never goes down');
      assert(record.term > known.term || known.vote === 0 || record.vote === known.vote, 'I2: one vote per term');
      assert(known.state !== 'removed' || record.state === 'removed', 'a removed replica_id is never used again');
    }
    assert(record.logUid.length === 16, 'log_uid has 16 bytes');
    return this.enqueue({ ...record, logUid: Buffer.from(record.logUid) });
  }

  /** Drops a removed replica whose directory is gone, from the next rewrite on. */
  forget(logUid: Buffer, replicaId: number): void {
    const key = replicaKey(logUid, replicaId);
    assert(this.entries.get(key)?.state === 'removed', 'only a removed replica is forgotten');
    this.entries.delete(key);
  }

  /** Every directory without an entry was entered (as lost): nothing is missing any more. */
  acceptIncomplete(): Promise<void> {
    return this.enqueue(null);
  }

  /** Waits for what was put, and closes both copies. */
  async close(): Promise<void> {
    this.closed = true;
    while (this.draining !== null) await this.draining;
    for (const file of this.files.splice(0)) await file.close();
  }

  private enqueue(record: RaftStateRecord | null): Promise<void> {
    assert(!this.closed, 'put after close');
    if (this.failure !== null) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.queue.push({ record, resolve, reject });
      // One turn's puts of all groups go out together.
      this.draining ??= Promise.resolve().then(() => this.drain());
    });
  }

  private async drain(): Promise<void> {
    while (this.queue.length > 0) {
      const group = this.queue;
      this.queue = [];
      try {
        if (this.failure !== null) throw this.failure;
        const records = group.flatMap(({ record }) => (record === null ? [] : [record]));
        await this.store(records, this.incomplete && records.length === group.length);
      } catch (error) {
        // Once there is room it goes on; any other failure is final.
        if (!isDiskFull(error)) this.failure ??= toDiskError(error);
        for (const waiting of group) waiting.reject(error);
        continue;
      }
      for (const waiting of group) waiting.resolve();
    }
    this.draining = null;
  }

  private async store(records: readonly RaftStateRecord[], incomplete: boolean): Promise<void> {
    const size = records.length * RECORD_SIZE;
    if (this.mustRewrite || this.usedSize + size > this.capacity || incomplete !== this.incomplete) {
      await this.rewrite(records, incomplete);
      this.incomplete = incomplete;
    } else {
      await this.append(records, size);
    }
    for (const record of records) this.entries.set(replicaKey(record.logUid, record.replicaId), record);
  }

  private async append(records: readonly RaftStateRecord[], size: number): Promise<void> {
    const bytes = Buffer.alloc(size);
    records.forEach((entry, i) => {
      writeRecord(bytes, i * RECORD_SIZE, { kind: 'state', sequence: this.nextSequence++, first: this.first, entry });
    });
    try {
      for (const file of this.files) {
        await file.write(bytes, 0, size, this.usedSize);
        await file.sync();
      }
    } catch (error) {
      this.mustRewrite = true; // a part of it may be there: what comes next must not lie behind it
      throw error;
    }
    this.usedSize += size;
  }

  /** Writes both copies anew, one after the other, with what is known and `added`. */
  private async rewrite(added: readonly RaftStateRecord[], incomplete: boolean): Promise<void> {
    this.mustRewrite = true;
    for (const file of this.files.splice(0)) await file.close();
    const stated = new Map(this.entries);
    for (const record of added) stated.set(replicaKey(record.logUid, record.replicaId), record);
    const first = this.nextSequence;
    this.nextSequence += 1 + stated.size;
    const bytes = Buffer.alloc(this.capacityFor(stated.size + 1) * RECORD_SIZE);
    writeRecord(bytes, 0, { kind: 'head', sequence: first, first, baseCount: stated.size, incomplete });
    let sequence = first;
    for (const entry of stated.values()) {
      sequence++;
      writeRecord(bytes, (sequence - first) * RECORD_SIZE, { kind: 'state', sequence, first, entry });
    }
    for (const path of JOURNAL_PATHS) await replaceFile(this.disk, path, bytes);
    for (const path of JOURNAL_PATHS) this.files.push(await this.disk.open(path, 'write'));
    this.first = first;
    this.usedSize = (1 + stated.size) * RECORD_SIZE;
    this.capacity = bytes.length;
    this.mustRewrite = false;
    this.hasStored = true;
  }

  /** Records a new copy gets room for: the rest is real zeros, so that adding to it needs no space. */
  private capacityFor(recordCount: number): number {
    return Math.ceil((recordCount * CAPACITY_FACTOR) / this.capacityMin) * this.capacityMin;
  }
}

function toDiskError(error: unknown): DiskError {
  return error instanceof DiskError ? error : new DiskError('EIO', 'store', JOURNAL_PATHS[0], { cause: error });
}

interface ReadCopy {
  /** Null when there is no such file. */
  readonly bytes: Buffer | null;
  /** Why a part of them is not what the disk holds. */
  readonly unreadable: DiskError | null;
}

/** A sector that cannot be read is filled with FF, so that its records are bad and the others count. */
async function readCopy(disk: Disk, path: string): Promise<ReadCopy> {
  let file: DiskFile;
  try {
    file = await disk.open(path, 'read');
  } catch (error) {
    if (error instanceof DiskError && error.code === 'ENOENT') return { bytes: null, unreadable: null };
    throw error;
  }
  try {
    const size = await file.size();
    if (size > FILE_SIZE_MAX) throw new DiskError('EFBIG', 'read', path);
    const bytes = Buffer.alloc(size);
    try {
      await file.read(bytes, 0, size, 0);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'EIO') throw error;
      return { bytes, unreadable: await readSectors(file, bytes) };
    }
    return { bytes, unreadable: null };
  } finally {
    await file.close();
  }
}

/** Null when all of them could be read now. */
async function readSectors(file: DiskFile, bytes: Buffer): Promise<DiskError | null> {
  let unreadable: DiskError | null = null;
  for (let at = 0; at < bytes.length; at += SECTOR_SIZE) {
    const length = Math.min(SECTOR_SIZE, bytes.length - at);
    try {
      await file.read(bytes, at, length, at);
    } catch (error) {
      if (!(error instanceof DiskError) || error.code !== 'EIO') throw error;
      unreadable = error;
      bytes.fill(0xff, at, at + length);
    }
  }
  return unreadable;
}
