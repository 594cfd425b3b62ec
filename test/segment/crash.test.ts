// Random life of a log on a disk that loses power, is killed and fails, against a model that knows what
// was acknowledged. Replay one run with SEED=n.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type LogOptions, LogState } from '../../src/segment/log-options.ts';
import type { SegmentedLog } from '../../src/segment/log.ts';
import { Prng, testSeed } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { createLog, EventLog, expectHolds, Model, openLog, randomBatch, readAll } from './support.ts';

const test = suite('segment/crash');

/** Turns that the simulated disk's microtasks need now and then. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** One log through many crashes. */
class Life {
  readonly prng: Prng;
  disk: SimDisk;
  log!: SegmentedLog;
  events!: EventLog;
  model = new Model();
  /** Entries up to here were reported durable in the generation that still counts. */
  acked = 0;
  /** Of the disk the log was last opened on. */
  readonly options: Partial<LogOptions>;
  tag = 0;

  /** Entries up to here are known to be synced: in `fsync` all that were acked. */
  synced = 0;
  readonly fsync: boolean;
  nowMs = 0;

  constructor(seed: number, slow: boolean, fsync: boolean) {
    this.fsync = fsync;
    const durability = fsync ? ({ mode: 'fsync' } as const) : ({ mode: 'interval', ms: 20 } as const);
    this.options = { segmentBytes: 20_000, cacheBytes: 60_000, durability };
    this.prng = new Prng(seed);
    const ends = this.prng.fork();
    // With a slow disk calls end in later turns, so that crashes and truncations meet them half-way.
    const schedule = slow ? (end: () => void): void => later(ends.next(4), end) : undefined;
    this.disk = new SimDisk({ prng: this.prng.fork(), ...(schedule ? { schedule } : {}) });
  }

  async begin(): Promise<void> {
    this.log = await createLog(this.disk, this.options);
    this.watch();
  }

  watch(): void {
    const { log } = this;
    this.events = new EventLog();
    this.events.onDurable = (index, generation) => {
      if (generation !== log.generation) return;
      assert.ok(index <= log.lastIndex);
      assert.ok(index <= log.durableIndex);
      this.acked = Math.max(this.acked, index);
      if (this.fsync) this.synced = this.acked;
    };
    log.events = this.events;
  }

  async step(): Promise<void> {
    const { prng, log } = this;
    const kind = prng.next(100);
    if (kind < 70) this.append(prng.between(1, 6));
    else if (kind < 80) log.flush();
    else if (kind < 86) await turn();
    else if (kind < 88) await this.sync();
    else if (kind < 92) {
      await log.whenIdle();
      assert.is(log.unwrittenBytes, 0);
    }
    else if (kind < 95) await this.truncate();
    else if (kind < 96) await this.checkReads();
    else if (kind < 97) await this.trim();
    else if (kind < 98 && prng.chance(0.5)) log.commitIndex = prng.between(log.commitIndex, Math.max(log.commitIndex, log.durableIndex));
    else if (kind < 99) await this.reopen(() => this.disk.crash({ mode: 'process', keep: prng.pick(['all', 'random', 'none']) }), true);
    else await this.reopen(() => this.disk.crash({ keep: prng.pick(['none', 'all', 'random', 'random', 'random']) }), false);
    assert.is(this.model.lastIndex, this.log.lastIndex);
  }

  async sync(): Promise<void> {
    const { log } = this;
    log.tick((this.nowMs += 25));
    if (this.prng.chance(0.5)) return;
    const { durableIndex } = log;
    await log.sync();
    this.synced = Math.max(this.synced, durableIndex);
  }

  append(count: number): void {
    const { prng, log, model } = this;
    for (let i = 0; i < count; i++) {
      const term = model.term + (prng.chance(0.05) ? 1 : 0);
      model.append(log, randomBatch(prng, `t${this.tag++}`), term, model.lastTime + prng.next(5));
    }
  }

  async truncate(): Promise<void> {
    const { prng, log, model } = this;
    const low = Math.max(log.firstIndex, log.commitIndex + 1);
    if (log.lastIndex < low) return;
    const from = prng.between(Math.max(low, log.lastIndex - prng.pick([3, 20, 200])), log.lastIndex);
    const done = log.truncateSuffix(from);
    let failure: unknown = null;
    this.remember();
    const { serial } = this;
    done.then(() => this.removed(from, serial)).catch((error) => (failure = error));
    // Far into sealed segments the place is read from disk first.
    while (!log.acceptsAppends) await turn();
    if (failure !== null) throw failure;
    assert.is(log.lastIndex, from - 1);
    model.truncate(from);
    this.matchEnd();
    model.term++;
    this.acked = Math.min(this.acked, from - 1);
    this.synced = Math.min(this.synced, from - 1);
    if (prng.chance(0.3)) await done;
  }

  async trim(): Promise<void> {
    const { prng, log } = this;
    if (log.durableIndex <= log.firstIndex) return;
    const keep = prng.between(log.firstIndex, log.durableIndex);
    const removed = log.trimPrefix(prng.between(log.firstOffset, log.nextOffset), keep);
    assert.ok(log.firstIndex <= keep);
    if (prng.chance(0.5)) await removed;
    else removed.catch(() => {});
    this.forgetTrimmed();
  }

