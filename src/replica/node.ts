// One node: its logs, the service that clients talk to, and everything that happens by the clock. The
// composition root makes it from ports, calls `tick` about every 50 ms, and `stop` at the end; the
// simulator does the same with simulated ports.
//
// Invariant: it does nothing by itself: no timer, no clock of its own; work between ticks is begun by
// requests or by the end of disk operations.
import type { Disk } from '../index/disk.ts';
import { DiskError } from '../index/disk.ts';
import type { Transport } from '../raft/driver/ports.ts';
import { RAFT_DEFAULTS } from '../raft/settings.ts';
import type { RaftSettings } from '../raft/settings.ts';
import { HandleCache } from '../segment/handles.ts';
import { RaftStateJournal } from '../segment/journal.ts';
import { SlabPool } from '../segment/slab.ts';
import { SyncGate } from '../segment/sync-gate.ts';
import { WAITS_DEFAULT } from '../wire/limits.ts';
import { Durability } from '../wire/ops.ts';
import { TrustedClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { MemoryGate } from './context.ts';
import type { LogEvent, NodeContext, RaftContext } from './context.ts';
import { Counters } from './counters.ts';
import { DeadlineQueue } from './deadlines.ts';
import { isFault, settingsFromWish } from './log-settings.ts';
import type { LogSlot } from './log-slot.ts';
import { Logs } from './logs.ts';
import { MeteredDisk } from './metered-disk.ts';
import { PeerInbox } from './peers/inbox.ts';
import { PeerWatch } from './peers/watch.ts';
import { OPEN_POLICY } from './policy.ts';
import type { Policy } from './policy.ts';
import { Scrub } from './scrub.ts';
import { NodeService } from './service.ts';
import { BALLAST_BYTES, Space } from './space.ts';

export interface NodePorts {
  readonly disk: Disk;
  readonly clock: Clock;
  /** Runs a task at the end of this turn, before answers are written. */
  readonly defer: (task: () => void) => void;
  /** Resolves in a later turn. */
  readonly yieldTurn: () => Promise<void>;
  /** Unpredictable bytes. */
  readonly randomBytes: (size: number) => Buffer;
  readonly logEvent: LogEvent;
  /** Reading from clients must stop (true) or may go on: too much waits for the disk. */
  readonly onMemoryPause: (paused: boolean) => void;
  readonly policy?: Policy;
  /** To other nodes; without it every log is alone. */
  readonly transport?: Transport;
}

/** Of a node without peers. */
const NO_PEERS: Transport = { send: () => {} };

export interface NodeConfig {
  readonly nodeName: string;
  /** 16 bytes each. */
  readonly nodeId: Buffer;
  readonly clusterId: Buffer;
  /** Where clients reach this node. */
  readonly address: string;
  readonly zone: string;
  readonly version: string;
  readonly maxBatchBytes: number;
  /** Segment size of logs that do not set their own. */
  readonly segmentBytes: number;
  readonly logsMax: number;
  /** Bytes accepted and not yet written, over all logs, before clients are slowed down. */
  readonly memoryLimitBytes: number;
  readonly trashKeepMs: number;
  /** Free space below which records are refused; -1 = the smaller of 256 MiB and 2 %. */
  readonly reserveBytes: number;
  /** Syncs at once: threads of the pool less two. */
  readonly syncsMax: number;
  /** Make the log `default` unless there is one: the first start of a new data directory. */
  readonly createDefault: boolean;
  readonly ballastBytes?: number;
  /** Grows with each start of this node. */
  readonly incarnation?: number;
  readonly raft?: RaftSettings;
  readonly openLogsMax?: number;
  /** Logs that may be open at once, in use or not: what the file descriptors are enough for. */
  readonly openLogsLimit?: number;
  /** Bytes of tail cache per log. */
  readonly cacheBytes?: number;
  readonly waitsMax?: number;
  /** Stored bytes that are read again per second, to find rot early. */
  readonly scrubBytes?: number;
}

const OPEN_LOGS_DEFAULT = 256;
const CACHE_BYTES_DEFAULT = 4 * 1024 * 1024;

/** Disk reads at once, over all connections: the thread pool has room for syncs beside them. */
const READS_AT_ONCE = 6;

/** Of replicas in one start of a node; 2^53 / 2^32 starts are more than there will be. */
const OPENINGS_MAX = 2 ** 32;

const SPACE_EVERY_MS = 1_000;
const BALLAST_EVERY_MS = 10_000;

export class Node {
  readonly service: NodeService;
  readonly logs: Logs;
  readonly counters: Counters;
  readonly context: NodeContext;
  readonly #deadlines: DeadlineQueue;
  readonly #scrub: Scrub;
  readonly #inbox: PeerInbox;
  #spaceAtMs = -Infinity;
  #ballastAtMs: number;
  #tending: Promise<void> | null = null;
  #stopped = false;

  private constructor(context: NodeContext, config: NodeConfig, policy: Policy) {
    this.context = context;
    this.counters = context.counters;
    const nowMs = context.clock.monotonicMs();
    this.#deadlines = new DeadlineQueue(nowMs);
    this.#ballastAtMs = nowMs + BALLAST_EVERY_MS;
    const { logsMax, trashKeepMs } = config;
    const { openLogsMax = OPEN_LOGS_DEFAULT, openLogsLimit = Infinity } = config;
    this.logs = new Logs(context, { logsMax, openLogsMax: Math.min(openLogsMax, openLogsLimit), openLogsLimit, trashKeepMs });
    this.#scrub = new Scrub(context, config.scrubBytes);
    this.#inbox = new PeerInbox(this.logs, context.raft.watch);
    this.service = new NodeService({
      context,
      logs: this.logs,
      deadlines: this.#deadlines,
      policy,
      cluster: config,
      waitsMax: config.waitsMax ?? WAITS_DEFAULT,
    });
  }

  /** Reads what is on disk and makes `default` where it is wished. Rejects with DiskError. */
  static async start(ports: NodePorts, config: NodeConfig): Promise<Node> {
    const counters = new Counters();
    const disk = new MeteredDisk(ports.disk, ports.clock, counters);
    const memory = new MemoryGate(config.memoryLimitBytes, (paused) => {
      if (paused) counters.memoryPauses++;
      ports.onMemoryPause(paused);
    });
    const clock = new TrustedClock(ports.clock, ports.defer);
    const context: NodeContext = {
      raft: raftContext(ports, config),
      nodeName: config.nodeName,
      maxBatchBytes: config.maxBatchBytes,
      cacheBytes: config.cacheBytes ?? CACHE_BYTES_DEFAULT,
      disk,
      journal: await RaftStateJournal.open(disk),
      clock,
      space: new Space({
        disk,
        maxBatchBytes: config.maxBatchBytes,
        reserveBytes: config.reserveBytes,
        ballastBytes: config.ballastBytes ?? BALLAST_BYTES,
        unwrittenBytes: () => memory.bytes,
      }),
      memory,
      counters,
      slabs: new SlabPool(),
      handles: new HandleCache({ disk, yieldTurn: ports.yieldTurn }),
      syncGate: new SyncGate(config.syncsMax),
      readGate: new SyncGate(READS_AT_ONCE),
      defer: ports.defer,
      yieldTurn: ports.yieldTurn,
      randomBytes: ports.randomBytes,
      logEvent: ports.logEvent,
    };
    clock.onSuspect = (movedMs) => sayClock(context, movedMs);
    const node = new Node(context, config, ports.policy ?? OPEN_POLICY);
    await node.#begin(config);
    return node;
  }

  async #begin(config: NodeConfig): Promise<void> {
    await this.context.space.measure();
    if (this.context.space.full) this.#saySpace();
    await this.logs.start();
    this.logs.openShared();
    if (!config.createDefault || this.logs.find('default') !== null) return;
    const wish = { replication: 0, intervalMs: 0, retainBytes: 0, retainMs: 0, segmentBytes: 0, compressions: 0 };
    const settings = settingsFromWish({ ...wish, durability: Durability.FSYNC }, config.segmentBytes);
    if (!isFault(settings)) await this.logs.create('default', settings);
  }

  /** A frame of Raft messages from another node. */
  receive(frame: Buffer): void {
    // Also while it stops: what was accepted may still be committed.
    this.#inbox.receive(frame, this.context.clock.monotonicMs());
  }

  /** The connection to another node ended without a farewell: its process is probably gone. */
  peerReset(nodeId: string): void {
    this.context.raft.watch.peerReset(nodeId);
  }

  /** Deadlines, retention, disk space: to be called about every 50 ms, after the poll phase. */
  tick(): void {
    const { clock, space } = this.context;
    clock.observe();
    const nowMs = clock.monotonicMs();
    if (this.#stopped) return this.#tickGroups(nowMs);
    this.#deadlines.tick(nowMs);
    this.context.raft.watch.tick(nowMs);
    for (const slot of this.logs.slots()) tickSlot(slot, nowMs);
    this.logs.opener.wake();
    const isDue = nowMs - this.#spaceAtMs >= SPACE_EVERY_MS;
    if (isDue || space.stale) this.#beginTending(nowMs);
    if (!isDue) return;
    this.#spaceAtMs = nowMs;
    this.logs.opener.tick(nowMs);
    this.logs.trash.tick(space.full);
    this.#scrub.tick(this.logs.slots());
  }

  /** A leader that stops must still notice when nobody follows it any more. */
  #tickGroups(nowMs: number): void {
    for (const { upkeep } of this.logs.slots()) upkeep?.replica.group.tick(nowMs, false);
  }

  #beginTending(nowMs: number): void {
    this.#tending ??= this.#tendSpace(nowMs).finally(() => {
      this.#tending = null;
    });
  }

  async #tendSpace(nowMs: number): Promise<void> {
    const { space, logEvent } = this.context;
    const wasFull = space.full;
    try {
      await space.measure();
      if (nowMs >= this.#ballastAtMs || space.freeBytes === 0) {
        this.#ballastAtMs = nowMs + BALLAST_EVERY_MS;
        await space.tendBallast();
      }
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      logEvent('warn', 'disk space unknown', { reason: error.message });
    }
    if (space.full !== wasFull) this.#saySpace();
  }

  #saySpace(): void {
    const { space, logEvent } = this.context;
    const { full, freeBytes, reserveBytes } = space;
    logEvent(full ? 'error' : 'info', full ? 'disk nearly full' : 'disk has room again', { freeBytes, reserveBytes });
  }

  /** Finishes what was accepted, writes snapshots, closes all files. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#tending;
    await this.#scrub.close();
    await this.logs.stop();
    await this.context.journal.close();
  }
}

function raftContext(ports: NodePorts, config: NodeConfig): RaftContext {
  const clusterId = config.clusterId.toString('hex');
  const nodeId = config.nodeId.toString('hex');
  // Alone there is nobody to be quiet towards.
  const settings = config.raft ?? { ...RAFT_DEFAULTS, sleepWhenIdle: ports.transport !== undefined };
  const transport = ports.transport ?? NO_PEERS;
  const watch = new PeerWatch({ clusterId, nodeId, settings, transport });
  return { clusterId, nodeId, nextIncarnation: incarnations(config.incarnation ?? 1), settings, transport, watch };
}

/** Numbers for the openings of replicas in one start of a node. */
function incarnations(start: number): () => number {
  let openings = 0;
  return () => start * OPENINGS_MAX + ++openings;
}

function tickSlot(slot: LogSlot, nowMs: number): void {
  slot.expireTasks(nowMs);
  // Also of a log that takes no requests any more: what is in flight there still has its deadline.
  const { upkeep } = slot;
  if (upkeep === null) return;
  const { replica } = upkeep;
  replica.pending.expire(nowMs, replica);
  replica.log.tick(nowMs);
  replica.group.tick(nowMs, replica.readers.count > 0);
  upkeep.tick(nowMs);
}

function sayClock(context: NodeContext, movedMs: number): void {
  if (movedMs === 0) {
    context.logEvent('info', 'wall clock believed again');
    return;
  }
  context.logEvent('warn', 'wall clock jumped', {
    movedMs,
    effect: 'age retention waits and append times go on from before the jump until it has stayed for 10 minutes',
  });
}
