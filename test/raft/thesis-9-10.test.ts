// The Raft thesis, §9.6 (PreVote) and §10.2.1 (writing in parallel, pipelining), with DESIGN §4.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeat, heartbeatAck, Lone, preVote, preVoteReply, reject, vote } from './support/craft.ts';

const prevote = suite('raft/thesis §9.6 PreVote');

prevote('§9.6: a candidate raises its term only when a majority would vote for it', () => {
  const lone = new Lone({ voters: 5, log: [1], term: 1 });
  lone.timeOut();
  lone.receive(preVoteReply({ from: 2, term: 1, forTerm: 2 }));
  assert.equal([lone.node.role, lone.node.term], ['preCandidate', 1]);
  lone.receive(preVoteReply({ from: 3, term: 1, forTerm: 2 }));
  assert.equal([lone.node.role, lone.node.term], ['candidate', 2]);
});

prevote('§9.6: asking changes neither term nor vote, on either side', () => {
  const asking = new Lone({ log: [1], term: 1, vote: 3 });
  asking.timeOut();
  assert.equal(asking.replica.pendingHards, []);
  const asked = new Lone({ log: [1], term: 1 });
  asked.receive(preVote({ from: 2, term: 7, lastIndex: 1, lastTerm: 1 }));
  assert.equal(asked.replica.pendingHards, []);
  assert.equal([asked.node.term, asked.node.vote], [1, 0]);
  const [reply] = asked.sent(MessageKind.PreVoteReply);
  assert.equal([reply!.granted, reply!.forTerm, reply!.term], [true, 8, 1]);
});

prevote('§9.6: it is granted only to an up-to-date log, and by those who hear no leader', () => {
  const rows: [number, number, boolean, boolean][] = [
    [1, 1, false, true],
    [0, 0, false, false],
    [1, 1, true, false],
  ];
  for (const [lastIndex, lastTerm, hearsLeader, granted] of rows) {
    const lone = new Lone({ log: [1], term: 1 });
    if (hearsLeader) lone.receive(heartbeat({ from: 3, term: 1 }));
    lone.receive(preVote({ from: 2, term: 1, lastIndex, lastTerm }));
    assert.is(lone.sent(MessageKind.PreVoteReply)[0]!.granted, granted);
  }
});

prevote('§9.6: a leader grants none, and speaks to the asker by name again', () => {
  const lone = new Lone().leadCommitted();
  lone.receive(preVote({ from: 2, term: 1, lastIndex: 9, lastTerm: 9 }));
  assert.is(lone.sent(MessageKind.PreVoteReply)[0]!.granted, false);
});

prevote('a refused pre-candidate learns of a higher term and follows', () => {
  const lone = new Lone({ log: [1], term: 1 });
  lone.timeOut().receive(preVoteReply({ from: 2, term: 5, forTerm: 2, granted: false }));
  assert.equal([lone.node.role, lone.node.term], ['follower', 5]);
});

prevote('answers to an earlier question do not count', () => {
  const lone = new Lone({ log: [1], term: 3 });
  lone.timeOut().receive(preVoteReply({ from: 2, term: 3, forTerm: 3 }), preVoteReply({ from: 3, term: 3, forTerm: 9 }));
  assert.is(lone.node.role, 'preCandidate');
});

prevote('a majority of refusals ends it at once', () => {
  const lone = new Lone({ log: [1], term: 1 });
  lone.timeOut();
  for (const from of [2, 3]) lone.receive(preVoteReply({ from, term: 1, forTerm: 2, granted: false }));
  assert.is(lone.node.role, 'follower');
});

prevote('a pre-candidate votes for somebody who has begun a real election', () => {
  const lone = new Lone({ log: [1], term: 1 });
  lone.timeOut().receive(vote({ from: 2, term: 2, lastIndex: 1, lastTerm: 1 })).persist();
  assert.is(lone.node.role, 'follower');
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, true);
  // Also in its own term, in which it has not voted.
  const same = new Lone({ log: [1], term: 2 });
  same.timeOut().receive(vote({ from: 2, term: 2, lastIndex: 1, lastTerm: 1 })).persist();
  assert.equal([same.node.role, same.node.vote], ['follower', 2]);
});

prevote('§9.6: a server that comes back from a partition does not disturb the leader', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.partition([1, 2], [3]);
  c.run(5000);
  assert.is(c.at(3).running().term, 1, 'its term has not risen meanwhile');
  c.heal();
  c.run(1000);
  assert.equal([c.leader()!.id, c.leader()!.running().term], [1, 1]);
});

