// The composition root: the real clock, randomness, disk and sockets, and the order in which a
// sidecar comes up and goes down. It decides nothing about records.
//
// Up: checks → lock → identity → node (logs) → listener → ready. Down: GOAWAY, what was read is
// finished, the rest is cut at the end of the grace, then logs are synced and closed.
import { randomBytes } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { TLSSocket } from 'node:tls';
import { SettingError } from './config.ts';
import type { Settings } from './config.ts';
import { HttpDeadlines } from './http/deadlines.ts';
import { createHttpHandler, refuseConnect } from './http/handler.ts';
import type { HttpPorts } from './http/handler.ts';
import type { LogFields, Logger, LogLevel } from './logger.ts';
import { connectionsWithin, descriptorLimit, listenError, makeDataDirectory, openLogsWithin, readTlsFiles, threadPoolSize } from './sidecar-checks.ts';
import type { TlsFiles } from './sidecar-checks.ts';
import { renderMetrics } from './sidecar-metrics.ts';
import { openIdentity, settleIdentity } from './sidecar-identity.ts';
import type { NodeIdentity } from './sidecar-identity.ts';
import { identityOf, sessionConfig } from './sidecar-session.ts';
import { nodeStatus } from './sidecar-status.ts';
import type { SidecarFacts } from './sidecar-status.ts';
import { Node } from './replica/node.ts';
import { lockDirectory } from './segment/lock.ts';
import { NodeDisk } from './segment/node-disk.ts';
import { Listener } from './tls/listener.ts';
import { Turn } from './tls/turn.ts';
import { formatAddress, isLoopback } from './units.ts';
import { Session } from './wire/session/session.ts';

declare const __SIDELOG_VERSION__: string;

const TICK_MS = 50;
/** Threads that stay free of syncs, for cold reads. */
const POOL_RESERVED = 2;
const HTTP_HEADER_SIZE_MAX = 8192;
/** Part of the grace that clients get to take what is theirs; the rest is for the disk. */
const DRAIN_SHARE = 0.75;
/** Logs get so long to be synced and closed, however short the grace is. */
const CLOSE_MS_MIN = 500;

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
  /**
   * Drains and closes everything, within the shutdown grace; resolves when the process may end. False: the
   * disk did not let it finish, and the directory stays locked until the process is gone.
   */
  stop(): Promise<boolean>;
}

type Lock = Awaited<ReturnType<typeof lockDirectory>>;

