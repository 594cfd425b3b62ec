// Every single disk call of a small life fails once, with each kind of error; then the power goes, or the
// process dies, and the log must hold what it acknowledged and nothing that it refused.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError } from '../../src/index/disk.ts';
import { LogState } from '../../src/segment/log-options.ts';
import type { SegmentedLog } from '../../src/segment/log.ts';
import { Prng, testSeed } from '../support/prng.ts';
import { type CrashOptions, type DiskOperation, SimDisk } from '../support/sim-disk.ts';
import { batchOf, createLog, EventLog, Model, openLog, readAll } from './support.ts';

const test = suite('segment/faults');
const OPTIONS = { segmentBytes: 8_000, cacheBytes: 4_000 };

/** What one life left behind. */
interface Story {
  disk: SimDisk;
  log: SegmentedLog | null;
  events: EventLog;
  model: Model;
  acked: number;
  /** Makes every batch one of its own. */
  serial: number;
  /** Entries whose loss was announced (full disk, after the cut was synced): they must not come back. */
  refused: Buffer[];
  errors: DiskError[];
}

/** Appends, rolls, truncates over a border, trims, reads; goes on after a full disk, stops when the log failed. */
async function live(story: Story): Promise<void> {
  const { disk, model, events } = story;
  try {
    story.log = await createLog(disk, OPTIONS);
  } catch (error) {
    return noteError(story, error);
  }
  const { log } = story;
  log.events = events;
  let lost: Buffer[] = [];
  events.onDurable = (index, generation) => {
    if (generation === log.generation) story.acked = Math.max(story.acked, index);
  };
  const failed = events.failed.bind(events);
  events.failed = (error) => {
    failed(error);
    story.errors.push(error);
    if (log.state !== LogState.FULL) return;
    assert.is(log.lastIndex, log.durableIndex);
    lost = model.entries.slice(log.lastIndex - model.firstIndex + 1);
    model.truncate(log.lastIndex + 1);
    story.acked = Math.min(story.acked, log.lastIndex);
  };
  const resumed = events.resumed.bind(events);
  events.resumed = () => {
    resumed();
    story.refused.push(...lost);
  };

  await append(story, 8);
  await append(story, 12);
  await truncate(story, Math.max(2, log.lastIndex - 2));
  await append(story, 6);
  await truncate(story, Math.max(2, log.lastIndex - 15));
  await append(story, 14);
  await attempt(story, () => log.trimPrefix(log.nextOffset, Math.max(1, log.durableIndex - 8)));
  await append(story, 4);
  await read(story);
  await attempt(story, () => log.close());
}

async function append(story: Story, count: number): Promise<void> {
  const { log, model } = story;
  for (let i = 0; i < count; i++) {
    if (!log!.acceptsAppends) return;
    model.append(log!, batchOf(`${story.serial++} `, 1 + (i % 3), (i * 97) % 700), model.term, model.lastTime + 1);
    if (i % 6 === 5) await log!.whenIdle();
  }
  await log!.whenIdle();
}

async function truncate(story: Story, from: number): Promise<void> {
  const { log, model } = story;
  if (!log!.acceptsAppends || from > log!.lastIndex) return;
  const work = attempt(story, () => log!.truncateSuffix(from));
  while (log!.state === LogState.OPEN && !log!.acceptsAppends) await Promise.resolve();
  if (log!.lastIndex === from - 1) {
    model.truncate(from);
    model.term++;
    story.acked = Math.min(story.acked, from - 1);
  }
  await work;
}

async function read(story: Story): Promise<void> {
  await attempt(story, async () => {
    const { log, model } = story;
    for (const [i, entry] of (await readAll(log!, log!.firstIndex, 2000, log!.durableIndex)).entries()) {
      assert.ok(entry.equals(model.at(log!.firstIndex + i)));
    }
  });
}

async function attempt(story: Story, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    noteError(story, error);
  }
}

function noteError(story: Story, error: unknown): void {
  if (!(error instanceof DiskError)) throw error;
  story.errors.push(error);
}

function newStory(disk: SimDisk): Story {
  return { disk, log: null, events: new EventLog(), model: new Model(), acked: 0, serial: 0, refused: [], errors: [] };
}

