// Garbage and malice on the port: each gets a typed error or is closed, memory stays bounded, and a
// bystander produces and consumes all along.
import { connect as connectTcp } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Reader } from '../../src/wire/bytes.ts';
import { goAway } from '../../src/wire/error-body.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { Op } from '../../src/wire/ops.ts';
import { makeCertificate } from '../support/certificate.ts';
import type { Certificate } from '../support/certificate.ts';
import { Prng } from '../support/prng.ts';
import { endAll, residentBytes, serve, skipUnless, temporaryFolder, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { EMPTY_EXT, frame, hello, pingFrame, PREFACE } from '../session/support.ts';
import { Bystander, boundedMemory, FOR_EVER, open, openSession, untilClosed } from './support.ts';

const test = suite('hostile/port');
const MIB = 1024 * 1024;
const seed = Number(process.env['SEED'] ?? 1);

let server: Server;
let unixSocket = '';
let bystander: Bystander;
let certificate: Certificate | null;

test.before(async () => {
  certificate = makeCertificate();
  unixSocket = join(temporaryFolder(), 'sidelog.sock');
  const tls = certificate === null ? [] : ['--tls-cert', certificate.cert, '--tls-key', certificate.key];
  server = await serve({ args: [...tls, '--unix-socket', unixSocket] });
  bystander = await Bystander.arrive(server, 'bystander');
  // What the first uses of everything cost is not what an attack costs.
  await bystander.check();
});
test.after.each(() => bystander.check());
test.after(async () => {
  assert.is(server.child.exitCode, null, `the server has ended: ${server.output.stderr}`);
  assert.not.match(server.output.stderr, 'crash');
  await bystander.leave();
  assert.is(await server.end(), 0);
  await endAll();
});

/** The code of the GOAWAY that ends what a server said. */
function goAwayIn(bytes: Buffer): { code: number; limit: number | undefined } | null {
  let at = 8;
  while (at + 12 <= bytes.length) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (bytes[at + 4] === Op.GOAWAY) {
      const { code, detail } = goAway.read(new Reader(bytes, at + 12, end));
      return { code, limit: detail.limit };
    }
    at = end;
  }
  return null;
}

test('random bytes, before and after the handshake, at any length', async () => {
  console.log(`SEED=${seed}`);
  const prng = new Prng(seed);
  const opening = [Buffer.alloc(0), PREFACE.subarray(0, 3), PREFACE, Buffer.concat([PREFACE, hello({ idleMs: FOR_EVER })]), Buffer.from([0x16, 3, 1]), Buffer.from('GET ')];
  await boundedMemory(server, 40 * MIB, async () => {
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 20 }, async () => {
        const socket = await open(server);
        const closed = untilClosed(socket);
        const bytes = prng.bytes(prng.next(20_000));
        socket.end(Buffer.concat([prng.pick(opening), bytes]));
        await closed;
      }));
    }
  });
});

test('frames that claim 4 GiB, before and after HELLO', async () => {
  const huge = Buffer.from('ffffffff2000000000000002', 'hex');
  for (const [first, limit] of [[PREFACE, 16_384], [Buffer.concat([PREFACE, hello()]), 4 * MIB]] as const) {
    const socket = await open(server);
    const heard = untilClosed(socket);
    socket.write(Buffer.concat([first, huge]));
    socket.end();
    assert.equal(goAwayIn(await heard), { code: ErrorCode.FRAME_TOO_LARGE, limit });
  }
});

test('five hundred frames that claim 4 MiB and bring a kilobyte take no memory for the claim', async () => {
  const claim = frame(Op.PRODUCE, 2, Buffer.alloc(1024));
  claim.writeUInt32BE(4 * MIB, 0);
  const sockets: Socket[] = [];
  await boundedMemory(server, 60 * MIB, async () => {
    for (let i = 0; i < 500; i++) {
      const socket = await openSession(server);
      sockets.push(socket);
      socket.write(claim);
    }
    await bystander.check();
  });
  for (const socket of sockets) socket.destroy();
});

test('TLS alerts, half a hello, and garbage in place of one', async () => {
  const openings = [
    Buffer.from('15030300020228', 'hex'),
    Buffer.from('16030100050100000100', 'hex'),
    Buffer.concat([Buffer.from('1603010200', 'hex'), Buffer.alloc(512, 0xa5)]),
    Buffer.concat([Buffer.from('16030140ff', 'hex'), Buffer.alloc(70_000, 1)]),
  ];
  await Promise.all(openings.map(async (bytes) => {
    const socket = await open(server);
    const heard = untilClosed(socket);
    socket.end(bytes);
    // TLS may answer with an alert; never with anything of ours.
    const answer = await heard;
    assert.ok(answer.length === 0 || answer[0] === 0x15, answer.toString('hex'));
  }));
});

