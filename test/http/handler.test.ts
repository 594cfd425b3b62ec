// The HTTP paths over a real node:http server in this process: who may ask for what.
import { request as httpRequest, createServer } from 'node:http';
import type { IncomingHttpHeaders, Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HTTP_STEP_MS, HttpDeadlines } from '../../src/http/deadlines.ts';
import { createHttpHandler, refuseConnect } from '../../src/http/handler.ts';
import type { HttpPorts } from '../../src/http/handler.ts';
import { MetricsText } from '../../src/http/metrics.ts';
import { until } from '../support/sidecar.ts';

const test = suite('http/handler');

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Runs `use` against a handler with these ports; `ask` sends one request. */
async function withHandler(
  changes: Partial<HttpPorts>, use: (ask: (path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>, server: Server) => Promise<void>,
): Promise<void> {
  const ports: HttpPorts = {
    notReady: () => null, metrics: () => 'm 1\n', status: () => ({ node: 'n' }), isTrustedTransport: () => true, hosts: new Set(['log.example']), open: false, ...changes,
  };
  const server = createServer(createHttpHandler(ports));
  server.on('connect', (_request, socket) => refuseConnect(socket));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> =>
    new Promise((done, fail) => {
      const request = httpRequest({ port, host: '127.0.0.1', path, method, agent: false, headers: { host: `localhost:${port}`, ...headers } }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => done({ status: response.statusCode!, headers: response.headers, body }));
      });
      request.on('error', fail);
      request.end();
    });
  try {
    await use(ask, server);
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

test('probes answer from anywhere, whatever Host and Origin say, and tell nothing else', () =>
  withHandler({ isTrustedTransport: () => false }, async (ask) => {
    for (const path of ['/livez', '/readyz', '/livez?verbose']) {
      const { status, body } = await ask(path, { host: 'evil.example', origin: 'http://evil.example' });
      assert.is(status, 200);
      assert.is(body, 'ok\n');
    }
  }));

test('readyz is 503 while it is not ready, livez still 200, and the connection is closed', () =>
  withHandler({ notReady: () => 'secret reason' }, async (ask) => {
    const ready = await ask('/readyz');
    assert.is(ready.status, 503);
    assert.not.match(ready.body, 'secret');
    assert.is(ready.headers.connection, 'close');
    assert.is((await ask('/livez')).status, 200);
  }));

test('metrics are Prometheus text, status is JSON', () =>
  withHandler({}, async (ask) => {
    const metrics = await ask('/metrics');
    assert.is(metrics.status, 200);
    assert.is(metrics.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.is(metrics.headers['access-control-allow-origin'], undefined);
    assert.is(metrics.body, 'm 1\n');
    assert.equal(JSON.parse((await ask('/status')).body), { node: 'n' });
    const head = await ask('/metrics', {}, 'HEAD');
    assert.is(head.status, 200);
    assert.is(head.headers['content-length'], '4');
    assert.is(head.body, '');
  }));

test('everything but probes needs a trusted way in, unless that is switched off', async () => {
  await withHandler({ isTrustedTransport: () => false }, async (ask) => {
    for (const path of ['/metrics', '/status', '/', '/nothing']) assert.is((await ask(path)).status, 403, path);
  });
  await withHandler({ isTrustedTransport: () => false, open: true }, async (ask) => assert.is((await ask('/metrics')).status, 200));
});

test('a Host that is neither loopback nor configured is misdirected', () =>
  withHandler({}, async (ask) => {
    for (const host of ['localhost', 'localhost:1', 'LOCALHOST', '127.0.0.1:8400', '[::1]:8400', 'log.example', 'Log.Example:443']) {
      assert.is((await ask('/metrics', { host })).status, 200, host);
    }
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', 'evil.example:8400', '127.0.0.2', 'localhost:x']) {
      assert.is((await ask('/metrics', { host })).status, 421, host);
      assert.is((await ask('/nothing', { host })).status, 421, host);
    }
  }));

test('an Origin other than the Host is refused', () =>
  withHandler({}, async (ask) => {
    assert.is((await ask('/metrics', { host: 'localhost:8400', origin: 'http://localhost:8400' })).status, 200);
    assert.is((await ask('/metrics', { host: 'log.example', origin: 'https://log.example' })).status, 200);
    for (const origin of ['http://evil.example', 'http://localhost:8401', 'null', 'http://localhost', 'file://', 'http://localhost:8400/path']) {
      assert.is((await ask('/metrics', { host: 'localhost:8400', origin })).status, 403, origin);
    }
  }));

test('only GET and HEAD, and only the paths there are', () =>
  withHandler({}, async (ask) => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE']) {
      const { status, headers } = await ask('/livez', {}, method);
      assert.is(status, 405, method);
      assert.is(headers.allow, 'GET, HEAD');
    }
    for (const path of ['/', '/metrics/', '/Metrics', '/livez/x', '//livez']) assert.is((await ask(path)).status, 404, path);
  }));

test('CONNECT is refused like any other method', () =>
  withHandler({}, async (_ask, server) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write('CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n');
    let answer = '';
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    await new Promise((done) => socket.once('close', done));
    assert.match(answer, /^HTTP\/1\.1 405 /);
  }));

test('a connection that drips, stays silent or does not read is closed after its step, others live on', () => {
  let scraped = false;
  const metrics = (): string => {
    scraped = true;
    return 'x'.repeat(16 * 1024 * 1024);
  };
  return withHandler({ metrics }, async (ask, server) => {
    let nowMs = 0;
    const deadlines = new HttpDeadlines(server, () => nowMs);
    const { port } = server.address() as AddressInfo;
    const sockets: Socket[] = [];
    const open = async (bytes: string): Promise<Socket> => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      sockets.push(socket);
      await new Promise((done) => socket.once('connect', done));
      socket.write(bytes);
      return socket;
    };
    const silent = await open('');
    const dripping = await open('GET /livez HTTP/1.1\r\nHost: ');
    const deaf = await open('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n');
    deaf.pause();
    await until(() => deadlines.size === 3 && scraped);
    nowMs = HTTP_STEP_MS - 1;
    dripping.write('l');
    deadlines.tick(nowMs);
    const late = await open('GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await new Promise((done) => late.once('data', done));
    assert.is(deadlines.size, 4);
    nowMs = HTTP_STEP_MS;
    deadlines.tick(nowMs);
    await until(() => deadlines.size === 1);
    assert.is((await ask('/livez')).status, 200);
    for (const socket of [silent, dripping]) await until(() => socket.resume().destroyed);
    for (const socket of sockets) socket.destroy();
  });
});

test('the text format escapes labels and counts histograms up', () => {
  const text = new MetricsText();
  text.single('up', 'gauge', 'Is it?', 1, { name: 'a"b\\c\nd' });
  text.histogram('took_seconds', 'How long.', { counts: Float64Array.from([1, 0, 2]), sumSeconds: 0.5 }, [1, 250]);
  assert.is(
    text.toString(),
    [
      '# HELP up Is it?', '# TYPE up gauge', 'up{name="a\\"b\\\\c\\nd"} 1',
      '# HELP took_seconds How long.', '# TYPE took_seconds histogram',
      'took_seconds_bucket{le="0.001"} 1', 'took_seconds_bucket{le="0.25"} 1', 'took_seconds_bucket{le="+Inf"} 3',
      'took_seconds_sum 0.5', 'took_seconds_count 3', '',
    ].join('\n'),
  );
});

test.run();
