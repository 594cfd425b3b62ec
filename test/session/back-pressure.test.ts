// Protocol §5.8: what stops reading, what goes on, and what never counts.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode } from '../../src/wire/errors.ts';
import { Op } from '../../src/wire/ops.ts';
import {
  answerOk, cancelFrame, connectReady, creditFrame, errorOf, frame, pingFrame, produceFrame, testConfig,
} from './support.ts';
import { DATA_HIGH_SIZE, DATA_LOW_SIZE } from '../../src/wire/session/session-output.ts';

const flow = suite('session/back-pressure');
const MIB = 1024 * 1024;

flow('reads exactly max_inflight requests, fails none beyond, and goes on at the end of the turn', () => {
  const connection = connectReady(testConfig({ maxInflight: 3 }));
  connection.send(Buffer.concat([2, 3, 4, 5, 6].map((id) => produceFrame(id))));
  assert.equal(connection.service.ids('produce'), [2, 3, 4]);
  assert.ok(connection.host.paused);
  answerOk(connection.session, 3);
  assert.equal(connection.service.ids('produce'), [2, 3, 4], 'never inside an answer');
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2, 3, 4, 5]);
  assert.ok(connection.host.paused);
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2, 3, 4, 5, 6]);
  assert.not(connection.host.paused);
  assert.equal(connection.host.events, ['pause', 'resume']);
});

flow('does not pause reading a client that keeps to max_inflight', () => {
  const connection = connectReady(testConfig({ maxInflight: 3 }));
  for (let round = 0; round < 10; round++) {
    connection.send(Buffer.concat([2, 3, 4].map((id) => produceFrame(id))));
    for (const id of [2, 3, 4]) answerOk(connection.session, id);
    connection.host.settle();
  }
  assert.equal(connection.host.events, []);
});

flow('reads PING, CREDIT, CANCEL and answers to PINGs while max_inflight requests are open', () => {
  const connection = connectReady(testConfig({ maxInflight: 2 }));
  connection.send(frame(Op.SUBSCRIBE, 9));
  connection.session.reply(9, Op.SUBSCRIBE, null, true);
  assert.ok(connection.session.toWaiting(9, 'subscription'));
  connection.send(Buffer.concat([
    produceFrame(2), produceFrame(3), pingFrame(4), creditFrame(9, 1), cancelFrame(2), produceFrame(5), pingFrame(6),
  ]));
  assert.equal(connection.service.ids('credit'), [9]);
  assert.equal(connection.service.ids('cancel'), [2]);
  assert.equal(connection.service.ids('produce'), [2, 3]);
  assert.equal(connection.fresh().slice(-1).map((answer) => answer.id), [4], 'the PING behind the blocked request waits');
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2, 3, 5]);
  assert.equal(connection.fresh().map((answer) => answer.id), [2, 6]);
});

flow('keeps a blocked request whole, however it arrived, while more bytes come', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }));
  const bytes = Buffer.concat([produceFrame(2, 'first'), produceFrame(3, 'second'), produceFrame(4, 'third')]);
  for (const byte of bytes) connection.session.receive(Buffer.from([byte]), connection.now);
  connection.host.settle();
  assert.equal(connection.service.ids('produce'), [2]);
  for (const id of [2, 3, 4]) {
    answerOk(connection.session, id);
    connection.host.settle();
  }
  assert.equal(
    connection.service.calls.map((call) => (call.call === 'produce' ? call.payload : call.call)),
    ['first', 'second', 'third'],
  );
});

flow('a service that answers inside the call never reaches max_inflight', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }));
  connection.service.onProduce = answerOk;
  connection.send(Buffer.concat(Array.from({ length: 100 }, (_, i) => produceFrame(i + 2))));
  assert.is(connection.service.count('produce'), 100);
  assert.equal(connection.host.events, []);
});

