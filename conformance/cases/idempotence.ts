// §9.4: producers and duplicates.
import { area } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import type { Client } from '../net/client.ts';
import { buildBatch } from '../wire/batch.ts';
import { NONE, U64_MAX } from '../wire/layouts.ts';
import type { ResponseOf } from '../wire/layouts.ts';
import { committedEnd, fetch, holds, initProducer, produce, put } from './help.ts';

const define = area('idem', 'idempotence');

interface Producer {
  readonly id: bigint;
  readonly epoch: number;
  readonly window: number;
  readonly nextSeq: bigint;
}

export async function producerOf(client: Client, log: string, name = 'p'): Promise<Producer> {
  const { producer_id: id, epoch, next_seq: nextSeq, window } = await initProducer(client, log, name);
  return { id, epoch, window, nextSeq };
}

/** A batch of this producer; its value tells seq, unless another is given. */
export function owned({ id, epoch }: Pick<Producer, 'id' | 'epoch'>, seq: bigint, value = `seq ${seq}`): Buffer {
  return buildBatch({ records: [{ value }], producer: { id, epoch, seq } });
}

/** Demands a DUPLICATE with these offsets. */
async function duplicate(t: Context, client: Client, log: string, batch: Buffer, original: ResponseOf<'PRODUCE'>): Promise<void> {
  const ack = await client.ok('PRODUCE', put(log, batch));
  t.equal([ack.flags, ack.base_offset, ack.next_offset, ack.append_time], [1, original.base_offset, original.next_offset, original.append_time],
    'flags, offsets and append_time of the answer to a duplicate');
  t.equal([ack.term >= 1n, ack.durability, ack.copies], [true, original.durability, original.copies], 'term, durability and copies of the answer to a duplicate');
}

