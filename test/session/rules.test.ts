// Protocol §4 (frames, ids, misplaced ops) and §5.3, §5.5: what a READY connection does with a frame.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode, FieldError, ProtocolError } from '../../src/wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import {
  answerOk, cancelFrame, connectReady, creditFrame, EMPTY_EXT, errorOf, frame, goAwayOf, pingFrame, produceFrame,
} from './support.ts';
import type { Connection } from './support.ts';

const rules = suite('session/rules');

function expectFatal(connection: Connection, code: number): void {
  const fresh = connection.fresh();
  const last = fresh.at(-1)!;
  assert.is(goAwayOf(last).code, code);
  assert.is(goAwayOf(last).graceMs, 0);
  assert.ok((goAwayOf(last).class & 4) !== 0);
  assert.ok(connection.host.finished);
  assert.is(connection.service.count('closed'), 1);
  // I10: what follows is never looked at.
  const calls = connection.service.calls.length;
  connection.send(Buffer.concat([produceFrame(900), pingFrame(901)]));
  assert.is(connection.service.calls.length, calls);
  assert.is(connection.fresh().length, 0);
}

rules('hands the payload of a PRODUCE to the service and writes the golden ack', () => {
  const connection = connectReady();
  const uid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  connection.send(produceFrame(2, 'some batch'));
  assert.equal(connection.service.calls, [{ call: 'produce', id: 2, payload: 'some batch' }]);
  const before = connection.host.sent.length;
  connection.session.produceAck(2, 41, 43, 1_790_000_000_005, 3, 1, 1, 0, uid);
  connection.host.settle();
  assert.is(
    connection.host.sent.subarray(before).toString('hex'),
    '0000004220010000000000020000000000000029000000000000002b000001a0c4506c0500000000000000030101000000140002001000112233445566778899aabbccddeeff',
  );
  connection.send(produceFrame(2));
  const again = connection.host.sent.length;
  connection.session.produceAck(2, 41, 43, 1_790_000_000_005, 3, 1, 1, 0, null);
  connection.host.settle();
  assert.is(
    connection.host.sent.subarray(again).toString('hex'),
    '0000002e20010000000000020000000000000029000000000000002b000001a0c4506c050000000000000003010100000000',
  );
});

rules('writes NONE offsets and large numbers in an ack', () => {
  const connection = connectReady();
  connection.send(produceFrame(7));
  connection.session.produceAck(7, -1, -1, 0, 2 ** 53 - 1, 3, 5, 1, null);
  connection.host.settle();
  assert.is(
    connection.fresh()[0]!.payload.toString('hex'),
    'ffffffffffffffff' + 'ffffffffffffffff' + '0000000000000000' + '001fffffffffffff' + '03050100' + '0000',
  );
});

rules('a service may answer inside the call, later, and in any order', () => {
  const connection = connectReady();
  connection.service.onProduce = (session, id) => {
    if (id === 3) answerOk(session, id);
  };
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3), produceFrame(4)]));
  assert.equal(connection.fresh().map((answer) => answer.id), [3]);
  answerOk(connection.session, 4);
  answerOk(connection.session, 2);
  connection.host.settle();
  assert.equal(connection.fresh().map((answer) => answer.id), [4, 2]);
});

rules('sends every other client op to `request`, with its payload', () => {
  const connection = connectReady();
  const ops = [0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x22, 0x30, 0x31, 0x34, 0x35, 0x36, 0x37];
  for (const op of ops) connection.send(frame(op, op, Buffer.from([op, 0, 1])));
  assert.equal(
    connection.service.calls,
    ops.map((op) => ({ call: 'request', op, id: op, payload: Buffer.from([op, 0, 1]) })),
  );
});

rules('answers repeat op and id, with MORE on all but the last', () => {
  const connection = connectReady();
  connection.send(frame(Op.LIST_LOGS, 9));
  connection.session.reply(9, Op.LIST_LOGS, (w) => w.u32(1), true);
  connection.session.reply(9, Op.LIST_LOGS, (w) => w.u32(2), true);
  connection.session.reply(9, Op.LIST_LOGS, null);
  connection.host.settle();
  const answers = connection.fresh();
  assert.equal(answers.map((answer) => answer.flags), [FLAG_RESPONSE | FLAG_MORE, FLAG_RESPONSE | FLAG_MORE, FLAG_RESPONSE]);
  assert.equal(answers.map((answer) => [answer.op, answer.id]), Array(3).fill([Op.LIST_LOGS, 9]));
  assert.equal(answers[2]!.payload, EMPTY_EXT);
});

