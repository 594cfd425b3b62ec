// §2: the first eight bytes each way.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { buildPreface } from '../wire/frame.ts';
import { errorByName } from '../wire/errors.ts';

const define = area('preface', 'core');

function answer(plane: string, major: number, status: string): Buffer {
  return Buffer.from([0xfa, 0x53, 0x4c, 0x47, plane.charCodeAt(0), major, 0, status === 'OK' ? 0 : errorByName(status).code]);
}

/** Sends a preface on a new connection and demands this answer, and after a refusal the end. */
async function exchange(t: Context, preface: Buffer, wanted: Buffer, what: string): Promise<void> {
  const conn = await t.connect();
  conn.write(preface);
  t.equal(await conn.takeRaw(8, `the answer to ${what}`), wanted, `the answer to ${what}`);
  if (wanted[5] !== 0) return;
  await conn.untilEnded();
  t.equal(conn.raw, Buffer.alloc(0), `what follows the refusal of ${what}`);
}

/** Demands that the server closes without having sent a byte. */
async function closedSilently(t: Context, bytes: Buffer, what: string): Promise<void> {
  const conn = await t.connect();
  conn.write(bytes);
  await conn.untilEnded();
  t.equal(conn.raw, Buffer.alloc(0), `the bytes that the server sent after ${what}`);
}

