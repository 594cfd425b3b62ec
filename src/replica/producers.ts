// The table of producers of one log, as committed: who may write with which epoch, and which seq is
// next. It judges nothing (judge.ts) and knows no uncommitted entry (overlay.ts).
// The least recently used producer goes when a new one comes to a full table; "used" means a
// committed batch or INIT_PRODUCER, by index, so every replica lets go of the same one.
// Invariant: the list from `oldest` is strictly ascending in usedIndex, and holds each producer once.
import { assert } from '../wire/assert.ts';
import { EPOCH_MAX } from '../wire/limits.ts';
import { BatchWindow } from './producers-window.ts';

export class Producer {
  readonly id: number;
  readonly name: string;
  epoch: number;
  /** First seq of the current epoch: below it a seq belongs to an earlier one. */
  firstSeq: number;
  /** Index of the last batch or INIT_PRODUCER. */
  usedIndex: number;
  readonly window: BatchWindow;
  /** Neighbours in order of use. */
  older: Producer | null = null;
  newer: Producer | null = null;
  /** Its bytes as of the snapshot that is being written, if it changed before its turn came. */
  image: Buffer | null = null;
  /** Number of the last capture that has it (see ProducerTable.beginCapture). */
  captured = 0;

  constructor(id: number, name: string, epoch: number, firstSeq: number, usedIndex: number, window: BatchWindow) {
    this.id = id;
    this.name = name;
    this.epoch = epoch;
    this.firstSeq = firstSeq;
    this.usedIndex = usedIndex;
    this.window = window;
  }

  get nextSeq(): number {
    return this.window.next;
  }
}

/** What INIT_PRODUCER gives a name: the rule that the table and the overlay share. */
export interface Incarnation {
  readonly id: number;
  readonly epoch: number;
  readonly nextSeq: number;
}

/**
 * The same name gets the same id and epoch + 1; after the last epoch a new id whose seq goes on; an
 * unknown name begins with the new id at epoch 0 and seq 0.
 */
export function nextIncarnation(current: Incarnation | null, freshId: number): Incarnation {
  if (current === null) return { id: freshId, epoch: 0, nextSeq: 0 };
  if (current.epoch === EPOCH_MAX) return { id: freshId, epoch: 0, nextSeq: current.nextSeq };
  return { id: current.id, epoch: current.epoch + 1, nextSeq: current.nextSeq };
}

export class ProducerTable {
  /** Producers kept at most. */
  readonly limit: number;
  /** Batches kept per producer. */
  readonly windowLimit: number;
  oldest: Producer | null = null;
  newest: Producer | null = null;
  /** Sums over the table, for the size of a snapshot. */
  nameBytes = 0;
  batchCount = 0;
  private readonly byId = new Map<number, Producer>();
  private readonly names = new Map<string, Producer>();
  /** The capture that is running, 0 = none, and what saves a producer's image for it. */
  private capture = 0;
  private captures = 0;
  private saveImage: ((producer: Producer) => Buffer) | null = null;

  constructor(limit: number, windowLimit: number) {
    assert(limit > 0, 'a producer table has room');
    assert(windowLimit > 0, 'a window has room');
    this.limit = limit;
    this.windowLimit = windowLimit;
  }

  get size(): number {
    return this.byId.size;
  }

  get(id: number): Producer | undefined {
    return this.byId.get(id);
  }

  byName(name: string): Producer | undefined {
    return this.names.get(name);
  }

  /** Applies INIT_PRODUCER of `name` at `index`; the caller has checked that `freshId` is free. */
  init(name: string, freshId: number, index: number): Producer {
    const current = this.names.get(name) ?? null;
    const next = nextIncarnation(current, freshId);
    if (current !== null && next.id === current.id) {
      this.touch(current, index);
      current.epoch = next.epoch;
      current.firstSeq = next.nextSeq;
      return current;
    }
    // Out of epochs: the name goes on under a new id, and the old id is unknown from here on.
    if (current !== null) this.remove(current);
    else if (this.size === this.limit) this.remove(this.oldest!);
    const window = new BatchWindow(this.windowLimit, next.nextSeq);
    const producer = new Producer(next.id, name, next.epoch, next.nextSeq, index, window);
    producer.captured = this.capture;
    this.add(producer);
    return producer;
  }

