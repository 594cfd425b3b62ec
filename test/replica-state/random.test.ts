// State + overlay against the dumb model (model.ts): seeded runs of produces, producer starts, fences,
// trims and positions with an uncommitted tail, commits of prefixes, step-downs that cut the tail,
// leadership passing to another replica, snapshots and restores; small tables, so that producers are
// let go of all the time. A failure names its seed: SEED=n node test/run.mjs replica-state/random
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeSnapshot, encodeSnapshot, SnapshotEncoder } from '../../src/replica/snapshot.ts';
import { snapshotSize } from '../../src/replica/snapshot-format.ts';
import { judgeFence, judgeInitProducer, judgeProduce, judgePutPosition, judgeTrim } from '../../src/replica/judge.ts';
import { Overlay } from '../../src/replica/overlay.ts';
import { Producer } from '../../src/replica/producers.ts';
import { BatchWindow } from '../../src/replica/producers-window.ts';
import { ReplicaState } from '../../src/replica/state.ts';
import type { StateLimits } from '../../src/replica/state.ts';
import { Model } from './model.ts';
import type { Answer, Entry, ModelProducer } from './model.ts';
import { controlBatch, dataBatch, Leader, LOG_UID, NONE, Random, seeds } from './support.ts';

const RUNS = 150;
const STEPS = 250;
/** Entries are kept few, because the model goes through all of them for every judgment. */
const BASE_INDEX = 10;
/** A window of 3 is left all the time, one of 9 grows. */
const limitsOf = (seed: number) => ({ producersMax: 4, positionsMax: 3, window: seed % 3 === 0 ? 9 : 3 });
const NAMES = ['ada', 'bo', 'cy', 'di', 'ed', 'fay'];
const SPOTS = ['p1', 'p2', 'p3', 'p4', 'p5'];
/** Two producers near their last epoch, so that ids run out in the runs. */
const PRESET: ModelProducer[] = [preset(501, 'ada', 65_534, 5, 7, 5), preset(502, 'bo', 65_533, 2, 2, 7)];

/** What the runs must have met, or they prove nothing. */
const seen = new Map<string, number>();
const mark = (what: string | number) => seen.set(String(what), (seen.get(String(what)) ?? 0) + 1);

function preset(id: number, name: string, epoch: number, firstSeq: number, next: number, used: number): ModelProducer {
  const batches = [];
  for (let seq = Math.max(0, next - 3); seq < next; seq++) {
    const batchEpoch = seq < firstSeq ? epoch - 1 : epoch;
    batches.push({ index: 1, epoch: batchEpoch, seq, crc: 7, base: 0, count: 1, time: 5 });
  }
  return { id, name, epoch, firstSeq, next, used, batches };
}

function baseState(limits: StateLimits): ReplicaState {
  const state = new ReplicaState(LOG_UID, limits);
  state.appliedIndex = BASE_INDEX;
  for (const p of PRESET) {
    const window = new BatchWindow(limits.window, p.next - p.batches.length);
    for (const b of p.batches) window.push(b.epoch, b.crc, b.count, b.base, b.time);
    state.producers.add(new Producer(p.id, p.name, p.epoch, p.firstSeq, p.used, window));
  }
  return state;
}

