// Who has said nothing yet: one deadline from the accept on, and the first to go when room is short.
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Undecided, UNDECIDED_MS } from '../../src/tls/undecided.ts';

const test = suite('tls/undecided');

class FakeSocket extends EventEmitter {
  destroyed = false;

  destroy(): void {
    this.destroyed = true;
    this.emit('close');
  }
}

function fake(): FakeSocket & Socket {
  return new FakeSocket() as unknown as FakeSocket & Socket;
}

test('closes each at its own deadline, and not one that has decided', () => {
  const undecided = new Undecided();
  const [first, second, third] = [fake(), fake(), fake()];
  undecided.add(first, 0);
  undecided.add(second, 1000);
  undecided.add(third, 2000);
  assert.is(undecided.decide(second, 1500), 1000, 'it began when it was accepted');
  undecided.tick(UNDECIDED_MS - 1);
  assert.not.ok(first.destroyed);
  undecided.tick(UNDECIDED_MS);
  assert.ok(first.destroyed);
  undecided.tick(2000 + UNDECIDED_MS);
  assert.ok(third.destroyed);
  assert.not.ok(second.destroyed);
});

test('the oldest makes way first, and nobody who has decided or gone', () => {
  const undecided = new Undecided();
  const sockets = [fake(), fake(), fake(), fake()];
  sockets.forEach((socket, i) => undecided.add(socket, i));
  undecided.decide(sockets[0]!, 9);
  sockets[1]!.destroy();
  assert.ok(undecided.evictOldest());
  assert.equal(sockets.map(({ destroyed }) => destroyed), [false, true, true, false]);
  assert.ok(undecided.evictOldest());
  assert.not.ok(undecided.evictOldest());
  assert.not.ok(sockets[0]!.destroyed);
});

test('one it does not know began now', () => {
  assert.is(new Undecided().decide(fake(), 42), 42);
});

test('the end takes all of them', () => {
  const undecided = new Undecided();
  const sockets = [fake(), fake()];
  for (const socket of sockets) undecided.add(socket, 0);
  undecided.destroyAll();
  assert.ok(sockets.every(({ destroyed }) => destroyed));
});

test.run();
