// Many groups that do nothing cost one small frame per pair of nodes and heartbeat, and all the same no group
// goes without a leader for longer than one that is busy.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import { PeerWatch } from '../../src/replica/peers/watch.ts';
import { SleepSet } from '../../src/replica/peers/sleep-set.ts';
import { decodeWatch, encodeWatch, FIRST_WATCH_KIND, WatchKind } from '../../src/replica/peers/watch-messages.ts';
import type { WatchMessage } from '../../src/replica/peers/watch-messages.ts';
import { records } from '../replica/support.ts';
import { Cluster, LOG } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/idle');

const raft = { ...RAFT_DEFAULTS, sleepWhenIdle: true };

async function asleep(): Promise<{ cluster: Cluster; leader: Member; followers: Member[] }> {
  const { cluster, leader } = await Cluster.led({ raft });
  await cluster.until('everybody to sleep', () => cluster.members.every(({ group }) => group.driver.node.asleep));
  return { cluster, leader, followers: cluster.members.filter((member) => member !== leader) };
}

async function counted(cluster: Cluster, ms: number): Promise<{ core: number; watch: number }> {
  const count = { core: 0, watch: 0 };
  cluster.onBytes = (kind) => {
    if (kind >= FIRST_WATCH_KIND) count.watch++;
    else count.core++;
    return true;
  };
  await cluster.advance(ms);
  cluster.onBytes = null;
  return count;
}

test('a group that sleeps sends nothing; one digest and its answer go to each peer per heartbeat', async () => {
  const { cluster, leader } = await asleep();
  const { term } = leader.group;
  const count = await counted(cluster, 10_000);
  assert.is(count.core, 0);
  assert.ok(count.watch <= 4 * 101, `${count.watch}`);
  assert.is(cluster.leader, leader);
  assert.is(leader.group.term, term);
  await cluster.stop();
});

