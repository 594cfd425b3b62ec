// §3: one port for plaintext, TLS and HTTP.
import * as tls from 'node:tls';
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { Failure } from '../engine/failure.ts';
import { tlsOptions } from '../engine/target.ts';
import { buildPreface } from '../wire/frame.ts';
import { errorByName } from '../wire/errors.ts';
import { holds, produce } from './help.ts';

const plain = area('listener', 'core', ['plaintext']);
const PREFACE_OK = buildPreface({ min: 0 });

/** The beginning of a TLS record that carries a ClientHello. */
const TLS_BYTES = Buffer.from('16030100c8010000c40303', 'hex');

export const listenerCases = [
  plain('unknown-first-byte', 'A first byte that is neither TLS, preface nor HTTP closes the connection without a byte.', 'TLS-1',
    { kills: ['hold-open', 'preface:any-magic'] }, async (t) => {
      for (const first of [0x00, 0x01, 0x15, 0x17, 0x20, 0x41, 0x42, 0x61, 0x67, 0x7f, 0x80, 0xf9, 0xfb, 0xff]) {
        const conn = await t.connect({ label: `first byte ${first.toString(16)}` });
        conn.write(Buffer.from([first]));
        await conn.untilEnded();
        t.equal(conn.raw, Buffer.alloc(0), `what the server sent after the first byte ${first.toString(16)}`);
      }
    }),

  plain('no-tls-here', 'A server that is not configured for TLS closes a connection that begins with 16.', 'TLS-2',
    { needs: ['absent:tls'], kills: ['hold-open'] }, async (t) => {
      const conn = await t.connect();
      conn.write(TLS_BYTES);
      await conn.untilEnded();
    }),

  plain('no-starttls', 'TLS does not begin in the middle of a plaintext connection: its bytes are a broken frame.', 'TLS-14',
    { kills: ['status:FRAME_TOO_LARGE', 'ignore-broken-frames'] }, async (t) => {
      const client = await t.ready();
      client.rules!.strictIds = false;
      client.conn.write(TLS_BYTES);
      client.conn.write(Buffer.alloc(5));
      await client.endedWith('FRAME_TOO_LARGE');
    }),

  plain('loopback-plaintext', 'A plaintext preface from loopback is accepted.', 'TLS-15',
    { modes: true, kills: ['preface:major', 'deaf:PING'] }, async (t) => {
      if (!/^(127\.|::1$|localhost$)/.test(t.target.endpoints[0]!.host)) t.skip('plaintext', 'the target is not on loopback');
      await (await t.ready({ transport: 'plain' })).barrier();
    }),
];

const define = area('tls', 'tls');

interface Handshake {
  readonly protocol: string | null;
  readonly alpn: string | false | null;
}

/** A TLS connection with these ALPN names (null = no ALPN at all). */
async function dial(t: Context, alpn: string[] | null, options: tls.ConnectionOptions = {}): Promise<{ conn: Awaited<ReturnType<Context['connect']>>; handshake: Handshake }> {
  const conn = await t.connect({ transport: 'tls', tls: { ...options, ALPNProtocols: alpn ?? undefined } });
  const socket = conn.socket as tls.TLSSocket;
  return { conn, handshake: { protocol: socket.getProtocol(), alpn: socket.alpnProtocol } };
}

/** Demands that a TLS handshake with these options fails, and that the server says so. */
async function handshakeFails(t: Context, options: tls.ConnectionOptions, what: string): Promise<void> {
  const done = await dial(t, (options.ALPNProtocols as string[] | undefined) ?? ['sidelog/1'], options).catch((error: unknown) => {
    if (!(error instanceof Failure)) throw error;
    return error;
  });
  if (!(done instanceof Failure)) t.fail(what, 'a handshake that fails', `a connection with ${done.handshake.protocol}, ALPN ${done.handshake.alpn}`);
  else if (done.actual.startsWith('nothing in')) t.fail(what, 'a handshake that fails', done.actual);
}

const HTTP = 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

