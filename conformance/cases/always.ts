// Rules that every frame of a server must keep, whatever it answers. Each case makes a tour through
// all operations and many errors, once in a run; what the rules saw there, and on every connection of
// the run, is judged here once instead of failing a hundred cases.
import { area } from '../engine/case.ts';
import type { Case } from '../engine/case.ts';
import type { Context, RunState } from '../engine/context.ts';
import type { RuleName } from '../engine/rules.ts';
import { Failure } from '../engine/failure.ts';
import { batchOf, buildBatch } from '../wire/batch.ts';
import { tlv } from '../wire/codec.ts';
import { buildFrame } from '../wire/frame.ts';
import { CRITICAL } from '../wire/layouts.ts';
import { sizedBatch } from './batches.ts';
import { listLogs, listPositions, logUid, produce, put } from './help.ts';
import { initProducer } from './help.ts';
import { rightRequests } from './payload.ts';
import { subscribe } from './streaming.ts';

const define = area('always', 'core');

/** One of everything: right requests, refusals of most kinds, a subscription, fatal errors. */
async function tour(t: Context): Promise<void> {
  const client = await t.ready({ label: 'tour' });
  const log = await t.log(client);
  for (let i = 0; i < 5; i++) await produce(client, log, `record ${i}`, 'and another');
  for (const [op, input] of rightRequests(t, log)) {
    await client.call(op, input as never);
    await client.call(op, { ...input, ext: [tlv(CRITICAL | 77, Buffer.alloc(1))] } as never);
    if ('log' in input && op !== 'CREATE_LOG') {
      await client.call(op, { ...input, log: 'no-such-log' } as never);
      await client.call(op, { ...input, ext: [logUid(Buffer.alloc(16, 1))] } as never);
    }
  }
  const refused = [batchOf('x').subarray(0, 50), buildBatch({ records: [] }), buildBatch({ records: [{ value: 'x' }], compression: 2 })];
  for (const batch of refused) await client.call('PRODUCE', put(log, batch));
  await client.call('FETCH', { log, value: 99n });
  await client.call('FETCH', { log, value: 0n, max_bytes: 1 << 20, ext: [tlv(CRITICAL | 1, Buffer.from('0000000000000063', 'hex'))] });
  await client.call('FETCH', { log, value: 2n, ext: [tlv(CRITICAL | 3, Buffer.from('0000000000000063', 'hex'))] });
  await client.call('FETCH', { log, from: 1, max_bytes: 1 << 20 });
  if (t.has('conditional')) await conditionalTour(t, log);
  if (t.has('idempotence')) await idempotentTour(t, log);
  if (t.has('streaming')) await streamingTour(t, log);
  await listLogs(client, '');
  client.sendOp(0x7f, Buffer.alloc(0), { id: 60_001 });
  await client.conn.takeFrame('the answer to a GREASE op', (frame) => frame.id === 60_001);
  await client.barrier();
  await sizeTour(t);
  await fatalTour(t);
}

/** Batches that together exceed the least max_frame, read by a client that takes no more than that. */
async function sizeTour(t: Context): Promise<void> {
  const client = await t.ready({ label: 'tour: sizes' });
  const { max_batch } = client.hello;
  const log = await t.log(client);
  for (let i = 0; i < 2; i++) await client.ok('PRODUCE', put(log, sizedBatch(Math.floor(max_batch * 0.6))));
  const small = await t.ready({ label: 'tour: small frames', hello: { max_frame: max_batch + 8_192 } });
  await small.call('FETCH', { log, from: 1, max_bytes: 0xffff_ffff });
  if (!t.has('streaming')) return;
  const id = small.request('SUBSCRIBE', { log, from: 1, credit_bytes: 1 << 30 });
  await small.okAnswer('SUBSCRIBE', id);
  await small.conn.waitFor('a DELIVER', () => small.conn.inbox.find((frame) => frame.id === id));
}

async function conditionalTour(t: Context, log: string): Promise<void> {
  const client = await t.ready({ label: 'tour: conditional' });
  await client.call('PRODUCE', put(log, batchOf('x'), { expected_offset: 500n }));
  await client.call('PRODUCE', put(log, batchOf('x'), { fence: 5n }));
  await client.call('GET_POSITION', { log, name: 'none' });
  await client.call('PUT_POSITION', { log, name: 'mine', offset: 3n, expected: 7n });
  await listPositions(client, log);
}

