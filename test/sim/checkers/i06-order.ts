// I6: appliedIndex ≤ commitIndex ≤ lastIndex, on every open log, whenever somebody looks; and none of
// the first two goes down while a log is open.
import { demand } from '../core/failure.ts';
import type { LogReplica } from '../../../src/replica/log-replica.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

export class Order implements Checker {
  readonly rule = 'I6';
  readonly #applied = new WeakMap<LogReplica, number>();

  node(sim: SimNode): void {
    if (sim.node === null) return;
    for (const slot of sim.node.logs.slots()) {
      const { replica } = slot;
      if (replica === null) continue;
      const { group, log, state } = replica;
      const where = (): string => `${slot.name} on ${sim.name}`;
      const stopped = group.refusal !== 0;
      demand(state.appliedIndex <= group.commitIndex || stopped, this.rule, () => `${where()}: applied ${state.appliedIndex}, committed ${group.commitIndex}`);
      demand(group.commitIndex <= group.lastIndex || stopped, this.rule, () => `${where()}: committed ${group.commitIndex}, last ${group.lastIndex}`);
      demand(log.durableIndex <= log.lastIndex, this.rule, () => `${where()}: durable ${log.durableIndex}, last ${log.lastIndex}`);
      const before = this.#applied.get(replica) ?? 0;
      demand(state.appliedIndex >= before, this.rule, () => `${where()}: applied ${before}, then ${state.appliedIndex}`);
      this.#applied.set(replica, state.appliedIndex);
    }
  }
}
