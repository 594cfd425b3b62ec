// The ring of waiting requests: order, deadlines, failures, growth; and against a dumb list.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { PendingRing } from '../../src/replica/pending.ts';
import type { PendingVisitor } from '../../src/replica/pending.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { Random, seeds } from './support.ts';

const test = suite('replica-state/pending');
const LOST = 403;
const NEVER = Number.MAX_SAFE_INTEGER;

/** Writes down who was visited: `name:id`, with `!code` for failures and `T` for expired ones. */
class Journal implements PendingVisitor<string> {
  lines: string[] = [];

  released(ring: PendingRing<string>, slot: number): void {
    const failure = ring.failure(slot);
    this.lines.push(`${ring.session(slot)}:${ring.id(slot)}${failure === 0 ? '' : `!${failure}`}`);
  }

  expired(ring: PendingRing<string>, slot: number): void {
    this.lines.push(`${ring.session(slot)}:${ring.id(slot)}T`);
  }

  take(): string[] {
    const lines = this.lines;
    this.lines = [];
    return lines;
  }
}

function add(ring: PendingRing<string>, session: string, id: number, wait: number, ticket = 0, deadline = NEVER): void {
  ring.push(wait, ticket, deadline, session, id, 1, 0, 0, 0, 0, null);
}

test('requests that expired behind one that waits for long take no room', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'patient', 1, 5);
  for (let i = 0; i < 10_000; i++) {
    add(ring, 'hasty', i, 0, 0, i);
    ring.release(4, 0, journal);
    ring.expire(i, journal);
  }
  assert.is(journal.take().length, 10_000);
  assert.ok(ring.length <= 64, `${ring.length} places are taken`);
  add(ring, 'patient', 2, 6, 0, 10_001);
  ring.expire(10_000, journal);
  ring.release(5, 0, journal);
  assert.equal(journal.take(), ['patient:1']);
  ring.expire(10_001, journal);
  assert.equal(journal.take(), ['patient:2T']);
  assert.is(ring.length, 0, 'what expired at the front is gone at once');
});

test('requests are released up to the committed index, in order of arrival', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  for (let i = 1; i <= 5; i++) add(ring, 's', 10 + i, i);
  ring.release(3, 0, journal);
  assert.equal(journal.take(), ['s:11', 's:12', 's:13']);
  ring.release(3, 0, journal);
  assert.equal(journal.take(), []);
  ring.release(9, 0, journal);
  assert.equal(journal.take(), ['s:14', 's:15']);
  assert.is(ring.length, 0);
});

test('the visitor reads back every field', () => {
  const ring = new PendingRing<object>();
  const session = { name: 's' };
  const extra = { some: 'thing' };
  const big = Number.MAX_SAFE_INTEGER;
  ring.push(big, 0, 5, session, 0xffffffff, 65_535, -3, big, -1, 1.5, extra);
  let visits = 0;
  ring.release(big, 0, {
    released(r, slot) {
      visits += 1;
      assert.is(r.session(slot), session);
      assert.is(r.extra(slot), extra);
      assert.equal([r.id(slot), r.kind(slot), r.code(slot), r.failure(slot)], [0xffffffff, 65_535, -3, 0]);
      assert.equal([r.a(slot), r.b(slot), r.c(slot), r.waitIndex(slot)], [big, -1, 1.5, big]);
    },
    expired: () => assert.unreachable('it is not due'),
  });
  assert.is(visits, 1);
});

test('a refusal or duplicate that waits for less keeps its place behind those that came before', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'a', 1, 7);
  add(ring, 'a', 2, 0);
  add(ring, 'b', 3, 4);
  ring.release(6, 0, journal);
  assert.equal(journal.take(), []);
  ring.release(7, 0, journal);
  assert.equal(journal.take(), ['a:1', 'a:2', 'b:3']);
});

