// One client-plane connection on the server, as a state machine (protocol §2, §3, §4, §7): bytes in,
// calls of the service out; answers in, bytes out. No I/O, no clock, no promise. It knows ids, not
// logs: what a request does is the service's business. This file is the incoming half.
//
//   PREFACE → HELLO → (AUTH) → READY → DRAINING → CLOSING → CLOSED
//
// `produce`, `request`, `credit` and `cancel` are called while bytes are parsed, the service's other
// methods only from `turnEnd`, `tick` and `peerClosed`: never from inside one of its own answers.
// Invariants: I10, nothing is interpreted after the first invalid frame; every request gets one
// closing answer unless the connection ends first; `closed` is called exactly once.
import { Reader } from '../bytes.ts';
import { goAway } from '../error-body.ts';
import { ErrorCode, ProtocolError } from '../errors.ts';
import { FrameReader } from '../frame.ts';
import { FLAG_RESPONSE, MAJOR_VERSION, Op } from '../ops.ts';
import { cancelRequest, creditRequest, encodePrefaceResponse } from '../requests-session.ts';
import { writeError } from './answers.ts';
import { FloodCounter } from './flood.ts';
import { answerAuth, answerHello, answerPing, AuthVerdict } from './handshake.ts';
import { opKind, OpKind } from './op-kinds.ts';
import type { Session as SessionPort } from './ports.ts';
import { judgePreface, PrefaceReader } from './preface.ts';
import { AUTH_DEADLINE_MS, HELLO_DEADLINE_MS, NOT_ENDED, SessionLife } from './session-life.ts';
import { State } from './session-output.ts';

/** Shared by all sessions: a payload is read only while its frame is handled. */
const payload = new Reader();

export class Session extends SessionLife implements SessionPort {
  /** AUTH attempts refused so far. */
  authFailures = 0;
  private authDone = false;
  private readonly reader = new FrameReader();
  private readonly flood = new FloodCounter();
  /** Null once the preface was read. */
  private preface: PrefaceReader | null = new PrefaceReader();
  /** The host was told to stop reading. */
  private paused = false;

  receive(chunk: Buffer, nowMs: number): void {
    this.nowMs = nowMs;
    if (this.inputOver) return this.discard(chunk.length);
    this.idle.touch(nowMs);
    let frames = chunk;
    if (this.preface !== null) {
      const used = this.preface.push(chunk);
      if (used < 0) return this.destroy();
      if (!this.preface.complete) return;
      this.answerPreface(this.preface);
      frames = chunk.subarray(used);
    }
    this.reader.push(frames);
    this.parse();
    if (this.blocked && !this.paused) {
      this.paused = true;
      this.host.pauseReading();
    }
  }

  peerEnded(nowMs: number): void {
    this.nowMs = nowMs;
    this.endedMs = nowMs;
    this.signal();
  }

  turnEnd(): void {
    if (this.state === State.CLOSED) return;
    // The signal that led here still stands, so answers given below ask for no second turn.
    if (this.blocked) this.parse();
    if (this.endedMs !== NOT_ENDED && !this.inputOver && !this.blocked) this.endInput();
    this.settle();
    if (this.paused && !this.blocked) {
      this.paused = false;
      this.host.resumeReading();
    }
    this.signalled = false;
  }

  protected shrink(): void {
    this.reader.shrink();
    this.requests.shrink();
  }

  private parse(): void {
    const reader = this.reader;
    this.blocked = false;
    while (!this.inputOver) {
      if (this.isOverfull()) {
        this.blocked = reader.buffered > 0;
        return;
      }
      if (!reader.next()) {
        if (reader.failure !== null) this.failFrame(reader);
        return;
      }
      if (this.requests.inFlight >= this.config.maxInflight && this.isRequest(reader)) {
        reader.unread();
        this.blocked = true;
        return;
      }
      this.dispatch(reader);
    }
  }

  private isRequest(frame: FrameReader): boolean {
    return (frame.flags & FLAG_RESPONSE) === 0 && opKind(frame.op) === OpKind.REQUEST;
  }

  private dispatch(frame: FrameReader): void {
    const { op, id } = frame;
    if ((frame.flags & FLAG_RESPONSE) !== 0) return this.onResponse(op, id);
    if (this.state === State.READY && op === Op.PRODUCE) {
      if (!this.requests.open(id, op)) return this.fail(ErrorCode.DUPLICATE_ID);
      return this.service.produce(this, id, frame.buffer, frame.start, frame.end);
    }
    payload.reset(frame.buffer, frame.start, frame.end);
    if (this.state < State.READY) return this.onHandshake(op, id);
    switch (opKind(op)) {
      case OpKind.REQUEST:
        return this.onRequest(op as Op, id);
      case OpKind.SESSION:
        return this.onSessionOp(op, id);
      case OpKind.ABOUT:
        return this.onAbout(op, id);
      case OpKind.FORBIDDEN:
        return this.fail(ErrorCode.OP_NOT_ALLOWED);
      default:
        return this.refuse(op, id, this.state === State.DRAINING ? ErrorCode.SHUTTING_DOWN : ErrorCode.UNKNOWN_OP);
    }
  }

