import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { AgeBudget, trimOffsetByAge, trimOffsetByBytes } from '../../src/replica/retention.ts';
import type { SegmentSummary } from '../../src/segment/list.ts';
import type { TestClient } from './support.ts';
import { records, sized, World } from './support.ts';

const test = suite('replica/retention');

const HOUR_MS = 3_600_000;
const HEAD = 4096;

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

/** Segments of 10 records each; `sizes` are data bytes, `times` the append time of the last record. */
function segments(sizes: number[], times: number[] = sizes.map(() => 0)): SegmentSummary[] {
  return sizes.map((bytes, i) => ({
    firstIndex: 10 * i + 1, firstOffset: 10 * i, nextOffset: 10 * (i + 1), bytes: bytes + HEAD, lastAppendTimeMs: times[i]!,
  }));
}

async function segmentFiles(world: World, client: TestClient, log: string): Promise<string[]> {
  const uid = (await client.describe(log)).value.logUid.toString('hex');
  return (await world.disk.list(`logs/${uid}/00000001`)).filter((name) => name.endsWith('.seg'));
}

test('by bytes keeps at least so many, whole segments, and always the newest', () => {
  const list = segments([100, 100, 100, 100]);
  assert.is(trimOffsetByBytes(list, 0), -1);
  assert.is(trimOffsetByBytes(list, 400), -1);
  assert.is(trimOffsetByBytes(list, 301), -1);
  assert.is(trimOffsetByBytes(list, 300), 10);
  assert.is(trimOffsetByBytes(list, 250), 10);
  assert.is(trimOffsetByBytes(list, 1), 30);
});

test('by age takes what is older than asked, not more segments than allowed, the newest too', () => {
  const list = segments([1, 1, 1], [1000, 2000, 3000]);
  assert.equal(trimOffsetByAge(list, 0, 1e9, 0, 9), { offset: -1, segments: 0 });
  assert.equal(trimOffsetByAge(list, 1000, 2000, 0, 9), { offset: -1, segments: 0 });
  assert.equal(trimOffsetByAge(list, 1000, 2001, 0, 9), { offset: 10, segments: 1 });
  assert.equal(trimOffsetByAge(list, 1000, 9000, 0, 9), { offset: 30, segments: 3 });
  assert.equal(trimOffsetByAge(list, 1000, 9000, 0, 2), { offset: 20, segments: 2 });
  assert.equal(trimOffsetByAge(list, 1000, 9000, 10, 1), { offset: 20, segments: 1 });
});

test('the age budget is one segment a minute more than were rolled in it', () => {
  const budget = new AgeBudget();
  assert.is(budget.available(0, 0), 1);
  budget.spend(1, 0);
  assert.is(budget.available(1000, 0), 0);
  assert.is(budget.available(2000, 3), 3);
  budget.spend(2, 2000);
  assert.is(budget.available(59_999, 3), 1);
  assert.is(budget.available(60_000, 3), 2);
  budget.spend(2, 60_000);
  assert.is(budget.available(119_999, 3), 0);
  assert.is(budget.available(120_000, 4), 2);
  assert.is(budget.available(180_000, 4), 1, 'what was rolled more than a minute ago counts no more');
});

test('a log with retain_bytes loses its oldest segments, logically first and then on disk', async () => {
  const { world, client } = await ready();
  await client.createLog('b', { retainBytes: 2_000_000 });
  for (let i = 0; i < 8; i++) await client.produce('b', sized(900_000));
  await world.advance(15_000);
  const { logStart, committedEnd } = (await client.describe('b')).value;
  assert.is(committedEnd, 8);
  assert.is(logStart, 5, 'three segments of 900,000 bytes are the fewest that keep 2,000,000');
  assert.is((await client.fetch('b', { value: 4 })).code, 'OFFSET_OUT_OF_RANGE');
  assert.is((await client.fetch('b', { value: 5 })).code, 'OK');
  assert.ok((await segmentFiles(world, client, 'b')).length <= 4);
});

test('a log with retain_ms forgets at the pace of its rolls, an idle one too', async () => {
  const { world, client } = await ready();
  await client.createLog('a', { retainMs: HOUR_MS });
  for (let i = 0; i < 4; i++) await client.produce('a', sized(900_000));
  await world.advance(10_000);
  assert.is((await client.describe('a')).value.logStart, 0);
  world.clock.monotonic += HOUR_MS;
  world.clock.wall += HOUR_MS;
  await world.advance(300_000);
  assert.is((await client.describe('a')).value.logStart, 4, 'all are older than an hour');
  assert.is((await client.produce('a', records('x'))).value.baseOffset, 4);
  await world.advance(10_000);
  assert.ok((await segmentFiles(world, client, 'a')).length <= 2);
});

test('a log that was closed is opened to forget, and closed again', async () => {
  const first = await ready();
  await first.client.createLog('a', { retainMs: HOUR_MS });
  for (let i = 0; i < 3; i++) await first.client.produce('a', sized(900_000));
  const world = await first.world.restart({ openLogsMax: 1 });
  assert.is(world.node.logs.find('a')!.replica, null);
  world.clock.monotonic += 2 * HOUR_MS;
  world.clock.wall += 2 * HOUR_MS;
  await world.advance(300_000);
  assert.is((await (await world.connect()).describe('a')).value.logStart, 3);
});

