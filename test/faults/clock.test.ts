// The wall clock of a running server jumps: thirty days ahead, a year back, to 2099 for a second. No record is
// trimmed by mistake, and no stamp is poisoned: what comes afterwards has the time of its day.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, run, serve, temporaryFolder, until } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { connect } from '../../src/wire/client/client.ts';
import type { Client } from '../../src/wire/client/client.ts';

const test = suite('faults/clock');
const clients: Client[] = [];
test.after(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await endAll();
});

const DAY_MS = 86_400_000;
/** The server looks at retention every five seconds. */
const RETENTION_MS = 6_000;
/** Stamps of this test differ from the real time by no more than it may take. */
const NEAR_MS = 60_000;

/** A wall clock that is off by what a file says, which goes when it was read, at SIGUSR2. */
const CLOCK = `
const { readFileSync, rmSync } = require('node:fs');
const real = Date.now;
let offset = 0;
Date.now = () => real() + offset;
process.on('SIGUSR2', () => { offset = Number(readFileSync(process.env.TEST_CLOCK, 'utf8')); rmSync(process.env.TEST_CLOCK); });
`;

interface ClockServer {
  readonly server: Server;
  readonly client: Client;
  /** Moves the server's wall clock to so much off the real one; resolves when it has moved. */
  jump(offsetMs: number): Promise<void>;
}

async function withClock(): Promise<ClockServer> {
  const folder = temporaryFolder();
  const [program, file] = [join(folder, 'clock.cjs'), join(folder, 'offset')];
  writeFileSync(program, CLOCK);
  const server = await serve({ dataDir: join(folder, 'data'), env: { NODE_OPTIONS: `--require ${program}`, TEST_CLOCK: file } });
  const client = await connect({ address: server.address });
  clients.push(client);
  return {
    server,
    client,
    async jump(offsetMs) {
      writeFileSync(file, String(offsetMs));
      server.child.kill('SIGUSR2');
      await until(() => !existsSync(file));
    },
  };
}

test('nothing is trimmed by a clock that jumped, and no stamp of it stays', async () => {
  const { server, client, jump } = await withClock();
  await client.logs.create('aged', { retainMs: 3_600_000, segmentBytes: 1 << 20 });
  const stamps: number[] = [];
  const produce = async (): Promise<void> => {
    stamps.push((await client.produce('aged', { value: Buffer.alloc(500_000, 97) })).appendTime);
  };
  for (let i = 0; i < 6; i++) await produce();
  await jump(30 * DAY_MS);
  await produce();
  // Real time must pass here: that is when it would be trimmed.
  await new Promise((done) => setTimeout(done, RETENTION_MS));
  const { logStart } = await client.logs.describe('aged');
  assert.match(server.output.stderr, /"wall clock jumped","movedMs":259[12]/);
  assert.is(logStart, 0, 'thirty days are over for nobody but that clock');
  await produce();
  await jump(0);
  await produce();
  await jump(-365 * DAY_MS);
  await produce();
  await jump(0);
  await jump(Date.UTC(2099, 0, 1) - Date.now());
  await produce();
  await new Promise((done) => setTimeout(done, 1000));
  await jump(0);
  await produce();
  const now = Date.now();
  for (const [i, stamp] of stamps.entries()) {
    assert.ok(Math.abs(stamp - now) < NEAR_MS, `stamp ${i} is ${new Date(stamp).toISOString()}`);
    assert.ok(i === 0 || stamp >= stamps[i - 1]!, 'I11: append_time never goes down');
  }
  const { records } = await client.fetch('aged', { from: { time: stamps[3]! } });
  assert.ok(records[0]!.offset <= 3, 'times still find their records');
  await client.produce('aged', { value: Buffer.from('last') });
  assert.is((await client.logs.describe('aged')).logStart, 0);
  await client.close();
  assert.is(await server.end(), 0, server.output.stderr);
  assert.is((await run(['verify', '--data-dir', server.dataDir])).code, 0);
});

test.run();
