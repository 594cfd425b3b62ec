// Makes things go wrong, each kind at its own rate: processes die, machines lose power, freeze and
// forget, disks fail, fill up and rot, clocks jump, connections break, networks part. And sees to what
// an operator would: what died is started again, a node whose log stopped is restarted.
//
// Invariant: only faults that the design promises to survive. On a lone node bits rot where a second
// copy exists (index, one of two snapshots or marks, one raft-state) or in sealed segments, where the
// damage must be found and told.
import type { LogReplica } from '../../src/replica/log-replica.ts';
import { ErrorCode } from '../../src/wire/errors.ts';
import type { Prng } from '../support/prng.ts';
import type { DiskOperation } from '../support/sim-disk.ts';
import { groupOf, replicaOn } from './catalog.ts';
import type { Catalog, SharedLog } from './catalog.ts';
import type { Counters } from './counters.ts';
import type { Scheduler } from './core/scheduler.ts';
import { TraceKind } from './core/trace.ts';
import type { Trace } from './core/trace.ts';
import type { History } from './history/history.ts';
import type { Network } from './net/network.ts';
import type { SimNode } from './node/sim-node.ts';
import { CLUSTER_KINDS, FAULT_KINDS } from './options.ts';
import type { FaultKind, SimOptions } from './options.ts';
import { rotSomething } from './rot.ts';

const SECOND_US = 1_000_000;

export interface NemesisWorld {
  readonly options: SimOptions;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly trace: Trace;
  readonly counters: Counters;
  readonly history: History;
  readonly nodes: readonly SimNode[];
  readonly weak: readonly SimNode[];
  readonly catalog: Catalog;
  /** Names of the clients, as hosts. */
  readonly clientNames: readonly string[];
}

export class Nemesis {
  /** No new faults. */
  stopped = false;
  /** Nodes that are to go down where they next cut their log: told the number of that disk operation. */
  readonly #atCut = new Map<SimNode, (operation: number) => void>();
  readonly #world: NemesisWorld;
  readonly #prng: Prng;

  constructor(world: NemesisWorld, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
  }

  begin(): void {
    for (const kind of FAULT_KINDS) {
      const everyS = this.#world.options.faults[kind];
      if (everyS === 0 && CLUSTER_KINDS.has(kind)) continue;
      const prng = this.#prng.fork();
      if (everyS > 0) this.#next(kind, everyS, prng);
    }
    this.#watch();
  }

  /** Starts what has gone down, after a while; called by the world. */
  wentDown(node: SimNode): void {
    const { scheduler } = this.#world;
    this.#world.counters.restarts++;
    const pauseUs = this.stopped ? 10_000 : this.#prng.between(1000, this.#prng.chance(0.8) ? 300_000 : 3 * SECOND_US);
    scheduler.after(pauseUs, () => {
      if (!node.held) node.start();
    });
  }

  /** Ends all faults: what is broken is mended, what is down is started. */
  heal(): void {
    const { nodes, network, trace } = this.#world;
    this.stopped = true;
    trace.say(TraceKind.FAULT, 'all faults end');
    network.heal();
    for (const node of nodes) {
      node.resume();
      node.disk.clearFaults();
      node.disk.totalBytes = Number.MAX_SAFE_INTEGER;
      node.pace.slowness = 1;
      node.clock.correct();
      node.clock.driftPpm = 0;
    }
  }

