// The requests of one log that wait for an entry to commit (or for leadership to be confirmed), in
// typed arrays: no object per request. Answers leave strictly in the order of `push`, so PRODUCEs of a
// connection keep their order, refusals and duplicates too; only `expire` takes out of the middle.
// It knows no protocol: kind, code and the four numbers mean what the service says.
// Invariant: slots [head, tail) are in order of arrival; one without a session was answered already
// (expired) and is skipped.
import { assert } from '../wire/assert.ts';

const CAPACITY_START = 64;
/** A ring that grew beyond this in a burst is made small again once it is empty. */
const CAPACITY_KEPT_MAX = 65_536;

/** Takes requests whose time has come; reads what it needs from `ring` at `slot` during the call. */
export interface PendingVisitor<Session> {
  /** The entry is committed and leadership confirmed; or `ring.failure(slot)` ≠ 0 says why it never will be. */
  released(ring: PendingRing<Session>, slot: number): void;
  /** Its deadline passed first. */
  expired(ring: PendingRing<Session>, slot: number): void;
}

export class PendingRing<Session> {
  private mask = CAPACITY_START - 1;
  private head = 0;
  private tail = 0;
  /** No deadline is earlier than this, so most calls of `expire` end at once. */
  private nextDeadlineMs = Infinity;
  private visiting = false;
  private sessions: (Session | null)[] = [];
  private extras: unknown[] = [];
  private waits = new Float64Array(0);
  private tickets = new Float64Array(0);
  private deadlines = new Float64Array(0);
  private ids = new Uint32Array(0);
  private kinds = new Uint16Array(0);
  private codes = new Int16Array(0);
  private failures = new Uint16Array(0);
  private as = new Float64Array(0);
  private bs = new Float64Array(0);
  private cs = new Float64Array(0);

  constructor() {
    this.allocate(CAPACITY_START);
  }

  /** Requests in the ring, with expired ones that stand behind others. */
  get length(): number {
    return this.tail - this.head;
  }

  /**
   * Adds a request of `session`. `waitIndex`: the entry that must be committed, 0 = none. `ticket`: the
   * confirmation of leadership that must have come, 0 = none. `deadlineMs` is compared with `expire`'s.
   * The rest is the visitor's; `code` fits 16 bits, signed. Returns the slot, valid until it is released.
   */
  push(
    waitIndex: number,
    ticket: number,
    deadlineMs: number,
    session: Session,
    id: number,
    kind: number,
    code: number,
    a: number,
    b: number,
    c: number,
    extra: unknown,
  ): number {
    if (this.tail - this.head > this.mask) this.makeRoom();
    const slot = this.tail & this.mask;
    this.tail += 1;
    this.waits[slot] = waitIndex;
    this.tickets[slot] = ticket;
    this.deadlines[slot] = deadlineMs;
    this.sessions[slot] = session;
    this.ids[slot] = id;
    this.kinds[slot] = kind;
    this.codes[slot] = code;
    this.failures[slot] = 0;
    this.as[slot] = a;
    this.bs[slot] = b;
    this.cs[slot] = c;
    this.extras[slot] = extra;
    if (deadlineMs < this.nextDeadlineMs) this.nextDeadlineMs = deadlineMs;
    return slot;
  }

  /**
   * Visits, in order, all requests before the first that waits for more than entry `upToIndex` and
   * ticket `ticket`. The visitor may push; it must not release or expire.
   */
  release(upToIndex: number, ticket: number, visitor: PendingVisitor<Session>): void {
    assert(!this.visiting, 'a visitor of pending requests does not release');
    this.visiting = true;
    while (this.head !== this.tail) {
      const slot = this.head & this.mask;
      // One that was answered already holds up nobody.
      if (this.sessions[slot] !== null) {
        if (this.waits[slot]! > upToIndex || this.tickets[slot]! > ticket) break;
        visitor.released(this, slot);
        // A push during the visit may have moved everything to larger arrays.
        this.clear(this.head & this.mask);
      }
      this.head += 1;
    }
    this.visiting = false;
    if (this.head === this.tail) this.emptied();
  }

  /**
   * Visits, in order, all requests whose deadline is at or before `nowMs`, wherever they stand; they
   * are answered by that. Costs nothing while none is due.
   */
  expire(nowMs: number, visitor: PendingVisitor<Session>): void {
    assert(!this.visiting, 'a visitor of pending requests does not expire');
    if (nowMs < this.nextDeadlineMs) return;
    this.visiting = true;
    let next = Infinity;
    for (let at = this.head; at !== this.tail; at++) {
      const slot = at & this.mask;
      if (this.sessions[slot] === null) continue;
      const deadline = this.deadlines[slot]!;
      if (deadline <= nowMs) {
        visitor.expired(this, slot);
        this.clear(at & this.mask);
      } else if (deadline < next) {
        next = deadline;
      }
    }
    this.nextDeadlineMs = next;
    this.visiting = false;
    while (this.head !== this.tail && this.sessions[this.head & this.mask] === null) this.head += 1;
    if (this.head === this.tail) this.emptied();
  }

