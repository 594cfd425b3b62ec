// The frame reader against broken headers, hostile lengths and odd chunking.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Writer } from '../../src/wire/bytes.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import { beginFrame, endFrame, FrameReader } from '../../src/wire/frame.ts';
import { Op } from '../../src/wire/ops.ts';
import { seededRandom } from './random.ts';

const test = suite('wire/frame');

function frame(payload: number, { op = Op.PING as number, flags = 0, status = 0, id = 1 } = {}): Buffer {
  const w = new Writer(64);
  const at = beginFrame(w, op, flags, status, id);
  w.raw(Buffer.alloc(payload, id));
  endFrame(w, at);
  return w.copy();
}

function failureOf(bytes: Buffer, maxFrame = 16_384): number | null {
  const reader = new FrameReader(maxFrame);
  reader.push(bytes);
  assert.not(reader.next());
  return reader.failure;
}

test('a length under 8 is MALFORMED as soon as its four bytes are there', () => {
  for (let length = 0; length < 8; length++) {
    assert.is(failureOf(Buffer.from([0, 0, 0, length])), ErrorCode.MALFORMED);
  }
  assert.is(failureOf(Buffer.from([0, 0, 0, 8])), null);
});

test('a length over max_frame is FRAME_TOO_LARGE, one at max_frame is taken', () => {
  const reader = new FrameReader(100);
  reader.push(frame(92));
  assert.ok(reader.next());
  assert.is(failureOf(frame(93), 100), ErrorCode.FRAME_TOO_LARGE);
  assert.is(failureOf(Buffer.from([0xff, 0xff, 0xff, 0xff]), 64 * 1024 * 1024), ErrorCode.FRAME_TOO_LARGE);
});

test('a reserved-critical flag is MALFORMED, on requests and answers; 40 and 80 are ignored', () => {
  for (const bit of [0x04, 0x08, 0x10, 0x20]) {
    assert.is(failureOf(frame(0, { flags: bit })), ErrorCode.MALFORMED);
    assert.is(failureOf(frame(0, { flags: bit | 1 })), ErrorCode.MALFORMED);
  }
  const reader = new FrameReader();
  reader.push(frame(0, { flags: 0xc2 }));
  assert.ok(reader.next());
  assert.is(reader.flags, 0xc2);
});

test('a request with id 0 or a status is MALFORMED; GOAWAY has id 0, answers have a status', () => {
  assert.is(failureOf(frame(0, { id: 0 })), ErrorCode.MALFORMED);
  assert.is(failureOf(frame(0, { status: 7 })), ErrorCode.MALFORMED);
  assert.is(failureOf(frame(0, { op: Op.GOAWAY, id: 0, status: 1 })), ErrorCode.MALFORMED);
  const reader = new FrameReader();
  reader.push(frame(4, { op: Op.GOAWAY, id: 0 }));
  reader.push(frame(4, { flags: 1, status: 500 }));
  assert.ok(reader.next());
  assert.ok(reader.next());
  assert.is(reader.status, 500);
});

test('nothing after the first broken header is interpreted, and nothing of it is kept', () => {
  const good = frame(5);
  const bad = frame(5, { flags: 0x10 });
  for (let split = 0; split <= bad.length; split++) {
    const stream = Buffer.concat([good, bad, good, good]);
    const reader = new FrameReader();
    reader.push(stream.subarray(0, good.length + split));
    assert.ok(reader.next());
    reader.next();
    reader.push(stream.subarray(good.length + split));
    assert.not(reader.next());
    assert.is(reader.failure, ErrorCode.MALFORMED);
    reader.push(good);
    assert.not(reader.next());
    assert.is(reader.buffered, 0);
  }
});

test('a frame of 60 MB announced and not sent costs only what was sent', () => {
  const reader = new FrameReader(64 * 1024 * 1024);
  const before = process.memoryUsage().arrayBuffers;
  const head = frame(0);
  head.writeUInt32BE(60_000_000, 0);
  reader.push(head);
  for (let i = 0; i < 100; i++) {
    assert.not(reader.next());
    reader.push(Buffer.alloc(100, 7));
  }
  assert.not(reader.next());
  assert.is(reader.buffered, head.length + 10_000);
  assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000, 'memory follows the bytes that came');
});