/** The log after the crash holds all that was acked, as it was, and nothing that was refused. */
async function expectSafe(story: Story, crash: CrashOptions, what: string): Promise<void> {
  const disk = story.disk.after(crash);
  disk.clearFaults();
  if (story.log === null && !(await disk.exists('log/00000000000000000001.seg'))) return;
  const log = await openLog(disk, OPTIONS);
  assert.equal(log.damage, [], what);
  assert.ok(log.lastIndex >= story.acked, `${what}: acked ${story.acked}, found ${log.lastIndex}`);
  const entries = await readAll(log);
  for (const [i, entry] of entries.entries()) {
    const index = log.firstIndex + i;
    if (index <= story.acked && index >= story.model.firstIndex) assert.ok(entry.equals(story.model.at(index)), `${what}: entry ${index}`);
    assert.not.ok(story.refused.some((other) => other.equals(entry)), `${what}: refused entry ${index} came back`);
  }
  await log.close();
}

const CRASHES: CrashOptions[] = [{ keep: 'none' }, { keep: 'all' }, { keep: 'random' }, { mode: 'process', keep: 'all' }];

/** The harshest crash and one of the others, in turn: all of them at every call would take too long. */
function crashesFor(number: number): CrashOptions[] {
  return [{ keep: 'random' }, CRASHES[number % CRASHES.length]!];
}

async function countOperations(): Promise<DiskOperation[]> {
  const operations: DiskOperation[] = [];
  const story = newStory(new SimDisk());
  story.disk.onOperation = (operation) => operations.push({ ...operation });
  await live(story);
  assert.equal(story.errors, []);
  assert.ok(story.log!.rolledCount > 3);
  for (const call of ['write', 'writeNow', 'sync', 'rename', 'unlink', 'syncDirectory', 'truncate', 'read', 'open'] as const) {
    assert.ok(operations.some((operation) => operation.call === call), `the life has a ${call}`);
  }
  return operations;
}

/** Calls whose failure nobody has to hear of: their effect is disposable, or tried again. */
function mayBeSilent(operation: DiskOperation): boolean {
  return operation.path.endsWith('.idx') || operation.path.endsWith('.tmp') || operation.call === 'close' || operation.call === 'exists';
}

for (const code of ['EIO', 'ENOSPC']) {
  test(`each disk call in turn fails with ${code}: nothing acked is lost, nothing refused comes back`, async () => {
    const operations = await countOperations();
    let failedForGood = 0;
    let wentOn = 0;
    for (const { number, call, path } of operations) {
      const what = `${call} ${path} (operation ${number}) fails with ${code}`;
      const story = newStory(new SimDisk({ prng: new Prng(number) }));
      story.disk.failAt(number, code);
      try {
        await live(story);
        if (!mayBeSilent(operations[number - 1]!)) assert.ok(story.errors.length > 0, `${what}: nobody was told`);
        const { log, events } = story;
        if (log !== null && events.failures.length > 0) {
          if (log.state === LogState.FAILED) failedForGood++;
          else {
            wentOn++;
            assert.is(code, 'ENOSPC', what);
            assert.is(events.resumedCount, 1, what);
            assert.ok(call !== 'sync', what);
          }
        }
        if (call === 'sync' && !path.endsWith('.idx') && log !== null && operations[number - 1]!.number > 8) {
          assert.is(log.state, LogState.FAILED, `${what}: a failed sync is final`);
        }
        for (const crash of crashesFor(number)) await expectSafe(story, crash, `${what}, ${JSON.stringify(crash)}`);
      } catch (error) {
        (error as Error).message = `${what}: ${(error as Error).message}`;
        throw error;
      }
    }
    assert.ok(failedForGood > 20);
    if (code === 'ENOSPC') assert.ok(wentOn > 20);
  });
}

