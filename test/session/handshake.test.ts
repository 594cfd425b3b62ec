// Protocol §2 (preface), §5.1 HELLO and §5.2 AUTH, by requirement.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader } from '../../src/wire/bytes.ts';
import { CLASS_FATAL, ErrorCode } from '../../src/wire/errors.ts';
import { FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { authRequest, authResponse, helloResponse } from '../../src/wire/requests-session.ts';
import {
  CLUSTER_ID, connect, connectReady, EMPTY_EXT, encode, errorOf, frame, goAwayOf, hello, HELLO_GOLDEN, LOCAL, pingFrame,
  PREFACE, PREFACE_OK, produceFrame, testConfig, TOKEN_IDENTITY,
} from './support.ts';
import type { Connection, Frame } from './support.ts';

const preface = (bytes: string): Buffer => Buffer.from(bytes, 'hex');
const auth = (id: number, data: string, mech = 'token'): Buffer =>
  frame(Op.AUTH, id, encode(authRequest, { mech, data: Buffer.from(data) }));
const authConfig = testConfig({ authRequired: true });

function readHello(answer: Frame): ReturnType<typeof helloResponse.read> {
  assert.is(answer.op, Op.HELLO);
  assert.is(answer.flags, FLAG_RESPONSE);
  assert.is(answer.status, 0);
  return helloResponse.read(new Reader(answer.payload));
}

function expectGoAway(connection: Connection, code: number): void {
  const last = connection.frames().at(-1)!;
  assert.is(goAwayOf(last).code, code);
  assert.ok((goAwayOf(last).class & CLASS_FATAL) !== 0);
  assert.ok(connection.host.finished);
}

const pre = suite('session/preface');

pre('answers a good preface with eight bytes, and nothing before it is whole', () => {
  for (let split = 1; split < 8; split++) {
    const connection = connect();
    connection.send(PREFACE.subarray(0, split));
    assert.is(connection.host.sent.length, 0);
    connection.send(PREFACE.subarray(split));
    assert.equal(connection.host.sent, PREFACE_OK);
    assert.not(connection.host.finished);
  }
});

pre('accepts any range of majors that holds 1, and ignores the reserved byte', () => {
  for (const bytes of ['fa534c4743010100', 'fa534c47430901ff', 'fa534c4743ff0007']) {
    const connection = connect();
    connection.send(preface(bytes));
    assert.equal(connection.host.sent, PREFACE_OK, bytes);
  }
});

pre('refuses a range without a common major, and interprets nothing that follows', () => {
  for (const bytes of ['fa534c4743020200', 'fa534c4743000000', 'fa534c4743010200', 'fa534c47430a0200']) {
    const connection = connect();
    connection.send(Buffer.concat([preface(bytes), HELLO_GOLDEN, produceFrame(2)]));
    assert.is(connection.host.sent.toString('hex'), 'fa534c4743000002', bytes);
    assert.ok(connection.host.finished);
    assert.is(connection.service.count('produce'), 0);
  }
});

pre('refuses unknown planes with OP_NOT_ALLOWED and peer planes without a right with FORBIDDEN', () => {
  const statusOf = (plane: string): string => {
    const connection = connect();
    connection.send(preface(`fa534c47${plane}010100`));
    assert.ok(connection.host.finished);
    return connection.host.sent.toString('hex');
  };
  assert.is(statusOf('41'), 'fa534c4741000004');
  assert.is(statusOf('00'), 'fa534c4700000004');
  for (const plane of ['52', '42', '47']) assert.is(statusOf(plane), `fa534c47${plane}000066`);
});

pre('judges in the order of the protocol: what the listener refuses, plane, right, version', () => {
  const statusOf = (bytes: string, refuse?: typeof ErrorCode.TLS_REQUIRED): number => {
    const connection = connect(testConfig(refuse === undefined ? {} : { refuse }));
    connection.send(preface(bytes));
    return connection.host.sent.readUInt16BE(6);
  };
  assert.is(statusOf('fa534c4741090900', ErrorCode.TLS_REQUIRED), ErrorCode.TLS_REQUIRED);
  assert.is(statusOf('fa534c4743010100', ErrorCode.TLS_REQUIRED), ErrorCode.TLS_REQUIRED);
  assert.is(statusOf('fa534c4741090900'), ErrorCode.OP_NOT_ALLOWED);
  assert.is(statusOf('fa534c4752090900'), ErrorCode.FORBIDDEN);
});

pre('closes without a byte at the first byte of a wrong magic', () => {
  for (const bytes of ['00', 'fb', 'fa00', 'fa5300', 'fa534c48', '474554202f']) {
    const connection = connect();
    connection.send(preface(bytes));
    assert.ok(connection.host.destroyed, bytes);
    assert.is(connection.host.sent.length, 0);
    assert.is(connection.service.count('closed'), 1);
  }
});

pre('closes without a byte when the preface is not whole after 5 s', () => {
  const connection = connect();
  connection.send(PREFACE.subarray(0, 7));
  connection.tick(4_999);
  assert.not(connection.host.destroyed);
  connection.tick(1);
  assert.ok(connection.host.destroyed);
  assert.is(connection.host.sent.length, 0);
});

pre('one byte per second does not stretch the 5 s', () => {
  const connection = connect();
  for (let i = 0; i < 6 && !connection.host.destroyed; i++) {
    connection.send(PREFACE.subarray(i, i + 1));
    connection.tick(1_000);
  }
  assert.ok(connection.host.destroyed);
  assert.is(connection.host.sent.length, 0);
});

pre.run();

const helloSuite = suite('session/hello');

helloSuite('understands the golden HELLO and answers with golden bytes', () => {
  const connection = connect();
  connection.send(Buffer.concat([PREFACE, HELLO_GOLDEN]));
  // length, op 01, RESPONSE, status 0, id 1 | minor 0, max_frame 4 MiB, idle 30,000, features 0, cluster,
  // node "n1", max_batch 1 MiB, max_inflight 1,024, auth_required 0, server, ["token"], ext
  assert.is(
    connection.host.sent.toString('hex'),
    'fa534c4743010000' +
      '0000004e01010000' + '00000001' +
      '0000' + '00400000' + '00007530' + '0000000000000000' + '00112233445566778899aabbccddeeff' +
      '00026e31' + '00100000' + '0400' + '00' + '000c736964656c6f672f74657374' + '0001' + '0005746f6b656e' + '0000',
  );
  assert.is(connection.session.peerMaxFrame, 4 * 1024 * 1024);
});

helloSuite('takes requests sent together with preface and HELLO, in order', () => {
  const connection = connect();
  connection.service.onProduce = (session, id) => session.produceAck(id, 0, 1, 2, 3, 1, 1, 0, null);
  connection.send(Buffer.concat([PREFACE, hello(), produceFrame(2), pingFrame(3), produceFrame(4)]));
  assert.equal(connection.frames().map((answer) => answer.id), [1, 2, 3, 4]);
});

helloSuite('answers with the lower minor and no features, whatever the client offers', () => {
  const connection = connect();
  connection.send(Buffer.concat([PREFACE, hello({ minor: 9_999, features: 2 ** 48 + 2 ** 50 + 7 })]));
  const answer = readHello(connection.frames()[0]!);
  assert.is(answer.minor, 0);
  assert.is(answer.features, 0);
});

helloSuite('ignores GREASE and other unknown TLVs, and refuses critical ones fatally', () => {
  const body = hello().subarray(12, -2);
  const withExt = (ext: string): Buffer => frame(Op.HELLO, 1, Buffer.concat([body, Buffer.from(ext, 'hex')]));
  const ok = connect();
  ok.send(Buffer.concat([PREFACE, withExt('000c0a0a00040102030400050000')]));
  readHello(ok.frames()[0]!);
  const critical = connect();
  critical.send(Buffer.concat([PREFACE, withExt('000480050000'), produceFrame(2)]));
  const error = errorOf(critical.frames()[0]!);
  assert.is(error.code, ErrorCode.UNSUPPORTED_FEATURE);
  assert.ok(error.fatal);
  assert.is(critical.frames().length, 1, 'no GOAWAY after an error answer to HELLO');
  assert.ok(critical.host.finished);
  assert.is(critical.service.count('produce'), 0);
});

helloSuite('grants idle_ms: 0 is the server\'s, others are clamped, never only on loopback', () => {
  const granted = (wish: number, loopback = true): number => {
    const connection = connect(testConfig({ loopback, idleMs: 44_000 }));
    connection.send(Buffer.concat([PREFACE, hello({ idleMs: wish })]));
    return readHello(connection.frames()[0]!).idleMs;
  };
  assert.is(granted(0), 44_000);
  assert.is(granted(5_000), 5_000);
  assert.is(granted(600_000), 600_000);
  assert.is(granted(1), 5_000);
  assert.is(granted(600_001), 600_000);
  assert.is(granted(0xffff_fffe), 600_000);
  assert.is(granted(0xffff_ffff), 0xffff_ffff);
  assert.is(granted(0xffff_ffff, false), 600_000);
});

helloSuite('refuses a max_frame that cannot carry a batch, with the least accepted one', () => {
  const connection = connect();
  connection.send(Buffer.concat([PREFACE, hello({ maxFrame: 1024 * 1024 + 8_191 })]));
  const error = errorOf(connection.frames()[0]!);
  assert.is(error.code, ErrorCode.INVALID_ARGUMENT);
  assert.ok(error.fatal);
  assert.equal([error.detail.field, error.detail.limit], ['max_frame', 1024 * 1024 + 8_192]);
  assert.ok(connection.host.finished);

  for (const maxFrame of [1024 * 1024 + 8_192, 0xffff_ffff]) {
    const accepted = connect();
    accepted.send(Buffer.concat([PREFACE, hello({ maxFrame })]));
    readHello(accepted.frames()[0]!);
    assert.is(accepted.session.peerMaxFrame, Math.min(maxFrame, 64 * 1024 * 1024));
  }
});

helloSuite('takes the own cluster or any, and refuses another with WRONG_CLUSTER', () => {
  const own = connect();
  own.send(Buffer.concat([PREFACE, hello({ clusterId: CLUSTER_ID })]));
  readHello(own.frames()[0]!);
  const other = connect();
  other.send(Buffer.concat([PREFACE, hello({ clusterId: Buffer.alloc(16, 1) })]));
  assert.is(errorOf(other.frames()[0]!).code, ErrorCode.WRONG_CLUSTER);
  assert.ok(other.host.finished);
});

helloSuite('answers a HELLO that breaks off or goes on with a fatal INVALID_ARGUMENT naming the field', () => {
  const whole = hello();
  const cases: [Buffer, string][] = [
    [frame(Op.HELLO, 1, whole.subarray(12, 13)), 'minor'],
    [frame(Op.HELLO, 1, whole.subarray(12, whole.length - 1)), 'ext'],
    [frame(Op.HELLO, 1, Buffer.concat([whole.subarray(12), Buffer.from([0])])), 'end'],
  ];
  for (const [bytes, field] of cases) {
    const connection = connect();
    connection.send(Buffer.concat([PREFACE, bytes]));
    const error = errorOf(connection.frames()[0]!);
    assert.equal([error.code, error.detail.field, error.fatal], [ErrorCode.INVALID_ARGUMENT, field, true]);
    assert.ok(connection.host.finished);
  }
});

helloSuite('ends the connection when anything else comes first', () => {
  for (const op of [Op.PING, Op.PRODUCE, Op.CANCEL, Op.AUTH, 0x7f, 0x60, Op.DELIVER]) {
    const connection = connect();
    connection.send(Buffer.concat([PREFACE, frame(op, 1), hello()]));
    expectGoAway(connection, ErrorCode.OP_NOT_ALLOWED);
    assert.is(connection.frames().length, 1);
  }
});

helloSuite('ends the connection at a second HELLO', () => {
  const connection = connectReady();
  connection.send(Buffer.concat([hello({}, 2), pingFrame(3)]));
  expectGoAway(connection, ErrorCode.OP_NOT_ALLOWED);
  assert.is(connection.fresh().length, 1);
});

helloSuite('waits 5 s for HELLO after the preface, then says IDLE_TIMEOUT', () => {
  const connection = connect();
  connection.tick(4_000);
  connection.send(PREFACE);
  connection.tick(4_999);
  connection.send(hello().subarray(0, 20));
  assert.not(connection.host.finished);
  connection.tick(1);
  expectGoAway(connection, ErrorCode.IDLE_TIMEOUT);
});

helloSuite('takes frames of 16,384 bytes before READY and refuses the next size by its header alone', () => {
  const client = 'x'.repeat(16_384 - 46);
  const largest = hello({ client });
  assert.is(largest.readUInt32BE(0), 16_384);
  const connection = connect();
  connection.send(Buffer.concat([PREFACE, largest]));
  readHello(connection.frames()[0]!);

  const tooLarge = connect();
  tooLarge.send(Buffer.concat([PREFACE, hello({ client: `${client}x` }).subarray(0, 12)]));
  expectGoAway(tooLarge, ErrorCode.FRAME_TOO_LARGE);
  assert.is(goAwayOf(tooLarge.frames()[0]!).detail.limit, 16_384);
});

helloSuite('takes frames up to max_frame as soon as the connection is READY, also in the same chunk', () => {
  const connection = connect();
  connection.send(Buffer.concat([PREFACE, hello(), produceFrame(2, 'y'.repeat(100_000))]));
  assert.equal(connection.service.ids('produce'), [2]);
  const limit = testConfig().maxFrame;
  connection.send(frame(Op.PRODUCE, 3, Buffer.alloc(limit - 8)));
  assert.equal(connection.service.ids('produce'), [2, 3]);
  connection.send(frame(Op.PRODUCE, 4, Buffer.alloc(limit - 7)).subarray(0, 12));
  expectGoAway(connection, ErrorCode.FRAME_TOO_LARGE);
  assert.is(goAwayOf(connection.frames().at(-1)!).detail.limit, limit);
});

helloSuite.run();

const authSuite = suite('session/auth');

authSuite('needs AUTH where it is required, and takes the identity that it proves', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello()]));
  assert.is(readHello(connection.fresh()[0]!).authRequired, 1);
  assert.is(connection.session.identity, LOCAL);
  connection.send(auth(2, 'secret'));
  const answer = connection.fresh()[0]!;
  assert.equal([answer.op, answer.id, answer.status], [Op.AUTH, 2, 0]);
  assert.is(authResponse.read(new Reader(answer.payload)).done, 1);
  assert.is(connection.session.identity, TOKEN_IDENTITY);
  connection.send(produceFrame(3));
  assert.equal(connection.service.ids('produce'), [3]);
});

