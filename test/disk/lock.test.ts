// The data-directory lock: real processes started at once on what kill -9 left, and, within one
// process, hundreds of random interleavings of its steps with starters that die in between.
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DirectoryInUseError, lockDirectory, type DirectoryLock } from '../../src/segment/lock.ts';
import { loadMmap } from '../../src/segment/mmap-ffi.ts';
import { Prng, testSeed } from '../support/prng.ts';

const CHILD_VARIABLE = 'SIDELOG_LOCK_TEST_CHILD';
if (process.env[CHILD_VARIABLE] === undefined) parent();
else child(process.env[CHILD_VARIABLE] === 'flock');

/** Waits for a line `lock DIRECTORY` on stdin, tries, and answers `held` or `refused MESSAGE`. */
function child(flock: boolean): void {
  console.log('ready');
  createInterface({ input: process.stdin })
    .on('line', (line) => {
      lockDirectory(line.slice(5), { flock }).then(
        (lock) => {
          lock.describe('node-a', '127.0.0.1:8400');
          console.log('held');
        },
        (error: Error) => console.log(`refused ${error.message}`),
      );
    })
    .on('close', () => process.exit(0));
}

interface Starter {
  process: ChildProcess;
  say(line: string): void;
  nextLine(): Promise<string>;
  kill(): Promise<void>;
}

function start(flock: boolean): Starter {
  const process_ = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, [CHILD_VARIABLE]: flock ? 'flock' : 'socket' },
  });
  const lines: string[] = [];
  const waiting: ((line: string) => void)[] = [];
  const give = (line: string): void => {
    const next = waiting.shift();
    if (next === undefined) lines.push(line);
    else next(line);
  };
  createInterface({ input: process_.stdout }).on('line', give).on('close', () => give('closed'));
  return {
    process: process_,
    say: (line) => void process_.stdin.write(`${line}\n`),
    nextLine: () => new Promise((resolve) => (lines.length > 0 ? resolve(lines.shift() as string) : waiting.push(resolve))),
    kill: () =>
      new Promise((resolve) => {
        process_.on('exit', () => resolve());
        process_.kill('SIGKILL');
      }),
  };
}

