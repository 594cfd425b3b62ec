// The Raft thesis, chapter 6: stepping down without a quorum (§6.2), linearizable reads (§6.4).
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, heartbeat, heartbeatAck, Lone, readReply, readRequest } from './support/craft.ts';

const test = suite('raft/thesis §6 clients');

test('§6.2: a leader steps down if an election timeout passes without a majority being heard', () => {
  const lone = new Lone({ voters: 5 }).leadCommitted();
  for (let i = 0; i < 20; i++) {
    lone.tick(50).receive(heartbeatAck({ from: 2, term: 1 }), heartbeatAck({ from: 3, term: 1 }));
    assert.is(lone.node.role, 'leader');
  }
  for (let i = 0; i < 7; i++) lone.tick(50).receive(heartbeatAck({ from: 2, term: 1 }));
  assert.is(lone.node.role, 'leader');
  lone.tick(50);
  assert.is(lone.node.role, 'follower');
  assert.is(lone.node.term, 1);
});

test('§6.2: a leader that has lost its quorum hands over to nobody: there may be a newer one', () => {
  const lone = new Lone({ voters: 5 }).leadCommitted();
  for (let i = 0; i < 8; i++) lone.tick(50).receive(heartbeatAck({ from: 2, term: 1 }));
  assert.is(lone.node.role, 'follower');
  assert.equal(lone.sent(MessageKind.TimeoutNow), []);
});

test('§6.2: learners do not count for that', () => {
  const lone = new Lone({ voters: 3, learners: 2 }).leadCommitted();
  for (let i = 0; i < 8; i++) lone.tick(50).receive(heartbeatAck({ from: 4, term: 1 }), heartbeatAck({ from: 5, term: 1 }));
  assert.is(lone.node.role, 'follower');
});

test('§6.2: after a pause, all of the real time counts for stepping down (DESIGN §4)', () => {
  const lone = new Lone().leadCommitted();
  lone.tick(1000, 1000);
  assert.is(lone.node.role, 'follower');
  assert.equal(lone.sent(MessageKind.TimeoutNow), [], 'there may be another leader by now: no hand-over');
});

test('DESIGN §4: for starting an election a late tick counts as one', () => {
  const lone = new Lone({ random: () => 0 });
  lone.receive(heartbeat({ term: 1 }));
  lone.tick(7000, 1000);
  assert.is(lone.node.role, 'follower');
  lone.tick(1000, 1000);
  assert.is(lone.node.role, 'preCandidate');
});

test('a sole voter never steps down for want of others', () => {
  const lone = new Lone({ voters: 1, learners: 1 });
  lone.persist().tick(10_000, 1000);
  assert.is(lone.node.role, 'leader');
});

test('§6.4 step 1: a new leader answers no read before an entry of its term is committed', () => {
  const lone = new Lone({ log: [1, 1], commit: 1 }).lead();
  assert.is(lone.replica.input((node) => node.requestRead()), 1);
  lone.receive(heartbeatAck({ from: 2, term: 2, readRound: 1 }));
  assert.equal(lone.replica.reads, []);
  lone.receive(ack({ from: 2, term: 2, match: 3 }));
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.readRound), [1, 1]);
  lone.receive(heartbeatAck({ from: 2, term: 2, readRound: 1 }));
  assert.equal(lone.replica.reads, [{ sequence: 1, index: 3 }]);
});

test('§6.4 steps 2–3: the commit index is noted, then a round of heartbeats confirms leadership', () => {
  const lone = new Lone({ voters: 5 }).leadCommitted();
  lone.replica.input((node) => node.requestRead());
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => [m.to, m.readRound]), [[2, 1], [3, 1], [4, 1], [5, 1]]);
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 1 }));
  assert.equal(lone.replica.reads, []);
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 1 }));
  assert.equal(lone.replica.reads, [], 'the same follower twice is one');
  lone.receive(heartbeatAck({ from: 3, term: 1, readRound: 1 }));
  assert.equal(lone.replica.reads, [{ sequence: 1, index: 1 }]);
});

