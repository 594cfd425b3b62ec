// Snapshots: their bytes, that no damaged one is taken, that they are of one moment although written
// in slices, and that a restored replica goes on as if nothing had happened.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { createHash } from 'node:crypto';
import { decodeSnapshot, decodeSnapshotInSlices, encodeSnapshot, SnapshotEncoder } from '../../src/replica/snapshot.ts';
import { snapshotSize } from '../../src/replica/snapshot-format.ts';
import { StateError } from '../../src/replica/state-error.ts';
import { ReplicaState } from '../../src/replica/state.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { controlBatch, Leader, LOG_UID, NONE, Random, SMALL } from './support.ts';

const test = suite('replica-state/snapshot');
const refused = (error: Error) => error instanceof StateError && error.code === 'BAD_SNAPSHOT';

/** Something of everything, all committed. */
function sample(): Leader {
  const leader = new Leader();
  leader.append(controlBatch({}, { type: 2, data: Buffer.from('voters') }));
  leader.init('b', 2 ** 53 - 1);
  leader.init('a', 10);
  for (let seq = 0; seq < 5; seq++) leader.produce({ producerId: 10, seq, count: 2, bodyCrc: 0xfffffff0 + seq });
  leader.init('b', 11);
  leader.fence(6);
  for (const name of ['z', 'y']) leader.put(name, 4);
  leader.flush();
  leader.append(controlBatch({}, { type: 5, offset: 2 }));
  leader.commit();
  return leader;
}

test('the bytes are the layout of snapshot-format.ts, and end in their SHA-256', () => {
  const bytes = encodeSnapshot(sample().state);
  const body = bytes.subarray(0, -32);
  assert.is(bytes.subarray(-32).toString('hex'), createHash('sha256').update(body).digest('hex'));
  const u64 = (n: number) => n.toString(16).padStart(16, '0');
  const time = (index: number) => u64(1_790_000_000_000 + index * 10);
  const batch = (seq: number) => `0000${(0xfffffff0 + seq).toString(16)}00000002${u64(seq * 2)}${time(4 + seq)}`;
  const expected = [
    '534c534e00010000' + LOG_UID.toString('hex'),
    u64(12) + u64(1) + time(12) + u64(10) + u64(2) + u64(6) + '00000004' + '00000003' + '00000003',
    u64(1) + '01' + '00000006' + Buffer.from('voters').toString('hex') + '00000002' + '00000002',
    u64(10) + '000161' + '0000' + u64(0) + u64(5) + u64(8) + '0003' + batch(2) + batch(3) + batch(4),
    u64(2 ** 53 - 1) + '000162' + '0001' + u64(0) + u64(0) + u64(9) + '0000',
    '000179' + u64(4) + time(11) + '00017a' + u64(4) + time(11),
  ];
  assert.is(body.toString('hex'), expected.join(''));
});

test('an empty state has a snapshot, too', () => {
  const bytes = encodeSnapshot(new ReplicaState(LOG_UID, SMALL));
  const state = decodeSnapshot(bytes, LOG_UID, SMALL);
  assert.equal([state.appliedIndex, state.nextOffset, state.configuration], [0, 0, null]);
  assert.equal(encodeSnapshot(state), bytes);
});

test('an empty configuration is not the same as none', () => {
  const leader = new Leader();
  leader.append(controlBatch({}, { type: 2, data: Buffer.alloc(0) }));
  leader.commit();
  const state = decodeSnapshot(encodeSnapshot(leader.state), LOG_UID, SMALL);
  assert.equal([state.configuration?.length, state.configIndex], [0, 1]);
});

