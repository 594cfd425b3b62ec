// The replicated state of one log: what every replica must agree on besides the records. A pure
// state machine: it changes only by the committed entry that follows the last one applied, and two
// replicas that applied the same entries have the same state, byte for byte (snapshot.ts).
// It admits nothing: a leader judges what it proposes (judge.ts) against this and the uncommitted
// tail (overlay.ts), so an entry that does not fit here means that log and state disagree, and the
// replica stops with a StateError before anything has changed.
// Invariants: I6 entries are applied one by one, in order; I8 offsets are dense; I11 append_time never
// goes down; logStart ≤ nextOffset; the fence only rises.
import { assert, unreachable } from '../wire/assert.ts';
import * as batch from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, ID_SIZE, POSITIONS_MAX, PRODUCER_WINDOW, PRODUCERS_MAX } from '../wire/limits.ts';
import { ControlType, decodeControl } from './control.ts';
import type { Control, PositionUpdate } from './control.ts';
import { PositionTable } from './positions.ts';
import { ProducerTable } from './producers.ts';
import type { Producer } from './producers.ts';
import { StateError } from './state-error.ts';

/** Table sizes. All replicas of a log must have the same; they are part of a snapshot. */
export interface StateLimits {
  readonly producersMax: number;
  readonly positionsMax: number;
  /** Batches kept per producer. */
  readonly window: number;
}

export const STATE_LIMITS: StateLimits = {
  producersMax: PRODUCERS_MAX,
  positionsMax: POSITIONS_MAX,
  window: PRODUCER_WINDOW,
};

export class ReplicaState {
  readonly logUid: Buffer;
  readonly limits: StateLimits;
  readonly producers: ProducerTable;
  readonly positions: PositionTable;
  /** The last applied entry; 0 = none. */
  appliedIndex = 0;
  appliedTerm = 0;
  /** append_time of the last applied entry. */
  appliedTime = 0;
  /** The offset that the next record gets: at appliedIndex, so of committed records only. */
  nextOffset = 0;
  /** First record that is kept. */
  logStart = 0;
  /** 0 = no fence is set. */
  fence = 0;
  /** The newest applied CONFIG entry and its data; 0 and null before the first. */
  configIndex = 0;
  configuration: Buffer | null = null;

  constructor(logUid: Buffer, limits: StateLimits = STATE_LIMITS) {
    assert(logUid.length === ID_SIZE, 'a log uid has 16 bytes');
    this.logUid = Buffer.from(logUid);
    this.limits = limits;
    this.producers = new ProducerTable(limits.producersMax, limits.window);
    this.positions = new PositionTable(limits.positionsMax);
  }

  /**
   * Applies the committed batch at buffer[position]. Of a data batch only the header is read; a
   * control batch must be there whole, its checksums verified by whoever read it.
   * Returns the control type, 0 for data and ignored entries.
   * @throws StateError
   */
  apply(buffer: Buffer, position: number): ControlType {
    const index = batch.batchIndex(buffer, position);
    const term = batch.batchTerm(buffer, position);
    const appendTime = batch.appendTime(buffer, position);
    assert(batch.baseOffset(buffer, position) === this.nextOffset, 'an applied batch begins at the next offset');
    if (batch.isControl(buffer, position)) {
      const start = position + BATCH_HEADER_SIZE;
      const control = decodeControl(buffer, start, start + batch.bodyLen(buffer, position));
      this.applyControl(index, term, appendTime, control);
      return control.type;
    }
    const count = batch.batchCount(buffer, position);
    const producerId = batch.producerId(buffer, position);
    if (producerId === 0) {
      this.applyPlain(index, term, appendTime, this.nextOffset + count);
    } else {
      const epoch = batch.producerEpoch(buffer, position);
      const seq = batch.producerSeq(buffer, position);
      this.applyBatch(index, term, appendTime, count, producerId, epoch, seq, batch.bodyCrc(buffer, position));
    }
    return ControlType.IGNORED;
  }

