// The Raft thesis, chapter 4: membership changes by one replica at a time.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ConfigChange, Configuration } from '../../src/raft/config.ts';
import { MessageKind } from '../../src/raft/types.ts';
import { Cluster, members } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeat, heartbeatAck, Lone, preVote, preVoteReply, timeoutNow, vote, voteReply } from './support/craft.ts';

const test = suite('raft/thesis §4 membership');
const newcomer = { replicaId: 4, nodeId: 'n4' };

function config(voters: number[], learners: number[] = []): Configuration {
  return { voters: members(...voters), learners: members(...learners) };
}

test('§4.1: a new configuration counts as soon as it is in the leader’s log', () => {
  const lone = new Lone().leadCommitted();
  const index = lone.replica.input((node) => node.changeConfig(0, { kind: 'addLearner', member: newcomer }));
  assert.is(index, 2);
  assert.equal(lone.node.config, { index: 2, config: config([1, 2, 3], [4]) });
  assert.not(lone.node.configCommitted);
  assert.equal(lone.node.peers.map((peer) => peer.replicaId), [2, 3, 4]);
});

test('§4.1: and as soon as it is in a follower’s log, committed or not', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1);
  lone.receive(append({ term: 1, entries, configs: [{ index: 2, config: config([1, 2, 3, 4]) }] }));
  assert.equal(lone.node.config, { index: 2, config: config([1, 2, 3, 4]) });
  assert.not(lone.node.configCommitted);
});

test('§4.1: a truncation brings back the configuration before', () => {
  const lone = new Lone();
  lone.receive(append({ term: 1, terms: [1, 1], configs: [{ index: 2, config: config([1, 2, 3, 4]) }] }));
  lone.receive(append({ from: 3, term: 2, prev: [1, 1], terms: [2] }));
  assert.equal(lone.node.config, { index: 0, config: config([1, 2, 3]) });
});

test('§4.1: a follower takes only the configurations of the entries that it appends', () => {
  const lone = new Lone();
  const entries = entriesOf(1, 1, 1);
  const configs = [{ index: 2, config: config([1, 2, 3], [4]) }, { index: 3, config: config([1, 2, 3, 4]) }];
  lone.receive(append({ term: 1, entries: entries.slice(0, 2), configs: configs.slice(0, 1) }));
  lone.receive(append({ term: 1, entries, configs }));
  assert.equal(lone.node.configHistory.map((entry) => entry.index), [0, 2, 3]);
});

test('§4.1: no change begins before the one before it is committed', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.changeConfig(0, { kind: 'addLearner', member: newcomer }));
  const second = { kind: 'addLearner', member: { replicaId: 5, nodeId: 'n5' } } as const;
  assert.is(lone.node.changeConfig(2, second), 'change_in_progress');
  lone.persist().receive(ack({ from: 2, term: 1, match: 2 }));
  assert.ok(lone.node.configCommitted);
  assert.is(lone.node.changeConfig(2, second), 3);
});

test('§4.1, erratum of 2015: no change begins before an entry of the leader’s own term is committed', () => {
  const lone = new Lone({ log: [1, 1], commit: 2 }).lead();
  const change = { kind: 'addLearner', member: newcomer } as const;
  assert.is(lone.node.changeConfig(0, change), 'term_not_committed');
  lone.receive(ack({ from: 2, term: 2, match: 3 }));
  assert.is(lone.node.changeConfig(0, change), 4);
});

test('§4.1, erratum: two leaders that each changed the same configuration cannot both commit', () => {
  // Four voters. S1 adds nobody: it removes 4; its entry stays on S1. S2 leads next and removes 3.
  const c = new Cluster({ voters: 4 }).start();
  c.elect(1);
  c.run(200);
  c.partition([1], [2, 3, 4]);
  assert.type(c.at(1).input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 4 })), 'number');
  c.at(1).persist();
  c.elect(2);
  const { config: base } = c.at(2).running();
  assert.is(base.index, 0);
  // Had S2 not had to commit its no-op first, {1,2,3} and {1,2,4} could each have a majority: {1,3}, {2,4}.
  assert.ok(c.at(2).running().termCommitted);
  assert.type(c.at(2).input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 3 })), 'number');
  c.settle();
  assert.ok(c.at(2).running().configCommitted);
  c.partition([1, 3], [2, 4]);
  c.forgetLeader(c.at(1));
  c.forgetLeader(c.at(3));
  c.run(3000);
  assert.ok(!c.at(1).running().termCommitted && !c.at(3).running().termCommitted);
});

