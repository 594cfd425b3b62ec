// The Raft paper (extended version), §5.3 and §5.5: log replication, consistency check, retries.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeat, heartbeatAck, Lone, preVoteReply, reject } from './support/craft.ts';

const test = suite('raft/paper §5.3 replication');

test('§5.3: the leader appends a proposal to its log and sends it to all others in parallel', () => {
  const lone = new Lone().leadCommitted();
  assert.is(lone.replica.propose(2), 2);
  const appends = lone.sent(MessageKind.Append);
  assert.equal(appends.map((m) => [m.to, m.prevIndex, m.fromIndex, m.toIndex]), [[2, 1, 2, 3], [3, 1, 2, 3]]);
  assert.equal(appends[0]!.runs, [{ fromIndex: 2, term: 1 }]);
});

test('§5.3: followers do not take proposals', () => {
  const lone = new Lone();
  assert.is(lone.replica.propose(1), 0);
  assert.is(lone.node.lastIndex, 0);
});

test('§5.3: an entry is committed once the leader has it on a majority of the servers', () => {
  for (const [voters, acks] of [[1, 0], [2, 1], [3, 1], [4, 2], [5, 2]] as const) {
    const lone = new Lone({ voters });
    if (voters === 1) lone.persist();
    else lone.leadCommitted();
    const index = lone.replica.propose(1);
    lone.persist();
    for (let from = 2; from < 2 + acks; from++) {
      assert.is(lone.node.commitIndex, index - 1);
      lone.receive(ack({ from, term: 1, match: index }));
    }
    assert.is(lone.node.commitIndex, index);
    assert.is(lone.node.copies, acks + 1);
  }
});

test('§5.3: this also commits all entries before it, of earlier leaders too', () => {
  const lone = new Lone({ log: [1, 2, 2] }).lead();
  assert.is(lone.node.commitIndex, 0);
  lone.receive(ack({ term: 3, match: 4 }));
  assert.is(lone.node.commitIndex, 4);
  assert.is(lone.replica.state.length, 3);
});

test('§5.3: the leader names what is committed in its messages, and followers apply it, in order', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1, 1);
  lone.receive(append({ term: 1, entries, commit: 2 })).persist();
  assert.equal(lone.replica.state, [entries[0]!.id, entries[1]!.id]);
  lone.receive(heartbeat({ term: 1, commit: 3 }));
  assert.equal(lone.replica.state, entries.map((entry) => entry.id));
});

test('§5.3: a follower commits no further than its log is known to agree', () => {
  // Entries 2 and 3 are of a deposed leader; the new one has confirmed entry 1 only.
  const lone = new Lone({ log: [1, 2, 2], term: 3 });
  lone.receive(append({ term: 3, prev: [1, 1], commit: 3 }));
  assert.is(lone.node.commitIndex, 1);
});

