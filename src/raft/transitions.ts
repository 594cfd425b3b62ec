// How a replica changes its role and its term; nothing else assigns them.
//
//                    times out            majority would vote        majority voted
//   follower ───────────────► preCandidate ───────────► candidate ───────────► leader
//      ▲                          │                        │                      │
//      └──────────────────────────┴────────────────────────┴──────────────────────┘
//            higher term, a leader of this term, lost quorum, stopped serving, removed
//
// Raft §5.1, §5.2; PreVote: thesis §9.6. Invariants: I1 (one leader per term), I2 (terms only rise).
import { assert } from '../wire/assert.ts';
import { appendOwn } from './append-own.ts';
import { markIdle, wakeUp } from './idle.ts';
import { rebuildPeers } from './peers.ts';
import { failReads } from './reads-settle.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './types.ts';
import type { NodeId, ReplicaId, Term } from './types.ts';

/** Raft §5.2: a fresh random timeout at each start of waiting keeps split votes rare. */
export function restartElectionTimer(s: RaftState): void {
  const { electionMinMs, electionMaxMs } = s.settings;
  s.electionElapsedMs = 0;
  s.electionTimeoutMs = electionMinMs + s.random(electionMaxMs - electionMinMs);
}

/** Enters a higher term without a vote. */
export function raiseTerm(s: RaftState, term: Term): void {
  assert(term > s.term, 'I2: terms never go down on a replica');
  s.term = term;
  s.vote = NOBODY;
  s.leaderOfTerm = NOBODY;
  // What the leader of an earlier term confirmed says nothing about the next one (it may have been
  // this replica itself), save what is committed.
  s.verifiedIndex = s.commitIndex;
  hardStateChanged(s);
}

/** Raft §5.2: one vote per term, first come first served. */
export function castVote(s: RaftState, candidate: ReplicaId): void {
  if (s.vote === candidate) return;
  assert(s.vote === NOBODY, 'I1: one vote per term');
  s.vote = candidate;
  hardStateChanged(s);
}

export function hardStateChanged(s: RaftState): void {
  s.hardSequence++;
  s.out.hardState = s.hardState();
}

/** `leader` NOBODY: none is known (yet) in `term`. */
export function becomeFollower(s: RaftState, term: Term, leader: ReplicaId, leaderNode: NodeId): void {
  const newTerm = term > s.term;
  if (newTerm) raiseTerm(s, term);
  if (newTerm || s.role !== 'follower' || s.leader !== leader) {
    failReads(s);
    wakeUp(s);
  }
  if (s.role !== 'follower') {
    s.role = 'follower';
    forgetLeadership(s);
    // A follower keeps its timer through a mere change of term: only a leader or a vote given
    // restarts it (Raft §5.2), or rejected candidates could keep everybody from campaigning.
    restartElectionTimer(s);
  }
  // A timeout that was cut short because a leader seemed gone must not stay short under the next.
  if (leader !== NOBODY && s.leader !== leader) restartElectionTimer(s);
  s.leader = leader;
  s.leaderNode = leaderNode;
  if (leader !== NOBODY) {
    assert(s.leaderOfTerm === NOBODY || s.leaderOfTerm === leader, 'I1: at most one leader per term');
    s.leaderOfTerm = leader;
  }
}

/** Thesis §9.6: asks whether an election could be won, without touching its own term or vote. */
export function becomePreCandidate(s: RaftState): void {
  assert(s.role !== 'leader', 'a leader does not campaign');
  leaveForCampaign(s);
  s.role = 'preCandidate';
}

/** Raft §5.2: to begin an election a follower increments its term and votes for itself. */
export function becomeCandidate(s: RaftState, isTransfer: boolean): void {
  assert(s.role !== 'leader', 'a leader does not campaign');
  assert(s.mayBeNeeded, 'only voters campaign');
  leaveForCampaign(s);
  raiseTerm(s, s.term + 1);
  castVote(s, s.identity.replicaId);
  s.role = 'candidate';
  s.campaignIsTransfer = isTransfer;
}

/** Raft §5.2, §8: takes over, and opens the term with an entry of its own. */
export function becomeLeader(s: RaftState): void {
  assert(s.role === 'candidate', 'a leader was a candidate');
  assert(s.hardStateDurable, 'I3: the own vote counts only when it is on disk');
  assert(s.vote === s.identity.replicaId, 'I1: a leader voted for itself');
  assert(s.leaderOfTerm === NOBODY, 'I1: at most one leader per term');
  s.role = 'leader';
  s.leader = s.leaderOfTerm = s.identity.replicaId;
  s.leaderNode = s.identity.nodeId;
  forgetVotes(s);
  s.verifiedIndex = s.log.lastIndex;
  s.heartbeatElapsedMs = 0;
  rebuildPeers(s);
  // Raft §8: a leader must commit an entry of its term to learn what is committed; the no-op does.
  s.termStartIndex = appendOwn(s, 1, 'noop', null);
}

function leaveForCampaign(s: RaftState): void {
  failReads(s);
  wakeUp(s);
  forgetVotes(s);
  s.leader = NOBODY;
  s.leaderNode = '';
  restartElectionTimer(s);
}

function forgetLeadership(s: RaftState): void {
  for (const peer of s.peers) markIdle(s, peer, false);
  s.peers = [];
  s.termStartIndex = 0;
  s.transferTarget = NOBODY;
  forgetVotes(s);
}

function forgetVotes(s: RaftState): void {
  s.granted.length = 0;
  s.refused.length = 0;
  s.campaignIsTransfer = false;
}