test('a refusal waits for its confirmation as well as for its entry, and holds up what follows', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'a', 1, 3, 2);
  add(ring, 'a', 2, 4);
  ring.release(9, 1, journal);
  assert.equal(journal.take(), []);
  ring.release(2, 2, journal);
  assert.equal(journal.take(), []);
  ring.release(9, 2, journal);
  assert.equal(journal.take(), ['a:1', 'a:2']);
});

test('what is overdue is answered wherever it stands, once, and the rest goes on waiting', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'a', 1, 1, 0, 500);
  add(ring, 'b', 2, 2, 0, 100);
  add(ring, 'b', 3, 3, 0, 101);
  add(ring, 'a', 4, 4, 0, 500);
  ring.expire(99, journal);
  assert.equal(journal.take(), []);
  ring.expire(101, journal);
  assert.equal(journal.take(), ['b:2T', 'b:3T']);
  ring.expire(499, journal);
  ring.release(3, 0, journal);
  assert.equal(journal.take(), ['a:1'], 'a late commit of an expired one is silent');
  ring.expire(500, journal);
  assert.equal(journal.take(), ['a:4T']);
  ring.release(4, 0, journal);
  assert.equal(journal.take(), []);
});

test('what waits for a lost entry or confirmation fails in its turn; the rest is released', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'a', 1, 3);
  add(ring, 'a', 2, 5);
  add(ring, 'a', 3, 2, 8);
  add(ring, 'a', 4, 2, 7);
  add(ring, 'a', 5, 0);
  ring.fail(4, 7, LOST);
  ring.release(2, 7, journal);
  assert.equal(journal.take(), [], 'the first still waits for entry 3');
  ring.release(3, 7, journal);
  assert.equal(journal.take(), ['a:1', `a:2!${LOST}`, `a:3!${LOST}`, 'a:4', 'a:5']);
});

test('when all is lost everything is visited; what only kept its place has no failure', () => {
  const ring = new PendingRing<string>();
  const journal = new Journal();
  add(ring, 'a', 1, 3);
  add(ring, 'a', 2, 0);
  add(ring, 'a', 3, 0, 1);
  add(ring, 'a', 4, 9);
  ring.fail(9, 99, 305);
  ring.failAll(LOST, journal);
  assert.equal(journal.take(), [`a:1!${LOST}`, 'a:2', `a:3!${LOST}`, 'a:4!305'], 'the first failure stays');
  assert.is(ring.length, 0);
});

test('a visitor may push, also when that moves the ring to larger arrays', () => {
  const ring = new PendingRing<string>();
  const seen: number[] = [];
  const visitor: PendingVisitor<string> = {
    released(r, slot) {
      const id = r.id(slot);
      seen.push(id);
      if (id < 1_000) for (let i = 0; i < 3; i++) add(r, 's', 1_000 + id * 3 + i, 1);
    },
    expired(r, slot) {
      seen.push(-r.id(slot));
      add(r, 's', 5_000, 1);
    },
  };
  for (let id = 0; id < 64; id++) add(ring, 's', id, 1);
  ring.release(1, 0, visitor);
  assert.equal(seen, Array.from({ length: 64 + 192 }, (_, i) => (i < 64 ? i : 936 + i)));
  seen.length = 0;
  for (let id = 1; id <= 64; id++) add(ring, 's', id, 9, 0, 5);
  ring.expire(5, visitor);
  assert.is(seen.length, 64);
  ring.release(1, 0, visitor);
  assert.is(seen.length, 128, 'expired ones hold up nobody');
});

