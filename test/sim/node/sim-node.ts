// One simulated machine with a sidelog on it: the Node, Session and Connection that ship, over a
// simulated disk, clock and sockets; started, stopped, killed, frozen and cut off from power by the
// nemesis. It stands in for sidecar.ts and tls/listener.ts, and decides nothing about logs.
//
// Invariant: `node` is set exactly while clients can be served; the disk outlives every process.
import type { Socket } from 'node:net';
import { DiskError } from '../../../src/index/disk.ts';
import { Node } from '../../../src/replica/node.ts';
import type { NodeConfig } from '../../../src/replica/node.ts';
import type { Transport } from '../../../src/raft/driver/ports.ts';
import { openIdentity, settleIdentity } from '../../../src/sidecar-identity.ts';
import { Connection } from '../../../src/tls/connection.ts';
import type { Turn } from '../../../src/tls/turn.ts';
import { ErrorCode } from '../../../src/wire/errors.ts';
import { Session } from '../../../src/wire/session/session.ts';
import type { SessionConfig } from '../../../src/wire/session/ports.ts';
import { mut } from '../../../src/wire/mut.ts';
import type { Prng } from '../../support/prng.ts';
import { SimDisk } from '../../support/sim-disk.ts';
import type { CrashOptions, DiskOperation } from '../../support/sim-disk.ts';
import type { Scheduler } from '../core/scheduler.ts';
import { TraceKind } from '../core/trace.ts';
import type { Trace } from '../core/trace.ts';
import type { SimSocket } from '../net/stream.ts';
import { DiskPace } from './disk-pace.ts';
import type { DiskPaceOptions } from './disk-pace.ts';
import { SimProcess } from './process.ts';
import { SimClock } from './sim-clock.ts';
import { SimTurn } from './sim-turn.ts';

const TICK_US = 50_000;
const GRACE_MS = 2_000;

export interface SimNodeOptions {
  readonly pace: DiskPaceOptions;
  readonly mapBackend: 'mmap' | 'mirror';
  readonly diskBytes: number;
  /** Microseconds between the first event of a turn and its end, at most. */
  readonly turnMaxUs: number;
  readonly idleMs: number;
  /** Of a cluster of several; a node that is alone makes its own. */
  readonly clusterId: Buffer | null;
  readonly config: Omit<NodeConfig, 'nodeName' | 'nodeId' | 'clusterId' | 'incarnation' | 'address' | 'zone' | 'version' | 'createDefault'>;
}

/** The way to the other nodes. */
export interface Peers {
  /** Brings messages for this node to `take`, as long as `process` lives. */
  attach(process: SimProcess, take: (frame: Buffer) => void): void;
  transport(from: SimNode): Transport;
}

/** What the world learns from a node. */
export interface SimNodeEvents {
  /** Clients are served from now on. */
  up(node: SimNode): void;
  /** The process has gone; `why` is said in the trace. */
  down(node: SimNode, why: string): void;
  /** The program threw: a bug. */
  crashed(node: SimNode, error: unknown): void;
  logged(node: SimNode, level: string, event: string, fields: Record<string, unknown>): void;
  operation(node: SimNode, operation: DiskOperation): void;
}

export class SimNode {
  readonly name: string;
  readonly clock: SimClock;
  readonly pace: DiskPace;
  disk: SimDisk;
  process: SimProcess | null = null;
  node: Node | null = null;
  /** Counts the processes it had. */
  incarnation = 0;
  stopping = false;
  /** It is to stay down. */
  held = false;
  /** Where bits have rotted: of what has two copies only one may. */
  readonly rotted = new Set<string>();
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #prng: Prng;
  readonly #options: SimNodeOptions;
  readonly #events: SimNodeEvents;
  readonly #peers: Peers | null;
  readonly #sockets = new Set<SimSocket>();
  readonly #connections = new Set<Connection>();
  #turn: SimTurn | null = null;
  #identity = { nodeId: '', clusterId: '' };
  #memoryPaused = false;
  #freezing = false;
  #drained: (() => void) | null = null;