flow('waiting FETCHes and subscriptions do not count as in flight, and have limits of their own', () => {
  const connection = connectReady(testConfig({ maxInflight: 1, maxWaits: 2, maxSubscriptions: 1 }));
  connection.service.onRequest = (session, op, id) => {
    const kind = op === Op.FETCH ? 'fetch' : 'subscription';
    if (!session.toWaiting(id, kind)) session.error(id, op, ErrorCode.TOO_MANY_INFLIGHT, { limit: kind === 'fetch' ? 2 : 1 });
  };
  connection.send(Buffer.concat([2, 3, 4].map((id) => frame(Op.FETCH, id)).concat([5, 6].map((id) => frame(Op.SUBSCRIBE, id)))));
  assert.equal(connection.service.ids('request'), [2, 3, 4, 5, 6]);
  const refused = connection.fresh();
  assert.equal(refused.map((answer) => [answer.id, errorOf(answer).code, errorOf(answer).detail.limit]), [
    [4, ErrorCode.TOO_MANY_INFLIGHT, 2], [6, ErrorCode.TOO_MANY_INFLIGHT, 1],
  ]);
  connection.session.reply(2, Op.FETCH, null);
  connection.send(frame(Op.FETCH, 7));
  assert.ok(connection.session.isOpen(7), 'an answered wait makes room');
});

flow('a request that begins to wait lets the next one in', () => {
  const connection = connectReady(testConfig({ maxInflight: 1 }));
  connection.send(Buffer.concat([frame(Op.FETCH, 2), produceFrame(3)]));
  assert.is(connection.service.count('produce'), 0);
  assert.ok(connection.session.toWaiting(2, 'fetch'));
  connection.host.settle();
  assert.is(connection.service.count('produce'), 1);
});

flow('stops reading while more than 1 MiB of answers wait to be sent', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(Buffer.concat([frame(Op.FETCH, 2), frame(Op.FETCH, 3), frame(Op.FETCH, 4)]));
  connection.session.replyWithData(2, Op.FETCH, (w) => w.u16(0), [Buffer.alloc(MIB - 14)], false);
  connection.host.settle();
  assert.is(connection.session.outputBytes, MIB);
  connection.send(produceFrame(5));
  assert.is(connection.service.count('produce'), 1, 'exactly 1 MiB is not more');
  connection.session.reply(3, Op.FETCH, null);
  connection.send(Buffer.concat([produceFrame(6), pingFrame(7)]));
  assert.is(connection.service.count('produce'), 1);
  assert.ok(connection.host.paused);
  connection.host.drain(13);
  connection.host.settle();
  assert.is(connection.service.count('produce'), 1, 'one byte too many is still waiting');
  connection.host.drain(1);
  connection.host.settle();
  assert.is(connection.service.count('produce'), 2);
  assert.not(connection.host.paused);
});

flow('counts what the host took until the socket has it', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(frame(Op.FETCH, 2));
  connection.session.replyWithData(2, Op.FETCH, (w) => w.u16(0), [Buffer.alloc(MIB)], false);
  const taken = connection.session.takeOutput(Infinity).reduce((sum, buffer) => sum + buffer.length, 0);
  assert.is(connection.session.outputBytes, taken);
  connection.send(produceFrame(3));
  assert.is(connection.service.count('produce'), 0);
  connection.session.written(taken);
  connection.host.settle();
  assert.is(connection.session.outputBytes, 0);
  assert.is(connection.service.count('produce'), 1);
});

flow('stops reading while more than 1,000 session frames wait to be sent', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.service.onProduce = answerOk;
  connection.send(Buffer.concat(Array.from({ length: 1_000 }, (_, i) => pingFrame(i + 2))));
  connection.send(produceFrame(2_000));
  assert.is(connection.service.count('produce'), 1, '1,000 are not more than 1,000');
  connection.send(Buffer.concat([pingFrame(2_001), produceFrame(2_002)]));
  assert.is(connection.service.count('produce'), 1);
  assert.ok(connection.host.paused);
  connection.host.stalled = false;
  connection.host.drain();
  connection.host.settle();
  assert.is(connection.service.count('produce'), 2);
  assert.is(connection.fresh().length, 1_003);
});

