// Every row of batches.json: the server's verdict, the decoded fields and records, and the bytes that
// building and stamping give.
import { gunzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as batch from '../../src/wire/batch.ts';
import { buildBatch, buildCompressedBatch, buildControlBatch } from '../../src/wire/batch-build.ts';
import { readU32 } from '../../src/wire/bytes.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { BATCH_HEADER_SIZE, BATCH_SIZE_DEFAULT } from '../../src/wire/limits.ts';
import { COMPRESSIONS_DEFAULT } from '../../src/wire/ops.ts';
import { RecordReader } from '../../src/wire/record.ts';
import type { RecordInput } from '../../src/wire/record.ts';
import { assertMatches, rowsOf } from './vectors.ts';
import type { Row } from './vectors.ts';

const rows = rowsOf('batches.json');
const valid = rows.filter((row) => row.fields !== undefined);
const LIMITS = { maxBatch: BATCH_SIZE_DEFAULT, compressions: COMPRESSIONS_DEFAULT };

const test = suite('wire/batch vectors');
const bytesOf = (row: Row): Buffer => Buffer.from(row.hex, 'hex');

test('checkClientBatch gives each row the code it earns, wherever the batch lies in the buffer', () => {
  assert.ok(rows.length > 70);
  for (const row of rows) {
    const bytes = bytesOf(row);
    const expected = row.expect.produce === 'OK' ? 0 : ErrorCode[row.expect.produce as keyof typeof ErrorCode];
    assert.is(batch.checkClientBatch(bytes, 0, bytes.length, LIMITS), expected, row.id);
    const shifted = Buffer.concat([Buffer.alloc(13, 0xaa), bytes, Buffer.alloc(7, 0xbb)]);
    assert.is(batch.checkClientBatch(shifted, 13, 13 + bytes.length, LIMITS), expected, `${row.id} shifted`);
  }
});

test('the header accessors read what a row says', () => {
  for (const row of valid) {
    const b = bytesOf(row);
    const header = {
      headerCrc: readU32(b, batch.AT_HEADER_CRC),
      index: batch.batchIndex(b, 0),
      term: batch.batchTerm(b, 0),
      baseOffset: batch.baseOffset(b, 0),
      appendTime: batch.appendTime(b, 0),
      bodyCrc: batch.bodyCrc(b, 0),
      bodyLen: batch.bodyLen(b, 0),
      count: batch.batchCount(b, 0),
      attributes: batch.attributes(b, 0),
      producerEpoch: batch.producerEpoch(b, 0),
      producerId: batch.producerId(b, 0),
      seq: batch.producerSeq(b, 0),
    };
    const { magic, records, raw_len, packed, control, ...fields } = row.fields;
    if (row.id === 'client-stamps-ignored') continue;
    assertMatches(header, fields, row.id);
    assert.is(batch.batchEnd(b, 0, b.length), b.length);
    assert.is(batch.isControl(b, 0), control !== undefined, row.id);
  }
});

test('both checksums of every sound row hold, and a flip of any single bit breaks one of them', () => {
  for (const row of valid.filter((row) => row.id !== 'client-stamps-ignored')) {
    const b = bytesOf(row);
    if (b.length > 400) continue;
    assert.is(batch.checkHeader(b, 0, b.length), batch.BatchFault.OK, row.id);
    assert.is(batch.checkBody(b, 0, b.length), batch.BatchFault.OK, row.id);
    for (let bit = 0; bit < b.length * 8; bit++) {
      b[bit >> 3]! ^= 1 << (bit & 7);
      const isSound = batch.checkHeader(b, 0, b.length) === 0 && batch.checkBody(b, 0, b.length) === 0;
      assert.not(isSound, `${row.id} bit ${bit}`);
      b[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
});

test('the records of every row are read as it says', () => {
  for (const row of valid.filter((row) => row.fields.records !== undefined && row.id !== 'zstd')) {
    const records = readRecords(row);
    assert.is(records.length, row.fields.records.length, row.id);
    row.fields.records.forEach((theirs: any, i: number) => assertMatches(records[i], theirs, `${row.id}[${i}]`));
  }
});

test('building a batch of the decoded records gives the bytes of the row', () => {
  for (const row of valid) {
    const { fields } = row;
    const b = bytesOf(row);
    if (row.id === 'client-stamps-ignored') continue;
    const options = {
      producerId: Number(fields.producer_id),
      epoch: fields.producer_epoch,
      seq: Number(fields.seq),
    };
    const compression = fields.attributes & 15;
    let mine: Buffer;
    if (fields.control !== undefined) mine = buildControlBatch(Buffer.from(fields.control, 'hex'));
    else if (compression === 0) mine = buildBatch(inputsOf(row), options);
    else {
      const body = { compression, rawLen: fields.raw_len, packed: Buffer.from(fields.packed, 'hex') };
      mine = buildCompressedBatch(fields.count, body, options);
    }
    if (fields.index !== '0') {
      const [index, term, base, time] = [fields.index, fields.term, fields.base_offset, fields.append_time].map(Number);
      batch.stampBatch(mine, 0, index!, term!, base!, time!);
    }
    assert.is(mine.toString('hex'), b.toString('hex'), row.id);
  }
});

test('a stamp changes the header alone: body_crc and body stay', () => {
  const b = bytesOf(rows.find((row) => row.id === 'golden-batch-client')!);
  const stamped = Buffer.from(b);
  batch.stampBatch(stamped, 0, 57, 3, 41, 1790000000005);
  assert.is(stamped.toString('hex'), rows.find((row) => row.id === 'golden-batch-stamped')!.hex);
  assert.equal(stamped.subarray(batch.AT_BODY_CRC), b.subarray(batch.AT_BODY_CRC));
});

test('a reader finds rows corrupt that break inside a record', () => {
  const broken = rows.filter((row) => row.expect.produce === 'OK' && row.expect.reader === 'CORRUPT_BATCH');
  assert.ok(broken.some((row) => row.id === 'record-key-overrun'));
  for (const row of broken.filter((row) => row.id.startsWith('record-'))) {
    const b = bytesOf(row);
    const reader = new RecordReader().reset(b, BATCH_HEADER_SIZE, b.length);
    while (reader.next());
    assert.ok(reader.corrupt, row.id);
  }
});

function readRecords(row: Row): any[] {
  const b = bytesOf(row);
  const isGzip = batch.batchCompression(b, 0) === 1;
  const body = isGzip ? gunzipSync(b.subarray(BATCH_HEADER_SIZE + 4)) : b.subarray(BATCH_HEADER_SIZE);
  const reader = new RecordReader().reset(body, 0, body.length);
  const records: any[] = [];
  while (reader.next()) {
    records.push({
      flags: reader.flags,
      clientTime: reader.clientTime,
      key: reader.key(),
      headers: (reader.flags & 2) === 0 ? null : reader.headers().map(([name, value]) => ({ name, value })),
      value: reader.value(),
    });
  }
  assert.not(reader.corrupt, row.id);
  return records;
}

function inputsOf(row: Row): RecordInput[] {
  return row.fields.records.map((record: any) => ({
    value: record.value === null ? null : Buffer.from(record.value, 'hex'),
    key: record.key === null ? null : Buffer.from(record.key, 'hex'),
    headers: record.headers?.map((header: any) => [header.name, Buffer.from(header.value, 'hex')]),
    clientTime: Number(record.client_time),
  }));
}

test.run();