export const tlsCases = [
  define('one-port', 'TLS, plaintext and HTTP are taken on the same port, told apart by the first byte.', 'TLS-3',
    { needs: ['plaintext'], kills: ['tls:refuse', 'tls:plain-refused'] }, async (t) => {
      const overTls = await t.ready({ transport: 'tls', label: 'TLS' });
      const overTcp = await t.ready({ transport: 'plain', label: 'plaintext' });
      const log = await t.log(overTls);
      await produce(overTls, log, 'by TLS');
      await produce(overTcp, log, 'in the clear');
      await holds(t, overTls, log, ['by TLS', 'in the clear']);
      if (!t.has('http')) return;
      const http = await t.connect({ transport: 'plain', label: 'HTTP' });
      http.write(Buffer.from(HTTP));
      t.equal((await http.takeRaw(12, 'an HTTP answer')).toString('latin1'), 'HTTP/1.1 200', 'the answer to /livez on the same port');
    }),

  define('alpn-sidelog', 'ALPN sidelog/1 is selected when offered, whatever else is offered with it.', 'TLS-4',
    { kills: ['tls:no-alpn', 'tls:alpn-http-first'] }, async (t) => {
      for (const names of [['sidelog/1'], ['sidelog/1', 'http/1.1'], ['h2', 'sidelog/1'], ['http/1.1', 'sidelog/1', 'spdy/3']]) {
        const { handshake, conn } = await dial(t, names);
        t.equal(handshake.alpn, 'sidelog/1', `the ALPN name selected out of ${names.join(', ')}`);
        conn.write(buildPreface());
        t.equal(await conn.takeRaw(8, 'the preface'), PREFACE_OK, 'the answer to a preface');
      }
    }),

  define('alpn-http', 'ALPN http/1.1 is selected when offered without sidelog/1, if HTTP is served.', 'TLS-5',
    { needs: ['feature:http'], kills: ['tls:no-alpn', 'tls:refuse'] }, async (t) => {
      for (const names of [['http/1.1'], ['h2', 'http/1.1']]) {
        const { handshake, conn } = await dial(t, names);
        t.equal(handshake.alpn, 'http/1.1', `the ALPN name selected out of ${names.join(', ')}`);
        conn.write(Buffer.from(HTTP));
        t.equal((await conn.takeRaw(12, 'an HTTP answer')).toString('latin1'), 'HTTP/1.1 200', 'the answer to /livez');
      }
    }),

  define('alpn-sidelog-fixes', 'After ALPN sidelog/1 anything but a preface closes the connection.', 'TLS-6',
    { kills: ['tls:no-alpn', 'tls:inside-any', 'hold-open'] }, async (t) => {
      for (const bytes of [HTTP, '\x16\x03\x01', '\x00']) {
        const { conn } = await dial(t, ['sidelog/1']);
        conn.write(Buffer.from(bytes, 'latin1'));
        await conn.untilEnded();
        t.equal(conn.raw, Buffer.alloc(0), `what the server sent after ${JSON.stringify(bytes.slice(0, 5))}`);
      }
      const { conn } = await dial(t, ['sidelog/1']);
      conn.write(buildPreface());
      await conn.takeRaw(8, 'the preface');
    }),

  define('alpn-http-fixes', 'After ALPN http/1.1 anything but HTTP closes the connection.', 'TLS-7',
    { needs: ['feature:http'], kills: ['tls:inside-any', 'hold-open'] }, async (t) => {
      const { conn } = await dial(t, ['http/1.1']);
      conn.write(buildPreface());
      await conn.untilEnded();
      t.ok(!conn.raw.subarray(0, 4).equals(PREFACE_OK.subarray(0, 4)), 'no preface in answer', conn.raw);
    }),

  define('alpn-unknown', 'The handshake fails when ALPN names are offered and none is known.', 'TLS-8',
    { kills: ['tls:no-alpn', 'tls:alpn-lenient'] }, async (t) => {
      for (const names of [['h2'], ['sidelog/2'], ['SIDELOG/1', 'h3']]) await handshakeFails(t, { ALPNProtocols: names }, `ALPN ${names.join(', ')}`);
    }),

  define('no-alpn', 'Without ALPN the first byte inside TLS decides.', 'TLS-9',
    { kills: ['tls:alpn-required', 'tls:refuse'] }, async (t) => {
      const { conn, handshake } = await dial(t, null);
      t.ok(!handshake.alpn, 'no ALPN name', handshake.alpn);
      conn.write(buildPreface());
      t.equal(await conn.takeRaw(8, 'the preface'), PREFACE_OK, 'the answer to a preface');
      if (!t.has('http')) return;
      const http = await dial(t, null);
      http.conn.write(Buffer.from(HTTP));
      t.equal((await http.conn.takeRaw(8, 'an HTTP answer')).toString('latin1'), 'HTTP/1.1', 'the answer to /livez');
    }),

  define('tls-in-tls', 'The first byte 16 inside TLS closes the connection.', 'TLS-10 TLS-1',
    { kills: ['tls:inside-any', 'hold-open'] }, async (t) => {
      for (const first of [TLS_BYTES, Buffer.from([0x41])]) {
        const { conn } = await dial(t, null);
        conn.write(first);
        await conn.untilEnded();
        t.equal(conn.raw, Buffer.alloc(0), 'what the server sent');
      }
    }),

  define('versions', 'TLS 1.3 is accepted; nothing below 1.2 is.', 'TLS-11 TLS-12',
    { kills: ['tls:only-1.2', 'tls:old-versions'] }, async (t) => {
      const { handshake } = await dial(t, ['sidelog/1'], { minVersion: 'TLSv1.3' });
      t.equal(handshake.protocol, 'TLSv1.3', 'the version of a handshake that wants 1.3');
      const old = { ciphers: 'DEFAULT@SECLEVEL=0', minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const;
      await handshakeFails(t, { ...old, ALPNProtocols: ['sidelog/1'] }, 'a handshake with TLS 1.0 or 1.1');
    }),

  define('works-whole', 'The protocol inside TLS is the same, in whatever records it comes.', 'TLS-3 FRAME-1',
    { modes: true, kills: ['tls:refuse', 'tls:drops-late'] }, async (t) => {
      const client = await t.ready({ transport: 'tls' });
      const log = await t.log(client);
      await produce(client, log, 'one', 'two');
      await produce(client, log, 'x'.repeat(100_000));
      await holds(t, client, log, ['one', 'two', 'x'.repeat(100_000)]);
    }),

  define('far-plaintext', 'A plaintext preface from another address than loopback is refused with TLS_REQUIRED; TLS is taken.', 'TLS-16 PRE-8 PRE-9',
    { needs: ['far'], kills: ['srv:far-is-near'] }, async (t) => {
      for (const preface of [buildPreface(), buildPreface({ plane: 'X' }), buildPreface({ max: 9, min: 8 }), buildPreface({ plane: 'R' })]) {
        const conn = await t.connect({ endpoint: t.target.far!, transport: 'plain', label: 'plaintext from afar' });
        conn.write(preface);
        const refusal = Buffer.concat([preface.subarray(0, 5), Buffer.from([0, 0, errorByName('TLS_REQUIRED').code])]);
        t.equal(await conn.takeRaw(8, 'the refusal'), refusal, 'the answer to a plaintext preface from afar');
        await conn.untilEnded();
      }
      await (await t.ready({ endpoint: t.target.far!, transport: 'tls' })).barrier();
    }),

  define('wrong-client-certificate-is-no-crash', 'A TLS handshake broken off at any point leaves the server serving.', 'LIMIT-4',
    { kills: ['tls:die-on-broken-handshake'] }, async (t) => {
      for (const bytes of ['16', '1603', '160301', '16030100', '1603010005', '160301000501000000', '16030300020100', '1603ff40010000']) {
        const conn = await t.connect({ transport: 'plain', label: `TLS ${bytes}` });
        conn.write(Buffer.from(bytes, 'hex'));
        await conn.flushed();
        conn.reset();
      }
      const garbage = await t.connect({ transport: 'plain', label: 'TLS garbage' });
      garbage.write(Buffer.concat([TLS_BYTES, t.random.bytes(300)]));
      await garbage.untilEnded();
      await (await t.ready({ transport: 'tls' })).barrier();
      t.ok(tlsOptions(t.target).servername !== undefined, 'a server name to check');
    }),
];

const peer = area('peer', 'peer-refusal');

export const peerCases = [
  peer('planes-refused', 'A server that takes no peers refuses the planes R, B and G with FORBIDDEN, on loopback too.', 'PEER-1 PRE-7 PRE-9',
    { needs: ['absent:peers'], kills: ['preface:accept', 'preface:status', 'srv:peer-plane-accepted'] }, async (t) => {
      for (const plane of ['R', 'B', 'G']) {
        for (const majors of [{}, { max: 9, min: 8 }]) {
          const conn = await t.connect({ label: `plane ${plane}` });
          conn.write(buildPreface({ plane, ...majors }));
          const refusal = Buffer.from([0xfa, 0x53, 0x4c, 0x47, plane.charCodeAt(0), 0, 0, errorByName('FORBIDDEN').code]);
          t.equal(await conn.takeRaw(8, 'the refusal'), refusal, `the answer to plane ${plane}`);
          await conn.untilEnded();
          t.equal(conn.raw, Buffer.alloc(0), 'what follows the refusal');
        }
      }
    }),

  peer('nothing-parsed', 'Without proof of identity a peer plane neither reads requests nor changes or tells anything.', 'PEER-2 PEER-3 PEER-4',
    { kills: ['preface:accept', 'srv:peer-plane-accepted'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a secret that no peer may see');
      const forged = await t.client({ label: 'source of frames' });
      const frames = [
        forged.bytesOf('HELLO', { max_frame: 4 << 20, client: 'peer' }), forged.bytesOf('CREATE_LOG', { log: `${log}-forged`, durability: 1 }),
        forged.bytesOf('FETCH', { log, value: 0n, max_bytes: 1 << 20 }), forged.bytesOf('DELETE_LOG', { log }), forged.bytesOf('DESCRIBE_CLUSTER'),
      ];
      for (const plane of ['R', 'B', 'G']) {
        const conn = await t.connect({ label: `plane ${plane}` });
        conn.write(Buffer.concat([buildPreface({ plane }), ...frames]));
        await conn.waitFor('an end or an answer', () => (conn.ended !== null || conn.raw.length > 8 ? true : undefined), t.ms(8_000));
        t.ok(!conn.raw.includes('a secret that no peer may see'), 'no record in what a peer without proof is told', 'the record');
      }
      await holds(t, client, log, ['a secret that no peer may see']);
      t.equal((await client.call('DESCRIBE_LOG', { log: `${log}-forged` })).status, 'LOG_NOT_FOUND', 'the log that a peer without proof asked for');
    }),
];