async function idempotentTour(t: Context, log: string): Promise<void> {
  const client = await t.ready({ label: 'tour: idempotence' });
  const { producer_id: id, epoch } = await initProducer(client, log, 'tour');
  const make = (seq: bigint, value = 'x', other = id): Buffer => buildBatch({ records: [{ value }], producer: { id: other, epoch, seq } });
  for (const batch of [make(0n), make(0n), make(0n, 'y'), make(9n), make(0n, 'x', 5n)]) await client.call('PRODUCE', put(log, batch));
  await initProducer(client, log, 'tour');
  await client.call('PRODUCE', put(log, make(1n)));
}

async function streamingTour(t: Context, log: string): Promise<void> {
  const client = await t.ready({ label: 'tour: streaming' });
  await client.call('SUBSCRIBE', { log, from: 1, credit_bytes: 0x8000_0000 });
  const { id } = await subscribe(client, { log, credit_bytes: 100_000 });
  await client.deliver(id);
  client.request('CREDIT', { add_bytes: 1_000 }, { id });
  await produce(client, log, 'for the subscription');
  client.request('CANCEL', {}, { id });
  await client.conn.waitFor('the end of the subscription', () => (client.conn.inbox.some((frame) => frame.id === id && frame.status !== 0) ? true : undefined));
  await client.barrier();
}

async function fatalTour(t: Context): Promise<void> {
  const frames = [{ flags: 4 }, { id: 0 }, { op: 0x60 }, { length: 0xffff_ffff }, { op: 1 }];
  for (const frame of frames) {
    const client = await t.ready({ label: 'tour: fatal' });
    client.conn.write(buildFrame({ op: 3, id: 9, payload: Buffer.alloc(6), ...frame }));
    await client.conn.untilEnded();
  }
  const client = await t.client({ label: 'tour: HELLO refused' });
  await client.open({ max_frame: 5 }).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
  });
}

/** Runs that have made their tour, or are making it. */
const tours = new WeakMap<RunState, Promise<void>>();

/** True when the tour was made for this case. */
async function tourOfRun(t: Context): Promise<boolean> {
  const made = tours.get(t.run);
  if (made !== undefined && (await made.then(() => true, () => false))) return false;
  const own = tour(t);
  tours.set(t.run, own);
  await own;
  return true;
}

function rule(slug: RuleName, title: string, reqs: string, kills: readonly string[]): Case {
  return define(slug, title, reqs, { kills }, async (t) => {
    const isOwn = await tourOfRun(t);
    const breaches = t.run.violations.filter((violation) => violation.rule === slug);
    // Once more for the trace: a failure shows the connections of its own case.
    if (breaches.length > 0 && !isOwn) await tour(t);
    const texts = [...new Set(breaches.map(({ text, caseId }) => (caseId === t.caseId ? text : `${text} (seen in ${caseId})`)))];
    if (texts.length > 0) t.fail(title, 'no breach on any connection of the run', texts.slice(0, 8).join('; '));
  });
}

