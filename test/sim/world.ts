// One world from its first event to its last: nodes, network, clients, faults and checkers out of one
// seed. Phase 1 asks for safety while things go wrong. Phase 2 mends everything and asks for liveness:
// every client comes to rest, every log takes another record and can be read from start to end, before
// and after a clean stop, and after a power cut that keeps nothing that was not synced.
//
// Invariant: nothing here, nor in anything it makes, reads a real clock, a real random source or a timer.
import { Durability } from '../../src/wire/ops.ts';
import { Prng } from '../support/prng.ts';
import type { DiskOperation } from '../support/sim-disk.ts';
import { AppendTime } from './checkers/i11-append-time.ts';
import { AckedPresent } from './checkers/i07-acked-present.ts';
import { Ages } from './checkers/ages.ts';
import { BrokenFrames } from './checkers/i10-broken-frames.ts';
import { DurableLogs } from './checkers/durable-logs.ts';
import { DurablePromises } from './checkers/i03-durable-promises.ts';
import { EqualStates } from './checkers/equal-states.ts';
import { DenseOffsets } from './checkers/i08-dense-offsets.ts';
import { Fences } from './checkers/fences.ts';
import { IndexEntries } from './checkers/i09-index-entries.ts';
import { LogMatching } from './checkers/i04-log-matching.ts';
import { NoEffect } from './checkers/i12-no-effect.ts';
import { KeptPromises } from './checkers/kept-promises.ts';
import { OneChange } from './checkers/one-change.ts';
import { Marks } from './checkers/marks.ts';
import { OneLeader } from './checkers/i01-one-leader.ts';
import { OnMajority } from './checkers/on-majority.ts';
import { Installed } from './checkers/installed.ts';
import { Order } from './checkers/i06-order.ts';
import { OwnTermCommits } from './checkers/i05-own-term-commits.ts';
import { TermsRise } from './checkers/i02-terms-rise.ts';
import { TrueRefusals } from './checkers/i13-true-refusals.ts';
import { Catalog, describeReplica, groupOf, replicaOn } from './catalog.ts';
import type { ClientWorld, LogRef, SimClient } from './clients/client.ts';
import { Fetcher } from './clients/fetcher.ts';
import { LastWord } from './clients/last-word.ts';
import { Setup } from './clients/setup.ts';
import { Violation } from './core/failure.ts';
import { Scheduler } from './core/scheduler.ts';
import { Trace, TraceKind } from './core/trace.ts';
import { Counters } from './counters.ts';
import { Figures } from './figures.ts';
import { History } from './history/history.ts';
import { Watch } from './history/watch.ts';
import { Nemesis } from './nemesis.ts';
import { MessageNet } from './net/messages.ts';
import { Network } from './net/network.ts';
import { SimNode } from './node/sim-node.ts';
import type { Peers, SimNodeOptions } from './node/sim-node.ts';
import type { LogPlan, SimOptions } from './options.ts';
import { populate } from './population.ts';

const SECOND_US = 1_000_000;
/** Simulated time that each step of phase 2 may take. */
const LIVENESS_BOUND_US = 90 * SECOND_US;
/** Between two looks of the checkers at a node. */
const LOOK_US = 40_000;

export interface WorldResult {
  readonly seed: number;
  readonly violation: Violation | null;
  readonly hash: string;
  readonly events: number;
  readonly simulatedSeconds: number;
  readonly counters: Counters;
}

export class World implements ClientWorld {
  readonly options: SimOptions;
  readonly scheduler = new Scheduler();
  readonly trace: Trace;
  readonly network: Network;
  readonly counters = new Counters();
  readonly history: History;
  readonly nodes: SimNode[] = [];
  /** A minority: only their disks rot, and lose what was synced. */
  readonly weak: readonly SimNode[];
  readonly logs: LogRef[] = [];
  readonly batchBytesMax: number;
  /** Of several nodes. */
  readonly catalog: Catalog;
  readonly #messages: MessageNet<Buffer>;
  readonly #figures = new Figures(this.counters);
  readonly #prng: Prng;
  readonly #nemesis: Nemesis;
  readonly #clients: SimClient[] = [];
  #violation: Violation | null = null;
  #looks = 0;