test('§6.4: an ack to a heartbeat before the read confirms nothing', () => {
  const lone = new Lone().leadCommitted();
  lone.tick(100).replica.input((node) => node.requestRead());
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 0 }), heartbeatAck({ from: 3, term: 1, readRound: 0 }));
  assert.equal(lone.replica.reads, []);
});

test('§6.4: acks of learners confirm nothing', () => {
  const lone = new Lone({ voters: 3, learners: 2 }).leadCommitted();
  lone.replica.input((node) => node.requestRead());
  for (const from of [4, 5]) lone.receive(heartbeatAck({ from, term: 1, readRound: 1 }));
  assert.equal(lone.replica.reads, []);
});

test('§6.4: reads that come during a round share the next one', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.requestRead());
  lone.sent();
  lone.replica.propose(1);
  lone.persist().receive(ack({ from: 2, term: 1, match: 2 }));
  for (let i = 0; i < 5; i++) lone.replica.input((node) => node.requestRead());
  assert.equal(lone.sent(MessageKind.Heartbeat), []);
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 1 }));
  assert.equal(lone.replica.reads, [{ sequence: 1, index: 1 }]);
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.readRound), [2, 2]);
  lone.receive(heartbeatAck({ from: 3, term: 1, readRound: 2 }));
  assert.equal(lone.replica.reads.at(-1), { sequence: 6, index: 2 });
});

test('a lost round is sent again with the next heartbeat', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.requestRead());
  lone.sent();
  lone.tick(100);
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.readRound), [1, 1]);
});

test('§6.4: a group of one confirms a read by itself', () => {
  const lone = new Lone({ voters: 1 });
  lone.replica.input((node) => node.requestRead());
  assert.equal(lone.replica.reads, []);
  lone.persist();
  assert.is(lone.replica.input((node) => node.requestRead()), 1, 'only a leader takes reads');
  assert.equal(lone.replica.reads, [{ sequence: 1, index: 1 }]);
});

test('reads fail when leadership ends, and late acks confirm none of them', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.requestRead());
  lone.receive(heartbeat({ from: 2, term: 2 }));
  assert.is(lone.replica.readsFailedTo, 1);
  lone.receive(heartbeatAck({ from: 3, term: 1, readRound: 1 }), heartbeatAck({ from: 3, term: 2, readRound: 1 }));
  assert.equal(lone.replica.reads, []);
});

test('reads that were failed stay failed when the same replica leads again', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.requestRead());
  lone.receive(heartbeat({ from: 2, term: 2 }));
  lone.tick(1000).lead().ackAll();
  assert.is(lone.node.role, 'leader');
  lone.receive(heartbeatAck({ from: 2, term: 3, readRound: 1 }), heartbeatAck({ from: 3, term: 3, readRound: 1 }));
  assert.equal(lone.replica.reads, []);
  assert.is(lone.replica.input((node) => node.requestRead()), 2);
  lone.receive(heartbeatAck({ from: 2, term: 3, readRound: 2 }));
  assert.equal(lone.replica.reads, [{ sequence: 2, index: 2 }]);
});

test('a round that leadership ended under does not stay open for the next time', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.requestRead());
  lone.receive(heartbeat({ from: 2, term: 2 }));
  lone.tick(1000).lead().ackAll().sent();
  lone.replica.input((node) => node.requestRead());
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.readRound), [2, 2]);
});

test('nobody to ask: a read is refused at once', () => {
  assert.is(new Lone().node.requestRead(), 0);
  const stopped = new Lone({ serving: 'stopped' });
  stopped.receive(heartbeat({ term: 1 }));
  assert.is(stopped.node.requestRead(), 0);
});

