// The client against the real server in this process: every operation once, a restart under a producer
// and a reader, and a log made again under both.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadSettings } from '../../src/config.ts';
import { startSidecar } from '../../src/sidecar.ts';
import type { Sidecar } from '../../src/sidecar.ts';
import { connect, ErrorCode } from '../../src/wire/client/client.ts';
import type { Client } from '../../src/wire/client/client.ts';
import { hasZstd } from '../../src/wire/client/compression.ts';
import { errorOf, FAST, value } from './support.ts';

const test = suite('client against the server');

interface Real {
  client: Client;
  restart(): Promise<void>;
}

async function withSidecar(use: (real: Real) => Promise<void>): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), 'sidelog-real-'));
  const start = (listen: string): Promise<Sidecar> => {
    // Draining may take as long as the producers of a test wait for it.
    const settings = loadSettings({ 'data-dir': dataDir, listen }, {});
    return startSidecar(settings, { log: () => undefined });
  };
  let sidecar = await start('127.0.0.1:0');
  const { address } = sidecar.ready;
  const client = await connect({ address, ...FAST });
  try {
    await use({
      client,
      restart: async () => {
        await sidecar.stop();
        sidecar = await start(address);
      },
    });
  } finally {
    await client.close();
    await sidecar.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

test('every operation does what it says', async () => {
  await withSidecar(async ({ client }) => {
    const { logUid } = await client.logs.create('t', { retainMs: 86_400_000, compressions: ['none', 'gzip', 'zstd'] });
    assert.is((await errorOf(client.logs.create('t'))).detail.logUid?.toString('hex'), logUid);
    const receipt = await client.produce('t', [value('a'), { ...value('b'), key: Buffer.from('k'), headers: [['h', Buffer.from('v')]] }]);
    assert.equal([receipt.baseOffset, receipt.nextOffset, receipt.durability, receipt.copies], [0, 2, 'fsync', 1]);
    assert.is((await errorOf(client.produce('t', value('c'), { expectedOffset: 5 }))).detail.nextOffset, 2);
    const got = await client.fetch('t', { from: { offset: 1 }, linearizable: true });
    assert.equal(got.records.map((record) => [record.offset, String(record.value), String(record.key)]), [[1, 'b', 'k']]);
    assert.is((await client.findOffset('t', receipt.appendTime)).offset, 0);
    assert.is((await client.findOffset('t', receipt.appendTime + 1)).offset, 2);

    assert.is(await client.positions.get('t', 'p'), null);
    await client.positions.put('t', 'p', 2, { expected: 0 });
    assert.is((await errorOf(client.positions.put('t', 'p', 9, { expected: 1 }))).detail.nextOffset, 2);
    assert.is(await client.positions.get('t', 'p'), 2);
    assert.equal((await client.positions.list('t')).map(({ name, offset }) => [name, offset]), [['p', 2]]);
    await client.positions.delete('t', 'p');
    assert.equal(await client.positions.list('t'), []);

    assert.equal(await client.fence('t', 7), { token: 7, nextOffset: 2 });
    assert.is((await errorOf(client.produce('t', value('c')))).detail.fence, 7);
    assert.is((await client.produce('t', value('c'), { fence: 7 })).baseOffset, 2);
    await client.logs.alter('t', { retainBytes: 1 << 30 });
    const log = await client.logs.describe('t');
    assert.equal([log.logUid, log.committedEnd, log.fence, log.retainBytes, log.retainMs], [logUid, 3, 7, 1 << 30, 86_400_000]);
    assert.equal(log.compressions, ['none', 'gzip', 'zstd']);
    assert.is(await client.logs.trim('t', 2), 2);
    assert.is((await errorOf(client.fetch('t', { from: { offset: 0 } }))).code, ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.is((await client.describeCluster()).nodes[0]!.node, client.server!.node);
  });
});

test('a deleted log is LOG_CHANGED under its new namesake, and comes back under a new uid', async () => {
  await withSidecar(async ({ client }) => {
    const other = await connect({ address: (await client.describeCluster()).nodes[0]!.address });
    const { logUid } = await client.logs.create('t');
    const producer = client.producer('t', { name: 'p' });
    await producer.send(value('old'));
    const records = client.subscribe('t')[Symbol.asyncIterator]();
    assert.is(String((await records.next()).value!.value), 'old');
    await other.logs.delete('t');
    await other.logs.create('t');
    await other.produce('t', [value('new'), value('new')]);
    // The subscription ended with the log; a later request means the old one.
    const ended = await errorOf(records.next());
    assert.ok(ended.code === ErrorCode.LOG_NOT_FOUND || ended.code === ErrorCode.LOG_CHANGED, ended.name);
    assert.is((await errorOf(client.fetch('t', { from: { offset: 1 } }))).code, ErrorCode.LOG_CHANGED);
    assert.is((await errorOf(client.positions.get('t', 'p'))).code, ErrorCode.LOG_CHANGED);
    assert.is((await errorOf(producer.send(value('late')))).code, ErrorCode.LOG_CHANGED);
    await producer.close().catch(() => undefined);
    assert.is((await other.logs.describe('t')).committedEnd, 2);

    const [deleted] = await client.logs.list({ trash: true });
    assert.equal([deleted!.log, deleted!.logUid], ['t', logUid]);
    const restored = await client.logs.restore('back', logUid);
    assert.is.not(restored.logUid, logUid);
    assert.equal((await client.fetch('back')).records.map((record) => String(record.value)), ['old']);
    assert.equal((await client.logs.list()).map(({ log }) => log), ['back', 'default', 't']);
    await other.close();
  });
});

test('restarts under a named producer and a reader lose and repeat nothing', async () => {
  await withSidecar(async ({ client, restart }) => {
    const count = 3000;
    const producer = client.producer('default', { name: 'p', batchRecords: 20, lingerMs: 1 });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const record of client.subscribe('default', { creditBytes: 4000 })) {
        seen.push(Number(String(record.value)));
        if (seen.length === count) break;
      }
    })();
    for (let i = 0; i < count; i++) {
      if (i === 1000 || i === 2000) await restart();
      producer.append(value(`${i}`));
      if (i % 100 === 0) await producer.flush();
    }
    await producer.close();
    await reading;
    assert.equal(seen, Array.from({ length: count }, (_, i) => i));
    assert.is((await client.logs.describe('default')).committedEnd, count);
    const next = client.producer('default', { name: 'p' });
    assert.is((await next.ready())!.nextSeq, producer.ackedBatches);
    await next.close();
  });
});

test('compressed batches are stored and read as they are', async () => {
  await withSidecar(async ({ client }) => {
    await client.logs.create('z', { compressions: ['none', 'gzip', 'zstd'] });
    const texts = Array.from({ length: 100 }, (_, i) => `${i} `.repeat(50));
    for (const compression of ['gzip', hasZstd() ? 'zstd' : 'none'] as const) {
      const producer = client.producer('z', { compression });
      for (const text of texts) producer.append(value(text));
      await producer.close();
    }
    const plain = client.producer('default', { compression: hasZstd() ? 'zstd' : 'gzip' });
    const sent = plain.send(value(texts[9]!));
    if (hasZstd()) assert.is((await errorOf(sent)).code, ErrorCode.UNSUPPORTED_COMPRESSION);
    else await sent;
    await plain.close().catch(() => undefined);
    const seen: string[] = [];
    for await (const record of client.subscribe('z')) {
      seen.push(String(record.value));
      if (seen.length === 200) break;
    }
    assert.equal(seen, [...texts, ...texts]);
    assert.ok((await client.logs.describe('z')).bytes < 30_000);
  });
});

test.run();
