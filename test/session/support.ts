// A scripted client, transport and service around one Session. The host takes output at the end of
// each turn, as the real one does, and can be told to stall; the service answers as told and
// records every call. `frames()` decodes what the client would have received.
import { Reader, Writer } from '../../src/wire/bytes.ts';
import type { Codec } from '../../src/wire/bytes.ts';
import { goAway, readErrorBody } from '../../src/wire/error-body.ts';
import type { GoAway } from '../../src/wire/error-body.ts';
import type { ErrorCode, ProtocolError } from '../../src/wire/errors.ts';
import { FLAG_RESPONSE, Op } from '../../src/wire/ops.ts';
import { cancelRequest, creditRequest, helloRequest, ping } from '../../src/wire/requests-session.ts';
import type { HelloRequest } from '../../src/wire/requests-session.ts';
import type { Identity, Service, Session as SessionPort, SessionConfig, SessionHost } from '../../src/wire/session/ports.ts';
import { Session } from '../../src/wire/session/session.ts';

export const PREFACE = Buffer.from('fa534c4743010100', 'hex');
export const PREFACE_OK = Buffer.from('fa534c4743010000', 'hex');
/** The golden HELLO of the protocol's last section. */
export const HELLO_GOLDEN = Buffer.from(
  '00000034010000000000000100000040000000007530000000000000000000000000000000000000000000000000000664656d6f2f310000',
  'hex',
);
export const EMPTY_EXT = Buffer.from('0000', 'hex');

export interface Frame {
  op: number;
  flags: number;
  status: number;
  id: number;
  payload: Buffer;
}

/** Bytes of one frame; every header field may be made wrong. */
export function frame(op: number, id: number, payload: Buffer = EMPTY_EXT, flags = 0, status = 0): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32BE(8 + payload.length, 0);
  head[4] = op;
  head[5] = flags;
  head.writeUInt16BE(status, 6);
  head.writeUInt32BE(id, 8);
  return Buffer.concat([head, payload]);
}

export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const w = new Writer();
  codec.write(w, value);
  return w.copy();
}

export function hello(changes: Partial<HelloRequest> = {}, id = 1): Buffer {
  const value = {
    minor: 0, maxFrame: 4 * 1024 * 1024, idleMs: 30_000, features: 0,
    clusterId: Buffer.alloc(16), client: 'demo/1', ...changes,
  };
  return frame(Op.HELLO, id, encode(helloRequest, value));
}

export const pingFrame = (id: number, data = ''): Buffer => frame(Op.PING, id, encode(ping, { data: Buffer.from(data) }));
export const cancelFrame = (id: number): Buffer => frame(Op.CANCEL, id, encode(cancelRequest, {}));
export const creditFrame = (id: number, addBytes: number): Buffer => frame(Op.CREDIT, id, encode(creditRequest, { addBytes }));
export const produceFrame = (id: number, payload = 'payload'): Buffer => frame(Op.PRODUCE, id, Buffer.from(payload));
export const goAwayFrame = (graceMs = 0): Buffer =>
  frame(Op.GOAWAY, 0, encode(goAway, { code: 0, class: 0, graceMs, message: 'bye', detail: {} }));

export type Call =
  | { call: 'produce'; id: number; payload: string }
  | { call: 'request'; op: number; id: number; payload: Buffer }
  | { call: 'credit'; id: number; addBytes: number }
  | { call: 'cancel'; id: number; code: number; field: string | null }
  | { call: 'drained' | 'goingAway' | 'closed' };

/** Records calls; `on…` hooks answer inside them. */
export class FakeService implements Service {
  calls: Call[] = [];
  onProduce: (session: SessionPort, id: number) => void = () => {};
  onRequest: (session: SessionPort, op: Op, id: number, payload: Reader) => void = () => {};
  onCredit: (session: SessionPort, id: number) => void = () => {};
  onCancel: (session: SessionPort, id: number, code: ErrorCode) => void = () => {};
  onDrained: (session: SessionPort) => void = () => {};
  onGoingAway: (session: SessionPort) => void = () => {};
  onClosed: (session: SessionPort) => void = () => {};

  produce(session: SessionPort, id: number, buffer: Buffer, start: number, end: number): void {
    this.calls.push({ call: 'produce', id, payload: buffer.toString('latin1', start, end) });
    this.onProduce(session, id);
  }

  request(session: SessionPort, op: Op, id: number, payload: Reader): void {
    const bytes = Buffer.from(payload.buffer.subarray(payload.position, payload.end));
    this.calls.push({ call: 'request', op, id, payload: bytes });
    this.onRequest(session, op, id, payload);
  }

  credit(session: SessionPort, id: number, addBytes: number): void {
    this.calls.push({ call: 'credit', id, addBytes });
    this.onCredit(session, id);
  }

  cancel(session: SessionPort, id: number, code: ErrorCode, field: string | null): void {
    this.calls.push({ call: 'cancel', id, code, field });
    this.onCancel(session, id, code);
  }

  drained(session: SessionPort): void {
    this.calls.push({ call: 'drained' });
    this.onDrained(session);
  }

  goingAway(session: SessionPort): void {
    this.calls.push({ call: 'goingAway' });
    this.onGoingAway(session);
  }

  closed(session: SessionPort): void {
    this.calls.push({ call: 'closed' });
    this.onClosed(session);
  }

