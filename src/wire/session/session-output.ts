// The outgoing half of a session: answers of the service become frames in the output queue, and the
// host is told once per turn that there is something to do. It also holds the connection's state,
// because whether an answer may still be written depends on it; changing the state, and everything
// that comes in, is session-life.ts and session.ts.
// Invariant: a frame is queued only for an open request, and none at all from CLOSING on.
import { assert } from '../assert.ts';
import type { Writer } from '../bytes.ts';
import { CLASS_FATAL, errorClass } from '../errors.ts';
import type { ErrorCode, ErrorOptions } from '../errors.ts';
import { FRAME_SIZE_BEFORE_READY_MAX } from '../limits.ts';
import { Op } from '../ops.ts';
import { writeError, writeOk, writeProduceAck } from './answers.ts';
import { OpenRequests } from './open-requests.ts';
import { OutputQueue } from './output-queue.ts';
import type { Identity, Session as SessionPort, SessionConfig, SessionHost } from './ports.ts';

/** Above this many bytes of unsent output nothing more is read. */
export const OUTPUT_HIGH_SIZE = 1024 * 1024;
/**
 * From here on data ops add nothing: with the largest DELIVER (512 KiB) on top there is still room for
 * acks below OUTPUT_HIGH_SIZE, so a subscription that nobody reads does not stop its connection's writes.
 */
export const DATA_HIGH_SIZE = 448 * 1024;
/** Under this many, data ops that had stopped go on; half, so that reading gets its turn in between. */
export const DATA_LOW_SIZE = DATA_HIGH_SIZE / 2;
/** Unsent session frames beyond which nothing more is read. */
export const SESSION_FRAMES_WAITING_MAX = 1_000;

/** In the order of a connection's life; comparisons with < and >= rely on it. */
export const State = { PREFACE: 0, HELLO: 1, AUTH: 2, READY: 3, DRAINING: 4, CLOSING: 5, CLOSED: 6 } as const;
export type State = (typeof State)[keyof typeof State];

export abstract class SessionOutput implements SessionPort {
  attachment: unknown = undefined;
  identity: Identity;
  peerMaxFrame = FRAME_SIZE_BEFORE_READY_MAX;

  protected readonly config: SessionConfig;
  protected readonly host: SessionHost;
  protected readonly out = new OutputQueue();
  protected readonly requests = new OpenRequests();
  protected state: State = State.PREFACE;
  /** Back-pressure keeps received bytes from being parsed. */
  protected blocked = false;
  /** Data ops were stopped by the high-water mark. */
  protected hungry = false;
  /** The host knows that this turn has to be ended. */
  protected signalled = false;
  /** The service was told that the connection, or the peer's half of it, has ended. */
  protected closedTold = false;

  constructor(config: SessionConfig, host: SessionHost, identity: Identity) {
    this.config = config;
    this.host = host;
    this.identity = identity;
  }

  abstract goAway(code: ErrorCode, message: string): void;
  abstract receive(chunk: Buffer, nowMs: number): void;
  abstract peerEnded(nowMs: number): void;
  abstract peerClosed(): void;
  abstract tick(nowMs: number, hostReads?: boolean): void;
  abstract turnEnd(): void;
  abstract written(bytes: number): void;
  /** Ends the connection with a GOAWAY. */
  protected abstract fail(code: ErrorCode, options?: ErrorOptions): void;

  get draining(): boolean {
    return this.state >= State.DRAINING;
  }

  get dead(): boolean {
    return this.state >= State.CLOSING;
  }

  get outputBytes(): number {
    return this.out.size;
  }

  get wantsData(): boolean {
    return this.out.size < DATA_HIGH_SIZE && this.state < State.CLOSING;
  }

  isOpen(id: number): boolean {
    return this.requests.has(id);
  }

  produceAck(
    id: number, baseOffset: number, nextOffset: number, appendTime: number, term: number,
    durability: number, copies: number, flags: number, logUid: Uint8Array | null,
  ): void {
    if (!this.takesAnswer(id, Op.PRODUCE, false)) return;
    writeProduceAck(this.out, id, baseOffset, nextOffset, appendTime, term, durability, copies, flags, logUid);
    this.queued();
  }

  reply(id: number, op: Op, write: ((w: Writer) => void) | null, more = false): void {
    if (!this.takesAnswer(id, op, more)) return;
    this.assertFits(writeOk(this.out, op, id, write, more));
    this.queued();
  }

  replyWithData(id: number, op: Op, head: (w: Writer) => void, data: readonly Buffer[], more: boolean): void {
    if (!this.takesAnswer(id, op, more)) return;
    let size = 0;
    for (const buffer of data) size += buffer.length;
    this.assertFits(writeOk(this.out, op, id, head, more, size));
    for (const buffer of data) this.out.appendForeign(buffer);
    this.queued();
  }

  error(id: number, op: Op, code: ErrorCode, options: ErrorOptions = {}): void {
    if (!this.takesAnswer(id, op, false)) return;
    if (((options.class ?? errorClass(code)) & CLASS_FATAL) !== 0) return this.fail(code, options);
    writeError(this.out, op, id, code, options);
    this.queued();
  }

  toWaiting(id: number, kind: 'fetch' | 'subscription'): boolean {
    if (this.dead) return true;
    if (this.closedTold) {
      // The peer's stream has ended: a wait that would begin now is cancelled like the others.
      this.requests.close(id);
      this.signal();
      return true;
    }
    const max = kind === 'fetch' ? this.config.maxWaits : this.config.maxSubscriptions;
    const isWaiting = this.requests.toWaiting(id, kind, max);
    if (isWaiting && this.blocked) this.signal();
    return isWaiting;
  }

  takeOutput(maxBytes: number): Buffer[] {
    return this.out.take(maxBytes);
  }

  protected isOverfull(): boolean {
    return this.out.size > OUTPUT_HIGH_SIZE || this.out.sessionFrames > SESSION_FRAMES_WAITING_MAX;
  }

  /** True when the request is open and the connection can still carry its answer. */
  private takesAnswer(id: number, op: number, more: boolean): boolean {
    if (this.state >= State.CLOSING) return false;
    if (this.requests.answer(id, op, more)) return true;
    assert(this.closedTold, 'only an open request is answered, and once');
    return false;
  }

  private assertFits(length: number): void {
    assert(length <= this.peerMaxFrame, 'an answer fits the frames that the client takes');
  }

  protected queued(): void {
    if (this.out.size >= DATA_HIGH_SIZE) this.hungry = true;
    if (!this.signalled) this.signal();
  }

  protected signal(): void {
    if (this.signalled) return;
    this.signalled = true;
    this.host.outputReady(this);
  }
}
