// The Raft thesis, §3.10 (leadership transfer), with what DESIGN §4 adds: hand-over on stepping down.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, append, heartbeat, heartbeatAck, Lone, preVote, timeoutNow, vote } from './support/craft.ts';

const test = suite('raft/thesis §3.10 leadership transfer');

test('§3.10: the prior leader stops accepting proposals', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  assert.is(lone.node.transferLeadership(2), null);
  assert.not(lone.node.takesProposals);
  assert.is(lone.replica.propose(1), 0);
  assert.is(lone.node.lastIndex, 2);
});

test('§3.10: it brings the target’s log up to its own first, then sends TimeoutNow', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  lone.persist().replica.input((node) => node.transferLeadership(2));
  assert.equal(lone.sent(MessageKind.TimeoutNow), []);
  lone.receive(ack({ from: 3, term: 1, match: 2 }));
  assert.equal(lone.sent(MessageKind.TimeoutNow), []);
  lone.receive(ack({ from: 2, term: 1, match: 2 }));
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [2]);
});

test('§3.10: a target that has everything is told at once', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.transferLeadership(3));
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [3]);
});

test('§3.10: TimeoutNow starts an election at once, without asking first (§9.6)', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(heartbeat({ term: 1 }), timeoutNow({ term: 1 }));
  assert.is(lone.node.role, 'candidate');
  assert.is(lone.node.term, 2);
  lone.persist();
  const asked = lone.sent(MessageKind.Vote);
  assert.ok(asked.length === 2 && asked.every((m) => m.transfer));
});

test('§3.10: TimeoutNow of anybody but the leader is not obeyed', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(heartbeat({ from: 2, term: 1 }), timeoutNow({ from: 3, term: 1 }));
  assert.is(lone.node.role, 'follower');
});

test('§4.2.3: a vote for a transfer is given although a leader is still heard', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(heartbeat({ from: 2, term: 1 }), vote({ from: 3, term: 2, lastIndex: 1, lastTerm: 1, transfer: true }));
  lone.persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, true);
});

test('§3.10: if it is not done within an election timeout, the leader takes proposals again', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  lone.replica.input((node) => node.transferLeadership(2));
  for (let i = 0; i < 8; i++) {
    assert.is(lone.replica.propose(1), 0);
    lone.tick(50).receive(heartbeatAck({ from: 3, term: 1 }));
  }
  assert.is(lone.replica.propose(1), 3);
});

test('transfer goes to voters only, to living ones, and to one at a time', () => {
  const lone = new Lone({ learners: 1 }).leadCommitted();
  assert.is(lone.node.transferLeadership(4), 'not_voter');
  assert.is(lone.node.transferLeadership(9), 'not_voter');
  assert.is(lone.node.transferLeadership(1), 'already_leader');
  for (let i = 0; i < 8; i++) lone.tick(50).receive(heartbeatAck({ from: 2, term: 1 }));
  assert.is(lone.node.transferLeadership(3), 'target_not_alive');
  assert.is(lone.node.transferLeadership(2), null);
  assert.is(lone.node.transferLeadership(3), 'in_progress');
  assert.is(new Lone().node.transferLeadership(2), 'not_leader');
});

test('transfer to anybody picks the voter with the longest log', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(2);
  lone.persist().receive(ack({ from: 3, term: 1, match: 3 }));
  lone.sent();
  lone.replica.input((node) => node.transferLeadership(0));
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [3]);
});

test('neither a learner nor a silent voter is an heir, however long its log', () => {
  const lone = new Lone({ voters: 4, learners: 1 }).leadCommitted();
  lone.replica.propose(3);
  lone.receive(ack({ from: 4, term: 1, match: 4 }));
  for (let i = 0; i < 8; i++) lone.tick(50).receive(heartbeatAck({ from: 2, term: 1 }), heartbeatAck({ from: 3, term: 1 }));
  lone.receive(ack({ from: 5, term: 1, match: 4 }), ack({ from: 3, term: 1, match: 2 }));
  lone.sent();
  lone.replica.input((node) => node.setServing('stopped'));
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [3]);
});

test('with nobody alive to take over, a leader just steps down', () => {
  const lone = new Lone({ voters: 2 }).leadCommitted();
  lone.tick(350).sent();
  lone.tick(50).sent();
  assert.is(lone.node.role, 'follower');
  const learner = new Lone({ voters: 1, learners: 1 });
  learner.persist().receive(ack({ term: 1, match: 1 }));
  learner.sent();
  learner.replica.input((node) => node.setServing('stopped'));
  assert.equal(learner.sent(), []);
});

test('a transfer in a running cluster moves leadership without a timeout', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.at(1).propose(5);
  c.at(1).input((node) => node.transferLeadership(3));
  c.settle();
  assert.is(c.leader()!.id, 3);
  assert.is(c.leader()!.running().term, 2);
  c.run(200);
  for (const replica of c.replicas) assert.is(replica.state.length, 5);
});

test('a leader that can no longer serve steps down and hands over, and does not campaign', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.at(1).input((node) => node.setServing('stopped'));
  assert.is(c.at(1).running().role, 'follower');
  c.settle();
  assert.is(c.leader()!.id, 2);
  c.at(2).crash();
  c.at(3).crash();
  c.run(3000);
  assert.is(c.at(1).running().role, 'follower');
});

test('a stopped replica promises nothing more: it neither acks nor votes', () => {
  const lone = new Lone({ log: [1], serving: 'stopped' });
  lone.receive(append({ term: 1, prev: [1, 1], terms: [1], commit: 2 }), heartbeat({ term: 1, commit: 1 }));
  assert.is(lone.node.lastIndex, 1);
  assert.equal(lone.sent(), []);
  lone.timeOut().receive(vote({ from: 3, term: 2, lastIndex: 1, lastTerm: 1 })).persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, false);
  lone.receive(preVote({ from: 3, term: 2, lastIndex: 1, lastTerm: 1 }));
  assert.is(lone.sent(MessageKind.PreVoteReply)[0]!.granted, false);
});

test('a stopped replica acks nothing more, not even what ends late', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1] }));
  lone.node.setServing('stopped');
  lone.persist();
  assert.equal(lone.sent(MessageKind.AppendAck), []);
});

test('a candidate that can no longer serve gives up', () => {
  const lone = new Lone();
  lone.timeOut();
  assert.is(lone.node.role, 'preCandidate');
  lone.node.setServing('stopped');
  assert.is(lone.node.role, 'follower');
});

test.run();
