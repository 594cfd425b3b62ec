// One whole node in a process without sockets: simulated disk, clocks set by hand, real sessions with a
// scripted client at the other end. `settle` lets everything run until nothing moves any more; no
// test sleeps.
import type { Transport } from '../../src/raft/driver/ports.ts';
import { Node } from '../../src/replica/node.ts';
import type { NodeConfig } from '../../src/replica/node.ts';
import type { Policy } from '../../src/replica/policy.ts';
import { buildBatch } from '../../src/wire/batch-build.ts';
import type { BatchOptions } from '../../src/wire/batch-build.ts';
import * as batch from '../../src/wire/batch.ts';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import type { Codec } from '../../src/wire/bytes.ts';
import { readErrorBody } from '../../src/wire/error-body.ts';
import type { ProtocolError } from '../../src/wire/errors.ts';
import { errorName } from '../../src/wire/errors.ts';
import { FrameReader } from '../../src/wire/frame.ts';
import { NONE } from '../../src/wire/limits.ts';
import { FLAG_MORE, Op } from '../../src/wire/ops.ts';
import { RecordReader } from '../../src/wire/record.ts';
import { createLogRequest, deleteLogRequest, describeLogRequest, trimRequest } from '../../src/wire/requests-admin.ts';
import type { CreateLogRequest } from '../../src/wire/requests-admin.ts';
import { fetchRequest, subscribeRequest } from '../../src/wire/requests-read.ts';
import type { FetchRequest, SubscribeRequest } from '../../src/wire/requests-read.ts';
import { cancelRequest, creditRequest, helloRequest } from '../../src/wire/requests-session.ts';
import { initProducerRequest, produceRequest } from '../../src/wire/requests-write.ts';
import type { ProduceRequest } from '../../src/wire/requests-write.ts';
import { createLogResponse, describeLogResponse, trimResponse } from '../../src/wire/responses-admin.ts';
import { deliver, fetchResponse, initProducerResponse, produceResponse, subscribeResponse } from '../../src/wire/responses-data.ts';
import { Session } from '../../src/wire/session/session.ts';
import type { Identity, SessionHost } from '../../src/wire/session/ports.ts';
import { Prng } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';
import type { CrashOptions, SimDiskOptions } from '../support/sim-disk.ts';

/** 2026-09-21T14:13:20Z, where the tests' wall clock begins. */
export const WALL_START_MS = 1_790_000_000_000;

export class TestClock {
  wall = WALL_START_MS;
  monotonic = 1_000_000;
  wallMs(): number {
    return this.wall;
  }
  monotonicMs(): number {
    return this.monotonic;
  }
}

export interface WorldOptions extends Partial<NodeConfig> {
  disk?: SimDisk;
  diskOptions?: SimDiskOptions;
  clock?: TestClock;
  policy?: Policy;
  transport?: Transport;
  seed?: number;
}

export class World {
  node!: Node;
  disk: SimDisk;
  readonly clock: TestClock;
  readonly events: { level: string; event: string; fields: Record<string, unknown> }[] = [];
  readonly pauses: boolean[] = [];
  readonly clients: TestClient[] = [];
  readonly config: NodeConfig;
  readonly #policy: Policy | undefined;
  readonly #transport: Transport | undefined;
  readonly #prng: Prng;
  #tasks: (() => void)[] = [];

  private constructor(options: WorldOptions) {
    const { disk, diskOptions, clock, policy, transport, seed, ...config } = options;
    this.#prng = new Prng(seed ?? 7);
    this.disk = disk ?? new SimDisk(diskOptions);
    this.clock = clock ?? new TestClock();
    this.#policy = policy;
    this.#transport = transport;
    this.config = {
      nodeName: 'n1', nodeId: Buffer.alloc(16, 1), clusterId: Buffer.alloc(16, 2), address: '127.0.0.1:8400',
      zone: '', version: 'test', maxBatchBytes: 1024 * 1024, segmentBytes: 1024 * 1024, logsMax: 1000,
      memoryLimitBytes: 64 * 1024 * 1024, trashKeepMs: 3_600_000, reserveBytes: 8 * 1024 * 1024, syncsMax: 8,
      createDefault: true, ballastBytes: 0, ...config,
    };
  }

  static async start(options: WorldOptions = {}): Promise<World> {
    const world = new World(options);
    await world.startNode();
    return world;
  }

