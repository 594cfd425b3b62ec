import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CommittedBytes } from '../../src/replica/committed-bytes.ts';
import { MemoryGate } from '../../src/replica/context.ts';
import { DeadlineQueue, NOT_QUEUED } from '../../src/replica/deadlines.ts';
import type { Waiting } from '../../src/replica/deadlines.ts';
import { alteredSettings, decodeDescriptor, encodeDescriptor, isFault, settingsFromWish } from '../../src/replica/log-settings.ts';
import type { LogDescriptor, LogSettings } from '../../src/replica/log-settings.ts';
import { RoomFor, Space } from '../../src/replica/space.ts';
import { Prng } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';

const deadlines = suite('replica/deadlines');

function item(deadlineMs: number, due: number[]): Waiting {
  return { deadlineMs, bucket: NOT_QUEUED, expire: (nowMs) => void due.push(nowMs) };
}

deadlines('expires each item once, at the first tick behind its deadline, a late one at once', () => {
  const queue = new DeadlineQueue(10_000);
  const due: number[] = [];
  for (const deadlineMs of [10_100, 10_060, 9000, 20_000]) queue.add(item(deadlineMs, due));
  queue.tick(10_050);
  assert.is(due.length, 1);
  queue.tick(10_160);
  assert.is(due.length, 3);
  queue.tick(1_000_000);
  assert.is(due.length, 4);
  assert.is(queue.size, 0);
});

deadlines('forgets what was removed, also after it was added twice', () => {
  const queue = new DeadlineQueue(0);
  const due: number[] = [];
  const one = item(100, due);
  queue.add(one);
  queue.add(one);
  queue.remove(one);
  queue.remove(one);
  queue.tick(1000);
  assert.equal(due, []);
});

deadlines('agrees with a list that is searched', () => {
  const prng = new Prng(3);
  const queue = new DeadlineQueue(0);
  const waiting = new Set<Waiting>();
  let nowMs = 0;
  for (let step = 0; step < 2000; step++) {
    const one: Waiting = { deadlineMs: nowMs + prng.next(5000) - 100, bucket: NOT_QUEUED, expire: () => void waiting.delete(one) };
    waiting.add(one);
    queue.add(one);
    if (prng.next(3) === 0) {
      const [other] = waiting;
      waiting.delete(other!);
      queue.remove(other!);
    }
    nowMs += prng.next(10) === 0 ? prng.next(20_000) : prng.next(60);
    queue.tick(nowMs);
    assert.is(queue.size, waiting.size);
    for (const left of waiting) assert.ok(left.deadlineMs > nowMs - 200);
  }
});

deadlines.run();

const bytes = suite('replica/committed-bytes');

bytes('knows the data bytes up to any uncommitted entry, beyond its first size', () => {
  const ring = new CommittedBytes();
  ring.reset(10);
  for (let i = 1; i <= 3000; i++) ring.push(i % 3 === 0 ? 0 : 10);
  ring.commit(11);
  assert.is(ring.committed, 10);
  ring.commit(13);
  assert.is(ring.committed, 20);
  ring.commit(3010);
  assert.is(ring.committed, 20_000);
  ring.reset(3010);
  ring.push(5);
  ring.commit(3011);
  assert.is(ring.committed, 20_005);
});

bytes.run();

const gate = suite('replica/memory-gate');

gate('stops reading above the limit and lets it go on under half of it', () => {
  const told: boolean[] = [];
  const memory = new MemoryGate(100, (paused) => void told.push(paused));
  memory.add(100);
  assert.equal(told, []);
  memory.add(1);
  memory.add(50);
  assert.equal(told, [true]);
  memory.remove(100);
  assert.equal(told, [true]);
  memory.remove(1);
  assert.equal(told, [true, false]);
});

gate.run();

const settings = suite('replica/log-settings');

const WISH = { durability: 1, replication: 0, intervalMs: 7, retainBytes: 0, retainMs: 0, segmentBytes: 0, compressions: 0 };
const MADE = settingsFromWish(WISH, 64 * 1024 * 1024) as LogSettings;

settings('fills in defaults and ignores what the durability does not use', () => {
  assert.equal(MADE, {
    durability: 1, replication: 1, intervalMs: 0, retainBytes: 0, retainMs: 0, segmentBytes: 64 * 1024 * 1024, compressions: 3,
  });
});

