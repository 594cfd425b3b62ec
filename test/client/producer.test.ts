// Producers against the scripted server: batching, order, resending, fencing, back-pressure.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { batchCompression, batchCount, producerEpoch, producerSeq } from '../../src/wire/batch.ts';
import { ErrorCode, LocalCode, NONE } from '../../src/wire/client/client.ts';
import { Op } from '../../src/wire/ops.ts';
import { FakeLog, OTHER_UID, UID } from './fake-server.ts';
import type { FakeServer } from './fake-server.ts';
import { errorOf, turn, value, withClient } from './support.ts';

const test = suite('client/producer');

const counts = (server: FakeServer): number[] => server.produced.map(({ batch }) => batchCount(batch, 0));
const seqs = (server: FakeServer): number[] => server.produced.map(({ batch }) => producerSeq(batch, 0));

async function valuesOf(client: { fetch(log: string): Promise<{ records: { value: Buffer | null }[] }> }): Promise<string[]> {
  return (await client.fetch('t')).records.map((record) => String(record.value));
}

test('records of one turn share a batch, and each gets its own offset', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t');
    const receipts = await Promise.all(['a', 'b', 'c'].map((text) => producer.send(value(text))));
    assert.equal(receipts.map((receipt) => receipt.offset), [0, 1, 2]);
    assert.equal(counts(server), [3]);
    await producer.close();
    assert.equal([producer.ackedRecords, producer.ackedBatches, producer.firstOffset, producer.nextOffset], [3, 1, 0, 3]);
  });
});

test('a batch goes when it has batchRecords records or batchBytes bytes', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { batchRecords: 4, batchBytes: 300 });
    for (let i = 0; i < 10; i++) producer.append(value('x'));
    await producer.flush();
    assert.equal(counts(server), [4, 4, 2]);
    for (let i = 0; i < 4; i++) producer.append({ value: Buffer.alloc(80) });
    await producer.flush();
    assert.equal(counts(server).slice(3), [2, 2]);
    await producer.close();
  });
});

test('with a linger time records of several turns share a batch, and flush does not wait for it', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { lingerMs: 60_000 });
    producer.append(value('a'));
    await turn();
    await turn();
    producer.append(value('b'));
    await client.ping();
    assert.is(server.produced.length, 0);
    await producer.flush();
    assert.equal(counts(server), [2]);
    const quick = client.producer('t', { lingerMs: 2 });
    await quick.send(value('c'));
    await quick.close();
    await producer.close();
  });
});

test('under way are at most maxInFlight batches, and what waits meanwhile becomes one larger batch', async () => {
  await withClient(async (client, server) => {
    const held: (() => void)[] = [];
    server.hooks.set(Op.PRODUCE, (conn, id, payload) => (held.push(() => server.answer(conn, Op.PRODUCE, id, payload)), true));
    const producer = client.producer('t', { maxInFlight: 2 });
    for (let i = 0; i < 6; i++) {
      producer.append(value(`${i}`));
      await turn();
      await turn();
    }
    await server.until(() => held.length === 2);
    assert.equal(counts(server), [1, 1]);
    server.hooks.delete(Op.PRODUCE);
    for (const answer of held) answer();
    await producer.close();
    assert.equal(counts(server), [1, 1, 4]);
    assert.equal(await valuesOf(client), ['0', '1', '2', '3', '4', '5']);
  });
});

test('a named producer numbers its batches from next_seq and sends the uid of its log', async () => {
  await withClient(async (client, server) => {
    const first = client.producer('t', { name: 'p' });
    const info = await first.ready();
    assert.equal([info!.epoch, info!.nextSeq, info!.window, info!.logUid], [0, 0, 64, UID.toString('hex')]);
    await first.send(value('a'));
    await first.close();
    const second = client.producer('t', { name: 'p' });
    assert.equal([(await second.ready())!.epoch, (await second.ready())!.nextSeq], [1, 1]);
    await second.send(value('b'));
    await second.close();
    assert.equal(seqs(server), [0, 1]);
    assert.equal(server.produced.map(({ batch }) => producerEpoch(batch, 0)), [0, 1]);
    assert.ok(server.produced.every((request) => request.logUid?.equals(UID)));
  });
});