test('a change is a compare-and-set on the configuration it was computed from (DESIGN §4)', () => {
  const lone = new Lone().leadCommitted();
  assert.is(lone.node.changeConfig(7, { kind: 'remove', replicaId: 3 }), 'other_config');
  assert.is(new Lone().node.changeConfig(0, { kind: 'remove', replicaId: 3 }), 'not_leader');
});

test('no change begins while leadership is being transferred', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.propose(1);
  lone.replica.input((node) => node.transferLeadership(2));
  assert.is(lone.node.changeConfig(0, { kind: 'remove', replicaId: 3 }), 'transferring');
});

test('§4.1: votes and acks are counted over the newest configuration only', () => {
  const lone = new Lone({ voters: 5 }).leadCommitted();
  lone.replica.input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 5 }));
  lone.persist();
  // Of {1,2,3,4} three are needed; what 5 has does not count any more.
  lone.receive(ack({ from: 2, term: 1, match: 2 }), ack({ from: 5, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 1);
  lone.receive(ack({ from: 3, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 2);
});

test('§4.1: a smaller majority may commit at once what waited for a larger one', () => {
  const lone = new Lone({ voters: 4 }).leadCommitted();
  lone.replica.propose(1);
  lone.persist().receive(ack({ from: 2, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 1);
  lone.replica.input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 4 }));
  assert.is(lone.node.commitIndex, 2);
});

test('§4.1: servers process requests of a leader that is not in their configuration', () => {
  const lone = new Lone();
  lone.receive(append({ from: 9, term: 1, terms: [1] })).persist();
  assert.is(lone.node.leader, 9);
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => [m.to, m.toNode]), [[9, 'n9']]);
});

test('§4.1: servers vote for a candidate that is not in their configuration', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(vote({ from: 9, term: 2, lastIndex: 2, lastTerm: 1 })).persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, true);
});

test('§4.2.1: a learner gets entries, but its acks commit nothing and its vote elects nobody', () => {
  const lone = new Lone({ voters: 2, learners: 2 }).lead();
  lone.receive(ack({ from: 3, term: 1, match: 1 }), ack({ from: 4, term: 1, match: 1 }));
  assert.is(lone.node.commitIndex, 0);
  const other = new Lone({ voters: 3, learners: 2 });
  other.timeOut().sent();
  for (const from of [4, 5]) other.receive(preVoteReply({ from, term: 0, forTerm: 1 }));
  assert.is(other.node.role, 'preCandidate');
  other.receive(preVoteReply({ from: 2, term: 0, forTerm: 1 })).persist();
  for (const from of [4, 5]) other.receive(voteReply({ from, term: 1 }));
  assert.is(other.node.role, 'candidate');
});

test('§4.2.1: a learner does not campaign, not even when told to', () => {
  const lone = new Lone({ config: config([2, 3], [1]), log: [1] });
  lone.timeOut().receive(heartbeat({ term: 1 }), timeoutNow({ term: 1 })).timeOut();
  assert.is(lone.node.role, 'follower');
  assert.equal(lone.sent(MessageKind.PreVote), []);
  assert.is(lone.node.leader, 0, 'and it knows that nobody leads any more');
});

test('§4.2.1: a learner answers candidates: it may have been promoted without knowing it yet', () => {
  const lone = new Lone({ config: config([2, 3], [1]), log: [1] });
  lone.receive(vote({ from: 3, term: 2, lastIndex: 1, lastTerm: 1 })).persist();
  assert.is(lone.sent(MessageKind.VoteReply)[0]!.granted, true);
});