  /** Applies a batch of `producer`, whose epoch and next seq it has. */
  record(
    producer: Producer,
    bodyCrc: number,
    count: number,
    baseOffset: number,
    appendTime: number,
    index: number,
  ): void {
    this.touch(producer, index);
    const window = producer.window;
    const before = window.size;
    window.push(producer.epoch, bodyCrc, count, baseOffset, appendTime);
    this.batchCount += window.size - before;
  }

  /** Adds a producer that was used last of all, as restored or just made. */
  add(producer: Producer): void {
    assert(!this.byId.has(producer.id), 'a producer id is in the table once');
    assert(!this.names.has(producer.name), 'a producer name is in the table once');
    assert(this.size < this.limit, 'the producer table has room for one more');
    this.byId.set(producer.id, producer);
    this.names.set(producer.name, producer);
    this.nameBytes += Buffer.byteLength(producer.name);
    this.batchCount += producer.window.size;
    this.linkNewest(producer);
  }

  /**
   * The producers as they are now, least recently used first. Until `endCapture`, `save` makes the
   * bytes of each one that is about to change before `take` was called for it.
   */
  beginCapture(save: (producer: Producer) => Buffer): Producer[] {
    assert(this.capture === 0, 'one snapshot of a producer table at a time');
    this.captures += 1;
    this.capture = this.captures;
    this.saveImage = save;
    const list: Producer[] = [];
    for (let producer = this.oldest; producer !== null; producer = producer.newer) list.push(producer);
    return list;
  }

  /** A snapshot is being made. */
  get isCaptured(): boolean {
    return this.capture !== 0;
  }

  /** The saved bytes of a producer that has changed since, or null: then it is still as it was. */
  take(producer: Producer): Buffer | null {
    assert(this.capture !== 0, 'a capture is running');
    const image = producer.image;
    producer.image = null;
    producer.captured = this.capture;
    return image;
  }

  /** Ends the capture of `list`; images that were not taken are let go. */
  endCapture(list: readonly Producer[]): void {
    for (const producer of list) producer.image = null;
    this.capture = 0;
    this.saveImage = null;
  }

  private touch(producer: Producer, index: number): void {
    this.saveForCapture(producer);
    assert(index > producer.usedIndex, 'a producer is used by ascending indexes');
    producer.usedIndex = index;
    if (this.newest === producer) return;
    this.unlink(producer);
    this.linkNewest(producer);
  }

  private remove(producer: Producer): void {
    // Nothing changes it any more, so a running capture needs no image of it.
    this.byId.delete(producer.id);
    this.names.delete(producer.name);
    this.nameBytes -= Buffer.byteLength(producer.name);
    this.batchCount -= producer.window.size;
    this.unlink(producer);
  }

  private saveForCapture(producer: Producer): void {
    if (this.saveImage === null || producer.captured === this.capture) return;
    producer.image = this.saveImage(producer);
    producer.captured = this.capture;
  }

  private unlink(producer: Producer): void {
    if (producer.older === null) this.oldest = producer.newer;
    else producer.older.newer = producer.newer;
    if (producer.newer === null) this.newest = producer.older;
    else producer.newer.older = producer.older;
    producer.older = null;
    producer.newer = null;
  }

  private linkNewest(producer: Producer): void {
    const inOrder = this.newest === null || this.newest.usedIndex < producer.usedIndex;
    assert(inOrder, 'producers are in order of use');
    producer.older = this.newest;
    producer.newer = null;
    if (this.newest === null) this.oldest = producer;
    else this.newest.newer = producer;
    this.newest = producer;
  }
}
