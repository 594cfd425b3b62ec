// A replica whose disk has lost bytes mends itself from its peers, and leads nobody meanwhile.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { JOURNAL_PATHS } from '../../src/segment/journal.ts';
import { RECORD_SIZE } from '../../src/segment/journal-record.ts';
import { MARK_POSITIONS } from '../../src/segment/mark.ts';
import { batchSize } from '../../src/wire/batch.ts';
import { BATCH_HEADER_SIZE } from '../../src/wire/limits.ts';
import { MessageKind } from '../../src/raft/types.ts';
import type { Replacement } from '../../src/replica/catch-up/replacement.ts';
import { records, sized } from '../replica/support.ts';
import { Cluster, LOG, UID } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/repair');

const HEAD = 4096;
const RECORD = 100_000;

/** Three equal logs of several segments. */
async function filled(options = {}): Promise<{ cluster: Cluster; leader: Member; follower: Member }> {
  const { cluster, leader, follower } = await Cluster.led({ cacheBytes: 4096, ...options });
  const client = await leader.connect();
  for (let i = 0; i < 25; i++) {
    const id = client.sendProduce(LOG, sized(RECORD));
    await cluster.settle();
    assert.is(client.produced(id)!.code, 'OK');
  }
  await cluster.converge();
  return { cluster, leader, follower };
}

function segments(member: Member): string[] {
  return member.disk.media.files().map(([path]) => path).filter((path) => path.startsWith(`logs/${UID}/`) && path.endsWith('.seg')).sort();
}

function segmentBytes(member: Member): Buffer[] {
  // The marks differ, the entries must not.
  return segments(member).map((path) => member.disk.contents(path).subarray(HEAD));
}

async function isWhole(cluster: Cluster, member: Member): Promise<void> {
  await cluster.until('the repair', () => member.isOpen && member.log.damage.length === 0, 60_000);
  await cluster.converge();
  assert.equal(member.log.damage, []);
  assert.is(member.group.driver.node.serving, 'ready');
  const other = cluster.members.find((one) => one !== member)!;
  assert.equal(await member.entries(), await other.entries());
  // Also on disk, and for a process that remembers nothing.
  member.crash({ keep: 'none' });
  await member.start(true);
  await cluster.converge();
  assert.equal(member.log.damage, []);
  assert.equal(await member.entries(), await other.entries());
}

/** Spoils bytes of a stopped member and starts it again. */
async function spoilAndStart(member: Member, segment: number, positions: readonly number[]): Promise<void> {
  member.crash({ keep: 'all' });
  for (const position of positions) member.disk.corrupt(segments(member)[segment]!, position);
  await member.start(true);
}

test('damaged headers in an old segment are put back from the leader, in their place', async () => {
  const { cluster, leader, follower } = await filled();
  const before = segmentBytes(follower);
  await spoilAndStart(follower, 0, [HEAD + 2 * RECORD + 10, HEAD + 3 * RECORD + 10]);
  assert.ok(follower.log.damage.length > 0);
  assert.is(follower.group.driver.node.serving, 'damaged');
  await cluster.until('the repair', () => follower.isOpen && follower.log.damage.length === 0, 60_000);
  assert.is(follower.world!.node.counters.repairs, 1);
  assert.is(follower.world!.node.counters.snapshotsInstalled, 0);
  assert.equal(segmentBytes(follower).slice(0, 2), before.slice(0, 2));
  assert.is(leader.world!.node.counters.repairs, 0);
  await isWhole(cluster, follower);
  await cluster.stop();
});

test('damage in the newest segment, below what was synced, too; and the log goes on meanwhile', async () => {
  const { cluster, leader, follower } = await filled();
  await spoilAndStart(follower, segments(follower).length - 1, [HEAD + BATCH_HEADER_SIZE / 2]);
  assert.ok(follower.log.damage.length > 0);
  const client = await leader.connect();
  const id = client.sendProduce(LOG, sized(1000));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  await isWhole(cluster, follower);
  await cluster.stop();
});

