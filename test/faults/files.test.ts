// What a clumsy operator does to the files of a stopped server: a directory in the place of a file, rights
// taken away, folders gone. The server starts with all that can be had, or says in one line which path it
// is and what to do; `sidelog verify` names each such place and looks at everything else all the same.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, lchownSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUILT, endAll, run, serve, skipUnless, temporaryFolder } from '../support/sidecar.ts';
import { connect } from '../../src/wire/client/client.ts';
import type { SidelogError } from '../../src/wire/client/client.ts';

const test = suite('faults/files');
/** Whose processes may not read what belongs to root. */
const NOBODY = 65_534;
/** Root can become somebody else, who can run the same program. */
const canBeNobody = process.getuid?.() === 0 && spawnSync(process.execPath, [BUILT, '--version'], { uid: NOBODY, gid: NOBODY }).status === 0;

let original = '';
/** log_uid of log `b`. */
let uid = '';

test.before(async () => {
  let server = await serve();
  const client = await connect({ address: server.address });
  for (const log of ['default', 'b']) {
    if (log === 'b') uid = (await client.logs.create('b')).logUid;
    await client.produce(log, { value: Buffer.from('kept') });
  }
  await client.close();
  await server.end();
  original = server.dataDir;
});

test.after(endAll);

interface Seen {
  /** Exit code, and everything that verify printed. */
  readonly verify: [number | null, string];
  /** What the server said when it did not start; '' when it did. */
  readonly refused: string;
  /** What reading and writing log b, and the log `default`, comes to: OK or the error. */
  readonly b: string[];
  readonly default: string[];
}

async function after(spoil: (dataDir: string) => void, asNobody = false): Promise<Seen> {
  const dataDir = join(temporaryFolder(), 'data');
  cpSync(original, dataDir, { recursive: true });
  spoil(dataDir);
  const account = asNobody ? { uid: NOBODY, gid: NOBODY } : {};
  if (asNobody) giveTo(join(dataDir, '..'));
  const { code, stdout, stderr } = await run(['verify', '--data-dir', dataDir], account);
  const seen = { verify: [code, stdout + stderr] as [number | null, string], refused: '', b: [], default: [] };
  assert.not.match(seen.verify[1], /\n\s+at /, 'no stack trace');
  let server;
  try {
    server = await serve({ dataDir, ...account });
  } catch (error) {
    const said = (error as Error).message.replaceAll(dataDir, 'DIR');
    assert.match(said, /^ended with 1: sidelog: [^\n]+\n$/, 'one line');
    return { ...seen, refused: said };
  }
  const client = await connect({ address: server.address, requestTimeoutMs: 3000 });
  const tryLog = async (log: string): Promise<string[]> => {
    const outcome = (work: Promise<unknown>): Promise<string> => work.then(() => 'OK', (error: SidelogError) => `${error.name} ${error.message}`);
    return [await outcome(client.fetch(log, { from: { offset: 0 } })), await outcome(client.produce(log, { value: Buffer.from('more') }))];
  };
  const answers = { b: await tryLog('b'), default: await tryLog('default') };
  await client.close();
  assert.is(await server.end(), 0, server.output.stderr);
  assert.not.match(server.output.stderr, /\n\s+at |"crash"/);
  return { ...seen, ...answers };
}

function giveTo(folder: string): void {
  for (const path of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) lchownSync(join(folder, path), NOBODY, NOBODY);
}

const asDirectory = (path: string) => (dataDir: string): void => {
  rmSync(join(dataDir, path), { recursive: true, force: true });
  mkdirSync(join(dataDir, path));
};

const asFile = (path: string) => (dataDir: string): void => {
  rmSync(join(dataDir, path), { recursive: true, force: true });
  writeFileSync(join(dataDir, path), 'not a folder');
};

const OK = ['OK', 'OK'];

/** Runs cases two at a time: each is two processes, one after the other. */
async function each<T>(cases: readonly T[], check: (one: T) => Promise<void>): Promise<void> {
  const left = [...cases];
  const lane = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await check(one);
  };
  await Promise.all([lane(), lane()]);
}