test('growing during a visit wipes no other request', () => {
  for (const way of ['release', 'expire']) {
    const ring = new PendingRing<string>();
    const journal = new Journal();
    // The head stands in the middle of the second round, and the ring is full.
    for (let id = 0; id < 60; id++) add(ring, 's', id, 1);
    add(ring, 's', 60, 2, 0, 5);
    ring.release(1, 0, journal);
    for (let id = 61; id < 80; id++) add(ring, 's', id, 2);
    for (let id = 80; id < 90; id++) add(ring, 's', id, 3, 0, 5);
    ring.release(2, 0, journal);
    for (let id = 90; id < 144; id++) add(ring, 's', id, 3);
    assert.is(ring.length, 64);
    const seen: number[] = [];
    const grow = (r: PendingRing<string>, slot: number) => {
      seen.push(r.id(slot));
      if (seen.length === 1) for (let id = 144; id < 200; id++) add(r, 's', id, 3);
    };
    const visitor = { released: grow, expired: grow };
    if (way === 'release') ring.release(3, 0, visitor);
    else ring.expire(5, visitor);
    if (way === 'expire') ring.release(3, 0, visitor);
    assert.equal(seen, Array.from({ length: 120 }, (_, i) => 80 + i), way);
  }
});

test('a visitor that releases is a bug of ours', () => {
  const ring = new PendingRing<string>();
  add(ring, 's', 1, 1);
  const visitor = { released: () => ring.release(1, 0, visitor), expired: () => {} };
  assert.throws(() => ring.release(1, 0, visitor), (error: Error) => error instanceof InvariantError);
});

interface Waiting {
  id: number;
  session: string;
  wait: number;
  ticket: number;
  deadline: number;
  failure: number;
}

/** The obvious list, written from the comments of PendingRing. */
class DumbList {
  list: Waiting[] = [];

  release(index: number, ticket: number): string[] {
    const lines: string[] = [];
    while (this.list.length > 0 && this.list[0]!.wait <= index && this.list[0]!.ticket <= ticket) {
      const w = this.list.shift()!;
      lines.push(`${w.session}:${w.id}${w.failure === 0 ? '' : `!${w.failure}`}`);
    }
    return lines;
  }

  expire(now: number): string[] {
    const due = this.list.filter((w) => w.deadline <= now);
    this.list = this.list.filter((w) => w.deadline > now);
    return due.map((w) => `${w.session}:${w.id}T`);
  }

  fail(from: number, ticket: number, code: number): void {
    for (const w of this.list) if (w.wait >= from || w.ticket > ticket) Object.assign(w, { failure: code, wait: 0, ticket: 0 });
  }
}

test('it does what a dumb list does', () => {
  for (const seed of seeds(60)) {
    const random = new Random(seed);
    const ring = new PendingRing<string>();
    const dumb = new DumbList();
    const journal = new Journal();
    let [last, committed, asked, confirmed, now] = [0, 0, 0, 0, 1];
    const pushes = random.pick([40, 60, 80]);
    const releases = random.pick([5, 20, 100]);
    for (let step = 0; step < 600; step++) {
      const roll = random.below(100);
      const where = `SEED=${seed} step ${step}`;
      if (roll < pushes) {
        const wait = random.chance(80) ? ++last : random.below(last + 1);
        const ticket = random.chance(20) ? ++asked : 0;
        const w = { id: step, session: random.pick(['a', 'b']), wait, ticket, deadline: now + random.below(200) + 1, failure: 0 };
        dumb.list.push(w);
        add(ring, w.session, w.id, wait, ticket, w.deadline);
      } else if (roll < 98 && !random.chance(releases)) {
        now += random.below(3);
      } else if (roll < 92) {
        committed = random.between(committed, last);
        confirmed = random.between(confirmed, asked);
        ring.release(committed, confirmed, journal);
        assert.equal(journal.take(), dumb.release(committed, confirmed), where);
      } else if (roll < 98) {
        now += random.below(150);
        ring.expire(now, journal);
        assert.equal(journal.take(), dumb.expire(now), where);
      } else {
        const from = random.between(committed + 1, last + 1);
        ring.fail(from, confirmed, LOST);
        dumb.fail(from, confirmed, LOST);
        last = from - 1;
      }
      assert.ok(ring.length >= dumb.list.length, where);
    }
  }
});

test.run();
