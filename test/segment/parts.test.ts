// The small parts: head and mark byte for byte as docs/storage-format.md says, the gate of the syncs, the
// table of terms, the pool of slabs.
import { crc32 } from 'node:zlib';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { decodeHead, encodeHead, endBefore, relabelHead, segmentFirstIndex, segmentName } from '../../src/segment/head.ts';
import { encodeMark, LogEnd } from '../../src/segment/mark.ts';
import { Slab, SlabPool } from '../../src/segment/slab.ts';
import { SyncGate } from '../../src/segment/sync-gate.ts';
import { TermTable } from '../../src/segment/terms.ts';
import { Prng } from '../support/prng.ts';

const test = suite('segment/parts');
const HEAD = { logUid: Buffer.from('00112233445566778899aabbccddeeff', 'hex'), firstIndex: 57, firstOffset: 41, termBefore: 3, appendTimeBefore: 1_790_000_000_005 };

test('a head has the bytes of the storage format', () => {
  const bytes = encodeHead(HEAD);
  assert.is(bytes.length, 4096);
  assert.is(bytes.subarray(0, 4).toString('latin1'), 'SLSG');
  const fields = ['0001', '0000', '00001000', HEAD.logUid.toString('hex'), '0000000000000039', '0000000000000029', '0000000000000003', '000001a0c4506c05'];
  assert.is(bytes.subarray(8, 64).toString('hex'), fields.join(''));
  const rest = Buffer.alloc(4);
  rest.writeUInt32BE(crc32(bytes.subarray(1536)));
  assert.is(bytes.readUInt32BE(4), crc32(Buffer.concat([bytes.subarray(8, 512), rest])));
  for (const slot of [512, 1024]) {
    assert.is(bytes.subarray(slot, slot + 4).toString('latin1'), 'SLMK');
    assert.is(bytes.readUInt32BE(slot + 4), crc32(bytes.subarray(slot + 8, slot + 512)));
    assert.is(bytes.readBigUInt64BE(slot + 8), slot === 512 ? 0n : 1n);
    assert.is(bytes.readBigUInt64BE(slot + 16), 4096n);
    assert.is(bytes.readBigUInt64BE(slot + 24), 56n);
    assert.is(bytes.readBigUInt64BE(slot + 64), 57n);
  }
  const decoded = decodeHead(bytes, bytes.length, 57);
  assert.equal(decoded.head, HEAD);
  assert.ok(decoded.mark!.end.equals(endBefore(HEAD)));
  assert.is(decoded.slotLost, false);
});

test('a head is bound to its file name, and takes another log_uid within one sector', () => {
  const bytes = encodeHead(HEAD);
  assert.is(decodeHead(bytes, 4096, 58).head, null);
  assert.is(decodeHead(bytes, 4096, 58).mark, null, 'slots of another segment are no slots');
  const before = Buffer.from(bytes);
  relabelHead(bytes, Buffer.alloc(16, 7));
  assert.ok(bytes.subarray(512).equals(before.subarray(512)));
  assert.equal(decodeHead(bytes, 4096, 57).head!.logUid, Buffer.alloc(16, 7));
  assert.match(decodeHead(bytes, 4095, 57).fault, /cut short/);
});

test('the slot with the higher sequence counts, one bad slot is no loss, impossible claims are refused', () => {
  const bytes = encodeHead(HEAD);
  const end = new LogEnd(9000, 60, 4, 50, 1_790_000_000_009);
  encodeMark(bytes, 512, 2, end, 59, 57);
  let { mark, slotLost } = decodeHead(bytes, 4096, 57);
  assert.is(mark!.sequence, 2);
  assert.ok(mark!.end.equals(end));
  assert.is(mark!.commitIndex, 59);
  bytes[600]! ^= 1;
  ({ mark, slotLost } = decodeHead(bytes, 4096, 57));
  assert.is(mark!.sequence, 1);
  assert.is(slotLost, true);
  bytes[1100]! ^= 1;
  assert.is(decodeHead(bytes, 4096, 57).mark, null);
  encodeMark(bytes, 512, 2, new LogEnd(4096 + 71, 57, 1, 42, 0), 0, 57);
  assert.is(decodeHead(bytes, 4096, 57).mark, null, 'an entry needs 72 bytes');
  encodeMark(bytes, 512, 3, end, 0, 57);
  assert.is(decodeHead(bytes, 4096, 57).mark, null, 'an odd sequence belongs to the other slot');
});

test('file names are 20 digits, and nothing else is one', () => {
  assert.is(segmentName(57), '00000000000000000057.seg');
  assert.is(segmentFirstIndex('00000000000000000057.seg'), 57);
  for (const name of ['57.seg', '00000000000000000057.seg.tmp', '00000000000000000057.idx', '00000000000000000000.seg', '99999999999999999999.seg', 'x0000000000000000057.seg']) {
    assert.is(segmentFirstIndex(name), -1, name);
  }
});

test('the gate lets its number through at once and the others in order, and counts a place as taken until left', async () => {
  const gate = new SyncGate(2);
  const order: number[] = [];
  assert.is(gate.enter(), null);
  assert.is(gate.enter(), null);
  const waits = [1, 2, 3].map((n) => gate.enter()!.then(() => void order.push(n)));
  assert.is(gate.waitingCount, 3);
  gate.leave();
  await waits[0];
  assert.equal(order, [1]);
  assert.is(gate.activeCount, 2);
  gate.leave();
  gate.leave();
  await Promise.all(waits);
  assert.equal(order, [1, 2, 3]);
  gate.leave();
  gate.leave();
  assert.is(gate.activeCount, 0);
  let caught = '';
  await gate.run(() => Promise.reject(new Error('no'))).catch((error: Error) => (caught = error.message));
  assert.is(caught, 'no');
  assert.is(gate.activeCount, 0);
});

test('the table of terms agrees with a plain list through appends, truncations and trims', () => {
  const prng = new Prng(5);
  const table = new TermTable();
  const plain = new Map<number, number>();
  let last = 0;
  let term = 1;
  let first = 1;
  for (let step = 0; step < 3000; step++) {
    const kind = prng.next(20);
    if (kind === 0 && last > first) {
      const from = prng.between(first + 1, last);
      table.truncate(from);
      for (let i = from; i <= last; i++) plain.delete(i);
      last = from - 1;
      term = plain.get(last)! + 1;
    } else if (kind === 1 && last > first) {
      first = prng.between(first, last);
      table.trim(first);
    } else {
      if (prng.chance(0.1)) term++;
      last++;
      table.add(last, term);
      plain.set(last, term);
    }
    const index = prng.between(first, Math.max(first, last));
    if (index <= last) assert.is(table.at(index), plain.get(index));
  }
});

test('a pool gives slabs back clean, never a shared one, and keeps its budget', () => {
  const pool = new SlabPool(100_000);
  const slab = pool.take(1000);
  assert.is(slab.buffer.length, 16 * 1024);
  slab.count = slab.length = slab.written = 5;
  slab.closed = true;
  pool.give(slab);
  const again = pool.take(2000);
  assert.is(again, slab);
  assert.equal([again.count, again.length, again.written, again.closed], [0, 0, 0, false]);
  again.shared = true;
  pool.give(again);
  assert.is(pool.freeBytes, 0);
  for (let i = 0; i < 20; i++) pool.give(new Slab(16 * 1024));
  assert.ok(pool.freeBytes <= 100_000);
  assert.is(pool.take(3_000_000).buffer.length, 3_000_000);
});

test.run();
