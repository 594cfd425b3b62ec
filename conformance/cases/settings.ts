// §8.8, §8.9 and §13.1 to §13.3: ALTER_LOG, retention, the trash, and what a node says of itself.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { batchOf, buildBatch } from '../wire/batch.ts';
import { tlv } from '../wire/codec.ts';
import { CRITICAL } from '../wire/layouts.ts';
import type { LogEntry, Tlv } from '../wire/layouts.ts';
import { sizedBatch } from './batches.ts';
import { describe, fetch, initProducer, listLogs, logUid, produce, put, readAll } from './help.ts';

const alter = area('alter', 'core');
const MiB = 1n << 20n;

export const alterCases = [
  alter('changes', 'ALTER_LOG changes exactly the settings that it does not leave as they are.', 'LOG-40 LOG-28',
    { modes: true, kills: ['swallow:ALTER_LOG', 'answer:DESCRIBE_LOG.retain_bytes', 'answer:DESCRIBE_LOG.retain_ms', 'answer:DESCRIBE_LOG.compressions'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { retain_bytes: 10n * MiB, retain_ms: 5_000_000n, compressions: 3 });
      const shown = async (): Promise<unknown[]> => {
        const entry = await describe(client, log);
        return [entry.retain_bytes, entry.retain_ms, entry.compressions];
      };
      await client.ok('ALTER_LOG', { log });
      t.equal(await shown(), [10n * MiB, 5_000_000n, 3], 'the settings after an ALTER_LOG that leaves all as it is');
      await client.ok('ALTER_LOG', { log, retain_bytes: 20n * MiB });
      t.equal(await shown(), [20n * MiB, 5_000_000n, 3], 'the settings after retain_bytes');
      await client.ok('ALTER_LOG', { log, retain_ms: 0n });
      t.equal(await shown(), [20n * MiB, 0n, 3], 'the settings after retain_ms');
      await client.ok('ALTER_LOG', { log, compressions: 7, retain_bytes: 0n });
      t.equal(await shown(), [0n, 0n, 7], 'the settings after compressions and retain_bytes');
    }),

  alter('checked', 'ALTER_LOG is checked like CREATE_LOG, and changes nothing when one rule is broken.', 'LOG-41 LOG-14',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:alter-half'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { durability: 2, interval_ms: 50, retain_bytes: 10n * MiB });
      const before = await describe(client, log);
      await client.refused('ALTER_LOG', { log, retain_bytes: 5n * MiB, replication: 3 }, 'INVALID_ARGUMENT', { field: 'replication' });
      await client.refused('ALTER_LOG', { log, retain_bytes: 5n * MiB, replication: 4 }, 'INVALID_ARGUMENT', { field: 'replication' });
      await client.refused('ALTER_LOG', { log, retain_bytes: 5n * MiB, compressions: 8 }, 'INVALID_ARGUMENT', { field: 'compressions' });
      t.equal(await describe(client, log), before, 'the log after refused ALTER_LOGs');
      await client.ok('ALTER_LOG', { log, replication: 1 });
    }),

  alter('compressions', 'After ALTER_LOG the new compressions count for PRODUCE; stored batches are still served.', 'LOG-42 BATCH-12',
    { kills: ['swallow:ALTER_LOG', 'status:UNSUPPORTED_COMPRESSION', 'batch:drop-last', 'tlv:supported'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { compressions: 3 });
      const packed = buildBatch({ records: [{ value: 'packed' }], compression: 1 });
      await client.ok('PRODUCE', put(log, packed));
      await client.ok('ALTER_LOG', { log, compressions: 1 });
      await client.refused('PRODUCE', put(log, packed), 'UNSUPPORTED_COMPRESSION', { supported: 1n });
      const { batches } = await fetch(client, { log, value: 0n });
      t.equal(batches.map((b) => b.bytes.subarray(40).toString('hex')), [packed.subarray(40).toString('hex')], 'the batch that was stored before');
      await produce(client, log, 'plain');
    }),
];

const retention = area('retention', 'core');

/** Writes `n` batches of 64 KiB. */
async function fill(client: Client, log: string, n: number): Promise<void> {
  const ids = Array.from({ length: n }, () => client.request('PRODUCE', put(log, sizedBatch(65_536))));
  for (const id of ids) await client.okAnswer('PRODUCE', id, 30_000);
}

