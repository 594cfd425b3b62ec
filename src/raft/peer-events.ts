// What the driver noticed about the connection to a node, as far as it concerns one group.
import { markIdle, stir, wakeUp } from './idle.ts';
import type { Progress } from './progress.ts';
import { peerUnreachable } from './replicate.ts';
import type { RaftState } from './state.ts';
import { becomeFollower } from './transitions.ts';
import { NOBODY } from './types.ts';
import type { NodeId } from './types.ts';

/**
 * The connection ended or was reset without a farewell: the process there is probably gone (kill −9
 * mostly sends FIN). What was under way is lost; and if the leader lives there, this replica asks
 * around after one heartbeat interval instead of waiting for the whole election timeout. That is
 * harmless if it was only the connection: PreVote disturbs nobody who still hears the leader.
 */
export function peerReset(s: RaftState, nodeId: NodeId): void {
  const peer = peerOn(s, nodeId);
  if (peer !== null) {
    markIdle(s, peer, false);
    wakeUp(s);
    peerUnreachable(peer);
  }
  if (s.role !== 'follower' || s.leader === NOBODY || s.leaderNode !== nodeId) return;
  becomeFollower(s, s.term, NOBODY, '');
  const { heartbeatMs } = s.settings;
  const soon = s.electionElapsedMs + heartbeatMs + s.random(heartbeatMs);
  s.electionTimeoutMs = Math.min(s.electionTimeoutMs, soon);
}

/**
 * The digest no longer vouches for this group: it came without it, or has not come for `elapsedMs`.
 * The leader sends heartbeats by name again; a follower counts the silence as waiting time.
 */
export function peerSilent(s: RaftState, nodeId: NodeId, elapsedMs: number): void {
  const peer = peerOn(s, nodeId);
  if (peer !== null && peer.idle) {
    markIdle(s, peer, false);
    wakeUp(s);
    peer.heardAtMs = s.clockMs - elapsedMs;
  }
  if (s.role !== 'follower' || !s.asleep || s.leaderNode !== nodeId) return;
  stir(s);
  // At most the time that stickiness lasts: the random rest still keeps campaigns apart.
  s.electionElapsedMs = Math.min(elapsedMs, s.settings.electionMinMs);
}

function peerOn(s: RaftState, nodeId: NodeId): Progress | null {
  for (const peer of s.peers) if (peer.member.nodeId === nodeId) return peer;
  return null;
}
