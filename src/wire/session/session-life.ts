// What time and endings do to a session: deadlines of the handshake, idleness, GOAWAY and grace, fatal
// errors, the last bytes. Every way out leads through `close` (write what is queued, FIN, discard
// input for a while) or `destroy` (at once), and tells the service exactly once.
// Between ticks the session does not know the time, so patience that begins then runs from the next
// tick on.
import { CLASS_FATAL, ErrorCode, errorClass } from '../errors.ts';
import type { ErrorOptions } from '../errors.ts';
import { TIMEOUT_MS_MAX } from '../limits.ts';
import { writeGoAway, writePing } from './answers.ts';
import { IdleVerdict, IdleWatch } from './idle-watch.ts';
import type { Identity, Service, SessionConfig, SessionHost } from './ports.ts';
import { DATA_LOW_SIZE, SessionOutput, State } from './session-output.ts';

export const PREFACE_DEADLINE_MS = 5_000;
export const HELLO_DEADLINE_MS = 5_000;
export const AUTH_DEADLINE_MS = 10_000;
/** After our GOAWAY, requests that crossed it are refused politely for so long, unless the peer closes. */
export const GOAWAY_LINGER_MS = 500;
/** After the FIN, input is discarded for so long, so that a reset does not eat the last answer. */
export const CLOSE_DRAIN_MS = 2_000;
/** Silence after which memory kept for the next burst is given back. */
const QUIET_MS = 1_000;
const AT_NEXT_TICK = -Infinity;
/** The peer may still send. */
export const NOT_ENDED = -1;

export abstract class SessionLife extends SessionOutput {
  protected readonly service: Service;
  protected readonly idle: IdleWatch;
  protected nowMs: number;
  /** Nothing that comes from here on is interpreted. */
  protected inputOver = false;
  /** When the peer's FIN came; what was received before it may still wait to be parsed. */
  protected endedMs = NOT_ENDED;
  /** The id of our unanswered PING; 0 = none. */
  protected pingId = 0;
  private lastPingId = 0;
  /** When the state's patience began to run, and how long it is. READY has none: see IdleWatch. */
  private sinceMs: number;
  private patienceMs = PREFACE_DEADLINE_MS;
  /** After our own GOAWAY: time for requests that crossed it. */
  private lingering = false;
  /** Bytes that came after the end of input. */
  private discardedBytes = 0;
  private tellGoingAway = false;
  private tellClosed = false;
  private finishTold = false;

  constructor(config: SessionConfig, service: Service, host: SessionHost, identity: Identity, nowMs: number) {
    super(config, host, identity);
    this.service = service;
    this.nowMs = nowMs;
    this.sinceMs = nowMs;
    this.idle = new IdleWatch(nowMs);
  }

  /** Gives back memory that is only kept for the next burst. */
  protected abstract shrink(): void;

  goAway(code: ErrorCode, message: string): void {
    if (this.state >= State.CLOSING) return;
    if (this.state === State.PREFACE) return this.destroy();
    if (this.state < State.READY || (errorClass(code) & CLASS_FATAL) !== 0) return this.fail(code, { message });
    const graceMs = this.config.graceMs;
    if (this.state === State.READY) {
      writeGoAway(this.out, { code, class: errorClass(code), graceMs, message, detail: {} });
      this.lingering = true;
      this.tellGoingAway = true;
      this.enter(State.DRAINING, graceMs);
    } else if (this.patienceMs > graceMs) {
      this.enter(State.DRAINING, graceMs);
    }
    this.signal();
  }

  peerClosed(): void {
    this.state = State.CLOSED;
    this.inputOver = true;
    this.out.discard();
    this.notifyClosed();
  }

  tick(nowMs: number, hostReads = true): void {
    this.nowMs = nowMs;
    if (this.state === State.CLOSED) return;
    if (this.idle.silentMs(nowMs) >= QUIET_MS) this.shrink();
    if (this.state === State.READY) {
      // Its last requests may wait in front of others that are never answered: not for ever.
      if (this.endedMs !== NOT_ENDED && nowMs - this.endedMs >= TIMEOUT_MS_MAX + this.config.graceMs) return this.close();
      return this.tickIdle(hostReads);
    }
    if (this.sinceMs === AT_NEXT_TICK) this.sinceMs = nowMs;
    const passedMs = nowMs - this.sinceMs;
    if (this.lingering && passedMs >= GOAWAY_LINGER_MS) {
      this.lingering = false;
      this.signal();
    }
    if (passedMs >= this.patienceMs) this.giveUp();
  }

