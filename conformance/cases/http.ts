// §14: the few HTTP pages on the same port.
import { area } from '../engine/case.ts';
import type { Context, Transport } from '../engine/context.ts';
import type { Endpoint } from '../net/conn.ts';
import { Failure } from '../engine/failure.ts';
import { batchOf } from '../wire/batch.ts';

const define = area('http', 'http');

interface Answer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

interface Ask {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly transport?: Transport;
  readonly endpoint?: Endpoint;
}

/** One request on a connection of its own. */
async function ask(t: Context, path: string, { method = 'GET', headers = {}, transport, endpoint }: Ask = {}): Promise<Answer> {
  const usesTls = (transport ?? t.run.transport) === 'tls';
  const conn = await t.connect({ transport: usesTls ? 'tls' : 'plain', endpoint, label: `${method} ${path}`, ...(usesTls ? { tls: { ALPNProtocols: ['http/1.1'] } } : {}) });
  const all = { Host: 'localhost', Connection: 'close', ...headers };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`).join('');
  conn.write(Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`));
  await conn.untilEnded(t.ms(10_000));
  const text = conn.raw.toString('utf8');
  const cut = text.indexOf('\r\n\r\n');
  const [start, ...lines] = text.slice(0, cut < 0 ? 0 : cut).split('\r\n');
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(start ?? '')?.[1] ?? NaN);
  if (Number.isNaN(status)) throw new Failure(`${method} ${path}`, 'an HTTP/1.1 answer', JSON.stringify(text.slice(0, 80)));
  return { status, headers: new Map(lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()])), body: text.slice(cut + 4) };
}

const absent = area('http-absent', 'core', ['absent:http', 'plaintext']);

