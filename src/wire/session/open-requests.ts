// The open requests of one connection: which id belongs to which op, and how many count as what.
// In flight = unanswered requests other than waiting FETCHes and subscriptions, which have limits of
// their own (protocol §4, Back-pressure). It judges no limits of in-flight requests: the session
// stops reading instead.
// Invariant: inFlight + waits + subscriptions = ids.size.
import { assert } from '../assert.ts';
import { Op } from '../ops.ts';
import { IdSet } from './id-set.ts';

/** Low six bits of a value are the op (client-plane ops are below 0x40), then the kind, then `answered`. */
const OP_MASK = 0x3f;
const KIND_WAIT = 0x40;
const KIND_SUBSCRIPTION = 0x80;
const KIND_MASK = KIND_WAIT | KIND_SUBSCRIPTION;
/** An answer with MORE was sent. */
const ANSWERED = 0x100;

export class OpenRequests {
  inFlight = 0;
  waits = 0;
  subscriptions = 0;
  private readonly ids = new IdSet();

  get size(): number {
    return this.ids.size;
  }

  /** False when the id is open already. */
  open(id: number, op: number): boolean {
    if (!this.ids.add(id, op)) return false;
    this.inFlight++;
    return true;
  }

  has(id: number): boolean {
    return this.ids.get(id) !== 0;
  }

  isSubscription(id: number): boolean {
    return (this.ids.get(id) & OP_MASK) === Op.SUBSCRIBE;
  }

  /** Ends a request. False when it is not open. */
  close(id: number): boolean {
    const value = this.ids.remove(id);
    if (value === 0) return false;
    this.uncount(value);
    return true;
  }

  /** Notes an answer with op `op`; false when the id is not open. */
  answer(id: number, op: number, more: boolean): boolean {
    const value = more ? this.ids.get(id) : this.ids.remove(id);
    if (value === 0) return false;
    const asked = value & OP_MASK;
    const isDelivery = asked === Op.SUBSCRIBE && (value & ANSWERED) !== 0;
    assert(op === (isDelivery ? Op.DELIVER : asked), 'an answer repeats the op of its request');
    if (!more) this.uncount(value);
    else if ((value & ANSWERED) === 0) this.ids.set(id, value | ANSWERED);
    return true;
  }

  /** False when `max` of that kind wait already, or the id is not open. */
  toWaiting(id: number, kind: 'fetch' | 'subscription', max: number): boolean {
    const value = this.ids.get(id);
    if (value === 0) return false;
    const bit = kind === 'fetch' ? KIND_WAIT : KIND_SUBSCRIPTION;
    if ((value & KIND_MASK) !== 0) {
      assert((value & KIND_MASK) === bit, 'a waiting request keeps its kind');
      return true;
    }
    if ((kind === 'fetch' ? this.waits : this.subscriptions) >= max) return false;
    this.ids.set(id, value | bit);
    this.inFlight--;
    if (kind === 'fetch') this.waits++;
    else this.subscriptions++;
    return true;
  }

  /** Ends all that waits, without an answer. */
  dropWaiting(): void {
    this.ids.removeWhere((value) => (value & KIND_MASK) !== 0);
    this.waits = 0;
    this.subscriptions = 0;
  }

  shrink(): void {
    this.ids.shrink();
  }

  private uncount(value: number): void {
    if ((value & KIND_MASK) === 0) this.inFlight--;
    else if ((value & KIND_WAIT) !== 0) this.waits--;
    else this.subscriptions--;
  }
}
