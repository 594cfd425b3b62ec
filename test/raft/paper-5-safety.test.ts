// The Raft paper (extended version), §5.4 and §8, first half: who may lead, what may be committed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeat, Lone, vote } from './support/craft.ts';

const test = suite('raft/paper §5.4 safety');

test('§5.4.1: a voter denies its vote if its own log is more up to date', () => {
  // [own log, candidate's last index, candidate's last term, granted]
  const rows: [number[], number, number, boolean][] = [
    [[1], 1, 1, true],
    [[1], 2, 1, true],
    [[1, 1], 1, 1, false],
    [[1], 1, 2, true],
    [[1, 1, 1], 1, 2, true],
    [[2], 1, 1, false],
    [[2], 9, 1, false],
    [[1, 2], 2, 2, true],
    [[], 0, 0, true],
    [[1], 0, 0, false],
  ];
  for (const [log, lastIndex, lastTerm, granted] of rows) {
    const lone = new Lone({ log, term: 3 });
    lone.receive(vote({ term: 4, lastIndex, lastTerm })).persist();
    assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, granted, `${log} against ${lastIndex}/${lastTerm}`);
  }
});

test('§5.4.1: what counts is the whole log, also what is not on disk yet', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1] }));
  lone.timeOut().receive(vote({ from: 3, term: 2, lastIndex: 1, lastTerm: 1 })).persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, false);
});

test('§5.4.2: a leader does not commit an entry of an older term by counting replicas', () => {
  const lone = new Lone({ log: [1, 2, 2], voters: 3 }).lead();
  lone.receive(ack({ term: 3, match: 3 }));
  assert.is(lone.node.commitIndex, 0);
  lone.receive(ack({ term: 3, match: 4 }));
  assert.is(lone.node.commitIndex, 4);
});

test('§5.4.2, figure 8 (c): S1 leads again and brings entry 2 to a majority; it commits nothing', () => {
  const lone = new Lone({ voters: 5, log: [1, 2], term: 3 }).lead();
  lone.receive(ack({ from: 2, term: 4, match: 2 }), ack({ from: 3, term: 4, match: 2 }));
  assert.is(lone.node.commitIndex, 0);
});

test('§5.4.2, figure 8 (d): with good reason, as S5 may still win and overwrite entry 2', () => {
  const c = new Cluster({ voters: 5 });
  const [first, second, third, noop] = entriesOf(1, 2, 3, 4);
  for (const id of [1, 2, 3, 4, 5]) c.at(id).disk.entries = [first!];
  for (const id of [1, 2, 3]) c.at(id).disk.entries.push(second!);
  c.at(1).disk.entries.push(noop!);
  c.at(5).disk.entries.push(third!);
  for (const id of [1, 2, 3, 4, 5]) c.at(id).disk.hard = { term: id < 4 ? 4 : 3, vote: 0 };
  for (const id of [2, 3, 4, 5]) c.at(id).start();
  // Its first campaign is for term 4, which S2 and S3 know already; the second one wins.
  c.at(5).input((node) => node.campaign());
  c.settle();
  c.elect(5);
  c.run(300);
  for (const id of [2, 3, 4]) assert.is(c.at(id).entryAt(2), third);
});

test('§5.4.2, figure 8 (e): with an entry of its own term on a majority, S5 can never win', () => {
  const c = new Cluster({ voters: 5 });
  const [first, second, third] = entriesOf(1, 2, 3);
  for (const id of [1, 2, 3, 4, 5]) c.at(id).disk.entries = [first!];
  for (const id of [1, 2]) c.at(id).disk.entries.push(second!);
  c.at(5).disk.entries.push(third!);
  for (const replica of c.replicas) replica.disk.hard = { term: 3, vote: 0 };
  c.start();
  c.partition([1, 2, 3], [4, 5]);
  c.elect(1);
  assert.is(c.at(1).running().commitIndex, 3);
  c.at(1).crash();
  c.partition([2, 3, 4, 5], [1]);
  c.run(3000);
  assert.ok([2, 3].includes(c.leader()!.id));
});

test('§5.4.3: every later leader holds what was committed (the checkers compare at each election)', () => {
  const c = new Cluster({ voters: 3 }).start();
  for (let round = 0; round < 12; round++) {
    c.run(1500);
    c.leader()!.propose(2);
    if (round % 2 === 0) c.settle();
    for (const replica of c.replicas) c.forgetLeader(replica);
  }
  assert.ok(c.checkers.committedIndex() > 12);
});

test('§8: a leader opens its term with a no-op, to find out what is committed', () => {
  const lone = new Lone({ log: [1, 1] });
  lone.timeOut().sent();
  lone.lead();
  assert.equal(lone.terms(), [1, 1, 2]);
  assert.is(lone.replica.entries.at(-1)!.kind, 'noop');
});

test('I1: two leaders in one term are a broken invariant, not a message to ignore', () => {
  const leader = new Lone().lead();
  assert.throws(() => leader.receive(heartbeat({ term: leader.node.term })), /I1/);
  const follower = new Lone().receive(heartbeat({ from: 2, term: 1 }));
  assert.throws(() => follower.receive(heartbeat({ from: 3, term: 1 })), /I1/);
});

test('I4: a leader that contradicts what is committed is a broken invariant', () => {
  const lone = new Lone({ log: [1, 1, 1], commit: 3, term: 2 });
  lone.receive(append({ term: 2, prev: [1, 1], terms: [1, 1, 2] }));
  assert.is(lone.node.lastIndex, 4);
  // Committed entries are skipped, never compared: nothing of them can be truncated.
  const other = new Lone({ log: [1, 1, 1], commit: 3, term: 2 });
  other.receive(append({ term: 2, prev: [1, 1], terms: [2] }));
  assert.equal(other.terms(), [1, 1, 1]);
});

test('I6: what is applied was committed, and what is compacted away was applied', () => {
  const lone = new Lone({ log: [1, 1, 1], commit: 2 });
  assert.is(lone.node.reportedIndex, 2);
  assert.throws(() => lone.node.applied(3), /I6/);
  assert.throws(() => lone.node.logTrimmed(4), /I6/);
});

test('I6: a log that is shorter than its commit index is refused at start', () => {
  const lone = new Lone({ log: [1] });
  lone.replica.crash();
  lone.replica.disk.commitMark = 2;
  assert.throws(() => lone.replica.start(), /I6/);
});

test.run();
