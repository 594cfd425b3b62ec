// One test per sentence of protocol-v1 §4 "Idempotence", judged by a leader whose tail is committed
// or not as the sentence needs it. Limits are small (4 producers, a window of 3).
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Judgment } from '../../src/replica/judge.ts';
import { Overlay } from '../../src/replica/overlay.ts';
import { STATE_LIMITS } from '../../src/replica/state.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { decodeSnapshot, encodeSnapshot } from '../../src/replica/snapshot.ts';
import { controlBatch, Leader, LOG_UID, NONE, SMALL } from './support.ts';

const test = suite('replica-state/idempotence');
const ID = 7_777_777_777_777;

/** A leader with producer ID at epoch 0 and `batches` of it, all committed. */
function withProducer(batches = 0): Leader {
  const leader = new Leader();
  leader.init('app', ID);
  for (let seq = 0; seq < batches; seq++) leader.produce({ producerId: ID, seq, bodyCrc: 100 + seq });
  leader.commit();
  return leader;
}

test('an id that is not in the table is UNKNOWN_PRODUCER whatever the seq', () => {
  const leader = withProducer(2);
  for (const seq of [0, 1, 2, 99]) {
    assert.is(leader.produce({ producerId: 12345, seq }), ErrorCode.UNKNOWN_PRODUCER);
  }
  assert.is(leader.lastIndex, 3, 'nothing was appended');
});

test('a batch without a producer is not asked for epoch and seq', () => {
  const leader = withProducer();
  assert.is(leader.produce({ producerId: 0, epoch: 5, seq: 77 }), Judgment.ACCEPT);
});

test('seq counts batches from 0 and the next is the last plus 1, whatever the record count', () => {
  const leader = withProducer();
  assert.is(leader.produce({ producerId: ID, seq: 0, count: 40 }), Judgment.ACCEPT);
  assert.is(leader.produce({ producerId: ID, seq: 1 }), Judgment.ACCEPT);
  assert.is(leader.overlay.producers.find(ID)!.nextSeq, 2);
});

test('a gap is SEQ_GAP with the expected seq', () => {
  const leader = withProducer(2);
  assert.is(leader.produce({ producerId: ID, seq: 3 }), ErrorCode.SEQ_GAP);
  assert.is(leader.verdict.detail, 2);
  assert.is(leader.produce({ producerId: ID, seq: Number.MAX_SAFE_INTEGER }), ErrorCode.SEQ_GAP);
});

test('after a refused batch, later ones still apply unless their seq refuses them', () => {
  const leader = withProducer(1);
  assert.is(leader.produce({ producerId: ID, seq: 1, fence: 9 }), ErrorCode.FENCED);
  assert.is(leader.produce({ producerId: ID, seq: 2 }), ErrorCode.SEQ_GAP);
  assert.is(leader.produce({ producerId: ID, seq: 1 }), Judgment.ACCEPT);
});

test('seq goes on across epochs', () => {
  const leader = withProducer(2);
  leader.init('app', 999);
  assert.is(leader.overlay.initialized!.nextSeq, 2);
  assert.is(leader.produce({ producerId: ID, epoch: 1, seq: 0 }), ErrorCode.SEQ_REUSED);
  assert.is(leader.produce({ producerId: ID, epoch: 1, seq: 2 }), Judgment.ACCEPT);
});

test('the same name gets the same id and epoch + 1, also while the one before is not committed', () => {
  const leader = withProducer();
  for (const epoch of [1, 2, 3]) {
    leader.init('app', 1000 + epoch);
    const given = leader.overlay.initialized!;
    assert.equal([given.id, given.epoch], [ID, epoch]);
  }
  leader.commit();
  assert.is(leader.state.producers.get(ID)!.epoch, 3);
  assert.is(leader.state.producers.size, 1);
});

