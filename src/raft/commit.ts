// What is committed, by whose count, and what of it may be applied here.
//
// A leader commits by counting replicas, and only entries of its own term (Raft §5.4.2; the older
// ones before them come along). `commitIndex` is knowledge about the group; `reportedIndex` is what
// the driver may apply: committed *and* on this disk, so that a restart, or a tail cut for want of
// space, never finds a log shorter than the state. I5, I6.
import { assert } from '../wire/assert.ts';
import { reachedByMajority } from './quorum.ts';
import type { RaftState } from './state.ts';
import { stepDown } from './step-down.ts';
import type { Index } from './types.ts';
import { mut } from '../wire/mut.ts';

/** Highest entry that is on the disks of a majority of the newest configuration's voters. */
export function durableOnMajority(s: RaftState): Index {
  const { voters } = s.config;
  const self = s.identity.replicaId;
  for (let i = 0; i < voters.length; i++) {
    const { replicaId } = voters[i]!;
    // Itself a leader counts only with what is synced; a leader that is leaving does not count
    // itself at all (thesis §4.2.2): it is not among the voters.
    s.scratch[i] = replicaId === self ? s.log.durableIndex : (s.peer(replicaId)?.match ?? 0);
    if (replicaId === self && mut('leader-counts-itself-unsynced')) s.scratch[i] = s.log.lastIndex;
  }
  if (mut('learner-counted')) for (const { replicaId } of s.config.learners) countInstead(s, s.peer(replicaId)?.match ?? 0);
  return reachedByMajority(s.scratch, voters.length);
}

/** Planted: a learner's copy counts where a voter's is missing. */
function countInstead(s: RaftState, match: Index): void {
  const { length } = s.config.voters;
  let lowest = 0;
  for (let i = 1; i < length; i++) if (s.scratch[i]! < s.scratch[lowest]!) lowest = i;
  if (length > 0 && s.scratch[lowest]! < match) s.scratch[lowest] = match;
}

/** Leader: acks came in, the own disk went on, or the configuration changed. */
export function advanceCommit(s: RaftState): void {
  assert(s.role === 'leader', 'only a leader commits by counting');
  const index = durableOnMajority(s);
  // Raft §5.4.2, figure 8: an entry of an older term may be on a majority and still be overwritten.
  if (index <= s.commitIndex || (index < s.termStartIndex && !mut('older-term-committed-by-counting'))) return;
  assert(s.log.termAt(index) === s.term || mut('older-term-committed-by-counting'), 'I5: a leader counts replicas only for its own term');
  setCommit(s, index);
  settleConfiguration(s);
}

/** Follower: the leader says so, about entries that agree with its log. */
export function followCommit(s: RaftState, leaderCommit: Index): void {
  const index = Math.min(leaderCommit, mut('follower-commits-unverified') ? s.log.lastIndex : s.verifiedIndex);
  if (index > s.commitIndex) setCommit(s, index);
}

function setCommit(s: RaftState, index: Index): void {
  assert(index > s.commitIndex, 'I6: the commit index only rises');
  assert(index <= s.log.lastIndex, 'I6: what is committed is in the log');
  s.commitIndex = index;
  report(s);
}

/** Hands over what is committed and on this disk. */
export function report(s: RaftState): void {
  const to = Math.min(s.commitIndex, s.log.durableIndex);
  if (to <= s.reportedIndex) return;
  const { out } = s;
  if (out.committedTo < out.committedFrom) out.committedFrom = s.reportedIndex + 1;
  out.committedTo = to;
  s.reportedIndex = to;
}

/** Thesis §4.2.2: a leader that is not in the committed configuration has done its last duty. */
function settleConfiguration(s: RaftState): void {
  if (s.isVoter || s.log.configs.latest.index > s.commitIndex) return;
  stepDown(s, true);
}
