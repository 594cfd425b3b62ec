// The vocabulary of the Raft core: identities, messages, and what a log looks like from outside.
//
// Plain data only. A message about entries names a range and the terms in it; the bytes of the
// range are attached by the driver (`body`), and the core never looks at them. Indexes are Raft
// positions, 1-based, 0 = none; terms start at 1, 0 = none; replica ids start at 1, 0 = none.
import type { ConfigEntry } from './config.ts';

export type Index = number;
export type Term = number;
/** Given out by the catalog for one group and never used again, not even after a removal. */
export type ReplicaId = number;
export type NodeId = string;

/** No replica: nobody was voted for, no leader is known. */
export const NOBODY = 0;
/** What `termAt` says about an index the log does not hold (compacted away, or not written yet). */
export const UNKNOWN_TERM = -1;

/** Who this replica is. Messages that name anything else are dropped and counted (DESIGN §4). */
export interface Identity {
  readonly clusterId: string;
  readonly logUid: string;
  readonly nodeId: NodeId;
  readonly replicaId: ReplicaId;
}

/** What Raft §5.2 wants on disk before any promise leaves; `sequence` is its own generation. */
export interface HardState {
  readonly term: Term;
  readonly vote: ReplicaId;
  readonly sequence: number;
}

/** Entries from `fromIndex` on have `term`, up to the next run or the end of the range. */
export interface TermRun {
  readonly fromIndex: Index;
  readonly term: Term;
}

/** A whole log as found on disk at start, or as put there by an installed snapshot. All durable. */
export interface LogDescription {
  /** First index that can be read; `firstIndex − 1` has the term `baseTerm` (0 at the very start). */
  readonly firstIndex: Index;
  readonly baseTerm: Term;
  readonly lastIndex: Index;
  /** Ascending; may begin above `firstIndex`: older terms are asked of the `LogView` port. */
  readonly runs: readonly TermRun[];
  /** Known to be committed: from the durable mark or the snapshot; at most `lastIndex`. */
  readonly commitIndex: Index;
  /** The state machine (a snapshot) already holds everything up to here: base ≤ this ≤ commit. */
  readonly appliedIndex: Index;
  /** Ascending: the newest configuration at or below `firstIndex − 1`, and every one after it. */
  readonly configs: readonly ConfigEntry[];
}

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

/**
 * What this replica may do. `damaged`: votes and acks, but campaigns only as the sole voter.
 * `stopped` (failed fsync): promises nothing more. `lost`: its past promises are unknown, so nothing.
 */
export type Serving = 'ready' | 'damaged' | 'stopped' | 'lost';

/** Append only: the numbers go over the wire. */
export const MessageKind = {
  PreVote: 1,
  PreVoteReply: 2,
  Vote: 3,
  VoteReply: 4,
  Append: 5,
  AppendAck: 6,
  AppendReject: 7,
  Heartbeat: 8,
  HeartbeatAck: 9,
  TimeoutNow: 10,
  ReadRequest: 11,
  ReadReply: 12,
  HigherTerm: 13,
} as const;
export type MessageKind = (typeof MessageKind)[keyof typeof MessageKind];

/** On every message. `term` is the sender's current term. */
export interface Envelope {
  readonly clusterId: string;
  readonly logUid: string;
  readonly from: ReplicaId;
  readonly fromNode: NodeId;
  readonly to: ReplicaId;
  readonly toNode: NodeId;
  readonly term: Term;
}

/** `forTerm` is the term asked about: term + 1 in a PreVote (thesis §9.6), the own term in a Vote. */
export interface VoteFields {
  readonly forTerm: Term;
  readonly lastIndex: Index;
  readonly lastTerm: Term;
  /** Set by leadership transfer: the voter skips the "I still hear a leader" rule (thesis §4.2.3). */
  readonly transfer: boolean;
}
export interface PreVote extends Envelope, VoteFields {
  readonly kind: typeof MessageKind.PreVote;
}
export interface Vote extends Envelope, VoteFields {
  readonly kind: typeof MessageKind.Vote;
}
export interface PreVoteReply extends Envelope {
  readonly kind: typeof MessageKind.PreVoteReply;
  readonly forTerm: Term;
  readonly granted: boolean;
}
export interface VoteReply extends Envelope {
  readonly kind: typeof MessageKind.VoteReply;
  readonly forTerm: Term;
  readonly granted: boolean;
}

/**
 * Entries `fromIndex … toIndex` (none when `toIndex = fromIndex − 1`), right behind the entry
 * (prevIndex, prevTerm). `configs` are all configuration entries in the range; the receiving driver
 * takes them from the bytes it has verified, since a configuration counts as soon as it is in the log.
 */
export interface Append extends Envelope {
  readonly kind: typeof MessageKind.Append;
  readonly prevIndex: Index;
  readonly prevTerm: Term;
  readonly fromIndex: Index;
  readonly toIndex: Index;
  readonly runs: readonly TermRun[];
  readonly configs: readonly ConfigEntry[];
  readonly commitIndex: Index;
  /** The bytes of the range, put here by the driver on both sides; opaque to the core. */
  body: unknown;
}

/** "My log agrees with yours up to `match`, and that is on my disk." */
export interface AppendAck extends Envelope {
  readonly kind: typeof MessageKind.AppendAck;
  readonly match: Index;
  readonly commitIndex: Index;
  readonly wantsCommit: boolean;
}

/** (prevIndex, prevTerm) is not here; the hint is where agreement may begin (Raft §5.3, end). */
export interface AppendReject extends Envelope {
  readonly kind: typeof MessageKind.AppendReject;
  readonly prevIndex: Index;
  readonly hintIndex: Index;
  readonly hintTerm: Term;
}

/**
 * `commitIndex` is at most what the receiver acked in this term. `readRound` is echoed by the ack
 * and confirms leadership for reads (thesis §6.4). `idle` offers sleep, and takes it (DESIGN §4).
 */
export interface Heartbeat extends Envelope {
  readonly kind: typeof MessageKind.Heartbeat;
  readonly commitIndex: Index;
  readonly readRound: number;
  readonly idle: boolean;
}
export interface HeartbeatAck extends Envelope {
  readonly kind: typeof MessageKind.HeartbeatAck;
  readonly commitIndex: Index;
  readonly readRound: number;
  readonly idle: boolean;
  readonly wantsCommit: boolean;
}

/** Thesis §3.10: campaign now, without waiting and without asking first. */
export interface TimeoutNow extends Envelope {
  readonly kind: typeof MessageKind.TimeoutNow;
}

/** The reads up to `sequence` of this start of a follower want an index (thesis §6.4). */
export interface ReadRequest extends Envelope {
  readonly kind: typeof MessageKind.ReadRequest;
  readonly sequence: number;
  readonly incarnation: number;
}
export interface ReadReply extends Envelope {
  readonly kind: typeof MessageKind.ReadReply;
  readonly sequence: number;
  readonly incarnation: number;
  readonly index: Index;
}

/** The answer to a leader of an older term: without it a replica with a higher term stays stuck. */
export interface HigherTerm extends Envelope {
  readonly kind: typeof MessageKind.HigherTerm;
}

export type Message =
  | PreVote
  | PreVoteReply
  | Vote
  | VoteReply
  | Append
  | AppendAck
  | AppendReject
  | Heartbeat
  | HeartbeatAck
  | TimeoutNow
  | ReadRequest
  | ReadReply
  | HigherTerm;