test('after a failed sync nothing is written any more, and every later truncation is refused', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, OPTIONS);
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`e${i}`));
  await log.whenIdle();
  disk.failNext('sync', 'EIO', /\.seg$/);
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`f${i}`));
  await log.whenIdle();
  assert.is(log.state, LogState.FAILED);
  assert.is(log.failure?.code, 'EIO');
  assert.equal(events.failures, ['EIO']);
  assert.is(log.durableIndex, 3);
  assert.throws(() => log.append(batchOf('x'), 0, 10, 1, 0), (error: Error) => /takes no appends/.test(error.message));
  const before = disk.operationCount;
  log.flush();
  log.tick(1e6);
  await log.whenIdle();
  assert.is(disk.operationCount, before);
  await log.close();
  assert.is((await openLog(disk.crash({ keep: 'none' }))).lastIndex, 3);
});

test('a full disk: the log is cut back to what is durable, says when that is synced, and goes on', async () => {
  const disk = new SimDisk({ totalBytes: 450_000 });
  const log = await createLog(disk, { segmentBytes: 50_000, cacheBytes: 10_000 });
  const events = new EventLog();
  log.events = events;
  const model = new Model();
  let acked = 0;
  while (events.failures.length === 0) {
    for (let i = 0; i < 4 && log.acceptsAppends; i++) model.append(log, batchOf(`entry ${model.lastIndex}`, 1, 900));
    acked = log.durableIndex;
    await log.whenIdle();
  }
  assert.equal(events.failures, ['ENOSPC']);
  assert.is(events.resumedCount, 1);
  assert.is(log.state, LogState.OPEN);
  assert.is(log.lastIndex, log.durableIndex);
  assert.ok(log.durableIndex >= acked);
  assert.is(log.unwrittenBytes, 0);
  const generation = log.generation;
  assert.ok(generation > 0);
  model.truncate(log.lastIndex + 1);
  assert.is((await openLog(disk.after({ keep: 'all' }))).lastIndex, log.lastIndex, 'the refused group is gone');
  await log.trimPrefix(log.nextOffset, log.durableIndex);
  for (let i = 0; i < 4; i++) model.append(log, batchOf(`later ${i}`, 1, 900), model.term, model.lastTime);
  await log.whenIdle();
  assert.is(events.failures.length, 1);
  assert.is(log.durableIndex, log.lastIndex);
  const entries = await readAll(log);
  for (const [i, entry] of entries.entries()) assert.ok(entry.equals(model.at(log.firstIndex + i)));
});

test('a name that may or may not be on disk is final, whatever the code: what it holds was not refused', async () => {
  for (const call of ['rename', 'syncDirectory'] as const) {
    const disk = new SimDisk();
    const log = await createLog(disk, OPTIONS);
    const events = new EventLog();
    log.events = events;
    const model = new Model();
    disk.failNext(call, 'ENOSPC');
    for (let i = 0; i < 12; i++) model.append(log, batchOf(`e${i}`, 1, 600));
    await log.whenIdle();
    assert.equal(events.failures, ['EIO'], 'more room would not help');
    assert.is(log.state, LogState.FAILED, call);
    assert.is(events.resumedCount, 0);
  }
});

test('a segment whose name was not synced when the process died is there after the power went', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk, OPTIONS);
  const model = new Model();
  for (let i = 0; i < 6; i++) model.append(log, batchOf(`e${i}`, 1, 600));
  let syncs = 0;
  let number = 0;
  disk.onOperation = (operation) => void (operation.call === 'rename' && (number = operation.number + 1));
  disk.fail((operation) => (operation.call === 'syncDirectory' && syncs++ === 0 ? 'EIO' : null));
  await log.whenIdle();
  assert.ok(number > 0);
  const dead = disk.crash({ mode: 'process', keep: 'all' });
  dead.clearFaults();
  const again = await openLog(dead, OPTIONS);
  assert.is(again.lastIndex, 6);
  model.append(again, batchOf('acked'), 2, 0);
  await again.whenIdle();
  assert.is(again.durableIndex, 7);
  const last = await openLog(dead.crash({ keep: 'none' }), OPTIONS);
  assert.is(last.lastIndex, 7);
});

