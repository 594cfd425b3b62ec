// The state of one replica of one group: fields and the few accessors everybody needs.
//
// No rules live here; they are free functions in the files named after their concern, all of which
// take this object. Nothing outside src/raft may touch it: RaftNode (node.ts) is the surface.
// Invariants: I2 term never goes down; I6 reported ≤ commitIndex ≤ lastIndex, reported ≤ durable.
import { assert } from '../wire/assert.ts';
import { isSoleVoter, isVoter } from './config.ts';
import type { Configuration } from './config.ts';
import { Effects } from './effects.ts';
import type { RoleChange } from './effects.ts';
import type { LogView, Random } from './ports.ts';
import type { Progress } from './progress.ts';
import { RaftLog } from './raft-log.ts';
import type { RaftSettings } from './settings.ts';
import { NOBODY } from './types.ts';
import type {
  HardState,
  Identity,
  Index,
  LogDescription,
  Message,
  NodeId,
  ReplicaId,
  Role,
  Serving,
  Term,
} from './types.ts';

/** Counted, never thrown: what came in and was not for us, or came too late. */
export interface Counters {
  droppedCluster: number;
  droppedLog: number;
  droppedReplica: number;
  droppedMalformed: number;
  droppedLost: number;
  droppedHeld: number;
  staleCompletions: number;
}

/** A message that must not leave before the hard state with this sequence is on disk. */
export interface Held {
  readonly sequence: number;
  readonly message: Message;
}

export interface RaftOptions {
  readonly identity: Identity;
  readonly settings: RaftSettings;
  readonly random: Random;
  readonly view: LogView;
  /** From raft-state; term 0 when the replica is new. `inDoubt`: a power cut may still take it back. */
  readonly hardState: { readonly term: Term; readonly vote: ReplicaId; readonly inDoubt?: boolean };
  readonly log: LogDescription;
  readonly serving: Serving;
  /** Grows with each start of this node (node.json); tells replies to an earlier process apart. */
  readonly incarnation: number;
}

export class RaftState {
  readonly identity: Identity;
  readonly settings: RaftSettings;
  readonly random: Random;
  readonly incarnation: number;
  readonly log: RaftLog;
  serving: Serving;

  term: Term;
  vote: ReplicaId;
  /** Counts changes of (term, vote); the driver names it when one is on disk. */
  hardSequence = 0;
  hardDurableSequence = 0;
  readonly held: Held[] = [];

  role: Role = 'follower';
  /** The leader this replica hears, or NOBODY. */
  leader: ReplicaId = NOBODY;
  leaderNode: NodeId = '';
  /** Whoever was seen leading `term`; unlike `leader` it is not forgotten within the term (I1). */
  leaderOfTerm: ReplicaId = NOBODY;

  /** Known to be committed, by counting (leader) or from the leader. */
  commitIndex: Index;
  /** Given to the driver to apply: committed and on this disk. */
  reportedIndex: Index;
  appliedIndex: Index;
  /** Up to here the log agrees with the leader of `term`; only this may be acked or committed. */
  verifiedIndex: Index;

  /** Real elapsed time since construction; steps leaders down. */
  clockMs = 0;
  /** Time without a leader as elections count it: a late tick counts as one. */
  electionElapsedMs = 0;
  electionTimeoutMs = 0;
  heartbeatElapsedMs = 0;

  /** Candidates: who answered; the own vote is among them only when it is on disk. */
  readonly granted: ReplicaId[] = [];
  readonly refused: ReplicaId[] = [];
  campaignIsTransfer = false;

  /** Leader: the other members, ascending by replica id. */
  peers: Progress[] = [];
  /** Leader: index of the no-op that opened the term (§5.4.2: nothing before it commits by counting). */
  termStartIndex: Index = 0;

  /** Leader: who shall lead next, NOBODY when no transfer runs. */
  transferTarget: ReplicaId = NOBODY;
  transferElapsedMs = 0;

  /** Reads: the last sequence given out; up to `readSettled` they were answered or have failed. */
  readSequence = 0;
  readSettled = 0;
  /** Leader: number of the newest heartbeat round for reads, whether it still runs, what it covers. */
  roundNumber = 0;
  roundOpen = false;
  roundIndex: Index = 0;
  roundReads = 0;
  /** Follower: the last sequence the leader was asked about, and when. */
  readAsked = 0;
  readAskedAtMs = 0;

  /** Local readers wait for a commit: acks ask the leader to tell it at once. */
  wantsCommit = false;
  /** Asleep: covered by a digest between nodes, not ticked. */
  asleep = false;

  readonly counters: Counters = {
    droppedCluster: 0,
    droppedLog: 0,
    droppedReplica: 0,
    droppedMalformed: 0,
    droppedLost: 0,
    droppedHeld: 0,
    staleCompletions: 0,
  };
  /** Effects of the inputs since the last flush. */
  out = new Effects();
  /** Last told to the driver, to report changes only. */
  toldRole: RoleChange;
  toldConfigIndex: Index = -1;
  toldConfigCommitted = false;
  toldAsleep = false;
  /** Scratch space for quorum arithmetic: no allocation per ack. */
  readonly scratch: number[] = [];

  constructor(options: RaftOptions) {
    const { log, hardState } = options;
    assert(options.identity.replicaId > NOBODY, 'a replica has an id');
    checkLog(log);
    this.identity = options.identity;
    this.settings = options.settings;
    this.random = options.random;
    this.incarnation = options.incarnation;
    this.serving = options.serving;
    this.log = new RaftLog(log, options.view);
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.commitIndex = log.commitIndex;
    this.reportedIndex = this.appliedIndex = log.appliedIndex;
    this.verifiedIndex = this.commitIndex;
    this.toldRole = { role: 'follower', term: -1, leader: NOBODY, leaderNode: '' };
  }

  get config(): Configuration {
    return this.log.configs.latest.config;
  }

  get isVoter(): boolean {
    return isVoter(this.config, this.identity.replicaId);
  }

  /**
   * Thesis §4.2.2, figure 4.6: until the configuration that drops it is committed, a former voter
   * may be the only one whose log is long enough to be elected. Its own vote does not count then.
   */
  get mayBeNeeded(): boolean {
    if (this.isVoter) return true;
    const { configs } = this.log;
    if (configs.latest.index <= this.commitIndex) return false;
    const { replicaId } = this.identity;
    return configs.notYetSuperseded(this.commitIndex).some(({ config }) => isVoter(config, replicaId));
  }

  get isSoleVoter(): boolean {
    return isSoleVoter(this.config, this.identity.replicaId);
  }

  get isLeader(): boolean {
    return this.role === 'leader';
  }

  /** The newest (term, vote) is on disk: promises about it may leave (I3). */
  get hardStateDurable(): boolean {
    return this.hardDurableSequence === this.hardSequence;
  }

  hardState(): HardState {
    return { term: this.term, vote: this.vote, sequence: this.hardSequence };
  }

  peer(replicaId: ReplicaId): Progress | null {
    for (let i = 0; i < this.peers.length; i++) {
      if (this.peers[i]!.member.replicaId === replicaId) return this.peers[i]!;
    }
    return null;
  }
}

/** A log as found on disk or installed must be one that a replica can have got itself. */
export function checkLog(log: LogDescription): void {
  assert(log.appliedIndex >= log.firstIndex - 1, 'the state reaches up to the first entry');
  assert(log.appliedIndex <= log.commitIndex, 'I6: what is applied is committed');
  assert(log.commitIndex <= log.lastIndex, 'I6: what is committed is in the log');
}
