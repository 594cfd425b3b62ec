// Time: the only place where anything happens because time went by.
//
// The driver says how much real time passed. All of it counts for stepping down, but for starting
// an election a late tick counts as one (DESIGN §4): after a pause of this process, heartbeats may
// be waiting unread, and every stall of the event loop would otherwise be an election.
import { assert } from '../wire/assert.ts';
import { campaign, canCampaign } from './election.ts';
import { heartbeatAll } from './heartbeat.ts';
import { hasQuorum } from './liveness.ts';
import type { RaftState } from './state.ts';
import { stepDown } from './step-down.ts';
import { tickTransfer } from './transfer.ts';
import { becomeFollower, restartElectionTimer } from './transitions.ts';
import { NOBODY } from './types.ts';

export function tick(s: RaftState, elapsedMs: number): void {
  assert(elapsedMs >= 0, 'time does not run backwards');
  s.clockMs += elapsedMs;
  // Asleep, the digest between the nodes stands for all timers; see idle.ts.
  if (s.asleep || s.serving === 'lost') return;
  if (s.role === 'leader') tickLeader(s, elapsedMs);
  else tickElection(s, elapsedMs);
}

function tickLeader(s: RaftState, elapsedMs: number): void {
  if (!hasQuorum(s)) {
    stepDown(s, false);
    return;
  }
  tickTransfer(s, elapsedMs);
  s.heartbeatElapsedMs += elapsedMs;
  if (s.heartbeatElapsedMs < s.settings.heartbeatMs) return;
  s.heartbeatElapsedMs = 0;
  heartbeatAll(s);
}

function tickElection(s: RaftState, elapsedMs: number): void {
  // Nobody was asked yet: a disk slower than the timeout must not raise the term again and again.
  if (s.role === 'candidate' && !s.hardStateDurable) return;
  s.electionElapsedMs += Math.min(elapsedMs, s.settings.tickMs);
  if (s.electionElapsedMs < s.electionTimeoutMs) return;
  // Whoever led is not heard any more, also for those who may not campaign themselves.
  if (s.role === 'follower') becomeFollower(s, s.term, NOBODY, '');
  if (canCampaign(s)) campaign(s);
  else restartElectionTimer(s);
}
