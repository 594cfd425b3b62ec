// DESIGN §4, Identity and damaged replicas: whose messages count, and who may speak at all.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import type { Message } from '../../src/raft/types.ts';
import { ack, append, heartbeat, heartbeatAck, Lone, preVote, reject, timeoutNow, vote } from './support/craft.ts';

const test = suite('raft/identity');

test('what names another cluster, log, replica or node is dropped and counted', () => {
  const rows: [Partial<Message>, 'droppedCluster' | 'droppedLog' | 'droppedReplica'][] = [
    [{ clusterId: 'c2' }, 'droppedCluster'],
    [{ logUid: 'log2' }, 'droppedLog'],
    [{ to: 7 }, 'droppedReplica'],
    [{ toNode: 'n9' }, 'droppedReplica'],
    [{ from: 1 }, 'droppedReplica'],
    [{ from: 0 }, 'droppedReplica'],
    [{ fromNode: 'n3' }, 'droppedReplica'],
  ];
  for (const [wrong, counter] of rows) {
    const lone = new Lone();
    lone.receive({ ...vote({ from: 2, term: 5, lastIndex: 9, lastTerm: 9 }), ...wrong } as Message).persist();
    assert.equal(lone.sent(), [], JSON.stringify(wrong));
    assert.is(lone.node.term, 0);
    assert.is(lone.node.counters[counter], 1);
  }
});

test('a deleted and recreated log is another log, even with the same replicas', () => {
  const lone = new Lone();
  const entries = append({ term: 3, terms: [1, 2, 3], commit: 3 });
  lone.receive({ ...entries, logUid: 'log1-before' }).persist();
  assert.is(lone.node.lastIndex, 0);
});

test('a lost replica neither votes, acks nor campaigns, and does not bootstrap alone', () => {
  const lone = new Lone({ serving: 'lost', voters: 1 });
  lone.timeOut();
  assert.is(lone.node.role, 'follower');
  lone.receive(vote({ term: 3 }), preVote({ term: 3 }), append({ term: 3, terms: [3] }), timeoutNow({ term: 3 })).persist();
  assert.equal(lone.sent(), []);
  assert.equal([lone.node.term, lone.node.lastIndex], [0, 0]);
  assert.is(lone.node.counters.droppedLost, 4);
  lone.node.setServing('ready');
  assert.is(lone.node.serving, 'lost', 'there is no way back under this id');
});

test('a replica that is found to have forgotten acked entries is lost from then on', () => {
  const lone = new Lone({ log: [1, 1] });
  let fault: string | null = null;
  lone.cluster.onEffects = (_, effects) => (fault = effects.fault ?? fault);
  lone.receive(heartbeat({ term: 1, commit: 3 }));
  assert.is(fault, 'acked_entries_missing');
  assert.is(lone.node.serving, 'lost');
  lone.receive(vote({ term: 9, lastIndex: 9, lastTerm: 9 })).timeOut().persist();
  assert.equal(lone.sent(), []);
});

test('a lost replica does not finish what it was about to promise either', () => {
  const lone = new Lone();
  lone.receive(vote({ from: 2, term: 1 }));
  lone.node.setServing('lost');
  lone.persist();
  assert.equal(lone.sent(), []);
  const acking = new Lone();
  acking.receive(append({ term: 1, terms: [1, 1] }));
  acking.node.setServing('lost');
  acking.persist();
  assert.equal(acking.sent(), []);
});

test('a leader that is found lost hands over and falls silent', () => {
  const lone = new Lone().leadCommitted();
  lone.replica.input((node) => node.setServing('lost'));
  assert.equal(lone.sent().map((m) => [m.kind, m.to]), [[MessageKind.TimeoutNow, 2]]);
  lone.tick(2000);
  assert.equal(lone.sent(), []);
});

test('a damaged replica votes and acks, but does not campaign', () => {
  const lone = new Lone({ log: [1], serving: 'damaged' });
  lone.timeOut();
  assert.is(lone.node.role, 'follower');
  lone.receive(append({ term: 1, prev: [1, 1], terms: [1] })).persist();
  assert.equal(lone.sent(MessageKind.AppendAck).map((m) => m.match), [2]);
  lone.receive(heartbeat({ term: 1 }), timeoutNow({ term: 1 }));
  assert.is(lone.node.role, 'follower');
});

test('a damaged sole voter leads: nobody else could', () => {
  const lone = new Lone({ voters: 1, serving: 'damaged' });
  lone.persist();
  assert.is(lone.node.role, 'leader');
});

test('malformed messages are dropped and counted, and change nothing', () => {
  const good = append({ term: 3, prev: [1, 1], terms: [2, 3] }) as Extract<Message, { kind: typeof MessageKind.Append }>;
  const rows: Message[] = [
    { ...good, fromIndex: 3 },
    { ...good, toIndex: 0 },
    { ...good, prevTerm: 4 },
    { ...good, runs: [] },
    { ...good, runs: [{ fromIndex: 3, term: 3 }] },
    { ...good, runs: [{ fromIndex: 2, term: 3 }, { fromIndex: 3, term: 2 }] },
    { ...good, runs: [{ fromIndex: 2, term: 2 }, { fromIndex: 2, term: 3 }] },
    { ...good, runs: [{ fromIndex: 2, term: 2 }, { fromIndex: 9, term: 3 }] },
    { ...good, runs: [{ fromIndex: 2, term: 4 }] },
    { ...good, runs: [{ fromIndex: 2, term: 0 }], prevTerm: 0 },
    { ...good, configs: [{ index: 4, config: { voters: [], learners: [] } }] },
    { ...good, term: 0 },
    { ...append({ term: 3, prev: [1, 1] }), runs: [{ fromIndex: 2, term: 1 }] } as Message,
    { ...vote({ term: 3 }), forTerm: 4 } as Message,
    { ...preVote({ term: 3 }), forTerm: 3 } as Message,
    { ...vote({ term: 0 }) },
  ];
  for (const message of rows) {
    const lone = new Lone({ log: [1] });
    lone.receive(message).persist();
    assert.is(lone.node.counters.droppedMalformed, 1, JSON.stringify(message));
    assert.equal([lone.node.term, lone.node.lastIndex], [1, 1]);
    assert.equal(lone.sent(), []);
  }
});

test('followers and candidates ignore answers that only a leader understands', () => {
  const lone = new Lone({ log: [1] });
  lone.receive(ack({ term: 1, match: 1 }), heartbeatAck({ term: 1 }), reject({ term: 1, prevIndex: 1, hintIndex: 0, hintTerm: 0 }));
  assert.equal(lone.sent(), []);
  assert.is(lone.node.commitIndex, 0);
});

test('a leader ignores answers of replicas that are no members', () => {
  const lone = new Lone().lead();
  lone.receive(ack({ from: 9, term: 1, match: 1 }), heartbeatAck({ from: 9, term: 1 }));
  assert.is(lone.node.commitIndex, 0);
});

test.run();
