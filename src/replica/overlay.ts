// What the uncommitted tail of a log will do to its state: the effects of the entries (applied, last].
// A leader judges requests against state + overlay, so that the answer is the one the request gets if
// all before it commits. Only a leader has one: it begins at election, is filled from the log before
// the first proposal, and is thrown away on stepping down (DESIGN §4, "Replica state").
//
// While it is active, entries are applied through `advance`, which feeds the state what was noted:
// committing a run of plain data batches is one step however long the run is.
// Invariants: I6; ring.base = state.appliedIndex while active; the overlay's nextOffset, fence, logStart,
// producers and positions are those that the state will have after applying up to lastIndex.
import { assert } from '../wire/assert.ts';
import * as batch from '../wire/batch.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import { ControlType, decodeControl } from './control.ts';
import type { Control } from './control.ts';
import { OverlayPositions } from './overlay-positions.ts';
import { OverlayProducers, TailProducer } from './overlay-producers.ts';
import type { InitEffect } from './overlay-producers.ts';
import { OverlayRing } from './overlay-ring.ts';
import type { ReplicaState } from './state.ts';

/** A control entry of the tail. */
export interface ControlEffect {
  readonly control: Control;
  readonly init: InitEffect | null;
}

export class Overlay {
  readonly state: ReplicaState;
  /** The tail, entry by entry. */
  readonly ring = new OverlayRing<TailProducer | ControlEffect>();
  readonly producers: OverlayProducers;
  readonly positions: OverlayPositions;
  /** True between `begin` and `end`. */
  active = false;
  /** The offset that the next record gets. */
  nextOffset = 0;
  /** 0 = none. */
  fence = 0;
  logStart = 0;
  /** The producer of the INIT_PRODUCER noted last: what its answer says, once that entry is committed. */
  initialized: TailProducer | null = null;

  constructor(state: ReplicaState) {
    this.state = state;
    this.producers = new OverlayProducers(state, this.ring);
    this.positions = new OverlayPositions(state);
  }

  /** The last entry of the log. */
  get lastIndex(): number {
    return this.ring.last;
  }

  /** Entries that are not applied yet. */
  get tailLength(): number {
    return this.ring.last - this.ring.base;
  }

  /** Starts at the applied state; entries after it come through `replay`, then through `propose`. */
  begin(): void {
    const state = this.state;
    this.ring.reset(state.appliedIndex);
    this.producers.reset();
    this.positions.reset();
    this.nextOffset = state.nextOffset;
    this.fence = state.fence;
    this.logStart = state.logStart;
    this.initialized = null;
    this.active = true;
  }

  /** Leadership ended: nothing is known of the tail any more. */
  end(): void {
    this.begin();
    this.active = false;
  }

  /** Notes the stamped batch at buffer[position], the log's next after lastIndex. @throws StateError */
  replay(buffer: Buffer, position: number): void {
    assert(batch.baseOffset(buffer, position) === this.nextOffset, 'a replayed batch begins at the next offset');
    const index = batch.batchIndex(buffer, position);
    this.note(index, batch.batchTerm(buffer, position), batch.appendTime(buffer, position), buffer, position);
  }

  /**
   * Notes a batch that was judged and appended as entry `index` = lastIndex + 1. The four stamped
   * fields of buffer[position] are not read: it may be the client's own copy.
   */
  propose(index: number, term: number, appendTime: number, buffer: Buffer, position: number): void {
    this.note(index, term, appendTime, buffer, position);
  }

  /** Applies all entries up to `index`, which are committed, to the state. @throws StateError */
  advance(index: number): void {
    const { ring, state } = this;
    assert(this.active, 'an overlay that ended applies nothing');
    assert(ring.base === state.appliedIndex, 'nothing is applied past an active overlay');
    assert(index <= ring.last, 'what is committed was noted (I6)');
    while (ring.firstEffect !== 0 && ring.firstEffect <= index) {
      const at = ring.firstEffect;
      this.applyPlain(at - 1);
      this.applyEffect(at, ring.takeEffect());
    }
    this.applyPlain(index);
    ring.drop(index);
    if (index !== ring.last) return;
    assert(this.producers.touched === 0, 'an applied tail leaves no producer behind');
    assert(this.positions.touched === 0, 'an applied tail leaves no position behind');
  }

  private note(index: number, term: number, appendTime: number, buffer: Buffer, position: number): void {
    const ring = this.ring;
    assert(this.active, 'an overlay that ended notes nothing');
    assert(index === ring.last + 1, 'entries are noted one by one');
    if (batch.isControl(buffer, position)) {
      this.noteControl(term, appendTime, buffer, position);
      return;
    }
    const count = batch.batchCount(buffer, position);
    const producerId = batch.producerId(buffer, position);
    this.nextOffset += count;
    ring.push(term, appendTime, this.nextOffset);
    if (producerId === 0) return;
    const epoch = batch.producerEpoch(buffer, position);
    const seq = batch.producerSeq(buffer, position);
    const bodyCrc = batch.bodyCrc(buffer, position);
    ring.setEffect(this.producers.batch(producerId, epoch, seq, bodyCrc, count));
  }

  private noteControl(term: number, appendTime: number, buffer: Buffer, position: number): void {
    const start = position + BATCH_HEADER_SIZE;
    const control = decodeControl(buffer, start, start + batch.bodyLen(buffer, position));
    this.ring.push(term, appendTime, this.nextOffset);
    let init: InitEffect | null = null;
    if (control.type === ControlType.INIT_PRODUCER) {
      init = this.producers.init(control.name, control.producerId);
      this.initialized = init.producer;
    } else if (control.type === ControlType.FENCE) {
      this.fence = control.token;
    } else if (control.type === ControlType.TRIM) {
      this.logStart = Math.max(this.logStart, control.offset);
    } else if (control.type === ControlType.POSITIONS) {
      this.positions.note(control.updates, this.ring.last);
    }
    this.ring.setEffect({ control, init });
  }

  /** Applies the run of plain data batches up to `index`, if there is one. */
  private applyPlain(index: number): void {
    const { ring, state } = this;
    if (index === state.appliedIndex) return;
    state.applyPlain(index, ring.term(index), ring.appendTime(index), ring.nextOffset(index));
  }

  private applyEffect(index: number, effect: TailProducer | ControlEffect): void {
    const { ring, state } = this;
    const term = ring.term(index);
    const appendTime = ring.appendTime(index);
    if (effect instanceof TailProducer) {
      const count = ring.count(index);
      const epoch = ring.epoch(index);
      state.applyBatch(index, term, appendTime, count, effect.id, epoch, ring.seq(index), ring.bodyCrc(index));
      this.producers.settle(effect, index);
      return;
    }
    state.applyControl(index, term, appendTime, effect.control);
    if (effect.init !== null) {
      this.producers.settle(effect.init.producer, index);
      if (effect.init.removed !== null) this.producers.settle(effect.init.removed, index);
    }
    if (effect.control.type === ControlType.POSITIONS) this.positions.settle(effect.control.updates, index);
  }
}
