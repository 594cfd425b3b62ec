// Every row of frames.json and errors.json: decoding gives its fields, encoding gives its bytes, and
// the frame reader finds it however the bytes are cut.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import { readErrorBody, writeErrorBody } from '../../src/wire/error-body.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { beginFrame, endFrame, FrameReader } from '../../src/wire/frame.ts';
import { FRAME_SIZE_DEFAULT } from '../../src/wire/limits.ts';
import { Op } from '../../src/wire/ops.ts';
import { ProduceView } from '../../src/wire/produce-view.ts';
import {
  decodePrefaceRequest,
  decodePrefaceResponse,
  encodePrefaceRequest,
  encodePrefaceResponse,
} from '../../src/wire/requests-session.ts';
import { REQUEST_CODECS, RESPONSE_CODECS } from './codecs.ts';
import { assertMatches, hasVectors, isGrease, rowsOf } from './vectors.ts';
import type { Row } from './vectors.ts';

const rows = ['frames.json', 'errors.json'].filter(hasVectors).flatMap(rowsOf);
const frames = rows.filter((row) => row.fields?.header !== undefined);

const test = suite('wire/frame vectors');

function readerOver(row: Row): { reader: FrameReader; bytes: Buffer } {
  const bytes = Buffer.from(row.hex, 'hex');
  const reader = new FrameReader(FRAME_SIZE_DEFAULT);
  reader.push(bytes);
  assert.ok(reader.next(), `${row.id} is a frame`);
  return { reader, bytes };
}

test('the header of every frame is decoded as its row says', () => {
  assert.ok(frames.length > 90);
  for (const row of frames) {
    const { reader, bytes } = readerOver(row);
    const { header } = row.fields;
    assert.is(bytes.length, header.length + 4, row.id);
    assert.equal(
      [reader.op, reader.flags, reader.status, reader.id],
      [header.op, header.flags, header.status, header.id],
      row.id,
    );
  }
});

test('the payload of every frame is decoded as its row says', () => {
  for (const row of frames) {
    const { reader } = readerOver(row);
    const { payload } = row.fields;
    const r = new Reader(reader.buffer, reader.start, reader.end);
    if (row.kind === 'error') {
      const error = readErrorBody(r, reader.status);
      // A code that the table does not hold has no name in the row either.
      if (row.fields.error !== null) assert.is(error.name, row.fields.error, row.id);
      assert.is(error.class, payload.class, row.id);
      assert.is(error.retryAfterMs, payload.retry_after_ms, row.id);
      if (payload.message !== '') assert.is(error.message, payload.message, row.id);
      assertMatches(error.detail, payload.tlvs, row.id);
      continue;
    }
    const codec = (row.kind === 'request' ? REQUEST_CODECS : RESPONSE_CODECS)[reader.op]!;
    const { ext, batch, batches, tlvs, ...fields } = payload;
    const value = codec.read(r);
    for (const [key, field] of Object.entries<any>(fields)) {
      const isUnused = row.id === 'fetch-request-unused-fields' && (key === 'value' || key === 'position_name');
      if (!isUnused) assertMatches({ [camelKey(key)]: value[camelKey(key)] }, { [key]: field }, `${row.id}.${key}`);
    }
    if (tlvs !== undefined) assertMatches(value.detail, tlvs, row.id);
    if (batch !== undefined) assert.is(value.batch.toString('latin1', 0, 4), 'SLB1', row.id);
    if (batches !== undefined) assert.is(value.batches.length > 0, batches.length > 0, row.id);
    assertExt(value, ext, reader.op, row);
  }
});

test('encoding what was decoded gives the bytes of the row', () => {
  let same = 0;
  for (const row of frames) {
    const { reader, bytes } = readerOver(row);
    const r = new Reader(reader.buffer, reader.start, reader.end);
    const w = new Writer(16);
    const at = beginFrame(w, reader.op, reader.flags, reader.status, reader.id);
    if (row.kind === 'error') {
      const error = readErrorBody(r, reader.status);
      const message = row.fields.payload.message;
      writeErrorBody(w, error.code, { ...error.detail, class: error.class, retryAfterMs: error.retryAfterMs, message });
    } else {
      const codec = (row.kind === 'request' ? REQUEST_CODECS : RESPONSE_CODECS)[reader.op]!;
      codec.write(w, codec.read(r));
    }
    endFrame(w, at);
    if (!reencodes(row)) continue;
    assert.is(w.view().toString('hex'), bytes.toString('hex'), row.id);
    same += 1;
  }
  assert.ok(same > frames.length - 15, `${same} of ${frames.length} rows were compared`);
});

test('every frame is found byte by byte and at every split point', () => {
  for (const row of frames) {
    const bytes = Buffer.from(row.hex, 'hex');
    for (let split = 0; split <= bytes.length; split++) {
      const reader = new FrameReader(FRAME_SIZE_DEFAULT);
      reader.push(Buffer.from(bytes.subarray(0, split)));
      assert.is(reader.next(), split === bytes.length, `${row.id} split at ${split}`);
      if (split === bytes.length) break;
      reader.push(Buffer.from(bytes.subarray(split)));
      assert.ok(reader.next(), `${row.id} split at ${split}`);
      assert.is(payloadHex(reader), bytes.subarray(12).toString('hex'), row.id);
    }
    const reader = new FrameReader(FRAME_SIZE_DEFAULT);
    for (let i = 0; i < bytes.length; i++) {
      assert.not(reader.next());
      reader.push(Buffer.from(bytes.subarray(i, i + 1)));
    }
    assert.ok(reader.next(), row.id);
    assert.is(payloadHex(reader), bytes.subarray(12).toString('hex'), row.id);
    assert.is(reader.buffered, 0);
  }
});

