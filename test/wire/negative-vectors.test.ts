// Every row of negatives.json whose fault the bytes alone show: the frame reader or the codec of its
// op finds it, with the error and the field that the row says. What takes a connection's state is the
// session's to refuse; here it must at least decode.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader } from '../../src/wire/bytes.ts';
import { ErrorCode, ProtocolError } from '../../src/wire/errors.ts';
import { FrameReader } from '../../src/wire/frame.ts';
import { FRAME_SIZE_DEFAULT, FRAME_SIZE_BEFORE_READY_MAX } from '../../src/wire/limits.ts';
import { FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { ProduceView } from '../../src/wire/produce-view.ts';
import { decodePrefaceRequest } from '../../src/wire/requests-session.ts';
import { REQUEST_CODECS, RESPONSE_CODECS } from './codecs.ts';
import { rowsOf } from './vectors.ts';
import type { Row } from './vectors.ts';

const test = suite('wire/negative vectors');
const rows = rowsOf('negatives.json').filter((row) => row.kind !== 'bytes');

/** What decoding the row's bytes gives: OK, or an error's name and the field at fault. */
function verdictOn(row: Row): { error: string | null; field?: string | undefined } {
  const bytes = Buffer.from(row.hex, 'hex');
  if (row.kind === 'preface_request') return { error: decodePrefaceRequest(bytes) === null ? 'magic' : null };
  const frame = new FrameReader(row.expect.state === 'preface' ? FRAME_SIZE_BEFORE_READY_MAX : FRAME_SIZE_DEFAULT);
  frame.push(bytes);
  if (!frame.next()) return { error: frame.failure === null ? 'incomplete' : nameOf(frame.failure) };
  const codec = ((frame.flags & FLAG_RESPONSE) === 0 ? REQUEST_CODECS : RESPONSE_CODECS)[frame.op];
  if (codec === undefined) return { error: null };
  try {
    codec.read(new Reader(frame.buffer, frame.start, frame.end));
    return { error: null };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { error: nameOf(error.code), field: error.detail.field };
  }
}

function nameOf(code: number): string {
  return Object.entries(ErrorCode).find(([, value]) => value === code)![0];
}

test('a fault that the bytes show is found, and named as the row says', () => {
  let seen = 0;
  for (const row of rows.filter(({ expect }) => expect.seen_by === 'codec' && expect.to === undefined)) {
    const { error, field } = verdictOn(row);
    assert.is(error, row.expect.error ?? 'magic', row.id);
    if (row.expect.field !== undefined) assert.is(field, row.expect.field, row.id);
    seen += 1;
  }
  assert.ok(seen > 200, `${seen} rows`);
});

test('an answer that a client must refuse does not decode', () => {
  const answers = rows.filter(({ expect }) => expect.to === 'client');
  assert.ok(answers.length > 10);
  for (const row of answers) assert.is.not(verdictOn(row).error, null, row.id);
});

test('a request that is to be accepted decodes', () => {
  for (const row of rows.filter(({ expect }) => expect.how === 'ok')) assert.is(verdictOn(row).error, null, row.id);
});

test('ProduceView finds the same faults in a PRODUCE', () => {
  const view = new ProduceView();
  const produces = rows.filter((row) => row.kind === 'request' && row.hex.slice(8, 10) === '20');
  assert.ok(produces.length > 10);
  for (const row of produces.filter(({ expect }) => expect.seen_by === 'codec')) {
    const bytes = Buffer.from(row.hex, 'hex');
    let code: number = view.parse(bytes, 12, bytes.length);
    let field = view.field;
    try {
      if (code === 0) view.logName();
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      code = error.code;
      field = error.detail.field ?? '';
    }
    assert.is(nameOf(code), row.expect.error, row.id);
    if (row.expect.field !== undefined) assert.is(field, row.expect.field, row.id);
  }
  assert.is(Op.PRODUCE, 0x20);
});

test.run();
