// Helpers of the replica-state tests: a seeded generator, batches written byte by byte (so that a wrong
// offset in the accessors does not cancel out), and a leader that judges, appends and commits.
import { Buffer } from 'node:buffer';
import { Overlay } from '../../src/replica/overlay.ts';
import { encodeControl } from '../../src/replica/control.ts';
import type { Control } from '../../src/replica/control.ts';
import { judgeFence, judgeInitProducer, judgeProduce, judgePutPosition, Verdict } from '../../src/replica/judge.ts';
import { ReplicaState } from '../../src/replica/state.ts';
import type { StateLimits } from '../../src/replica/state.ts';

export const LOG_UID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const NONE = -1;

/** mulberry32: a small generator that a seed replays. */
export class Random {
  private a: number;

  constructor(seed: number) {
    this.a = seed >>> 0;
  }

  u32(): number {
    this.a = (this.a + 0x6d2b79f5) >>> 0;
    let t = this.a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }

  /** An integer in [0, bound). */
  below(bound: number): number {
    return this.u32() % bound;
  }

  /** An integer in [low, high]. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Seeds to run: SEED=n runs that one only. */
export function seeds(count: number): number[] {
  const given = process.env['SEED'];
  if (given !== undefined) return [Number(given)];
  return Array.from({ length: count }, (_, i) => i + 1);
}

export interface Fields {
  index?: number;
  term?: number;
  baseOffset?: number;
  appendTime?: number;
  bodyCrc?: number;
  count?: number;
  producerId?: number;
  epoch?: number;
  seq?: number;
}

/** The 72 header bytes of a data batch with a body of `body` zeros; checksums are not made. */
export function dataBatch(fields: Fields, body = 0): Buffer {
  return write(fields, fields.count ?? 1, 0, Buffer.alloc(body));
}

export function controlBatch(fields: Fields, control: Control | Buffer): Buffer {
  return write(fields, 0, 0x10, Buffer.isBuffer(control) ? control : encodeControl(control));
}

function write(fields: Fields, count: number, attributes: number, body: Buffer): Buffer {
  const b = Buffer.alloc(72 + body.length);
  b.write('SLB1', 0, 'latin1');
  b.writeBigUInt64BE(BigInt(fields.index ?? 0), 8);
  b.writeBigUInt64BE(BigInt(fields.term ?? 0), 16);
  b.writeBigUInt64BE(BigInt(fields.baseOffset ?? 0), 24);
  b.writeBigUInt64BE(BigInt(fields.appendTime ?? 0), 32);
  b.writeUInt32BE(fields.bodyCrc ?? 0xc0ffee01, 40);
  b.writeUInt32BE(body.length, 44);
  b.writeUInt32BE(count, 48);
  b.writeUInt16BE(attributes, 52);
  b.writeUInt16BE(fields.epoch ?? 0, 54);
  b.writeBigUInt64BE(BigInt(fields.producerId ?? 0), 56);
  b.writeBigUInt64BE(BigInt(fields.seq ?? 0), 64);
  body.copy(b, 72);
  return b;
}

/** Writes the leader's four fields into a copy of a batch. */
export function stamped(batch: Buffer, index: number, term: number, baseOffset: number, appendTime: number): Buffer {
  const b = Buffer.from(batch);
  b.writeBigUInt64BE(BigInt(index), 8);
  b.writeBigUInt64BE(BigInt(term), 16);
  b.writeBigUInt64BE(BigInt(baseOffset), 24);
  b.writeBigUInt64BE(BigInt(appendTime), 32);
  return b;
}

export const SMALL: StateLimits = { producersMax: 4, positionsMax: 3, window: 3 };
const START_MS = 1_790_000_000_000;

export interface Produce extends Fields {
  fence?: number;
  expected?: number;
  hasRoom?: boolean;
}

/** A log with a leader and its stamped entries; nothing commits by itself. */
export class Leader {
  state: ReplicaState;
  overlay: Overlay;
  readonly verdict = new Verdict();
  /** The entries after `firstIndex`. */
  readonly log: Buffer[] = [];
  term = 1;
  readonly firstIndex: number;

  constructor(limits: StateLimits = SMALL, state = new ReplicaState(LOG_UID, limits)) {
    this.state = state;
    this.firstIndex = state.appliedIndex;
    this.overlay = new Overlay(state);
    this.overlay.begin();
  }

  get lastIndex(): number {
    return this.firstIndex + this.log.length;
  }

  timeOf(index: number): number {
    return START_MS + index * 10;
  }

  entry(index: number): Buffer {
    return this.log[index - this.firstIndex - 1]!;
  }

  /** Judges a PRODUCE and appends it if it is accepted; returns the code. */
  produce(fields: Produce): number {
    const batch = dataBatch(fields);
    const { fence = 0, expected = NONE, hasRoom = true } = fields;
    const code = judgeProduce(this.overlay, this.verdict, batch, 0, fence, expected, hasRoom);
    if (code === 0) this.append(batch);
    return code;
  }

  init(name: string, freshId: number): number {
    const code = judgeInitProducer(this.overlay, this.verdict, freshId, true);
    if (code === 0) this.append(controlBatch({}, { type: 3, name, producerId: freshId }));
    return code;
  }

  fence(token: number): number {
    const code = judgeFence(this.overlay, this.verdict, token);
    if (code === 0) this.append(controlBatch({}, { type: 4, token }));
    return code;
  }

  /** Judges and stages; `flush` proposes. */
  put(name: string, offset: number, expected = NONE): number {
    const code = judgePutPosition(this.overlay, this.verdict, name, offset, expected, true);
    if (code === 0) this.overlay.positions.stage(name, offset);
    return code;
  }

  flush(): void {
    if (this.overlay.positions.stagedCount === 0) return;
    this.append(controlBatch({}, { type: 6, updates: this.overlay.positions.takeStaged() }));
  }

  append(batch: Buffer): number {
    const index = this.lastIndex + 1;
    const time = this.timeOf(index);
    this.log.push(stamped(batch, index, this.term, this.overlay.nextOffset, time));
    this.overlay.propose(index, this.term, time, batch, 0);
    return index;
  }

  commit(index = this.lastIndex): void {
    this.overlay.advance(index);
  }

  /** Truncates the log after `index` and leads again in a new term, with a new overlay. */
  restart(index: number): void {
    this.overlay.end();
    this.log.length = index - this.firstIndex;
    this.term += 1;
    this.overlay.begin();
    for (let i = this.state.appliedIndex + 1; i <= index; i++) this.overlay.replay(this.entry(i), 0);
  }

  /** A replica that read the same entries up to `index` from bytes. */
  follower(index: number, from: ReplicaState = new ReplicaState(LOG_UID, this.state.limits)): ReplicaState {
    for (let i = from.appliedIndex + 1; i <= index; i++) from.apply(this.entry(i), 0);
    return from;
  }
}