test('a directory or a file in the wrong place is named in one line, with what to do', async () => {
  const cases: [(dataDir: string) => void, RegExp][] = [
    [asDirectory('node.json'), /cannot start: read DIR\/node\.json: EISDIR \(a directory is where a file should be: move it away, or put the file back from a backup\)/],
    [asDirectory('raft-state.a'), /cannot start: read DIR\/raft-state\.a: EISDIR \(a directory/],
    [asDirectory('raft-state.b'), /cannot start: read DIR\/raft-state\.b: EISDIR \(a directory/],
    [asDirectory('lock'), /cannot lock data directory \S+: a directory is at lock: move it away/],
    [asFile('logs'), /cannot start: list DIR\/logs: ENOTDIR \(a file is where a directory should be/],
    [asFile('trash'), /cannot start: list DIR\/trash: ENOTDIR/],
  ];
  await each(cases, async ([spoil, message]) => {
    const { refused, verify } = await after(spoil);
    assert.match(refused, message);
    assert.is(verify[0], 1);
    assert.match(verify[1], /EISDIR|ENOTDIR|a directory is at lock/);
  });
});

test('a log whose files are not files is alone with that, and verify goes on to the others', async () => {
  const generation = `logs/${uid}/00000001`;
  const snapshot = readdirSync(join(original, generation)).find((name) => name.startsWith('snapshot-'))!;
  const cases: [string, (dataDir: string) => void, RegExp | null][] = [
    ['log.json', asDirectory(`logs/${uid}/log.json`), /LOG_STOPPED it may be one of the 1 logs that cannot be read/],
    ['a folder', asFile(generation), /LOG_STOPPED the log cannot be opened: list .*ENOTDIR/],
    ['a segment', asDirectory(`${generation}/00000000000000000001.seg`), /LOG_STOPPED the log cannot be opened: read .*EISDIR \(a directory/],
    ['a snapshot, which is spare', asDirectory(`${generation}/${snapshot}`), null],
  ];
  await each(cases, async ([what, spoil, message]) => {
    const seen = await after(spoil);
    assert.equal(seen.default, OK, what);
    if (message === null) assert.equal(seen.b, OK, what);
    else for (const answer of seen.b) assert.match(answer, message, what);
    assert.is(seen.verify[0], 1);
    assert.match(seen.verify[1], /DAMAGE .*(EISDIR|ENOTDIR)/, what);
    assert.match(seen.verify[1], /^default +records: 1/m, what);
  });
});

test('a log whose folder is gone is missed until it is given up, and no other takes its name meanwhile', async () => {
  await each([`logs/${uid}`, 'logs'], async (path) => {
    const gone = (dataDir: string): void => rmSync(join(dataDir, path), { recursive: true });
    const { verify, b, refused } = await after(gone);
    assert.is(refused, '');
    assert.is(verify[0], 1);
    assert.match(verify[1], new RegExp(`DAMAGE logs/${uid}: the folder of this log is missing`));
    for (const answer of b) assert.match(answer, /LOG_STOPPED/);
  });
  const dataDir = join(temporaryFolder(), 'data');
  cpSync(original, dataDir, { recursive: true });
  rmSync(join(dataDir, 'logs', uid), { recursive: true });
  const accepted = await run(['verify', '--data-dir', dataDir, '--accept-loss']);
  assert.is(accepted.code, 0, accepted.stdout + accepted.stderr);
  const again = await run(['verify', '--data-dir', dataDir]);
  assert.is(again.code, 0, again.stdout);
  const server = await serve({ dataDir });
  const client = await connect({ address: server.address });
  await client.logs.create('b');
  await client.close();
  assert.is(await server.end(), 0);
});

test('files of another user are named in one line, and their log alone is stopped', async () => {
  if (!skipUnless(canBeNobody, 'files that may not be read: needs root, and node and dist/ where others may run them')) return;
  const hide = (path: string) => (dataDir: string): void => chmodSync(join(dataDir, path), 0);
  await each(['node.json', 'raft-state.a', 'logs'], async (path) => {
    const { refused, verify } = await after(hide(path), true);
    assert.match(refused, new RegExp(`cannot start: (open|list) DIR/${path}: EACCES \\(the user that runs sidelog has no right to it`));
    assert.is(verify[0], 1);
    assert.match(verify[1], /EACCES/);
  });
  await each([`logs/${uid}/log.json`, `logs/${uid}/00000001/00000000000000000001.seg`], async (path) => {
    const seen = await after(hide(path), true);
    assert.equal(seen.default, OK);
    for (const answer of seen.b) assert.match(answer, /LOG_STOPPED/);
    assert.match(seen.verify[1], /DAMAGE .*EACCES \(the user/);
  });
});

test('a damaged head is written anew when the loss is accepted, and is not reported again', async () => {
  const dataDir = join(temporaryFolder(), 'data');
  cpSync(original, dataDir, { recursive: true });
  const path = join(dataDir, 'logs', uid, '00000001', '00000000000000000001.seg');
  const whole = readFileSync(path);
  const bytes = Buffer.from(whole);
  for (const position of [20, 2000]) bytes[position]! ^= 0x10;
  writeFileSync(path, bytes);
  assert.match((await run(['verify', '--data-dir', dataDir])).stdout, 'the head has a bad checksum (no records');
  const accepted = await run(['verify', '--data-dir', dataDir, '--accept-loss']);
  assert.is(accepted.code, 0);
  assert.match(accepted.stdout, /ACCEPTED .*its damaged head was written anew; no record was lost by it/);
  const [before, now] = [whole, readFileSync(path)].map((file) => Buffer.concat([file.subarray(0, 512), file.subarray(1536)]));
  assert.ok(now!.equals(before!), 'but for its mark it is as it was');
  const again = await run(['verify', '--data-dir', dataDir]);
  assert.is(again.code, 0, again.stdout);
});

test.run();
