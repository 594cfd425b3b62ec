// Every layout against hostile payloads, and against random values of its own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import { ErrorCode, FieldError } from '../../src/wire/errors.ts';
import { greaseType } from '../../src/wire/ext.ts';
import { FrameReader } from '../../src/wire/frame.ts';
import { FRAME_SIZE_DEFAULT, NONE } from '../../src/wire/limits.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { ProduceView } from '../../src/wire/produce-view.ts';
import { createLogRequest, listLogsRequest, trimRequest } from '../../src/wire/requests-admin.ts';
import { fetchRequest, putPositionRequest } from '../../src/wire/requests-read.ts';
import { helloRequest, ping } from '../../src/wire/requests-session.ts';
import { produceRequest } from '../../src/wire/requests-write.ts';
import { trimResponse } from '../../src/wire/responses-admin.ts';
import { REQUEST_CODECS, RESPONSE_CODECS } from './codecs.ts';
import type { AnyCodec } from './codecs.ts';
import { seededRandom } from './random.ts';
import { rowsOf } from './vectors.ts';

const test = suite('wire/requests');

const fails = (field: string, code: number = ErrorCode.INVALID_ARGUMENT, limit?: number) => (error: unknown) =>
  error instanceof FieldError && error.field === field && error.code === code && error.limit === limit;

interface Sample {
  id: string;
  isRequest: boolean;
  op: number;
  codec: AnyCodec;
  payload: Buffer;
}

const samples: Sample[] = [];
for (const row of rowsOf('frames.json')) {
  if (row.kind !== 'request' && row.kind !== 'response') continue;
  const reader = new FrameReader(FRAME_SIZE_DEFAULT);
  reader.push(Buffer.from(row.hex, 'hex'));
  reader.next();
  const isRequest = row.kind === 'request';
  const codec = (isRequest ? REQUEST_CODECS : RESPONSE_CODECS)[reader.op]!;
  const payload = Buffer.from(reader.buffer.subarray(reader.start, reader.end));
  samples.push({ id: row.id, isRequest, op: reader.op, codec, payload });
}
/** Ops whose payload goes on with batches: what is cut off or added there is not the layout's. */
const hasTail = ({ isRequest, op }: Sample) =>
  isRequest ? op === Op.PRODUCE : op === Op.FETCH || op === Op.DELIVER;

function encode<T>(codec: { write(w: Writer, value: T): void }, value: T): Buffer {
  const w = new Writer();
  codec.write(w, value);
  return w.copy();
}

test('every op has a request and an answer among the vectors', () => {
  for (const op of Object.keys(REQUEST_CODECS)) assert.ok(samples.some((s) => s.isRequest && s.op === Number(op)), op);
  for (const op of Object.keys(RESPONSE_CODECS)) assert.ok(samples.some((s) => !s.isRequest && s.op === Number(op)), op);
});

test('a payload cut short anywhere is INVALID_ARGUMENT and names a field', () => {
  for (const sample of samples) {
    const whole = hasTail(sample) ? encodeHead(sample) : sample.payload;
    for (let size = 0; size < whole.length; size++) {
      assert.throws(
        () => sample.codec.read(new Reader(whole, 0, size)),
        (error: unknown) => error instanceof FieldError && error.code === ErrorCode.INVALID_ARGUMENT && error.field !== '',
        `${sample.id} cut to ${size}`,
      );
    }
  }
});

test('a byte after the last field is the field end', () => {
  for (const sample of samples.filter((s) => !hasTail(s))) {
    const longer = Buffer.concat([sample.payload, Buffer.alloc(1)]);
    assert.throws(() => sample.codec.read(new Reader(longer)), fails('end'), sample.id);
  }
});

test('any single byte changed gives a value or a FieldError, never another failure or a hang', () => {
  const random = seededRandom('wire/requests');
  for (const sample of samples) {
    for (let i = 0; i < sample.payload.length; i++) {
      const spoiled = Buffer.from(sample.payload);
      spoiled[i] = Math.floor(random() * 256);
      try {
        sample.codec.read(new Reader(spoiled));
      } catch (error) {
        assert.instance(error, FieldError, sample.id);
      }
    }
  }
});