  /** The service's notices of this turn, and the end when nothing is left to do. */
  protected settle(): void {
    if (this.hungry && this.out.size <= DATA_LOW_SIZE && !this.dead) {
      this.hungry = false;
      this.service.drained(this);
    }
    if (this.tellGoingAway) {
      this.tellGoingAway = false;
      if (!this.dead && !this.tellClosed) this.service.goingAway(this);
    }
    if (this.tellClosed) this.notifyClosed();
    if (this.state === State.DRAINING && this.requests.size === 0 && !this.lingering) this.close();
    if (this.state === State.CLOSING) this.finish();
  }

  written(bytes: number): void {
    if (this.state === State.CLOSED) return;
    this.out.written(bytes);
    const mayFeed = this.hungry && this.out.size <= DATA_LOW_SIZE;
    const mayParse = this.blocked && !this.isOverfull() && this.requests.inFlight < this.config.maxInflight;
    if (mayFeed || mayParse) this.signal();
    // The drain after the FIN begins when the last byte has left.
    if (this.state === State.CLOSING && this.out.size === 0) this.enter(State.CLOSING, CLOSE_DRAIN_MS);
  }

  private tickIdle(hostReads: boolean): void {
    const isReading = hostReads && !this.blocked && !this.isOverfull();
    const verdict = this.idle.tick(this.nowMs, isReading);
    if (verdict === IdleVerdict.OVER) return this.fail(ErrorCode.IDLE_TIMEOUT);
    if (verdict !== IdleVerdict.PING) return;
    this.pingId = ++this.lastPingId;
    writePing(this.out, this.pingId);
    this.queued();
  }

  private giveUp(): void {
    if (this.state === State.HELLO || this.state === State.AUTH) return this.fail(ErrorCode.IDLE_TIMEOUT);
    if (this.state === State.DRAINING) return this.close();
    this.destroy();
  }

  /** A fatal error: GOAWAY with it, then the end. */
  protected fail(code: ErrorCode, options: ErrorOptions = {}): void {
    if (this.state >= State.CLOSING) return;
    const { message = '', class: classBits = errorClass(code), ...detail } = options;
    writeGoAway(this.out, { code, class: classBits | CLASS_FATAL, graceMs: 0, message, detail });
    this.close();
  }

  /** No more frames in or out; what is queued is still written. */
  protected close(): void {
    this.inputOver = true;
    this.lingering = false;
    this.tellClosed = true;
    // A peer that does not take what is queued must not keep the connection.
    this.enter(State.CLOSING, this.out.size === 0 ? CLOSE_DRAIN_MS : Math.max(this.config.graceMs, CLOSE_DRAIN_MS));
    this.signal();
  }

  private finish(): void {
    this.notifyClosed();
    if (this.finishTold) return;
    this.finishTold = true;
    this.host.finish();
  }

  protected destroy(): void {
    if (this.state === State.CLOSED) return;
    this.peerClosed();
    this.host.destroy();
  }

  /** The client's GOAWAY: it reads on, but what it sends is of no interest any more. */
  protected onPeerGoAway(graceMs: number): void {
    if (this.state < State.READY) return this.close();
    this.inputOver = true;
    this.lingering = false;
    if (this.state === State.READY) {
      this.tellGoingAway = true;
      this.enter(State.DRAINING, graceMs === 0 ? this.config.graceMs : Math.min(graceMs, this.config.graceMs));
    }
    this.signal();
  }

  /** The peer's stream ended: its waits are cancelled, what it asked for otherwise is still answered. */
  protected endInput(): void {
    if (this.state < State.READY) return this.close();
    this.inputOver = true;
    this.lingering = false;
    this.tellClosed = true;
    if (this.state === State.READY) this.enter(State.DRAINING, TIMEOUT_MS_MAX + this.config.graceMs);
  }

  private notifyClosed(): void {
    if (this.closedTold) return;
    this.closedTold = true;
    this.service.closed(this);
    this.requests.dropWaiting();
  }

  protected discard(size: number): void {
    if (this.state !== State.CLOSING) return;
    this.discardedBytes += size;
    if (this.discardedBytes > this.config.maxFrame) this.destroy();
  }

  protected enter(state: State, patienceMs: number, sinceMs: number = AT_NEXT_TICK): void {
    this.state = state;
    this.patienceMs = patienceMs;
    this.sinceMs = sinceMs;
  }
}
