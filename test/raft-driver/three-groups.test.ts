// A log with replicas on three nodes, end to end: driver, segment log, raft-state, replica state.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FETCH_LINEARIZABLE, From, Op } from '../../src/wire/ops.ts';
import { putPositionRequest } from '../../src/wire/requests-read.ts';
import { putPositionResponse } from '../../src/wire/responses-data.ts';
import { MessageKind } from '../../src/raft/types.ts';
import type { ReplicaId } from '../../src/raft/types.ts';
import { encode, records, sized, valuesOf } from '../replica/support.ts';
import { Cluster, idOf, LOG } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/three groups');

async function produce(member: Member, ...values: string[]): Promise<string> {
  const client = await member.connect();
  const id = client.sendProduce(LOG, records(...values));
  await member.cluster.settle();
  return client.produced(id)?.code ?? 'none';
}

async function allEqual(cluster: Cluster): Promise<void> {
  await cluster.converge();
  const entries = await cluster.leader!.entries();
  for (const member of cluster.running) assert.equal(await member.entries(), entries, `node ${member.number}`);
}

test('founders elect one leader, and what it acks is on a majority and soon everywhere', async () => {
  const { cluster, leader } = await Cluster.led();
  const client = await leader.connect();
  const id = client.sendProduce(LOG, records('a', 'b'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  assert.ok(client.produced(id)!.value.copies >= 2);
  await allEqual(cluster);
  for (const member of cluster.members) assert.equal(await member.values(), ['0:a', '1:b']);
  await cluster.stop();
});

test('nothing is acked before a majority has it on disk', async () => {
  const { cluster, leader } = await Cluster.led();
  cluster.isolate(leader.number);
  const client = await leader.connect();
  const id = client.sendProduce(LOG, records('alone'));
  await cluster.settle();
  assert.is(leader.log.durableIndex, leader.log.lastIndex, 'it is on the leader\'s disk');
  assert.is(client.produced(id), null);
  cluster.heal();
  await cluster.advance(200);
  assert.is(client.produced(id)!.code, 'OK');
  await cluster.stop();
});

test('memory of what a leader had not written when it lost the lead is given back when it is', async () => {
  const { cluster, leader } = await Cluster.led({ memoryLimitBytes: 64 * 1024 });
  await cluster.converge();
  const client = await leader.connect();
  leader.holds = ({ call, path }) => call === 'write' && path.includes('.seg');
  const id = client.sendProduce(LOG, sized(60_000));
  await cluster.settle();
  cluster.isolate(leader.number);
  await cluster.until('the lead is lost', () => client.produced(id) !== null);
  assert.is(leader.world!.node.context.memory.bytes, 60_000);
  leader.holds = null;
  for (const end of leader.held.splice(0)) end();
  await cluster.settle();
  assert.is(leader.world!.node.context.memory.bytes, 0);
  await cluster.stop();
});

/** A leader that is asked to stop with a record in hand that nobody else has heard of. */
async function stoppingAlone() {
  const { cluster, leader } = await Cluster.led();
  await cluster.converge();
  cluster.isolate(leader.number);
  const client = await leader.connect();
  const id = client.sendProduce(LOG, records('late'));
  await cluster.settle();
  const stop = { ended: false };
  void leader.world!.node.stop().then(() => (stop.ended = true));
  return { cluster, stop, outcome: () => client.produced(id)!.code };
}

test('a leader that stops still commits what it has taken, when the others hold it', async () => {
  const { cluster, stop, outcome } = await stoppingAlone();
  await cluster.settle();
  assert.not.ok(stop.ended, 'it waits for the others');
  cluster.heal();
  await cluster.until('the end', () => stop.ended);
  assert.is(outcome(), 'OK');
});

test('a leader that stops with nobody to follow it gives up the lead, and stops', async () => {
  const { cluster, stop, outcome } = await stoppingAlone();
  await cluster.until('the end', () => stop.ended, 2000);
  assert.is(outcome(), 'LEADERSHIP_LOST');
});

test('a position put in the turn in which its leader hands over is refused, and was never set', async () => {
  const { cluster, leader, follower: next } = await Cluster.led();
  await cluster.converge();
  const client = await leader.connect();
  const put = (expected: number) => client.send(Op.PUT_POSITION, encode(putPositionRequest, { log: LOG, name: 'app', offset: 7, expected }));
  const first = put(0);
  // Nobody hears of it: the leader stays, and takes proposals again when the time for the handover is over.
  cluster.isolate(leader.number);
  assert.is(leader.group.transferLeadership(next.replicaId), null);
  await cluster.settle();
  assert.is(client.result(first, putPositionResponse)!.code, 'NO_LEADER');
  cluster.heal();
  await cluster.until('a leader that takes proposals', () => leader.leads);
  const second = put(0);
  await cluster.advance(500);
  assert.is(client.result(second, putPositionResponse)!.code, 'OK', 'it was compared with what is there');
  await allEqual(cluster);
  await cluster.stop();
});

test('a subscriber at the end gets the next record, wherever the log was going to have it', async () => {
  const { cluster, leader } = await Cluster.led();
  await produce(leader, 'before');
  await cluster.converge();
  cluster.isolate(leader.number);
  const client = await leader.connect();
  // None of these three entries stays; the record would have been in the third.
  for (const name of ['app', 'mail']) {
    client.send(Op.PUT_POSITION, encode(putPositionRequest, { log: LOG, name, offset: 1, expected: 0 }));
    await cluster.settle();
  }
  client.sendProduce(LOG, records('vain'));
  await cluster.settle();
  const subscription = client.sendSubscribe(LOG, { from: From.NEXT });
  await cluster.settle();
  assert.ok(client.delivered(subscription).started);
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== leader);
  for (const value of ['a', 'b', 'c']) assert.is(await produce(cluster.leader!, value), 'OK');
  cluster.heal();
  await cluster.converge();
  assert.equal(valuesOf(client.delivered(subscription).bytes).map((value) => value.slice(-1)), ['a', 'b', 'c']);
  await cluster.stop();
});

test('a follower says who does not lead: NOT_LEADER', async () => {
  const { cluster, follower } = await Cluster.led();
  await cluster.advance(200);
  assert.is(await produce(follower, 'x'), 'NOT_LEADER');
  await cluster.stop();
});

test('a follower that was down is brought on by entries', async () => {
  const { cluster, leader, follower: down } = await Cluster.led();
  down.crash();
  for (const value of ['a', 'b', 'c']) assert.is(await produce(leader, value), 'OK');
  await down.start(true);
  await allEqual(cluster);
  assert.equal(await down.values(), ['0:a', '1:b', '2:c']);
  await cluster.stop();
});

test('entries that are in memory no more are sent from disk', async () => {
  const { cluster, leader, follower: down } = await Cluster.led({ cacheBytes: 8192, segmentBytes: 1024 * 1024 });
  down.crash();
  const client = await leader.connect();
  for (let i = 0; i < 40; i++) {
    const id = client.sendProduce(LOG, sized(60_000));
    await cluster.settle();
    assert.is(client.produced(id)!.code, 'OK');
  }
  assert.ok(leader.log.cachedFromIndex > 20);
  await down.start(true);
  await allEqual(cluster);
  await cluster.stop();
});

test('a leader that loses its power is replaced, and keeps its word through the next one', async () => {
  const { cluster, leader: first } = await Cluster.led();
  assert.is(await produce(first, 'acked'), 'OK');
  first.crash();
  const second = await cluster.elect();
  assert.is.not(second, first);
  assert.equal(await second.values(), ['0:acked']);
  assert.is(await produce(second, 'more'), 'OK');
  await first.start(true);
  await allEqual(cluster);
  assert.equal(await first.values(), ['0:acked', '1:more']);
  await cluster.stop();
});

test('what an isolated leader took is answered LEADERSHIP_LOST and gives way to what the others commit', async () => {
  const { cluster, leader: old } = await Cluster.led();
  assert.is(await produce(old, 'before'), 'OK');
  cluster.isolate(old.number);
  const client = await old.connect();
  const ids = ['x', 'y', 'z'].map((value) => client.sendProduce(LOG, records(value)));
  await cluster.settle();
  await cluster.until('a second leader', () => cluster.leader !== null && cluster.leader !== old);
  await cluster.until('the old one to notice', () => !old.leads);
  for (const id of ids) assert.is(client.produced(id)!.code, 'LEADERSHIP_LOST');
  const next = cluster.leader!;
  assert.is(await produce(next, 'after'), 'OK');
  cluster.heal();
  await allEqual(cluster);
  for (const member of cluster.members) assert.equal(await member.values(), ['0:before', '1:after']);
  await cluster.stop();
});

test('a linearizable read at a follower sees what the leader has acked', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  await cluster.advance(200);
  assert.is(await produce(leader, 'new'), 'OK');
  const client = await follower.connect();
  const id = client.sendFetch(LOG, { flags: FETCH_LINEARIZABLE, maxWaitMs: 1000 });
  await cluster.until('an answer', () => client.fetched(id) !== null);
  assert.equal(valuesOf(client.fetched(id)!.value.batches), ['0:new']);
  await cluster.stop();
});