test('§4.2.1: a newcomer is promoted only when it has caught up', () => {
  const lone = new Lone({ log: new Array(50).fill(1) as number[] }).leadCommitted();
  lone.replica.input((node) => node.changeConfig(0, { kind: 'addLearner', member: newcomer }));
  lone.persist().receive(ack({ from: 2, term: 2, match: 52 }));
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 'not_caught_up');
  lone.receive(ack({ from: 4, term: 2, match: 40 }));
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 'not_caught_up');
  lone.receive(ack({ from: 4, term: 2, match: 52 }));
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 53);
});

test('§4.2.1: or when its last round of catching up was shorter than an election timeout', () => {
  const lone = new Lone({ log: new Array(50).fill(1) as number[] }).leadCommitted();
  lone.replica.input((node) => node.changeConfig(0, { kind: 'addLearner', member: newcomer }));
  lone.persist().receive(ack({ from: 2, term: 2, match: 52 }));
  const alive = (): void => {
    for (const from of [2, 3, 4]) lone.receive(heartbeatAck({ from, term: 2 }));
  };
  const round = (ms: number, match: number): void => {
    for (let elapsed = 0; elapsed < ms; elapsed += 50) {
      lone.tick(50);
      alive();
    }
    lone.replica.propose(10);
    lone.persist().receive(ack({ from: 2, term: 2, match: lone.node.lastIndex }), ack({ from: 4, term: 2, match }));
  };
  // The first round (up to entry 52) took a second; entries came meanwhile, so it is behind.
  round(1000, 52);
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 'not_caught_up');
  // The second one (up to 62) took 100 ms: it is behind by what came in 100 ms, which is nothing.
  round(100, 62);
  for (let i = 0; i < 9; i++) {
    lone.tick(50);
    alive();
  }
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 'not_caught_up', 'the third has grown long');
  round(50, 72);
  round(50, 82);
  assert.is(lone.node.changeConfig(52, { kind: 'promote', replicaId: 4 }), 93);
});

test('§4.2.1: a learner that is not heard any more is not promoted', () => {
  const lone = new Lone({ voters: 1, learners: 1 });
  lone.persist().receive(ack({ from: 2, term: 1, match: 1 }));
  lone.tick(500);
  assert.is(lone.node.changeConfig(0, { kind: 'promote', replicaId: 2 }), 'not_caught_up');
});

test('§4.2.2: a leader that is not in the new configuration leads until it is committed, then steps down', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 1 }));
  lone.persist();
  assert.is(lone.node.role, 'leader');
  lone.receive(ack({ from: 2, term: 1, match: 2 }));
  assert.is(lone.node.role, 'leader', 'it does not count itself: {2, 3} need both');
  lone.sent();
  lone.receive(ack({ from: 3, term: 1, match: 2 }));
  assert.is(lone.node.commitIndex, 2);
  assert.is(lone.node.role, 'follower');
  assert.equal(lone.sent(MessageKind.TimeoutNow).map((m) => m.to), [2], 'and hands over');
  lone.timeOut();
  assert.is(lone.node.role, 'follower');
});

test('§4.2.2: the same for a leader that becomes a learner', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.elect(1);
  c.run(200);
  c.at(1).input((node) => node.changeConfig(0, { kind: 'demote', replicaId: 1 }));
  c.settle();
  assert.is(c.leader()!.id, 2);
  c.run(300);
  assert.equal(c.at(1).running().config.config, config([2, 3], [1]));
  assert.is(c.at(1).running().reportedIndex, c.leader()!.running().reportedIndex);
});

