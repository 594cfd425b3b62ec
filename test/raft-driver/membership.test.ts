// Changing who votes, through the group of a log: a replica at a time, from one node to three and back.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ConfigChange } from '../../src/raft/config.ts';
import { MessageKind } from '../../src/raft/types.ts';
import { records, sized } from '../replica/support.ts';
import { Cluster, idOf, LOG, UID } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/membership');

async function change(member: Member, wish: ConfigChange): Promise<number | string> {
  let result: number | string | null = null;
  void member.group.changeConfig(member.group.driver.node.config.index, wish).then((answer) => (result = answer));
  await member.cluster.settle();
  assert.is.not(result, null);
  return result!;
}

/** Makes a change and waits until it is committed. */
async function changed(member: Member, wish: ConfigChange): Promise<void> {
  const index = await change(member, wish);
  assert.type(index, 'number', `${wish.kind}: ${index}`);
  await member.cluster.until(`${wish.kind} to be committed`, () => !member.leads || member.group.commitIndex >= (index as number));
}

function learner(member: Member): ConfigChange {
  return { kind: 'addLearner', member: { replicaId: member.replicaId, nodeId: idOf(member.number) } };
}

async function promote(leader: Member, member: Member): Promise<void> {
  await changed(leader, learner(member));
  await leader.cluster.until('the learner to catch up', () => leader.group.driver.node.peers.some(({ replicaId, caughtUp }) => replicaId === member.replicaId && caughtUp));
  await changed(leader, { kind: 'promote', replicaId: member.replicaId });
}

async function produce(member: Member, value: string): Promise<string> {
  const client = await member.connect();
  const id = client.sendProduce(LOG, records(value));
  await member.cluster.settle();
  return client.produced(id)?.code ?? 'none';
}

function votersOf(member: Member): number[] {
  return member.group.driver.node.config.config.voters.map(({ replicaId }) => replicaId);
}

/** A log of one voter on node 1; nodes 2 and 3 have replicas that wait to be added. */
async function alone(): Promise<{ cluster: Cluster; first: Member; second: Member; third: Member }> {
  const cluster = await Cluster.start({ nodes: 3, voters: 1 });
  const [first, second, third] = cluster.members as [Member, Member, Member];
  await cluster.elect();
  return { cluster, first, second, third };
}

async function three(): Promise<{ cluster: Cluster; first: Member; second: Member; third: Member }> {
  const all = await alone();
  assert.is(await produce(all.first, 'alone'), 'OK');
  await promote(all.first, all.second);
  await promote(all.first, all.third);
  return all;
}

test('a lone voter grows to three, and what it had alone is on all', async () => {
  const { cluster, first, second, third } = await three();
  assert.equal(votersOf(first), [1, 2, 3]);
  assert.is(await produce(first, 'together'), 'OK');
  await cluster.converge();
  for (const member of [second, third]) {
    assert.equal(await member.values(), ['0:alone', '1:together']);
    assert.equal(await member.entries(), await first.entries());
  }
  first.crash();
  const next = await cluster.elect();
  assert.equal(await next.values(), ['0:alone', '1:together']);
  await cluster.stop();
});

test('a replica that waits to be added says nothing and campaigns for nothing', async () => {
  const cluster = await Cluster.start({ nodes: 2, voters: 1 });
  const waiting = cluster.member(2);
  let said = 0;
  cluster.onBytes = (_kind, _bytes, from) => from !== 2 || said++ < 0;
  await cluster.advance(5000);
  assert.is(said, 0);
  assert.is(waiting.group.term, 0);
  assert.not.ok(waiting.group.alone, 'nor is it closed for not being used');
  assert.is((await waiting.connect().then((client) => client.produce(LOG, records('x')))).code, 'NO_LEADER');
  await cluster.stop();
});