test('TRIM rounds down to a batch border, stops at the commit, never goes back, and survives', async () => {
  let { world, client } = await ready();
  await client.produce('default', records('a', 'b', 'c'));
  await client.produce('default', records('d', 'e'));
  assert.is((await client.trim('default', 2)).value.logStart, 0);
  assert.is((await client.trim('default', 4)).value.logStart, 3);
  assert.is((await client.trim('default', 1)).value.logStart, 3);
  world = await world.crash({ keep: 'none' });
  client = await world.connect();
  assert.is((await client.describe('default')).value.logStart, 3);
  assert.is((await client.trim('default', 999)).value.logStart, 5);
  assert.is((await client.produce('default', records('f'))).value.baseOffset, 5);
});

test('a trim frees the disk, and what the trimmed entries had done stays', async () => {
  let { world, client } = await ready();
  const { producerId } = (await client.initProducer('default', 'p')).value;
  for (let i = 0; i < 10; i++) await client.produce('default', sized(900_000));
  const before = (await client.describe('default')).value.bytes;
  await client.trim('default', 9);
  await world.advance(5000);
  const after = (await client.describe('default')).value.bytes;
  assert.ok(after < before / 3, `${before} bytes became ${after}`);
  world = await world.crash({ keep: 'none' });
  client = await world.connect();
  assert.is((await client.initProducer('default', 'p')).value.producerId, producerId);
  assert.is((await client.fetch('default', { value: 9 })).code, 'OK');
  assert.is((await client.describe('default')).value.logStart, 9);
});

test('files are deleted only when two snapshots hold what their entries did', async () => {
  const { world, client } = await ready();
  await client.initProducer('default', 'p');
  for (let i = 0; i < 10; i++) await client.produce('default', sized(900_000));
  const uid = (await client.describe('default')).value.logUid.toString('hex');
  const folder = `logs/${uid}/00000001`;
  let most = 0;
  world.disk.onOperation = ({ call, path }) => {
    if (call !== 'unlink' || !path.endsWith('.seg')) return;
    void world.disk.list(folder).then((names) => {
      most++;
      assert.is(names.filter((name) => /^snapshot-\d+$/.test(name)).length, 2);
    });
  };
  await client.trim('default', 9);
  await world.advance(5000);
  assert.ok(most >= 8, `${most} segments were deleted`);
});

test('snapshots are written at rolls and on a clean stop, and two are kept', async () => {
  const { world, client } = await ready();
  for (let i = 0; i < 20; i++) {
    await client.produce('default', sized(400_000));
    await world.advance(1000);
  }
  const uid = (await client.describe('default')).value.logUid.toString('hex');
  const snapshots = async (): Promise<string[]> =>
    (await world.disk.list(`logs/${uid}/00000001`)).filter((name) => name.startsWith('snapshot-'));
  assert.is((await snapshots()).length, 2);
  await world.stop();
  assert.is((await snapshots()).at(-1), `snapshot-${String(21).padStart(20, '0')}`, 'the no-op of its term and twenty batches');
});

test('a memory log acks without a sync, and keeps what it has over a clean stop', async () => {
  const { world, client } = await ready();
  await client.createLog('m', { durability: 3 });
  await client.createLog('i', { durability: 2, intervalMs: 5000 });
  let syncs = 0;
  world.disk.onOperation = ({ call, path }) => {
    if (call === 'sync' && path.endsWith('.seg')) syncs++;
  };
  assert.is((await client.produce('m', records('a'))).value.durability, 3);
  assert.is((await client.produce('i', records('a'))).value.durability, 2);
  assert.is(syncs, 0);
  await world.advance(5000);
  assert.is(syncs, 1, 'the interval log was synced within its interval');
  const next = await world.restart();
  const other = await next.connect();
  assert.is((await other.describe('m')).value.committedEnd, 1);
});

test('an interval log under constant load is synced all the same', async () => {
  const { world, client } = await ready();
  await client.createLog('i', { durability: 2, intervalMs: 1000 });
  let syncs = 0;
  world.disk.onOperation = ({ call, path }) => {
    if (call === 'sync' && path.endsWith('.seg')) syncs++;
  };
  for (let i = 0; i < 60; i++) {
    client.sendProduce('i', sized(10_000));
    world.clock.monotonic += 50;
    world.clock.wall += 50;
    world.node.tick();
    client.sendProduce('i', sized(10_000));
    await Promise.resolve();
  }
  await world.settle();
  await world.advance(1000);
  assert.ok(syncs >= 1);
});

test('a power cut may take the last interval of an interval log, and it goes on', async () => {
  for (const keep of ['none', 'random'] as const) {
    let { world, client } = await ready();
    await client.createLog('i', { durability: 2, intervalMs: 60_000 });
    for (let i = 0; i < 30; i++) {
      await client.produce('i', sized(200_000));
      if (i % 5 === 0) await client.trim('i', i);
      await world.advance(200);
    }
    const before = (await client.produce('i', records('x'))).value;
    world = await world.crash({ keep });
    client = await world.connect();
    const info = (await client.describe('i')).value;
    assert.ok(info.committedEnd <= before.nextOffset);
    const next = await client.produce('i', records('y'));
    assert.is(next.code, 'OK', next.error?.message);
    assert.ok(next.value.term > before.term);
    assert.is(next.value.baseOffset, info.committedEnd);
  }
});

test.run();
