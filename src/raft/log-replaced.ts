// The log changed under the core by the driver's doing: a snapshot came in, or the tail had to go.
//
// Both raise the generation, so that completions of earlier writes are void. Neither may take back
// a promise: what was acked (or may have been) and can still count must be there afterwards (I7).
import { assert } from '../wire/assert.ts';
import { report } from './commit.ts';
import { acknowledge } from './follower.ts';
import type { RaftState } from './state.ts';
import { checkLog } from './state.ts';
import { stepDown } from './step-down.ts';
import { becomeFollower } from './transitions.ts';
import { NOBODY, UNKNOWN_TERM } from './types.ts';
import type { Index, LogDescription } from './types.ts';
import { mut } from '../wire/mut.ts';

/** Raft §7. `installed` describes the whole log, with any entries that were carried over. */
export function installLog(s: RaftState, installed: LogDescription): void {
  assert(s.role !== 'leader', 'a leader has what is committed and installs nothing');
  checkLog(installed);
  assert(installed.commitIndex >= s.commitIndex, 'I6: the commit index only rises');
  assert(installed.appliedIndex >= s.appliedIndex, 'I6: applying goes forward');
  const tailAgrees = agreesWithTail(s, installed);
  const keepIndex = s.log.durableIndex;
  const keepTerm = s.log.termAt(keepIndex);
  s.log.replace(installed);
  if (tailAgrees && keepIndex > installed.commitIndex) {
    // Raft §7: entries that follow the snapshot and agree with it stay, as they may have been acked.
    assert(s.log.termAt(keepIndex) === keepTerm, 'I7: an install drops nothing that was acked');
  }
  s.commitIndex = installed.commitIndex;
  // Of what lies behind the commit index only a carried-over tail was ever compared with the leader.
  const verified = tailAgrees ? Math.min(s.verifiedIndex, installed.lastIndex) : 0;
  s.verifiedIndex = Math.max(s.commitIndex, verified);
  s.appliedIndex = installed.appliedIndex;
  s.reportedIndex = Math.max(s.reportedIndex, installed.appliedIndex);
  report(s);
  acknowledge(s);
}

/** True when this log went on from the snapshot's last committed entry, as far as is known here. */
function agreesWithTail(s: RaftState, installed: LogDescription): boolean {
  const at = installed.commitIndex;
  if (at > s.log.lastIndex || s.log.termAt(at) === UNKNOWN_TERM) return false;
  const lastRun = installed.runs.findLast((run) => run.fromIndex <= at);
  const term = at === installed.firstIndex - 1 ? installed.baseTerm : lastRun?.term;
  return term === s.log.termAt(at);
}

/**
 * There was no space for the unsynced tail, and the driver has dropped it: as if this replica had
 * crashed and lost it. A leader must not go on in this term, in which it has already said what those
 * indexes hold (I4); it can lead again in a later one.
 */
export function cutTail(s: RaftState, afterIndex: Index): void {
  assert(afterIndex >= s.log.durableIndex, 'I3: what is on disk may have been acked and stays');
  assert(afterIndex <= s.log.lastIndex, 'a cut shortens the log');
  if (s.role === 'leader' && mut('leader-cuts-its-log-and-stays')) s.termStartIndex = Math.min(s.termStartIndex, afterIndex);
  else if (s.role === 'leader') stepDown(s, true);
  else if (s.role !== 'follower') becomeFollower(s, s.term, NOBODY, '');
  s.log.truncateAfter(afterIndex);
  s.log.durableIndex = afterIndex;
  // Others may hold those entries and have committed them; here nothing of it was applied, because
  // only durable entries are.
  s.commitIndex = Math.min(s.commitIndex, afterIndex);
  s.verifiedIndex = Math.min(s.verifiedIndex, afterIndex);
  s.out.log.push({ kind: 'truncate', afterIndex, generation: s.log.generation });
  report(s);
  acknowledge(s);
}
