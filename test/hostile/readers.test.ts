// Readers that do not read, and thousands who say nothing: what they cost is bounded, and theirs alone.
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildBatch } from '../../src/wire/batch-build.ts';
import { connect } from '../../src/wire/client/client.ts';
import { NONE } from '../../src/wire/limits.ts';
import { From, Op } from '../../src/wire/ops.ts';
import { fetchRequest, subscribeRequest } from '../../src/wire/requests-read.ts';
import { produceRequest } from '../../src/wire/requests-write.ts';
import { endAll, exitOf, residentBytes, serve, skipUnless, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { encode, frame, hello, PREFACE } from '../session/support.ts';
import { Bystander, boundedMemory, FOR_EVER, open, openSession } from './support.ts';

const test = suite('hostile/readers');
const MIB = 1024 * 1024;
/** As the issue has it; fewer where this process may not open as many sockets. */
const IDLE_WISHED = 10_000;
/** Resident bytes of the server per connection that says nothing more. */
const IDLE_COST_MAX = 24 * 1024;
const CREDIT_MAX = 2 ** 31 - 1;

let server: Server;
let bystander: Bystander;

test.before(async () => {
  server = await serve({ args: ['--shutdown-grace', '60s'] });
  bystander = await Bystander.arrive(server, 'bystander');
  const client = await connect({ address: server.address });
  await client.logs.create('large');
  await client.logs.create('own');
  const producer = client.producer('large', { batchBytes: 200_000 });
  const value = Buffer.alloc(10_000, 'x');
  for (let i = 0; i < 4000; i++) if (!producer.append({ value })) await producer.drained();
  await producer.close();
  await client.close();
  await bystander.check();
});
test.after(endAll);

const earliest = { from: From.EARLIEST, value: 0, positionName: '' };

function subscribe(id: number, log: string): Buffer {
  return frame(Op.SUBSCRIBE, id, encode(subscribeRequest, { log, ...earliest, creditBytes: CREDIT_MAX }));
}

function fetch_(id: number, log: string): Buffer {
  return frame(Op.FETCH, id, encode(fetchRequest, { log, ...earliest, flags: 0, minBytes: 1, maxBytes: 4 * MIB, maxWaitMs: 0 }));
}

function produce(id: number, log: string, text: string): Buffer {
  const batch = buildBatch([{ value: Buffer.from(text) }]);
  return frame(Op.PRODUCE, id, encode(produceRequest, { log, flags: 0, timeoutMs: 0, expectedOffset: NONE, fence: 0, batch }));
}

/** A session that hears nothing from now on. */
async function deafSession(...requests: Buffer[]): Promise<Socket> {
  const socket = await openSession(server);
  socket.pause();
  socket.write(Buffer.concat(requests));
  return socket;
}

test('fifty subscribers that never read hold their buffers and nothing else, while others work', async () => {
  const sockets: Socket[] = [];
  await boundedMemory(server, 64 * MIB, async () => {
    bystander.watch();
    for (let i = 0; i < 50; i++) sockets.push(await deafSession(subscribe(2, 'large')));
    await new Promise((done) => setTimeout(done, 300));
    const { median, worst } = await bystander.calm();
    assert.ok(median < 250 && worst < 3000, `median ${median.toFixed(0)} ms, worst ${worst.toFixed(0)} ms`);
  });
  for (const socket of sockets) socket.destroy();
  await bystander.check();
});

test('a thousand pipelined FETCHes of 4 MiB that nobody reads are answered one buffer at a time', async () => {
  let socket: Socket | undefined;
  await boundedMemory(server, 60 * MIB, async () => {
    socket = await deafSession(...Array.from({ length: 1000 }, (_, i) => fetch_(i + 2, 'large')));
    await bystander.check();
    await new Promise((done) => setTimeout(done, 200));
  });
  socket!.destroy();
  await bystander.check();
});

test("a subscriber that does not read does not hold up its own connection's records", async () => {
  const socket = await deafSession(subscribe(2, 'large'));
  const client = await connect({ address: server.address });
  // First the server's buffer is full, then come the records.
  await until(async () => (await metric('sidelog_read_bytes_total')) > 0);
  await new Promise((done) => setTimeout(done, 200));
  for (let i = 0; i < 100; i++) socket.write(produce(i + 3, 'own', `record ${i}`));
  const { committedEnd } = await until(async () => {
    const result = await client.fetch('own');
    return result.committedEnd === 100 ? result : null;
  }, 5000);
  assert.is(committedEnd, 100);
  await client.close();
  socket.destroy();
});

test('a reader that takes a piece now and then gets the same bytes as one that takes all at once', async () => {
  const ask = async (pauseMs: number): Promise<Buffer> => {
    const socket = await openSession(server);
    let heard = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk]);
      if (pauseMs === 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), pauseMs);
    });
    socket.write(fetch_(2, 'large'));
    await until(() => heard.length >= 12 && heard.length === 4 + heard.readUInt32BE(0), 30_000);
    socket.destroy();
    return heard;
  };
  const whole = await ask(0);
  assert.ok(whole.length > 200_000);
  assert.ok((await ask(5)).equals(whole));
});

test('ten thousand idle connections cost little, change nothing for others, and end with the server', async () => {
  const limit = openFilesLimit();
  const count = Math.min(IDLE_WISHED, limit === null ? 2000 : limit - 1000);
  if (count < IDLE_WISHED) console.log(`\n# ${count} connections instead of ${IDLE_WISHED}: the limit of open files is ${limit}`);
  const before = residentBytes(server.pid);
  const sockets: Socket[] = [];
  const greeting = Buffer.concat([PREFACE, hello({ idleMs: FOR_EVER })]);
  // A few connections are the bystander's.
  while (sockets.length < count - 10) {
    const some = await Promise.all(Array.from({ length: Math.min(500, count - 10 - sockets.length) }, () => open(server)));
    for (const socket of some) socket.write(greeting);
    sockets.push(...some);
  }
  await until(async () => (await metric('sidelog_connections')) >= sockets.length, 30_000);
  bystander.watch();
  await new Promise((done) => setTimeout(done, 500));
  const { median, worst } = await bystander.calm();
  assert.ok(median < 250 && worst < 3000, `median ${median.toFixed(0)} ms, worst ${worst.toFixed(0)} ms`);
  await bystander.check();
  const after = residentBytes(server.pid);
  if (skipUnless(before !== null && after !== null, 'there is no /proc')) {
    const each = (after! - before!) / sockets.length;
    assert.ok(each < IDLE_COST_MAX, `${each.toFixed(0)} bytes for each connection`);
  }
  // All of them hear GOAWAY; they answer nothing and do not close.
  let farewells = 0;
  for (const socket of sockets) {
    socket.resume();
    socket.once('end', () => farewells++);
  }
  const began = performance.now();
  server.child.kill('SIGTERM');
  assert.is(await exitOf(server.child), 0);
  assert.ok(performance.now() - began < 60_000, 'before the grace was over');
  await until(() => farewells === sockets.length);
  await bystander.leave();
  for (const socket of sockets) socket.destroy();
});

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://${server.address}/metrics`, { headers: { connection: 'close' } })).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

function openFilesLimit(): number | null {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? 0) || null;
  } catch {
    return null;
  }
}

test.run();
