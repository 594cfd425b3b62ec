// TLS and Unix sockets: the certificate is verified, the name is checked, the same bytes flow.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connect, LocalCode } from '../../src/wire/client/client.ts';
import { parseAddress } from '../../src/wire/client/address.ts';
import { FakeServer } from './fake-server.ts';
import { errorOf, FAST, value } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'sidelog-client-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** A self-signed certificate for `name`, or null where there is no openssl. */
function certificate(name: string, subject: string): { cert: Buffer; key: Buffer } | null {
  const [cert, key] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=sidelog'];
  const made = spawnSync('openssl', [...args, '-addext', `subjectAltName=${subject}`, '-keyout', key, '-out', cert]);
  return made.status === 0 ? { cert: readFileSync(cert), key: readFileSync(key) } : null;
}

const test = suite('client/tls');
const ours = certificate('ours', 'IP:127.0.0.1,DNS:sidelog.test');

async function withTlsServer(use: (server: FakeServer, sockets: TLSSocket[]) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  const sockets: TLSSocket[] = [];
  await server.listen(0, (listener) =>
    createServer({ ...ours!, ALPNProtocols: ['sidelog/1'] }, (socket) => {
      sockets.push(socket);
      listener(socket);
    }),
  );
  try {
    await use(server, sockets);
  } finally {
    await server.close();
  }
}

if (ours === null) {
  console.log('# skipped: client/tls needs openssl to make a certificate');
} else {
  test('records go through TLS, and sidelog/1 is negotiated', async () => {
    await withTlsServer(async (server, sockets) => {
      const client = await connect({ address: server.address, tls: { ca: ours.cert }, token: undefined });
      const records = Array.from({ length: 50 }, () => ({ value: Buffer.alloc(20_000, 7) }));
      const producer = client.producer('t');
      await Promise.all(records.map((record) => producer.send(record)));
      await producer.close();
      const got = await client.fetch('t');
      assert.is(got.records.length, 50);
      assert.is(sockets[0]!.alpnProtocol, 'sidelog/1');
      await client.close();
    });
  });

  test('a certificate that nobody signed ends the attempt at once', async () => {
    await withTlsServer(async (server) => {
      const error = await errorOf(connect({ address: server.address, tls: true, ...FAST }));
      assert.is(error.code, LocalCode.CONNECT_FAILED);
      assert.match(error.message, /self-signed|self signed/);
    });
  });

  test('a certificate for another name is refused; servername says which one counts', async () => {
    await withTlsServer(async (server) => {
      const wrong = await errorOf(connect({ address: server.address, tls: { ca: ours.cert, servername: 'other.test' }, ...FAST }));
      assert.match(wrong.message, /other\.test/);
      const client = await connect({ address: server.address, tls: { ca: ours.cert, servername: 'sidelog.test' } });
      await client.ping();
      await client.close();
    });
  });

  test('a plaintext server is told from a TLS one', async () => {
    const server = new FakeServer();
    await server.listen();
    server.accept = (socket) => void socket.resume().end();
    const error = await errorOf(connect({ address: server.address, tls: { ca: ours.cert }, connectTimeoutMs: 50, ...FAST }));
    assert.is(error.code, LocalCode.CONNECT_FAILED);
    await server.close();
  });
}

test('a Unix socket carries the same', async () => {
  const server = new FakeServer();
  await server.listenUnix(join(folder, 'socket'));
  for (const address of [server.address, server.address.slice('unix:'.length)]) {
    const client = await connect({ address, token: 'local is fine' });
    await client.produce('t', value('x'));
    await client.close();
  }
  assert.is(server.log.end, 2);
  await server.close();
});

test('addresses are parsed as they are written', () => {
  assert.equal(parseAddress('localhost:8400'), { kind: 'tcp', host: 'localhost', port: 8400 });
  assert.equal(parseAddress('[::1]:1'), { kind: 'tcp', host: '::1', port: 1 });
  assert.equal(parseAddress('unix:/run/s'), { kind: 'unix', path: '/run/s' });
  assert.equal(parseAddress('/run/s'), { kind: 'unix', path: '/run/s' });
});

test.run();
