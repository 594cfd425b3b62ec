// A leader lays down its office within its term: it lost its quorum, cannot serve, or was removed.
//
// Its log stays as it is, and so does the outcome of what is in flight: the next leader decides.
import { assert } from '../wire/assert.ts';
import { longestVoter } from './liveness.ts';
import { envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { becomeFollower } from './transitions.ts';
import { MessageKind, NOBODY } from './types.ts';

/**
 * With `handOver` the voter with the longest log is asked to campaign at once (thesis §3.10), so that
 * nobody waits for a timeout. Not after a lost quorum: there may be a newer leader by now.
 */
export function stepDown(s: RaftState, handOver: boolean): void {
  assert(s.role === 'leader', 'only a leader steps down');
  const heir = handOver ? longestVoter(s) : null;
  if (heir) {
    const to = envelope(s, heir.member.replicaId, heir.member.nodeId);
    send(s, { ...to, kind: MessageKind.TimeoutNow });
  }
  becomeFollower(s, s.term, NOBODY, '');
}
