// The one port. Looks at a connection's first byte and hands it on: 0x16 is TLS (decrypted, then
// looked at again within what ALPN allows), 0xFA the sidelog preface, an HTTP method letter goes to
// node:http, anything else is closed. Whether plaintext from afar is refused is said by the session it
// gets (docs/protocol.md, SL-PRE and SL-TLS).
//
// Invariant: every open socket is counted, and is either undecided (with a deadline), node:http's, or
// in `connections`.
import type { Server as HttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Server as TlsServer, TLSSocket } from 'node:tls';
import { isLoopback } from '../units.ts';
import type { Address } from '../units.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { Session } from '../wire/session/ports.ts';
import { Connection } from './connection.ts';
import type { Turn } from './turn.ts';
import { UNDECIDED_MS, Undecided } from './undecided.ts';
import { listenUnix } from './unix-socket.ts';

const BYTE_TLS = 0x16;
const BYTE_PREFACE = 0xfa;
const HTTP_LETTERS: ReadonlySet<number> = new Set([...'GPHODTC'].map((letter) => letter.charCodeAt(0)));
const ALPN_SIDELOG = 'sidelog/1';
const ALPN_HTTP = 'http/1.1';
/** Sockets beyond the limit of connections, so that probes, scrapes and refusals still find room. */
const SPARE_SOCKETS = 256;
/** Connections that wait to be accepted; the kernel may allow fewer. */
const BACKLOG = 4096;
/** When all is said on every connection, peers get so long to close before the process does. */
const LAST_WORDS_MS = 200;

/** How a client reached us, for the identity it gets. */
export interface Transport {
  readonly encrypted: boolean;
  /** Loopback address or Unix socket. */
  readonly local: boolean;
}

export interface ListenerPorts {
  readonly turn: Turn;
  monotonicMs(): number;
  /**
   * Makes the session of a connection that opened with a preface byte at `sinceMs`. `refuse` is the
   * code to refuse it with, or 0.
   */
  createSession(host: Connection, transport: Transport, refuse: ErrorCode | 0, sinceMs: number): Session;
  readonly http: HttpServer;
  /** A connection could not be accepted (no file descriptors, say); the port goes on listening. */
  acceptFailed(error: Error): void;
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
  private readonly undecided = new Undecided();
  /** Sockets that were handed to TLS, by peer: tls.Server does not say whose secured socket it gives back. */
  private readonly handshakes = new Map<string, Socket>();
  private readonly servers: Server[] = [];
  private readonly tcpTls: TlsServer | null;
  private readonly unixTls: TlsServer | null;
  private paused = false;
  private draining: { readonly left: Set<Connection>; doneSinceMs: number; done(): void } | null = null;
  private openCount = 0;
  /** Connections refused because there were too many; for metrics. */
  refusedCount = 0;

  constructor(options: ListenerOptions, ports: ListenerPorts) {
    this.options = options;
    this.ports = ports;
    const { tls, unixSocket } = options;
    this.tcpTls = tls === null ? null : this.createTls(tls, (socket) => isLoopback(socket.remoteAddress ?? ''));
    this.unixTls = tls === null || unixSocket === null ? null : this.createTls(tls, () => true);
  }

  /** Open sockets of every kind: undecided, TLS handshakes, HTTP, sessions. */
  get connectionCount(): number {
    return this.openCount;
  }

