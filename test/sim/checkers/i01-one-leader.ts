// I1: at most one replica leads a log in a term.
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

export class OneLeader implements Checker {
  readonly rule = 'I1';
  readonly #leaders = new Map<string, string>();

  node(sim: SimNode): void {
    if (sim.node === null) return;
    for (const slot of sim.node.logs.slots()) {
      if (slot.replica === null || slot.replica.group.refusal !== 0) continue;
      const key = `${slot.uid} ${slot.replica.group.term}`;
      const leader = this.#leaders.get(key);
      // After a restart the same node may lead in no term that it led in before: that is I2's to see.
      demand(leader === undefined || leader === sim.name, this.rule, () => `${slot.name}: both ${leader} and ${sim.name} lead in term ${slot.replica!.group.term}`);
      this.#leaders.set(key, sim.name);
    }
  }
}
