// A new generation of a log's files: what it takes over of the old one, and what it refuses.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CatchUpKind, decodeCatchUp, encodeCatchUp, Piece } from '../../src/replica/catch-up/messages.ts';
import type { CatchUpMessage, Offer } from '../../src/replica/catch-up/messages.ts';
import { Staging } from '../../src/replica/catch-up/staging.ts';
import { removeOtherGenerations } from '../../src/replica/generations.ts';
import { encodeSnapshot } from '../../src/replica/snapshot.ts';
import { SnapshotStore } from '../../src/replica/snapshot-store.ts';
import { ReplicaState } from '../../src/replica/state.ts';
import { SegmentedLog } from '../../src/segment/log.ts';
import type { LogOptions } from '../../src/segment/log-options.ts';
import { SyncGate } from '../../src/segment/sync-gate.ts';
import { batchIndex, batchSize, batchTerm, stampBatch } from '../../src/wire/batch.ts';
import { records } from '../replica/support.ts';
import { SimDisk } from '../support/sim-disk.ts';

const test = suite('raft-driver/staging');

const UID = Buffer.alloc(16, 7);
const FOLDER = `logs/${UID.toString('hex')}`;
const envelope = { clusterId: '01'.repeat(16), logUid: UID.toString('hex'), from: 1, fromNode: '01'.repeat(16), to: 2, toNode: '02'.repeat(16), term: 9 };

class Rig {
  readonly disk = new SimDisk();
  #tasks: Array<() => void> = [];

  logOptions = (directory: string): LogOptions => ({
    disk: this.disk, directory, logUid: UID, segmentBytes: 1024 * 1024, maxSegmentAgeMs: 1e12, durability: { mode: 'fsync' },
    cacheBytes: 1024 * 1024, syncGate: new SyncGate(4), defer: (task) => void this.#tasks.push(task),
  });

  /** The log that counts, with entries of these terms, all synced. */
  async oldLog(terms: number[]): Promise<SegmentedLog> {
    for (const path of ['logs', FOLDER, `${FOLDER}/00000001`]) await this.disk.makeDirectory(path);
    for (const path of ['', 'logs', FOLDER]) await this.disk.syncDirectory(path);
    const log = await SegmentedLog.create(this.logOptions(`${FOLDER}/00000001`));
    terms.forEach((term, i) => {
      const batch = records(`r${i + 1}`);
      log.append(batch, 0, batch.length, term, 1000);
    });
    log.flush();
    await log.whenIdle();
    return log;
  }

  stage(offer: Offer): Promise<Staging> {
    const { disk, logOptions } = this;
    return Staging.begin({ disk, folder: FOLDER, current: '00000001', logUid: UID, logOptions, yieldTurn: () => Promise.resolve() }, offer);
  }

  /** Index and term of everything in the generation that is in place. */
  async placed(): Promise<string[]> {
    const { disk } = this;
    assert.is(disk.contents(`${FOLDER}/CURRENT`).toString(), '00000002\n');
    const log = await SegmentedLog.open(this.logOptions(`${FOLDER}/00000002`), () => {}, 0);
    const found: string[] = [];
    for (let next = log.firstIndex; next <= log.lastIndex; next = log.lastIndex + 1) {
      const { buffers } = await log.read(next, 1 << 20, log.lastIndex);
      for (const buffer of buffers) {
        for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) found.push(`${batchIndex(buffer, at)}@${batchTerm(buffer, at)}`);
      }
    }
    await log.close();
    return found;
  }
}

/** What a leader has: entries of these terms from index 1 on, and the snapshot of them. */
function leader(terms: number[]): { offer: Offer; snapshot: Buffer; entries: Buffer } {
  const state = new ReplicaState(UID);
  const batches = terms.map((term, i) => {
    const batch = Buffer.from(records(`r${i + 1}`));
    stampBatch(batch, 0, i + 1, term, i, 1000);
    state.apply(batch, 0);
    return batch;
  });
  const snapshot = encodeSnapshot(state);
  const offer: Offer = {
    ...envelope, kind: CatchUpKind.Offer, session: 5, firstIndex: 1, firstOffset: 0, termBefore: 0, appendTimeBefore: 0,
    snapshotIndex: terms.length, snapshotTerm: terms.at(-1)!, snapshotSize: snapshot.length,
  };
  return { offer, snapshot, entries: Buffer.concat(batches) };
}

