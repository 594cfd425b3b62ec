// The driver over ports in the test's hands: what it starts in which order, what waits for which completion,
// and what it does when the disk is full or fails.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import type { Append } from '../../src/raft/types.ts';
import { Rig } from './fakes.ts';

const test = suite('raft-driver/driver');

/** Entries of a leader's Append: one byte each, its term. */
function entries(prevIndex: number, prevTerm: number, terms: number[], commitIndex = 0) {
  const runs: { fromIndex: number; term: number }[] = [];
  terms.forEach((term, i) => {
    if (runs.at(-1)?.term !== term) runs.push({ fromIndex: prevIndex + 1 + i, term });
  });
  return {
    fields: {
      kind: MessageKind.Append, prevIndex, prevTerm, fromIndex: prevIndex + 1, toIndex: prevIndex + terms.length, runs, configs: [], commitIndex, body: null,
    },
    body: [Buffer.from(terms)],
  };
}

test('a lone voter stores its term before it leads, and leads before any sync of the log', async () => {
  const rig = await new Rig().started();
  assert.equal(rig.takeCalls(), ['store 1/1', 'role candidate 1', 'config changed', 'noop 1@1', 'role leader 1']);
  assert.ok(rig.driver.accepting);
});

test('nobody leads before the own vote is on disk (I3)', async () => {
  const rig = new Rig();
  rig.hardState.quick = false;
  await rig.started();
  assert.not.ok(rig.driver.accepting);
  assert.is(rig.log.lastIndex, 0);
  rig.hardState.puts[0]!.end('stored');
  await rig.settle();
  assert.ok(rig.driver.accepting);
  assert.is(rig.log.lastIndex, 1);
});

test('a lone voter commits what is durable, and nothing before', async () => {
  const rig = await new Rig().started();
  rig.log.propose(1);
  rig.driver.proposed();
  await rig.settle();
  rig.takeCalls();
  await rig.durable(1);
  assert.equal(rig.takeCalls(), ['committed 1']);
  await rig.durable(2);
  assert.equal(rig.takeCalls(), ['committed 2']);
});

test('proposals of a turn cost one announcement, and need no turn of their own when nobody else is there', async () => {
  const rig = await new Rig().started();
  await rig.durable();
  for (let i = 0; i < 1000; i++) {
    rig.log.propose(1);
    rig.driver.proposed();
  }
  assert.is(rig.pendingTasks, 0);
  assert.is(rig.driver.node.lastIndex, 1, 'the core has not been asked once');
  await rig.durable();
  assert.is(rig.driver.node.lastIndex, 1001);
  assert.is(rig.driver.node.commitIndex, 1001);
});

test('bytes are in the log before the message that names them is sent', async () => {
  const rig = await new Rig({ voters: 3 }).elected();
  await rig.durable();
  rig.answer({ kind: MessageKind.AppendAck, match: 1, commitIndex: 0, wantsCommit: false }, 2, 1);
  await rig.settle();
  rig.takeCalls();
  rig.log.propose(1);
  rig.driver.proposed();
  await rig.settle();
  const append = rig.take(MessageKind.Append).at(-1) as Append;
  assert.is(append.toIndex, 2);
  assert.equal([...(append.body as Buffer)], [1]);
});

test('the effects of one turn come in their order: hard state, log, messages, commit, role', async () => {
  const rig = await new Rig({ voters: 3, log: { terms: [1, 1], commit: 0 }, hardState: { term: 1, vote: 0 } }).started();
  rig.takeCalls();
  const { fields, body } = entries(1, 1, [2, 2], 1);
  rig.answer(fields, 2, 2, body);
  await rig.settle();
  assert.equal(rig.takeCalls(), ['store 2/0', 'truncate after 1', 'append 2-3', 'committed 1', 'role follower 2']);
});

test('an ack waits for the entries to be on disk, and for the term (I3)', async () => {
  const rig = new Rig({ voters: 3 });
  rig.hardState.quick = false;
  await rig.started();
  const { fields, body } = entries(0, 0, [5, 5]);
  rig.answer(fields, 2, 5, body);
  await rig.settle();
  await rig.durable();
  assert.equal(rig.sent, [], 'the term is not on disk');
  rig.hardState.puts[0]!.end('stored');
  await rig.settle();
  const acks = rig.take(MessageKind.AppendAck);
  assert.is((acks[0] as { match: number }).match, 2);
});

