// One connection as the client sees it, without a socket: preface, HELLO, AUTH, requests and their
// answers, PING and idleness, GOAWAY. Bytes come in by receive(), go out through `output`; time is an
// argument. What a server must not do ends the connection (PROTOCOL_VIOLATION).
// Invariant: every sink of a request gets exactly one last answer() or one lost().
import { assert } from '../assert.ts';
import { Reader } from '../bytes.ts';
import type { Writer } from '../bytes.ts';
import { goAway, readErrorBody, writeErrorBody } from '../error-body.ts';
import type { GoAway } from '../error-body.ts';
import { CLASS_FATAL, ErrorCode, FieldError, ProtocolError } from '../errors.ts';
import { greaseType } from '../ext.ts';
import { beginFrame, endFrame, FrameReader } from '../frame.ts';
import { FRAME_SIZE_BEFORE_READY_MAX, FRAME_SIZE_MAX, IDLE_NEVER, PREFACE_SIZE } from '../limits.ts';
import { FLAG_MORE, FLAG_RESPONSE, MAJOR_VERSION, MINOR_VERSION, Op, opName, PLANE_CLIENT } from '../ops.ts';
import {
  authRequest,
  authResponse,
  decodePrefaceResponse,
  encodePrefaceRequest,
  helloRequest,
  helloResponse,
  ping,
} from '../requests-session.ts';
import { LocalCode, LocalError } from './errors.ts';
import { Output } from './output.ts';
import { PendingTable } from './pending.ts';
import type { AnswerSink } from './pending.ts';
import type { ServerInfo } from './types.ts';

/** The first feature bit of GREASE as a number; there are four. */
const GREASE_FEATURE = 2 ** 48;
/** One request in so many carries a GREASE TLV. */
const GREASE_RATE = 16;

export interface MachineConfig {
  readonly name: string;
  /** 16 bytes; zeros = any cluster. */
  readonly clusterId: Buffer;
  readonly token: string | undefined;
  /** A number in [0, 1): decides what is greased. */
  readonly random: () => number;
}

export interface MachineEvents {
  /** There is something in `output`. */
  outputReady(): void;
  ready(server: ServerInfo): void;
  /** The server finishes what it has; no request may begin any more. */
  draining(reason: GoAway): void;
  /** Nothing comes or goes any more; open requests are told next. Called once. */
  ended(error: ProtocolError): void;
}

type Phase = 'preface' | 'hello' | 'auth' | 'ready' | 'draining' | 'ended';

export class ClientMachine {
  readonly output = new Output();
  readonly pending = new PendingTable();
  phase: Phase = 'preface';
  server: ServerInfo | null = null;
  /** Id of the request begun last. */
  lastId = 0;

  private readonly config: MachineConfig;
  private readonly events: MachineEvents;
  private readonly frames = new FrameReader(FRAME_SIZE_BEFORE_READY_MAX);
  private readonly reader = new Reader();
  private preface: Buffer = Buffer.alloc(0);
  private idleMs = IDLE_NEVER;
  private lastReceivedMs: number;
  private lastTickMs: number;
  private isPinging = false;
  private isSentAway = false;

  /** Begins at once: preface and HELLO go out together, since there is only one major to agree on. */
  constructor(config: MachineConfig, events: MachineEvents, nowMs: number) {
    this.config = config;
    this.events = events;
    this.lastReceivedMs = nowMs;
    this.lastTickMs = nowMs;
    const preface = { plane: PLANE_CLIENT, maxMajor: MAJOR_VERSION, minMajor: MAJOR_VERSION };
    this.output.append(encodePrefaceRequest(preface));
    this.sendHello();
  }

  get isReady(): boolean {
    return this.phase === 'ready';
  }

  /** A TLV type to add to the next request: mostly 0 = none. */
  grease(): number {
    const { random } = this.config;
    return random() * GREASE_RATE < 1 ? greaseType(Math.floor(random() * 8)) : 0;
  }

  /** Sends a request; `write` writes its payload. Returns the id. */
  request(op: number, sink: AnswerSink, tag: number, write: (w: Writer) => void): number {
    const at = this.begin(op, sink, tag);
    const id = this.lastId;
    write(this.output.writer);
    this.finish(at);
    return id;
  }

  /** Begins a request: its payload is then written to output.writer. Returns a position for finish(). */
  begin(op: number, sink: AnswerSink, tag: number): number {
    assert(this.phase !== 'ended' && this.phase !== 'draining', 'a request begins on a living connection');
    const id = this.pending.open(op, sink, tag);
    this.lastId = id;
    return beginFrame(this.output.writer, op, 0, 0, id);
  }
  /** Ends the request begun at `at`; `tail` is the rest of its payload and must not change until sent. */
  finish(at: number, tail?: Buffer): void {
    endFrame(this.output.writer, at, tail?.length ?? 0);
    if (tail !== undefined) this.output.append(tail);
    this.events.outputReady();
  }

