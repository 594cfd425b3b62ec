// Frames for the benchmark client, built by hand so that the same bytes go to both servers and
// no code of the server under test runs in the client.
import { crc32 } from 'node:zlib';

export const FRAME_HEADER_SIZE = 12;
export const BATCH_HEADER_SIZE = 72;
const NONE_HIGH = 0xffffffff;

/** A batch of `count` records of `valueSize` bytes, as a client sends it. */
export function buildBatch(count, valueSize) {
  const recordSize = 4 + 1 + 8 + valueSize;
  const batch = Buffer.alloc(BATCH_HEADER_SIZE + count * recordSize);
  batch.write('SLB1', 0, 'latin1');
  batch.writeUInt32BE(count * recordSize, 44);
  batch.writeUInt32BE(count, 48);
  for (let i = 0, at = BATCH_HEADER_SIZE; i < count; i++, at += recordSize) {
    batch.writeUInt32BE(recordSize - 4, at);
    batch.fill(0x61 + (i % 26), at + 13, at + recordSize);
  }
  batch.writeUInt32BE(crc32(batch.subarray(44)), 40);
  batch.writeUInt32BE(crc32(batch.subarray(8, 72)), 4);
  return batch;
}

/** Preface and HELLO, which a client may send in one write. */
export function opening() {
  const hello = Buffer.from(
    'fa534c474301010000000034010000000000000100000040000000007530000000000000000000000000000000000000000000000000000562656e63680000',
    'hex',
  );
  hello.writeUInt32BE(hello.length - 8 - 4, 8);
  return hello;
}

/** One PRODUCE frame (id 0, to be patched at byte 8). */
export function produceFrame(log, batch) {
  const payload = Buffer.alloc(2 + log.length + 1 + 1 + 4 + 8 + 8 + 2);
  payload.writeUInt16BE(log.length, 0);
  payload.write(log, 2, 'latin1');
  const at = 2 + log.length + 6;
  payload.writeUInt32BE(NONE_HIGH, at);
  payload.writeUInt32BE(NONE_HIGH, at + 4);
  return frame(0x20, 0, 0, Buffer.concat([payload, batch]));
}

/** SUBSCRIBE from the first offset with `credit` bytes. */
export function subscribeFrame(log, id, from, credit) {
  const payload = Buffer.alloc(2 + log.length + 1 + 1 + 8 + 2 + 4 + 2);
  payload.writeUInt16BE(log.length, 0);
  payload.write(log, 2, 'latin1');
  payload[2 + log.length] = from;
  payload.writeUInt32BE(credit, 2 + log.length + 12);
  return frame(0x31, 0, id, payload);
}

/** CREDIT for an open subscription. */
export function creditFrame(id, bytes) {
  const payload = Buffer.alloc(6);
  payload.writeUInt32BE(bytes, 0);
  return frame(0x32, 0, id, payload);
}

export function frame(op, flags, id, payload) {
  const bytes = Buffer.alloc(FRAME_HEADER_SIZE + payload.length);
  bytes.writeUInt32BE(8 + payload.length, 0);
  bytes[4] = op;
  bytes[5] = flags;
  bytes.writeUInt32BE(id, 8);
  payload.copy(bytes, FRAME_HEADER_SIZE);
  return bytes;
}
