// What a segmented log is told when it is opened, and what it tells in return.
import type { Disk, DiskError } from '../index/disk.ts';
import type { HandleCache } from './handles.ts';
import type { SlabPool } from './slab.ts';
import type { SyncGate } from './sync-gate.ts';

/** When an entry counts as durable: after a sync, after the write (synced every `ms`), after the write. */
export type Durability =
  | { readonly mode: 'fsync' }
  | { readonly mode: 'interval'; readonly ms: number }
  | { readonly mode: 'memory' };

export interface LogOptions {
  readonly disk: Disk;
  /** Folder of the segments, relative to the data directory. */
  readonly directory: string;
  readonly logUid: Buffer;
  /** Bytes after which a segment is complete; it holds at least one batch. */
  readonly segmentBytes: number;
  /** Milliseconds of append time after which a segment is complete. */
  readonly maxSegmentAgeMs: number;
  readonly durability: Durability;
  /** Bytes of memory kept for readers at the tail, beyond what is not yet durable. */
  readonly cacheBytes: number;
  /** Bounds the syncs in flight over all logs. */
  readonly syncGate: SyncGate;
  /** Runs a task at the end of this turn of the event loop. */
  readonly defer: (task: () => void) => void;
  /** Resolves in a later turn: long work at opening is cut by it. Default: the next microtask. */
  readonly yieldTurn?: () => Promise<void>;
  /** Shared by all logs of a node; default: one of its own. */
  readonly slabs?: SlabPool;
  /** Shared by all logs of a node; default: one of its own. */
  readonly handles?: HandleCache;
}

/** Where a new log begins; all zero but `index` for one that was never written. */
export interface LogStart {
  readonly firstIndex: number;
  readonly firstOffset: number;
  readonly termBefore: number;
  readonly appendTimeBefore: number;
}

export const BEGINNING: LogStart = { firstIndex: 1, firstOffset: 0, termBefore: 0, appendTimeBefore: 0 };

/** Called in the turn in which a write ended, in order. */
export interface LogEvents {
  /**
   * Every entry up to `index` is durable as the log promises, provided `generation` is still the log's:
   * a truncation since then makes this an old story about entries that may have been replaced.
   */
  durable(index: number, term: number, generation: number): void;
  /**
   * ENOSPC or EDQUOT: everything above `durableIndex` is gone and `generation` is a new one; nothing
   * may be appended until `resumed`. Any other code: the log has stopped for good (`state` FAILED).
   */
  failed(error: DiskError): void;
  /** After ENOSPC: the cut is synced (so nothing that was refused can come back) and appends are taken. */
  resumed?(): void;
}

export const LogState = {
  /** Takes appends. */
  OPEN: 0,
  /** Being cut back after the disk was full. */
  FULL: 1,
  /** The end of the log is unknown (damage): it can be read, not written. */
  READ_ONLY: 2,
  /** A write or sync failed: nothing is written any more. */
  FAILED: 3,
  CLOSED: 4,
} as const;
export type LogState = (typeof LogState)[keyof typeof LogState];
