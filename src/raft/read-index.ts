// Linearizable reads without writing to the log: ReadIndex (thesis §6.4).
//
// 1. The leader waits until it has committed an entry of its own term (it may not know the newest
//    commit before). 2. It notes its commit index. 3. A round of heartbeats confirms that no newer
//    leader was elected. 4. Reads are answered when that index is applied. All reads that arrive
//    while a round runs share the next one; a follower asks the leader for an index. The lease of
//    CheckQuorum is never an answer: clocks and pauses lie (DESIGN §4).
import { sendHeartbeat } from './heartbeat.ts';
import { wakeUp } from './idle.ts';
import { reachedByMajority } from './quorum.ts';
import { settleReads } from './reads-settle.ts';
import { envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { MessageKind, NOBODY } from './types.ts';
import type { ReadReply, ReadRequest } from './types.ts';
import { mut } from '../wire/mut.ts';

/** Asks for a linearizable read; its sequence, or 0 when no leader is known to ask. */
export function requestRead(s: RaftState): number {
  if (s.serving === 'stopped' || s.serving === 'lost') return 0;
  if (s.role !== 'leader' && s.leader === NOBODY) return 0;
  // A sleeping leader needs its ticks back: a lost heartbeat of the round must go again.
  if (s.role === 'leader') wakeUp(s);
  return ++s.readSequence;
}

/** At the flush: one round, or one question to the leader, for everything that came in. */
export function flushReads(s: RaftState): void {
  if (s.role === 'leader') startRound(s);
  else if (s.readSequence > Math.max(s.readAsked, s.readSettled)) askLeader(s);
}

function startRound(s: RaftState): void {
  if (s.roundOpen || !readsWait(s)) return;
  // Thesis §6.4 step 1; a new leader's commit index may lag behind what its predecessor committed.
  if (s.commitIndex < s.termStartIndex) return;
  s.roundOpen = true;
  s.roundNumber++;
  s.roundIndex = s.commitIndex;
  s.roundReads = s.readSequence;
  for (const peer of s.peers) {
    peer.readInRound = peer.readWaiting;
    peer.readWaiting = 0;
    if (peer.voter) sendHeartbeat(s, peer);
  }
  closeRoundIfConfirmed(s);
}

function readsWait(s: RaftState): boolean {
  if (s.readSequence > s.readSettled) return true;
  for (const peer of s.peers) if (peer.readWaiting > 0) return true;
  return false;
}

/** Step 3: a majority, itself among it, still took it for the leader after the round began. */
export function closeRoundIfConfirmed(s: RaftState): void {
  if (!s.roundOpen) return;
  const { voters } = s.config;
  for (let i = 0; i < voters.length; i++) {
    const { replicaId } = voters[i]!;
    const own = replicaId === s.identity.replicaId;
    s.scratch[i] = own ? s.roundNumber : (s.peer(replicaId)?.readAcked ?? 0);
  }
  if (reachedByMajority(s.scratch, voters.length) < s.roundNumber && !mut('lease-answered-as-read')) return;
  s.roundOpen = false;
  settleReads(s, s.roundReads, s.roundIndex);
  for (const peer of s.peers) {
    if (peer.readInRound === 0) continue;
    const to = envelope(s, peer.member.replicaId, peer.member.nodeId);
    const reply = { sequence: peer.readInRound, incarnation: peer.readIncarnation, index: s.roundIndex };
    send(s, { ...to, kind: MessageKind.ReadReply, ...reply });
    peer.readInRound = 0;
  }
}

/** Follower, on a heartbeat: the question or the answer may have been lost. */
export function askAgain(s: RaftState): void {
  if (s.readAsked <= s.readSettled) return;
  // Not at once: the heartbeat may be the very round that is to answer the question.
  if (s.clockMs - s.readAskedAtMs >= s.settings.heartbeatMs) askLeader(s);
}

/** Follower: forwards its reads. */
function askLeader(s: RaftState): void {
  if (s.leader === NOBODY || s.role !== 'follower') return;
  s.readAsked = s.readSequence;
  s.readAskedAtMs = s.clockMs;
  const to = envelope(s, s.leader, s.leaderNode);
  const { incarnation } = s;
  send(s, { ...to, kind: MessageKind.ReadRequest, sequence: s.readSequence, incarnation });
}

export function handleReadRequest(s: RaftState, message: ReadRequest): void {
  const peer = s.role === 'leader' ? s.peer(message.from) : null;
  // Whoever is not a member gets no answer; its driver gives up after its own deadline.
  if (peer === null) return;
  wakeUp(s);
  if (message.incarnation !== peer.readIncarnation) {
    // A restarted process counts from the start again; reads of the one before are forgotten.
    if (message.incarnation < peer.readIncarnation) return;
    peer.readIncarnation = message.incarnation;
    peer.readInRound = peer.readWaiting = 0;
  }
  peer.readWaiting = Math.max(peer.readWaiting, message.sequence);
}

export function handleReadReply(s: RaftState, message: ReadReply): void {
  if (message.from !== s.leader || s.role !== 'follower') return;
  // A reply to the process before this one would answer today's read with yesterday's index.
  if (message.incarnation !== s.incarnation) return;
  if (message.sequence > s.readSequence) {
    s.counters.droppedMalformed++;
    return;
  }
  settleReads(s, message.sequence, message.index);
}
