// Several whole nodes in one process, with one log that all of them hold a replica of: the code that ships
// over simulated disks, and a transport of queues. Time and the network go only as far as a test lets them.
import type { RaftGroup } from '../../src/replica/raft-group.ts';
import type { Transport } from '../../src/raft/driver/ports.ts';
import { decodeMessage, kindOf } from '../../src/raft/codec.ts';
import { MessageKind } from '../../src/raft/types.ts';
import type { Message } from '../../src/raft/types.ts';
import { FIRST_WATCH_KIND } from '../../src/replica/peers/watch-messages.ts';
import type { LogReplica } from '../../src/replica/log-replica.ts';
import type { LogDescriptor, LogSettings } from '../../src/replica/log-settings.ts';
import { settingsFromWish } from '../../src/replica/log-settings.ts';
import { LogState } from '../../src/segment/log-options.ts';
import type { SegmentedLog } from '../../src/segment/log.ts';
import { batchIndex, batchSize, batchTerm } from '../../src/wire/batch.ts';
import { RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import { TestClock, valuesOf, World } from '../replica/support.ts';
import type { TestClient, WorldOptions } from '../replica/support.ts';
import { SimDisk } from '../support/sim-disk.ts';
import type { CrashOptions, DiskOperation } from '../support/sim-disk.ts';
import { Prng } from '../support/prng.ts';

export const LOG = 'shared';
export const UID = 'ab'.repeat(16);

/** Ticks of the driver, as in the product. */
const TICK_MS = RAFT_DEFAULTS.tickMs;

export function idOf(n: number): string {
  return n.toString(16).padStart(2, '0').repeat(16);
}

export interface ClusterOptions extends WorldOptions {
  nodes?: number;
  /** Of them, founders of the group; default all. */
  voters?: number;
  segmentBytes?: number;
  logSettings?: Partial<LogSettings>;
}

/** One node: it has a world while it runs. */
export class Member implements Transport {
  readonly cluster: Cluster;
  readonly number: number;
  world: World | null = null;
  disk: SimDisk;
  starts = 0;
  replicaId: number;
  #sentTerm = 0;
  /** Disk operations that do not end until somebody calls what is in `held`. */
  holds: ((operation: DiskOperation) => boolean) | null = null;
  readonly held: Array<() => void> = [];

  constructor(cluster: Cluster, number: number) {
    this.cluster = cluster;
    this.number = number;
    this.replicaId = number;
    const schedule = (end: () => void, operation: DiskOperation): void => {
      if (this.holds?.(operation) === true) this.held.push(end);
      else queueMicrotask(end);
    };
    this.disk = new SimDisk({ prng: new Prng(1000 + number), schedule });
  }

  send(nodeId: string, message: Buffer): void {
    this.#checkTerm(message);
    // Copied: the sender's buffers are its own.
    this.cluster.queue.push({ from: this.number, to: parseInt(nodeId.slice(0, 2), 16), message: Buffer.from(message) });
  }

  /** I2, I3: no message leaves in a term that is not on disk, or below one that this replica has named before. */
  #checkTerm(message: Buffer): void {
    const kind = kindOf(message, 0);
    // An Append may have waited for its entries.
    if (kind >= FIRST_WATCH_KIND || kind === MessageKind.Append) return;
    const term = Number(message.readBigUInt64BE(88));
    const stored = this.world!.node.context.journal.get(Buffer.from(UID, 'hex'), this.replicaId)?.term ?? 0;
    if (term > stored || term < this.#sentTerm) throw new Error(`node ${this.number} sends kind ${kind} in term ${term}, stored ${stored}, sent ${this.#sentTerm}`);
    this.#sentTerm = term;
  }

  get replica(): LogReplica {
    const replica = this.world?.node.logs.find(LOG)?.replica;
    if (replica == null) throw new Error(`node ${this.number} has no open log`);
    return replica;
  }

  get group(): RaftGroup {
    return this.replica.group as RaftGroup;
  }

  get log(): SegmentedLog {
    return this.replica.log;
  }

  get isOpen(): boolean {
    return this.world?.node.logs.find(LOG)?.replica != null;
  }

  get leads(): boolean {
    return this.isOpen && this.replica.group.refusal === 0;
  }

  async start(founder: boolean): Promise<void> {
    const { cluster } = this;
    this.starts++;
    const { nodes, voters, logSettings, ...options } = cluster.options;
    this.world = await World.start({
      createDefault: false, nodeName: `n${this.number}`, nodeId: Buffer.from(idOf(this.number), 'hex'),
      ...options, disk: this.disk, clock: cluster.clock, transport: this, incarnation: this.starts, seed: 100 * this.number + this.starts,
    });
    if (this.world.node.logs.find(LOG) === null) await this.join(founder);
  }

  /** Makes this node's replica of the log: a founder's, or one that waits to be added. */
  async join(founder: boolean): Promise<void> {
    const { cluster } = this;
    const voters = founder ? cluster.founders : [];
    const settings = settingsFromWish(
      { durability: 1, replication: 0, intervalMs: 0, retainBytes: 0, retainMs: 0, segmentBytes: 0, compressions: 0 },
      cluster.options.segmentBytes ?? 1024 * 1024,
    ) as LogSettings;
    const descriptor: LogDescriptor = {
      uid: UID, name: LOG, createdMs: 1_790_000_000_000, replicaId: this.replicaId, voters,
      settings: { ...settings, ...cluster.options.logSettings },
    };
    let failure: unknown = null;
    this.world!.node.logs.join(descriptor).catch((error: unknown) => (failure = error));
    await this.world!.settle();
    if (failure !== null) throw failure;
  }

  crash(options: CrashOptions = {}): void {
    this.disk = this.disk.crash(options);
    this.world = null;
  }

  connect(): Promise<TestClient> {
    return this.world!.connect();
  }

  /** The committed records here, as `offset:value`. */
  async values(): Promise<string[]> {
    const client = await this.connect();
    const found = await client.fetch(LOG, { value: this.replica.logStart, maxBytes: 4 * 1024 * 1024 });
    if (found.code !== 'OK') throw new Error(`node ${this.number}: ${found.code} ${found.error.message}`);
    return valuesOf(found.value.batches);
  }

  /** Every entry in this log, as `index@term`. */
  async entries(): Promise<string[]> {
    const found: string[] = [];
    for (let next = this.log.firstIndex; next <= this.log.lastIndex; ) {
      const { buffers, lastIndex } = await this.log.read(next, 1 << 30, this.log.lastIndex);
      for (const buffer of buffers) {
        for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) found.push(`${batchIndex(buffer, at)}@${batchTerm(buffer, at)}`);
      }
      next = lastIndex + 1;
    }
    return found;
  }
}

