// The producers of one log as of its last entry, committed or not: the committed table, overlaid with
// those that the uncommitted tail made, used or let go. Part of the overlay; see overlay.ts.
// Invariant: `find` and `size` give what the committed table will give once the tail is applied, down
// to which producer a full table lets go of.
import { assert } from '../wire/assert.ts';
import type { OverlayRing } from './overlay-ring.ts';
import { nextIncarnation } from './producers.ts';
import type { Producer } from './producers.ts';
import type { ReplicaState } from './state.ts';

/** A producer as a judgment sees it; committed producers satisfy it, too. */
export interface ProducerView {
  readonly id: number;
  readonly name: string;
  readonly epoch: number;
  readonly firstSeq: number;
  readonly nextSeq: number;
}

/** A producer that an uncommitted entry touched. */
export class TailProducer implements ProducerView {
  readonly id: number;
  readonly name: string;
  epoch: number;
  firstSeq: number;
  nextSeq: number;
  /** The last entry that touched it: once that is applied, the committed table says the same. */
  usedIndex: number;
  /** Index of its last batch in the tail; at most the applied index if there is none. */
  latestBatch = 0;
  /** Let go of, or replaced by a new id: unknown from `usedIndex` on. */
  gone = false;

  constructor(id: number, name: string, epoch: number, firstSeq: number, nextSeq: number, usedIndex: number) {
    this.id = id;
    this.name = name;
    this.epoch = epoch;
    this.firstSeq = firstSeq;
    this.nextSeq = nextSeq;
    this.usedIndex = usedIndex;
  }
}

/** What an INIT_PRODUCER in the tail did. */
export interface InitEffect {
  readonly producer: TailProducer;
  readonly removed: TailProducer | null;
}

export class OverlayProducers {
  /** Producers as of the last entry. */
  size = 0;
  private readonly state: ReplicaState;
  private readonly ring: OverlayRing<unknown>;
  private readonly byId = new Map<number, TailProducer>();
  private readonly names = new Map<string, TailProducer>();
  /** Where the search for the least recently used one goes on: all committed ones before it are in the tail. */
  private walk: Producer | null = null;
  private walkIndex = -1;

  constructor(state: ReplicaState, ring: OverlayRing<unknown>) {
    this.state = state;
    this.ring = ring;
  }

  reset(): void {
    this.byId.clear();
    this.names.clear();
    this.size = this.state.producers.size;
    this.walkIndex = -1;
  }

  /** Producers that the tail has touched. */
  get touched(): number {
    return this.byId.size;
  }

  find(id: number): ProducerView | null {
    const tail = this.byId.get(id);
    if (tail !== undefined) return tail.gone ? null : tail;
    return this.state.producers.get(id) ?? null;
  }

  findByName(name: string): ProducerView | null {
    const tail = this.names.get(name);
    if (tail !== undefined) return tail.gone ? null : tail;
    return this.state.producers.byName(name) ?? null;
  }

  /** Index of the uncommitted batch with this seq of a producer, or 0. */
  findBatch(id: number, seq: number): number {
    const tail = this.byId.get(id);
    if (tail === undefined) return 0;
    const ring = this.ring;
    let index = tail.latestBatch;
    while (index > ring.base && ring.seq(index) > seq) index = ring.previousBatch(index);
    return index > ring.base && ring.seq(index) === seq ? index : 0;
  }

  /** Notes the batch just added to the ring. */
  batch(id: number, epoch: number, seq: number, bodyCrc: number, count: number): TailProducer {
    const index = this.ring.last;
    const producer = this.touch(id);
    assert(epoch === producer.epoch, 'an admitted batch has the current epoch');
    assert(seq === producer.nextSeq, 'an admitted batch has the next seq');
    this.ring.setBatch(count, seq, epoch, bodyCrc, producer.latestBatch);
    producer.latestBatch = index;
    producer.nextSeq = seq + 1;
    producer.usedIndex = index;
    return producer;
  }

  /** Notes the INIT_PRODUCER just added to the ring. */
  init(name: string, freshId: number): InitEffect {
    const index = this.ring.last;
    assert(freshId !== 0 && this.find(freshId) === null, 'a producer id is proposed only while it is free');
    const current = this.findByName(name);
    const next = nextIncarnation(current, freshId);
    if (current !== null && next.id === current.id) {
      const producer = this.touch(current.id);
      producer.epoch = next.epoch;
      producer.firstSeq = next.nextSeq;
      producer.usedIndex = index;
      return { producer, removed: null };
    }
    let removed: TailProducer | null = null;
    if (current !== null) removed = this.remove(current.id);
    else if (this.size === this.state.producers.limit) removed = this.remove(this.leastRecentlyUsed());
    const producer = new TailProducer(next.id, name, next.epoch, next.nextSeq, next.nextSeq, index);
    this.byId.set(producer.id, producer);
    this.names.set(name, producer);
    this.size += 1;
    return { producer, removed };
  }

  /** Entry `index`, which touched `producer`, is applied. */
  settle(producer: TailProducer, index: number): void {
    if (producer.usedIndex !== index) return;
    this.byId.delete(producer.id);
    if (this.names.get(producer.name) === producer) this.names.delete(producer.name);
  }

  private touch(id: number): TailProducer {
    const known = this.byId.get(id);
    if (known !== undefined) {
      assert(!known.gone, 'a producer that was let go is not used');
      return known;
    }
    const p = this.state.producers.get(id);
    assert(p !== undefined, 'an admitted batch has a known producer');
    const tail = new TailProducer(id, p.name, p.epoch, p.firstSeq, p.nextSeq, 0);
    this.byId.set(id, tail);
    this.names.set(p.name, tail);
    return tail;
  }

  private remove(id: number): TailProducer {
    const producer = this.touch(id);
    producer.gone = true;
    producer.usedIndex = this.ring.last;
    this.size -= 1;
    return producer;
  }

  /** Committed producers that the tail has not touched are older than all that it has. */
  private leastRecentlyUsed(): number {
    const committed = this.nextUntouched();
    if (committed !== null) return committed.id;
    let least: TailProducer | null = null;
    for (const tail of this.byId.values()) {
      if (!tail.gone && (least === null || tail.usedIndex < least.usedIndex)) least = tail;
    }
    assert(least !== null, 'a full table has a least recently used producer');
    return least.id;
  }

  private nextUntouched(): Producer | null {
    const applied = this.state.appliedIndex;
    let producer = this.walkIndex === applied ? this.walk : this.state.producers.oldest;
    while (producer !== null && this.byId.has(producer.id)) producer = producer.newer;
    this.walk = producer;
    this.walkIndex = applied;
    return producer;
  }
}
