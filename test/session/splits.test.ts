// Whole conversations, fed in one piece, byte by byte and cut at every point: the service must see
// the same calls and the client the same bytes, however TCP cuts them (SL-PRE-2, SL-FRAME-1).
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode } from '../../src/wire/errors.ts';
import { FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { authRequest } from '../../src/wire/requests-session.ts';
import type { SessionConfig } from '../../src/wire/session/ports.ts';
import {
  answerOk, cancelFrame, connect, creditFrame, EMPTY_EXT, encode, frame, goAwayFrame, hello, pingFrame, PREFACE, produceFrame,
  testConfig,
} from './support.ts';
import type { Connection } from './support.ts';

const splits = suite('session/splits');

interface Conversation {
  name: string;
  config: SessionConfig;
  bytes: Buffer;
}

const auth = frame(Op.AUTH, 2, encode(authRequest, { mech: 'token', data: Buffer.from('secret') }));
const many = Buffer.concat([
  produceFrame(3, 'first'), frame(Op.FETCH, 4, Buffer.from('abc')), pingFrame(5, 'barrier'), frame(0x7f, 6),
  frame(Op.SUBSCRIBE, 7), creditFrame(7, 1000), cancelFrame(4), cancelFrame(99), produceFrame(8, 'x'.repeat(300)),
  frame(Op.PING, 1, EMPTY_EXT, FLAG_RESPONSE), pingFrame(9, 'y'.repeat(65)), frame(Op.CREDIT, 7, Buffer.from('bad')),
]);

const conversations: Conversation[] = [
  { name: 'a good one, left politely', config: testConfig({ authRequired: true }), bytes: Buffer.concat([PREFACE, hello(), auth, many, goAwayFrame(), produceFrame(10)]) },
  { name: 'a broken header in the middle', config: testConfig(), bytes: Buffer.concat([PREFACE, hello(), many, frame(Op.PRODUCE, 0), produceFrame(10)]) },
  { name: 'a frame that is too large', config: testConfig({ maxFrame: 1024 * 1024 + 8_192 }), bytes: Buffer.concat([PREFACE, hello(), many, Buffer.from('001020012000000000000009', 'hex'), produceFrame(10)]) },
  { name: 'a duplicate id', config: testConfig(), bytes: Buffer.concat([PREFACE, hello(), many, frame(Op.SUBSCRIBE, 20), produceFrame(20), produceFrame(21)]) },
  { name: 'a refused HELLO', config: testConfig(), bytes: Buffer.concat([PREFACE, hello({ maxFrame: 9 }), produceFrame(3)]) },
  { name: 'a refused preface', config: testConfig(), bytes: Buffer.concat([Buffer.from('fa534c4743020200', 'hex'), hello()]) },
  { name: 'two in flight at most', config: testConfig({ maxInflight: 2 }), bytes: Buffer.concat([PREFACE, hello(), many, produceFrame(11), pingFrame(12), produceFrame(13), produceFrame(14), goAwayFrame()]) },
];

/** Produces are held and answered oldest first once all bytes are in; everything else at once. */
function run(conversation: Conversation, chunks: Buffer[]): string {
  const connection = connect(conversation.config);
  const held: number[] = [];
  connection.service.onProduce = (_session, id) => void held.push(id);
  connection.service.onRequest = (session, op, id) => {
    if (op === Op.FETCH) assert.ok(session.toWaiting(id, 'fetch'));
    if (op !== Op.SUBSCRIBE) return;
    assert.ok(session.toWaiting(id, 'subscription'));
    session.reply(id, op, null, true);
  };
  connection.service.onCancel = (session, id, code) => {
    if (id === 4 || id === 7) session.error(id, id === 7 ? Op.DELIVER : Op.FETCH, code);
  };
  connection.service.onGoingAway = (session) => {
    if (session.isOpen(7)) session.error(7, Op.DELIVER, ErrorCode.SHUTTING_DOWN);
  };
  connection.send(...chunks);
  while (held.length > 0) {
    answerOk(connection.session, held.shift()!);
    connection.host.settle();
  }
  return trace(connection);
}

function trace(connection: Connection): string {
  const calls = connection.service.calls.map((call) => JSON.stringify(call)).join('\n');
  const end = connection.host.events.filter((event) => event === 'finish' || event === 'destroy').join();
  return `${calls}\n${connection.host.sent.toString('hex')}\n${end}`;
}

for (const conversation of conversations) {
  const { name, bytes } = conversation;

  splits(`${name}: byte by byte`, () => {
    const chunks = Array.from(bytes, (byte) => Buffer.from([byte]));
    assert.is(run(conversation, chunks), run(conversation, [bytes]));
  });

  splits(`${name}: cut at every point`, () => {
    const whole = run(conversation, [bytes]);
    assert.ok(whole.includes('"call":"closed"'));
    for (let at = 1; at < bytes.length; at++) {
      assert.is(run(conversation, [bytes.subarray(0, at), bytes.subarray(at)]), whole, `cut at ${at}`);
    }
  });

  splits(`${name}: in chunks of 2 to 40 bytes`, () => {
    const whole = run(conversation, [bytes]);
    for (let size = 2; size <= 40; size++) {
      const chunks = [];
      for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
      assert.is(run(conversation, chunks), whole, `chunks of ${size}`);
    }
  });
}

splits.run();