test('a linearizable read at a follower waits until what the leader had committed is applied there', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  await cluster.advance(200);
  cluster.onMessage = (message, _from, to) => message.kind !== MessageKind.Append || to !== follower.number;
  assert.is(await produce(leader, 'new'), 'OK');
  const client = await follower.connect();
  const id = client.sendFetch(LOG, { flags: FETCH_LINEARIZABLE, maxWaitMs: 0 });
  await cluster.advance(900);
  assert.is(client.fetched(id), null, 'not an answer from before');
  await cluster.advance(200);
  assert.is(client.fetched(id)!.code, 'TIMEOUT', 'the leader did answer, but not with its entries');
  cluster.onMessage = null;
  const next = client.sendFetch(LOG, { flags: FETCH_LINEARIZABLE, maxWaitMs: 1000 });
  await cluster.until('an answer', () => client.fetched(next) !== null);
  assert.equal(valuesOf(client.fetched(next)!.value.batches), ['0:new']);
  await cluster.stop();
});

test('a linearizable read that is not to wait for records does wait for the leader\'s word', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  await cluster.advance(200);
  assert.is(await produce(leader, 'new'), 'OK');
  cluster.isolate(follower.number);
  const client = await follower.connect();
  const id = client.sendFetch(LOG, { flags: FETCH_LINEARIZABLE, maxWaitMs: 0 });
  await cluster.advance(250);
  assert.is(client.fetched(id), null);
  cluster.heal();
  await cluster.advance(250);
  assert.equal(valuesOf(client.fetched(id)!.value.batches), ['0:new']);
  const atEnd = client.sendFetch(LOG, { value: 1, flags: FETCH_LINEARIZABLE, maxWaitMs: 0 });
  await cluster.advance(100);
  assert.is(client.fetched(atEnd)!.code, 'OK', 'and then it does not wait for more');
  await cluster.stop();
});