test('all frames in one stream come out in order, whatever the size of the chunks', () => {
  const all = Buffer.concat(frames.map((row) => Buffer.from(row.hex, 'hex')));
  for (const step of [1, 2, 3, 7, 11, 12, 13, 64, 1000, all.length]) {
    const reader = new FrameReader(FRAME_SIZE_DEFAULT);
    let found = 0;
    for (let at = 0; at < all.length; at += step) {
      reader.push(all.subarray(at, at + step));
      while (reader.next()) {
        assert.is(payloadHex(reader), frames[found]!.hex.slice(24));
        found += 1;
      }
    }
    assert.is(found, frames.length, `chunks of ${step}`);
    assert.is(reader.failure, null);
  }
});

test('ProduceView reads what the layout reads', () => {
  const view = new ProduceView();
  for (const row of frames.filter((row) => row.kind === 'request' && row.fields.header.op === Op.PRODUCE)) {
    const { reader } = readerOver(row);
    assert.is(view.parse(reader.buffer, reader.start, reader.end), 0, row.id);
    const value = REQUEST_CODECS[Op.PRODUCE]!.read(new Reader(reader.buffer, reader.start, reader.end));
    assert.is(view.logName(), value.log);
    assert.is(view.flags, value.flags);
    assert.is(view.timeoutMs, value.timeoutMs);
    assert.is(view.expectedOffset, value.expectedOffset);
    assert.is(view.fence, value.fence);
    assert.is(view.hasUid, value.logUid !== undefined);
    if (view.hasUid) assert.equal(reader.buffer.subarray(view.uidStart, view.uidStart + 16), value.logUid);
    assert.equal(reader.buffer.subarray(view.batchStart, view.batchEnd), value.batch);
  }
});

test('prefaces are decoded and encoded as their rows say', () => {
  const prefaces = rows.filter((row) => row.kind.startsWith('preface'));
  assert.ok(prefaces.length > 0);
  for (const row of prefaces) {
    const bytes = Buffer.from(row.hex, 'hex');
    const { plane, ...rest } = row.fields;
    const isRequest = row.kind === 'preface_request';
    const value = isRequest ? decodePrefaceRequest(bytes) : decodePrefaceResponse(bytes);
    assert.ok(value !== null, row.id);
    assert.is(String.fromCharCode(value!.plane), plane, row.id);
    delete rest.reserved;
    assertMatches(value, rest, row.id);
    if (row.fields.reserved) continue;
    const again = isRequest ? encodePrefaceRequest(value as any) : encodePrefaceResponse(value as any);
    assert.is(again.toString('hex'), row.hex, row.id);
  }
});

function camelKey(key: string): string {
  return key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function payloadHex(reader: FrameReader): string {
  return reader.buffer.toString('hex', reader.start, reader.end);
}

/** Keys of the TLVs by type; type 2 is called `uid` where the layout has a log_uid field of its own. */
function assertExt(value: any, ext: any[], op: number, row: Row): void {
  for (const { type, value: hex } of ext) {
    if (row.kind === 'request' && op === Op.GOAWAY) continue;
    if (type === 2) assert.is((value.uid ?? value.logUid)?.toString('hex'), hex, row.id);
    else if (op === Op.CREATE_LOG && type === 3) assert.is(value.restoreUid.toString('hex'), hex, row.id);
    else if (op === Op.LIST_LOGS && type === 3) assert.is(value.trash, true, row.id);
    else if ((op === Op.FETCH || op === Op.SUBSCRIBE) && (type === 1 || type === 3)) {
      assert.is(type === 1 ? value.after : value.prevTerm, Number(`0x${hex}`), row.id);
    }
  }
}

/** Rows that our encoder would write otherwise: GREASE, unknown TLVs, another order, ignored fields. */
function reencodes(row: Row): boolean {
  const { ext } = row.fields.payload;
  if (ext.some((entry: any) => isGrease(entry.type))) return false;
  if (ext.some((entry: any, i: number) => i > 0 && entry.type < ext[i - 1].type)) return false;
  return ![
    'hello-request-full',
    'produce-request-log-uid-not-critical',
    'fetch-request-unused-fields',
    'error-unknown-code',
  ].includes(row.id);
}

test('the table knows every code of errors.json by name and class', () => {
  if (!hasVectors('errors.json')) return;
  // What ends a connection stands there as a GOAWAY or as the status of a preface.
  const codes = new Set(rowsOf('errors.json').map(({ fields }) => fields.status ?? fields.payload.code ?? fields.header.status));
  for (const [name, code] of Object.entries(ErrorCode)) assert.ok(codes.has(code), `${name} has a row`);
});

test.run();