  private onHandshake(op: number, id: number): void {
    if (this.state === State.HELLO) {
      if (op !== Op.HELLO) return this.fail(ErrorCode.OP_NOT_ALLOWED, { message: 'HELLO comes first' });
      return this.onHello(id);
    }
    if (opKind(op) !== OpKind.SESSION) return this.fail(ErrorCode.AUTH_REQUIRED);
    this.onSessionOp(op, id);
  }

  private onHello(id: number): void {
    const agreement = answerHello(this.out, id, payload, this.config);
    this.queued();
    if (agreement === null) return this.close();
    this.peerMaxFrame = agreement.peerMaxFrame;
    this.idle.start(agreement.idleMs);
    if (this.config.authRequired) this.enter(State.AUTH, AUTH_DEADLINE_MS, this.nowMs);
    else this.becomeReady();
  }

  private onSessionOp(op: number, id: number): void {
    if (op === Op.GOAWAY) return this.onGoAway();
    if (op === Op.HELLO) return this.fail(ErrorCode.OP_NOT_ALLOWED, { message: 'a second HELLO' });
    if (this.requests.has(id)) return this.fail(ErrorCode.DUPLICATE_ID);
    if (op === Op.AUTH) return this.onAuth(id);
    answerPing(this.out, id, payload);
    this.out.countSessionFrame();
    this.queued();
  }

  private onAuth(id: number): void {
    if (this.config.authRequired && this.authDone) return this.fail(ErrorCode.OP_NOT_ALLOWED, { message: 'AUTH is done already' });
    const verdict = answerAuth(this.out, id, payload, this.config, this);
    this.out.countSessionFrame();
    this.queued();
    if (verdict === AuthVerdict.OVER) this.close();
    if (verdict !== AuthVerdict.DONE) return;
    this.authDone = true;
    if (this.state === State.AUTH) this.becomeReady();
  }

  private becomeReady(): void {
    this.state = State.READY;
    this.reader.maxFrame = this.config.maxFrame;
  }

  /** A broken payload of a GOAWAY is ignored, not the GOAWAY. */
  private onGoAway(): void {
    let graceMs = 0;
    try {
      graceMs = goAway.read(payload).graceMs;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
    this.onPeerGoAway(graceMs);
  }

  private onRequest(op: Op, id: number): void {
    if (this.state === State.DRAINING) return this.refuse(op, id, ErrorCode.SHUTTING_DOWN);
    if (!this.requests.open(id, op)) return this.fail(ErrorCode.DUPLICATE_ID);
    try {
      this.service.request(this, op, id, payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      const { code, message, retryAfterMs, detail } = error;
      this.error(id, op, code, { ...detail, message, retryAfterMs, class: error.class });
    }
  }

  /** CREDIT and CANCEL: about an open request, without an answer of their own. */
  private onAbout(op: number, id: number): void {
    const isMeant = op === Op.CREDIT ? this.requests.isSubscription(id) : this.requests.has(id);
    if (!isMeant) return this.noEffect();
    try {
      if (op === Op.CREDIT) return this.service.credit(this, id, creditRequest.read(payload).addBytes);
      cancelRequest.read(payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.service.cancel(this, id, error.code, error.detail.field ?? null);
    }
    this.service.cancel(this, id, ErrorCode.CANCELED, null);
  }

  private onResponse(op: number, id: number): void {
    if (op !== Op.PING || id !== this.pingId || id === 0) return this.noEffect();
    this.pingId = 0;
  }

  private noEffect(): void {
    if (this.flood.add(this.nowMs)) this.fail(ErrorCode.CONTROL_FLOOD);
  }

  /** Answers a request that was never opened. */
  private refuse(op: number, id: number, code: ErrorCode): void {
    if (this.requests.has(id)) return this.fail(ErrorCode.DUPLICATE_ID);
    writeError(this.out, op, id, code, {});
    this.queued();
  }

  private answerPreface(preface: PrefaceReader): void {
    this.preface = null;
    const status = judgePreface(preface, this.config.refuse ?? 0);
    const answer = encodePrefaceResponse({ plane: preface.plane, major: status === 0 ? MAJOR_VERSION : 0, status });
    this.out.append(answer, 0, answer.length);
    this.queued();
    if (status === 0) this.enter(State.HELLO, HELLO_DEADLINE_MS, this.nowMs);
    else this.close();
  }

  private failFrame(reader: FrameReader): void {
    const isTooLarge = reader.failure === ErrorCode.FRAME_TOO_LARGE;
    this.fail(reader.failure!, isTooLarge ? { limit: reader.maxFrame } : {});
  }
}
