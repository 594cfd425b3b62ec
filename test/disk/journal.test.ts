// The raft-state journal on the simulated disk: what was acknowledged is there after any crash, and
// after any damage a replica is either exactly as it was or lost, never as it was before.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError } from '../../src/index/disk.ts';
import { JOURNAL_PATHS, RaftStateJournal } from '../../src/segment/journal.ts';
import { mergeCopies, replicaKey } from '../../src/segment/journal-merge.ts';
import { JournalVersionError, RECORD_SIZE, type RaftStateRecord } from '../../src/segment/journal-record.ts';
import { crc32 } from '../../src/wire/checksum.ts';
import { InvariantError } from '../../src/wire/assert.ts';
import { Prng, testSeed } from '../support/prng.ts';
import { SimDisk, type CrashOptions } from '../support/sim-disk.ts';
import { testDisks } from '../support/disks.ts';

const [PATH_A, PATH_B] = JOURNAL_PATHS;
/** Small copies, so that rewrites are part of every random run. */
const SMALL = 32;

function uid(log: number): Buffer {
  return Buffer.alloc(16, log);
}

function record(log: number, term: number, vote = 1, state: RaftStateRecord['state'] = 'active'): RaftStateRecord {
  return { logUid: uid(log), replicaId: 100 + log, term, vote, state };
}

function termOf(journal: RaftStateJournal, log: number): number | null {
  return journal.get(uid(log), 100 + log)?.term ?? null;
}

async function put(journal: RaftStateJournal, ...records: RaftStateRecord[]): Promise<void> {
  await Promise.all(records.map((each) => journal.put(each)));
}

function lostLogs(journal: RaftStateJournal): number[] {
  return journal.lost.map((entry) => entry.logUid[0] as number).sort((a, b) => a - b);
}

/** Opens what a crash left, twice: the second time must find both copies whole and the same state. */
async function reopenTwice(disk: SimDisk): Promise<RaftStateJournal> {
  const journal = await RaftStateJournal.open(disk, SMALL);
  const first = journal.list();
  await journal.close();
  assert.ok(disk.contents(PATH_A).equals(disk.contents(PATH_B)), 'both copies are made equal');
  const before = disk.contents(PATH_A);
  const again = await RaftStateJournal.open(disk, SMALL);
  assert.equal(again.list(), first);
  assert.ok(disk.contents(PATH_A).equals(before), 'nothing to repair the second time');
  return again;
}

/** All crashes at this moment: every subset of the unsynced sectors, without and with unsynced names. */
function* everyCrash(disk: SimDisk, sectorsMax: number): Generator<SimDisk> {
  for (const names of ['all', 'none'] as const) {
    let sectorCount = 1;
    for (let subset = 0; subset < 2 ** Math.min(sectorCount, sectorsMax); subset++) {
      let asked = 0;
      const keep: CrashOptions['keep'] = (_path, _sector, versionCount) => ((subset >> asked++) & 1) * versionCount;
      yield disk.after({ keep, names });
      sectorCount = asked;
    }
  }
}

const test = suite('raft-state journal');

for (const kind of testDisks()) {
  test(`keeps what was put, over restarts (${kind.name})`, async () => {
    const { disk, remove } = kind.make();
    try {
      let journal = await RaftStateJournal.open(disk, SMALL);
      assert.equal(journal.list(), []);
      assert.is(journal.mayMissReplicas, false);
      assert.is(journal.get(uid(1), 101), null);
      await put(journal, record(1, 5, 0), record(2, 2 ** 53 - 1, 2 ** 53 - 1));
      await put(journal, record(1, 5, 7));
      await journal.close();
      journal = await RaftStateJournal.open(disk, SMALL);
      assert.equal(journal.get(uid(1), 101), record(1, 5, 7));
      assert.equal(journal.get(uid(2), 102), record(2, 2 ** 53 - 1, 2 ** 53 - 1));
      for (let term = 6; term < 60; term++) await put(journal, record(1, term));
      await put(journal, record(2, 2 ** 53 - 1, 2 ** 53 - 1, 'removed'));
      await journal.close();
      journal = await RaftStateJournal.open(disk, SMALL);
      assert.is(termOf(journal, 1), 59);
      assert.is(journal.get(uid(2), 102)?.state, 'removed');
      assert.equal(journal.lost, []);
      await journal.close();
      assert.equal(await disk.list(''), ['raft-state.a', 'raft-state.b']);
    } finally {
      remove();
    }
  });
}