prevote('DESIGN §4: a replica with a higher term is answered for, and the group elects once', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.at(3).crash();
  c.at(3).disk.hard = { term: 9, vote: 3 };
  c.at(3).start();
  c.run(2000);
  assert.ok(c.leader()!.running().term > 9);
  const { term } = c.leader()!.running();
  c.run(3000);
  assert.is(c.leader()!.running().term, term);
  for (const replica of c.replicas) assert.is(replica.running().term, term);
});

prevote('DESIGN §4: a connection that ends lets its group campaign after one heartbeat', () => {
  const c = new Cluster({ voters: 3, random: (bound, id) => (id === 3 ? bound - 1 : 0) }).start();
  c.elect(1);
  c.run(200);
  c.at(1).crash();
  for (const id of [2, 3]) c.at(id).input((node) => node.peerReset('n1'));
  c.run(200);
  assert.is(c.leader()?.id, 2);
});

prevote('and if it was the connection only, nothing happens', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.at(2).input((node) => node.peerReset('n1'));
  c.run(3000);
  assert.equal([c.leader()!.id, c.leader()!.running().term], [1, 1]);
  assert.is(c.at(2).running().leader, 1);
});

prevote('a timeout that was cut short does not stay short under the next leader', () => {
  const lone = new Lone({ random: (bound) => bound - 1 });
  lone.receive(heartbeat({ term: 1 })).tick(50);
  lone.replica.input((node) => node.peerReset('n2'));
  lone.receive(heartbeat({ term: 1 })).tick(750);
  assert.is(lone.node.role, 'follower');
  lone.tick(50);
  assert.is(lone.node.role, 'preCandidate');
});

prevote.run();

const parallel = suite('raft/thesis §10.2.1 writing in parallel');

parallel('§10.2.1: the leader sends entries before they are on its own disk', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  assert.is(lone.node.durableIndex, 1);
  assert.equal(lone.sent(MessageKind.Append).map((m) => m.toIndex), [2, 2]);
});

parallel('the receipt of an ack names the voters that have it, not the learners', () => {
  const lone = new Lone({ voters: 3, learners: 2 }).leadCommitted();
  lone.replica.propose(1);
  lone.persist();
  for (const from of [2, 4, 5]) lone.receive(ack({ from, term: 1, match: 2 }));
  assert.equal([lone.node.commitIndex, lone.node.copies], [2, 2]);
});

parallel('§10.2.1: it counts itself only when they are', () => {
  const lone = new Lone({ voters: 3 }).leadCommitted();
  lone.replica.propose(1);
  lone.receive(ack({ from: 2, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 1);
  lone.persist();
  assert.is(lone.node.commitIndex, 2);
});

parallel('§10.2.1: a majority of followers commits an entry that the leader has not synced', () => {
  const lone = new Lone({ voters: 3 }).leadCommitted();
  lone.replica.propose(1);
  lone.receive(ack({ from: 2, term: 1, match: 2 }), ack({ from: 3, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 2);
  // But the leader itself applies only what a restart would find again.
  assert.is(lone.node.reportedIndex, 1);
  assert.is(lone.node.copies, 2);
  lone.persist();
  assert.is(lone.node.reportedIndex, 2);
  assert.is(lone.node.copies, 3);
});

parallel('§10.2.1: a follower acks when an entry is on its disk, not before', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1], commit: 2 }));
  lone.replica.persistHard();
  assert.equal(lone.sent(), []);
  assert.is(lone.node.reportedIndex, 0);
  lone.replica.persistWrite();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [2]);
  assert.is(lone.node.reportedIndex, 2);
});

parallel('§10.2.1: appends are pipelined: the next leaves before the last is acked', () => {
  const lone = new Lone().leadCommitted();
  for (let i = 0; i < 3; i++) lone.replica.propose(1);
  const toSecond = lone.sent(MessageKind.Append).filter((m) => m.to === 2);
  assert.equal(toSecond.map((m) => [m.prevIndex, m.toIndex]), [[1, 2], [2, 3], [3, 4]]);
});

parallel('all proposals of a turn share one append', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => [node.propose(1), node.propose(2), node.propose(1)]);
  assert.equal(lone.replica.writes.map(({ op }) => op.kind === 'append' && [op.from, op.to]), [[2, 5]]);
  assert.equal(lone.sent(MessageKind.Append).map((m) => [m.fromIndex, m.toIndex]), [[2, 5], [2, 5]]);
});