  /** Sends CREDIT or CANCEL about the open request `id`. */
  about(op: number, id: number, write: (w: Writer) => void): void {
    if (this.phase !== 'ready' && this.phase !== 'draining') return;
    const w = this.output.writer;
    const at = beginFrame(w, op, 0, 0, id);
    write(w);
    this.finish(at);
  }

  /** Says goodbye: the server answers what it has and ends the connection. */
  leave(): void {
    if (this.phase === 'ended') return;
    const w = this.output.writer;
    const at = beginFrame(w, Op.GOAWAY, 0, 0, 0);
    goAway.write(w, { code: 0, class: 0, graceMs: 2_000, message: '', detail: {} });
    this.phase = 'draining';
    this.finish(at);
  }

  /** Takes received bytes; the chunk may be kept. */
  receive(chunk: Buffer, nowMs: number): void {
    if (this.phase === 'ended') return;
    this.lastReceivedMs = nowMs;
    this.isPinging = false;
    let rest: Buffer | null = chunk;
    if (this.phase === 'preface') rest = this.takePreface(chunk);
    if (rest === null) return;
    this.frames.push(rest);
    while (!this.hasEnded() && this.frames.next()) this.takeFrame();
    this.endWhenDrained();
    if (this.frames.failure !== null && !this.hasEnded()) this.violation('a broken frame');
  }

  /** PINGs a silent server and gives up one that stays silent. To be called about once a second. */
  tick(nowMs: number): void {
    // A tick that comes late means that this process stood still: what waits in the socket is not
    // read yet, so the time it slept is not the server's silence.
    const lateMs = nowMs - this.lastTickMs - 2_000;
    if (lateMs > 0) this.lastReceivedMs += lateMs;
    this.lastTickMs = nowMs;
    if (this.phase !== 'ready' || this.idleMs === IDLE_NEVER) return;
    const silentMs = nowMs - this.lastReceivedMs;
    if (silentMs > this.idleMs) {
      this.end(new LocalError(LocalCode.CONNECTION_LOST, `no byte from the server for ${silentMs} ms`, 'unknown'));
    } else if (silentMs > this.idleMs / 2 && !this.isPinging) {
      this.isPinging = true;
      this.request(Op.PING, IGNORE, 0, (w) => ping.write(w, { data: Buffer.alloc(0) }));
    }
  }

  /** Ends the machine: open requests are lost. Repeated calls do nothing. */
  end(error: ProtocolError): void {
    if (this.phase === 'ended') return;
    this.phase = 'ended';
    const lost =
      error.code === (LocalCode.CONNECTION_LOST as number)
        ? error
        : new LocalError(LocalCode.CONNECTION_LOST, `the connection ended: ${error.message}`, 'unknown', error);
    // First, so that whoever sends a lost request again does not find this machine.
    this.events.ended(error);
    this.pending.loseAll(lost);
  }

  /** A method, so that the compiler does not narrow `phase` over calls that change it. */
  private hasEnded(): boolean {
    return this.phase === 'ended';
  }

  private takePreface(chunk: Buffer): Buffer | null {
    const bytes = this.preface.length === 0 ? chunk : Buffer.concat([this.preface, chunk]);
    if (bytes.length < PREFACE_SIZE) {
      this.preface = bytes;
      return null;
    }
    this.preface = Buffer.alloc(0);
    const answer = decodePrefaceResponse(bytes);
    if (answer === null || answer.plane !== PLANE_CLIENT) {
      this.violation('the peer is no sidelog server: wrong preface');
    } else if (answer.status !== 0 || answer.major !== MAJOR_VERSION) {
      this.end(new ProtocolError(answer.status || ErrorCode.UNSUPPORTED_VERSION));
    } else {
      this.phase = 'hello';
      return bytes.subarray(PREFACE_SIZE);
    }
    return null;
  }

  private sendHello(): void {
    const { config } = this;
    this.request(Op.HELLO, this.helloSink, 0, (w) =>
      helloRequest.write(
        w,
        {
          minor: MINOR_VERSION,
          // Large enough for any server's batches; memory follows the bytes that really come.
          maxFrame: FRAME_SIZE_MAX,
          idleMs: 0,
          features: Math.floor(config.random() * 16) * GREASE_FEATURE,
          clusterId: config.clusterId,
          client: config.name,
        },
        greaseType(Math.floor(config.random() * 8)),
      ),
    );
  }

