// The load of the crash kit: clients that write unique values while the server is killed under them,
// reconnect, and note what they were told. Three kinds of writers: plain, idempotent (unanswered
// batches are sent again byte for byte) and conditional (expected_offset); and readers.
import type { Context } from '../engine/context.ts';
import { Failure, HarnessError } from '../engine/failure.ts';
import type { Prng } from '../engine/prng.ts';
import { batchesOf } from '../net/client.ts';
import type { Client } from '../net/client.ts';
import { buildBatch, recordValues } from '../wire/batch.ts';
import { OUTCOME_UNKNOWN } from '../wire/errors.ts';
import { NONE } from '../wire/layouts.ts';
import { begin, newHistory } from './history.ts';
import type { FinalLog, LogHistory, Seen, Sending } from './history.ts';

export type WriterKind = 'plain' | 'idempotent' | 'conditional';

interface Item {
  readonly mark: string;
  readonly count: number;
  readonly batch: Buffer;
  /** For conditional writers. */
  expected: bigint;
}

/** Unanswered requests of one writer. */
const IN_FLIGHT_MAX = 16;
const RECORDS_MAX = 4;
/** Between two attempts to connect. */
const RECONNECT_MS = 50;

export class CrashRun {
  readonly histories: LogHistory[] = [];
  readonly t: Context;
  private stopping = false;
  private tasks: Promise<void>[] = [];
  private failure: unknown = null;

  constructor(t: Context) {
    this.t = t;
  }

  /** Begins one writer and one reader on a log of its own. */
  start(kind: WriterKind, log: string, name: string): void {
    const history = newHistory(log);
    this.histories.push(history);
    const random = this.t.random.fork(`${kind} ${name}`);
    const writer = new Writer(this, kind, history, name, random);
    this.run(() => writer.run());
    this.run(() => this.read(history, random.fork('reader')));
  }

  /** A second writer on the log of an earlier one. */
  join(kind: WriterKind, history: LogHistory, name: string): void {
    const writer = new Writer(this, kind, history, name, this.t.random.fork(`${kind} ${name}`));
    this.run(() => writer.run());
  }

  get over(): boolean {
    return this.stopping || this.failure !== null;
  }

  /** Lets every client finish what it has begun; @throws what stopped one of them. */
  async finish(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.tasks);
    if (this.failure !== null) throw this.failure as Error;
  }

  /** A READY connection, as soon as the server takes one. */
  async connect(label: string): Promise<Client> {
    const deadline = performance.now() + this.t.ms(60_000);
    for (;;) {
      try {
        return await this.t.ready({ label });
      } catch (error) {
        if (performance.now() > deadline || !(error instanceof HarnessError || error instanceof Failure)) throw error;
        await this.t.pause(RECONNECT_MS);
      }
    }
  }

  private run(task: () => Promise<void>): void {
    this.tasks.push(task().catch((error: unknown) => {
      this.failure ??= error;
    }));
  }

  private async read(history: LogHistory, random: Prng): Promise<void> {
    let client = await this.connect('reader');
    let next = 0n;
    while (!this.over) {
      if (client.conn.ended !== null) client = await this.connect('reader');
      const invoked = performance.now();
      const id = client.request('FETCH', { log: history.log, value: next, min_bytes: 1, max_bytes: random.between(1, 20_000), max_wait_ms: 100 });
      const answer = await client.answer('FETCH', id).catch(() => null);
      if (answer === null || answer.error !== null) {
        if (answer?.status === 'OFFSET_OUT_OF_RANGE') throw new Failure('reading during the crash run', 'a committed_end that does not go down', `OFFSET_OUT_OF_RANGE at ${next}`);
        if (answer !== null) await this.t.pause(RECONNECT_MS);
        continue;
      }
      const records = seen(answer.fields.batches, next);
      history.reads.push({ invoked, ended: performance.now(), committedEnd: answer.fields.committed_end, records });
      next = records.length > 0 ? records.at(-1)!.offset + 1n : next;
      if (random.below(20) === 0) next = 0n;
    }
  }
}

export function seen(bytes: Buffer, from: bigint): Seen[] {
  return batchesOf(bytes).flatMap((batch) => recordValues(batch).map((value, i) => ({ offset: batch.baseOffset + BigInt(i), value: value?.toString() ?? '' })))
    .filter(({ offset }) => offset >= from);
}

class Writer {
  private readonly owner: CrashRun;
  private readonly kind: WriterKind;
  private readonly history: LogHistory;
  private readonly name: string;
  private readonly random: Prng;
  private count = 0;
  private seq = 0n;
  private producer: { id: bigint; epoch: number } | null = null;
  /** Batches to send again, in order. */
  private again: Item[] = [];

