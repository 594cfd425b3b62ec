import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { IdSet } from '../../src/wire/session/id-set.ts';
import { OpenRequests } from '../../src/wire/session/open-requests.ts';
import { Op } from '../../src/wire/ops.ts';
import { Prng, testSeed } from '../support/prng.ts';

const ids = suite('session/id-set');

ids('agrees with a Map over random additions, removals and lookups', () => {
  const prng = new Prng(testSeed('session/id-set'));
  const set = new IdSet();
  const model = new Map<number, number>();
  for (let step = 0; step < 60_000; step++) {
    // A small range of ids makes duplicates and long runs; now and then an id from anywhere.
    const id = prng.chance(0.1) ? prng.between(1, 0xffff_ffff) : prng.between(1, 2_000);
    const value = prng.between(1, 0x1ff);
    switch (prng.next(4)) {
      case 0:
      case 1:
        assert.is(set.add(id, value), !model.has(id));
        if (!model.has(id)) model.set(id, value);
        break;
      case 2:
        assert.is(set.remove(id), model.get(id) ?? 0);
        model.delete(id);
        break;
      default:
        assert.is(set.get(id), model.get(id) ?? 0);
        if (model.has(id)) {
          set.set(id, value);
          model.set(id, value);
        }
    }
    assert.is(set.size, model.size);
    assert.ok(set.size * 2 <= set.capacity);
  }
  for (const [id, value] of model) assert.is(set.get(id), value);
});

ids('keeps ids that all hash to the same slot apart, in whatever order they go', () => {
  // Multiples of the inverse of the multiplier have products that differ in the low bits only.
  const colliding: number[] = [];
  for (let id = 1; colliding.length < 40; id++) {
    if (Math.imul(id, 0x9e37_79b1) >>> 25 === 0) colliding.push(id);
  }
  const prng = new Prng(7);
  for (let round = 0; round < 200; round++) {
    const set = new IdSet();
    for (const id of prng.shuffle([...colliding])) assert.ok(set.add(id, id & 0xff || 1));
    const order = prng.shuffle([...colliding]);
    for (let i = 0; i < order.length; i++) {
      assert.is(set.remove(order[i]!), order[i]! & 0xff || 1);
      for (const left of order.slice(i + 1)) assert.ok(set.get(left) > 0);
      assert.is(set.get(order[i]!), 0);
    }
  }
});

ids('takes the smallest and the largest id', () => {
  const set = new IdSet();
  assert.ok(set.add(1, 1));
  assert.ok(set.add(0xffff_ffff, 2));
  assert.not(set.add(0xffff_ffff, 3));
  assert.is(set.get(0xffff_ffff), 2);
  assert.is(set.remove(0xffff_ffff), 2);
  assert.is(set.remove(0xffff_ffff), 0);
});

ids('gives memory back only when it is empty', () => {
  const set = new IdSet();
  for (let id = 1; id <= 1_000; id++) set.add(id, 1);
  const grown = set.capacity;
  set.shrink();
  assert.is(set.capacity, grown);
  for (let id = 1; id <= 1_000; id++) set.remove(id);
  set.shrink();
  assert.is(set.capacity, new IdSet().capacity);
  assert.ok(set.add(5, 1));
});

ids.run();

const open = suite('session/open-requests');

open('counts in flight, waits and subscriptions apart', () => {
  const requests = new OpenRequests();
  assert.ok(requests.open(1, Op.FETCH));
  assert.ok(requests.open(2, Op.SUBSCRIBE));
  assert.ok(requests.open(3, Op.PRODUCE));
  assert.is(requests.inFlight, 3);
  assert.ok(requests.toWaiting(1, 'fetch', 1));
  assert.ok(requests.toWaiting(2, 'subscription', 1));
  assert.equal([requests.inFlight, requests.waits, requests.subscriptions, requests.size], [1, 1, 1, 3]);
  assert.ok(requests.toWaiting(1, 'fetch', 1), 'said twice counts once');
  assert.is(requests.waits, 1);
  assert.ok(requests.answer(1, Op.FETCH, false));
  assert.ok(requests.answer(2, Op.SUBSCRIBE, true));
  assert.ok(requests.answer(2, Op.DELIVER, true));
  assert.ok(requests.answer(2, Op.DELIVER, false));
  assert.equal([requests.inFlight, requests.waits, requests.subscriptions, requests.size], [1, 0, 0, 1]);
});

open('refuses a wait above its limit, and leaves the request in flight', () => {
  const requests = new OpenRequests();
  for (let id = 1; id <= 3; id++) requests.open(id, Op.FETCH);
  assert.ok(requests.toWaiting(1, 'fetch', 2));
  assert.ok(requests.toWaiting(2, 'fetch', 2));
  assert.not(requests.toWaiting(3, 'fetch', 2));
  assert.is(requests.inFlight, 1);
});

open('ends a subscription by op 31 before it was answered and by DELIVER afterwards', () => {
  const requests = new OpenRequests();
  requests.open(1, Op.SUBSCRIBE);
  assert.throws(() => requests.answer(1, Op.DELIVER, false), /repeats the op/);
  requests.open(2, Op.SUBSCRIBE);
  requests.answer(2, Op.SUBSCRIBE, true);
  assert.throws(() => requests.answer(2, Op.SUBSCRIBE, false), /repeats the op/);
  requests.open(3, Op.FETCH);
  assert.throws(() => requests.answer(3, Op.PRODUCE, false), /repeats the op/);
});

open('drops what waits and keeps what is in flight', () => {
  const requests = new OpenRequests();
  for (let id = 1; id <= 30; id++) requests.open(id, id % 3 === 0 ? Op.PRODUCE : Op.FETCH);
  for (let id = 1; id <= 30; id++) if (id % 3 !== 0) requests.toWaiting(id, 'fetch', 100);
  requests.dropWaiting();
  assert.equal([requests.inFlight, requests.waits, requests.size], [10, 0, 10]);
  for (let id = 1; id <= 30; id++) assert.is(requests.has(id), id % 3 === 0);
});

open.run();
