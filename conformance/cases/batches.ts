// §7: what a server checks in a batch, and what it does with it.
import { gzipSync } from 'node:zlib';
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { BATCH_HEADER_SIZE, batchOf, buildBatch, editBatch, sealBatch, sealHeader } from '../wire/batch.ts';
import { U64_MAX } from '../wire/layouts.ts';
import { committedEnd, dense, describe, fetch, produce, put, readAll } from './help.ts';

const define = area('batch', 'core');

async function refusedBatches(t: Context, client: Client, log: string, error: string, batches: readonly (readonly [string, Buffer])[]): Promise<void> {
  const end = await committedEnd(client, log);
  for (const [what, batch] of batches) {
    const { status } = await client.call('PRODUCE', put(log, batch));
    t.equal(status, error, `the answer to a batch with ${what}`);
  }
  t.equal(await committedEnd(client, log), end, 'committed_end after batches that were all refused');
}

/** A batch of exactly `size` bytes, of one record. */
export function sizedBatch(size: number, fill = 1): Buffer {
  const empty = buildBatch({ records: [{ value: '' }] }).length;
  return buildBatch({ records: [{ value: Buffer.alloc(size - empty, fill) }] });
}

const TWO = batchOf('first record', 'second record');

export const batchCases = [
  define('not-whole', 'A PRODUCE with fewer than 72 bytes of batch, or not exactly 72 + body_len, gets CORRUPT_BATCH.', 'BATCH-1 BATCH-3',
    { kills: ['accept:CORRUPT_BATCH', 'status:CORRUPT_BATCH', 'srv:produce-length-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [
        ['no byte', Buffer.alloc(0)], ['1 byte', TWO.subarray(0, 1)], ['71 bytes', TWO.subarray(0, 71)], ['72 bytes of more', TWO.subarray(0, 72)],
        ['its last byte missing', TWO.subarray(0, -1)], ['a byte too many', Buffer.concat([TWO, Buffer.alloc(1)])], ['a second batch behind', Buffer.concat([TWO, TWO])],
        ['body_len one less', editBatch(TWO, (b) => b.writeUInt32BE(b.length - 73, 44))], ['body_len FFFFFFFF', editBatch(TWO, (b) => b.writeUInt32BE(0xffff_ffff, 44))],
        ['body_len 0', editBatch(TWO, (b) => b.writeUInt32BE(0, 44))],
      ]);
    }),

  define('magic', 'A batch with another magic gets CORRUPT_BATCH.', 'BATCH-2',
    { kills: ['accept:CORRUPT_BATCH', 'status:CORRUPT_BATCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const magics = ['00000000', '534c4232', 'ffffffff', '534c4230'];
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', magics.map((magic) => [`the magic ${magic}`, editBatch(TWO, (b) => b.write(magic, 'hex'))] as const));
    }),

  define('header-crc', 'A batch whose header_crc does not match gets CORRUPT_BATCH.', 'BATCH-4',
    { kills: ['accept:CORRUPT_BATCH', 'srv:produce-skip-header-crc'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const flipped = [4, 5, 6, 7].map((at) => {
        const copy = Buffer.from(TWO);
        copy[at]! ^= 0x01;
        return [`bit 0 of byte ${at} flipped`, copy] as const;
      });
      // Bytes that only header_crc covers.
      const stamped = [8, 23, 31, 39].map((at) => {
        const copy = Buffer.from(TWO);
        copy[at]! ^= 0x80;
        return [`byte ${at} changed under header_crc`, copy] as const;
      });
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [...flipped, ...stamped]);
    }),

  define('body-crc', 'A batch whose body_crc does not match gets CORRUPT_BATCH.', 'BATCH-5',
    { kills: ['accept:CORRUPT_BATCH', 'srv:produce-skip-body-crc'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const changed = [72 + 13, TWO.length - 1, 69, 40].map((at) => {
        const copy = Buffer.from(TWO);
        copy[at]! ^= 0x10;
        return [`byte ${at} changed under body_crc`, sealHeader(copy)] as const;
      });
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', changed);
    }),

  define('count-0', 'A count of 0 gets CORRUPT_BATCH.', 'BATCH-6',
    { kills: ['accept:CORRUPT_BATCH', 'srv:count-0-ok'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const empty = buildBatch({ records: [] });
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [
        ['count 0 and no body', empty], ['count 0 and records', editBatch(TWO, (b) => b.writeUInt32BE(0, 48))],
        ['count 0, compressed', editBatch(buildBatch({ records: [{ value: 'x' }], compression: 1 }), (b) => b.writeUInt32BE(0, 48))],
      ]);
    }),

  define('count-too-large', 'A count above 65,535 gets BATCH_TOO_LARGE and the limit.', 'BATCH-7',
    { kills: ['status:BATCH_TOO_LARGE', 'tlv:limit', 'accept:BATCH_TOO_LARGE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const count of [65_536, 0xffff_ffff]) {
        const compressed = editBatch(buildBatch({ records: [{ value: 'x' }], compression: 1 }), (b) => b.writeUInt32BE(count, 48));
        await client.refused('PRODUCE', put(log, compressed), 'BATCH_TOO_LARGE', { limit: 65_535n });
      }
      t.equal(await committedEnd(client, log), 0n, 'committed_end');
    }),

  define('count-65535', 'A batch of 65,535 records is accepted.', 'LIMIT-6 LIMIT-2',
    { kills: ['error-for:PRODUCE', 'srv:count-signed'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const batch = buildBatch({ records: Array.from({ length: 65_535 }, () => ({ value: null })) });
      if (batch.length > client.hello.max_batch) t.skip('limit:max_batch', `such a batch has ${batch.length} bytes, max_batch is ${client.hello.max_batch}`);
      const ack = await client.ok('PRODUCE', put(log, batch));
      t.equal([ack.base_offset, ack.next_offset], [0n, 65_535n], 'the offsets of 65,535 records');
      t.equal((await produce(client, log, 'next')).base_offset, 65_535n, 'the offset of the next record');
    }),

  define('size', 'A batch of exactly max_batch bytes is accepted, one more byte gets BATCH_TOO_LARGE and the limit.', 'BATCH-8 BATCH-9 LIMIT-2',
    { kills: ['status:BATCH_TOO_LARGE', 'tlv:limit', 'srv:max-batch-without-header', 'error-for:PRODUCE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { max_batch } = client.hello;
      const exact = sizedBatch(max_batch, 5);
      const ack = await client.ok('PRODUCE', put(log, exact));
      t.equal(ack.base_offset, 0n, 'the offset of a batch of max_batch bytes');
      for (const size of [max_batch + 1, max_batch + 100]) {
        await client.refused('PRODUCE', put(log, sizedBatch(size)), 'BATCH_TOO_LARGE', { limit: BigInt(max_batch) });
      }
      const { batches } = await fetch(client, { log, value: 0n, max_bytes: 1 });
      t.equal(batches.map((b) => b.bytes.length), [max_batch], 'the size of the batch that is read back');
      t.ok(batches[0]!.bytes.subarray(40).equals(exact.subarray(40)), 'the same bytes from 40 to the end', 'other bytes');
    }),

  define('control-bit', 'A batch with the control bit gets CORRUPT_BATCH.', 'BATCH-10',
    { kills: ['accept:CORRUPT_BATCH', 'srv:control-bit-accepted'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const control = editBatch(buildBatch({ records: [] }), (b) => b.writeUInt16BE(0x10, 52));
      const body = sealBatch(Object.assign(Buffer.concat([control, Buffer.from([1, 0])]), {}));
      body.writeUInt32BE(2, 44);
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [
        ['the control bit and records', editBatch(TWO, (b) => b.writeUInt16BE(0x10, 52))], ['the control bit and no body', control], ['a control body', sealBatch(body)],
      ]);
    }),

  define('attribute-bits', 'A batch with one of the attribute bits 5 to 15 gets CORRUPT_BATCH.', 'BATCH-11',
    { kills: ['accept:CORRUPT_BATCH', 'srv:attributes-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((bit) => [
        `attribute bit ${bit}`, editBatch(TWO, (b) => b.writeUInt16BE(1 << bit, 52))] as const));
    }),

  define('compression', "A compression that the log does not take gets UNSUPPORTED_COMPRESSION and the log's mask.", 'BATCH-12',
    { kills: ['status:UNSUPPORTED_COMPRESSION', 'tlv:supported', 'accept:UNSUPPORTED_COMPRESSION', 'srv:compression-unchecked'] }, async (t) => {
      const client = await t.ready();
      const packed = (compression: number): Buffer => editBatch(buildBatch({ records: [{ value: 'x' }], compression: 1 }), (b) => b.writeUInt16BE(compression, 52));
      for (const mask of [1, 2, 3, 4, 7]) {
        const log = await t.log(client, { compressions: mask });
        for (let compression = 0; compression < 16; compression++) {
          const batch = compression === 0 ? batchOf('plain') : packed(compression);
          if (compression <= 2 && mask & (1 << compression)) await client.ok('PRODUCE', put(log, batch));
          else await client.refused('PRODUCE', put(log, batch), 'UNSUPPORTED_COMPRESSION', { supported: BigInt(mask) });
        }
      }
    }),

  define('compressed-short', 'A compressed body of fewer than 4 bytes gets CORRUPT_BATCH.', 'BATCH-13',
    { kills: ['accept:CORRUPT_BATCH', 'status:CORRUPT_BATCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const cut = (size: number): Buffer => {
        const batch = Buffer.from(buildBatch({ records: [{ value: 'x' }], compression: 1 }).subarray(0, BATCH_HEADER_SIZE + size));
        batch.writeUInt32BE(size, 44);
        return sealBatch(batch);
      };
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [0, 1, 2, 3].map((size) => [`a compressed body of ${size} bytes`, cut(size)] as const));
    }),

  define('raw-len', 'A raw_len above max_batch gets BATCH_TOO_LARGE and the limit; one of exactly max_batch is accepted.', 'BATCH-14 LIMIT-2',
    { kills: ['status:BATCH_TOO_LARGE', 'tlv:limit', 'srv:raw-len-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { max_batch } = client.hello;
      const withRawLen = (rawLen: number): Buffer => editBatch(buildBatch({ records: [{ value: 'x' }], compression: 1 }), (b) => b.writeUInt32BE(rawLen, BATCH_HEADER_SIZE));
      for (const rawLen of [max_batch + 1, 0xffff_ffff]) {
        await client.refused('PRODUCE', put(log, withRawLen(rawLen)), 'BATCH_TOO_LARGE', { limit: BigInt(max_batch) });
      }
      await client.ok('PRODUCE', put(log, withRawLen(max_batch)));
    }),

  define('producer-numbers', 'A producer_id or seq above 2^53 − 1 gets CORRUPT_BATCH, if there is a producer.', 'BATCH-15',
    { kills: ['accept:CORRUPT_BATCH', 'srv:producer-numbers-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const one = (id: bigint, seq: bigint): Buffer => buildBatch({ records: [{ value: 'x' }], producer: { id, epoch: 0, seq } });
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [
        ['producer_id 2^53', one(U64_MAX + 1n, 0n)], ['producer_id NONE', one((1n << 64n) - 1n, 0n)], ['seq 2^53', one(5n, U64_MAX + 1n)],
      ]);
    }),

  define('client-stamps-ignored', "Index, term, base_offset and append_time of a client's batch are ignored, whatever they hold.", 'BATCH-16 BATCH-22',
    { modes: true, kills: ['refuse-stamps'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'first');
      for (const value of [1n, 99n, (1n << 64n) - 1n]) {
        const batch = editBatch(batchOf('stamped'), (b) => [8, 16, 24, 32].forEach((at) => b.writeBigUInt64BE(value, at)));
        await client.ok('PRODUCE', put(log, batch));
      }
      const batches = await readAll(client, log);
      dense(batches, 0n);
      t.equal(batches.length, 4, 'batches in the log');
      const now = BigInt(Date.now());
      for (const { appendTime } of batches) t.ok(appendTime > now - 86_400_000n && appendTime < now + 86_400_000n, 'an append_time of today', appendTime);
    }),

  define('no-producer-fields-ignored', 'producer_epoch and seq are ignored when producer_id is 0.', 'BATCH-17 PROD-5',
    { kills: ['error-for:PRODUCE', 'srv:seq-without-producer'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const seq of [0n, 0n, 5n, (1n << 64n) - 1n]) {
        await client.ok('PRODUCE', put(log, buildBatch({ records: [{ value: 'x' }], producer: { id: 0n, epoch: 77, seq } })));
      }
      t.equal(await committedEnd(client, log), 4n, 'committed_end after four batches without a producer');
    }),

  define('compressed-not-judged', 'The inside of a compressed body is not judged beyond raw_len.', 'BATCH-18',
    { kills: ['error-for:PRODUCE', 'srv:decompress-checked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const garbage = editBatch(buildBatch({ records: [{ value: 'some text' }], compression: 1 }), (b) => b.fill(0xee, BATCH_HEADER_SIZE + 4));
      const miscounted = editBatch(buildBatch({ records: [{ value: 'x' }], compression: 1 }), (b) => b.writeUInt32BE(40, 48));
      const bomb = Buffer.concat([buildBatch({ records: [{ value: 'x' }], compression: 1 }).subarray(0, 76), gzipSync(Buffer.alloc(1 << 20))]);
      bomb.writeUInt32BE(bomb.length - 72, 44);
      bomb.writeUInt32BE(10, 72);
      for (const batch of [garbage, miscounted, sealBatch(bomb)]) await client.ok('PRODUCE', put(log, batch));
      t.equal(await committedEnd(client, log), 42n, 'committed_end');
    }),

  define('kept-as-sent', 'Bytes 40 to the end of every batch are kept as the client sent them; none is merged or split.', 'BATCH-20 READ-27',
    { modes: true, kills: ['batch:flip-body-recrc', 'batch:merge', 'srv:rewrite-body'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const sent = [
        batchOf('plain'), buildBatch({ records: [{ value: 'packed '.repeat(50) }], compression: 1 }),
        buildBatch({ records: [{ key: 'k', headers: [['a', 'b'], ['a', ''], ['', 'c']], value: t.random.bytes(300), time: 1_790_000_000_000n }, { value: null }] }),
        batchOf('x', 'y', 'z'), buildBatch({ records: [{ value: '', time: U64_MAX }], producer: { id: 0n, epoch: 9, seq: 8n } }),
      ];
      for (const batch of sent) await client.ok('PRODUCE', put(log, batch));
      const read = await readAll(client, log);
      t.equal(read.map((b) => b.bytes.subarray(40).toString('hex')), sent.map((b) => b.subarray(40).toString('hex')), 'bytes 40 to the end of every batch');
    }),

  define('whole-or-not', 'A batch is stored wholly or not at all.', 'BATCH-21',
    { kills: ['srv:store-half', 'accept:CORRUPT_BATCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a', 'b', 'c');
      const lastBad = buildBatch({ records: [{ value: 'good' }, { value: 'good' }, { value: 'bad', flags: 0x40 }] });
      await client.refused('PRODUCE', put(log, lastBad), 'CORRUPT_BATCH');
      t.equal((await produce(client, log, 'd')).base_offset, 3n, 'the offset after a batch whose last record is wrong');
      t.equal((await readAll(client, log)).map((b) => b.count), [3, 1], 'the counts of the batches');
    }),

  define('offsets-dense', 'The batches of a log have offsets without gaps, from 0.', 'BATCH-23 PROD-2',
    { kills: ['answer:PRODUCE.base_offset', 'answer:PRODUCE.next_offset', 'batch:shift-offset'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      let next = 0n;
      for (let i = 0; i < 40; i++) {
        const count = t.random.between(1, 9);
        const ack = await produce(client, log, ...Array.from({ length: count }, () => 'v'));
        t.equal([ack.base_offset, ack.next_offset], [next, next + BigInt(count)], `the offsets of batch ${i}`);
        next += BigInt(count);
      }
      const batches = await readAll(client, log);
      dense(batches, 0n);
      t.equal(batches.at(-1)!.nextOffset, next, 'the end of the last batch');
    }),

  define('stamps-rise', 'append_time and term never go down, index rises with every batch, and the ack tells them.', 'BATCH-24 BATCH-25 BATCH-22 PROD-2',
    { kills: ['answer:PRODUCE.append_time', 'answer:PRODUCE.term', 'batch:index-down', 'batch:time-down', 'batch:term-down'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const acks = [];
      for (let i = 0; i < 30; i++) acks.push(await produce(client, log, `v${i}`));
      const batches = await readAll(client, log);
      t.equal(batches.map((b) => [b.baseOffset, b.appendTime, b.term]), acks.map((a) => [a.base_offset, a.append_time, a.term]), 'offset, append_time and term of ack and batch');
      for (const [i, batch] of batches.slice(1).entries()) {
        const before = batches[i]!;
        t.ok(batch.appendTime >= before.appendTime, 'an append_time that does not go down', [before.appendTime, batch.appendTime]);
        t.ok(batch.term >= before.term && batch.term >= 1n, 'a term that does not go down', [before.term, batch.term]);
        t.ok(batch.index > before.index && batch.index >= 1n, 'an index that rises', [before.index, batch.index]);
      }
      t.equal((await describe(client, log)).term, batches.at(-1)!.term, 'the term of DESCRIBE_LOG');
    }),

  define('clock-set-back', 'append_time does not go down when the clock of the server is set back.', 'BATCH-24',
    { needs: ['hook:clock'], exclusive: true, kills: ['srv:append-time-is-clock'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const before = await produce(client, log, 'before');
      await t.hook('clock', { ms: -30_000 });
      const after = await produce(client, log, 'after');
      t.ok(after.append_time >= before.append_time, 'an append_time that does not go down', [before.append_time, after.append_time]);
    }),
];

const record = area('record', 'core');

export const recordCases = [
  record('framing', 'Records that do not end exactly with the body, are shorter than 9 bytes, or are not `count`, get CORRUPT_BATCH.', 'REC-1 REC-2 REC-3',
    { kills: ['accept:CORRUPT_BATCH', 'srv:records-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const len = (at: number, value: number): Buffer => editBatch(TWO, (b) => b.writeUInt32BE(value, 72 + at));
      const first = TWO.readUInt32BE(72);
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [
        ['a record one byte too long', len(4 + first, first + 2)], ['a record one byte too short', len(4 + first, first)], ['a record of FFFFFFFF', len(0, 0xffff_ffff)],
        ['a record of len 0', len(0, 0)], ['a record of len 8', len(0, 8)], ['count one more', editBatch(TWO, (b) => b.writeUInt32BE(3, 48))],
        ['count one less', editBatch(TWO, (b) => b.writeUInt32BE(1, 48))], ['count 65,535', editBatch(TWO, (b) => b.writeUInt32BE(65_535, 48))],
      ]);
    }),

  record('unknown-flags', 'A record with the flag 8 (LABEL) or a flag above it gets CORRUPT_BATCH.', 'REC-4',
    { kills: ['accept:CORRUPT_BATCH', 'srv:record-flags-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await refusedBatches(t, client, log, 'CORRUPT_BATCH', [0x08, 0x10, 0x20, 0x40, 0x80].map((flags) => [
        `a record with flag ${flags.toString(16)}`, buildBatch({ records: [{ value: 'fine' }, { value: 'bad', flags }] })] as const));
    }),

  record('inside-not-judged', 'Nothing else inside a record is judged: that is the readers’ business.', 'REC-5',
    { kills: ['error-for:PRODUCE', 'srv:record-inside-judged'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const odd = [
        buildBatch({ records: [{ value: 'x', time: (1n << 64n) - 1n }] }), // client_time above 2^53 − 1
        buildBatch({ records: [{ value: '\xff\xff', flags: 1 }] }), // a key beyond the record's end
        buildBatch({ records: [{ value: '\xff', flags: 2 }] }), // headers beyond the record's end
        buildBatch({ records: [{ value: 'bytes after null', flags: 4 }] }),
        buildBatch({ records: [{ value: '', flags: 3 }] }),
      ];
      for (const batch of odd) await client.ok('PRODUCE', put(log, batch));
      t.equal((await readAll(client, log)).map((b) => b.bytes.subarray(40).toString('hex')), odd.map((b) => b.subarray(40).toString('hex')), 'the batches as they were sent');
    }),

  record('empty-parts', 'Records without a value, with an empty value, an empty key, or no headers in their list are accepted.', 'REC-6',
    { modes: true, kills: ['error-for:PRODUCE', 'srv:empty-record-refused'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const batch = buildBatch({ records: [
        { value: null }, { value: '' }, { key: '', value: 'v' }, { headers: [], value: 'v' }, { key: '', headers: [], value: null }, { key: Buffer.alloc(65_535, 3), value: '' },
      ] });
      await client.ok('PRODUCE', put(log, batch));
      t.equal((await readAll(client, log))[0]!.bytes.subarray(40).toString('hex'), batch.subarray(40).toString('hex'), 'the batch that is read back');
    }),
];
