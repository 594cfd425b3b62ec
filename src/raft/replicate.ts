// What a leader sends to one follower, and how it reacts to the answers (Raft §5.3, thesis §10.2.1).
//
// Appends are made once per turn, at the flush, so that all proposals of a turn share them. They are
// pipelined up to a bound in bytes and count; a refusal makes the follower a `probe` again.
import { advanceCommit } from './commit.ts';
import { sendHeartbeat } from './heartbeat.ts';
import { heard, isAlive } from './liveness.ts';
import type { Progress } from './progress.ts';
import { envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { transferIfReady } from './transfer.ts';
import { MessageKind } from './types.ts';
import type { AppendAck, AppendReject, Index } from './types.ts';

/** Sends what each follower may get now. */
export function replicateToAll(s: RaftState): void {
  for (const peer of s.peers) {
    while (sendAppend(s, peer));
    // DESIGN §4: commits go out at the end of the turn to followers with waiting readers; the
    // others learn of them from the next Append or heartbeat.
    if (peer.wantsCommit && Math.min(s.commitIndex, peer.match) > peer.commitSent) sendHeartbeat(s, peer);
  }
}

/** Sends one Append if there is a reason and room; true when there may be more to send. */
function sendAppend(s: RaftState, peer: Progress): boolean {
  const probing = peer.state === 'probe';
  if (peer.state === 'snapshot' || (probing && peer.probeSent)) return false;
  const hasEntries = peer.next <= s.log.lastIndex && !peer.inflight.full;
  if (!hasEntries && !peer.wantsEmpty) return false;
  const prevIndex = peer.next - 1;
  if (prevIndex < s.log.baseIndex) {
    beginCatchUp(s, peer);
    return false;
  }
  const fromIndex = peer.next;
  const sizeMax = probing ? s.settings.probeSizeMax : s.settings.appendSizeMax;
  const toIndex = hasEntries ? lastWithin(s, fromIndex, sizeMax) : prevIndex;
  send(s, {
    ...envelope(s, peer.member.replicaId, peer.member.nodeId),
    kind: MessageKind.Append,
    prevIndex,
    prevTerm: s.log.termAt(prevIndex),
    fromIndex,
    toIndex,
    runs: s.log.terms.runsWithin(fromIndex, toIndex),
    configs: s.log.configs.within(fromIndex, toIndex),
    commitIndex: s.commitIndex,
    body: null,
  });
  peer.wantsEmpty = false;
  peer.exchangedAtMs = s.clockMs;
  peer.commitSent = Math.max(peer.commitSent, Math.min(s.commitIndex, toIndex));
  if (probing) {
    peer.probeSent = true;
    return false;
  }
  if (!hasEntries) return false;
  peer.inflight.add(toIndex, s.log.view.sizeOf(fromIndex, toIndex));
  peer.next = toIndex + 1;
  return true;
}

/** The last entry such that `from …` fits `sizeMax`; at least `from` itself. */
function lastWithin(s: RaftState, from: Index, sizeMax: number): Index {
  const { view, lastIndex } = s.log;
  if (view.sizeOf(from, lastIndex) <= sizeMax) return lastIndex;
  let low = from;
  let high = lastIndex - 1;
  while (low < high) {
    const middle = low + Math.ceil((high - low) / 2);
    if (view.sizeOf(from, middle) <= sizeMax) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Raft §7: what it needs next is compacted away here, so a snapshot has to bring it on. */
function beginCatchUp(s: RaftState, peer: Progress): void {
  // What is kept for it cannot be deleted meanwhile, so a dead one has to be heard of first.
  if (!isAlive(s, peer)) return;
  peer.becomeSnapshot();
  s.out.catchUps.push({ replicaId: peer.member.replicaId, nodeId: peer.member.nodeId, match: peer.match });
}

export function handleAppendAck(s: RaftState, message: AppendAck): void {
  const peer = s.role === 'leader' ? s.peer(message.from) : null;
  if (peer === null) return;
  if (message.match > s.log.lastIndex) {
    // Nobody can agree with entries that do not exist; whatever this is, it must not commit them.
    s.counters.droppedMalformed++;
    return;
  }
  heard(s, peer, message);
  peer.exchangedAtMs = s.clockMs;
  const advanced = peer.advance(message.match);
  if (peer.state === 'probe') peer.becomeReplicate();
  // It got what it lacked by whatever way: entries that are still here can follow.
  if (peer.state === 'snapshot' && peer.match >= s.log.baseIndex) peer.becomeReplicate();
  if (!advanced) return;
  peer.closeRound(s.log.lastIndex, s.clockMs, s.settings.electionMinMs);
  advanceCommit(s);
  // The commit may have been of this leader's own removal.
  if (s.isLeader) transferIfReady(s);
}

/**
 * Raft §5.3, end: the follower names an index and term where agreement may begin; everything of a
 * later term at or before it in our log cannot agree, so one round skips whole terms.
 */
export function handleAppendReject(s: RaftState, message: AppendReject): void {
  const peer = s.role === 'leader' ? s.peer(message.from) : null;
  if (peer === null) return;
  peer.heardAtMs = peer.exchangedAtMs = s.clockMs;
  if (message.prevIndex <= peer.match) return;
  if (peer.state === 'replicate') {
    // Something got lost on the way: everything after what is certain goes again.
    peer.becomeProbe(peer.match + 1);
    return;
  }
  // Only the answer to the newest probe counts; the network may repeat older ones.
  if (peer.state !== 'probe' || message.prevIndex !== peer.next - 1) return;
  const hint = Math.min(message.hintIndex, message.prevIndex - 1, s.log.lastIndex);
  // Below what we hold there is nothing to compare: the next try finds that it needs a snapshot.
  const agreed = hint <= s.log.baseIndex ? hint : s.log.terms.lastWithTermAtMost(hint, message.hintTerm);
  peer.becomeProbe(Math.max(agreed, peer.match) + 1);
}

/** Input: the snapshot (and the entries that came with it) up to `index` is installed there. */
export function catchUpDone(s: RaftState, peer: Progress, index: Index): void {
  if (peer.state !== 'snapshot') return;
  // Not yet an ack: the next Append finds out what its log really holds.
  peer.becomeProbe(Math.max(Math.min(index, s.log.lastIndex), peer.match) + 1);
}

/** Input: it could not be brought on; the next probe will ask again. */
export function catchUpFailed(peer: Progress): void {
  if (peer.state === 'snapshot') peer.becomeProbe(peer.match + 1);
}

/** Input: the connection ended; what was under way is lost. */
export function peerUnreachable(peer: Progress): void {
  if (peer.state === 'replicate') peer.becomeProbe(peer.match + 1);
  else if (peer.state === 'probe') peer.probeSent = false;
}
