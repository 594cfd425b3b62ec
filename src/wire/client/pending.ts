// The open requests of one connection: id → who gets the answer. A table of slots instead of a Map,
// because every PRODUCE goes through it: opening and closing one allocates nothing.
// Invariant: an id is in at most one slot, and its slot is id modulo the capacity.
import { assert } from '../assert.ts';
import { U32_MAX } from '../limits.ts';
import type { FrameReader } from '../frame.ts';
import type { ProtocolError } from '../errors.ts';

/** Gets the answers of requests; `tag` is what the sender gave along. */
export interface AnswerSink {
  /**
   * One answer frame, in `frame`, valid during the call. `more` false = the last one: the id is free.
   * A FieldError thrown from here says that the payload is broken, which ends the connection.
   */
  answer(tag: number, frame: FrameReader, more: boolean): void;
  /** The connection ended before the last answer. Must not throw. */
  lost(tag: number, error: ProtocolError): void;
}

const CAPACITY_FIRST = 64;

export class PendingTable {
  /** Open requests. */
  count = 0;
  private capacity = CAPACITY_FIRST;
  private ids = new Uint32Array(CAPACITY_FIRST);
  private ops = new Uint8Array(CAPACITY_FIRST);
  private tags = new Float64Array(CAPACITY_FIRST);
  private sinks: (AnswerSink | null)[] = new Array<AnswerSink | null>(CAPACITY_FIRST).fill(null);
  private lastId = 0;

  /** Opens a request and returns its id. */
  open(op: number, sink: AnswerSink, tag: number): number {
    if ((this.count + 1) * 2 > this.capacity) this.grow();
    let id = this.lastId;
    let slot: number;
    // At most half the slots are taken, and long-lived ids are few: this ends soon.
    do {
      id = id === U32_MAX ? 1 : id + 1;
      slot = id & (this.capacity - 1);
    } while (this.sinks[slot] !== null);
    this.lastId = id;
    this.put(slot, id, op, sink, tag);
    this.count += 1;
    return id;
  }

  /** The slot of an open id, or −1. */
  find(id: number): number {
    const slot = id & (this.capacity - 1);
    return this.sinks[slot] !== null && this.ids[slot] === id ? slot : -1;
  }

  op(slot: number): number {
    return this.ops[slot]!;
  }

  tag(slot: number): number {
    return this.tags[slot]!;
  }

  sink(slot: number): AnswerSink {
    const sink = this.sinks[slot];
    assert(sink != null, 'the slot of an open request has a sink');
    return sink;
  }

  close(slot: number): void {
    assert(this.sinks[slot] !== null, 'only an open request is closed');
    this.sinks[slot] = null;
    this.count -= 1;
  }

  /** Closes all, in the order of their ids, and tells each sink. */
  loseAll(error: ProtocolError): void {
    const slots: number[] = [];
    for (let slot = 0; slot < this.capacity; slot++) if (this.sinks[slot] !== null) slots.push(slot);
    const age = (slot: number): number => (this.lastId - this.ids[slot]!) >>> 0;
    slots.sort((a, b) => age(b) - age(a));
    const open = slots.map((slot) => ({ sink: this.sink(slot), tag: this.tag(slot) }));
    for (const slot of slots) this.close(slot);
    for (const { sink, tag } of open) sink.lost(tag, error);
  }

  private put(slot: number, id: number, op: number, sink: AnswerSink, tag: number): void {
    this.ids[slot] = id;
    this.ops[slot] = op;
    this.tags[slot] = tag;
    this.sinks[slot] = sink;
  }

  /** Ids that differ modulo the old capacity differ modulo the new one, so nothing collides. */
  private grow(): void {
    const { ids, ops, tags, sinks } = this;
    this.capacity *= 2;
    this.ids = new Uint32Array(this.capacity);
    this.ops = new Uint8Array(this.capacity);
    this.tags = new Float64Array(this.capacity);
    this.sinks = new Array<AnswerSink | null>(this.capacity).fill(null);
    sinks.forEach((sink, slot) => {
      if (sink !== null) this.put(ids[slot]! & (this.capacity - 1), ids[slot]!, ops[slot]!, sink, tags[slot]!);
    });
  }
}