test('damage of the very first entry, in the only segment, is mended like any other', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  const client = await leader.connect();
  const id = client.sendProduce(LOG, sized(1000));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  await cluster.converge();
  await spoilAndStart(follower, 0, [HEAD + 20]);
  await isWhole(cluster, follower);
  await cluster.stop();
});

test('a damaged body is found by the scrub while the replica runs, at a follower and at the leader', async () => {
  for (const who of ['leader', 'follower'] as const) {
    const { cluster, leader, follower } = await filled();
    const member = who === 'leader' ? leader : follower;
    member.disk.corrupt(segments(member)[0]!, HEAD + 4 * RECORD + 5000);
    cluster.onBytes = (kind) => kind <= MessageKind.HigherTerm;
    await cluster.until('a finding', () => member.group.driver.node.serving === 'damaged', 120_000);
    assert.not.ok(member.leads);
    cluster.onBytes = null;
    await cluster.until('the scrub', () => member.world!.node.counters.repairs === 1, 120_000);
    await isWhole(cluster, member);
    await cluster.stop();
  }
});

test('a damaged replica votes and acks, and does not campaign', async () => {
  const { cluster, leader, follower } = await filled();
  const third = cluster.members.find((member) => member !== leader && member !== follower)!;
  // Nobody can mend it.
  cluster.onBytes = (kind) => kind <= MessageKind.HigherTerm;
  await spoilAndStart(follower, 0, [HEAD + 2 * RECORD + 10]);
  await cluster.advance(300);
  third.crash();
  const client = await leader.connect();
  const id = client.sendProduce(LOG, sized(1000));
  await cluster.advance(300);
  assert.is(client.produced(id)!.code, 'OK', 'its ack made the majority');
  leader.crash({ keep: 'all' });
  await third.start(true);
  const { term } = follower.group;
  let asked = 0;
  cluster.onMessage = (message, from) => {
    if (from === follower.number && message.kind === MessageKind.PreVote) asked++;
    return true;
  };
  await cluster.advance(5000);
  assert.is(asked, 0);
  assert.ok(follower.group.term >= term);
  await leader.start(true);
  await cluster.elect();
  assert.is.not(cluster.leader, follower);
  cluster.onBytes = null;
  await isWhole(cluster, follower);
  await cluster.stop();
});

test('where single entries cannot be put back, everything comes anew: a damaged head, a file that is gone', async () => {
  for (const spoil of [
    (member: Member, path: string): unknown => member.disk.corrupt(path, 20),
    (member: Member, path: string): unknown => member.disk.unlink(path),
  ]) {
    const { cluster, follower } = await filled();
    follower.crash({ keep: 'all' });
    await spoil(follower, segments(follower)[1]!);
    await follower.start(true);
    await cluster.until('the install', () => follower.world!.node.counters.snapshotsInstalled === 1, 60_000);
    await isWhole(cluster, follower);
    await cluster.stop();
  }
});

test('reads that fail while entries are applied are made again, now and then', async () => {
  const { cluster, leader, follower } = await filled();
  follower.crash({ keep: 'all' });
  const client = await leader.connect();
  const id = client.sendProduce(LOG, sized(RECORD));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  await follower.start(true);
  let failed = 0;
  let failing = true;
  follower.disk.fail(({ call, path }) => {
    if (!failing || call !== 'read' || !path.endsWith('.seg')) return null;
    assert.ok(++failed < 20, 'without a pause');
    return 'EIO';
  });
  await cluster.advance(5000);
  assert.ok(failed > 1, 'it had to read');
  failing = false;
  await cluster.converge();
  await cluster.stop();
});

test('a replica that does not know any more how far it had promised is lost: it says nothing under its id', async () => {
  const { cluster, leader, follower } = await filled();
  let said = 0;
  cluster.onBytes = (_kind, _bytes, from) => from !== follower.number || said++ < 0;
  await spoilAndStart(follower, segments(follower).length - 1, [MARK_POSITIONS[0] + 20, MARK_POSITIONS[1] + 20]);
  said = 0;
  await cluster.advance(5000);
  assert.is(said, 0);
  assert.is(follower.group.driver.node.serving, 'lost');
  assert.ok(leader.leads);
  await cluster.stop();
});

