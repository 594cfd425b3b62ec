// §5.8 and §12: many requests, slow readers, floods, limits.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { batchOf, buildBatch } from '../wire/batch.ts';
import { buildFrame } from '../wire/frame.ts';
import { committedEnd, fetch, notAnswered, produce, put, residentKiB } from './help.ts';

const define = area('pressure', 'core');

/** Writes until the kernel takes no more for a while: how many bytes the other side let in. */
async function writeUntilStuck(t: Context, client: Client, chunk: Buffer, limit: number): Promise<number> {
  const { socket } = client.conn;
  let written = 0;
  while (written < limit && !socket.destroyed) {
    const took = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), Math.max(2_000, t.ms(2_000)));
      socket.write(chunk, () => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    if (!(await took)) break;
    written += chunk.length;
  }
  return written;
}

export const pressureCases = [
  define('beyond-max-inflight', 'More requests than max_inflight are not failed: all are answered.', 'SESS-33 SESS-34',
    { kills: ['srv:inflight-fails', 'swallow:PRODUCE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const n = Math.min(client.hello.max_inflight * 2 + 50, 5_000);
      const batch = batchOf('x');
      const frames = Array.from({ length: n }, (_, i) => client.bytesOf('PRODUCE', put(log, batch), { id: 10_000 + i }));
      client.conn.write(Buffer.concat(frames));
      for (let i = 0; i < n; i++) await client.okAnswer('PRODUCE', 10_000 + i, t.ms(30_000));
      t.equal(await committedEnd(client, log), BigInt(n), `committed_end after ${n} PRODUCEs at once`);
    }),

  define('waits-do-not-count', 'Waiting FETCHes do not count as in flight, and at least 256 of them are allowed.', 'SESS-34 SESS-35',
    { kills: ['srv:waits-limit-100', 'accept-waits:200'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const input = { log, from: 2, min_bytes: 1, max_bytes: 1_000, max_wait_ms: 600_000 };
      const ids = Array.from({ length: 256 }, () => client.request('FETCH', input));
      await client.barrier();
      for (const id of ids) notAnswered(t, client, id, 'one of 256 waiting FETCHes');
      const batch = batchOf('x');
      for (let i = 0; i < 100; i++) client.request('DESCRIBE_LOG', { log }, { id: 9_000 + i });
      for (let i = 0; i < 100; i++) await client.okAnswer('DESCRIBE_LOG', 9_000 + i);
      await client.ok('PRODUCE', put(log, batch));
      for (const id of ids) await client.okAnswer('FETCH', id);
    }),

  define('waits-limit', 'A FETCH that would wait beyond the limit of waits gets TOO_MANY_INFLIGHT and the limit.', 'SESS-36',
    { kills: ['status:TOO_MANY_INFLIGHT', 'tlv:limit'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const input = { log, from: 2, min_bytes: 1, max_bytes: 1_000, max_wait_ms: 600_000 };
      for (let waiting = 0; waiting < 20_000; waiting += 250) {
        const ids = Array.from({ length: 250 }, () => client.request('FETCH', input));
        await client.barrier();
        const refused = client.conn.inbox.find((frame) => ids.includes(frame.id));
        if (refused === undefined) continue;
        const limit = refused.id - ids[0]! + waiting;
        await client.refusedAnswer('FETCH', refused.id, 'TOO_MANY_INFLIGHT', { limit: BigInt(limit) });
        t.ok(limit >= 256, 'a limit of at least 256', limit);
        await produce(client, log, 'a FETCH that need not wait is answered also at the limit');
        await fetch(client, { log, value: 0n });
        return;
      }
      t.skip('limit:waits', 'no limit of waiting FETCHes up to 20,000');
    }),

  define('subscriptions-limit', 'At least 256 subscriptions are allowed beside 256 waiting FETCHes; beyond the limit TOO_MANY_INFLIGHT.', 'SESS-35 SESS-36',
    { needs: ['feature:streaming'], kills: ['status:TOO_MANY_INFLIGHT', 'srv:waits-limit-100'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const waits = Array.from({ length: 256 }, () => client.request('FETCH', { log, from: 2, min_bytes: 1, max_bytes: 100, max_wait_ms: 600_000 }));
      const subscriptions: number[] = [];
      for (let i = 0; i < 256; i++) {
        subscriptions.push(client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 0 }));
        await client.okAnswer('SUBSCRIBE', subscriptions.at(-1)!);
      }
      for (const id of waits) notAnswered(t, client, id, 'one of 256 waiting FETCHes');
      for (let i = 256; i < 10_000; i++) {
        const answer = await client.call('SUBSCRIBE', { log, from: 1, credit_bytes: 0 });
        if (answer.error === null) continue;
        t.equal([answer.error.name, answer.error.tlvs.limit], ['TOO_MANY_INFLIGHT', BigInt(i)], 'the answer to one subscription too many');
        return;
      }
      t.skip('limit:subscriptions', 'no limit of subscriptions up to 10,000');
    }),

  define('unread-answers', 'A server stops reading a connection whose answers are not taken; other connections go on.', 'SESS-38 SESS-39 LIMIT-3',
    { slow: true, kills: ['srv:unbounded-output', 'proxy-buffers-all'] }, async (t) => {
      const client = await t.ready();
      const helper = await t.ready({ label: 'another client' });
      const log = await t.log(helper);
      await client.conn.flushed();
      client.conn.socket.pause();
      const ping = buildFrame({ op: 3, id: 5, payload: Buffer.concat([Buffer.from([0, 0, 0, 64]), Buffer.alloc(64), Buffer.alloc(2)]) });
      const limit = 160 << 20;
      client.rules!.strictIds = false;
      const taken = await writeUntilStuck(t, client, Buffer.concat(Array.from({ length: 2_000 }, () => ping)), limit);
      t.ok(taken < limit, `fewer than ${limit >> 20} MiB of PINGs are read while no answer is taken`, `${taken >> 20} MiB`);
      const began = performance.now();
      for (let i = 0; i < 20; i++) await produce(helper, log, 'x');
      t.ok(performance.now() - began < t.ms(5_000), 'another connection is served meanwhile');
      client.conn.socket.resume();
      await client.conn.waitFor('answers after all', () => (client.conn.inbox.length > 1_000 ? true : undefined), t.ms(10_000));
    }),

  define('unread-data', 'A client that asks for data and does not read costs a bounded buffer; others go on.', 'SESS-37 SESS-39 LIMIT-3',
    { slow: true, kills: ['srv:unbounded-output'] }, async (t) => {
      const helper = await t.ready({ label: 'another client' });
      const log = await t.log(helper);
      const batch = buildBatch({ records: [{ value: Buffer.alloc(60_000, 7) }] });
      for (let i = 0; i < 16; i++) await helper.ok('PRODUCE', put(log, batch));
      const client = await t.ready();
      client.conn.socket.pause();
      const request = client.bytesOf('FETCH', { log, from: 1, max_bytes: 1 << 20 }, { id: 77 });
      client.rules!.strictIds = false;
      const before = pidMemory(t);
      // 1,000 answers of 1 MiB: a server that queues them all needs a gigabyte.
      for (let i = 0; i < 1_000; i++) {
        const frame = Buffer.from(request);
        frame.writeUInt32BE(1_000 + i, 8);
        client.conn.socket.write(frame);
      }
      for (let i = 0; i < 20; i++) {
        await produce(helper, log, 'x');
        await fetch(helper, { log, from: 1, max_bytes: 1 << 20 });
      }
      const grown = pidMemory(t) - before;
      if (!Number.isNaN(grown)) t.ok(grown < 300 * 1024, 'less than 300 MiB for answers that nobody takes', `${grown >> 10} MiB`);
    }),

  define('flood-allowed', '10,000 frames without effect within a second do not end the connection.', 'SESS-41',
    { kills: ['srv:flood-1000', 'flood-limit:5000'] }, async (t) => {
      const client = await t.ready();
      const cancel = buildFrame({ op: 5, id: 777_777, payload: Buffer.alloc(2) });
      client.conn.write(Buffer.concat(Array.from({ length: 9_990 }, () => cancel)));
      await client.barrier();
    }),

  define('flood-ends', 'More than 10,000 frames without effect within a second end the connection with CONTROL_FLOOD.', 'SESS-40',
    { kills: ['status:CONTROL_FLOOD', 'srv:no-flood'] }, async (t) => {
      const client = await t.ready();
      const cancel = buildFrame({ op: 5, id: 777_777, payload: Buffer.alloc(2) });
      const response = buildFrame({ op: 0x20, flags: 1, id: 777_778, payload: Buffer.alloc(0) });
      const chunk = Buffer.concat(Array.from({ length: 5_000 }, (_, i) => (i % 2 ? cancel : response)));
      for (let i = 0; i < 20; i++) client.conn.write(chunk);
      await client.endedWith('CONTROL_FLOOD', {}, t.ms(10_000));
    }),

  define('max-frame-exactly', 'Frames of every size up to the announced max_frame are accepted.', 'LIMIT-5 LIMIT-2',
    { kills: ['srv:max-frame-off-by-one', 'end-on-big-frame'] }, async (t) => {
      const client = await t.ready();
      const { max_frame } = client.hello;
      for (const length of [16_384, 16_385, max_frame - 1, max_frame]) {
        // An op that nobody knows, so that only the frame itself is judged.
        const id = client.sendOp(0x7f, Buffer.alloc(length - 8));
        client.rules!.strictIds = false;
        const frame = await client.conn.takeFrame(`the answer to a frame of length ${length}`, (f) => f.id === id);
        t.equal(frame.status, 3, `the status of the answer to a frame of length ${length}`);
      }
      await client.barrier();
    }),

  define('garbage', 'Whatever bytes one connection sends, others are served.', 'LIMIT-4',
    { kills: ['end-all-on-broken'] }, async (t) => {
      const helper = await t.ready({ label: 'another client' });
      const log = await t.log(helper);
      for (let i = 0; i < 60; i++) {
        const opened = i % 2 === 0;
        const client = opened ? await t.ready({ label: `garbage ${i}` }) : await t.client({ label: `garbage ${i}` });
        client.conn.onFrame = null;
        const bytes = t.random.bytes(t.random.between(1, 4_000));
        // Half of them begin like a frame of some op, so that payloads are reached too.
        if (i % 4 === 0) buildFrame({ op: t.random.pick([0x10, 0x11, 0x13, 0x20, 0x30, 0x31, 0x36, 0x22]), id: 5, payload: Buffer.alloc(0), length: bytes.length - 4 }).copy(bytes);
        client.conn.write(bytes);
      }
      await produce(helper, log, 'still here');
      await fetch(helper, { log, value: 0n });
    }),
];

/** Resident KiB of the server, NaN when it cannot be known. */
function pidMemory(t: Context): number {
  const pid = t.target.endpoints[0]!.pid;
  return pid === null ? NaN : residentKiB(pid);
}
