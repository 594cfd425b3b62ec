// Replicas that have applied the same entries have the same state: producers, positions, fence, start and
// end of the log. Compared now and then while the world lives, and at its end.
import { createHash } from 'node:crypto';
import { encodeSnapshot } from '../../../src/replica/snapshot.ts';
import { demand } from '../core/failure.ts';
import type { Checker, EndSeen } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

/** Looks at a node between two comparisons. */
const LOOKS = 25;

export class EqualStates implements Checker {
  readonly rule = 'states';
  /** By log and applied index: the digest, and who had it. */
  readonly #known = new Map<string, { digest: string; node: string }>();
  #looks = 0;

  node(sim: SimNode): void {
    if (++this.#looks % LOOKS === 0) this.#compare(sim);
  }

  finish({ nodes }: EndSeen): void {
    for (const node of nodes) this.#compare(node);
  }

  #compare(sim: SimNode): void {
    for (const { replica, uid, name } of sim.node?.logs.slots() ?? []) {
      if (replica === null || replica.group.alone) continue;
      const { state } = replica;
      // It is being encoded already, and only one at a time can.
      if (state.producers.isCaptured) continue;
      const key = `${uid} ${state.appliedIndex}`;
      const digest = createHash('md5').update(encodeSnapshot(state)).digest('hex');
      const known = this.#known.get(key);
      if (known === undefined) this.#known.set(key, { digest, node: sim.name });
      else demand(known.digest === digest, this.rule, () => `${name} has another state at entry ${state.appliedIndex} on ${sim.name} than on ${known.node}`);
    }
  }
}