test('a snapshot with any bit flipped is refused', () => {
  const bytes = encodeSnapshot(sample().state);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(() => decodeSnapshot(bytes, LOG_UID, SMALL), refused, `bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  decodeSnapshot(bytes, LOG_UID, SMALL);
});

test('a snapshot that was cut or has bytes added is refused', () => {
  const bytes = encodeSnapshot(sample().state);
  for (let end = 0; end < bytes.length; end++) {
    assert.throws(() => decodeSnapshot(bytes.subarray(0, end), LOG_UID, SMALL), refused);
  }
  assert.throws(() => decodeSnapshot(Buffer.concat([bytes, Buffer.alloc(1)]), LOG_UID, SMALL), refused);
});

/** Changes bytes of a sample snapshot and makes the digest hold again. */
function resealed(change: (body: Buffer) => Buffer): Buffer {
  const body = change(Buffer.from(encodeSnapshot(sample().state).subarray(0, -32)));
  return Buffer.concat([body, createHash('sha256').update(body).digest()]);
}

test('a snapshot with a good digest is refused when version, log, limits or fields do not fit', () => {
  const at = (position: number, value: number) => (body: Buffer) => {
    body[position] = value;
    return body;
  };
  const changes: [string, (body: Buffer) => Buffer][] = [
    ['magic', at(0, 0)],
    ['version', at(5, 2)],
    ['reserved', at(7, 1)],
    ['log_uid', at(8, 0xff)],
    ['producers_max', at(75, 5)],
    ['positions_max', at(79, 4)],
    ['window', at(83, 4)],
    ['more producers than fit', at(106, 9)],
    ['more positions than fit', at(110, 9)],
    ['fewer producers', at(106, 0)],
    ['cut', (body) => body.subarray(0, -1)],
    ['added', (body) => Buffer.concat([body, Buffer.alloc(1)])],
  ];
  for (const [what, change] of changes) {
    const bytes = resealed(change);
    assert.throws(() => decodeSnapshot(bytes, LOG_UID, SMALL), refused, what);
  }
  decodeSnapshot(resealed((body) => body), LOG_UID, SMALL);
});

test('a restored replica goes on with the same entries to the same bytes', () => {
  const leader = sample();
  const restored = decodeSnapshot(encodeSnapshot(leader.state), LOG_UID, SMALL);
  leader.produce({ producerId: 10, seq: 5, fence: 6 });
  for (const [i, name] of ['c', 'd', 'e'].entries()) leader.init(name, 20 + i);
  leader.put('y', NONE);
  leader.put('x', 1);
  leader.flush();
  leader.commit();
  leader.follower(leader.lastIndex, restored);
  assert.equal(encodeSnapshot(restored), encodeSnapshot(leader.state));
  assert.equal(encodeSnapshot(leader.follower(leader.lastIndex)), encodeSnapshot(leader.state));
  assert.is(restored.producers.byName('b'), undefined, 'the order of use was restored, too');
});

test('entries applied between two slices do not change a snapshot that has begun', () => {
  for (let slice = 1; slice < 200; slice += 7) {
    const leader = sample();
    const before = encodeSnapshot(leader.state);
    const encoder = new SnapshotEncoder(leader.state);
    const pieces: Buffer[] = [];
    // Every kind of change, and producers that are let go before their turn came.
    const changes = [
      () => leader.produce({ producerId: 10, seq: 5, fence: 6 }),
      () => leader.init('a', 30),
      () => leader.put('y', NONE),
      () => leader.put('w', 9),
      () => leader.init('c', 31),
      () => leader.init('d', 32),
      () => leader.init('e', 33),
      () => leader.fence(7),
    ];
    for (;;) {
      const bytes = encoder.next(slice);
      if (bytes === null) break;
      pieces.push(bytes);
      changes.shift()?.();
      leader.flush();
      leader.commit();
    }
    assert.equal(Buffer.concat(pieces), before);
    assert.is(encoder.index, 12);
    assert.equal(encodeSnapshot(leader.state), encodeSnapshot(leader.follower(leader.lastIndex)), 'the next one');
  }
});

test('one snapshot of a state at a time; an abandoned one makes room for the next', () => {
  const leader = sample();
  const expected = encodeSnapshot(leader.state);
  const encoder = new SnapshotEncoder(leader.state);
  encoder.next(10);
  assert.throws(() => new SnapshotEncoder(leader.state), (error: Error) => error instanceof InvariantError);
  leader.init('a', 50);
  leader.commit();
  encoder.abandon();
  assert.is(encoder.next(), null);
  assert.equal(encodeSnapshot(leader.state), encodeSnapshot(leader.follower(leader.lastIndex)));
  assert.not.equal(encodeSnapshot(leader.state), expected);
});

test('the foretold size is exact while tables grow and shrink', () => {
  const random = new Random(7);
  const leader = new Leader();
  for (let i = 0; i < 300; i++) {
    if (random.chance(20)) leader.init(`name-${'x'.repeat(random.below(9))}`, 100 + i);
    else if (random.chance(30)) leader.put(`p${'y'.repeat(random.below(5))}`, random.chance(40) ? NONE : i);
    else {
      const producer = leader.overlay.producers.findByName(`name-${'x'.repeat(random.below(9))}`);
      if (producer !== null) leader.produce({ producerId: producer.id, epoch: producer.epoch, seq: producer.nextSeq });
    }
    leader.flush();
    leader.commit();
    assert.is(encodeSnapshot(leader.state).length, snapshotSize(leader.state));
  }
});

test('a large state is written and read in many slices, each of them small', () => {
  const limits = { producersMax: 2_000, positionsMax: 2_000, window: 64 };
  const leader = new Leader(limits);
  for (let i = 0; i < 2_000; i++) {
    leader.init(`producer-${i}`, 1 + i);
    for (let seq = 0; seq < 20; seq++) leader.produce({ producerId: 1 + i, seq });
    leader.put(`position-${i}`, i);
  }
  leader.flush();
  leader.commit();
  const encoder = new SnapshotEncoder(leader.state);
  const slices: Buffer[] = [];
  for (let slice = encoder.next(); slice !== null; slice = encoder.next()) slices.push(slice);
  assert.ok(slices.length > 15, `${slices.length} slices`);
  assert.ok(slices.every((slice) => slice.length < 70_000), 'no slice is much larger than it should be');
  const bytes = Buffer.concat(slices);
  const reading = decodeSnapshotInSlices(bytes, LOG_UID, limits);
  let steps = 0;
  for (;;) {
    const step = reading.next();
    steps += 1;
    if (step.done !== true) continue;
    assert.equal(encodeSnapshot(step.value), bytes);
    break;
  }
  assert.ok(steps > 30, `${steps} steps`);
});

test.run();