test('two hundred groups in one turn cost one sync of each copy', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk);
  let syncs = 0;
  disk.onOperation = ({ call }) => (syncs += call === 'sync' ? 1 : 0);
  const puts = Array.from({ length: 200 }, (_, log) => journal.put(record(log, 3)));
  const during = puts[0]?.then(() => journal.put(record(0, 4)));
  await Promise.all(puts);
  await during;
  assert.is(syncs, 4, 'one group of 200, and one that queued meanwhile');
});

test('a put is acknowledged only when both copies are synced, .a before .b is written', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk);
  const order: string[] = [];
  disk.onOperation = ({ call, path }) => order.push(`${call} ${path}`);
  await journal.put(record(1, 1)).then(() => order.push('acknowledged'));
  assert.equal(order, [`write ${PATH_A}`, `sync ${PATH_A}`, `write ${PATH_B}`, `sync ${PATH_B}`, 'acknowledged']);
});

test('refuses terms that fall, second votes and ids that were removed', async () => {
  const journal = await RaftStateJournal.open(new SimDisk());
  await put(journal, record(1, 5, 7), record(2, 5, 0));
  const broken = (error: unknown): boolean => error instanceof InvariantError;
  assert.throws(() => journal.put(record(1, 4, 0)), broken);
  assert.throws(() => journal.put(record(1, 5, 8)), broken);
  assert.throws(() => journal.put(record(1, 5, 0)), broken);
  await put(journal, record(1, 6, 8), record(2, 5, 9));
  await put(journal, record(2, 5, 9, 'removed'));
  assert.throws(() => journal.put(record(2, 6, 0)), broken);
  assert.throws(() => journal.forget(uid(1), 101), broken);
  journal.forget(uid(2), 102);
  assert.is(journal.get(uid(2), 102), null);
});

test('torn writes: every subset of sectors at every step of a group keeps what was acknowledged', async () => {
  const acknowledged = [record(1, 5), record(2, 6), record(3, 7)];
  const group = Array.from({ length: 20 }, (_, i) => record(1 + (i % 5), 10 + i));
  let crashes = 0;
  for (let step = 1; step <= 5; step++) {
    const disk = new SimDisk();
    const journal = await RaftStateJournal.open(disk, 64);
    await put(journal, ...acknowledged);
    const halted = disk.haltAt(disk.operationCount + step);
    let done = false;
    const puts = put(journal, ...group).then(() => {
      done = true;
    });
    await Promise.race([halted, puts]);
    assert.is(done, step === 5, 'four operations store a group');
    for (const left of everyCrash(disk, 5)) {
      crashes++;
      const again = await reopenTwice(left);
      assert.equal(again.lost, []);
      assert.is(again.mayMissReplicas, false);
      for (let log = 1; log <= 5; log++) {
        const term = termOf(again, log) ?? 0;
        if (done) assert.is(term, 24 + log);
        else assert.ok(term >= (acknowledged[log - 1]?.term ?? 0), `log ${log} fell back to term ${term}`);
      }
      await again.close();
    }
  }
  assert.ok(crashes > 50, `${crashes} crashes`);
});

