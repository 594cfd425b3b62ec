// The Raft paper, §7 (snapshots), with DESIGN §4: catch-up, compaction, carried-over tails, cut tails.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import type { LogDescription } from '../../src/raft/types.ts';
import { Cluster, members } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeat, heartbeatAck, Lone, reject, voteReply } from './support/craft.ts';

const test = suite('raft/paper §7 snapshots');
const founding = { index: 0, config: { voters: members(1, 2, 3), learners: [] } };

/** A log of entries with these terms behind `base`, all committed unless said otherwise. */
function described(base: [number, number], terms: number[], commit?: number): LogDescription {
  const [baseIndex, baseTerm] = base;
  const lastIndex = baseIndex + terms.length;
  return {
    firstIndex: baseIndex + 1,
    baseTerm,
    lastIndex,
    runs: terms.map((term, i) => ({ fromIndex: baseIndex + 1 + i, term })),
    commitIndex: commit ?? lastIndex,
    appliedIndex: Math.max(baseIndex, Math.min(commit ?? lastIndex, lastIndex)),
    configs: [founding],
  };
}

function compactedCluster(): Cluster {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.partition([1, 2], [3]);
  c.at(1).propose(30);
  c.run(200);
  for (const id of [1, 2]) c.at(id).compact(25);
  return c;
}

test('§7: entries before the snapshot are gone, but the last one of them still names its term', () => {
  const c = compactedCluster();
  const node = c.at(1).running();
  assert.is(node.firstIndex, 25);
  assert.is(node.termAt(24), 1);
  assert.is(node.termAt(23), -1);
  c.at(1).propose(1);
  c.run(100);
  assert.is(c.at(2).running().reportedIndex, 32);
});

test('§7: a follower that needs what is gone gets a snapshot, and entries again from there', () => {
  const c = compactedCluster();
  c.heal();
  c.run(300);
  assert.equal(c.catchUps, [[1, 3]]);
  const peer = c.at(1).running().peers[1]!;
  assert.is(peer.state, 'snapshot');
  c.serveCatchUps();
  c.run(300);
  assert.is(c.at(3).running().reportedIndex, 31);
  assert.is(c.at(1).running().peers[1]!.state, 'replicate');
  assert.equal(c.at(3).state, c.at(1).state);
  c.at(1).propose(1);
  c.run(100);
  assert.equal(c.at(3).state.length, 31);
});

test('§7: while a snapshot is on its way the follower gets heartbeats only', () => {
  const c = compactedCluster();
  c.heal();
  c.run(300);
  let appends = 0;
  c.onMessage = (message) => {
    if (message.kind === MessageKind.Append && message.to === 3) appends++;
  };
  c.at(1).propose(3);
  c.run(3000);
  assert.is(appends, 0);
  assert.is(c.at(3).running().leader, 1, 'and does not campaign');
});

test('a catch-up that failed is asked for again', () => {
  const c = compactedCluster();
  c.heal();
  c.run(300);
  c.catchUps.length = 0;
  c.at(1).input((node) => node.catchUpFailed(3));
  c.run(300);
  assert.equal(c.catchUps, [[1, 3]]);
});

test('a follower that got what it lacked in another way leaves the snapshot state by its ack', () => {
  const c = compactedCluster();
  c.heal();
  c.run(300);
  const image = c.at(2).capture();
  assert.ok(c.at(3).install(image));
  c.run(300);
  assert.is(c.at(1).running().peers[1]!.state, 'replicate');
});

test('a learner that knows nothing is brought up by a snapshot and joins', () => {
  const c = new Cluster({ voters: 1 }).start().settle();
  c.at(1).propose(10);
  c.settle();
  c.at(1).compact(9);
  c.addReplica(2);
  c.at(1).input((node) => node.changeConfig(0, { kind: 'addLearner', member: { replicaId: 2, nodeId: 'n2' } }));
  c.run(300);
  c.serveCatchUps();
  c.run(300);
  assert.equal(c.at(2).state, c.at(1).state);
  assert.type(c.at(1).input((node) => node.changeConfig(12, { kind: 'promote', replicaId: 2 })), 'number');
  c.run(200);
  assert.equal(c.at(2).running().config.config, { voters: members(1, 2), learners: [] });
});

test('§7: an install replaces a log that is behind or in conflict, and raises the generation', () => {
  for (const log of [[], [1], [1, 2, 2, 2, 2, 2, 2]]) {
    const lone = new Lone({ log, term: 5 });
    const { generation } = lone.node;
    lone.replica.input((node) => node.snapshotInstalled(described([3, 1], [4, 4])));
    const { node } = lone;
    assert.equal([node.firstIndex, node.lastIndex, node.lastTerm, node.commitIndex], [4, 5, 4, 5]);
    assert.equal([node.durableIndex, node.reportedIndex], [5, 5]);
    assert.is(node.generation, generation + 1);
  }
});

test('§7: a completion of a write before the install is void', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(append({ term: 1, prev: [1, 1], terms: [1, 1, 1] }));
  lone.node.snapshotInstalled(described([1, 1], [1, 1], 3));
  assert.not(lone.node.persisted(4, 1, 1));
  assert.is(lone.node.durableIndex, 3);
  assert.is(lone.node.counters.staleCompletions, 1);
});