test('a log that raft-state may have forgotten and whose folder is gone keeps no new replica from being made', async () => {
  const { cluster, leader, follower } = await filled();
  // A second record of the follower's, in a later term, so that losing it leaves the first.
  follower.group.driver.campaign();
  await cluster.advance(2000);
  const again = cluster.leader!;
  const gone = cluster.members.find((member) => member !== again)!;
  gone.crash({ keep: 'all' });
  const newest = lastRecord(gone.disk.contents(JOURNAL_PATHS[1]));
  assert.ok(newest > RECORD_SIZE, 'there is an older one');
  for (const path of JOURNAL_PATHS) gone.disk.corrupt(path, newest + 9);
  gone.disk.vanish(`logs/${UID}`);
  gone.replicaId = 9;
  await gone.start(false);
  assert.ok(gone.isOpen, gone.world!.node.logs.find(LOG)?.failure);
  assert.is(gone.world!.node.context.journal.mayMissReplicas, false);
  const { config } = again.group.driver.node;
  assert.type(await again.group.changeConfig(config.index, { kind: 'remove', replicaId: gone.number }), 'number');
  await cluster.advance(500);
  assert.is(gone.group.driver.node.serving, 'ready');
  assert.ok(leader.isOpen);
  await cluster.stop();
});

function lastRecord(bytes: Buffer): number {
  for (let at = bytes.length - RECORD_SIZE; at >= 0; at -= RECORD_SIZE) if (bytes.readUInt32BE(at) !== 0) return at;
  return -1;
}

test('a founder whose only segment has lost its marks and its first entry is lost, and opens all the same', async () => {
  const cluster = await Cluster.start();
  const leader = await cluster.elect();
  await cluster.converge();
  const follower = cluster.members.find((member) => member !== leader)!;
  await spoilAndStart(follower, 0, [MARK_POSITIONS[0] + 20, MARK_POSITIONS[1] + 20, HEAD + 20]);
  assert.ok(follower.isOpen, follower.world!.node.logs.find(LOG)?.failure);
  assert.is(follower.group.driver.node.serving, 'lost');
  await cluster.stop();
});

test('a replica whose log ends below its snapshot is lost, and opens all the same', async () => {
  const cluster = await Cluster.start();
  const leader = await cluster.elect();
  const client = await leader.connect();
  for (const value of ['a', 'b', 'c']) {
    const id = client.sendProduce(LOG, records(value));
    await cluster.settle();
    assert.is(client.produced(id)!.code, 'OK');
  }
  await cluster.converge();
  let stopped = false;
  void leader.world!.node.stop().then(() => (stopped = true));
  await cluster.until('the end', () => stopped);
  assert.ok(leader.disk.media.files().some(([path]) => path.includes('/snapshot-')));
  // The header of the second entry, behind the founding one.
  const second = HEAD + batchSize(leader.disk.contents(segments(leader)[0]!), HEAD);
  await spoilAndStart(leader, 0, [MARK_POSITIONS[0] + 20, MARK_POSITIONS[1] + 20, second + 20]);
  assert.ok(leader.isOpen, leader.world!.node.logs.find(LOG)?.failure);
  assert.is(leader.log.lastIndex, 1);
  assert.is(leader.group.driver.node.serving, 'lost');
  await cluster.stop();
});

test('a replica that raft-state gave up before its first segment was made is lost, and opens all the same', async () => {
  const { cluster, follower } = await Cluster.led();
  await cluster.converge();
  follower.crash({ keep: 'all' });
  for (const path of JOURNAL_PATHS) {
    for (let at = RECORD_SIZE; at < 40 * RECORD_SIZE; at += RECORD_SIZE) follower.disk.corrupt(path, at + 9);
  }
  for (const path of segments(follower)) follower.disk.vanish(path);
  await follower.start(true);
  assert.ok(follower.isOpen, follower.world!.node.logs.find(LOG)?.failure);
  assert.is(follower.group.driver.node.serving, 'lost');
  assert.is(follower.log.lastIndex, 0, 'it writes nothing');
  await cluster.stop();
});