test('a record wakes it, is acked as fast as ever, and it sleeps again', async () => {
  const { cluster, leader } = await asleep();
  await cluster.advance(5000);
  const client = await leader.connect();
  const id = client.sendProduce(LOG, records('x'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  await cluster.converge();
  await cluster.until('everybody to sleep', () => cluster.members.every(({ group }) => group.driver.node.asleep));
  assert.is((await counted(cluster, 2000)).core, 0);
  await cluster.stop();
});

test('a leader that is gone is missed within two election timeouts', async () => {
  const { cluster, leader } = await asleep();
  await cluster.advance(3000);
  leader.crash();
  await cluster.until('another leader', () => cluster.leader !== null, 2 * raft.electionMaxMs);
  await cluster.stop();
});

test('a connection that ends without a farewell is enough to ask around', async () => {
  const { cluster, leader, followers } = await asleep();
  await cluster.advance(3000);
  leader.crash();
  for (const { world } of followers) world!.node.peerReset(`${leader.number}`.padStart(2, '0').repeat(16));
  const before = cluster.clock.monotonic;
  await cluster.until('another leader', () => cluster.leader !== null);
  assert.ok(cluster.clock.monotonic - before <= 2 * raft.heartbeatMs + raft.electionMaxMs, `${cluster.clock.monotonic - before}`);
  await cluster.stop();
});

test('a leader that is cut off notices it, too, and gives up its office', async () => {
  const { cluster, leader } = await asleep();
  cluster.isolate(leader.number);
  await cluster.until('the end of its office', () => !leader.leads, 3 * raft.electionMaxMs);
  cluster.heal();
  await cluster.elect();
  await cluster.converge();
  await cluster.stop();
});

test('a follower that was started anew is not vouched for by what its process before had agreed to', async () => {
  const { cluster, leader, followers } = await asleep();
  followers[0]!.crash({ keep: 'all' });
  await followers[0]!.start(true);
  await cluster.advance(300);
  const { term } = leader.group;
  await cluster.advance(3000);
  assert.is(cluster.leader, leader);
  assert.is(leader.group.term, term, 'it heard its leader by name until it slept');
  assert.ok(followers[0]!.group.driver.node.asleep);
  await cluster.stop();
});

test('lost digests are no election, as long as some arrive', async () => {
  const { cluster, leader } = await asleep();
  const { term } = leader.group;
  let n = 0;
  cluster.onBytes = (kind) => kind < FIRST_WATCH_KIND || n++ % 2 === 0;
  await cluster.advance(10_000);
  assert.is(leader.group.term, term);
  cluster.onBytes = null;
  await cluster.stop();
});

test('a group that one side takes for asleep and the other does not is found by name, without waking others', async () => {
  const { cluster, leader, followers } = await asleep();
  // The follower is woken; what it says is lost, so the leader goes on counting it in.
  followers[0]!.group.driver.peerSilent(`${leader.number}`.padStart(2, '0').repeat(16), 0);
  await followers[0]!.world!.settle();
  assert.not.ok(followers[0]!.group.driver.node.asleep);
  const { term } = leader.group;
  await cluster.until('agreement', () => followers[0]!.group.driver.node.asleep, 1000);
  assert.is(leader.group.term, term);
  await cluster.stop();
});

test('after a pause of this process the silence of a leader counts from when its messages could be read', () => {
  const watch = new PeerWatch({ clusterId: '01'.repeat(16), nodeId: '02'.repeat(16), settings: raft, transport: { send: () => {} } });
  const silent: number[] = [];
  watch.tick(1000);
  const group = { peerSilent: (_nodeId: string, elapsedMs: number) => void silent.push(elapsedMs) };
  watch.asleepUnder('03'.repeat(16), { logUid: '04'.repeat(16), leader: 1, follower: 2, term: 1, group });
  watch.tick(1050);
  watch.tick(9000);
  assert.equal(silent, []);
  for (let ms = 9050; silent.length === 0; ms += 50) watch.tick(ms);
  assert.ok(silent[0]! >= raft.electionMinMs && silent[0]! < raft.electionMinMs + 100, `${silent[0]}`);
});

test('a leader counts all of its own pause: it may have been replaced meanwhile', () => {
  const watch = new PeerWatch({ clusterId: '01'.repeat(16), nodeId: '02'.repeat(16), settings: raft, transport: { send: () => {} } });
  const silent: number[] = [];
  watch.tick(1000);
  const group = { peerSilent: (_nodeId: string, elapsedMs: number) => void silent.push(elapsedMs) };
  watch.idleAt('03'.repeat(16), { logUid: '04'.repeat(16), leader: 1, follower: 2, term: 1, group });
  watch.tick(1050);
  assert.equal(silent, []);
  watch.tick(9000);
  assert.equal(silent, [8000]);
});

test('digests of equal sets are equal in any order, and of different ones differ', () => {
  const group = { peerSilent: () => {} };
  const sleeper = (n: number, term = 1) => ({ logUid: n.toString(16).padStart(32, '0'), leader: 1, follower: 2, term, group, sinceMs: 0 });
  const a = new SleepSet();
  const b = new SleepSet();
  for (let i = 0; i < 100; i++) a.add(sleeper(i));
  for (let i = 99; i >= 0; i--) b.add(sleeper(i));
  assert.ok(a.equals(b.digest));
  b.add(sleeper(5, 2));
  assert.is(b.count, 100);
  assert.not(a.equals(b.digest));
  b.add(sleeper(5));
  assert.ok(a.equals(b.digest));
  b.remove(sleeper(5).logUid);
  b.add(sleeper(200));
  assert.not(a.equals(b.digest));
  b.remove('00');
  assert.is(b.count, 100);
});

test('messages of the watch come back as they went', () => {
  const head = { clusterId: '01'.repeat(16), fromNode: '02'.repeat(16), toNode: '03'.repeat(16), round: 7 };
  const all: WatchMessage[] = [
    { ...head, kind: WatchKind.Digest, digest: { count: 3, xor: 0xffff_ffff, sum: 1 } },
    { ...head, kind: WatchKind.DigestAck, agrees: true },
    { ...head, kind: WatchKind.Names, names: [{ logUid: '04'.repeat(16), leader: 1, follower: 2, term: 3 }] },
    { ...head, kind: WatchKind.Names, names: [] },
    { ...head, kind: WatchKind.NamesAck, unknown: ['05'.repeat(16)] },
  ];
  for (const message of all) {
    const bytes = encodeWatch(message);
    assert.equal(decodeWatch(bytes), message);
    for (let length = 0; length < bytes.length; length++) assert.is(decodeWatch(bytes.subarray(0, length)), null);
  }
});

test.run();
