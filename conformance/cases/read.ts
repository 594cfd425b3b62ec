// §10.1 to §10.3: where reads start, FETCH and its waits, FIND_OFFSET.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { batchesOf } from '../net/client.ts';
import type { Client } from '../net/client.ts';
import { batchOf, buildBatch } from '../wire/batch.ts';
import { tlv, u64 } from '../wire/codec.ts';
import { CRITICAL, U64_MAX } from '../wire/layouts.ts';
import { sizedBatch } from './batches.ts';
import { FROM, dense, fetch, notAnswered, produce, put, readAll, waitingFetch } from './help.ts';

const define = area('read', 'core');
const after = (offset: bigint) => tlv(CRITICAL | 1, u64(offset));
const prevTerm = (term: bigint) => tlv(CRITICAL | 3, u64(term));

/** A log with batches of 3, 2 and 1 records whose append times differ. */
async function threeBatches(t: Context, client: Client): Promise<string> {
  const log = await t.log(client);
  for (const values of [['a', 'b', 'c'], ['d', 'e'], ['f']]) {
    const { append_time } = await produce(client, log, ...values);
    for (let now = BigInt(Date.now()); now <= append_time && append_time - now < 1_000n; now = BigInt(Date.now())) await t.pause(2);
  }
  return log;
}

