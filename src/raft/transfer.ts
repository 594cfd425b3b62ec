// Handing leadership to a chosen voter (thesis §3.10).
//
// The leader takes no more proposals, brings the target up to its own last entry, and then tells it
// to campaign at once. If that has not worked within an election timeout it goes on leading.
import { stir } from './idle.ts';
import { isAlive, longestVoter } from './liveness.ts';
import { envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { MessageKind, NOBODY } from './types.ts';
import type { ReplicaId } from './types.ts';

export type TransferRefusal = 'not_leader' | 'in_progress' | 'not_voter' | 'target_not_alive' | 'already_leader';

/** `target` NOBODY: whoever is best placed. Null when it has begun. */
export function beginTransfer(s: RaftState, target: ReplicaId): TransferRefusal | null {
  if (s.role !== 'leader') return 'not_leader';
  if (target === s.identity.replicaId) return 'already_leader';
  if (s.transferTarget !== NOBODY) return 'in_progress';
  const peer = target === NOBODY ? longestVoter(s) : s.peer(target);
  if (peer === null) return target === NOBODY ? 'target_not_alive' : 'not_voter';
  if (!peer.voter) return 'not_voter';
  if (!isAlive(s, peer)) return 'target_not_alive';
  stir(s);
  s.transferTarget = peer.member.replicaId;
  s.transferElapsedMs = 0;
  transferIfReady(s);
  return null;
}

/** An ack came, or the transfer began: the target may have everything now. */
export function transferIfReady(s: RaftState): void {
  if (s.transferTarget === NOBODY) return;
  const peer = s.peer(s.transferTarget);
  if (peer === null || !peer.voter) {
    s.transferTarget = NOBODY;
    return;
  }
  if (peer.match < s.log.lastIndex) return;
  const to = envelope(s, peer.member.replicaId, peer.member.nodeId);
  send(s, { ...to, kind: MessageKind.TimeoutNow });
}

/** It took longer than an election timeout: clients have waited long enough (thesis §3.10). */
export function tickTransfer(s: RaftState, elapsedMs: number): void {
  if (s.transferTarget === NOBODY) return;
  s.transferElapsedMs += elapsedMs;
  if (s.transferElapsedMs >= s.settings.electionMinMs) s.transferTarget = NOBODY;
}