  #next(kind: FaultKind, everyS: number, prng: Prng): void {
    this.#world.scheduler.after(prng.next(2 * everyS * SECOND_US), () => {
      if (this.stopped) return;
      this.#do(kind, prng);
      this.#next(kind, everyS, prng);
    });
  }

  #do(kind: FaultKind, prng: Prng): void {
    const { counters, scheduler, trace } = this.#world;
    const node = prng.pick(this.#world.nodes);
    const say = (text: string): void => trace.say(TraceKind.FAULT, `${node.name} ${text}`);
    switch (kind) {
      case 'kill':
        counters.crashes++;
        return this.#crashSoon(node, prng, 'process');
      case 'powerCut':
        counters.powerCuts++;
        return this.#crashSoon(node, prng, 'power');
      case 'stop':
        return node.stop();
      case 'pause':
      case 'freeze':
        counters.pauses++;
        return this.#pause(kind, this.#leaderOr(node, prng), prng);
      case 'clockJump': {
        counters.clockJumps++;
        const ms = prng.pick([1, 1, -1]) * prng.between(1, prng.pick([1000, 100_000, 2_000_000_000, 2_000_000_000])) * prng.pick([1, 1, 5]);
        say(`has its wall clock moved by ${ms} ms`);
        node.clock.jumpWall(ms);
        if (prng.chance(0.5)) scheduler.after(prng.next(10 * SECOND_US), () => node.clock.correct());
        return;
      }
      case 'slowDisk':
        counters.slowDisks++;
        node.pace.slowness = prng.pick([10, 100, 1000]);
        say(`has a disk ${node.pace.slowness} times slower`);
        return scheduler.after(prng.between(100_000, 4 * SECOND_US), () => (node.pace.slowness = 1));
      case 'diskErrors':
        return this.#diskErrors(node, prng, say);
      case 'diskFull':
        return this.#diskFull(node, prng, say);
      case 'rot': {
        const { weak, history } = this.#world;
        const rotting = weak.length > 0 ? prng.pick(weak) : node;
        const what = rotSomething(rotting, prng, history, weak.length > 0);
        if (what !== '') counters.bitRot++;
        if (what !== '') trace.say(TraceKind.FAULT, `${rotting.name} has bits rot in ${what}`);
        // What is in memory hides it until the next start.
        if (what !== '' && weak.length > 0 && prng.chance(0.3)) this.#crashSoon(rotting, prng, 'process');
        return;
      }
      case 'reset':
        return this.#world.trace.say(TraceKind.FAULT, `${node.dropConnections(prng)} connections are reset`);
      case 'partition':
      case 'clog':
        return this.#netFault(kind, this.#leaderOr(node, prng), prng);
      case 'transfer':
        return this.#transfer(prng);
      case 'move':
        return this.#move(prng);
      case 'wipe':
      case 'logGone':
        return this.#loseData(kind, prng.pick(this.#world.weak), prng);
    }
  }

  /** Sometimes it is cut off from the others meanwhile, and a little longer: it wakes up and knows of nothing. */
  #pause(kind: 'pause' | 'freeze', node: SimNode, prng: Prng): void {
    const { network, nodes, scheduler } = this.#world;
    // The others need a second or two to agree without it, and the apps to find out.
    const us = prng.chance(0.4) ? prng.between(10_000, SECOND_US) : prng.between(SECOND_US, 5 * SECOND_US);
    node.pause(kind === 'freeze');
    scheduler.after(us, () => node.resume());
    if (nodes.length === 1 || prng.chance(0.4)) return;
    const others = nodes.filter((other) => other !== node).map(({ name }) => name);
    network.partition([node.name], others, 'both');
    scheduler.after(us + prng.between(200_000, SECOND_US), () => {
      for (const other of others) {
        network.open(node.name, other);
        network.open(other, node.name);
      }
    });
  }

  /** Now, or in the middle of what comes: after so many more disk operations. */
  #crashSoon(node: SimNode, prng: Prng, mode: 'process' | 'power'): void {
    if (node.process === null) return;
    const keep = prng.pick(['none', 'all', 'random', 'random', 'random'] as const);
    const crash = (): void => {
      if (mode === 'power') for (const log of this.#world.history.logs) log.powerCut();
      node.crash({ mode, keep });
    };
    if (prng.chance(0.4)) return crash();
    const { incarnation } = node;
    const haltAt = (operation: number): void => node.haltAt(operation, () => {
      if (node.incarnation === incarnation) crash();
    });
    if (this.#world.nodes.length === 1 || prng.chance(0.7)) return haltAt(node.disk.operationCount + prng.between(1, 30));
    this.#atCut.set(node, (operation) => {
      this.#atCut.delete(node);
      if (node.incarnation === incarnation && !this.stopped) haltAt(operation + prng.between(1, 4));
    });
  }

  /** A node's disk is about to do something; called by the world. */
  operation(node: SimNode, { call, path, number }: DiskOperation): void {
    const cut = call === 'truncate' ? this.#atCut.get(node) : undefined;
    if (cut === undefined) return;
    // Of a log that is open: one that is being opened or closed only gets rid of what it never counted.
    for (const { uid, replica } of node.node?.logs.slots() ?? []) if (replica !== null && path.includes(uid)) cut(number);
  }

  #diskErrors(node: SimNode, prng: Prng, say: (text: string) => void): void {
    const { scheduler, counters } = this.#world;
    counters.diskErrors++;
    const rate = prng.pick([0.02, 0.2, 1]);
    const call = prng.pick(['sync', 'write', 'read', 'syncDirectory', 'rename', 'open', 'writeNow'] as const);
    say(`fails ${call} at a rate of ${rate}`);
    node.disk.rates = { [call]: rate };
    scheduler.after(prng.between(20_000, 2 * SECOND_US), () => (node.disk.rates = {}));
  }

  #diskFull(node: SimNode, prng: Prng, say: (text: string) => void): void {
    const { scheduler, counters, options } = this.#world;
    counters.diskFull++;
    const left = prng.pick([0, 4096, 100_000, 1_000_000]);
    say(`has a disk with ${left} bytes left`);
    node.disk.totalBytes = node.disk.usedBytes + left;
    void options;
    scheduler.after(prng.between(200_000, 6 * SECOND_US), () => (node.disk.totalBytes = Number.MAX_SAFE_INTEGER));
  }

  #netFault(kind: 'partition' | 'clog', node: SimNode, prng: Prng): void {
    const { network, counters, clientNames, nodes, scheduler, trace } = this.#world;
    const others = [...clientNames, ...nodes.filter((other) => other !== node).map((other) => other.name)];
    // A machine that is sick all over: what it was writing is still under way when the others have gone on.
    const sick = kind === 'partition' && nodes.length > 1 && prng.chance(0.4);
    // Most apps still reach it, and are told what it believes.
    const chosen = others.filter((other) => prng.chance(sick ? 0.2 : 0.5) || (sick && nodes.some(({ name }) => name === other)));
    const us = sick ? prng.between(600_000, 2 * SECOND_US) : prng.between(50_000, 5 * SECOND_US);
    counters.partitions++;
    if (kind === 'clog') {
      trace.say(TraceKind.FAULT, `${node.name} is clogged for ${chosen.length} hosts`);
      for (const other of chosen) network.clog(prng.chance(0.5) ? other : node.name, node.name === other ? '' : prng.chance(0.5) ? node.name : other, us);
      return;
    }
    const direction = sick ? 'both' : prng.pick(['both', 'both', 'toLeft', 'toRight'] as const);
    trace.say(TraceKind.FAULT, `${node.name} is cut off from ${chosen.length} hosts, ${direction}`);
    network.partition([node.name], chosen, direction);
    if (sick) node.pace.slowness = prng.pick([1000, 4000]);
    if (sick) scheduler.after(us + prng.next(SECOND_US), () => (node.pace.slowness = 1));
    scheduler.after(us, () => {
      for (const other of chosen) {
        network.open(node.name, other);
        network.open(other, node.name);
      }
    });
  }

  /** Often a node that leads: the others must go on without it, and it without them. */
  #leaderOr(node: SimNode, prng: Prng): SimNode {
    const { catalog, nodes } = this.#world;
    if (nodes.length === 1 || prng.chance(0.5)) return node;
    const leader = catalog.leader(prng.pick([...catalog.logs.values()]));
    return nodes.find(({ nodeId }) => nodeId === leader?.leaderNode) ?? node;
  }

  #transfer(prng: Prng): void {
    const { catalog, trace } = this.#world;
    const log = prng.pick([...catalog.logs.values()]);
    const leader = catalog.leader(log);
    if (leader === null) return;
    const node = this.#world.nodes.find(({ nodeId }) => nodeId === leader.leaderNode)!;
    const target = prng.pick(leader.config.config.voters).replicaId;
    const refusal = groupOf(replicaOn(node, log.name)!).transferLeadership(target);
    trace.say(TraceKind.FAULT, `${log.name}: its lead is to go to ${target}${refusal === null ? '' : `, refused: ${refusal}`}`);
  }

  /** A log leaves one node for another that never had it. */
  #move(prng: Prng): void {
    const { catalog, nodes, weak } = this.#world;
    if (catalog.unfinished() !== '') return;
    const log = prng.pick([...catalog.logs.values()]);
    const hosts = catalog.hosts(log.name);
    const others = nodes.filter((node) => !hosts.includes(node) && !log.former.has(node.name));
    if (others.length === 0) return;
    const to = prng.pick(others);
    // At most one of its disks is a weak one.
    const from = weak.includes(to) ? hosts.find((host) => weak.includes(host)) : prng.pick(hosts);
    if (from !== undefined) catalog.move(log, from, to);
  }

  /** What a disk had synced is gone: all of it, or one log. The others must be whole and enough. */
  #loseData(kind: 'wipe' | 'logGone', node: SimNode, prng: Prng): void {
    const { catalog, trace } = this.#world;
    if (node.process === null || catalog.unfinished() !== '') return;
    const held = [...catalog.logs.values()].filter((log) => catalog.hosts(log.name).includes(node));
    if (held.length === 0) return;
    const lost: readonly SharedLog[] = kind === 'wipe' ? held : [prng.pick(held)];
    node.crash({ mode: 'power', keep: 'all' });
    if (kind === 'wipe') node.wipe();
    else {
      node.disk.vanish(`logs/${lost[0]!.uid}`);
      trace.say(TraceKind.FAULT, `${node.name} has lost ${lost[0]!.name}`);
    }
    for (const log of lost) catalog.replace(log, node);
  }

  /** The operator: a log that stopped for good wants a restart. */
  #watch(): void {
    const { scheduler, nodes } = this.#world;
    scheduler.after(SECOND_US, () => {
      for (const node of nodes) if (this.#needsRestart(node) && this.#prng.chance(this.stopped ? 1 : 0.3)) node.stop();
      this.#watch();
    });
  }

  #needsRestart(node: SimNode): boolean {
    if (node.node === null || node.stopping || node.process?.awake === false) return false;
    for (const slot of node.node.logs.slots()) {
      const damaged = [...this.#world.history.logs].some((log) => log.uid === slot.uid && log.damaged);
      if (damaged) continue;
      if (slot.failure !== '') return true;
      if (slot.replica !== null && isStopped(slot.replica)) return true;
    }
    return node.node.logs.namelessCount > 0 || node.node.context.journal.failed !== null;
  }
}

/** It makes nothing durable any more until it is opened anew. */
function isStopped(replica: LogReplica): boolean {
  return replica.group.refusal === ErrorCode.LOG_STOPPED || groupOf(replica).driver.node.serving === 'stopped';
}
