// The connection's machine without a socket: every way to cut its input, what a server must not do,
// idleness, and the table of open requests.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import { LocalCode } from '../../src/wire/client/errors.ts';
import { ClientMachine } from '../../src/wire/client/machine.ts';
import { PendingTable } from '../../src/wire/client/pending.ts';
import type { AnswerSink } from '../../src/wire/client/pending.ts';
import { goAway, writeErrorBody } from '../../src/wire/error-body.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import type { ProtocolError } from '../../src/wire/errors.ts';
import { beginFrame, endFrame, FrameReader } from '../../src/wire/frame.ts';
import { Op } from '../../src/wire/ops.ts';
import { encodePrefaceResponse, helloResponse, ping } from '../../src/wire/requests-session.ts';
import { seededRandom } from '../wire/random.ts';

const test = suite('client/machine');

const PREFACE = encodePrefaceResponse({ plane: 0x43, major: 1, status: 0 });

function frame(op: number, flags: number, status: number, id: number, write: (w: Writer) => void): Buffer {
  const w = new Writer();
  const at = beginFrame(w, op, flags, status, id);
  write(w);
  endFrame(w, at);
  return w.copy();
}

const hello = (idleMs = 30_000): Buffer =>
  frame(Op.HELLO, 1, 0, 1, (w) =>
    helloResponse.write(w, {
      minor: 0, maxFrame: 4 << 20, idleMs, features: 0, clusterId: Buffer.alloc(16, 1), node: 'n', maxBatch: 1 << 20,
      maxInflight: 10, authRequired: 0, server: 's', authMechs: [],
    }),
  );
const pong = (id: number, text = ''): Buffer => frame(Op.PING, 1, 0, id, (w) => ping.write(w, { data: Buffer.from(text) }));

interface Rig {
  machine: ClientMachine;
  events: string[];
  ended: ProtocolError | null;
  answers: string[];
  sink: AnswerSink;
  sent(): { op: number; flags: number; status: number; id: number; payload: Buffer }[];
}

function rig(nowMs = 0): Rig {
  const events: string[] = [];
  const answers: string[] = [];
  const out: Rig = {
    events,
    answers,
    ended: null,
    machine: null as never,
    sink: {
      answer: (tag, f, more) => {
        if (f.status === 0) ping.read(new Reader(f.buffer, f.start, f.end));
        answers.push(`${tag}:${f.status}${more ? '+' : ''}`);
      },
      lost: (tag, error) => answers.push(`${tag}:${error.name}`),
    },
    sent() {
      const bytes = Buffer.concat(out.machine.output.take());
      const reader = new FrameReader(1 << 24);
      const hasPreface = bytes.length > 8 && bytes.readUInt32BE(0) === 0xfa534c47;
      reader.push(hasPreface ? bytes.subarray(8) : bytes);
      const list = [];
      while (reader.next()) {
        const payload = Buffer.from(reader.buffer.subarray(reader.start, reader.end));
        list.push({ op: reader.op, flags: reader.flags, status: reader.status, id: reader.id, payload });
      }
      return list;
    },
  };
  out.machine = new ClientMachine(
    { name: 'test', clusterId: Buffer.alloc(16), token: undefined, random: () => 0.5 },
    {
      outputReady: () => undefined,
      ready: () => void events.push('ready'),
      draining: (reason) => void events.push(`draining ${reason.code}`),
      ended: (error) => {
        events.push('ended');
        out.ended = error;
      },
    },
    nowMs,
  );
  return out;
}

function ready(idleMs = 30_000): Rig {
  const r = rig();
  r.machine.receive(Buffer.concat([PREFACE, hello(idleMs)]), 0);
  assert.equal(r.events, ['ready']);
  r.sent();
  return r;
}

const askPing = (r: Rig, tag: number): number => r.machine.request(Op.PING, r.sink, tag, (w) => ping.write(w, { data: Buffer.alloc(0) }));