function parent(): void {
  const test = suite<{ directory: string }>('data-directory lock');
  test.before.each((context) => {
    context.directory = mkdtempSync(join(tmpdir(), 'sidelog-lock-'));
  });
  test.after.each(({ directory }) => rmSync(directory, { recursive: true, force: true }));
  const kinds = loadMmap() === null ? [false] : [false, true];
  if (kinds.length === 1) console.log(`# skipped: flock, node:ffi is not in Node ${process.versions.node}`);

  test('a second one is refused and told who holds it; after release it may', async ({ directory }) => {
    for (const flock of kinds) {
      const lock = await lockDirectory(directory, { flock });
      assert.is(lock.usesFlock, flock);
      const refusal = await refusedBy(lockDirectory(directory, { flock }));
      assert.match(refusal.message, `process ${process.pid} on `);
      assert.match(refusal.message, directory);
      lock.describe('node-a', '127.0.0.1:8400');
      assert.match((await refusedBy(lockDirectory(directory, { flock }))).message, '("node-a", 127.0.0.1:8400)');
      // Who has no flock is stopped by the socket, and the other way round.
      assert.is((await refusedBy(lockDirectory(directory, { flock: !flock }))).holder?.name, 'node-a');
      assert.equal(readdirSync(directory), ['lock']);
      await lock.release();
      assert.equal(readdirSync(directory), []);
    }
  });

  test('takes over what is not a living socket', async ({ directory }) => {
    writeFileSync(join(directory, 'lock'), '1\n');
    writeFileSync(join(directory, 'lock.old.0'), '');
    writeFileSync(join(directory, 'lock.new.0'), '');
    writeFileSync(join(directory, 'lockfile'), '');
    const lock = await lockDirectory(directory);
    assert.equal(readdirSync(directory), ['lock', 'lockfile']);
    await lock.release();
  });

  test('works where the path is longer than a socket address', async ({ directory }) => {
    if (process.platform !== 'linux') return;
    for (const flock of kinds) {
      const long = join(directory, `${'x'.repeat(120)}${flock}`, 'y'.repeat(120));
      mkdirSync(long, { recursive: true });
      const lock = await lockDirectory(long, { flock });
      assert.equal(readdirSync(long), ['lock']);
      assert.is((await refusedBy(lockDirectory(long, { flock }))).holder?.pid, process.pid);
      await lock.release();
      assert.equal(readdirSync(long), []);
    }
  });

  for (const flock of kinds) {
    const by = flock ? 'flock and socket' : 'socket alone';
    test(`twenty processes at once on what kill -9 left: exactly one runs (${by})`, async ({ directory }) => {
      const starters = Array.from({ length: 20 }, () => start(flock));
      try {
        for (const starter of starters) assert.is(await starter.nextLine(), 'ready');
        for (let round = 0; starters.length > 16; round++) {
          assert.is(existsSync(join(directory, 'lock')), round > 0, 'kill -9 leaves the lock behind');
          for (const starter of starters) starter.say(`lock ${directory}`);
          const answers = await Promise.all(starters.map((starter) => starter.nextLine()));
          const winners = starters.filter((_, i) => answers[i] === 'held');
          assert.is(winners.length, 1, `round ${round}: ${answers.join(' | ')}`);
          assert.ok(answers.every((answer) => answer === 'held' || /^refused data directory .* in use by/.test(answer)), answers.join());
          assert.match((await refusedBy(lockDirectory(directory, { flock }))).message, '("node-a", 127.0.0.1:8400)');
          await (winners[0] as Starter).kill();
          starters.splice(starters.indexOf(winners[0] as Starter), 1);
        }
        await (await lockDirectory(directory, { flock })).release();
        assert.equal(readdirSync(directory), []);
      } finally {
        for (const starter of starters) await starter.kill();
      }
    });
  }

  test('a stopped holder still holds', async ({ directory }) => {
    const holder = start(false);
    try {
      assert.is(await holder.nextLine(), 'ready');
      holder.say(`lock ${directory}`);
      assert.is(await holder.nextLine(), 'held');
      holder.process.kill('SIGSTOP');
      assert.match((await refusedBy(lockDirectory(directory))).message, 'in use by another process');
    } finally {
      await holder.kill();
    }
    await (await lockDirectory(directory)).release();
  });

  test('a starter that was slow to move a dead lock away puts back the living one it got', async ({ directory }) => {
    const { holder, slow } = await slowStarter(directory, 'rename');
    slow.release();
    await refusedBy(slow.attempt);
    assert.equal(readdirSync(directory), ['lock']);
    await refusedBy(lockDirectory(directory, WITHOUT_FLOCK));
    await holder.release();
  });

  test('a newcomer gives way to a living holder whose lock is just moved away, and puts it back', async ({ directory }) => {
    const { holder, slow } = await slowStarter(directory, 'rename');
    const moved = slow.then('put back');
    await moved;
    assert.is(existsSync(join(directory, 'lock')), false);
    await refusedBy(lockDirectory(directory, WITHOUT_FLOCK));
    assert.ok(existsSync(join(directory, 'lock')));
    slow.release();
    await refusedBy(slow.attempt);
    await refusedBy(lockDirectory(directory, WITHOUT_FLOCK));
    await holder.release();
  });

  test('a holder that is moved away while it settles gets its place back', async ({ directory }) => {
    writeFileSync(join(directory, 'lock'), '');
    const slow = gated(directory, 'rename');
    await slow.reached;
    const holder = gated(directory, 'look');
    await holder.reached;
    await slow.then('put back');
    const newcomer = gated(directory, 'list');
    await newcomer.reached; // it has linked itself to `lock`
    holder.release(); // sees another's lock, and itself moved away: waits
    newcomer.release();
    assert.is((await refusedBy(newcomer.attempt)).holder?.pid, process.pid);
    const held = await holder.attempt;
    slow.release();
    await refusedBy(slow.attempt);
    assert.equal(readdirSync(directory), ['lock']);
    await held.release();
  });

  test('a starter whose lock was deleted and taken by another meanwhile is refused', async ({ directory }) => {
    const first = gated(directory, 'look');
    await first.reached;
    rmSync(join(directory, 'lock'));
    const second = await lockDirectory(directory, WITHOUT_FLOCK);
    first.release();
    await refusedBy(first.attempt);
    assert.equal(readdirSync(directory), ['lock']);
    await second.release();
  });

  const seed = testSeed('lock');
  test('any order of steps of several starters, some dying, leaves one holder at most, and one in the end', async ({ directory }) => {
    const prng = new Prng(seed);
    for (let round = 0; round < 60; ) {
      // The rounds are mostly waiting: many at a time.
      const rounds: Promise<void>[] = [];
      for (; rounds.length < 30; round++) {
        const place = join(directory, `${round}`);
        mkdirSync(place);
        rounds.push(scramble(place, prng.fork(), round));
      }
      await Promise.all(rounds);
    }
  });

  test.run();
}

