// The benchmark client: one process, the same code against sidelog and the bare loop. Keeps a
// fixed number of PRODUCE frames in flight; a request counts when its own ack was decoded.
// Prints one JSON object {requests, seconds, rps, mbps, p50ms, p99ms}. With "total" it sends
// exactly so many requests instead of running for a time.
//
//   node load.mjs '{"port":8400,"connections":1,"window":256,"count":1,"valueSize":100,"warmMs":500,"runMs":3000,"ca":null,"hello":true,"log":"default"}'
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { FRAME_HEADER_SIZE, buildBatch, opening, produceFrame } from './frames.mjs';

const options = JSON.parse(process.argv[2]);
const frame = produceFrame(options.log, buildBatch(options.count, options.valueSize));

/** Latency histogram: buckets of 1 µs up to 10 ms, then of 100 µs up to 1 s. */
const fine = new Uint32Array(10_001);
const coarse = new Uint32Array(10_001);
let measured = 0;
let from = 0;
let until = 0;
let open = options.connections;
/** Requests still to be sent when a total was asked for. */
let left = options.total ?? Infinity;
let first = 0;
let last = 0;
let acked = 0;

for (let i = 0; i < options.connections; i++) start();

function start() {
  const ids = options.window;
  // Slot i always sends the same bytes, so a slot's frame is built once.
  const slots = Array.from({ length: ids }, (_, slot) => {
    const bytes = Buffer.from(frame);
    bytes.writeUInt32BE(slot + 2, 8);
    return bytes;
  });
  const sentAt = new Float64Array(ids);
  const socket =
    options.ca === null
      ? connectTcp({ port: options.port, host: '127.0.0.1', noDelay: true })
      : connectTls({ port: options.port, host: '127.0.0.1', ca: readFileSync(options.ca), servername: 'localhost', ALPNProtocols: options.hello ? ['sidelog/1'] : undefined });
  let rest = null;
  let greeted = !options.hello;
  socket.once(options.ca === null ? 'connect' : 'secureConnect', () => {
    socket.setNoDelay(true);
    if (options.hello) socket.write(opening());
    else sendAll();
  });
  socket.on('error', (error) => fail(error.message));
  socket.on('close', () => {
    if (--open === 0) report();
  });
  socket.on('data', (chunk) => {
    let buffer = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    if (!greeted) {
      // Preface answer (8 bytes) and the HELLO answer.
      if (buffer.length < 8 + FRAME_HEADER_SIZE) return void (rest = buffer);
      const size = 8 + 4 + buffer.readUInt32BE(8);
      if (buffer.length < size) return void (rest = buffer);
      if (buffer.readUInt16BE(8 + 6) !== 0) fail('HELLO was refused');
      greeted = true;
      buffer = buffer.subarray(size);
      sendAll();
    }
    const now = performance.now();
    const out = Buffer.allocUnsafe(Math.ceil((buffer.length + 46) / FRAME_HEADER_SIZE) * frame.length);
    let used = 0;
    while (buffer.length - at >= FRAME_HEADER_SIZE) {
      const size = buffer.readUInt32BE(at) + 4;
      if (buffer.length - at < size) break;
      if (buffer.readUInt16BE(at + 6) !== 0) fail(`status ${buffer.readUInt16BE(at + 6)} for op ${buffer[at + 4]}`);
      const slot = buffer.readUInt32BE(at + 8) - 2;
      note(now, sentAt[slot]);
      if (options.total === undefined ? now < until || until === 0 : left > 0) {
        left--;
        slots[slot].copy(out, used);
        used += frame.length;
        sentAt[slot] = now;
      }
      at += size;
    }
    if (used > 0) socket.write(out.subarray(0, used));
    else if (options.total === undefined ? until !== 0 && now >= until : acked === options.total) socket.destroy();
    rest = at === buffer.length ? null : buffer.subarray(at);
  });

  function sendAll() {
    first = performance.now();
    sentAt.fill(first);
    const now = slots.slice(0, Math.min(ids, left));
    left -= now.length;
    socket.write(Buffer.concat(now));
  }
}

function note(now, sent) {
  acked++;
  last = now;
  if (from === 0) {
    from = now + options.warmMs;
    until = from + options.runMs;
  }
  if (now < from || now >= until) return;
  measured++;
  const us = (now - sent) * 1000;
  if (us < 10_000) fine[Math.floor(us)]++;
  else coarse[Math.min(10_000, Math.floor(us / 100))]++;
}

function percentile(share) {
  let left = measured * share;
  for (let i = 0; i < 10_000; i++) if ((left -= fine[i]) <= 0) return (i + 1) / 1000;
  for (let i = 0; i <= 10_000; i++) if ((left -= coarse[i]) <= 0) return (i + 1) / 10;
  return 1000;
}

function report() {
  const seconds = options.total === undefined ? options.runMs / 1000 : (last - first) / 1000;
  if (options.total !== undefined) measured = acked;
  const payload = options.count * options.valueSize;
  const rps = measured / seconds;
  console.log(
    JSON.stringify({ requests: measured, seconds, rps: Math.round(rps), mbps: +((rps * payload) / 1e6).toFixed(1), p50ms: percentile(0.5), p99ms: percentile(0.99) }),
  );
}

function fail(message) {
  console.error(`load: ${message}`);
  process.exit(1);
}
