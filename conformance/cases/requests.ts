// §4.2 and §4.3: ids, answers, and frames about an open request.
import { area } from '../engine/case.ts';
import { buildFrame } from '../wire/frame.ts';
import { CRITICAL } from '../wire/layouts.ts';
import { encodeExt, tlv } from '../wire/codec.ts';
import { produce, waitingFetch } from './help.ts';

const define = area('request', 'core');

export const requestCases = [
  define('answered-once', 'Every request is answered exactly once.', 'FRAME-15',
    { kills: ['twice:PING', 'deaf:DESCRIBE_CLUSTER', 'twice:PRODUCE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const ids: number[] = [];
      for (let i = 0; i < 50; i++) {
        ids.push(client.request('PING', { data: Buffer.from([i]) }), client.request('DESCRIBE_LOG', { log }), client.request('DESCRIBE_CLUSTER'));
      }
      await produce(client, log, 'x');
      for (const id of ids) await client.conn.takeFrame(`the answer to request ${id}`, (frame) => frame.id === id);
      await t.quiet(client, 'after one answer to each of 151 requests');
    }),

  define('any-id', 'Any id from 1 to 4,294,967,295 is accepted, in any order.', 'FRAME-21 FRAME-16',
    { modes: true, kills: ['answer-id:high', 'deaf:PING'] }, async (t) => {
      const client = await t.ready();
      for (const id of [0xefff_ffff, 1, 0x8000_0000, 0x7fff_ffff, 2, 0x0100_0000]) {
        const { frame } = await client.okAnswer('PING', client.request('PING', {}, { id }));
        t.equal(frame.id, id, 'the id of the answer');
      }
      if (t.mode !== 'joined') await client.ok('PING', {}, { id: 0xffff_ffff });
    }),

  define('id-again', 'An id can be used again after its answer was sent.', 'FRAME-22',
    { kills: ['srv:id-once', 'deaf:PING'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 5; i++) {
        await client.ok('PING', {}, { id: 7 });
        await client.ok('DESCRIBE_LOG', { log }, { id: 7 });
      }
      await client.refused('DESCRIBE_LOG', { log: 'no-such-log' }, 'LOG_NOT_FOUND', {}, { id: 7 });
      await client.ok('PING', {}, { id: 7 });
    }),

  define('duplicate-id', 'The id of a request that is still open ends the connection with DUPLICATE_ID.', 'FRAME-23',
    { kills: ['status:DUPLICATE_ID', 'srv:duplicate-id-accepted'] }, async (t) => {
      for (const name of ['PING', 'DESCRIBE_CLUSTER'] as const) {
        const client = await t.ready();
        const log = await t.log(client);
        const id = await waitingFetch(t, client, log);
        client.request(name, {}, { id });
        await client.endedWith('DUPLICATE_ID');
      }
    }),

  define('stray-response', 'A response whose id the server did not open is ignored.', 'FRAME-24',
    { kills: ['srv:stray-response-fatal', 'echo-responses'] }, async (t) => {
      const client = await t.ready();
      for (const [op, status, payload] of [[3, 0, '000000000000'], [0x20, 0, ''], [0x20, 202, 'ffff'], [0x60, 7, '00'], [0x33, 0, '']] as const) {
        client.conn.write(buildFrame({ op, flags: 1, id: 3000 + op, status, payload: Buffer.from(payload, 'hex') }), true);
      }
      await t.quiet(client, 'after responses to nothing');
    }),

  define('cancel-not-open', 'A CANCEL of an id that is not open is ignored, whatever its payload.', 'FRAME-30 FRAME-31',
    { modes: true, kills: ['answer-to:CANCEL', 'srv:cancel-unknown-fatal'] }, async (t) => {
      const client = await t.ready();
      client.request('CANCEL', {}, { id: 4000 });
      client.request('CANCEL', {}, { id: 4001, payload: Buffer.from('00') });
      client.request('CANCEL', {}, { id: 4002, payload: Buffer.alloc(0) });
      await t.quiet(client, 'after CANCELs of nothing');
    }),

  define('credit-not-open', 'A CREDIT for an id that is not open, or is no subscription, is ignored.', 'FRAME-30 FRAME-31',
    { needs: ['feature:streaming'], modes: true, kills: ['answer-to:CREDIT', 'srv:credit-unknown-fatal'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = await waitingFetch(t, client, log);
      client.request('CREDIT', { add_bytes: 10 }, { id: 4000 });
      client.request('CREDIT', { add_bytes: 0xffff_ffff }, { id });
      client.request('CREDIT', {}, { id: 4001, payload: Buffer.from('0000') });
      client.request('CREDIT', {}, { id, payload: Buffer.from('0000') });
      await t.quiet(client, 'after CREDITs of nothing');
      await produce(client, log, 'wakes the FETCH');
      await client.okAnswer('FETCH', id);
    }),

  define('cancel-wrong-payload', 'A CANCEL with a wrong payload ends the waiting FETCH that it is about with the error of the payload.', 'FRAME-32',
    { kills: ['status:INVALID_ARGUMENT', 'status:UNSUPPORTED_FEATURE', 'deaf:CANCEL'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const long = await waitingFetch(t, client, log);
      client.request('CANCEL', {}, { id: long, payload: Buffer.from('000000', 'hex') });
      await client.refusedAnswer('FETCH', long, 'INVALID_ARGUMENT', { field: 'end' });
      const short = await waitingFetch(t, client, log);
      client.request('CANCEL', {}, { id: short, payload: Buffer.alloc(1) });
      await client.refusedAnswer('FETCH', short, 'INVALID_ARGUMENT', { field: 'ext' });
      const critical = await waitingFetch(t, client, log);
      client.request('CANCEL', {}, { id: critical, payload: encodeExt([tlv(CRITICAL | 0x0a0a, Buffer.alloc(2))]) });
      await client.refusedAnswer('FETCH', critical, 'UNSUPPORTED_FEATURE');
      await t.quiet(client, 'after three CANCELs with wrong payloads');
    }),

  define('credit-wrong-payload', 'A CREDIT with a wrong payload ends the subscription that it is about with the error of the payload.', 'FRAME-32 SUB-3',
    { needs: ['feature:streaming'], kills: ['status:INVALID_ARGUMENT', 'deaf:CREDIT'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = client.request('SUBSCRIBE', { log, from: 2, credit_bytes: 10 });
      await client.okAnswer('SUBSCRIBE', id);
      client.request('CREDIT', {}, { id, payload: Buffer.from('000000', 'hex') });
      const end = await client.deliver(id);
      t.equal([end.status, end.error?.tlvs.field, end.more], ['INVALID_ARGUMENT', 'add_bytes', false], 'the end of the subscription');
      await t.quiet(client, 'after the end of the subscription');
    }),
];
