// When a leader may change the configuration, and what happens at once when it does (thesis §4).
//
// One change at a time: the one before must be committed, and so must an entry of this leader's own
// term (without the second rule two leaders could each make one change from the same configuration,
// and the two results would not overlap). The new configuration counts as soon as it is in the log.
import { appendOwn } from './append-own.ts';
import { advanceCommit } from './commit.ts';
import { applyChange } from './config.ts';
import type { ChangeError, ConfigChange } from './config.ts';
import { isAlive } from './liveness.ts';
import { rebuildPeers } from './peers.ts';
import type { Progress } from './progress.ts';
import type { RaftState } from './state.ts';
import { transferIfReady } from './transfer.ts';
import { NOBODY } from './types.ts';
import type { Index } from './types.ts';
import { mut } from '../wire/mut.ts';

export type ChangeRefusal =
  | ChangeError
  | 'not_leader'
  | 'transferring'
  | 'term_not_committed'
  | 'change_in_progress'
  | 'other_config'
  | 'not_caught_up';

/**
 * Appends the configuration after `change` and returns its index, or says why not. `basedOn` is the
 * index of the configuration the change was computed from (compare-and-set, DESIGN §4).
 */
export function changeConfig(s: RaftState, basedOn: Index, change: ConfigChange): Index | ChangeRefusal {
  if (s.role !== 'leader') return 'not_leader';
  if (s.transferTarget !== NOBODY) return 'transferring';
  const { latest } = s.log.configs;
  if (latest.index !== basedOn) return 'other_config';
  if (s.commitIndex < s.termStartIndex && !mut('change-before-the-noop')) return 'term_not_committed';
  if (s.commitIndex < latest.index && !mut('two-changes-at-once')) return 'change_in_progress';
  const next = applyChange(latest.config, change, s.settings.votersMax);
  if (typeof next === 'string') return next;
  if (change.kind === 'promote' && !mut('promoted-before-caught-up') && !isCaughtUp(s, s.peer(change.replicaId))) return 'not_caught_up';
  const index = appendOwn(s, 1, 'config', next);
  s.log.configs.append({ index, config: next });
  rebuildPeers(s);
  // The transfer's target may be gone, and a smaller majority may already hold more.
  transferIfReady(s);
  advanceCommit(s);
  return index;
}

/**
 * Thesis §4.2.1: a newcomer that still has to catch up would hold up commits as a voter. It has
 * caught up when it holds all that is committed, or when its last round of catching up was short
 * (and the one it is in now has not grown long).
 */
export function isCaughtUp(s: RaftState, peer: Progress | null): boolean {
  if (peer === null || peer.state !== 'replicate' || !isAlive(s, peer)) return false;
  if (peer.match >= s.commitIndex) return true;
  return peer.roundWasShort && s.clockMs - peer.roundStartedMs <= s.settings.electionMinMs;
}