test('§5.3: the leader retries until all followers have everything, even after the commit', () => {
  const lone = new Lone({ voters: 3 }).leadCommitted();
  lone.replica.propose(1);
  lone.persist().receive(ack({ from: 2, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 2);
  lone.sent();
  // Replica 3 is alive but silent about entry 2: it is asked, denies, and gets it again.
  for (let i = 0; i < 3; i++) {
    lone.tick(100).receive(heartbeatAck({ from: 2, term: 1 }), heartbeatAck({ from: 3, term: 1 }));
  }
  const asked = lone.sent(MessageKind.Append).filter((m) => m.to === 3);
  assert.ok(asked.length > 0);
  lone.receive(reject({ from: 3, term: 1, prevIndex: 2, hintIndex: 1, hintTerm: 1 }));
  const [again] = lone.sent(MessageKind.Append);
  assert.equal([again!.to, again!.fromIndex, again!.toIndex], [3, 2, 2]);
});

test('§5.3: a leader creates at most one entry with an index in its term and never moves entries', () => {
  const lone = new Lone({ log: [1, 1] }).lead();
  assert.is(lone.replica.propose(3), 4);
  assert.is(lone.replica.propose(1), 7);
  assert.equal(lone.terms(), [1, 1, 2, 2, 2, 2, 2]);
});

test('§5.3: an Append names the entry before; a follower that lacks it refuses', () => {
  for (const [prev, accepts] of [[[0, 0], true], [[1, 1], true], [[2, 2], true], [[2, 1], false], [[3, 2], false]] as const) {
    const lone = new Lone({ log: [1, 2], term: 3 });
    lone.receive(append({ term: 3, prev })).persist();
    const [reply] = lone.sent();
    assert.is(reply!.kind, accepts ? MessageKind.AppendAck : MessageKind.AppendReject);
  }
});

test('§5.3: followers overwrite what conflicts with the leader, and only that', () => {
  const rows: [number[], [number, number], number[], number[]][] = [
    [[1, 2], [2, 2], [3], [1, 2, 3]],
    [[1, 2], [1, 1], [3, 4], [1, 3, 4]],
    [[1, 2], [0, 0], [1], [1, 2]],
    [[1, 2], [0, 0], [3], [3]],
    [[1, 1, 2, 2, 3], [2, 1], [2, 2, 4], [1, 1, 2, 2, 4]],
    [[1, 1, 2, 2, 3], [2, 1], [2], [1, 1, 2, 2, 3]],
    [[], [0, 0], [1, 1], [1, 1]],
  ];
  for (const [log, prev, terms, expected] of rows) {
    const lone = new Lone({ log, term: 5 });
    lone.receive(append({ term: 5, prev, terms })).persist();
    assert.equal(lone.terms(), expected);
    assert.equal(lone.replica.disk.entries.map((entry) => entry.term), expected);
  }
});

test('§5.3: a truncation is on disk before what replaces it is acked', () => {
  const lone = new Lone({ log: [1, 2, 2], term: 3 });
  lone.receive(append({ term: 3, prev: [1, 1], terms: [3] }));
  assert.equal(lone.replica.writes.map(({ op }) => op.kind), ['truncate', 'append']);
  assert.equal(lone.sent(), []);
  lone.persist();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [2]);
});

test('§5.3: a new leader begins with the entry after its own last one, for every follower', () => {
  const lone = new Lone({ log: [1, 1, 1] });
  lone.replica.input((node) => node.campaign());
  lone.lead();
  assert.equal(lone.node.peers.map((peer) => peer.next), [4, 4]);
});

test('§5.3: after a refusal the leader tries again further down, a whole term per round', () => {
  // Leader: 1 ×3, 4 ×4, then its no-op (5). Follower: 1 ×3, 2 ×3, 3 ×2.
  const leader = new Lone({ log: [1, 1, 1, 4, 4, 4, 4] });
  leader.replica.input((node) => node.campaign());
  leader.lead();
  leader.receive(reject({ term: 5, prevIndex: 7, hintIndex: 6, hintTerm: 2 }));
  const [probe] = leader.sent(MessageKind.Append);
  assert.equal([probe!.prevIndex, probe!.prevTerm], [3, 1]);
});

test('§5.3: the follower hints at the last entry that can agree at all', () => {
  const lone = new Lone({ log: [1, 1, 1, 2, 2, 2, 6, 6], term: 7 });
  lone.receive(append({ term: 7, prev: [8, 4] }));
  const [reply] = lone.sent(MessageKind.AppendReject);
  assert.equal([reply!.prevIndex, reply!.hintIndex, reply!.hintTerm], [8, 6, 2]);
});

test('§5.3: a follower that is behind hints at its end', () => {
  const lone = new Lone({ log: [1, 1], term: 7 });
  lone.receive(append({ term: 7, prev: [100, 4] }));
  const [reply] = lone.sent(MessageKind.AppendReject);
  assert.equal([reply!.hintIndex, reply!.hintTerm], [2, 1]);
});

test('§5.3: a refusal that is older than the last probe is ignored', () => {
  const lone = new Lone({ log: [1, 1, 1, 1, 1] }).lead();
  lone.receive(reject({ term: 2, prevIndex: 5, hintIndex: 2, hintTerm: 1 }));
  assert.is(lone.node.peers[0]!.next, 3);
  lone.receive(reject({ term: 2, prevIndex: 5, hintIndex: 0, hintTerm: 0 }));
  assert.is(lone.node.peers[0]!.next, 3);
});

test('§5.3: a refusal below what the follower has acked is ignored', () => {
  const lone = new Lone({ log: [1, 1, 1] }).leadCommitted();
  lone.receive(reject({ term: 2, prevIndex: 2, hintIndex: 0, hintTerm: 0 }));
  const [peer] = lone.node.peers;
  assert.equal([peer!.state, peer!.match, peer!.next], ['replicate', 4, 5]);
});

test('§5.3: an ack for entries beyond the leader’s log is dropped and counted', () => {
  const lone = new Lone().leadCommitted();
  lone.receive(ack({ term: 1, match: 9 }));
  assert.is(lone.node.counters.droppedMalformed, 1);
  assert.is(lone.node.commitIndex, 1);
});

for (const [name, log] of [
  ['(a) misses one entry', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
  ['(b) misses many', [1, 1, 1, 4]],
  ['(c) has one too many', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
  ['(d) has two of another term too many', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
  ['(e) misses some, has others', [1, 1, 1, 4, 4, 4, 4]],
  ['(f) has whole terms that nobody else has', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
] as const) {
  test(`§5.3, figure 7: the leader brings follower ${name} into line`, () => {
    const c = new Cluster({ voters: 3 });
    const leaderLog = entriesOf(1, 1, 1, 4, 4, 5, 5, 6, 6, 6);
    for (const id of [1, 3]) c.at(id).disk.entries = [...leaderLog];
    const own = entriesOf(...log);
    c.at(2).disk.entries = own.map((entry, i) => (leaderLog[i]?.term === entry.term ? leaderLog[i]! : entry));
    for (const replica of c.replicas) replica.disk.hard = { term: 7, vote: 0 };
    c.start();
    c.elect(1);
    c.run(300);
    assert.equal(c.at(2).entries, c.at(1).entries);
    assert.equal(c.at(2).disk.entries, c.at(1).disk.entries);
    assert.is(c.at(2).running().reportedIndex, 11);
  });
}

test('§5.3, figure 7: whatever the difference, two rounds of probing find where the logs agree', () => {
  const lone = new Lone({ log: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], term: 7 });
  lone.receive(append({ term: 8, prev: [10, 6] }));
  lone.persist();
  const [first] = lone.sent(MessageKind.AppendReject);
  // The leader of figure 7 has terms 1 ×3, 4 ×2, 5 ×2, 6 ×3: below hint (9, 3) that is index 3.
  assert.equal([first!.hintIndex, first!.hintTerm], [9, 3]);
  lone.receive(append({ term: 8, prev: [3, 1], terms: [4, 4, 5, 5, 6, 6, 6, 8] })).persist();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [11]);
});

test('§5.5: a message that arrives twice changes nothing the second time', () => {
  const lone = new Lone({ log: [1], term: 1 });
  const message = append({ term: 1, prev: [1, 1], terms: [1, 1], commit: 2 });
  lone.receive(message).persist();
  lone.sent();
  const { generation } = lone.node;
  lone.receive(message);
  assert.is(lone.node.lastIndex, 3);
  assert.is(lone.node.generation, generation);
  assert.equal(lone.replica.writes, []);
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [3]);
});

test('§5.5: an older message that arrives late takes nothing back', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1, 1);
  lone.receive(append({ term: 1, entries, commit: 3 })).persist();
  lone.receive(append({ term: 1, entries: entries.slice(0, 1), commit: 0 })).persist();
  assert.is(lone.node.lastIndex, 3);
  assert.is(lone.node.commitIndex, 3);
});

