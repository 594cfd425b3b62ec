// The contract of one client-plane connection on the server: what the session needs of the service
// that executes requests and of the transport that carries bytes, and what it offers to both.
// Types only. The session (session.ts) does no I/O and reads no clock; all calls are synchronous and
// come from one event loop. Times are milliseconds of a monotonic clock, given by the host.
import type { Reader, Writer } from '../bytes.ts';
import type { ErrorCode, ErrorOptions } from '../errors.ts';
import type { Op } from '../ops.ts';

/** Who is at the other end, as far as it was proved. */
export interface Identity {
  readonly name: string;
  readonly mechanism: 'local' | 'token' | 'certificate' | 'anonymous';
  readonly admin: boolean;
}

/**
 * Executes requests; called synchronously while bytes are parsed. Payload bytes are valid only
 * during the call: copy what is kept. Every request gets exactly one closing answer through the
 * session, during the call or later; answers for a connection that is gone are dropped.
 *
 * `request` may throw a ProtocolError (a FieldError of a decoder, say) before it has answered: the
 * session answers the request with it. `produce` must not throw.
 */
export interface Service {
  /** PRODUCE: the hot path; the payload is buffer[start, end). */
  produce(session: Session, id: number, buffer: Buffer, start: number, end: number): void;
  /** Every other client-plane request that is not about the connection itself. */
  request(session: Session, op: Op, id: number, payload: Reader): void;
  /** `id` is open and is a SUBSCRIBE, answered or not. `addBytes` is a u32. */
  credit(session: Session, id: number, addBytes: number): void;
  /**
   * `id` is open. With CANCELED the client no longer wants it: end it with that code if that is
   * true (no effect), else go on as if nothing came. With another code a CREDIT or CANCEL about it
   * was broken (`field` says where): end it with that code, unless it can have an effect.
   */
  cancel(session: Session, id: number, code: ErrorCode, field: string | null): void;
  /** Output fell under the low-water mark after it had been above the high one: data ops go on. */
  drained(session: Session): void;
  /** GOAWAY was sent or received: answer waiting FETCHes with what there is, end subscriptions with SHUTTING_DOWN. */
  goingAway(session: Session): void;
  /**
   * Called exactly once per session: its end, or the end of the peer's stream. Forget its waits and
   * subscriptions, answered or not (answers for them are dropped after this call); what else is
   * open is still to be answered, for the peer may have closed its sending side only.
   */
  closed(session: Session): void;
}

/** The transport under one session. */
export interface SessionHost {
  /**
   * There is something to do at the end of this turn: call `session.turnEnd()`, then take output.
   * Called at most once between two calls of `turnEnd()`.
   */
  outputReady(session: Session): void;
  pauseReading(): void;
  resumeReading(): void;
  /**
   * No more output will come: write what is left, then FIN, go on handing received bytes to
   * `receive` (which counts and discards them) until the peer closes or `destroy` is called.
   */
  finish(): void;
  /** Close at once; nothing more is written. `peerClosed()` may follow, and may not. */
  destroy(): void;
}

export interface SessionConfig {
  nodeName: string;
  /** 16 bytes. */
  clusterId: Buffer;
  serverVersion: string;
  /** Largest frame length taken from the client, in bytes. */
  maxFrame: number;
  /** Largest batch in bytes; told to the client. */
  maxBatch: number;
  maxInflight: number;
  maxWaits: number;
  maxSubscriptions: number;
  /** Used when the client wishes 0. */
  idleMs: number;
  authRequired: boolean;
  authMechs: readonly string[];
  /** One-step authentication; null = AUTH_FAILED. `data` is valid only during the call. */
  authenticate(mech: string, data: Buffer): Identity | null;
  /** Loopback or Unix socket: idle_ms 0xFFFFFFFF ("never") is granted. */
  loopback: boolean;
  /** How long a GOAWAY leaves for what is unanswered, in milliseconds. */
  graceMs: number;
  /** Set: every preface is refused with this status (TLS_REQUIRED on plaintext from afar, OVERLOADED, …). */
  refuse?: ErrorCode;
}

/** One connection, as the service and the host see it. The class in session.ts satisfies it. */
export interface Session {
  /** The service's per-connection state; undefined at first. */
  attachment: unknown;
  readonly identity: Identity;
  /** Largest frame length that the client takes, in bytes. */
  readonly peerMaxFrame: number;
  /** GOAWAY was exchanged or the peer's stream ended: begin no new waits. */
  readonly draining: boolean;
  /** Nothing is written any more; answers are dropped. */
  readonly dead: boolean;
  /** Bytes queued and not yet accepted by the socket, with those that the host has taken. */
  readonly outputBytes: number;
  /** outputBytes is below the high-water mark of data (448 KiB): data ops may produce more. */
  readonly wantsData: boolean;
  /** Whether `id` still waits for its last answer. */
  isOpen(id: number): boolean;

  // Answers, for the service. Each ends the request `id` unless `more` is said. An id that is not
  // open is an InvariantError, unless the connection is dead or `closed` was called.

  /** OK to a PRODUCE. `logUid` (16 bytes) is sent when not null. Numbers may be NONE (−1) where the field allows it. */
  produceAck(
    id: number, baseOffset: number, nextOffset: number, appendTime: number, term: number,
    durability: number, copies: number, flags: number, logUid: Uint8Array | null,
  ): void;
  /** OK with the payload that `write` appends (null: an empty ext). */
  reply(id: number, op: Op, write: ((w: Writer) => void) | null, more?: boolean): void;
  /** An error answer; one whose class says fatal becomes a GOAWAY and ends the connection. */
  error(id: number, op: Op, code: ErrorCode, options?: ErrorOptions): void;
  /** OK whose payload is what `head` appends and then `data`, sent without copying: the buffers must not change any more. */
  replyWithData(id: number, op: Op, head: (w: Writer) => void, data: readonly Buffer[], more: boolean): void;
  /** From now on `id` does not count as in flight. False: over the limit of its kind; answer TOO_MANY_INFLIGHT. */
  toWaiting(id: number, kind: 'fetch' | 'subscription'): boolean;
  /** Ends the connection: SHUTTING_DOWN lets it finish what was read, a fatal code ends it now. */
  goAway(code: ErrorCode, message: string): void;

  // Events, from the host.

  /** Bytes from the peer, from the first byte of the preface on. The chunk may be kept for a while: it must not change. */
  receive(chunk: Buffer, nowMs: number): void;
  /** The peer's FIN. */
  peerEnded(nowMs: number): void;
  /** The socket is gone; nothing can be written. */
  peerClosed(): void;
  /** Deadlines; to be called about every 50 ms to 1 s, after the poll phase. `hostReads` is false while the host itself has stopped reading. */
  tick(nowMs: number, hostReads?: boolean): void;
  /** End of the turn in which `outputReady` was called. */
  turnEnd(): void;
  /** Up to maxBytes of output in order; the last buffer may be cut. The bytes stay untouched until `written` has counted them. */
  takeOutput(maxBytes: number): Buffer[];
  /** The socket is done with `bytes` more of what was taken. */
  written(bytes: number): void;
}