test('configurations come from the verified bytes, not from what the message says', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const { fields, body } = entries(0, 0, [1, 1]);
  const member = (replicaId: number) => ({ replicaId, nodeId: 'ee'.repeat(16) });
  rig.log.configs = [{ index: 2, config: { voters: [member(9)], learners: [] } }];
  rig.answer(fields, 2, 1, body);
  await rig.settle();
  assert.is(rig.driver.node.config.index, 2);
  assert.is(rig.driver.node.config.config.voters[0]!.replicaId, 9);
});

test('an Append whose bytes do not hold what it says is counted and dropped', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const { fields } = entries(0, 0, [1, 1]);
  rig.answer(fields, 2, 1, [Buffer.from([1])]);
  await rig.settle();
  assert.is(rig.driver.counters.malformed, 1);
  assert.is(rig.driver.node.lastIndex, 0);
  assert.is(rig.driver.term, 0, 'not even its term was believed');
});

test('a completion of an older generation says nothing, and what is there needs one of its own', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const first = entries(0, 0, [1, 1, 1]);
  rig.answer(first.fields, 2, 1, first.body);
  await rig.settle();
  const stale = rig.log.generation;
  const second = entries(1, 1, [2, 2]);
  rig.answer(second.fields, 3, 2, second.body);
  await rig.settle();
  assert.is(rig.log.generation, stale + 1);
  rig.driver.logDurable(3, 1, stale);
  await rig.settle();
  assert.is(rig.driver.node.durableIndex, 0);
  assert.is(rig.driver.counters.staleCompletions, 1);
  await rig.durable();
  assert.is(rig.driver.node.durableIndex, 3);
});

test('the same entries sent again after a cut are not durable by the write of the first ones (ABA)', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const { fields, body } = entries(0, 0, [1, 1, 1]);
  rig.answer(fields, 2, 1, body);
  await rig.settle();
  const before = rig.log.generation;
  rig.log.cutBack(0);
  rig.driver.logCut();
  rig.log.ready = true;
  rig.driver.logReady();
  rig.answer(fields, 2, 1, body);
  await rig.settle();
  assert.equal(rig.log.terms, [1, 1, 1]);
  rig.driver.logDurable(3, 1, before);
  await rig.settle();
  assert.is(rig.driver.node.durableIndex, 0);
  assert.is(rig.driver.counters.staleCompletions, 1);
});

test('entries behind a truncation that still looks for its place wait for it', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const first = entries(0, 0, [1, 1, 1]);
  rig.answer(first.fields, 2, 1, first.body);
  await rig.settle();
  await rig.durable();
  rig.log.slowCut = true;
  rig.takeCalls();
  const second = entries(1, 1, [2, 2]);
  rig.answer(second.fields, 3, 2, second.body);
  await rig.settle();
  assert.equal(rig.takeCalls().filter((call) => /truncate|append/.test(call)), ['truncate after 1']);
  // What is reported meanwhile is about the old entries.
  await rig.durable(3);
  assert.is(rig.driver.node.durableIndex, 1);
  rig.log.finishCut();
  rig.driver.logReady();
  await rig.settle();
  assert.equal(rig.takeCalls().filter((call) => /truncate|append/.test(call)), ['append 2-3']);
  assert.equal(rig.log.terms, [1, 2, 2]);
  await rig.durable();
  assert.is(rig.driver.node.durableIndex, 3);
});

test('entries that are in memory no more are read first, and later ones do not overtake them', async () => {
  const rig = await new Rig({ voters: 3, log: { terms: [1, 1, 1, 1] }, hardState: { term: 1, vote: 1 } }).elected();
  rig.log.cachedFrom = 4;
  await rig.durable();
  rig.take(MessageKind.Append);
  rig.answer({ kind: MessageKind.AppendReject, prevIndex: 4, hintIndex: 0, hintTerm: 0 }, 2, 2);
  await rig.settle();
  assert.equal(rig.log.loads.map(({ from, to }) => [from, to]), [[1, 5]]);
  rig.log.propose(2);
  rig.driver.proposed();
  await rig.settle();
  assert.is(rig.take(MessageKind.Append).filter(({ to }) => to === 2).length, 0);
  rig.log.loads[0]!.end(true);
  await rig.settle();
  const append = rig.take(MessageKind.Append).find(({ to }) => to === 2) as Append;
  assert.equal([...(append.body as Buffer)], [1, 1, 1, 1, 2]);
});

