// Applying entries: what counts, what stops a replica, and that it stops before anything changed.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeControl, decodeControl } from '../../src/replica/control.ts';
import type { Control } from '../../src/replica/control.ts';
import { encodeSnapshot } from '../../src/replica/snapshot.ts';
import { StateError } from '../../src/replica/state-error.ts';
import { ReplicaState, STATE_LIMITS } from '../../src/replica/state.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { controlBatch, dataBatch, Leader, LOG_UID, NONE, SMALL } from './support.ts';

const test = suite('replica-state/state');
const stops = (code: string) => (error: Error) => error instanceof StateError && error.code === code;
const crashes = (error: Error) => error instanceof InvariantError;

/** A state with 10 records, producer 10 ("app", next seq 1), fence 5 and three positions. */
function filled(): { state: ReplicaState; next: { index: number; term: number; baseOffset: number; appendTime: number } } {
  const leader = new Leader();
  leader.produce({ count: 9 });
  leader.init('app', 10);
  leader.produce({ producerId: 10, seq: 0 });
  leader.fence(5);
  for (const name of ['a', 'b', 'c']) leader.put(name, 1);
  leader.flush();
  leader.commit();
  const index = leader.lastIndex + 1;
  return { state: leader.state, next: { index, term: 1, baseOffset: 10, appendTime: leader.timeOf(index) } };
}

const controls: [string, Control, string][] = [
  ['NOOP', { type: 1 }, '0100'],
  ['CONFIG', { type: 2, data: Buffer.from('ab') }, '0200000000026162'],
  ['INIT_PRODUCER', { type: 3, name: 'app', producerId: 2 ** 53 - 1 }, '03000003617070001fffffffffffff'],
  ['FENCE', { type: 4, token: 258 }, '04000000000000000102'],
  ['TRIM', { type: 5, offset: 7 }, '05000000000000000007'],
  ['POSITIONS', { type: 6, updates: [{ name: 'p', offset: 1 }, { name: 'q', offset: NONE }] },
    '0600000200017000000000000000010001' + '71ffffffffffffffff'],
];

for (const [name, control, hex] of controls) {
  test(`a ${name} entry has these bytes, and they are read back`, () => {
    const body = encodeControl(control);
    assert.is(body.toString('hex'), hex);
    assert.equal(decodeControl(Buffer.concat([Buffer.alloc(3), body]), 3, 3 + body.length), control);
  });

  test(`a ${name} entry cut short or with a byte too many stops the replica`, () => {
    const body = Buffer.from(hex, 'hex');
    for (let end = 0; end < body.length; end++) assert.throws(() => decodeControl(body, 0, end), stops('BAD_CONTROL'));
    const long = Buffer.concat([body, Buffer.alloc(1)]);
    assert.throws(() => decodeControl(long, 0, long.length), stops('BAD_CONTROL'));
  });
}

test('a control entry of unknown type stops the replica unless it may be ignored', () => {
  const { state, next } = filled();
  const before = encodeSnapshot(state);
  assert.throws(() => state.apply(controlBatch(next, Buffer.from([77, 0, 1])), 0), stops('UNKNOWN_CONTROL'));
  assert.throws(() => state.apply(controlBatch(next, Buffer.from([0, 0])), 0), stops('UNKNOWN_CONTROL'));
  assert.equal(encodeSnapshot(state), before);
  assert.is(state.apply(controlBatch(next, Buffer.from([77, 1, 1])), 0), 0);
  assert.is(state.appliedIndex, next.index);
});

test('unknown control flags stop the replica', () => {
  const { state, next } = filled();
  assert.throws(() => state.apply(controlBatch(next, Buffer.from([77, 3, 1])), 0), stops('BAD_CONTROL'));
});

test('an entry that the state does not allow stops the replica before anything has changed', () => {
  const { state, next } = filled();
  const before = encodeSnapshot(state);
  const duplicate = [{ name: 'a', offset: 2 }, { name: 'a', offset: 3 }];
  const bad: [string, Buffer][] = [
    ['unknown producer', dataBatch({ ...next, producerId: 11, seq: 0 })],
    ['wrong epoch', dataBatch({ ...next, producerId: 10, epoch: 1, seq: 1 })],
    ['seq behind', dataBatch({ ...next, producerId: 10, seq: 0 })],
    ['seq ahead', dataBatch({ ...next, producerId: 10, seq: 2 })],
    ['id taken', controlBatch(next, { type: 3, name: 'other', producerId: 10 })],
    ['id 0', controlBatch(next, { type: 3, name: 'other', producerId: 0 })],
    ['fence lowered', controlBatch(next, { type: 4, token: 4 })],
    ['trim beyond the end', controlBatch(next, { type: 5, offset: 11 })],
    ['one position too many', controlBatch(next, { type: 6, updates: [{ name: 'd', offset: 1 }] })],
    ['a name twice', controlBatch(next, { type: 6, updates: duplicate })],
  ];
  for (const [what, entry] of bad) {
    assert.throws(() => state.apply(entry, 0), stops('BAD_ENTRY'), what);
    assert.equal(encodeSnapshot(state), before, what);
  }
  state.apply(controlBatch(next, { type: 5, offset: 10 }), 0);
  assert.is(state.logStart, 10);
});

