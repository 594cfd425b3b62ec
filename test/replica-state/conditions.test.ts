// One test per sentence of protocol-v1 §4 on fences, expected_offset, positions, trims, the order of
// judgment, and what a refusal waits for.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { judgeInitProducer, judgeProduce, judgePutPosition, judgeTrim, Judgment } from '../../src/replica/judge.ts';
import { refusalOptions } from '../../src/replica/judge.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { controlBatch, dataBatch, Leader, NONE } from './support.ts';

const test = suite('replica-state/conditions');

test('a produce without a fence is taken while none is set, one with a fence is FENCED{0}', () => {
  const leader = new Leader();
  assert.is(leader.produce({}), Judgment.ACCEPT);
  assert.is(leader.produce({ fence: 1 }), ErrorCode.FENCED);
  assert.is(leader.verdict.detail, 0);
});

test('once a fence is set, exactly that fence is taken: none, lower and higher are FENCED{current}', () => {
  const leader = new Leader();
  leader.fence(5);
  for (const committed of [false, true]) {
    if (committed) leader.commit();
    for (const fence of [0, 4, 6]) {
      assert.is(leader.produce({ fence }), ErrorCode.FENCED);
      assert.is(leader.verdict.detail, 5);
    }
    assert.is(leader.produce({ fence: 5 }), Judgment.ACCEPT);
  }
});

test('FENCE above the current raises it, equal changes nothing, lower is FENCED', () => {
  const leader = new Leader();
  assert.is(leader.fence(3), Judgment.ACCEPT);
  assert.is(leader.fence(3), Judgment.UNCHANGED);
  assert.equal([leader.verdict.waitIndex, leader.verdict.confirm], [1, true]);
  assert.is(leader.fence(2), ErrorCode.FENCED);
  assert.is(leader.verdict.detail, 3);
  assert.is(leader.fence(Number.MAX_SAFE_INTEGER), Judgment.ACCEPT);
  leader.commit();
  assert.is(leader.state.fence, Number.MAX_SAFE_INTEGER);
  assert.is(leader.lastIndex, 2);
});

test('FENCE 0 on a log without a fence changes nothing', () => {
  assert.is(new Leader().fence(0), Judgment.UNCHANGED);
});

test('a fence that a step-down cut off is gone', () => {
  const leader = new Leader();
  leader.produce({});
  leader.fence(5);
  leader.restart(1);
  assert.is(leader.produce({}), Judgment.ACCEPT);
});

test('expected_offset must be the next offset, uncommitted records counted, control entries not', () => {
  const leader = new Leader();
  assert.is(leader.produce({ expected: 0, count: 3 }), Judgment.ACCEPT);
  leader.append(controlBatch({}, { type: 1 }));
  for (const expected of [0, 2, 4]) {
    assert.is(leader.produce({ expected }), ErrorCode.OFFSET_MISMATCH);
    assert.is(leader.verdict.detail, 3);
  }
  assert.is(leader.produce({ expected: 3 }), Judgment.ACCEPT);
});

test('of two writers that expect the same offset one wins', () => {
  const leader = new Leader();
  assert.is(leader.produce({ expected: 0 }), Judgment.ACCEPT);
  assert.is(leader.produce({ expected: 0 }), ErrorCode.OFFSET_MISMATCH);
});

test('PRODUCE is judged in this order: producer, duplicate, epoch, gap, fence, expected offset, room', () => {
  const leader = new Leader();
  leader.init('app', 10);
  leader.produce({ producerId: 10, seq: 0 });
  leader.init('app', 11);
  leader.fence(5);
  const wrong = { fence: 4, expected: 99, hasRoom: false };
  assert.is(leader.produce({ ...wrong, producerId: 77, seq: 9 }), ErrorCode.UNKNOWN_PRODUCER);
  assert.is(leader.produce({ ...wrong, producerId: 10, epoch: 0, seq: 0 }), Judgment.DUPLICATE);
  assert.is(leader.produce({ ...wrong, producerId: 10, epoch: 0, seq: 0, bodyCrc: 1 }), ErrorCode.SEQ_REUSED);
  assert.is(leader.produce({ ...wrong, producerId: 10, epoch: 0, seq: 9 }), ErrorCode.PRODUCER_FENCED);
  assert.is(leader.produce({ ...wrong, producerId: 10, epoch: 1, seq: 9 }), ErrorCode.SEQ_GAP);
  assert.is(leader.produce({ ...wrong, producerId: 10, epoch: 1, seq: 1 }), ErrorCode.FENCED);
  const fenced = { ...wrong, fence: 5, producerId: 10, epoch: 1, seq: 1 };
  assert.is(leader.produce(fenced), ErrorCode.OFFSET_MISMATCH);
  assert.is(leader.produce({ ...fenced, expected: 1 }), ErrorCode.STORAGE_FULL);
  assert.is(leader.produce({ ...fenced, expected: 1, hasRoom: true }), Judgment.ACCEPT);
});

