// I1: at most one replica leads a log in a term: neither by what a node believes, nor by what it sends.
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { isLeaders, kindOf, termOf, uidOf } from './raft-frame.ts';

export class OneLeader implements Checker {
  readonly rule = 'I1';
  readonly #leaders = new Map<string, string>();

  node(sim: SimNode): void {
    if (sim.node === null) return;
    for (const slot of sim.node.logs.slots()) {
      if (slot.replica === null || slot.replica.group.refusal !== 0) continue;
      // After a restart the same node may lead in no term that it led in before: that is I2's to see.
      this.#leads(slot.uid, slot.replica.group.term, sim.name);
    }
  }

  message(from: SimNode, frame: Buffer): void {
    if (isLeaders(kindOf(frame))) this.#leads(uidOf(frame), termOf(frame), from.name);
  }

  #leads(uid: string, term: number, name: string): void {
    const key = `${uid} ${term}`;
    const leader = this.#leaders.get(key);
    if (leader === undefined) this.#leaders.set(key, name);
    else demand(leader === name, this.rule, () => `${uid}: both ${leader} and ${name} lead in term ${term}`);
  }
}