test('files that were made for a replica are not put in the place of the one that was opened since', async () => {
  const cluster = await Cluster.start();
  const leader = await cluster.elect();
  await cluster.converge();
  const follower = cluster.members.find((member) => member !== leader)!;
  const { logs } = follower.world!.node;
  const slot = logs.find(LOG)!;
  const former = follower.replica;
  const seen: string[] = [];
  const replacement = (name: string): Replacement => ({
    kind: 'install', replace: () => Promise.resolve(void seen.push(`${name} in place`)), discard: () => Promise.resolve(void seen.push(`${name} discarded`)),
  });
  // Both at once, as when an install and a repair end together.
  void logs.opener.reinstall(slot, former, replacement('first'));
  void logs.opener.reinstall(slot, former, replacement('second'));
  slot.addTask({ deadlineMs: Infinity, run: () => {}, fail: () => {} });
  await cluster.settle();
  assert.ok(follower.isOpen);
  assert.is.not(follower.replica, former);
  assert.equal(seen, ['first in place', 'second discarded']);
  await cluster.stop();
});

test('a replica that is closed and opened at once knows the vote that was being stored (I2)', async () => {
  const cluster = await Cluster.start();
  const leader = await cluster.elect();
  await cluster.converge();
  const follower = cluster.members.find((member) => member !== leader)!;
  const { logs, context } = follower.world!.node;
  follower.holds = ({ path }) => path.startsWith('raft-state');
  const { term } = follower.group.driver.node;
  cluster.isolate(follower.number);
  leader.group.transferLeadership(follower.replicaId);
  cluster.heal();
  await cluster.until('a higher term', () => follower.group.driver.node.term > term);
  const replacement: Replacement = { kind: 'repair', replace: () => Promise.resolve(), discard: () => Promise.resolve() };
  void logs.opener.reinstall(logs.find(LOG)!, follower.replica, replacement);
  await cluster.settle();
  assert.not.ok(follower.isOpen, 'it waits for the disk');
  follower.holds = null;
  for (const end of follower.held.splice(0)) end();
  await cluster.settle();
  assert.ok(follower.isOpen);
  assert.ok(follower.group.driver.node.term > term);
  assert.is(follower.group.driver.node.vote, context.journal.get(Buffer.from(UID, 'hex'), follower.replicaId)!.vote);
  await cluster.converge();
  await cluster.stop();
});

/** Three members, of which one led, was cut off, and then took 'x' and 'y', which nobody else has. */
async function withLoneTail(): Promise<{ cluster: Cluster; former: Member }> {
  const cluster = await Cluster.start();
  const former = await cluster.elect();
  await cluster.converge();
  cluster.isolate(former.number);
  const client = await former.connect();
  for (const value of ['x', 'y']) client.sendProduce(LOG, records(value));
  await cluster.settle();
  return { cluster, former };
}

/** Of the other two one is heard by nobody but `member`, which they can only follow. */
function partOthersOf(cluster: Cluster, member: Member): void {
  cluster.heal();
  const { number } = cluster.members.find((other) => other !== member)!;
  cluster.isolate(number);
  for (const way of [`${number}>${member.number}`, `${member.number}>${number}`]) cluster.cut.delete(way);
}

test('a leader whose uncommitted tail is damaged lets others lead, who never saw it', async () => {
  const { cluster, former } = await withLoneTail();
  const { lastIndex } = former.log;
  former.crash({ keep: 'all' });
  const [path] = segments(former);
  const tail = former.disk.contents(path!).lastIndexOf('y');
  former.disk.corrupt(path!, tail);
  await former.start(true);
  assert.is(former.log.lastIndex, lastIndex, 'a start looks at headers only');
  partOthersOf(cluster, former);
  assert.ok(cluster.members.every(({ isOpen }) => isOpen));
  await cluster.until('it to lead', () => former.group.driver.node.role === 'leader');
  cluster.heal();
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== former, 20_000);
  await cluster.converge();
  assert.equal(await former.entries(), await cluster.leader!.entries());
  assert.equal(former.log.damage, []);
  await cluster.advance(1100);
  assert.is(former.group.driver.node.serving, 'ready');
  await cluster.stop();
});

