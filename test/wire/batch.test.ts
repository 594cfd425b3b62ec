// Batches and records beyond the vectors: limits on both sides, random batches, hostile bodies.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InvariantError } from '../../src/wire/assert.ts';
import * as batch from '../../src/wire/batch.ts';
import { BatchBuilder, buildBatch, buildControlBatch } from '../../src/wire/batch-build.ts';
import { Writer } from '../../src/wire/bytes.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX, NONE } from '../../src/wire/limits.ts';
import { pagesOf } from '../../src/wire/pages.ts';
import { encodeRecord, RecordReader, recordSize } from '../../src/wire/record.ts';
import type { RecordInput } from '../../src/wire/record.ts';
import { seededRandom } from './random.ts';

const test = suite('wire/batch');
const LIMITS = { maxBatch: 1 << 20, compressions: 3 };
const check = (b: Buffer, limits = LIMITS) => batch.checkClientBatch(b, 0, b.length, limits);

test('a batch of exactly max_batch is taken, one byte more is BATCH_TOO_LARGE', () => {
  const overhead = BATCH_HEADER_SIZE + 13;
  const limits = { maxBatch: 70_000, compressions: 1 };
  assert.is(check(buildBatch([{ value: Buffer.alloc(70_000 - overhead) }]), limits), 0);
  assert.is(check(buildBatch([{ value: Buffer.alloc(70_001 - overhead) }]), limits), ErrorCode.BATCH_TOO_LARGE);
});

test('65,535 records fit a batch; the builder refuses one more', () => {
  const builder = new BatchBuilder();
  for (let i = 0; i < BATCH_RECORDS_MAX; i++) builder.add({ value: null });
  assert.throws(() => builder.add({ value: null }), (error: unknown) => error instanceof InvariantError);
  const b = builder.finish();
  assert.is(batch.batchCount(b, 0), BATCH_RECORDS_MAX);
  assert.is(check(b), 0);
});

test('a compression is taken when the mask names it', () => {
  const b = buildBatch([{ value: Buffer.from('x') }]);
  b[batch.AT_ATTRIBUTES + 1] = 2;
  batch.stampBodyCrc(b, 0);
  assert.is(check(b, { maxBatch: 1 << 20, compressions: 3 }), ErrorCode.UNSUPPORTED_COMPRESSION);
  assert.is(check(b, { maxBatch: 1 << 20, compressions: 7 }), 0);
});

test('a record too long for its fields leaves the builder as it was', () => {
  const builder = new BatchBuilder();
  builder.add({ value: Buffer.from('a') });
  const size = builder.size;
  const tooLong = (error: unknown) => error instanceof RangeError && /65,535/.test(error.message);
  assert.throws(() => builder.add({ value: null, key: Buffer.alloc(65_536) }), tooLong);
  assert.throws(() => builder.add({ value: null, headers: [['h', Buffer.alloc(65_536)]] }), tooLong);
  assert.is(builder.size, size);
  assert.equal(builder.finish(), buildBatch([{ value: Buffer.from('a') }]));
  assert.is(builder.count, 0);
});

test('random records come back as they went in, and random damage never passes both checksums', () => {
  const random = seededRandom('wire/batch');
  const u = (max: number) => Math.floor(random() * (max + 1));
  const bytesOf = (max: number) => Buffer.from(Array.from({ length: u(max) }, () => u(255)));
  for (let round = 0; round < 300; round++) {
    const records: RecordInput[] = Array.from({ length: 1 + u(20) }, () => ({
      value: random() < 0.1 ? null : bytesOf(60),
      key: random() < 0.3 ? bytesOf(20) : null,
      headers: random() < 0.3 ? Array.from({ length: u(3) }, (_, i) => [`h${i}`, bytesOf(9)] as const) : undefined,
      clientTime: u(2 ** 40),
    }));
    const b = buildBatch(records, { producerId: 1 + u(2 ** 52), epoch: u(65_535), seq: u(2 ** 52) });
    assert.is(check(b), 0);
    const size = records.reduce((sum, record) => sum + recordSize(record), 0);
    assert.is(batch.bodyLen(b, 0), size);
    const reader = new RecordReader().reset(b, BATCH_HEADER_SIZE, b.length);
    for (const record of records) {
      assert.ok(reader.next());
      assert.equal(reader.value(), record.value);
      assert.equal(reader.key(), record.key);
      assert.is(reader.clientTime, record.clientTime);
      assert.equal(reader.headers(), (record.headers ?? []).map(([name, value]) => [name, value]));
    }
    assert.not(reader.next());
    assert.not(reader.corrupt);
    const at = u(b.length - 1);
    b[at]! ^= 1 + u(254);
    assert.is.not(check(b), 0);
  }
});

test('a body cut anywhere is no body, and the reader of records never leaves it', () => {
  const w = new Writer();
  encodeRecord(w, { value: Buffer.from('v'), key: Buffer.from('k'), headers: [['a', Buffer.from('b')]] });
  encodeRecord(w, { value: null, clientTime: 5 });
  const body = w.copy();
  const reader = new RecordReader();
  for (let size = 0; size < body.length; size++) {
    const isBorder = size === 0 || size === body.length - 13;
    reader.reset(body, 0, size);
    let found = 0;
    while (reader.next()) found += 1;
    assert.is(reader.corrupt, !isBorder, `${size} bytes, ${found} records`);
    assert.is.not(batch.checkRecords(body, 0, size, 2), 0);
  }
});

test('checkHeader tells what is wrong', () => {
  const b = buildBatch([{ value: Buffer.from('v') }]);
  assert.is(batch.checkHeader(b, 0, 71), batch.BatchFault.SHORT);
  assert.is(batch.checkBody(b, 0, b.length - 1), batch.BatchFault.SHORT);
  assert.is(batch.batchEnd(b, 0, b.length - 1), -1);
  const wrongMagic = Buffer.from(b);
  wrongMagic[3] = 0x32;
  assert.is(batch.checkHeader(wrongMagic, 0, b.length), batch.BatchFault.MAGIC);
  const wrongIndex = Buffer.from(b);
  batch.stampBatch(wrongIndex, 0, NONE, 1, 1, 1);
  assert.is(batch.checkHeader(wrongIndex, 0, b.length), batch.BatchFault.FIELDS);
  assert.is(batch.faultName(batch.BatchFault.BODY_CRC), 'bad body checksum');
});

test('a control batch has the control bit and no records', () => {
  const b = buildControlBatch(Buffer.from([3, 1, 9]));
  assert.ok(batch.isControl(b, 0));
  assert.is(batch.batchCount(b, 0), 0);
  assert.is(batch.checkHeader(b, 0, b.length), 0);
  assert.is(batch.checkBody(b, 0, b.length), 0);
  assert.is(check(b), ErrorCode.CORRUPT_BATCH);
});

test('a long list is cut into pages that fit a frame', () => {
  const element = { write: (w: Writer, value: number) => void w.reserve(value), read: () => 0 };
  assert.equal(pagesOf([], element, 100), [[]]);
  assert.equal(pagesOf([84], element, 100), [[84]]);
  assert.equal(pagesOf([40, 44, 1, 84, 83, 1, 1], element, 100), [[40, 44], [1], [84], [83, 1], [1]]);
  assert.throws(() => pagesOf([85], element, 100), (error: unknown) => error instanceof InvariantError);
  assert.is(pagesOf(Array.from({ length: 65_536 }, () => 0), element, 100).length, 2);
});

test.run();