test('a learner has everything, counts for nothing and does not vote', async () => {
  const { cluster, first, second } = await alone();
  await changed(first, learner(second));
  assert.is(await produce(first, 'a'), 'OK');
  await cluster.converge();
  assert.equal(await second.values(), ['0:a']);
  cluster.isolate(2);
  const client = await first.connect();
  const id = client.sendProduce(LOG, records('b'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  assert.is(client.produced(id)!.value.copies, 1);
  await cluster.advance(3000);
  assert.not.ok(second.leads);
  cluster.heal();
  await cluster.converge();
  await cluster.stop();
});

test('a learner that needs deleted entries gets a snapshot first, and can then be promoted', async () => {
  const { cluster, first, second } = await alone();
  const client = await first.connect();
  for (let i = 0; i < 45; i++) await client.produce(LOG, sized(100_000));
  assert.is((await client.trim(LOG, 35)).code, 'OK');
  await cluster.until('segments to go', () => first.log.firstIndex > 20);
  await promote(first, second);
  assert.is(second.world!.node.counters.snapshotsInstalled, 1);
  await cluster.converge();
  assert.equal(await second.entries(), await first.entries());
  assert.equal(votersOf(second), [1, 2]);
  await cluster.stop();
});

test('a group that grows knows the terms of everything it wrote alone, however often it was started', async () => {
  const { cluster, first, second } = await alone();
  for (let start = 0; start < 4; start++) {
    const client = await first.connect();
    for (let i = 0; i < 13; i++) await client.produce(LOG, sized(100_000));
    // With a snapshot, so that the next start does not look at what is older.
    await first.world!.stop();
    await first.start(true);
    await cluster.elect();
  }
  await promote(first, second);
  await cluster.converge();
  const entries = await first.entries();
  assert.is(new Set(entries.map((entry) => entry.split('@')[1])).size, 5);
  assert.equal(await second.entries(), entries);
  await cluster.stop();
});

test('nobody is promoted who has not caught up, and one change at a time is made', async () => {
  const { cluster, first, second, third } = await alone();
  const stale = first.group.driver.node.config.index;
  cluster.isolate(2);
  assert.type(await change(first, learner(second)), 'number');
  await cluster.settle();
  assert.is(await change(first, { kind: 'promote', replicaId: 2 }), 'not_caught_up');
  assert.is(await change(first, learner(second)), 'already_member');
  assert.is(await change(first, { kind: 'remove', replicaId: 1 }), 'last_voter');
  const answers: Array<number | string> = [];
  void first.group.changeConfig(stale, learner(third)).then((answer) => answers.push(answer));
  await cluster.settle();
  assert.equal(answers, ['other_config']);
  assert.is(await change(second, learner(third)), 'not_leader');
  await cluster.stop();
});

test('a voter that is removed has no say any more, and the others go on', async () => {
  const { cluster, first, third } = await three();
  await cluster.converge();
  await changed(first, { kind: 'remove', replicaId: 3 });
  assert.equal(votersOf(first), [1, 2]);
  const { term } = first.group;
  await cluster.advance(5000);
  assert.is(first.group.term, term, 'it does not disturb anybody');
  assert.not.ok(third.leads);
  cluster.isolate(3);
  assert.is(await produce(first, 'without the third'), 'OK');
  await cluster.stop();
});

test('a leader removes itself, and another one goes on', async () => {
  const { cluster, first } = await three();
  await cluster.converge();
  await changed(first, { kind: 'remove', replicaId: 1 });
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== first);
  assert.equal(votersOf(cluster.leader!), [2, 3]);
  assert.is(await produce(cluster.leader!, 'after'), 'OK');
  await cluster.stop();
});

test('leadership is handed over to the voter that is named, within a heartbeat', async () => {
  const { cluster, first, second } = await three();
  await cluster.converge();
  assert.is(first.group.transferLeadership(9), 'not_voter');
  assert.is(second.group.transferLeadership(3), 'not_leader');
  assert.is(first.group.transferLeadership(2), null);
  await cluster.settle();
  assert.ok(second.leads);
  assert.is(await produce(second, 'handed over'), 'OK');
  await cluster.stop();
});

test('a leader that stops hands over at once', async () => {
  const { cluster, first } = await three();
  await cluster.converge();
  await first.world!.stop();
  first.world = null;
  await cluster.settle();
  assert.ok(cluster.leader !== null, 'without a tick');
  await cluster.stop();
});

test('a configuration survives restarts and power cuts, and tells who is needed', async () => {
  const { cluster, first } = await three();
  await cluster.converge();
  for (const member of cluster.members) member.crash({ keep: 'none' });
  await first.start(true);
  await cluster.advance(3000);
  assert.not.ok(first.leads, 'one of three is no majority');
  await cluster.member(2).start(false);
  const leader = await cluster.elect();
  assert.equal(votersOf(leader), [1, 2, 3]);
  await cluster.member(3).start(false);
  await cluster.converge();
  await cluster.stop();
});

test('what a former lone voter wrote after its group had grown is not committed for its being on its disk', async () => {
  const { cluster, first } = await three();
  await cluster.converge();
  cluster.isolate(1);
  const client = await first.connect();
  client.sendProduce(LOG, records('unacked'));
  await cluster.settle();
  const { commitIndex, lastIndex } = first.log;
  assert.ok(commitIndex < lastIndex);
  first.crash({ keep: 'all' });
  await first.start(true);
  assert.is(first.log.lastIndex, lastIndex);
  assert.is(first.replica.commitIndex, commitIndex);
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== first);
  assert.is(await produce(cluster.leader!, 'instead'), 'OK');
  cluster.heal();
  await cluster.converge();
  assert.equal(await first.values(), ['0:alone', '1:instead']);
  await cluster.stop();
});

