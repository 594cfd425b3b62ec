// What a leader knows, in a form for others to read: status pages, the reconciler, receipts.
import { isCaughtUp } from './config-change.ts';
import { isAlive } from './liveness.ts';
import type { Progress, ProgressState } from './progress.ts';
import type { RaftState } from './state.ts';
import type { Index, NodeId, ReplicaId } from './types.ts';

export interface PeerStatus {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
  readonly voter: boolean;
  readonly state: ProgressState;
  readonly match: Index;
  readonly next: Index;
  readonly alive: boolean;
  readonly idle: boolean;
  /** It may be promoted (thesis §4.2.1). */
  readonly caughtUp: boolean;
  readonly inflightCount: number;
  readonly inflightSize: number;
}

export function peerStatus(s: RaftState, peer: Progress): PeerStatus {
  return {
    replicaId: peer.member.replicaId,
    nodeId: peer.member.nodeId,
    voter: peer.voter,
    state: peer.state,
    match: peer.match,
    next: peer.next,
    alive: isAlive(s, peer),
    idle: peer.idle,
    caughtUp: isCaughtUp(s, peer),
    inflightCount: peer.inflight.count,
    inflightSize: peer.inflight.size,
  };
}

/** Voters known to have on disk everything that is committed. */
export function countCopies(s: RaftState): number {
  let copies = s.isVoter && s.log.durableIndex >= s.commitIndex ? 1 : 0;
  for (const peer of s.peers) if (peer.voter && peer.match >= s.commitIndex) copies++;
  return copies;
}