test('what is in memory does not overtake what has to be read', async () => {
  const rig = await new Rig({ voters: 3, log: { terms: [1, 1] }, hardState: { term: 1, vote: 1 } }).elected();
  await rig.durable();
  rig.answer({ kind: MessageKind.AppendAck, match: 3, commitIndex: 0, wantsCommit: false }, 2, 2);
  await rig.settle();
  rig.take(MessageKind.Append);
  const propose = async (): Promise<void> => {
    rig.log.propose(2);
    rig.driver.proposed();
    await rig.settle();
  };
  rig.log.cachedFrom = 5;
  await propose();
  await propose();
  assert.equal(rig.log.loads.map(({ from, to }) => [from, to]), [[4, 4]]);
  assert.equal(rig.take(MessageKind.Append).filter(({ to }) => to === 2), []);
  rig.log.loads[0]!.end(true);
  await rig.settle();
  assert.equal(rig.log.loads.map(({ from, to }) => [from, to]), [[4, 4], [5, 5]]);
  rig.log.loads[1]!.end(true);
  await rig.settle();
  assert.equal(rig.take(MessageKind.Append).filter(({ to }) => to === 2).map((message) => (message as Append).fromIndex), [4, 5]);
});

test('what was read before a truncation is not sent after it', async () => {
  const rig = await new Rig({ voters: 3, log: { terms: [1, 1, 1, 1] }, hardState: { term: 1, vote: 1 } }).elected();
  rig.log.cachedFrom = 5;
  await rig.durable();
  rig.answer({ kind: MessageKind.AppendReject, prevIndex: 4, hintIndex: 0, hintTerm: 0 }, 2, 2);
  await rig.settle();
  const { fields, body } = entries(2, 1, [3]);
  rig.answer(fields, 3, 3, body);
  await rig.settle();
  rig.take(MessageKind.Append);
  rig.log.loads[0]!.end(true);
  await rig.settle();
  assert.equal(rig.take(MessageKind.Append), []);
});

test('a term that cannot be stored for want of room is stored when there is some', async () => {
  const rig = new Rig();
  rig.hardState.quick = false;
  await rig.started();
  rig.hardState.puts[0]!.end('full');
  await rig.settle();
  assert.ok(rig.takeCalls().includes('no room for the term'));
  assert.not.ok(rig.driver.accepting);
  rig.driver.retry();
  rig.hardState.puts[1]!.end('stored');
  await rig.settle();
  assert.ok(rig.driver.accepting);
});

test('while a term waits for room no further one is begun', async () => {
  const rig = new Rig();
  rig.hardState.quick = false;
  await rig.started();
  rig.hardState.puts[0]!.end('full');
  await rig.settle();
  for (let i = 0; i < 5; i++) rig.driver.campaign();
  await rig.settle();
  assert.is(rig.driver.term, 1);
});

test('a term that cannot be stored at all stops the replica, for good', async () => {
  const rig = new Rig();
  rig.hardState.quick = false;
  await rig.started();
  rig.hardState.puts[0]!.end('failed');
  await rig.settle();
  assert.ok(rig.takeCalls().includes('term not stored'));
  rig.driver.retry();
  rig.driver.campaign();
  await rig.settle();
  assert.is(rig.hardState.puts.length, 1);
  assert.is(rig.driver.node.serving, 'stopped');
});

test('only the newest of several terms is stored when a slow disk comes back', async () => {
  const rig = new Rig({ voters: 3 });
  rig.hardState.quick = false;
  await rig.started();
  for (const term of [3, 4, 5]) {
    rig.answer({ kind: MessageKind.Heartbeat, commitIndex: 0, readRound: 0, idle: false }, 2, term);
    await rig.settle();
  }
  assert.is(rig.hardState.puts.length, 1);
  rig.hardState.puts[0]!.end('stored');
  await rig.settle();
  assert.equal(rig.hardState.puts.map(({ term }) => term), [3, 5]);
  assert.equal(rig.sent, [], 'what was held for term 3 is worth nothing now');
});

