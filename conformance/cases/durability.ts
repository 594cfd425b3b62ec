// §9.6: what an ack is worth. Each level has its hook: stop (L1), kill -9 (L2), loss of power (L3).
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { check } from '../crash/checker.ts';
import { CrashRun, finalLog } from '../crash/workload.ts';
import { batchOf } from '../wire/batch.ts';
import { tlv, u64 } from '../wire/codec.ts';
import { CRITICAL } from '../wire/layouts.ts';
import { describe, fetch, holds, produce, put, readAll, values } from './help.ts';
import { owned, producerOf } from './idempotence.ts';

const define = area('durability', 'durability', ['hook:start']);

/** Writes to logs of these durabilities, crashes the server, and demands every acked record. */
async function ackedAfter(t: Context, how: 'stop' | 'kill' | 'powerloss', durabilities: readonly number[]): Promise<void> {
  const client = await t.ready();
  const logs: { log: string; wanted: string[]; uid: Buffer }[] = [];
  for (const durability of durabilities) {
    const log = await t.log(client, { durability, interval_ms: 60_000 });
    logs.push({ log, wanted: [], uid: (await describe(client, log)).log_uid });
  }
  for (let round = 0; round < 3; round++) {
    const writer = await t.ready({ label: `writer of round ${round}` });
    for (const { log, wanted } of logs) {
      for (let i = 0; i < 10; i++) {
        const text = [`${round}.${i}`, `${round}.${i} second`];
        const ack = await produce(writer, log, ...text);
        t.equal(ack.base_offset, BigInt(wanted.length), 'the offset of the ack');
        wanted.push(...text);
      }
    }
    await t.restart(how);
    const reader = await t.ready({ label: `reader after crash ${round}` });
    for (const { log, wanted, uid } of logs) {
      t.equal((await describe(reader, log)).log_uid, uid, 'the log_uid after the restart');
      await holds(t, reader, log, wanted);
    }
  }
}

/** The crash kit: load, crashes at random moments, and the history check. */
async function history(t: Context, how: 'stop' | 'kill' | 'powerloss'): Promise<void> {
  t.disruptive = true;
  const setup = await t.ready({ label: 'setup' });
  const run = new CrashRun(t);
  run.start('plain', await t.log(setup), 'plain');
  run.join('plain', run.histories[0]!, 'plain-2');
  if (t.has('idempotence')) {
    run.start('idempotent', await t.log(setup), 'idem');
    run.join('idempotent', run.histories.at(-1)!, 'idem-2');
  }
  if (t.has('conditional')) run.start('conditional', await t.log(setup), 'cond');
  for (let round = 0; round < t.run.crashRounds; round++) {
    await t.pause(t.random.between(150, 700));
    await t.restart(how);
  }
  await t.pause(200);
  await run.finish();
  const reader = await t.ready({ label: 'final reader' });
  const breaches = [];
  let appends = 0;
  for (const one of run.histories) {
    breaches.push(...check(one, await finalLog(reader, one.log)));
    appends += one.appends.size;
  }
  t.note(`${appends} batches, ${run.histories.reduce((sum, one) => sum + one.reads.length, 0)} reads, ${t.run.crashRounds} crashes`);
  t.equal(breaches.map(({ rule, text }) => `${rule}: ${text}`), [], 'breaches found in the history');
  t.ok(appends > 10, 'a load of more than ten batches', appends);
}

