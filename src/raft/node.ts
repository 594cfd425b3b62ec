// One replica of one Raft group: the surface of the core.
//
// Call any number of inputs, then `flush()` once per turn and carry out what it returns, in the
// order that effects.ts states. Nothing here waits, draws time or does I/O; the same inputs give the
// same effects. An `Effects` object stays valid until the next flush.
import { assert } from '../wire/assert.ts';
import { appendOwn } from './append-own.ts';
import { advanceCommit, report } from './commit.ts';
import { changeConfig } from './config-change.ts';
import type { ChangeRefusal } from './config-change.ts';
import type { ConfigChange, ConfigEntry } from './config.ts';
import { Effects } from './effects.ts';
import { campaign, canCampaign, countOwnVote, startElection } from './election.ts';
import { acknowledge } from './follower.ts';
import { cutTail, installLog } from './log-replaced.ts';
import { peerReset, peerSilent } from './peer-events.ts';
import { flushReads, requestRead } from './read-index.ts';
import { receive } from './receive.ts';
import { catchUpDone, catchUpFailed, replicateToAll } from './replicate.ts';
import { releaseHeld } from './send.ts';
import { checkSettings } from './settings.ts';
import { RaftState } from './state.ts';
import type { Counters, RaftOptions } from './state.ts';
import { countCopies, peerStatus } from './status.ts';
import type { PeerStatus } from './status.ts';
import { stepDown } from './step-down.ts';
import { tick } from './tick.ts';
import { beginTransfer } from './transfer.ts';
import type { TransferRefusal } from './transfer.ts';
import { becomeFollower, hardStateChanged, restartElectionTimer } from './transitions.ts';
import { NOBODY } from './types.ts';
import type { Index, LogDescription, Message, NodeId, ReplicaId, Role, Serving, Term } from './types.ts';

export class RaftNode {
  private readonly s: RaftState;
  private spare = new Effects();

  constructor(options: RaftOptions) {
    checkSettings(options.settings);
    const s = new RaftState(options);
    this.s = s;
    // The log may be ahead of the hard state: entries of a term are written while it is. No vote
    // was given in that term, or it would be on disk.
    if (s.log.lastTerm > s.term) {
      s.term = s.log.lastTerm;
      s.vote = NOBODY;
      hardStateChanged(s);
    } else if (options.hardState.inDoubt === true) {
      hardStateChanged(s);
    }
    restartElectionTimer(s);
    report(s);
    // A sole voter needs nobody's consent and waits for no timer; each start raises the term.
    if (s.isSoleVoter && canCampaign(s)) startElection(s, false);
  }

  /** `elapsedMs` of real time went by since the last tick (or since the start). */
  tick(elapsedMs: number): void {
    tick(this.s, elapsedMs);
  }

  receive(message: Message): void {
    receive(this.s, message);
  }

  /**
   * Appends `count` entries of the current term and returns the first one's index, or 0 when this
   * replica takes no proposals now. Before the flush the driver puts the bytes into its write queue.
   */
  propose(count: number): Index {
    if (!this.takesProposals) return 0;
    return appendOwn(this.s, count, 'proposal', null);
  }

  /** The hard state with this sequence, or a later one, is on disk. */
  hardStatePersisted(sequence: number): void {
    const { s } = this;
    assert(sequence <= s.hardSequence, 'only a hard state that was given out can be on disk');
    if (sequence <= s.hardDurableSequence) return;
    s.hardDurableSequence = sequence;
    releaseHeld(s);
    countOwnVote(s);
  }

  /**
   * Everything up to (index, term) of this generation is on disk. False when those entries are not
   * in the log any more: the completion is void, and what is there now needs a sync of its own.
   */
  persisted(index: Index, term: Term, generation: number): boolean {
    const { s } = this;
    if (!s.log.persisted(index, term, generation)) {
      s.counters.staleCompletions++;
      return false;
    }
    if (s.role === 'leader') advanceCommit(s);
    else acknowledge(s);
    report(s);
    return true;
  }

  /** The state machine has applied up to `index`. */
  applied(index: Index): void {
    const { s } = this;
    assert(index <= s.reportedIndex, 'I6: only what is committed and durable is applied');
    assert(index >= s.appliedIndex, 'I6: applying goes forward');
    s.appliedIndex = index;
  }

  /** Asks for a linearizable read: its sequence for `reads`/`readsFailedTo`, or 0 = nobody to ask. */
  requestRead(): number {
    return requestRead(this.s);
  }

  /** Local readers wait for commits: the leader is asked to tell them at once. */
  setWaitingReaders(waiting: boolean): void {
    this.s.wantsCommit = waiting;
  }

  /** See config-change.ts: the new configuration's index, or why there is none. */
  changeConfig(basedOn: Index, change: ConfigChange): Index | ChangeRefusal {
    return changeConfig(this.s, basedOn, change);
  }

  /** NOBODY = whichever voter is best placed. Null when begun; its end shows as a role change. */
  transferLeadership(target: ReplicaId): TransferRefusal | null {
    return beginTransfer(this.s, target);
  }

  /** Campaigns now, as if the election timer had run out (an operator's wish, and tests). */
  campaign(): void {
    if (this.s.role !== 'leader') campaign(this.s);
  }

  /** A leader lays down its office in favour of whoever can win an election. */
  resign(): void {
    if (this.s.role === 'leader') stepDown(this.s, true);
  }