class World {
  readonly random: Random;
  readonly limits: StateLimits;
  readonly model: Model;
  readonly leader: Leader;
  /** Applies from bytes, behind the leader. */
  follower: ReplicaState;
  /** Chance of a commit per step: a long tail in some runs, almost none in others. */
  private readonly commitPercent: number;
  commit = BASE_INDEX;
  staged = new Map<string, number>();
  encoder: SnapshotEncoder | null = null;
  encoded: Buffer[] = [];
  private fresh = 1_000;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.limits = limitsOf(seed);
    this.model = new Model(this.limits, PRESET, BASE_INDEX);
    this.leader = new Leader(this.limits, baseState(this.limits));
    this.follower = baseState(this.limits);
    this.commitPercent = this.random.pick([1, 10, 30]);
  }

  step(): void {
    const roll = this.random.below(100);
    if (roll < 50) this.produce();
    else if (roll < 61) this.init();
    else if (roll < 65) this.fence();
    else if (roll < 75) this.put();
    else if (roll < 78) this.trim();
    else if (roll < 81) this.other();
    else if (roll < 90) this.catchUp();
    else if (roll < 93) this.restore();
    else if (roll < 95) this.stepDown();
    else if (roll < 97) this.changeLeader();
    if (this.random.chance(this.commitPercent)) this.commitSome();
    this.encodeSome();
    if (this.random.chance(60) && roll >= 65 && roll < 75) return;
    this.flush();
  }

  private compare(code: number, expected: Answer): void {
    mark(expected.code);
    const v = this.leader.verdict;
    assert.is(code, expected.code, 'code');
    if (code === 0) return;
    assert.is(v.code, code, 'code of the verdict');
    const got = { code, waitIndex: v.waitIndex, confirm: v.confirm, detail: v.detail };
    const { base, next, time, ...wanted } = expected;
    assert.equal(got, wanted);
    if (code === -1) assert.equal([v.baseOffset, v.nextOffset, v.appendTime], [base, next, time]);
    if (code === -1 && base === NONE) mark('duplicate out of window');
    if (code === -1 && v.waitIndex > 0) mark('duplicate of uncommitted');
  }

  private produce(): void {
    const { random, leader, model } = this;
    const facts = model.facts();
    let [producerId, epoch, seq] = [0, 9, 9];
    if (random.chance(80) && facts.producers.length > 0) {
      const p = random.pick(facts.producers);
      const old = random.chance(25) && p.batches.length > 0 ? random.pick(p.batches) : null;
      producerId = random.chance(4) ? random.pick([501, 502, 1_000, 1_005, 77]) : p.id;
      epoch = old?.epoch ?? Math.min(65_535, Math.max(0, p.epoch + (random.chance(85) ? 0 : random.between(-1, 1))));
      seq = old?.seq ?? Math.max(0, p.next + (random.chance(70) ? 0 : random.between(-6, 2)));
    }
    const crc = random.chance(90) ? 7 : 0xf0000008;
    const count = random.between(1, 3);
    const fence = random.chance(90) ? facts.fence : random.below(5);
    const expected = random.chance(70) ? NONE : facts.nextOffset + (random.chance(70) ? 0 : random.below(3));
    const room = !random.chance(3);
    const batch = dataBatch({ producerId, epoch, seq, bodyCrc: crc, count });
    const wanted = model.produce({ producerId, epoch, seq, crc, fence, expected, room }, leader.state.appliedIndex);
    this.compare(judgeProduce(leader.overlay, leader.verdict, batch, 0, fence, expected, room), wanted);
    if (wanted.code === 0) this.append(batch, { kind: 'data', count, producerId, epoch, seq, crc });
  }

  private init(): void {
    const { random, leader, model } = this;
    const producers = model.facts().producers;
    const taken = random.chance(5) && producers.length > 0;
    const freshId = taken ? random.pick(producers).id : this.fresh++;
    const name = random.pick(NAMES);
    this.compare(judgeInitProducer(leader.overlay, leader.verdict, freshId, true), model.initProducer(freshId));
    if (taken) return;
    const known = producers.find((p) => p.name === name);
    this.append(controlBatch({}, { type: 3, name, producerId: freshId }), { kind: 'init', name, freshId });
    const p = model.facts().producers.find((x) => x.name === name)!;
    const init = leader.overlay.initialized!;
    assert.equal([init.id, init.epoch, init.nextSeq], [p.id, p.epoch, p.next], 'what INIT_PRODUCER answers');
    if (known?.epoch === 65_535) mark('ids ran out');
    if (known === undefined && producers.length === this.limits.producersMax) mark('producer let go');
  }

  private fence(): void {
    const { random, leader, model } = this;
    const token = Math.max(0, model.facts().fence + random.between(-1, 1));
    const wanted = model.fence(token);
    this.compare(judgeFence(leader.overlay, leader.verdict, token), wanted);
    if (wanted.code === 0) this.append(controlBatch({}, { type: 4, token }), { kind: 'fence', token });
  }

  private put(): void {
    const { random, leader, model, staged } = this;
    const name = random.pick(SPOTS);
    const current = staged.get(name) ?? model.facts().positions.get(name)?.offset ?? 0;
    const offset = random.chance(30) ? NONE : random.below(9);
    const expected = random.chance(50) ? NONE : current === NONE || random.chance(20) ? random.below(2) : current;
    const wanted = model.put(name, offset, expected, staged);
    this.compare(judgePutPosition(leader.overlay, leader.verdict, name, offset, expected, true), wanted);
    if (wanted.code !== 0) assert.is(leader.verdict.flushFirst, staged.size > 0);
    if (wanted.code !== 0) return;
    leader.overlay.positions.stage(name, offset);
    staged.set(name, offset);
    if (staged.size > 1) mark('merged positions');
  }

  private flush(): void {
    if (this.staged.size === 0) return;
    const updates = this.leader.overlay.positions.takeStaged();
    const wanted = [...this.staged].map(([name, offset]) => ({ name, offset }));
    this.staged.clear();
    assert.equal(sorted(updates), sorted(wanted), 'last writer per name wins');
    this.append(controlBatch({}, { type: 6, updates }), { kind: 'positions', updates });
  }

  private trim(): void {
    const { random, leader, model } = this;
    const offset = random.below(model.facts(this.commit).nextOffset + 1);
    const wanted = model.trim(offset);
    this.compare(judgeTrim(leader.overlay, leader.verdict, offset), wanted);
    if (wanted.code === 0) this.append(controlBatch({}, { type: 5, offset }), { kind: 'trim', offset });
  }

  private other(): void {
    const data = `voters ${this.random.below(9)}`;
    const roll = this.random.below(3);
    if (roll === 0) this.append(controlBatch({}, { type: 1 }), { kind: 'nothing' });
    else if (roll === 1) this.append(controlBatch({}, Buffer.from([99, 1, 5, 5])), { kind: 'nothing' });
    else this.append(controlBatch({}, { type: 2, data: Buffer.from(data) }), { kind: 'config', data });
  }

  private append(batch: Buffer, what: DistributiveOmit<Entry>): void {
    const index = this.leader.append(batch);
    const time = this.leader.timeOf(index);
    this.model.history.push({ index, term: this.leader.term, time, ...what } as Entry);
    assert.is(index, this.model.last);
    assert.is(this.leader.overlay.nextOffset, this.model.facts().nextOffset);
  }

  private commitSome(): void {
    const { leader, random } = this;
    this.commit = random.between(this.commit, leader.lastIndex);
    leader.commit(this.commit);
    this.compareState(leader.state, this.commit);
  }

  private catchUp(): void {
    const index = this.random.between(this.follower.appliedIndex, this.commit);
    this.leader.follower(index, this.follower);
    this.compareState(this.follower, index);
  }

  /** The tail is cut somewhere at or above the commit, and the same replica leads again. */
  private stepDown(): void {
    const { leader, random, model } = this;
    const keep = random.between(this.commit, leader.lastIndex);
    if (keep < leader.lastIndex) mark('tail cut');
    this.staged.clear();
    leader.restart(keep);
    model.truncate(keep);
  }

  /** The follower leads: it has applied less, so its overlay is rebuilt from more of the log. */
  private changeLeader(): void {
    const { leader } = this;
    const keep = this.random.between(this.commit, leader.lastIndex);
    this.dropEncoder();
    this.staged.clear();
    const before = leader.state;
    leader.overlay.end();
    leader.state = this.follower;
    leader.overlay = new Overlay(this.follower);
    leader.restart(keep);
    this.model.truncate(keep);
    this.follower = before;
    if (leader.overlay.tailLength > 0) mark('overlay rebuilt');
  }

  /** A replica is replaced by its own snapshot. */
  private restore(): void {
    const bytes = encodeSnapshot(this.follower);
    assert.is(bytes.length, snapshotSize(this.follower));
    this.follower = decodeSnapshot(bytes, LOG_UID, this.limits);
    assert.equal(encodeSnapshot(this.follower), bytes, 'a restored state has the same snapshot');
    mark('restored');
  }

  /** A snapshot of the leader in slices, while entries are applied between them. */
  private encodeSome(): void {
    if (this.encoder === null) {
      if (!this.random.chance(10)) return;
      this.encoder = new SnapshotEncoder(this.leader.state);
      this.encoded = [];
    }
    const slice = this.encoder.next(this.random.between(1, 60));
    if (slice !== null) {
      this.encoded.push(slice);
      return;
    }
    const reference = this.leader.follower(this.encoder.index, baseState(this.limits));
    assert.equal(Buffer.concat(this.encoded), encodeSnapshot(reference), 'a snapshot in slices is of one moment');
    if (this.leader.state.appliedIndex > this.encoder.index) mark('applied during a snapshot');
    this.encoder = null;
  }

  private dropEncoder(): void {
    this.encoder?.abandon();
    this.encoder = null;
  }

  private compareState(state: ReplicaState, index: number): void {
    const facts = this.model.facts(index);
    assert.is(state.appliedIndex, index);
    assert.equal(
      [state.nextOffset, state.logStart, state.fence, state.configuration?.toString() ?? null],
      [facts.nextOffset, facts.logStart, facts.fence, facts.config],
    );
    const positions = [...facts.positions].map(([name, p]) => ({ name, offset: p.offset, updatedMs: p.time }));
    assert.equal(sorted(state.positions.list()), sorted(positions));
    assert.is(state.producers.size, facts.producers.length);
    for (const p of facts.producers) this.compareProducer(state, p);
  }

  private compareProducer(state: ReplicaState, p: ModelProducer): void {
    const got = state.producers.get(p.id)!;
    assert.ok(got, `producer ${p.id} is in the table`);
    assert.is(state.producers.byName(p.name), got);
    assert.equal(
      [got.name, got.epoch, got.firstSeq, got.nextSeq, got.usedIndex],
      [p.name, p.epoch, p.firstSeq, p.next, p.used],
    );
    const window = got.window;
    const kept = p.batches.slice(-this.limits.window);
    assert.is(window.size, kept.length);
    for (const b of kept) {
      assert.equal(
        [window.epoch(b.seq), window.bodyCrc(b.seq), window.count(b.seq), window.baseOffset(b.seq), window.appendTime(b.seq)],
        [b.epoch, b.crc, b.count, b.base, b.time],
      );
    }
  }

  /** All replicas that applied the same entries have the same bytes, whatever way they took. */
  finish(): void {
    this.flush();
    this.commit = this.leader.lastIndex;
    this.leader.commit(this.commit);
    this.compareState(this.leader.state, this.commit);
    this.leader.follower(this.commit, this.follower);
    const fromBytes = this.leader.follower(this.commit, baseState(this.limits));
    this.dropEncoder();
    const bytes = encodeSnapshot(this.leader.state);
    assert.equal(bytes, encodeSnapshot(this.follower), 'leader and follower agree');
    assert.equal(bytes, encodeSnapshot(fromBytes), 'and so does one that read everything');
  }
}

