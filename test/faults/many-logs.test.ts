// As many named logs as a node may have, on the built server: made, written, listed and read, with bounded
// memory and file descriptors, also where there are far fewer descriptors than the logs would like.
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, memoryFolder, openFiles, residentBytes, run, serve } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { connect, ErrorCode } from '../../src/wire/client/client.ts';
import type { Client, SidelogError } from '../../src/wire/client/client.ts';

const test = suite('faults/many-logs');
test.after(endAll);

const MIB = 1024 * 1024;
const LANES = 40;
const nameOf = (i: number): string => `log-${String(i).padStart(4, '0')}`;

async function each(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (next < count) await work(next++);
  }));
}

function assertBounded({ pid }: Server, filesMax: number, bytesMax: number): void {
  const files = openFiles(pid);
  const bytes = residentBytes(pid);
  if (files === null || bytes === null) return;
  assert.ok(files <= filesMax, `${files} files are open`);
  assert.ok(bytes <= bytesMax, `${(bytes / MIB).toFixed(0)} MiB are resident`);
}

async function writeAll(client: Client, count: number, round: number): Promise<void> {
  await each(count, async (i) => {
    assert.is((await client.produce(nameOf(i), { value: Buffer.from(`${i}/${round}`) })).baseOffset, round);
  });
}

async function readAll(client: Client, count: number, rounds: number): Promise<void> {
  await each(count, async (i) => {
    const { records } = await client.fetch(nameOf(i));
    assert.equal(records.map(({ value }) => String(value)), Array.from({ length: rounds }, (_, round) => `${i}/${round}`));
  });
}

test('a thousand logs are made, written, listed and read; the next one is refused', async () => {
  const count = 999;
  const dataDir = join(memoryFolder(), 'data');
  let server = await serve({ dataDir });
  let client = await connect({ address: server.address });
  await each(count, (i) => client.logs.create(nameOf(i)));
  await writeAll(client, count, 0);
  const listed = await client.logs.list();
  assert.equal(listed.map(({ log }) => log), ['default', ...Array.from({ length: count }, (_, i) => nameOf(i))]);
  assert.ok(listed.every(({ log, committedEnd }) => committedEnd === (log === 'default' ? 0 : 1)));
  const refused = await client.logs.create('one-more').then(() => null, (error: SidelogError) => error);
  assert.equal([refused?.code, refused?.detail.limit], [ErrorCode.INVALID_ARGUMENT, count + 1]);
  // Two for each log that is in use, and what a process has anyway.
  assertBounded(server, 2 * (count + 1) + 100, 300 * MIB);
  await client.close();
  await server.end('SIGKILL');
  const started = performance.now();
  server = await serve({ dataDir });
  assert.ok(performance.now() - started < 3000, 'logs are opened when they are used');
  assertBounded(server, 100, 120 * MIB);
  client = await connect({ address: server.address });
  await readAll(client, count, 1);
  await client.close();
  assert.is(await server.end(), 0, server.output.stderr);
});

test('with 512 file descriptors three hundred logs are written and read in turn, and none is stopped', async () => {
  const count = 300;
  const dataDir = join(memoryFolder(), 'data');
  const server = await serve({ dataDir, openFiles: 512 });
  assert.match(server.output.stderr, /"fewer logs open at once than --max-logs","openLogs":32,"openFilesLimit":512/);
  const client = await connect({ address: server.address });
  await each(count, (i) => client.logs.create(nameOf(i), { segmentBytes: MIB }));
  for (let round = 0; round < 2; round++) await writeAll(client, count, round);
  await readAll(client, count, 2);
  assertBounded(server, 512 - 128, 250 * MIB);
  assert.not.match(server.output.stderr, /EMFILE|"error"/);
  await client.close();
  assert.is(await server.end(), 0);
  assert.is((await run(['verify', '--data-dir', dataDir])).code, 0);
});

test.run();