test('an empty GREASE TLV may be in every ext, unknown TLVs too', () => {
  for (const sample of samples) {
    if (sample.isRequest && sample.op === Op.GOAWAY) continue;
    const value = sample.codec.read(new Reader(sample.payload));
    for (let n = 0; n < 8; n++) {
      const w = new Writer();
      sample.codec.write(w, value, greaseType(n));
      const again = sample.codec.read(new Reader(w.copy()));
      assert.equal(again, value, sample.id);
    }
  }
});

test('an unknown critical TLV is UNSUPPORTED_FEATURE, in GREASE too; the same type twice is refused', () => {
  const withExt = (hex: string) => {
    const ext = Buffer.from(hex, 'hex');
    const size = Buffer.alloc(2);
    size.writeUInt16BE(ext.length);
    return new Reader(Buffer.concat([Buffer.from('00000000', 'hex'), size, ext]));
  };
  assert.equal(ping.read(withExt('')).data.length, 0);
  ping.read(withExt('0a0a0000' + '1a1a0001ff' + '00050000'));
  assert.throws(() => ping.read(withExt('80050000')), fails('ext', ErrorCode.UNSUPPORTED_FEATURE));
  assert.throws(() => ping.read(withExt('8a0a0000')), fails('ext', ErrorCode.UNSUPPORTED_FEATURE));
  assert.throws(() => ping.read(withExt('0a0a00000a0a0000')), fails('ext'));
  assert.throws(() => ping.read(withExt('00020000' + '80020000')), (error: unknown) => error instanceof FieldError);
  assert.throws(() => ping.read(withExt('00')), fails('ext'));
  assert.throws(() => ping.read(withExt('000500')), fails('ext'));
  assert.throws(() => ping.read(withExt('00050002ff')), fails('ext'));
});

test('an ext over 4 KiB is refused with the limit', () => {
  const tlvs: string[] = [];
  for (let type = 0x100; type < 0x100 + 1024; type++) tlvs.push(type.toString(16).padStart(4, '0') + '0000');
  const of = (count: number) => {
    const ext = Buffer.from(tlvs.slice(0, count).join(''), 'hex');
    const head = Buffer.from('000000000000', 'hex');
    head.writeUInt16BE(ext.length, 4);
    return Buffer.concat([head, ext]);
  };
  ping.read(new Reader(of(1024)));
  const longer = Buffer.concat([of(1024), Buffer.from('70000001ff', 'hex')]);
  longer.writeUInt16BE(4096 + 5, 4);
  assert.throws(() => ping.read(new Reader(longer)), fails('ext', ErrorCode.INVALID_ARGUMENT, 4096));
});

test('log_uid must have 16 bytes and is understood with and without bit 15', () => {
  const head = encode(trimRequest, { log: 't', offset: 4 }).subarray(0, 11);
  const read = (hex: string) => trimRequest.read(new Reader(Buffer.concat([head, Buffer.from(hex, 'hex')])));
  const uid = '00112233445566778899aabbccddeeff';
  assert.is(read(`001480020010${uid}`).logUid!.toString('hex'), uid);
  assert.is(read(`001400020010${uid}`).logUid!.toString('hex'), uid);
  assert.throws(() => read(`00138002000f${uid.slice(2)}`), fails('log_uid'));
  assert.throws(() => read(`001580020011${uid}00`), fails('log_uid'));
});

test('log_uid is not a TLV of requests that name no existing log', () => {
  const uid = '001480020010' + '00112233445566778899aabbccddeeff';
  const create = encode(createLogRequest, newLog('t'));
  const bytes = Buffer.concat([create.subarray(0, create.length - 2), Buffer.from(uid, 'hex')]);
  assert.throws(() => createLogRequest.read(new Reader(bytes)), fails('ext', ErrorCode.UNSUPPORTED_FEATURE));
});