test('a tail whose headers are lost is not cut by guess: its replica is brought on anew', async () => {
  const { cluster, former } = await withLoneTail();
  former.crash({ keep: 'all' });
  const [path] = segments(former);
  const bytes = former.disk.contents(path!);
  for (const value of ['x', 'y']) former.disk.corrupt(path!, bytes.lastIndexOf(value) - 40);
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== former);
  const client = await cluster.leader!.connect();
  client.sendProduce(LOG, records('instead of x'));
  await cluster.settle();
  await former.start(true);
  const [damage] = former.log.damage;
  assert.is(damage!.lastIndex, former.log.lastIndex);
  assert.is(damage!.lastIndex - damage!.firstIndex, 1, 'two entries in one damaged stretch');
  cluster.heal();
  await cluster.until('the install', () => former.world!.node.counters.snapshotsInstalled === 1);
  await cluster.converge();
  assert.equal(await former.entries(), await cluster.leader!.entries());
  assert.equal(former.log.damage, []);
  await cluster.stop();
});

test('a leader that could not read its tail for a moment, and found nobody to hand over to, leads', async () => {
  const { cluster, former } = await withLoneTail();
  former.crash({ keep: 'all' });
  let failing = false;
  await former.start(true);
  former.disk.fail(({ call, path }) => (failing && call === 'read' && path.endsWith('.seg') ? 'EIO' : null));
  partOthersOf(cluster, former);
  // Nobody hears that it is to campaign.
  cluster.onMessage = ({ kind }) => kind !== MessageKind.TimeoutNow;
  failing = true;
  await cluster.until('it to be elected', () => former.group.driver.node.role === 'leader');
  assert.not.ok(former.leads, 'its tail cannot be read');
  failing = false;
  await cluster.until('it to lead', () => former.leads);
  await cluster.stop();
});

test('when raft-state may miss replicas, those of its logs are lost, and new ones can be made all the same', async () => {
  const { cluster, leader, follower } = await filled();
  follower.crash({ keep: 'all' });
  for (const path of JOURNAL_PATHS) follower.disk.corrupt(path, RECORD_SIZE + 9);
  for (let at = 2 * RECORD_SIZE; at < 40 * RECORD_SIZE; at += RECORD_SIZE) {
    for (const path of JOURNAL_PATHS) follower.disk.corrupt(path, at + 9);
  }
  await follower.start(true);
  await cluster.advance(1000);
  assert.is(follower.group.driver.node.serving, 'lost');
  assert.is(follower.world!.node.context.journal.mayMissReplicas, false, 'all are entered');
  const { logs } = follower.world!.node;
  void logs.delete(logs.find(LOG)!);
  await cluster.settle();
  follower.replicaId = 9;
  await follower.join(false);
  const { config } = leader.group.driver.node;
  assert.type(await leader.group.changeConfig(config.index, { kind: 'remove', replicaId: follower.number }), 'number');
  await cluster.advance(500);
  assert.ok(follower.isOpen);
  assert.is(follower.group.driver.node.serving, 'ready');
  await cluster.stop();
});

test('entries that the follower can serve again include those that were damaged', async () => {
  const { cluster, follower } = await filled();
  // With a snapshot the state is known although entries below it are damaged.
  await cluster.until('a snapshot', () => follower.world!.node.counters.snapshotsWritten > 0);
  await spoilAndStart(follower, 0, [HEAD + 2 * RECORD + 5000]);
  const client = await follower.connect();
  const refused = await client.fetch(LOG, { value: 2 });
  assert.is(refused.code, 'DATA_LOSS');
  await isWhole(cluster, follower);
  const again = await (await follower.connect()).fetch(LOG, { value: 2 });
  assert.is(again.code, 'OK');
  await cluster.stop();
});

test.run();
