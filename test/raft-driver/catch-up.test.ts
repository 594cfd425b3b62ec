// A replica that needs entries which are compacted away is brought on by a snapshot and what goes with it.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MessageKind } from '../../src/raft/types.ts';
import { CatchUpKind, decodeCatchUp, encodeCatchUp, NO_SESSION, Piece } from '../../src/replica/catch-up/messages.ts';
import type { CatchUpMessage } from '../../src/replica/catch-up/messages.ts';
import { CatchUpSource } from '../../src/replica/catch-up/source.ts';
import type { SourcePorts } from '../../src/replica/catch-up/source.ts';
import { Op } from '../../src/wire/ops.ts';
import { trimRequest } from '../../src/wire/requests-admin.ts';
import { trimResponse } from '../../src/wire/responses-admin.ts';
import { encode, records, sized } from '../replica/support.ts';
import { Prng } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { Cluster, idOf, LOG, UID } from './cluster.ts';
import type { Member } from './cluster.ts';

const test = suite('raft-driver/catch up');

/** At most so many of the records below are in one segment. */
const SEGMENT_RECORDS = 11;

/** Five segments, the first ones deleted behind a trim. */
async function fillAndTrim(cluster: Cluster, leader: Member, offset = 30, pauseMs = 0): Promise<void> {
  const client = await leader.connect();
  for (let i = 0; i < 45; i++) {
    const id = client.sendProduce(LOG, sized(100_000));
    await cluster.settle();
    assert.is(client.produced(id)!.code, 'OK');
    if (pauseMs > 0) await cluster.advance(pauseMs);
  }
  const producer = client.sendProduce(LOG, records('last'));
  await cluster.settle();
  assert.is(client.produced(producer)!.code, 'OK');
  const trim = client.send(Op.TRIM, encode(trimRequest, { log: LOG, offset }));
  await cluster.settle();
  assert.is(client.result(trim, trimResponse)!.code, 'OK');
  await cluster.until('segments to go', () => leader.log.firstOffset + SEGMENT_RECORDS > offset);
}

/** A cluster of three of which one member missed everything, and the leader. */
async function withLaggard(): Promise<{ cluster: Cluster; leader: Member; laggard: Member }> {
  const { cluster, leader, follower: laggard } = await Cluster.led();
  await cluster.converge();
  laggard.crash({ keep: 'all' });
  await fillAndTrim(cluster, leader);
  return { cluster, leader, laggard };
}

async function isComplete(cluster: Cluster, member: Member): Promise<void> {
  await cluster.converge();
  const leader = cluster.leader!;
  assert.is(member.log.firstOffset, leader.log.firstOffset);
  assert.equal(await member.entries(), await leader.entries());
  assert.equal(await member.values(), await leader.values());
  assert.is(member.replica.logStart, leader.replica.logStart);
  assert.ok(member.replica.state.configuration!.equals(leader.replica.state.configuration!));
}

test('a replica that missed what is trimmed is brought on, and stays so over a power cut', async () => {
  const { cluster, laggard } = await withLaggard();
  await laggard.start(true);
  await isComplete(cluster, laggard);
  assert.is(laggard.world!.node.counters.snapshotsInstalled, 1);
  assert.equal(laggard.disk.media.files().map(([path]) => path).filter((path) => path.includes('/00000001')), []);
  laggard.crash({ keep: 'none' });
  await laggard.start(true);
  await isComplete(cluster, laggard);
  assert.is(laggard.world!.node.counters.snapshotsInstalled, 0, 'nothing had to be sent again');
  await cluster.stop();
});

test('a restart that hears from nobody takes what was trimmed for trimmed, not for lost', async () => {
  const { cluster, leader, follower } = await Cluster.led();
  await cluster.converge();
  // Two snapshots from before the trim cover all that it deletes.
  await fillAndTrim(cluster, leader, 12, 300);
  await cluster.until('segments to go', () => follower.log.firstIndex > 1);
  for (const member of cluster.members) member.crash({ keep: 'none' });
  for (const member of [leader, follower]) {
    await member.start(true);
    assert.ok(member.replica.logStart >= member.log.firstOffset, `${member.replica.logStart}, and its files begin at ${member.log.firstOffset}`);
    member.crash({ keep: 'none' });
  }
  await cluster.stop();
});