test('a crash at any step of a rewrite, between .a and .b too, loses nothing', async () => {
  for (const incoming of [1, 8]) {
    for (let step = 1, done = false; !done; step++) {
      const disk = new SimDisk();
      const journal = await RaftStateJournal.open(disk, SMALL);
      for (let term = 1; term < SMALL - incoming; term++) await put(journal, record(term % 4, term));
      const before = journal.list();
      const halted = disk.haltAt(disk.operationCount + step);
      const puts = put(journal, ...Array.from({ length: incoming + 1 }, (_, i) => record(i, 100))).then(() => {
        done = true;
      });
      await Promise.race([halted, puts]);
      for (const left of everyCrash(disk, 4)) {
        const again = await reopenTwice(left);
        assert.equal(again.lost, []);
        for (const entry of before) {
          const now = again.get(entry.logUid, entry.replicaId);
          assert.ok(now !== null && now.term >= entry.term, `step ${step}`);
        }
        if (done) assert.is(termOf(again, incoming), 100);
        await again.close();
      }
    }
  }
});

test('any operation failing: an error, and after a restart no older state than acknowledged', async () => {
  const codes = ['EIO', 'ENOSPC'];
  for (const code of codes) {
    for (let failing = 1, reached = true; reached; failing++) {
      const disk = new SimDisk({ prng: new Prng(failing) });
      let journal = await RaftStateJournal.open(disk, SMALL);
      const start = disk.operationCount;
      disk.failAt(start + failing, code);
      const acknowledged = new Map<number, number>();
      for (let term = 1; term <= 40; term++) {
        const log = term % 3;
        await journal.put(record(log, term)).then(
          () => acknowledged.set(log, term),
          (error) => assert.ok(error instanceof DiskError && error.code === code, String(error)),
        );
      }
      reached = disk.operationCount >= start + failing;
      if (code === 'ENOSPC') assert.is(journal.failed, null, 'a full disk is not the end');
      const left = disk.crash();
      journal = await RaftStateJournal.open(left, SMALL);
      assert.equal(journal.lost, [], `failing ${failing} ${code}`);
      for (const [log, term] of acknowledged) assert.ok((termOf(journal, log) ?? 0) >= term, `failing ${failing} ${code}`);
    }
  }
});

test('a failed sync is final; a full disk is not', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, SMALL);
  await put(journal, record(1, 1));
  disk.failNext('write', 'ENOSPC');
  await rejects(journal.put(record(1, 2)), 'ENOSPC');
  assert.is(termOf(journal, 1), 1);
  await put(journal, record(1, 2));
  disk.failNext('sync', 'EIO', /a$/);
  await rejects(journal.put(record(1, 3)), 'EIO');
  await rejects(journal.put(record(1, 4)), 'EIO');
  assert.is(journal.failed?.code, 'EIO');
  assert.is(termOf(journal, 1), 2, 'what was not synced is not believed');
});

test('what waits behind a failed sync is rejected and not written', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, SMALL);
  disk.failNext('sync', 'EIO', /a$/);
  const first = journal.put(record(1, 1)).catch((error) => error);
  await Promise.resolve().then(() => {}); // the first group is under way
  const second = journal.put(record(2, 1)).catch((error) => error);
  await first;
  const operations = disk.operationCount;
  assert.is((await second).code, 'EIO');
  assert.is(disk.operationCount, operations);
});

test('opening makes both copies durable again after a process crash', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, SMALL);
  await put(journal, record(1, 1));
  const halted = disk.haltAt(disk.operationCount + 4); // the sync of .b
  void put(journal, record(1, 2));
  await halted;
  const crashed = disk.crash({ mode: 'process', keep: 'all' });
  await RaftStateJournal.open(crashed, SMALL);
  const cut = crashed.crash({ keep: 'none' });
  cut.corrupt(PATH_A, 2 * RECORD_SIZE + 9);
  const again = await reopenTwice(cut);
  assert.is(termOf(again, 1), 2);
  assert.equal(again.lost, []);
});

