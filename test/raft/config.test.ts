// Configuration arithmetic and the log of configurations.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { applyChange, checked } from '../../src/raft/config.ts';
import type { ConfigChange, Configuration } from '../../src/raft/config.ts';
import { ConfigLog } from '../../src/raft/config-log.ts';
import { majority } from '../../src/raft/quorum.ts';
import { members } from './support/cluster.ts';
import { prng, seedOr } from './support/prng.ts';

const test = suite('raft/config');

function config(voters: number[], learners: number[] = []): Configuration {
  return { voters: members(...voters), learners: members(...learners) };
}

function change(kind: 'promote' | 'demote' | 'remove', replicaId: number): ConfigChange {
  return { kind, replicaId };
}

function add(replicaId: number, nodeId = `n${replicaId}`): ConfigChange {
  return { kind: 'addLearner', member: { replicaId, nodeId } };
}

test('each change does what it says, and says why when it cannot', () => {
  const base = config([1, 2, 3], [4]);
  const rows: [ConfigChange, Configuration | string][] = [
    [add(5), config([1, 2, 3], [4, 5])],
    [add(4), 'already_member'],
    [add(1), 'already_member'],
    [add(6, 'n2'), 'node_has_replica'],
    [change('promote', 4), config([1, 2, 3, 4])],
    [change('promote', 1), 'not_learner'],
    [change('promote', 9), 'not_member'],
    [change('demote', 2), config([1, 3], [2, 4])],
    [change('demote', 4), 'not_voter'],
    [change('demote', 9), 'not_member'],
    [change('remove', 1), config([2, 3], [4])],
    [change('remove', 4), config([1, 2, 3])],
    [change('remove', 9), 'not_member'],
  ];
  for (const [what, expected] of rows) assert.equal(applyChange(base, what, 5), expected, JSON.stringify(what));
  assert.equal(base, config([1, 2, 3], [4]), 'the base is not touched');
});

test('the last voter stays, and voters do not become more than the maximum', () => {
  assert.is(applyChange(config([1], [2]), change('remove', 1), 5), 'last_voter');
  assert.is(applyChange(config([1], [2]), change('demote', 1), 5), 'last_voter');
  assert.is(applyChange(config([1, 2, 3], [4]), change('promote', 4), 3), 'voters_max');
});

test('thesis §4.1: majorities of the configuration before and after any change overlap', () => {
  const random = prng(seedOr(1));
  for (let i = 0; i < 300; i++) {
    const ids = [1, 2, 3, 4, 5, 6].filter(() => random(2) === 0);
    const voters = ids.filter((_, k) => k % 3 !== 2);
    if (voters.length === 0) continue;
    const before = config(voters, ids.filter((_, k) => k % 3 === 2));
    const id = random(7) + 1;
    const kind = (['promote', 'demote', 'remove'] as const)[random(3)]!;
    const after = applyChange(before, random(4) === 0 ? add(id) : change(kind, id), 6);
    if (typeof after === 'string') continue;
    for (const a of majoritiesOf(before)) {
      for (const b of majoritiesOf(after)) assert.ok(a.some((voter) => b.includes(voter)));
    }
  }
});

function majoritiesOf({ voters }: Configuration): number[][] {
  const ids = voters.map((member) => member.replicaId);
  const sets: number[][] = [];
  for (let mask = 0; mask < 1 << ids.length; mask++) {
    const set = ids.filter((_, bit) => (mask >> bit) & 1);
    if (set.length >= majority(ids.length)) sets.push(set);
  }
  return sets;
}

test('a configuration that is none is a broken invariant', () => {
  assert.throws(() => checked(config([2, 1])), /ascend/);
  assert.throws(() => checked(config([1, 2], [2])), /one replica per node/);
  const twice = { voters: [{ replicaId: 1, nodeId: 'a' }], learners: [{ replicaId: 1, nodeId: 'b' }] };
  assert.throws(() => checked(twice), /voter or learner/);
  assert.throws(() => checked(config([0])), /start at 1/);
});

test('the log of configurations knows which counts, also after truncation and trimming', () => {
  const log = new ConfigLog([{ index: 0, config: config([1]) }]);
  log.append({ index: 5, config: config([1], [2]) });
  log.append({ index: 9, config: config([1, 2]) });
  assert.is(log.latest.index, 9);
  assert.equal(log.within(1, 8).map((entry) => entry.index), [5]);
  assert.equal(log.within(10, 20), []);
  assert.equal(log.notYetSuperseded(9).map((entry) => entry.index), [9]);
  assert.equal(log.notYetSuperseded(8).map((entry) => entry.index), [5, 9]);
  assert.equal(log.notYetSuperseded(4).map((entry) => entry.index), [0, 5, 9]);
  log.truncateAfter(8);
  assert.is(log.latest.index, 5);
  log.append({ index: 12, config: config([1, 2]) });
  log.trimBefore(6);
  assert.equal(log.all().map((entry) => entry.index), [5, 12], 'the one in force at the trim stays');
  log.trimBefore(12);
  assert.equal(log.all().map((entry) => entry.index), [5, 12], 'entry 12 is still in the log');
  log.trimBefore(13);
  assert.equal(log.all().map((entry) => entry.index), [12]);
  assert.throws(() => log.append({ index: 12, config: config([1]) }), /ascend by index/);
});

test('a log without configurations has nobody in it', () => {
  const log = new ConfigLog([]);
  assert.equal(log.latest, { index: 0, config: { voters: [], learners: [] } });
  assert.equal(log.notYetSuperseded(3), []);
  log.append({ index: 3, config: config([1]) });
  log.truncateAfter(2);
  assert.equal(log.latest.config.voters, []);
});

test.run();
