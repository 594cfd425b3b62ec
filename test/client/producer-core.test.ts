// The producer's decisions, driven by a simulated server that refuses, loses and doubles at random: a
// named producer stores every record once and in order, or stops; a plain one never stores twice what
// it sent, and says so when it cannot know.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { batchCount, producerSeq } from '../../src/wire/batch.ts';
import { ErrorCode, ProtocolError } from '../../src/wire/errors.ts';
import { NONE } from '../../src/wire/limits.ts';
import { LocalCode, LocalError } from '../../src/wire/client/errors.ts';
import { ProducerCore } from '../../src/wire/client/producer-core.ts';
import type { ProducerSettings } from '../../src/wire/client/producer-core.ts';
import type { ProducerBatch } from '../../src/wire/client/producer-batch.ts';
import { Prng, testSeed } from '../support/prng.ts';

const test = suite('client/producer-core');

const SETTINGS: ProducerSettings = {
  isIdempotent: true,
  lingerMs: 0,
  batchBytes: 200,
  batchRecords: 5,
  compression: 0,
  maxInFlight: 8,
  bufferBytes: 1 << 20,
  deliveryTimeoutMs: Number.POSITIVE_INFINITY,
  expectedOffset: NONE,
};

/** Ids of the records in a batch: each value is one 4-byte number. */
function recordsIn(batch: Buffer): number[] {
  const ids: number[] = [];
  for (let at = 72; at < batch.length; at += 4 + batch.readUInt32BE(at)) ids.push(batch.readUInt32BE(at + 13));
  assert.is(ids.length, batchCount(batch, 0));
  return ids;
}

class World {
  readonly core: ProducerCore;
  readonly stored: number[] = [];
  readonly acked: number[] = [];
  readonly lost: { ids: number[]; error: ProtocolError }[] = [];
  private readonly prng: Prng;
  private readonly isIdempotent: boolean;
  private seen = new Map<number, string>();
  private nextSeq = 0;
  private producerId = 1;
  /** Sent on the present connection and not answered, in order. */
  private wire: { ordinal: number; bytes: string }[] = [];
  private isConnected = true;
  private isPaused = false;
  private initializing = true;

  constructor(prng: Prng, settings: Partial<ProducerSettings>) {
    this.prng = prng;
    this.isIdempotent = settings.isIdempotent ?? true;
    this.core = new ProducerCore({ ...SETTINGS, ...settings }, 1 << 20, {
      transmit: (batch) => {
        assert.ok(this.isConnected, 'nothing is sent without a connection');
        this.wire.push({ ordinal: batch.ordinal, bytes: batch.bytes.toString('hex') });
        assert.ok(this.wire.length <= (settings.maxInFlight ?? 8));
      },
      pack: () => assert.unreachable(),
      initialize: () => (this.initializing = true),
      pause: () => (this.isPaused = true),
      acked: (batch) => this.acked.push(...recordsIn(batch.bytes)),
      failed: (batch: ProducerBatch, error) => this.lost.push({ ids: recordsIn(batch.bytes), error }),
    });
    if (!this.isIdempotent) this.initializing = false;
    this.core.connected();
  }

  /** One random event. */
  step(): void {
    const { prng, core } = this;
    if (!this.isConnected) {
      if (prng.chance(0.5)) {
        this.isConnected = true;
        core.connected();
        if (!this.isPaused) core.resume();
      }
    } else if (prng.chance(0.04)) this.disconnect();
    else if (this.initializing) {
      this.initializing = false;
      core.initialized(this.producerId, 0, this.nextSeq, 64);
      core.connected();
    } else if (this.wire.length > 0 && prng.chance(0.8)) this.serve();
    if (this.isPaused && prng.chance(0.5)) {
      this.isPaused = false;
      if (this.isConnected) core.resume();
    }
    core.pump(0);
  }

  get isDone(): boolean {
    return this.core.oldestOrdinal === Number.POSITIVE_INFINITY || this.core.failure !== null;
  }

  /** The server takes some of what is on the wire, then the connection ends without the answers. */
  private disconnect(): void {
    const taken = this.prng.next(this.wire.length + 1);
    for (const { bytes } of this.wire.slice(0, taken)) this.judge(Buffer.from(bytes, 'hex'));
    const open = this.wire;
    this.wire = [];
    this.isConnected = false;
    this.core.disconnected();
    for (const { ordinal } of open) {
      this.core.refuse(ordinal, new LocalError(LocalCode.CONNECTION_LOST, 'cut', 'unknown'), 0);
    }
  }

  private serve(): void {
    const { ordinal, bytes } = this.wire.shift()!;
    const { prng } = this;
    if (prng.chance(0.05)) return this.core.refuse(ordinal, new ProtocolError(ErrorCode.STORAGE_FULL), 0);
    if (prng.chance(0.03)) {
      // TIMEOUT: it may be in all the same.
      if (prng.chance(0.5)) this.judge(Buffer.from(bytes, 'hex'));
      return this.core.refuse(ordinal, new ProtocolError(ErrorCode.TIMEOUT), 0);
    }
    const verdict = this.judge(Buffer.from(bytes, 'hex'));
    if (verdict !== 0) return this.core.refuse(ordinal, new ProtocolError(verdict), 0);
    const receipt = { baseOffset: 0, nextOffset: 1, appendTime: 0, term: 1, durability: 'fsync' as const, copies: 1, duplicate: false };
    this.core.ack(ordinal, receipt, 0);
  }

