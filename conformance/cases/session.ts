// §5.3 to §5.5: PING, GOAWAY, the end of a connection, CANCEL.
import { area } from '../engine/case.ts';
import { batchOf } from '../wire/batch.ts';
import { buildFrame } from '../wire/frame.ts';
import { sizedBatch } from './batches.ts';
import { committedEnd, fetch, holds, notAnswered, produce, put, values, waitingFetch } from './help.ts';

const define = area('session', 'core');

export const sessionCases = [
  define('ping', 'A PING of 0 to 64 bytes is answered with the same bytes and an empty ext.', 'SESS-1 SESS-2 LIMIT-2',
    { modes: true, kills: ['answer:PING.data', 'answer:PING.ext', 'srv:ping-64'] }, async (t) => {
      const client = await t.ready();
      for (const size of [0, 1, 63, 64]) {
        const data = t.random.bytes(size);
        const answer = await client.ok('PING', { data });
        t.equal([answer.data, answer.ext.length], [data, 0], `the answer to a PING of ${size} bytes`);
      }
    }),

  define('ping-too-long', 'A PING of more than 64 bytes is answered with INVALID_ARGUMENT that names data.', 'SESS-3',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'end-on:INVALID_ARGUMENT'] }, async (t) => {
      const client = await t.ready();
      for (const size of [65, 1_000, 4_000]) await client.refused('PING', { data: Buffer.alloc(size) }, 'INVALID_ARGUMENT', { field: 'data' });
      await client.barrier();
    }),

  define('ping-overtakes', 'A PING is answered without waiting for the results of earlier requests.', 'SESS-4',
    { kills: ['in-order-only'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const waits = [await waitingFetch(t, client, log), await waitingFetch(t, client, log)];
      for (const id of waits) notAnswered(t, client, id, 'a waiting FETCH after PINGs were answered');
    }),

  define('ping-overtakes-produce', 'A PING is answered while a PRODUCE before it waits for the disk.', 'SESS-4',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['in-order-only'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await t.hook('slowsync', { ms: 1_500 });
      const id = client.request('PRODUCE', put(log, batchOf('slow')));
      await client.barrier();
      notAnswered(t, client, id, 'a PRODUCE whose sync takes 1.5 s, when a PING behind it was answered');
      await client.okAnswer('PRODUCE', id);
    }),

  define('ping-is-a-barrier', 'Every frame before a PING is judged before the PING is answered.', 'SESS-5',
    { kills: ['ping-from-afar'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 10; i++) {
        const bad = client.bytesOf('DESCRIBE_LOG', { log: 'no-such-log' });
        const wrong = client.bytesOf('TRIM', { log: '..', offset: 0n });
        client.conn.write(Buffer.concat([bad, wrong, client.bytesOf('PING', { data: Buffer.from([i]) })]));
        const seen: number[] = [];
        while (!seen.includes(3)) seen.push((await client.conn.takeFrame('answers', () => true)).op);
        t.equal(seen.slice().sort(), [3, 0x13, 0x15].sort(), 'the ops answered up to the answer to the PING');
      }
      await produce(client, log, 'x');
    }),

  define('goaway-and-end', 'An error that ends a connection is a GOAWAY with its code and class, then FIN, and no frame after it.', 'SESS-7 SESS-9 ERR-4',
    { kills: ['goaway-dropped', 'hold-open', 'frame-after-goaway', 'status:MALFORMED'] }, async (t) => {
      const client = await t.ready();
      client.rules!.strictIds = false;
      const log = await t.log(client);
      await produce(client, log, 'x');
      client.request('FETCH', { log, from: 2, max_wait_ms: 600_000 });
      client.sendOp(3, Buffer.alloc(6), { flags: 0x20 });
      for (let i = 0; i < 5; i++) client.request('PING');
      await client.endedWith('MALFORMED');
    }),

  define('drains-after-fatal', 'After a final GOAWAY the server goes on reading for up to 2 s, so that no reset eats the error.', 'SESS-8',
    { kills: ['reset-on-goaway'] }, async (t) => {
      const client = await t.ready();
      client.conn.write(Buffer.concat([buildFrame({ op: 3, id: 0, payload: Buffer.alloc(6) }), Buffer.alloc(512 * 1024, 0xaa)]));
      await client.endedWith('MALFORMED');
      // A connection that was destroyed answers further bytes with a reset, which the write after that one sees.
      for (let i = 0; i < 8; i++) {
        await t.pause(100);
        client.conn.write(Buffer.alloc(1_000));
        await client.conn.flushed();
      }
      t.ok(!client.conn.failed, 'a connection that takes what still comes, for 0.8 s', 'a connection that broke under the bytes');
    }),

  define('time-to-take-the-rest', 'A client that is slow to read gets what was queued for it and the GOAWAY: the connection is not destroyed before 2 s.', 'SESS-42 SESS-7',
    { kills: ['srv:destroys-at-once', 'goaway-dropped'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      for (let i = 0; i < 16; i++) await helper.ok('PRODUCE', put(log, sizedBatch(60_000)));
      const client = await t.ready();
      client.rules!.strictIds = false;
      client.conn.socket.pause();
      // More than the buffers between the two hold, so that the GOAWAY waits in the server.
      for (let i = 0; i < 40; i++) client.request('FETCH', { log, from: 1, max_bytes: 1 << 20 });
      await t.pause(500);
      client.conn.write(buildFrame({ op: 3, id: 0, payload: Buffer.alloc(6) }), true);
      await t.pause(1_200);
      client.conn.socket.resume();
      const goaway = await client.goaway();
      t.equal(goaway.code, 'MALFORMED', 'the code of the GOAWAY');
      t.equal(await client.conn.untilEnded(), 'fin', 'the end of the connection');
    }),

  define('client-goaway', "Requests read before a client's GOAWAY are answered, then the connection ends.", 'SESS-18 SESS-17',
    { modes: true, kills: ['hold-open', 'goaway-drops-answers'] }, async (t) => {
      const helper = await t.ready({ label: 'helper', mode: 'whole' });
      const log = await t.log(helper);
      const client = await t.ready({ mode: t.mode === 'joined' ? 'whole' : t.mode });
      const frames = [client.bytesOf('PRODUCE', put(log, batchOf('before'))), client.bytesOf('DESCRIBE_CLUSTER'), client.bytesOf('GOAWAY', {}, { id: 0 }),
        client.bytesOf('PRODUCE', put(log, batchOf('after')))];
      if (t.mode === 'joined') client.conn.write(Buffer.concat(frames));
      else for (const frame of frames) client.conn.write(frame);
      await client.okAnswer('PRODUCE', 2);
      await client.okAnswer('DESCRIBE_CLUSTER', 3);
      await client.conn.untilEnded();
      t.equal(client.conn.inbox.filter((frame) => (frame.flags & 1) !== 0).length, 0, 'answers to what followed the GOAWAY');
      await holds(t, helper, log, ['before']);
    }),

  define('goaway-wakes-fetch', 'A waiting FETCH is answered at once, with what there is, when the client says GOAWAY.', 'SESS-12 READ-20',
    { kills: ['goaway-drops-answers', 'srv:goaway-drops-waits'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'one');
      const id = await waitingFetch(t, client, log, { from: 0, value: 0n, min_bytes: 1 << 20 });
      client.request('GOAWAY', {}, { id: 0 });
      const { fields } = await client.okAnswer('FETCH', id);
      t.equal([fields.committed_end, fields.batches.length > 0], [1n, true], 'committed_end and whether the FETCH brought the record');
      await client.conn.untilEnded();
    }),

  define('goaway-wrong-payload', 'A GOAWAY with a wrong payload means the same: the client leaves.', 'SESS-19',
    { kills: ['hold-open', 'goaway-id-malformed'] }, async (t) => {
      for (const payload of [Buffer.alloc(0), Buffer.from('ffff', 'hex'), Buffer.alloc(50, 0xff)]) {
        const client = await t.ready();
        client.request('GOAWAY', {}, { id: 0, payload });
        await client.conn.untilEnded();
        t.equal(client.conn.inbox.length, 0, 'frames before the end');
      }
    }),

  define('half-close', 'Open requests are answered when the client has only closed its sending side.', 'SESS-20 SESS-22',
    { kills: ['reset-on-half-close', 'srv:half-close-drops'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      const client = await t.ready();
      const waiting = await waitingFetch(t, client, log);
      const ids = [client.request('PRODUCE', put(log, batchOf('last words'))), client.request('PRODUCE', put(log, batchOf('really')))];
      await client.conn.end();
      for (const id of ids) await client.okAnswer('PRODUCE', id);
      await client.conn.untilEnded();
      t.ok(waiting > 0, 'a waiting FETCH need not be answered');
      await holds(t, helper, log, ['last words', 'really']);
    }),

  define('client-disappears', 'PRODUCEs that were accepted are carried to their end when the client disappears.', 'SESS-21',
    { kills: ['swallow:PRODUCE'] }, async (t) => {
      const helper = await t.ready({ label: 'helper' });
      const log = await t.log(helper);
      let seen = 0;
      for (let round = 0; round < 10; round++) {
        const client = await t.ready();
        const id = client.request('PRODUCE', put(log, batchOf(`round ${round}`)));
        client.request('PING', {}, { id: 1000 }); // its answer proves that the PRODUCE was judged
        await client.conn.takeFrame('the answer to the PING', (frame) => frame.id === 1000);
        if (client.conn.inbox.some((frame) => frame.id === id)) seen++;
        client.conn.reset();
      }
      const found = await fetchUntil(10n);
      t.equal(found.length, 10, `records of 10 accepted PRODUCEs (${seen} were acked before the reset)`);

      async function fetchUntil(end: bigint): Promise<string[]> {
        await fetch(helper, { log, value: 0n, min_bytes: 1 << 20, max_wait_ms: Math.round(t.ms(500)) });
        for (let i = 0; i < 20 && (await committedEnd(helper, log)) < end; i++) await fetch(helper, { log, from: 2, min_bytes: 1, max_wait_ms: 100 });
        return values(helper, log);
      }
    }),

  define('cancel-waiting-fetch', 'CANCEL ends a waiting FETCH with CANCELED or its result, exactly once.', 'SESS-24 SESS-25',
    { modes: true, kills: ['deaf:CANCEL', 'status:CANCELED', 'twice:FETCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = await waitingFetch(t, client, log);
      client.request('CANCEL', {}, { id });
      await client.refusedAnswer('FETCH', id, 'CANCELED');
      await produce(client, log, 'after the cancel');
      await t.quiet(client, 'after the cancelled FETCH was answered');
      const again = await waitingFetch(t, client, log);
      client.request('CANCEL', {}, { id: again });
      client.request('CANCEL', {}, { id: again });
      await client.refusedAnswer('FETCH', again, 'CANCELED');
      await t.quiet(client, 'after two CANCELs of one FETCH');
    }),

  define('cancel-produce', 'CANCEL of a PRODUCE that was accepted is ignored: it gets its result, never CANCELED.', 'SESS-26 SESS-27 SESS-25',
    { kills: ['cancel-answers-produce'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 20; i++) {
        const produceFrame = client.bytesOf('PRODUCE', put(log, batchOf(`p${i}`)), { id: 500 + i });
        const cancel = client.bytesOf('CANCEL', {}, { id: 500 + i });
        client.conn.write(Buffer.concat([produceFrame, cancel]));
      }
      const canceled: string[] = [];
      for (let i = 0; i < 20; i++) {
        const answer = await client.answer('PRODUCE', 500 + i);
        if (answer.error && answer.status !== 'CANCELED') t.fail('a cancelled PRODUCE', 'its result, or CANCELED if nothing was stored', answer.status);
        if (answer.error) canceled.push(`p${i}`);
      }
      // An ack of what came later: whatever will be stored of the others is in the log by now.
      await produce(client, log, 'the last');
      const stored = await values(client, log);
      t.equal(canceled.filter((value) => stored.includes(value)), [], 'records of PRODUCEs that were answered CANCELED');
      await t.quiet(client, 'after the answers');
    }),

  define('cancel-other-requests', 'CANCEL of a request that has an effect never makes it lie: the answer tells what happened.', 'SESS-25 SESS-26',
    { kills: ['cancel-answers-create'] }, async (t) => {
      const client = await t.ready();
      const log = t.name();
      const create = client.bytesOf('CREATE_LOG', { log, durability: 1 }, { id: 900 });
      client.conn.write(Buffer.concat([create, client.bytesOf('CANCEL', {}, { id: 900 })]));
      const answer = await client.answer('CREATE_LOG', 900);
      if (!answer.error) t.logs.push(log);
      if (answer.error) {
        t.equal(answer.status, 'CANCELED', 'the answer to a CREATE_LOG that was cancelled');
        await t.log(client, { log }); // CANCELED means that nothing was and will be done: the name is free
      } else await client.ok('DESCRIBE_LOG', { log });
      await t.quiet(client, 'after the answer');
    }),
];