test('next_seq is that of the entry: batches before it count, uncommitted or not, later ones do not', () => {
  const leader = withProducer(1);
  leader.produce({ producerId: ID, seq: 1 });
  leader.init('app', 999);
  const { nextSeq } = leader.overlay.initialized!;
  assert.is(nextSeq, 2);
  leader.commit(leader.lastIndex);
  assert.is(leader.state.producers.get(ID)!.nextSeq, 2);
});

test('after epoch 65,535 the name gets a new id at epoch 0 whose seq goes on, and the old id is unknown', () => {
  const leader = withProducer(2);
  for (let epoch = 1; epoch <= 65_535; epoch++) {
    leader.init('app', 5);
    if (epoch % 5_000 === 0) leader.commit();
  }
  assert.equal([leader.overlay.initialized!.id, leader.overlay.initialized!.epoch], [ID, 65_535]);
  assert.is(leader.produce({ producerId: ID, epoch: 65_535, seq: 2 }), Judgment.ACCEPT);
  leader.init('app', 4242);
  const given = leader.overlay.initialized!;
  assert.equal([given.id, given.epoch, given.nextSeq], [4242, 0, 3]);
  for (const committed of [false, true]) {
    if (committed) leader.commit();
    assert.is(leader.produce({ producerId: ID, epoch: 65_535, seq: 3 }), ErrorCode.UNKNOWN_PRODUCER);
    assert.is(leader.produce({ producerId: 4242, epoch: 0, seq: 0 }), ErrorCode.SEQ_REUSED);
    assert.is(leader.produce({ producerId: 4242, epoch: 0, seq: 2 }), ErrorCode.SEQ_REUSED);
    assert.is(leader.produce({ producerId: 4242, epoch: 0, seq: 4 + Number(committed) }), ErrorCode.SEQ_GAP);
    assert.is(leader.produce({ producerId: 4242, epoch: 0, seq: 3 + Number(committed) }), Judgment.ACCEPT);
  }
  assert.is(leader.state.producers.size, 1);
  assert.is(leader.state.producers.byName('app')!.id, 4242);
});

test('same epoch, seq and body_crc is a duplicate with the original offsets and time', () => {
  const leader = withProducer(1);
  leader.produce({ count: 10 });
  const index = leader.append(controlBatch({}, { type: 1 })) + 1;
  leader.produce({ producerId: ID, seq: 1, count: 5, bodyCrc: 0xffffffff });
  leader.commit();
  assert.is(leader.produce({ producerId: ID, seq: 1, count: 5, bodyCrc: 0xffffffff }), Judgment.DUPLICATE);
  const v = leader.verdict;
  assert.equal([v.baseOffset, v.nextOffset, v.appendTime], [11, 16, leader.timeOf(index)]);
  assert.equal([v.waitIndex, v.confirm], [0, false], 'its original is committed');
});

test('a duplicate of an uncommitted original waits for that original and no other entry', () => {
  const leader = withProducer(1);
  leader.produce({ count: 1 });
  leader.produce({ producerId: ID, seq: 1, count: 5 });
  const original = leader.lastIndex;
  leader.produce({ producerId: ID, seq: 2, count: 7 });
  leader.produce({ count: 1 });
  assert.is(leader.produce({ producerId: ID, seq: 1, count: 5 }), Judgment.DUPLICATE);
  const v = leader.verdict;
  assert.equal([v.waitIndex, v.baseOffset, v.nextOffset], [original, 2, 7]);
  leader.commit(original);
  assert.is(leader.produce({ producerId: ID, seq: 1, count: 5 }), Judgment.DUPLICATE);
  assert.equal([v.waitIndex, v.baseOffset, v.nextOffset], [0, 2, 7]);
});

test('a duplicate is one also when its epoch is no longer current', () => {
  const leader = withProducer(2);
  leader.init('app', 999);
  for (const committed of [false, true]) {
    if (committed) leader.commit();
    assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 1, bodyCrc: 101 }), Judgment.DUPLICATE);
    assert.is(leader.verdict.baseOffset, 1);
  }
});

