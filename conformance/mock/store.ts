// What the mock answers when no rule says otherwise: logs in memory, one node, no limits. Good enough
// for a client to work with; it is no server, and judges nothing that the protocol has servers judge.
import { randomBytes } from 'node:crypto';
import { BatchError, parseBatches, sealHeader } from '../wire/batch.ts';
import { LAYOUTS, NONE } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';

type Fields = Record<string, unknown>;

interface Stored {
  readonly base: bigint;
  readonly end: bigint;
  readonly time: bigint;
  readonly bytes: Buffer;
}

export class MockLog {
  readonly uid: Buffer = randomBytes(16);
  readonly batches: Stored[] = [];
  readonly positions = new Map<string, bigint>();
  readonly producers = new Map<string, { id: bigint; epoch: number; next: bigint }>();
  /** Told of every change. */
  readonly watchers = new Set<() => void>();
  start = 0n;
  end = 0n;
  fence = 0n;

  /** The batches from the one that holds `offset` on: the first, and more while they fit into `size`. */
  from(offset: bigint, size: number): Stored[] {
    const found: Stored[] = [];
    let total = 0;
    for (const batch of this.batches) {
      if (batch.end <= offset || batch.base < this.start) continue;
      total += batch.bytes.length;
      if (found.length > 0 && total > size) break;
      found.push(batch);
    }
    return found;
  }

  /** Null when it is no sound batch. */
  append(bytes: Buffer, now: bigint): Stored | null {
    const copy = Buffer.from(bytes);
    try {
      const [batch, more] = parseBatches(copy);
      if (batch === undefined || more !== undefined || batch.count === 0) return null;
      copy.writeBigUInt64BE(BigInt(this.batches.length + 1), 8);
      copy.writeBigUInt64BE(1n, 16);
      copy.writeBigUInt64BE(this.end, 24);
      copy.writeBigUInt64BE(now, 32);
      const stored = { base: this.end, end: this.end + BigInt(batch.count), time: now, bytes: sealHeader(copy) };
      for (const producer of this.producers.values()) if (producer.id === batch.producer.id) producer.next = batch.producer.seq + 1n;
      this.batches.push(stored);
      this.end = stored.end;
      for (const changed of [...this.watchers]) changed();
      return stored;
    } catch (error) {
      if (!(error instanceof BatchError)) throw error;
      return null;
    }
  }
}

export type Answer = { readonly fields: Fields } | { readonly error: string; readonly tlv?: Tlv };

export class MockStore {
  readonly logs = new Map<string, MockLog>();
  readonly clusterId = randomBytes(16);
  private nextProducer = 1n;

  /** A log comes into being when it is first named. */
  log(name: string): MockLog {
    let log = this.logs.get(name);
    if (log === undefined) this.logs.set(name, (log = new MockLog()));
    return log;
  }

  /** The good answer to a request that has its layout; FETCH and SUBSCRIBE are answered by the connection. */
  answer(op: OpName, request: Fields, now = BigInt(Date.now())): Answer {
    const log = typeof request['log'] === 'string' ? this.log(request['log']) : null;
    const fields = this.fields(op, request, log, now);
    if ('error' in fields) return fields as Answer;
    const asked = (request['ext'] as Tlv[] | undefined)?.some(({ type }) => (type & 0x7fff) === 2) === true;
    const tellsUid = log !== null && 'answersUid' in LAYOUTS[op] && !asked;
    return { fields: tellsUid ? { ...fields, ext: [{ type: 2, value: log.uid }] } : fields };
  }

  private fields(op: OpName, request: Fields, log: MockLog | null, now: bigint): Fields {
    switch (op) {
      case 'PING': return { data: request['data'] };
      case 'AUTH': return { done: 1 };
      case 'CREATE_LOG': return { log_uid: log!.uid };
      case 'DELETE_LOG': this.logs.delete(String(request['log'])); return {};
      case 'DESCRIBE_LOG': return this.describe(String(request['log']), log!);
      case 'LIST_LOGS': return { logs: [...this.logs].filter(([name]) => name.startsWith(String(request['prefix']))).map(([name, it]) => this.describe(name, it)) };
      case 'DESCRIBE_CLUSTER': return { cluster_id: this.clusterId, term: 1n, catalog_leader: 'mock', nodes: [] };
      case 'TRIM': log!.start = log!.batches.findLast(({ base }) => base <= (request['offset'] as bigint))?.base ?? 0n; return { log_start: log!.start };
      case 'PRODUCE': {
        const stored = log!.append(request['batch'] as Buffer, now);
        if (stored === null) return { error: 'CORRUPT_BATCH' };
        return { base_offset: stored.base, next_offset: stored.end, append_time: now, term: 1n, durability: 1, copies: 1 };
      }
      case 'INIT_PRODUCER': return this.initProducer(log!, String(request['name']));
      case 'FENCE': log!.fence = request['token'] as bigint; return { token: log!.fence, next_offset: log!.end };
      case 'FIND_OFFSET': return { offset: log!.batches.find(({ time }) => time >= (request['time'] as bigint))?.base ?? log!.end, log_start: log!.start, committed_end: log!.end };
      case 'PUT_POSITION': {
        const offset = request['offset'] as bigint;
        if (offset === NONE) log!.positions.delete(String(request['name']));
        else log!.positions.set(String(request['name']), offset);
        return { offset };
      }
      case 'GET_POSITION': {
        const offset = log!.positions.get(String(request['name']));
        return offset === undefined ? { error: 'POSITION_NOT_FOUND' } : { offset };
      }
      case 'LIST_POSITIONS': return { positions: [...log!.positions].map(([name, offset]) => ({ name, offset, updated: now })) };
      default: return {};
    }
  }

  private initProducer(log: MockLog, name: string): Fields {
    let producer = log.producers.get(name);
    if (producer === undefined) log.producers.set(name, (producer = { id: this.nextProducer++, epoch: 0, next: 0n }));
    else producer.epoch++;
    return { producer_id: producer.id, epoch: producer.epoch, next_seq: producer.next, window: 64 };
  }

  private describe(name: string, log: MockLog): Fields {
    return {
      log: name, log_uid: log.uid, log_start: log.start, committed_end: log.end, fence: log.fence, bytes: BigInt(log.batches.reduce((sum, { bytes }) => sum + bytes.length, 0)),
      created: 1n, term: 1n, leader: 'mock', replicas: [{ node: 'mock', role: 1 }], durability: 1, replication: 1, segment_bytes: 67_108_864n, compressions: 3,
    };
  }
}
