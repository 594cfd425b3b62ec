// §5.7 and the stop of a server (§5.4): idleness, and GOAWAY from the server's side.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { batchOf } from '../wire/batch.ts';
import { errorByName } from '../wire/errors.ts';
import { FLAG_RESPONSE, buildFrame, buildPreface } from '../wire/frame.ts';
import { holds, notAnswered, produce, put, waitingFetch } from './help.ts';

const define = area('idle', 'core');
/** The shortest idle time that a server grants. */
const IDLE_MS = 5_000;

/** Waits for the server's PING on a connection with the shortest idle time. */
async function serverPing(t: Context, client: Client, began: number): Promise<{ id: number; payload: Buffer }> {
  const frame = await client.conn.takeFrame("the server's PING", (f) => f.op === 3 && (f.flags & FLAG_RESPONSE) === 0, t.ms(4_500));
  const took = performance.now() - began;
  t.ok(took > IDLE_MS / 2 - 500, 'a PING after half of idle_ms, not before', `after ${Math.round(took)} ms`);
  return frame;
}

async function idleClient(t: Context): Promise<Client> {
  const client = await t.ready({ hello: { idle_ms: IDLE_MS } });
  client.pong = false;
  return client;
}

export const idleCases = [
  define('ping-then-end', 'After half of idle_ms without a byte the server sends a PING, after all of it IDLE_TIMEOUT.', 'SESS-28 SESS-29',
    { slow: true, kills: ['status:IDLE_TIMEOUT', 'no-server-ping', 'hold-open'] }, async (t) => {
      const began = performance.now();
      const client = await idleClient(t);
      await serverPing(t, client, began);
      await client.endedWith('IDLE_TIMEOUT', {}, t.ms(4_500));
      const took = performance.now() - began;
      t.ok(took > IDLE_MS - 500, 'the end after idle_ms, not before', `after ${Math.round(took)} ms`);
    }),

  define('every-byte-counts', 'Every received byte is a sign of life: answers to PINGs, ignored frames, parts of frames.', 'SESS-30 FRAME-24',
    { slow: true, kills: ['drop-answers-of-client'] }, async (t) => {
      const answering = await idleClient(t);
      const nonsense = await idleClient(t);
      const trickling = await idleClient(t);
      const began = performance.now();
      const frame = trickling.bytesOf('PING', { data: Buffer.alloc(20) });
      for (let at = 0; performance.now() - began < 8_000; at++) {
        await t.pause(400);
        for (const [client, payload] of [[answering, null], [nonsense, Buffer.from('not the layout')]] as const) {
          const ping = client.conn.inbox.find((f) => f.op === 3 && (f.flags & FLAG_RESPONSE) === 0);
          if (ping === undefined) continue;
          client.conn.inbox.splice(client.conn.inbox.indexOf(ping), 1);
          client.conn.write(buildFrame({ op: 3, flags: FLAG_RESPONSE, id: ping.id, payload: payload ?? ping.payload }), true);
        }
        if (at < frame.length) trickling.conn.write(frame.subarray(at, at + 1));
      }
      for (const client of [answering, nonsense, trickling]) t.equal(client.conn.ended, null, 'how the connection ended within 8 s');
      await answering.barrier();
      await nonsense.barrier();
    }),

  define('own-ids', "The server's PING ids are apart from the client's open requests.", 'FRAME-20 FRAME-24',
    { slow: true, kills: ['no-server-ping'] }, async (t) => {
      const client = await idleClient(t);
      const log = await t.log(await t.ready({ label: 'helper' }));
      const waits: number[] = [];
      for (let id = client.skipIds(41) - 40; waits.length < 40; id++) waits.push(client.request('FETCH', { log, from: 2, min_bytes: 1, max_bytes: 100, max_wait_ms: 600_000 }, { id }));
      const began = performance.now();
      await client.barrier();
      const ping = await serverPing(t, client, began);
      client.conn.write(buildFrame({ op: 3, flags: FLAG_RESPONSE, id: ping.id, payload: ping.payload }), true);
      const helper = await t.ready({ label: 'helper' });
      await produce(helper, log, 'wake up');
      for (const id of waits) await client.okAnswer('FETCH', id);
      t.note(`the server's PING had the id ${ping.id}`);
    }),

  define('never', 'A connection that was granted idle_ms FFFFFFFF is not ended, nor a waiting FETCH, for silence.', 'SESS-32',
    { slow: true, kills: ['srv:never-is-default', 'end-when-silent'] }, async (t) => {
      const client = await t.ready();
      if (client.hello.idle_ms !== 0xffff_ffff) t.skip('plaintext', 'idle_ms FFFFFFFF is not granted here');
      client.pong = false; // a client that never sends a byte, not even answers
      const log = await t.log(client);
      const id = await waitingFetch(t, client, log);
      await t.pause(8_000);
      const helper = await t.ready({ label: 'helper' });
      await produce(helper, log, 'at last');
      await client.okAnswer('FETCH', id);
    }),

  define('stands-still-unread', 'Idle time does not pass while the server itself does not read.', 'SESS-31',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['srv:idle-while-paused'] }, async (t) => {
      const client = await t.ready({ hello: { idle_ms: IDLE_MS } });
      const log = await t.log(client);
      await t.hook('slowsync', { ms: 7_000 });
      // More requests than max_inflight: the server stops reading until the disk answers.
      const ids = Array.from({ length: client.hello.max_inflight + 10 }, () => client.request('PRODUCE', put(log, batchOf('x'))));
      client.request('PING', {}, { id: 60_000 });
      await t.pause(1_000);
      await t.hook('slowsync', { ms: 0 }); // the sync that has begun takes its 7 s, those after it do not
      await client.conn.takeFrame('the answer to the PING behind', (f) => f.id === 60_000 || f.op === 4, t.ms(20_000));
      for (const id of ids) await client.okAnswer('PRODUCE', id, t.ms(20_000));
    }),
];