async function install(rig: Rig, old: SegmentedLog, terms: number[]): Promise<string[]> {
  const { offer, snapshot, entries } = leader(terms);
  const staging = await rig.stage(offer);
  await staging.writeSnapshot(0, snapshot);
  assert.ok(await staging.append(entries));
  assert.is(await staging.check(), '');
  await staging.carryOver(old);
  await staging.putInPlace();
  await old.close();
  return rig.placed();
}

test('entries behind the snapshot are carried over when the log goes on from it (Raft §7, I7)', async () => {
  const rig = new Rig();
  const old = await rig.oldLog([1, 1, 2, 2, 3]);
  assert.equal(await install(rig, old, [1, 1, 2]), ['1@1', '2@1', '3@2', '4@2', '5@3']);
});

test('they are not when the entry at the snapshot\'s place is another one', async () => {
  const rig = new Rig();
  const old = await rig.oldLog([1, 1, 1, 1, 1]);
  assert.equal(await install(rig, old, [1, 1, 2]), ['1@1', '2@1', '3@2']);
});

test('nothing is put in place where it cannot be told whether the old log goes on', async () => {
  const rig = new Rig();
  const before = await rig.oldLog([1, 1, 2, 2, 3]);
  await before.close();
  const size = batchSize(records('r1'), 0);
  rig.disk.corrupt(`${FOLDER}/00000001/00000000000000000001.seg`, 4096 + 2 * size + 20);
  const old = await SegmentedLog.open(rig.logOptions(`${FOLDER}/00000001`), () => {}, 0);
  assert.is(old.damage.length, 1);
  let code = '';
  await install(rig, old, [1, 1, 2]).catch((error: { code: string }) => (code = error.code));
  assert.is(code, 'DATA_LOSS');
  assert.not.ok(await rig.disk.exists(`${FOLDER}/CURRENT`));
});

test('nothing is put in place of a log that begins behind what was offered: what it acknowledged would be gone (I7)', async () => {
  const rig = new Rig();
  for (const path of ['logs', FOLDER, `${FOLDER}/00000001`]) await rig.disk.makeDirectory(path);
  for (const path of ['', 'logs', FOLDER]) await rig.disk.syncDirectory(path);
  const start = { firstIndex: 6, firstOffset: 5, termBefore: 2, appendTimeBefore: 1000 };
  const old = await SegmentedLog.create(rig.logOptions(`${FOLDER}/00000001`), start);
  const batch = records('r6');
  old.append(batch, 0, batch.length, 2, 1000);
  old.flush();
  await old.whenIdle();
  let code = '';
  await install(rig, old, [1, 1, 2]).catch((error: { code: string }) => (code = error.code));
  assert.is(code, 'DATA_LOSS');
  assert.not.ok(await rig.disk.exists(`${FOLDER}/CURRENT`));
});

test('a log that ends before the snapshot, or at it, has nothing to carry', async () => {
  for (const terms of [[1], [1, 1, 2]]) {
    const rig = new Rig();
    assert.equal(await install(rig, await rig.oldLog(terms), [1, 1, 2]), ['1@1', '2@1', '3@2']);
  }
});

test('what was carried over is on disk before CURRENT names it', async () => {
  const rig = new Rig();
  const old = await rig.oldLog([1, 1, 2, 2, 3]);
  const { offer, snapshot, entries } = leader([1, 1, 2]);
  const staging = await rig.stage(offer);
  await staging.writeSnapshot(0, snapshot);
  await staging.append(entries);
  await staging.check();
  await staging.carryOver(old);
  await staging.putInPlace();
  const after = new Rig();
  Object.assign(after, { disk: rig.disk.crash({ keep: 'none' }) });
  assert.equal(await after.placed(), ['1@1', '2@1', '3@2', '4@2', '5@3']);
  const { state } = await new SnapshotStore(after.disk, `${FOLDER}/00000002`, () => Promise.resolve()).load(UID);
  assert.is(state?.appliedIndex, 3);
});

