// A log that promises less than fsync may lose its end in a power cut: also the entry of a trim. Records
// may be deleted only when the trim that let them go cannot be lost any more.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { baseOffset } from '../../src/wire/batch.ts';
import { From } from '../../src/wire/ops.ts';
import { sized, World } from './support.ts';

const test = suite('replica/soft-trim');

test('after a power cut a memory log has every record from the start that it names', async () => {
  const world = await World.start();
  const client = await world.connect();
  await client.createLog('soft', { durability: 3, segmentBytes: 1024 * 1024 });
  for (let i = 0; i < 8; i++) await client.produce('soft', sized(400_000));
  await world.advance(3000);
  // Two snapshots are written for the first trim; the second one finds them.
  await client.trim('soft', 2);
  await world.advance(5000);
  await client.trim('soft', 6);
  await world.advance(5000);

  const after = await world.crash({ mode: 'power', keep: 'none' });
  const reader = await after.connect();
  const { code, value } = await reader.fetch('soft', { from: From.EARLIEST });
  assert.is(code, 'OK');
  if (value.committedEnd > value.logStart) assert.is(baseOffset(value.batches, 0), value.startOffset);
  assert.is(value.startOffset, value.logStart);
  await after.stop();
});

test.run();
