// `sidelog verify` and `sidelog dump` on directories that a real server wrote, whole and damaged.
import { cpSync, openSync, readdirSync, readFileSync, readSync, renameSync, rmSync, statSync, writeSync, closeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, run, serve, temporaryFolder } from '../support/sidecar.ts';
import type { RunResult } from '../support/sidecar.ts';

const test = suite('cli/verify');

interface Finding {
  readonly kind: string;
  readonly message: string;
  readonly file?: string;
  readonly position?: number;
  readonly firstOffset?: number;
  readonly lastOffset?: number;
  readonly settled: boolean;
}
interface Report {
  readonly ok: boolean;
  readonly findings: Finding[];
  readonly accepted: string[];
  readonly logs: Record<string, unknown>[];
}

const RECORDS = 3000;
/** Written once; each test damages a copy. */
let original = '';

test.before(async () => {
  const server = await serve();
  const sidelog = (args: string[], input = ''): Promise<RunResult> => run([...args, '--to', server.address], { input });
  await sidelog(['log', 'create', 'small', '--segment-bytes', '1MiB']);
  const lines = Array.from({ length: RECORDS }, (_, i) => `${i} ${'x'.repeat(1000)}`).join('\n');
  const { code, stderr } = await sidelog(['produce', 'small', '--batch', '100'], lines);
  assert.is(code, 0, stderr);
  await sidelog(['produce', 'small', '--producer', 'importer'], 'from a producer\n');
  await sidelog(['position', 'put', 'small', 'worker', '7']);
  await sidelog(['produce', 'default'], 'a\nb\n');
  assert.is(await server.end(), 0);
  original = server.dataDir;
});

test.after(endAll);

function copy(): string {
  const folder = join(temporaryFolder(), 'data');
  cpSync(original, folder, { recursive: true });
  return folder;
}

/** Paths of the files of log `small` with this ending, oldest first. */
function files(dataDir: string, ending: string): string[] {
  return readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(ending) && readdirSync(dirname(join(dataDir, path))).filter((name) => name.endsWith('.seg')).length > 1)
    .sort()
    .map((path) => join(dataDir, path));
}

function flip(path: string, position: number): void {
  const fd = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  byte[0]! ^= 0x40;
  writeSync(fd, byte, 0, 1, position);
  closeSync(fd);
}

async function verify(dataDir: string, ...options: string[]): Promise<{ code: number | null; report: Report; stderr: string }> {
  const { code, stdout, stderr } = await run(['verify', '--data-dir', dataDir, '--json', ...options]);
  return { code, report: stdout === '' ? (null as never) : (JSON.parse(stdout) as Report), stderr };
}

/** The lines of `sidelog dump`. */
async function dumped(path: string): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await run(['dump', path]);
  assert.is(code, 0, stderr);
  return stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Starts a server on the directory and tries what its clients would. */
async function clientsSee(dataDir: string): Promise<{ produced: RunResult; consumed: RunResult }> {
  const server = await serve({ dataDir });
  const produced = await run(['produce', 'small', '--to', server.address, '--timeout', '1s'], { input: 'new\n' });
  const consumed = await run(['consume', 'small', '--from', server.address]);
  await server.end();
  return { produced, consumed };
}

test('finds nothing in a directory that is whole, and counts what is there', async () => {
  const text = await run(['verify', '--data-dir', original]);
  assert.is(text.code, 0, text.stdout + text.stderr);
  assert.match(text.stdout, /^default +records: 2 \(offsets 0 to 1\)/m);
  assert.match(text.stdout, 'every checksum and index entry holds\n');
  const { code, report } = await verify(original);
  assert.is(code, 0);
  assert.equal(report.findings, []);
  const small = report.logs.find(({ name }) => name === 'small')!;
  assert.is(small['records'], RECORDS + 1);
  assert.ok((small['segments'] as number) > 1);
});

test('refuses a directory that a server runs on', async () => {
  const server = await serve();
  const { code, stderr } = await run(['verify', '--data-dir', server.dataDir]);
  assert.is(code, 1);
  assert.match(stderr, `is in use by process ${server.pid}`);
  await server.end();
});

