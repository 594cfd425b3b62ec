// DESIGN §4: completions carry (index, term, generation); nothing is promised before it is on disk (I3).
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { append, entriesOf, heartbeat, Lone, preVote, preVoteReply, vote, voteReply } from './support/craft.ts';

const test = suite('raft/durability');

test('ABA: a completion of truncated entries says nothing about those that took their place', () => {
  const lone = new Lone();
  lone.receive(append({ from: 2, term: 1, terms: [1, 1, 1] }));
  lone.receive(append({ from: 3, term: 2, terms: [2, 2, 2] }));
  lone.replica.persistHard();
  lone.replica.persistHard();
  lone.sent();
  // The first write ends: entries 1–3 of term 1 are on disk, but no longer in the log.
  lone.replica.persistWrite();
  assert.is(lone.node.durableIndex, 0);
  assert.is(lone.node.counters.staleCompletions, 1);
  assert.equal(lone.sent(), []);
  lone.persist();
  assert.is(lone.node.durableIndex, 3);
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => [m.to, m.match]), [[3, 3]]);
});

test('ABA: not even when the same entries came back: the generation differs', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1);
  lone.receive(append({ from: 2, term: 1, entries }));
  lone.receive(append({ from: 3, term: 2, terms: [2] }));
  lone.receive(append({ from: 2, term: 3, entries, prev: [0, 0] }));
  assert.equal(lone.terms(), [1, 1]);
  assert.is(lone.node.persisted(2, 1, 1), false);
  assert.is(lone.node.durableIndex, 0);
  assert.is(lone.node.persisted(2, 1, lone.node.generation), true);
});

test('a completion counts for entries that stayed, whoever leads meanwhile', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1);
  lone.receive(append({ from: 2, term: 1, entries }));
  lone.receive(append({ from: 3, term: 2, prev: [2, 1] }));
  assert.is(lone.node.persisted(2, 1, 1), true);
});

test('completions may come late and twice', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(3);
  const { generation } = lone.node;
  assert.ok(lone.node.persisted(4, 1, generation));
  assert.ok(lone.node.persisted(2, 1, generation));
  assert.ok(lone.node.persisted(4, 1, generation));
  assert.is(lone.node.durableIndex, 4);
});

test('a hard state counts by its own sequence: an older completion releases nothing newer', () => {
  const lone = new Lone();
  lone.receive(vote({ from: 2, term: 1 }), vote({ from: 3, term: 2 }));
  lone.replica.persistHard();
  assert.equal(lone.replica.disk.hard, { term: 1, vote: 2 });
  assert.equal(lone.sent(), [], 'the vote of term 1 is of no use any more, that of term 2 is not on disk');
  lone.persist();
  assert.equal(lone.sent(MessageKind.VoteReply).map((m) => [m.to, m.term, m.granted]), [[3, 2, true]]);
  assert.throws(() => lone.node.hardStatePersisted(99), /given out/);
});

test('I3: nothing at all leaves while the newest term is not on disk', () => {
  const lone = new Lone({ log: [1] });
  const entries = entriesOf(1);
  lone.receive(
    heartbeat({ from: 2, term: 4 }),
    append({ from: 2, term: 4, prev: [1, 1], entries }),
    append({ from: 2, term: 4, prev: [7, 4] }),
    preVote({ from: 3, term: 3 }),
    heartbeat({ from: 3, term: 3 }),
  );
  assert.equal(lone.sent(), []);
  lone.replica.persistHard();
  const kinds = lone.sent().map((m) => m.kind);
  const { HeartbeatAck, AppendReject, PreVoteReply, HigherTerm } = MessageKind;
  assert.equal(kinds, [HeartbeatAck, AppendReject, PreVoteReply, HigherTerm]);
});

test('I3: a candidate’s own vote counts when it is on disk; the others may be faster', () => {
  const lone = new Lone({ log: [1], term: 1 });
  lone.timeOut();
  lone.receive(preVoteReply({ from: 2, term: 1, forTerm: 2 }));
  lone.receive(voteReply({ from: 2, term: 2 }), voteReply({ from: 3, term: 2 }));
  assert.is(lone.node.role, 'candidate');
  lone.replica.persistHard();
  assert.is(lone.node.role, 'leader');
});

test('a vote request leaves only when its term is used up: a crash cannot elect the shorter log', () => {
  // Replica 1 asks for votes with an unsynced tail, crashes, and loses it.
  const lone = new Lone({ log: [1], term: 1 });
  lone.receive(append({ from: 2, term: 1, prev: [1, 1], terms: [1, 1] }));
  lone.tick(800);
  lone.receive(preVoteReply({ from: 3, term: 1, forTerm: 2 }));
  assert.equal(lone.sent(MessageKind.Vote), []);
  lone.replica.persistHard();
  assert.equal(lone.sent(MessageKind.Vote).map((m) => m.lastIndex), [3, 3]);
  lone.replica.crash();
  lone.replica.start();
  lone.timeOut().receive(preVoteReply({ from: 3, term: 2, forTerm: 3 }));
  assert.is(lone.node.term, 3, 'votes for term 2 are worth nothing now');
  lone.persist().receive(voteReply({ from: 2, term: 2 }));
  assert.is(lone.node.role, 'candidate');
});

test('a disk slower than the election timeout does not raise the term again and again', () => {
  for (const voters of [1, 3]) {
    const lone = new Lone({ voters, log: [1], term: 1 });
    lone.timeOut();
    if (voters > 1) lone.receive(preVoteReply({ from: 2, term: 1, forTerm: 2 }));
    lone.timeOut().timeOut();
    assert.equal([lone.node.role, lone.node.term], ['candidate', 2]);
    lone.persist();
    assert.is(lone.node.role, voters === 1 ? 'leader' : 'candidate');
  }
});

test('a group of one: term and vote are on disk before it leads, entries before they commit', () => {
  const c = new Cluster({ voters: 1 }).start();
  const one = c.at(1);
  assert.equal([one.running().role, one.running().term], ['candidate', 1]);
  assert.is(one.propose(1), 0);
  one.persistHard();
  assert.equal([one.running().role, one.running().commitIndex], ['leader', 0]);
  one.propose(100);
  assert.is(one.running().commitIndex, 0);
  one.persist();
  assert.is(one.running().reportedIndex, 101);
  one.crash();
  one.start();
  one.persist();
  assert.equal([one.running().role, one.running().term], ['leader', 2], 'each start raises the term');
  assert.equal(one.state.length, 100);
});

test('a restarted replica acks nothing that the crash took', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1, 1] }));
  lone.replica.persistHard();
  lone.replica.crash();
  lone.replica.start();
  lone.receive(append({ term: 1, prev: [3, 1] }));
  const [reply] = lone.sent();
  assert.is(reply!.kind, MessageKind.AppendReject);
});

test('a crash between the write and its completion loses nothing: what is on disk is in the log', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1] }));
  lone.replica.crash(1, 1);
  lone.replica.start();
  assert.equal([lone.node.term, lone.node.lastIndex, lone.node.durableIndex], [1, 2, 2]);
});

test.run();
