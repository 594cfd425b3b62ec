// The one port. Looks at a connection's first byte and hands it on: 0x16 is TLS (decrypted, then
// looked at again unless ALPN named what is inside), 0xFA the sidelog preface, an HTTP method
// letter goes to node:http, anything else is closed. Whether plaintext from afar is refused is said
// by the session it gets (docs/protocol.md, SL-PRE and SL-TLS).
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { Server as HttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import { isLoopback } from '../units.ts';
import type { Address } from '../units.ts';
import type { ErrorCode } from '../wire/errors.ts';
import type { Session } from '../wire/session/ports.ts';
import { Connection } from './connection.ts';
import type { Turn } from './turn.ts';

const BYTE_TLS = 0x16;
const BYTE_PREFACE = 0xfa;
const HTTP_LETTERS = new Set([...'GPHODTC'].map((letter) => letter.charCodeAt(0)));
/** Sniffing and the preface together (SL-PRE): the session's own deadlines start after it. */
const SNIFF_MS = 5000;
/** Connections that have not said what they are; beyond it the oldest is closed. */
const SNIFFING_MAX = 1024;

/** How a client reached us, for the identity it gets. */
export interface Transport {
  readonly encrypted: boolean;
  /** Loopback address or Unix socket. */
  readonly local: boolean;
}

export interface ListenerPorts {
  readonly turn: Turn;
  monotonicMs(): number;
  /** Makes the session of a connection that opened with a preface byte. */
  createSession(host: Connection, transport: Transport): Session;
  readonly http: HttpServer;
}

export interface ListenerOptions {
  readonly address: Address;
  readonly unixSocket: string | null;
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | null;
  readonly connectionsMax: number;
}

export class Listener {
  private readonly options: ListenerOptions;
  private readonly ports: ListenerPorts;
  private readonly connections = new Set<Connection>();
  /** Insertion order is age order. */
  private readonly sniffing = new Map<Socket, number>();
  private readonly servers: Server[] = [];
  private readonly tlsServer: TlsServer | null;
  private paused = false;
  private onDrained: (() => void) | null = null;
  private openCount = 0;
  /** Connections refused because there were too many; for metrics. */
  refusedCount = 0;

  constructor(options: ListenerOptions, ports: ListenerPorts) {
    this.options = options;
    this.ports = ports;
    this.tlsServer = options.tls === null ? null : this.createTls(options.tls);
  }

  /** Open sockets of every kind: undecided, TLS handshakes, HTTP, sessions. */
  get connectionCount(): number {
    return this.openCount;
  }

  /** Listens; resolves with the address really bound (port 0 took a free one). Rejects with the errno error. */
  async start(): Promise<Address> {
    const tcp = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket, isLoopback(socket.remoteAddress ?? '')));
    await listen(tcp, { host: this.options.address.host, port: this.options.address.port });
    this.servers.push(tcp);
    if (this.options.unixSocket !== null) await this.listenUnix(this.options.unixSocket);
    return { host: this.options.address.host, port: (tcp.address() as AddressInfo).port };
  }

  /** Takes no new connections; open ones go on. */
  stopAccepting(): void {
    for (const server of this.servers) server.close();
    this.ports.http.closeIdleConnections();
    for (const socket of this.sniffing.keys()) socket.destroy();
  }

  /** Asks every session to end; those that are idle or done close by themselves. */
  goAway(code: ErrorCode, message: string): void {
    for (const connection of this.connections) connection.goAway(code, message);
  }

  /** Stops or resumes reading from all clients: the node's memory is bounded, HTTP probes still answer. */
  setPaused(paused: boolean): void {
    this.paused = paused;
    for (const connection of this.connections) connection.setNodePaused(paused);
  }

  /** Resolves when no session is left. */
  async drained(): Promise<void> {
    if (this.connections.size === 0) return;
    await new Promise<void>((resolve) => (this.onDrained = resolve));
  }

  destroyAll(): void {
    for (const connection of this.connections) connection.destroy();
    this.ports.http.closeAllConnections();
  }

  tick(nowMs: number): void {
    for (const [socket, since] of this.sniffing) {
      if (nowMs - since < SNIFF_MS) break;
      socket.destroy();
    }
    for (const connection of this.connections) connection.tick(nowMs);
  }

  private accept(socket: Socket, local: boolean): void {
    socket.on('error', () => socket.destroy());
    if (this.openCount >= this.options.connectionsMax) {
      this.refusedCount++;
      socket.destroy();
      return;
    }
    this.openCount++;
    socket.once('close', () => this.openCount--);
    this.sniff(socket, (byte) => {
      if (byte === BYTE_TLS && this.tlsServer !== null) {
        // From here tls.Server's own handshakeTimeout is the deadline.
        this.tlsServer.emit('connection', socket);
        return;
      }
      this.dispatch(socket, byte, { encrypted: false, local });
    });
  }

  private dispatch(socket: Socket, byte: number, transport: Transport): void {
    if (byte === BYTE_PREFACE) {
      this.startSession(socket, transport);
    } else if (HTTP_LETTERS.has(byte)) {
      this.ports.http.emit('connection', socket);
    } else {
      socket.destroy();
    }
  }

  /** Calls `then` with the first byte, which stays in the stream. */
  private sniff(socket: Socket, then: (byte: number) => void): void {
    this.await(socket);
    socket.once('readable', () => {
      const first = socket.read(1) as Buffer | null;
      this.sniffing.delete(socket);
      if (first === null) {
        socket.destroy();
        return;
      }
      socket.unshift(first);
      then(first[0]!);
    });
  }

  /** Holds a connection to the sniffing deadline and the bound on how many may be undecided. */
  private await(socket: Socket): void {
    if (this.sniffing.size >= SNIFFING_MAX) {
      for (const oldest of this.sniffing.keys()) {
        this.sniffing.delete(oldest);
        oldest.destroy();
        break;
      }
    }
    this.sniffing.set(socket, this.ports.monotonicMs());
    socket.once('close', () => this.sniffing.delete(socket));
  }

  private startSession(socket: Socket, transport: Transport): void {
    const connection = new Connection(socket, transport.encrypted, {
      turn: this.ports.turn,
      monotonicMs: () => this.ports.monotonicMs(),
      closed: (ended) => {
        this.connections.delete(ended);
        if (this.connections.size === 0) this.onDrained?.();
      },
    });
    connection.setNodePaused(this.paused);
    this.connections.add(connection);
    connection.start(this.ports.createSession(connection, transport));
  }

  private createTls(identity: { cert: Buffer; key: Buffer }): TlsServer {
    const server = createTlsServer({ ...identity, ALPNProtocols: ['sidelog/1', 'http/1.1'], minVersion: 'TLSv1.2', handshakeTimeout: SNIFF_MS, allowHalfOpen: true } as never);
    server.on('secureConnection', (socket: TLSSocket) => {
      const transport = { encrypted: true, local: isLoopback(socket.remoteAddress ?? '') };
      socket.on('error', () => socket.destroy());
      if (socket.alpnProtocol === 'sidelog/1') this.startSession(socket, transport);
      else if (socket.alpnProtocol === 'http/1.1') this.ports.http.emit('connection', socket);
      else this.sniff(socket, (byte) => this.dispatch(socket, byte, transport));
    });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  private async listenUnix(path: string): Promise<void> {
    // The folder is closed to others before the socket exists in it, so there is no moment at
    // which somebody else could connect.
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    await removeStaleSocket(path);
    const server = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket, true));
    await listen(server, { path });
    chmodSync(path, 0o600);
    this.servers.push(server);
  }
}

function listen(server: Server, target: { host?: string; port?: number; path?: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ ...target, backlog: 1024 }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** Removes a socket nobody listens on any more; one that answers is somebody else's. */
async function removeStaleSocket(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) return;
  } catch {
    return;
  }
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (!answered) rmSync(path);
}