test('opening stores again what a failed sync has left in the page cache', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, SMALL);
  await put(journal, ...[1, 2, 3, 4, 5, 6].map((log) => record(log, 1)));
  disk.failNext('sync', 'EIO', /b$/);
  await rejects(journal.put(record(1, 2)), 'EIO');
  const restarted = disk.crash({ mode: 'process', keep: 'all' });
  // In another sector: writing it does not store the one before by the way.
  await put(await RaftStateJournal.open(restarted, SMALL), record(2, 2));
  const cut = restarted.crash({ keep: 'none' });
  cut.corrupt(PATH_A, 7 * RECORD_SIZE + 9);
  const again = await reopenTwice(cut);
  assert.is(termOf(again, 1), 2);
  assert.equal(again.lost, []);
});

test('a crash at any step of a repair loses nothing that the other copy had', async () => {
  for (const damaged of JOURNAL_PATHS) {
    for (let step = 1, done = false; !done; step++) {
      const disk = await filled();
      disk.corrupt(damaged, 6 * RECORD_SIZE + 60);
      const halted = disk.haltAt(disk.operationCount + step);
      await Promise.race([halted, RaftStateJournal.open(disk).then(() => (done = true))]);
      for (const left of everyCrash(disk, 4)) {
        const again = await reopenTwice(left);
        assert.equal([termOf(again, 1), termOf(again, 2), termOf(again, 3)], [3, 2, 1]);
        assert.equal(again.lost, []);
        assert.is(again.mayMissReplicas, false);
      }
    }
  }
});

test('opens on a full disk, and stores again when there is room', async () => {
  const disk = new SimDisk();
  await put(await RaftStateJournal.open(disk, 1024), record(1, 1));
  const left = disk.crash({ keep: 'all' });
  left.corrupt(PATH_A, 3 * RECORD_SIZE - 40);
  left.totalBytes = left.usedBytes + 1024;
  const journal = await RaftStateJournal.open(left, 1024);
  assert.is(termOf(journal, 1), 1);
  assert.ok(journal.inDoubt);
  await rejects(journal.put(record(1, 2)), 'ENOSPC');
  assert.ok(journal.inDoubt);
  left.totalBytes *= 10;
  await put(journal, record(1, 2));
  assert.not(journal.inDoubt);
});

test('what a full disk cannot store again at the start is in doubt until a put has stored it', async () => {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, 1024);
  await put(journal, record(1, 1), record(2, 1));
  disk.failNext('sync', 'EIO', /a$/);
  await rejects(journal.put(record(1, 2)), 'EIO');
  const restarted = disk.crash({ mode: 'process', keep: 'all' });
  restarted.totalBytes = restarted.usedBytes;
  const again = await RaftStateJournal.open(restarted, 1024);
  assert.is(termOf(again, 1), 2);
  assert.ok(again.inDoubt, 'only the page cache has it');
  assert.is(termOf(await RaftStateJournal.open(restarted.after({ keep: 'none' }), 1024), 1), 1);
  restarted.totalBytes *= 10;
  await put(again, record(2, 2));
  assert.not(again.inDoubt);
  assert.is(termOf(await RaftStateJournal.open(restarted.crash({ keep: 'none' }), 1024), 1), 2, 'a put of any replica stores all');
});

async function filled(): Promise<SimDisk> {
  const disk = new SimDisk();
  const journal = await RaftStateJournal.open(disk, 64);
  for (const [log, term] of [[1, 1], [2, 1], [1, 2], [3, 1], [2, 2], [1, 3]] as const) await put(journal, record(log, term));
  await journal.close();
  return disk;
}
/** The log of each record of `filled`, behind the head. */
const FILLED_LOGS = [1, 2, 1, 3, 2, 1];

test('a flipped bit anywhere in one copy is repaired from the other', async () => {
  const disk = await filled();
  const prng = new Prng(5);
  for (const path of JOURNAL_PATHS) {
    for (let position = 0; position < 8 * RECORD_SIZE; position++) {
      const left = disk.after({ keep: 'all' });
      left.corrupt(path, position, 1 << prng.next(8));
      const journal = await reopenTwice(left);
      assert.equal([termOf(journal, 1), termOf(journal, 2), termOf(journal, 3)], [3, 2, 1]);
      assert.equal(journal.lost, []);
      assert.is(journal.mayMissReplicas, false);
      await journal.close();
    }
  }
});