test('every refusal that rests on the state waits for the last entry it was judged against', () => {
  const leader = new Leader();
  leader.init('app', 10);
  leader.commit();
  leader.produce({});
  const refusals: [() => number, number][] = [
    [() => leader.produce({ producerId: 77 }), ErrorCode.UNKNOWN_PRODUCER],
    [() => leader.produce({ producerId: 10, epoch: 1 }), ErrorCode.PRODUCER_FENCED],
    [() => leader.produce({ producerId: 10, seq: 1 }), ErrorCode.SEQ_GAP],
    [() => leader.produce({ fence: 1 }), ErrorCode.FENCED],
    [() => leader.produce({ expected: 0 }), ErrorCode.OFFSET_MISMATCH],
    [() => leader.put('p', 1, 5), ErrorCode.POSITION_MISMATCH],
  ];
  for (const [refuse, code] of refusals) {
    assert.is(refuse(), code);
    const v = leader.verdict;
    assert.equal([v.code, v.waitIndex, v.confirm, v.flushFirst], [code, 2, true, false]);
  }
});

test('STORAGE_FULL rests on no entry', () => {
  const leader = new Leader();
  leader.fence(5);
  leader.produce({});
  assert.is(leader.produce({ fence: 5, hasRoom: false }), ErrorCode.STORAGE_FULL);
  assert.equal([leader.verdict.waitIndex, leader.verdict.confirm], [0, false]);
  assert.is(judgeInitProducer(leader.overlay, leader.verdict, 9, false), ErrorCode.STORAGE_FULL);
  assert.is(judgePutPosition(leader.overlay, leader.verdict, 'p', 1, NONE, false), ErrorCode.STORAGE_FULL);
  assert.equal([leader.verdict.waitIndex, leader.verdict.confirm], [0, false]);
});

test('the plain path leaves the verdict alone', () => {
  const leader = new Leader();
  const { verdict } = leader;
  leader.produce({ fence: 3 });
  const before = { ...verdict };
  assert.is(judgeProduce(leader.overlay, verdict, dataBatch({}), 0, 0, NONE, true), Judgment.ACCEPT);
  assert.equal({ ...verdict }, before);
});

test('a refusal carries its value in the TLV of its code', () => {
  assert.equal(refusalOptions(ErrorCode.FENCED, 3), { fence: 3 });
  assert.equal(refusalOptions(ErrorCode.SEQ_GAP, 3), { expectedSeq: 3 });
  assert.equal(refusalOptions(ErrorCode.SEQ_REUSED, 3), { expectedSeq: 3 });
  assert.equal(refusalOptions(ErrorCode.OFFSET_MISMATCH, 3), { nextOffset: 3 });
  assert.equal(refusalOptions(ErrorCode.POSITION_MISMATCH, 3), { nextOffset: 3 });
  assert.equal(refusalOptions(ErrorCode.INVALID_ARGUMENT, 3), { limit: 3, field: 'name' });
  assert.equal(refusalOptions(ErrorCode.UNKNOWN_PRODUCER, 3), {});
});

test('a position may be set to any offset, also back', () => {
  const leader = new Leader();
  for (const offset of [10, 3, 1_000_000]) {
    assert.is(leader.put('p', offset), Judgment.ACCEPT);
    leader.flush();
    leader.commit();
    const position = leader.state.positions.get('p')!;
    assert.equal([position.offset, position.updatedMs], [offset, leader.timeOf(leader.lastIndex)]);
  }
});