test('§5.3: acks name only what the leader of the term has confirmed', () => {
  // Entries 2 and 3 are on disk but of a deposed leader; only entry 1 was compared.
  const lone = new Lone({ log: [1, 2, 2], term: 3 });
  lone.receive(append({ term: 3, prev: [1, 1] }));
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [1]);
});

test('§5.3: a write that ends under a new leader is not acked to it before it was compared', () => {
  const lone = new Lone();
  lone.receive(append({ from: 2, term: 1, terms: [1, 1, 1] }));
  // Replica 3 leads now; its log may differ, and it has not sent anything yet but a heartbeat.
  lone.receive(heartbeat({ from: 3, term: 2 })).persist();
  assert.ok(lone.sent(MessageKind.AppendAck).every((m) => m.match === 0));
});

test('§5.3: what this replica wrote as a leader itself is not acked to the next one uncompared', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(5);
  lone.persist().tick(1000, 1000).timeOut();
  lone.receive(preVoteReply({ from: 3, term: 1, forTerm: 2 })).persist();
  assert.is(lone.node.role, 'candidate');
  lone.sent();
  // Replica 2 won that term with another tail, and has compared no more than entry 1.
  lone.receive(append({ from: 2, term: 2, prev: [1, 1] }), heartbeat({ from: 2, term: 2, commit: 1 }));
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [1]);
});

test('§5.3: followers in the same state as the leader send the same entries nowhere', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(300);
  let appends = 0;
  c.onMessage = (message) => {
    if (message.kind === MessageKind.Append) appends++;
  };
  c.run(1000);
  assert.is(appends, 0);
});

test.run();