test('the same record bad in both copies: lost is who has no valid record after it, for good', async () => {
  const disk = await filled();
  for (let bad = 1; bad <= FILLED_LOGS.length; bad++) {
    let left = disk.after({ keep: 'all' });
    left.corrupt(PATH_A, bad * RECORD_SIZE + 20, 1);
    left.corrupt(PATH_B, bad * RECORD_SIZE + 50, 8);
    const newer = new Set(FILLED_LOGS.slice(bad));
    const older = new Set(FILLED_LOGS.slice(0, bad - 1));
    const expected = [...older].filter((log) => !newer.has(log)).sort();
    for (let restart = 0; restart < 2; restart++) {
      const journal = await reopenTwice(left);
      assert.equal(lostLogs(journal), expected, `record ${bad}`);
      assert.is(journal.mayMissReplicas, true);
      for (const log of newer) assert.is(journal.get(uid(log), 100 + log)?.state, 'active');
      await journal.close();
      left = left.crash({ keep: 'none' });
    }
    const journal = await RaftStateJournal.open(left);
    await journal.acceptIncomplete();
    assert.is(journal.mayMissReplicas, false);
    await journal.close();
    const again = await reopenTwice(left);
    assert.is(again.mayMissReplicas, false);
    assert.equal(lostLogs(again), expected);
  }
});

test('the sole voter of its group goes on from lost with a higher term; a removed replica is never lost', async () => {
  const disk = await filled();
  const journal = await RaftStateJournal.open(disk, 64);
  await put(journal, record(3, 1, 1, 'removed'), record(1, 9));
  await journal.close();
  for (const path of JOURNAL_PATHS) disk.corrupt(path, 8 * RECORD_SIZE + 9);
  const again = await RaftStateJournal.open(disk);
  assert.equal(lostLogs(again), [1, 2]);
  assert.is(again.get(uid(3), 103)?.state, 'removed');
  await put(again, record(1, 12));
  await again.close();
  assert.equal(lostLogs(await reopenTwice(disk)), [2]);
});

test('damage that swallows everything is never taken for a new journal', async () => {
  for (const how of ['both zeroed', 'a missing, b rotten', 'both heads and records'] as const) {
    const disk = await filled();
    for (const path of JOURNAL_PATHS) {
      if (how === 'a missing, b rotten' && path === PATH_A) {
        await disk.unlink(path);
        continue;
      }
      const file = await disk.open(path, 'write');
      const bytes = disk.contents(path);
      bytes.fill(how === 'both zeroed' ? 0 : 0x55);
      await file.write(bytes, 0, bytes.length, 0);
      await file.close();
    }
    const journal = await reopenTwice(disk);
    assert.equal(journal.list(), [], how);
    assert.is(journal.mayMissReplicas, true, how);
  }
});

test('one copy missing is made again; with damage in the other its replicas are lost', async () => {
  for (const missing of JOURNAL_PATHS) {
    const other = missing === PATH_A ? PATH_B : PATH_A;
    const disk = await filled();
    await disk.unlink(missing);
    const whole = await reopenTwice(disk.after({ mode: 'process', keep: 'all' }));
    assert.equal([termOf(whole, 1), termOf(whole, 2), termOf(whole, 3)], [3, 2, 1]);
    assert.equal(whole.lost, []);
    disk.corrupt(other, 6 * RECORD_SIZE + 60);
    assert.equal(lostLogs(await reopenTwice(disk)), [1, 2, 3]);
  }
});

