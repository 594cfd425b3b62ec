// The composition root: the real clock, randomness, disk and sockets, and the order in which a
// sidecar comes up and goes down. It decides nothing about records.
//
// Up: lock → identity → node (logs) → listener → ready. Down: no new connections, GOAWAY, what was
// read is finished, the rest is cut at the end of the grace, then logs are synced and closed.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { TLSSocket } from 'node:tls';
import { SettingError } from './config.ts';
import type { Settings } from './config.ts';
import { createHttpHandler } from './http/handler.ts';
import type { LogFields, Logger, LogLevel } from './logger.ts';
import { renderMetrics } from './sidecar-metrics.ts';
import { openIdentity, settleIdentity } from './sidecar-identity.ts';
import { nodeStatus } from './sidecar-status.ts';
import { Node } from './replica/node.ts';
import { lockDirectory } from './segment/lock.ts';
import { NodeDisk } from './segment/node-disk.ts';
import { Listener } from './tls/listener.ts';
import type { Transport } from './tls/listener.ts';
import { Turn } from './tls/turn.ts';
import { formatAddress, isLoopback } from './units.ts';
import { ErrorCode } from './wire/errors.ts';
import { SUBSCRIPTIONS_DEFAULT, WAITS_DEFAULT } from './wire/limits.ts';
import type { Identity, SessionConfig } from './wire/session/ports.ts';
import { Session } from './wire/session/session.ts';

declare const __SIDELOG_VERSION__: string;

const TICK_MS = 50;
/** libuv's own default when UV_THREADPOOL_SIZE is not set. */
const POOL_DEFAULT = 4;
/** Threads that stay free of syncs, for cold reads. */
const POOL_RESERVED = 2;

/** What the ready line tells. */
export interface ReadyInfo {
  readonly event: 'ready';
  readonly address: string;
  readonly unixSocket: string | null;
  readonly node: string;
  readonly version: string;
  readonly dataDir: string;
  readonly indexBackend: 'mmap' | 'mirror';
  readonly threadPool: number;
  readonly tls: boolean;
  readonly firstStart: boolean;
}

export interface Sidecar {
  readonly ready: ReadyInfo;
  /** Drains and closes everything; resolves when the process may end. */
  stop(): Promise<void>;
}