type DistributiveOmit<T> = T extends Entry ? Omit<T, 'index' | 'term' | 'time'> : never;

function sorted<T extends { name: string }>(list: readonly T[]): T[] {
  return [...list].sort((a, b) => (a.name < b.name ? -1 : 1));
}

const test = suite('replica-state/random');

test('state and overlay judge as a model that keeps the whole history does', () => {
  for (const seed of seeds(RUNS)) {
    const world = new World(seed);
    let step = 0;
    try {
      for (; step < STEPS; step++) world.step();
      world.finish();
    } catch (error) {
      throw new Error(`SEED=${seed} step ${step}: ${(error as Error).message}`, { cause: error });
    }
  }
});

test('the runs met every answer and every event', () => {
  if (process.env['SEED'] !== undefined) return;
  const answers = [0, -1, -2, -3, 202, 300, 301, 302, 303, 304, 305, 306, 307];
  const events = ['duplicate out of window', 'duplicate of uncommitted', 'ids ran out', 'producer let go'];
  events.push('merged positions', 'tail cut', 'overlay rebuilt', 'restored', 'applied during a snapshot');
  for (const what of [...answers.map(String), ...events]) {
    assert.ok((seen.get(what) ?? 0) >= 20, `${what}: met ${seen.get(what) ?? 0} times`);
  }
});

test.run();