test('names are 1–200 of [A-Za-z0-9._-], not starting with a dot', () => {
  const read = (log: string) => trimRequest.read(new Reader(encode(trimRequest, { log, offset: 0 }))).log;
  for (const log of ['a', '-', '_x', 'A.b-c_9', 'x'.repeat(200)]) assert.is(read(log), log);
  for (const log of ['', '.a', '$cluster', 'a/b', 'a b', 'ż', 'a\0']) assert.throws(() => read(log), fails('log'), log);
  assert.throws(() => read('x'.repeat(201)), fails('log', ErrorCode.INVALID_ARGUMENT, 200));
});

test('values out of their set are refused by name', () => {
  const broken = (change: object) => () =>
    createLogRequest.read(new Reader(encode(createLogRequest, { ...newLog('t'), ...change } as any)));
  assert.throws(broken({ durability: 0 }), fails('durability'));
  assert.throws(broken({ durability: 4 }), fails('durability'));
  assert.throws(broken({ replication: 2 }), fails('replication'));
  assert.throws(broken({ compressions: 8 }), fails('compressions'));
  assert.throws(broken({ retainBytes: NONE }), fails('retain_bytes'));
});

test('with restore_uid the settings of CREATE_LOG are judged as ever', () => {
  const restoreUid = Buffer.alloc(16, 7);
  const read = (change: object) => () =>
    createLogRequest.read(new Reader(encode(createLogRequest, { ...newLog('t'), ...change, restoreUid } as any)));
  assert.equal(read({})(), { ...newLog('t'), restoreUid });
  assert.throws(read({ durability: 9 }), fails('durability'));
  assert.throws(read({ retainBytes: NONE }), fails('retain_bytes'));
  assert.throws(read({ compressions: 255 }), fails('compressions'));
  assert.throws(read({ log: '.t' }), fails('log'));
});

test('an answer may hold unknown TLVs, critical ones too', () => {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from('000480050000', 'hex')]);
  assert.equal(trimResponse.read(new Reader(bytes)), { logStart: 0 });
});

test('the trash marker of LIST_LOGS has no value', () => {
  assert.equal(listLogsRequest.read(new Reader(Buffer.from('0000000480030000', 'hex'))), { prefix: '', trash: true });
  assert.throws(() => listLogsRequest.read(new Reader(Buffer.from('0000000580030001ff', 'hex'))), fails('trash'));
});

test('PING carries at most 64 bytes', () => {
  ping.read(new Reader(encode(ping, { data: Buffer.alloc(64) })));
  const long = encode(ping, { data: Buffer.alloc(65) });
  assert.throws(() => ping.read(new Reader(long)), fails('data', ErrorCode.INVALID_ARGUMENT, 64));
});

test('value and position_name count only where from uses them', () => {
  const of = (from: number, value: number, positionName: string) =>
    encode(fetchRequest, { ...baseFetch, from: from as From, value, positionName });
  const unused = of(From.EARLIEST, NONE, '???');
  assert.is(fetchRequest.read(new Reader(unused)).value, 0);
  assert.throws(() => fetchRequest.read(new Reader(of(From.OFFSET, NONE, ''))), fails('value'));
  assert.throws(() => fetchRequest.read(new Reader(of(From.TIME, NONE, ''))), fails('value'));
  assert.throws(() => fetchRequest.read(new Reader(of(From.POSITION, 0, ''))), fails('position_name'));
  assert.throws(() => fetchRequest.read(new Reader(of(From.POSITION, 0, '.x'))), fails('position_name'));
  assert.throws(() => fetchRequest.read(new Reader(of(5, 0, ''))), fails('from'));
  const cut = unused.subarray(0, unused.length - 15);
  assert.throws(() => fetchRequest.read(new Reader(cut)), (error: unknown) => error instanceof FieldError);
});

