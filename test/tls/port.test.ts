// One port for everything: what each first byte, each ALPN name and each way in gets from a real server.
import { readFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect } from '../../src/wire/client/client.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { makeCertificate } from '../support/certificate.ts';
import type { Certificate } from '../support/certificate.ts';
import { endAll, run, serve, skipUnless, temporaryFolder, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { hello, PREFACE, PREFACE_OK } from '../session/support.ts';

const test = suite('tls/port');

let certificate: Certificate | null;
let server: Server;
let unixSocket = '';

test.before(async () => {
  certificate = makeCertificate();
  unixSocket = join(temporaryFolder(), 'sidelog.sock');
  const tls = certificate === null ? [] : ['--tls-cert', certificate.cert, '--tls-key', certificate.key];
  server = await serve({ args: [...tls, '--unix-socket', unixSocket] });
});
test.after(endAll);

function needsTls(): boolean {
  return skipUnless(certificate !== null, 'there is no openssl to make a certificate');
}

/** Everything the server says until it closes. */
function answerOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  return new Promise((done) => socket.once('close', () => done(Buffer.concat(chunks))));
}

/** The first bytes the server says. */
function firstOf(socket: Socket): Promise<Buffer> {
  return new Promise((done, fail) => {
    socket.once('data', done);
    socket.once('error', fail);
    socket.once('close', () => fail(new Error('closed without a byte')));
  });
}

function tcp(): Socket {
  return connectTcp(server.port, '127.0.0.1');
}

function tls(options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((done, fail) => {
    const socket = connectTls({ port: server.port, host: '127.0.0.1', servername: 'localhost', ca: readFileSync(certificate!.cert), ...options });
    socket.once('secureConnect', () => done(socket));
    socket.once('error', fail);
  });
}

const HTTP_GET = Buffer.from('GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');

test('plaintext on loopback is a session, HTTP, or closed without a byte', async () => {
  const session = tcp();
  session.write(PREFACE);
  assert.ok((await firstOf(session)).equals(PREFACE_OK));
  session.destroy();
  const web = tcp();
  web.write(HTTP_GET);
  assert.match((await answerOf(web)).toString(), /^HTTP\/1\.1 200 OK/);
  for (const bytes of [Buffer.from([0]), Buffer.from('hello\n'), Buffer.from('*1\r\n$4\r\nPING\r\n'), Buffer.from('fa534c00', 'hex'), Buffer.from('ff'.repeat(64), 'hex')]) {
    const stray = tcp();
    stray.write(bytes);
    assert.is((await answerOf(stray)).length, 0, bytes.toString('hex'));
  }
});

test('a preface comes in whatever pieces, with what follows it', async () => {
  const bytes = Buffer.concat([PREFACE, hello()]);
  for (const pieces of [[bytes], [...bytes].map((byte) => Buffer.from([byte])), [bytes.subarray(0, 1), bytes.subarray(1)]]) {
    const socket = tcp().setNoDelay(true);
    for (const piece of pieces) {
      socket.write(piece);
      if (pieces.length > 1) await new Promise((done) => setImmediate(done));
    }
    let heard = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => (heard = Buffer.concat([heard, chunk])));
    await until(() => heard.length > PREFACE_OK.length + 12);
    assert.ok(heard.subarray(0, 8).equals(PREFACE_OK));
    assert.is(heard[12], 1, 'an answer to HELLO');
    socket.destroy();
  }
});

test('ALPN decides what is inside TLS, and without ALPN the first byte does', async () => {
  if (!needsTls()) return;
  const cases: [string[] | undefined, Buffer, 'session' | 'http' | 'closed'][] = [
    [['sidelog/1'], PREFACE, 'session'],
    [['http/1.1', 'sidelog/1'], PREFACE, 'session'],
    [['http/1.1'], HTTP_GET, 'http'],
    [['h2', 'http/1.1'], HTTP_GET, 'http'],
    [undefined, PREFACE, 'session'],
    [undefined, HTTP_GET, 'http'],
    [['sidelog/1'], HTTP_GET, 'closed'],
    [['http/1.1'], PREFACE, 'closed'],
    [['http/1.1'], Buffer.from([0, 1, 2]), 'closed'],
    [undefined, Buffer.from([0x16, 3, 1]), 'closed'],
    [undefined, Buffer.from([0xff]), 'closed'],
  ];
  for (const [ALPNProtocols, bytes, expected] of cases) {
    const socket = await tls(ALPNProtocols === undefined ? {} : { ALPNProtocols });
    if (ALPNProtocols !== undefined) assert.is(socket.alpnProtocol, ALPNProtocols.includes('sidelog/1') ? 'sidelog/1' : 'http/1.1');
    socket.write(bytes);
    const label = `${ALPNProtocols?.join() ?? 'no ALPN'} ${bytes.toString('latin1').slice(0, 5)}`;
    if (expected === 'session') assert.ok((await firstOf(socket)).equals(PREFACE_OK), label);
    else if (expected === 'http') assert.match((await answerOf(socket)).toString(), /^HTTP\/1\.1 200/, label);
    else assert.is((await answerOf(socket)).length, 0, label);
    socket.destroy();
  }
});

