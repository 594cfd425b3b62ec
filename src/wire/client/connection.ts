// A socket and the machine behind it: moves bytes both ways, one vectored write per turn. What the
// bytes mean is the machine's affair; when to connect again is the link's.
import type { Socket } from 'node:net';
import { ProtocolError } from '../errors.ts';
import type { GoAway } from '../error-body.ts';
import { openSocket } from './address.ts';
import type { Target } from './address.ts';
import { LocalCode, LocalError } from './errors.ts';
import { ClientMachine } from './machine.ts';
import type { MachineConfig } from './machine.ts';
import type { ServerInfo, TlsOptions } from './types.ts';

/** After a goodbye, or an error, the socket is given so long to finish. */
const LINGER_MS = 2_000;

export interface ConnectionEvents {
  ready(connection: Connection, server: ServerInfo): void;
  draining(connection: Connection, reason: GoAway): void;
  /** Called once; `wasReady` tells a lost connection from a failed attempt. */
  ended(connection: Connection, error: ProtocolError, wasReady: boolean): void;
}

export class Connection {
  readonly machine: ClientMachine;
  private readonly socket: Socket;
  private readonly events: ConnectionEvents;
  private wasReady = false;
  private isConnected = false;
  private isFlushScheduled = false;
  private closing: NodeJS.Timeout | null = null;
  private onClosed: (() => void) | null = null;

  constructor(target: Target, tls: TlsOptions | undefined, config: MachineConfig, events: ConnectionEvents) {
    this.events = events;
    this.machine = new ClientMachine(
      config,
      {
        outputReady: () => this.scheduleFlush(),
        ready: (server) => {
          this.wasReady = true;
          events.ready(this, server);
        },
        draining: (reason) => events.draining(this, reason),
        ended: (error) => this.machineEnded(error),
      },
      Date.now(),
    );
    this.socket = openSocket(target, tls, () => {
      this.isConnected = true;
      this.flush();
    });
    this.listen();
  }

  tick(): void {
    this.machine.tick(Date.now());
  }

  /** Says goodbye and resolves when the connection has ended; at the latest after two seconds. */
  leave(): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.onClosed = resolve;
      if (!this.isConnected || this.machine.phase === 'preface') {
        this.socket.destroy();
        return;
      }
      this.machine.leave();
      this.closing ??= setTimeout(() => this.socket.destroy(), LINGER_MS);
    });
  }

  /** Ends at once; what is unanswered has an unknown outcome. */
  destroy(error: ProtocolError): void {
    this.machine.end(error);
    this.socket.destroy();
  }

  private listen(): void {
    const { socket, machine } = this;
    let cause: Error | null = null;
    socket.on('data', (chunk: Buffer) => machine.receive(chunk, Date.now()));
    socket.on('error', (error) => (cause = error));
    socket.on('close', () => {
      if (this.closing !== null) clearTimeout(this.closing);
      const code = this.isConnected ? LocalCode.CONNECTION_LOST : LocalCode.CONNECT_FAILED;
      const closed = 'the server closed the connection';
      const message = messageOf(cause) || (this.wasReady ? closed : `${closed} before it was ready`);
      machine.end(new LocalError(code, message, this.isConnected ? 'unknown' : 'none', cause ?? undefined));
      this.onClosed?.();
    });
  }

  private machineEnded(error: ProtocolError): void {
    this.socket.end();
    this.closing ??= setTimeout(() => this.socket.destroy(), LINGER_MS);
    this.closing.unref();
    this.events.ended(this, error, this.wasReady);
  }

  /** Once per turn: what many requests of one turn have to say leaves in one write. */
  private scheduleFlush(): void {
    if (this.isFlushScheduled || !this.isConnected) return;
    this.isFlushScheduled = true;
    setImmediate(() => {
      this.isFlushScheduled = false;
      this.flush();
    });
  }

  private flush(): void {
    const { socket, machine } = this;
    if (machine.output.size === 0 || socket.destroyed || machine.phase === 'ended') return;
    const chunks = machine.output.take();
    if (chunks.length > 1) socket.cork();
    for (const chunk of chunks) socket.write(chunk);
    if (chunks.length > 1) socket.uncork();
  }
}

/** A name with several addresses fails with an error for each, and none of its own words. */
function messageOf(cause: Error | null): string {
  if (cause === null || cause.message !== '') return cause?.message ?? '';
  return cause instanceof AggregateError ? cause.errors.map((error: Error) => error.message).join(', ') : '';
}
