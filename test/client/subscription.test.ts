// Subscriptions against the scripted server: order, resuming, credit, broken batches, endings.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { batchSize, stampBodyCrc } from '../../src/wire/batch.ts';
import { buildBatch } from '../../src/wire/batch-build.ts';
import { connect, ErrorCode, LocalCode } from '../../src/wire/client/client.ts';
import type { LogRecord, SidelogError } from '../../src/wire/client/client.ts';
import { Op } from '../../src/wire/ops.ts';
import { deliver } from '../../src/wire/responses-data.ts';
import { FakeLog, OTHER_UID, UID, withServer } from './fake-server.ts';
import type { FakeServer } from './fake-server.ts';
import { errorOf, FAST, turn, value, withClient } from './support.ts';

const test = suite('client/subscription');

/** Puts batches of the given texts into the server's log. */
function fill(server: FakeServer, ...batches: string[][]): void {
  for (const texts of batches) server.log.append(buildBatch(texts.map(value)));
}

/** The next `count` records. */
async function take(records: AsyncIterator<LogRecord>, count: number): Promise<string[]> {
  const texts: string[] = [];
  while (texts.length < count) {
    const { done, value: record } = await records.next();
    if (done === true) break;
    texts.push(`${record.offset}${record.value}`);
  }
  return texts;
}

test('records come in order, those of the past and those that are written meanwhile', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b'], ['c']);
    const subscription = client.subscribe('t');
    const records = subscription[Symbol.asyncIterator]();
    assert.equal(await take(records, 3), ['0a', '1b', '2c']);
    assert.equal([subscription.startOffset, subscription.nextOffset, subscription.lastTerm], [0, 3, 1]);
    assert.is(subscription.logUid, UID.toString('hex'));
    const next = take(records, 2);
    await client.produce('t', ['d', 'e'].map(value));
    assert.equal(await next, ['3d', '4e']);
    assert.is(subscription.committedEnd, 5);
    subscription.close();
    assert.equal(await records.next(), { done: true, value: undefined });
  });
});

test('a subscription from inside a batch begins at the record asked for', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b', 'c'], ['d']);
    const seen: string[] = [];
    for await (const record of client.subscribe('t', { from: { offset: 2 } })) {
      seen.push(`${record.offset}${record.value}`);
      if (seen.length === 2) break;
    }
    assert.equal(seen, ['2c', '3d']);
    await server.until(() => server.received.includes(Op.CANCEL));
  });
});

test('chunks hand out the records of one batch at a time', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b'], ['c']);
    const sizes: number[] = [];
    for await (const chunk of client.subscribe('t').chunks()) {
      sizes.push(chunk.length);
      if (sizes.length === 2) break;
    }
    assert.equal(sizes, [2, 1]);
  });
});

test('after a lost connection it goes on at the exact next offset, with uid and prev_term', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b'], ['c']);
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    assert.equal(await take(records, 1), ['0a']);
    await server.until(() => server.received.includes(Op.SUBSCRIBE));
    server.connections[0]!.cut();
    assert.equal(await take(records, 2), ['1b', '2c']);
    const next = take(records, 1);
    fill(server, ['d']);
    await server.until(() => server.subscribed.length === 2);
    server.deliverAll();
    assert.equal(await next, ['3d']);
    const again = server.subscribed[1]!;
    assert.equal([again.from, again.value, again.prevTerm], [0, 3, 1]);
    assert.equal(again.logUid, UID);
    await records.return!();
  });
});

test('a subscription that has seen no record yet goes on where the server said it starts', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b']);
    const records = client.subscribe('t', { from: 'next' })[Symbol.asyncIterator]();
    const first = take(records, 1);
    await server.until(() => server.subscribed.length === 1);
    await client.ping();
    server.connections[0]!.cut();
    fill(server, ['c']);
    await server.until(() => server.subscribed.length === 2);
    assert.equal([server.subscribed[1]!.from, server.subscribed[1]!.value], [0, 2]);
    assert.equal(await first, ['2c']);
    await records.return!();
  });
});

