// Bytes of the real files of a killed server flipped, cut and removed, one file at a time: the built
// server then starts or says in one line why not, gives out every record as it was written or an error
// for the offsets that are damaged, leaves the other logs alone, and `sidelog verify` names the place.
import { cpSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { run, serve, temporaryFolder } from '../support/sidecar.ts';
import type { Server } from '../support/sidecar.ts';
import { connect, ErrorCode, SidelogError } from '../../src/wire/client/client.ts';
import type { Client } from '../../src/wire/client/client.ts';

const test = suite('faults/damage');
const RECORDS = 2600;
const BATCH = 20;
const VERIFY_MS = 20_000;

/** A record that says which it is, from its first byte to its last. */
function value(log: string, i: number): string {
  return `${log} ${i} `.padEnd(1000, `${i}.`);
}

/** Data of a server that was stopped once and then killed under its last records. */
let original = '';
let small = '';

test.before(async () => {
  let server = await serve();
  const address = server.address;
  let client = await connect({ address });
  await client.logs.create('small', { segmentBytes: 1 << 20 });
  await produce(client, 'small', 0, RECORDS - 200);
  await produce(client, 'default', 0, 100);
  await client.positions.put('small', 'reader', 17);
  small = (await client.logs.describe('small')).logUid;
  await client.close();
  await server.end();
  server = await serve({ dataDir: server.dataDir });
  client = await connect({ address: server.address });
  await produce(client, 'small', RECORDS - 200, RECORDS);
  await produce(client, 'default', 100, 200);
  await client.close();
  await server.end('SIGKILL');
  original = server.dataDir;
});

async function produce(client: Client, log: string, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i += BATCH) {
    const records = Array.from({ length: BATCH }, (_, k) => ({ value: Buffer.from(value(log, i + k)) }));
    await client.produce(log, records);
  }
}

interface Reading {
  readonly got: number;
  readonly lost: [number, number][];
  /** Why the log could not be read at all. */
  readonly refused: string | null;
}

/** Reads everything that can be read; asserts that each record is the one that was written there. */
async function read(client: Client, log: string): Promise<Reading> {
  const lost: [number, number][] = [];
  let got = 0;
  for (let next = 0; ; ) {
    try {
      const { records, committedEnd } = await client.fetch(log, { from: { offset: next }, maxBytes: 1 << 20 });
      for (const record of records) {
        assert.is(record.offset, next);
        assert.is(String(record.value), value(log, next), `record ${next} of ${log}`);
        next++;
        got++;
      }
      if (records.length === 0 && next < committedEnd) return { got, lost, refused: `nothing at ${next} below ${committedEnd}` };
      if (next >= committedEnd) return { got, lost, refused: null };
    } catch (error) {
      if (!(error instanceof SidelogError)) throw error;
      const { range } = error.detail;
      if (error.code !== ErrorCode.DATA_LOSS || range === undefined) return { got, lost, refused: `${error.name} ${error.message}` };
      assert.ok(range.logStart <= next && range.committedEnd > next, `damage ${JSON.stringify(range)} at ${next}`);
      lost.push([next, range.committedEnd - 1]);
      next = range.committedEnd;
    }
  }
}

interface Outcome {
  /** `ready`, or why it did not start. */
  readonly server: string;
  readonly small: Reading | null;
  readonly other: Reading | null;
  readonly position: number | null;
  readonly verify: { code: number | null; findings: { file?: string; message: string; position?: number; firstOffset?: number; lastOffset?: number }[] };
  readonly log: string;
}

function assertClean(text: string, what: string): void {
  assert.not.match(text, /\n?\s+at .*(\.ts|\.cjs|node:)/, `${what} shows a stack trace`);
  assert.not.match(text, /"event":"crash"/, what);
}

