// The benchmark consumer: one process, the same code against sidelog and the bare sender. Walks
// every batch, checks both checksums and counts records. Prints {records, seconds, rps, mbps}.
//
//   node consume.mjs '{"port":8400,"records":1000000,"ca":null,"hello":true,"log":"default"}'
// With "stall": true it subscribes, prints {"stalled":true} and never reads again.
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { crc32 } from 'node:zlib';
import { BATCH_HEADER_SIZE, FRAME_HEADER_SIZE, creditFrame, opening, subscribeFrame } from './frames.mjs';

const options = JSON.parse(process.argv[2]);
const CREDIT = 16 * 1024 * 1024;
const SUBSCRIBE = 0x31;
const DELIVER = 0x33;
const FROM_EARLIEST = 1;

const socket =
  options.ca === null
    ? connectTcp({ port: options.port, host: '127.0.0.1', noDelay: true })
    : connectTls({ port: options.port, host: '127.0.0.1', ca: readFileSync(options.ca), servername: 'localhost', ALPNProtocols: options.hello ? ['sidelog/1'] : undefined });

/** The frame being assembled, when it spans chunks. */
let partial = null;
let partialUsed = 0;
let skip = options.hello ? 8 : 0;
let records = 0;
let bytes = 0;
let spent = 0;
let started = 0;

socket.once(options.ca === null ? 'connect' : 'secureConnect', () => {
  started = performance.now();
  if (options.hello) socket.write(Buffer.concat([opening(), subscribeFrame(options.log, 7, FROM_EARLIEST, CREDIT)]));
  else socket.write('go');
  if (options.stall) {
    socket.pause();
    console.log(JSON.stringify({ stalled: true }));
  }
});
socket.on('error', (error) => fail(error.message));
socket.on('close', () => {
  if (records < options.records) fail(`ended after ${records} records`);
});
socket.on('data', (chunk) => {
  let at = 0;
  if (skip > 0) {
    at = Math.min(skip, chunk.length);
    skip -= at;
  }
  while (at < chunk.length) {
    if (partial !== null) {
      at += fill(chunk, at);
      continue;
    }
    if (chunk.length - at < 4) {
      begin(64, chunk, at);
      return;
    }
    const size = chunk.readUInt32BE(at) + 4;
    if (chunk.length - at < size) {
      begin(size, chunk, at);
      return;
    }
    onFrame(chunk, at, at + size);
    at += size;
  }
});

function begin(size, chunk, at) {
  partial = Buffer.allocUnsafe(size);
  partialUsed = chunk.copy(partial, 0, at);
}

/** Copies towards the frame under assembly; returns the bytes taken. */
function fill(chunk, at) {
  if (partialUsed < 4) {
    const taken = Math.min(4 - partialUsed, chunk.length - at);
    chunk.copy(partial, partialUsed, at, at + taken);
    partialUsed += taken;
    if (partialUsed === 4) {
      const whole = Buffer.allocUnsafe(partial.readUInt32BE(0) + 4);
      partial.copy(whole, 0, 0, 4);
      partial = whole;
    }
    return taken;
  }
  const size = partial.readUInt32BE(0) + 4;
  const taken = Math.min(size - partialUsed, chunk.length - at);
  chunk.copy(partial, partialUsed, at, at + taken);
  partialUsed += taken;
  if (partialUsed === size) {
    const frame = partial;
    partial = null;
    onFrame(frame, 0, size);
  }
  return taken;
}

function onFrame(buffer, start, end) {
  const op = buffer[start + 4];
  if (buffer.readUInt16BE(start + 6) !== 0) fail(`status ${buffer.readUInt16BE(start + 6)} for op ${op}`);
  if (op === SUBSCRIBE || op !== DELIVER) return;
  const ext = buffer.readUInt16BE(start + FRAME_HEADER_SIZE + 8);
  let at = start + FRAME_HEADER_SIZE + 10 + ext;
  spent += end - at;
  while (at < end) {
    const bodyEnd = at + BATCH_HEADER_SIZE + buffer.readUInt32BE(at + 44);
    if (crc32(buffer.subarray(at + 8, at + BATCH_HEADER_SIZE)) !== buffer.readUInt32BE(at + 4)) fail('header checksum');
    if (crc32(buffer.subarray(at + 44, bodyEnd)) !== buffer.readUInt32BE(at + 40)) fail('body checksum');
    records += buffer.readUInt32BE(at + 48);
    bytes += bodyEnd - at;
    at = bodyEnd;
  }
  if (records >= options.records) report();
  if (options.hello && spent > CREDIT / 4) {
    socket.write(creditFrame(7, spent));
    spent = 0;
  }
}

function report() {
  const seconds = (performance.now() - started) / 1000;
  console.log(JSON.stringify({ records, seconds: +seconds.toFixed(3), rps: Math.round(records / seconds), mbps: +(bytes / 1e6 / seconds).toFixed(1) }));
  process.exit(0);
}

function fail(message) {
  console.error(`consume: ${message}`);
  process.exit(1);
}