  count(call: Call['call']): number {
    return this.calls.filter((entry) => entry.call === call).length;
  }

  ids(call: 'produce' | 'request' | 'credit' | 'cancel'): number[] {
    return this.calls.flatMap((entry) => (entry.call === call ? [(entry as { id: number }).id] : []));
  }
}

/** Takes output at the end of a turn; what it took counts as written at once unless `stalled`. */
export class FakeHost implements SessionHost {
  session!: Session;
  sent = Buffer.alloc(0);
  ready = false;
  stalled = false;
  paused = false;
  finished = false;
  destroyed = false;
  events: string[] = [];
  maxTake = Infinity;

  outputReady(): void {
    if (this.ready) throw new Error('outputReady twice before turnEnd');
    this.ready = true;
  }

  pauseReading(): void {
    if (this.paused) throw new Error('paused twice');
    this.paused = true;
    this.events.push('pause');
  }

  resumeReading(): void {
    if (!this.paused) throw new Error('resumed without a pause');
    this.paused = false;
    this.events.push('resume');
  }

  finish(): void {
    this.finished = true;
    this.events.push('finish');
  }

  destroy(): void {
    this.destroyed = true;
    this.events.push('destroy');
  }

  /** Ends turns until nothing is left to do. */
  settle(): void {
    do {
      if (this.ready) {
        this.ready = false;
        this.session.turnEnd();
      }
      if (!this.stalled) this.drain();
    } while (this.ready);
  }

  /** Takes and "writes" up to `bytes` of output. */
  drain(bytes = Infinity): void {
    let left = bytes;
    while (left > 0 && !this.destroyed) {
      const chunks = this.session.takeOutput(Math.min(left, this.maxTake));
      if (chunks.length === 0) return;
      const taken = Buffer.concat(chunks);
      this.sent = Buffer.concat([this.sent, taken]);
      left -= taken.length;
      this.session.written(taken.length);
    }
  }
}

export const CLUSTER_ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
export const LOCAL: Identity = { name: 'local', mechanism: 'local', admin: true };
export const TOKEN_IDENTITY: Identity = { name: 'app', mechanism: 'token', admin: false };

export function testConfig(changes: Partial<SessionConfig> = {}): SessionConfig {
  return {
    nodeName: 'n1', clusterId: CLUSTER_ID, serverVersion: 'sidelog/test',
    maxFrame: 4 * 1024 * 1024, maxBatch: 1024 * 1024,
    maxInflight: 1_024, maxWaits: 256, maxSubscriptions: 256, idleMs: 30_000,
    authRequired: false, authMechs: ['token'],
    authenticate: (_mech, data) => (data.toString() === 'secret' ? TOKEN_IDENTITY : null),
    loopback: true, graceMs: 5_000, ...changes,
  };
}

export interface Connection {
  session: Session;
  service: FakeService;
  host: FakeHost;
  /** Sends chunks, each in a turn of its own. */
  send(...chunks: Buffer[]): void;
  /** All frames received since the preface answer. */
  frames(): Frame[];
  /** Frames received since the last call. */
  fresh(): Frame[];
  now: number;
  /** Moves the clock and ticks once. */
  tick(ms: number): void;
}

/** A connection before its first byte. */
export function connect(config: SessionConfig = testConfig()): Connection {
  const service = new FakeService();
  const host = new FakeHost();
  const session = new Session(config, service, host, LOCAL, 1_000_000);
  host.session = session;
  let seen = 0;
  const connection: Connection = {
    session, service, host,
    now: 1_000_000,
    send(...chunks) {
      for (const chunk of chunks) {
        session.receive(chunk, connection.now);
        host.settle();
      }
    },
    frames: () => decodeFrames(host.sent.subarray(PREFACE_OK.length)),
    fresh() {
      const all = connection.frames();
      const fresh = all.slice(seen);
      seen = all.length;
      return fresh;
    },
    tick(ms) {
      connection.now += ms;
      session.tick(connection.now);
      host.settle();
    },
  };
  return connection;
}

/** A READY connection whose HELLO answer was already consumed. */
export function connectReady(config: SessionConfig = testConfig(), changes: Partial<HelloRequest> = {}): Connection {
  const connection = connect(config);
  connection.send(Buffer.concat([PREFACE, hello(changes)]));
  connection.fresh();
  return connection;
}

export function decodeFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at + 12 <= bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    frames.push({
      op: bytes[at + 4]!, flags: bytes[at + 5]!, status: bytes.readUInt16BE(at + 6), id: bytes.readUInt32BE(at + 8),
      payload: Buffer.from(bytes.subarray(at + 12, end)),
    });
    at = end;
  }
  return frames;
}

export function errorOf(answer: Frame): ProtocolError {
  if ((answer.flags & FLAG_RESPONSE) === 0 || answer.status === 0) throw new Error('not an error answer');
  return readErrorBody(new Reader(answer.payload), answer.status);
}

export function goAwayOf(found: Frame): GoAway {
  if (found.op !== Op.GOAWAY || found.flags !== 0 || found.id !== 0 || found.status !== 0) throw new Error('not a GOAWAY');
  return goAway.read(new Reader(found.payload));
}

/** OK answer with an empty ext. */
export const answerOk = (session: SessionPort, id: number): void => session.produceAck(id, 1, 2, 3, 4, 1, 1, 0, null);
