// A really full disk: a small tmpfs under the built server. Records are refused before they are taken,
// everything else goes on, and what was acked is there afterwards.
import { execFileSync, spawnSync } from 'node:child_process';
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { serve, skipUnless, temporaryFolder, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { buildBatch, connect, ErrorCode } from '../../src/wire/client/client.ts';
import type { Client, SidelogError } from '../../src/wire/client/client.ts';

const test = suite('faults/full-disk');
const MIB = 1024 * 1024;
const VALUE_BYTES = 200_000;
const SETTINGS = ['--reserve', '4MiB', '--max-batch', '256KiB', '--log-level', 'warn'];

const mounts: string[] = [];
process.on('exit', () => mounts.forEach(unmount));

function mount(sizeMib: number): string | null {
  const folder = temporaryFolder();
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'tmpfs', folder], { stdio: 'ignore' });
  if (status !== 0) return null;
  mounts.push(folder);
  return folder;
}

function unmount(folder: string): void {
  spawnSync('umount', ['--lazy', folder], { stdio: 'ignore' });
}

async function onSmallDisk(use: (folder: string, start: () => Promise<{ server: Server; client: Client }>) => Promise<void>): Promise<void> {
  const folder = mount(48);
  if (!skipUnless(folder !== null, 'a full disk: mounting a tmpfs is not permitted')) return;
  const started: { server: Server; client: Client }[] = [];
  try {
    await use(folder!, async () => {
      const server = await serve({ dataDir: join(folder!, 'data'), args: SETTINGS });
      const client = await connect({ address: server.address, requestTimeoutMs: 3000, backoff: { minMs: 10, maxMs: 100 } });
      started.push({ server, client });
      return { server, client };
    });
  } finally {
    for (const { server, client } of started) {
      await client.close();
      server.child.kill('SIGKILL');
    }
    unmount(folder!);
  }
}

function value(log: string, i: number): Buffer {
  const bytes = Buffer.alloc(VALUE_BYTES, i & 0xff);
  bytes.write(`${log} ${i} `);
  return bytes;
}

/** One batch, tried once; true = acked, false = refused before anything was taken. Anything else throws. */
async function offer(client: Client, log: string, i: number): Promise<boolean> {
  const error = await new Promise<SidelogError | null>((resolve) => {
    const raw = client.rawProducer(log, { onAck: (_tag, base) => resolve(assert.is(base, i) ?? null), onError: (_tag, refused) => resolve(refused) });
    raw.produce(buildBatch([{ value: value(log, i) }]), i);
  });
  if (error === null) return true;
  assert.is(error.code, ErrorCode.STORAGE_FULL, `${error.name} ${error.message}`);
  assert.is(error.outcomeUnknown, false);
  return false;
}

/** Produces until the disk refuses; returns how many were acked. */
async function fill(client: Client, log: string, from = 0): Promise<number> {
  let acked = from;
  while (await offer(client, log, acked)) acked++;
  return acked;
}

/** Every record from `start` to `end` is what was sent. */
async function check(client: Client, log: string, start: number, end: number): Promise<void> {
  let next = start;
  while (next < end) {
    const { records, committedEnd } = await client.fetch(log, { from: { offset: next }, maxBytes: MIB, linearizable: true });
    assert.is(committedEnd, end, `the end of ${log}`);
    for (const record of records) {
      assert.is(record.offset, next);
      assert.ok(record.value!.equals(value(log, next)), `record ${next} of ${log}`);
      next++;
    }
  }
}

test('a full disk refuses records, serves and trims, and takes records again once there is room', async () => {
  await onSmallDisk(async (folder, start) => {
    const { server, client } = await start();
    await client.logs.create('t', { segmentBytes: MIB });
    const end = await fill(client, 't');
    assert.ok(end > 100, `${end} batches fit`);
    // Indexes and heads of fifty segments came beside the records: they are no reason to use up the reserve.
    const { bavail, bsize } = statfsSync(folder);
    assert.ok(bavail * bsize >= 3 * MIB, `${bavail * bsize} bytes are free of a reserve of ${4 * MIB}`);
    await check(client, 't', 0, end);
    await client.positions.put('t', 'reader', 3);
    const trimmed = await client.logs.trim('t', 50);
    assert.ok(trimmed > 0);
    await until(() => offer(client, 't', end), 8000);
    await check(client, 't', trimmed, end + 1);
    assert.is(await server.end(), 0, server.output.stderr);
    assert.not.match(server.output.stderr, /crash|\n\s+at /);
  });
});

test('a server that was killed on the full disk starts there, and deleting another log makes room', async () => {
  await onSmallDisk(async (folder, start) => {
    const first = await start();
    await first.client.logs.create('other', { segmentBytes: MIB });
    for (let i = 0; i < 60; i++) assert.ok(await offer(first.client, 'other', i));
    await first.client.logs.create('t', { segmentBytes: MIB });
    const end = await fill(first.client, 't');
    await first.client.close();
    await first.server.end('SIGKILL');
    // Not one byte is left: what the reserve kept is taken by somebody else.
    const hog = join(folder, 'hog');
    spawnSync('dd', ['if=/dev/zero', `of=${hog}`, 'bs=4096'], { stdio: 'ignore' });
    assert.throws(() => writeFileSync(join(folder, 'x'), Buffer.alloc(8192)), /ENOSPC/);
    rmSync(join(folder, 'x'), { force: true });

    const { server, client } = await start();
    await check(client, 't', 0, end);
    await check(client, 'other', 0, 60);
    assert.is(await offer(client, 't', end), false);
    await client.logs.delete('other');
    // The trash is emptied for want of room, long before it expires.
    await until(() => offer(client, 't', end), 8000);
    await check(client, 't', 0, end + 1);
    assert.is((await client.logs.list({ trash: true })).length, 0);
    assert.is(await server.end(), 0, server.output.stderr);
    execFileSync('sync');
    const again = await start();
    await check(again.client, 't', 0, end + 1);
    assert.is(await again.server.end(), 0);
  });
});

test.run();