settings('altering leaves NONE and 0 as they are', () => {
  assert.equal(alteredSettings(MADE, { retainBytes: -1, retainMs: -1, replication: 0, compressions: 0 }), MADE);
  assert.ok(isFault(alteredSettings({ ...MADE, durability: 3 }, { retainBytes: -1, retainMs: -1, replication: 3, compressions: 0 })));
});

settings('a descriptor survives encoding, and any flipped bit is noticed', () => {
  const descriptor: LogDescriptor = {
    uid: 'ab'.repeat(16), name: 'orders', createdMs: 5, replicaId: 1, settings: MADE, deletedMs: 9,
    figures: { logStart: 1, committedEnd: 2, fence: 3, bytes: 4, term: 5 }, formerUid: undefined,
  };
  const encoded = encodeDescriptor(descriptor);
  assert.equal(decodeDescriptor(encoded), descriptor);
  for (let at = 0; at < encoded.length; at++) {
    const damaged = Buffer.from(encoded);
    damaged[at]! ^= 1 << (at % 8);
    assert.type(decodeDescriptor(damaged), 'string');
    assert.type(decodeDescriptor(encoded.subarray(0, at)), 'string');
  }
});

settings.run();

const space = suite('replica/space');

const MIB = 1024 * 1024;

async function made(totalBytes: number, ballastBytes = 0, reserveBytes = -1) {
  const disk = new SimDisk({ totalBytes });
  const it = new Space({ disk, maxBatchBytes: MIB, reserveBytes, ballastBytes, unwrittenBytes: () => 0 });
  await it.measure();
  return { disk, it };
}

space('the reserve is 2 % of the disk, at least four batches, at most 256 MiB', async () => {
  assert.is((await made(50 * MIB)).it.reserveBytes, 4 * MIB);
  assert.is((await made(1000 * MIB)).it.reserveBytes, 20 * MIB);
  assert.is((await made(1000 * 1024 * MIB)).it.reserveBytes, 256 * MIB);
  assert.is((await made(1000 * MIB, 0, 5)).it.reserveBytes, 5);
});

space('records stop at the reserve, small state at half of it, maintenance at nothing', async () => {
  const { it } = await made(100 * MIB, 0, 8 * MIB);
  it.accepted(100 * MIB - 9 * MIB);
  assert.ok(it.admits(RoomFor.RECORDS, MIB));
  assert.not.ok(it.admits(RoomFor.RECORDS, MIB + 1));
  assert.ok(it.admits(RoomFor.SMALL_STATE, 5 * MIB));
  assert.not.ok(it.admits(RoomFor.SMALL_STATE, 5 * MIB + 1));
  assert.ok(it.admits(RoomFor.MAINTENANCE, 9 * MIB));
});

space('the ballast is written when there is room, given back when there is none, and comes again', async () => {
  const { disk, it } = await made(100 * MIB, 8 * MIB, 8 * MIB);
  await it.tendBallast();
  assert.ok(it.ballastHeld);
  assert.is((await disk.space()).freeBytes, 92 * MIB);
  const file = await disk.open('big', 'create');
  await file.write(Buffer.alloc(90 * MIB), 0, 90 * MIB, 0);
  await it.measure();
  await it.tendBallast();
  assert.not.ok(it.ballastHeld);
  assert.is(it.freeBytes, 10 * MIB);
  await file.close();
  await disk.unlink('big');
  await it.measure();
  await it.tendBallast();
  assert.ok(it.ballastHeld);
});

space('a ballast that an earlier run left is kept', async () => {
  const { disk, it } = await made(100 * MIB, 8 * MIB, 8 * MIB);
  await it.tendBallast();
  const again = new Space({ disk, maxBatchBytes: MIB, reserveBytes: 8 * MIB, ballastBytes: 8 * MIB, unwrittenBytes: () => 0 });
  await again.measure();
  await again.tendBallast();
  assert.ok(again.ballastHeld);
  assert.is((await disk.space()).freeBytes, 92 * MIB);
});

space('a ballast that an earlier run left is given back by the next on a full disk', async () => {
  const { disk, it } = await made(100 * MIB, 8 * MIB, 8 * MIB);
  await it.tendBallast();
  const file = await disk.open('big', 'create');
  await file.write(Buffer.alloc(91 * MIB), 0, 91 * MIB, 0);
  const next = new Space({ disk, maxBatchBytes: MIB, reserveBytes: 8 * MIB, ballastBytes: 8 * MIB, unwrittenBytes: () => 0 });
  await next.measure();
  assert.is(next.freeBytes, MIB);
  await next.tendBallast();
  assert.is(next.freeBytes, 9 * MIB);
});

space.run();
