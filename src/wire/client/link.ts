// The client's connection over time: makes it, makes it again after a loss with growing random
// pauses, and tells those who wait. At most one connection takes new requests; one that drains keeps
// its open requests to their end.
import { ErrorCode, ProtocolError } from '../errors.ts';
import type { Target } from './address.ts';
import { Backoff } from './backoff.ts';
import { Connection } from './connection.ts';
import type { ConnectionEvents } from './connection.ts';
import { LocalCode, LocalError } from './errors.ts';
import type { ClientMachine, MachineConfig } from './machine.ts';
import type { ConnectionState, ServerInfo, TlsOptions } from './types.ts';

const TICK_MS = 1_000;

/** Errors of an attempt that the next attempt will meet too: waiting requests are told at once. */
const LASTING: ReadonlySet<number> = new Set([
  ErrorCode.UNSUPPORTED_VERSION,
  ErrorCode.OP_NOT_ALLOWED,
  ErrorCode.TLS_REQUIRED,
  ErrorCode.WRONG_CLUSTER,
  ErrorCode.AUTH_REQUIRED,
  ErrorCode.AUTH_FAILED,
  ErrorCode.FORBIDDEN,
  ErrorCode.INVALID_ARGUMENT,
  LocalCode.PROTOCOL_VIOLATION,
]);
/** The same for what TLS and the socket say: a certificate does not get better by waiting. */
const LASTING_CAUSE = /^(CERT_|ERR_TLS_|ERR_SSL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/;

export interface LinkOptions {
  readonly target: Target;
  readonly tls: TlsOptions | undefined;
  readonly machine: MachineConfig;
  readonly connectTimeoutMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  readonly random: () => number;
  readonly onState: ((state: ConnectionState) => void) | undefined;
}

/** Told about the link; the methods must not throw. */
export interface LinkListener {
  /** A connection takes requests. */
  linkReady(machine: ClientMachine): void;
  /** The connection takes no requests any more; what is open on it is answered or lost. */
  linkLost?(): void;
  /** No attempt will succeed as things are, or the client was closed. */
  linkFailed(error: ProtocolError): void;
}

export class Link {
  /** The connection that takes requests, when there is one. */
  machine: ClientMachine | null = null;
  /** What the last server said. */
  server: ServerInfo | null = null;
  isClosed = false;
  readonly random: () => number;

  private readonly options: LinkOptions;
  private readonly listeners = new Set<LinkListener>();
  private readonly backoff: Backoff;
  private readonly living = new Set<Connection>();
  private current: Connection | null = null;
  private lastError: ProtocolError | null = null;
  private retryTimer: NodeJS.Timeout | null = null;
  private attemptTimer: NodeJS.Timeout | null = null;
  private readonly ticker: NodeJS.Timeout;

  constructor(options: LinkOptions) {
    this.options = options;
    this.random = options.random;
    this.backoff = new Backoff(options.backoffMinMs, options.backoffMaxMs, options.random);
    this.ticker = setInterval(() => {
      for (const connection of this.living) connection.tick();
    }, TICK_MS);
    this.ticker.unref();
    this.connect();
  }

  add(listener: LinkListener): void {
    this.listeners.add(listener);
  }

  remove(listener: LinkListener): void {
    this.listeners.delete(listener);
  }

  /** Why there is no connection: the failure of the last attempt or the end of the last connection. */
  whyDown(): ProtocolError {
    return this.lastError ?? new LocalError(LocalCode.CONNECT_FAILED, 'no connection yet', 'none');
  }

  /** Resolves when a connection is ready; rejects after connectTimeoutMs or at a lasting error. */
  opened(): Promise<void> {
    if (this.machine !== null) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const done = (error: ProtocolError | null): void => {
        clearTimeout(timer);
        this.remove(listener);
        if (error === null) resolve();
        else reject(error);
      };
      const listener: LinkListener = { linkReady: () => done(null), linkFailed: (error) => done(error) };
      const timer = setTimeout(() => {
        const why = this.whyDown();
        done(new LocalError(LocalCode.CONNECT_FAILED, why.message, 'none', why));
      }, this.options.connectTimeoutMs);
      this.add(listener);
    });
  }

  /** Says goodbye, lets open requests be answered, and ends; at the latest after two seconds. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    clearInterval(this.ticker);
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.machine = null;
    this.tellFailed(new LocalError(LocalCode.CLIENT_CLOSED, 'the client was closed', 'none'));
    await Promise.all([...this.living].map((connection) => connection.leave()));
    this.clearAttempt();
  }

  private connect(): void {
    this.retryTimer = null;
    if (this.isClosed || this.current !== null) return;
    const { target, tls, machine, connectTimeoutMs } = this.options;
    const connection = new Connection(target, tls, machine, this.events);
    this.current = connection;
    this.living.add(connection);
    this.attemptTimer = setTimeout(() => {
      connection.destroy(new LocalError(LocalCode.CONNECT_FAILED, `not ready after ${connectTimeoutMs} ms`, 'none'));
    }, connectTimeoutMs);
  }

  private readonly events: ConnectionEvents = {
    ready: (connection, server) => {
      this.clearAttempt();
      this.backoff.reset();
      this.server = server;
      if (this.isClosed) return;
      this.machine = connection.machine;
      this.options.onState?.({ event: 'ready', server });
      for (const listener of [...this.listeners]) {
        // A listener may have ended the connection.
        if (this.machine === connection.machine) listener.linkReady(connection.machine);
      }
    },
    draining: (connection, reason) => {
      if (this.current !== connection) return;
      // The old one answers what it has; new requests want a new one.
      this.release();
      this.retry(new ProtocolError(reason.code, { ...reason.detail, class: reason.class, message: reason.message }));
    },
    ended: (connection, error, wasReady) => {
      this.living.delete(connection);
      if (this.current !== connection) return;
      this.release();
      this.clearAttempt();
      if (wasReady && !this.isClosed) this.options.onState?.({ event: 'lost', error });
      this.retry(error);
    },
  };

  private release(): void {
    this.current = null;
    if (this.machine === null) return;
    this.machine = null;
    for (const listener of [...this.listeners]) listener.linkLost?.();
  }

  private retry(error: ProtocolError): void {
    this.lastError = error;
    if (this.isClosed) return;
    const retryInMs = this.backoff.nextMs(error.retryAfterMs);
    this.options.onState?.({ event: 'failed', error, attempt: this.backoff.attempt, retryInMs });
    this.retryTimer = setTimeout(() => this.connect(), retryInMs);
    if (isLasting(error)) this.tellFailed(error);
  }

  private tellFailed(error: ProtocolError): void {
    for (const listener of [...this.listeners]) listener.linkFailed(error);
  }

  private clearAttempt(): void {
    if (this.attemptTimer !== null) clearTimeout(this.attemptTimer);
    this.attemptTimer = null;
  }
}

function isLasting(error: ProtocolError): boolean {
  if (LASTING.has(error.code)) return true;
  const cause = error.cause as { code?: unknown } | undefined;
  return typeof cause?.code === 'string' && LASTING_CAUSE.test(cause.code);
}
