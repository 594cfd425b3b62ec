// End-to-end latency: one record per millisecond goes in over one connection and is awaited on a
// live subscription over another, in one process so that one clock judges both.
// Prints {records, p50ms, p99ms}.
//
//   node latency.mjs '{"port":8400,"records":5000,"ca":null,"log":"default"}'
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { crc32 } from 'node:zlib';
import { BATCH_HEADER_SIZE, FRAME_HEADER_SIZE, buildBatch, creditFrame, opening, produceFrame, subscribeFrame } from './frames.mjs';

const options = JSON.parse(process.argv[2]);
const SUBSCRIBE = 0x31;
const DELIVER = 0x33;
const FROM_NEXT = 2;
/** Where the record's first eight value bytes lie in a batch of one. */
const VALUE_AT = BATCH_HEADER_SIZE + 13;

const open = () =>
  options.ca === null
    ? connectTcp({ port: options.port, host: '127.0.0.1', noDelay: true })
    : connectTls({ port: options.port, host: '127.0.0.1', ca: readFileSync(options.ca), servername: 'localhost', ALPNProtocols: ['sidelog/1'] });

const batch = buildBatch(1, 100);
const latencies = [];
let sent = 0;

const reader = open();
reader.write(Buffer.concat([opening(), subscribeFrame(options.log, 7, FROM_NEXT, 64 * 1024 * 1024)]));
const onReaderFrame = (frame) => {
  if (frame[4] === SUBSCRIBE) startProducing();
  if (frame[4] !== DELIVER) return;
  const now = performance.now();
  let at = FRAME_HEADER_SIZE + 10 + frame.readUInt16BE(FRAME_HEADER_SIZE + 8);
  const from = at;
  while (at < frame.length) {
    latencies.push(now - frame.readDoubleBE(at + VALUE_AT));
    at += BATCH_HEADER_SIZE + frame.readUInt32BE(at + 44);
  }
  reader.write(creditFrame(7, at - from));
  if (latencies.length >= options.records) report();
};
reader.on('data', frames(onReaderFrame));

function startProducing() {
  const writer = open();
  writer.write(opening());
  writer.on('data', frames(() => {}));
  const began = performance.now();
  const timer = setInterval(() => {
    // Catches up with the wished rate whatever the timer's resolution.
    const due = Math.min(options.records, Math.floor(performance.now() - began));
    while (sent < due) {
      batch.writeDoubleBE(performance.now(), VALUE_AT);
      batch.writeUInt32BE(crc32(batch.subarray(44)), 40);
      batch.writeUInt32BE(crc32(batch.subarray(8, BATCH_HEADER_SIZE)), 4);
      const frame = produceFrame(options.log, batch);
      frame.writeUInt32BE(++sent, 8);
      writer.write(frame);
    }
    if (sent === options.records) clearInterval(timer);
  }, 1);
}

/** Cuts a stream into frames, after the 8 bytes of preface. */
function frames(onFrame) {
  let rest = Buffer.alloc(0);
  let skip = 8;
  return (chunk) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (skip > 0) {
      if (rest.length < skip) return;
      rest = rest.subarray(skip);
      skip = 0;
    }
    while (rest.length >= 4 && rest.length >= rest.readUInt32BE(0) + 4) {
      const size = rest.readUInt32BE(0) + 4;
      if (rest.readUInt16BE(6) !== 0) {
        console.error(`latency: status ${rest.readUInt16BE(6)} for op ${rest[4]}`);
        process.exit(1);
      }
      onFrame(rest.subarray(0, size));
      rest = rest.subarray(size);
    }
  };
}

function report() {
  latencies.sort((a, b) => a - b);
  const at = (share) => +latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))].toFixed(3);
  console.log(JSON.stringify({ records: latencies.length, p50ms: at(0.5), p99ms: at(0.99) }));
  process.exit(0);
}