  /**
   * Applies all entries up to `index`, which the caller knows to be data without a producer: they
   * change only the end of the log. `term` and `appendTime` are those of `index`.
   */
  applyPlain(index: number, term: number, appendTime: number, nextOffset: number): void {
    assert(index > this.appliedIndex, 'entries are applied in order');
    this.checkOrder(term, appendTime);
    assert(nextOffset > this.nextOffset, 'a data batch has records');
    this.advance(index, term, appendTime);
    this.nextOffset = nextOffset;
  }

  /** Applies the data batch at `index` of a producer. @throws StateError BAD_ENTRY */
  applyBatch(
    index: number,
    term: number,
    appendTime: number,
    count: number,
    producerId: number,
    epoch: number,
    seq: number,
    bodyCrc: number,
  ): void {
    this.checkNext(index, term, appendTime);
    assert(count > 0, 'a data batch has records');
    const producer = this.admitted(index, producerId, epoch, seq);
    this.producers.record(producer, bodyCrc, count, this.nextOffset, appendTime, index);
    this.advance(index, term, appendTime);
    this.nextOffset += count;
  }

  /** Applies the control entry at `index`. @throws StateError BAD_ENTRY */
  applyControl(index: number, term: number, appendTime: number, control: Control): void {
    this.checkNext(index, term, appendTime);
    switch (control.type) {
      case ControlType.IGNORED:
      case ControlType.NOOP:
        break;
      case ControlType.CONFIG:
        this.configuration = control.data;
        this.configIndex = index;
        break;
      case ControlType.INIT_PRODUCER:
        this.initProducer(index, control.name, control.producerId);
        break;
      case ControlType.FENCE:
        this.raiseFence(index, control.token);
        break;
      case ControlType.TRIM:
        this.trim(index, control.offset);
        break;
      case ControlType.POSITIONS:
        this.updatePositions(index, control.updates, appendTime);
        break;
      default:
        unreachable(control);
    }
    this.advance(index, term, appendTime);
  }

  private checkNext(index: number, term: number, appendTime: number): void {
    assert(index === this.appliedIndex + 1, 'entries are applied one by one');
    this.checkOrder(term, appendTime);
  }

  private checkOrder(term: number, appendTime: number): void {
    assert(term >= this.appliedTerm, 'terms do not go down within a log');
    assert(appendTime >= this.appliedTime, 'append_time does not go down within a log (I11)');
  }

  private advance(index: number, term: number, appendTime: number): void {
    this.appliedIndex = index;
    this.appliedTerm = term;
    this.appliedTime = appendTime;
  }

  private admitted(index: number, producerId: number, epoch: number, seq: number): Producer {
    const producer = this.producers.get(producerId);
    if (producer === undefined) throw this.bad(index, `producer ${producerId} is not in the table`);
    if (epoch !== producer.epoch) throw this.bad(index, `epoch ${epoch} where ${producer.epoch} is current`);
    if (seq !== producer.nextSeq) throw this.bad(index, `seq ${seq} where ${producer.nextSeq} is next`);
    return producer;
  }

  private initProducer(index: number, name: string, freshId: number): void {
    const free = freshId !== 0 && this.producers.get(freshId) === undefined;
    if (!free) throw this.bad(index, `producer id ${freshId} is not free`);
    this.producers.init(name, freshId, index);
  }

  private raiseFence(index: number, token: number): void {
    if (token < this.fence) throw this.bad(index, `fence ${token} under ${this.fence}`);
    this.fence = token;
  }

  private trim(index: number, offset: number): void {
    if (offset > this.nextOffset) throw this.bad(index, `trim to ${offset} beyond ${this.nextOffset}`);
    this.logStart = Math.max(this.logStart, offset);
  }

  private updatePositions(index: number, updates: readonly PositionUpdate[], appendTime: number): void {
    const names = new Set(updates.map((update) => update.name));
    if (names.size !== updates.length) throw this.bad(index, 'a position is updated twice');
    const size = this.positions.sizeAfter(updates);
    if (size > this.positions.limit) throw this.bad(index, `${size} positions where ${this.positions.limit} fit`);
    this.positions.apply(updates, appendTime);
  }

  private bad(index: number, what: string): StateError {
    return new StateError('BAD_ENTRY', `entry ${index} does not fit the state before it: ${what}`);
  }
}