export const retentionCases = [
  retention('none', 'With retain_bytes and retain_ms 0, or large enough, nothing is removed.', 'LOG-45 LOG-43 LOG-44',
    { slow: true, kills: ['srv:retention-ignores-settings', 'answer:DESCRIBE_LOG.log_start'] }, async (t) => {
      const client = await t.ready();
      const kept = await t.log(client, { segment_bytes: MiB });
      const byAge = await t.log(client, { segment_bytes: MiB, retain_ms: 86_400_000n });
      const bySize = await t.log(client, { segment_bytes: MiB, retain_bytes: 1_000n * MiB });
      for (const log of [kept, byAge, bySize]) await fill(client, log, 48);
      await t.pause(65_000);
      await fill(client, kept, 1);
      for (const log of [kept, byAge, bySize]) t.equal((await describe(client, log)).log_start, 0n, 'log_start after a minute');
    }),

  retention('by-size', 'Records go by size only while the batches after them have retain_bytes bytes.', 'LOG-44 LOG-46',
    { slow: true, kills: ['srv:retention-eager'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client, { segment_bytes: MiB, retain_bytes: 2n * MiB });
      await fill(client, log, 96);
      const began = performance.now();
      let entry: LogEntry = await describe(client, log);
      while (entry.log_start === 0n && performance.now() - began < t.ms(80_000)) {
        await t.pause(500);
        entry = await describe(client, log);
      }
      if (entry.log_start === 0n) t.note('nothing was removed within a minute, which is only a SHOULD');
      const left = (entry.committed_end - entry.log_start) * 65_536n;
      t.ok(left >= 2n * MiB, 'at least retain_bytes of batches are left', left);
    }),
];

const trash = area('trash', 'core');
const RESTORE = (uid: Buffer): Tlv => tlv(CRITICAL | 3, uid);
const TRASH = tlv(CRITICAL | 3, Buffer.alloc(0));

/** A log with records, position, fence and producer, deleted. */
async function deletedLog(t: Context, client: Client): Promise<{ log: string; uid: Buffer; before: LogEntry; bodies: string[] }> {
  const log = await t.log(client, { retain_bytes: 100n * MiB });
  await produce(client, log, 'a', 'b');
  await produce(client, log, 'c');
  await client.ok('TRIM', { log, offset: 2n });
  await produce(client, log, 'd');
  if (t.has('conditional')) {
    await client.ok('PUT_POSITION', { log, name: 'p', offset: 3n });
    await client.ok('FENCE', { log, token: 4n });
  }
  const before = await describe(client, log);
  const bodies = (await readAll(client, log)).map((b) => `${b.baseOffset} ${b.appendTime} ${b.bytes.subarray(40).toString('hex')}`);
  await client.ok('DELETE_LOG', { log });
  return { log, uid: before.log_uid, before, bodies };
}

