// Broken off, by a signal or by a reader that has gone away, the suite leaves nothing behind: no
// server, no hook, no folder. Takes a build, and /proc to see the processes.
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { freePort } from './fake.ts';

const test = suite('conformance/ending');
const PROGRAM = resolve('dist/conformance.mjs');
const hasProc = existsSync('/proc/self/environ');
const root = mkdtempSync(join(tmpdir(), 'sidelog-ending-'));
/** Generous: everything may run at the same time. */
const PATIENCE_MS = 60_000;
const GOING_MS = 3_000;

test.before(() => {
  if (!hasProc) console.log('# skipped: there is no /proc here to see processes with');
});
test.after(() => rmSync(root, { recursive: true, force: true }));

/** The processes that have `folder` as their place for temporary files, so all that one program began. */
function processesOf(folder: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0').includes(`TMPDIR=${folder}`)) continue;
      const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim();
      if (command !== '') found.push(`${pid} ${command}`);
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const end = Date.now() + PATIENCE_MS; !holds(); await new Promise((done) => setTimeout(done, 20))) {
    if (Date.now() > end) throw new Error(`never came: ${what}`);
  }
}

type Way = 'SIGINT' | 'SIGTERM' | 'closed stdout';

/** Starts it, breaks it off once `isUnderWay`, and gives back how it ended and what is left. */
async function brokenOff(name: string, argv: readonly string[], cwd: string, way: Way, isUnderWay: (processes: string[]) => boolean) {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  const child: ChildProcess = spawn(process.execPath, argv, { cwd, env: { ...process.env, TMPDIR: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (output += chunk));
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  try {
    await until(`${name} under way; it said ${output}`, () => child.exitCode !== null || isUnderWay(processesOf(folder)));
    assert.is(child.exitCode, null, `${name} ended by itself: ${output}`);
    if (way === 'closed stdout') child.stdout!.destroy();
    else child.kill(way);
    const code = await ended;
    // esbuild's own helper sees that we have gone, and goes.
    for (const end = Date.now() + GOING_MS; processesOf(folder).length > 0 && Date.now() < end; ) await new Promise((done) => setTimeout(done, 20));
    return { code, left: processesOf(folder), files: readdirSync(folder), output };
  } finally {
    child.kill('SIGKILL');
    for (const left of processesOf(folder)) process.kill(Number.parseInt(left, 10), 'SIGKILL');
  }
}

const servers = (processes: string[]): number => processes.filter((command) => / serve |second\/server\.py/.test(command)).length;

async function selftest(way: Way): Promise<void> {
  const ended = await brokenOff(`selftest-${way[3]}`, [PROGRAM, 'selftest', '--only', 'tlv:field'], process.cwd(), way, (processes) => servers(processes) >= 2);
  assert.equal([ended.code, ended.left, ended.files], [3, [], []], `${way}: ${ended.output}`);
}

async function run(way: Way): Promise<void> {
  const cwd = mkdtempSync(join(root, 'run-'));
  const port = String(await freePort());
  assert.is(spawnSync(process.execPath, [PROGRAM, 'init'], { cwd }).status, 0);
  const edit = (file: string, change: (text: string) => string): void => writeFileSync(join(cwd, file), change(readFileSync(join(cwd, file), 'utf8')));
  edit('target.sh', (text) => text.replace(/exec my-server .*/, `exec "${process.execPath}" "${PROGRAM}" mock --port "$PORT"`).replace('PORT=8400', `PORT=${port}`));
  edit('target.json', (text) => text.replace('8400', port));
  assert.is(spawnSync('./target.sh', ['start'], { cwd }).status, 0);
  // The one that was there before has no such TMPDIR: what is seen here, a hook of the run started.
  const isStarted = (processes: string[]): boolean => processes.some((command) => command.includes(`mock --port ${port}`));
  try {
    const ended = await brokenOff(`run-${way[3]}`, [PROGRAM, 'run', '--target', 'target.json', '--case', 'durability/acked-*', '--rerun', '0'], cwd, way, isStarted);
    assert.equal([ended.code, ended.left], [3, []], `${way}: ${ended.output}`);
  } finally {
    assert.is.not(spawnSync('./target.sh', ['kill'], { cwd }).status, 0, 'nobody is there any more');
  }
}

async function verdicts(): Promise<void> {
  assert.is(spawnSync(process.execPath, ['conformance/build.mjs', '--target']).status, 0);
  const runs = (processes: string[]): number => processes.filter((command) => command.includes('conformance.mjs run')).length;
  const ended = await brokenOff('verdicts', ['conformance/verdicts.mjs'], process.cwd(), 'SIGTERM', (processes) => runs(processes) >= 2 && servers(processes) >= 2);
  assert.equal([ended.code, ended.left, ended.files], [1, [], []], ended.output);
}

test('a selftest, a run with hooks and the verdicts, broken off, leave no server and no folder', async () => {
  if (!hasProc) return;
  await Promise.all([selftest('SIGINT'), selftest('closed stdout'), run('SIGTERM'), run('closed stdout'), verdicts()]);
});

test.run();
