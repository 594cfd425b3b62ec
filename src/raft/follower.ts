// What a follower does with its leader's messages (Raft §5.3), and when it acknowledges (I3).
//
// By the time a message gets here its term is the current one and its sender leads it. Entries are
// acked when they are on disk *and* agree with this leader; never what an earlier leader sent.
import { assert } from '../wire/assert.ts';
import { followCommit } from './commit.ts';
import { canCampaign, startElection } from './election.ts';
import { isQuiet, wakeUp } from './idle.ts';
import { askAgain } from './read-index.ts';
import { answer, envelope, send } from './send.ts';
import type { RaftState } from './state.ts';
import { MessageKind, NOBODY } from './types.ts';
import type { Append, Heartbeat, Index, TimeoutNow } from './types.ts';
import { mut } from '../wire/mut.ts';

export function handleAppend(s: RaftState, message: Append): void {
  s.electionElapsedMs = 0;
  // A stopped replica cannot make anything durable: silence lets the leader count without it.
  if (s.serving === 'stopped') return;
  if (!agreesAt(s, message.prevIndex, message.prevTerm)) {
    reject(s, message);
    return;
  }
  if (message.toIndex < s.log.lastIndex && ((mut('append-cuts-what-follows') && message.toIndex > s.commitIndex) || mut('truncate-below-commit'))) {
    s.log.truncateAfter(message.toIndex);
    s.verifiedIndex = Math.min(s.verifiedIndex, message.toIndex);
    s.out.log.push({ kind: 'truncate', afterIndex: message.toIndex, generation: s.log.generation });
  }
  const conflict = firstNew(s, message);
  if (conflict <= message.toIndex) takeEntries(s, message, conflict);
  // Everything in the message, and so everything before it, is now as the leader has it.
  if (message.toIndex > s.verifiedIndex) s.verifiedIndex = message.toIndex;
  followCommit(s, message.commitIndex);
  const isProbe = message.toIndex < message.fromIndex;
  // New entries are acked when they are on disk (`acknowledge`), the rest at once.
  if (isProbe || message.toIndex <= s.log.durableIndex) sendAck(s);
}

/** Raft §5.3, the consistency check. What is committed here agrees with every leader. */
function agreesAt(s: RaftState, prevIndex: Index, prevTerm: number): boolean {
  if (mut('append-without-consistency-check')) return prevIndex <= s.log.lastIndex;
  return prevIndex <= s.commitIndex || s.log.termAt(prevIndex) === prevTerm;
}

/** The first entry of the range that is missing here or has another term; after the range if none. */
function firstNew(s: RaftState, message: Append): Index {
  const { fromIndex, toIndex, runs } = message;
  let at = Math.max(fromIndex, s.commitIndex + 1);
  for (let i = 0; i < runs.length && at <= toIndex; i++) {
    const runTo = i + 1 < runs.length ? runs[i + 1]!.fromIndex - 1 : toIndex;
    if (at > runTo) continue;
    const term = runs[i]!.term;
    if (s.log.termAt(at) !== term) return at;
    // Terms do not go down: the entries of this term here end where the next higher one begins.
    at = s.log.terms.lastWithTermAtMost(Math.min(runTo, s.log.lastIndex), term) + 1;
    if (at <= runTo) return at;
  }
  return at;
}

/** Raft §5.3: the leader's entries replace what conflicts with them, and all that follows. */
function takeEntries(s: RaftState, message: Append, from: Index): void {
  const { log, out } = s;
  wakeUp(s);
  if (from <= log.lastIndex) {
    assert(from > s.commitIndex, 'I4: a committed entry never conflicts with a leader');
    assert(from > s.verifiedIndex, 'I4: a leader does not contradict itself');
    log.truncateAfter(from - 1);
    out.log.push({ kind: 'truncate', afterIndex: from - 1, generation: log.generation });
  }
  log.appendRange(from, message.toIndex, message.runs, message.configs);
  out.log.push({
    kind: 'append',
    source: 'leader',
    from,
    to: message.toIndex,
    term: log.lastTerm,
    generation: log.generation,
    config: null,
    message,
  });
}

/**
 * Raft §5.3, end: names the last place where the logs may agree: no entry after `hintIndex` can, as
 * its term here is later than the leader's at prevIndex, and terms never go down.
 */
function reject(s: RaftState, message: Append): void {
  const top = Math.min(message.prevIndex - 1, s.log.lastIndex);
  const hintIndex = s.log.terms.lastWithTermAtMost(top, message.prevTerm);
  const hintTerm = s.log.termAt(hintIndex);
  send(s, {
    ...answer(s, message),
    kind: MessageKind.AppendReject,
    prevIndex: message.prevIndex,
    hintIndex,
    hintTerm,
  });
}

/** Entries became durable: tells the leader of this term, if one is known. */
export function acknowledge(s: RaftState): void {
  if (s.role === 'follower' && s.leader !== NOBODY && s.serving !== 'stopped') sendAck(s);
}

function sendAck(s: RaftState): void {
  send(s, {
    ...envelope(s, s.leader, s.leaderNode),
    kind: MessageKind.AppendAck,
    match: Math.min(mut('follower-acks-unsynced') ? s.log.lastIndex : s.log.durableIndex, s.verifiedIndex),
    commitIndex: s.commitIndex,
    wantsCommit: s.wantsCommit,
  });
}

export function handleHeartbeat(s: RaftState, message: Heartbeat): void {
  s.electionElapsedMs = 0;
  if (s.serving === 'stopped') return;
  if (message.commitIndex > s.log.lastIndex && !mut('follower-commits-unverified')) {
    // The leader heard an ack for entries that are not here: this replica has forgotten promises,
    // and may have forgotten others. It must not vote again under this identity (DESIGN §4).
    s.serving = 'lost';
    s.out.fault = 'acked_entries_missing';
    return;
  }
  // What it acked in this term is as the leader has it.
  if (message.commitIndex > s.verifiedIndex && !mut('follower-commits-unverified')) s.verifiedIndex = message.commitIndex;
  followCommit(s, message.commitIndex);
  const idle = message.idle && isQuiet(s) && message.commitIndex === s.commitIndex;
  if (idle) s.asleep = true;
  else wakeUp(s);
  askAgain(s);
  send(s, {
    ...answer(s, message),
    kind: MessageKind.HeartbeatAck,
    commitIndex: s.commitIndex,
    readRound: message.readRound,
    idle,
    wantsCommit: s.wantsCommit,
  });
}

/** Thesis §3.10: the leader wants this replica to take over, so nobody is asked first. */
export function handleTimeoutNow(s: RaftState, message: TimeoutNow): void {
  if (s.role !== 'follower' || !canCampaign(s)) return;
  // Only whoever leads may hand over; a stray one would be an election for nothing.
  if (s.leaderOfTerm !== NOBODY && s.leaderOfTerm !== message.from) return;
  startElection(s, true);
}