  private readonly helloSink: AnswerSink = {
    answer: (_tag, frame) => {
      if (frame.status !== 0) return this.end(this.errorOf(frame));
      const hello = helloResponse.read(this.payloadOf(frame));
      this.server = {
        node: hello.node,
        server: hello.server,
        clusterId: hello.clusterId.toString('hex'),
        maxFrame: hello.maxFrame,
        maxBatch: hello.maxBatch,
        maxInflight: hello.maxInflight,
        idleMs: hello.idleMs,
      };
      this.idleMs = hello.idleMs;
      if (hello.authRequired === 0) return this.becomeReady();
      this.sendAuth(hello.authMechs);
    },
    lost: () => undefined,
  };

  private sendAuth(mechs: readonly string[]): void {
    const { token } = this.config;
    if (token === undefined || !mechs.includes('token')) {
      const message = token === undefined ? 'the server wants a token' : 'the server takes no tokens';
      return this.end(new ProtocolError(ErrorCode.AUTH_REQUIRED, { message }));
    }
    this.phase = 'auth';
    this.request(Op.AUTH, this.authSink, 0, (w) => authRequest.write(w, { mech: 'token', data: Buffer.from(token) }));
  }

  private readonly authSink: AnswerSink = {
    answer: (_tag, frame) => {
      if (frame.status !== 0) return this.end(this.errorOf(frame));
      if (authResponse.read(this.payloadOf(frame)).done !== 1) return this.violation('AUTH by token takes one step');
      this.becomeReady();
    },
    lost: () => undefined,
  };

  private becomeReady(): void {
    this.phase = 'ready';
    this.frames.maxFrame = FRAME_SIZE_MAX;
    this.events.ready(this.server!);
  }

  private takeFrame(): void {
    const { frames } = this;
    try {
      if ((frames.flags & FLAG_RESPONSE) !== 0) this.takeAnswer();
      else this.takeRequest();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      this.violation(`a broken ${opName(frames.op)}: ${error.message}`);
    }
  }

  private takeAnswer(): void {
    const { frames, pending } = this;
    const slot = pending.find(frames.id);
    if (slot < 0) return this.violation(`an answer to a request that is not open (${opName(frames.op)} id ${frames.id})`);
    const op = pending.op(slot);
    const isItsOp = frames.op === op || (frames.op === Op.DELIVER && op === Op.SUBSCRIBE);
    if (!isItsOp) return this.violation(`an answer ${opName(frames.op)} to a ${opName(op)}`);
    const sink = pending.sink(slot);
    const tag = pending.tag(slot);
    const more = (frames.flags & FLAG_MORE) !== 0;
    if (!more) pending.close(slot);
    try {
      sink.answer(tag, frames, more);
    } catch (error) {
      // Its id is closed already, so the end of the connection would not tell it.
      if (error instanceof FieldError && !more) sink.lost(tag, brokenAnswer(error));
      throw error;
    }
  }

  private takeRequest(): void {
    const { frames } = this;
    if (frames.op === Op.GOAWAY) return this.takeGoAway(goAway.read(this.payloadOf(frames)));
    const w = this.output.writer;
    if (frames.op !== Op.PING) {
      const at = beginFrame(w, frames.op, FLAG_RESPONSE, ErrorCode.UNKNOWN_OP, frames.id);
      writeErrorBody(w, ErrorCode.UNKNOWN_OP);
      return this.finish(at);
    }
    const { data } = ping.read(this.payloadOf(frames));
    const at = beginFrame(w, Op.PING, FLAG_RESPONSE, 0, frames.id);
    ping.write(w, { data });
    this.finish(at);
  }

  private takeGoAway(reason: GoAway): void {
    if ((reason.class & CLASS_FATAL) !== 0 || this.phase !== 'ready') {
      const { code, class: classBits, message, detail } = reason;
      return this.end(new ProtocolError(code, { ...detail, class: classBits, message }));
    }
    this.phase = 'draining';
    this.isSentAway = true;
    this.events.draining(reason);
  }

  /** After the server's GOAWAY and the last answer there is nothing to wait for: it need not wait for us. */
  private endWhenDrained(): void {
    if (!this.isSentAway || this.pending.count > 0) return;
    this.end(new LocalError(LocalCode.CONNECTION_LOST, 'the server went away', 'none'));
  }

  private payloadOf(frame: FrameReader): Reader {
    return this.reader.reset(frame.buffer, frame.start, frame.end);
  }

  private errorOf(frame: FrameReader): ProtocolError {
    return readErrorBody(this.payloadOf(frame), frame.status);
  }

  private violation(what: string): void {
    this.end(new LocalError(LocalCode.PROTOCOL_VIOLATION, `the server sent ${what}`, 'unknown'));
  }
}

function brokenAnswer(cause: FieldError): ProtocolError {
  return new LocalError(LocalCode.PROTOCOL_VIOLATION, `the server sent a broken answer: ${cause.message}`, 'unknown', cause);
}

/** For requests whose answer does not matter. */
const IGNORE: AnswerSink = { answer: () => undefined, lost: () => undefined };