/** Everything but records that a log has; restored after a crash. */
async function stateSurvives(t: Context, how: 'stop' | 'kill' | 'powerloss'): Promise<void> {
  const client = await t.ready();
  const { cluster_id, node } = client.hello;
  const self = (await client.ok('DESCRIBE_CLUSTER')).nodes.find((entry) => entry.node === node)!;
  const log = await t.log(client, { retain_bytes: 1n << 30n });
  const fresh = await t.log(client);
  for (let i = 0; i < 6; i++) await produce(client, log, `v${i}`);
  await client.ok('TRIM', { log, offset: 2n });
  await client.ok('ALTER_LOG', { log, retain_ms: 77_000_000n, compressions: 1 });
  const producer = t.has('idempotence') ? await producerOf(client, log) : null;
  const ack = producer ? await client.ok('PRODUCE', put(log, owned(producer, 0n))) : null;
  if (t.has('conditional')) {
    await client.ok('PUT_POSITION', { log, name: 'p', offset: 4n });
    await client.ok('FENCE', { log, token: 12n });
  }
  const before = await describe(client, log);
  await t.restart(how);
  const again = await t.ready({ label: 'after the crash' });
  const after = await describe(again, log);
  const settings = (e: typeof before): unknown[] => [e.log_uid, e.log_start, e.committed_end, e.fence, e.durability, e.retain_bytes, e.retain_ms, e.segment_bytes, e.compressions, e.created];
  t.equal(settings(after), settings(before), 'uid, log_start, committed_end, fence and settings after the crash');
  t.equal((await describe(again, fresh)).committed_end, 0n, 'committed_end of a log that was made and never written');
  t.equal([again.hello.cluster_id, again.hello.node], [cluster_id, node], 'cluster_id and node name after the crash');
  t.equal((await again.ok('DESCRIBE_CLUSTER')).nodes.find((entry) => entry.node === node)?.node_id, self.node_id, 'node_id after the crash');
  const fence = { fence: after.fence };
  if (t.has('conditional')) {
    t.equal((await again.ok('GET_POSITION', { log, name: 'p' })).offset, 4n, 'the position after the crash');
    await again.refused('PRODUCE', put(log, batchOf('x'), { fence: 3n }), 'FENCED', { fence: 12n });
  }
  if (producer && ack) {
    const dup = await again.ok('PRODUCE', put(log, owned(producer, 0n), fence));
    t.equal([dup.flags, dup.base_offset, dup.append_time], [1, ack.base_offset, ack.append_time], 'the answer to a duplicate after the crash');
    const next = await producerOf(again, log);
    t.equal([next.id, next.epoch, next.nextSeq], [producer.id, producer.epoch + 1, 1n], 'the producer after the crash');
  }
  t.equal((await again.ok('PRODUCE', put(log, batchOf('next'), fence))).base_offset, before.committed_end, 'the offset of the next record');
}

async function prevTermShows(t: Context, client: Client): Promise<void> {
  const log = await t.log(client, { durability: 3 });
  await produce(client, log, 'in memory');
  const { term } = (await readAll(client, log))[0]!;
  const uid = (await describe(client, log)).log_uid;
  await t.restart('kill');
  const again = await t.ready({ label: 'after kill -9' });
  const now = await describe(again, log);
  t.equal(now.log_uid, uid, 'the log_uid of a log in memory after a crash');
  t.ok(now.term > term, `a term above ${term} after a start`, now.term);
  if (now.committed_end > 0n) return t.note('the record in memory survived kill -9');
  await produce(again, log, 'another history');
  await fetch(again, { log, value: 1n });
  await again.refused('FETCH', { log, value: 1n, ext: [tlv(CRITICAL | 3, u64(term))] }, 'LOG_CHANGED', { range: { log_start: 0n, committed_end: 1n } });
}