test('a follower says that an offset lies beyond the end only when it does on the leader', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  await cluster.advance(200);
  cluster.onMessage = (message, _from, to) => message.kind !== MessageKind.Append || to !== follower.number;
  for (const value of ['a', 'b']) assert.is(await produce(leader, value), 'OK');
  const client = await follower.connect();
  const early = client.sendFetch(LOG, { value: 1, maxWaitMs: 0 });
  const waiting = client.sendFetch(LOG, { value: 1, maxWaitMs: 5000 });
  const beyond = client.sendFetch(LOG, { value: 3, maxWaitMs: 5000 });
  const subscription = client.sendSubscribe(LOG, { value: 1 });
  await cluster.advance(300);
  assert.is(client.fetched(early)!.code, 'BEHIND', 'it may be there');
  assert.is(client.fetched(waiting), null);
  assert.is(client.answers(subscription).length, 0);
  cluster.onMessage = null;
  await cluster.until('answers', () => client.fetched(waiting) !== null && client.fetched(beyond) !== null && client.answers(subscription).length > 1);
  assert.equal(valuesOf(client.fetched(waiting)!.value.batches), ['1:b']);
  assert.is(client.fetched(beyond)!.code, 'OFFSET_OUT_OF_RANGE');
  assert.equal(client.fetched(beyond)!.error.detail.range, { logStart: 0, committedEnd: 2 });
  cluster.isolate(follower.number);
  await cluster.advance(2000);
  const alone = client.sendFetch(LOG, { value: 3, maxWaitMs: 500 });
  await cluster.until('an answer', () => client.fetched(alone) !== null);
  assert.is(client.fetched(alone)!.code, 'BEHIND', 'there is nobody to ask');
  await cluster.stop();
});

