// §5.1: HELLO, what it settles, and what comes before it.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { demandError } from '../net/client.ts';
import type { Client } from '../net/client.ts';
import { batchOf } from '../wire/batch.ts';
import type { ErrorTlvs } from '../wire/errors.ts';
import { buildFrame, buildPreface } from '../wire/frame.ts';
import type { InputOf } from '../wire/layouts.ts';
import { holds, put } from './help.ts';

const define = area('hello', 'core');
const NEVER = 0xffff_ffff;

/** A connection whose preface is answered and whose HELLO is not sent. */
export async function prefaced(t: Context): Promise<Client> {
  const client = await t.client();
  client.conn.write(buildPreface());
  await client.conn.takeRaw(8, 'the preface');
  client.conn.startFraming();
  return client;
}

/** Sends this HELLO and demands an error answer with the fatal bit, and the end without a GOAWAY. */
async function helloRefused(t: Context, hello: InputOf<'HELLO'>, error: string, tlvs: ErrorTlvs = {}): Promise<void> {
  const client = await prefaced(t);
  const id = client.request('HELLO', { max_frame: 4 << 20, client: 'refused', ...hello });
  demandError(await client.answer('HELLO', id), 'HELLO', error, tlvs);
  await client.conn.untilEnded();
  t.equal(client.conn.inbox.length, 0, 'frames after the refusal of HELLO');
}

