// Which logs a world of several nodes has and who is to hold a replica of each: what the cluster's catalog
// will know, and what it does: makes nodes join a log, and sends a group's leader one change at a time until
// its voters are those that are wished for.
//
// Invariants: a replica_id is given out once; a change is sent with the index of the configuration that it
// was computed from; a replica's files are deleted only when a committed configuration has it no more.
import type { ConfigChange } from '../../src/raft/config.ts';
import { memberOf } from '../../src/raft/config.ts';
import { settingsFromWish } from '../../src/replica/log-settings.ts';
import type { GroupMember, LogDescriptor, LogSettings } from '../../src/replica/log-settings.ts';
import type { LogReplica } from '../../src/replica/log-replica.ts';
import type { LogSlot } from '../../src/replica/log-slot.ts';
import type { RaftGroup } from '../../src/replica/raft-group.ts';
import type { RaftNode } from '../../src/raft/node.ts';
import { mut } from '../../src/wire/mut.ts';
import type { Prng } from '../support/prng.ts';
import type { Scheduler } from './core/scheduler.ts';
import { TraceKind } from './core/trace.ts';
import type { Trace } from './core/trace.ts';
import type { LogPlan } from './options.ts';
import { WALL_START_MS } from './node/sim-clock.ts';
import type { SimNode } from './node/sim-node.ts';

/** Between two looks at what there is and what should be; it differs from world to world. */
const STEPS_US: readonly number[] = [20_000, 200_000];
/** A call into a node is given up after so long: its process may have ended in it. */
const CALL_MAX_US = 3_000_000;

export interface SharedLog {
  readonly name: string;
  readonly uid: string;
  readonly settings: LogSettings;
  /** Who is to vote: replica ids by node name. */
  readonly wished: Map<string, number>;
  /** Nodes that have, or had, a replica which is not wished for any more. */
  readonly former: Set<string>;
  nextReplicaId: number;
  /** Nothing more is asked of the log before this time, or before what was asked is answered. */
  busyUntilUs: number;
}

interface CatalogWorld {
  readonly nodes: readonly SimNode[];
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  failed(error: unknown): void;
}

export class Catalog {
  readonly logs = new Map<string, SharedLog>();
  readonly #world: CatalogWorld;
  readonly #prng: Prng;
  readonly #stepUs: number;
  /** How often it asks for the next change too early: before the last one is answered, before a learner is ready. */
  readonly #hasteChance: number;

  constructor(world: CatalogWorld, prng: Prng) {
    this.#world = world;
    this.#prng = prng;
    this.#stepUs = prng.pick(STEPS_US);
    this.#hasteChance = prng.pick([0, 0.3]);
  }

  /** Founds a log on these nodes, which are up. Rejects when one of them cannot make it. */
  async found(plan: LogPlan, hosts: readonly SimNode[]): Promise<void> {
    const { name, durability, intervalMs, retainBytes, retainMs } = plan;
    const wish = { durability, replication: hosts.length, intervalMs, retainBytes, retainMs, segmentBytes: 1 << 20, compressions: 0 };
    const settings = settingsFromWish(wish, 1 << 20) as LogSettings;
    const founders = hosts.map(({ nodeId }, i) => ({ replicaId: i + 1, nodeId }));
    const wished = new Map(hosts.map((node, i) => [node.name, i + 1]));
    const uid = this.#prng.bytes(16).toString('hex');
    const log: SharedLog = { name, uid, settings, wished, former: new Set(), nextReplicaId: hosts.length + 1, busyUntilUs: 0 };
    this.logs.set(name, log);
    await Promise.all(hosts.map((node) => node.node!.logs.join(this.#descriptor(log, node, founders))));
  }

  #descriptor({ uid, name, settings, wished }: SharedLog, node: SimNode, voters: readonly GroupMember[]): LogDescriptor {
    return { uid, name, createdMs: WALL_START_MS, replicaId: wished.get(node.name)!, voters, settings };
  }

  /** Looks after all logs from now on. */
  begin(): void {
    this.#world.scheduler.after(this.#stepUs, () => {
      for (const log of this.logs.values()) this.#step(log);
      this.begin();
    });
  }

  // What is wished

  /** The node's replica of the log is lost: it gets another one, under another id. */
  replace(log: SharedLog, node: SimNode): void {
    if (mut('wiped-node-keeps-its-identity')) return;
    log.wished.set(node.name, log.nextReplicaId++);
    this.#say(`${log.name} on ${node.name} is to be replica ${log.wished.get(node.name)}`);
  }