test('an entry out of order is a bug of ours', () => {
  const { state, next } = filled();
  for (const wrong of [
    { index: next.index + 1 },
    { index: next.index - 1 },
    { baseOffset: 9 },
    { term: 0 },
    { appendTime: next.appendTime - 100 },
  ]) {
    assert.throws(() => state.apply(controlBatch({ ...next, ...wrong }, { type: 1 }), 0), crashes);
  }
  assert.throws(() => state.apply(dataBatch({ ...next, count: 0 }), 0), crashes);
});

test('data entries move the end of the log, control entries do not', () => {
  const { state, next } = filled();
  assert.is(state.apply(controlBatch(next, { type: 1 }), 0), 1);
  assert.is(state.nextOffset, 10);
  assert.is(state.apply(dataBatch({ ...next, index: next.index + 1, count: 4 }), 0), 0);
  assert.equal([state.nextOffset, state.appliedIndex], [14, next.index + 1]);
});

test('of a data batch only the header is read, at any place in a buffer', () => {
  const { state, next } = filled();
  const header = Buffer.concat([Buffer.alloc(13, 0xee), dataBatch({ ...next, producerId: 10, seq: 1, count: 2 }, 500).subarray(0, 72)]);
  state.apply(header, 13);
  assert.is(state.producers.get(10)!.nextSeq, 2);
});

test('the newest CONFIG entry counts', () => {
  const { state, next } = filled();
  assert.equal([state.configIndex, state.configuration], [0, null]);
  state.apply(controlBatch(next, { type: 2, data: Buffer.from('one') }), 0);
  state.apply(controlBatch({ ...next, index: next.index + 1 }, { type: 2, data: Buffer.from('two') }), 0);
  assert.equal([state.configIndex, state.configuration?.toString()], [next.index + 1, 'two']);
});

test('a control entry keeps no view of the bytes it was read from', () => {
  const state = new ReplicaState(LOG_UID, SMALL);
  const bytes = controlBatch({ index: 1, term: 1 }, { type: 2, data: Buffer.from('one') });
  state.apply(bytes, 0);
  bytes.fill(0);
  assert.is(state.configuration?.toString(), 'one');
});

test('a log keeps 10,000 producers and 10,000 positions', () => {
  assert.equal([STATE_LIMITS.producersMax, STATE_LIMITS.positionsMax], [10_000, 10_000]);
});

test('an overlay that ended takes, notes and applies nothing', () => {
  const leader = new Leader();
  leader.produce({});
  leader.overlay.end();
  assert.throws(() => leader.overlay.advance(1), crashes);
  assert.throws(() => leader.overlay.propose(1, 1, 1, dataBatch({}), 0), crashes);
});

test('an overlay applies nothing that it has not noted (I6), and nothing twice', () => {
  const leader = new Leader();
  leader.produce({});
  assert.throws(() => leader.overlay.advance(2), crashes);
  leader.commit(1);
  leader.commit(1);
  assert.is(leader.state.appliedIndex, 1);
  leader.state.apply(dataBatch({ index: 2, term: 1, baseOffset: 1, appendTime: leader.timeOf(2) }), 0);
  assert.throws(() => leader.overlay.advance(2), crashes, 'applied past the overlay');
});

test('a replayed batch must begin where the log ends', () => {
  const leader = new Leader();
  assert.throws(() => leader.overlay.replay(dataBatch({ index: 1, term: 1, baseOffset: 1 }), 0), crashes);
  assert.throws(() => leader.overlay.replay(dataBatch({ index: 2, term: 1 }), 0), crashes);
});

test('a long tail of plain batches grows and commits in runs', () => {
  const leader = new Leader();
  const batch = dataBatch({ count: 2 });
  for (let i = 1; i <= 70_000; i++) leader.overlay.propose(i, 1, i, batch, 0);
  leader.overlay.advance(69_999);
  assert.equal([leader.state.nextOffset, leader.state.appliedTime, leader.overlay.tailLength], [139_998, 69_999, 1]);
  leader.overlay.advance(70_000);
  assert.ok(leader.overlay.ring.capacity < 70_000, 'a burst is not kept for ever');
  leader.overlay.propose(70_001, 1, 70_001, batch, 0);
  leader.overlay.advance(70_001);
  assert.is(leader.state.nextOffset, 140_002);
});

test.run();