  /** Stores a batch as the protocol says; 0 or the error. */
  private judge(batch: Buffer): number {
    if (this.isIdempotent) {
      const seq = producerSeq(batch, 0);
      const known = this.seen.get(seq);
      if (known !== undefined) {
        assert.is(known, batch.toString('hex'), 'a resend is byte for byte the same');
        return 0;
      }
      if (seq !== this.nextSeq) return ErrorCode.SEQ_GAP;
      this.nextSeq += 1;
      this.seen.set(seq, batch.toString('hex'));
    }
    this.stored.push(...recordsIn(batch));
    return 0;
  }
}

function appendSome(world: World, from: number, count: number): number {
  for (let i = 0; i < count; i++) {
    const record = Buffer.alloc(4);
    record.writeUInt32BE(from + i);
    world.core.append({ value: record }, 0);
  }
  return from + count;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

test('a named producer stores every record once and in order, whatever is refused or lost', () => {
  const seed = testSeed('client/producer-core named');
  for (let round = 0; round < 300; round++) {
    const prng = new Prng(seed + round);
    const world = new World(prng, { maxInFlight: 1 + prng.next(10) });
    let next = 0;
    for (let turn = 0; turn < 60; turn++) {
      next = appendSome(world, next, prng.next(8));
      world.step();
    }
    for (let turn = 0; !world.isDone; turn++) {
      assert.ok(turn < 20_000, `SEED=${seed} round ${round} does not end`);
      world.step();
    }
    assert.is(world.core.failure, null, `SEED=${seed} round ${round}: ${world.core.failure?.message}`);
    assert.equal(world.stored, range(next), `SEED=${seed} round ${round}`);
    assert.equal(world.acked, range(next));
    assert.is(world.core.bufferedBytes, 0);
  }
});

test('a plain producer stores nothing twice; what it reports as lost without doubt is not stored', () => {
  const seed = testSeed('client/producer-core plain');
  for (let round = 0; round < 300; round++) {
    const prng = new Prng(seed + round);
    const world = new World(prng, { isIdempotent: false });
    let next = 0;
    for (let turn = 0; turn < 60; turn++) {
      next = appendSome(world, next, prng.next(8));
      world.step();
    }
    for (let turn = 0; !world.isDone; turn++) {
      assert.ok(turn < 20_000, `SEED=${seed} round ${round} does not end`);
      world.step();
    }
    const stored = new Set(world.stored);
    assert.is(stored.size, world.stored.length, `SEED=${seed} round ${round}: something is in twice`);
    for (const id of world.acked) assert.ok(stored.has(id));
    for (const { ids, error } of world.lost) {
      for (const id of ids) assert.not(stored.has(id) && !error.outcomeUnknown, `SEED=${seed} round ${round}`);
    }
    const told = [...world.acked, ...world.lost.flatMap(({ ids }) => ids)].sort((a, b) => a - b);
    assert.equal(told, range(next), 'every record was told once');
  }
});

test('with a linger time nothing goes before it, unless flushed', () => {
  const sent: number[] = [];
  const port = { transmit: (batch: ProducerBatch) => sent.push(batch.count), pack() {}, initialize() {}, pause() {}, acked() {}, failed() {} };
  const core = new ProducerCore({ ...SETTINGS, isIdempotent: false, lingerMs: 10 }, 1 << 20, port);
  core.connected();
  core.append({ value: Buffer.alloc(1) }, 100);
  core.append({ value: Buffer.alloc(1) }, 105);
  core.pump(109);
  assert.equal([sent, core.sealAtMs], [[], 110]);
  core.pump(110);
  assert.equal(sent, [2]);
  core.append({ value: Buffer.alloc(1) }, 120);
  assert.is(core.flush(), 1);
  core.pump(120);
  assert.equal(sent, [2, 1]);
});

test('what was never sent is reported without doubt, what was sent with it', () => {
  const failures: [number, string, boolean][] = [];
  const port = {
    transmit() {}, pack() {}, initialize() {}, pause() {}, acked() {},
    failed: (batch: ProducerBatch, error: ProtocolError) => failures.push([batch.ordinal, error.name, error.outcomeUnknown]),
  };
  const core = new ProducerCore({ ...SETTINGS, isIdempotent: false, maxInFlight: 2, batchRecords: 1 }, 1 << 20, port);
  core.connected();
  for (let i = 0; i < 4; i++) core.append({ value: Buffer.alloc(1) }, 0);
  core.pump(0);
  core.fail(new LocalError(LocalCode.CLIENT_CLOSED, 'closed', 'none'));
  assert.equal(failures, [
    [0, 'CLIENT_CLOSED', true],
    [1, 'PRODUCER_FAILED', true],
    [2, 'PRODUCER_FAILED', false],
    [3, 'PRODUCER_FAILED', false],
  ]);
});

test('batches of a plain producer that wait too long are given up one by one', () => {
  const failures: [number, string, boolean][] = [];
  const port = {
    transmit() {}, pack() {}, initialize() {}, pause() {}, acked() {},
    failed: (batch: ProducerBatch, error: ProtocolError) => failures.push([batch.ordinal, error.name, error.outcomeUnknown]),
  };
  const core = new ProducerCore({ ...SETTINGS, isIdempotent: false, batchRecords: 1, deliveryTimeoutMs: 100 }, 1 << 20, port);
  core.append({ value: Buffer.alloc(1) }, 0);
  core.append({ value: Buffer.alloc(1) }, 50);
  core.expire(99);
  assert.equal(failures, []);
  core.expire(100);
  core.expire(150);
  assert.equal(failures, [[0, 'TIMED_OUT', false], [1, 'TIMED_OUT', false]]);
  assert.is(core.oldestOrdinal, Number.POSITIVE_INFINITY);
});

test.run();
