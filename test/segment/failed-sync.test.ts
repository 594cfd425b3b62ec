// A failed fsync leaves pages that the kernel takes for clean: the next process reads them, and its own
// fsync of them stores nothing.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SimDisk } from '../support/sim-disk.ts';
import { batchOf, createLog, expectHolds, Model, openLog } from './support.ts';

const test = suite('segment/failed-sync');

test('what a start found in the page cache after a failed sync is still there after a power cut', async () => {
  let disk = new SimDisk();
  const first = await createLog(disk);
  const model = new Model();
  model.append(first, batchOf('stored'));
  await first.whenIdle();
  disk.failNext('sync', 'EIO', /\.seg$/);
  model.append(first, batchOf('doubtful', 3, 2000));
  await first.whenIdle();
  assert.is(first.failure?.code, 'EIO');

  disk = disk.crash({ mode: 'process', keep: 'all' });
  const second = await openLog(disk);
  assert.is(second.lastIndex, 2);
  assert.is(second.durableIndex, 2);

  disk = disk.crash({ mode: 'power', keep: 'none' });
  const third = await openLog(disk);
  assert.is(third.lastIndex, 2);
  assert.equal(third.damage, []);
  await expectHolds(third, model);
});

test.run();