rules('sends data behind a head in one frame, without copying', () => {
  const connection = connectReady();
  connection.send(frame(Op.SUBSCRIBE, 5));
  connection.session.reply(5, Op.SUBSCRIBE, null, true);
  const data = [Buffer.alloc(1_000, 1), Buffer.alloc(0), Buffer.alloc(2_000, 2)];
  connection.session.replyWithData(5, Op.DELIVER, (w) => w.u64(7), data, true);
  connection.host.settle();
  const [answer, delivery] = connection.fresh();
  assert.is(answer!.op, Op.SUBSCRIBE);
  assert.equal([delivery!.op, delivery!.flags, delivery!.id], [Op.DELIVER, FLAG_RESPONSE | FLAG_MORE, 5]);
  assert.equal(delivery!.payload, Buffer.concat([Buffer.from('0000000000000007', 'hex'), ...data]));
  assert.ok(connection.session.isOpen(5));
});

rules('asserts that only open requests are answered, and only once', () => {
  const connection = connectReady();
  assert.throws(() => answerOk(connection.session, 5), /only an open request/);
  connection.send(produceFrame(5));
  answerOk(connection.session, 5);
  assert.throws(() => answerOk(connection.session, 5), /only an open request/);
  assert.throws(() => connection.session.error(5, Op.PRODUCE, ErrorCode.TIMEOUT), /only an open request/);
});

rules('asserts that an answer fits the frames of the client', () => {
  const connection = connectReady();
  connection.send(frame(Op.FETCH, 5));
  const data = [Buffer.alloc(4 * 1024 * 1024 - 8)];
  assert.throws(() => connection.session.replyWithData(5, Op.FETCH, (w) => w.u8(0), data, false), /fits the frames/);
});

rules('turns a ProtocolError of the service into the error answer', () => {
  const connection = connectReady();
  connection.service.onRequest = () => {
    throw new FieldError('log', ErrorCode.INVALID_ARGUMENT, { limit: 200 });
  };
  connection.send(frame(Op.DESCRIBE_LOG, 5));
  const error = errorOf(connection.fresh()[0]!);
  assert.equal([error.code, error.detail.field, error.detail.limit], [ErrorCode.INVALID_ARGUMENT, 'log', 200]);
  assert.not(connection.session.isOpen(5));
});

rules('lets any other exception of the service through: it is our fault', () => {
  const connection = connectReady();
  connection.service.onRequest = () => {
    throw new TypeError('bug');
  };
  assert.throws(() => connection.send(frame(Op.DESCRIBE_LOG, 5)), /bug/);
});

rules('sends the details of an error, and a message for people when there is none', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([produceFrame(2), produceFrame(3)]));
  connection.session.error(2, Op.PRODUCE, ErrorCode.NOT_LEADER, {
    leader: { node: 'n2', term: 7, address: '10.0.0.2:8400' }, retryAfterMs: 0,
  });
  connection.session.error(3, Op.PRODUCE, ErrorCode.OFFSET_MISMATCH, { nextOffset: 12, message: 'later', retryAfterMs: 5 });
  const before = connection.host.sent.length;
  connection.host.settle();
  assert.is(
    connection.host.sent.subarray(before, before + 63).toString('hex'),
    '0000003b2001019000000002090000000000000a6e6f74206c6561646572001f0001001b00026e320000000000000007000d31302e302e302e323a38343030',
    'the golden NOT_LEADER',
  );
  const error = errorOf(connection.fresh()[1]!);
  assert.equal([error.detail.nextOffset, error.message, error.retryAfterMs], [12, 'later', 5]);
});

rules('an error answer whose class is fatal becomes a GOAWAY', () => {
  const connection = connectReady();
  connection.send(produceFrame(2));
  connection.session.error(2, Op.PRODUCE, ErrorCode.OP_NOT_ALLOWED, { message: 'no' });
  connection.host.settle();
  expectFatal(connection, ErrorCode.OP_NOT_ALLOWED);
});

rules('echoes PING bytes up to 64, at once, while requests are open', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([produceFrame(2), pingFrame(3), pingFrame(4, 'x'.repeat(64))]));
  const answers = connection.fresh();
  assert.equal(answers.map((answer) => [answer.op, answer.id]), [[Op.PING, 3], [Op.PING, 4]]);
  assert.is(answers[1]!.payload.toString('hex'), `00000040${'78'.repeat(64)}0000`);
  connection.send(pingFrame(5, 'x'.repeat(65)));
  const error = errorOf(connection.fresh()[0]!);
  assert.equal([error.code, error.detail.field, error.detail.limit], [ErrorCode.INVALID_ARGUMENT, 'data', 64]);
  connection.send(pingFrame(6));
  assert.is(connection.fresh().length, 1, 'the connection stays');
});