test('a replica whose directory is gone does not come back under its id: it neither votes nor acks', async () => {
  const { cluster, second } = await three();
  await cluster.converge();
  second.crash({ keep: 'all' });
  await second.disk.removeTree(`logs/${'ab'.repeat(16)}`);
  let spoke = 0;
  cluster.onMessage = (message, from) => {
    if (from === 2 && (message.kind === MessageKind.VoteReply || message.kind === MessageKind.AppendAck)) spoke++;
    return true;
  };
  let failure: unknown = null;
  await second.start(false).catch((error: unknown) => (failure = error));
  assert.match(String(failure), /another replica id/);
  await cluster.advance(3000);
  assert.is(spoke, 0);
  // As another replica it is welcome.
  second.replicaId = 7;
  await second.join(false);
  await changed(cluster.leader!, { kind: 'remove', replicaId: 2 });
  await promote(cluster.leader!, second);
  await cluster.converge();
  assert.equal(votersOf(cluster.leader!), [1, 3, 7]);
  await cluster.stop();
});

test('a node may give up a replica of a log, and a later one, while the first still lies in the trash', async () => {
  const { cluster, first, third } = await three();
  for (const replicaId of [3, 4, 5]) {
    const { logs } = third.world!.node;
    let given = '';
    logs.delete(logs.find(LOG)!).then(() => (given = 'up'), (error: Error) => (given = error.message));
    await cluster.settle();
    assert.is(given, 'up');
    assert.equal([...third.disk.media.files()].filter(([path]) => path.startsWith(`logs/${UID}`)), [], `replica ${replicaId} is out of the way`);
    assert.is(logs.trash.get(UID)?.replicaId, replicaId);
    if (replicaId === 5) break;
    await changed(first, { kind: 'remove', replicaId });
    third.replicaId = replicaId + 1;
    await third.join(false);
    await promote(first, third);
  }
  // And after a crash in the middle of that.
  third.crash({ keep: 'none' });
  third.replicaId = 6;
  await third.start(false);
  assert.is(third.world!.node.logs.trash.get(UID)?.replicaId, 5);
  assert.ok(third.isOpen);
  await cluster.stop();
});

/** The third member gives its replica up, and has another one, which is nobody's yet. */
async function replaceThird(cluster: Cluster, first: Member, third: Member): Promise<void> {
  void third.world!.node.logs.delete(third.world!.node.logs.find(LOG)!);
  await cluster.settle();
  await changed(first, { kind: 'remove', replicaId: 3 });
  third.replicaId = 4;
  await third.join(false);
}

test('a deletion that a crash interrupted is finished also where an earlier replica lies in the trash', async () => {
  const { cluster, first, third } = await three();
  await replaceThird(cluster, first, third);
  third.holds = ({ call, path }) => call === 'rename' && path === `logs/${UID}`;
  void third.world!.node.logs.delete(third.world!.node.logs.find(LOG)!);
  await cluster.until('the rename', () => third.held.length > 0);
  third.crash({ keep: 'all' });
  third.holds = null;
  third.held.length = 0;
  third.replicaId = 5;
  await third.start(false);
  assert.is(third.world!.node.logs.trash.get(UID)?.replicaId, 4);
  assert.ok(third.isOpen);
  await cluster.stop();
});

test('a replica that could not be moved to the trash is in nobody\'s way once the disk does its work again', async () => {
  for (const call of ['rename', 'syncDirectory'] as const) {
    const { cluster, first, third } = await three();
    third.disk.failNext(call, 'EIO', call === 'rename' ? new RegExp(`^logs/${UID}$`) : /^trash$/);
    void third.world!.node.logs.delete(third.world!.node.logs.find(LOG)!);
    await cluster.settle();
    assert.is(third.world!.node.logs.trash.get(UID), null);
    await changed(first, { kind: 'remove', replicaId: 3 });
    third.replicaId = 4;
    await third.join(false);
    await promote(first, third);
    assert.is(third.world!.node.logs.trash.get(UID)?.replicaId, 3, call);
    await cluster.stop();
  }
});

test('a folder that is gone is missed also where an earlier replica of its log lies in the trash', async () => {
  const { cluster, first, third } = await three();
  await replaceThird(cluster, first, third);
  await promote(first, third);
  third.crash({ keep: 'all' });
  third.disk.vanish(`logs/${UID}`);
  let failure: unknown = null;
  await third.start(false).catch((error: unknown) => (failure = error));
  assert.match(String(failure), /another replica id/);
  assert.equal([...third.world!.node.logs.leftOut.keys()], [`logs/${UID}`]);
  await cluster.stop();
});

test.run();
