// What a leader knows about one other replica of the group.
//
//            ack                       unreachable / rejected
//   probe ─────────► replicate ─────────────────────────────► probe
//     │ needs entries that are compacted away      ▲ caught up / failed
//     └──────────────────────► snapshot ───────────┘
//
// probe: one Append at a time until it is known where the logs agree. replicate: many at once,
// `next` runs ahead of the acks. snapshot: nothing but heartbeats. Invariant: match < next, and
// `match` only grows: it is on the peer's disk (a wiped peer comes back as another replica).
import { assert } from '../wire/assert.ts';
import type { Member } from './config.ts';
import { Inflight } from './inflight.ts';
import type { RaftSettings } from './settings.ts';
import type { Index } from './types.ts';

export type ProgressState = 'probe' | 'replicate' | 'snapshot';

export class Progress {
  readonly member: Member;
  voter: boolean;
  state: ProgressState = 'probe';
  /** Highest entry known to be on its disk and to agree with ours. */
  match: Index = 0;
  /** Next entry to send. */
  next: Index;
  /** In probe: one Append is under way, wait for its answer or for a sign of life. */
  probeSent = false;
  /** Send an Append even without new entries: to learn where it is, or what it lacks. */
  wantsEmpty = true;
  readonly inflight: Inflight;

  /** When it was last heard in this term, on the clock that counts real elapsed time. */
  heardAtMs: number;
  /** When the last Append left for it, or was answered. */
  exchangedAtMs: number;
  /** Its commit index as it told us, and the highest we have sent it. */
  commitIndex: Index = 0;
  commitSent: Index = 0;
  /** It has readers that wait for a commit: tell it at once instead of with the next heartbeat. */
  wantsCommit = false;
  /** It has everything, said so, and is covered by the digest between the two nodes. */
  idle = false;

  /** Newest heartbeat round it answered; its own reads waiting for a round, and in the round. */
  readAcked = 0;
  readWaiting = 0;
  readInRound = 0;
  readIncarnation = 0;

  /** Thesis §4.2.1: replication to a newcomer in rounds; a short last round means caught up. */
  roundTarget: Index;
  roundStartedMs: number;
  roundWasShort = false;

  constructor(member: Member, voter: boolean, lastIndex: Index, nowMs: number, settings: RaftSettings) {
    this.member = member;
    this.voter = voter;
    this.next = lastIndex + 1;
    this.heardAtMs = nowMs;
    this.exchangedAtMs = nowMs;
    this.roundTarget = lastIndex;
    this.roundStartedMs = nowMs;
    this.inflight = new Inflight(settings.inflightSizeMax, settings.inflightCountMax);
  }

  becomeProbe(next: Index): void {
    assert(next > this.match, 'the next entry lies behind the matching one');
    this.state = 'probe';
    this.next = next;
    this.probeSent = false;
    this.wantsEmpty = true;
    this.inflight.clear();
  }

  becomeReplicate(): void {
    this.state = 'replicate';
    this.next = this.match + 1;
    this.probeSent = false;
    this.inflight.clear();
  }

  becomeSnapshot(): void {
    this.state = 'snapshot';
    this.wantsEmpty = false;
    this.inflight.clear();
  }

  /** Takes an ack; true when it says something new. */
  advance(match: Index): boolean {
    this.inflight.freeUpTo(match);
    if (match + 1 > this.next) this.next = match + 1;
    if (match <= this.match) return false;
    this.match = match;
    return true;
  }

  /** Closes a round of catching up when its target is reached, and opens the next one. */
  closeRound(lastIndex: Index, nowMs: number, shortMs: number): void {
    if (this.match < this.roundTarget) return;
    this.roundWasShort = nowMs - this.roundStartedMs <= shortMs;
    this.roundTarget = lastIndex;
    this.roundStartedMs = nowMs;
  }
}