  /** The log is to leave one node for another. */
  move(log: SharedLog, from: SimNode, to: SimNode): void {
    log.wished.delete(from.name);
    log.former.add(from.name);
    this.#say(`${log.name} is to leave ${from.name}`);
    this.replace(log, to);
  }

  /** The nodes that are to hold a replica of the log. */
  hosts(name: string): readonly SimNode[] {
    const { wished } = this.logs.get(name)!;
    return this.#world.nodes.filter((node) => wished.has(node.name));
  }

  /** Why the voters of some log are not those wished for, '' when all are. */
  unfinished(): string {
    for (const log of this.logs.values()) {
      const leader = this.leader(log);
      if (leader === null) return `nobody leads ${log.name}`;
      const { voters, learners } = leader.config.config;
      const wished = [...log.wished.values()].sort((a, b) => a - b);
      const found = voters.map(({ replicaId }) => replicaId);
      if (learners.length > 0 || found.join() !== wished.join()) return `the voters of ${log.name} are ${found.join()}, not ${wished.join()}`;
      if (!leader.configCommitted) return `the configuration of ${log.name} is not committed`;
    }
    return '';
  }

  /** The core of the replica that leads a log, as far as can be seen from outside. */
  leader(log: SharedLog): RaftNode | null {
    let newest: RaftNode | null = null;
    for (const node of this.#world.nodes) {
      const replica = replicaOn(node, log.name);
      if (replica === null || replica.group.refusal !== 0 || node.process?.awake !== true) continue;
      const core = groupOf(replica).driver.node;
      if (newest === null || core.term > newest.term) newest = core;
    }
    return newest;
  }

  /** Whom a node believes to lead the log, as the hint in its answers would say. */
  hint(node: SimNode, name: string): SimNode | null {
    const replica = replicaOn(node, name);
    if (replica === null) return null;
    const { leaderNode } = groupOf(replica).driver.node;
    return this.#world.nodes.find(({ nodeId }) => nodeId === leaderNode) ?? null;
  }

  // Steps towards it

  #step(log: SharedLog): void {
    if (this.#world.scheduler.nowUs < log.busyUntilUs) return;
    this.#replaceLost(log);
    if (this.#joinOne(log)) return;
    const leader = this.leader(log);
    if (leader === null) return;
    const change = this.#nextChange(log, leader);
    if (change !== null) this.#change(log, leader, change);
    else this.#forgetOne(log, leader);
  }

  /** A replica that has forgotten what it had promised says so, and comes back under another id. */
  #replaceLost(log: SharedLog): void {
    for (const node of this.hosts(log.name)) {
      const replica = replicaOn(node, log.name);
      const lost = replica !== null && groupOf(replica).driver.node.serving === 'lost';
      if (lost && replica.descriptor.replicaId === log.wished.get(node.name)) this.replace(log, node);
    }
  }