/** Brings a sidecar up. Rejects with an error whose message is for the operator. */
export async function startSidecar(settings: Settings, logger: Logger): Promise<Sidecar> {
  mkdirSync(settings.dataDir, { recursive: true, mode: 0o700 });
  const tls = readTls(settings);
  const lock = await lockDirectory(settings.dataDir);
  try {
    return await bringUp(settings, logger, tls, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

type Lock = Awaited<ReturnType<typeof lockDirectory>>;

async function bringUp(settings: Settings, logger: Logger, tls: { cert: Buffer; key: Buffer } | null, lock: Lock): Promise<Sidecar> {
  const disk = new NodeDisk(settings.dataDir, settings.indexBackend);
  const mayBootstrap = isLoopback(settings.listen.host) || settings.bootstrapExpect !== null;
  const identity = await openIdentity(disk, randomBytes, mayBootstrap);
  const turn = new Turn();
  const monotonicMs = (): number => performance.now();
  const threadPool = Number(process.env['UV_THREADPOOL_SIZE'] ?? POOL_DEFAULT) || POOL_DEFAULT;
  const config = {
    nodeName: settings.nodeName,
    nodeId: Buffer.from(identity.nodeId, 'hex'),
    clusterId: Buffer.from(identity.clusterId, 'hex'),
    address: '',
    zone: '',
    version: __SIDELOG_VERSION__,
    maxBatchBytes: settings.maxBatch,
    segmentBytes: settings.segmentBytes,
    logsMax: settings.maxLogs,
    memoryLimitBytes: settings.memoryLimit,
    trashKeepMs: settings.trashAfter,
    reserveBytes: settings.reserve ?? -1,
    syncsMax: Math.max(1, threadPool - POOL_RESERVED),
    createDefault: identity.fresh,
  };
  let listener: Listener | null = null;
  const node = await Node.start(
    {
      disk,
      clock: { wallMs: Date.now, monotonicMs },
      defer: turn.defer,
      yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
      randomBytes,
      logEvent: (level: LogLevel, event: string, fields?: LogFields) => logger.log(level, event, fields),
      onMemoryPause: (paused) => listener?.setPaused(paused),
    },
    config,
  );
  if (identity.fresh) await settleIdentity(disk, identity);

  const startedMs = monotonicMs();
  let stopping = false;
  const loopDelay = monitorEventLoopDelay({ resolution: TICK_MS });
  loopDelay.enable();
  const facts = () => ({
    settings, node, listener: listener!, threadPool, indexBackend: disk.mapBackend,
    version: __SIDELOG_VERSION__, address: config.address, uptimeSeconds: (monotonicMs() - startedMs) / 1000, ready: !stopping,
  });
  const http = createHttpServer(
    { maxHeaderSize: 8192, requestTimeout: 10_000, headersTimeout: 5000, keepAliveTimeout: 5000, noDelay: true },
    createHttpHandler({
      notReady: () => (stopping ? 'shutting down' : null),
      metrics: () => renderMetrics(facts(), loopDelay),
      status: () => nodeStatus(facts()),
      isTrustedTransport,
      hosts: new Set(settings.httpHost.map((name) => name.toLowerCase())),
      open: settings.httpOpen,
    }),
  );
  listener = new Listener(
    { address: settings.listen, unixSocket: settings.unixSocket, tls, connectionsMax: settings.maxConnections },
    {
      turn,
      monotonicMs,
      http,
      createSession: (host, transport) =>
        new Session(sessionConfig(settings, config, transport), node.service, host, identityOf(settings, transport), monotonicMs()),
    },
  );
  try {
    config.address = formatAddress(await listener.start());
  } catch (error) {
    await node.stop();
    throw listenError(settings, error as NodeJS.ErrnoException);
  }
  lock.describe(settings.nodeName, config.address);
  const ticking = setInterval(() => {
    // Judged after the poll phase: after a stall, what waits in the sockets counts first.
    setImmediate(() => {
      listener!.tick(monotonicMs());
      node.tick();
    });
  }, TICK_MS);

  return {
    ready: {
      event: 'ready', address: config.address, unixSocket: settings.unixSocket, node: settings.nodeName,
      version: __SIDELOG_VERSION__, dataDir: disk.root, indexBackend: disk.mapBackend, threadPool,
      tls: tls !== null, firstStart: identity.fresh,
    },
    async stop() {
      stopping = true;
      listener!.stopAccepting();
      listener!.goAway(ErrorCode.SHUTTING_DOWN, 'the node is shutting down');
      const grace = setTimeout(() => listener!.destroyAll(), settings.shutdownGrace);
      await listener!.drained();
      clearTimeout(grace);
      listener!.destroyAll();
      clearInterval(ticking);
      loopDelay.disable();
      await node.stop();
      await lock.release();
    },
  };
}

function sessionConfig(settings: Settings, node: { nodeName: string; clusterId: Buffer }, transport: Transport): SessionConfig {
  const refused = !transport.encrypted && !transport.local && !settings.allowPlaintext;
  return {
    nodeName: node.nodeName,
    clusterId: node.clusterId,
    serverVersion: `sidelog/${__SIDELOG_VERSION__}`,
    maxFrame: settings.maxFrame,
    maxBatch: settings.maxBatch,
    maxInflight: settings.maxInflight,
    maxWaits: WAITS_DEFAULT,
    maxSubscriptions: SUBSCRIPTIONS_DEFAULT,
    idleMs: settings.idle,
    authRequired: false,
    authMechs: [],
    authenticate: () => null,
    loopback: transport.local,
    graceMs: settings.shutdownGrace,
    ...(refused ? { refuse: ErrorCode.TLS_REQUIRED } : {}),
  };
}

/** Whoever reaches the loopback listener is `local`; admin rights only where nobody else can reach it. */
function identityOf(settings: Settings, transport: Transport): Identity {
  if (transport.local) return { name: 'local', mechanism: 'local', admin: isLoopback(settings.listen.host) };
  return { name: 'anonymous', mechanism: 'anonymous', admin: false };
}

function isTrustedTransport(request: IncomingMessage): boolean {
  const { socket } = request;
  // A Unix socket has no remote address.
  return socket instanceof TLSSocket || socket.remoteAddress === undefined || isLoopback(socket.remoteAddress);
}

function readTls(settings: Settings): { cert: Buffer; key: Buffer } | null {
  if (settings.tlsCert === null || settings.tlsKey === null) return null;
  const read = (path: string, flag: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw new SettingError(`${flag} ${path}: ${(error as Error).message}`);
    }
  };
  return { cert: read(settings.tlsCert, '--tls-cert'), key: read(settings.tlsKey, '--tls-key') };
}

function listenError(settings: Settings, error: NodeJS.ErrnoException): Error {
  const where = formatAddress(settings.listen);
  if (error.code === 'EADDRINUSE') return new SettingError(`--listen ${where}: something else listens there (${error.message}); stop it or take another port`);
  if (error.code === 'EACCES' || error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new SettingError(`--listen ${where}: ${error.message}`);
  }
  return error;
}
