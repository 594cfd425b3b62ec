// Garbage, mutated conversations and random but well-formed traffic, from one seed: the session never
// throws, holds bounded memory, calls the service only for frames before the first broken one (I10),
// and what it sends is always whole frames: one last answer per request, nothing after the end.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader } from '../../src/wire/bytes.ts';
import { goAway } from '../../src/wire/error-body.ts';
import { CLASS_FATAL, ErrorCode } from '../../src/wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import type { Session as SessionPort } from '../../src/wire/session/ports.ts';
import { Prng, testSeed } from '../support/prng.ts';
import {
  answerOk, cancelFrame, connect, creditFrame, EMPTY_EXT, frame, goAwayFrame, hello, pingFrame, PREFACE, produceFrame, testConfig,
} from './support.ts';
import type { Connection } from './support.ts';

const fuzz = suite('session/fuzz');
const prng = new Prng(testSeed('session/fuzz'));
const MAX_FRAME = 1024 * 1024 + 8_192;
const config = testConfig({ maxFrame: MAX_FRAME, maxInflight: 8, maxWaits: 3, maxSubscriptions: 3, graceMs: 1_000 });

/** Ids of the requests in front of the first broken frame, by a parser that shares no code with ours. */
function requestsBefore(input: Buffer): number[] {
  const ids: number[] = [];
  if (input.length < 8) return ids;
  for (let at = 8, first = true; at + 12 <= input.length; first = false) {
    const length = input.readUInt32BE(at);
    const isResponse = (input[at + 5]! & 1) !== 0;
    const id = input.readUInt32BE(at + 8);
    if (length < 8 || length > (first ? 16_384 : MAX_FRAME) || (input[at + 5]! & 0x3c) !== 0) break;
    if (!isResponse && (input.readUInt16BE(at + 6) !== 0 || (id === 0 && input[at + 4] !== Op.GOAWAY))) break;
    if (at + 4 + length > input.length) break;
    if (!isResponse) ids.push(id);
    at += 4 + length;
  }
  return ids;
}

/** What must hold of any connection, at any time. */
function check(connection: Connection, input: Buffer, isGone = false): void {
  const { session, service, host } = connection;
  const called = service.calls.flatMap((call) => (call.call === 'produce' || call.call === 'request' ? [call.id] : []));
  const allowed = requestsBefore(input);
  let at = 0;
  for (const id of called) {
    at = allowed.indexOf(id, at) + 1;
    assert.ok(at > 0, `request ${id} was not in front of the first broken frame`);
  }
  const held = (session as unknown as { reader: { buffered: number } }).reader.buffered;
  assert.ok(held <= MAX_FRAME + 4 + 128 * 1024, `${held} bytes held`);
  assert.ok(session.outputBytes <= 1024 * 1024 + 600_000, `${session.outputBytes} bytes of output`);
  assert.ok(service.count('closed') <= 1);
  if (host.sent.length < 8) return;
  let ended = false;
  let end = 8;
  const open = new Set(called);
  for (const found of connection.frames()) {
    assert.not(ended, 'nothing follows a fatal GOAWAY');
    end += 12 + found.payload.length;
    if (found.op === Op.GOAWAY && (found.flags & FLAG_RESPONSE) === 0) {
      ended = (goAway.read(new Reader(found.payload)).class & CLASS_FATAL) !== 0;
    } else if ((found.flags & FLAG_RESPONSE) !== 0) {
      assert.ok(allowed.includes(found.id), `an answer to ${found.id}, which was never asked`);
      if ((found.flags & FLAG_MORE) === 0) open.delete(found.id);
    } else {
      assert.is(found.op, Op.PING);
    }
  }
  if (!host.stalled && !isGone) assert.is(end, host.sent.length, 'only whole frames are sent');
}

