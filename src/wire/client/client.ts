// The TypeScript client of sidelog: everything an application imports is here. One Client is one
// connection, shared by all its producers and subscriptions, made again by itself when it is lost.
//
//   const client = await connect({ address: '127.0.0.1:8400' });
//   await client.produce('orders', { value: Buffer.from('hello') });
//   for await (const record of client.subscribe('orders')) console.log(record.offset, String(record.value));
import { randomInt } from 'node:crypto';
import { BatchBuilder } from '../batch-build.ts';
import { ErrorCode, ProtocolError } from '../errors.ts';
import type { Reader } from '../bytes.ts';
import { BATCH_RECORDS_MAX, ID_SIZE, NONE, PING_SIZE_MAX, TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX } from '../limits.ts';
import { NodeState, Op, REMOVE_NODE_FORCE, Role } from '../ops.ts';
import { describeClusterRequest, removeNodeRequest } from '../requests-admin.ts';
import { findOffsetRequest } from '../requests-read.ts';
import { ping } from '../requests-session.ts';
import { fenceRequest, produceRequest } from '../requests-write.ts';
import { describeClusterResponse, emptyResponse } from '../responses-admin.ts';
import { fenceResponse, findOffsetResponse, produceResponse } from '../responses-data.ts';
import { isLocal, parseAddress } from './address.ts';
import { call } from './call.ts';
import { exchange, uidFor } from './context.ts';
import type { ClientContext } from './context.ts';
import { fetchRecords } from './fetch.ts';
import { Link } from './link.ts';
import { LogAdmin } from './logs.ts';
import { LogPins, parseUid } from './pins.ts';
import { Positions } from './positions.ts';
import { Producer } from './producer.ts';
import { RawProducer } from './raw-producer.ts';
import type { RawProducerOptions } from './raw-producer.ts';
import { checkNumber } from './read-start.ts';
import { receiptOf } from './receipts.ts';
import { Subscription } from './subscription.ts';
import type {
  ClusterDescription,
  ConnectOptions,
  FetchOptions,
  FetchResult,
  ProduceOptions,
  ProducerOptions,
  Receipt,
  RecordInput,
  ServerInfo,
  SubscribeOptions,
} from './types.ts';

export { ErrorCode, ProtocolError as SidelogError } from '../errors.ts';
export type { ErrorDetail } from '../errors.ts';
export { NONE } from '../limits.ts';
export { BatchBuilder, buildBatch } from '../batch-build.ts';
export { LocalCode } from './errors.ts';
export { Producer } from './producer.ts';
export { RawProducer } from './raw-producer.ts';
export { Subscription } from './subscription.ts';
export type { LogAdmin } from './logs.ts';
export type { PositionOptions, Positions } from './positions.ts';
export type { RawProducerOptions } from './raw-producer.ts';
export type * from './types.ts';

const CONNECT_TIMEOUT_MS_DEFAULT = 10_000;
const REQUEST_TIMEOUT_MS_DEFAULT = 40_000;
const BACKOFF_MIN_MS_DEFAULT = 25;
const BACKOFF_MAX_MS_DEFAULT = 2_000;
/** Time beyond a PRODUCE's own for its answer to arrive, or for a new connection. */
const PRODUCE_EXTRA_MS = 10_000;

