// Groups that cost nothing while idle (DESIGN §4).
//
// A leader offers sleep in a heartbeat when nothing is under way and the peer has everything; a peer
// that sees the same takes it. From then on one digest per pair of nodes stands for all such groups,
// and neither side is ticked. Whatever happens in the group ends it for all peers (`stir`); a digest
// that fails ends it from outside (input `peerSilent`). Sleep changes no term, vote or entry.
import type { Progress } from './progress.ts';
import type { RaftState } from './state.ts';
import { NOBODY } from './types.ts';

/** Nothing is under way in this group: everything is written, committed and settled. */
export function isQuiet(s: RaftState): boolean {
  return (
    s.settings.sleepWhenIdle &&
    s.serving === 'ready' &&
    s.commitIndex === s.log.lastIndex &&
    s.log.durableIndex === s.log.lastIndex &&
    s.transferTarget === NOBODY
  );
}

/** The peer's log and commit index are the leader's own. */
export function hasEverything(s: RaftState, peer: Progress): boolean {
  return peer.state === 'replicate' && peer.match === s.log.lastIndex && peer.commitIndex === s.commitIndex;
}

/** Notes whether a digest may stand for heartbeats to this peer, and tells the driver. */
export function markIdle(s: RaftState, peer: Progress, idle: boolean): void {
  if (peer.idle === idle) return;
  peer.idle = idle;
  // While idle it was vouched for by the digest: it counts as heard until now.
  if (!idle) peer.heardAtMs = s.clockMs;
  s.out.idleChanges.push({ ...peer.member, idle });
}

/** Something begins: every peer needs heartbeats of its own again, and this group its ticks. */
export function stir(s: RaftState): void {
  for (let i = 0; i < s.peers.length; i++) markIdle(s, s.peers[i]!, false);
  wakeUp(s);
}

/** Ticks again; a leader sends heartbeats with the next one. Says nothing about what peers believe. */
export function wakeUp(s: RaftState): void {
  if (!s.asleep) return;
  s.asleep = false;
  s.heartbeatElapsedMs = s.settings.heartbeatMs;
}