parallel('what is under way is bounded, in bytes and in messages', () => {
  const settings = { appendSizeMax: 250, probeSizeMax: 250, inflightSizeMax: 600, inflightCountMax: 10 };
  const lone = new Lone({ settings }).leadCommitted();
  lone.replica.propose(20);
  // Two entries of 100 bytes per append; the third append passes 600 bytes, none follows.
  const ranges = lone.sent(MessageKind.Append).filter((m) => m.to === 2).map((m) => [m.fromIndex, m.toIndex]);
  assert.equal(ranges, [[2, 3], [4, 5], [6, 7]]);
  lone.receive(ack({ from: 2, term: 1, match: 3 }));
  assert.equal(lone.sent(MessageKind.Append).map((m) => [m.fromIndex, m.toIndex]), [[8, 9]]);
  const [peer] = lone.node.peers;
  assert.equal([peer!.inflightCount, peer!.inflightSize], [3, 600]);
});

parallel('an entry larger than any bound still goes, alone', () => {
  const settings = { appendSizeMax: 250, probeSizeMax: 250, inflightSizeMax: 600, inflightCountMax: 2 };
  const lone = new Lone({ settings }).leadCommitted();
  lone.replica.entrySize = 5000;
  lone.replica.propose(3);
  const ranges = lone.sent(MessageKind.Append).filter((m) => m.to === 2).map((m) => [m.fromIndex, m.toIndex]);
  assert.equal(ranges, [[2, 2]]);
});

parallel('the number of appends under way is bounded too', () => {
  const lone = new Lone({ settings: { inflightCountMax: 4 } }).leadCommitted();
  for (let i = 0; i < 10; i++) lone.replica.propose(1);
  assert.is(lone.sent(MessageKind.Append).filter((m) => m.to === 2).length, 4);
});

parallel('a probe is one small append at a time, and goes again after a sign of life', () => {
  const lone = new Lone({ log: new Array(30).fill(1) as number[], settings: { probeSizeMax: 250 } }).lead();
  lone.receive(reject({ term: 2, prevIndex: 30, hintIndex: 10, hintTerm: 1 }));
  const [probe] = lone.sent(MessageKind.Append);
  assert.equal([probe!.fromIndex, probe!.toIndex], [11, 12]);
  lone.replica.propose(1);
  assert.equal(lone.sent(MessageKind.Append).filter((m) => m.to === 2), []);
  lone.receive(heartbeatAck({ from: 2, term: 2 }));
  assert.equal(lone.sent(MessageKind.Append), [], 'too early to think it lost');
  lone.tick(100).sent();
  lone.receive(heartbeatAck({ from: 2, term: 2 }));
  assert.equal(lone.sent(MessageKind.Append).map((m) => m.fromIndex), [11]);
  lone.receive(ack({ from: 2, term: 2, match: 12 }));
  const [rest] = lone.sent(MessageKind.Append);
  assert.equal([rest!.fromIndex, rest!.toIndex], [13, 32]);
});

parallel('a lost append in the middle: the follower refuses what follows, and all of it goes again', () => {
  const lone = new Lone().leadCommitted();
  for (let i = 0; i < 4; i++) lone.replica.propose(1);
  lone.sent();
  for (const prevIndex of [2, 3, 4]) lone.receive(reject({ from: 2, term: 1, prevIndex, hintIndex: 1, hintTerm: 1 }));
  const again = lone.sent(MessageKind.Append);
  assert.equal(again.map((m) => [m.to, m.fromIndex, m.toIndex]), [[2, 2, 5]]);
});

parallel('a connection that ends makes the follower a probe: what was under way is lost', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(3);
  lone.sent();
  lone.replica.input((node) => node.peerReset('n2'));
  assert.equal(lone.sent(MessageKind.Append).map((m) => [m.to, m.fromIndex, m.toIndex]), [[2, 2, 4]]);
});

parallel('DESIGN §4: a follower with waiting readers is told of a commit at once, the others later', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  lone.persist();
  lone.sent();
  lone.receive(ack({ from: 2, term: 1, match: 2, wantsCommit: true }));
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => [m.to, m.commitIndex]), [[2, 2]]);
  lone.receive(ack({ from: 3, term: 1, match: 2 }));
  assert.equal(lone.sent(), []);
});

parallel('a follower says in its acks whether it has waiting readers', () => {
  const lone = new Lone();
  lone.node.setWaitingReaders(true);
  const entries = entriesOf(1);
  lone.receive(append({ term: 1, entries }), heartbeat({ term: 1 })).persist();
  const said = lone.sent().map((m) => (m as { wantsCommit?: boolean }).wantsCommit);
  assert.equal(said, [true, true]);
});

parallel.run();