test('an unknown ALPN name and an old TLS version fail the handshake', async () => {
  if (!needsTls()) return;
  const failure = async (options: ConnectionOptions): Promise<string> =>
    tls(options).then((socket) => {
      socket.destroy();
      return 'connected';
    }, (error: NodeJS.ErrnoException) => error.code ?? error.message);
  assert.match(await failure({ ALPNProtocols: ['h2'] }), /NO_APPLICATION_PROTOCOL/);
  assert.match(await failure({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }), /PROTOCOL|VERSION|ECONNRESET/);
  const socket = await tls({ minVersion: 'TLSv1.3' });
  assert.is(socket.getProtocol(), 'TLSv1.3');
  socket.destroy();
});

test('the client library and the commands speak TLS to it, and verify whom they speak to', async () => {
  if (!needsTls()) return;
  const ca = certificate!.cert;
  const client = await connect({ address: `localhost:${server.port}`, tls: { ca: readFileSync(ca) } });
  await client.produce('default', { value: Buffer.from('over TLS') });
  await client.close();
  const args = ['--to', `127.0.0.1:${server.port}`, '--tls-ca', ca];
  assert.match((await run(['consume', 'default', ...args])).stdout, 'over TLS\n');
  assert.is((await run(['status', ...args])).code, 0);
  const stranger = await run(['consume', 'default', '--to', `localhost:${server.port}`, '--tls']);
  assert.is(stranger.code, 3);
  assert.match(stranger.stderr, /self-signed certificate.*; give the authority that signed its certificate with --tls-ca FILE/);
  const misnamed = await Promise.all([['consume', 'default'], ['status']].map((command) => run([...command, ...args, '--tls-servername', 'other.example'])));
  for (const { code, stderr } of misnamed) {
    assert.is(code, 3);
    assert.match(stderr, /does not match certificate's altnames/);
  }
  const fromEnvironment = await run(['consume', 'default', '--count', '1'], { env: { SIDELOG_TO: `localhost:${server.port}`, SIDELOG_TLS_CA: ca } });
  assert.is(fromEnvironment.code, 0, fromEnvironment.stderr);
});

test('HTTP over TLS guards Host like plaintext does', async () => {
  if (!needsTls()) return;
  const status = (host: string): Promise<number> =>
    new Promise((done, fail) => {
      const request = httpsRequest({ port: server.port, host: 'localhost', path: '/metrics', ca: readFileSync(certificate!.cert), agent: false, servername: 'localhost', headers: { host } }, (response) => {
        response.resume();
        done(response.statusCode!);
      });
      request.on('error', fail);
      request.end();
    });
  assert.is(await status(`localhost:${server.port}`), 200);
  assert.is(await status('evil.example'), 421);
});

test('the Unix socket takes the same, and who comes over it is local', async () => {
  const session = connectTcp(unixSocket);
  session.write(PREFACE);
  assert.ok((await firstOf(session)).equals(PREFACE_OK));
  session.destroy();
  const web = connectTcp(unixSocket);
  web.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  assert.match((await answerOf(web)).toString(), /^HTTP\/1\.1 200 OK/);
  if (!needsTls()) return;
  const secure = await tls({ path: unixSocket } as never);
  secure.write(PREFACE);
  assert.ok((await firstOf(secure)).equals(PREFACE_OK));
  secure.destroy();
});

test('a server without TLS closes what begins like TLS', async () => {
  const plain = await serve();
  const socket = connectTcp(plain.port, '127.0.0.1');
  socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
  assert.is((await answerOf(socket)).length, 0);
  await plain.end();
});

test('plaintext from elsewhere is refused with TLS_REQUIRED, probes excepted', async () => {
  const elsewhere = Object.values(networkInterfaces()).flat().find((address) => address?.family === 'IPv4' && !address.internal)?.address;
  if (!needsTls() || !skipUnless(elsewhere !== undefined, 'there is no address besides loopback')) return;
  const open = await serve({
    listen: '0.0.0.0:0',
    args: ['--tls-cert', certificate!.cert, '--tls-key', certificate!.key, '--allow-anonymous', '--bootstrap-expect', '1'],
  });
  const preface = connectTcp(open.port, elsewhere);
  preface.write(PREFACE);
  const answer = await answerOf(preface);
  assert.is(answer.toString('hex', 0, 6), 'fa534c474300');
  assert.is(answer.readUInt16BE(6), ErrorCode.TLS_REQUIRED);
  assert.is((await fetch(`http://${elsewhere}:${open.port}/livez`)).status, 200);
  assert.is((await fetch(`http://${elsewhere}:${open.port}/readyz`)).status, 200);
  assert.is((await fetch(`http://${elsewhere}:${open.port}/metrics`)).status, 403);
  assert.is((await fetch(`http://${elsewhere}:${open.port}/nothing`)).status, 403);
  assert.is((await fetch(`http://127.0.0.1:${open.port}/metrics`)).status, 200);
  const told = await run(['consume', 'default', '--from', `${elsewhere}:${open.port}`]);
  assert.is(told.code, 3);
  assert.match(told.stderr, /; give --tls or --tls-ca FILE/);
  const secure = connectTls({ port: open.port, host: elsewhere, servername: 'localhost', ca: readFileSync(certificate!.cert) });
  secure.write(PREFACE);
  assert.ok((await firstOf(secure)).equals(PREFACE_OK));
  secure.destroy();
  await open.end();
});

test('connections are counted, and all are gone when their clients are', async () => {
  const count = async (): Promise<number> => {
    const text = await (await fetch(`http://${server.address}/metrics`, { headers: { connection: 'close' } })).text();
    return Number(/^sidelog_connections (\d+)$/m.exec(text)![1]);
  };
  await until(async () => (await count()) === 1);
});

test.run();