export const prefaceCases = [
  define('exact-answer', 'A preface is answered with exactly eight bytes: magic, plane as sent, major 1, status 0.', 'PRE-2 PRE-3',
    { modes: true, kills: ['preface:major', 'preface:extra-byte'] }, async (t) => {
      await exchange(t, buildPreface(), answer('C', 1, 'OK'), 'a preface');
      const client = await t.ready();
      await t.quiet(client, 'after HELLO');
    }),

  define('silent-before', 'The server sends nothing before it has read all eight bytes.', 'PRE-1',
    { kills: ['preface:early'] }, async (t) => {
      const conn = await t.connect();
      const preface = buildPreface();
      for (const size of [1, 3, 7]) {
        conn.write(preface.subarray(size === 1 ? 0 : size === 3 ? 1 : 3, size));
        await conn.flushed();
        await (await t.ready()).barrier(); // the server has turned to another connection meanwhile
        t.equal(conn.raw, Buffer.alloc(0), `what the server sent after ${size} bytes of a preface`);
      }
      conn.write(preface.subarray(7));
      t.equal(await conn.takeRaw(8, 'the answer to the preface'), answer('C', 1, 'OK'), 'the answer to the preface');
    }),

  define('major-range', 'Every range of majors that holds 1 gets major 1.', 'PRE-4',
    { kills: ['preface:major'] }, async (t) => {
      for (const [max, min] of [[1, 1], [9, 1], [255, 1], [1, 0], [255, 0]] as const) {
        await exchange(t, buildPreface({ max, min }), answer('C', 1, 'OK'), `majors ${min} to ${max}`);
      }
    }),

  define('no-common-major', 'A range without major 1 is refused with UNSUPPORTED_VERSION, and the connection ends.', 'PRE-5 PRE-11',
    { kills: ['preface:accept', 'preface:status'] }, async (t) => {
      for (const [max, min] of [[2, 2], [255, 2], [0, 0], [1, 2]] as const) {
        await exchange(t, buildPreface({ max, min }), answer('C', 0, 'UNSUPPORTED_VERSION'), `majors ${min} to ${max}`);
      }
    }),

  define('unknown-plane', 'A plane that is none of C, R, B, G is refused with OP_NOT_ALLOWED.', 'PRE-6 PRE-11',
    { kills: ['preface:accept', 'preface:status'] }, async (t) => {
      for (const plane of ['c', 'X', '\0', 'Z']) {
        await exchange(t, buildPreface({ plane }), answer(plane, 0, 'OP_NOT_ALLOWED'), `plane ${JSON.stringify(plane)}`);
      }
    }),

  define('order-of-refusals', 'Of several reasons to refuse, the plane comes before the version.', 'PRE-9',
    { kills: ['preface:version-first'] }, async (t) => {
      await exchange(t, buildPreface({ plane: 'X', max: 9, min: 7 }), answer('X', 0, 'OP_NOT_ALLOWED'), 'an unknown plane with majors 7 to 9');
    }),

  define('refusal-is-final', 'After a refusal nothing that follows the preface is interpreted.', 'PRE-11',
    { kills: ['preface:accept', 'hold-open'] }, async (t) => {
      const conn = await t.connect();
      const hello = Buffer.from('00000034010000000000000100000040000000007530000000000000000000000000000000000000000000000000000664656d6f2f310000', 'hex');
      conn.write(Buffer.concat([buildPreface({ max: 3, min: 2 }), hello]));
      t.equal(await conn.takeRaw(8, 'the refusal'), answer('C', 0, 'UNSUPPORTED_VERSION'), 'the refusal');
      await conn.untilEnded();
      t.equal(conn.raw, Buffer.alloc(0), 'what follows the refusal');
    }),

  define('reserved-ignored', 'The reserved byte of a preface is ignored.', 'PRE-12',
    { kills: ['preface:reserved'] }, async (t) => {
      for (const reserved of [1, 0x80, 0xff]) await exchange(t, buildPreface({ reserved }), answer('C', 1, 'OK'), `the reserved byte ${reserved}`);
    }),

  define('wrong-magic', 'FA with a wrong rest of the magic closes the connection without a byte.', 'PRE-13',
    { kills: ['preface:any-magic', 'hold-open'] }, async (t) => {
      for (const magic of ['fa544c47', 'fa534d47', 'fa534c48', 'fafafafa', 'fa000000']) {
        await closedSilently(t, Buffer.from(`${magic}43010100`, 'hex'), `the magic ${magic}`);
      }
    }),

  define('hello-in-one-piece', 'Preface, HELLO and requests in one write are all answered.', 'PRE-2 HELLO-19',
    { kills: ['deaf-to-first-chunk', 'deaf:PING'] }, async (t) => {
      const client = await t.client();
      const hello = client.bytesOf('HELLO', { max_frame: 4 << 20, idle_ms: 0xffff_ffff, client: 'one piece' });
      const ping = client.bytesOf('PING', { data: Buffer.from('now') });
      client.conn.write(Buffer.concat([buildPreface(), hello, ping]));
      t.equal(await client.conn.takeRaw(8, 'the preface'), answer('C', 1, 'OK'), 'the preface');
      client.conn.startFraming();
      await client.okAnswer('HELLO', 1);
      t.equal((await client.okAnswer('PING', 2)).fields.data.toString(), 'now', 'the data of the PING');
    }),

  define('slow-closed', 'A preface that is not there within 5 s closes the connection without a byte.', 'PRE-14',
    { slow: true, kills: ['hold-open'] }, async (t) => {
      const began = performance.now();
      const silent = await t.connect({ label: 'nothing sent' });
      const partial = await t.connect({ label: 'seven bytes sent' });
      const late = await t.connect({ label: 'the last byte after 3 s' });
      const preface = buildPreface();
      partial.write(preface.subarray(0, 7));
      late.write(preface.subarray(0, 7));
      await t.pause(3_000);
      late.write(preface.subarray(7));
      t.equal(await late.takeRaw(8, 'the answer to a preface of 3 s'), answer('C', 1, 'OK'), 'the answer to a preface that took 3 s');
      for (const conn of [silent, partial]) {
        await conn.untilEnded(t.ms(6_000));
        const took = performance.now() - began;
        t.ok(took > 4_500, 'the connection is closed after 5 s, not before', `closed after ${Math.round(took)} ms`);
        t.equal(conn.raw, Buffer.alloc(0), 'what the server sent');
      }
    }),
];