test('a disk that fails while entries are carried over leaves the old files in place', async () => {
  for (const call of ['sync', 'writeNow'] as const) {
    const rig = new Rig();
    const old = await rig.oldLog([1, 1, 2, 2, 3]);
    const { offer, snapshot, entries } = leader([1, 1, 2]);
    const staging = await rig.stage(offer);
    await staging.writeSnapshot(0, snapshot);
    await staging.append(entries);
    await staging.check();
    rig.disk.failNext(call, 'EIO', /tmp\/.*seg$/);
    await staging.carryOver(old);
    let failed = false;
    await staging.putInPlace().catch(() => (failed = true));
    assert.ok(failed);
    await staging.discard();
    assert.not.ok(await rig.disk.exists(`${FOLDER}/CURRENT`));
    await old.close();
  }
});

test('entries that do not go on, do not hold or go too far are refused', async () => {
  const { offer, entries } = leader([1, 1, 2]);
  const size = entries.length / 3;
  const flipped = Buffer.from(entries);
  flipped[size - 1]! ^= 1;
  const tooFar = Buffer.from(records('r4'));
  stampBatch(tooFar, 0, 4, 2, 3, 1000);
  const older = Buffer.from(records('x'));
  stampBatch(older, 0, 2, 0, 1, 1000);
  for (const wrong of [entries.subarray(size), flipped, Buffer.concat([entries, tooFar]), Buffer.alloc(0), Buffer.alloc(80),
    Buffer.concat([entries.subarray(0, size), older])]) {
    const rig = new Rig();
    await (await rig.oldLog([1])).close();
    const staging = await rig.stage(offer);
    assert.not(await staging.append(wrong));
    await staging.discard();
    assert.not.ok(await rig.disk.exists(`${FOLDER}/00000002.tmp`));
  }
});

test('a snapshot that is damaged, of other entries or of another place is refused', async () => {
  const good = leader([1, 1, 2]);
  const shorter = leader([1, 1]);
  const otherTerm = leader([1, 1, 3]);
  const damaged = Buffer.from(good.snapshot);
  damaged[30]! ^= 1;
  for (const [snapshot, why] of [[damaged, /digest/], [shorter.snapshot, /different places/], [otherTerm.snapshot, /not of the entries/]] as const) {
    const rig = new Rig();
    await (await rig.oldLog([1])).close();
    const staging = await rig.stage(good.offer);
    await staging.writeSnapshot(0, snapshot);
    await staging.append(good.entries);
    assert.match(await staging.check(), why);
    await staging.discard();
  }
});

test('other generations are removed only when CURRENT names the one that is open', async () => {
  const rig = new Rig();
  await (await rig.oldLog([1])).close();
  const { disk } = rig;
  for (const name of ['00000002', '00000003.tmp', 'keep-me']) await disk.makeDirectory(`${FOLDER}/${name}`);
  const file = await disk.open(`${FOLDER}/CURRENT`, 'create');
  await file.write(Buffer.from('00000009\n'), 0, 9, 0);
  await removeOtherGenerations(disk, FOLDER, '00000001');
  assert.ok(await disk.exists(`${FOLDER}/00000002`));
  await file.write(Buffer.from('00000001\n'), 0, 9, 0);
  await removeOtherGenerations(disk, FOLDER, '00000001');
  assert.equal((await disk.list(FOLDER)).sort(), ['00000001', 'CURRENT', 'keep-me']);
});

test('messages of catching up come back as they went, and nothing else is one', () => {
  const all: CatchUpMessage[] = [
    leader([1, 1, 2]).offer,
    { ...envelope, kind: CatchUpKind.Want, session: 5, piece: Piece.ENTRIES, at: 77 },
    { ...envelope, kind: CatchUpKind.Part, session: 5, piece: Piece.SNAPSHOT, at: 4096, bytes: Buffer.from('bytes') },
    { ...envelope, kind: CatchUpKind.Done, session: 5, index: 3 },
  ];
  for (const message of all) {
    const bytes = encodeCatchUp(message);
    assert.equal(decodeCatchUp(bytes), message);
    for (let length = 0; length < bytes.length; length++) assert.is(decodeCatchUp(bytes.subarray(0, length)), null);
  }
  for (const wrong of [{ firstIndex: 0 }, { snapshotIndex: 0 }, { snapshotTerm: 0 }, { termBefore: 99 }]) {
    assert.is(decodeCatchUp(encodeCatchUp({ ...leader([1]).offer, ...wrong })), null);
  }
  const want = encodeCatchUp(all[1]!);
  want[96 + 8] = 3;
  assert.is(decodeCatchUp(want), null);
});

test.run();