  /** A snapshot and what follows it have been installed and synced; `installed` is the whole log now. */
  snapshotInstalled(installed: LogDescription): void {
    installLog(this.s, installed);
  }

  /**
   * The driver had to drop the tail behind `afterIndex` (no space), and has synced what is left.
   * Completions of earlier writes are void; the truncation among the effects is done already.
   */
  tailCut(afterIndex: Index): void {
    cutTail(this.s, afterIndex);
  }

  /** Entries before `firstIndex` are compacted away. */
  logTrimmed(firstIndex: Index): void {
    const { s } = this;
    assert(firstIndex - 1 <= s.reportedIndex, 'I6: only what is committed is compacted away');
    s.log.trimBefore(firstIndex);
  }

  /** The follower has installed what `catchUps` asked for, up to `index`. */
  catchUpDone(replicaId: ReplicaId, index: Index): void {
    const peer = this.s.peer(replicaId);
    if (peer) catchUpDone(this.s, peer, index);
  }

  catchUpFailed(replicaId: ReplicaId): void {
    const peer = this.s.peer(replicaId);
    if (peer) catchUpFailed(peer);
  }

  /** The connection to this node ended without a farewell; see peer-events.ts. */
  peerReset(nodeId: NodeId): void {
    peerReset(this.s, nodeId);
  }

  /** The digest with this node has not named this group for `elapsedMs`; see peer-events.ts. */
  peerSilent(nodeId: NodeId, elapsedMs: number): void {
    peerSilent(this.s, nodeId, elapsedMs);
  }

  /** What this replica may do has changed: a failed fsync, damage found or repaired. */
  setServing(serving: Serving): void {
    const { s } = this;
    if (s.serving === 'lost') return;
    if (serving === 'stopped' || serving === 'lost') {
      if (s.role === 'leader') stepDown(s, true);
      else if (s.role !== 'follower') becomeFollower(s, s.term, NOBODY, '');
    }
    s.serving = serving;
  }

  /** Ends the turn: adds what is to be sent, and returns everything that is to be done. */
  flush(): Effects {
    const { s } = this;
    flushReads(s);
    if (s.role === 'leader') replicateToAll(s);
    this.reportChanges();
    const { out } = s;
    this.spare.reset();
    s.out = this.spare;
    this.spare = out;
    return out;
  }

  private reportChanges(): void {
    const { s } = this;
    const told = s.toldRole;
    if (told.role !== s.role || told.term !== s.term || told.leader !== s.leader) {
      s.toldRole = { role: s.role, term: s.term, leader: s.leader, leaderNode: s.leaderNode };
      s.out.role = s.toldRole;
    }
    const { index } = s.log.configs.latest;
    const committed = index <= s.commitIndex;
    if (index !== s.toldConfigIndex || committed !== s.toldConfigCommitted) {
      s.toldConfigIndex = index;
      s.toldConfigCommitted = committed;
      s.out.configChanged = true;
    }
    if (s.asleep !== s.toldAsleep) {
      s.toldAsleep = s.asleep;
      s.out.awake = !s.asleep;
    }
  }

  get role(): Role {
    return this.s.role;
  }
  get term(): Term {
    return this.s.term;
  }
  get vote(): ReplicaId {
    return this.s.vote;
  }
  get leader(): ReplicaId {
    return this.s.leader;
  }
  get leaderNode(): NodeId {
    return this.s.leaderNode;
  }
  get serving(): Serving {
    return this.s.serving;
  }
  get firstIndex(): Index {
    return this.s.log.baseIndex + 1;
  }
  get lastIndex(): Index {
    return this.s.log.lastIndex;
  }
  get lastTerm(): Term {
    return this.s.log.lastTerm;
  }
  get durableIndex(): Index {
    return this.s.log.durableIndex;
  }
  get generation(): number {
    return this.s.log.generation;
  }
  /** Known to be committed in the group; `reportedIndex` of it is also on this disk. */
  get commitIndex(): Index {
    return this.s.commitIndex;
  }
  get reportedIndex(): Index {
    return this.s.reportedIndex;
  }
  get appliedIndex(): Index {
    return this.s.appliedIndex;
  }
  get asleep(): boolean {
    return this.s.asleep;
  }
  get counters(): Readonly<Counters> {
    return this.s.counters;
  }
  /** The configuration that counts, with the index of its entry. */
  get config(): ConfigEntry {
    return this.s.log.configs.latest;
  }
  get configCommitted(): boolean {
    return this.s.log.configs.latest.index <= this.s.commitIndex;
  }
  get configHistory(): readonly ConfigEntry[] {
    return this.s.log.configs.all();
  }
  get takesProposals(): boolean {
    const { s } = this;
    return s.role === 'leader' && s.transferTarget === NOBODY;
  }
  /** Leader: an entry of its own term is committed, so that reads and changes may begin. */
  get termCommitted(): boolean {
    const { s } = this;
    return s.role === 'leader' && s.commitIndex >= s.termStartIndex;
  }
  termAt(index: Index): Term {
    return this.s.log.termAt(index);
  }
  /** What the leader knows of its peers, for status pages and the reconciler. */
  get peers(): readonly PeerStatus[] {
    return this.s.peers.map((peer) => peerStatus(this.s, peer));
  }
  /** Voters that have synced what is committed, for the receipt in an ack. */
  get copies(): number {
    return countCopies(this.s);
  }
}