test('§7: entries that follow the snapshot and agree with it are kept: they may have been acked', () => {
  const lone = new Lone({ log: [1, 1, 1, 1, 1] });
  lone.receive(heartbeat({ term: 1 }), append({ term: 1, prev: [5, 1] })).persist();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [5]);
  assert.throws(() => lone.node.snapshotInstalled(described([2, 1], [1])), /I7/);
  const kept = new Lone({ log: [1, 1, 1, 1, 1] });
  kept.receive(heartbeat({ term: 1 }), append({ term: 1, prev: [5, 1] })).persist();
  kept.sent();
  kept.replica.input((node) => node.snapshotInstalled(described([2, 1], [1, 1, 1], 3)));
  assert.equal(kept.sent(MessageKind.AppendAck).map((m) => m.match), [5]);
});

test('§7: what followed in another history is not acked after the install', () => {
  const lone = new Lone({ log: [1, 1, 2, 2, 2], term: 3 });
  lone.receive(heartbeat({ term: 3 }));
  lone.replica.input((node) => node.snapshotInstalled(described([1, 1], [1, 1, 3], 3)));
  lone.persist();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [3], 'entry 4 came along uncompared');
});

test('an install takes nothing back: not what is committed, not what is applied; and a leader needs none', () => {
  const lone = new Lone({ log: [1, 1, 1], commit: 3 });
  assert.throws(() => lone.node.snapshotInstalled(described([1, 1], [1])), /I6/);
  assert.throws(() => new Lone().lead().node.snapshotInstalled(described([5, 1], [1])), /leader/);
});

test('a probe that leads below the compacted log ends in a snapshot, not in a loop', () => {
  const c = compactedCluster();
  c.heal();
  // Replica 3 has another history in place of what was compacted away.
  c.at(3).crash();
  c.at(3).disk.entries = entriesOf(...(new Array(29).fill(1) as number[]));
  c.at(3).start();
  const node = c.at(1).running();
  c.at(1).input((n) => n.peerReset('n3'));
  c.network = [];
  for (let i = 0; i < 5 && node.peers[1]!.state !== 'snapshot'; i++) {
    const { next } = node.peers[1]!;
    c.at(1).input((n) => n.receive(reject({ from: 3, term: 1, prevIndex: next - 1, hintIndex: next - 2, hintTerm: 1 })));
  }
  assert.is(node.peers[1]!.state, 'snapshot');
});

test('configurations survive compaction: the newest at the snapshot, and all after it', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.addReplica(4);
  c.at(1).input((node) => node.changeConfig(0, { kind: 'addLearner', member: { replicaId: 4, nodeId: 'n4' } }));
  c.run(200);
  c.at(1).propose(5);
  c.run(200);
  c.at(2).compact(6);
  c.at(2).crash();
  c.at(2).start();
  assert.equal(c.at(2).running().config, { index: 2, config: { voters: members(1, 2, 3), learners: members(4) } });
});

test.run();

const cut = suite('raft/cut tails');

cut('a leader whose tail is cut for want of space does not go on in its term (I4)', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(3);
  lone.sent();
  lone.replica.writes = [];
  lone.replica.input((node) => node.tailCut(1));
  assert.equal([lone.node.role, lone.node.lastIndex, lone.node.term], ['follower', 1, 1]);
  assert.is(lone.replica.propose(1), 0);
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [2]);
  assert.not(lone.node.persisted(4, 1, 1));
});

cut('what others have committed of it is still theirs; here nothing of it was applied', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(2);
  lone.receive(ack({ from: 2, term: 1, match: 3 }), ack({ from: 3, term: 1, match: 3 }));
  assert.equal([lone.node.commitIndex, lone.node.reportedIndex], [3, 1]);
  const own = lone.replica.entries.slice(1);
  lone.replica.writes = [];
  lone.replica.input((node) => node.tailCut(1));
  assert.is(lone.node.commitIndex, 1);
  // The next leader brings them again.
  const entries = [...own, ...entriesOf(2)];
  lone.receive(append({ from: 2, term: 2, prev: [1, 1], entries, commit: 4 })).persist();
  assert.is(lone.node.reportedIndex, 4);
});

cut('a sole voter may lead again at once, in the next term', () => {
  const lone = new Lone({ voters: 1 });
  lone.persist().replica.propose(2);
  lone.replica.writes = [];
  lone.replica.input((node) => node.tailCut(1));
  lone.replica.input((node) => node.campaign());
  lone.persist();
  assert.equal([lone.node.role, lone.node.term, lone.node.lastIndex], ['leader', 2, 2]);
});

cut('nothing that is on disk is ever cut', () => {
  const lone = new Lone({ log: [1, 1] });
  assert.throws(() => lone.node.tailCut(1), /I3/);
});

cut('what the cut left is synced, and acked', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1, 1, 1] }));
  lone.replica.persistHard();
  const [write] = lone.replica.writes;
  lone.replica.writes = [];
  lone.replica.disk.entries = write!.entries.slice(0, 2);
  lone.replica.input((node) => node.tailCut(2));
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [2]);
  assert.is(lone.node.durableIndex, 2);
});

cut('a candidate whose tail is cut stops campaigning', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1] })).timeOut();
  lone.replica.writes = [];
  lone.replica.input((node) => node.tailCut(0));
  lone.receive(voteReply({ from: 2, term: 2 }), heartbeatAck({ term: 1 }));
  assert.equal([lone.node.role, lone.node.lastIndex], ['follower', 0]);
});

cut.run();