const WITHOUT_FLOCK = { flock: false, settleMs: 0 };

/** A starter that stands still before a step until it is released, or sent on to a later one. */
function gated(directory: string, firstStep: string) {
  let gate = firstStep;
  let atGate = deferred();
  let open = deferred();
  const beforeStep = async (step: string): Promise<void> => {
    if (step !== gate) return;
    atGate.resolve();
    await open.promise;
  };
  const attempt = lockDirectory(directory, { ...WITHOUT_FLOCK, beforeStep });
  attempt.catch(() => {});
  const release = (next: string): void => {
    gate = next;
    const opened = open;
    atGate = deferred();
    open = deferred();
    opened.resolve();
  };
  return {
    attempt,
    reached: atGate.promise,
    release: () => release(''),
    then: (next: string): Promise<void> => {
      release(next);
      return atGate.promise;
    },
  };
}

/** A holder, and a starter that asked the dead lock before it and stands before `step`. */
async function slowStarter(directory: string, step: string) {
  writeFileSync(join(directory, 'lock'), '');
  const slow = gated(directory, step);
  await slow.reached;
  return { holder: await lockDirectory(directory, WITHOUT_FLOCK), slow };
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => (resolve = settle));
  return { promise, resolve };
}

/** Thrown out of a step: the starter is gone, as after kill -9. */
class Died extends Error {}

async function scramble(directory: string, prng: Prng, round: number): Promise<void> {
  if (prng.chance(0.7)) writeFileSync(join(directory, 'lock'), 'dead');
  let holders = 0;
  let holdersMax = 0;
  const trace: string[] = [];
  const starter = async (name: number): Promise<DirectoryLock | null> => {
    const deathAt = prng.chance(0.15) ? prng.next(8) : -1;
    const slowMs = prng.pick([1, 2, 20]);
    let steps = 0;
    await sleep(prng.next(10));
    try {
      const lock = await lockDirectory(directory, {
        flock: false,
        settleMs: 0,
        beforeStep: async (step) => {
          trace.push(`${name}:${step}`);
          if (steps++ === deathAt) throw new Died();
          await sleep(prng.next(slowMs));
        },
      });
      holders++;
      holdersMax = Math.max(holdersMax, holders);
      trace.push(`${name}:HOLDS`);
      return lock;
    } catch (error) {
      if (!(error instanceof Died) && !(error instanceof DirectoryInUseError)) throw error;
      trace.push(`${name}:${error instanceof Died ? 'DIED' : 'refused'}`);
      return null;
    }
  };
  const locks = await Promise.all(Array.from({ length: prng.between(2, 6) }, (_, name) => starter(name)));
  assert.ok(holdersMax <= 1, `round ${round}: ${holdersMax} holders: ${trace.join(' ')}`);
  const held = locks.filter((lock) => lock !== null);
  const last = held[0] ?? (await lockDirectory(directory, { flock: false, settleMs: 0 }));
  if (held.length === 0) assert.ok(trace.some((line) => line.endsWith('DIED')), `round ${round}: nobody holds: ${trace.join(' ')}`);
  await refusedBy(lockDirectory(directory, { flock: false }));
  await last.release();
}

async function refusedBy(attempt: Promise<DirectoryLock>): Promise<DirectoryInUseError> {
  try {
    await (await attempt).release();
  } catch (error) {
    assert.instance(error, DirectoryInUseError, (error as Error).stack);
    return error as DirectoryInUseError;
  }
  throw new Error('the lock was given out a second time');
}
