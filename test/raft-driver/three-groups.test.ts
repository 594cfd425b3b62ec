// A log with replicas on three nodes, end to end: driver, segment log, raft-state, replica state.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { records } from '../replica/support.ts';
import { Cluster, LOG } from './cluster.ts';

const test = suite('raft-driver/three groups');

test('founders elect one leader, and what it acks is on a majority and soon everywhere', async () => {
  const cluster = await Cluster.start();
  const leader = await cluster.elect();
  const client = await leader.connect();
  const id = client.sendProduce(LOG, records('a', 'b'));
  await cluster.settle();
  assert.is(client.produced(id)!.code, 'OK');
  assert.ok(client.produced(id)!.value.copies >= 2);
  await cluster.converge();
  for (const member of cluster.members) assert.equal(await member.values(), ['0:a', '1:b']);
  const entries = await leader.entries();
  for (const member of cluster.members) assert.equal(await member.entries(), entries);
  await cluster.stop();
});

test.run();
