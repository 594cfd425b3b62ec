// The leader's list of the other members, kept in step with the configuration that counts.
import { markIdle } from './idle.ts';
import { Progress } from './progress.ts';
import type { RaftState } from './state.ts';

/** What is known about members that stay is kept; newcomers start as probes. */
export function rebuildPeers(s: RaftState): void {
  const { voters, learners } = s.config;
  const before = s.peers;
  const members = [...voters, ...learners].sort((a, b) => a.replicaId - b.replicaId);
  s.peers = [];
  for (const member of members) {
    if (member.replicaId === s.identity.replicaId) continue;
    const voter = voters.includes(member);
    const known = before.find((peer) => peer.member.replicaId === member.replicaId);
    if (known) known.voter = voter;
    s.peers.push(known ?? new Progress(member, voter, s.log.lastIndex, s.clockMs, s.settings));
  }
  for (const peer of before) if (!s.peers.includes(peer)) markIdle(s, peer, false);
}