  constructor(owner: CrashRun, kind: WriterKind, history: LogHistory, name: string, random: Prng) {
    this.owner = owner;
    this.kind = kind;
    this.history = history;
    this.name = name;
    this.random = random;
  }

  async run(): Promise<void> {
    // Once told to stop, a writer still sends what has no answer, so that nothing stays unknown for long.
    while (!this.owner.over || this.again.length > 0) {
      const client = await this.owner.connect(`writer ${this.name}`);
      await this.session(client).catch((error: unknown) => {
        if (!(error instanceof Failure) || client.conn.ended === null) throw error;
      });
      client.conn.destroy();
    }
  }

  /** Writes on one connection until it ends or the run is over. */
  private async session(client: Client): Promise<void> {
    const { log } = this.history;
    if (this.kind === 'idempotent' && this.producer === null) {
      const answer = await client.ok('INIT_PRODUCER', { log, name: this.name });
      this.producer = { id: answer.producer_id, epoch: answer.epoch };
      this.seq = answer.next_seq;
    }
    let expected = this.kind === 'conditional' ? (await client.ok('FETCH', { log, from: 2, flags: 1 })).committed_end : NONE;
    const open: { id: number; item: Item; sending: Sending }[] = [];
    const resend = this.again;
    this.again = [];
    try {
      while (resend.length > 0 || open.length > 0 || !this.owner.over) {
        while (open.length < IN_FLIGHT_MAX && (resend.length > 0 || !this.owner.over)) {
          const item = resend.shift() ?? this.next();
          item.expected = expected;
          if (expected !== NONE) expected += BigInt(item.count);
          const sending = begin(this.history, item.mark, item.count, this.kind === 'idempotent', performance.now());
          open.push({ id: client.request('PRODUCE', { log, batch: item.batch, expected_offset: item.expected, timeout_ms: 20_000 }), item, sending });
        }
        const { id, item, sending } = open[0]!;
        const lost = await this.settle(client, id, item, sending);
        open.shift();
        if (lost && this.kind === 'conditional') expected = (await client.ok('FETCH', { log, from: 2, flags: 1 })).committed_end;
        if (this.random.below(30) === 0) await this.owner.t.pause(this.random.below(20));
      }
    } finally {
      if (this.kind === 'idempotent') this.again = [...open.map(({ item }) => item), ...resend];
    }
  }

  /** Notes the answer of one sending; true when a conditional writer lost its place. */
  private async settle(client: Client, id: number, item: Item, sending: Sending): Promise<boolean> {
    const answer = await client.answer('PRODUCE', id, this.owner.t.ms(30_000));
    sending.ended = performance.now();
    sending.status = answer.status;
    if (answer.error === null) {
      sending.outcome = 'ok';
      sending.baseOffset = answer.fields.base_offset === NONE ? null : answer.fields.base_offset;
      return false;
    }
    sending.outcome = (answer.error.class & OUTCOME_UNKNOWN) !== 0 ? 'unknown' : 'none';
    if (this.kind === 'idempotent' && !['SHUTTING_DOWN', 'LEADERSHIP_LOST', 'TIMEOUT', 'OVERLOADED', 'SEQ_GAP'].includes(answer.status)) {
      throw new Failure('an idempotent writer during the crash run', 'OK, or an error after which it can send again', `${answer.status}: ${answer.error.message} (${item.mark})`);
    }
    // What a stopping server refuses is sent again to its successor.
    if (this.kind === 'idempotent') throw new Failure('a sending that has to be repeated', 'OK', this.endConnection(client, answer.status));
    return answer.status === 'OFFSET_MISMATCH';
  }

  private endConnection(client: Client, status: string): string {
    client.conn.ended ??= 'reset';
    client.conn.destroy();
    return status;
  }

  private next(): Item {
    const mark = `${this.name}:${this.count++}`;
    const count = this.random.between(1, RECORDS_MAX);
    const records = Array.from({ length: count }, (_, i) => ({ value: `${mark}#${i}` }));
    const producer = this.producer === null ? undefined : { ...this.producer, seq: this.seq++ };
    return { mark, count, batch: buildBatch({ records, producer }), expected: NONE };
  }
}

/** Everything that the log holds now. */
export async function finalLog(client: Client, log: string): Promise<FinalLog> {
  const records: Seen[] = [];
  let fields = await client.ok('FETCH', { log, from: 1, max_bytes: 1 << 20 });
  const logStart = fields.log_start;
  for (;;) {
    records.push(...seen(fields.batches, logStart));
    const next = (records.at(-1)?.offset ?? logStart - 1n) + 1n;
    if (fields.batches.length === 0 || next >= fields.committed_end) return { logStart, committedEnd: fields.committed_end, records };
    fields = await client.ok('FETCH', { log, value: next, max_bytes: 1 << 20 });
  }
}