test('ProduceView judges a payload as the layout does, for every cut and every changed byte', () => {
  const random = seededRandom('wire/produce-view');
  const view = new ProduceView();
  const uid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
  const base = { log: 'orders', flags: 1, timeoutMs: 5, expectedOffset: 9, fence: 7, batch: Buffer.alloc(0) };
  for (const value of [base, { ...base, logUid: uid }]) {
    for (const grease of [0, greaseType(3)]) {
      const w = new Writer();
      produceRequest.write(w, value, grease);
      const payload = w.copy();
      for (let size = 0; size <= payload.length; size++) compare(view, payload.subarray(0, size));
      const long = Buffer.concat([payload.subarray(0, 32), Buffer.alloc(4097)]);
      long.writeUInt16BE(4097, 30);
      compare(view, long);
      for (let round = 0; round < 3000; round++) {
        const spoiled = Buffer.from(payload);
        spoiled[Math.floor(random() * spoiled.length)] = Math.floor(random() * 256);
        compare(view, spoiled);
      }
    }
  }
});

/** The layout judges the name's characters first; the view leaves them to logName. */
function compare(view: ProduceView, payload: Buffer): void {
  let expected: FieldError | undefined;
  try {
    produceRequest.read(new Reader(payload));
  } catch (error) {
    expected = error as FieldError;
  }
  const code = view.parse(payload, 0, payload.length);
  if (code !== 0) {
    if (expected!.field === 'log') return;
    assert.equal([code, view.field], [expected!.code, expected!.field], payload.toString('hex'));
  } else if (expected !== undefined) {
    assert.throws(() => view.logName(), fails('log'), payload.toString('hex'));
  }
}

test('random values survive writing and reading', () => {
  const random = seededRandom('wire/requests values');
  const u = (max: number) => Math.floor(random() * (max + 1));
  const big = () => Math.floor(random() * 2 ** (1 + u(51)));
  const text = () => [...'aZ0._-é\u{1f422}'.repeat(u(5))].slice(0, u(30)).join('');
  const nameOf = () => `n${'a-Z_9.'.repeat(5).slice(0, u(29))}`;
  const uid = () => (random() < 0.5 ? Buffer.from(Array.from({ length: 16 }, () => u(255))) : undefined);
  const clean = (value: any) => JSON.parse(JSON.stringify(value));
  for (let round = 0; round < 500; round++) {
    const values: [AnyCodec, object][] = [
      [helloRequest, { minor: u(9), maxFrame: u(2 ** 32 - 1), idleMs: u(9), features: big(), clusterId: Buffer.alloc(16, 3), client: text() }],
      [fetchRequest, { ...baseFetch, log: nameOf(), from: 0, value: big(), after: big(), prevTerm: big(), logUid: uid() }],
      [putPositionRequest, { log: nameOf(), name: nameOf(), offset: random() < 0.5 ? NONE : big(), expected: big(), logUid: uid() }],
      [produceRequest, { log: nameOf(), flags: u(1), timeoutMs: u(99), expectedOffset: NONE, fence: big(), logUid: uid(), batch: Buffer.alloc(u(50), 1) }],
    ];
    for (const [codec, value] of values) {
      const bytes = encode(codec, value);
      assert.equal(clean(codec.read(new Reader(bytes))), clean(value));
    }
  }
});

const baseFetch = {
  log: 't',
  from: From.OFFSET as From,
  flags: 0,
  value: 0,
  positionName: '',
  minBytes: 1,
  maxBytes: 1,
  maxWaitMs: 0,
};

function newLog(log: string) {
  return {
    log,
    durability: 1 as const,
    replication: 0 as const,
    intervalMs: 0,
    retainBytes: 0,
    retainMs: 0,
    segmentBytes: 0,
    compressions: 0,
  };
}

function encodeHead(sample: Sample): Buffer {
  const value = sample.codec.read(new Reader(sample.payload));
  const key = sample.op === Op.PRODUCE ? 'batch' : 'batches';
  return encode(sample.codec, { ...value, [key]: Buffer.alloc(0) });
}

test.run();