  /** Makes a replica where one is wished for and there is none. */
  #joinOne(log: SharedLog): boolean {
    for (const node of this.hosts(log.name)) {
      if (node.node === null || node.stopping || node.process?.awake !== true) continue;
      const slot = node.node.logs.find(log.name);
      if (slot !== null && (slot.uid !== log.uid || slot.descriptor.replicaId === log.wished.get(node.name))) continue;
      // A replica that may have forgotten promises makes room for the one that takes its place.
      if (slot === null) this.#call(log, `${node.name} joins ${log.name}`, node.node.logs.join(this.#descriptor(log, node, [])));
      else this.#call(log, `${node.name} gives up its lost replica of ${log.name}`, node.node.logs.delete(slot));
      return true;
    }
    return false;
  }

  #nextChange(log: SharedLog, leader: RaftNode): ConfigChange | null {
    const { voters, learners } = leader.config.config;
    const wished = new Set(log.wished.values());
    const members = [...voters, ...learners];
    const stale = members.filter(({ replicaId }) => !wished.has(replicaId));
    const hostIds = new Set(this.hosts(log.name).map(({ nodeId }) => nodeId));
    // Of a node that has a new replica, or a new identity, the old one goes first.
    const lost = stale.find(({ nodeId }) => hostIds.has(nodeId) || !this.#world.nodes.some((node) => node.nodeId === nodeId));
    if (lost !== undefined) return { kind: 'remove', replicaId: lost.replicaId };
    const missing = this.hosts(log.name).find((node) => this.#hasReplica(log, node) && memberOf(leader.config.config, log.wished.get(node.name)!) === null);
    if (missing !== undefined) return { kind: 'addLearner', member: { replicaId: log.wished.get(missing.name)!, nodeId: missing.nodeId } };
    const learner = learners.find(({ replicaId }) => wished.has(replicaId));
    if (learner !== undefined) {
      const ready = leader.peers.some(({ replicaId, caughtUp }) => replicaId === learner.replicaId && caughtUp);
      return ready || this.#prng.chance(this.#hasteChance) ? { kind: 'promote', replicaId: learner.replicaId } : null;
    }
    return stale.length === 0 ? null : { kind: 'remove', replicaId: stale[0]!.replicaId };
  }

  #hasReplica(log: SharedLog, node: SimNode): boolean {
    return node.node?.logs.find(log.name)?.descriptor.replicaId === log.wished.get(node.name);
  }

  #change(log: SharedLog, leader: RaftNode, change: ConfigChange): void {
    const group = this.#groupOf(log, leader);
    if (group === null) return;
    const what = change.kind === 'addLearner' ? `add learner ${change.member.replicaId}` : `${change.kind} ${change.replicaId}`;
    this.#call(log, `${log.name}: ${what}`, group.changeConfig(leader.config.index, change));
    if (this.#prng.chance(this.#hasteChance)) log.busyUntilUs = 0;
  }

  #groupOf(log: SharedLog, leader: RaftNode): RaftGroup | null {
    for (const node of this.#world.nodes) {
      const replica = replicaOn(node, log.name);
      if (replica !== null && groupOf(replica).driver.node === leader) return groupOf(replica);
    }
    return null;
  }

  /** Deletes the files of a replica that a committed configuration has no more. */
  #forgetOne(log: SharedLog, leader: RaftNode): void {
    if (!leader.configCommitted) return;
    for (const name of log.former) {
      const node = this.#world.nodes.find((other) => other.name === name)!;
      if (node.node === null || node.stopping || node.process?.awake !== true) continue;
      const slot: LogSlot | null = node.node.logs.find(log.name);
      if (slot === null) log.former.delete(name);
      else if (memberOf(leader.config.config, slot.descriptor.replicaId) === null) {
        return this.#call(log, `${name} deletes its replica of ${log.name}`, node.node.logs.delete(slot));
      }
    }
  }

  /** Nothing else is asked of the log until this is answered, or was given up. */
  #call(log: SharedLog, what: string, answer: Promise<unknown>): void {
    const { scheduler } = this.#world;
    const untilUs = scheduler.nowUs + CALL_MAX_US;
    log.busyUntilUs = untilUs;
    const ended = (how: string): void => {
      if (log.busyUntilUs === untilUs) log.busyUntilUs = 0;
      this.#say(`${what}: ${how}`);
    };
    answer.then(
      (result) => ended(typeof result === 'number' || typeof result === 'string' ? String(result) : 'done'),
      (error: unknown) => ended((error as Error).message),
    );
  }

  #say(text: string): void {
    this.#world.trace.say(TraceKind.NODE, text);
  }
}

export function replicaOn(node: SimNode, name: string): LogReplica | null {
  return node.node?.logs.find(name)?.replica ?? null;
}

/** What one replica is doing, for the trace of a failure. */
export function describeReplica(replica: LogReplica): string {
  const { log, group, state, descriptor } = replica;
  const { node, accepting } = groupOf(replica).driver;
  const { voters, learners } = node.config.config;
  return [
    `replica ${descriptor.replicaId}, ${node.role} of term ${node.term}, leader ${node.leader}, ${node.serving}${accepting ? ', accepting' : ''}, refusal ${group.refusal}`,
    `applied ${state.appliedIndex}, reported ${node.reportedIndex}, committed ${node.commitIndex}, durable ${node.durableIndex}, last ${node.lastIndex}`,
    `log ${log.firstIndex} to ${log.lastIndex}, durable ${log.durableIndex}, state ${log.state}, generation ${log.generation}`,
    `voters ${voters.map(({ replicaId }) => replicaId).join()} learners ${learners.map(({ replicaId }) => replicaId).join()} at ${node.config.index}`,
    ...node.peers.map((peer) => `peer ${peer.replicaId} ${peer.state} match ${peer.match} next ${peer.next} in flight ${peer.inflightCount}${peer.alive ? '' : ' silent'}`),
  ].join('; ');
}

export function groupOf(replica: LogReplica): RaftGroup {
  return replica.group as RaftGroup;
}