export const helloCases = [
  define('first-request', 'Any first request other than HELLO ends the connection with OP_NOT_ALLOWED.', 'HELLO-1',
    { kills: ['status:OP_NOT_ALLOWED', 'srv:op-before-hello'] }, async (t) => {
      for (const op of [0x02, 0x03, 0x04, 0x05, 0x10, 0x19, 0x20, 0x32]) {
        const client = await prefaced(t);
        client.conn.write(buildFrame({ op, id: 1, payload: Buffer.alloc(6) }));
        await client.endedWith('OP_NOT_ALLOWED');
      }
    }),

  define('second', 'A second HELLO ends the connection with OP_NOT_ALLOWED.', 'HELLO-2',
    { kills: ['status:OP_NOT_ALLOWED', 'srv:second-hello'] }, async (t) => {
      const client = await t.ready();
      client.request('HELLO', { max_frame: 4 << 20, client: 'again' });
      await client.endedWith('OP_NOT_ALLOWED');
    }),

  define('minor', 'Any minor of the client is accepted; the answer is the lower of both.', 'HELLO-3 TYPE-28',
    { modes: true, kills: ['answer:HELLO.minor', 'srv:minor-refused'] }, async (t) => {
      for (const minor of [0, 1, 9_999, 0xffff]) {
        const client = await t.client();
        const hello = await client.open({ minor });
        t.equal(hello.minor, 0, `the answer to minor ${minor}`);
        await client.barrier();
      }
    }),

  define('features', 'Unknown feature bits, GREASE included, are ignored: the active ones are 0 in 1.0.', 'HELLO-4 HELLO-5',
    { kills: ['answer:HELLO.features', 'srv:features-refused'] }, async (t) => {
      for (const features of [1n, 1n << 20n, 0xfn << 48n, (1n << 53n) - 1n]) {
        const client = await t.ready({ hello: { features } });
        t.equal(client.hello.features, 0n, `the active features for ${features}`);
        await client.barrier();
      }
    }),

  define('max-frame-too-small', 'A max_frame below max_batch + 8,192 is refused with the least accepted value.', 'HELLO-6 HELLO-15 HELLO-16',
    { kills: ['status:INVALID_ARGUMENT', 'tlv:field', 'tlv:limit', 'clear-fatal', 'hold-open'] }, async (t) => {
      const { hello } = await t.ready();
      const least = hello.max_batch + 8_192;
      for (const max_frame of [0, 12, 16_384, least - 1]) {
        await helloRefused(t, { max_frame }, 'INVALID_ARGUMENT', { field: 'max_frame', limit: BigInt(least) });
      }
    }),

  define('max-frame-accepted', 'Every max_frame from max_batch + 8,192 to FFFFFFFF is accepted, and the server announces at least as much.', 'HELLO-7 HELLO-8 LIMIT-1',
    { kills: ['answer-zero:HELLO.max_frame', 'srv:max-frame-strict'] }, async (t) => {
      const { hello } = await t.ready();
      const least = hello.max_batch + 8_192;
      t.ok(hello.max_frame >= least && hello.max_frame <= 64 << 20, `max_frame from ${least} to 64 MiB`, hello.max_frame);
      t.ok(hello.max_batch >= 64 << 10 && hello.max_batch <= 32 << 20, 'max_batch from 64 KiB to 32 MiB', hello.max_batch);
      t.ok(hello.max_inflight >= 1, 'max_inflight at least 1', hello.max_inflight);
      for (const max_frame of [least, least + 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
        await (await t.ready({ hello: { max_frame } })).barrier();
      }
    }),

  define('idle-wish', 'A wished idle_ms from 5,000 to 600,000 is granted; any other is moved to the nearer bound.', 'HELLO-9 HELLO-10',
    { kills: ['answer:HELLO.idle_ms', 'srv:idle-not-clamped'] }, async (t) => {
      for (const [wish, granted] of [[5_000, 5_000], [5_001, 5_001], [600_000, 600_000], [1, 5_000], [4_999, 5_000], [600_001, 600_000], [0xffff_fffe, 600_000]] as const) {
        t.equal((await t.ready({ hello: { idle_ms: wish } })).hello.idle_ms, granted, `idle_ms granted for ${wish}`);
      }
      const own = (await t.ready({ hello: { idle_ms: 0 } })).hello.idle_ms;
      t.ok(own >= 5_000 && own <= 600_000, "the server's own idle_ms from 5,000 to 600,000", own);
    }),

  define('idle-never', 'On loopback idle_ms FFFFFFFF is granted.', 'HELLO-11',
    { kills: ['answer:HELLO.idle_ms'] }, async (t) => {
      if (!/^(127\.|::1$|localhost$)/.test(t.target.endpoints[0]!.host)) t.skip('plaintext', 'the target is not on loopback');
      t.equal((await t.ready({ hello: { idle_ms: NEVER } })).hello.idle_ms, NEVER, 'idle_ms granted for never');
    }),

  define('idle-never-from-afar', 'From another address idle_ms FFFFFFFF is answered with 600,000.', 'HELLO-12',
    { needs: ['far', 'tls'], kills: ['srv:far-is-near'] }, async (t) => {
      const client = await t.ready({ endpoint: t.target.far!, transport: 'tls', hello: { idle_ms: NEVER } });
      t.equal(client.hello.idle_ms, 600_000, 'idle_ms granted for never, from afar');
    }),

  define('cluster-id', 'The cluster_id is never zeros and the same on every connection; its own is accepted.', 'HELLO-14 HELLO-13',
    { kills: ['answer:HELLO.cluster_id'] }, async (t) => {
      const { cluster_id } = (await t.ready()).hello;
      t.ok(!cluster_id.equals(Buffer.alloc(16)), 'a cluster_id that is not zeros', cluster_id);
      for (let i = 0; i < 3; i++) {
        const client = await t.ready({ hello: { cluster_id } });
        t.equal(client.hello.cluster_id, cluster_id, 'the cluster_id of another connection');
        t.equal((await client.ok('DESCRIBE_CLUSTER')).cluster_id, cluster_id, 'the cluster_id of DESCRIBE_CLUSTER');
      }
    }),

  define('wrong-cluster', 'Another cluster_id is refused with WRONG_CLUSTER and ends the connection without a GOAWAY.', 'HELLO-13 HELLO-16',
    { kills: ['status:WRONG_CLUSTER', 'accept:WRONG_CLUSTER', 'hold-open'] }, async (t) => {
      const { cluster_id } = (await t.ready()).hello;
      const other = Buffer.from(cluster_id);
      other[15]! ^= 1;
      for (const wrong of [other, Buffer.alloc(16, 0xff), Buffer.alloc(16, 1)]) await helloRefused(t, { cluster_id: wrong }, 'WRONG_CLUSTER');
    }),

  define('errors-are-fatal', 'Every error answer to HELLO has class bit 04 and ends the connection without a GOAWAY.', 'HELLO-15 HELLO-16 ERR-1',
    { kills: ['clear-fatal', 'hold-open', 'status:UNSUPPORTED_FEATURE'] }, async (t) => {
      await helloRefused(t, { ext: [{ type: 0x8000 | 77, value: Buffer.alloc(1) }] }, 'UNSUPPORTED_FEATURE');
      await helloRefused(t, { features: 1n << 53n }, 'INVALID_ARGUMENT', { field: 'features' });
      await helloRefused(t, { client: Buffer.from([0xff]) }, 'INVALID_ARGUMENT', { field: 'client' });
    }),

  define('in-time', 'HELLO that has not come in full within 5 s ends the connection with IDLE_TIMEOUT.', 'HELLO-17',
    { slow: true, kills: ['status:IDLE_TIMEOUT', 'hold-open', 'goaway-dropped'] }, async (t) => {
      // Before the first connection: when we are slow, the server's 5 s run already.
      const began = performance.now();
      const silent = await prefaced(t);
      const partial = await prefaced(t);
      partial.conn.write(partial.bytesOf('HELLO', { max_frame: 4 << 20 }).subarray(0, 30));
      for (const client of [silent, partial]) {
        const timeout = t.ms(7_000);
        await client.endedWith('IDLE_TIMEOUT', {}, timeout);
        const took = performance.now() - began;
        t.ok(took > 4_500, 'the end after 5 s, not before', `after ${Math.round(took)} ms`);
      }
    }),

  define('answers-in-order', 'Until READY answers come in the order of the requests.', 'HELLO-18 AUTH-1',
    { kills: ['hold-first-answer', 'deaf:AUTH'] }, async (t) => {
      const client = await t.client();
      const bytes = [
        buildPreface(), client.bytesOf('HELLO', { max_frame: 4 << 20, idle_ms: NEVER }), client.bytesOf('AUTH', { mech: 'token', data: Buffer.from('x') }),
        client.bytesOf('PING', { data: Buffer.from('p') }),
      ];
      client.conn.write(Buffer.concat(bytes));
      await client.conn.takeRaw(8, 'the preface');
      client.conn.startFraming();
      const first = await client.conn.takeFrame('the first frame', () => true);
      t.equal(first.op, 1, 'the op of the first answer');
      if (first.payload.readUInt8(0) !== 0 && first.status !== 0) t.fail('HELLO', 'OK', `status ${first.status}`);
      await client.okAnswer('AUTH', 2);
      await client.okAnswer('PING', 3);
    }),

  define('requests-with-hello', 'Requests sent together with HELLO are carried out as if sent after its answer.', 'HELLO-19',
    { kills: ['deaf-to-first-chunk', 'deaf:PRODUCE'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      const client = await t.client();
      client.conn.write(Buffer.concat([
        buildPreface(), client.bytesOf('HELLO', { max_frame: 4 << 20, idle_ms: NEVER }), client.bytesOf('PRODUCE', put(log, batchOf('early'))),
        client.bytesOf('DESCRIBE_LOG', { log }),
      ]));
      await client.conn.takeRaw(8, 'the preface');
      client.conn.startFraming();
      const hello = await client.okAnswer('HELLO', 1);
      if (hello.fields.auth_required === 1) t.skip('auth', 'the target wants AUTH');
      await client.okAnswer('PRODUCE', 2);
      await client.okAnswer('DESCRIBE_LOG', 3);
      await holds(t, helper, log, ['early']);
    }),

  define('client-name', 'What a client calls itself makes no difference.', 'HELLO-20',
    { kills: ['srv:client-name'] }, async (t) => {
      const { client: _name, ...first } = { ...(await t.ready()).hello, client: '' };
      for (const client of ['', 'sidelog', 'kafka', 'x'.repeat(8_000), 'näme ☃', '\0\n']) {
        const other = await t.ready({ hello: { client } });
        t.equal(other.hello, first, `the answer to the client ${JSON.stringify(client.slice(0, 20))}`);
        await other.barrier();
      }
    }),

  define('auth-not-required', 'Without auth_required every AUTH is answered done 1 with empty data, whatever is in it.', 'AUTH-1',
    { modes: true, kills: ['answer:AUTH.done', 'answer:AUTH.data', 'deaf:AUTH'] }, async (t) => {
      const client = await t.ready();
      if (client.hello.auth_required === 1) t.skip('auth', 'the target wants AUTH');
      for (const [mech, data] of [['token', 'secret'], ['', ''], ['no-such-mech', 'x'.repeat(3_000)]] as const) {
        const answer = await client.ok('AUTH', { mech, data: Buffer.from(data) });
        t.equal([answer.done, answer.data.length], [1, 0], `the answer to AUTH by ${mech}`);
      }
    }),
];
