// A small server in this process for tests of the client: one in-memory log per name, real frames over
// a loopback port, and hooks to answer, delay, refuse or cut as a test wants. Not a model of the real
// server: it judges only what the client's tests need.
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { batchCount, batchSize, checkClientBatch, producerEpoch, producerId, producerSeq, stampBatch } from '../../src/wire/batch.ts';
import { Reader, Writer } from '../../src/wire/bytes.ts';
import { goAway, writeErrorBody } from '../../src/wire/error-body.ts';
import { ErrorCode, errorClass } from '../../src/wire/errors.ts';
import type { ErrorOptions } from '../../src/wire/errors.ts';
import { beginFrame, endFrame, FrameReader } from '../../src/wire/frame.ts';
import { FLAG_MORE, FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { fetchRequest, subscribeRequest } from '../../src/wire/requests-read.ts';
import type { SubscribeRequest } from '../../src/wire/requests-read.ts';
import { authRequest, authResponse, creditRequest, encodePrefaceResponse, helloRequest, helloResponse, ping } from '../../src/wire/requests-session.ts';
import { initProducerRequest, produceRequest } from '../../src/wire/requests-write.ts';
import type { ProduceRequest } from '../../src/wire/requests-write.ts';
import { deliver, fetchResponse, initProducerResponse, produceResponse, subscribeResponse } from '../../src/wire/responses-data.ts';

export const UID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const OTHER_UID = Buffer.alloc(16, 0xee);
const EMPTY = Buffer.alloc(0);

export class FakeLog {
  uid = UID;
  term = 1;
  batches: { base: number; next: number; bytes: Buffer }[] = [];
  end = 0;
  start = 0;
  producers = new Map<string, { id: number; epoch: number; nextSeq: number; seen: Map<number, number> }>();

  append(batch: Buffer): number {
    const base = this.end;
    const bytes = Buffer.from(batch);
    const count = batchCount(bytes, 0);
    stampBatch(bytes, 0, this.batches.length + 1, this.term, base, 1_790_000_000_000 + base);
    this.end += count;
    this.batches.push({ base, next: this.end, bytes });
    return base;
  }

  from(offset: number): Buffer[] {
    return this.batches.filter((batch) => batch.next > offset).map((batch) => batch.bytes);
  }
}

export interface Conn {
  readonly socket: Socket;
  readonly number: number;
  reply(op: number, id: number, write: (w: Writer) => void, more?: boolean): void;
  error(op: number, id: number, code: number, options?: ErrorOptions): void;
  raw(bytes: Buffer): void;
  goAway(code: number, classBits?: number): void;
  /** Ends the connection without a word. */
  cut(): void;
}

/** Return true when the hook has taken care of the request. */
export type Hook = (conn: Conn, id: number, payload: Reader) => boolean | void;

interface Subscriber {
  conn: Conn;
  id: number;
  log: FakeLog;
  next: number;
  balance: number;
}

export class FakeServer {
  address = '';
  readonly logs = new Map<string, FakeLog>([['t', new FakeLog()]]);
  readonly hooks = new Map<number, Hook>();
  readonly connections: Conn[] = [];
  /** Ops received, in order: `20` or `20 ⟨anything a test adds⟩`. */
  readonly received: number[] = [];
  /** Decoded PRODUCEs, in order. */
  readonly produced: ProduceRequest[] = [];
  readonly subscribed: SubscribeRequest[] = [];
  credits: number[] = [];
  token: string | null = null;
  maxBatch = 1024 * 1024;
  idleMs = 30_000;
  private readonly subscribers: Subscriber[] = [];
  private server: Server | null = null;
  private waiting: (() => void)[] = [];

  get log(): FakeLog {
    return this.logs.get('t')!;
  }

  async listen(port = 0, wrap: (listener: (socket: Socket) => void) => Server = (listener) => createServer({ noDelay: true }, listener)): Promise<void> {
    this.server = wrap((socket) => this.accept(socket));
    await new Promise<void>((resolve) => this.server!.listen(port, '127.0.0.1', resolve));
    this.address = `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async listenUnix(path: string): Promise<void> {
    this.server = createServer((socket) => this.accept(socket));
    await new Promise<void>((resolve) => this.server!.listen(path, resolve));
    this.address = `unix:${path}`;
  }

  get port(): number {
    return Number(this.address.split(':')[1]);
  }

  /** Ends all connections and the listener. */
  async close(): Promise<void> {
    for (const conn of this.connections) conn.cut();
    const { server } = this;
    this.server = null;
    if (server !== null) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  /** Resolves when `condition` holds; judged after every frame. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  deliverAll(): void {
    for (const subscriber of this.subscribers) this.deliver(subscriber);
  }

  accept(socket: Socket): void {
    const frames = new FrameReader(64 * 1024 * 1024);
    const conn = this.connection(socket);
    this.connections.push(conn);
    let preface = EMPTY;
    socket.on('error', () => undefined);
    (socket as Readable).on('data', (chunk: Buffer) => {
      let rest = chunk;
      if (preface.length < 8) {
        preface = Buffer.concat([preface, chunk]);
        if (preface.length < 8) return;
        rest = preface.subarray(8);
        conn.raw(encodePrefaceResponse({ plane: 0x43, major: 1, status: 0 }));
      }
      frames.push(rest);
      while (frames.next()) this.take(conn, frames);
      const waiting = this.waiting;
      this.waiting = [];
      for (const wake of waiting) wake();
    });
  }

  private connection(socket: Socket): Conn {
    const frame = (op: number, flags: number, status: number, id: number, write: (w: Writer) => void): void => {
      const w = new Writer();
      const at = beginFrame(w, op, flags, status, id);
      write(w);
      endFrame(w, at);
      if (!socket.destroyed) socket.write(w.copy());
    };
    return {
      socket,
      number: this.connections.length,
      reply: (op, id, write, more = false) => frame(op, more ? FLAG_RESPONSE | FLAG_MORE : FLAG_RESPONSE, 0, id, write),
      error: (op, id, code, options) => frame(op, FLAG_RESPONSE, code, id, (w) => writeErrorBody(w, code, options)),
      raw: (bytes) => void socket.write(bytes),
      goAway: (code, classBits = errorClass(code)) =>
        frame(Op.GOAWAY, 0, 0, 0, (w) => goAway.write(w, { code, class: classBits, graceMs: 1000, message: 'bye', detail: {} })),
      cut: () => void socket.destroy(),
    };
  }

  private take(conn: Conn, frames: FrameReader): void {
    if ((frames.flags & FLAG_RESPONSE) !== 0) return;
    const { op, id } = frames;
    this.received.push(op);
    const payload = (): Reader => new Reader(Buffer.from(frames.buffer.subarray(frames.start, frames.end)));
    if (op === Op.PRODUCE) this.produced.push(produceRequest.read(payload()));
    if (op === Op.SUBSCRIBE) this.subscribed.push(subscribeRequest.read(payload()));
    if (this.hooks.get(op)?.(conn, id, payload()) === true) return;
    this.answer(conn, op, id, payload());
  }

  answer(conn: Conn, op: number, id: number, r: Reader): void {
    if (op === Op.HELLO) this.hello(conn, id, r);
    else if (op === Op.AUTH) this.auth(conn, id, r);
    else if (op === Op.PING) {
      const { data } = ping.read(r);
      conn.reply(op, id, (w) => ping.write(w, { data }));
    } else if (op === Op.PRODUCE) this.produce(conn, id, r);
    else if (op === Op.INIT_PRODUCER) this.initProducer(conn, id, r);
    else if (op === Op.FETCH) this.fetch(conn, id, r);
    else if (op === Op.SUBSCRIBE) this.subscribe(conn, id, r);
    else if (op === Op.CREDIT) this.credit(conn, id, r);
    else if (op === Op.CANCEL) this.cancel(conn, id);
    else if (op === Op.GOAWAY) conn.socket.end();
    else conn.error(op, id, ErrorCode.UNKNOWN_OP);
  }

  private hello(conn: Conn, id: number, r: Reader): void {
    helloRequest.read(r);
    conn.reply(Op.HELLO, id, (w) =>
      helloResponse.write(w, {
        minor: 0, maxFrame: this.maxBatch + 8192, idleMs: this.idleMs, features: 0, clusterId: Buffer.alloc(16, 5), node: 'n1',
        maxBatch: this.maxBatch, maxInflight: 1024, authRequired: this.token === null ? 0 : 1, server: 'fake/1',
        authMechs: this.token === null ? [] : ['token'],
      }),
    );
  }

  private auth(conn: Conn, id: number, r: Reader): void {
    const { mech, data } = authRequest.read(r);
    if (mech !== 'token' || data.toString() !== this.token) return conn.error(Op.AUTH, id, ErrorCode.AUTH_FAILED);
    conn.reply(Op.AUTH, id, (w) => authResponse.write(w, { done: 1, data: EMPTY }));
  }

  /** The log, unless the request is refused for its name or uid. */
  private logOf(conn: Conn, op: number, id: number, name: string, uid: Buffer | undefined): FakeLog | null {
    const log = this.logs.get(name);
    if (log === undefined) conn.error(op, id, ErrorCode.LOG_NOT_FOUND);
    else if (uid !== undefined && !uid.equals(log.uid)) conn.error(op, id, ErrorCode.LOG_CHANGED, { logUid: log.uid });
    else return log;
    return null;
  }

  private produce(conn: Conn, id: number, r: Reader): void {
    const request = produceRequest.read(r);
    const log = this.logOf(conn, Op.PRODUCE, id, request.log, request.logUid);
    if (log === null) return;
    const { batch } = request;
    const fault = checkClientBatch(batch, 0, batch.length, { maxBatch: this.maxBatch, compressions: 7 });
    if (fault !== 0) return conn.error(Op.PRODUCE, id, fault);
    let base = log.end;
    let isDuplicate = false;
    const pid = producerId(batch, 0);
    if (pid !== 0) {
      const producer = [...log.producers.values()].find((each) => each.id === pid);
      if (producer === undefined) return conn.error(Op.PRODUCE, id, ErrorCode.UNKNOWN_PRODUCER);
      const seq = producerSeq(batch, 0);
      const known = producer.seen.get(seq);
      if (known !== undefined) {
        base = known;
        isDuplicate = true;
      } else if (producerEpoch(batch, 0) !== producer.epoch) return conn.error(Op.PRODUCE, id, ErrorCode.PRODUCER_FENCED);
      else if (seq !== producer.nextSeq) return conn.error(Op.PRODUCE, id, ErrorCode.SEQ_GAP, { expectedSeq: producer.nextSeq });
      else {
        producer.seen.set(seq, base);
        producer.nextSeq += 1;
      }
    }
    if (!isDuplicate && request.expectedOffset >= 0 && request.expectedOffset !== log.end) {
      return conn.error(Op.PRODUCE, id, ErrorCode.OFFSET_MISMATCH, { nextOffset: log.end });
    }
    if (!isDuplicate) log.append(batch);
    this.ack(conn, id, log, base, base + batchCount(batch, 0), request.logUid === undefined, isDuplicate);
    this.deliverAll();
  }

  ack(conn: Conn, id: number, log: FakeLog, base: number, next: number, withUid: boolean, isDuplicate = false): void {
    conn.reply(Op.PRODUCE, id, (w) =>
      produceResponse.write(w, {
        baseOffset: base, nextOffset: next, appendTime: 1_790_000_000_000 + base, term: log.term, durability: 1, copies: 1,
        flags: isDuplicate ? 1 : 0, logUid: withUid ? log.uid : undefined,
      }),
    );
  }

  private initProducer(conn: Conn, id: number, r: Reader): void {
    const request = initProducerRequest.read(r);
    const log = this.logOf(conn, Op.INIT_PRODUCER, id, request.log, request.logUid);
    if (log === null) return;
    let producer = log.producers.get(request.name);
    if (producer === undefined) {
      producer = { id: 1000 + log.producers.size + 77 * this.received.length, epoch: -1, nextSeq: 0, seen: new Map() };
      log.producers.set(request.name, producer);
    }
    producer.epoch += 1;
    const { id: pid, epoch, nextSeq } = producer;
    const logUid = request.logUid === undefined ? log.uid : undefined;
    conn.reply(Op.INIT_PRODUCER, id, (w) => initProducerResponse.write(w, { producerId: pid, epoch, nextSeq, window: 64, logUid }));
  }

  private fetch(conn: Conn, id: number, r: Reader): void {
    const request = fetchRequest.read(r);
    const log = this.logOf(conn, Op.FETCH, id, request.log, request.logUid);
    if (log === null) return;
    const startOffset = request.from === 0 ? request.value : request.from === 2 ? log.end : log.start;
    const logUid = request.logUid === undefined ? log.uid : undefined;
    const batches = Buffer.concat(log.from(startOffset));
    conn.reply(Op.FETCH, id, (w) => fetchResponse.write(w, { startOffset, logStart: log.start, committedEnd: log.end, logUid, batches }));
  }

  private subscribe(conn: Conn, id: number, r: Reader): void {
    const request = subscribeRequest.read(r);
    const log = this.logOf(conn, Op.SUBSCRIBE, id, request.log, request.logUid);
    if (log === null) return;
    const next = request.from === 0 ? request.value : request.from === 2 ? log.end : log.start;
    const logUid = request.logUid === undefined ? log.uid : undefined;
    conn.reply(Op.SUBSCRIBE, id, (w) => subscribeResponse.write(w, { startOffset: next, logStart: log.start, committedEnd: log.end, logUid }), true);
    const subscriber = { conn, id, log, next, balance: request.creditBytes };
    this.subscribers.push(subscriber);
    this.deliver(subscriber);
  }

  private credit(conn: Conn, id: number, r: Reader): void {
    const { addBytes } = creditRequest.read(r);
    this.credits.push(addBytes);
    const subscriber = this.subscribers.find((each) => each.conn === conn && each.id === id);
    if (subscriber === undefined) return;
    subscriber.balance += addBytes;
    this.deliver(subscriber);
  }

  private cancel(conn: Conn, id: number): void {
    const at = this.subscribers.findIndex((each) => each.conn === conn && each.id === id);
    if (at < 0) return;
    this.subscribers.splice(at, 1);
    conn.error(Op.DELIVER, id, ErrorCode.CANCELED);
  }

  /** Ends a subscription of a connection with an error. */
  endSubscriptions(conn: Conn, code: number): void {
    for (const each of this.subscribers.filter((subscriber) => subscriber.conn === conn)) {
      this.subscribers.splice(this.subscribers.indexOf(each), 1);
      conn.error(Op.DELIVER, each.id, code);
    }
  }

  private deliver(subscriber: Subscriber): void {
    for (const bytes of subscriber.log.from(subscriber.next)) {
      if (subscriber.balance <= 0) return;
      subscriber.balance -= batchSize(bytes, 0);
      subscriber.next = subscriber.log.batches.find((batch) => batch.bytes === bytes)!.next;
      subscriber.conn.reply(Op.DELIVER, subscriber.id, (w) => deliver.write(w, { committedEnd: subscriber.log.end, batches: bytes }), true);
    }
  }
}

/** Starts a server, runs `use` and ends it, whatever happens. */
export async function withServer(use: (server: FakeServer) => Promise<void>): Promise<void> {
  const server = new FakeServer();
  await server.listen();
  try {
    await use(server);
  } finally {
    await server.close();
  }
}