test('after a lost connection a named producer sends the same bytes again, and each record is in once', async () => {
  await withClient(async (client, server) => {
    let cuts = 0;
    server.hooks.set(Op.PRODUCE, (conn, id, payload) => {
      // Every third batch is stored and its ack lost; another is lost before it is stored.
      if (server.produced.length % 3 === 2 && cuts++ < 6) {
        if (cuts % 2 === 0) server.answer({ ...conn, reply: () => undefined }, Op.PRODUCE, id, payload);
        conn.cut();
        return true;
      }
      return conn.socket.destroyed;
    });
    const producer = client.producer('t', { name: 'p', batchRecords: 1 });
    const receipts = await Promise.all(Array.from({ length: 40 }, (_, i) => producer.send(value(`${i}`))));
    assert.ok(cuts >= 6);
    assert.equal(receipts.map((receipt) => receipt.offset), Array.from({ length: 40 }, (_, i) => i));
    assert.ok(receipts.some((receipt) => receipt.duplicate), 'some acks came for a resend');
    assert.equal(await valuesOf(client), Array.from({ length: 40 }, (_, i) => `${i}`));
    const bytesOf = new Map<number, string>();
    for (const { batch } of server.produced) {
      const seq = producerSeq(batch, 0);
      assert.is(bytesOf.get(seq) ?? batch.toString('hex'), batch.toString('hex'), `seq ${seq}`);
      bytesOf.set(seq, batch.toString('hex'));
    }
    await producer.close();
  });
});

test('without a name a lost connection is an unknown outcome, and later records go on', async () => {
  await withClient(async (client, server) => {
    let cut = false;
    server.hooks.set(Op.PRODUCE, (conn) => (cut ? false : ((cut = true), conn.cut(), true)));
    const producer = client.producer('t');
    const error = await errorOf(producer.send(value('a')));
    assert.is(error.code, LocalCode.CONNECTION_LOST);
    assert.ok(error.outcomeUnknown);
    assert.is((await producer.send(value('b'))).offset, 0);
    assert.is(await errorOf(producer.flush()), error);
    await producer.close();
  });
});

test('a passing refusal is repaired in order: the batches behind it go again too', async () => {
  await withClient(async (client, server) => {
    let refusals = 0;
    server.hooks.set(Op.PRODUCE, (conn, id, payload) => {
      const seq = producerSeq(server.produced.at(-1)!.batch, 0);
      if (seq === 2 && refusals++ < 2) return conn.error(Op.PRODUCE, id, ErrorCode.STORAGE_FULL), true;
      server.answer(conn, Op.PRODUCE, id, payload);
      return true;
    });
    const producer = client.producer('t', { name: 'p', batchRecords: 1 });
    const receipts = await Promise.all(Array.from({ length: 6 }, (_, i) => producer.send(value(`${i}`))));
    assert.equal(receipts.map((receipt) => receipt.offset), [0, 1, 2, 3, 4, 5]);
    assert.equal(seqs(server), [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 2, 3, 4, 5]);
    await producer.close();
  });
});

test('a named producer that is fenced fails for good: what it had is told, nothing more is sent', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { name: 'p', batchRecords: 1 });
    await producer.send(value('a'));
    const rival = client.producer('t', { name: 'p' });
    await rival.ready();
    const results = await Promise.all([producer.send(value('b')), producer.send(value('c'))].map(errorOf));
    assert.is(results[0]!.code, ErrorCode.PRODUCER_FENCED);
    assert.ok(results[0]!.outcomeUnknown);
    assert.is(results[1]!.code, LocalCode.PRODUCER_FAILED);
    assert.throws(() => producer.append(value('d')), (error: unknown) => error === results[0]);
    assert.is((await errorOf(producer.close())).code, ErrorCode.PRODUCER_FENCED);
    await rival.send(value('e'));
    await rival.close();
    assert.equal(await valuesOf(client), ['a', 'e']);
    assert.is(server.log.end, 2);
  });
});