test('expected makes PUT_POSITION compare-and-set, against staged, uncommitted and committed updates', () => {
  const leader = new Leader();
  leader.put('p', 10);
  assert.is(leader.put('p', 11, 9), ErrorCode.POSITION_MISMATCH, 'staged');
  assert.equal([leader.verdict.detail, leader.verdict.flushFirst], [10, true]);
  assert.is(leader.put('p', 11, 10), Judgment.ACCEPT);
  leader.flush();
  assert.is(leader.put('p', 12, 10), ErrorCode.POSITION_MISMATCH, 'uncommitted');
  assert.equal([leader.verdict.detail, leader.verdict.flushFirst], [11, false]);
  leader.commit();
  assert.is(leader.put('p', 12, 10), ErrorCode.POSITION_MISMATCH, 'committed');
  assert.is(leader.put('p', 12, 11), Judgment.ACCEPT);
});

test('a position that does not exist compares as 0', () => {
  const leader = new Leader();
  assert.is(leader.put('p', 5, 1), ErrorCode.POSITION_MISMATCH);
  assert.is(leader.verdict.detail, 0);
  assert.is(leader.put('p', 5, 0), Judgment.ACCEPT);
  assert.is(leader.put('p', NONE), Judgment.ACCEPT);
  assert.is(leader.put('p', 6, 5), ErrorCode.POSITION_MISMATCH, 'a deleted one, too');
  assert.is(leader.put('p', 6, 0), Judgment.ACCEPT);
});

test('deleting a position that does not exist is OK', () => {
  const leader = new Leader();
  assert.is(leader.put('p', NONE), Judgment.ACCEPT);
  assert.is(leader.put('p', NONE, 0), Judgment.ACCEPT);
  leader.flush();
  leader.commit();
  assert.is(leader.state.positions.size, 0);
});

test('position updates of one turn become one entry, the last per name wins', () => {
  const leader = new Leader();
  leader.put('a', 1);
  leader.put('b', 2);
  leader.put('a', 3);
  leader.put('b', NONE);
  assert.is(leader.overlay.positions.stagedCount, 2);
  leader.flush();
  assert.is(leader.lastIndex, 1);
  leader.commit();
  assert.is(leader.state.positions.get('a')!.offset, 3);
  assert.is(leader.state.positions.get('b'), undefined);
});

test('positions beyond the limit are INVALID_ARGUMENT{limit}; a deletion of the same turn makes room', () => {
  const leader = new Leader();
  for (const name of ['a', 'b', 'c']) leader.put(name, 1);
  assert.is(leader.put('d', 1), ErrorCode.INVALID_ARGUMENT);
  assert.is(leader.verdict.detail, 3);
  assert.is(leader.put('a', 2), Judgment.ACCEPT, 'one that exists may move');
  leader.flush();
  assert.is(leader.put('d', 1), ErrorCode.INVALID_ARGUMENT);
  leader.put('b', NONE);
  assert.is(leader.put('d', 1), Judgment.ACCEPT);
  leader.flush();
  leader.commit();
  assert.equal(leader.state.positions.list().map((p) => p.name), ['a', 'c', 'd']);
});

test('staged positions are dropped at a step-down, uncommitted ones with the tail', () => {
  const leader = new Leader();
  leader.put('a', 1);
  leader.flush();
  leader.put('b', 1);
  leader.restart(0);
  assert.equal([leader.overlay.positions.stagedCount, leader.overlay.positions.size], [0, 0]);
  assert.is(leader.overlay.positions.get('a'), NONE);
});

test('staged updates say how many bytes they will take', () => {
  const leader = new Leader();
  leader.put('abc', 1);
  leader.put('abc', 2);
  leader.put('de', NONE);
  assert.is(leader.overlay.positions.stagedBytes, 13 + 12);
  leader.flush();
  assert.is(leader.overlay.positions.stagedBytes, 0);
});

test('a trim raises the log start and never lowers it', () => {
  const leader = new Leader();
  leader.produce({ count: 10 });
  leader.append(controlBatch({}, { type: 5, offset: 7 }));
  assert.is(judgeTrim(leader.overlay, leader.verdict, 7), Judgment.UNCHANGED);
  assert.equal([leader.verdict.detail, leader.verdict.waitIndex], [7, 2]);
  assert.is(judgeTrim(leader.overlay, leader.verdict, 8), Judgment.ACCEPT);
  leader.append(controlBatch({}, { type: 5, offset: 3 }));
  assert.is(leader.overlay.logStart, 7);
  leader.commit();
  assert.is(leader.state.logStart, 7);
});

test.run();
