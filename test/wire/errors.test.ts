// The error table, error bodies, and the errors that a client sees.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import { goAway, readErrorBody, writeErrorBody } from '../../src/wire/error-body.ts';
import { ERROR_TABLE, ErrorCode, errorClass, errorName, FieldError, ProtocolError } from '../../src/wire/errors.ts';
import type { ErrorOptions } from '../../src/wire/errors.ts';

const test = suite('wire/errors');

function roundTrip(code: number, options: ErrorOptions = {}): ProtocolError {
  const w = new Writer();
  writeErrorBody(w, code, options);
  assert.is(w.buffer[0], options.class ?? errorClass(code));
  return readErrorBody(new Reader(w.view()), code);
}

const fieldError = (field: string) => (error: unknown) => error instanceof FieldError && error.field === field;

test('every code has a name and class bits, and no other code has', () => {
  for (const [name, code] of Object.entries(ErrorCode)) {
    assert.is(errorName(code), name);
    assert.ok(errorClass(code) < 16);
  }
  assert.is(ERROR_TABLE.size, Object.keys(ErrorCode).length);
  assert.is(errorName(999), 'ERROR_999');
  assert.is(errorClass(999), 0);
});

test('outcome is unknown exactly for the codes that say so', () => {
  const unknown = Object.values(ErrorCode).filter((code) => new ProtocolError(code).outcomeUnknown);
  assert.equal(unknown, [302, 304, 402, 403, 500]);
});

test('every TLV survives a round trip', () => {
  const detail = {
    leader: { node: 'n2', term: 7, address: '10.0.0.2:8400' },
    logUid: Buffer.alloc(16, 5),
    fence: 2 ** 52,
    range: { logStart: 5, committedEnd: 44 },
    expectedSeq: 8,
    limit: 1,
    field: 'żółw',
    supported: 3,
    nextOffset: 43,
  };
  const error = roundTrip(ErrorCode.NOT_LEADER, { ...detail, message: 'elsewhere', retryAfterMs: 250 });
  assert.equal(error.detail, detail);
  assert.is(error.message, 'elsewhere');
  assert.is(error.retryAfterMs, 250);
  assert.is(error.name, 'NOT_LEADER');
  assert.ok(error.retriable);
  assert.not(error.outcomeUnknown);
});

test('the class on the wire counts, also for a code that we do not know', () => {
  const error = roundTrip(999, { class: 3 });
  assert.is(error.name, 'ERROR_999');
  assert.ok(error.retriable && error.outcomeUnknown && !error.fatal);
  assert.ok(roundTrip(ErrorCode.AUTH_FAILED, { class: 4 }).fatal);
});

test('without a message the error says what its TLVs say', () => {
  const error = roundTrip(ErrorCode.OFFSET_MISMATCH, { nextOffset: 43 });
  assert.is(error.message, 'OFFSET_MISMATCH, next offset 43');
});

test('a broken error body names its field', () => {
  const read = (hex: string) => () => readErrorBody(new Reader(Buffer.from(hex, 'hex')), 500);
  assert.throws(read('02'), fieldError('reserved'));
  assert.throws(read('0201000000000000' + '0000'), fieldError('reserved'));
  assert.throws(read('0200000000000001ff' + '0000'), fieldError('message'));
  assert.throws(read('020000000000' + '0000' + '0006' + '00070002c328'), fieldError('field'));
  assert.throws(read('020000000000' + '0000' + '0008' + '0003000400000000'), fieldError('fence'));
  assert.throws(read('020000000000' + '0000' + '0000' + '00'), fieldError('end'));
});

test('a long message is cut, also between the halves of a surrogate pair', () => {
  const error = roundTrip(ErrorCode.INTERNAL, { message: `${'x'.repeat(499)}\u{1f422}` });
  assert.is(error.message.slice(0, 499), 'x'.repeat(499));
  assert.is(error.message.length, 500);
});

test('GOAWAY survives a round trip', () => {
  const value = { code: 11, class: 9, graceMs: 2000, message: 'restart', detail: { limit: 4 } };
  const w = new Writer();
  goAway.write(w, value);
  assert.equal(goAway.read(new Reader(w.view())), value);
});

test.run();
