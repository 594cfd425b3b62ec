// The core as one function from (node, input) to effects: for tests, traces and replays.
//
// A driver that cares about speed calls the methods of RaftNode and flushes once per turn; this is
// the same thing, one input at a time. `result` is what the method returned.
import { unreachable } from '../wire/assert.ts';
import type { ConfigChange } from './config.ts';
import type { Effects } from './effects.ts';
import type { RaftNode } from './node.ts';
import type { Index, LogDescription, Message, NodeId, ReplicaId, Serving, Term } from './types.ts';

export type Input =
  | { readonly kind: 'tick'; readonly elapsedMs: number }
  | { readonly kind: 'message'; readonly message: Message }
  | { readonly kind: 'propose'; readonly count: number }
  | { readonly kind: 'hardStatePersisted'; readonly sequence: number }
  | { readonly kind: 'persisted'; readonly index: Index; readonly term: Term; readonly generation: number }
  | { readonly kind: 'applied'; readonly index: Index }
  | { readonly kind: 'read' }
  | { readonly kind: 'waitingReaders'; readonly waiting: boolean }
  | { readonly kind: 'changeConfig'; readonly basedOn: Index; readonly change: ConfigChange }
  | { readonly kind: 'transfer'; readonly target: ReplicaId }
  | { readonly kind: 'campaign' }
  | { readonly kind: 'snapshotInstalled'; readonly installed: LogDescription }
  | { readonly kind: 'tailCut'; readonly afterIndex: Index }
  | { readonly kind: 'logTrimmed'; readonly firstIndex: Index }
  | { readonly kind: 'catchUpDone'; readonly replicaId: ReplicaId; readonly index: Index }
  | { readonly kind: 'catchUpFailed'; readonly replicaId: ReplicaId }
  | { readonly kind: 'peerReset'; readonly nodeId: NodeId }
  | { readonly kind: 'peerSilent'; readonly nodeId: NodeId; readonly elapsedMs: number }
  | { readonly kind: 'serving'; readonly serving: Serving };

export interface Step {
  readonly effects: Effects;
  readonly result: number | boolean | string | null;
}

export function step(node: RaftNode, input: Input): Step {
  const result = give(node, input);
  return { effects: node.flush(), result: result ?? null };
}

function give(node: RaftNode, input: Input): number | boolean | string | null | void {
  switch (input.kind) {
    case 'tick':
      return node.tick(input.elapsedMs);
    case 'message':
      return node.receive(input.message);
    case 'propose':
      return node.propose(input.count);
    case 'hardStatePersisted':
      return node.hardStatePersisted(input.sequence);
    case 'persisted':
      return node.persisted(input.index, input.term, input.generation);
    case 'applied':
      return node.applied(input.index);
    case 'read':
      return node.requestRead();
    case 'waitingReaders':
      return node.setWaitingReaders(input.waiting);
    case 'changeConfig':
      return node.changeConfig(input.basedOn, input.change);
    case 'transfer':
      return node.transferLeadership(input.target);
    case 'campaign':
      return node.campaign();
    default:
      return giveEvent(node, input);
  }
}

type Event = Extract<
  Input,
  {
    kind:
      | 'snapshotInstalled'
      | 'tailCut'
      | 'logTrimmed'
      | 'catchUpDone'
      | 'catchUpFailed'
      | 'peerReset'
      | 'peerSilent'
      | 'serving';
  }
>;

function giveEvent(node: RaftNode, input: Event): void {
  switch (input.kind) {
    case 'snapshotInstalled':
      return node.snapshotInstalled(input.installed);
    case 'tailCut':
      return node.tailCut(input.afterIndex);
    case 'logTrimmed':
      return node.logTrimmed(input.firstIndex);
    case 'catchUpDone':
      return node.catchUpDone(input.replicaId, input.index);
    case 'catchUpFailed':
      return node.catchUpFailed(input.replicaId);
    case 'peerReset':
      return node.peerReset(input.nodeId);
    case 'peerSilent':
      return node.peerSilent(input.nodeId, input.elapsedMs);
    case 'serving':
      return node.setServing(input.serving);
    default:
      return unreachable(input);
  }
}