  async startNode(): Promise<void> {
    const starting = Node.start(
      {
        disk: this.disk,
        clock: this.clock,
        defer: (task) => void this.#tasks.push(task),
        yieldTurn: () => Promise.resolve(),
        randomBytes: (size) => Buffer.from(Array.from({ length: size }, () => this.#prng.next32() & 0xff)),
        logEvent: (level, event, fields = {}) => void this.events.push({ level, event, fields }),
        onMemoryPause: (paused) => void this.pauses.push(paused),
        ...(this.#policy === undefined ? {} : { policy: this.#policy }),
        ...(this.#transport === undefined ? {} : { transport: this.#transport }),
      },
      this.config,
    );
    let node: Node | null = null;
    let failure: unknown = null;
    starting.then((started) => (node = started), (error: unknown) => (failure = error));
    await this.settle();
    if (failure !== null) throw failure;
    if (node === null) throw new Error('the node did not start');
    this.node = node;
  }

  /** A clean stop and start on the same disk. */
  async restart(changes: Partial<NodeConfig> = {}): Promise<World> {
    await this.stop();
    return World.start({ ...this.config, createDefault: false, ...changes, disk: this.disk, clock: this.clock, seed: this.#prng.next32() });
  }

  async stop(): Promise<void> {
    let stopped = false;
    this.node.stop().then(() => (stopped = true));
    await this.settle();
    if (!stopped) throw new Error('the node did not stop');
  }

  /** Ends the process or the power, and starts anew on what is left. */
  async crash(options: CrashOptions = {}, changes: Partial<NodeConfig> = {}): Promise<World> {
    const disk = this.disk.crash(options);
    return World.start({ ...this.config, createDefault: false, ...changes, disk, clock: this.clock, seed: this.#prng.next32() });
  }

  /** Runs everything until nothing moves. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; ) {
      const before = this.disk.operationCount;
      let moved = false;
      while (this.#tasks.length > 0) {
        moved = true;
        for (const task of this.#tasks.splice(0)) task();
      }
      for (const client of this.clients) moved = client.endTurn() || moved;
      await new Promise<void>((resolve) => setImmediate(resolve));
      quiet = moved || this.disk.operationCount !== before ? 0 : quiet + 1;
    }
  }

  /** Moves both clocks (the wall by `wallMs`), ticks, and settles; in steps of a second, at most 60 of them. */
  async advance(ms: number, wallMs = ms): Promise<void> {
    let left = ms;
    const stepMs = Math.max(1000, ms / 60);
    this.clock.wall += wallMs - ms;
    do {
      const step = Math.min(left, stepMs);
      this.clock.monotonic += step;
      this.clock.wall += step;
      left -= step;
      this.node.tick();
      await this.settle();
    } while (left > 0);
  }

  async connect(identity: Partial<Identity> = {}): Promise<TestClient> {
    const client = new TestClient(this, { name: 'tester', mechanism: 'local', admin: true, ...identity });
    this.clients.push(client);
    await client.hello();
    return client;
  }
}

export interface Answer {
  op: number;
  more: boolean;
  status: number;
  payload: Buffer;
}

export class TestClient implements SessionHost {
  readonly session: Session;
  readonly world: World;
  readonly #frames = new Map<number, Answer[]>();
  /** Ids of answers in the order in which they came. */
  readonly order: number[] = [];
  goAwayCode = -1;
  finished = false;
  destroyed = false;
  /** Takes no output: a reader that has stopped. */
  stalled = false;
  paused = false;
  #nextId = 1;
  #signalled = false;
  readonly #reader = new FrameReader(64 * 1024 * 1024);
  #prefaceLeft = 8;

  constructor(world: World, identity: Identity) {
    this.world = world;
    const { config } = world;
    this.session = new Session(
      {
        nodeName: config.nodeName, clusterId: config.clusterId, serverVersion: 'test', maxFrame: 4 * 1024 * 1024,
        maxBatch: config.maxBatchBytes, maxInflight: 1024, maxWaits: 8, maxSubscriptions: 8, idleMs: 30_000,
        authRequired: false, authMechs: [], authenticate: () => null, loopback: true, graceMs: 2000,
      },
      world.node.service, this, identity, world.clock.monotonicMs(),
    );
  }

  // SessionHost
  outputReady(): void {
    this.#signalled = true;
  }
  pauseReading(): void {
    this.paused = true;
  }
  resumeReading(): void {
    this.paused = false;
  }
  finish(): void {
    this.finished = true;
  }
  destroy(): void {
    this.destroyed = true;
  }

  /** What the transport does at the end of a turn; whether anything moved. */
  endTurn(): boolean {
    const signalled = this.#signalled;
    this.#signalled = false;
    if (signalled) this.session.turnEnd();
    if (this.stalled) return signalled;
    const chunks = this.session.takeOutput(1024 * 1024);
    let bytes = 0;
    for (const chunk of chunks) {
      bytes += chunk.length;
      this.#received(Buffer.from(chunk));
    }
    if (bytes > 0) this.session.written(bytes);
    return signalled || bytes > 0;
  }

  #received(chunk: Buffer): void {
    const skip = Math.min(this.#prefaceLeft, chunk.length);
    this.#prefaceLeft -= skip;
    this.#reader.push(chunk.subarray(skip));
    while (this.#reader.next()) {
      const { op, flags, status, id, buffer, start, end } = this.#reader;
      if (op === Op.GOAWAY) {
        this.goAwayCode = buffer.readUInt16BE(start);
        continue;
      }
      const answers = this.#frames.get(id) ?? [];
      answers.push({ op, more: (flags & FLAG_MORE) !== 0, status, payload: Buffer.from(buffer.subarray(start, end)) });
      this.#frames.set(id, answers);
      this.order.push(id);
    }
  }

  async hello(): Promise<void> {
    this.session.receive(Buffer.from('fa534c4743010100', 'hex'), this.world.clock.monotonicMs());
    const value = {
      minor: 0, maxFrame: 4 * 1024 * 1024, idleMs: 0xffff_ffff, features: 0, clusterId: Buffer.alloc(16), client: 'test/1',
    };
    this.send(Op.HELLO, encode(helloRequest, value));
    await this.world.settle();
  }

  /** Hands one request to the session and returns its id; nothing has been settled. */
  send(op: number, payload: Buffer, id = this.#nextId++): number {
    const head = Buffer.alloc(12);
    head.writeUInt32BE(8 + payload.length, 0);
    head[4] = op;
    head.writeUInt32BE(id, 8);
    this.session.receive(Buffer.concat([head, payload]), this.world.clock.monotonicMs());
    return id;
  }

  answers(id: number): Answer[] {
    return this.#frames.get(id) ?? [];
  }

  /** The last answer of `id`, decoded; null while there is none. */
  result<T>(id: number, codec: Codec<T>): Result<T> | null {
    const list = this.answers(id);
    const last = list[list.length - 1];
    if (last === undefined) return null;
    return decode(last, codec);
  }

  async call<Q, A>(op: number, request: Codec<Q>, value: Q, response: Codec<A>): Promise<Result<A>> {
    const id = this.send(op, encode(request, value));
    await this.world.settle();
    const result = this.result(id, response);
    if (result === null) throw new Error(`no answer to op ${op.toString(16)}`);
    return result;
  }

  // The requests that nearly every test sends

  sendProduce(log: string, body: Buffer, changes: Partial<ProduceRequest> = {}): number {
    return this.send(Op.PRODUCE, encode(produceRequest, {
      log, flags: 0, timeoutMs: 5000, expectedOffset: NONE, fence: 0, batch: body, ...changes,
    }));
  }

  async produce(log: string, body: Buffer, changes: Partial<ProduceRequest> = {}): Promise<Result<ProduceAnswer>> {
    const id = this.sendProduce(log, body, changes);
    await this.world.settle();
    const result = this.produced(id);
    if (result === null) throw new Error('no answer to PRODUCE');
    return result;
  }

  produced(id: number): Result<ProduceAnswer> | null {
    return this.result(id, produceResponse);
  }

  sendFetch(log: string, changes: Partial<FetchRequest> = {}): number {
    return this.send(Op.FETCH, encode(fetchRequest, {
      log, from: 0, flags: 0, value: 0, positionName: '', minBytes: 0, maxBytes: 1024 * 1024, maxWaitMs: 0, ...changes,
    }));
  }

  async fetch(log: string, changes: Partial<FetchRequest> = {}): Promise<Result<FetchAnswer>> {
    const id = this.sendFetch(log, changes);
    await this.world.settle();
    const result = this.fetched(id);
    if (result === null) throw new Error('no answer to FETCH');
    return result;
  }

  fetched(id: number): Result<FetchAnswer> | null {
    return this.result(id, fetchResponse);
  }

  sendSubscribe(log: string, changes: Partial<SubscribeRequest> = {}): number {
    return this.send(Op.SUBSCRIBE, encode(subscribeRequest, {
      log, from: 0, value: 0, positionName: '', creditBytes: 1024 * 1024, ...changes,
    }));
  }

  /** Everything that a subscription delivered, as one buffer; and how it stands. */
  delivered(id: number): { started: boolean; bytes: Buffer; end: ProtocolError | null; frames: number } {
    const frames = this.answers(id);
    const parts: Buffer[] = [];
    let end: ProtocolError | null = null;
    for (const frame of frames) {
      if (frame.status !== 0) end = readErrorBody(new Reader(frame.payload), frame.status);
      else if (frame.op === Op.DELIVER) parts.push(deliver.read(new Reader(frame.payload)).batches);
      else subscribeResponse.read(new Reader(frame.payload));
    }
    return { started: frames[0]?.op === Op.SUBSCRIBE && frames[0].status === 0, bytes: Buffer.concat(parts), end, frames: parts.length };
  }

  credit(id: number, addBytes: number): void {
    this.send(Op.CREDIT, encode(creditRequest, { addBytes }), id);
  }

  cancel(id: number): void {
    this.send(Op.CANCEL, encode(cancelRequest, {}), id);
  }

  createLog(log: string, changes: Partial<CreateLogRequest> = {}): Promise<Result<{ logUid: Buffer }>> {
    return this.call(Op.CREATE_LOG, createLogRequest, {
      log, durability: 1, replication: 0, intervalMs: 0, retainBytes: 0, retainMs: 0, segmentBytes: 0, compressions: 0, ...changes,
    }, createLogResponse);
  }

  deleteLog(log: string): Promise<Result<unknown>> {
    return this.call(Op.DELETE_LOG, deleteLogRequest, { log }, EMPTY);
  }

  describe(log: string) {
    return this.call(Op.DESCRIBE_LOG, describeLogRequest, { log }, describeLogResponse);
  }

  trim(log: string, offset: number) {
    return this.call(Op.TRIM, trimRequest, { log, offset }, trimResponse);
  }

  initProducer(log: string, name: string) {
    return this.call(Op.INIT_PRODUCER, initProducerRequest, { log, name }, initProducerResponse);
  }
}

export type ProduceAnswer = ReturnType<(typeof produceResponse)['read']>;
export type FetchAnswer = ReturnType<(typeof fetchResponse)['read']>;

/** `code` is 'OK' or the error's name. */
export interface Result<T> {
  code: string;
  value: T;
  error: ProtocolError;
}

export const EMPTY: Codec<Record<string, never>> = {
  write: () => {},
  read: (r) => {
    r.skip(r.remaining, 'rest');
    return {};
  },
};

export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const w = new Writer();
  codec.write(w, value);
  return w.copy();
}

export function decode<T>(answer: Answer, codec: Codec<T>): Result<T> {
  const r = new Reader(answer.payload);
  if (answer.status === 0) return { code: 'OK', value: codec.read(r), error: undefined as unknown as ProtocolError };
  return { code: errorName(answer.status), value: undefined as T, error: readErrorBody(r, answer.status) };
}

/** One batch of records with these values. */
export function records(...values: string[]): Buffer {
  return producerRecords({}, ...values);
}

export function producerRecords(options: BatchOptions, ...values: string[]): Buffer {
  return buildBatch(values.map((value) => ({ value: Buffer.from(value) })), options);
}

/** One batch with one record of about this many bytes in all. */
export function sized(bytes: number): Buffer {
  return buildBatch([{ value: Buffer.alloc(Math.max(0, bytes - batch.AT_SEQ - 8 - 13), 0x61) }]);
}

/** The records in a run of batches, as `offset:value`. */
export function valuesOf(batches: Buffer): string[] {
  const values: string[] = [];
  for (let at = 0; at < batches.length; at += batch.batchSize(batches, at)) {
    let offset = batch.baseOffset(batches, at);
    const reader = new RecordReader().reset(batches, at + 72, at + batch.batchSize(batches, at));
    while (reader.next()) {
      const value = reader.valueStart < 0 ? 'null' : batches.toString('utf8', reader.valueStart, reader.valueEnd);
      values.push(`${offset++}:${value}`);
    }
  }
  return values;
}
