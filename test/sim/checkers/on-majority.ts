// I7, before anything is lost: what a leader takes for committed is on the disks of a majority of the voters.
// Of the others what they acked in its term counts (that it was on their disks I3 watches), of itself its disk.
import type { RaftNode } from '../../../src/raft/node.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { groupOf } from '../catalog.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import type { DurableLogs } from './durable-logs.ts';
import { isLeaders, kindOf, matchOf, senderOf, termOf, uidOf } from './raft-frame.ts';

interface NewestTerm {
  readonly term: number;
  /** What was checked. */
  commitIndex: number;
  /** By replica: what it acked in this term. */
  readonly acked: Map<number, number>;
}

export class OnMajority implements Checker {
  readonly rule = 'I7';
  readonly #disks: DurableLogs;
  /** By log. */
  readonly #terms = new Map<string, NewestTerm>();

  constructor(disks: DurableLogs) {
    this.#disks = disks;
  }

  message(from: SimNode, frame: Buffer): void {
    const kind = kindOf(frame);
    const isAck = kind === MessageKind.AppendAck;
    if (!isAck && !isLeaders(kind)) return;
    const newest = this.#newest(uidOf(frame), termOf(frame));
    if (newest === null) return;
    if (isAck) newest.acked.set(senderOf(frame), Math.max(matchOf(frame), newest.acked.get(senderOf(frame)) ?? 0));
    else {
      const core = coreOf(from, uidOf(frame));
      if (core !== null && core.role === 'leader' && core.term === newest.term && core.commitIndex > newest.commitIndex) this.#check(from, uidOf(frame), core, newest);
    }
  }

  /** What a replica has acked in the newest term of a log. */
  ackedBy(uid: string, replicaId: number): number {
    return this.#terms.get(uid)?.acked.get(replicaId) ?? 0;
  }

  /** Null: the term is over. */
  #newest(uid: string, term: number): NewestTerm | null {
    const known = this.#terms.get(uid);
    if (known !== undefined && known.term >= term) return known.term === term ? known : null;
    const newest = { term, commitIndex: 0, acked: new Map<number, number>() };
    this.#terms.set(uid, newest);
    return newest;
  }

  #check(from: SimNode, uid: string, core: RaftNode, newest: NewestTerm): void {
    const { commitIndex, config } = core;
    // It may have been committed by the majority of the configuration before.
    if (config.index > commitIndex || newest.commitIndex === 0) {
      // And what it began with by an earlier leader.
      newest.commitIndex = commitIndex;
      return;
    }
    newest.commitIndex = commitIndex;
    for (const path of from.rotted) if (path.startsWith(`logs/${uid}/`)) return;
    const { voters } = config.config;
    let copies = 0;
    for (const { replicaId, nodeId } of voters) {
      const reached = nodeId === from.nodeId ? this.#disks.reach(from, uid, commitIndex) : (newest.acked.get(replicaId) ?? 0);
      if (reached >= commitIndex) copies++;
    }
    demand(2 * copies > voters.length, this.rule, () => `${from.name} takes entry ${commitIndex} of ${uid} for committed in term ${newest.term}, and ${copies} of ${voters.length} voters have it on disk`);
  }
}

/** The core of a node's replica of a log. */
export function coreOf(sim: SimNode, uid: string): RaftNode | null {
  for (const slot of sim.node?.logs.slots() ?? []) {
    if (slot.uid === uid && slot.replica !== null) return groupOf(slot.replica).driver.node;
  }
  return null;
}