/** Feeds input in random chunks with random ticks; returns the connection after the peer is gone. */
function feed(input: Buffer): Connection {
  const connection = connect(config);
  const held: number[] = [];
  connection.service.onProduce = (session, id) => {
    if (prng.chance(0.7)) answerOk(session, id);
    else held.push(id);
  };
  for (let at = 0; at < input.length; ) {
    const size = Math.min(input.length - at, prng.chance(0.3) ? prng.between(1, 20) : prng.between(1, 2_000));
    connection.send(input.subarray(at, at + size));
    at += size;
    if (prng.chance(0.05)) connection.tick(prng.next(500));
  }
  check(connection, input);
  connection.session.peerEnded(connection.now);
  connection.host.settle();
  for (let id = held.shift(); id !== undefined; id = held.shift()) {
    answerOk(connection.session, id);
    connection.host.settle();
  }
  connection.tick(1);
  connection.tick(700_000);
  connection.tick(1);
  connection.tick(10_000);
  assert.ok(connection.host.destroyed || connection.host.finished, 'it always comes to an end');
  connection.session.peerClosed();
  assert.is(connection.service.count('closed'), 1);
  check(connection, input);
  return connection;
}

const start = Buffer.concat([PREFACE, hello()]);

fuzz('random bytes, from the first byte, after the preface, after HELLO', () => {
  for (const prefix of [Buffer.alloc(0), Buffer.from([0xfa]), PREFACE, start]) {
    for (let round = 0; round < 150; round++) feed(Buffer.concat([prefix, prng.bytes(prng.between(1, 3_000))]));
  }
});

fuzz('random bytes behind a plausible length', () => {
  for (let round = 0; round < 300; round++) {
    const garbage = prng.bytes(prng.between(12, 2_000));
    garbage.writeUInt32BE(prng.between(8, garbage.length), 0);
    if (prng.chance(0.7)) garbage[5] = garbage[5]! & 0xc3;
    feed(Buffer.concat([start, garbage]));
  }
});

function randomFrame(): Buffer {
  const id = prng.between(1, 12);
  switch (prng.next(12)) {
    case 0: return pingFrame(prng.between(50, 60), 'x'.repeat(prng.next(70)));
    case 1: return cancelFrame(id);
    case 2: return creditFrame(id, prng.next(0x1_0000_0000));
    case 3: return frame(prng.next(256), id, prng.bytes(prng.next(40)), prng.pick([0, 0, 0, 1, 2, 3, 0x40, 0x04]));
    case 4: return frame(Op.SUBSCRIBE, id);
    case 5: return frame(Op.FETCH, id);
    case 6: return frame(prng.pick([Op.CANCEL, Op.CREDIT]), id, prng.bytes(prng.next(8)));
    case 7: return frame(Op.PING, prng.next(4), EMPTY_EXT, FLAG_RESPONSE);
    case 8: return prng.chance(0.1) ? goAwayFrame(prng.next(2_000)) : frame(Op.LIST_LOGS, id);
    default: return produceFrame(id, 'p'.repeat(prng.chance(0.05) ? prng.next(100_000) : prng.next(200)));
  }
}

fuzz('mutated conversations', () => {
  for (let round = 0; round < 400; round++) {
    const input = Buffer.concat([start, ...Array.from({ length: prng.between(1, 30) }, randomFrame)]);
    for (let i = prng.next(4); i > 0; i--) input[prng.next(input.length)] = prng.next(256);
    const cut = prng.chance(0.3) ? prng.next(input.length) : input.length;
    feed(input.subarray(0, cut));
  }
});

/** A service that answers at random, now or later, rightly by the contract. */
class RandomService {
  private readonly connection: Connection;
  private readonly later: { id: number; op: number; waits: boolean }[] = [];

  constructor(connection: Connection) {
    this.connection = connection;
    const { service } = connection;
    service.onProduce = (session, id) => this.take(session, id, Op.PRODUCE);
    service.onRequest = (session, op, id) => this.take(session, id, op);
    service.onCancel = (session, id, code) => {
      const at = this.later.findIndex((entry) => entry.id === id);
      if (prng.chance(0.5) || at < 0) return;
      const { op } = this.later.splice(at, 1)[0]!;
      session.error(id, op as Op, code);
    };
    service.onGoingAway = (session) => this.endWaits(session);
    service.onClosed = () => {
      for (const entry of this.later.filter(({ waits }) => waits)) this.later.splice(this.later.indexOf(entry), 1);
    };
  }

