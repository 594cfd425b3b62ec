// The knobs of a Raft group, their defaults and the relations between them.
//
// Times are real milliseconds as counted by `tick(elapsedMs)`. Every group of a node uses the same.
import { assert } from '../wire/assert.ts';

export interface RaftSettings {
  /** How often the driver calls `tick`. A later tick counts as one when starting an election. */
  readonly tickMs: number;
  /** Leaders send a heartbeat this often. Raise: fewer frames. Lower: commits reach followers sooner. */
  readonly heartbeatMs: number;
  /** Election timeouts are drawn from electionMinMs … electionMaxMs − 1 (Raft §5.2, §9.3). */
  readonly electionMinMs: number;
  readonly electionMaxMs: number;
  /** Bytes of entries in one Append (at least one entry goes, whatever its size). */
  readonly appendSizeMax: number;
  /** The same while it is not known where the follower's log agrees: most of it may be thrown away. */
  readonly probeSizeMax: number;
  /** Unacknowledged bytes and Appends per follower (thesis §10.2.1, pipelining). */
  readonly inflightSizeMax: number;
  readonly inflightCountMax: number;
  /** DESIGN §4: voters rest at 1, 3 or 5. */
  readonly votersMax: number;
  /** Whether caught-up groups stop sending heartbeats of their own; needs a driver that digests. */
  readonly sleepWhenIdle: boolean;
}

export const RAFT_DEFAULTS: RaftSettings = {
  tickMs: 50,
  heartbeatMs: 100,
  electionMinMs: 400,
  electionMaxMs: 800,
  appendSizeMax: 1024 * 1024,
  probeSizeMax: 64 * 1024,
  inflightSizeMax: 8 * 1024 * 1024,
  inflightCountMax: 256,
  votersMax: 5,
  sleepWhenIdle: false,
};

export function checkSettings(settings: RaftSettings): void {
  assert(settings.tickMs > 0 && settings.tickMs <= settings.heartbeatMs, 'a tick is at most a heartbeat');
  // One lost heartbeat, or one late by a tick, must not start an election.
  assert(settings.electionMinMs >= 3 * settings.heartbeatMs, 'elections wait for at least three heartbeats');
  assert(settings.electionMaxMs > settings.electionMinMs, 'election timeouts must differ (Raft §5.2)');
  assert(settings.probeSizeMax > 0 && settings.appendSizeMax > 0, 'an append carries something');
  assert(settings.inflightSizeMax >= settings.appendSizeMax, 'at least one append fits the window');
  assert(settings.inflightCountMax >= 1, 'at least one append may be under way');
  assert(settings.votersMax >= 1, 'a group has a voter');
}
