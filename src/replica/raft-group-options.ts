// What one log's group is made of.
import type { Disk } from '../index/disk.ts';
import type { DriverOptions } from '../raft/driver/driver.ts';
import type { Transport } from '../raft/driver/ports.ts';
import type { Index } from '../raft/types.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { SegmentedLog } from '../segment/log.ts';
import type { Offer } from './catch-up/messages.ts';
import type { Replacement } from './catch-up/replacement.ts';
import type { Staging } from './catch-up/staging.ts';
import type { PeerWatch } from './peers/watch.ts';

/** How replicas are brought on that need what is compacted away. */
export interface CatchUpOptions {
  readonly disk: Disk;
  /** Makes a snapshot of now, on disk; null when the log is being closed. Rejects with DiskError. */
  readonly snapshot: () => Promise<{ readonly path: string; readonly index: Index } | null>;
  /** Begins a new generation of this log's files. Rejects with DiskError. */
  readonly stage: (offer: Offer) => Promise<Staging>;
  /** Closes this replica, puts other files in the place of its own and opens it on them. Never rejects. */
  readonly install: (replacement: Replacement) => Promise<void>;
}

export interface RaftGroupOptions {
  readonly log: SegmentedLog;
  readonly journal: RaftStateJournal;
  readonly logUid: Buffer;
  /** Who this replica is, what its log holds, and what it may do. */
  readonly raft: DriverOptions;
  readonly transport: Transport;
  /** Over this group while it is idle. */
  readonly watch: PeerWatch;
  readonly nowMs: () => number;
  readonly defer: (task: () => void) => void;
  /** Why the log takes no records although it can be read; '' = it does take them. */
  readonly stopped: string;
  /** The replica's state is not that of its log: it serves nothing before it is brought on anew. */
  readonly garbled: boolean;
  /** A write met a full disk, or the journal could not store a term for want of room. */
  readonly diskFull: () => void;
  readonly catchUp: CatchUpOptions;
  /** Something that whoever runs the node should know. */
  readonly report: (event: string, reason: string) => void;
}