test('a full disk under a leader: what a follower may have been sent is LEADERSHIP_LOST, and may be committed', async () => {
  const { cluster, leader } = await Cluster.led();
  await cluster.converge();
  const client = await leader.connect();
  leader.disk.failNext('writeNow', 'ENOSPC', /\.seg$/);
  const id = client.sendProduce(LOG, records('x'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'LEADERSHIP_LOST');
  await cluster.advance(1500);
  await allEqual(cluster);
  assert.equal(await cluster.leader!.values(), ['0:x'], 'both followers had it');
  await cluster.stop();
});

test('a full disk under a leader: what nobody was sent is STORAGE_FULL, and never comes back', async () => {
  const { cluster, leader } = await Cluster.led();
  await cluster.converge();
  cluster.isolate(leader.number);
  // From here on each peer gets one Append, until it answers.
  for (const { number } of cluster.members) leader.group.driver.peerReset(idOf(number));
  await cluster.settle();
  const client = await leader.connect();
  const first = client.sendProduce(LOG, records('sent'));
  await cluster.settle();
  leader.disk.failNext('writeNow', 'ENOSPC', /\.seg$/);
  const second = client.sendProduce(LOG, records('not sent'));
  await cluster.settle();
  assert.is(client.produced(second)!.code, 'STORAGE_FULL');
  assert.is(client.produced(first)!.code, 'LEADERSHIP_LOST');
  cluster.heal();
  await cluster.advance(1500);
  await allEqual(cluster);
  assert.not.ok((await cluster.leader!.values()).some((value) => value.endsWith(':not sent')));
  await cluster.stop();
});

test('a full disk that then fails to be cut back: what waited for the cut is LEADERSHIP_LOST at once', async () => {
  const { cluster, leader } = await Cluster.led();
  await cluster.converge();
  cluster.isolate(leader.number);
  const client = await leader.connect();
  leader.disk.failNext('writeNow', 'ENOSPC', /\.seg$/);
  leader.disk.failNext('truncate', 'EIO', /\.seg$/);
  const id = client.sendProduce(LOG, records('x'));
  await cluster.settle();
  assert.is(client.produced(id)?.code, 'LEADERSHIP_LOST');
  await cluster.stop();
});

test('a linearizable read at a leader that is cut off is never answered with data', async () => {
  const { cluster, leader: old } = await Cluster.led();
  cluster.isolate(old.number);
  const client = await old.connect();
  const id = client.sendFetch(LOG, { flags: FETCH_LINEARIZABLE, maxWaitMs: 5000 });
  await cluster.until('a second leader', () => cluster.leader !== null && cluster.leader !== old);
  await produce(cluster.leader!, 'unseen by the old one');
  await cluster.until('an answer', () => client.fetched(id) !== null);
  assert.is(client.fetched(id)!.code, 'NOT_LEADER');
  await cluster.stop();
});

test('a vote survives a power cut: whoever voted does not vote again in that term', async () => {
  const cluster = await Cluster.start();
  const votes = new Map<string, ReplicaId>();
  cluster.onMessage = (message) => {
    if (message.kind !== MessageKind.VoteReply || !message.granted) return true;
    const key = `${message.from} in ${message.forTerm}`;
    assert.ok(votes.get(key) === undefined || votes.get(key) === message.to, `${key} voted twice`);
    votes.set(key, message.to);
    return true;
  };
  for (let i = 0; i < 6; i++) {
    await cluster.elect();
    for (const member of cluster.members) member.crash();
    cluster.queue = [];
    for (const member of cluster.members) await member.start(true);
  }
  await allEqual(cluster);
  assert.ok(votes.size >= 6);
  await cluster.stop();
});

test('a clean stop of all and a start find everything, and a new term', async () => {
  const { cluster, leader } = await Cluster.led();
  assert.is(await produce(leader, 'kept'), 'OK');
  await cluster.converge();
  const { term } = leader.group;
  await cluster.stop();
  for (const member of cluster.members) await member.start(true);
  const next = await cluster.elect();
  assert.ok(next.group.term > term);
  assert.equal(await next.values(), ['0:kept']);
  await cluster.stop();
});

test.run();
