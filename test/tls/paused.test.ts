// Back-pressure of the whole node, at real sockets: while it is on, nothing is read from any client.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { connect } from 'node:net';
import type { Connection } from '../../src/tls/connection.ts';
import { Listener } from '../../src/tls/listener.ts';
import { Turn } from '../../src/tls/turn.ts';
import type { Session } from '../../src/wire/session/ports.ts';

const test = suite('tls/paused');

/** Some turns of the event loop with reads in them: a request and its answer over the same port. */
async function probe(port: number): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const [response] = await once(get({ host: '127.0.0.1', port, agent: false }), 'response');
    response.resume();
    await once(response, 'end');
  }
}

test('a connection that comes while the node reads nothing waits like all others', async () => {
  let received = 0;
  let created = (): void => {};
  let heard = (): void => {};
  const session = {
    receive: (chunk: Buffer) => {
      received += chunk.length;
      heard();
    },
    peerEnded() {}, peerClosed() {}, tick() {}, turnEnd() {}, takeOutput: () => [], written() {}, goAway() {},
  };
  const listener = new Listener(
    { address: { host: '127.0.0.1', port: 0 }, unixSocket: null, tls: null, connectionsMax: 10 },
    {
      turn: new Turn(),
      monotonicMs: () => 0,
      createSession: (_host: Connection) => {
        created();
        return session as unknown as Session;
      },
      http: createServer((_request, response) => response.end()),
      acceptFailed() {},
    },
  );
  const { port } = await listener.start();
  listener.setPaused(true);
  const opened = new Promise<void>((resolve) => (created = resolve));
  const client = connect(port, '127.0.0.1');
  client.write(Buffer.alloc(1000, 0xfa));
  await opened;
  client.write(Buffer.alloc(1000));
  await probe(port);
  assert.is(received, 0);
  const all = new Promise<void>((resolve) => (heard = () => void (received === 2000 && resolve())));
  listener.setPaused(false);
  await all;
  client.destroy();
  listener.close();
});

test.run();