const stop = area('stop', 'core', ['hook:stop', 'hook:start']);

/** Starts the stop hook, runs `watch` beside it, and starts the server again. */
async function whileStopping(t: Context, watch: () => Promise<void>): Promise<void> {
  t.disruptive = true;
  const stopping = t.hook('stop');
  try {
    await watch();
  } finally {
    await stopping.catch(() => null);
    await t.start();
  }
  await stopping;
}

export const stopCases = [
  stop('goaway', 'A server that is asked to stop sends GOAWAY with SHUTTING_DOWN on every READY connection, and ends it in time.', 'SESS-10 SESS-15',
    { exclusive: true, kills: ['srv:stop-without-goaway', 'goaway-dropped'] }, async (t) => {
      const clients = [await t.ready(), await t.ready(), await t.ready()];
      await whileStopping(t, async () => {
        for (const client of clients) {
          const goaway = await client.goaway(t.ms(10_000));
          t.equal(goaway.code, 'SHUTTING_DOWN', 'the code of the GOAWAY');
          await client.conn.untilEnded(goaway.graceMs + t.ms(5_000));
        }
      });
    }),

  stop('not-ready', 'While a server that stops finishes its requests, connections before HELLO end at once, and a preface that comes now is refused.', 'SESS-43 SESS-44 SESS-10',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['srv:stop-keeps-handshakes'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const silent = await t.connect({ label: 'before the preface' });
      const prefaced = await t.client({ label: 'before HELLO' });
      prefaced.conn.write(buildPreface());
      await prefaced.conn.takeRaw(8, 'the preface');
      prefaced.conn.startFraming();
      await t.hook('slowsync', { ms: 1_500 });
      const slow = client.request('PRODUCE', put(log, batchOf('slow')));
      await client.barrier();
      await whileStopping(t, async () => {
        await client.goaway(t.ms(10_000));
        silent.write(buildPreface());
        await silent.untilEnded(t.ms(1_000));
        const status = errorByName('SHUTTING_DOWN').code;
        t.ok(silent.raw.length === 0 || silent.raw.equals(Buffer.from([0xfa, 0x53, 0x4c, 0x47, 0x43, 0, 0, status])), 'a preface refused with SHUTTING_DOWN, or no byte', silent.raw.toString('hex'));
        await prefaced.conn.untilEnded(t.ms(1_000));
        const frame = prefaced.conn.inbox[0];
        if (frame !== undefined) await prefaced.endedWith('SHUTTING_DOWN');
        notAnswered(t, client, slow, 'a PRODUCE that still waits for the disk');
        await client.okAnswer('PRODUCE', slow, t.ms(10_000));
      });
    }),

  stop('finishes-requests', 'What the server had read before its GOAWAY is finished and answered.', 'SESS-11',
    { exclusive: true, kills: ['srv:goaway-drops-inflight'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      // If the disk can be made slow, all of it is still in flight when the stop comes.
      if (t.target.hooks.has('slowsync')) await t.hook('slowsync', { ms: 700 });
      const sent: { id: number; value: string }[] = [];
      for (let i = 0; i < 200; i++) {
        const value = `v${i}`;
        sent.push({ id: client.request('PRODUCE', put(log, batchOf(value.padEnd(2_000, '.')))), value });
      }
      const last = client.request('PING');
      await client.conn.takeFrame('the answer to the PING', (f) => f.id === last);
      const acked: string[] = [];
      await whileStopping(t, async () => {
        for (const { id, value } of sent) {
          const answer = await client.answer('PRODUCE', id, t.ms(10_000));
          t.equal(answer.status, 'OK', `the answer to a PRODUCE that was read before the stop (${value})`);
          acked.push(value.padEnd(2_000, '.'));
        }
      });
      const again = await t.ready();
      // A server in memory has lost the log; whether it may is for the cases about durability.
      if ((await again.call('DESCRIBE_LOG', { log })).status !== 'LOG_NOT_FOUND') await holds(t, again, log, acked);
    }),

  stop('wakes-fetch', 'A waiting FETCH is answered at once, with what there is, when the server stops.', 'SESS-12',
    { exclusive: true, kills: ['srv:goaway-drops-waits', 'drop-answer:FETCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'small');
      const id = await waitingFetch(t, client, log, { from: 0, value: 0n, min_bytes: 1 << 20 });
      await whileStopping(t, async () => {
        const { fields } = await client.okAnswer('FETCH', id, t.ms(10_000));
        t.ok(fields.batches.length > 0, 'the record that was there', 'no batch');
      });
    }),

  stop('ends-subscriptions', 'Subscriptions end with SHUTTING_DOWN when the server stops.', 'SESS-13',
    { needs: ['feature:streaming'], exclusive: true, kills: ['status:SHUTTING_DOWN', 'srv:goaway-drops-waits'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 1000 });
      await client.okAnswer('SUBSCRIBE', id);
      await whileStopping(t, async () => {
        const end = await client.deliver(id, t.ms(10_000));
        t.equal([end.status, end.more], ['SHUTTING_DOWN', false], 'the end of the subscription');
      });
    }),

  stop('later-requests', 'Requests after the GOAWAY of the server get SHUTTING_DOWN while it still reads; PING is answered as always.', 'SESS-14',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['status:SHUTTING_DOWN', 'srv:draining-accepts'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await t.hook('slowsync', { ms: 1_000 });
      const slow = client.request('PRODUCE', put(log, batchOf('slow')));
      await client.barrier();
      await whileStopping(t, async () => {
        const goaway = await client.goaway(t.ms(10_000));
        t.equal(goaway.class & 4, 0, 'class bit 04 of the GOAWAY of a server that goes on');
        const late = client.request('PRODUCE', put(log, batchOf('late')));
        const ping = client.request('PING', { data: Buffer.from('still') });
        await client.refusedAnswer('PRODUCE', late, 'SHUTTING_DOWN');
        await client.okAnswer('PING', ping);
        await client.okAnswer('PRODUCE', slow, t.ms(10_000));
      });
    }),
];
