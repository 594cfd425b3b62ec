import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { CLOCK_SUSPECT_MS, TrustedClock } from '../../src/replica/clock.ts';
import type { TestClient } from './support.ts';
import { records, sized, TestClock, World } from './support.ts';

const test = suite('replica/clock');

const DAY_MS = 24 * 3_600_000;
const YEAR_2099_MS = 4_070_908_800_000;

async function ready(options = {}): Promise<{ world: World; client: TestClient }> {
  const world = await World.start(options);
  return { world, client: await world.connect() };
}

/** A log of some segments that keeps records for a week, and its first offset. */
async function filled(world: World, client: TestClient): Promise<void> {
  await client.createLog('week', { retainMs: 7 * DAY_MS });
  for (let i = 0; i < 6; i++) {
    await client.produce('week', sized(900_000));
    await world.advance(60_000);
  }
}

const logStart = async (client: TestClient): Promise<number> => (await client.describe('week')).value.logStart;

test('the trusted clock follows small steps at once and a jump only after ten minutes', () => {
  const tasks: (() => void)[] = [];
  const raw = new TestClock();
  const said: number[] = [];
  const clock = new TrustedClock(raw, (task) => void tasks.push(task));
  clock.onSuspect = (movedMs) => void said.push(movedMs);
  const read = (monotonicMs: number, wallMs: number): number => {
    for (const task of tasks.splice(0)) task();
    raw.monotonic += monotonicMs;
    raw.wall += wallMs;
    return clock.nowMs();
  };
  const start = read(0, 0);
  assert.is(read(1000, 31_000), start + 31_000);
  assert.not.ok(clock.suspect);
  assert.is(read(1000, 1000 + DAY_MS), start + 32_000);
  assert.ok(clock.suspect);
  assert.is(read(CLOCK_SUSPECT_MS - 1000, CLOCK_SUSPECT_MS - 1000), start + 31_000 + CLOCK_SUSPECT_MS);
  assert.ok(clock.suspect);
  const believed = read(1000, 1000);
  assert.not.ok(clock.suspect);
  assert.is(believed, raw.wall);
  assert.equal(said, [DAY_MS, 0]);
});

test('the clock is read once per turn', () => {
  const tasks: (() => void)[] = [];
  const raw = new TestClock();
  const clock = new TrustedClock(raw, (task) => void tasks.push(task));
  const first = clock.nowMs();
  raw.wall += 10;
  assert.is(clock.nowMs(), first);
  for (const task of tasks.splice(0)) task();
  assert.is(clock.nowMs(), first + 10);
});

test('a wall clock 30 days ahead trims nothing that is not old, and says so', async () => {
  const { world, client } = await ready();
  await filled(world, client);
  await world.advance(5000, 30 * DAY_MS);
  await world.advance(120_000);
  assert.is(await logStart(client), 0);
  assert.ok(world.events.some(({ event }) => event === 'wall clock jumped'));
});

test('a clock that stays ahead is believed after ten minutes, and then costs a segment a minute at most', async () => {
  const { world, client } = await ready();
  await filled(world, client);
  await world.advance(5000, 30 * DAY_MS);
  await world.advance(CLOCK_SUSPECT_MS + 10_000);
  const first = await logStart(client);
  // One, and one more for the segment that the trim entry itself made roll.
  assert.ok(first <= 2, `${first} segments went at once`);
  await world.advance(60_000);
  const second = await logStart(client);
  assert.ok(second - first <= 1, `${second - first} segments in a minute`);
});

test('a wall clock in 2099 for a second is stamped on no record and trims nothing', async () => {
  const { world, client } = await ready();
  await filled(world, client);
  const before = world.clock.wall;
  world.clock.wall = YEAR_2099_MS;
  world.clock.monotonic += 500;
  const during = await client.produce('week', records('x'));
  assert.ok(during.value.appendTime < before + 5000, 'append_time is not poisoned');
  world.node.tick();
  await world.settle();
  world.clock.wall = before + 1000;
  world.clock.monotonic += 500;
  await world.settle();
  const after = await client.produce('week', records('y'));
  assert.ok(after.value.appendTime <= before + 1000);
  await world.advance(120_000);
  assert.is(await logStart(client), 0);
});

test('a wall clock a year back stamps no record earlier than the one before, and trims nothing', async () => {
  const { world, client } = await ready();
  await filled(world, client);
  const last = (await client.produce('week', records('x'))).value.appendTime;
  world.clock.wall -= 365 * DAY_MS;
  await world.settle();
  const next = (await client.produce('week', records('y'))).value.appendTime;
  assert.ok(next >= last);
  await world.advance(CLOCK_SUSPECT_MS + 60_000);
  const later = (await client.produce('week', records('z'))).value.appendTime;
  assert.ok(later >= next);
  assert.is(await logStart(client), 0);
});

test('a node started while its clock is a year back keeps what it has', async () => {
  const { world, client } = await ready();
  await filled(world, client);
  const last = (await client.produce('week', records('x'))).value.appendTime;
  await world.stop();
  world.clock.wall -= 365 * DAY_MS;
  const next = await World.start({ disk: world.disk, clock: world.clock, createDefault: false });
  const other = await next.connect();
  assert.is((await other.produce('week', records('y'))).value.appendTime, last);
  await next.advance(120_000);
  assert.is(await logStart(other), 0);
});

test.run();