test('§6.4: a follower asks the leader for an index, once per turn for all its reads', () => {
  const lone = new Lone();
  lone.receive(heartbeat({ term: 1 })).persist();
  lone.replica.input((node) => [node.requestRead(), node.requestRead()]);
  assert.equal(lone.sent(MessageKind.ReadRequest).map((m) => [m.to, m.sequence]), [[2, 2]]);
  lone.receive(readReply({ term: 1, sequence: 2, index: 0 }));
  assert.equal(lone.replica.reads, [{ sequence: 2, index: 0 }]);
});

test('a follower asks again after a heartbeat interval, until it has an answer', () => {
  const lone = new Lone();
  lone.receive(heartbeat({ term: 1 })).persist();
  lone.replica.input((node) => node.requestRead());
  lone.sent();
  lone.receive(heartbeat({ term: 1, readRound: 1 }));
  assert.equal(lone.sent(MessageKind.ReadRequest), [], 'this may be the round that answers it');
  lone.tick(100).receive(heartbeat({ term: 1 }));
  assert.equal(lone.sent(MessageKind.ReadRequest).map((m) => m.sequence), [1]);
  lone.tick(100).receive(readReply({ term: 1, sequence: 1, index: 0 }), heartbeat({ term: 1 }));
  assert.equal(lone.sent(MessageKind.ReadRequest), []);
});

test('§6.4: the leader answers a follower’s read after its round, as its own', () => {
  const lone = new Lone().leadCommitted();
  lone.receive(readRequest({ from: 3, term: 1, sequence: 7 }));
  assert.equal(lone.sent(MessageKind.ReadReply), []);
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 1 }));
  assert.equal(lone.sent(MessageKind.ReadReply).map((m) => [m.to, m.sequence, m.index]), [[3, 7, 1]]);
});

test('a follower’s reads fail when its leader changes or is lost', () => {
  const lone = new Lone();
  lone.receive(heartbeat({ term: 1 }));
  lone.replica.input((node) => node.requestRead());
  lone.receive(heartbeat({ from: 3, term: 2 }));
  assert.is(lone.replica.readsFailedTo, 1);
  lone.receive(readReply({ from: 2, term: 1, sequence: 1, index: 0 }));
  assert.equal(lone.replica.reads, []);
});

test('a reply to an earlier process of the same replica answers nothing', () => {
  const lone = new Lone();
  lone.replica.crash();
  lone.replica.start();
  lone.receive(heartbeat({ term: 1 }));
  lone.replica.input((node) => node.requestRead());
  lone.receive(readReply({ term: 1, sequence: 1, index: 0, incarnation: 1 }));
  assert.equal(lone.replica.reads, []);
  lone.receive(readReply({ term: 1, sequence: 1, index: 0, incarnation: 2 }));
  assert.equal(lone.replica.reads, [{ sequence: 1, index: 0 }]);
});

test('a restarted follower’s reads are not taken for those of the process before', () => {
  const lone = new Lone().leadCommitted();
  lone.receive(readRequest({ from: 3, term: 1, sequence: 70, incarnation: 1 }));
  lone.receive(readRequest({ from: 3, term: 1, sequence: 1, incarnation: 2 }));
  lone.receive(readRequest({ from: 3, term: 1, sequence: 70, incarnation: 1 }));
  lone.receive(heartbeatAck({ from: 2, term: 1, readRound: 1 }), heartbeatAck({ from: 2, term: 1, readRound: 2 }));
  const replies = lone.sent(MessageKind.ReadReply);
  assert.equal(replies.map((m) => [m.sequence, m.incarnation]), [[1, 2]]);
});

test('§6.4: a cut-off leader answers no read although it has not stepped down yet', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.partition([1], [2, 3]);
  c.elect(2);
  c.at(2).propose(1);
  c.settle();
  assert.is(c.at(2).running().commitIndex, 3);
  // Elections by hand: no time has passed, and both 1 and 2 believe that they lead.
  c.at(1).input((node) => node.requestRead());
  c.settle();
  assert.equal(c.at(1).reads, []);
});

test.run();