test('a new max_frame counts from the next header on', () => {
  const reader = new FrameReader(100);
  reader.push(Buffer.concat([frame(50), frame(5000), frame(20_000)]));
  assert.ok(reader.next());
  reader.maxFrame = 10_000;
  assert.ok(reader.next());
  assert.is(reader.end - reader.start, 5000);
  assert.not(reader.next());
  assert.is(reader.failure, ErrorCode.FRAME_TOO_LARGE);
});

test('chunks pushed while frames wait are kept in order', () => {
  const reader = new FrameReader();
  const stream = Buffer.concat(Array.from({ length: 50 }, (_, i) => frame(i * 7, { id: i + 1 })));
  for (let at = 0; at < stream.length; at += 100) reader.push(stream.subarray(at, at + 100));
  assert.is(reader.buffered, stream.length);
  for (let i = 0; i < 50; i++) {
    assert.ok(reader.next());
    assert.is(reader.id, i + 1);
    assert.is(reader.end - reader.start, i * 7);
  }
  assert.not(reader.next());
  assert.is(reader.buffered, 0);
});

test('a frame inside one chunk is used where it lies, and an idle reader pins no chunk', () => {
  const reader = new FrameReader();
  const chunk = frame(10);
  reader.push(chunk);
  assert.ok(reader.next());
  assert.is(reader.buffer, chunk);
  assert.not(reader.next());
  assert.is.not(reader.buffer, chunk);
});

test('a kept frame is not written over by the next, one that was not kept may be', () => {
  for (const isKept of [true, false]) {
    const reader = new FrameReader();
    const [first, second] = [frame(40, { id: 1 }), frame(40, { id: 2 })];
    reader.push(first.subarray(0, 20));
    assert.not(reader.next());
    reader.push(Buffer.concat([first.subarray(20), second.subarray(0, 20)]));
    assert.ok(reader.next());
    const payload = reader.buffer.subarray(reader.start, reader.end);
    if (isKept) reader.keep();
    assert.not(reader.next());
    reader.push(second.subarray(20));
    assert.ok(reader.next());
    assert.is(payload.every((byte) => byte === 1), isKept);
  }
});

test('the memory of a large frame is given back with it', () => {
  const reader = new FrameReader(1 << 24);
  const large = frame(1_000_000);
  reader.push(large.subarray(0, 500_000));
  reader.next();
  reader.push(large.subarray(500_000));
  assert.ok(reader.next());
  assert.not(reader.next());
  assert.is((reader as unknown as { carry: Buffer }).carry.length, 0);
});

test('random streams in random chunks come out whole', () => {
  const random = seededRandom('wire/frame');
  for (let round = 0; round < 200; round++) {
    const count = 1 + Math.floor(random() * 20);
    const sizes = Array.from({ length: count }, () => Math.floor(random() ** 4 * 100_000));
    const stream = Buffer.concat(sizes.map((size, i) => frame(size, { id: i + 1 })));
    const reader = new FrameReader(1 << 20);
    let found = 0;
    for (let at = 0; at < stream.length; ) {
      const step = 1 + Math.floor(random() ** 3 * 70_000);
      reader.push(stream.subarray(at, at + step));
      at += step;
      while (random() < 0.9 && reader.next()) found = expectFrame(reader, sizes, found);
    }
    while (reader.next()) found = expectFrame(reader, sizes, found);
    assert.is(found, count);
    assert.is(reader.buffered, 0);
  }
});

function expectFrame(reader: FrameReader, sizes: number[], found: number): number {
  assert.is(reader.id, found + 1);
  const payload = reader.buffer.subarray(reader.start, reader.end);
  assert.is(payload.length, sizes[found]);
  assert.ok(payload.every((byte) => byte === ((found + 1) & 0xff)));
  return found + 1;
}

test.run();
