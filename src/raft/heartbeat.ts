// Heartbeats: proof of leadership, commit index, read rounds, and the offer to sleep.
//
// To the core a heartbeat is a message per peer; the driver packs all groups' heartbeats to one node
// into one frame. A peer that has everything and said so is `idle`: a digest between the two nodes
// stands for its heartbeats, until anything happens in the group or the digest fails (`peerSilent`).
import { hasEverything, isQuiet, markIdle } from './idle.ts';
import { heard } from './liveness.ts';
import type { Progress } from './progress.ts';
import { closeRoundIfConfirmed } from './read-index.ts';
import { envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { MessageKind } from './types.ts';
import type { HeartbeatAck } from './types.ts';
import { mut } from '../wire/mut.ts';

/** The heartbeat interval is over. */
export function heartbeatAll(s: RaftState): void {
  for (const peer of s.peers) {
    if (!peer.idle || (s.roundOpen && peer.readAcked < s.roundNumber)) sendHeartbeat(s, peer);
  }
  s.asleep = isQuiet(s) && !s.roundOpen && s.peers.every((peer) => peer.idle);
}

export function sendHeartbeat(s: RaftState, peer: Progress): void {
  // Not beyond what it acked: only there its log is known to agree (and to be on its disk).
  const commitIndex = mut('follower-commits-unverified') ? s.commitIndex : Math.min(s.commitIndex, peer.match);
  const idle = isQuiet(s) && hasEverything(s, peer);
  peer.commitSent = Math.max(peer.commitSent, commitIndex);
  send(s, {
    ...envelope(s, peer.member.replicaId, peer.member.nodeId),
    kind: MessageKind.Heartbeat,
    commitIndex,
    readRound: s.roundNumber,
    idle,
  });
}

/**
 * It lives, but for a heartbeat interval nothing was sent or answered: an Append or its answer may be
 * lost. Another probe, or an empty Append, finds out, and costs little if it is only a slow disk.
 */
function askAgain(s: RaftState, peer: Progress): void {
  peer.probeSent = false;
  if (peer.match < s.log.lastIndex) peer.wantsEmpty = true;
}

export function handleHeartbeatAck(s: RaftState, message: HeartbeatAck): void {
  const peer = s.role === 'leader' ? s.peer(message.from) : null;
  if (peer === null) return;
  heard(s, peer, message);
  if (s.clockMs - peer.exchangedAtMs >= s.settings.heartbeatMs) askAgain(s, peer);
  if (message.readRound > peer.readAcked) {
    peer.readAcked = message.readRound;
    closeRoundIfConfirmed(s);
  }
  // Both sides must see the same: an ack to an older offer does not make it idle.
  if (message.idle && isQuiet(s) && hasEverything(s, peer)) markIdle(s, peer, true);
}