test('stray bits in the free space of a copy cost nothing', async () => {
  const disk = await filled();
  for (const path of JOURNAL_PATHS) {
    for (const position of [7 * RECORD_SIZE, 7 * RECORD_SIZE + 5, 63 * RECORD_SIZE]) {
      const left = disk.after({ keep: 'all' });
      left.corrupt(path, position, 4);
      const journal = await reopenTwice(left);
      assert.equal([termOf(journal, 1), termOf(journal, 2), termOf(journal, 3)], [3, 2, 1]);
      assert.equal(journal.lost, []);
    }
  }
});

test('a damaged statement of a rewrite that was cut short is outweighed by the older copy', async () => {
  for (let bad = 0; bad <= 4; bad++) {
    const disk = new SimDisk();
    const journal = await RaftStateJournal.open(disk, SMALL);
    for (let term = 1; term < SMALL; term++) await put(journal, record(term % 3, term));
    const older = disk.contents(PATH_B);
    disk.failNext('rename', 'ENOSPC', /b\.tmp$/);
    await rejects(journal.put(record(0, 50)), 'ENOSPC');
    assert.ok(disk.contents(PATH_B).equals(older));
    assert.not.ok(disk.contents(PATH_A).equals(older));
    disk.corrupt(PATH_A, bad * RECORD_SIZE + 30);
    const again = await reopenTwice(disk);
    assert.equal(again.lost, []);
    assert.is(again.mayMissReplicas, false);
    assert.ok((termOf(again, 0) ?? 0) >= 30);
    assert.equal([termOf(again, 1), termOf(again, 2)], [31, 29]);
  }
});

test('a damaged newer copy beside a damaged older one, or one that was put back, loses who may have voted since', async () => {
  const disk = new SimDisk();
  let journal = await RaftStateJournal.open(disk, SMALL);
  await put(journal, record(1, 1), record(2, 1), record(3, 1));
  const older = disk.contents(PATH_B);
  for (let term = 2; term < SMALL; term++) await put(journal, record(1, term));
  await put(journal, record(2, 2), record(3, 2));
  await journal.close();
  const newer = disk.contents(PATH_A);
  assert.not.equal(newer.readUInt32BE(20), older.readUInt32BE(20), 'it was rewritten');

  const check = (a: Buffer, b: Buffer, expected: number[], missing: number[] = []): void => {
    const { entries, incomplete } = mergeCopies(a, b);
    const lost = [...entries.values()].filter(({ state }) => state === 'lost').map(({ logUid }) => logUid[0]);
    assert.equal(lost, expected);
    for (const log of [1, 2, 3]) assert.is(entries.has(replicaKey(uid(log), 100 + log)), !missing.includes(log));
    assert.is(incomplete, expected.length + missing.length > 0);
  };
  check(newer, older, []);
  // Records were added to the newer copy: the last of log 3, then that of log 2 damaged.
  const end = newer.findLastIndex((byte) => byte !== 0);
  const last = Math.floor(end / RECORD_SIZE) * RECORD_SIZE;
  check(withFlip(newer, last + 60), older, [1, 2, 3]);
  check(withFlip(newer, last - RECORD_SIZE + 60), older, [1, 2]);
  // The statement alone (nothing added) is damaged, and the older copy too.
  const statement = Buffer.alloc(newer.length);
  newer.copy(statement, 0, 0, 4 * RECORD_SIZE);
  check(withFlip(statement, RECORD_SIZE + 60), older, []);
  check(withFlip(statement, RECORD_SIZE + 60), withFlip(older, RECORD_SIZE + 60), [], [1]);
  check(withFlip(statement, 2 * RECORD_SIZE + 60), withFlip(older, 3 * RECORD_SIZE + 60), [2]);
});

function withFlip(bytes: Buffer, position: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[position] = (copy[position] as number) ^ 1;
  return copy;
}

test('a sector that cannot be read counts as damaged, the others are used', async () => {
  const disk = await filled();
  disk.fail(({ call, path, position, length }) => (call === 'read' && path === PATH_A && position < 512 && position + length > 0 ? 'EIO' : null));
  const journal = await RaftStateJournal.open(disk);
  assert.equal([termOf(journal, 1), termOf(journal, 2), termOf(journal, 3)], [3, 2, 1]);
  assert.equal(journal.lost, []);
});