  /**
   * Entries from `fromIndex` on are lost, and so is every confirmation after `ticket`: what waits for
   * either is marked with `code` and waits for nothing more. The next `release` visits it in its turn.
   */
  fail(fromIndex: number, ticket: number, code: number): void {
    assert(code !== 0, 'a failure has a code');
    for (let at = this.head; at !== this.tail; at++) {
      const slot = at & this.mask;
      if (this.waits[slot]! < fromIndex && this.tickets[slot]! <= ticket) continue;
      this.failures[slot] = code;
      this.waits[slot] = 0;
      this.tickets[slot] = 0;
    }
  }

  /**
   * Visits everything, in order, as released: what waits for an entry or a confirmation with failure
   * `code` (or the one it was marked with), what only kept its place without.
   */
  failAll(code: number, visitor: PendingVisitor<Session>): void {
    this.fail(1, 0, code);
    this.release(0, 0, visitor);
    assert(this.length === 0, 'nothing waits after a failure of all');
  }

  session(slot: number): Session {
    return this.sessions[slot]!;
  }

  id(slot: number): number {
    return this.ids[slot]!;
  }

  kind(slot: number): number {
    return this.kinds[slot]!;
  }

  code(slot: number): number {
    return this.codes[slot]!;
  }

  /** 0, or why the entry it waited for will never be reported as committed. */
  failure(slot: number): number {
    return this.failures[slot]!;
  }

  /** The entry it waited for; 0 once it failed. */
  waitIndex(slot: number): number {
    return this.waits[slot]!;
  }

  a(slot: number): number {
    return this.as[slot]!;
  }

  b(slot: number): number {
    return this.bs[slot]!;
  }

  c(slot: number): number {
    return this.cs[slot]!;
  }

  extra(slot: number): unknown {
    return this.extras[slot];
  }

  /** References would keep a closed session alive until the ring comes round. */
  private clear(slot: number): void {
    this.sessions[slot] = null;
    this.extras[slot] = null;
  }

  private emptied(): void {
    this.head = 0;
    this.tail = 0;
    this.nextDeadlineMs = Infinity;
    if (this.mask >= CAPACITY_KEPT_MAX) this.allocate(CAPACITY_START);
  }

  /**
   * Leaves out what was answered already: behind one request that waits for long, others may come and
   * expire without end. Not during a visit, which walks by place.
   */
  private makeRoom(): void {
    // A shallow copy keeps the old arrays while `allocate` replaces them.
    const from = { ...this };
    let live = this.tail - this.head;
    if (!this.visiting) for (let at = this.head; at !== this.tail; at++) if (this.sessions[at & this.mask] === null) live -= 1;
    const capacity = this.mask + 1;
    this.allocate(live > capacity / 2 ? capacity * 2 : capacity);
    this.tail = this.head;
    for (let at = from.head; at !== from.tail; at++) {
      const source = at & from.mask;
      if (!this.visiting && from.sessions[source] === null) continue;
      const slot = this.tail & this.mask;
      this.tail += 1;
      this.sessions[slot] = from.sessions[source]!;
      this.extras[slot] = from.extras[source];
      this.waits[slot] = from.waits[source]!;
      this.tickets[slot] = from.tickets[source]!;
      this.deadlines[slot] = from.deadlines[source]!;
      this.ids[slot] = from.ids[source]!;
      this.kinds[slot] = from.kinds[source]!;
      this.codes[slot] = from.codes[source]!;
      this.failures[slot] = from.failures[source]!;
      this.as[slot] = from.as[source]!;
      this.bs[slot] = from.bs[source]!;
      this.cs[slot] = from.cs[source]!;
    }
  }

  private allocate(capacity: number): void {
    this.mask = capacity - 1;
    this.sessions = new Array<Session | null>(capacity).fill(null);
    this.extras = new Array<unknown>(capacity).fill(null);
    this.waits = new Float64Array(capacity);
    this.tickets = new Float64Array(capacity);
    this.deadlines = new Float64Array(capacity);
    this.ids = new Uint32Array(capacity);
    this.kinds = new Uint16Array(capacity);
    this.codes = new Int16Array(capacity);
    this.failures = new Uint16Array(capacity);
    this.as = new Float64Array(capacity);
    this.bs = new Float64Array(capacity);
    this.cs = new Float64Array(capacity);
  }
}
