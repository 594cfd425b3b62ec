// §10.4: SUBSCRIBE, CREDIT, DELIVER.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { Failure } from '../engine/failure.ts';
import type { Client } from '../net/client.ts';
import type { Batch } from '../wire/batch.ts';
import { tlv, u64 } from '../wire/codec.ts';
import { CRITICAL } from '../wire/layouts.ts';
import type { InputOf, ResponseOf } from '../wire/layouts.ts';
import { sizedBatch } from './batches.ts';
import { dense, notAnswered, produce, put } from './help.ts';

const define = area('stream', 'streaming');

interface Subscription {
  readonly id: number;
  readonly fields: ResponseOf<'SUBSCRIBE'>;
}

export async function subscribe(client: Client, input: InputOf<'SUBSCRIBE'>): Promise<Subscription> {
  const id = client.request('SUBSCRIBE', { from: 1, credit_bytes: 0, ...input });
  const { fields } = await client.okAnswer('SUBSCRIBE', id);
  return { id, fields };
}

/** DELIVERs until the batches reach `end`. */
async function deliveredUpTo(client: Client, id: number, end: bigint): Promise<Batch[]> {
  const all: Batch[] = [];
  while ((all.at(-1)?.nextOffset ?? 0n) < end) {
    const deliver = await client.deliver(id);
    if (deliver.error) throw new Failure('a subscription', 'a DELIVER with batches', `its end with ${deliver.status}`);
    if (!deliver.more) throw new Failure('a DELIVER with status 0', 'MORE', 'no MORE');
    all.push(...deliver.batches);
  }
  return all;
}

/** All batches that have come for `id` so far; DELIVERs that are still coming are not waited for. */
async function arrived(client: Client, id: number): Promise<Batch[]> {
  await client.barrier();
  await client.barrier();
  const all: Batch[] = [];
  while (client.conn.inbox.some((frame) => frame.id === id)) all.push(...(await client.deliver(id)).batches);
  return all;
}

async function filled(t: Context, client: Client, n: number, size = 1_000): Promise<string> {
  const log = await t.log(client);
  const ids = Array.from({ length: n }, (_, i) => client.request('PRODUCE', put(log, sizedBatch(size, i % 250))));
  for (const id of ids) await client.okAnswer('PRODUCE', id);
  return log;
}

