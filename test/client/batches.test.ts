// Opening batches: every row of batches.json as a reader sees it, and bodies that try to do harm.
import { gzipSync } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { baseOffset, batchCount } from '../../src/wire/batch.ts';
import { buildBatch, buildCompressedBatch } from '../../src/wire/batch-build.ts';
import { ErrorCode, ProtocolError } from '../../src/wire/errors.ts';
import { walkBatches } from '../../src/wire/client/batches.ts';
import { hasZstd } from '../../src/wire/client/compression.ts';
import type { LogRecord } from '../../src/wire/client/types.ts';
import { rowsOf } from '../wire/vectors.ts';

const test = suite('client/batches');

/** Reads BATCH* from `wanted` on; the records, or the first error. */
async function read(bytes: Buffer, wanted: number): Promise<LogRecord[] | ProtocolError> {
  const walk = walkBatches(bytes, 0, bytes.length, wanted);
  const records: LogRecord[] = [];
  try {
    for (const span of walk.spans) records.push(...(await span.records()));
  } catch (error) {
    assert.instance(error, ProtocolError);
    return error as ProtocolError;
  }
  return walk.error ?? records;
}

test('a reader judges every row as it says', async () => {
  let judged = 0;
  for (const row of rowsOf('batches.json').filter((each) => each.expect.reader !== undefined)) {
    // What an answer may carry is at least one batch; a row without bytes is none.
    if (row.hex === '') continue;
    const bytes = Buffer.from(row.hex, 'hex');
    const wanted = bytes.length >= 72 ? Math.max(0, baseOffset(bytes, 0)) : 0;
    const got = await read(bytes, Number.isSafeInteger(wanted) ? wanted : 0);
    const verdict = got instanceof ProtocolError ? got.name : 'OK';
    const isZstd = row.id.startsWith('zstd') && !hasZstd();
    assert.is(verdict, isZstd ? 'UNSUPPORTED_COMPRESSION' : row.expect.reader, row.id);
    if (!(got instanceof ProtocolError)) {
      assert.is(got.length, batchCount(bytes, 0), row.id);
      const values = row.fields.records.map((record: { value: string | null }) => record.value);
      assert.equal(got.map((record) => record.value?.toString('hex') ?? null), values, row.id);
    }
    judged += 1;
  }
  assert.ok(judged > 60);
});

test('a body that unpacks to more than it says is corrupt, and costs no more than it says', async () => {
  const bomb = gzipSync(Buffer.alloc(64 * 1024 * 1024));
  const batch = buildCompressedBatch(1, { compression: 1, rawLen: 1000, packed: bomb });
  const before = process.memoryUsage().arrayBuffers;
  const got = await read(batch, 0);
  assert.instance(got, ProtocolError);
  assert.is((got as ProtocolError).code, ErrorCode.CORRUPT_BATCH);
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024);
  const absurd = buildCompressedBatch(1, { compression: 1, rawLen: 0xffff_ffff, packed: bomb });
  assert.match((await read(absurd, 0) as ProtocolError).message, /raw length 4294967295/);
});

test('a compression of tomorrow is UNSUPPORTED_COMPRESSION for that batch alone', async () => {
  const batch = buildCompressedBatch(3, { compression: 9, rawLen: 10, packed: Buffer.alloc(5) });
  const error = (await read(batch, 0)) as ProtocolError;
  assert.is(error.code, ErrorCode.UNSUPPORTED_COMPRESSION);
  assert.is(error.detail.nextOffset, 3);
});

test('a flip of any bit of two batches is noticed', async () => {
  const first = buildBatch([{ value: Buffer.from('hello') }]);
  const second = buildBatch([{ value: Buffer.from('world'), key: Buffer.from('k') }]);
  // base_offset of the second: 1.
  second.writeUInt32BE(1, 28);
  const { stampHeaderCrc } = await import('../../src/wire/batch.ts');
  stampHeaderCrc(second, 0);
  const both = Buffer.concat([first, second]);
  assert.is(((await read(both, 0)) as LogRecord[]).length, 2);
  for (let bit = 0; bit < both.length * 8; bit++) {
    both[bit >> 3]! ^= 1 << (bit & 7);
    assert.instance(await read(both, 0), ProtocolError, `bit ${bit}`);
    both[bit >> 3]! ^= 1 << (bit & 7);
  }
});

test('a batch that begins inside the one before it is noticed', async () => {
  const { stampBatch } = await import('../../src/wire/batch.ts');
  const two = buildBatch([{ value: null }, { value: null }]);
  const overlapping = Buffer.from(two);
  stampBatch(overlapping, 0, 2, 1, 1, 1);
  assert.is(((await read(Buffer.concat([two, overlapping]), 0)) as ProtocolError).code, ErrorCode.CORRUPT_BATCH);
});

test('batches cut anywhere are noticed', async () => {
  const batch = buildBatch([{ value: Buffer.from('hello') }]);
  for (let size = 1; size < batch.length; size++) {
    const got = await read(batch.subarray(0, size), 0);
    assert.is((got as ProtocolError).code, ErrorCode.CORRUPT_BATCH, `${size} bytes`);
  }
});

test.run();
