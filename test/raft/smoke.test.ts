import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Cluster } from './support/cluster.ts';

const test = suite('raft/smoke');

test('three replicas elect, commit, survive a crash of the leader', () => {
  const c = new Cluster({ voters: 3 }).start();
  c.at(1).input((n) => n.campaign());
  c.settle();
  assert.is(c.at(1).running().role, 'leader');
  assert.is(c.at(1).propose(3), 2);
  c.settle();
  assert.is(c.at(1).running().commitIndex, 4);
  c.run(200);
  for (const r of c.replicas) assert.is(r.running().reportedIndex, 4);
  c.at(1).crash();
  c.run(2000);
  const leader = c.leader()!;
  assert.ok(leader.id !== 1);
  c.at(1).start();
  leader.propose(2);
  c.run(500);
  for (const r of c.replicas) assert.equal(r.state, leader.state);
});

test('a group of one leads at once', () => {
  const c = new Cluster({ voters: 1 }).start();
  assert.is(c.at(1).running().role, 'candidate');
  c.at(1).persist();
  assert.is(c.at(1).running().role, 'leader');
  c.at(1).propose(5);
  c.settle();
  assert.is(c.at(1).running().reportedIndex, 6);
});

test.run();