test('names file, position and offsets of a flipped byte, and the data directory can come from the environment', async () => {
  const dataDir = copy();
  const segment = files(dataDir, '.seg')[0]!;
  flip(segment, 60_000);
  const { code, stdout } = await run(['verify', '--json'], { env: { SIDELOG_DATA_DIR: dataDir } });
  assert.is(code, 1);
  const { findings } = JSON.parse(stdout) as Report;
  assert.is(findings.length, 1);
  const { kind, file, position, firstOffset, lastOffset } = findings[0]!;
  assert.is(kind, 'damage');
  assert.is(join(dataDir, file!), segment);
  assert.ok(position! <= 60_000 && position! >= 4096, `position ${position}`);
  assert.ok(firstOffset! >= 0 && lastOffset! === firstOffset! + 99, `offsets ${firstOffset} to ${lastOffset}`);
  const text = await run(['verify', '--data-dir', dataDir]);
  assert.match(text.stdout, `  DAMAGE ${file} at byte ${position}: `);
  assert.match(text.stdout, `(offsets ${firstOffset}..${lastOffset}, indexes `);
  // A clean stop left a snapshot behind the damage, so records are taken; that stretch answers DATA_LOSS.
  const { produced, consumed } = await clientsSee(dataDir);
  assert.is(produced.code, 0, produced.stderr);
  assert.is(consumed.code, 1);
  assert.match(consumed.stderr, /DATA_LOSS/);
});

test('--repair-index mends an index, and only that', async () => {
  const dataDir = copy();
  const index = files(dataDir, '.idx')[0]!;
  const before = readFileSync(index);
  flip(index, 40);
  const found = await verify(dataDir);
  assert.is(found.code, 1);
  assert.equal(found.report.findings.map(({ kind, settled }) => [kind, settled]), [['index', false]]);
  const repaired = await verify(dataDir, '--repair-index');
  assert.is(repaired.code, 0);
  assert.equal(repaired.report.findings.map(({ kind, settled }) => [kind, settled]), [['index', true]]);
  assert.ok(readFileSync(index).equals(before), 'it is as it was');
  assert.is((await verify(dataDir)).code, 0);
});

test('an index file that is not there, as after a crash, is nothing to complain of', async () => {
  const dataDir = copy();
  for (const index of files(dataDir, '.idx')) rmSync(index);
  const text = await run(['verify', '--data-dir', dataDir]);
  assert.is(text.code, 0, text.stdout);
  assert.match(text.stdout, /NOTE .*\.idx: missing or too short: it is made again when it is needed/);
  const { consumed } = await clientsSee(dataDir);
  assert.is(consumed.code, 0, consumed.stderr);
});

test('--accept-loss gives a log whose durable end is unknown an end again', async () => {
  const dataDir = copy();
  const newest = files(dataDir, '.seg').at(-1)!;
  flip(newest, 512 + 100);
  flip(newest, 1024 + 100);
  const found = await verify(dataDir);
  assert.is(found.code, 1);
  assert.match(found.report.findings[0]!.message, 'both slots of the durable mark are bad');
  const refused = await clientsSee(dataDir);
  assert.is(refused.produced.code, 1);
  assert.match(refused.produced.stderr, /how much of the log was durable is not known; run "sidelog verify --accept-loss"/);
  const accepted = await verify(dataDir, '--accept-loss');
  assert.is(accepted.code, 0, JSON.stringify(accepted.report));
  assert.is(accepted.report.accepted.length, 1);
  assert.is((await verify(dataDir)).code, 0);
  const { produced, consumed } = await clientsSee(dataDir);
  assert.is(produced.code, 0, produced.stderr);
  assert.is(consumed.stdout.split('\n').length, RECORDS + 3);
});