  constructor(name: string, scheduler: Scheduler, trace: Trace, prng: Prng, options: SimNodeOptions, events: SimNodeEvents, peers: Peers | null) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#trace = trace;
    this.#prng = prng;
    this.#options = options;
    this.#events = events;
    this.#peers = peers;
    this.clock = new SimClock(scheduler);
    this.pace = new DiskPace(options.pace, prng.fork());
    this.disk = this.#emptyDisk();
  }

  /** Whether clients can connect. */
  get listening(): boolean {
    return this.node !== null && !this.stopping;
  }

  /** 32 hex digits; '' before its first start. */
  get nodeId(): string {
    return this.#identity.nodeId;
  }

  // Life

  /** Starts a process on what is on the disk. */
  start(): void {
    if (this.process !== null) return;
    this.incarnation++;
    const process = new SimProcess(this.name, this.#scheduler, (error) => this.#events.crashed(this, error));
    this.process = process;
    this.clock.restart();
    this.#trace.say(TraceKind.NODE, `${this.name} starts, life ${this.incarnation}`);
    this.#turn = new SimTurn((task) => process.later(1 + this.#prng.next(this.#options.turnMaxUs), task));
    this.#start(process).then(
      (node) => this.#started(process, node),
      (error: unknown) => this.#startFailed(process, error),
    );
  }

  async #start(process: SimProcess): Promise<Node> {
    const { disk } = this;
    const randomBytes = (size: number): Buffer => this.#prng.bytes(size);
    const identity = await openIdentity(disk, randomBytes, true, () => {});
    this.#identity = identity;
    const peers = this.#peers;
    peers?.attach(process, (frame) => this.node?.receive(frame));
    const node = await Node.start(
      {
        disk,
        clock: this.clock,
        defer: this.#turn!.defer,
        yieldTurn: () => new Promise((resolve) => process.later(5, resolve)),
        randomBytes,
        logEvent: (level, event, fields = {}) => this.#logged(process, level, event, fields),
        onMemoryPause: (paused) => this.#pauseAll(paused),
        ...(peers === null ? {} : { transport: peers.transport(this) }),
      },
      this.#nodeConfig(identity.fresh && peers === null),
    );
    if (identity.fresh) await settleIdentity(disk, identity);
    return node;
  }

  #nodeConfig(fresh: boolean): NodeConfig {
    return {
      ...this.#options.config,
      nodeName: this.name,
      nodeId: Buffer.from(this.#identity.nodeId, 'hex'),
      clusterId: this.#clusterId,
      incarnation: this.incarnation,
      address: `${this.name}:8400`,
      zone: '',
      version: 'sim',
      createDefault: fresh,
    };
  }

  #started(process: SimProcess, node: Node): void {
    if (process !== this.process) return;
    this.node = node;
    this.#trace.say(TraceKind.NODE, `${this.name} is up`);
    this.#tick(process);
    this.#events.up(this);
  }

  #startFailed(process: SimProcess, error: unknown): void {
    if (process !== this.process) return;
    // The process ends with a message for the operator, and is started again by whoever watches it.
    if (!(error instanceof DiskError)) this.#events.crashed(this, error);
    this.disk = this.disk.crash({ mode: 'process' });
    this.#gone(`could not start: ${(error as Error).message}`);
  }

  #tick(process: SimProcess): void {
    process.later(TICK_US, () => {
      const { node } = this;
      if (node === null) return;
      const nowMs = this.clock.monotonicMs();
      for (const connection of [...this.#connections]) connection.tick(nowMs);
      node.tick();
      this.#tick(process);
    });
  }

  #logged(process: SimProcess, level: string, event: string, fields: Record<string, unknown>): void {
    if (process !== this.process) return;
    if (this.#trace.lines !== null) this.#trace.line(`${this.name} ${level}: ${event} ${JSON.stringify(fields)}`);
    this.#events.logged(this, level, event, fields);
  }

  /** Asks it to end: drains its connections, writes snapshots, closes its files. */
  stop(): void {
    const { node, process } = this;
    if (node === null || process === null || this.stopping) return;
    this.stopping = true;
    this.#trace.say(TraceKind.NODE, `${this.name} is asked to stop`);
    let cut = false;
    const close = (): void => {
      if (cut || process !== this.process) return;
      cut = true;
      this.#drained = null;
      for (const connection of [...this.#connections]) connection.destroy();
      node.stop().then(
        () => this.#stopped(process),
        (error: unknown) => this.#stopFailed(process, error),
      );
    };
    this.#drained = close;
    for (const connection of [...this.#connections]) connection.goAway(ErrorCode.SHUTTING_DOWN, 'the node is shutting down');
    if (this.#connections.size === 0) process.later(1, close);
    process.later(GRACE_MS * 1000, close);
  }

  #stopped(process: SimProcess): void {
    if (process !== this.process) return;
    this.disk = this.disk.crash({ mode: 'process', keep: 'all' });
    this.#gone('stopped');
  }

  #stopFailed(process: SimProcess, error: unknown): void {
    if (process !== this.process) return;
    if (!(error instanceof DiskError)) this.#events.crashed(this, error);
    this.#stopped(process);
  }

  /** Ends the process, and with `power` the page cache. */
  crash(options: CrashOptions): void {
    if (this.process === null) return;
    const power = options.mode !== 'process';
    this.disk = this.disk.crash(options);
    for (const socket of [...this.#sockets]) {
      if (power) socket.machineGone(this.#prng.between(1_000, 4_000_000));
      else socket.processGone();
    }
    this.#gone(`${power ? 'loses power' : 'is killed'}, unsynced data kept: ${typeof options.keep === 'string' ? options.keep : 'random'}`);
  }

  /** Stands still at the disk operation of this number, as if the process died in it; then `reached`. */
  haltAt(operation: number, reached: () => void): void {
    const { process } = this;
    if (process === null) return;
    void this.disk.haltAt(operation).then(() => {
      // Nothing that the process does after its death leaves it.
      process.end();
      reached();
    });
  }

  /** Resets some of its connections; returns how many. */
  dropConnections(prng: Prng): number {
    const chosen = [...this.#sockets].filter(() => prng.chance(0.5));
    for (const socket of chosen) {
      socket.peer.resetLater();
      socket.resetLater();
    }
    return chosen.length;
  }

  /** Its data directory is empty when it starts again. It must be down. */
  wipe(): void {
    const identity = mut('wiped-node-keeps-its-identity') ? this.disk.contents('node.json') : null;
    this.disk = this.#emptyDisk();
    if (identity !== null) this.disk.place('node.json', identity);
    this.rotted.clear();
    this.#trace.say(TraceKind.FAULT, `${this.name} is wiped`);
  }

  #gone(why: string): void {
    this.process?.end();
    this.process = null;
    this.node = null;
    this.stopping = false;
    this.#freezing = false;
    this.#memoryPaused = false;
    this.#drained = null;
    this.#sockets.clear();
    this.#connections.clear();
    this.#trace.say(TraceKind.NODE, `${this.name} ${why}`);
    this.#events.down(this, why);
  }

  /** SIGSTOP; with `frozen` the whole machine stands still and its monotonic clock with it. */
  pause(frozen: boolean): void {
    if (this.process === null || !this.process.awake) return;
    this.#trace.say(TraceKind.FAULT, `${this.name} ${frozen ? 'is frozen' : 'is stopped'}`);
    this.process.sleep();
    if (frozen) this.clock.freeze();
    this.#freezing = frozen;
  }

  resume(): void {
    if (this.process === null || this.process.awake) return;
    this.#trace.say(TraceKind.FAULT, `${this.name} goes on`);
    if (this.#freezing) this.clock.thaw();
    this.#freezing = false;
    this.process.wake();
  }

  // Connections

  /** A client's end of a new stream came in. */
  accept(socket: SimSocket): void {
    const connection = new Connection(socket as unknown as Socket, false, {
      turn: this.#turn as unknown as Turn,
      monotonicMs: () => this.clock.monotonicMs(),
      closed: (ended) => {
        this.#sockets.delete(socket);
        this.#connections.delete(ended);
        if (this.#connections.size === 0) this.#drained?.();
      },
    });
    connection.setNodePaused(this.#memoryPaused);
    this.#sockets.add(socket);
    this.#connections.add(connection);
    const identity = { name: 'local', mechanism: 'local', admin: true } as const;
    connection.start(new Session(this.#sessionConfig(), this.node!.service, connection, identity, this.clock.monotonicMs()));
  }

  get #clusterId(): Buffer {
    return this.#options.clusterId ?? Buffer.from(this.#identity.clusterId, 'hex');
  }

  #sessionConfig(): SessionConfig {
    const { config, idleMs } = this.#options;
    return {
      nodeName: this.name,
      clusterId: this.#clusterId,
      serverVersion: 'sidelog/sim',
      maxFrame: config.maxBatchBytes + 1024 * 1024,
      maxBatch: config.maxBatchBytes,
      maxInflight: 256,
      maxWaits: 16,
      maxSubscriptions: 16,
      idleMs,
      authRequired: false,
      authMechs: [],
      authenticate: () => null,
      loopback: false,
      graceMs: GRACE_MS,
    };
  }

  #pauseAll(paused: boolean): void {
    this.#memoryPaused = paused;
    for (const connection of this.#connections) connection.setNodePaused(paused);
  }

  // Disk

  #emptyDisk(): SimDisk {
    const { mapBackend, diskBytes } = this.#options;
    const disk = new SimDisk({
      prng: this.#prng.fork(),
      mapBackend,
      totalBytes: diskBytes,
      schedule: (end, operation) => this.#runOperation(end, operation),
    });
    return disk;
  }

  #runOperation(end: () => void, operation: DiskOperation): void {
    const { process } = this;
    if (process === null) return;
    if (this.#trace.lines !== null) this.#trace.line(`${this.name} disk ${operation.call} ${operation.path} ${operation.position}+${operation.length}`);
    this.#events.operation(this, operation);
    this.#trace.add(TraceKind.DISK, operation.number, operation.position, operation.length);
    process.later(this.pace.duration(operation.call, operation.length), end);
  }
}
