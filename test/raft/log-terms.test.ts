// The run-length terms against a plain array of terms, under random appends, truncations and trims.
// Also the window of appends under way, against a plain list. Replay with SEED=n.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Inflight } from '../../src/raft/inflight.ts';
import { LogTerms } from '../../src/raft/log-terms.ts';
import { checkSettings, RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import type { LogView } from '../../src/raft/ports.ts';
import { UNKNOWN_TERM } from '../../src/raft/types.ts';
import { prng, seedOr } from './support/prng.ts';

const NO_VIEW: LogView = {
  termAt: (index) => {
    throw new Error(`nobody should ask for ${index}`);
  },
  sizeOf: () => 0,
};

/** terms[i] is the term of entry i; entries up to base are gone, but base's term is kept. */
class Model {
  terms: number[] = [0];
  base = 0;
  get last(): number {
    return this.terms.length - 1;
  }
  termAt(index: number): number {
    return index < this.base || index > this.last ? UNKNOWN_TERM : this.terms[index]!;
  }
  lastWithTermAtMost(index: number, term: number): number {
    let at = index;
    while (at > this.base && this.terms[at]! > term) at--;
    return at;
  }
}

function compare(real: LogTerms, model: Model, random: (n: number) => number): void {
  assert.is(real.lastIndex, model.last);
  assert.is(real.baseIndex, model.base);
  assert.is(real.lastTerm, model.terms[model.last]);
  for (let i = Math.max(0, model.base - 2); i <= model.last + 2; i++) assert.is(real.termAt(i), model.termAt(i));
  const from = model.base + random(model.last - model.base + 1);
  for (let term = 0; term <= model.terms[model.last]! + 1; term++) {
    assert.is(real.lastWithTermAtMost(from, term), model.lastWithTermAtMost(from, term));
  }
  if (model.last === model.base) return;
  const first = model.base + 1 + random(model.last - model.base);
  const runs = real.runsWithin(first, model.last);
  assert.is(runs[0]!.fromIndex, first);
  for (const run of runs) assert.is(run.term, model.termAt(run.fromIndex));
  for (let i = first + 1; i <= model.last; i++) {
    const starts = runs.some((run) => run.fromIndex === i);
    assert.is(starts, model.termAt(i) !== model.termAt(i - 1));
  }
}

const test = suite('raft/log-terms');

test('behaves as an array of terms does, under 4,000 random changes', () => {
  const seed = seedOr(30);
  const random = prng(seed);
  for (let world = 0; world < 40; world++) {
    const model = new Model();
    const real = new LogTerms(1, 0, 0, [], NO_VIEW);
    for (let step = 0; step < 100; step++) {
      const what = random(10);
      if (what < 6) {
        const term = Math.max(1, model.terms[model.last]!) + (random(3) === 0 ? 1 + random(2) : 0);
        const count = 1 + random(4);
        real.append(real.lastIndex + count, term);
        for (let i = 0; i < count; i++) model.terms.push(term);
      } else if (what < 8) {
        const index = model.base + random(model.last - model.base + 1);
        real.truncateAfter(index);
        model.terms.length = index + 1;
      } else {
        const first = model.base + 1 + random(model.last - model.base + 1);
        real.trimBefore(first);
        model.base = first - 1;
      }
      compare(real, model, random);
    }
  }
});

test('what was not given at start is asked of the log', () => {
  const asked: number[] = [];
  const view: LogView = { termAt: (index) => (asked.push(index), index < 5 ? 1 : 2), sizeOf: () => 0 };
  const terms = new LogTerms(1, 0, 20, [{ fromIndex: 10, term: 3 }, { fromIndex: 15, term: 4 }], view);
  assert.equal([terms.termAt(9), terms.termAt(3), terms.termAt(10), terms.termAt(20)], [2, 1, 3, 4]);
  assert.equal(asked, [9, 3]);
  assert.is(terms.lastWithTermAtMost(20, 2), 9);
  assert.is(terms.lastWithTermAtMost(20, 1), 4);
  terms.truncateAfter(7);
  assert.equal([terms.lastIndex, terms.lastTerm, terms.termAt(7), terms.termAt(6)], [7, 2, 2, 2]);
  terms.append(9, 2);
  assert.equal([terms.termAt(8), terms.termAt(9), terms.termAt(10)], [2, 2, UNKNOWN_TERM]);
});

test('a hundred thousand terms do not stay in memory: the oldest are asked of the log', () => {
  let asked = 0;
  const view: LogView = { termAt: (index) => (asked++, index), sizeOf: () => 0 };
  const terms = new LogTerms(1, 0, 0, [], view);
  for (let i = 1; i <= 100_000; i++) terms.append(i, i);
  assert.is(terms.termAt(99_999), 99_999);
  assert.is(asked, 0);
  assert.is(terms.termAt(17), 17);
  assert.is(asked, 1);
  assert.is(terms.lastWithTermAtMost(100_000, 17), 17);
  assert.ok(asked < 20);
});

test('terms that go down within a log are a broken invariant (I2)', () => {
  const terms = new LogTerms(1, 0, 2, [{ fromIndex: 1, term: 4 }], NO_VIEW);
  assert.throws(() => terms.append(3, 3), /I2/);
  assert.throws(() => new LogTerms(1, 0, 3, [{ fromIndex: 1, term: 4 }, { fromIndex: 2, term: 3 }], NO_VIEW), /I2/);
  assert.throws(() => new LogTerms(1, 0, 3, [], NO_VIEW), /has a run/);
  assert.throws(() => new LogTerms(5, 1, 3, [], NO_VIEW), /after its base/);
});

test('truncations and trims stay inside the log', () => {
  const terms = new LogTerms(3, 1, 5, [{ fromIndex: 3, term: 1 }], NO_VIEW);
  assert.throws(() => terms.truncateAfter(1), /inside the log/);
  assert.throws(() => terms.truncateAfter(6), /inside the log/);
  assert.throws(() => terms.trimBefore(7), /leaves the end/);
  terms.trimBefore(2);
  assert.is(terms.baseIndex, 2);
});

test.run();

const window = suite('raft/inflight');

window('behaves as a list does, in 5,000 random steps', () => {
  const random = prng(seedOr(31));
  const inflight = new Inflight(1000, 40);
  let model: [number, number][] = [];
  let last = 0;
  for (let i = 0; i < 5000; i++) {
    const size = model.reduce((sum, [, bytes]) => sum + bytes, 0);
    assert.equal([inflight.count, inflight.size], [model.length, size]);
    assert.is(inflight.full, model.length >= 40 || size >= 1000);
    const what = random(100);
    if (what < 60 && !inflight.full) {
      last += 1 + random(3);
      const bytes = random(60);
      inflight.add(last, bytes);
      model.push([last, bytes]);
    } else if (what < 98) {
      const match = last - random(60);
      inflight.freeUpTo(match);
      model = model.filter(([to]) => to > match);
    } else {
      inflight.clear();
      model = [];
    }
  }
});

window('a full window takes no more', () => {
  const inflight = new Inflight(100, 10);
  inflight.add(1, 150);
  assert.throws(() => inflight.add(2, 1), /has room/);
});

window.run();

const settings = suite('raft/settings');

settings('the defaults fit together, and what does not is refused', () => {
  checkSettings(RAFT_DEFAULTS);
  for (const [wrong, message] of [
    [{ tickMs: 0 }, /tick/],
    [{ tickMs: 200 }, /tick/],
    [{ electionMinMs: 250 }, /three heartbeats/],
    [{ electionMaxMs: 400 }, /must differ/],
    [{ probeSizeMax: 0 }, /carries something/],
    [{ inflightSizeMax: 10 }, /fits the window/],
    [{ inflightCountMax: 0 }, /under way/],
    [{ votersMax: 0 }, /has a voter/],
  ] as const) {
    assert.throws(() => checkSettings({ ...RAFT_DEFAULTS, ...wrong }), message);
  }
});

settings.run();