test('§4.2.2, figure 4.6: until that is committed, a former voter may have to lead once more', () => {
  // S1 removed itself from {1, 2}; only S1 has the entry. S2 cannot win against the longer log.
  const c = new Cluster({ voters: 2 }).start();
  c.elect(1);
  c.run(200);
  c.partition([1], [2]);
  c.at(1).input((node) => node.changeConfig(0, { kind: 'remove', replicaId: 1 }));
  c.at(1).persist();
  c.at(1).crash();
  c.heal();
  c.at(1).start();
  c.at(2).crash();
  c.at(2).start();
  c.run(3000);
  assert.is(c.leader()!.id, 2);
  assert.equal(c.leader()!.running().config.config, config([2]));
  assert.ok(c.leader()!.running().configCommitted);
});

test('§4.2.2: it does not count its own vote in that election', () => {
  const lone = new Lone({ voters: 3, log: [1] });
  lone.receive(append({ term: 1, prev: [1, 1], terms: [1], configs: [{ index: 2, config: config([2, 3]) }] })).persist();
  lone.timeOut().sent();
  lone.receive(preVoteReply({ from: 2, term: 1, forTerm: 2 }));
  assert.is(lone.node.role, 'preCandidate', 'of {2, 3} both are needed');
  lone.receive(preVoteReply({ from: 3, term: 1, forTerm: 2 })).persist();
  lone.receive(voteReply({ from: 2, term: 2 }));
  assert.is(lone.node.role, 'candidate');
  lone.receive(voteReply({ from: 3, term: 2 }));
  assert.is(lone.node.role, 'leader');
});

test('§4.2.3: a removed server that campaigns does not disrupt: voters that hear a leader refuse', () => {
  const lone = new Lone({ log: [1], term: 1 });
  lone.receive(heartbeat({ from: 2, term: 1 }));
  lone.receive(vote({ from: 4, term: 9, lastIndex: 9, lastTerm: 1 }), preVote({ from: 4, term: 8, lastIndex: 9, lastTerm: 1 }));
  lone.persist();
  assert.is(lone.node.term, 1);
  assert.is(lone.node.leader, 2);
  assert.equal(lone.sent().map((m) => (m as { granted?: boolean }).granted), [undefined, false, false]);
});

test('§4.2.3: nor does it depose the leader itself', () => {
  const lone = new Lone().leadCommitted();
  lone.receive(vote({ from: 4, term: 9, lastIndex: 9, lastTerm: 8 }));
  assert.is(lone.node.role, 'leader');
  assert.is(lone.node.term, 1);
});

test('§4.2.3: an election timeout after the last word of the leader, voters help candidates again', () => {
  const lone = new Lone({ log: [1], term: 1, random: () => 399 });
  lone.receive(heartbeat({ from: 2, term: 1 })).tick(350);
  lone.receive(preVote({ from: 3, term: 1, lastIndex: 1, lastTerm: 1 }));
  lone.tick(50).receive(preVote({ from: 3, term: 1, lastIndex: 1, lastTerm: 1 }));
  assert.equal(lone.sent(MessageKind.PreVoteReply).map((m) => m.granted), [false, true]);
});

test('§4.4: a group grows from one to three and shrinks again, one replica at a time', () => {
  const c = new Cluster({ voters: 1 }).start().settle();
  const change = (what: ConfigChange): void => {
    const leader = c.leader()!;
    const result = leader.input((node) => node.changeConfig(node.config.index, what));
    assert.type(result, 'number', `${JSON.stringify(what)}: ${String(result)}`);
    c.run(300);
    assert.ok(c.leader()!.running().configCommitted);
  };
  c.at(1).propose(20);
  c.settle();
  for (const id of [2, 3]) {
    c.addReplica(id);
    change({ kind: 'addLearner', member: { replicaId: id, nodeId: `n${id}` } });
    change({ kind: 'promote', replicaId: id });
  }
  assert.equal(c.leader()!.running().config.config, config([1, 2, 3]));
  change({ kind: 'remove', replicaId: 3 });
  c.at(3).crash();
  change({ kind: 'remove', replicaId: 1 });
  assert.is(c.leader()!.id, 2);
  c.at(1).crash();
  c.leader()!.propose(1);
  c.settle();
  assert.is(c.at(2).state.length, 21);
});

test.run();
