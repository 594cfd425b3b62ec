// §8: names, log_uid, creating, deleting, describing and listing logs.
import { area } from '../engine/case.ts';
import { batchOf, buildBatch, recordValues } from '../wire/batch.ts';
import { tlv } from '../wire/codec.ts';
import { CRITICAL } from '../wire/layouts.ts';
import { committedEnd, describe, fetch, holds, listLogs, logUid, produce, put, readAll, waitingFetch } from './help.ts';
import { rightRequests } from './payload.ts';

const define = area('log', 'core');
const NAMED = ['log', 'name'] as const;

export const logCases = [
  define('names', 'Names of 1 to 200 bytes out of A–Z a–z 0–9 . _ - that do not begin with a dot are accepted.', 'LOG-1 LIMIT-2',
    { modes: true, kills: ['error-for:CREATE_LOG', 'srv:name-199'] }, async (t) => {
      const client = await t.ready();
      const tail = t.name().replace(/^log-/, '');
      for (const name of [`A-${tail}`, `9.${tail}`, `_${tail}`, `-${tail}`, `a..b-${tail}`, `${tail}.`, tail.padEnd(200, 'z')]) {
        await t.log(client, { log: name });
        await produce(client, name, 'x');
      }
      await client.ok('DESCRIBE_LOG', { log: tail.padEnd(200, 'z') });
      const one = await client.call('DESCRIBE_LOG', { log: 'q' });
      t.ok(one.status === 'OK' || one.status === 'LOG_NOT_FOUND', 'a name of one byte is a name', one.status);
    }),

  define('bad-names', 'Any other name of a log, position or producer gets INVALID_ARGUMENT that names the field, in every op.', 'LOG-2 READ-8',
    { kills: ['accept:INVALID_ARGUMENT', 'status:INVALID_ARGUMENT', 'tlv:field', 'srv:name-unchecked'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const bad = ['', '.hidden', '$own', 'a/b', 'a b', 'a\0', 'ü', 'x'.repeat(201), 'a:b', 'a%', '\n'];
      for (const [op, input] of rightRequests(t, log)) {
        for (const field of NAMED) {
          if (!(field in input)) continue;
          for (const name of bad) await client.refused(op, { ...input, [field]: name } as never, 'INVALID_ARGUMENT', { field });
        }
      }
      if (!t.has('conditional')) return;
      for (const name of bad) {
        await client.refused('FETCH', { log, from: 4, position_name: name }, 'INVALID_ARGUMENT', { field: 'position_name' });
        if (t.has('streaming')) await client.refused('SUBSCRIBE', { log, from: 4, position_name: name }, 'INVALID_ARGUMENT', { field: 'position_name' });
      }
    }),

  define('names-are-bytes', 'Names are bytes: Orders and orders are two logs.', 'LOG-3',
    { kills: ['lower-case-names', 'srv:names-lower-case'] }, async (t) => {
      const client = await t.ready();
      const lower = t.name('orders');
      const upper = lower.replace('orders', 'Orders');
      await t.log(client, { log: lower });
      await t.log(client, { log: upper });
      await produce(client, lower, 'low');
      await produce(client, upper, 'up');
      await holds(t, client, lower, ['low']);
      await holds(t, client, upper, ['up']);
    }),

  define('uid-is-new', 'Every log gets a log_uid of its own, also under a name that was used before.', 'LOG-4 LOG-27',
    { kills: ['answer:CREATE_LOG.log_uid', 'srv:uid-by-name'] }, async (t) => {
      const client = await t.ready();
      const log = t.name();
      const seen = new Set<string>();
      for (let i = 0; i < 5; i++) {
        const { log_uid } = await client.ok('CREATE_LOG', { log, durability: 1 });
        t.equal((await describe(client, log)).log_uid, log_uid, 'the log_uid that DESCRIBE_LOG shows');
        seen.add(log_uid.toString('hex'));
        await produce(client, log, `life ${i}`);
        await holds(t, client, log, [`life ${i}`]);
        await client.ok('DELETE_LOG', { log });
      }
      t.equal(seen.size, 5, 'different log_uids of five logs');
    }),

  define('uid-changed', 'A log_uid that is not that of the log gets LOG_CHANGED with the real one, in every op that takes it.', 'LOG-5 LOG-6',
    { kills: ['strip:log_uid', 'tlv:log_uid', 'status:LOG_CHANGED', 'accept:LOG_CHANGED'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { log_uid } = await describe(client, log);
      const wrong = logUid(t.random.bytes(16));
      for (const [op, input] of rightRequests(t, log)) {
        if (!('log' in input) || op === 'CREATE_LOG') continue;
        await client.refused(op, { ...input, ext: [wrong] } as never, 'LOG_CHANGED', { log_uid });
      }
      await client.refused('DELETE_LOG', { log, ext: [wrong] }, 'LOG_CHANGED', { log_uid });
      t.equal((await describe(client, log)).committed_end, 0n, 'committed_end after refusals');
      await client.ok('DELETE_LOG', { log, ext: [logUid(log_uid)] });
    }),

  define('uid-in-answers', 'The OK answers listed carry log_uid, not critical, exactly when the request did not.', 'LOG-7 LOG-8',
    { kills: ['no-uid-in-answers', 'uid-always', 'answer-ext:uid'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { log_uid } = await describe(client, log);
      await produce(client, log, 'x');
      if (t.has('conditional')) await client.ok('PUT_POSITION', { log, name: 'pos', offset: 0n });
      const listed = new Set(['DESCRIBE_LOG', 'INIT_PRODUCER', 'PRODUCE', 'FENCE', 'FETCH', 'SUBSCRIBE', 'GET_POSITION']);
      for (const [op, input] of rightRequests(t, log)) {
        if (!('log' in input) || op === 'CREATE_LOG') continue;
        const without = (await client.ok(op, input as never)) as { ext: { type: number; value: Buffer }[] };
        const uids = without.ext.filter(({ type }) => (type & 0x7fff) === 2);
        t.equal(uids.map(({ type, value }) => [type, value]), listed.has(op) ? [[2, log_uid]] : [], `log_uid in the answer to ${op} without it`);
        const given = (await client.ok(op, { ...input, ext: [logUid(log_uid)] } as never)) as typeof without;
        t.equal(given.ext.filter(({ type }) => (type & 0x7fff) === 2).length, 0, `log_uid in the answer to ${op} that carried it`);
      }
      const created = await client.ok('CREATE_LOG', { log: `${log}-2`, durability: 1 });
      t.logs.push(`${log}-2`);
      t.equal(created.ext.find(({ type }) => type === 2)?.value, created.log_uid, 'log_uid in the answer to CREATE_LOG');
    }),

  define('judged-in-order', 'A request is judged: payload, name, existence, log_uid, all else.', 'LOG-9 LOG-10',
    { kills: ['status:LOG_NOT_FOUND', 'status:LOG_CHANGED'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const wrong = logUid(Buffer.alloc(16, 7));
      await client.refused('TRIM', { log: 'no-such-log', offset: 1n << 60n }, 'INVALID_ARGUMENT', { field: 'offset' });
      await client.refused('TRIM', { log: 'bad name', offset: 0n, ext: [wrong] }, 'INVALID_ARGUMENT', { field: 'log' });
      await client.refused('TRIM', { log: 'no-such-log', offset: 0n, ext: [wrong] }, 'LOG_NOT_FOUND');
      await client.refused('FETCH', { log, value: 999n, ext: [wrong] }, 'LOG_CHANGED');
      await client.refused('PRODUCE', { log: 'no-such-log', batch: Buffer.from('garbage') }, 'LOG_NOT_FOUND');
      await client.refused('PRODUCE', { log, batch: Buffer.from('garbage'), ext: [wrong] }, 'LOG_CHANGED');
    }),

  define('not-found', 'Every request that names a log which does not exist gets LOG_NOT_FOUND.', 'LOG-10',
    { modes: true, kills: ['status:LOG_NOT_FOUND', 'accept:LOG_NOT_FOUND', 'end-on:LOG_NOT_FOUND'] }, async (t) => {
      const client = await t.ready();
      for (const [op, input] of rightRequests(t, t.name('missing'))) {
        if ('log' in input && op !== 'CREATE_LOG') await client.refused(op, input as never, 'LOG_NOT_FOUND');
      }
      await client.refused('DELETE_LOG', { log: t.name('missing') }, 'LOG_NOT_FOUND');
    }),

  define('create', 'CREATE_LOG is answered when the log takes records.', 'LOG-12 CLUS-3',
    { modes: true, kills: ['error-for:CREATE_LOG', 'answer:CREATE_LOG.log_uid', 'answer:DESCRIBE_LOG.leader'] }, async (t) => {
      const client = await t.ready();
      for (const settings of [{ durability: 1 }, { durability: 2, interval_ms: 50 }, { durability: 3 }, { durability: 1, replication: 1 }]) {
        const log = t.name();
        const id = client.request('CREATE_LOG', { log, ...settings });
        const { log_uid } = (await client.okAnswer('CREATE_LOG', id)).fields;
        t.logs.push(log);
        t.equal((await produce(client, log, 'at once')).base_offset, 0n, 'the offset of the first record');
        const shown = await describe(client, log);
        t.equal([shown.log, shown.log_uid, shown.committed_end, shown.log_start], [log, log_uid, 1n, 0n], 'name, uid, committed_end and log_start');
        if (t.target.endpoints.length === 1) {
          t.equal([shown.leader, shown.replicas], [client.hello.node, [{ node: client.hello.node, role: 1 }]], 'leader and replicas of a log of a lone node');
        }
      }
    }),

  define('exists', 'CREATE_LOG of a name in use gets LOG_EXISTS with the uid, also with the same settings.', 'LOG-13',
    { kills: ['status:LOG_EXISTS', 'accept:LOG_EXISTS', 'tlv:log_uid'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const { log_uid } = await describe(client, log);
      await client.refused('CREATE_LOG', { log, durability: 1 }, 'LOG_EXISTS', { log_uid });
      await client.refused('CREATE_LOG', { log, durability: 3, compressions: 7 }, 'LOG_EXISTS', { log_uid });
    }),

  define('settings-refused', 'Settings outside their ranges are refused, naming the field, and no log is made.', 'LOG-14 LOG-15 LOG-16 LOG-17 LOG-18 LOG-19 LOG-22',
    { kills: ['accept:INVALID_ARGUMENT', 'tlv:field', 'srv:settings-unchecked', 'status:UNSUPPORTED_FEATURE'] }, async (t) => {
      const client = await t.ready();
      const MiB = 1n << 20n;
      for (const [field, settings] of [
        ['durability', { durability: 0 }], ['durability', { durability: 4 }],
        ['replication', { durability: 1, replication: 2 }], ['replication', { durability: 1, replication: 4 }], ['replication', { durability: 1, replication: 7 }],
        ['replication', { durability: 2, interval_ms: 10, replication: 3 }], ['replication', { durability: 3, replication: 5 }],
        ['interval_ms', { durability: 2, interval_ms: 0 }], ['interval_ms', { durability: 2, interval_ms: 60_001 }],
        ['segment_bytes', { durability: 1, segment_bytes: 1n }], ['segment_bytes', { durability: 1, segment_bytes: MiB - 1n }],
        ['segment_bytes', { durability: 1, segment_bytes: 1024n * MiB + 1n }],
        ['compressions', { durability: 1, compressions: 8 }], ['compressions', { durability: 1, compressions: 128 }],
      ] as const) {
        const log = t.name();
        await client.refused('CREATE_LOG', { log, ...settings }, 'INVALID_ARGUMENT', { field });
        await client.refused('DESCRIBE_LOG', { log }, 'LOG_NOT_FOUND');
      }
      await client.refused('CREATE_LOG', { log: t.name(), durability: 1, ext: [tlv(CRITICAL | 2, Buffer.alloc(16))] }, 'UNSUPPORTED_FEATURE');
      await t.log(client, { durability: 1, ext: [tlv(2, Buffer.alloc(16))] });
    }),

  define('settings-shown', 'DESCRIBE_LOG shows the settings that hold, with defaults in place of zeros.', 'LOG-28 LOG-20 LIMIT-2',
    { kills: ['answer:DESCRIBE_LOG.compressions', 'answer:DESCRIBE_LOG.replication', 'answer:DESCRIBE_LOG.segment_bytes', 'answer:DESCRIBE_LOG.interval_ms', 'answer:DESCRIBE_LOG.retain_bytes', 'answer:DESCRIBE_LOG.retain_ms', 'answer:DESCRIBE_LOG.durability', 'answer-zero:DESCRIBE_LOG.created'] }, async (t) => {
      const client = await t.ready();
      const GiB = 1n << 30n;
      const given = await t.log(client, { durability: 2, replication: 1, interval_ms: 60_000, retain_bytes: 5n * GiB, retain_ms: 86_400_000n, segment_bytes: GiB, compressions: 7 });
      const shown = await describe(client, given);
      t.equal([shown.durability, shown.replication, shown.interval_ms, shown.retain_bytes, shown.retain_ms, shown.segment_bytes, shown.compressions],
        [2, 1, 60_000, 5n * GiB, 86_400_000n, GiB, 7], 'the settings as given');
      const before = BigInt(Date.now());
      const plain = await describe(client, await t.log(client, { durability: 1, segment_bytes: 1n << 20n }));
      t.equal([plain.durability, plain.interval_ms, plain.retain_bytes, plain.retain_ms, plain.segment_bytes, plain.compressions, plain.fence],
        [1, 0, 0n, 0n, 1n << 20n, 3, 0n], 'the settings of a plain log');
      const defaults = await describe(client, await t.log(client));
      t.ok([1, 3, 5].includes(defaults.replication), 'a replication of 1, 3 or 5 in place of 0', defaults.replication);
      t.ok(defaults.segment_bytes >= 1n << 20n && defaults.segment_bytes <= GiB, 'a segment_bytes from 1 MiB to 1 GiB in place of 0', defaults.segment_bytes);
      t.ok(plain.created > before - 86_400_000n && plain.created < before + 86_400_000n, 'a time of creation that is a time of today', plain.created);
      const unused = await describe(client, await t.log(client, { durability: 3, interval_ms: 77 }));
      t.equal([unused.interval_ms, unused.replication], [0, 1], 'interval_ms and replication of a log in memory');
    }),

  define('delete', 'After DELETE_LOG every request that names the log gets LOG_NOT_FOUND.', 'LOG-24',
    { modes: true, kills: ['swallow:DELETE_LOG', 'status:LOG_NOT_FOUND'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'gone soon');
      await client.ok('DELETE_LOG', { log });
      for (const [op, input] of rightRequests(t, log)) {
        if ('log' in input && op !== 'CREATE_LOG') await client.refused(op, input as never, 'LOG_NOT_FOUND');
      }
      await client.refused('DELETE_LOG', { log }, 'LOG_NOT_FOUND');
      t.equal((await listLogs(client, log)).logs.length, 0, 'entries of the deleted log in LIST_LOGS');
    }),

  define('delete-ends-fetch', 'DELETE_LOG ends waiting FETCHes with LOG_NOT_FOUND.', 'LOG-25 READ-11',
    { kills: ['status:LOG_NOT_FOUND', 'srv:delete-keeps-waits', 'drop-answer:FETCH'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = await waitingFetch(t, client, log);
      const other = await t.ready({ label: 'another client' });
      await other.ok('DELETE_LOG', { log });
      await client.refusedAnswer('FETCH', id, 'LOG_NOT_FOUND');
    }),

  define('delete-ends-subscription', 'DELETE_LOG ends subscriptions with LOG_NOT_FOUND.', 'LOG-25 SUB-3',
    { needs: ['feature:streaming'], kills: ['status:LOG_NOT_FOUND', 'srv:delete-keeps-waits', 'drop-answer:DELIVER'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const id = client.request('SUBSCRIBE', { log, from: 1, credit_bytes: 100 });
      await client.okAnswer('SUBSCRIBE', id);
      await client.ok('DELETE_LOG', { log });
      const end = await client.deliver(id);
      t.equal([end.status, end.more], ['LOG_NOT_FOUND', false], 'the end of the subscription');
    }),

  define('delete-under-produce', 'A PRODUCE in flight when its log is deleted gets its result or LEADERSHIP_LOST; LOG_NOT_FOUND only if nothing was stored.', 'LOG-26 ERR-5',
    { kills: ['produce-lost-is-not-found'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const frames = Array.from({ length: 30 }, (_, i) => client.bytesOf('PRODUCE', put(log, batchOf(`p${i}`)), { id: 700 + i }));
      client.conn.write(Buffer.concat([...frames, client.bytesOf('DELETE_LOG', { log }, { id: 999 })]));
      let last = 'OK';
      for (let i = 0; i < 30; i++) {
        const { status } = await client.answer('PRODUCE', 700 + i);
        t.ok(['OK', 'LEADERSHIP_LOST', 'LOG_NOT_FOUND'].includes(status), 'OK, LEADERSHIP_LOST or LOG_NOT_FOUND', status);
        // A PRODUCE that came before the DELETE on the same connection was given an index before it.
        if (status === 'LOG_NOT_FOUND') t.fail('the answer to a PRODUCE sent before DELETE_LOG', 'OK or LEADERSHIP_LOST', status);
        last = status;
      }
      await client.okAnswer('DELETE_LOG', 999);
      t.note(`the last PRODUCE before DELETE_LOG got ${last}`);
    }),

  define('created-again', 'A log created again under its name begins at offset 0 with nothing of the old one.', 'LOG-27',
    { kills: ['swallow:DELETE_LOG'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a', 'b', 'c');
      if (t.has('conditional')) {
        await client.ok('FENCE', { log, token: 9n });
        await client.ok('PUT_POSITION', { log, name: 'p', offset: 2n });
      }
      const producer = t.has('idempotence') ? await client.ok('INIT_PRODUCER', { log, name: 'p' }) : null;
      await client.ok('DELETE_LOG', { log });
      await t.log(client, { log });
      const shown = await describe(client, log);
      t.equal([shown.log_start, shown.committed_end, shown.fence], [0n, 0n, 0n], 'log_start, committed_end and fence');
      await fetch(client, { log, from: 1 });
      if (t.has('conditional')) await client.refused('GET_POSITION', { log, name: 'p' }, 'POSITION_NOT_FOUND');
      if (producer) {
        const batch = buildBatch({ records: [{ value: 'x' }], producer: { id: producer.producer_id, epoch: producer.epoch, seq: 0n } });
        await client.refused('PRODUCE', { log, batch }, 'UNKNOWN_PRODUCER');
      }
      t.equal((await produce(client, log, 'new')).base_offset, 0n, 'the offset of the first record');
      await holds(t, client, log, ['new']);
    }),

  define('describe-after-ack', 'DESCRIBE_LOG shows a committed_end with every record acked before.', 'LOG-29',
    { kills: ['answer:DESCRIBE_LOG.committed_end', 'stale:DESCRIBE_LOG'] }, async (t) => {
      const client = await t.ready();
      const other = await t.ready();
      const log = await t.log(client);
      let bytes = 0n;
      for (let i = 1; i <= 20; i++) {
        await produce(client, log, `v${i}`);
        const shown = await describe(i % 2 ? client : other, log);
        t.equal(shown.committed_end, BigInt(i), `committed_end after ${i} acks`);
        t.ok(shown.bytes >= bytes && shown.bytes > 0n, 'bytes that grow', shown.bytes);
        bytes = shown.bytes;
      }
    }),

  define('list', 'LIST_LOGS lists exactly the logs whose name begins with the prefix, in the order of bytes.', 'LOG-31 LOG-32 LOG-34 LOG-35',
    { kills: ['list:drop-last', 'list:reverse', 'list:extra', 'stale:LIST_LOGS'] }, async (t) => {
      const client = await t.ready();
      const prefix = t.name('list');
      const names = ['-b', '-a', '-B', '-a.x', '-ab', '_1', '.z', '-e'].map((tail) => prefix + tail);
      for (const log of names) await t.log(client, { log });
      const inOrder = (chosen: string[]): string[] => chosen.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const part of [prefix, `${prefix}-`, `${prefix}-a`, `${prefix}-zzz`, `${prefix}-a.x`]) {
        const { logs } = await listLogs(client, part);
        t.equal(logs.map(({ log }) => log), inOrder(names.filter((name) => name.startsWith(part))), `the names listed for the prefix ${part}`);
      }
      const everything = (await listLogs(client, '')).logs.map(({ log }) => log);
      t.ok(names.every((name) => everything.includes(name)), 'an empty prefix lists all logs', everything);
      t.equal(everything, inOrder([...everything]), 'the order of all logs');
      await client.ok('DELETE_LOG', { log: names[0]! });
      t.ok(!(await listLogs(client, prefix)).logs.some(({ log }) => log === names[0]), 'a deleted log is not listed');
      const id = client.request('LIST_LOGS', { prefix: `${prefix}-zzz` });
      const { frame, fields } = await client.okAnswer('LIST_LOGS', id);
      t.equal([fields.logs.length, frame.flags & 2], [0, 0], 'an empty list: one frame, without MORE');
    }),

  define('list-prefix', 'A prefix may hold any characters up to 200 bytes; a longer one is refused.', 'LOG-30 LIMIT-2',
    { kills: ['accept:INVALID_ARGUMENT', 'status:INVALID_ARGUMENT', 'tlv:field', 'srv:prefix-is-name'] }, async (t) => {
      const client = await t.ready();
      for (const prefix of ['$', '.', ' ', 'ü', '/', 'x'.repeat(200)]) await client.ok('LIST_LOGS', { prefix });
      for (const prefix of ['x'.repeat(201), 'é'.repeat(101)]) await client.refused('LIST_LOGS', { prefix }, 'INVALID_ARGUMENT', { field: 'prefix' });
    }),

  define('list-in-frames', "An answer to LIST_LOGS that exceeds the client's max_frame comes in several frames, cut between elements.", 'LOG-33 LOG-32 FRAME-17 FRAME-18 FRAME-19',
    { slow: true, kills: ['list:drop-last', 'more:lost', 'srv:list-one-frame', 'list:reverse'] }, async (t) => {
      const client = await t.ready();
      const least = client.hello.max_batch + 8_192;
      const small = await t.ready({ hello: { max_frame: least } });
      const prefix = t.name('many').padEnd(190, 'm');
      // Enough entries of about 340 bytes to fill more than one frame, if that is at all possible here.
      const wanted = Math.ceil((least * 1.2) / 340);
      if (wanted > 700 && !(t.target.limits.logs! > wanted + 100)) return listSmall(wanted);
      for (let i = 0; i < wanted; i++) await t.log(client, { log: `${prefix}${i}`, durability: 3 });
      const { logs, frames } = await listLogs(small, prefix);
      const names = Array.from({ length: wanted }, (_, i) => `${prefix}${i}`).sort();
      t.equal(logs.length, wanted, 'entries over all frames');
      t.ok(names.every((name, i) => logs[i]!.log === name), 'all entries in the order of their names, over all frames', logs.map((entry) => entry.log.slice(prefix.length)).slice(0, 30));
      t.ok(frames > 1, 'more than one frame', frames);
      return undefined;

      function listSmall(n: number): void {
        t.skip('limit:logs', `${n} logs would be needed to fill a frame of ${least} bytes; set limits.logs if the server may have so many`);
      }
    }),

  define('too-many', 'CREATE_LOG beyond the limit of logs gets INVALID_ARGUMENT that names log, with the number.', 'LOG-21',
    { needs: ['limit:logs'], exclusive: true, kills: ['accept:INVALID_ARGUMENT', 'tlv:limit', 'tlv:field'] }, async (t) => {
      const client = await t.ready();
      const limit = t.target.limits.logs!;
      const have = (await listLogs(client, '')).logs.length;
      const prefix = t.name();
      const ids: number[] = [];
      for (let i = 0; i < limit - have; i++) {
        t.logs.push(`${prefix}-${i}`);
        ids.push(client.request('CREATE_LOG', { log: `${prefix}-${i}`, durability: 3 }));
        if (ids.length >= 50) for (const id of ids.splice(0)) await client.okAnswer('CREATE_LOG', id, t.ms(20_000));
      }
      for (const id of ids) await client.okAnswer('CREATE_LOG', id, t.ms(20_000));
      await client.refused('CREATE_LOG', { log: `${prefix}-over`, durability: 3 }, 'INVALID_ARGUMENT', { field: 'log', limit: BigInt(limit) });
      await client.ok('DELETE_LOG', { log: `${prefix}-0` });
      await t.log(client, { log: `${prefix}-over`, durability: 3 });
      for (let i = 1; i < 4; i++) await client.ok('DELETE_LOG', { log: `${prefix}-${i}` }); // room for the log of the liveness probe
    }),
];

const trim = area('trim', 'core');

export const trimCases = [
  trim('border', 'TRIM sets log_start to the highest batch border not above offset; offsets stay.', 'LOG-36 LOG-39',
    { modes: true, kills: ['answer:TRIM.log_start', 'swallow:TRIM', 'srv:trim-exact'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a', 'b', 'c');
      await produce(client, log, 'd', 'e');
      await produce(client, log, 'f');
      t.equal((await client.ok('TRIM', { log, offset: 2n })).log_start, 0n, 'log_start after a TRIM inside the first batch');
      t.equal((await client.ok('TRIM', { log, offset: 4n })).log_start, 3n, 'log_start after a TRIM inside the second batch');
      const batches = await readAll(client, log);
      t.equal(batches.map((b) => [b.baseOffset, b.count]), [[3n, 2], [5n, 1]], 'the batches that are left');
      const shown = await describe(client, log);
      t.equal([shown.log_start, shown.committed_end], [3n, 6n], 'log_start and committed_end');
      await client.refused('FETCH', { log, value: 2n }, 'OFFSET_OUT_OF_RANGE', { range: { log_start: 3n, committed_end: 6n } });
      t.equal((await client.ok('TRIM', { log, offset: 999n })).log_start, 6n, 'log_start after a TRIM above the end');
      t.equal(await committedEnd(client, log), 6n, 'committed_end after a TRIM of everything');
      t.equal((await produce(client, log, 'g')).base_offset, 6n, 'the offset of a record after a TRIM of everything');
      t.equal((await readAll(client, log)).flatMap(recordValues).map(String), ['g'], 'what is left');
    }),

  trim('never-lower', 'TRIM below log_start answers OK with the present one and changes nothing.', 'LOG-37',
    { kills: ['answer:TRIM.log_start', 'error-for:TRIM'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 5; i++) await produce(client, log, `v${i}`);
      t.equal((await client.ok('TRIM', { log, offset: 3n })).log_start, 3n, 'log_start after TRIM to 3');
      for (const offset of [0n, 2n, 3n]) t.equal((await client.ok('TRIM', { log, offset })).log_start, 3n, `log_start after TRIM to ${offset}`);
      await holds(t, client, log, ['v3', 'v4']);
    }),
];
