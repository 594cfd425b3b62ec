// Campaigning and voting (Raft §5.2, §5.4.1; PreVote thesis §9.6; stickiness thesis §4.2.3).
//
// A campaign asks first (PreVote) and only then raises the term, except after TimeoutNow and in a
// group of one. The own vote counts when it is on disk, not when it is cast (I3).
import { isVoter } from './config.ts';
import { voteResult } from './quorum.ts';
import { answer, envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { MessageKind, NOBODY } from './types.ts';
import type { PreVote, PreVoteReply, ReplicaId, Vote, VoteReply } from './types.ts';
import {
  becomeCandidate,
  becomeFollower,
  becomeLeader,
  becomePreCandidate,
  castVote,
  restartElectionTimer,
} from './transitions.ts';
import { mut } from '../wire/mut.ts';

/**
 * Whether this replica may try to lead: it is a voter (or was until just now) and can serve.
 * A damaged one only where nobody else could (DESIGN §4).
 */
export function canCampaign(s: RaftState): boolean {
  if (s.role === 'leader' || !s.mayBeNeeded) return false;
  return s.serving === 'ready' || (s.serving === 'damaged' && s.isSoleVoter);
}

/** The election timer ran out. */
export function campaign(s: RaftState): void {
  if (!canCampaign(s)) return;
  // A sole voter has nobody to ask, and nobody to disturb.
  if (s.isSoleVoter) {
    startElection(s, false);
    return;
  }
  becomePreCandidate(s);
  askForVotes(s, MessageKind.PreVote);
  s.granted.push(s.identity.replicaId);
  tallyPreVotes(s);
}

/** Raises the term and asks for real votes; `isTransfer` when the leader itself wished it. */
export function startElection(s: RaftState, isTransfer: boolean): void {
  becomeCandidate(s, isTransfer);
  // Held until (term, vote) is on disk, as every message is: see send.ts.
  askForVotes(s, MessageKind.Vote);
}

/** The own vote is on disk: now it counts. */
export function countOwnVote(s: RaftState): void {
  if (s.role !== 'candidate' || !s.hardStateDurable) return;
  note(s.granted, s.identity.replicaId);
  tallyVotes(s);
}

function askForVotes(s: RaftState, kind: typeof MessageKind.PreVote | typeof MessageKind.Vote): void {
  const { lastIndex, lastTerm } = s.log;
  const forTerm = kind === MessageKind.PreVote ? s.term + 1 : s.term;
  for (const member of s.config.voters) {
    if (member.replicaId === s.identity.replicaId) continue;
    const to = envelope(s, member.replicaId, member.nodeId);
    send(s, { ...to, kind, forTerm, lastIndex, lastTerm, transfer: s.campaignIsTransfer });
  }
}

/**
 * Thesis §4.2.3, §6.4.1: whoever still hears a leader helps nobody to replace it. This keeps a
 * removed or cut-off replica from deposing a leader that works; it is never used to answer reads.
 */
export function hearsLeader(s: RaftState): boolean {
  // A leader that had lost its followers would have stepped down (CheckQuorum).
  if (s.role === 'leader' || s.asleep) return true;
  return s.leader !== NOBODY && s.electionElapsedMs < s.settings.electionMinMs;
}

/**
 * A stopped replica elects nobody: whoever needs its vote to lead would need its acks to commit, and
 * would only step down again.
 */
function canVote(s: RaftState): boolean {
  return s.serving === 'ready' || s.serving === 'damaged';
}

/** Would vote if there were an election; changes nothing here, not even the term. */
export function handlePreVote(s: RaftState, message: PreVote): void {
  // The same rule as for a real vote, for the term that the election would have.
  const couldVote =
    message.forTerm > s.term ||
    (message.forTerm === s.term && s.leader === NOBODY && (s.vote === NOBODY || s.vote === message.from));
  const granted =
    couldVote && canVote(s) && !hearsLeader(s) && (s.log.isUpToDate(message.lastIndex, message.lastTerm) || mut('vote-for-a-shorter-log'));
  send(s, { ...answer(s, message), kind: MessageKind.PreVoteReply, forTerm: message.forTerm, granted });
}

/** Raft §5.2, §5.4.1. The message's term is the current one by now, or is being refused unread. */
export function handleVote(s: RaftState, message: Vote): void {
  const granted =
    message.term === s.term &&
    canVote(s) &&
    (s.role === 'follower' || s.role === 'preCandidate') &&
    s.leader === NOBODY &&
    (s.vote === NOBODY || s.vote === message.from || mut('second-vote-in-a-term')) &&
    (s.log.isUpToDate(message.lastIndex, message.lastTerm) || mut('vote-for-a-shorter-log'));
  if (granted) {
    // Somebody else has begun the election that a pre-candidate was asking about.
    becomeFollower(s, s.term, NOBODY, '');
    castVote(s, message.from);
    restartElectionTimer(s);
  }
  refuseOrGrantVote(s, message, granted);
}

/** A refusal is an answer too: it tells the candidate the term, and that it need not wait. */
export function refuseOrGrantVote(s: RaftState, message: Vote, granted: boolean): void {
  send(s, { ...answer(s, message), kind: MessageKind.VoteReply, forTerm: message.forTerm, granted });
}

export function handlePreVoteReply(s: RaftState, message: PreVoteReply): void {
  // Answers to an earlier question say nothing about this one.
  if (s.role !== 'preCandidate' || message.forTerm !== s.term + 1) return;
  note(message.granted ? s.granted : s.refused, message.from);
  tallyPreVotes(s);
}

export function handleVoteReply(s: RaftState, message: VoteReply): void {
  if (s.role !== 'candidate' || message.forTerm !== s.term) return;
  note(message.granted ? s.granted : s.refused, message.from);
  tallyVotes(s);
}

function tallyPreVotes(s: RaftState): void {
  const result = tally(s);
  if (result === 'won') startElection(s, false);
  else if (result === 'lost') becomeFollower(s, s.term, NOBODY, '');
}

function tallyVotes(s: RaftState): void {
  const result = tally(s);
  // The others may be faster than the own disk; a leader still needs its own vote there (I3).
  if (result === 'won' && s.hardStateDurable) becomeLeader(s);
  else if (result === 'lost') becomeFollower(s, s.term, NOBODY, '');
}

function tally(s: RaftState): 'won' | 'lost' | 'pending' {
  const { voters } = s.config;
  return voteResult(countVoters(s, s.granted), countVoters(s, s.refused), voters.length);
}

/** Only voters of the newest configuration count, whoever was asked when. */
function countVoters(s: RaftState, replies: readonly ReplicaId[]): number {
  let count = 0;
  for (const replicaId of replies) if (isVoter(s.config, replicaId)) count++;
  return count;
}

function note(list: ReplicaId[], replicaId: ReplicaId): void {
  if (!list.includes(replicaId)) list.push(replicaId);
}