flow('a PING flood from a client that never reads is bounded and read again when it does', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  for (let i = 0; i < 200; i++) {
    if (connection.host.paused) break;
    connection.send(Buffer.concat(Array.from({ length: 100 }, (_, k) => pingFrame(i * 100 + k + 2, 'x'.repeat(64)))));
  }
  assert.ok(connection.host.paused);
  assert.ok(connection.session.outputBytes < 100_000);
});

flow('wantsData ends at 448 KiB, and `drained` comes once under the low mark', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(frame(Op.SUBSCRIBE, 2));
  connection.session.reply(2, Op.SUBSCRIBE, null, true);
  let deliveries = 0;
  const fill = (): void => {
    while (connection.session.wantsData) {
      connection.session.replyWithData(2, Op.DELIVER, (w) => w.u16(0), [Buffer.alloc(100_000)], true);
      deliveries++;
    }
  };
  connection.service.onDrained = fill;
  fill();
  assert.is(deliveries, 5);
  assert.ok(connection.session.outputBytes >= DATA_HIGH_SIZE);
  connection.host.settle();
  const untilLow = connection.session.outputBytes - DATA_LOW_SIZE;
  connection.host.drain(untilLow - 1);
  connection.host.settle();
  assert.is(connection.service.count('drained'), 0);
  assert.ok(connection.session.wantsData, 'below the high mark it may, but nobody is woken for that');
  connection.host.drain(1);
  connection.host.settle();
  assert.is(connection.service.count('drained'), 1);
  assert.is(deliveries, 8);
});

flow('a saturated subscription leaves turns for reading', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.service.onProduce = answerOk;
  connection.send(frame(Op.SUBSCRIBE, 2));
  connection.session.reply(2, Op.SUBSCRIBE, null, true);
  const fill = (): void => {
    while (connection.session.wantsData) {
      connection.session.replyWithData(2, Op.DELIVER, (w) => w.u16(0), [Buffer.alloc(MIB)], true);
    }
  };
  connection.service.onDrained = fill;
  fill();
  connection.send(produceFrame(3));
  assert.is(connection.service.count('produce'), 0);
  for (let i = 0; i < 10; i++) {
    connection.host.drain(256 * 1024);
    connection.host.settle();
  }
  assert.is(connection.service.count('produce'), 1);
  assert.ok(connection.service.count('drained') > 1);
});

flow('tells the host once per turn', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  let signals = 0;
  connection.host.outputReady = () => void signals++;
  connection.session.receive(Buffer.concat(Array.from({ length: 50 }, (_, i) => produceFrame(i + 2))), 0);
  for (let id = 2; id < 52; id++) answerOk(connection.session, id);
  assert.is(signals, 1);
  connection.session.turnEnd();
  connection.session.receive(produceFrame(2), 0);
  answerOk(connection.session, 2);
  assert.is(signals, 2);
});

flow('a turn that the host ends without being asked needs no second one for its own output', () => {
  const connection = connectReady();
  connection.host.stalled = true;
  connection.send(frame(Op.SUBSCRIBE, 2));
  connection.session.reply(2, Op.SUBSCRIBE, null, true);
  connection.session.replyWithData(2, Op.DELIVER, (w) => w.u16(0), [Buffer.alloc(MIB)], true);
  connection.host.settle();
  let signals = 0;
  connection.host.outputReady = () => void signals++;
  connection.service.onDrained = (session) => session.replyWithData(2, Op.DELIVER, (w) => w.u16(0), [Buffer.alloc(9)], true);
  for (const chunk of connection.session.takeOutput(Infinity)) connection.session.written(chunk.length);
  assert.is(signals, 1, 'asked for `drained`');
  connection.session.turnEnd();
  connection.session.turnEnd();
  assert.is(connection.service.count('drained'), 1);
  assert.is(signals, 1);
});

flow.run();