  /** Answers one of what is open, if there is something. */
  step(): void {
    if (this.later.length === 0) return;
    const at = prng.next(this.later.length);
    const { id, op } = this.later[at]!;
    const { session } = this.connection;
    if (op === Op.DELIVER && prng.chance(0.8)) {
      if (!session.wantsData) return;
      return session.replyWithData(id, Op.DELIVER, (w) => w.u64(1), [prng.bytes(prng.next(3_000)), Buffer.alloc(prng.next(500_000))], true);
    }
    this.later.splice(at, 1);
    if (op === Op.PRODUCE && prng.chance(0.8)) return answerOk(session, id);
    if (op === Op.DELIVER || prng.chance(0.3)) return session.error(id, op as Op, ErrorCode.LOG_NOT_FOUND);
    session.reply(id, op as Op, null);
  }

  drain(): void {
    while (this.later.length > 0 && !this.connection.session.dead) {
      this.connection.host.drain();
      this.step();
      this.connection.host.settle();
    }
  }

  private take(session: SessionPort, id: number, op: number): void {
    if (op === Op.SUBSCRIBE) {
      if (!session.toWaiting(id, 'subscription')) return session.error(id, op, ErrorCode.TOO_MANY_INFLIGHT);
      session.reply(id, op, null, true);
      this.later.push({ id, op: Op.DELIVER, waits: true });
      return;
    }
    const waits = op === Op.FETCH && prng.chance(0.5);
    if (waits && !session.toWaiting(id, 'fetch')) return session.error(id, op as Op, ErrorCode.TOO_MANY_INFLIGHT);
    this.later.push({ id, op, waits });
    if (prng.chance(0.5)) this.step();
  }

  private endWaits(session: SessionPort): void {
    for (const entry of this.later.filter(({ waits }) => waits)) {
      this.later.splice(this.later.indexOf(entry), 1);
      session.error(entry.id, entry.op as Op, ErrorCode.SHUTTING_DOWN);
    }
  }
}

fuzz('random traffic against a random service, a socket that stalls, and ends of all kinds', () => {
  for (let round = 0; round < 400; round++) {
    const connection = connect(config);
    const { session, host } = connection;
    const service = new RandomService(connection);
    const sent: Buffer[] = [];
    let open = true;
    let isGone = false;
    const send = (bytes: Buffer): void => {
      if (!open) return;
      sent.push(bytes);
      connection.send(bytes);
    };
    send(start);
    for (let step = prng.between(5, 120); step > 0; step--) {
      switch (prng.next(9)) {
        case 0:
        case 1:
        case 2:
          // The host may still hand over what it had when it was told to pause: one chunk.
          if (!host.paused || prng.chance(0.1)) send(randomFrame());
          break;
        case 3:
        case 4:
          service.step();
          break;
        case 5:
          host.stalled = prng.chance(0.5);
          break;
        case 6:
          host.drain(prng.next(300_000));
          break;
        case 7:
          connection.tick(prng.chance(0.05) ? 40_000 : prng.next(200));
          break;
        default:
          if (prng.chance(0.03)) session.goAway(ErrorCode.SHUTTING_DOWN, 'x');
          if (prng.chance(0.03) && open) {
            open = false;
            session.peerEnded(connection.now);
          }
          if (prng.chance(0.02)) {
            isGone = true;
            session.peerClosed();
          }
      }
      host.settle();
      check(connection, Buffer.concat(sent), isGone || host.destroyed);
    }
    host.stalled = false;
    host.settle();
    if (open) session.peerEnded(connection.now);
    host.settle();
    service.drain();
    host.settle();
    assert.ok(session.dead, 'with everything answered the connection ends');
    assert.is(session.outputBytes, 0);
    assert.is(connection.service.count('closed'), 1);
    check(connection, Buffer.concat(sent), isGone || host.destroyed);
  }
});

fuzz.run();