test('a full disk: the lone leader steps down with the cut, and leads again in a new term when it is synced', async () => {
  const rig = await new Rig().started();
  await rig.durable();
  for (let i = 0; i < 3; i++) {
    rig.log.propose(1);
    rig.driver.proposed();
  }
  rig.log.cutBack(1);
  rig.takeCalls();
  rig.driver.logCut();
  await rig.settle();
  assert.equal(rig.takeCalls(), ['role follower 1']);
  assert.not.ok(rig.driver.accepting);
  assert.is(rig.driver.node.lastIndex, 1, 'nobody was told of what is gone');
  rig.log.ready = true;
  rig.driver.logReady();
  rig.driver.campaign();
  await rig.settle();
  assert.equal(rig.takeCalls(), ['store 2/1', 'role candidate 2', 'noop 2@2', 'role leader 2']);
  await rig.durable();
  assert.equal(rig.takeCalls(), ['committed 2']);
});

test('a full disk while a truncation waits: the log ends at the lower of both', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const first = entries(0, 0, [1, 1, 1, 1]);
  rig.answer(first.fields, 2, 1, first.body);
  await rig.settle();
  await rig.durable(2);
  rig.log.slowCut = true;
  const second = entries(3, 1, [2]);
  rig.answer(second.fields, 3, 2, second.body);
  await rig.settle();
  rig.log.cutBack(2);
  rig.driver.logCut();
  await rig.settle();
  assert.is(rig.driver.node.lastIndex, 2);
  assert.is(rig.driver.node.durableIndex, 2);
});

test('a full disk before the end of a turn: entries that came in that turn go with the tail they were to follow', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const first = entries(0, 0, [1, 1, 1]);
  rig.answer(first.fields, 2, 1, first.body);
  await rig.settle();
  const second = entries(3, 1, [1, 1]);
  rig.answer(second.fields, 2, 1, second.body);
  rig.log.cutBack(1);
  rig.driver.logCut();
  await rig.settle();
  assert.is(rig.driver.node.lastIndex, 1);
  rig.log.ready = true;
  rig.driver.logReady();
  await rig.settle();
  assert.equal(rig.log.terms, [1]);
});

test('a full disk while a truncation waits: entries that were to go do not stay because they are durable', async () => {
  const rig = await new Rig({ voters: 3 }).started();
  const first = entries(0, 0, [1, 1, 1, 1]);
  rig.answer(first.fields, 2, 1, first.body);
  await rig.settle();
  await rig.durable();
  rig.log.slowCut = true;
  const second = entries(2, 1, [2, 2]);
  rig.answer(second.fields, 3, 2, second.body);
  await rig.settle();
  rig.log.cutBack(4);
  rig.driver.logCut();
  await rig.settle();
  assert.is(rig.driver.node.lastIndex, 2);
  rig.log.slowCut = false;
  rig.log.ready = true;
  rig.driver.logReady();
  await rig.settle();
  assert.equal(rig.log.terms, [1, 1]);
});

test('after a failed sync a leader is one no more and promises nothing', async () => {
  const rig = await new Rig({ voters: 3 }).elected();
  await rig.durable();
  rig.driver.stop();
  await rig.settle();
  assert.is(rig.driver.node.role, 'follower');
  rig.sent.length = 0;
  const { fields, body } = entries(1, 1, [2]);
  rig.answer(fields, 2, 2, body);
  await rig.settle();
  assert.equal(rig.take(MessageKind.AppendAck), []);
});

test('a sink that answers with an input of its own does not nest the loop', async () => {
  const rig = await new Rig().started();
  let nested = 0;
  rig.onCommitted = (to) => {
    nested++;
    rig.driver.applied(to);
    if (to < 3) {
      rig.log.propose(1);
      rig.driver.proposed();
      rig.driver.logDurable(rig.log.lastIndex, 1, rig.log.generation);
    }
    nested--;
    assert.is(nested, 0, 'one commit at a time');
  };
  await rig.durable(1);
  assert.equal(rig.calls.filter((call) => call.startsWith('committed')), ['committed 1', 'committed 2', 'committed 3']);
});

test('nothing is done or told after close', async () => {
  const rig = await new Rig({ voters: 3 }).elected();
  rig.driver.close();
  rig.takeCalls();
  rig.driver.tick(1000);
  await rig.durable();
  rig.driver.stop();
  rig.answer({ kind: MessageKind.HigherTerm }, 2, 9);
  await rig.settle();
  assert.equal(rig.takeCalls(), []);
});

test('an idle group of one costs no tick', async () => {
  const rig = await new Rig().started();
  await rig.durable();
  rig.takeCalls();
  for (let i = 0; i < 1000; i++) rig.driver.tick(50);
  await rig.settle();
  assert.equal(rig.takeCalls(), []);
  assert.is(rig.pendingTasks, 0);
});

test.run();
