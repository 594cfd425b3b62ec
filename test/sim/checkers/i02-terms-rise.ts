// I2: terms never go down on a replica, across restarts; and every start leads in a higher one.
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

interface Known {
  term: number;
  incarnation: number;
}

export class TermsRise implements Checker {
  readonly rule = 'I2';
  readonly #known = new Map<string, Known>();

  node(sim: SimNode): void {
    if (sim.node === null) return;
    for (const slot of sim.node.logs.slots()) {
      const { replica } = slot;
      if (replica === null || replica.group.refusal !== 0) continue;
      const { term } = replica.group;
      const key = `${sim.name} ${slot.uid}`;
      const known = this.#known.get(key);
      if (known !== undefined) {
        demand(term >= known.term, this.rule, () => `${slot.name} on ${sim.name} goes from term ${known.term} back to ${term}`);
        const same = known.incarnation !== sim.incarnation && term === known.term;
        demand(!same, this.rule, () => `${slot.name} on ${sim.name} leads in term ${term} again after a restart`);
        known.term = term;
        known.incarnation = sim.incarnation;
      } else this.#known.set(key, { term, incarnation: sim.incarnation });
    }
  }
}