export class Cluster {
  readonly clock = new TestClock();
  readonly options: ClusterOptions;
  readonly members: Member[] = [];
  queue: Array<{ from: number; to: number; message: Buffer }> = [];
  readonly #late: Array<{ from: number; to: number; message: Buffer }> = [];
  /** Directions that carry nothing, as `from>to`. */
  readonly cut = new Set<string>();
  /** Sees every message that is delivered; false = it is lost. */
  onMessage: ((message: Message, from: number, to: number) => boolean) | null = null;
  /** The same for messages of any kind, as bytes; it may change them. */
  onBytes: ((kind: number, bytes: Buffer, from: number, to: number) => boolean) | null = null;
  /** Messages overtake each other, come late and come twice. */
  disorder: Prng | null = null;
  delivered = 0;

  constructor(options: ClusterOptions = {}) {
    this.options = options;
    for (let i = 1; i <= (options.nodes ?? 3); i++) this.members.push(new Member(this, i));
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options);
    const voters = options.voters ?? cluster.members.length;
    for (const member of cluster.members) await member.start(member.number <= voters);
    return cluster;
  }

  /** Starts one, up to the moment when it has a leader; `follower` is the first of the others. */
  static async led(options: ClusterOptions = {}): Promise<{ cluster: Cluster; leader: Member; follower: Member }> {
    const cluster = await Cluster.start(options);
    const leader = await cluster.elect();
    return { cluster, leader, follower: cluster.members.find((member) => member !== leader)! };
  }

  get founders(): Array<{ replicaId: number; nodeId: string }> {
    const voters = this.options.voters ?? this.members.length;
    return this.members.slice(0, voters).map(({ number }) => ({ replicaId: number, nodeId: idOf(number) }));
  }

  get running(): Member[] {
    return this.members.filter(({ world }) => world !== null);
  }

  member(number: number): Member {
    return this.members[number - 1]!;
  }

  get leader(): Member | null {
    // A leader that was cut off may not know yet: the one of the highest term counts.
    return this.running.filter(({ leads }) => leads).sort((a, b) => b.group.term - a.group.term)[0] ?? null;
  }

  isolate(number: number): void {
    for (const { number: other } of this.members) {
      this.cut.add(`${number}>${other}`);
      this.cut.add(`${other}>${number}`);
    }
  }

  heal(): void {
    this.cut.clear();
  }

  /** Runs every node and delivers every message until nothing moves. */
  async settle(): Promise<void> {
    for (let quiet = false; !quiet; ) {
      for (const { world } of this.running) await world!.settle();
      quiet = this.queue.length === 0;
      for (const { from, to, message } of this.#takeQueue()) this.#deliver(from, to, message);
    }
    this.queue.push(...this.#late.splice(0));
  }

  #takeQueue(): Array<{ from: number; to: number; message: Buffer }> {
    const taken = this.queue.splice(0);
    const { disorder } = this;
    if (disorder === null) return taken;
    const now: typeof taken = [];
    for (const one of taken) {
      const dice = disorder.next(100);
      if (dice < 6) this.#late.push(one);
      else now.splice(disorder.next(now.length + 1), 0, one);
      if (dice < 3) now.push(one);
    }
    return now;
  }

  #deliver(from: number, to: number, message: Buffer): void {
    if (this.cut.has(`${from}>${to}`)) return;
    const { onMessage, onBytes } = this;
    if (onBytes !== null && !onBytes(kindOf(message, 0), message, from, to)) return;
    const decoded = onMessage === null ? null : decodeMessage(message, 0, message.length);
    if (decoded !== null && !onMessage!(decoded, from, to)) return;
    this.delivered++;
    this.members[to - 1]?.world?.node.receive(message);
  }

  /** Lets time pass on all nodes, tick by tick. */
  async advance(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.clock.monotonic += TICK_MS;
      this.clock.wall += TICK_MS;
      for (const { world } of this.running) world!.node.tick();
      await this.settle();
    }
  }

  /** Lets time pass until it is so, for at most so long. */
  async until(what: string, is: () => boolean, msMax = 10_000): Promise<void> {
    for (let passed = 0; !is(); passed += TICK_MS) {
      if (passed >= msMax) throw new Error(`not within ${msMax} ms: ${what}`);
      await this.advance(TICK_MS);
    }
  }

  async elect(): Promise<Member> {
    await this.until('a leader', () => this.leader !== null);
    return this.leader!;
  }

  /** The logs of all running members open, equal and committed to the end. */
  converged(): boolean {
    const { leader } = this;
    if (leader === null) return false;
    const { voters, learners } = leader.group.driver.node.config.config;
    const counts = (member: Member): boolean => [...voters, ...learners].some(({ replicaId }) => replicaId === member.replicaId);
    return this.running.filter(counts).every((member) => member.isOpen && member.log.state === LogState.OPEN &&
      member.log.lastIndex === leader.log.lastIndex && member.replica.commitIndex === leader.log.lastIndex);
  }

  async converge(): Promise<void> {
    await this.until('equal logs', () => this.converged());
  }

  async stop(): Promise<void> {
    for (const { world } of this.running) await world!.stop();
  }
}