test('a newest segment whose first batch is damaged opens with what came behind its mark, however much later', async () => {
  for (const [early, late] of [[1, 5], [1000, 40 * 86_400_000], [30 * 86_400_000, 31 * 86_400_000]] as const) {
    const disk = new SimDisk();
    const log = await createLog(disk, { maxSegmentAgeMs: 1e12 });
    const model = new Model();
    const begin = 1_790_000_000_000;
    for (const ms of [0, early, early, late]) {
      model.append(log, batchOf(`after ${ms}`), 1, begin + ms);
      await log.whenIdle();
    }
    // The mark of the last group is not synced.
    const dead = disk.crash({ keep: 'none' });
    dead.corrupt('log/00000000000000000001.seg', 4096 + 20);
    const again = await openLog(dead, { maxSegmentAgeMs: 1e12 });
    assert.is(again.lastIndex, 4);
    assert.is(again.damage.length, 1);
    model.append(again, batchOf('next'), 1, begin + late + 1);
    await again.whenIdle();
    assert.is(again.durableIndex, 5);
    await again.close();
  }
});

test('a segment in memory whose sync had failed is on disk before the next one is', async () => {
  const options = { ...OPTIONS, durability: { mode: 'memory' as const } };
  const disk = new SimDisk();
  const log = await createLog(disk, options);
  const model = new Model();
  for (let i = 0; i < 4; i++) model.append(log, batchOf(`early ${i}`, 1, 600));
  await log.whenIdle();
  disk.failNext('sync', 'EIO');
  await log.sync().catch(() => {});
  const dead = disk.crash({ mode: 'process', keep: 'all' });
  dead.clearFaults();
  const again = await openLog(dead, options);
  assert.is(again.lastIndex, 4);
  while (again.rolledCount === 0) {
    model.append(again, batchOf('late', 1, 600));
    await again.whenIdle();
  }
  const last = await openLog(dead.crash({ keep: 'none' }), options);
  assert.equal((await readAll(last)).slice(0, 4), model.entries.slice(0, 4));
});

test('what recovery cut off never comes back behind what is appended in its place', async () => {
  const disk = new SimDisk();
  const log = await createLog(disk);
  const model = new Model();
  for (let i = 0; i < 3; i++) model.append(log, batchOf(`unsynced ${i}`));
  disk.failNext('sync', 'EIO');
  await log.whenIdle();
  const dead = disk.crash({ mode: 'process', keep: 'all' });
  dead.clearFaults();
  // The second of the three is torn, the third is whole.
  dead.corrupt('log/00000000000000000001.seg', 4096 + model.at(1).length + 80);
  // In this durability nothing is zeroed behind what is written.
  const again = await openLog(dead, { durability: { mode: 'memory' } });
  assert.is(again.lastIndex, 1);
  model.truncate(2);
  model.append(again, batchOf('instead  0'));
  assert.is(model.at(2).length, model.at(1).length);
  await again.whenIdle();
  assert.is((await openLog(dead.crash({ mode: 'process', keep: 'all' }))).lastIndex, 2);
});

test('random failures and crashes together: acked entries survive, and every failure is heard', async () => {
  const seed = testSeed('segment/faults');
  for (let n = 0; n < 40; n++) {
    const prng = new Prng(seed + n);
    const story = newStory(new SimDisk({ prng: prng.fork() }));
    story.disk.rates = { write: prng.pick([0, 0.01]), sync: prng.pick([0, 0.01]), rename: 0.02, syncDirectory: 0.02, unlink: 0.01, read: 0.01, open: 0.01 };
    try {
      await live(story);
      for (const crash of CRASHES) await expectSafe(story, crash, JSON.stringify(crash));
    } catch (error) {
      (error as Error).message = `SEED=${seed + n}: ${(error as Error).message}`;
      throw error;
    }
  }
});

test('a power cut at any disk call: the log opens without help', async () => {
  const operations = await countOperations();
  for (const { number, call, path } of operations) {
    const story = newStory(new SimDisk({ prng: new Prng(number) }));
    const halted = story.disk.haltAt(number);
    void live(story).catch(() => {});
    await halted;
    for (const crash of crashesFor(number)) {
      try {
        await expectSafe(story, crash, JSON.stringify(crash));
      } catch (error) {
        (error as Error).message = `cut at ${call} ${path} (operation ${number}): ${(error as Error).message}`;
        throw error;
      }
    }
  }
});

test.run();