export const trashCases = [
  trash('absent', 'A server without a trash answers restore_uid and TLV 3 of LIST_LOGS with UNSUPPORTED_FEATURE.', 'LOG-47',
    { needs: ['absent:trash'], kills: ['status:UNSUPPORTED_FEATURE', 'accept:UNSUPPORTED_FEATURE'] }, async (t) => {
      const client = await t.ready();
      await client.refused('CREATE_LOG', { log: t.name(), durability: 1, ext: [RESTORE(t.random.bytes(16))] }, 'UNSUPPORTED_FEATURE');
      await client.refused('LIST_LOGS', { prefix: '', ext: [TRASH] }, 'UNSUPPORTED_FEATURE');
    }),

  trash('restore', 'A restored log has the records, offsets, times, start, positions, fence and settings of the deleted one, and a uid of its own.', 'LOG-48 LOG-49 LOG-50 LOG-51 LOG-55 LOG-4',
    { needs: ['feature:trash'], kills: ['batch:drop-first', 'strip-restore', 'srv:restore-loses-state'] }, async (t) => {
      const client = await t.ready();
      const { uid, before, bodies } = await deletedLog(t, client);
      const log = await t.log(client, { log: t.name('restored'), durability: 3, retain_bytes: 1n, compressions: 1, ext: [RESTORE(uid)] });
      const after = await describe(client, log);
      t.ok(!after.log_uid.equals(uid), 'another log_uid', 'the same');
      const settings = (e: LogEntry): unknown[] => [e.log_start, e.committed_end, e.fence, e.durability, e.retain_bytes, e.retain_ms, e.segment_bytes, e.compressions];
      t.equal(settings(after), settings(before), 'start, end, fence and settings of the restored log');
      t.equal((await readAll(client, log)).map((b) => `${b.baseOffset} ${b.appendTime} ${b.bytes.subarray(40).toString('hex')}`), bodies, 'offset, time and bytes of every batch');
      if (t.has('conditional')) t.equal((await client.ok('GET_POSITION', { log, name: 'p' })).offset, 3n, 'the position p');
      await client.refused('CREATE_LOG', { log: t.name('again'), durability: 1, ext: [RESTORE(uid)] }, 'LOG_NOT_FOUND');
      await client.ok('PRODUCE', put(log, batchOf('goes on'), { fence: after.fence }));
    }),

  trash('restore-producers', 'A restored log has the producers of the deleted one.', 'LOG-49 IDEM-7',
    { needs: ['feature:trash', 'feature:idempotence'], kills: ['srv:restore-loses-state', 'answer:PRODUCE.flags'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await initProducer(client, log);
      const make = (seq: bigint): Buffer => buildBatch({ records: [{ value: `s${seq}` }], producer: { id: producer.producer_id, epoch: producer.epoch, seq } });
      await client.ok('PRODUCE', put(log, make(0n)));
      const { log_uid } = await describe(client, log);
      await client.ok('DELETE_LOG', { log });
      await t.log(client, { log, ext: [RESTORE(log_uid)] });
      t.equal((await client.ok('PRODUCE', put(log, make(0n)))).flags, 1, 'the flags of the answer to a duplicate');
      t.equal((await client.ok('PRODUCE', put(log, make(1n)))).base_offset, 1n, 'the offset of the next batch');
    }),

  trash('refused', 'A restore_uid that is not in the trash gets LOG_NOT_FOUND, before LOG_EXISTS; a name in use gets LOG_EXISTS and leaves the trash.', 'LOG-52 LOG-53 LOG-54',
    { needs: ['feature:trash'], kills: ['status:LOG_NOT_FOUND', 'status:LOG_EXISTS', 'strip-restore'] }, async (t) => {
      const client = await t.ready();
      const { uid } = await deletedLog(t, client);
      const living = await t.log(client);
      const { log_uid } = await describe(client, living);
      for (const wrong of [t.random.bytes(16), Buffer.alloc(16), log_uid]) {
        await client.refused('CREATE_LOG', { log: t.name(), durability: 1, ext: [RESTORE(wrong)] }, 'LOG_NOT_FOUND');
        await client.refused('CREATE_LOG', { log: living, durability: 1, ext: [RESTORE(wrong)] }, 'LOG_NOT_FOUND');
      }
      await client.refused('CREATE_LOG', { log: living, durability: 1, ext: [RESTORE(uid)] }, 'LOG_EXISTS', { log_uid });
      await client.refused('CREATE_LOG', { log: t.name(), durability: 9, ext: [RESTORE(uid)] }, 'INVALID_ARGUMENT', { field: 'durability' });
      await t.log(client, { ext: [RESTORE(uid)] });
    }),

  trash('list', 'LIST_LOGS with TLV 3 lists exactly what can be restored, by former name and from the latest deletion on; without it no deleted log.', 'LOG-56 LOG-57 LOG-58 LOG-59',
    { needs: ['feature:trash'], kills: ['list:drop-last', 'list:reverse', 'strip-restore', 'accept:INVALID_ARGUMENT'] }, async (t) => {
      const client = await t.ready();
      const prefix = t.name('trash');
      const uids: Record<string, string[]> = {};
      for (const tail of ['-b', '-a', '-b', '-c']) {
        const log = await t.log(client, { log: prefix + tail });
        const { log_uid } = await describe(client, log);
        (uids[log] ??= []).unshift(log_uid.toString('hex'));
        await client.ok('DELETE_LOG', { log });
        await t.pause(5); // deletions of one name differ in time
      }
      const wanted = ['-a', '-b', '-c'].flatMap((tail) => uids[prefix + tail]!.map((uid) => [prefix + tail, uid]));
      const { logs } = await listLogs(client, prefix, [TRASH]);
      t.equal(logs.map((e) => [e.log, e.log_uid.toString('hex')]), wanted, 'names and uids in the trash');
      for (const entry of logs) t.equal([entry.leader, entry.replicas.length], ['', 0], 'leader and replicas of an entry of the trash');
      t.equal((await listLogs(client, prefix)).logs.length, 0, 'living logs with this prefix');
      const restored = await t.log(client, { log: `${prefix}-b`, ext: [RESTORE(logs[1]!.log_uid)] });
      t.equal((await listLogs(client, prefix, [TRASH])).logs.map((e) => e.log), [`${prefix}-a`, `${prefix}-b`, `${prefix}-c`], 'the trash after a restore');
      t.equal((await listLogs(client, prefix)).logs.map((e) => e.log), [restored], 'the living logs after a restore');
      await client.refused('LIST_LOGS', { prefix, ext: [tlv(CRITICAL | 3, Buffer.alloc(1))] }, 'INVALID_ARGUMENT', { field: 'trash' });
    }),
];

const node = area('node', 'core');

export const nodeCases = [
  node('describe-cluster', 'A node lists itself in DESCRIBE_CLUSTER: name, state 1, voter and catalog_leader when it is alone.', 'CLUS-1 CLUS-2 HELLO-14',
    { modes: true, kills: ['answer:DESCRIBE_CLUSTER.nodes', 'answer:DESCRIBE_CLUSTER.catalog_leader', 'answer:DESCRIBE_CLUSTER.cluster_id', 'answer-zero:DESCRIBE_CLUSTER.term'] }, async (t) => {
      const client = await t.ready();
      const { hello } = client;
      const cluster = await client.ok('DESCRIBE_CLUSTER');
      const self = cluster.nodes.find((entry) => entry.node === hello.node);
      t.ok(self !== undefined, `an entry of the node ${hello.node}`, cluster.nodes);
      t.equal([self!.state, cluster.cluster_id], [1, hello.cluster_id], 'its state and the cluster_id');
      t.ok(!self!.node_id.equals(Buffer.alloc(16)) && cluster.term >= 1n, 'a node_id that is not zeros, and a term of at least 1');
      if (t.target.endpoints.length === 1) t.equal([cluster.catalog_leader, self!.role, cluster.nodes.length], [hello.node, 1, 1], 'catalog_leader, role and number of nodes');
      t.equal((await (await t.ready()).ok('DESCRIBE_CLUSTER')).nodes, cluster.nodes, 'the nodes as another connection sees them');
    }),

  node('no-forward', 'A node that is alone answers PRODUCE with and without NO_FORWARD in the same way, and never NOT_LEADER.', 'CLUS-4 CLUS-5 CLUS-3',
    { kills: ['error-for:PRODUCE', 'srv:no-forward-refused'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 4; i++) {
        const ack = await client.ok('PRODUCE', put(log, batchOf('x'), { flags: i % 2 }));
        t.equal([ack.base_offset, ack.flags], [BigInt(i), 0], 'offset and flags of the ack');
      }
    }),

  node('transfer-leader', 'A node that is alone answers TRANSFER_LEADER with itself; another node gets INVALID_ARGUMENT that names node.', 'CLUS-9 CLUS-10',
    { needs: ['feature:transfer-leader'], kills: ['answer:TRANSFER_LEADER.leader', 'answer:TRANSFER_LEADER.term', 'accept:INVALID_ARGUMENT', 'tlv:field'] }, async (t) => {
      if (t.target.endpoints.length > 1) t.skip('several-nodes', 'the target has several nodes');
      const client = await t.ready();
      const log = await t.log(client);
      const { term, log_uid } = await describe(client, log);
      for (const to of ['', client.hello.node]) {
        const answer = await client.ok('TRANSFER_LEADER', { log, node: to });
        t.equal([answer.leader, answer.term], [client.hello.node, term], `the answer to a transfer to ${JSON.stringify(to)}`);
      }
      await client.ok('TRANSFER_LEADER', { log, node: '', ext: [logUid(log_uid)] });
      await client.refused('TRANSFER_LEADER', { log, node: 'no-such-node' }, 'INVALID_ARGUMENT', { field: 'node' });
      await produce(client, log, 'still takes records');
    }),

  node('remove-node', 'REMOVE_NODE of an unknown node, or of the only one, gets INVALID_ARGUMENT that names node.', 'CLUS-12',
    { needs: ['feature:remove-node'], kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'status:INVALID_ARGUMENT'] }, async (t) => {
      const client = await t.ready();
      for (const flags of [0, 1]) {
        await client.refused('REMOVE_NODE', { node: 'no-such-node', flags }, 'INVALID_ARGUMENT', { field: 'node' });
        if (t.target.endpoints.length === 1) await client.refused('REMOVE_NODE', { node: client.hello.node, flags }, 'INVALID_ARGUMENT', { field: 'node' });
      }
    }),
];