test('a trimmed replica that has no whole snapshot any more is brought on anew', async () => {
  const { cluster, laggard } = await withLaggard();
  await laggard.start(true);
  await isComplete(cluster, laggard);
  laggard.crash({ keep: 'all' });
  const snapshots = laggard.disk.media.files().map(([path]) => path).filter((path) => /snapshot-\d+$/.test(path));
  assert.is(snapshots.length, 1, 'an install makes one');
  laggard.disk.corrupt(snapshots[0]!, 40);
  await laggard.start(true);
  assert.ok(laggard.isOpen, laggard.world!.node.logs.find(LOG)?.failure);
  await cluster.until('the install', () => laggard.world!.node.counters.snapshotsInstalled === 1);
  await isComplete(cluster, laggard);
  await cluster.stop();
});

test('it votes and leads afterwards like any other', async () => {
  const { cluster, leader, laggard } = await withLaggard();
  await laggard.start(true);
  await isComplete(cluster, laggard);
  assert.is(leader.group.transferLeadership(laggard.number), null);
  await cluster.until('the transfer', () => laggard.leads);
  const client = await laggard.connect();
  const id = client.sendProduce(LOG, records('from the new leader'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  await isComplete(cluster, leader);
  await cluster.stop();
});

test('any message of it may be lost: what is missing is asked for again', async () => {
  const { cluster, laggard } = await withLaggard();
  let n = 0;
  const prng = new Prng(5);
  cluster.onBytes = (kind) => kind < CatchUpKind.Offer || (n++, prng.next(3) !== 0);
  await laggard.start(true);
  await cluster.until('the install', () => laggard.world!.node.counters.snapshotsInstalled === 1, 60_000);
  await isComplete(cluster, laggard);
  assert.ok(n > 10);
  await cluster.stop();
});

test('a leader that dies in the middle is replaced in this, too', async () => {
  const { cluster, leader, laggard } = await withLaggard();
  let parts = 0;
  cluster.onBytes = (kind) => kind !== CatchUpKind.Part || ++parts < 3;
  await laggard.start(true);
  await cluster.advance(1000);
  assert.ok(parts >= 3);
  cluster.onBytes = null;
  leader.crash({ keep: 'all' });
  await cluster.until('another leader', () => cluster.leader !== null);
  // It may still have everything, or need to send a snapshot of its own.
  await cluster.until('the laggard to be there', () => laggard.log.lastIndex === cluster.leader!.log.lastIndex, 60_000);
  await leader.start(true);
  await isComplete(cluster, laggard);
  await cluster.stop();
});

test('a snapshot whose session ends while it is being opened is closed once', async () => {
  for (const last of ['open', 'size'] as const) {
    const held: Array<() => void> = [];
    const disk = new SimDisk({ schedule: (end, { call }) => void (call === last ? held.push(end) : queueMicrotask(end)) });
    disk.place('snapshot', Buffer.alloc(100));
    const log = { firstIndex: 1, ask: (question: () => number) => Promise.resolve(question()), termAt: () => 1 };
    const ports = { log, disk, snapshot: () => Promise.resolve({ path: 'snapshot', index: 5 }), drawSession: () => 1 };
    const source = new CatchUpSource(ports as unknown as SourcePorts);
    source.begin({ replicaId: 2, nodeId: idOf(2), match: 0 });
    await nextTurn();
    source.endAll();
    assert.is(held.length, 1);
    held[0]!();
    await nextTurn();
    assert.is(disk.openFileCount, 0, `held at ${last}`);
  }
});

for (const keep of ['all', 'none', 'random'] as const) {
  test(`power cuts at any moment of an install (${keep} of what is not synced) leave the old files or the new`, async () => {
    const { cluster, laggard } = await withLaggard();
    let cuts = 0;
    for (let after = 1; laggard.world === null || laggard.world.node.counters.snapshotsInstalled === 0; after = Math.ceil(after * 1.3)) {
      await laggard.start(true);
      const at = laggard.disk.operationCount + after;
      let halted = false;
      void laggard.disk.haltAt(at).then(() => (halted = true));
      for (let ms = 0; ms < 4000 && !halted && laggard.world!.node.counters.snapshotsInstalled === 0; ms += 50) await cluster.advance(50);
      if (!halted) break;
      cuts++;
      laggard.crash({ keep });
      assert.ok(cuts < 100);
    }
    if (laggard.world === null) await laggard.start(true);
    assert.ok(cuts > 10, `${cuts}`);
    await isComplete(cluster, laggard);
    await cluster.stop();
  });
}

test('what is on its way is not deleted, and a replica that dies meanwhile holds nothing up for long', async () => {
  const { cluster, leader, laggard } = await withLaggard();
  cluster.onBytes = (kind) => kind !== CatchUpKind.Part;
  await laggard.start(true);
  await cluster.until('an offer', () => leader.group.neededFromIndex < Infinity);
  const { firstIndex } = leader.log;
  const client = await leader.connect();
  const trim = client.send(Op.TRIM, encode(trimRequest, { log: LOG, offset: 46 }));
  await cluster.settle();
  assert.is(client.result(trim, trimResponse)!.code, 'OK');
  await cluster.advance(3000);
  assert.is(leader.log.firstIndex, firstIndex);
  laggard.crash();
  await cluster.until('the leader to give up', () => leader.log.firstIndex > firstIndex);
  cluster.onBytes = null;
  await laggard.start(true);
  await isComplete(cluster, laggard);
  await cluster.stop();
});

test('what a living follower still lacks is not deleted', async () => {
  const { cluster, leader, follower: slow } = await Cluster.led();
  await cluster.converge();
  const { lastIndex } = leader.log;
  cluster.onMessage = (message, _from, to) => to !== slow.number || message.kind !== MessageKind.Append;
  const client = await leader.connect();
  for (let i = 0; i < 45; i++) client.sendProduce(LOG, sized(100_000));
  await cluster.settle();
  const trim = client.send(Op.TRIM, encode(trimRequest, { log: LOG, offset: 40 }));
  await cluster.settle();
  assert.is(client.result(trim, trimResponse)!.code, 'OK');
  await cluster.advance(3000);
  assert.is(leader.group.neededFromIndex, lastIndex + 1);
  assert.is(leader.log.firstIndex, 1);
  cluster.onMessage = null;
  await cluster.converge();
  await cluster.until('segments to go', () => cluster.members.every(({ log }) => log.firstIndex > 20));
  assert.is(slow.world!.node.counters.snapshotsInstalled, 0);
  await cluster.stop();
});

test('a part that was changed on the way is found, and the install begins anew', async () => {
  const { cluster, laggard } = await withLaggard();
  let spoiled = 0;
  let session = -1n;
  cluster.onBytes = (kind, bytes) => {
    if (kind !== CatchUpKind.Part || spoiled >= 2) return true;
    // Once in the snapshot, once among the entries, in another attempt.
    const attempt = bytes.readBigUInt64BE(96);
    if (bytes[96 + 8] !== 1 + spoiled || attempt === session) return true;
    session = attempt;
    bytes[bytes.length - 40]! ^= 1;
    spoiled++;
    return true;
  };
  await laggard.start(true);
  await cluster.until('the install', () => laggard.world!.node.counters.snapshotsInstalled === 1, 60_000);
  assert.is(spoiled, 2);
  assert.is(laggard.world!.events.filter(({ event }) => event === 'catching up has failed').length, 2);
  await isComplete(cluster, laggard);
  await cluster.stop();
});

test('entries that are about to be cut off are lent to nobody, although their indexes are committed (I4)', async () => {
  const cluster = await Cluster.start({ cacheBytes: 4096 });
  const former = await cluster.elect();
  await cluster.converge();
  cluster.isolate(former.number);
  const client = await former.connect();
  for (let i = 0; i < 25; i++) {
    client.sendProduce(LOG, sized(100_000));
    await cluster.settle();
  }
  const first = former.replica.commitIndex + 1;
  assert.ok(former.log.lastIndex - first > 20, 'several segments that nobody else has');
  await cluster.until('another leader', () => cluster.leader !== null && cluster.leader !== former);
  const leader = cluster.leader!;
  const other = await leader.connect();
  const id = other.sendProduce(LOG, records('instead'));
  await cluster.settle();
  assert.is(other.produced(id)!.code, 'OK');

  // So that its old segments are not open.
  former.crash({ keep: 'all' });
  await former.start(true);
  former.holds = ({ call }) => call === 'read' || call === 'open';
  cluster.heal();
  await cluster.until('the entries to come', () => former.group.driver.node.commitIndex > first);
  assert.not.ok(former.log.acceptsAppends, 'the place to cut is being read');
  const lent: CatchUpMessage[] = [];
  cluster.onBytes = (_kind, bytes, from) => {
    const message = from === former.number ? decodeCatchUp(bytes) : null;
    if (message !== null) lent.push(message);
    return true;
  };
  const { clusterId } = former.world!.node.context.raft;
  const envelope = { clusterId, logUid: UID, from: leader.replicaId, fromNode: idOf(leader.number), to: former.replicaId, toNode: idOf(former.number), term: leader.group.term };
  const want = encodeCatchUp({ ...envelope, kind: CatchUpKind.Want, session: NO_SESSION, piece: Piece.ENTRIES, at: first });
  former.world!.node.receive(want);
  former.holds = null;
  for (const end of former.held.splice(0)) end();
  await cluster.settle();
  assert.is(lent.length, 0);
  await cluster.converge();
  former.world!.node.receive(want);
  await cluster.settle();
  assert.is(lent.length, 1, 'when they are there');
  await cluster.stop();
});

test.run();
