// Which logs a world of several nodes has and who holds a replica of each: what the cluster's catalog
// will know, and what it does to nodes: makes them join a log, sends a group's leader one change at a time.
//
// Invariant: a replica_id is given out once; a node's replica is only made anew under another one.
import { settingsFromWish } from '../../src/replica/log-settings.ts';
import type { GroupMember, LogDescriptor, LogSettings } from '../../src/replica/log-settings.ts';
import type { LogReplica } from '../../src/replica/log-replica.ts';
import type { RaftGroup } from '../../src/replica/raft-group.ts';
import type { Prng } from '../support/prng.ts';
import type { LogPlan } from './options.ts';
import { WALL_START_MS } from './node/sim-clock.ts';
import type { SimNode } from './node/sim-node.ts';

export interface SharedLog {
  readonly name: string;
  readonly uid: string;
  readonly settings: LogSettings;
  readonly founders: readonly GroupMember[];
  /** Replica ids by node name: the newest one of each. */
  readonly replicas: Map<string, number>;
  nextReplicaId: number;
}

export class Catalog {
  readonly logs = new Map<string, SharedLog>();
  readonly #nodes: readonly SimNode[];
  readonly #prng: Prng;

  constructor(nodes: readonly SimNode[], prng: Prng) {
    this.#nodes = nodes;
    this.#prng = prng;
  }

  /** Founds a log on these nodes, which are up. Rejects when one of them cannot make it. */
  async found(plan: LogPlan, hosts: readonly SimNode[]): Promise<SharedLog> {
    const { name, durability, intervalMs, retainBytes, retainMs } = plan;
    const wish = { durability, replication: hosts.length, intervalMs, retainBytes, retainMs, segmentBytes: 1 << 20, compressions: 0 };
    const settings = settingsFromWish(wish, 1 << 20) as LogSettings;
    const founders = hosts.map(({ nodeId }, i) => ({ replicaId: i + 1, nodeId }));
    const replicas = new Map(hosts.map((node, i) => [node.name, i + 1]));
    const log = { name, uid: this.#prng.bytes(16).toString('hex'), settings, founders, replicas, nextReplicaId: hosts.length + 1 };
    this.logs.set(name, log);
    await Promise.all(hosts.map((node) => node.node!.logs.join(this.#descriptor(log, node, founders))));
    return log;
  }

  #descriptor({ uid, name, settings, replicas }: SharedLog, node: SimNode, voters: readonly GroupMember[]): LogDescriptor {
    return { uid, name, createdMs: WALL_START_MS, replicaId: replicas.get(node.name)!, voters, settings };
  }

  /** The nodes that hold, or held, a replica of the log. */
  hosts(name: string): readonly SimNode[] {
    const { replicas } = this.logs.get(name)!;
    return this.#nodes.filter((node) => replicas.has(node.name));
  }

  /** Whom a node believes to lead the log, as the hint in its answers would say. */
  hint(node: SimNode, name: string): SimNode | null {
    const replica = replicaOn(node, name);
    if (replica === null) return null;
    const { leader, config } = groupOf(replica).driver.node;
    const { voters, learners } = config.config;
    const member = [...voters, ...learners].find(({ replicaId }) => replicaId === leader);
    return member === undefined ? null : (this.#nodes.find(({ nodeId }) => nodeId === member.nodeId) ?? null);
  }
}

export function replicaOn(node: SimNode, name: string): LogReplica | null {
  return node.node?.logs.find(name)?.replica ?? null;
}

/** What one replica is doing, for the trace of a failure. */
export function describeReplica(replica: LogReplica): string {
  const { log, group, state } = replica;
  const { node, accepting } = groupOf(replica).driver;
  return [
    `${node.role} of term ${node.term}, leader ${node.leader}, ${node.serving}${accepting ? ', accepting' : ''}, refusal ${group.refusal}`,
    `applied ${state.appliedIndex}, reported ${node.reportedIndex}, committed ${node.commitIndex}, durable ${node.durableIndex}, last ${node.lastIndex}`,
    `log ${log.firstIndex} to ${log.lastIndex}, durable ${log.durableIndex}, state ${log.state}, generation ${log.generation}`,
    ...node.peers.map((peer) => `peer ${peer.replicaId} ${peer.state} match ${peer.match} next ${peer.next} in flight ${peer.inflightCount}${peer.alive ? '' : ' silent'}`),
  ].join('; ');
}

export function groupOf(replica: LogReplica): RaftGroup {
  return replica.group as RaftGroup;
}