rules('a broken header is fatal: length below 8, reserved flags, id 0, status on a request', () => {
  const shortLength = Buffer.from('000000070300000000000001', 'hex');
  const cases: [string, Buffer][] = [
    ['length 7', shortLength],
    ['length 0', Buffer.alloc(12)],
    ['flag 04', frame(Op.PING, 2, EMPTY_EXT, 0x04)],
    ['flag 20', frame(Op.PING, 2, EMPTY_EXT, 0x20)],
    ['flag 08 on a response', frame(Op.PING, 2, EMPTY_EXT, 0x09)],
    ['id 0', frame(Op.PRODUCE, 0)],
    ['status 1', frame(Op.PRODUCE, 2, EMPTY_EXT, 0, 1)],
  ];
  for (const [name, bytes] of cases) {
    const connection = connectReady();
    connection.send(Buffer.concat([bytes, produceFrame(3)]));
    assert.is(connection.service.count('produce'), 0, name);
    expectFatal(connection, ErrorCode.MALFORMED);
  }
});

rules('a length of 4 GiB is refused by its header, without holding memory for it', () => {
  const connection = connectReady();
  connection.send(Buffer.from('ffffffff2000000000000002', 'hex'));
  expectFatal(connection, ErrorCode.FRAME_TOO_LARGE);
});

rules('ignores the flags 40 and 80, and MORE on a request', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([
    frame(Op.PRODUCE, 2, EMPTY_EXT, 0x40), frame(Op.PRODUCE, 3, EMPTY_EXT, 0x80), frame(Op.PRODUCE, 4, EMPTY_EXT, FLAG_MORE),
  ]));
  assert.equal(connection.service.ids('produce'), [2, 3, 4]);
});

rules('a duplicate id among open requests is fatal, whatever the op; a free one is used again', () => {
  for (const again of [produceFrame(2), frame(Op.FETCH, 2), pingFrame(2), frame(0x7f, 2)]) {
    const connection = connectReady();
    connection.send(Buffer.concat([produceFrame(2), again]));
    expectFatal(connection, ErrorCode.DUPLICATE_ID);
  }
  const connection = connectReady();
  connection.service.onProduce = answerOk;
  for (let i = 0; i < 5; i++) connection.send(produceFrame(0xffff_ffff));
  assert.is(connection.fresh().length, 5);
});

rules('an id stays taken while a request waits or streams', () => {
  const connection = connectReady();
  connection.service.onRequest = (session, _op, id) => assert.ok(session.toWaiting(id, 'fetch'));
  connection.send(Buffer.concat([frame(Op.FETCH, 2), frame(Op.FETCH, 2)]));
  expectFatal(connection, ErrorCode.DUPLICATE_ID);
});

rules('answers unknown ops with UNKNOWN_OP and stays', () => {
  const connection = connectReady();
  const unknown = [0x00, 0x06, 0x0f, 0x19, 0x1f, 0x23, 0x38, 0x40, 0x5f, 0x70, 0x7e, 0x7f, 0x80, 0xff];
  connection.send(Buffer.concat(unknown.map((op, i) => frame(op, 10 + i, Buffer.from('garbage')))));
  const answers = connection.fresh();
  assert.equal(answers.map((answer) => [answer.op, answer.id, answer.status]), unknown.map((op, i) => [op, 10 + i, ErrorCode.UNKNOWN_OP]));
  connection.send(pingFrame(2));
  assert.is(connection.fresh().length, 1);
});

rules('peer ops and DELIVER as a request are fatal', () => {
  for (const op of [0x60, 0x6f, Op.DELIVER]) {
    const connection = connectReady();
    connection.send(frame(op, 2));
    expectFatal(connection, ErrorCode.OP_NOT_ALLOWED);
  }
});

rules('ignores responses to nothing, of any op, with id 0 and with any status', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([
    frame(Op.PING, 77, EMPTY_EXT, FLAG_RESPONSE), frame(Op.DELIVER, 2, EMPTY_EXT, FLAG_RESPONSE | FLAG_MORE),
    frame(0x60, 3, EMPTY_EXT, FLAG_RESPONSE), frame(Op.HELLO, 0, EMPTY_EXT, FLAG_RESPONSE, 500), pingFrame(4),
  ]));
  assert.equal(connection.fresh().map((answer) => answer.id), [4]);
  assert.equal(connection.service.calls, []);
});

rules('routes CANCEL and CREDIT to open requests, and gives them no answer', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([frame(Op.SUBSCRIBE, 2), frame(Op.FETCH, 3), produceFrame(4)]));
  connection.service.calls.length = 0;
  connection.send(Buffer.concat([creditFrame(2, 0xffff_ffff), cancelFrame(2), cancelFrame(3), cancelFrame(4)]));
  assert.equal(connection.service.calls, [
    { call: 'credit', id: 2, addBytes: 0xffff_ffff },
    ...[2, 3, 4].map((id) => ({ call: 'cancel', id, code: ErrorCode.CANCELED, field: null })),
  ]);
  assert.is(connection.fresh().length, 0);
});