test('same epoch and seq with another body_crc is SEQ_REUSED, never OK', () => {
  const leader = withProducer(2);
  assert.is(leader.produce({ producerId: ID, seq: 1, bodyCrc: 1 }), ErrorCode.SEQ_REUSED);
  assert.is(leader.verdict.detail, 2);
  leader.produce({ producerId: ID, seq: 2, bodyCrc: 102 });
  assert.is(leader.produce({ producerId: ID, seq: 2, bodyCrc: 1 }), ErrorCode.SEQ_REUSED, 'uncommitted');
  assert.is(leader.verdict.detail, 3);
});

test('without a window entry an epoch that is not the current one, lower or higher, is PRODUCER_FENCED', () => {
  const leader = withProducer(1);
  leader.init('app', 999);
  leader.produce({ producerId: ID, epoch: 1, seq: 1 });
  leader.commit();
  assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 2 }), ErrorCode.PRODUCER_FENCED, 'a zombie');
  assert.is(leader.produce({ producerId: ID, epoch: 2, seq: 2 }), ErrorCode.PRODUCER_FENCED);
  assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 1 }), ErrorCode.PRODUCER_FENCED, 'not its batch');
  assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 99 }), ErrorCode.PRODUCER_FENCED, 'before the gap');
});

test('a zombie is fenced by an INIT_PRODUCER that is not committed yet, and waits for it', () => {
  const leader = withProducer(1);
  leader.init('app', 999);
  assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 1 }), ErrorCode.PRODUCER_FENCED);
  assert.is(leader.verdict.waitIndex, leader.lastIndex);
  assert.is(leader.verdict.confirm, true);
});

test('a seq that has left the window is a duplicate with NONE and append_time 0', () => {
  const leader = withProducer(5);
  assert.is(leader.produce({ producerId: ID, seq: 2, bodyCrc: 102 }), Judgment.DUPLICATE);
  assert.is(leader.verdict.baseOffset, 2, 'the third last is still in a window of 3');
  assert.is(leader.produce({ producerId: ID, seq: 1, bodyCrc: 101 }), Judgment.DUPLICATE);
  const v = leader.verdict;
  assert.equal([v.baseOffset, v.nextOffset, v.appendTime, v.waitIndex], [NONE, NONE, 0, 0]);
});

test('a duplicate that has left the window waits for its original, too', () => {
  const leader = withProducer();
  const original = leader.lastIndex + 1;
  for (let seq = 0; seq < 5; seq++) leader.produce({ producerId: ID, seq });
  assert.is(leader.produce({ producerId: ID, seq: 0 }), Judgment.DUPLICATE);
  assert.equal([leader.verdict.baseOffset, leader.verdict.waitIndex], [NONE, original]);
});

test('a seq below the first of this epoch that has left the window is SEQ_REUSED', () => {
  const leader = withProducer(4);
  leader.init('app', 999);
  leader.commit();
  assert.is(leader.produce({ producerId: ID, epoch: 1, seq: 0 }), ErrorCode.SEQ_REUSED, 'out of the window');
  assert.is(leader.verdict.detail, 4);
  assert.is(leader.produce({ producerId: ID, epoch: 1, seq: 3 }), ErrorCode.SEQ_REUSED, 'in it, by another epoch');
  assert.is(leader.produce({ producerId: ID, epoch: 0, seq: 0 }), ErrorCode.PRODUCER_FENCED);
});

test('a log keeps the last 64 batches of a producer', () => {
  assert.is(STATE_LIMITS.window, 64);
  const leader = new Leader(STATE_LIMITS);
  leader.init('app', ID);
  for (let seq = 0; seq < 100; seq++) leader.produce({ producerId: ID, seq });
  for (const committed of [false, true]) {
    if (committed) leader.commit();
    assert.is(leader.produce({ producerId: ID, seq: 36 }), Judgment.DUPLICATE);
    assert.is(leader.verdict.baseOffset, 36);
    assert.is(leader.produce({ producerId: ID, seq: 35 }), Judgment.DUPLICATE);
    assert.is(leader.verdict.baseOffset, NONE);
  }
});

