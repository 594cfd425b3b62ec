// A log is closed while others still read from it: they get what they asked for, or are told why not.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DiskError } from '../../src/index/disk.ts';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, createLog, Model, openLog, readAll } from './support.ts';

const test = suite('segment/closing');
const OPTIONS = { segmentBytes: 5_000, cacheBytes: 1 };
/** Turns after the beginning of a read at which the log is closed: beyond the last one it has ended. */
const TURNS = 80;

async function filled(): Promise<{ disk: SimDisk; model: Model }> {
  const disk = new SimDisk();
  const log = await createLog(disk, OPTIONS);
  const model = new Model();
  for (let i = 0; i < 12; i++) model.append(log, batchOf(`e${i}`, 1, 300));
  await log.close();
  return { disk, model };
}

test('a log may be closed at any moment of a read from a segment that was not open', async () => {
  for (let turns = 0; turns < TURNS; turns++) {
    const { disk, model } = await filled();
    const log = await openLog(disk, OPTIONS);
    const read = readAll(log, 1, 1, 1);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    await log.close();
    assert.ok((await read)[0]!.equals(model.at(1)), `closed after ${turns} turns`);
  }
});

test('the newest segment of a log that was closed cannot be read, and that is an error of the disk', async () => {
  const { disk } = await filled();
  const log = await openLog(disk, OPTIONS);
  const { lastIndex } = log;
  await log.close();
  const error = await log.read(lastIndex, 1, lastIndex).then(() => null, (reason: unknown) => reason);
  assert.ok(error instanceof DiskError, String(error));
});

test('a check of a log ends with the log: what is moved away then is not taken for lost', async () => {
  for (let turns = 0; turns < TURNS; turns++) {
    const { disk } = await filled();
    const log = await openLog(disk, OPTIONS);
    const check = log.scrub(1 << 20);
    for (let i = 0; i < turns; i++) await Promise.resolve();
    await log.close();
    await disk.removeTree('log');
    assert.equal((await check).found, [], `closed after ${turns} turns`);
  }
});

test.run();
