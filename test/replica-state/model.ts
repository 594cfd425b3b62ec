// The dumb model that the replicated state is compared with: it keeps the whole history in a plain
// array and judges every request by going through it from the start, written from the sentences of
// the protocol and from nothing else. Slow on purpose.
import { NONE } from './support.ts';

export type Entry = { index: number; term: number; time: number } & (
  | { kind: 'data'; count: number; producerId: number; epoch: number; seq: number; crc: number }
  | { kind: 'init'; name: string; freshId: number }
  | { kind: 'fence'; token: number }
  | { kind: 'trim'; offset: number }
  | { kind: 'positions'; updates: { name: string; offset: number }[] }
  | { kind: 'config'; data: string }
  | { kind: 'nothing' }
);

interface Batch {
  index: number;
  epoch: number;
  seq: number;
  crc: number;
  base: number;
  count: number;
  time: number;
}

export interface ModelProducer {
  id: number;
  name: string;
  epoch: number;
  firstSeq: number;
  next: number;
  used: number;
  batches: Batch[];
}

export interface Facts {
  nextOffset: number;
  logStart: number;
  fence: number;
  config: string | null;
  producers: ModelProducer[];
  positions: Map<string, { offset: number; time: number }>;
}

export interface Answer {
  code: number;
  waitIndex: number;
  confirm: boolean;
  detail: number;
  base: number;
  next: number;
  time: number;
}

export const ACCEPTED = 0;
export const DUPLICATE = -1;
export const UNCHANGED = -2;
export const ID_TAKEN = -3;

export interface Limits {
  producersMax: number;
  positionsMax: number;
  window: number;
}

export class Model {
  history: Entry[] = [];
  readonly limits: Limits;
  private readonly preset: ModelProducer[];
  private readonly firstIndex: number;

  /** `preset` producers are there before entry firstIndex + 1. */
  constructor(limits: Limits, preset: ModelProducer[], firstIndex: number) {
    this.limits = limits;
    this.preset = preset;
    this.firstIndex = firstIndex;
  }

  get last(): number {
    return this.firstIndex + this.history.length;
  }

  truncate(last: number): void {
    this.history.length = last - this.firstIndex;
  }

  /** What is true after entry `upTo`. */
  facts(upTo: number = this.last): Facts {
    const f: Facts = { nextOffset: 0, logStart: 0, fence: 0, config: null, producers: [], positions: new Map() };
    f.producers = this.preset.map((p) => ({ ...p, batches: [...p.batches] }));
    for (const e of this.history) {
      if (e.index > upTo) break;
      this.step(f, e);
    }
    return f;
  }

  private step(f: Facts, e: Entry): void {
    if (e.kind === 'fence') f.fence = e.token;
    if (e.kind === 'trim') f.logStart = e.offset > f.logStart ? e.offset : f.logStart;
    if (e.kind === 'config') f.config = e.data;
    if (e.kind === 'positions') {
      for (const u of e.updates) {
        f.positions.delete(u.name);
        if (u.offset !== NONE) f.positions.set(u.name, { offset: u.offset, time: e.time });
      }
    }
    if (e.kind === 'init') this.init(f, e);
    if (e.kind === 'data') {
      const p = f.producers.find((x) => x.id === e.producerId);
      if (e.producerId !== 0) {
        const { index, epoch, seq, crc, count, time } = e;
        p!.batches.push({ index, epoch, seq, crc, count, time, base: f.nextOffset });
        p!.next = seq + 1;
        p!.used = index;
      }
      f.nextOffset += e.count;
    }
  }

  private init(f: Facts, e: Entry & { kind: 'init' }): void {
    const p = f.producers.find((x) => x.name === e.name);
    if (p !== undefined && p.epoch < 65_535) {
      p.epoch += 1;
      p.firstSeq = p.next;
      p.used = e.index;
      return;
    }
    let next = 0;
    if (p !== undefined) {
      next = p.next;
      f.producers = f.producers.filter((x) => x !== p);
    } else if (f.producers.length === this.limits.producersMax) {
      const least = Math.min(...f.producers.map((x) => x.used));
      f.producers = f.producers.filter((x) => x.used !== least);
    }
    f.producers.push({ id: e.freshId, name: e.name, epoch: 0, firstSeq: next, next, used: e.index, batches: [] });
  }

  produce(
    r: { producerId: number; epoch: number; seq: number; crc: number; fence: number; expected: number; room: boolean },
    applied: number,
  ): Answer {
    const f = this.facts();
    if (r.producerId !== 0) {
      const p = f.producers.find((x) => x.id === r.producerId);
      if (p === undefined) return this.refusal(304, 0);
      const known = p.batches.slice(-this.limits.window).find((b) => b.epoch === r.epoch && b.seq === r.seq);
      if (known !== undefined) {
        if (known.crc !== r.crc) return this.refusal(306, p.next);
        return this.duplicate(known.index, applied, known.base, known.base + known.count, known.time);
      }
      if (r.epoch !== p.epoch) return this.refusal(302, 0);
      if (r.seq > p.next) return this.refusal(303, p.next);
      if (r.seq < p.firstSeq) return this.refusal(306, p.next);
      if (r.seq < p.next) {
        const gone = p.batches.find((b) => b.seq === r.seq)!;
        return this.duplicate(gone.index, applied, NONE, NONE, 0);
      }
    }
    if (r.fence !== f.fence) return this.refusal(301, f.fence);
    if (r.expected !== NONE && r.expected !== f.nextOffset) return this.refusal(300, f.nextOffset);
    if (!r.room) return { ...answer(305), waitIndex: 0 };
    return answer(ACCEPTED);
  }

  fence(token: number): Answer {
    const current = this.facts().fence;
    if (token < current) return this.refusal(301, current);
    return token === current ? this.refusal(UNCHANGED, current) : answer(ACCEPTED);
  }

  initProducer(freshId: number): Answer {
    return answer(this.facts().producers.some((p) => p.id === freshId) ? ID_TAKEN : ACCEPTED);
  }

  /** `staged`: updates of this turn that were judged before and are in no entry yet. */
  put(name: string, offset: number, expected: number, staged: Map<string, number>): Answer {
    const now = new Map([...this.facts().positions].map(([n, p]) => [n, p.offset]));
    for (const [n, o] of staged) {
      now.delete(n);
      if (o !== NONE) now.set(n, o);
    }
    const current = now.get(name) ?? 0;
    if (expected !== NONE && expected !== current) return this.refusal(307, current);
    if (offset !== NONE && !now.has(name) && now.size === this.limits.positionsMax) {
      return this.refusal(202, this.limits.positionsMax);
    }
    return answer(ACCEPTED);
  }

  trim(offset: number): Answer {
    const start = this.facts().logStart;
    return offset <= start ? this.refusal(UNCHANGED, start) : answer(ACCEPTED);
  }

  private refusal(code: number, detail: number): Answer {
    return { ...answer(code), waitIndex: this.last, confirm: true, detail };
  }

  private duplicate(index: number, applied: number, base: number, next: number, time: number): Answer {
    return { ...answer(DUPLICATE), waitIndex: index > applied ? index : 0, base, next, time };
  }
}

function answer(code: number): Answer {
  return { code, waitIndex: 0, confirm: false, detail: 0, base: NONE, next: NONE, time: 0 };
}