  constructor(options: SimOptions, lines: ((line: string) => void) | null) {
    this.options = options;
    this.trace = new Trace(() => this.scheduler.nowUs, lines);
    this.#prng = new Prng(options.seed ^ 0x5eed);
    this.network = new Network(this.scheduler, this.#prng.fork(), options.network);
    this.batchBytesMax = 64 * 1024;
    const matching = new LogMatching();
    const disks = new DurableLogs((...entry) => matching.note(...entry));
    const majority = new OnMajority(disks);
    const checkers = [
      new OneLeader(), new TermsRise(), new DurablePromises(disks), matching, new OwnTermCommits(matching), majority, new OneChange(matching, majority),
      new KeptPromises(), new Installed(), new Marks(), new Ages(options, () => this.scheduler.nowUs, () => this.nodes[0]!.clock), new Order(), new EqualStates(), new AckedPresent(), new DenseOffsets(), new IndexEntries(), new BrokenFrames(),
      new AppendTime(), new NoEffect(), new TrueRefusals(), new Fences(), this.#figures,
    ];
    const durabilityOf = (name: string): number => options.logs.find((plan) => plan.name === name)?.durability ?? Durability.FSYNC;
    this.history = new History(new Watch(checkers), durabilityOf);
    this.#messages = new MessageNet(this.network);
    const clusterId = options.nodeCount === 1 ? null : this.#prng.bytes(16);
    for (let i = 1; i <= options.nodeCount; i++) this.nodes.push(this.#makeNode(`n${i}`, clusterId));
    this.catalog = new Catalog(this, this.#prng.fork());
    const weakMax = options.logs.some(({ replication }) => replication < options.nodeCount) ? 1 : (options.nodeCount - 1) >> 1;
    this.weak = this.#prng.shuffle([...this.nodes]).slice(0, weakMax);
    this.#nemesis = new Nemesis(this, this.#prng.fork());
  }

  get clientNames(): readonly string[] {
    return this.#clients.map(({ name }) => name);
  }

  hostsOf(ref: LogRef | null): readonly SimNode[] {
    return ref === null || this.nodes.length === 1 ? this.nodes : this.catalog.hosts(ref.name);
  }

  hint(node: SimNode, ref: LogRef): SimNode | null {
    return this.catalog.hint(node, ref.name);
  }

  /** Runs the whole world. Never rejects: what went wrong is in the result. */
  async run(): Promise<WorldResult> {
    const onRejection = (error: unknown): void => this.failed(error);
    process.on('unhandledRejection', onRejection);
    try {
      for (const step of [this.#setUp, this.#live, this.#settle, this.#cleanRestart, this.#powerCut, this.#readAll, this.#finish]) {
        if (this.#violation === null) await step.call(this);
      }
    } catch (error) {
      this.failed(error);
    } finally {
      process.off('unhandledRejection', onRejection);
    }
    const { counters, trace, scheduler, options } = this;
    if (this.#violation !== null) {
      trace.say(TraceKind.CHECK, this.#violation.message);
      for (const node of this.nodes) this.#describe(node);
    }
    return {
      seed: options.seed, violation: this.#violation, hash: trace.hash, events: scheduler.executed,
      simulatedSeconds: scheduler.nowUs / SECOND_US, counters,
    };
  }

  #describe({ name, node, disk }: SimNode): void {
    const { trace } = this;
    if (trace.lines === null) return;
    for (const slot of node?.logs.slots() ?? []) {
      trace.line(`${name}, ${slot.name}: ${slot.replica === null ? `not open ${slot.failure}` : describeReplica(slot.replica)}`);
    }
    for (const [path, file] of disk.media.files()) trace.line(`${name} has ${path}, ${file.size} bytes`);
  }

  failed(error: unknown): void {
    if (this.#violation !== null) return;
    this.#violation = error instanceof Violation ? error : new Violation('crash', error instanceof Error ? (error.stack ?? error.message) : String(error), { cause: error });
  }

  // Phases

  async #setUp(): Promise<void> {
    for (const node of this.nodes) node.start();
    if (this.nodes.length > 1) return this.#found();
    const setup = new Setup(this, this.#prng.fork(), this.options.logs, 1);
    await this.#until(() => setup.done, 30 * SECOND_US, () => 'the logs could not be made');
    setup.link.close();
    for (const plan of this.options.logs) this.#note(plan, setup.uids.get(plan.name)!);
  }

  /** Makes the logs on several nodes. */
  async #found(): Promise<void> {
    await this.#until(() => this.nodes.every(({ node }) => node !== null), 30 * SECOND_US, () => 'the nodes did not start');
    const prng = this.#prng.fork();
    let made = 0;
    for (const plan of this.options.logs) {
      const hosts = [...this.nodes];
      while (hosts.length > plan.replication) hosts.splice(prng.next(hosts.length), 1);
      this.catalog.found(plan, hosts).then(() => made++, (error: unknown) => this.failed(error));
    }
    await this.#until(() => made === this.options.logs.length, 30 * SECOND_US, () => 'the logs could not be made');
    for (const plan of this.options.logs) this.#note(plan, Buffer.from(this.catalog.logs.get(plan.name)!.uid, 'hex'));
    this.catalog.begin();
  }

  #note({ name, fenced, retainBytes, retainMs }: LogPlan, uid: Buffer): void {
    const history = this.history.log(uid, name);
    history.retained = retainBytes > 0 || retainMs > 0;
    this.logs.push({ name, fenced, uid, history, generation: 0 });
  }

  async #live(): Promise<void> {
    this.#clients.push(...populate(this, this.options, this.#prng.fork()));
    this.#nemesis.begin();
    this.#look();
    const endUs = this.scheduler.nowUs + this.options.seconds * SECOND_US;
    await this.scheduler.run(endUs, () => this.#violation !== null);
  }

  async #settle(): Promise<void> {
    this.#nemesis.heal();
    for (const node of this.nodes) if (node.process === null) node.start();
    for (const client of this.#clients) client.draining = true;
    const busy = (): SimClient[] => this.#clients.filter((client) => !client.settled);
    await this.#until(() => this.#clients.every((client) => client.settled), LIVENESS_BOUND_US, () => `${busy().map(({ name }) => name).join(', ')} did not come to rest`);
    for (const client of this.#clients) client.link.close();
    const words = this.logs.map((ref) => new LastWord(this, `last-word-${ref.name}`, this.#prng.fork(), ref));
    await this.#until(() => words.every(({ done }) => done), LIVENESS_BOUND_US, () => words.filter(({ done }) => !done).map(({ name, why }) => `${name}: ${why}`).join(', '));
    for (const word of words) word.link.close();
    await this.#until(() => this.#unequal() === '', LIVENESS_BOUND_US, () => this.#unequal());
  }

  /** Why the replicas of some log are not all there and equal yet; '' when they are. */
  #unequal(): string {
    if (this.nodes.length === 1) return '';
    const unfinished = this.catalog.unfinished();
    if (unfinished !== '') return unfinished;
    for (const { name } of this.logs) {
      const hosts = this.catalog.hosts(name);
      const last = Math.max(...hosts.map((node) => replicaOn(node, name)?.log.lastIndex ?? -1));
      for (const node of hosts) {
        const replica = replicaOn(node, name);
        if (replica === null) return `${name} is not open on ${node.name}`;
        if (replica.commitIndex !== last) return `${name} is applied up to ${replica.commitIndex} of ${last} on ${node.name}: ${groupOf(replica).refusalMessage}`;
      }
    }
    return '';
  }

  async #readAll(): Promise<void> {
    const whole = this.logs.filter((ref) => !ref.history.damaged);
    const readers = whole.map((ref) => new Fetcher(this, `last-reader-${ref.name}`, this.#prng.fork(), ref, 5000, true));
    await this.#until(() => readers.every(({ done }) => done), LIVENESS_BOUND_US, () => `${readers.filter(({ done }) => !done).map(({ name }) => name).join(', ')} could not read to the end`);
    for (const reader of readers) reader.link.close();
  }

  async #cleanRestart(): Promise<void> {
    if (this.options.readsEarly) await this.#readAll();
    const lives = this.nodes.map(({ incarnation }) => incarnation);
    for (const node of this.nodes) node.stop();
    await this.#untilUp(lives);
    if (this.options.readsEarly) await this.#readAll();
  }

  async #powerCut(): Promise<void> {
    const lives = this.nodes.map(({ incarnation }) => incarnation);
    for (const log of this.history.logs) log.powerCut();
    for (const node of this.nodes) node.crash({ mode: 'power', keep: 'none' });
    await this.#untilUp(lives);
  }

  async #untilUp(lives: readonly number[]): Promise<void> {
    const up = (): boolean => this.nodes.every((node, i) => node.node !== null && node.incarnation > lives[i]!);
    await this.#until(up, LIVENESS_BOUND_US, () => 'a node did not start again');
  }

  async #finish(): Promise<void> {
    this.history.watch.finish({ logs: this.history.logs, fates: this.history.fates, nodes: this.nodes });
  }

  async #until(done: () => boolean, boundUs: number, otherwise: () => string): Promise<void> {
    const deadlineUs = this.scheduler.nowUs + boundUs;
    await this.scheduler.run(deadlineUs, () => this.#violation !== null || done());
    if (this.#violation === null && !done()) throw new Violation('liveness', `${otherwise()} within ${boundUs / SECOND_US} s`);
  }

  #look(): void {
    this.scheduler.after(LOOK_US, () => {
      try {
        this.#looks++;
        this.history.watch.node(this.nodes[this.#looks % this.nodes.length]!);
      } catch (error) {
        this.failed(error);
      }
      this.#look();
    });
  }

  // Nodes

  #makeNode(name: string, clusterId: Buffer | null): SimNode {
    const { options } = this;
    const nodeOptions: SimNodeOptions = {
      pace: options.pace,
      mapBackend: options.mapBackend,
      diskBytes: Number.MAX_SAFE_INTEGER,
      turnMaxUs: options.turnMaxUs,
      idleMs: 5000,
      clusterId,
      config: {
        maxBatchBytes: this.batchBytesMax,
        segmentBytes: 1 << 20,
        logsMax: 20,
        memoryLimitBytes: options.memoryLimitBytes,
        trashKeepMs: 5000,
        reserveBytes: 400_000,
        syncsMax: 4,
        ballastBytes: 65_536,
        openLogsMax: options.openLogsMax,
        cacheBytes: options.cacheBytes,
        waitsMax: 16,
        scrubBytes: 32 * 1024,
      },
    };
    const node = new SimNode(name, this.scheduler, this.trace, this.#prng.fork(), nodeOptions, {
      up: (started) => this.#nodeUp(started),
      down: (gone) => this.#nemesis.wentDown(gone),
      crashed: (_node, error) => this.failed(error),
      logged: () => {},
      operation: (owner, operation) => this.#diskOperation(owner, operation),
    }, clusterId === null ? null : this.#peers);
    node.clock.driftPpm = options.driftPpm;
    return node;
  }

  get #peers(): Peers {
    return {
      attach: (process, take) => this.#messages.attach(process, take),
      transport: (from) => ({
        send: (nodeId, message) => {
          const to = this.nodes.find((node) => node.nodeId === nodeId);
          this.#watchMessage(from, message);
          if (to !== undefined) this.#messages.send(from.name, to.name, message);
        },
      }),
    };
  }

  #watchMessage(from: SimNode, message: Buffer): void {
    try {
      this.history.watch.message(from, message);
    } catch (error) {
      this.failed(error);
    }
  }

  #diskOperation(node: SimNode, operation: DiskOperation): void {
    this.#figures.operation(operation, node.node !== null);
    this.#nemesis.operation(node, operation);
    if (operation.call !== 'rename' && operation.call !== 'truncate') return;
    try {
      this.history.watch.reshapes(node, operation);
    } catch (error) {
      this.failed(error);
    }
  }

  #nodeUp(node: SimNode): void {
    try {
      this.history.watch.up(node);
    } catch (error) {
      this.failed(error);
    }
  }
}