  /** Listens; resolves with the address really bound (port 0 took a free one). Rejects with the errno error or UnixSocketError. */
  async start(): Promise<Address> {
    const { address, unixSocket } = this.options;
    const tcp = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.accept(socket, isLoopback(socket.remoteAddress ?? ''), this.tcpTls));
    await listen(tcp, address);
    this.servers.push(tcp);
    if (unixSocket !== null) {
      const unix = createServer({ allowHalfOpen: true }, (socket) => this.accept(socket, true, this.unixTls));
      try {
        await listenUnix(unix, unixSocket);
      } catch (error) {
        tcp.close();
        throw error;
      }
      this.servers.push(unix);
    }
    for (const server of this.servers) server.on('error', (error) => this.ports.acceptFailed(error));
    return { host: address.host, port: (tcp.address() as AddressInfo).port };
  }

  /** Stops or resumes reading from all clients: the node's memory is bounded, HTTP probes still answer. */
  setPaused(paused: boolean): void {
    this.paused = paused;
    for (const connection of this.connections) connection.setNodePaused(paused);
  }

  /**
   * Asks every session to end with SHUTTING_DOWN and resolves when all have. The port stays open
   * meanwhile: new sessions are refused with the same code, and probes hear that the node is not ready.
   */
  async drain(message: string): Promise<void> {
    const left = new Set(this.connections);
    const drained = new Promise<void>((done) => (this.draining = { left, doneSinceMs: Number.POSITIVE_INFINITY, done }));
    for (const connection of left) connection.goAway(ErrorCode.SHUTTING_DOWN, message);
    if (left.size > 0) await drained;
  }

  /** Takes no new connections, and closes all there are. */
  close(): void {
    for (const server of this.servers) server.close();
    this.undecided.destroyAll();
    for (const connection of this.connections) connection.destroy();
    this.ports.http.closeAllConnections();
  }

  tick(nowMs: number): void {
    this.undecided.tick(nowMs);
    for (const connection of this.connections) connection.tick(nowMs);
    this.tickDraining(nowMs);
  }

  private accept(socket: Socket, local: boolean, tls: TlsServer | null): void {
    socket.on('error', () => socket.destroy());
    if (this.openCount >= this.options.connectionsMax + SPARE_SOCKETS && !this.undecided.evictOldest()) {
      this.refusedCount++;
      socket.destroy();
      return;
    }
    this.openCount++;
    socket.once('close', () => this.openCount--);
    this.undecided.add(socket, this.ports.monotonicMs());
    sniff(socket, (byte) => {
      if (byte === BYTE_TLS && tls !== null) this.handToTls(socket, tls);
      else this.dispatch(socket, socket, byte, { encrypted: false, local });
    });
  }

  /** `stream` carries what `socket` does, decrypted where it was encrypted. */
  private dispatch(socket: Socket, stream: Socket, byte: number, transport: Transport): void {
    if (byte === BYTE_PREFACE) this.startSession(socket, stream, transport);
    else if (HTTP_LETTERS.has(byte)) this.startHttp(socket, stream);
    else stream.destroy();
  }

  private startHttp(socket: Socket, stream: Socket): void {
    this.undecided.decide(socket, 0);
    this.ports.http.emit('connection', stream);
  }

  private startSession(socket: Socket, stream: Socket, transport: Transport): void {
    const nowMs = this.ports.monotonicMs();
    const sinceMs = this.undecided.decide(socket, nowMs);
    const connection = new Connection(stream, transport.encrypted, {
      turn: this.ports.turn,
      monotonicMs: () => this.ports.monotonicMs(),
      closed: (ended) => this.forget(ended),
    });
    connection.setNodePaused(this.paused);
    const refuse = this.refusal();
    this.connections.add(connection);
    connection.start(this.ports.createSession(connection, transport, refuse, sinceMs));
  }

  /** Why a new session is not taken; 0 = it is. */
  private refusal(): ErrorCode | 0 {
    if (this.draining !== null) return ErrorCode.SHUTTING_DOWN;
    if (this.connections.size < this.options.connectionsMax) return 0;
    this.refusedCount++;
    return ErrorCode.OVERLOADED;
  }

  private handToTls(socket: Socket, tls: TlsServer): void {
    const peer = peerOf(socket);
    // The peers of a Unix socket have no names: their handshakes end by tls.Server's own deadline.
    if (peer === '') this.undecided.decide(socket, 0);
    else this.handshakes.set(peer, socket);
    socket.once('close', () => {
      if (this.handshakes.get(peer) === socket) this.handshakes.delete(peer);
    });
    tls.emit('connection', socket);
  }

  private createTls(identity: { cert: Buffer; key: Buffer }, isLocal: (socket: TLSSocket) => boolean): TlsServer {
    const server = createTlsServer({ ...identity, ALPNProtocols: [ALPN_SIDELOG, ALPN_HTTP], minVersion: 'TLSv1.2', handshakeTimeout: UNDECIDED_MS });
    server.on('secureConnection', (stream: TLSSocket) => {
      const peer = peerOf(stream);
      const socket = this.handshakes.get(peer) ?? stream;
      this.handshakes.delete(peer);
      const transport = { encrypted: true, local: isLocal(stream) };
      const { alpnProtocol } = stream;
      stream.on('error', () => stream.destroy());
      sniff(stream, (byte) => {
        const allowed = alpnProtocol === ALPN_SIDELOG ? byte === BYTE_PREFACE : alpnProtocol === ALPN_HTTP ? byte !== BYTE_PREFACE : true;
        if (allowed) this.dispatch(socket, stream, byte, transport);
        else stream.destroy();
      });
    });
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  private forget(connection: Connection): void {
    this.connections.delete(connection);
    const { draining } = this;
    if (draining === null || !draining.left.delete(connection)) return;
    if (draining.left.size === 0) draining.done();
  }

  /** A peer that took everything and does not close must not hold up the end. */
  private tickDraining(nowMs: number): void {
    const { draining } = this;
    if (draining === null) return;
    for (const connection of draining.left) {
      if (connection.finished) continue;
      draining.doneSinceMs = Number.POSITIVE_INFINITY;
      return;
    }
    draining.doneSinceMs = Math.min(draining.doneSinceMs, nowMs);
    if (nowMs - draining.doneSinceMs >= LAST_WORDS_MS) draining.done();
  }
}

/** Calls `then` with the first byte, which stays in the stream. */
function sniff(stream: Socket, then: (byte: number) => void): void {
  stream.once('readable', () => {
    const first = stream.read(1) as Buffer | null;
    if (first === null) {
      stream.destroy();
      return;
    }
    stream.unshift(first);
    then(first[0]!);
  });
}

/** What tells a TCP connection from all others that are open; '' for a Unix socket. */
function peerOf(socket: Socket): string {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return remoteAddress === undefined ? '' : `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
}

function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}
