// Where `produce` puts its records: pipelined batches of a producer, or, when each must land at a given
// offset, one batch after the other. Both tell the tally what was acked, and the first failure ends them.
import type { Client, RecordInput } from '../wire/client/client.ts';
import { BATCH_HEADER_SIZE, BATCH_SIZE_DEFAULT } from '../wire/limits.ts';
import { recordSize } from '../wire/record.ts';
import type { ProducePlan } from './produce.ts';

/** What was acked so far. */
export interface Tally {
  records: number;
  firstOffset: number | null;
  lastOffset: number | null;
}

export interface Sink {
  /** Takes a record; a promise means: wait for it before the next. Throws when it cannot be sent, or the sink has failed. */
  append(record: RecordInput): Promise<void> | null;
  /** Throws if the sink has failed. */
  check(): void;
  /** Resolves when everything is acked. */
  end(): Promise<void>;
}

/** `failed` is called once, when records are lost to an error that nobody waits for at the moment. */
export function openSink(client: Client, plan: ProducePlan, tally: Tally, failed: () => void): Sink {
  return plan.expect === undefined ? pipelined(client, plan, tally, failed) : oneByOne(client, plan, tally, plan.expect);
}

function pipelined(client: Client, plan: ProducePlan, tally: Tally, failed: () => void): Sink {
  let failure: Error | null = null;
  const check = (): void => {
    if (failure !== null) throw failure;
  };
  const producer = client.producer(plan.log, {
    name: plan.producer,
    fence: plan.fence,
    batchRecords: plan.batchRecords,
    compression: plan.compression,
    deliveryTimeoutMs: plan.timeoutMs,
    onAck: (receipt, count) => note(tally, receipt.baseOffset, receipt.nextOffset, count),
    onError: (error) => {
      failure ??= error;
      failed();
    },
  });
  // An idempotent producer fails here already when the log does not exist.
  producer.ready().catch((error: Error) => {
    failure ??= error;
    failed();
  });
  return {
    check,
    append(record) {
      check();
      return producer.append(record) ? null : producer.drained();
    },
    end: () => producer.close(),
  };
}

function oneByOne(client: Client, plan: ProducePlan, tally: Tally, expected: number): Sink {
  const sizeMax = (client.server?.maxBatch ?? BATCH_SIZE_DEFAULT) - BATCH_HEADER_SIZE;
  let next = expected;
  let waiting: RecordInput[] = [];
  let size = 0;
  const send = async (): Promise<void> => {
    const records = waiting;
    waiting = [];
    size = 0;
    const receipt = await client.produce(plan.log, records, { expectedOffset: next, fence: plan.fence });
    note(tally, receipt.baseOffset, receipt.nextOffset, records.length);
    next = receipt.nextOffset;
  };
  return {
    check: () => undefined,
    append(record) {
      const more = recordSize(record);
      if (more > sizeMax) throw new RangeError(`a record of ${more} bytes does not fit a batch of ${sizeMax + BATCH_HEADER_SIZE}`);
      const sent = waiting.length > 0 && size + more > sizeMax ? send() : null;
      waiting.push(record);
      size += more;
      if (sent === null && waiting.length >= plan.batchRecords) return send();
      return sent;
    },
    async end() {
      if (waiting.length > 0) await send();
    },
  };
}

function note(tally: Tally, baseOffset: number, nextOffset: number, count: number): void {
  tally.records += count;
  // A duplicate so old that its place is forgotten has no offsets.
  if (baseOffset < 0) return;
  tally.firstOffset ??= baseOffset;
  tally.lastOffset = Math.max(tally.lastOffset ?? 0, nextOffset - 1);
}
