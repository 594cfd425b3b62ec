// The only way a message leaves the core, and the rules for when (invariant I3).
//
// Rule 1, for every kind without exception: it waits until the newest (term, vote) is on disk. A
// message is worth nothing without its term, and a term that a crash can undo is not one.
// Rule 2, for AppendAck alone: it names only entries that are on disk, because it is the promise
// that lets a leader commit. Held messages of an older term are dropped: the network may lose any.
//
// Why the others need not wait for the log as well:
// - Append, Heartbeat, ReadReply: the leader writes in parallel with its followers and counts itself
//   only when durable (thesis §10.2.1); their term was durable before the election was won.
// - PreVote, Vote: they name the own unsynced tail. If a crash takes that tail, the term is used up
//   (rule 1), so a vote for the longer log can never elect the shorter one.
// - PreVoteReply, VoteReply: what they promise is in the hard state; judging by an unsynced tail is
//   stricter than by the synced part.
// - AppendReject, HeartbeatAck, HigherTerm, TimeoutNow, ReadRequest: they promise nothing.
import { assert } from '../wire/assert.ts';
import type { RaftState } from './state.ts';
import { MessageKind } from './types.ts';
import type { Envelope, Message, NodeId, ReplicaId } from './types.ts';
import { mut } from '../wire/mut.ts';

export function envelope(s: RaftState, to: ReplicaId, toNode: NodeId): Envelope {
  return {
    clusterId: s.identity.clusterId,
    logUid: s.identity.logUid,
    from: s.identity.replicaId,
    fromNode: s.identity.nodeId,
    to,
    toNode,
    term: s.term,
  };
}

/** The envelope of an answer: back to where the message came from, member of the group or not. */
export function answer(s: RaftState, message: Envelope): Envelope {
  return envelope(s, message.from, message.fromNode);
}

export function send(s: RaftState, message: Message): void {
  assert(message.term === s.term, 'a message carries the current term');
  assert(message.to !== s.identity.replicaId, 'a replica does not write to itself');
  if (message.kind === MessageKind.AppendAck) {
    assert(message.match <= s.log.durableIndex || mut('follower-acks-unsynced'), 'I3: an ack names only what is on disk');
  }
  // Whoever has forgotten promises makes none any more, not even half-made ones.
  if (s.serving === 'lost') s.counters.droppedHeld++;
  else if (s.hardStateDurable) s.out.messages.push(message);
  else s.held.push({ sequence: s.hardSequence, message });
}

/** Lets go what waited for the hard state that is now on disk. */
export function releaseHeld(s: RaftState): void {
  let kept = 0;
  for (const held of s.held) {
    if (held.message.term !== s.term || s.serving === 'lost') s.counters.droppedHeld++;
    else if (held.sequence <= s.hardDurableSequence) s.out.messages.push(held.message);
    else s.held[kept++] = held;
  }
  s.held.length = kept;
}