export const alwaysCases = [
  rule('layout', 'Every OK answer, GOAWAY and PING has the layout of its op byte for byte: big-endian, no u64 above 2^53 − 1, NONE only where allowed.', 'TYPE-1 TYPE-2 FRAME-16',
    ['answer-trailing:DESCRIBE_LOG', 'answer-u64-huge:PRODUCE']),
  rule('error-body', 'Every error answer has an error body and nothing after it.', 'ERR-3', ['error-trailing', 'error-empty']),
  rule('class', 'Every error has the class of §11.2, with bit 04 in addition where the connection ends.', 'ERR-1', ['class-flip', 'clear-fatal']),
  rule('error-tlvs', 'Every error has the TLVs of §11.2.', 'ERR-2', ['no-tlv:field', 'no-tlv:range', 'no-tlv:log_uid']),
  rule('fatal-is-goaway', 'Errors with bit 04 come as GOAWAY, but for those of HELLO and AUTH.', 'ERR-4', ['fatal-answers']),
  rule('known-status', 'No status is used that §11.2 does not list.', 'ERR-7 TYPE-27', ['unknown-status']),
  rule('no-critical-tlv', 'No answer has a critical TLV.', 'TYPE-23', ['critical-in-answers']),
  rule('assigned-numbers', 'Flags, ops and TLV types that the protocol leaves unassigned are not used (GREASE apart).', 'TYPE-27 TYPE-26', ['strange-tlv', 'strange-flag']),
  rule('answers-match', 'Every answer has RESPONSE, the id and the op of a request that is open.', 'FRAME-16 FRAME-15', ['twice:PING', 'answer-op']),
  rule('more', 'MORE is set on every frame of an answer but the last, and nowhere else.', 'FRAME-17 SUB-2 SUB-3', ['more-on:PING', 'deliver-without-more']),
  rule('frame-length', "No frame is longer than the client's max_frame.", 'FRAME-19', ['raise-max-frame']),
  rule('after-goaway', 'No frame follows a GOAWAY with bit 04.', 'SESS-9', ['frame-after-goaway']),
  rule('batches-sound', 'Every batch that is sent has right checksums and stamps.', 'READ-27 BATCH-22', ['batch:flip-body', 'batch:flip-header']),
  rule('no-control-batch', 'No control batch is ever sent on plane C.', 'BATCH-26', ['batch:control']),
  rule('batch-size', 'No batch is larger than the announced max_batch.', 'HELLO-21', ['answer-small-max-batch']),
  rule('batches-dense', 'The batches of one answer follow each other without gaps.', 'READ-16 BATCH-23', ['batch:drop-middle']),
  rule('stamps-rise', 'append_time and term do not go down, and index rises, within every answer.', 'BATCH-24 BATCH-25', ['batch:index-down']),
  rule('deliver-order', 'DELIVER comes after the OK answer of its SUBSCRIBE, with at least one batch.', 'SUB-1 SUB-16', ['deliver-empty']),
  define('messages-keep-secrets', 'Messages of errors hold no record contents and no tokens.', 'ERR-6',
    { kills: ['message-tells-payload'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const secret = 'correct-horse-battery';
      const broken = batchOf(secret);
      broken[broken.length - 1]! ^= 1;
      const errors = [
        await client.refused('PRODUCE', put(log, broken), 'CORRUPT_BATCH'),
        await client.refused('PRODUCE', put(log, Buffer.concat([batchOf(secret), Buffer.alloc(1)])), 'CORRUPT_BATCH'),
        await client.refused('AUTH', { mech: 'token', data: Buffer.from(secret), ext: [tlv(CRITICAL | 9, Buffer.from(secret))] }, ['UNSUPPORTED_FEATURE', 'INVALID_ARGUMENT']),
        await client.refused('PING', { data: Buffer.from(secret.repeat(5)) }, 'INVALID_ARGUMENT'),
      ];
      for (const { name, message } of errors) t.ok(!message.includes(secret), `a message of ${name} without what the client sent`, message);
    }),
  define('no-effect-without-outcome-unknown', 'An error without OUTCOME_UNKNOWN means that the request had no effect, whatever it asked for.', 'ERR-5 DUR-7',
    { kills: ['status-after-effect', 'srv:store-half'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'first');
      const before = await client.ok('DESCRIBE_LOG', { log });
      const wrong = logUid(Buffer.alloc(16, 3));
      const critical = tlv(CRITICAL | 77, Buffer.alloc(0));
      const broken = batchOf('a record whose batch has a wrong checksum');
      broken[broken.length - 1]! ^= 1;
      const calls = [
        await client.call('PRODUCE', put(log, broken)),
        await client.call('PRODUCE', put(log, batchOf('x'), { ext: [wrong] })), await client.call('PRODUCE', put(log, batchOf('x'), { ext: [critical] })),
        await client.call('TRIM', { log, offset: 1n, ext: [wrong] }), await client.call('TRIM', { log, offset: 1n, ext: [critical] }),
        await client.call('ALTER_LOG', { log, retain_ms: 5n, ext: [critical] }), await client.call('DELETE_LOG', { log, ext: [wrong] }),
        await client.call('CREATE_LOG', { log: `${log}-x`, durability: 1, ext: [critical] }),
      ];
      for (const { error, status } of calls) t.ok(error !== null && (error.class & 2) === 0, 'an error without OUTCOME_UNKNOWN', status);
      // One that only seems refused: what was acked or refused before must agree with what is there.
      const produced = await client.call('PRODUCE', put(log, batchOf('second')));
      const after = await client.ok('DESCRIBE_LOG', { log });
      t.equal(after.committed_end, before.committed_end + (produced.error === null ? 1n : 0n), 'committed_end by what was acked');
      t.equal([after.log_start, after.retain_ms, after.log_uid], [before.log_start, before.retain_ms, before.log_uid], 'log_start, retain_ms and log_uid after refused requests');
      await client.refused('DESCRIBE_LOG', { log: `${log}-x` }, 'LOG_NOT_FOUND');
    }),
];