export const readCases = [
  define('starts', 'A read starts where its `from` says: offset, earliest, next, time.', 'READ-1 READ-16 READ-24 READ-29',
    { modes: true, kills: ['answer:FETCH.start_offset', 'request-from-earliest', 'batch:drop-first', 'answer:FETCH.log_start', 'answer:FETCH.committed_end'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      await client.ok('TRIM', { log, offset: 3n });
      const batches = await readAll(client, log);
      t.equal(batches.length, 2, 'batches after a TRIM of the first of three');
      const times = batches.map((b) => b.appendTime);
      for (const [from, value, start, first] of [
        [FROM.offset, 3n, 3n, 3n], [FROM.offset, 4n, 4n, 3n], [FROM.offset, 5n, 5n, 5n], [FROM.offset, 6n, 6n, null], [FROM.earliest, 0n, 3n, 3n], [FROM.next, 0n, 6n, null],
        [FROM.time, 0n, 3n, 3n], [FROM.time, times[0]!, 3n, 3n], [FROM.time, times[0]! + 1n, 5n, 5n], [FROM.time, times[1]!, 5n, 5n], [FROM.time, times[1]! + 1n, 6n, null],
        [FROM.time, U64_MAX, 6n, null],
      ] as const) {
        const read = await fetch(client, { log, from, value });
        t.equal([read.fields.start_offset, read.fields.log_start, read.fields.committed_end], [start, 3n, 6n], `start_offset, log_start and committed_end of a read from ${from} ${value}`);
        t.equal(read.batches[0]?.baseOffset ?? null, first, `the first batch of a read from ${from} ${value}`);
      }
    }),

  define('whole-batches', 'A FETCH inside a batch brings the whole batch, and the ones after it without a gap.', 'READ-16 READ-24 READ-27',
    { kills: ['batch:drop-first', 'batch:drop-middle', 'answer:FETCH.start_offset', 'batch:flip-body'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      for (let offset = 0n; offset < 6n; offset++) {
        const { fields, batches } = await fetch(client, { log, value: offset });
        const base = offset < 3n ? 0n : offset < 5n ? 3n : 5n;
        t.equal([fields.start_offset, batches[0]?.baseOffset, batches.at(-1)?.nextOffset], [offset, base, 6n], `start_offset, first and last offset of a FETCH at ${offset}`);
        dense(batches, base);
      }
    }),

  define('out-of-range', 'A read below log_start or above committed_end gets OFFSET_OUT_OF_RANGE at once, with the range.', 'READ-3 READ-4',
    { kills: ['status:OFFSET_OUT_OF_RANGE', 'tlv:range', 'accept:OFFSET_OUT_OF_RANGE', 'srv:past-end-waits'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      await client.ok('TRIM', { log, offset: 5n });
      const range = { range: { log_start: 5n, committed_end: 6n } };
      for (const value of [0n, 4n, 7n, U64_MAX]) {
        await client.refused('FETCH', { log, value, max_wait_ms: 600_000, min_bytes: 1 }, 'OFFSET_OUT_OF_RANGE', range);
        if (t.has('streaming')) await client.refused('SUBSCRIBE', { log, value }, 'OFFSET_OUT_OF_RANGE', range);
      }
    }),

  define('at-least-one', 'At least one batch comes, however small max_bytes; a second never exceeds it.', 'READ-17 READ-18',
    { kills: ['batch:none-when-small', 'ignore-max-bytes', 'srv:max-bytes-exact'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 10; i++) await client.ok('PRODUCE', put(log, sizedBatch(1_000)));
      for (const [max_bytes, n] of [[0, 1], [1, 1], [999, 1], [1_000, 1], [1_999, 1], [2_000, 2], [2_001, 2], [5_500, 5], [0xffff_ffff, 10]] as const) {
        t.equal((await fetch(client, { log, value: 0n, max_bytes })).batches.length, n, `batches of 1,000 bytes in a FETCH with max_bytes ${max_bytes}`);
      }
    }),

  define('within-max-frame', "No second batch comes that would exceed the client's max_frame, and nobody waits for more than fits.", 'READ-18 READ-35 FRAME-19',
    { kills: ['srv:fetch-exceeds-frame', 'raise-max-frame'] }, async (t) => {
      const writer = await t.ready();
      const { max_batch } = writer.hello;
      const log = await t.log(writer);
      for (let i = 0; i < 3; i++) await writer.ok('PRODUCE', put(log, sizedBatch(max_batch - 10)));
      const client = await t.ready({ hello: { max_frame: max_batch + 8_192 } });
      const most = { log, value: 0n, min_bytes: 0xffff_ffff, max_bytes: 0xffff_ffff, max_wait_ms: 600_000 };
      const { fields: all } = await client.okAnswer('FETCH', client.request('FETCH', most));
      t.equal(batchesOf(all.batches).length, 1, 'batches in the answer to a FETCH that waits for more than fits');
      for (let offset = 0n; offset < 3n; offset++) {
        const id = client.request('FETCH', { log, value: offset, max_bytes: 0xffff_ffff });
        const { frame, fields } = await client.okAnswer('FETCH', id);
        t.ok(frame.length <= max_batch + 8_192, `a frame of at most ${max_batch + 8_192}`, frame.length);
        t.equal(batchesOf(fields.batches).length, 1, 'batches in the answer');
      }
    }),

  define('no-wait-when-enough', 'A FETCH is answered without waiting when there are min(min_bytes, max_bytes) bytes, or max_wait_ms is 0.', 'READ-19 READ-23 READ-21',
    { kills: ['srv:waits-always', 'fetch-wait-min'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('PRODUCE', put(log, sizedBatch(1_000)));
      await client.ok('PRODUCE', put(log, sizedBatch(1_000)));
      for (const [min_bytes, max_bytes] of [[0, 10_000], [1, 10_000], [1_000, 10_000], [2_000, 10_000], [1 << 20, 1_500], [0xffff_ffff, 0]] as const) {
        const { batches } = await fetch(client, { log, value: 0n, min_bytes, max_bytes, max_wait_ms: 600_000 });
        t.ok(batches.length > 0, 'batches at once', 'none');
      }
      const none = await fetch(client, { log, value: 2n, min_bytes: 1 << 20, max_wait_ms: 0 });
      t.equal([none.fields.start_offset, none.batches.length], [2n, 0], 'start_offset and batches of a FETCH at the end with max_wait_ms 0');
      const few = await fetch(client, { log, value: 0n, min_bytes: 1 << 20, max_wait_ms: 0 });
      t.equal(few.batches.length, 2, 'batches of a FETCH that does not wait for more');
    }),

  define('waits-at-end', 'A FETCH at the end waits, and ends with OK and no batch when max_wait_ms is over.', 'READ-20 READ-21 READ-24',
    { kills: ['srv:end-is-out-of-range', 'fetch-no-wait', 'drop-answer:FETCH', 'error-for:FETCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'one');
      const began = performance.now();
      const { fields, batches } = await fetch(client, { log, value: 1n, min_bytes: 1, max_wait_ms: 400 });
      const took = performance.now() - began;
      t.equal([fields.start_offset, fields.committed_end, batches.length], [1n, 1n, 0], 'start_offset, committed_end and batches');
      t.ok(took > 350, 'an answer after 400 ms, not before', `after ${Math.round(took)} ms`);
      const few = performance.now();
      t.equal((await fetch(client, { log, value: 0n, min_bytes: 1 << 19, max_wait_ms: 400 })).batches.length, 1, 'what there is, when the wait is over');
      t.ok(performance.now() - few > 350, 'an answer after 400 ms, not before', `after ${Math.round(performance.now() - few)} ms`);
    }),

  define('wakes-when-enough', 'A waiting FETCH is answered as soon as enough bytes are committed, not only at the end of its wait.', 'READ-25 READ-20',
    { kills: ['srv:no-wakeup', 'drop-answer:FETCH', 'fetch-no-wait'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const other = await t.ready({ label: 'writer' });
      const id = await waitingFetch(t, client, log, { min_bytes: 2_000 });
      await other.ok('PRODUCE', put(log, sizedBatch(1_000)));
      await client.barrier();
      notAnswered(t, client, id, 'a FETCH of min_bytes 2,000 with 1,000 there');
      await other.ok('PRODUCE', put(log, sizedBatch(1_000)));
      const { fields } = await client.okAnswer('FETCH', id);
      t.equal([fields.start_offset, batchesOf(fields.batches).length], [0n, 2], 'start_offset and batches of the FETCH that woke up');
    }),

  define('many-wait', 'Every one of many waiting FETCHes is woken, whichever connection wrote.', 'READ-25',
    { kills: ['srv:wakes-one', 'drop-answer:FETCH'] }, async (t) => {
      const writer = await t.ready({ label: 'writer' });
      const log = await t.log(writer);
      const readers = [await t.ready(), await t.ready(), await t.ready()];
      const waits: [Client, number][] = [];
      for (const reader of readers) for (let i = 0; i < 10; i++) waits.push([reader, await waitingFetch(t, reader, log)]);
      await produce(writer, log, 'for all');
      for (const [reader, id] of waits) t.equal(batchesOf((await reader.okAnswer('FETCH', id)).fields.batches).length, 1, 'batches of a FETCH that waited');
    }),

  define('next-is-kept', 'The start found for a read from `next` is kept while it waits; for `earliest` it is found again.', 'READ-9 READ-10 READ-11',
    { kills: ['srv:next-moves', 'answer:FETCH.start_offset'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'before');
      const next = await waitingFetch(t, client, log, { min_bytes: 5_000 });
      const earliest = await waitingFetch(t, client, log, { from: FROM.earliest, min_bytes: 5_000 });
      await client.ok('PRODUCE', put(log, sizedBatch(1_000)));
      await client.ok('TRIM', { log, offset: 1n });
      await client.ok('PRODUCE', put(log, sizedBatch(5_000)));
      const kept = (await client.okAnswer('FETCH', next)).fields;
      t.equal([kept.start_offset, batchesOf(kept.batches)[0]?.baseOffset], [1n, 1n], 'start_offset and first batch of the read from next');
      const found = (await client.okAnswer('FETCH', earliest)).fields;
      t.equal([found.start_offset, found.log_start], [1n, 1n], 'start_offset and log_start of the read from earliest, after a TRIM');
    }),

  define('trimmed-while-waiting', 'Range is judged again after a wait: a read overtaken by TRIM gets OFFSET_OUT_OF_RANGE.', 'READ-11 READ-3',
    { kills: ['status:OFFSET_OUT_OF_RANGE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a');
      const id = await waitingFetch(t, client, log, { from: FROM.offset, value: 0n, min_bytes: 5_000 });
      await produce(client, log, 'b');
      await client.ok('TRIM', { log, offset: 2n });
      await client.ok('PRODUCE', put(log, sizedBatch(6_000)));
      // At the TRIM or at the wake-up after it: the range is that of the moment.
      const { tlvs } = await client.refusedAnswer('FETCH', id, 'OFFSET_OUT_OF_RANGE');
      t.equal(tlvs.range!.log_start, 2n, 'log_start in the TLV range');
    }),

  define('long-wait', 'A max_wait_ms above 600,000 means 600,000: the FETCH waits and is woken.', 'READ-22',
    { kills: ['srv:timeout-signed', 'fetch-no-wait'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const ids: number[] = [];
      for (const max_wait_ms of [600_001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) ids.push(await waitingFetch(t, client, log, { max_wait_ms }));
      await t.pause(500); // a wait that was taken for a short one is over by then
      await client.barrier();
      for (const id of ids) notAnswered(t, client, id, 'a FETCH that waits for 600 s');
      await produce(client, log, 'x');
      for (const id of ids) await client.okAnswer('FETCH', id);
    }),

  define('no-control-wakes', 'Control batches wake no waiting FETCH, count for nothing and are never seen.', 'READ-26 BATCH-26',
    { needs: ['feature:conditional'], kills: ['srv:control-wakes', 'srv:control-visible'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = await waitingFetch(t, client, log);
      await client.ok('FENCE', { log, token: 1n });
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 1n });
      if (t.has('idempotence')) await client.ok('INIT_PRODUCER', { log, name: 'p' });
      await client.barrier();
      notAnswered(t, client, id, 'a FETCH at the end after a FENCE and a PUT_POSITION');
      await client.ok('PRODUCE', put(log, batchOf('real'), { fence: 1n }));
      t.equal(batchesOf((await client.okAnswer('FETCH', id)).fields.batches).map((b) => [b.baseOffset, b.count]), [[0n, 1]], 'what woke the FETCH');
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 0n });
      await client.ok('PRODUCE', put(log, batchOf('more'), { fence: 1n }));
      const { batches } = await fetch(client, { log, value: 0n });
      t.equal(batches.map((b) => [b.baseOffset, b.count, b.attributes]), [[0n, 1, 0], [1n, 1, 0]], 'the batches of the log');
    }),

  define('linearizable', 'A LINEARIZABLE FETCH answers from a state that holds everything acked before it.', 'READ-28',
    { kills: ['stale:FETCH', 'batch:drop-last'] }, async (t) => {
      const writers = [await t.ready(), await t.ready()];
      const reader = await t.ready({ label: 'reader' });
      const log = await t.log(reader);
      for (let i = 0; i < 40; i++) {
        const ack = await produce(writers[i % 2]!, log, `v${i}`);
        const { fields } = await fetch(reader, { log, from: FROM.next, flags: 1 });
        t.ok(fields.committed_end >= ack.next_offset, `a committed_end of at least ${ack.next_offset}`, fields.committed_end);
      }
    }),

  define('after', 'A FETCH with `after` is answered when committed_end has reached it, or with BEHIND when its wait is over.', 'READ-12',
    { kills: ['strip:after', 'status:BEHIND', 'tlv:range', 'srv:after-ignored'] }, async (t) => {
      const client = await t.ready();
      const other = await t.ready({ label: 'writer' });
      const log = await t.log(client);
      await produce(client, log, 'a');
      await fetch(client, { log, value: 0n, ext: [after(1n)] });
      await client.refused('FETCH', { log, value: 0n, ext: [after(2n)] }, 'BEHIND', { range: { log_start: 0n, committed_end: 1n } });
      await client.refused('FETCH', { log, value: 0n, max_wait_ms: 300, ext: [after(9n)] }, 'BEHIND', { range: { log_start: 0n, committed_end: 1n } });
      const id = client.request('FETCH', { log, value: 0n, max_bytes: 1 << 20, max_wait_ms: 600_000, ext: [after(3n)] });
      await client.barrier();
      notAnswered(t, client, id, 'a FETCH after 3 with committed_end 1');
      await produce(other, log, 'b');
      await client.barrier();
      notAnswered(t, client, id, 'a FETCH after 3 with committed_end 2');
      await produce(other, log, 'c');
      t.equal((await client.okAnswer('FETCH', id)).fields.committed_end, 3n, 'committed_end of the answer');
    }),

  define('after-then-min-bytes', 'A FETCH whose `after` has been reached goes on like one without it: it may wait for min_bytes.', 'READ-34 READ-20',
    { kills: ['strip:after', 'srv:after-ends-wait'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a');
      const id = client.request('FETCH', { log, value: 0n, min_bytes: 3_000, max_bytes: 1 << 20, max_wait_ms: 600_000, ext: [after(2n)] });
      const enough = client.request('FETCH', { log, value: 0n, min_bytes: 1, max_bytes: 1 << 20, max_wait_ms: 600_000, ext: [after(2n)] });
      await client.barrier();
      notAnswered(t, client, enough, 'a FETCH after 2 with committed_end 1');
      await produce(client, log, 'b');
      t.equal((await client.okAnswer('FETCH', enough)).fields.committed_end, 2n, 'committed_end when `after` is reached');
      await client.barrier();
      notAnswered(t, client, id, 'a FETCH of min_bytes 3,000 with less there, its `after` reached');
      await produce(client, log, 'c'.repeat(3_000));
      t.equal(batchesOf((await client.okAnswer('FETCH', id)).fields.batches).length, 3, 'batches when there are enough bytes');
      const short = await client.ok('FETCH', { log, value: 3n, min_bytes: 1, max_bytes: 1 << 20, max_wait_ms: 200, ext: [after(3n)] });
      t.equal(short.batches.length, 0, 'bytes of batches when the wait of a FETCH whose `after` is reached is over');
    }),

  define('judged-in-order', 'A read that is wrong in several ways gets the first refusal: log, log_uid, `after`, start, range, prev_term.', 'READ-33 LOG-9',
    { kills: ['strip:after', 'status:BEHIND', 'strip:log_uid', 'srv:range-before-after'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      const wrongUid = tlv(CRITICAL | 2, Buffer.alloc(16, 9));
      const wrongTerm = tlv(CRITICAL | 3, u64(U64_MAX));
      const far = after(1_000n);
      await client.refused('FETCH', { log: t.name(), value: 99n, ext: [wrongUid, far, wrongTerm] }, 'LOG_NOT_FOUND');
      await client.refused('FETCH', { log, value: 99n, ext: [wrongUid, far, wrongTerm] }, 'LOG_CHANGED');
      await client.refused('FETCH', { log, value: 99n, ext: [far, wrongTerm] }, 'BEHIND');
      if (t.has('conditional')) await client.refused('FETCH', { log, from: FROM.position, position_name: 'none', ext: [far, wrongTerm] }, 'BEHIND');
      if (t.has('conditional')) await client.refused('FETCH', { log, from: FROM.position, position_name: 'none', ext: [wrongTerm] }, 'POSITION_NOT_FOUND');
      await client.refused('FETCH', { log, value: 99n, ext: [wrongTerm] }, 'OFFSET_OUT_OF_RANGE');
      await client.refused('FETCH', { log, value: 2n, ext: [wrongTerm] }, 'LOG_CHANGED', { log_uid: undefined });
    }),

  define('prev-term', 'A prev_term that differs from the term of the record before the start gets LOG_CHANGED with the range.', 'READ-14 READ-15',
    { kills: ['strip:prev_term', 'status:LOG_CHANGED', 'tlv:range', 'srv:prev-term-ignored'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      const { term } = (await readAll(client, log))[0]!;
      const range = { range: { log_start: 0n, committed_end: 6n } };
      for (const value of [1n, 3n, 4n, 6n]) {
        await fetch(client, { log, value, ext: [prevTerm(term)] });
        await client.refused('FETCH', { log, value, ext: [prevTerm(term + 1n)] }, 'LOG_CHANGED', range);
        if (t.has('streaming')) await client.refused('SUBSCRIBE', { log, value, ext: [prevTerm(term + 5n)] }, 'LOG_CHANGED', range);
      }
      await fetch(client, { log, value: 0n, ext: [prevTerm(term + 1n)] });
      await client.ok('TRIM', { log, offset: 3n });
      await fetch(client, { log, value: 3n, ext: [prevTerm(term + 7n)] });
      await client.refused('FETCH', { log, value: 4n, ext: [prevTerm(term + 7n)] }, 'LOG_CHANGED', { range: { log_start: 3n, committed_end: 6n } });
    }),

  define('order-of-judgement', 'A read is judged: log, log_uid, after, start, range, prev_term.', 'READ-14 LOG-9 READ-12',
    { kills: ['status:BEHIND', 'status:OFFSET_OUT_OF_RANGE', 'status:LOG_CHANGED'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      const wrongUid = tlv(CRITICAL | 2, Buffer.alloc(16, 5));
      await client.refused('FETCH', { log: 'no-such-log', value: 99n, ext: [wrongUid, after(99n), prevTerm(99n)] }, 'LOG_NOT_FOUND');
      await client.refused('FETCH', { log, value: 99n, ext: [wrongUid, after(99n), prevTerm(99n)] }, 'LOG_CHANGED');
      await client.refused('FETCH', { log, value: 99n, ext: [after(99n), prevTerm(99n)] }, 'BEHIND');
      await client.refused('FETCH', { log, value: 99n, ext: [prevTerm(99n)] }, 'OFFSET_OUT_OF_RANGE');
      await client.refused('FETCH', { log, value: 6n, ext: [prevTerm(99n)] }, 'LOG_CHANGED');
    }),

  define('from-position-absent', 'A read from a position gets POSITION_NOT_FOUND, or UNSUPPORTED_FEATURE from a server without the profile conditional.', 'READ-6 READ-7',
    { kills: ['status:POSITION_NOT_FOUND', 'accept:POSITION_NOT_FOUND'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const error = t.has('conditional') ? 'POSITION_NOT_FOUND' : 'UNSUPPORTED_FEATURE';
      await client.refused('FETCH', { log, from: FROM.position, position_name: 'none' }, error);
      if (t.has('streaming')) await client.refused('SUBSCRIBE', { log, from: FROM.position, position_name: 'none' }, error);
    }),

  define('find-offset', 'FIND_OFFSET tells the first record of the first batch whose append_time is not before the time; else committed_end.', 'READ-31 READ-32',
    { modes: true, kills: ['answer:FIND_OFFSET.offset', 'answer:FIND_OFFSET.log_start', 'answer:FIND_OFFSET.committed_end', 'srv:find-last'] }, async (t) => {
      const client = await t.ready();
      const log = await threeBatches(t, client);
      const [first, second, third] = (await readAll(client, log)).map((b) => b.appendTime) as [bigint, bigint, bigint];
      for (const [time, offset] of [[0n, 0n], [first, 0n], [first + 1n, 3n], [second, 3n], [second + 1n, 5n], [third, 5n], [third + 1n, 6n], [U64_MAX, 6n]] as const) {
        const answer = await client.ok('FIND_OFFSET', { log, time });
        t.equal([answer.offset, answer.log_start, answer.committed_end], [offset, 0n, 6n], `the answer to FIND_OFFSET ${time - first} ms after the first batch`);
      }
      await client.ok('TRIM', { log, offset: 3n });
      t.equal((await client.ok('FIND_OFFSET', { log, time: 0n })).offset, 3n, 'the answer after a TRIM');
    }),

  define('dense-while-written', 'While a log is written, every read is a prefix of what follows: whole batches, dense, never changing.', 'READ-2 READ-16 READ-29 BATCH-23',
    { kills: ['batch:swap', 'batch:drop-middle', 'batch:shift-offset'] }, async (t) => {
      const writer = await t.ready({ label: 'writer' });
      const reader = await t.ready({ label: 'reader' });
      const log = await t.log(writer);
      const n = 300;
      const ids = Array.from({ length: n }, (_, i) => writer.request('PRODUCE', put(log, buildBatch({ records: [{ value: `v${i}` }, { value: `w${i}` }] }))));
      let next = 0n;
      while (next < BigInt(2 * n)) {
        const { fields, batches } = await fetch(reader, { log, value: next, min_bytes: 1, max_bytes: 3_000, max_wait_ms: 2_000 });
        dense(batches, next);
        next = batches.at(-1)?.nextOffset ?? next;
        t.ok(fields.committed_end >= next, `a committed_end of at least ${next}`, fields.committed_end);
      }
      for (const id of ids) await writer.okAnswer('PRODUCE', id);
    }),
];
