// What a step wants done, as plain data, in the order in which the driver must do it:
//
//   1. `hardState`  → raft-state journal; when synced, input `hardStatePersisted(sequence)`
//   2. `log`        → truncate / append in this order into the tail and the write queue; when a
//                     write is synced, input `persisted(index, term, generation)` of its last entry
//   3. `messages`   → attach the bytes to each Append and send; no waiting, see send.ts
//   4. `committed…` → apply; 5. `reads`; 6. `role…`, `catchUps`, `idleChanges`, `fault` …
//
// 1 and 2 are only *started* in this order; nothing here waits for a disk. What must wait for one
// (votes, acks) stays inside the core until the completion comes back as an input, so that no driver
// can get invariant I3 wrong. 4 before 6: what was committed before leadership was lost is acked.
import type { Configuration } from './config.ts';
import type { Append, HardState, Index, Message, NodeId, ReplicaId, Role, Term } from './types.ts';

/** Where the bytes of an append come from: this replica's own proposal, or the leader's message. */
export type AppendSource = 'proposal' | 'noop' | 'config' | 'leader';

/** Put the entries `from … to` behind the end of the log. */
export interface AppendOp {
  readonly kind: 'append';
  readonly source: AppendSource;
  readonly from: Index;
  readonly to: Index;
  /** Term of the entry `to`, as `persisted` has to name it. */
  readonly term: Term;
  readonly generation: number;
  /** With `source: 'config'`: what the one entry holds. */
  readonly config: Configuration | null;
  /** With `source: 'leader'`: the message whose body holds the range (it may begin earlier). */
  readonly message: Append | null;
}

/** Drop everything behind `afterIndex`; queued behind a write in flight, durable before what follows. */
export interface TruncateOp {
  readonly kind: 'truncate';
  readonly afterIndex: Index;
  readonly generation: number;
}

export type LogOp = AppendOp | TruncateOp;

/** All reads up to `sequence` may be answered once `index` is applied (thesis §6.4). */
export interface ReadState {
  readonly sequence: number;
  readonly index: Index;
}

/** This follower needs entries that are compacted away here: ship a snapshot (and what follows it). */
export interface CatchUp {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
  /** What it holds already for certain. */
  readonly match: Index;
}

/** Whether heartbeats to this peer may be replaced by a digest (DESIGN §4). */
export interface IdleChange {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
  readonly idle: boolean;
}

/** `acked_entries_missing`: the leader knows of an ack for entries that this log does not have. */
export type Fault = 'acked_entries_missing';

/** Who this replica is in the group now; reported when any of it changed. */
export interface RoleChange {
  readonly role: Role;
  readonly term: Term;
  readonly leader: ReplicaId;
  readonly leaderNode: NodeId;
}

export class Effects {
  hardState: HardState | null = null;
  readonly log: LogOp[] = [];
  readonly messages: Message[] = [];
  /** Entries `committedFrom … committedTo` are committed and on this disk; none when to < from. */
  committedFrom: Index = 1;
  committedTo: Index = 0;
  readonly reads: ReadState[] = [];
  /** Unanswered reads up to this sequence have failed: leadership changed. 0 = none. */
  readsFailedTo = 0;
  role: RoleChange | null = null;
  /** The newest configuration, or whether it is committed, changed. */
  configChanged = false;
  readonly catchUps: CatchUp[] = [];
  readonly idleChanges: IdleChange[] = [];
  /** Whether the driver must call `tick`: false = asleep until an input or `peerSilent` wakes it. */
  awake: boolean | null = null;
  fault: Fault | null = null;

  /** Makes it empty again; allocates nothing. */
  reset(): void {
    this.hardState = null;
    empty(this.log);
    empty(this.messages);
    this.committedFrom = 1;
    this.committedTo = 0;
    empty(this.reads);
    this.readsFailedTo = 0;
    this.role = null;
    this.configChanged = false;
    empty(this.catchUps);
    empty(this.idleChanges);
    this.awake = null;
    this.fault = null;
  }
}

/** Setting a length costs a call into the runtime, also when nothing changes (measured: 100 ns). */
function empty(list: unknown[]): void {
  if (list.length > 0) list.length = 0;
}