test('--accept-loss goes on with a log whose state is damaged and in no snapshot', async () => {
  const dataDir = copy();
  const snapshots = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).filter((path) => path.includes('snapshot-'));
  for (const path of snapshots) renameSync(join(dataDir, path), join(dataDir, `${path}.away`));
  // The header of the entry that made the producer: without it nobody knows what the producer may write.
  const newest = files(dataDir, '.seg').at(-1)!;
  const entry = (await dumped(newest)).find(({ control }) => (control as { type?: string } | undefined)?.type === 'init_producer')!;
  flip(newest, (entry['position'] as number) + 20);
  const refused = await clientsSee(dataDir);
  assert.is(refused.produced.code, 1);
  assert.match(refused.produced.stderr, /damaged.*--accept-loss/);
  const accepted = await verify(dataDir, '--accept-loss');
  assert.is(accepted.code, 0, JSON.stringify(accepted.report));
  assert.match(accepted.report.accepted.join('\n'), 'is forgotten');
  const { produced, consumed } = await clientsSee(dataDir);
  assert.is(produced.code, 0, produced.stderr);
  assert.match(produced.stdout, `"firstOffset":${RECORDS + 1}`);
  assert.is(consumed.code, 0, consumed.stderr);
  assert.is(consumed.stdout.split('\n').length, RECORDS + 3, 'no record was in what is damaged');
});

test('--accept-loss goes on with a log that lost entries which its snapshot has seen', async () => {
  const dataDir = copy();
  const newest = files(dataDir, '.seg').at(-1)!;
  const last = (await dumped(newest)).filter(({ kind }) => kind === 'batch').at(-1)!['position'] as number;
  // Both slots and the last batch: the valid part ends before what the snapshot is of.
  flip(newest, 512 + 100);
  flip(newest, 1024 + 100);
  flip(newest, last + 20);
  const refused = await clientsSee(dataDir);
  assert.is(refused.produced.code, 1);
  const accepted = await verify(dataDir, '--accept-loss');
  assert.is(accepted.code, 0, JSON.stringify(accepted.report));
  const { produced } = await clientsSee(dataDir);
  assert.is(produced.code, 0, produced.stderr);
});

test('damage of a snapshot, of node.json and of both copies of raft-state is found', async () => {
  const dataDir = copy();
  const snapshot = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).find((path) => /snapshot-\d{20}$/.test(path))!;
  flip(join(dataDir, snapshot), 30);
  flip(join(dataDir, 'raft-state.a'), 70);
  assert.equal((await verify(dataDir)).report.findings.map(({ kind }) => kind), ['file'], 'one copy is enough');
  flip(join(dataDir, 'raft-state.b'), 70);
  flip(join(dataDir, 'node.json'), 0);
  const { code, report } = await verify(dataDir);
  assert.is(code, 1);
  assert.equal(report.findings.map(({ message }) => message.split(' ')[0]), ['node.json', 'raft-state.a', `${snapshot}:`]);
});

test('dump shows every kind of file, and where one stops holding', async () => {
  const dataDir = copy();
  const [segment] = files(dataDir, '.seg');
  const shown = await dumped(segment!);
  assert.equal(shown.slice(0, 3).map(({ kind }) => kind), ['head', 'mark', 'mark']);
  const batches = shown.filter(({ kind }) => kind === 'batch');
  assert.is(batches[0]!['index'], 1);
  assert.is(batches[0]!['position'], 4096);
  assert.is(shown.at(-1)!['position'], statSync(segment!).size);
  const entries = (await dumped(files(dataDir, '.idx')[0]!)).filter(({ kind }) => kind === 'entry');
  assert.equal(entries.map(({ index, position }) => [index, position]), batches.map(({ index, position }) => [index, position]));
  const all = (await Promise.all(files(dataDir, '.seg').map(dumped))).flat();
  assert.ok(all.some(({ control }) => (control as { type?: string } | undefined)?.type === 'positions'));
  const folder = dirname(segment!);
  const snapshot = await dumped(join(folder, readdirSync(folder).sort().findLast((name) => name.startsWith('snapshot-'))!));
  assert.is(snapshot[0]!['nextOffset'], RECORDS + 1);
  assert.ok(snapshot.some(({ kind, name }) => kind === 'producer' && name === 'importer'));
  assert.ok(snapshot.some(({ kind, name, offset }) => kind === 'position' && name === 'worker' && offset === 7));
  const journal = await dumped(join(dataDir, 'raft-state.a'));
  assert.ok(journal.some(({ kind, state }) => kind === 'state' && state === 'active'));
  flip(segment!, 60_000);
  const damaged = await run(['dump', segment!]);
  assert.is(damaged.code, 1);
  assert.match(damaged.stdout, '"verdict":"damaged below the durable mark"');
});

test.run();