test('cut at random again and again, it hands out every record once and in order', async () => {
  await withClient(async (client, server) => {
    for (let i = 0; i < 60; i++) fill(server, Array.from({ length: (i % 4) + 1 }, (_, k) => `${i}.${k}`));
    let delivered = 0;
    const subscription = client.subscribe('t', { creditBytes: 400 });
    const seen: number[] = [];
    for await (const record of subscription) {
      seen.push(record.offset);
      if (++delivered % 13 === 0) server.connections.at(-1)!.cut();
      if (record.offset === server.log.end - 1) break;
    }
    assert.equal(seen, Array.from({ length: server.log.end }, (_, i) => i));
    assert.ok(server.subscribed.length > 5);
  });
});

test('the server is never given more credit than creditBytes, and a slow reader stops it', async () => {
  await withClient(async (client, server) => {
    for (let i = 0; i < 50; i++) fill(server, ['x'.repeat(100)]);
    const size = batchSize(server.log.batches[0]!.bytes, 0);
    const creditBytes = size * 4;
    let deliveredBytes = 0;
    const records = client.subscribe('t', { creditBytes })[Symbol.asyncIterator]();
    await server.until(() => server.subscribed.length === 1);
    await client.ping();
    assert.is(server.subscribed[0]!.creditBytes, creditBytes);
    assert.equal(server.credits, []);
    for (let i = 0; i < 50; i++) {
      await take(records, 1);
      deliveredBytes += size;
      await client.ping();
      const granted = creditBytes + server.credits.reduce((sum, bytes) => sum + bytes, 0);
      assert.ok(granted - deliveredBytes <= creditBytes, `${granted - deliveredBytes} after ${i + 1} records`);
    }
    assert.ok(server.credits.length >= 20 && server.credits.length <= 25, `${server.credits.length} CREDITs`);
    await records.return!();
  });
});

test('after a reconnect the first credit leaves room for what still waits here', async () => {
  await withClient(async (client, server) => {
    for (let i = 0; i < 10; i++) fill(server, ['x'.repeat(100)]);
    const size = batchSize(server.log.batches[0]!.bytes, 0);
    const records = client.subscribe('t', { creditBytes: size * 3 })[Symbol.asyncIterator]();
    await server.until(() => server.subscribed.length === 1);
    await client.ping();
    server.connections[0]!.cut();
    await server.until(() => server.subscribed.length === 2);
    assert.is(server.subscribed[1]!.creditBytes, 0);
    assert.is((await take(records, 10)).length, 10);
    await records.return!();
  });
});

test('passing errors are waited out, before and after the subscription was opened', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a']);
    let refusals = 0;
    server.hooks.set(Op.SUBSCRIBE, (conn, id) => {
      if (refusals++ < 2) return conn.error(Op.SUBSCRIBE, id, ErrorCode.NOT_LEADER), true;
      return false;
    });
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    assert.equal(await take(records, 1), ['0a']);
    server.endSubscriptions(server.connections[0]!, ErrorCode.SHUTTING_DOWN);
    const next = take(records, 1);
    await server.until(() => server.subscribed.length === 4);
    fill(server, ['b']);
    server.deliverAll();
    assert.equal(await next, ['1b']);
    await records.return!();
  });
});

test('a lasting error ends the iteration, after what had come before it', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b']);
    const subscription = client.subscribe('t');
    const records = subscription[Symbol.asyncIterator]();
    await server.until(() => server.subscribed.length === 1);
    server.endSubscriptions(server.connections[0]!, ErrorCode.OFFSET_OUT_OF_RANGE);
    await client.ping();
    assert.equal(await take(records, 2), ['0a', '1b']);
    assert.is((await errorOf(records.next())).code, ErrorCode.OFFSET_OUT_OF_RANGE);
    const missing = client.subscribe('nope')[Symbol.asyncIterator]();
    assert.is((await errorOf(missing.next())).code, ErrorCode.LOG_NOT_FOUND);
  });
});

test('a log made again while the reader was away is LOG_CHANGED, not another history', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a']);
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    assert.equal(await take(records, 1), ['0a']);
    const again = new FakeLog();
    again.uid = OTHER_UID;
    server.logs.set('t', again);
    fill(server, ['x', 'y']);
    server.connections[0]!.cut();
    assert.is((await errorOf(records.next())).code, ErrorCode.LOG_CHANGED);
  });
});

