import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CHUNK_SIZES, ChunkPool } from '../../src/wire/session/chunk-pool.ts';
import { OutputQueue } from '../../src/wire/session/output-queue.ts';
import { Prng, testSeed } from '../support/prng.ts';

const queue = suite('session/output-queue');

/** A pool that poisons what comes back: whoever still reads it sees garbage. */
class PoisonPool extends ChunkPool {
  out = 0;
  override take(sizeClass: number): Buffer {
    this.out++;
    return super.take(sizeClass);
  }
  override give(chunk: Buffer): void {
    this.out--;
    chunk.fill(0xdd);
    super.give(chunk);
  }
}

queue('gives out exactly the bytes that went in, in order, however they are queued, taken and written', () => {
  const prng = new Prng(testSeed('session/output-queue'));
  for (let round = 0; round < 60; round++) {
    const pool = new PoisonPool();
    const out = new OutputQueue(pool);
    const expected: Buffer[] = [];
    const got: Buffer[] = [];
    // Taken but not yet written: they must still hold their bytes when they are written.
    const inSocket: Buffer[] = [];
    let counter = 0;
    const bytes = (size: number): Buffer => {
      const buffer = Buffer.alloc(size);
      for (let i = 0; i < size; i++) buffer[i] = counter++ % 251;
      expected.push(Buffer.from(buffer));
      return buffer;
    };
    for (let step = 0; step < 300; step++) {
      switch (prng.next(6)) {
        case 0: {
          const source = bytes(prng.next(200));
          out.append(source, 0, source.length);
          break;
        }
        case 1: {
          const source = bytes(prng.chance(0.1) ? prng.next(150_000) : 70);
          out.append(source, 0, source.length);
          break;
        }
        case 2: {
          const source = bytes(70);
          const at = out.reserve(70);
          source.copy(out.chunk, at);
          break;
        }
        case 3:
          out.appendForeign(bytes(prng.next(3_000)));
          break;
        case 4:
          inSocket.push(...out.take(prng.between(1, prng.chance(0.5) ? 100 : 100_000)));
          break;
        default: {
          const size = inSocket.reduce((sum, buffer) => sum + buffer.length, 0);
          got.push(Buffer.concat(inSocket));
          inSocket.length = 0;
          out.written(size);
        }
      }
      const queued = expected.reduce((sum, buffer) => sum + buffer.length, 0);
      const written = got.reduce((sum, buffer) => sum + buffer.length, 0);
      assert.is(out.size, queued - written);
    }
    inSocket.push(...out.take(Infinity));
    got.push(Buffer.concat(inSocket));
    out.written(inSocket.reduce((sum, buffer) => sum + buffer.length, 0));
    assert.ok(Buffer.concat(got).equals(Buffer.concat(expected)), `round ${round}`);
    assert.is(out.size, 0);
    assert.is(pool.out, 0, 'an empty queue holds no chunk');
  }
});

queue('never gives out more than was asked for', () => {
  const out = new OutputQueue(new ChunkPool());
  out.append(Buffer.alloc(10_000), 0, 10_000);
  out.appendForeign(Buffer.alloc(10_000));
  let taken = 0;
  for (let asked = 1; taken < 20_000; asked = asked * 3) {
    const size = out.take(asked).reduce((sum, buffer) => sum + buffer.length, 0);
    assert.is(size, Math.min(asked, 20_000 - taken));
    taken += size;
  }
  assert.equal(out.take(100), []);
});

queue('sends foreign buffers without copying them', () => {
  const out = new OutputQueue(new ChunkPool());
  const data = Buffer.alloc(5_000, 7);
  out.append(Buffer.from('head'), 0, 4);
  out.appendForeign(data);
  const taken = out.take(Infinity);
  assert.is(taken.length, 2);
  assert.is(taken[1]!.buffer, data.buffer);
});

queue('begins with a small chunk, grows under load and shrinks again', () => {
  const pool = new ChunkPool();
  const out = new OutputQueue(pool);
  const pass = (size: number): number => {
    out.append(Buffer.alloc(size), 0, size);
    const chunkSize = out.chunk.length;
    out.take(Infinity);
    out.written(size);
    return chunkSize;
  };
  assert.is(pass(10), CHUNK_SIZES[0]);
  assert.is(pass(200_000), CHUNK_SIZES[2]);
  assert.is(pass(20_000), CHUNK_SIZES[2]);
  pass(10);
  pass(10);
  assert.is(pass(10), CHUNK_SIZES[0]);
});

queue('counts session frames until the bytes up to them are written', () => {
  const out = new OutputQueue(new ChunkPool());
  const frame = Buffer.alloc(20);
  for (let i = 0; i < 100; i++) {
    out.append(frame, 0, 20);
    out.countSessionFrame();
  }
  assert.is(out.sessionFrames, 100);
  out.take(Infinity);
  out.written(20);
  assert.ok(out.sessionFrames <= 100 && out.sessionFrames >= 99);
  out.append(frame, 0, 20);
  out.take(Infinity);
  out.written(99 * 20);
  assert.is(out.sessionFrames, 0, 'all hundred are out, though the queue is not empty');
  assert.is(out.size, 20);
});

queue('refuses to count as written what was never taken', () => {
  const out = new OutputQueue(new ChunkPool());
  out.append(Buffer.alloc(10), 0, 10);
  out.take(4);
  assert.throws(() => out.written(5), /only what was taken/);
});

queue('forgets everything when the connection is gone, and gives no chunk back that the socket may still read', () => {
  const pool = new PoisonPool();
  const out = new OutputQueue(pool);
  out.append(Buffer.alloc(10_000, 1), 0, 10_000);
  const taken = out.take(5_000);
  out.discard();
  assert.is(out.size, 0);
  assert.ok(Buffer.concat(taken).equals(Buffer.alloc(5_000, 1)));
});

queue.run();