/**
 * Connects to a sidelog server. Rejects with a SidelogError: CONNECT_FAILED (local) when no connection
 * was ready in connectTimeoutMs, or what the server refused it with. Throws TypeError for wrong options.
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const client = new Client(options);
  try {
    await client.opened();
  } catch (error) {
    await client.close();
    throw error;
  }
  return client;
}

export class Client {
  /** Creating, listing, describing, altering, trimming, deleting and restoring logs. */
  readonly logs: LogAdmin;
  /** Named offsets stored with a log. */
  readonly positions: Positions;
  private readonly link: Link;
  private readonly context: ClientContext;

  /** Begins to connect; `connect()` is the usual way, which waits for it. */
  constructor(options: ConnectOptions) {
    const target = parseAddress(options.address);
    if (options.token !== undefined && options.tls === undefined && !isLocal(target)) {
      throw new TypeError('a token is sent over TLS, to loopback or to a Unix socket only');
    }
    const random = (): number => randomInt(0, 2 ** 47) / 2 ** 47;
    this.link = new Link({
      target,
      tls: options.tls === true ? {} : options.tls,
      machine: {
        name: options.name ?? 'sidelog-js',
        clusterId: options.clusterId === undefined ? Buffer.alloc(ID_SIZE) : parseUid(options.clusterId),
        token: options.token,
        random,
      },
      connectTimeoutMs: options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS_DEFAULT,
      backoffMinMs: options.backoff?.minMs ?? BACKOFF_MIN_MS_DEFAULT,
      backoffMaxMs: options.backoff?.maxMs ?? BACKOFF_MAX_MS_DEFAULT,
      random,
      onState: options.onState,
    });
    const requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS_DEFAULT;
    this.context = { link: this.link, pins: new LogPins(), requestTimeoutMs };
    this.logs = new LogAdmin(this.context);
    this.positions = new Positions(this.context);
  }

  /** Resolves when there is a connection; rejects as `connect` does. */
  opened(): Promise<void> {
    return this.link.opened();
  }

  /** What the server of the newest connection said; null before the first. */
  get server(): ServerInfo | null {
    return this.link.server;
  }

  /** True while a connection takes requests. */
  get isConnected(): boolean {
    return this.link.machine !== null;
  }

  /**
   * Ends the client: requests under way get up to two seconds for their answers, everything else fails
   * with CLIENT_CLOSED. Flush or close producers before.
   */
  close(): Promise<void> {
    return this.link.close();
  }

  /** One round trip. `data`: at most 64 bytes, which the server sends back. */
  async ping(data: Buffer = Buffer.alloc(0)): Promise<void> {
    if (data.length > PING_SIZE_MAX) throw new TypeError(`ping data has at most ${PING_SIZE_MAX} bytes`);
    await exchange(this.context, { op: Op.PING, request: ping, answer: ping, retry: 'always' }, { data });
  }

  /**
   * Writes records as one batch, all or none, and resolves when they are committed. Sent again by itself
   * only while it certainly had no effect; for retries that never double a record see `producer`.
   * Rejects among others with OFFSET_MISMATCH, FENCED, LOG_NOT_FOUND, LOG_CHANGED, STORAGE_FULL,
   * BATCH_TOO_LARGE, and CONNECTION_LOST with `outcomeUnknown`.
   */
  async produce(log: string, records: RecordInput | readonly RecordInput[], options: ProduceOptions = {}): Promise<Receipt> {
    const list = isList(records) ? records : [records];
    if (list.length === 0 || list.length > BATCH_RECORDS_MAX) {
      throw new TypeError(`${list.length} records are not accepted; expected 1 to ${BATCH_RECORDS_MAX}`);
    }
    const builder = new BatchBuilder(1024);
    for (const record of list) builder.add(record);
    return this.produceBatch(log, builder.finish(), options);
  }

  /** Writes a ready-made batch (see BatchBuilder), which must not change until the promise settles. */
  async produceBatch(log: string, batch: Buffer, options: ProduceOptions = {}): Promise<Receipt> {
    const limit = this.server?.maxBatch;
    if (limit !== undefined && batch.length > limit) {
      const message = `a batch of ${batch.length} bytes, at most ${limit} are taken`;
      throw new ProtocolError(ErrorCode.BATCH_TOO_LARGE, { message, limit });
    }
    const timeoutMs = checkNumber('timeoutMs', options.timeoutMs ?? 0, TIMEOUT_MS_MAX);
    const { pins } = this.context;
    const request = {
      log,
      flags: 0,
      timeoutMs,
      expectedOffset: options.expectedOffset === undefined ? NONE : checkNumber('expectedOffset', options.expectedOffset),
      fence: checkNumber('fence', options.fence ?? 0),
      logUid: uidFor(this.context, log, options.logUid),
      batch: Buffer.alloc(0),
    };
    return call(this.link, {
      op: Op.PRODUCE,
      write: (w, grease) => produceRequest.write(w, request, grease),
      tail: batch,
      read: (r) => {
        const answer = produceResponse.read(r);
        pins.learn(log, answer.logUid);
        return receiptOf(answer);
      },
      retry: 'certain',
      timeoutMs: (timeoutMs || TIMEOUT_MS_DEFAULT) + PRODUCE_EXTRA_MS,
    });
  }

  /** A writer with automatic batching, pipelining and retries; with a `name` it is idempotent. */
  producer(log: string, options: ProducerOptions = {}): Producer {
    return new Producer(this.link, this.context.pins, log, options);
  }

  /** A writer of ready-made batches with callbacks in place of promises; no retries. */
  rawProducer(log: string, options: RawProducerOptions & { logUid?: string | undefined }): RawProducer {
    return new RawProducer(this.link, log, uidFor(this.context, log, options.logUid), options);
  }

  /** Reads records from a log. With maxWaitMs it waits for some; without, an answer may be empty. */
  fetch(log: string, options: FetchOptions = {}): Promise<FetchResult> {
    return fetchRecords(this.context, log, options);
  }

  /** Records as they come, for ever; goes on by itself after a lost connection, exactly where it was. */
  subscribe(log: string, options: SubscribeOptions = {}): Subscription {
    return new Subscription(this.link, this.context.pins, log, options);
  }

  /** Offset of the first record of the first batch appended at `time` (Unix ms) or later; else the log's end. */
  async findOffset(log: string, time: number): Promise<{ offset: number; logStart: number; committedEnd: number }> {
    const how = { op: Op.FIND_OFFSET, request: findOffsetRequest, answer: findOffsetResponse, retry: 'always' as const };
    const request = { log, time: checkNumber('time', time), logUid: this.context.pins.get(log) };
    const { offset, logStart, committedEnd } = await exchange(this.context, how, request);
    return { offset, logStart, committedEnd };
  }

  /** Raises the log's fence: from then on only writers with this token are taken. A lower one: FENCED. */
  async fence(
    log: string,
    token: number,
    options: { logUid?: string | undefined } = {},
  ): Promise<{ token: number; nextOffset: number }> {
    const { pins } = this.context;
    const answer = {
      read: (r: Reader) => {
        const value = fenceResponse.read(r);
        pins.learn(log, value.logUid);
        return { token: value.token, nextOffset: value.nextOffset };
      },
    };
    const how = { op: Op.FENCE, request: fenceRequest, answer, retry: 'always' as const };
    const logUid = uidFor(this.context, log, options.logUid);
    return exchange(this.context, how, { log, token: checkNumber('token', token), logUid });
  }

  /**
   * Forgets which log was seen under a name. Without this, a log that was deleted and made again is
   * answered with LOG_CHANGED for as long as the client lives.
   */
  forget(log: string): void {
    this.context.pins.forget(log);
  }

  describeCluster(): Promise<ClusterDescription> {
    const answer = { read: (r: Reader): ClusterDescription => clusterOf(describeClusterResponse.read(r)) };
    return exchange(this.context, { op: Op.DESCRIBE_CLUSTER, request: describeClusterRequest, answer, retry: 'always' }, {});
  }

  /** Takes a node out of the cluster; `force`: also when that loses data. */
  async removeNode(node: string, options: { force?: boolean | undefined } = {}): Promise<void> {
    const how = { op: Op.REMOVE_NODE, request: removeNodeRequest, answer: emptyResponse, retry: 'certain' as const };
    await exchange(this.context, how, { node, flags: options.force === true ? REMOVE_NODE_FORCE : 0 });
  }
}

function isList(records: RecordInput | readonly RecordInput[]): records is readonly RecordInput[] {
  return Array.isArray(records);
}

const STATE_NAMES = {
  [NodeState.ALIVE]: 'alive',
  [NodeState.SUSPECT]: 'suspect',
  [NodeState.DEAD]: 'dead',
  [NodeState.LEFT]: 'left',
} as const;

function clusterOf(answer: ReturnType<typeof describeClusterResponse.read>): ClusterDescription {
  return {
    clusterId: answer.clusterId.toString('hex'),
    term: answer.term,
    catalogLeader: answer.catalogLeader,
    nodes: answer.nodes.map(({ node, nodeId, address, state, role, zone, version }) => ({
      node,
      nodeId: nodeId.toString('hex'),
      address,
      state: STATE_NAMES[state],
      role: role === Role.VOTER ? 'voter' : 'learner',
      zone,
      version,
    })),
  };
}
