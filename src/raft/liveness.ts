// Which followers a leader has heard lately, and what it does without a majority of them.
//
// CheckQuorum (Raft §6 of the thesis, §6.2): a leader that cannot reach a majority steps down, so
// that clients go elsewhere and cut-off leaders do not linger. It counts real elapsed time; no
// answer ever rests on it (linearizable reads ask anew, read-index.ts).
import { assert } from '../wire/assert.ts';
import type { Progress } from './progress.ts';
import { majority } from './quorum.ts';
import type { RaftState } from './state.ts';
import type { Index } from './types.ts';

/** A sign of life in this term, with what the follower says about itself. */
export function heard(
  s: RaftState,
  peer: Progress,
  said: { readonly commitIndex: Index; readonly wantsCommit: boolean },
): void {
  assert(s.role === 'leader', 'only leaders listen to followers');
  peer.heardAtMs = s.clockMs;
  if (said.commitIndex > peer.commitIndex) peer.commitIndex = said.commitIndex;
  peer.wantsCommit = said.wantsCommit;
}

/** Heard within the shortest election timeout, or vouched for by the digest between the nodes. */
export function isAlive(s: RaftState, peer: Progress): boolean {
  return peer.idle || s.clockMs - peer.heardAtMs < s.settings.electionMinMs;
}

/** True while a majority of the voters, this replica among them, was heard lately. */
export function hasQuorum(s: RaftState): boolean {
  let alive = s.isVoter ? 1 : 0;
  for (const peer of s.peers) if (peer.voter && isAlive(s, peer)) alive++;
  return alive >= majority(s.config.voters.length);
}

/** The living voter that is best placed to win an election (ties: the lowest replica id). */
export function longestVoter(s: RaftState): Progress | null {
  let best: Progress | null = null;
  for (const peer of s.peers) {
    if (!peer.voter || !isAlive(s, peer)) continue;
    if (best === null || peer.match > best.match) best = peer;
  }
  return best;
}
