// §9.1 and §9.2: acks, order, the order of refusals, time limits, a full disk.
import { area } from '../engine/case.ts';
import { batchOf, buildBatch } from '../wire/batch.ts';
import { committedEnd, describe, fetch, holds, initProducer, logUid, notAnswered, produce, put, readAll, values } from './help.ts';

const define = area('produce', 'core');

export const produceCases = [
  define('ack', 'An ack tells offset, time, term, durability and copies, and what it acks can be read at once.', 'PROD-1 PROD-2 PROD-3 PROD-4 CLUS-6 CLUS-7',
    { modes: true, kills: ['answer:PRODUCE.copies', 'answer:PRODUCE.durability', 'answer:PRODUCE.flags', 'answer:PRODUCE.base_offset', 'batch:drop-last'] }, async (t) => {
      const client = await t.ready();
      for (const durability of [1, 2, 3]) {
        const log = await t.log(client, { durability, interval_ms: 10 });
        for (let i = 0; i < 5; i++) {
          const ack = await produce(client, log, `v${i}`);
          t.equal([ack.base_offset, ack.next_offset, ack.flags], [BigInt(i), BigInt(i + 1), 0], 'offsets and flags of the ack');
          // A server that keeps all in memory may say so; the profile durability holds it to the log's setting.
          t.ok(ack.durability >= durability && ack.durability <= 3, `durability ${durability}, or a weaker one that is told`, ack.durability);
          t.ok(ack.term >= 1n, 'a term of at least 1', ack.term);
          if (t.target.endpoints.length === 1) t.equal(ack.copies, 1, 'the copies on a lone node');
          const { batches } = await fetch(client, { log, value: ack.base_offset });
          t.equal(batches.map((b) => b.baseOffset), [ack.base_offset], 'what a FETCH right after the ack brings');
        }
      }
    }),

  define('visible-elsewhere', 'What was acked on one connection is read on another.', 'PROD-4 READ-28',
    { kills: ['stale:FETCH', 'batch:drop-last'] }, async (t) => {
      const writer = await t.ready({ label: 'writer' });
      const reader = await t.ready({ label: 'reader' });
      const log = await t.log(writer);
      for (let i = 0; i < 50; i++) {
        const ack = await produce(writer, log, `v${i}`);
        const { batches } = await fetch(reader, { log, value: ack.base_offset, flags: i % 2 });
        t.equal(batches.map((b) => b.baseOffset), [ack.base_offset], `the batches in a FETCH on another connection after ack ${i}`);
      }
    }),

  define('no-fsync-no-ack', 'OK is answered only when the batch is committed: with fsync, not before the disk has synced.', 'PROD-1 READ-2 PROD-9',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['srv:ack-before-commit', 'srv:uncommitted-served'] }, async (t) => {
      const client = await t.ready();
      const reader = await t.ready({ label: 'reader' });
      const log = await t.log(client);
      await produce(client, log, 'committed');
      await t.hook('slowsync', { ms: 1_500 });
      const id = client.request('PRODUCE', put(log, batchOf('not yet')));
      await client.barrier();
      notAnswered(t, client, id, 'a PRODUCE before its sync ended');
      t.equal(await values(reader, log), ['committed'], 'what a reader sees before the commit');
      t.equal(await committedEnd(reader, log), 1n, 'committed_end before the commit');
      await client.okAnswer('PRODUCE', id);
      t.equal(await values(reader, log), ['committed', 'not yet'], 'what a reader sees after the ack');
    }),

  define('as-often-as-sent', 'A batch without a producer is stored as often as it is sent.', 'PROD-5 PROD-3',
    { kills: ['answer:PRODUCE.flags', 'dedupe-plain'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const batch = batchOf('the same');
      for (let i = 0; i < 4; i++) t.equal((await client.ok('PRODUCE', put(log, batch))).flags, 0, 'the flags of the ack');
      await holds(t, client, log, ['the same', 'the same', 'the same', 'the same']);
    }),

  define('absent-idempotence', 'Without the profile idempotence a batch with a producer gets UNKNOWN_PRODUCER.', 'PROD-6',
    { needs: ['absent:idempotence'], kills: ['status:UNKNOWN_PRODUCER', 'accept:UNKNOWN_PRODUCER'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const batch = buildBatch({ records: [{ value: 'x' }], producer: { id: 77n, epoch: 0, seq: 0n } });
      await client.refused('PRODUCE', put(log, batch), 'UNKNOWN_PRODUCER');
      t.equal(await committedEnd(client, log), 0n, 'committed_end');
    }),

  define('absent-conditional', 'Without the profile conditional an expected_offset or a fence gets UNSUPPORTED_FEATURE.', 'PROD-7',
    { needs: ['absent:conditional'], kills: ['status:UNSUPPORTED_FEATURE', 'accept:UNSUPPORTED_FEATURE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.refused('PRODUCE', put(log, batchOf('x'), { expected_offset: 0n }), 'UNSUPPORTED_FEATURE');
      await client.refused('PRODUCE', put(log, batchOf('x'), { fence: 1n }), 'UNSUPPORTED_FEATURE');
      t.equal(await committedEnd(client, log), 0n, 'committed_end');
    }),

  define('absent-ops', 'An op of a profile that the server does not offer is an unknown op.', 'FRAME-33',
    { kills: ['status:UNKNOWN_OP', 'srv:unknown-op-fatal'] }, async (t) => {
      const client = await t.ready();
      const id = client.sendOp(0x7f, Buffer.alloc(2));
      const frame = await client.conn.takeFrame('the answer to an op that nobody offers', (f) => f.id === id);
      t.equal(frame.status, 3, 'the status of the answer to an op that nobody offers');
      if (!t.has('idempotence')) await client.refused('INIT_PRODUCER', { log: 'x', name: 'y' }, 'UNKNOWN_OP');
      if (!t.has('conditional')) {
        await client.refused('FENCE', { log: 'x' }, 'UNKNOWN_OP');
        await client.refused('PUT_POSITION', { log: 'x', name: 'y' }, 'UNKNOWN_OP');
        await client.refused('GET_POSITION', { log: 'x', name: 'y' }, 'UNKNOWN_OP');
        await client.refused('LIST_POSITIONS', { log: 'x' }, 'UNKNOWN_OP');
      }
      if (!t.has('streaming')) await client.refused('SUBSCRIBE', { log: 'x' }, 'UNKNOWN_OP');
    }),

  define('order-of-refusals', 'A PRODUCE that is wrong in several ways gets the first refusal of §9.2.', 'PROD-8 LOG-9',
    { kills: ['status:CORRUPT_BATCH', 'status:LOG_CHANGED', 'status:LOG_NOT_FOUND'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const broken = Buffer.concat([batchOf('x'), Buffer.alloc(1)]);
      const wrongUid = logUid(Buffer.alloc(16, 9));
      await client.refused('PRODUCE', put('no-such-log', broken, { timeout_ms: 1, flags: 2 }), 'INVALID_ARGUMENT', { field: 'flags' });
      await client.refused('PRODUCE', put('no-such-log', broken, { ext: [wrongUid] }), 'LOG_NOT_FOUND');
      await client.refused('PRODUCE', put(log, broken, { ext: [wrongUid] }), 'LOG_CHANGED');
      await client.refused('PRODUCE', put(log, broken), 'CORRUPT_BATCH');
    }),

  define('order-of-refusals-conditional', 'Batch faults come before producer, producer before sequence, sequence before fence, fence before expected offset.', 'PROD-8',
    { needs: ['feature:idempotence', 'feature:conditional'], kills: ['status:PRODUCER_FENCED', 'status:SEQ_GAP', 'status:FENCED', 'srv:fence-before-seq'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('FENCE', { log, token: 5n });
      const first = await initProducer(client, log);
      const { producer_id: id, epoch } = await initProducer(client, log);
      const make = (producer: { id: bigint; epoch: number; seq: bigint }): Buffer => buildBatch({ records: [{ value: 'x' }], producer });
      const bad = { fence: 9n, expected_offset: 99n };
      await client.refused('PRODUCE', put(log, Buffer.concat([make({ id: 1n, epoch: 9, seq: 9n }), Buffer.alloc(1)]), bad), 'CORRUPT_BATCH');
      await client.refused('PRODUCE', put(log, make({ id: 1n, epoch: 9, seq: 9n }), bad), 'UNKNOWN_PRODUCER');
      await client.refused('PRODUCE', put(log, make({ id, epoch: first.epoch, seq: 9n }), bad), 'PRODUCER_FENCED');
      await client.refused('PRODUCE', put(log, make({ id, epoch, seq: 9n }), bad), 'SEQ_GAP', { expected_seq: 0n });
      await client.refused('PRODUCE', put(log, make({ id, epoch, seq: 0n }), bad), 'FENCED', { fence: 5n });
      await client.refused('PRODUCE', put(log, make({ id, epoch, seq: 0n }), { fence: 5n, expected_offset: 99n }), 'OFFSET_MISMATCH', { next_offset: 0n });
      await client.ok('PRODUCE', put(log, make({ id, epoch, seq: 0n }), { fence: 5n, expected_offset: 0n }));
    }),

  define('order-kept', 'PRODUCEs of one connection to one log have their effect, and are answered, in the order in which they came.', 'PROD-10 PROD-11',
    { kills: ['swap-produce-answers', 'batch:swap'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const n = 200;
      const frames: Buffer[] = [];
      for (let i = 0; i < n; i++) {
        // Refusals of all kinds lie between them: they keep their place.
        const batch = i % 7 === 3 ? Buffer.alloc(10) : batchOf(`v${i}`);
        frames.push(client.bytesOf('PRODUCE', put(log, batch, i % 11 === 5 ? { flags: 4 } : {}), { id: 3_000 + i }));
      }
      client.conn.write(Buffer.concat(frames));
      const order: number[] = [];
      const acked: string[] = [];
      for (let i = 0; i < n; i++) {
        const frame = await client.conn.takeFrame('an answer to PRODUCE', (f) => f.op === 0x20);
        order.push(frame.id - 3_000);
        if (frame.status === 0) acked.push(`v${frame.id - 3_000}`);
      }
      t.equal(order, Array.from({ length: n }, (_, i) => i), 'the order of the answers');
      await holds(t, client, log, acked);
    }),

  define('each-for-itself', 'After a refused PRODUCE later ones still apply.', 'PROD-12',
    { kills: ['error-for:PRODUCE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const frames = ['a', null, 'b', null, 'c'].map((value, i) => client.bytesOf('PRODUCE', put(log, value === null ? Buffer.alloc(80) : batchOf(value)), { id: 50 + i }));
      client.conn.write(Buffer.concat(frames));
      for (let i = 0; i < 5; i++) t.equal((await client.answer('PRODUCE', 50 + i)).status, i % 2 ? 'CORRUPT_BATCH' : 'OK', `the answer to PRODUCE ${i}`);
      await holds(t, client, log, ['a', 'b', 'c']);
    }),

  define('long-timeout', 'A timeout_ms above 600,000 means 600,000, and 0 means 30,000: neither fails a PRODUCE.', 'PROD-14',
    { modes: true, kills: ['timeout-for-long'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const timeout_ms of [0, 600_000, 600_001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) await client.ok('PRODUCE', put(log, batchOf('x'), { timeout_ms }));
      t.equal(await committedEnd(client, log), 6n, 'committed_end');
    }),

  define('timeout', 'A PRODUCE that is not committed when its time is over gets TIMEOUT, whose outcome is unknown.', 'PROD-13 PROD-15 ERR-5',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['status:TIMEOUT', 'srv:no-produce-timeout', 'srv:produce-timeout-overtakes'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const syncMs = Math.max(2_500, t.ms(2_500));
      await t.hook('slowsync', { ms: syncMs });
      const began = performance.now();
      const first = client.request('PRODUCE', put(log, batchOf('first'), { timeout_ms: 500 }));
      await client.refusedAnswer('PRODUCE', first, 'TIMEOUT');
      const took = performance.now() - began;
      t.ok(took >= 450 && took < syncMs - 200, 'TIMEOUT after 500 ms', `after ${Math.round(took)} ms`);
      // A later one with less time waits for the earlier one's time.
      const slow = client.request('PRODUCE', put(log, batchOf('second'), { timeout_ms: 10_000 }));
      const hasty = client.request('PRODUCE', put(log, batchOf('third'), { timeout_ms: 1 }));
      const order: number[] = [];
      for (const id of [slow, hasty]) {
        await client.okAnswer('PRODUCE', id, t.ms(12_000));
        order.push(id);
      }
      t.equal(order, [slow, hasty], 'the order of the answers');
      t.equal(await values(client, log), ['first', 'second', 'third'], 'the records: a TIMEOUT may have had its effect');
    }),

  define('other-timeout', 'Other requests that are not done after 30 s get TIMEOUT.', 'PROD-16',
    { needs: ['hook:slowsync', 'feature:conditional'], exclusive: true, kills: ['status:TIMEOUT', 'srv:no-admin-timeout'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await t.hook('slowsync', { ms: 34_000 });
      const began = performance.now();
      const id = client.request('FENCE', { log, token: 3n });
      await client.refusedAnswer('FENCE', id, 'TIMEOUT', {}, t.ms(36_000));
      const took = performance.now() - began;
      t.ok(took > 29_000, 'TIMEOUT after 30 s, not before', `after ${Math.round(took)} ms`);
      // What was refused with an unknown outcome ends before the next case.
      await t.pause(Math.max(0, 34_500 - (performance.now() - began)));
    }),

  define('refusal-waits-for-commit', 'A refusal that depends on state is sent only when all that it was judged against is committed.', 'PROD-17 COND-3',
    { needs: ['hook:slowsync', 'feature:conditional'], exclusive: true, kills: ['srv:refusal-before-commit'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const other = await t.ready({ label: 'another client' });
      await t.hook('slowsync', { ms: 1_500 });
      const first = client.request('PRODUCE', put(log, batchOf('pending')));
      await client.barrier();
      const second = other.request('PRODUCE', put(log, batchOf('x'), { expected_offset: 0n }));
      await other.barrier();
      notAnswered(t, other, second, 'OFFSET_MISMATCH before the batch that it was judged against is committed');
      await client.okAnswer('PRODUCE', first);
      await other.refusedAnswer('PRODUCE', second, 'OFFSET_MISMATCH', { next_offset: 1n });
    }),

  define('storage-full', 'With no room PRODUCE gets STORAGE_FULL and leaves nothing; FETCH and TRIM go on; with room it is taken again.', 'PROD-18 PROD-19 PROD-20 IDEM-16',
    { needs: ['hook:fill', 'hook:free'], exclusive: true, kills: ['status:STORAGE_FULL', 'srv:full-before-duplicate'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a');
      await produce(client, log, 'b');
      const producer = t.has('idempotence') ? await initProducer(client, log) : null;
      const owned = producer ? buildBatch({ records: [{ value: 'mine' }], producer: { id: producer.producer_id, epoch: producer.epoch, seq: 0n } }) : null;
      if (owned) await client.ok('PRODUCE', put(log, owned));
      await t.hook('fill');
      try {
        // It may take a moment until the server knows: what it acks until then is stored.
        let answer = await client.call('PRODUCE', put(log, batchOf('until full')));
        for (let i = 0; answer.status === 'OK' && i < 200; i++) {
          await t.pause(50);
          answer = await client.call('PRODUCE', put(log, batchOf('until full')));
        }
        t.equal([answer.status, answer.error?.class], ['STORAGE_FULL', 1], 'the answer to a PRODUCE without room');
        const end = await committedEnd(client, log);
        for (let i = 0; i < 5; i++) await client.refused('PRODUCE', put(log, batchOf('no room')), 'STORAGE_FULL');
        t.equal(await committedEnd(client, log), end, 'committed_end after refusals');
        if (owned) t.equal((await client.ok('PRODUCE', put(log, owned))).flags, 1, 'the flags of the answer to a duplicate without room');
        t.equal((await readAll(client, log)).length > 1, true, 'whether FETCH goes on');
        t.equal((await client.ok('TRIM', { log, offset: 1n })).log_start, 1n, 'log_start of a TRIM without room');
      } finally {
        await t.hook('free');
      }
      let again = await client.call('PRODUCE', put(log, batchOf('room again')));
      for (let i = 0; again.status !== 'OK' && i < 200; i++) {
        await t.pause(50);
        again = await client.call('PRODUCE', put(log, batchOf('room again')));
      }
      t.equal(again.status, 'OK', 'the answer to a PRODUCE when there is room again');
      t.ok(!(await values(client, log)).includes('no room'), 'no record that was refused');
    }),

  define('two-logs', 'Logs do not share offsets, order or refusals.', 'PROD-12 BATCH-23',
    { kills: ['answer:PRODUCE.base_offset'] }, async (t) => {
      const client = await t.ready();
      const logs = [await t.log(client), await t.log(client), await t.log(client)];
      for (let i = 0; i < 10; i++) {
        for (const log of logs) t.equal((await produce(client, log, `${log} ${i}`)).base_offset, BigInt(i), `the offset of record ${i}`);
      }
      for (const log of logs) await holds(t, client, log, Array.from({ length: 10 }, (_, i) => `${log} ${i}`));
      t.equal((await describe(client, logs[0]!)).committed_end, 10n, 'committed_end');
    }),
];
