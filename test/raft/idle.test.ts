// DESIGN §4, heartbeats: groups that are idle cost nothing; a digest between two nodes stands for them.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster } from './support/cluster.ts';
import { append, heartbeat, heartbeatAck, Lone, preVote } from './support/craft.ts';

const test = suite('raft/idle groups');
const settings = { sleepWhenIdle: true };

function sleepingCluster(): Cluster {
  const c = new Cluster({ voters: 3, settings }).start();
  c.elect(1);
  c.at(1).propose(2);
  c.run(600);
  for (const replica of c.replicas) assert.ok(replica.running().asleep, `replica ${replica.id} is awake`);
  return c;
}

test('a group in which nothing is under way falls asleep, and sends nothing any more', () => {
  const c = sleepingCluster();
  let messages = 0;
  c.onMessage = () => messages++;
  c.run(10_000);
  assert.is(messages, 0);
  assert.equal([c.leader()!.id, c.leader()!.running().term], [1, 1]);
});

test('it needs no ticks while asleep: the driver is told', () => {
  const c = new Cluster({ voters: 3, settings }).start();
  const awake = new Map<number, boolean>();
  const idle: string[] = [];
  c.onEffects = (replica, effects) => {
    if (effects.awake !== null) awake.set(replica.id, effects.awake);
    for (const change of effects.idleChanges) idle.push(`${change.nodeId} ${change.idle}`);
  };
  c.elect(1);
  c.run(600);
  assert.equal([...awake].sort(), [[1, false], [2, false], [3, false]]);
  assert.equal(idle, ['n2 true', 'n3 true']);
  c.at(1).propose(1);
  c.settle();
  assert.equal([...awake].sort(), [[1, true], [2, true], [3, true]]);
  assert.equal(idle, ['n2 true', 'n3 true', 'n2 false', 'n3 false']);
});

test('a proposal wakes everybody, and afterwards they sleep again', () => {
  const c = sleepingCluster();
  c.at(1).propose(1);
  c.settle();
  for (const replica of c.replicas) assert.not(replica.running().asleep);
  c.run(600);
  for (const replica of c.replicas) {
    assert.is(replica.state.length, 3);
    assert.ok(replica.running().asleep);
  }
});

test('a group of one sleeps as soon as all is committed', () => {
  const c = new Cluster({ voters: 1, settings }).start().settle();
  c.run(200);
  assert.ok(c.at(1).running().asleep);
  c.at(1).propose(1);
  assert.not(c.at(1).running().asleep);
});

test('a follower that does not have everything declines the offer', () => {
  const lone = new Lone({ log: [1, 1], settings, term: 1 });
  lone.receive(heartbeat({ term: 1, commit: 1, idle: true }));
  assert.is(lone.sent(MessageKind.HeartbeatAck)[0]!.idle, false);
  assert.not(lone.node.asleep);
  lone.receive(heartbeat({ term: 1, commit: 2, idle: true }));
  assert.is(lone.sent(MessageKind.HeartbeatAck)[0]!.idle, true);
  assert.ok(lone.node.asleep);
});

test('a leader offers sleep only to a follower that has, and has committed, everything', () => {
  const lone = new Lone({ settings }).leadCommitted();
  lone.tick(100);
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.idle), [false, false]);
  lone.receive(heartbeatAck({ from: 2, term: 1, commit: 1 })).tick(100);
  assert.equal(lone.sent(MessageKind.Heartbeat).map((m) => m.idle), [true, false]);
});

test('an acceptance that comes after something has begun is not one', () => {
  const lone = new Lone({ settings }).leadCommitted();
  lone.receive(heartbeatAck({ from: 2, term: 1, commit: 1 })).tick(100);
  lone.replica.propose(1);
  lone.receive(heartbeatAck({ from: 2, term: 1, commit: 1, idle: true }));
  assert.not(lone.node.peers[0]!.idle);
});