export const httpCases = [
  absent('closes', 'A server that does not serve HTTP closes a connection that begins with a letter of a method, without a byte.', 'HTTP-1',
    { kills: ['hold-open', 'http:answers'] }, async (t) => {
      for (const method of ['GET', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'TRACE', 'CONNECT']) {
        const conn = await t.connect({ label: method });
        conn.write(Buffer.from(`${method} / HTTP/1.1\r\nHost: localhost\r\n\r\n`));
        await conn.untilEnded();
        t.equal(conn.raw, Buffer.alloc(0), `what the server sent after ${method}`);
      }
    }),

  define('probes', '/livez and /readyz answer 200 with a word, whatever Host and Origin say.', 'HTTP-2 HTTP-3 HTTP-4 HTTP-5 HTTP-6',
    { kills: ['http:status', 'http:tells-version', 'http:host-checked'] }, async (t) => {
      const { hello } = await t.ready();
      for (const path of ['/livez', '/readyz']) {
        for (const headers of [{}, { Host: 'evil.example' }, { Origin: 'https://evil.example' }, { Host: '10.0.0.7:8400', Origin: 'null' }] as Record<string, string>[]) {
          const answer = await ask(t, path, { headers });
          t.equal(answer.status, 200, `the status of ${path} with ${JSON.stringify(headers)}`);
          t.ok(answer.body.length < 200 && !answer.body.includes(hello.server) && !answer.body.includes(hello.cluster_id.toString('hex')), 'a body that tells no more than that it is so', answer.body);
        }
        t.equal((await ask(t, path, { method: 'HEAD' })).body, '', `the body of HEAD ${path}`);
      }
    }),

  define('both-transports', 'HTTP is served in plaintext and inside TLS.', 'HTTP-2',
    { needs: ['tls', 'plaintext'], kills: ['http:status', 'tls:refuse'] }, async (t) => {
      for (const transport of ['plain', 'tls'] as const) t.equal((await ask(t, '/livez', { transport })).status, 200, `the status of /livez, ${transport}`);
    }),

  define('metrics', '/metrics is in the Prometheus text format.', 'HTTP-7',
    { kills: ['http:status', 'http:content-type'] }, async (t) => {
      const answer = await ask(t, '/metrics');
      t.equal([answer.status, answer.headers.get('content-type')], [200, 'text/plain; version=0.0.4; charset=utf-8'], 'status and Content-Type of /metrics');
      for (const line of answer.body.split('\n')) {
        const fine = line === '' || line.startsWith('#') || /^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [-+0-9.eE]+|[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? (NaN|[+-]Inf)/.test(line);
        t.ok(fine, 'lines of the Prometheus text format', line);
      }
      t.ok(answer.body.length > 0 && answer.body.endsWith('\n'), 'a body that ends with a line feed');
    }),

  define('host', 'Any other path needs a Host that is loopback or configured: else 421.', 'HTTP-9',
    { kills: ['http:status', 'http:host-ignored'] }, async (t) => {
      for (const host of ['localhost', 'localhost:8400', '127.0.0.1', '127.0.0.1:1', '[::1]', '[::1]:8400']) {
        t.equal((await ask(t, '/metrics', { headers: { Host: host } })).status, 200, `the status for Host ${host}`);
      }
      for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example:80', '10.1.2.3', '[::2]', 'localhostx']) {
        t.equal((await ask(t, '/metrics', { headers: { Host: host } })).status, 421, `the status for Host ${host}`);
      }
    }),

  define('origin', 'Any other path refuses an Origin that is not that of Host with 403, and never lets other origins read.', 'HTTP-10 HTTP-13',
    { kills: ['http:status', 'http:cors', 'http:origin-ignored'] }, async (t) => {
      for (const [host, origin, status] of [
        ['localhost:8400', 'http://localhost:8400', 200], ['127.0.0.1', 'http://127.0.0.1', 200], ['localhost:8400', 'http://localhost:8401', 403],
        ['localhost:8400', 'http://evil.example', 403], ['localhost', 'null', 403], ['localhost', 'http://127.0.0.1', 403],
      ] as const) {
        const answer = await ask(t, '/metrics', { headers: { Host: host, Origin: origin } });
        t.equal(answer.status, status, `the status for Host ${host} and Origin ${origin}`);
        const cors = [...answer.headers.keys()].filter((name) => name.startsWith('access-control-'));
        t.equal(cors, [], 'headers that let other origins read');
      }
      const livez = await ask(t, '/livez', { headers: { Origin: 'http://evil.example' } });
      t.equal([...livez.headers.keys()].filter((name) => name.startsWith('access-control-')), [], 'such headers on /livez');
    }),

  define('methods', 'Methods other than GET and HEAD get 405.', 'HTTP-11',
    { kills: ['http:any-method'] }, async (t) => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        for (const path of ['/livez', '/metrics']) t.equal((await ask(t, path, { method, headers: { 'Content-Length': '0' } })).status, 405, `the status of ${method} ${path}`);
      }
    }),

  define('unknown-path', 'A path that the server does not have gets 404.', 'HTTP-12',
    { kills: ['http:status', 'http:any-path'] }, async (t) => {
      for (const path of ['/no-such-page', '/livez/x', '/metricsx', '/..%2f', '/livezz']) t.equal((await ask(t, path)).status, 404, `the status of ${path}`);
    }),

  define('from-afar', 'From another address in plaintext only /livez and /readyz answer; the rest gets 403.', 'HTTP-8 HTTP-3',
    { needs: ['far'], kills: ['srv:far-is-near'] }, async (t) => {
      const endpoint = t.target.far!;
      for (const path of ['/livez', '/readyz']) t.equal((await ask(t, path, { endpoint, transport: 'plain' })).status, 200, `the status of ${path} from afar`);
      t.equal((await ask(t, '/metrics', { endpoint, transport: 'plain' })).status, 403, 'the status of /metrics from afar, in plaintext');
      if (t.target.tls) t.equal((await ask(t, '/metrics', { endpoint, transport: 'tls' })).status, 200, 'the status of /metrics from afar, inside TLS');
    }),

  define('not-ready-when-stopping', '/readyz answers 503 after the server was asked to stop, as long as it answers.', 'HTTP-5',
    { needs: ['hook:stop', 'hook:start', 'hook:slowsync'], exclusive: true, kills: ['srv:ready-while-stopping'] }, async (t) => {
      t.disruptive = true;
      const client = await t.ready();
      const log = await t.log(client);
      await t.hook('slowsync', { ms: 1_200 });
      client.request('PRODUCE', { log, batch: batchOf('keeps the connection open') });
      await client.barrier();
      const stopping = t.hook('stop');
      try {
        await client.goaway(t.ms(10_000));
        const answer = await ask(t, '/readyz').catch(() => null);
        if (answer === null) t.note('the port was closed at once');
        else t.equal(answer.status, 503, 'the status of /readyz while stopping');
      } finally {
        await stopping;
        await t.start();
      }
    }),
];
