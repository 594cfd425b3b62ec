// More connections than there may be: a session is refused with a word, a socket without one; probes still find room.
import type { Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { ErrorCode } from '../../src/wire/errors.ts';
import { endAll, serve, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { hello, PREFACE } from '../session/support.ts';
import { open, openSession, untilClosed } from './support.ts';

const test = suite('hostile/limits');
const SESSIONS_MAX = 3;
/** As in src/tls/listener.ts: sockets of other kinds that find room besides. */
const SPARE = 256;

let server: Server;

test.before(async () => {
  server = await serve({ args: ['--max-connections', String(SESSIONS_MAX)] });
});
test.after(async () => {
  assert.is(await server.end(), 0);
  await endAll();
});

/** One of the figures of /metrics. */
async function figure(name: string): Promise<number> {
  const text = await (await fetch(`http://${server.address}/metrics`, { headers: { connection: 'close' } })).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)![1]);
}

function refusedCount(): Promise<number> {
  return figure('sidelog_connections_refused_total');
}

/** Resolves when all connections of the test before are gone. */
async function untilEmpty(): Promise<void> {
  await until(async () => (await figure('sidelog_connections')) === 1);
  // That of the question itself.
  await new Promise((done) => setTimeout(done, 200));
}

function openMany(count: number): Promise<Socket[]> {
  return Promise.all(Array.from({ length: count }, () => open(server)));
}

/** Whether the server closes the socket before it could be for its silence. */
async function isClosedSoon(socket: Socket): Promise<boolean> {
  const closed = untilClosed(socket).then(() => true);
  return Promise.race([closed, new Promise<boolean>((done) => setTimeout(() => done(false), 1500))]);
}

test('one session more than there may be is refused with OVERLOADED in the preface, and has room when another ends', async () => {
  const sessions: Socket[] = [];
  for (let i = 0; i < SESSIONS_MAX; i++) sessions.push(await openSession(server));
  const before = await refusedCount();
  for (let i = 0; i < 2; i++) {
    const refused = await open(server);
    const answer = untilClosed(refused);
    refused.write(Buffer.concat([PREFACE, hello()]));
    const bytes = await answer;
    assert.is(bytes.length, 8, 'its preface and no more');
    assert.is(bytes.readUInt16BE(6), ErrorCode.OVERLOADED);
  }
  assert.is(await refusedCount(), before + 2);
  assert.is((await fetch(`http://${server.address}/readyz`)).status, 200);
  sessions.pop()!.destroy();
  await until(async () => {
    const socket = await open(server);
    socket.write(PREFACE);
    const answer = await new Promise<Buffer>((done) => socket.once('data', done));
    socket.destroy();
    return answer.readUInt16BE(6) === 0;
  });
  for (const socket of sessions) socket.destroy();
});

test('where no socket has room left, the oldest that has said nothing makes way', async () => {
  await untilEmpty();
  const silent = await openMany(SESSIONS_MAX + SPARE);
  const first = isClosedSoon(silent[0]!);
  const last = await openSession(server);
  assert.ok(await first);
  assert.is(silent.filter((socket) => socket.destroyed).length, 1, 'and no other');
  for (const socket of [last, ...silent]) socket.destroy();
});

test('where all have said what they are, a socket that comes then is closed without a byte', async () => {
  const before = await refusedCount();
  await untilEmpty();
  const talking = await openMany(SESSIONS_MAX + SPARE);
  // The beginning of an HTTP request: it may take its time.
  for (const socket of talking) socket.write('GET /livez HTTP/1.1\r\n');
  await new Promise((done) => setTimeout(done, 300));
  const refused = await open(server);
  assert.is((await untilClosed(refused)).length, 0);
  assert.is(talking.filter((socket) => socket.destroyed).length, 0);
  for (const socket of talking) socket.destroy();
  await until(async () => (await refusedCount().catch(() => 0)) > before);
});

test.run();