test('a dead follower keeps only itself awake: the others stay covered by their digest', () => {
  const c = new Cluster({ voters: 3, settings }).start();
  c.elect(1);
  c.at(3).crash();
  c.run(600);
  const to: number[] = [];
  c.onMessage = (message) => to.push(message.to);
  c.run(1000);
  assert.ok(to.length > 0 && to.every((id) => id === 3));
  assert.is(c.at(1).running().role, 'leader', 'the sleeping one counts for its quorum');
  assert.ok(c.at(2).running().asleep);
});

test('a sleeping follower vouches for its leader', () => {
  const c = sleepingCluster();
  c.at(2).input((node) => node.receive(preVote({ from: 3, to: 2, term: 1, lastIndex: 9, lastTerm: 9 })));
  assert.is(c.network.at(-1)!.kind, MessageKind.PreVoteReply);
  assert.is((c.network.at(-1) as { granted: boolean }).granted, false);
});

test('when the digest fails, the leader names the group again and counts the silence', () => {
  const c = sleepingCluster();
  c.partition([1], [2, 3]);
  c.at(1).input((node) => node.peerSilent('n2', 300));
  c.at(1).input((node) => node.peerSilent('n3', 300));
  c.run(50);
  assert.is(c.at(1).running().role, 'leader');
  c.run(100);
  assert.is(c.at(1).running().role, 'follower');
});

test('when the digest fails, a follower counts the silence and campaigns', () => {
  const c = sleepingCluster();
  c.at(1).crash();
  for (const id of [2, 3]) c.at(id).input((node) => node.peerSilent('n1', 5000));
  c.run(400);
  assert.ok([2, 3].includes(c.leader()!.id));
});

test('a digest with another node is no news about this group', () => {
  const c = sleepingCluster();
  c.at(2).input((node) => node.peerSilent('n3', 5000));
  assert.ok(c.at(2).running().asleep);
});

test('a follower that asks for votes hears its leader by name again', () => {
  const c = sleepingCluster();
  c.at(2).crash();
  c.at(2).start();
  c.run(1500);
  assert.equal([c.leader()!.id, c.leader()!.running().term], [1, 1]);
  c.run(600);
  for (const replica of c.replicas) assert.ok(replica.running().asleep);
});

test('a read in a sleeping group takes one round, and everybody sleeps on', () => {
  const c = sleepingCluster();
  c.at(1).input((node) => node.requestRead());
  c.settle();
  assert.equal(c.at(1).reads, [{ sequence: 1, index: 3 }]);
  c.at(3).input((node) => node.requestRead());
  c.settle();
  assert.equal(c.at(3).reads, [{ sequence: 1, index: 3 }]);
  assert.ok(c.at(2).running().asleep && c.at(3).running().asleep);
  c.run(100);
  assert.ok(c.at(1).running().asleep);
});

test('a lost round of a sleeping group is sent again', () => {
  const c = sleepingCluster();
  c.link = () => false;
  c.at(1).input((node) => node.requestRead());
  c.heal();
  c.run(100);
  assert.equal(c.at(1).reads, [{ sequence: 1, index: 3 }]);
});

test('without a driver that digests, nobody sleeps', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(2000);
  for (const replica of c.replicas) assert.not(replica.running().asleep);
});

test('an old append that says nothing new does not wake a sleeper', () => {
  const lone = new Lone({ settings });
  const message = append({ term: 1, terms: [1, 1], commit: 2 });
  lone.receive(message).persist();
  lone.receive(heartbeat({ term: 1, commit: 2, idle: true }));
  assert.ok(lone.node.asleep);
  lone.receive(message);
  assert.ok(lone.node.asleep);
});

test('leadership that ends ends the digests too', () => {
  const lone = new Lone({ settings }).leadCommitted();
  const changes: boolean[] = [];
  lone.cluster.onEffects = (_, effects) => changes.push(...effects.idleChanges.map((change) => change.idle));
  for (let i = 0; i < 2; i++) {
    lone.tick(100);
    for (const from of [2, 3]) lone.receive(heartbeatAck({ from, term: 1, commit: 1, idle: i > 0 }));
  }
  lone.tick(100);
  assert.ok(lone.node.asleep);
  lone.receive(heartbeat({ from: 2, term: 2 }));
  assert.equal(changes, [true, true, false, false]);
  assert.not(lone.node.asleep);
});

test.run();
