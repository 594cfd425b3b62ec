// §9.3, §9.5 and §10.5: expected offset, fence, positions.
import { area } from '../engine/case.ts';
import { batchOf } from '../wire/batch.ts';
import { NONE, U64_MAX } from '../wire/layouts.ts';
import { committedEnd, describe, fetch, holds, listPositions, notAnswered, produce, put } from './help.ts';

const offset = area('offset', 'conditional');

export const expectedOffsetCases = [
  offset('matches', 'A batch with an expected_offset is stored when its first record gets exactly that offset.', 'COND-1',
    { modes: true, kills: ['status:OFFSET_MISMATCH', 'answer:PRODUCE.base_offset', 'request-expected-none'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      let next = 0n;
      for (const values of [['a'], ['b', 'c', 'd'], ['e']]) {
        const ack = await client.ok('PRODUCE', put(log, batchOf(...values), { expected_offset: next }));
        t.equal(ack.base_offset, next, 'the offset that the batch got');
        next = ack.next_offset;
        await client.refused('PRODUCE', put(log, batchOf('x'), { expected_offset: next - 1n }), 'OFFSET_MISMATCH', { next_offset: next });
      }
    }),

  offset('mismatch', 'Any other expected_offset gets OFFSET_MISMATCH with the next offset, and no record is stored.', 'COND-2 COND-4',
    { kills: ['status:OFFSET_MISMATCH', 'accept:OFFSET_MISMATCH', 'tlv:next_offset', 'request-expected-none', 'srv:expected-ignored'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const wrong of [1n, 5n, U64_MAX]) await client.refused('PRODUCE', put(log, batchOf('x'), { expected_offset: wrong }), 'OFFSET_MISMATCH', { next_offset: 0n });
      await produce(client, log, 'a', 'b', 'c');
      for (const wrong of [0n, 2n, 4n, U64_MAX]) await client.refused('PRODUCE', put(log, batchOf('x', 'y'), { expected_offset: wrong }), 'OFFSET_MISMATCH', { next_offset: 3n });
      await holds(t, client, log, ['a', 'b', 'c']);
    }),

  offset('counts-uncommitted', 'expected_offset is compared with the offset after all batches accepted before, committed or not.', 'COND-3 PROD-9',
    { kills: ['status:OFFSET_MISMATCH', 'request-expected-none', 'srv:expected-vs-committed'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const frames: Buffer[] = [];
      for (let i = 0; i < 30; i++) {
        frames.push(client.bytesOf('PRODUCE', put(log, batchOf(`a${i}`, `b${i}`), { expected_offset: BigInt(2 * i) }), { id: 100 + 2 * i }));
        frames.push(client.bytesOf('PRODUCE', put(log, batchOf('too late'), { expected_offset: BigInt(2 * i) }), { id: 101 + 2 * i }));
      }
      client.conn.write(Buffer.concat(frames));
      for (let i = 0; i < 30; i++) {
        t.equal((await client.okAnswer('PRODUCE', 100 + 2 * i)).fields.base_offset, BigInt(2 * i), `the offset of batch ${i}`);
        await client.refusedAnswer('PRODUCE', 101 + 2 * i, 'OFFSET_MISMATCH', { next_offset: BigInt(2 * i + 2) });
      }
      t.equal(await committedEnd(client, log), 60n, 'committed_end');
    }),

  offset('one-winner', 'Of several clients with the same expected_offset exactly one succeeds, again and again.', 'COND-1 COND-3 COND-4',
    { kills: ['request-expected-none', 'srv:expected-ignored', 'accept:OFFSET_MISMATCH'] }, async (t) => {
      const clients = [await t.ready(), await t.ready(), await t.ready(), await t.ready()];
      const log = await t.log(clients[0]!);
      for (let round = 0n; round < 20n; round++) {
        const ids = clients.map((client, i) => client.request('PRODUCE', put(log, batchOf(`round ${round} of ${i}`), { expected_offset: round })));
        let winners = 0;
        for (const [i, client] of clients.entries()) {
          const answer = await client.answer('PRODUCE', ids[i]!);
          if (answer.error === null) winners++;
          else t.equal(answer.status, 'OFFSET_MISMATCH', 'the answer to a loser');
        }
        t.equal(winners, 1, `clients that won round ${round}`);
      }
      t.equal(await committedEnd(clients[0]!, log), 20n, 'committed_end');
    }),
];

const fence = area('fence', 'conditional');

export const fenceCases = [
  fence('raise', 'A higher token raises the fence, the current one changes nothing, a lower one gets FENCED with the current.', 'FENCE-1 FENCE-2 FENCE-3',
    { modes: true, kills: ['answer:FENCE.token', 'answer:FENCE.next_offset', 'status:FENCED', 'tlv:fence', 'accept:FENCED', 'srv:accept-lower-fence'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await produce(client, log, 'a', 'b');
      for (const [token, held] of [[0n, 0n], [5n, 5n], [5n, 5n], [9n, 9n], [U64_MAX, U64_MAX]] as const) {
        const answer = await client.ok('FENCE', { log, token });
        t.equal([answer.token, answer.next_offset], [held, 2n], `the answer to FENCE ${token}`);
        t.equal((await describe(client, log)).fence, held, 'the fence that DESCRIBE_LOG shows');
      }
      for (const token of [0n, 1n, U64_MAX - 1n]) await client.refused('FENCE', { log, token }, 'FENCED', { fence: U64_MAX });
    }),

  fence('produce', "A PRODUCE needs exactly the log's token: none, a lower or a higher one gets FENCED with the current.", 'FENCE-4 FENCE-5',
    { kills: ['srv:fence-ignored', 'request-fence-none', 'status:FENCED', 'tlv:fence', 'accept:FENCED', 'srv:unfenced-writers-pass'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const wrong of [1n, U64_MAX]) await client.refused('PRODUCE', put(log, batchOf('x'), { fence: wrong }), 'FENCED', { fence: 0n });
      await produce(client, log, 'without');
      await client.ok('FENCE', { log, token: 7n });
      for (const wrong of [0n, 1n, 6n, 8n, U64_MAX]) await client.refused('PRODUCE', put(log, batchOf('x'), { fence: wrong }), 'FENCED', { fence: 7n });
      await client.ok('PRODUCE', put(log, batchOf('with'), { fence: 7n }));
      await holds(t, client, log, ['without', 'with']);
    }),

  fence('nothing-older-after', 'No batch under an older token is stored at or above the next_offset of an answered FENCE.', 'FENCE-7 FENCE-4',
    { kills: ['answer:FENCE.next_offset', 'srv:unfenced-writers-pass'] }, async (t) => {
      const writer = await t.ready({ label: 'old writer' });
      const heir = await t.ready({ label: 'new writer' });
      const log = await t.log(heir);
      for (let token = 1n; token <= 10n; token++) {
        const frames = Array.from({ length: 20 }, (_, i) => writer.bytesOf('PRODUCE', put(log, batchOf(`token ${token - 1n}`), { fence: token - 1n }), { id: 1_000 + i }));
        writer.conn.write(Buffer.concat(frames));
        const { next_offset } = await heir.ok('FENCE', { log, token });
        for (let i = 0; i < 20; i++) {
          const answer = await writer.answer('PRODUCE', 1_000 + i);
          if (answer.error === null) t.ok(answer.fields.base_offset < next_offset, `an offset below ${next_offset} for a batch under the old token`, answer.fields.base_offset);
          else t.equal(answer.status, 'FENCED', 'the answer to a late batch');
        }
        await writer.refused('PRODUCE', put(log, batchOf('late'), { fence: token - 1n }), 'FENCED', { fence: token });
        t.equal((await fetch(heir, { log, from: 2 })).fields.committed_end, next_offset, 'committed_end when all old writers are through');
      }
    }),

  fence('committed', 'FENCE is answered only when the token is committed.', 'FENCE-6 POS-8 POS-13',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['srv:fence-before-commit'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 1n });
      await t.hook('slowsync', { ms: 1_500 });
      const id = client.request('FENCE', { log, token: 3n });
      const put1 = client.request('PUT_POSITION', { log, name: 'p', offset: 2n, expected: 1n });
      const put2 = client.request('PUT_POSITION', { log, name: 'p', offset: 3n, expected: 1n });
      await client.barrier();
      notAnswered(t, client, id, 'a FENCE before its sync ended');
      notAnswered(t, client, put1, 'a PUT_POSITION before its sync ended');
      notAnswered(t, client, put2, 'POSITION_MISMATCH before what it was judged against is committed');
      await client.okAnswer('FENCE', id);
      await client.okAnswer('PUT_POSITION', put1);
      await client.refusedAnswer('PUT_POSITION', put2, 'POSITION_MISMATCH', { next_offset: 2n });
    }),
];

const position = area('position', 'conditional');

export const positionCases = [
  position('put-get', 'PUT_POSITION stores any offset, also a lower one or one outside the log; GET_POSITION gives it back.', 'POS-1 POS-2 POS-9',
    { modes: true, kills: ['answer:PUT_POSITION.offset', 'answer:GET_POSITION.offset', 'swallow:PUT_POSITION', 'srv:position-monotonic', 'srv:position-in-range'] }, async (t) => {
      const client = await t.ready();
      const other = await t.ready({ label: 'another client' });
      const log = await t.log(client);
      for (const value of [5n, 3n, 0n, U64_MAX, 1n]) {
        t.equal((await client.ok('PUT_POSITION', { log, name: 'p', offset: value })).offset, value, 'the offset that PUT_POSITION answers');
        t.equal((await other.ok('GET_POSITION', { log, name: 'p' })).offset, value, 'the offset that GET_POSITION answers');
      }
    }),

  position('cas', 'With expected, PUT_POSITION stores only if the position has that value; else POSITION_MISMATCH with the present one.', 'POS-3',
    { kills: ['status:POSITION_MISMATCH', 'tlv:next_offset', 'accept:POSITION_MISMATCH', 'request-expected-none', 'srv:position-set-without-comparing'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 5n });
      for (const expected of [0n, 4n, 6n, U64_MAX]) await client.refused('PUT_POSITION', { log, name: 'p', offset: 9n, expected }, 'POSITION_MISMATCH', { next_offset: 5n });
      t.equal((await client.ok('GET_POSITION', { log, name: 'p' })).offset, 5n, 'the position after mismatches');
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 9n, expected: 5n });
      t.equal((await client.ok('GET_POSITION', { log, name: 'p' })).offset, 9n, 'the position after a match');
    }),

  position('cas-create', 'A position that does not exist compares as 0.', 'POS-4 POS-3',
    { kills: ['status:POSITION_MISMATCH', 'tlv:next_offset', 'accept:POSITION_MISMATCH', 'srv:missing-position-none'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.refused('PUT_POSITION', { log, name: 'p', offset: 5n, expected: 1n }, 'POSITION_MISMATCH', { next_offset: 0n });
      await client.refused('GET_POSITION', { log, name: 'p' }, 'POSITION_NOT_FOUND');
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 5n, expected: 0n });
      await client.refused('PUT_POSITION', { log, name: 'p', offset: 6n, expected: 0n }, 'POSITION_MISMATCH', { next_offset: 5n });
    }),

  position('cas-race', 'Of several PUT_POSITIONs with the same expected at most one succeeds.', 'POS-10 POS-14',
    { kills: ['request-expected-none', 'accept:POSITION_MISMATCH', 'srv:position-set-without-comparing'] }, async (t) => {
      const clients = [await t.ready(), await t.ready(), await t.ready()];
      const log = await t.log(clients[0]!);
      for (let round = 0n; round < 20n; round++) {
        const now = round * 10n;
        const ids = clients.map((client, i) => client.request('PUT_POSITION', { log, name: 'p', offset: now + 10n + BigInt(i), expected: now }));
        const pairs: bigint[] = [];
        for (const [i, client] of clients.entries()) {
          const answer = await client.answer('PUT_POSITION', ids[i]!);
          if (answer.error === null) pairs.push(answer.fields.offset);
          else t.equal(answer.status, 'POSITION_MISMATCH', 'the answer to a loser');
        }
        t.equal(pairs.length, 1, `PUT_POSITIONs that succeeded in round ${round}`);
        t.equal((await clients[0]!.ok('GET_POSITION', { log, name: 'p' })).offset, pairs[0]!, 'the position after the race');
        await clients[0]!.ok('PUT_POSITION', { log, name: 'p', offset: now + 10n });
      }
    }),

  position('cas-pipelined', 'PUT_POSITIONs in one piece are judged one after another; the last one holds.', 'POS-10 POS-1',
    { kills: ['request-expected-none', 'status:POSITION_MISMATCH', 'srv:position-judged-committed'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const frames: Buffer[] = [];
      for (let i = 0; i < 20; i++) {
        frames.push(client.bytesOf('PUT_POSITION', { log, name: 'p', offset: BigInt(i + 1), expected: BigInt(i) }, { id: 100 + 2 * i }));
        frames.push(client.bytesOf('PUT_POSITION', { log, name: 'p', offset: 999n, expected: BigInt(i) + 5n }, { id: 101 + 2 * i }));
      }
      client.conn.write(Buffer.concat(frames));
      for (let i = 0; i < 20; i++) {
        await client.okAnswer('PUT_POSITION', 100 + 2 * i);
        await client.refusedAnswer('PUT_POSITION', 101 + 2 * i, 'POSITION_MISMATCH', { next_offset: BigInt(i + 1) });
      }
      t.equal((await client.ok('GET_POSITION', { log, name: 'p' })).offset, 20n, 'the position at the end');
    }),

  position('delete', 'Offset NONE deletes the position and answers NONE; deleting what is not there is OK; then POSITION_NOT_FOUND.', 'POS-5 POS-6 POS-7',
    { kills: ['answer:PUT_POSITION.offset', 'status:POSITION_NOT_FOUND', 'accept:POSITION_NOT_FOUND', 'swallow:PUT_POSITION', 'srv:delete-missing-fails'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.refused('GET_POSITION', { log, name: 'p' }, 'POSITION_NOT_FOUND');
      t.equal((await client.ok('PUT_POSITION', { log, name: 'p', offset: NONE })).offset, NONE, 'the answer to deleting what is not there');
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 4n });
      await client.refused('PUT_POSITION', { log, name: 'p', offset: NONE, expected: 3n }, 'POSITION_MISMATCH', { next_offset: 4n });
      t.equal((await client.ok('PUT_POSITION', { log, name: 'p', offset: NONE, expected: 4n })).offset, NONE, 'the answer to a deletion');
      await client.refused('GET_POSITION', { log, name: 'p' }, 'POSITION_NOT_FOUND');
      t.equal((await listPositions(client, log)).positions.length, 0, 'positions listed');
    }),

  position('read-from', 'A read from a position starts at its offset, as it was last acked.', 'READ-7 POS-9 READ-1',
    { kills: ['answer:FETCH.start_offset', 'swallow:PUT_POSITION', 'request-from-earliest', 'status:OFFSET_OUT_OF_RANGE'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 4; i++) await produce(client, log, `v${i}`);
      for (const value of [0n, 3n, 1n, 4n]) {
        await client.ok('PUT_POSITION', { log, name: 'p', offset: value });
        const { fields, batches } = await fetch(client, { log, from: 4, position_name: 'p' });
        t.equal([fields.start_offset, batches[0]?.baseOffset ?? null], [value, value < 4n ? value : null], `start_offset and first batch of a read from position ${value}`);
      }
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 9n });
      await client.refused('FETCH', { log, from: 4, position_name: 'p' }, 'OFFSET_OUT_OF_RANGE', { range: { log_start: 0n, committed_end: 4n } });
    }),

  position('list', 'LIST_POSITIONS lists all positions in the order of bytes, with offset and time of change.', 'POS-11 LOG-34',
    { modes: true, kills: ['list:drop-last', 'list:reverse', 'answer:LIST_POSITIONS.positions'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      t.equal((await listPositions(client, log)).positions.length, 0, 'positions of a new log');
      const names = ['b', 'a', 'B', 'a.x', 'ab', '_', 'z'.repeat(200), '-'];
      for (const [i, name] of names.entries()) await client.ok('PUT_POSITION', { log, name, offset: BigInt(i) });
      const { positions } = await listPositions(client, log);
      t.equal(positions.map((p) => [p.name, p.offset]), names.map((name, i) => [name, BigInt(i)]).sort(([a], [b]) => Buffer.compare(Buffer.from(a as string), Buffer.from(b as string))), 'the positions');
      const now = BigInt(Date.now());
      for (const { updated } of positions) t.ok(updated > now - 86_400_000n && updated < now + 86_400_000n, 'a time of change of today', updated);
    }),

  position('ten-thousand', 'At least 10,000 positions are kept, listed in several frames; beyond the limit INVALID_ARGUMENT that names name.', 'POS-12 POS-11 LOG-33',
    { slow: true, kills: ['srv:positions-max-1000', 'list:drop-last', 'more:lost', 'raise-max-frame'] }, async (t) => {
      const client = await t.ready();
      const least = client.hello.max_batch + 8_192;
      const small = await t.ready({ hello: { max_frame: least } });
      const log = await t.log(client);
      const name = (i: number): string => String(i).padStart(180, 'p');
      const putMany = async (from: number, to: number): Promise<number | null> => {
        const ids = Array.from({ length: to - from }, (_, i) => client.request('PUT_POSITION', { log, name: name(from + i), offset: BigInt(from + i) }));
        let refused: number | null = null;
        for (const [i, id] of ids.entries()) {
          const answer = await client.answer('PUT_POSITION', id, t.ms(30_000));
          if (answer.error === null) continue;
          t.equal([answer.status, answer.error.tlvs.field, answer.error.tlvs.limit], ['INVALID_ARGUMENT', 'name', BigInt(refused ?? from + i)], 'the answer to one position too many');
          refused ??= from + i;
        }
        return refused;
      };
      for (let at = 0; at < 10_000; at += 500) t.equal(await putMany(at, at + 500), null, 'the first position refused of 10,000');
      const { positions, frames } = await listPositions(small, log);
      const wanted = Array.from({ length: 10_000 }, (_, i) => name(i)).sort();
      t.equal(positions.length, 10_000, 'the number of positions');
      const wrong = positions.findIndex((p, i) => p.name !== wanted[i]);
      t.equal(wrong, -1, 'the first place in the list that is out of order');
      if (least < 1_900_000) t.ok(frames > 1, `several frames for about 2 MB and max_frame ${least}`, frames);
      if ((await putMany(10_000, 10_100)) === null) t.note('no limit of positions up to 10,100');
      await client.ok('PUT_POSITION', { log, name: name(5), offset: 1n });
    }),

  position('survives-trim', 'Trimming does not change positions.', 'LOG-39 POS-2',
    { kills: ['answer:GET_POSITION.offset'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (let i = 0; i < 4; i++) await produce(client, log, `v${i}`);
      await client.ok('PUT_POSITION', { log, name: 'p', offset: 1n });
      await client.ok('TRIM', { log, offset: 3n });
      t.equal((await client.ok('GET_POSITION', { log, name: 'p' })).offset, 1n, 'the position after a TRIM beyond it');
      await client.refused('FETCH', { log, from: 4, position_name: 'p' }, 'OFFSET_OUT_OF_RANGE', { range: { log_start: 3n, committed_end: 4n } });
    }),
];
