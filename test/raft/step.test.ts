// The core as a function: the same inputs give the same effects, by `step` and by the methods alike.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftNode } from '../../src/raft/node.ts';
import { RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import type { RaftOptions } from '../../src/raft/state.ts';
import { step } from '../../src/raft/step.ts';
import type { Input } from '../../src/raft/step.ts';
import { members } from './support/cluster.ts';
import { ack, append, entriesOf, heartbeatAck, preVoteReply, voteReply } from './support/craft.ts';
import { CLUSTER_ID, LOG_UID } from './support/replica.ts';
import { RandomWorld } from './support/random-world.ts';
import { describeMessage } from './support/describe.ts';

const test = suite('raft/step');

function newNode(voters: number[] = [1, 2, 3], hardState: RaftOptions['hardState'] = { term: 0, vote: 0 }): RaftNode {
  return new RaftNode({
    identity: { clusterId: CLUSTER_ID, logUid: LOG_UID, nodeId: 'n1', replicaId: 1 },
    settings: RAFT_DEFAULTS,
    random: () => 0,
    view: { termAt: () => 1, sizeOf: (from, to) => (to - from + 1) * 100 },
    hardState,
    log: {
      firstIndex: 1,
      baseTerm: 0,
      lastIndex: 0,
      runs: [],
      commitIndex: 0,
      appliedIndex: 0,
      configs: [{ index: 0, config: { voters: members(...voters), learners: [] } }],
    },
    serving: 'ready',
    incarnation: 1,
  });
}

const entries = entriesOf(1);
const INPUTS: Input[] = [
  { kind: 'tick', elapsedMs: 50 },
  { kind: 'read' },
  { kind: 'campaign' },
  { kind: 'message', message: preVoteReply({ from: 2, term: 0, forTerm: 1 }) },
  { kind: 'hardStatePersisted', sequence: 2 },
  { kind: 'message', message: voteReply({ from: 2, term: 1 }) },
  { kind: 'persisted', index: 1, term: 1, generation: 1 },
  { kind: 'message', message: ack({ from: 2, term: 1, match: 1 }) },
  { kind: 'applied', index: 1 },
  { kind: 'propose', count: 3 },
  { kind: 'persisted', index: 4, term: 1, generation: 1 },
  { kind: 'persisted', index: 4, term: 1, generation: 7 },
  { kind: 'message', message: ack({ from: 3, term: 1, match: 4 }) },
  { kind: 'read' },
  { kind: 'message', message: heartbeatAck({ from: 3, term: 1, readRound: 1 }) },
  { kind: 'waitingReaders', waiting: true },
  { kind: 'changeConfig', basedOn: 0, change: { kind: 'addLearner', member: { replicaId: 4, nodeId: 'n4' } } },
  { kind: 'changeConfig', basedOn: 0, change: { kind: 'remove', replicaId: 9 } },
  { kind: 'logTrimmed', firstIndex: 3 },
  { kind: 'catchUpFailed', replicaId: 4 },
  { kind: 'catchUpDone', replicaId: 4, index: 5 },
  { kind: 'peerReset', nodeId: 'n2' },
  { kind: 'peerSilent', nodeId: 'n3', elapsedMs: 300 },
  { kind: 'transfer', target: 3 },
  { kind: 'tailCut', afterIndex: 4 },
  { kind: 'serving', serving: 'damaged' },
  { kind: 'message', message: append({ from: 2, term: 3, prev: [4, 1], entries }) },
  {
    kind: 'snapshotInstalled',
    installed: {
      firstIndex: 9,
      baseTerm: 3,
      lastIndex: 9,
      runs: [{ fromIndex: 9, term: 3 }],
      commitIndex: 9,
      appliedIndex: 8,
      configs: [{ index: 5, config: { voters: members(1, 2, 3), learners: [] } }],
    },
  },
];

function run(): string[] {
  const node = newNode();
  return INPUTS.map((input) => JSON.stringify([input.kind, step(node, input)]));
}

test('the same inputs give the same effects', () => {
  assert.equal(run(), run());
});

test('every kind of input reaches its method', () => {
  const results = run().map((line) => JSON.parse(line)[1].result as unknown);
  const of = (kind: Input['kind']): unknown[] =>
    INPUTS.flatMap((input, i) => (input.kind === kind ? [results[i]] : []));
  assert.equal(of('read'), [0, 1]);
  assert.equal(of('propose'), [2]);
  assert.equal(of('persisted'), [true, true, false]);
  assert.equal(of('changeConfig'), [5, 'other_config']);
  assert.equal(of('transfer'), [null]);
  const node = newNode();
  for (const input of INPUTS) step(node, input);
  assert.equal([node.term, node.role, node.serving], [3, 'follower', 'damaged']);
  assert.equal([node.firstIndex, node.lastIndex, node.commitIndex, node.appliedIndex], [9, 9, 9, 8]);
});

test('a sole voter is told what to write by its first flush', () => {
  const effects = newNode([1]).flush();
  assert.equal(effects.hardState, { term: 1, vote: 1, sequence: 2 });
  assert.is(effects.role?.role, 'candidate');
});

test('a term that is in doubt at the start is stored before anything leaves in it', () => {
  const node = newNode([1, 2, 3], { term: 12, vote: 3, inDoubt: true });
  const { sequence, ...stored } = node.flush().hardState!;
  assert.equal(stored, { term: 12, vote: 3 });
  node.receive(append({ from: 2, term: 12 }));
  assert.equal(node.flush().messages, []);
  node.hardStatePersisted(sequence);
  assert.equal(node.flush().messages.map(({ term, to }) => [term, to]), [[12, 2]]);
  const sure = newNode([1, 2, 3], { term: 12, vote: 3 });
  assert.is(sure.flush().hardState, null);
});

test('effects stay as they are until the next flush', () => {
  const node = newNode([1]);
  node.hardStatePersisted(node.flush().hardState!.sequence);
  const effects = node.flush();
  assert.equal(effects.log.map((op) => op.kind), ['append']);
  node.propose(5);
  node.persisted(1, 1, 1);
  assert.equal(effects.log.map((op) => op.kind === 'append' && [op.from, op.to]), [[1, 1]]);
  assert.is(effects.committedTo, 0);
});

test('a whole random world is the same when run again', () => {
  const trace = (): string[] => {
    const world = new RandomWorld(77);
    const lines: string[] = [];
    world.cluster.onMessage = (message) => lines.push(describeMessage(message));
    world.cluster.start();
    for (let i = 0; i < 3000; i++) world.step();
    world.heal();
    return lines;
  };
  const first = trace();
  assert.ok(first.length > 300);
  assert.equal(trace(), first);
});

test.run();
