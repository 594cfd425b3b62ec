// Basic types: bounds, ranges, UTF-8, growth; and CRC-32 against zlib.
import { crc32 as zlibCrc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { InvariantError } from '../../src/wire/assert.ts';
import { readList, readU64, Reader, Writer, writeList, writeU64 } from '../../src/wire/bytes.ts';
import { crc32 } from '../../src/wire/checksum.ts';
import { ErrorCode, FieldError } from '../../src/wire/errors.ts';
import { NONE, U64_MAX } from '../../src/wire/limits.ts';
import { seededRandom } from './random.ts';

const test = suite('wire/bytes');

const fieldError = (field: string) => (error: unknown) =>
  error instanceof FieldError && error.field === field && error.code === ErrorCode.INVALID_ARGUMENT;
const invariant = (error: unknown) => error instanceof InvariantError;

test('every type is read as it was written', () => {
  const w = new Writer(1);
  w.u8(0xff);
  w.u16(0xffff);
  w.u32(0xffff_ffff);
  for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 2 ** 52 + 1, U64_MAX]) w.u64(value);
  w.u64(NONE);
  w.str('');
  w.str('żółw \u{1f422} \ufeff');
  w.bytes(Buffer.from('abc'));
  w.id16(Buffer.alloc(16, 9));
  w.raw(Buffer.from('rest'));
  const r = new Reader(w.view());
  assert.is(r.u8('a'), 0xff);
  assert.is(r.u16('b'), 0xffff);
  assert.is(r.u32('c'), 0xffff_ffff);
  for (const value of [0, 1, 0xffff_ffff, 0x1_0000_0000, 2 ** 52 + 1, U64_MAX]) assert.is(r.u64('d'), value);
  assert.is(r.u64OrNone('e'), NONE);
  assert.is(r.str('f'), '');
  assert.is(r.str('g'), 'żółw \u{1f422} \ufeff');
  assert.is(r.bytes('h').toString(), 'abc');
  assert.equal(r.id16('i'), Buffer.alloc(16, 9));
  assert.is(r.rest().toString(), 'rest');
  r.expectEnd();
});

test('u64 agrees with BigInt on both sides of every power of two', () => {
  const b = Buffer.alloc(8);
  for (let power = 0; power < 53; power++) {
    for (const value of [2 ** power - 1, 2 ** power, Math.min(2 ** power + 1, U64_MAX)]) {
      writeU64(b, 0, value);
      assert.is(b.readBigUInt64BE(), BigInt(value));
      assert.is(readU64(b, 0), value);
    }
  }
});

test('a u64 above 2^53 − 1 is refused, also where NONE is allowed; NONE only there', () => {
  const read = (hex: string) => new Reader(Buffer.from(hex, 'hex'));
  assert.is(read('001fffffffffffff').u64('x'), U64_MAX);
  for (const hex of ['0020000000000000', '7fffffffffffffff', 'fffffffffffffffe', 'fffffffeffffffff']) {
    assert.throws(() => read(hex).u64('x'), fieldError('x'));
    assert.throws(() => read(hex).u64OrNone('x'), fieldError('x'));
  }
  assert.throws(() => read('ffffffffffffffff').u64('x'), fieldError('x'));
});

test('a read past the end names its field and does not move past the end', () => {
  for (const call of ['u8', 'u16', 'u32', 'u64', 'u64OrNone', 'str', 'bytes', 'id16'] as const) {
    for (let size = 0; size < (call === 'u8' ? 1 : call === 'u16' || call === 'str' ? 2 : 4); size++) {
      const r = new Reader(Buffer.alloc(20, 0xff), 0, size);
      assert.throws(() => r[call]('thing'), fieldError('thing'));
      assert.ok(r.position <= r.end);
    }
  }
  const claimed = Buffer.from('ffffffff00', 'hex');
  assert.throws(() => new Reader(claimed).bytes('data'), fieldError('data'));
  assert.throws(() => new Reader(claimed).str('s'), fieldError('s'));
});

test('bytes after the last field are the field end', () => {
  assert.throws(() => new Reader(Buffer.alloc(1)).expectEnd(), fieldError('end'));
});

test('bad UTF-8 is refused: lone continuation, overlong, surrogate, beyond Unicode, cut short', () => {
  for (const hex of ['80', 'c0af', 'eda080', 'f4908080', 'e282', 'ff', '61fe']) {
    const bytes = Buffer.from(hex, 'hex');
    const w = new Writer();
    w.u16(bytes.length);
    w.raw(bytes);
    assert.throws(() => new Reader(w.view()).str('name'), fieldError('name'));
  }
});

test('a writer asserts what does not fit', () => {
  const w = new Writer();
  assert.throws(() => w.u8(256), invariant);
  assert.throws(() => w.u16(-1), invariant);
  assert.throws(() => w.u32(2 ** 32), invariant);
  assert.throws(() => w.u64(2 ** 53), invariant);
  assert.throws(() => w.u64(Number.NaN), invariant);
  assert.throws(() => w.id16(Buffer.alloc(15)), invariant);
  assert.throws(() => w.str('x'.repeat(65_536)), invariant);
});

test('lists carry a u16 count', () => {
  const w = new Writer();
  writeList(w, [1, 2, 3], (writer, value) => writer.u8(value));
  assert.is(w.view().toString('hex'), '0003010203');
  assert.equal(readList(new Reader(w.view()), 'list', (r) => r.u8('list')), [1, 2, 3]);
  assert.throws(() => readList(new Reader(Buffer.from('ffff01', 'hex')), 'list', (r) => r.u8('item')), fieldError('item'));
});

test('crc32 is that of zlib for every length to 600 and any alignment', () => {
  const random = seededRandom('wire/checksum');
  const data = Buffer.from(Array.from({ length: 700 }, () => Math.floor(random() * 256)));
  for (let size = 0; size <= 600; size++) {
    const start = size % 17;
    assert.is(crc32(data, start, start + size), zlibCrc32(data.subarray(start, start + size)));
  }
  assert.is(crc32(Buffer.from('123456789'), 0, 9), 0xcbf43926);
});

test.run();