test('preface and HELLO go out at once, HELLO greased', () => {
  const r = rig();
  const [first, ...others] = r.sent();
  assert.is(first!.op, Op.HELLO);
  assert.is(others.length, 0);
  assert.match(first!.payload.subarray(-6).toString('hex'), /^0004(.a)\1\s*0000$|^0004.a.a0000$/);
});

test('the answers mean the same however they are cut', () => {
  const stream = Buffer.concat([PREFACE, hello(), pong(2), pong(3)]);
  for (let split = 0; split <= stream.length; split++) {
    const r = rig();
    askPing(r, 5);
    askPing(r, 6);
    r.machine.receive(Buffer.from(stream.subarray(0, split)), 0);
    r.machine.receive(Buffer.from(stream.subarray(split)), 0);
    assert.equal([r.events, r.answers], [['ready'], ['5:0', '6:0']], `split at ${split}`);
  }
  const r = rig();
  askPing(r, 5);
  askPing(r, 6);
  for (const byte of stream) r.machine.receive(Buffer.from([byte]), 0);
  assert.equal([r.events, r.answers], [['ready'], ['5:0', '6:0']]);
});

test('answers are matched by id, whatever their order', () => {
  const r = ready();
  const ids = [1, 2, 3].map((tag) => askPing(r, tag));
  r.machine.receive(Buffer.concat([pong(ids[2]!), pong(ids[0]!), pong(ids[1]!)]), 0);
  assert.equal(r.answers, ['3:0', '1:0', '2:0']);
});

test('what a server must not send ends the connection, and every open request is lost once', () => {
  const bad: [string, Buffer][] = [
    ['an id that is not open', pong(99)],
    ['another op', frame(Op.FETCH, 1, 0, 2, (w) => w.u16(0))],
    ['DELIVER to a PING', frame(Op.DELIVER, 3, 0, 2, (w) => w.u16(0))],
    ['a broken frame', Buffer.from('0000000403010000', 'hex')],
    ['a broken payload', frame(Op.PING, 1, 0, 2, (w) => w.u8(0))],
    ['a broken error body', frame(Op.PING, 1, 500, 2, (w) => w.u8(0))],
    ['a broken GOAWAY', frame(Op.GOAWAY, 0, 0, 0, (w) => w.u8(0))],
    ['a frame over 64 MiB', Buffer.from('0400000103010000', 'hex')],
  ];
  for (const [what, bytes] of bad) {
    const r = ready();
    r.sink.answer = (_tag, f) => {
      const reader = new Reader(f.buffer, f.start, f.end);
      if (f.status === 0) ping.read(reader);
      else reader.u32('class');
    };
    assert.is(askPing(r, 1), 2);
    askPing(r, 2);
    r.machine.receive(bytes, 0);
    assert.is(r.ended?.code, LocalCode.PROTOCOL_VIOLATION, what);
    assert.is(r.answers.length, 2, `${what}: ${r.answers}`);
    r.machine.receive(pong(2), 0);
    assert.is(r.answers.length, 2);
  }
});

test('a wrong preface answer ends the connection before anything is read', () => {
  const r = rig();
  r.machine.receive(Buffer.from('HTTP/1.1 400'), 0);
  assert.is(r.ended!.code, LocalCode.PROTOCOL_VIOLATION);
  const refused = rig();
  refused.machine.receive(encodePrefaceResponse({ plane: 0x43, major: 0, status: ErrorCode.TLS_REQUIRED }), 0);
  assert.is(refused.ended!.code, ErrorCode.TLS_REQUIRED);
  const plane = rig();
  plane.machine.receive(encodePrefaceResponse({ plane: 0x52, major: 1, status: 0 }), 0);
  assert.is(plane.ended!.code, LocalCode.PROTOCOL_VIOLATION);
});

test('an error answer to HELLO ends the connection with that error', () => {
  const r = rig();
  r.machine.receive(Buffer.concat([PREFACE, frame(Op.HELLO, 1, ErrorCode.WRONG_CLUSTER, 1, (w) => writeErrorBody(w, ErrorCode.WRONG_CLUSTER))]), 0);
  assert.is(r.ended!.code, ErrorCode.WRONG_CLUSTER);
});