  forgetTrimmed(): void {
    const { log, model } = this;
    if (log.firstIndex <= model.firstIndex) return;
    model.entries.splice(0, log.firstIndex - model.firstIndex);
    model.firstIndex = log.firstIndex;
    model.firstOffset = log.firstOffset;
    if (model.entries.length === 0) assert.unreachable('the newest segment stays');
  }

  async checkReads(): Promise<void> {
    const { prng, log, model } = this;
    if (log.lastIndex < log.firstIndex) return;
    const from = prng.between(log.firstIndex, log.lastIndex);
    const entries = await readAll(log, from, prng.pick([1, 500, 5000, 100_000]), Math.max(from, log.durableIndex));
    for (const [i, entry] of entries.entries()) assert.ok(entry.equals(model.at(from + i)), `entry ${from + i}`);
  }

  async reopen(crash: () => SimDisk, exact: boolean): Promise<void> {
    this.remember();
    const before = this.model;
    // What is only in the page cache survives a process, not the power.
    if (!exact) this.acked = this.synced;
    const { acked } = this;
    const firstIndex = this.log.firstIndex;
    this.disk = crash();
    const log = await openLog(this.disk, this.options);
    this.log = log;
    assert.equal(log.damage, [], 'no damage after a mere crash');
    assert.is(log.state, LogState.OPEN);
    assert.ok(log.lastIndex >= acked, `acked ${acked}, found ${log.lastIndex}`);
    assert.is(log.durableIndex, log.lastIndex);
    // A truncation that had not ended may leave the entries it was to remove: those are in `older`.
    await this.comparePrefix(log, before, firstIndex);
    this.acked = this.synced = log.lastIndex;
    this.watch();
  }

  /** Everything found is what was appended, at its place; the model goes on with what was found. */
  async comparePrefix(log: SegmentedLog, before: Model, firstIndex: number): Promise<void> {
    assert.ok(log.firstIndex <= Math.max(firstIndex, before.firstIndex));
    const entries = await readAll(log, log.firstIndex, 8192);
    const model = new Model();
    model.firstIndex = log.firstIndex;
    model.firstOffset = log.firstOffset;
    model.entries.push(...entries.map((entry) => Buffer.from(entry)));
    for (const [i, entry] of entries.entries()) {
      const index = log.firstIndex + i;
      const known = this.history.get(index);
      const wanted = index <= this.acked && index >= before.firstIndex ? [before.at(index)] : (known ?? []).map((version) => version.entry);
      assert.ok(wanted.some((other) => other.equals(entry)), `entry ${index} was never appended`);
    }
    model.truncate(log.lastIndex + 1);
    this.model = model;
    this.matchEnd();
  }

  /** The log's end is that of its last entry; an emptied log keeps the state before its first. */
  matchEnd(): void {
    const { log, model } = this;
    if (model.entries.length > 0) {
      assert.is(log.lastTerm, model.term);
      assert.is(log.lastAppendTime, model.lastTime);
    }
    assert.is(log.nextOffset, model.nextOffset);
    model.term = Math.max(1, log.lastTerm);
    model.lastTime = log.lastAppendTime;
  }

  /** Every version of every index that may still be on disk, with when it was first seen. */
  readonly history = new Map<number, Array<{ entry: Buffer; serial: number }>>();
  serial = 0;

  remember(): void {
    this.serial++;
    for (let i = this.model.entries.length - 1; i >= 0; i--) {
      const index = this.model.firstIndex + i;
      const versions = this.history.get(index) ?? [];
      const entry = this.model.entries[i]!;
      if (versions.some((other) => other.entry.equals(entry))) return;
      versions.push({ entry, serial: this.serial });
      this.history.set(index, versions);
    }
  }

  /** A truncation has ended: what it removed must never be seen again. */
  removed(from: number, serial: number): void {
    for (const [index, versions] of this.history) {
      if (index >= from) this.history.set(index, versions.filter((version) => version.serial > serial));
    }
  }
}

function later(turns: number, end: () => void): void {
  if (turns === 0) queueMicrotask(end);
  else setImmediate(() => later(turns - 1, end));
}

const seed = testSeed('segment/crash');
const lives = process.env.LIVES === undefined ? 20 : Number(process.env.LIVES);

for (const [slow, fsync] of [[false, true], [true, true], [true, false]] as const) {
  const kind = `${slow ? 'slow' : 'quick'} disk, ${fsync ? 'fsync' : 'interval'}`;
  test(`no acknowledged entry is lost, reordered or doubled by any crash (${kind})`, async () => {
    for (let n = 0; n < lives; n++) {
      const life = new Life(seed + n, slow, fsync);
      try {
        await life.begin();
        for (let i = 0; i < 120; i++) {
          await life.step();
          life.remember();
        }
        await life.log.whenIdle();
        await expectHolds(life.log, life.model);
      } catch (error) {
        (error as Error).message = `SEED=${seed + n} LIVES=1 (${kind}): ${(error as Error).message}`;
        throw error;
      }
    }
  });
}

test.run();