async function after(damage: (dataDir: string) => void): Promise<Outcome> {
  const dataDir = join(temporaryFolder(), 'data');
  cpSync(original, dataDir, { recursive: true, filter: (path) => !path.endsWith('/lock') });
  damage(dataDir);
  try {
    const started = performance.now();
    const { code, stdout, stderr } = await run(['verify', '--data-dir', dataDir, '--json']);
    assert.ok(performance.now() - started < VERIFY_MS);
    assertClean(stdout + stderr, 'verify');
    const findings = stdout === '' ? [{ message: stderr }] : (JSON.parse(stdout) as { findings: Outcome['verify']['findings'] }).findings;
    return { ...(await serveAndRead(dataDir)), verify: { code, findings } };
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function serveAndRead(dataDir: string): Promise<Omit<Outcome, 'verify'>> {
  let server: Server;
  try {
    server = await serve({ dataDir });
  } catch (error) {
    assertClean((error as Error).message.replace(/^ended with \d+: /, ''), 'serve');
    assert.match((error as Error).message, /^ended with 1: sidelog: /);
    return { server: (error as Error).message, small: null, other: null, position: null, log: '' };
  }
  const client = await connect({ address: server.address, requestTimeoutMs: 2000 });
  try {
    const other = await read(client, 'default');
    const reading = await read(client, 'small');
    const position = await client.positions.get('small', 'reader').then((found) => found, () => null);
    assert.is(await server.end(), 0, server.output.stderr);
    assertClean(server.output.stderr, 'serve');
    return { server: 'ready', small: reading, other, position, log: server.output.stderr };
  } finally {
    await client.close();
    await server.end('SIGKILL');
  }
}

/** Files of log `small`, oldest first. */
function files(dataDir: string, pattern: RegExp): string[] {
  const folder = join(dataDir, 'logs', small);
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => pattern.test(path)).sort().map((path) => join(folder, path));
}

function flip(path: string, ...positions: number[]): void {
  const bytes = readFileSync(path);
  for (const position of positions) bytes[position] = bytes[position]! ^ 0x55;
  writeFileSync(path, bytes);
}

/** What a damaged batch costs: its own records, and nothing else. */
async function assertLost(damage: (dataDir: string) => void, lost: [number, number][], position: number): Promise<void> {
  const { small: reading, other, verify, position: stored } = await after(damage);
  const count = lost.reduce((sum, [first, last]) => sum + last - first + 1, 0);
  assert.equal(reading, { got: RECORDS - count, lost, refused: null });
  assert.equal(other, { got: 200, lost: [], refused: null });
  assert.is(stored, 17);
  assert.is(verify.code, 1);
  // A head that is gone is a finding of its own, without a record.
  const finding = verify.findings.find(({ firstOffset, lastOffset }) => lastOffset! >= firstOffset!);
  assert.match(finding!.file!, /\.seg$/);
  assert.equal([finding!.position, finding!.firstOffset, finding!.lastOffset], [position, ...lost[0]!]);
}

test('a flipped byte of a sealed segment costs its batch alone', async () => {
  await assertLost((dataDir) => flip(files(dataDir, /\.seg$/)[1]!, 4096 + 100_000), [[1100, 1119]], 85_424);
});

test('a flipped byte of the newest segment, below its mark, costs its batch alone', async () => {
  await assertLost((dataDir) => flip(files(dataDir, /\.seg$/)[2]!, 4096 + 100_000), [[2120, 2139]], 85_424);
});

test('a sealed segment that was cut costs what was cut', async () => {
  await assertLost((dataDir) => truncateSync(files(dataDir, /\.seg$/)[1]!, 150_000), [[1160, 2039]], 146_420);
});

test('a sealed segment of which not even the head is left costs its records alone', async () => {
  for (const size of [100, 4100]) {
    await assertLost((dataDir) => truncateSync(files(dataDir, /\.seg$/)[1]!, size), [[1020, 2039]], 4096);
    const { small: reading, other, verify, position } = await after((dataDir) => truncateSync(files(dataDir, /\.seg$/)[0]!, size));
    assert.equal(reading, { got: RECORDS - 1020, lost: [[0, 1019]], refused: null }, `the first one cut to ${size}`);
    assert.equal([other, position, verify.code], [{ got: 200, lost: [], refused: null }, 17, 1]);
  }
});

test('a segment file that is gone is told from one that was trimmed, wherever it was', async () => {
  for (const [i, lost] of [[0, [0, 1019]], [1, [1020, 2039]]] as const) {
    const { small: reading, other, verify, position } = await after((dataDir) => rmSync(files(dataDir, /\.seg$/)[i]!));
    const [first, last] = lost;
    assert.equal(reading, { got: RECORDS - 1020, lost: [[first, last]], refused: null }, `segment ${i}`);
    assert.equal([other, position, verify.code], [{ got: 200, lost: [], refused: null }, 17, 1]);
    const [finding] = verify.findings;
    assert.match(finding!.message, /missing/);
    assert.equal([finding!.firstOffset, finding!.lastOffset], [first, last]);
  }
  // Behind the snapshot's entries nobody knows that there was more; those that it knows of are missed.
  const { small: reading, verify } = await after((dataDir) => rmSync(files(dataDir, /\.seg$/)[2]!));
  assert.equal(reading, { got: 2040, lost: [[2040, 2399]], refused: null });
  assert.is(verify.code, 1);
  assert.match(verify.findings[0]!.message, /entries below the newest snapshot are missing/);
  assert.equal([verify.findings[0]!.firstOffset, verify.findings[0]!.lastOffset], [2040, 2399]);
});

test('the newest segment cut below a snapshot costs what was cut: nothing spins, nothing is passed over in silence', async () => {
  for (const [size, firstLost] of [[100, 2040], [150_000, 2180]] as const) {
    const { small: reading, other, verify } = await after((dataDir) => truncateSync(files(dataDir, /\.seg$/)[2]!, size));
    assert.is(reading!.refused, null, `cut to ${size}`);
    assert.is(reading!.lost[0]![0], firstLost, `cut to ${size}`);
    assert.is(reading!.got, firstLost, `cut to ${size}`);
    assert.equal(other, { got: 200, lost: [], refused: null });
    assert.is(verify.code, 1);
  }
});

/** Nothing is lost; verify tells of it or not. */
async function assertWhole(damage: (dataDir: string) => void, verifyCode: number): Promise<void> {
  const { small: reading, other, verify, position } = await after(damage);
  assert.equal(reading, { got: RECORDS, lost: [], refused: null });
  assert.equal(other, { got: 200, lost: [], refused: null });
  assert.is(position, 17);
  assert.is(verify.code, verifyCode, JSON.stringify(verify.findings));
}

test('indexes are disposable', async () => {
  await assertWhole((dataDir) => {
    const [first, second, third] = files(dataDir, /\.idx$/);
    flip(first!, 16 + 25);
    truncateSync(second!, 30);
    rmSync(third!);
  }, 1);
});

test('snapshots and one copy of raft-state are spare', async () => {
  await assertWhole((dataDir) => files(dataDir, /snapshot-/).forEach((path) => flip(path, 60)), 1);
  await assertWhole((dataDir) => truncateSync(join(dataDir, 'raft-state.a'), 7), 0);
});

test('CURRENT and a head are made up for', async () => {
  await assertWhole((dataDir) => {
    truncateSync(join(dataDir, 'logs', small, 'CURRENT'), 0);
    flip(files(dataDir, /\.seg$/)[1]!, 20);
  }, 1);
});

test('a log whose log.json is damaged is stopped, not unknown, and the others go on', async () => {
  const { small: reading, other, verify } = await after((dataDir) => flip(join(dataDir, 'logs', small, 'log.json'), 5));
  assert.match(reading!.refused!, 'LOG_STOPPED');
  assert.equal(other, { got: 200, lost: [], refused: null });
  assert.match(verify.findings[0]!.message, /log\.json: checksum does not hold/);
});

test('a damaged node.json is said in one line', async () => {
  const { server, verify } = await after((dataDir) => truncateSync(join(dataDir, 'node.json'), 7));
  assert.match(server, /^ended with 1: sidelog: node\.json is damaged: put it back from a backup\n$/);
  assert.is(verify.code, 1);
});

test.run();