test('a producer that the server forgot gets a new id when nothing of it can be stored', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { name: 'p', batchRecords: 1 });
    await producer.send(value('a'));
    server.log.producers.clear();
    const receipts = await Promise.all([producer.send(value('b')), producer.send(value('c'))]);
    assert.equal(receipts.map((receipt) => receipt.offset), [1, 2]);
    await producer.close();
    assert.equal(await valuesOf(client), ['a', 'b', 'c']);
  });
});

test('a forgotten producer with a batch of unknown outcome fails instead of writing it twice', async () => {
  await withClient(async (client, server) => {
    let cut = false;
    server.hooks.set(Op.PRODUCE, (conn, id, payload) => {
      if (cut) return false;
      cut = true;
      server.answer({ ...conn, reply: () => undefined }, Op.PRODUCE, id, payload);
      server.log.producers.clear();
      conn.cut();
      return true;
    });
    const producer = client.producer('t', { name: 'p' });
    const error = await errorOf(producer.send(value('a')));
    assert.is(error.code, ErrorCode.UNKNOWN_PRODUCER);
    assert.ok(error.outcomeUnknown);
    assert.is(server.log.end, 1);
    await producer.close().catch(() => undefined);
  });
});

test('a named producer stops with LOG_CHANGED when its log was made again', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { name: 'p' });
    await producer.send(value('a'));
    const again = new FakeLog();
    again.uid = OTHER_UID;
    server.logs.set('t', again);
    assert.is((await errorOf(producer.send(value('b')))).code, ErrorCode.LOG_CHANGED);
    assert.is(again.end, 0);
    await producer.close().catch(() => undefined);
  });
});

test('expectedOffset goes on from batch to batch, and the first mismatch ends the producer', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { expectedOffset: 0, batchRecords: 2 });
    for (let i = 0; i < 6; i++) producer.append(value(`${i}`));
    await producer.flush();
    assert.equal(server.produced.map((request) => request.expectedOffset), [0, 2, 4]);
    await client.produce('t', value('somebody else'));
    producer.append(value('late'));
    const error = await errorOf(producer.flush());
    assert.is(error.code, ErrorCode.OFFSET_MISMATCH);
    assert.is(error.detail.nextOffset, 7);
    await producer.close().catch(() => undefined);
  });
});

test('append says when the buffer is full, drained when it is not, and far beyond it throws', async () => {
  await withClient(async (client, server) => {
    const held: (() => void)[] = [];
    server.hooks.set(Op.PRODUCE, (conn, id, payload) => (held.push(() => server.answer(conn, Op.PRODUCE, id, payload)), true));
    const producer = client.producer('t', { bufferBytes: 1000 });
    let appended = 0;
    while (producer.append({ value: Buffer.alloc(100) })) appended += 1;
    assert.is(appended, 8);
    const isFull = (error: unknown) => (error as { code: number }).code === LocalCode.BUFFER_FULL;
    assert.throws(() => {
      for (;;) producer.append({ value: Buffer.alloc(100) });
    }, isFull);
    let isDrained = false;
    const drained = producer.drained().then(() => (isDrained = true));
    await server.until(() => held.length === 1);
    assert.not(isDrained);
    server.hooks.delete(Op.PRODUCE);
    held[0]!();
    await drained;
    await producer.close();
  });
});

test('a record larger than a batch of the server is refused before it is sent', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t');
    const error = await errorOf(producer.send({ value: Buffer.alloc(server.maxBatch) }));
    assert.is(error.code, ErrorCode.BATCH_TOO_LARGE);
    assert.is(error.detail.limit, server.maxBatch);
    await producer.send({ value: Buffer.alloc(server.maxBatch - 72 - 13) });
    await producer.close();
  });
});

test('gzip batches keep their order among themselves and are read back', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { name: 'p', compression: 'gzip', batchRecords: 3 });
    const texts = Array.from({ length: 30 }, (_, i) => `${i}-`.repeat(i === 5 ? 20_000 : 40));
    for (const text of texts) producer.append(value(text));
    await producer.close();
    assert.ok(server.produced.every(({ batch }) => batchCompression(batch, 0) === 1));
    assert.equal(await valuesOf(client), texts);
  });
});