export const durabilityCases = [
  define('receipt', "Every ack tells the log's durability, and the copies that really are durable.", 'DUR-6',
    { kills: ['answer:PRODUCE.durability', 'answer:PRODUCE.copies'] }, async (t) => {
      const client = await t.ready();
      for (const durability of [1, 2, 3]) {
        const log = await t.log(client, { durability, interval_ms: 10 });
        for (let i = 0; i < 3; i++) {
          const ack = await produce(client, log, `v${i}`);
          t.equal(ack.durability, durability, 'the durability in the ack');
          if (t.target.endpoints.length === 1) t.equal(ack.copies, 1, 'the copies on a lone node');
        }
      }
    }),

  define('acked-after-restart', 'After a clean stop and start every acked record is there, once and in order, whatever the durability.', 'DUR-1 DUR-4',
    { needs: ['hook:stop'], exclusive: true, kills: ['srv:ack-before-fsync'] }, (t) => ackedAfter(t, 'stop', [1, 2, 3])),
  define('acked-after-kill', 'After kill -9 every acked record of a log with durability fsync is there, once and in order.', 'DUR-2 LOG-23',
    { needs: ['hook:kill'], exclusive: true, kills: ['srv:ack-before-fsync'] }, (t) => ackedAfter(t, 'kill', [1])),
  define('acked-after-powerloss', 'After a loss of power every acked record of a log with durability fsync is there, once and in order.', 'DUR-3 LOG-23',
    { needs: ['hook:powerloss'], exclusive: true, kills: ['srv:ack-before-fsync'] }, (t) => ackedAfter(t, 'powerloss', [1])),

  define('history-stop', 'Crash kit, clean stops under load: acked once at its offset, refused absent, order and reads right.', 'DUR-1 DUR-7 DUR-8',
    { needs: ['hook:stop'], exclusive: true, kills: ['srv:forget-dedupe-on-restart'] }, (t) => history(t, 'stop')),
  define('history-kill', 'Crash kit, kill -9 under load: acked once at its offset, refused absent, order and reads right.', 'DUR-2 DUR-7 DUR-8 SESS-21',
    { needs: ['hook:kill'], exclusive: true, kills: ['srv:forget-dedupe-on-restart'] }, (t) => history(t, 'kill')),
  define('history-powerloss', 'Crash kit, loss of power under load: acked once at its offset, refused absent, order and reads right.', 'DUR-3 DUR-7 DUR-8',
    { needs: ['hook:powerloss'], exclusive: true, kills: ['srv:ack-before-fsync'] }, (t) => history(t, 'powerloss')),

  define('state-after-restart', 'Settings, trim, fence, positions, producers and identity survive a clean restart.', 'DUR-12 FENCE-8 IDEM-19 LOG-38 LOG-23 HELLO-14 CLUS-1',
    { needs: ['hook:stop'], exclusive: true, kills: ['srv:forget-dedupe-on-restart', 'srv:forget-positions-on-restart'] }, (t) => stateSurvives(t, 'stop')),
  define('state-after-kill', 'Settings, trim, fence, positions, producers and identity survive kill -9.', 'DUR-12 FENCE-8 IDEM-19 LOG-38 LOG-23 HELLO-14',
    { needs: ['hook:kill'], exclusive: true, kills: ['srv:forget-dedupe-on-restart', 'srv:forget-positions-on-restart'] }, (t) => stateSurvives(t, 'kill')),
  define('state-after-powerloss', 'Settings, trim, fence, positions, producers and identity survive a loss of power.', 'DUR-12 FENCE-8 IDEM-19 LOG-38 LOG-23',
    { needs: ['hook:powerloss'], exclusive: true, kills: ['srv:ack-before-fsync', 'srv:forget-positions-on-restart'] }, (t) => stateSurvives(t, 'powerloss')),

  define('term-rises', 'The term is higher after every start, so that prev_term shows a history that was lost.', 'DUR-9 CLUS-7 READ-14',
    { needs: ['hook:kill'], exclusive: true, kills: ['answer-one:DESCRIBE_LOG.term'] }, async (t) => prevTermShows(t, await t.ready())),

  define('term-in-acks', 'The term in acks never goes down for a log_uid, over stop and kill.', 'CLUS-7 DUR-9',
    { needs: ['hook:stop', 'hook:kill'], exclusive: true, kills: ['answer-one:PRODUCE.term'] }, async (t) => {
      let client = await t.ready();
      const log = await t.log(client);
      let { term } = await produce(client, log, 'first');
      for (const how of ['stop', 'kill', 'stop'] as const) {
        await t.restart(how);
        client = await t.ready({ label: `after ${how}` });
        const ack = await produce(client, log, `after ${how}`);
        t.ok(ack.term > term, `a term above ${term} after ${how} and start`, ack.term);
        term = ack.term;
      }
      const terms = (await readAll(client, log)).map((b) => b.term);
      t.equal(terms, [...terms].sort((a, b) => (a < b ? -1 : 1)), 'the terms of the batches, in order');
    }),

  define('interval-syncs', 'A log with durability interval is synced at least every interval_ms: older acks survive a loss of power.', 'DUR-5',
    { needs: ['hook:powerloss'], exclusive: true, kills: ['srv:interval-never-syncs'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { durability: 2, interval_ms: 200 });
      for (let i = 0; i < 5; i++) await produce(client, log, `old ${i}`);
      await t.pause(Math.max(1_500, t.ms(1_000)));
      await t.restart('powerloss');
      const left = await values(await t.ready({ label: 'after the loss of power' }), log);
      t.equal(left.slice(0, 5), ['old 0', 'old 1', 'old 2', 'old 3', 'old 4'], 'records acked long before the loss of power');
    }),

  define('refused-never-appears', 'A record all of whose sendings were refused without OUTCOME_UNKNOWN is never seen, also after a crash.', 'DUR-7 ERR-5',
    { needs: ['hook:kill'], exclusive: true, kills: ['srv:store-half', 'accept:CORRUPT_BATCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'good');
      for (let i = 0; i < 5; i++) {
        const bad = batchOf('refused');
        bad[bad.length - 1]! ^= 1;
        await client.refused('PRODUCE', put(log, bad), 'CORRUPT_BATCH');
        if (t.has('conditional')) await client.refused('PRODUCE', put(log, batchOf('refused'), { expected_offset: 77n }), 'OFFSET_MISMATCH');
      }
      await t.restart('kill');
      const again = await t.ready({ label: 'after kill -9' });
      await holds(t, again, log, ['good']);
      t.equal((await produce(again, log, 'next')).base_offset, 1n, 'the offset of the next record');
    }),

  define('damage-is-not-sent', 'A batch on disk whose checksums do not match is never sent: its range is answered with DATA_LOSS.', 'DUR-10',
    { needs: ['hook:damage', 'hook:stop'], exclusive: true, kills: ['srv:damaged-body-served', 'status:DATA_LOSS'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 20; i++) await produce(client, log, `record number ${i} `.repeat(20));
      t.disruptive = true;
      await t.hook('stop');
      await t.hook('damage', { log });
      await t.start();
      const again = await t.ready({ label: 'after the damage' });
      const answer = await again.call('FETCH', { log, from: 1, max_bytes: 1 << 20 });
      // A server that knows of the damage may also refuse at the first touch; what it may not do is send it.
      if (answer.error === null) t.ok(answer.fields.batches.length === 0, 'no batch out of a damaged range', 'batches');
      else t.equal([answer.status, answer.error.class], ['DATA_LOSS', 8], 'the answer to a read of a damaged range');
      const other = await t.log(again);
      await produce(again, other, 'other logs go on');
    }),

  define('failed-sync', 'After a sync failed nothing is acked any more: LEADERSHIP_LOST for what is in flight, LOG_STOPPED after that.', 'DUR-11 PROD-21',
    { needs: ['hook:failsync', 'hook:kill'], exclusive: true, kills: ['status:LOG_STOPPED', 'status:LEADERSHIP_LOST', 'srv:ack-after-failed-sync'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'synced');
      await t.hook('failsync', { on: 1 });
      try {
        const ids = [client.request('PRODUCE', put(log, batchOf('doomed'))), client.request('PRODUCE', put(log, batchOf('doomed too')))];
        for (const id of ids) {
          const { status } = await client.answer('PRODUCE', id);
          t.ok(status === 'LEADERSHIP_LOST' || status === 'LOG_STOPPED', 'LEADERSHIP_LOST or LOG_STOPPED', status);
          if (id === ids[0]) t.equal(status, 'LEADERSHIP_LOST', 'the answer to the PRODUCE whose sync failed');
        }
        for (let i = 0; i < 3; i++) {
          const error = await client.refused('PRODUCE', put(log, batchOf('never')), 'LOG_STOPPED');
          t.ok(error.message.length > 0, 'a message that says what to do');
        }
      } finally {
        t.disruptive = true;
        await t.hook('failsync', { on: 0 });
        await t.restart('kill');
      }
      const left = await values(await t.ready({ label: 'after the restart' }), log);
      t.equal([left[0], left.includes('never')], ['synced', false], 'the first record, and whether a refused one is there');
    }),
];