test('what a disk gives of neither copy fails the start and is not lost by it', async () => {
  const disk = await filled();
  const before = [disk.contents(PATH_A), disk.contents(PATH_B)];
  let fails = true;
  disk.fail(({ call, path }) => (fails && call === 'read' && path.startsWith('raft-state') ? 'EIO' : null));
  await rejects(RaftStateJournal.open(disk), 'EIO');
  assert.equal([disk.contents(PATH_A), disk.contents(PATH_B)], before);
  // It was a moment.
  fails = false;
  const journal = await RaftStateJournal.open(disk);
  assert.equal([termOf(journal, 1), termOf(journal, 2), termOf(journal, 3)], [3, 2, 1]);
  assert.equal(journal.lost, []);
  await journal.close();
  // It was not, and somebody gives it up.
  fails = true;
  const given = await RaftStateJournal.open(disk, undefined, true);
  assert.is(given.mayMissReplicas, true);
  assert.equal(given.list(), []);
});

test('refuses a journal of a newer release', async () => {
  const disk = await filled();
  const bytes = disk.contents(PATH_B);
  bytes[2 * RECORD_SIZE + 5] = 2;
  bytes.writeUInt32BE(crc32(bytes, 2 * RECORD_SIZE + 4, 3 * RECORD_SIZE), 2 * RECORD_SIZE);
  const file = await disk.open(PATH_B, 'write');
  await file.write(bytes, 0, bytes.length, 0);
  await file.close();
  await RaftStateJournal.open(disk).then(
    () => assert.unreachable(),
    (error) => assert.instance(error, JournalVersionError),
  );
});

const seed = testSeed('journal');
test('random puts, failures, crashes and restarts against a plain map', async () => {
  const prng = new Prng(seed);
  for (let run = 0; run < 60; run++) {
    let disk = new SimDisk({ prng: prng.fork(), schedule: (end) => void (prng.chance(0.5) ? queueMicrotask(end) : setImmediate(end)) });
    const acknowledged = new Map<number, RaftStateRecord>();
    const attempted = new Map<number, number>();
    for (let life = 0; life < 4; life++) {
      const journal = await RaftStateJournal.open(disk, SMALL);
      assert.equal(journal.lost, [], `run ${run}`);
      for (const [log, entry] of acknowledged) {
        const now = journal.get(uid(log), 100 + log);
        assert.ok(now !== null && (now.term > entry.term || (now.term === entry.term && now.vote === entry.vote)), `run ${run} log ${log}`);
        assert.ok(now.term <= (attempted.get(log) ?? 0), `run ${run} log ${log}: a term from nowhere`);
      }
      if (prng.chance(0.3)) disk.rates = { write: 0.02, sync: 0.02, rename: 0.05 };
      let crashed = false;
      const halted = disk.haltAt(disk.operationCount + prng.between(1, 120)).then(() => {
        crashed = true;
      });
      for (let i = 0; i < 60 && !crashed; i++) {
        const puts = Array.from({ length: prng.between(1, 12) }, () => {
          const log = prng.next(6);
          const term = (attempted.get(log) ?? 0) + 1;
          attempted.set(log, term);
          const entry = record(log, term, prng.next(5));
          return journal.put(entry).then(() => acknowledged.set(log, entry), (error) => assert.instance(error, DiskError));
        });
        await Promise.race([Promise.all(puts), halted]);
        if (journal.failed !== null) break;
      }
      disk = disk.crash({ mode: prng.chance(0.3) ? 'process' : 'power' });
    }
  }
});

async function rejects(attempt: Promise<unknown>, code: string): Promise<void> {
  const error = await attempt.then(() => null, (reason: unknown) => reason);
  assert.instance(error, DiskError, `expected ${code}`);
  assert.is((error as DiskError).code, code);
}

test.run();