export const idempotenceCases = [
  define('init', 'A new name gets a producer_id from 1 to 2^53 − 1 that no other has, next_seq 0 and a window of at least 64.', 'IDEM-1 IDEM-5 LIMIT-1',
    { modes: true, kills: ['answer:INIT_PRODUCER.next_seq', 'answer-zero:INIT_PRODUCER.window', 'srv:producer-ids-counted'] }, async (t) => {
      const client = await t.ready();
      const logs = [await t.log(client), await t.log(client)];
      const ids: bigint[] = [];
      for (const log of logs) {
        for (let i = 0; i < 5; i++) {
          const producer = await initProducer(client, log, `p${i}`);
          t.ok(producer.producer_id >= 1n && producer.producer_id <= U64_MAX, 'a producer_id from 1 to 2^53 − 1', producer.producer_id);
          t.equal(producer.next_seq, 0n, 'next_seq of a new producer');
          t.ok(producer.window >= 64, 'a window of at least 64', producer.window);
          ids.push(producer.producer_id);
        }
      }
      t.equal(new Set(ids).size, 10, 'different producer_ids of ten producers');
      // Chosen at random from 53 bits: ten of them all small, or in steps, is no accident.
      const sorted = [...ids].sort((a, b) => (a < b ? -1 : 1));
      const steps = new Set(sorted.slice(1).map((id, i) => id - sorted[i]!));
      t.ok(sorted.at(-1)! > 1n << 32n && steps.size > 1, 'producer_ids chosen at random from 53 bits', sorted);
    }),

  define('init-again', 'A known name gets the same producer_id, the next epoch, the same window and the next_seq that holds.', 'IDEM-2 IDEM-4 IDEM-5',
    { kills: ['answer:INIT_PRODUCER.epoch', 'answer:INIT_PRODUCER.next_seq', 'answer:INIT_PRODUCER.producer_id', 'srv:epoch-stays'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      let producer = await producerOf(client, log);
      let seq = 0n;
      for (let round = 1; round <= 4; round++) {
        for (let i = 0; i < round; i++) await client.ok('PRODUCE', put(log, owned(producer, seq++)));
        const again = await producerOf(client, log);
        t.equal([again.id, again.epoch, again.nextSeq, again.window], [producer.id, producer.epoch + 1, seq, producer.window], `the answer to INIT_PRODUCER ${round + 1}`);
        producer = again;
      }
      await client.ok('PRODUCE', put(log, owned(producer, seq)));
    }),

  define('duplicate', 'A batch sent twice is stored once; the second answer is DUPLICATE with the offsets of the first.', 'IDEM-7 IDEM-18 IDEM-17',
    { modes: true, kills: ['request-plain-producer', 'answer:PRODUCE.flags', 'srv:no-dedupe', 'srv:duplicate-new-time'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      await produce(client, log, 'somebody else');
      const batches = [0n, 1n, 2n].map((seq) => owned(producer, seq));
      const acks = [];
      for (const batch of batches) {
        const ack = await client.ok('PRODUCE', put(log, batch));
        t.equal(ack.flags, 0, 'the flags of a first answer');
        acks.push(ack);
      }
      for (const [i, batch] of batches.entries()) await duplicate(t, client, log, batch, acks[i]!);
      const other = await t.ready({ label: 'another connection' });
      await duplicate(t, other, log, batches[1]!, acks[1]!);
      await holds(t, client, log, ['somebody else', 'seq 0', 'seq 1', 'seq 2']);
    }),

  define('duplicate-pipelined', 'A duplicate right behind its original, in one piece, is stored once.', 'IDEM-7 IDEM-17 PROD-9',
    { kills: ['request-plain-producer', 'srv:no-dedupe', 'answer:PRODUCE.base_offset'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      const frames: Buffer[] = [];
      for (let i = 0; i < 20; i++) for (let n = 0; n < 2; n++) frames.push(client.bytesOf('PRODUCE', put(log, owned(producer, BigInt(i))), { id: 100 + 2 * i + n }));
      client.conn.write(Buffer.concat(frames));
      for (let i = 0; i < 20; i++) {
        const first = (await client.okAnswer('PRODUCE', 100 + 2 * i)).fields;
        const second = (await client.okAnswer('PRODUCE', 101 + 2 * i)).fields;
        t.equal([first.base_offset, first.flags], [BigInt(i), 0], 'offset and flags of a first answer');
        t.equal([second.base_offset, second.flags, second.append_time], [first.base_offset, 1, first.append_time], 'offset, flags and time of the duplicate');
      }
      t.equal(await committedEnd(client, log), 20n, 'committed_end');
    }),

  define('duplicate-waits-for-commit', 'OK with DUPLICATE is answered only when the original is committed.', 'IDEM-17',
    { needs: ['hook:slowsync'], exclusive: true, kills: ['srv:duplicate-before-commit'] }, async (t) => {
      const client = await t.ready();
      const other = await t.ready({ label: 'another connection' });
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      await t.hook('slowsync', { ms: 1_500 });
      const first = client.request('PRODUCE', put(log, owned(producer, 0n)));
      await client.barrier();
      const second = other.request('PRODUCE', put(log, owned(producer, 0n)));
      await other.barrier();
      t.ok(!other.conn.inbox.some((frame) => frame.id === second), 'no answer to a duplicate whose original is not committed', 'an answer');
      await client.okAnswer('PRODUCE', first);
      t.equal((await other.okAnswer('PRODUCE', second)).fields.flags, 1, 'the flags of the duplicate');
    }),

  define('duplicate-of-old-epoch', 'A duplicate is recognized also when its epoch is no longer the current one.', 'IDEM-8',
    { kills: ['status:PRODUCER_FENCED', 'srv:epoch-before-duplicate', 'request-plain-producer'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      const batch = owned(producer, 0n);
      const ack = await client.ok('PRODUCE', put(log, batch));
      await producerOf(client, log);
      await duplicate(t, client, log, batch, ack);
      t.equal(await committedEnd(client, log), 1n, 'committed_end');
      await client.refused('PRODUCE', put(log, owned(producer, 1n)), 'PRODUCER_FENCED');
    }),

  define('seq-reused', 'The epoch and seq of a remembered batch with another body get SEQ_REUSED with the next seq, never OK.', 'IDEM-9 IDEM-14',
    { kills: ['status:SEQ_REUSED', 'accept:SEQ_REUSED', 'tlv:expected_seq', 'srv:dedupe-ignores-crc'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      for (const seq of [0n, 1n, 2n]) await client.ok('PRODUCE', put(log, owned(producer, seq)));
      for (const seq of [0n, 1n, 2n]) await client.refused('PRODUCE', put(log, owned(producer, seq, 'something else')), 'SEQ_REUSED', { expected_seq: 3n });
      t.equal(await committedEnd(client, log), 3n, 'committed_end');
    }),

  define('gap', 'A seq above the next one gets SEQ_GAP with the next seq, and stores nothing.', 'IDEM-11 IDEM-14',
    { kills: ['status:SEQ_GAP', 'accept:SEQ_GAP', 'tlv:expected_seq', 'request-plain-producer', 'srv:gap-accepted'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      await client.refused('PRODUCE', put(log, owned(producer, 1n)), 'SEQ_GAP', { expected_seq: 0n });
      await client.ok('PRODUCE', put(log, owned(producer, 0n)));
      for (const seq of [2n, 3n, 1_000n, U64_MAX]) await client.refused('PRODUCE', put(log, owned(producer, seq)), 'SEQ_GAP', { expected_seq: 1n });
      t.equal((await client.ok('PRODUCE', put(log, owned(producer, 1n)))).base_offset, 1n, 'the offset of the right next batch');
    }),

  define('unknown-producer', 'A producer_id that the log does not know gets UNKNOWN_PRODUCER, whatever seq and epoch.', 'IDEM-6',
    { kills: ['status:UNKNOWN_PRODUCER', 'accept:UNKNOWN_PRODUCER', 'request-plain-producer'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      for (const [id, epoch, seq] of [[1n, 0, 0n], [12_345n, 0, 0n], [U64_MAX, 65_535, U64_MAX], [99n, 3, 7n]] as const) {
        await client.refused('PRODUCE', put(log, owned({ id, epoch }, seq)), 'UNKNOWN_PRODUCER');
      }
      t.equal(await committedEnd(client, log), 0n, 'committed_end');
    }),

  define('per-log', 'Producers are per log: the id of one log is unknown in another; the same name is another producer there.', 'IDEM-22 IDEM-6',
    { kills: ['status:UNKNOWN_PRODUCER'] }, async (t) => {
      const client = await t.ready();
      const [one, two] = [await t.log(client), await t.log(client)];
      const producer = await producerOf(client, one);
      await client.ok('PRODUCE', put(one, owned(producer, 0n)));
      await client.refused('PRODUCE', put(two, owned(producer, 1n)), 'UNKNOWN_PRODUCER');
      const other = await producerOf(client, two);
      t.ok(other.id !== producer.id && other.nextSeq === 0n, 'another producer_id and next_seq 0 in the other log', [other.id, other.nextSeq]);
    }),

  define('old-epoch', 'A batch of another epoch than the current one, lower or higher, gets PRODUCER_FENCED.', 'IDEM-10',
    { kills: ['status:PRODUCER_FENCED', 'accept:PRODUCER_FENCED', 'srv:accept-old-epoch'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const zombie = await producerOf(client, log);
      await client.ok('PRODUCE', put(log, owned(zombie, 0n)));
      const heir = await producerOf(client, log);
      for (const epoch of [zombie.epoch, heir.epoch + 1, 65_535]) {
        for (const seq of [1n, 2n, 50n]) await client.refused('PRODUCE', put(log, owned({ id: heir.id, epoch }, seq)), 'PRODUCER_FENCED');
      }
      t.equal((await client.ok('PRODUCE', put(log, owned(heir, 1n)))).base_offset, 1n, 'the offset of the current epoch’s batch');
    }),

  define('seq-goes-on', 'seq goes on over epochs: a new epoch that begins at 0 is told the right seq.', 'IDEM-4 IDEM-13 IDEM-14',
    { kills: ['status:SEQ_REUSED', 'answer:INIT_PRODUCER.next_seq', 'srv:seq-restarts', 'tlv:expected_seq'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const first = await producerOf(client, log);
      for (const seq of [0n, 1n, 2n]) await client.ok('PRODUCE', put(log, owned(first, seq)));
      const second = await producerOf(client, log);
      t.equal(second.nextSeq, 3n, 'next_seq of the second epoch');
      await client.refused('PRODUCE', put(log, owned(second, 0n, 'from the start again')), 'SEQ_REUSED', { expected_seq: 3n });
      await client.refused('PRODUCE', put(log, owned(second, 2n)), 'SEQ_REUSED', { expected_seq: 3n });
      await client.ok('PRODUCE', put(log, owned(second, 3n)));
      t.equal(await committedEnd(client, log), 4n, 'committed_end');
    }),

  define('left-the-window', 'A duplicate that left the window, of the current epoch, gets DUPLICATE with NONE; of an old epoch PRODUCER_FENCED.', 'IDEM-12 IDEM-20 IDEM-10',
    { kills: ['answer:PRODUCE.base_offset', 'answer:PRODUCE.next_offset', 'srv:zombie-below-window', 'srv:window-forgets-early', 'status:PRODUCER_FENCED'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      const n = producer.window + 40;
      const frames = Array.from({ length: n }, (_, i) => client.bytesOf('PRODUCE', put(log, owned(producer, BigInt(i))), { id: 5_000 + i }));
      for (let at = 0; at < n; at += 32) {
        client.conn.write(Buffer.concat(frames.slice(at, at + 32)));
        for (let i = at; i < Math.min(n, at + 32); i++) await client.okAnswer('PRODUCE', 5_000 + i);
      }
      // The last `window` are remembered with their offsets.
      for (let seq = n - producer.window; seq < n; seq++) {
        const ack = await client.ok('PRODUCE', put(log, owned(producer, BigInt(seq))));
        t.equal([ack.flags, ack.base_offset], [1, BigInt(seq)], `the answer to the duplicate of seq ${seq}, which is in the window`);
      }
      const gone = await client.ok('PRODUCE', put(log, owned(producer, 0n)));
      const remembered = gone.base_offset === 0n; // a server may remember more than it announces
      if (!remembered) t.equal([gone.flags, gone.base_offset, gone.next_offset, gone.append_time], [1, NONE, NONE, 0n], 'the answer to a duplicate that left the window');
      t.equal(gone.flags, 1, 'the flags of the answer');
      t.ok(gone.term >= 1n && gone.copies >= 1, 'term and copies of the answer');
      await producerOf(client, log);
      if (!remembered) await client.refused('PRODUCE', put(log, owned(producer, 0n)), 'PRODUCER_FENCED');
      t.equal(await committedEnd(client, log), BigInt(n), 'committed_end');
    }),

  define('duplicate-wins-over-offset', 'A duplicate is answered as such also when its expected_offset no longer holds.', 'IDEM-15',
    { needs: ['feature:conditional'], kills: ['srv:expected-before-dedupe', 'answer:PRODUCE.flags'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      const input = put(log, owned(producer, 0n), { expected_offset: 0n });
      await client.ok('PRODUCE', input);
      await produce(client, log, 'another');
      const again = await client.ok('PRODUCE', input);
      t.equal([again.flags, again.base_offset], [1, 0n], 'flags and offset of the duplicate');
    }),

  define('duplicate-wins-over-fence', 'A duplicate is answered as such also when its fence no longer holds.', 'IDEM-15',
    { needs: ['feature:conditional'], kills: ['status:FENCED', 'srv:fence-before-dedupe', 'answer:PRODUCE.flags'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('FENCE', { log, token: 3n });
      const producer = await producerOf(client, log);
      const input = put(log, owned(producer, 0n), { fence: 3n });
      await client.ok('PRODUCE', input);
      await client.ok('FENCE', { log, token: 4n });
      const again = await client.ok('PRODUCE', input);
      t.equal([again.flags, again.base_offset], [1, 0n], 'flags and offset of the duplicate');
      await client.refused('PRODUCE', put(log, owned(producer, 1n), { fence: 3n }), 'FENCED', { fence: 4n });
    }),

  define('two-producers', 'Two producers of one log have sequences of their own.', 'IDEM-7 IDEM-11',
    { kills: ['srv:dedupe-by-seq-only', 'answer:PRODUCE.flags'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const [a, b] = [await producerOf(client, log, 'a'), await producerOf(client, log, 'b')];
      for (let seq = 0n; seq < 5n; seq++) {
        for (const [name, producer] of [['a', a], ['b', b]] as const) {
          const ack = await client.ok('PRODUCE', put(log, owned(producer, seq, `same body ${seq}`)));
          t.equal(ack.flags, 0, `the flags of the answer to seq ${seq} of producer ${name}`);
        }
      }
      t.equal(await committedEnd(client, log), 10n, 'committed_end');
    }),

  define('after-trim', 'The table of producers survives trimming.', 'IDEM-19',
    { kills: ['request-plain-producer'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const producer = await producerOf(client, log);
      const acks = [];
      for (const seq of [0n, 1n]) acks.push(await client.ok('PRODUCE', put(log, owned(producer, seq))));
      await client.ok('TRIM', { log, offset: 2n });
      await duplicate(t, client, log, owned(producer, 0n), acks[0]!);
      t.equal((await client.ok('PRODUCE', put(log, owned(producer, 2n)))).base_offset, 2n, 'the offset of the next batch');
    }),

  define('epoch-65535', 'A name whose epoch is 65,535 gets a new producer_id whose seq goes on.', 'IDEM-3',
    { slow: true, kills: ['srv:epoch-wraps', 'answer:INIT_PRODUCER.next_seq'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const first = await producerOf(client, log);
      await client.ok('PRODUCE', put(log, owned(first, 0n)));
      let last = first;
      for (let epoch = first.epoch; epoch < 65_535; ) {
        const ids = Array.from({ length: Math.min(800, 65_535 - epoch) }, () => client.request('INIT_PRODUCER', { log, name: 'p' }));
        for (const id of ids) {
          const { fields } = await client.okAnswer('INIT_PRODUCER', id, t.ms(30_000));
          last = { id: fields.producer_id, epoch: fields.epoch, nextSeq: fields.next_seq, window: fields.window };
        }
        epoch += ids.length;
      }
      t.equal([last.id, last.epoch, last.nextSeq], [first.id, 65_535, 1n], 'the producer after 65,535 epochs');
      await client.ok('PRODUCE', put(log, owned(last, 1n)));
      const next = await producerOf(client, log);
      t.ok(next.id !== first.id, 'a new producer_id', next.id);
      t.equal(next.nextSeq, 2n, 'next_seq of the new producer_id');
      await client.ok('PRODUCE', put(log, owned(next, 2n)));
      const { fields } = await fetch(client, { log, value: 0n });
      t.equal(fields.committed_end, 3n, 'committed_end');
    }),

  define('ten-thousand', 'At least 10,000 producers per log are kept.', 'IDEM-21',
    { slow: true, kills: ['srv:producers-max-1000'] }, async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      const first = await producerOf(client, log, 'p0');
      await client.ok('PRODUCE', put(log, owned(first, 0n)));
      for (let at = 1; at < 10_000; at += 500) {
        const ids = Array.from({ length: Math.min(500, 10_000 - at) }, (_, i) => client.request('INIT_PRODUCER', { log, name: `p${at + i}` }));
        for (const id of ids) await client.okAnswer('INIT_PRODUCER', id, t.ms(30_000));
      }
      t.equal((await client.ok('PRODUCE', put(log, owned(first, 0n)))).flags, 1, 'the flags of a duplicate of the first of 10,000 producers');
      await client.ok('PRODUCE', put(log, owned(first, 1n)));
    }),
];