authSuite('lets requests follow HELLO and AUTH without waiting', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello(), auth(2, 'secret'), produceFrame(3, 'z'.repeat(50_000))]));
  assert.equal(connection.service.ids('produce'), [3]);
});

authSuite('answers PING before AUTH, and ends the connection with AUTH_REQUIRED at anything else', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello(), pingFrame(2, 'hi')]));
  assert.equal(connection.frames().map((answer) => answer.op), [Op.HELLO, Op.PING]);
  for (const op of [Op.PRODUCE, Op.CANCEL, Op.CREDIT, 0x7f, 0x60, Op.DELIVER]) {
    const other = connect(authConfig);
    other.send(Buffer.concat([PREFACE, hello(), frame(op, 2), auth(3, 'secret')]));
    expectGoAway(other, ErrorCode.AUTH_REQUIRED);
    assert.is(other.service.count('produce'), 0);
  }
});

authSuite('answers wrong tokens and unknown mechanisms with AUTH_FAILED, the third time fatally', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello()]));
  connection.fresh();
  connection.send(auth(2, 'wrong'), auth(3, 'secret', 'kerberos'));
  for (const answer of connection.fresh()) {
    assert.equal([errorOf(answer).code, errorOf(answer).fatal], [ErrorCode.AUTH_FAILED, false]);
  }
  assert.not(connection.host.finished);
  connection.send(auth(4, 'wrong'), auth(5, 'secret'));
  const last = connection.fresh();
  assert.is(last.length, 1, 'the third failure is answered, without a GOAWAY, and nothing after it is');
  assert.equal([errorOf(last[0]!).code, errorOf(last[0]!).class], [ErrorCode.AUTH_FAILED, CLASS_FATAL]);
  assert.ok(connection.host.finished);
});