rules('ignores CANCEL and CREDIT of ids that are not open, even broken ones, and CREDIT of no subscription', () => {
  const connection = connectReady();
  connection.send(produceFrame(4));
  connection.service.calls.length = 0;
  connection.send(Buffer.concat([
    cancelFrame(9), creditFrame(9, 1), creditFrame(4, 1), frame(Op.CANCEL, 9, Buffer.from('bad')), frame(Op.CREDIT, 4, Buffer.alloc(0)),
    pingFrame(5),
  ]));
  assert.equal(connection.service.calls, []);
  assert.equal(connection.fresh().map((answer) => answer.id), [5]);
});

rules('tells the service to end a request about which a broken CREDIT or CANCEL came', () => {
  const connection = connectReady();
  connection.service.onCancel = (session, id, code) => {
    if (code === ErrorCode.CANCELED) return;
    session.error(id, id === 2 ? Op.DELIVER : Op.FETCH, code, { field: 'x' });
  };
  connection.send(Buffer.concat([frame(Op.SUBSCRIBE, 2), frame(Op.FETCH, 3)]));
  connection.session.reply(2, Op.SUBSCRIBE, null, true);
  connection.service.calls.length = 0;
  connection.send(Buffer.concat([
    frame(Op.CREDIT, 2, Buffer.from('000000', 'hex')),
    frame(Op.CANCEL, 3, Buffer.from('000480090000', 'hex')),
  ]));
  assert.equal(connection.service.calls, [
    { call: 'cancel', id: 2, code: ErrorCode.INVALID_ARGUMENT, field: 'add_bytes' },
    { call: 'cancel', id: 3, code: ErrorCode.UNSUPPORTED_FEATURE, field: 'ext' },
  ]);
  const answers = connection.fresh();
  assert.equal(answers.slice(1).map((answer) => [answer.op, answer.id]), [[Op.DELIVER, 2], [Op.FETCH, 3]]);
});

rules('a cancelled request gets exactly one last answer, its result or CANCELED', () => {
  const connection = connectReady();
  connection.service.onCancel = (session, id, code) => {
    if (id === 2) session.error(id, Op.FETCH, code);
  };
  connection.send(Buffer.concat([frame(Op.FETCH, 2), produceFrame(3), cancelFrame(2), cancelFrame(3), cancelFrame(2)]));
  answerOk(connection.session, 3);
  connection.host.settle();
  const answers = connection.fresh();
  assert.equal(answers.map((answer) => [answer.id, answer.status]), [[2, ErrorCode.CANCELED], [3, 0]]);
  assert.equal(connection.service.ids('cancel'), [2, 3], 'the second CANCEL of 2 came too late');
});

rules('takes exactly 10,000 frames without effect in a second, and no more', () => {
  const noise = [cancelFrame(9), creditFrame(9, 1), frame(Op.PING, 9, EMPTY_EXT, FLAG_RESPONSE)];
  const flood = (count: number): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => noise[i % 3]!));
  const connection = connectReady();
  connection.send(flood(10_000));
  connection.tick(999);
  connection.send(pingFrame(2));
  assert.not(connection.host.finished);
  connection.tick(1);
  connection.send(flood(10_000));
  assert.not(connection.host.finished, 'a new second');
  connection.send(cancelFrame(9));
  connection.fresh();
  assert.ok(connection.host.finished);
  assert.is(goAwayOf(connection.frames().at(-1)!).code, ErrorCode.CONTROL_FLOOD);
});

rules('frames with an effect are no flood', () => {
  const connection = connectReady();
  connection.service.onProduce = answerOk;
  connection.send(frame(Op.SUBSCRIBE, 2));
  connection.session.reply(2, Op.SUBSCRIBE, null, true);
  for (let i = 0; i < 30; i++) connection.send(Buffer.concat(Array.from({ length: 1_000 }, () => creditFrame(2, 1))));
  assert.is(connection.service.count('credit'), 30_000);
  assert.not(connection.host.finished);
});

rules('gives a fatal error of the service its code, from wherever it is thrown', () => {
  const connection = connectReady();
  connection.service.onRequest = () => {
    throw new ProtocolError(ErrorCode.CONTROL_FLOOD);
  };
  connection.send(Buffer.concat([frame(Op.FETCH, 2), frame(Op.FETCH, 3)]));
  assert.is(connection.service.count('request'), 1);
  expectFatal(connection, ErrorCode.CONTROL_FLOOD);
});

rules.run();
