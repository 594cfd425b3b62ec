// What one log's group is made of.
import type { DriverOptions } from '../raft/driver/driver.ts';
import type { Transport } from '../raft/driver/ports.ts';
import type { CatchUp, Fault } from '../raft/effects.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { SegmentedLog } from '../segment/log.ts';

export interface RaftGroupOptions {
  readonly log: SegmentedLog;
  readonly journal: RaftStateJournal;
  readonly logUid: Buffer;
  /** Who this replica is, what its log holds, and what it may do. */
  readonly raft: DriverOptions;
  readonly transport: Transport;
  readonly nowMs: () => number;
  readonly defer: (task: () => void) => void;
  /** Why the log takes no records although it can be read; '' = it does take them. */
  readonly stopped: string;
  /** A write met a full disk, or the journal could not store a term for want of room. */
  readonly diskFull: () => void;
  /** Ships to a replica what is compacted away here; without it the replica waits. */
  readonly catchUp?: (wanted: CatchUp) => void;
  /** The replica has forgotten what it promised: it must come back under another replica_id. */
  readonly faulted?: (fault: Fault) => void;
}