test('records that do not get smaller go uncompressed', async () => {
  await withClient(async (client, server) => {
    const producer = client.producer('t', { compression: 'gzip' });
    await producer.send(value('x'));
    assert.is(batchCompression(server.produced[0]!.batch, 0), 0);
    await producer.close();
  });
});

test('a producer for a log that is not there fails with LOG_NOT_FOUND, also at ready', async () => {
  await withClient(async (client) => {
    const named = client.producer('nope', { name: 'p' });
    assert.is((await errorOf(named.send(value('a')))).code, ErrorCode.LOG_NOT_FOUND);
    assert.is((await errorOf(named.ready())).code, ErrorCode.LOG_NOT_FOUND);
    const plain = client.producer('nope');
    assert.is((await errorOf(plain.send(value('a')))).code, ErrorCode.LOG_NOT_FOUND);
    await Promise.all([named, plain].map((producer) => producer.close().catch(() => undefined)));
  });
});

test('what is not delivered in time fails, and says whether it may be in', async () => {
  await withClient(async (client, server) => {
    server.hooks.set(Op.PRODUCE, () => true);
    const producer = client.producer('t', { name: 'p', deliveryTimeoutMs: 30 });
    await producer.ready();
    const error = await errorOf(producer.send(value('a')));
    assert.is(error.code, LocalCode.TIMED_OUT);
    assert.ok(error.outcomeUnknown);
    await producer.close().catch(() => undefined);
  });
});

test('onError tells a loss that nobody awaited; onAck tells every batch', async () => {
  await withClient(async (client, server) => {
    const acks: number[][] = [];
    const errors: Error[] = [];
    const producer = client.producer('t', {
      onAck: (receipt, count) => acks.push([receipt.baseOffset, count]),
      onError: (error) => errors.push(error),
    });
    producer.append(value('a'));
    await producer.flush();
    server.hooks.set(Op.PRODUCE, (conn, id) => (conn.error(Op.PRODUCE, id, ErrorCode.FENCED, { fence: 9 }), true));
    producer.append(value('b'));
    const error = await errorOf(producer.close());
    assert.is(error.detail.fence, 9);
    assert.equal(errors, [error]);
    assert.equal(acks, [[0, 1]]);
  });
});

test('a raw producer sends batches as they are and calls back with their tags', async () => {
  await withClient(async (client, server) => {
    const { buildBatch } = await import('../../src/wire/batch-build.ts');
    const acks: number[][] = [];
    const errors: number[] = [];
    const raw = client.rawProducer('t', {
      onAck: (tag, base, next) => acks.push([tag, base, next]),
      onError: (tag) => errors.push(tag),
    });
    for (let i = 0; i < 100; i++) raw.produce(buildBatch([value('x')]), i);
    await client.ping();
    assert.equal(acks, Array.from({ length: 100 }, (_, i) => [i, i, i + 1]));
    server.hooks.set(Op.PRODUCE, (conn, id) => {
      if (errors.length === 0) return conn.error(Op.PRODUCE, id, ErrorCode.OVERLOADED), true;
      conn.cut();
      return true;
    });
    raw.produce(buildBatch([value('y')]), 500);
    await client.ping();
    raw.produce(buildBatch([value('z')]), 501);
    await server.until(() => server.received.filter((op) => op === Op.HELLO).length === 2);
    assert.equal(errors, [500, 501]);
  });
});

test('offsets of a duplicate that the server forgot are NONE', async () => {
  await withClient(async (client, server) => {
    server.hooks.set(Op.PRODUCE, (conn, id) => (server.ack(conn, id, server.log, NONE, NONE, true, true), true));
    const producer = client.producer('t', { name: 'p' });
    const receipt = await producer.send(value('a'));
    assert.equal([receipt.offset, receipt.duplicate], [NONE, true]);
    await producer.close();
    assert.is(producer.firstOffset, -1);
  });
});

test.run();