export const streamingCases = [
  define('delivers-all', 'A subscription gets every committed batch from its start on, once, whole, in order, also what is written later.', 'SUB-1 SUB-2 SUB-5 SUB-16',
    { modes: true, kills: ['batch:drop-middle', 'twice:DELIVER', 'batch:swap', 'drop-answer:DELIVER', 'deliver-without-more'] }, async (t) => {
      const client = await t.ready();
      const writer = await t.ready({ label: 'writer', mode: 'whole' });
      const log = await filled(t, writer, 10);
      const { id, fields } = await subscribe(client, { log, credit_bytes: 1 << 30 });
      t.equal([fields.start_offset, fields.log_start, fields.committed_end], [0n, 0n, 10n], 'the answer to SUBSCRIBE');
      dense(await deliveredUpTo(client, id, 10n), 0n);
      for (let i = 0; i < 30; i++) await produce(writer, log, `later ${i}`);
      dense(await deliveredUpTo(client, id, 40n), 10n);
      await t.quiet(client, 'after all batches were delivered');
    }),

  define('starts', 'A subscription starts where its `from` says, as a FETCH does.', 'READ-1 SUB-5',
    { kills: ['answer:SUBSCRIBE.start_offset', 'answer:SUBSCRIBE.log_start', 'answer:SUBSCRIBE.committed_end', 'request-from-earliest'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a', 'b', 'c');
      await produce(client, log, 'd');
      await client.ok('TRIM', { log, offset: 3n });
      await produce(client, log, 'e', 'f');
      for (const [from, value, start, first] of [[0, 3n, 3n, 3n], [0, 5n, 5n, 4n], [1, 0n, 3n, 3n], [3, 0n, 3n, 3n]] as const) {
        const { id, fields } = await subscribe(client, { log, from, value, credit_bytes: 10_000 });
        t.equal([fields.start_offset, fields.log_start, fields.committed_end], [start, 3n, 6n], `the answer to SUBSCRIBE from ${from} ${value}`);
        t.equal((await client.deliver(id)).batches[0]!.baseOffset, first, `the first batch of a subscription from ${from} ${value}`);
      }
      const next = await subscribe(client, { log, from: 2, credit_bytes: 10_000 });
      t.equal(next.fields.start_offset, 6n, 'start_offset of a subscription from next');
      await produce(client, log, 'g');
      t.equal((await deliveredUpTo(client, next.id, 7n)).map((b) => b.baseOffset), [6n], 'what a subscription from next delivers');
    }),

  define('credit-zero', 'Without credit nothing is sent; the first CREDIT brings batches.', 'SUB-7 SUB-8',
    { kills: ['credit-infinite', 'srv:ignore-credit', 'deaf:CREDIT'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 5);
      const { id } = await subscribe(client, { log });
      t.equal((await arrived(client, id)).length, 0, 'batches without credit');
      await produce(client, log, 'more');
      t.equal((await arrived(client, id)).length, 0, 'batches without credit after a PRODUCE');
      client.request('CREDIT', { add_bytes: 1 }, { id });
      t.equal((await client.deliver(id)).batches.length, 1, 'batches for a credit of 1 byte');
      t.equal((await arrived(client, id)).length, 0, 'batches when the balance is below 0');
    }),

  define('overdraw', 'A batch is sent only while the balance is above 0, and may overdraw it by itself alone.', 'SUB-6 SUB-7 SUB-8',
    { kills: ['credit-infinite', 'srv:ignore-credit', 'credit-doubled', 'srv:credit-without-header'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 20);
      // Batches of 1,000 bytes: 2,500 of credit send three, which leaves −500.
      const { id } = await subscribe(client, { log, credit_bytes: 2_500 });
      t.equal((await deliveredUpTo(client, id, 3n)).length, 3, 'batches for 2,500 bytes of credit');
      t.equal((await arrived(client, id)).length, 0, 'further batches at a balance of −500');
      client.request('CREDIT', { add_bytes: 500 }, { id });
      t.equal((await arrived(client, id)).length, 0, 'batches at a balance of 0');
      client.request('CREDIT', { add_bytes: 1 }, { id });
      t.equal((await deliveredUpTo(client, id, 4n)).length, 1, 'batches at a balance of 1');
      client.request('CREDIT', { add_bytes: 999 }, { id });
      t.equal((await arrived(client, id)).length, 0, 'batches at a balance of 0');
      client.request('CREDIT', { add_bytes: 2_000 }, { id });
      t.equal((await deliveredUpTo(client, id, 6n)).length, 2, 'batches for 2,000 bytes more');
      t.equal((await arrived(client, id)).length, 0, 'further batches');
    }),

  define('credit-each', 'Each subscription has a credit of its own, also several of one log on one connection.', 'SUB-18',
    { kills: ['credit-infinite', 'deaf:CREDIT'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 6);
      const one = await subscribe(client, { log, credit_bytes: 1_000 });
      const two = await subscribe(client, { log });
      const three = await subscribe(client, { log, credit_bytes: 3_000 });
      t.equal((await deliveredUpTo(client, one.id, 1n)).length, 1, 'batches of the first subscription');
      t.equal((await deliveredUpTo(client, three.id, 3n)).length, 3, 'batches of the third subscription');
      t.equal([(await arrived(client, one.id)).length, (await arrived(client, two.id)).length, (await arrived(client, three.id)).length], [0, 0, 0], 'further batches');
      client.request('CREDIT', { add_bytes: 2_000 }, { id: two.id });
      t.equal((await deliveredUpTo(client, two.id, 2n)).length, 2, 'batches of the second subscription after its CREDIT');
      t.equal([(await arrived(client, one.id)).length, (await arrived(client, three.id)).length], [0, 0], 'further batches of the others');
    }),

  define('credit-too-large', 'credit_bytes above 2^31 − 1 gets FLOW_CONTROL; exactly that much is accepted.', 'SUB-9 LIMIT-2',
    { kills: ['status:FLOW_CONTROL', 'accept:FLOW_CONTROL', 'error-for:SUBSCRIBE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const credit_bytes of [0x8000_0000, 0xffff_ffff]) await client.refused('SUBSCRIBE', { log, from: 1, credit_bytes }, 'FLOW_CONTROL');
      await subscribe(client, { log, credit_bytes: 0x7fff_ffff });
    }),

  define('credit-overflow', 'A CREDIT that lifts the balance above 2^31 − 1 ends the subscription with FLOW_CONTROL.', 'SUB-10 SUB-3 SUB-4',
    { kills: ['status:FLOW_CONTROL', 'deaf:CREDIT', 'final-deliver-more', 'srv:credit-wraps'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { id } = await subscribe(client, { log, credit_bytes: 0x7fff_fffe });
      client.request('CREDIT', { add_bytes: 1 }, { id });
      await t.quiet(client, 'after a CREDIT up to 2^31 − 1');
      client.request('CREDIT', { add_bytes: 1 }, { id });
      const end = await client.deliver(id);
      t.equal([end.status, end.more], ['FLOW_CONTROL', false], 'the end of the subscription');
      const other = await subscribe(client, { log, credit_bytes: 5 });
      client.request('CREDIT', { add_bytes: 0xffff_ffff }, { id: other.id });
      t.equal((await client.deliver(other.id)).status, 'FLOW_CONTROL', 'the end of a subscription after a CREDIT of FFFFFFFF');
      await produce(client, log, 'x');
      await t.quiet(client, 'after both subscriptions ended');
    }),

  define('cancel', 'CANCEL ends a subscription by one DELIVER with CANCELED, without MORE; nothing follows.', 'SUB-12 SUB-3 SUB-4 SESS-25',
    { modes: true, kills: ['deaf:CANCEL', 'status:CANCELED', 'final-deliver-more', 'twice:DELIVER'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 3);
      const { id } = await subscribe(client, { log, credit_bytes: 100_000 });
      await deliveredUpTo(client, id, 3n);
      client.request('CANCEL', {}, { id });
      const end = await client.deliver(id);
      t.equal([end.status, end.more], ['CANCELED', false], 'the end of the subscription');
      client.request('CREDIT', { add_bytes: 1_000 }, { id });
      client.request('CANCEL', {}, { id });
      await produce(client, log, 'after the end');
      await t.quiet(client, 'after the subscription ended');
      const again = await subscribe(client, { log, from: 2, credit_bytes: 1_000 });
      await produce(client, log, 'for the new one');
      t.equal((await client.deliver(again.id)).batches.length, 1, 'batches of a new subscription');
    }),

  define('cancel-drains', 'CANCEL in the middle of a stream: whole DELIVERs, then one end, then nothing.', 'SUB-12 SUB-4 SUB-5',
    { kills: ['deaf:CANCEL', 'final-deliver-more', 'batch:drop-middle'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 60, 5_000);
      const { id } = await subscribe(client, { log, credit_bytes: 1 << 30 });
      const all = [...(await client.deliver(id)).batches];
      client.request('CANCEL', {}, { id });
      for (;;) {
        const deliver = await client.deliver(id);
        if (deliver.error) {
          t.equal([deliver.status, deliver.more], ['CANCELED', false], 'the end of the subscription');
          break;
        }
        all.push(...deliver.batches);
      }
      dense(all, 0n);
      await t.quiet(client, 'after the subscription ended');
    }),

  define('cancel-before-answer', 'A SUBSCRIBE cancelled before its answer was sent ends by an error answer to op 31, and none by DELIVER.', 'SUB-13',
    { kills: ['deaf:CANCEL', 'status:CANCELED', 'srv:cancelled-subscribe-delivers'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 1_000, ext: [tlv(CRITICAL | 1, u64(1_000n))] });
      await client.barrier();
      notAnswered(t, client, id, 'a SUBSCRIBE with `after` beyond the end');
      client.request('CANCEL', {}, { id });
      await client.refusedAnswer('SUBSCRIBE', id, 'CANCELED');
      await t.quiet(client, 'after the cancelled SUBSCRIBE was answered');
    }),

  define('overtaken-by-trim', 'A subscription whose next record was trimmed away ends with OFFSET_OUT_OF_RANGE and the range.', 'SUB-14 SUB-3',
    { kills: ['status:OFFSET_OUT_OF_RANGE', 'tlv:range', 'srv:trim-skips-silently'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 5);
      const { id } = await subscribe(client, { log, credit_bytes: 1_000 });
      await deliveredUpTo(client, id, 1n);
      await client.ok('TRIM', { log, offset: 3n });
      client.request('CREDIT', { add_bytes: 10_000 }, { id });
      const end = await client.deliver(id);
      t.equal([end.status, end.more, end.error?.tlvs.range], ['OFFSET_OUT_OF_RANGE', false, { log_start: 3n, committed_end: 5n }], 'the end of the subscription');
    }),

  define('never-ends-by-itself', 'A subscription does not end for want of records, credit or time.', 'SUB-15',
    { slow: true, kills: ['end-when-silent'] }, async (t) => {
      const client = await t.ready();
      const empty = await t.log(client);
      const full = await filled(t, client, 2);
      const waiting = await subscribe(client, { log: empty, credit_bytes: 10_000 });
      const broke = await subscribe(client, { log: full });
      await t.pause(33_000);
      await t.quiet(client, 'while nothing is to be sent for 33 s');
      await produce(client, empty, 'at last');
      t.equal((await client.deliver(waiting.id)).batches.length, 1, 'batches after 33 s without records');
      client.request('CREDIT', { add_bytes: 10_000 }, { id: broke.id });
      await deliveredUpTo(client, broke.id, 2n);
    }),

  define('others-not-delayed', 'A subscription with data or without credit does not delay other requests of the connection.', 'SUB-17',
    { kills: ['in-order-only'] }, async (t) => {
      const client = await t.ready();
      const log = await filled(t, client, 100, 20_000);
      await subscribe(client, { log });
      const greedy = await subscribe(client, { log, credit_bytes: 1 << 30 });
      for (let i = 0; i < 20; i++) {
        await produce(client, log, `beside ${i}`);
        await client.barrier();
      }
      dense(await deliveredUpTo(client, greedy.id, 120n), 0n);
    }),

  define('control-batches', 'Control batches are not delivered and do not count against the credit.', 'SUB-11 SUB-16 BATCH-26',
    { needs: ['feature:conditional'], kills: ['srv:control-visible'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { id } = await subscribe(client, { log, credit_bytes: 1_001 });
      for (let i = 0n; i < 10n; i++) await client.ok('PUT_POSITION', { log, name: 'p', offset: i });
      await client.ok('FENCE', { log, token: 2n });
      await t.quiet(client, 'after control batches');
      for (let i = 0; i < 3; i++) await client.ok('PRODUCE', put(log, sizedBatch(1_000), { fence: 2n }));
      t.equal((await deliveredUpTo(client, id, 2n)).map((b) => [b.baseOffset, b.attributes]), [[0n, 0], [1n, 0]], 'the batches that 1,001 bytes of credit bring');
      t.equal((await arrived(client, id)).length, 0, 'further batches');
    }),

  define('after', 'A SUBSCRIBE with `after` is answered when committed_end has reached it.', 'READ-13',
    { kills: ['strip:after', 'srv:after-ignored'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 10_000, ext: [tlv(CRITICAL | 1, u64(2n))] });
      await produce(client, log, 'a');
      await client.barrier();
      notAnswered(t, client, id, 'a SUBSCRIBE after 2 with committed_end 1');
      await produce(client, log, 'b');
      t.equal((await client.okAnswer('SUBSCRIBE', id)).fields.committed_end, 2n, 'committed_end of the answer');
      dense(await deliveredUpTo(client, id, 2n), 0n);
    }),

  define('after-behind', 'A SUBSCRIBE whose `after` is not reached gets BEHIND after 30 s.', 'READ-13',
    { slow: true, kills: ['status:BEHIND', 'srv:after-ignored', 'tlv:range'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const began = performance.now();
      const id = client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 10_000, ext: [tlv(CRITICAL | 1, u64(5n))] });
      await client.refusedAnswer('SUBSCRIBE', id, 'BEHIND', { range: { log_start: 0n, committed_end: 0n } }, t.ms(35_000));
      const took = performance.now() - began;
      t.ok(took > 29_000, 'BEHIND after 30 s, not before', `after ${Math.round(took)} ms`);
    }),

  define('half-close-ends', 'Subscriptions end when the client has closed its sending side: the connection ends.', 'SESS-22 SESS-20',
    { kills: ['hold-open', 'srv:half-close-keeps-subscriptions'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await subscribe(client, { log, credit_bytes: 10_000 });
      await client.conn.end();
      await client.conn.untilEnded();
    }),

  define('goaway-ends', "Subscriptions end with SHUTTING_DOWN at a client's GOAWAY.", 'SESS-13 SUB-3',
    { kills: ['status:SHUTTING_DOWN', 'goaway-drops-answers', 'final-deliver-more'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { id } = await subscribe(client, { log, credit_bytes: 10_000 });
      client.request('GOAWAY', {}, { id: 0 });
      const end = await client.deliver(id);
      t.equal([end.status, end.more], ['SHUTTING_DOWN', false], 'the end of the subscription');
      await client.conn.untilEnded();
    }),
];