test('HTTP garbage and HTTP without end', async () => {
  const requests: [Buffer, RegExp][] = [
    [Buffer.from('GET / HTTP/9.9\r\n\r\n'), /^HTTP\/1\.1 (400|505) /],
    [Buffer.from('GET \0\0\0 HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400 /],
    [Buffer.from(`GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /],
    [Buffer.from('POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n'), /^HTTP\/1\.1 405 /],
    [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^HTTP\/1\.1 (400|505) /],
    [Buffer.from('GET /livez HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nzzz'), /^HTTP\/1\.1 400 /],
  ];
  await boundedMemory(server, 40 * MIB, async () => {
    await Promise.all(requests.map(async ([bytes, expected]) => {
      const socket = await open(server);
      const heard = untilClosed(socket);
      socket.end(bytes);
      assert.match((await heard).toString('latin1'), expected);
    }));
  });
});

test('what says nothing, says it slowly or says half is closed within its five seconds, without a byte', async () => {
  const halfHello = Buffer.from('1603010200010001fc0303', 'hex');
  const starts: (Buffer | 'tls' | 'unix')[] = [
    Buffer.alloc(0), PREFACE.subarray(0, 1), PREFACE.subarray(0, 7), Buffer.from('16030100', 'hex'), halfHello, 'tls', 'unix',
  ];
  const began = performance.now();
  const closings = starts.filter((start) => certificate !== null || (start !== 'tls' && start !== 'unix')).map(async (start) => {
    if (start === 'tls') {
      const secure = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false });
      secure.on('error', () => undefined);
      return { answer: await untilClosed(secure), afterMs: performance.now() - began };
    }
    const socket = start === 'unix' ? connectTcp(unixSocket) : await open(server);
    socket.on('error', () => undefined);
    socket.write(start === 'unix' ? halfHello : start);
    return { answer: await untilClosed(socket), afterMs: performance.now() - began };
  });
  const dripping = (async () => {
    const socket = await open(server);
    const closed = untilClosed(socket);
    let sent = 0;
    const timer = setInterval(() => socket.write(PREFACE.subarray(sent, ++sent)), 1000);
    const answer = await closed;
    clearInterval(timer);
    return { answer, afterMs: performance.now() - began };
  })();
  for (const { answer, afterMs } of await Promise.all([...closings, dripping])) {
    assert.is(answer.length, 0);
    assert.ok(afterMs > 4500 && afterMs < 8000, `closed after ${afterMs.toFixed(0)} ms`);
  }
});

test('a flood of PINGs, read or not, slows nobody and holds no memory', async () => {
  const pings = Buffer.concat(Array.from({ length: 2000 }, (_, i) => pingFrame(i + 2, 'x'.repeat(64))));
  await boundedMemory(server, 60 * MIB, async () => {
    const deaf = await openSession(server);
    deaf.pause();
    const loud = await openSession(server);
    let flooding = true;
    let answered = 0;
    loud.on('data', (chunk: Buffer) => (answered += chunk.length));
    const flood = (socket: Socket): void => {
      if (flooding) socket.write(pings, () => flood(socket));
    };
    flood(deaf);
    flood(loud);
    bystander.watch();
    await until(() => answered > 20 * MIB, 60_000);
    const { median, worst } = await bystander.calm();
    flooding = false;
    assert.ok(median < 250 && worst < 3000, `median ${median.toFixed(0)} ms, worst ${worst.toFixed(0)} ms`);
    deaf.destroy();
    loud.destroy();
  });
});

test('a flood of frames without effect is ended with CONTROL_FLOOD', async () => {
  const socket = await open(server);
  const heard = untilClosed(socket);
  socket.write(Buffer.concat([PREFACE, hello()]));
  const credits = Buffer.concat(Array.from({ length: 50_000 }, (_, i) => frame(Op.CANCEL, i + 2, EMPTY_EXT)));
  socket.write(credits);
  assert.is(goAwayIn(await heard)!.code, ErrorCode.CONTROL_FLOOD);
});

test('connections that come and go at once leave nothing behind', async () => {
  await boundedMemory(server, 40 * MIB, async () => {
    for (let round = 0; round < 20; round++) {
      const sockets = await Promise.all(Array.from({ length: 50 }, () => open(server)));
      for (const [i, socket] of sockets.entries()) {
        if (i % 3 === 0) socket.write(PREFACE);
        if (i % 3 === 1) socket.write(Buffer.concat([PREFACE, hello()]));
        socket.resetAndDestroy();
      }
    }
  });
  await until(async () => {
    const text = await (await fetch(`http://${server.address}/metrics`, { headers: { connection: 'close' } })).text();
    return Number(/^sidelog_connections (\d+)$/m.exec(text)![1]) <= 2;
  });
});

test('RSS at the end of all this is that of a server at work', () => {
  const bytes = residentBytes(server.pid);
  if (!skipUnless(bytes !== null, 'there is no /proc')) return;
  assert.ok(bytes! < 220 * MIB, `${(bytes! / MIB).toFixed(0)} MiB`);
});

test.run();