/** Brings a sidecar up. Rejects with an error whose message is for the operator. */
export async function startSidecar(settings: Settings, logger: Logger): Promise<Sidecar> {
  const tls = readTlsFiles(settings);
  if (tls !== null && tls.expiresMs < Date.now()) {
    logger.log('warn', 'certificate expired', { file: settings.tlsCert, since: new Date(tls.expiresMs).toISOString() });
  }
  makeDataDirectory(settings.dataDir);
  const lock = await lockDirectory(settings.dataDir);
  try {
    return await bringUp(settings, logger, tls, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

async function bringUp(settings: Settings, logger: Logger, tls: TlsFiles | null, lock: Lock): Promise<Sidecar> {
  const disk = openDisk(settings);
  const mayBootstrap = isLoopback(settings.listen.host) || settings.bootstrapExpect !== null;
  const identity = await openIdentity(disk, randomBytes, mayBootstrap, () => {
    logger.log('warn', 'disk full at start', { effect: 'the start counter was not stored; free some space' });
  });
  const turn = new Turn();
  const threadPool = threadPoolSize(process.env['UV_THREADPOOL_SIZE']);
  if (threadPool <= POOL_RESERVED) logger.log('warn', 'small thread pool', { threadPool, effect: 'syncs and reads wait for each other; unset UV_THREADPOOL_SIZE' });
  const room = descriptorsFor(settings, logger);
  const config = nodeConfig(settings, identity, threadPool, room.openLogs);
  let running: RunningSidecar | null = null;
  const node = await Node.start(
    {
      disk,
      clock: { wallMs: Date.now, monotonicMs },
      defer: turn.defer,
      yieldTurn: () => new Promise((resolve) => setImmediate(resolve)),
      randomBytes,
      logEvent: (level: LogLevel, event: string, fields?: LogFields) => logger.log(level, event, fields),
      onMemoryPause: (paused) => running?.listener.setPaused(paused),
    },
    config,
  );
  if (identity.fresh) await settleIdentity(disk, identity);
  running = new RunningSidecar({ settings, logger, tls, lock, disk, identity, turn, threadPool, config, node, connectionsMax: room.connections });
  await running.listen();
  return running;
}

function openDisk({ dataDir, indexBackend }: Settings): NodeDisk {
  try {
    return new NodeDisk(dataDir, indexBackend);
  } catch (error) {
    throw new SettingError((error as Error).message, { cause: error });
  }
}

interface Parts {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly tls: TlsFiles | null;
  readonly lock: Lock;
  readonly disk: NodeDisk;
  readonly identity: NodeIdentity;
  readonly turn: Turn;
  readonly threadPool: number;
  /** The node's own: its address is filled in when the port is known. */
  readonly config: ReturnType<typeof nodeConfig>;
  readonly connectionsMax: number;
  readonly node: Node;
}

class RunningSidecar implements Sidecar {
  readonly listener: Listener;
  private readonly parts: Parts;
  private readonly http: HttpServer;
  private readonly httpDeadlines: HttpDeadlines;
  private readonly loopDelay = monitorEventLoopDelay({ resolution: TICK_MS });
  private readonly startedMs = monotonicMs();
  private ticking: NodeJS.Timeout | undefined;
  private stopping = false;

  constructor(parts: Parts) {
    this.parts = parts;
    const { settings, logger, tls, turn, config, node } = parts;
    this.http = createHttp({
      notReady: () => (this.stopping ? 'shutting down' : null),
      metrics: () => renderMetrics(this.facts(), this.loopDelay, TICK_MS),
      status: () => nodeStatus(this.facts()),
      isTrustedTransport,
      hosts: new Set(settings.httpHost.map((name) => name.toLowerCase())),
      open: settings.httpOpen,
    });
    this.httpDeadlines = new HttpDeadlines(this.http, monotonicMs);
    this.listener = new Listener(
      { address: settings.listen, unixSocket: settings.unixSocket, tls, connectionsMax: parts.connectionsMax },
      {
        turn,
        monotonicMs,
        http: this.http,
        createSession: (host, transport, refuse, sinceMs) =>
          new Session(sessionConfig(settings, config, transport, refuse), node.service, host, identityOf(settings, transport), sinceMs),
        acceptFailed: (error) => logger.log('warn', 'connection not accepted', { reason: error.message }),
      },
    );
  }

  /** Opens the port and begins to tick; undoes the start when that fails. */
  async listen(): Promise<void> {
    const { settings, config, node, lock } = this.parts;
    try {
      config.address = formatAddress(await this.listener.start());
    } catch (error) {
      await node.stop();
      throw listenError(settings, error as NodeJS.ErrnoException);
    }
    lock.describe(settings.nodeName, config.address);
    this.loopDelay.enable();
    // Judged after the poll phase: after a stall, what waits in the sockets counts first.
    this.ticking = setInterval(() => setImmediate(() => this.tick()), TICK_MS);
  }

  get ready(): ReadyInfo {
    const { settings, config, disk, identity, threadPool, tls } = this.parts;
    return {
      event: 'ready', address: config.address, unixSocket: settings.unixSocket, node: settings.nodeName,
      version: __SIDELOG_VERSION__, dataDir: disk.root, indexBackend: disk.mapBackend, threadPool,
      tls: tls !== null, firstStart: identity.fresh,
    };
  }

  async stop(): Promise<boolean> {
    this.stopping = true;
    const { settings, node, lock } = this.parts;
    const startedMs = monotonicMs();
    await within(settings.shutdownGrace * DRAIN_SHARE, this.listener.drain('the node is shutting down'));
    this.listener.close();
    this.loopDelay.disable();
    const leftMs = settings.shutdownGrace - (monotonicMs() - startedMs);
    const stopped = await within(Math.max(leftMs, CLOSE_MS_MIN), node.stop());
    clearInterval(this.ticking);
    if (!stopped) return false;
    await lock.release();
    return true;
  }

  private tick(): void {
    const nowMs = monotonicMs();
    this.listener.tick(nowMs);
    this.httpDeadlines.tick(nowMs);
    this.parts.node.tick();
  }

  private facts(): SidecarFacts {
    const { settings, node, threadPool, disk, config } = this.parts;
    return {
      settings, node, threadPool, listener: this.listener, indexBackend: disk.mapBackend, version: __SIDELOG_VERSION__,
      address: config.address, uptimeSeconds: (monotonicMs() - this.startedMs) / 1000, ready: !this.stopping,
    };
  }
}

function monotonicMs(): number {
  return performance.now();
}

function nodeConfig(settings: Settings, identity: NodeIdentity, threadPool: number, openLogsLimit: number) {
  return {
    nodeName: settings.nodeName,
    nodeId: Buffer.from(identity.nodeId, 'hex'),
    clusterId: Buffer.from(identity.clusterId, 'hex'),
    address: '',
    zone: '',
    version: __SIDELOG_VERSION__,
    maxBatchBytes: settings.maxBatch,
    segmentBytes: settings.segmentBytes,
    logsMax: settings.maxLogs,
    openLogsLimit,
    memoryLimitBytes: settings.memoryLimit,
    trashKeepMs: settings.trashAfter,
    reserveBytes: settings.reserve ?? -1,
    syncsMax: Math.max(1, threadPool - POOL_RESERVED),
    createDefault: identity.fresh,
    incarnation: identity.startCount,
  };
}

function createHttp(ports: HttpPorts): HttpServer {
  const http = createHttpServer({ maxHeaderSize: HTTP_HEADER_SIZE_MAX, keepAliveTimeout: 5000, noDelay: true }, createHttpHandler(ports));
  http.on('connect', (_request, socket) => refuseConnect(socket));
  return http;
}

/** Shares out the file descriptors there are; says so where they are not enough for what is set. */
function descriptorsFor(settings: Settings, logger: Logger): { connections: number; openLogs: number } {
  const openFilesLimit = descriptorLimit();
  const connections = connectionsWithin(settings.maxConnections, openFilesLimit);
  const openLogs = openLogsWithin(connections, openFilesLimit);
  if (connections < settings.maxConnections) logger.log('warn', 'fewer connections than --max-connections', { connections, openFilesLimit });
  if (openLogs < settings.maxLogs) logger.log('warn', 'fewer logs open at once than --max-logs', { openLogs, openFilesLimit });
  return { connections, openLogs };
}

function isTrustedTransport({ socket }: IncomingMessage): boolean {
  // A Unix socket has no remote address.
  return socket instanceof TLSSocket || socket.remoteAddress === undefined || isLoopback(socket.remoteAddress);
}

/** Resolves when `work` does, with true, at the latest after `ms`, with false. */
async function within(ms: number, work: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), ms)));
  const inTime = await Promise.race([work.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}