test('the server’s PING is answered with its data, an unknown request with UNKNOWN_OP', () => {
  const r = ready();
  r.machine.receive(frame(Op.PING, 0, 0, 7, (w) => ping.write(w, { data: Buffer.from('abc') })), 0);
  r.machine.receive(frame(0x7f, 0, 0, 8, () => undefined), 0);
  const [first, second] = r.sent();
  assert.equal([first!.op, first!.flags, first!.id, first!.payload.toString('hex')], [Op.PING, 1, 7, '000000036162630000']);
  assert.equal([second!.op, second!.flags, second!.status, second!.id], [0x7f, 1, ErrorCode.UNKNOWN_OP, 8]);
});

test('GOAWAY with class 04 ends the connection; without, open requests are still answered', () => {
  const away = (code: number, classBits: number): Buffer =>
    frame(Op.GOAWAY, 0, 0, 0, (w) => goAway.write(w, { code, class: classBits, graceMs: 9, message: 'm', detail: {} }));
  const r = ready();
  const id = askPing(r, 1);
  r.machine.receive(away(ErrorCode.SHUTTING_DOWN, 9), 0);
  assert.equal(r.events, ['ready', 'draining 11']);
  r.machine.receive(pong(id), 0);
  assert.equal(r.answers, ['1:0']);
  assert.equal(r.events, ['ready', 'draining 11', 'ended'], 'with the last answer the connection is over');
  const fatal = ready();
  askPing(fatal, 1);
  fatal.machine.receive(away(ErrorCode.IDLE_TIMEOUT, 4), 0);
  assert.is(fatal.ended!.code, ErrorCode.IDLE_TIMEOUT);
  assert.equal(fatal.answers, ['1:CONNECTION_LOST']);
});

test('a silent server is pinged at half its idle time and given up at the whole', () => {
  const r = ready(10_000);
  for (let now = 1000; now <= 5000; now += 1000) r.machine.tick(now);
  assert.equal(r.sent().map(({ op }) => op), []);
  r.machine.tick(6000);
  assert.equal(r.sent().map(({ op }) => op), [Op.PING]);
  r.machine.tick(7000);
  assert.equal(r.sent().length, 0);
  r.machine.receive(pong(2), 7500);
  for (let now = 8000; now <= 17_000; now += 1000) r.machine.tick(now);
  assert.is(r.ended, null);
  r.machine.tick(18_000);
  assert.is(r.ended!.code, LocalCode.CONNECTION_LOST);
});

test('time that this process slept is not the server’s silence', () => {
  const r = ready(10_000);
  r.machine.tick(1000);
  r.machine.tick(100_000);
  assert.is(r.ended, null);
  r.machine.receive(hello(), 100_001);
  assert.is(r.ended!.code, LocalCode.PROTOCOL_VIOLATION, 'a second HELLO answer is no answer to anything');
});

test('the table of open requests agrees with a Map over random opens and closes', () => {
  const random = seededRandom('client/pending');
  const table = new PendingTable();
  const model = new Map<number, number>();
  const lost: number[] = [];
  const sink: AnswerSink = { answer: () => undefined, lost: (tag) => lost.push(tag) };
  for (let round = 0; round < 20_000; round++) {
    if (random() < 0.51) {
      const id = table.open(Op.PING, sink, round);
      assert.not(model.has(id));
      model.set(id, round);
    } else if (model.size > 0) {
      const ids = [...model.keys()].slice(0, 50);
      const id = ids[Math.floor(random() * ids.length)]!;
      const slot = table.find(id);
      assert.is(table.tag(slot), model.get(id));
      table.close(slot);
      assert.is(table.find(id), -1);
      model.delete(id);
    }
    assert.is(table.count, model.size);
  }
  table.loseAll(null as never);
  assert.equal(lost, [...model.values()]);
  assert.is(table.count, 0);
});

test.run();