test('a broken batch is an error that says where the log goes on', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a'], ['b', 'c'], ['d']);
    server.log.batches[1]!.bytes[80]! ^= 1;
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    assert.equal(await take(records, 1), ['0a']);
    const error = await errorOf(records.next());
    assert.is(error.code, ErrorCode.CORRUPT_BATCH);
    assert.is(error.detail.nextOffset, 3);
    assert.match(error.message, /offsets 1–2: bad body checksum/);
    assert.is((await records.next()).done, true);
  });
});

test('with onBadBatch it goes on after a broken batch', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a'], ['b', 'c'], ['d']);
    const broken = server.log.batches[1]!.bytes;
    broken[72 + 3] = 9;
    stampBodyCrc(broken, 0);
    const bad: unknown[] = [];
    const onBadBatch = (error: Error, base: number, next: number) => bad.push((error as SidelogError).code, base, next);
    const records = client.subscribe('t', { onBadBatch })[Symbol.asyncIterator]();
    assert.equal(await take(records, 2), ['0a', '3d']);
    assert.equal(bad, [ErrorCode.CORRUPT_BATCH, 1, 3]);
    await records.return!();
  });
});

test('a broken header, a gap or a repetition ends the subscription: nobody knows what comes next', async () => {
  for (const spoil of ['header', 'gap', 'again'] as const) {
    await withClient(async (client, server) => {
      fill(server, ['a'], ['b'], ['c']);
      const [first, , third] = server.log.batches.map((batch) => batch.bytes) as [Buffer, Buffer, Buffer];
      server.hooks.set(Op.SUBSCRIBE, (conn, id, payload) => {
        server.answer({ ...conn, reply: (op, _, write, more) => op === Op.SUBSCRIBE && conn.reply(op, id, write, more) }, Op.SUBSCRIBE, id, payload);
        const broken = Buffer.from(first);
        broken[50]! ^= 1;
        const second = { header: broken, gap: third, again: first }[spoil];
        for (const batches of [first, second]) conn.reply(Op.DELIVER, id, (w) => deliver.write(w, { committedEnd: 3, batches }), true);
        return true;
      });
      const records = client.subscribe('t')[Symbol.asyncIterator]();
      assert.equal(await take(records, 1), ['0a']);
      assert.is((await errorOf(records.next())).code, ErrorCode.CORRUPT_BATCH, spoil);
    });
  }
});

test('a DELIVER without a batch is taken, and tells the end of the log', async () => {
  await withClient(async (client, server) => {
    server.hooks.set(Op.SUBSCRIBE, (conn, id, payload) => {
      server.answer(conn, Op.SUBSCRIBE, id, payload);
      conn.reply(Op.DELIVER, id, (w) => deliver.write(w, { committedEnd: 77, batches: Buffer.alloc(0) }), true);
      return true;
    });
    const subscription = client.subscribe('t');
    await server.until(() => server.subscribed.length === 1);
    await client.ping();
    assert.is(subscription.committedEnd, 77);
    subscription.close();
  });
});

test('closing the client ends the iteration with CLIENT_CLOSED', async () => {
  await withServer(async (server) => {
    const client = await connect({ address: server.address, ...FAST });
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    const next = errorOf(records.next());
    await server.until(() => server.subscribed.length === 1);
    server.hooks.set(Op.GOAWAY, (conn) => (server.endSubscriptions(conn, ErrorCode.SHUTTING_DOWN), conn.socket.end(), true));
    await client.close();
    assert.is((await next).code, LocalCode.CLIENT_CLOSED);
  });
});

test('next() may be called ahead: every call gets its own record, in order', async () => {
  await withClient(async (client, server) => {
    fill(server, ['a', 'b'], ['c']);
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    const ahead = Array.from({ length: 5 }, () => records.next());
    await server.until(() => server.subscribed.length === 1);
    fill(server, ['d', 'e']);
    server.deliverAll();
    const got = await Promise.all(ahead);
    assert.equal(got.map((result) => String(result.value!.value)), ['a', 'b', 'c', 'd', 'e']);
    await records.return!();
    assert.equal(await Promise.all([records.next(), records.next()]), Array(2).fill({ done: true, value: undefined }));
  });
});

test('a subscription can be iterated once', async () => {
  await withClient(async (client) => {
    const subscription = client.subscribe('t');
    subscription.chunks();
    assert.throws(() => subscription[Symbol.asyncIterator](), /iterated once/);
    subscription.close();
    await turn();
  });
});

test.run();
