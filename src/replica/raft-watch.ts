// Tells the watch over idle groups when one of them falls asleep, at a peer or here, and when it wakes up.
import type { RaftDriver } from '../raft/driver/driver.ts';
import type { IdleChange } from '../raft/effects.ts';
import { NOBODY } from '../raft/types.ts';
import type { Identity } from '../raft/types.ts';
import type { PeerWatch } from './peers/watch.ts';

/** This replica leads: one of its peers needs heartbeats of its own no more, or again. */
export function noteIdle(watch: PeerWatch, driver: RaftDriver, identity: Identity, change: IdleChange): void {
  const { logUid, replicaId: leader } = identity;
  const { nodeId, replicaId: follower, idle } = change;
  if (idle) watch.idleAt(nodeId, { logUid, leader, follower, term: driver.term, group: driver });
  else watch.busyAt(nodeId, logUid);
}

/** This replica sleeps, or wakes up. */
export function noteSleep(watch: PeerWatch, driver: RaftDriver, identity: Identity, asleep: boolean): void {
  const { logUid, replicaId: follower } = identity;
  const { role, leader, leaderNode, term } = driver.node;
  if (!asleep) watch.awake(logUid);
  else if (role === 'follower' && leader !== NOBODY) watch.asleepUnder(leaderNode, { logUid, leader, follower, term, group: driver });
}
