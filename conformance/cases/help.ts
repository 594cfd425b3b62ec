// Short words for what many cases do: write, read, page, wait for a frame that must not come.
import { readFileSync } from 'node:fs';
import type { Context } from '../engine/context.ts';
import { Failure, show } from '../engine/failure.ts';
import type { Client } from '../net/client.ts';
import { batchesOf } from '../net/client.ts';
import { batchOf, recordValues } from '../wire/batch.ts';
import type { Batch } from '../wire/batch.ts';
import { encodeRequest, tlv } from '../wire/codec.ts';
import { CRITICAL, NONE } from '../wire/layouts.ts';
import type { InputOf, LogEntry, PositionEntry, ResponseOf, Tlv } from '../wire/layouts.ts';

export const FROM = { offset: 0, earliest: 1, next: 2, time: 3, position: 4 } as const;

export function logUid(uid: Buffer): Tlv {
  return tlv(CRITICAL | 2, uid);
}

/** A PRODUCE of one batch of string values; OK is demanded. */
export function produce(client: Client, log: string, ...values: string[]): Promise<ResponseOf<'PRODUCE'>> {
  return client.ok('PRODUCE', { log, batch: batchOf(...values) });
}

/** A PRODUCE whose batch is given. */
export function put(log: string, batch: Buffer, more: InputOf<'PRODUCE'> = {}): InputOf<'PRODUCE'> {
  return { log, batch, ...more };
}

export interface Read {
  readonly fields: ResponseOf<'FETCH'>;
  readonly batches: Batch[];
}

export async function fetch(client: Client, input: InputOf<'FETCH'>): Promise<Read> {
  const fields = await client.ok('FETCH', { max_bytes: 1 << 20, ...input });
  return { fields, batches: batchesOf(fields.batches) };
}

/** Every batch of the log, by as many FETCHes as it takes. */
export async function readAll(client: Client, log: string): Promise<Batch[]> {
  const all: Batch[] = [];
  let { fields, batches } = await fetch(client, { log, from: FROM.earliest });
  while (batches.length > 0) {
    all.push(...batches);
    const next = all.at(-1)!.nextOffset;
    if (next >= fields.committed_end) break;
    ({ fields, batches } = await fetch(client, { log, value: next }));
  }
  return all;
}

/** The values of all records of the log as text. */
export async function values(client: Client, log: string): Promise<string[]> {
  return (await readAll(client, log)).flatMap((batch) => recordValues(batch).map((value) => value?.toString() ?? 'null'));
}

/** Demands exactly these values in the log. */
export async function holds(t: Context, client: Client, log: string, wanted: readonly string[]): Promise<void> {
  t.equal(await values(client, log), wanted, `the records of the log ${log}`);
}

export async function describe(client: Client, log: string): Promise<ResponseOf<'DESCRIBE_LOG'>> {
  return client.ok('DESCRIBE_LOG', { log });
}

export async function committedEnd(client: Client, log: string): Promise<bigint> {
  return (await describe(client, log)).committed_end;
}

/** All entries of LIST_LOGS, over all frames of the answer. */
export async function listLogs(client: Client, prefix: string, ext: Tlv[] = []): Promise<{ logs: LogEntry[]; frames: number }> {
  const id = client.request('LIST_LOGS', { prefix, ext });
  const logs: LogEntry[] = [];
  for (let frames = 1; ; frames++) {
    const answer = await client.okAnswer('LIST_LOGS', id);
    logs.push(...answer.fields.logs);
    if ((answer.frame.flags & 2) === 0) return { logs, frames };
  }
}

export async function listPositions(client: Client, log: string): Promise<{ positions: PositionEntry[]; frames: number }> {
  const id = client.request('LIST_POSITIONS', { log });
  const positions: PositionEntry[] = [];
  for (let frames = 1; ; frames++) {
    const answer = await client.okAnswer('LIST_POSITIONS', id);
    positions.push(...answer.fields.positions);
    if ((answer.frame.flags & 2) === 0) return { positions, frames };
  }
}

/** A FETCH at the end of a log that waits; returns its id after a barrier, so it is waiting now. */
export async function waitingFetch(t: Context, client: Client, log: string, input: InputOf<'FETCH'> = {}): Promise<number> {
  const id = client.request('FETCH', { log, from: FROM.next, min_bytes: 1, max_bytes: 1 << 20, max_wait_ms: 600_000, ...input });
  await client.barrier();
  notAnswered(t, client, id, 'a FETCH with nothing to give');
  return id;
}

/** Demands that no answer to `id` has come yet. */
export function notAnswered(t: Context, client: Client, id: number, what: string): void {
  const early = client.conn.inbox.find((frame) => frame.id === id && (frame.flags & 1) !== 0);
  if (early) t.fail(what, 'no answer yet', `an answer with status ${early.status}`);
}

/** Demands offsets from `first` on without gaps, and these counts. */
export function dense(batches: readonly Batch[], first: bigint): void {
  let next = first;
  for (const batch of batches) {
    if (batch.baseOffset !== next) throw new Failure('the offsets of the batches', `a batch at ${next}`, `one at ${show(batch.baseOffset)}`);
    next = batch.nextOffset;
  }
}

/** The payload of a request with some of its bytes changed. */
export function payloadOf<K extends Parameters<typeof encodeRequest>[0]>(name: K, input: InputOf<K>): Buffer {
  return encodeRequest(name, input);
}

/** A producer of the log. */
export async function initProducer(client: Client, log: string, name = 'p'): Promise<ResponseOf<'INIT_PRODUCER'>> {
  return client.ok('INIT_PRODUCER', { log, name });
}

/** Resident memory of a process of this machine in KiB, NaN where it cannot be known. */
export function residentKiB(pid: number): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? NaN);
  } catch {
    return NaN;
  }
}

export { NONE };
