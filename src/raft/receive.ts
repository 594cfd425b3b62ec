// A message came in: is it for this replica, is it well formed, and what about its term?
//
// Raft §5.1: a higher term makes everybody a follower; a lower one is answered, so that its sender
// learns of the higher term. Exceptions, both from thesis §4.2.3 and §9.6: a PreVote never changes a
// term, and a Vote of a higher term does not while a leader is heard.
import { assert, unreachable } from '../wire/assert.ts';
import { memberOf } from './config.ts';
import {
  handlePreVote,
  handlePreVoteReply,
  handleVote,
  handleVoteReply,
  hearsLeader,
  refuseOrGrantVote,
} from './election.ts';
import { handleAppend, handleHeartbeat, handleTimeoutNow } from './follower.ts';
import { handleHeartbeatAck } from './heartbeat.ts';
import { markIdle, wakeUp } from './idle.ts';
import { isWellFormed } from './message-check.ts';
import { handleReadReply, handleReadRequest } from './read-index.ts';
import { handleAppendAck, handleAppendReject } from './replicate.ts';
import { answer, send } from './send.ts';
import type { RaftState } from './state.ts';
import { becomeFollower } from './transitions.ts';
import { MessageKind, NOBODY } from './types.ts';
import type { Message } from './types.ts';

export function receive(s: RaftState, message: Message): void {
  if (!isForMe(s, message)) return;
  if (!isWellFormed(message)) {
    s.counters.droppedMalformed++;
    return;
  }
  switch (message.kind) {
    case MessageKind.PreVote:
      doubted(s, message);
      handlePreVote(s, message);
      return;
    case MessageKind.Vote:
      receiveVote(s, message);
      return;
    case MessageKind.PreVoteReply:
    case MessageKind.VoteReply:
      receiveVoteReply(s, message);
      return;
    default:
      receiveInTerm(s, message);
  }
}

/** DESIGN §4, Identity: what names another cluster, group or replica is dropped and counted. */
function isForMe(s: RaftState, message: Message): boolean {
  const { identity, counters } = s;
  if (message.clusterId !== identity.clusterId) counters.droppedCluster++;
  else if (message.logUid !== identity.logUid) counters.droppedLog++;
  else if (message.to !== identity.replicaId || message.toNode !== identity.nodeId) counters.droppedReplica++;
  else if (!isPlausibleSender(s, message)) counters.droppedReplica++;
  else if (s.serving === 'lost') counters.droppedLost++;
  else return true;
  return false;
}

/** Senders outside the configuration are heard (thesis §4.1), but not under a member's id. */
function isPlausibleSender(s: RaftState, message: Message): boolean {
  if (message.from === s.identity.replicaId || message.from === NOBODY) return false;
  const member = memberOf(s.config, message.from);
  return member === null || member.nodeId === message.fromNode;
}

/** A member asks for votes, so it does not hear this leader: no digest stands for heartbeats now. */
function doubted(s: RaftState, message: Message): void {
  const peer = s.role === 'leader' ? s.peer(message.from) : null;
  if (peer === null) return;
  markIdle(s, peer, false);
  wakeUp(s);
}

function receiveVote(s: RaftState, message: Extract<Message, { kind: typeof MessageKind.Vote }>): void {
  doubted(s, message);
  if (message.term > s.term) {
    // Thesis §4.2.3: not while a leader is heard, unless that leader itself wants to go (§3.10).
    if (hearsLeader(s) && !message.transfer) {
      refuseOrGrantVote(s, message, false);
      return;
    }
    becomeFollower(s, message.term, NOBODY, '');
  }
  handleVote(s, message);
}

/** Counted by the term they are about: whoever refuses may be in a lower term, and stay there. */
function receiveVoteReply(
  s: RaftState,
  message: Extract<Message, { kind: typeof MessageKind.PreVoteReply | typeof MessageKind.VoteReply }>,
): void {
  if (message.term > s.term) becomeFollower(s, message.term, NOBODY, '');
  else if (message.kind === MessageKind.VoteReply) handleVoteReply(s, message);
  else handlePreVoteReply(s, message);
}

type InTerm = Exclude<
  Message,
  {
    kind:
      | typeof MessageKind.PreVote
      | typeof MessageKind.Vote
      | typeof MessageKind.PreVoteReply
      | typeof MessageKind.VoteReply;
  }
>;

function receiveInTerm(s: RaftState, message: InTerm): void {
  const ofLeader = message.kind === MessageKind.Append || message.kind === MessageKind.Heartbeat;
  if (message.term < s.term) {
    // DESIGN §4: a disruptive higher term is answered, not ignored. The old leader steps down and
    // there is an election; otherwise this replica would stay behind its higher term for ever.
    if (ofLeader) send(s, { ...answer(s, message), kind: MessageKind.HigherTerm });
    return;
  }
  if (ofLeader) {
    assert(message.term > s.term || s.role !== 'leader', 'I1: at most one leader per term');
    becomeFollower(s, message.term, message.from, message.fromNode);
  } else if (message.term > s.term) {
    becomeFollower(s, message.term, NOBODY, '');
  }
  dispatch(s, message);
}

function dispatch(s: RaftState, message: InTerm): void {
  switch (message.kind) {
    case MessageKind.Append:
      return handleAppend(s, message);
    case MessageKind.AppendAck:
      return handleAppendAck(s, message);
    case MessageKind.AppendReject:
      return handleAppendReject(s, message);
    case MessageKind.Heartbeat:
      return handleHeartbeat(s, message);
    case MessageKind.HeartbeatAck:
      return handleHeartbeatAck(s, message);
    case MessageKind.TimeoutNow:
      return handleTimeoutNow(s, message);
    case MessageKind.ReadRequest:
      return handleReadRequest(s, message);
    case MessageKind.ReadReply:
      return handleReadReply(s, message);
    case MessageKind.HigherTerm:
      return;
    default:
      return unreachable(message);
  }
}
