// Configurations and the arithmetic of changing them by one replica at a time.
//
// Two configurations that differ by at most one voter have overlapping majorities (thesis §4.1),
// so every change here adds, promotes, demotes or removes exactly one replica. When a change may be
// begun is not decided here (config-change.ts), nor which one counts (config-log.ts).
import { assert, unreachable } from '../wire/assert.ts';
import type { Index, NodeId, ReplicaId } from './types.ts';

export interface Member {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
}

/** Both lists ascend by replica id and share no replica and no node. */
export interface Configuration {
  readonly voters: readonly Member[];
  readonly learners: readonly Member[];
}

/** A configuration and the log entry that holds it; index 0 is the one a group was founded with. */
export interface ConfigEntry {
  readonly index: Index;
  readonly config: Configuration;
}

export type ConfigChange =
  | { readonly kind: 'addLearner'; readonly member: Member }
  | { readonly kind: 'promote'; readonly replicaId: ReplicaId }
  | { readonly kind: 'demote'; readonly replicaId: ReplicaId }
  | { readonly kind: 'remove'; readonly replicaId: ReplicaId };

/** Why a change makes no sense on this configuration, whoever leads. */
export type ChangeError =
  | 'already_member'
  | 'node_has_replica'
  | 'not_member'
  | 'not_learner'
  | 'not_voter'
  | 'last_voter'
  | 'voters_max';

/** What a replica knows before it has seen any configuration: it is in none and leads nobody. */
export const EMPTY_CONFIG: Configuration = { voters: [], learners: [] };

export function isVoter(config: Configuration, replicaId: ReplicaId): boolean {
  return find(config.voters, replicaId) !== null;
}

export function isLearner(config: Configuration, replicaId: ReplicaId): boolean {
  return find(config.learners, replicaId) !== null;
}

export function memberOf(config: Configuration, replicaId: ReplicaId): Member | null {
  return find(config.voters, replicaId) ?? find(config.learners, replicaId);
}

/** True when this replica alone is the majority: it needs nobody to lead or to commit. */
export function isSoleVoter(config: Configuration, replicaId: ReplicaId): boolean {
  return config.voters.length === 1 && config.voters[0]!.replicaId === replicaId;
}

/** The configuration after `change`, or why there is none. Never touches its arguments. */
export function applyChange(
  config: Configuration,
  change: ConfigChange,
  votersMax: number,
): Configuration | ChangeError {
  switch (change.kind) {
    case 'addLearner':
      return addLearner(config, change.member);
    case 'promote':
      return promote(config, change.replicaId, votersMax);
    case 'demote':
      return demote(config, change.replicaId);
    case 'remove':
      return remove(config, change.replicaId);
    default:
      return unreachable(change);
  }
}

function addLearner(config: Configuration, member: Member): Configuration | ChangeError {
  assert(member.replicaId > 0, 'replica ids start at 1');
  if (memberOf(config, member.replicaId) !== null) return 'already_member';
  const everybody = [...config.voters, ...config.learners];
  // Two replicas of one group on one node would count one machine's death twice.
  if (everybody.some((other) => other.nodeId === member.nodeId)) return 'node_has_replica';
  return checked({ voters: config.voters, learners: insert(config.learners, member) });
}

function promote(config: Configuration, replicaId: ReplicaId, votersMax: number): Configuration | ChangeError {
  const member = find(config.learners, replicaId);
  if (member === null) return isVoter(config, replicaId) ? 'not_learner' : 'not_member';
  if (config.voters.length >= votersMax) return 'voters_max';
  return checked({ voters: insert(config.voters, member), learners: without(config.learners, replicaId) });
}

function demote(config: Configuration, replicaId: ReplicaId): Configuration | ChangeError {
  const member = find(config.voters, replicaId);
  if (member === null) return isLearner(config, replicaId) ? 'not_voter' : 'not_member';
  if (config.voters.length === 1) return 'last_voter';
  return checked({ voters: without(config.voters, replicaId), learners: insert(config.learners, member) });
}

function remove(config: Configuration, replicaId: ReplicaId): Configuration | ChangeError {
  if (isLearner(config, replicaId)) {
    return checked({ voters: config.voters, learners: without(config.learners, replicaId) });
  }
  if (!isVoter(config, replicaId)) return 'not_member';
  if (config.voters.length === 1) return 'last_voter';
  return checked({ voters: without(config.voters, replicaId), learners: config.learners });
}

/** Asserts the shape that the rest of the core relies on; also for configurations read from a log. */
export function checked(config: Configuration): Configuration {
  const nodes = new Set<NodeId>();
  const replicas = new Set<ReplicaId>();
  for (const list of [config.voters, config.learners]) {
    for (let i = 0; i < list.length; i++) {
      assert(i === 0 || list[i - 1]!.replicaId < list[i]!.replicaId, 'members ascend by replica id');
      assert(list[i]!.replicaId > 0, 'replica ids start at 1');
      assert(!nodes.has(list[i]!.nodeId), 'one replica per node');
      assert(!replicas.has(list[i]!.replicaId), 'a replica is voter or learner, not both');
      nodes.add(list[i]!.nodeId);
      replicas.add(list[i]!.replicaId);
    }
  }
  return config;
}

function find(list: readonly Member[], replicaId: ReplicaId): Member | null {
  for (let i = 0; i < list.length; i++) if (list[i]!.replicaId === replicaId) return list[i]!;
  return null;
}

function insert(list: readonly Member[], member: Member): readonly Member[] {
  return [...list, member].sort((a, b) => a.replicaId - b.replicaId);
}

function without(list: readonly Member[], replicaId: ReplicaId): readonly Member[] {
  return list.filter((member) => member.replicaId !== replicaId);
}