authSuite('does not count a malformed AUTH as a failure', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello()]));
  for (let id = 2; id < 10; id++) connection.send(frame(Op.AUTH, id, Buffer.from('00', 'hex')));
  connection.send(auth(10, 'secret'));
  assert.is(connection.frames().at(-1)!.status, 0);
});

authSuite('gives AUTH 10 s', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello()]));
  connection.tick(9_999);
  connection.send(auth(2, 'wrong'));
  assert.not(connection.host.finished);
  connection.tick(1);
  expectGoAway(connection, ErrorCode.IDLE_TIMEOUT);
});

authSuite('answers every AUTH that nobody asked for with done 1, but one that was asked for once only', () => {
  const connection = connectReady();
  connection.send(auth(2, 'nonsense', 'x'));
  const answer = connection.fresh()[0]!;
  assert.is(authResponse.read(new Reader(answer.payload)).done, 1);
  assert.is(connection.session.identity, LOCAL);
  connection.send(auth(3, 'nonsense'));
  assert.is(authResponse.read(new Reader(connection.fresh()[0]!.payload)).done, 1);

  const required = connect(authConfig);
  required.send(Buffer.concat([PREFACE, hello(), auth(2, 'secret'), auth(3, 'secret')]));
  expectGoAway(required, ErrorCode.OP_NOT_ALLOWED);
});

authSuite('lets a client leave before AUTH', () => {
  const connection = connect(authConfig);
  connection.send(Buffer.concat([PREFACE, hello(), frame(Op.GOAWAY, 0, EMPTY_EXT)]));
  assert.ok(connection.host.finished);
  assert.is(connection.frames().length, 1);
});

authSuite.run();