test('the least recently used producer goes when a new one comes, counted by batches and starts', () => {
  const leader = new Leader();
  for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) leader.init(name, 10 + i);
  leader.produce({ producerId: 10, seq: 0 });
  leader.init('b', 99);
  leader.commit();
  leader.produce({ producerId: 11, epoch: 0, seq: 0 });
  leader.init('e', 14);
  assert.is(leader.overlay.producers.find(12), null, 'c was neither produced with nor started again');
  leader.init('f', 15);
  assert.is(leader.produce({ producerId: 13, seq: 0 }), ErrorCode.UNKNOWN_PRODUCER, 'then d');
  leader.init('g', 16);
  assert.is(leader.produce({ producerId: 10, seq: 1 }), ErrorCode.UNKNOWN_PRODUCER, 'then a');
  leader.commit();
  assert.equal([10, 11, 12, 13, 14, 15, 16].map((id) => leader.state.producers.get(id) !== undefined), [
    false,
    true,
    false,
    false,
    true,
    true,
    true,
  ]);
});

test('a refused batch and a duplicate are no use of a producer', () => {
  const leader = new Leader();
  for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) leader.init(name, 10 + i);
  leader.produce({ producerId: 10, seq: 5 });
  leader.init('e', 14);
  assert.is(leader.overlay.producers.find(10), null);
});

test('a name that was let go starts anew with a new id and seq 0', () => {
  const leader = new Leader();
  leader.init('a', 10);
  leader.produce({ producerId: 10, seq: 0 });
  for (const [i, name] of ['b', 'c', 'd', 'e'].entries()) leader.init(name, 20 + i);
  leader.init('a', 30);
  const given = leader.overlay.initialized!;
  assert.equal([given.id, given.epoch, given.nextSeq], [30, 0, 0]);
  leader.commit();
  assert.is(leader.state.producers.byName('a')!.id, 30);
});

test('an id that is in the table, committed or not, is not given to another name', () => {
  const leader = withProducer();
  assert.is(leader.init('other', ID), Judgment.ID_TAKEN);
  leader.init('second', 50);
  assert.is(leader.init('other', 50), Judgment.ID_TAKEN);
  assert.is(leader.init('other', 0), Judgment.ID_TAKEN, '0 means no producer');
});

test('the table survives restart, leader change and trimming', () => {
  const leader = withProducer(2);
  leader.append(controlBatch({}, { type: 5, offset: 2 }));
  leader.commit();
  const restored = decodeSnapshot(encodeSnapshot(leader.state), LOG_UID, SMALL);
  const follower = leader.follower(leader.lastIndex);
  for (const state of [restored, follower]) {
    leader.state = state;
    leader.overlay = new Overlay(state);
    leader.overlay.begin();
    assert.is(leader.produce({ producerId: ID, seq: 1, bodyCrc: 101 }), Judgment.DUPLICATE);
    assert.is(leader.verdict.baseOffset, 1);
    assert.is(leader.produce({ producerId: ID, seq: 1, bodyCrc: 1 }), ErrorCode.SEQ_REUSED);
  }
});

test('what a step-down cut off is forgotten: the batch is accepted again', () => {
  const leader = withProducer(1);
  const kept = leader.lastIndex;
  leader.produce({ producerId: ID, seq: 1 });
  leader.init('late', 60);
  leader.restart(kept);
  assert.is(leader.produce({ producerId: 60, seq: 0 }), ErrorCode.UNKNOWN_PRODUCER);
  assert.is(leader.produce({ producerId: ID, seq: 1 }), Judgment.ACCEPT);
});

test('what a new leader finds in its uncommitted tail is a duplicate', () => {
  const leader = withProducer(1);
  leader.produce({ producerId: ID, seq: 1, count: 3 });
  const original = leader.lastIndex;
  leader.restart(original);
  assert.is(leader.produce({ producerId: ID, seq: 1, count: 3 }), Judgment.DUPLICATE);
  assert.equal([leader.verdict.waitIndex, leader.verdict.baseOffset], [original, 1]);
});

test.run();
