// Counts what nodes go through, by looking at them as the checkers do: terms, rolls, truncations,
// snapshots. It judges nothing.
import type { DiskOperation } from '../support/sim-disk.ts';
import { groupOf } from './catalog.ts';
import type { Counters } from './counters.ts';
import type { Checker } from './history/watch.ts';
import type { SimNode } from './node/sim-node.ts';

export class Figures implements Checker {
  readonly rule = 'figures';
  readonly #counters: Counters;
  /** The last value of each figure, by node life and log. */
  readonly #last = new Map<string, number>();

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  node(sim: SimNode): void {
    const { node } = sim;
    if (node === null) return;
    const life = `${sim.name} ${sim.incarnation}`;
    const counters = this.#counters;
    counters.snapshotWrites += this.#risen(`${life} snapshots`, node.counters.snapshotsWritten);
    counters.snapshotInstalls += this.#risen(`${life} installs`, node.counters.snapshotsInstalled);
    counters.repairs += this.#risen(`${life} repairs`, node.counters.repairs);
    counters.memoryPauses += this.#risen(`${life} pauses`, node.counters.memoryPauses);
    for (const { replica, uid } of node.logs.slots()) {
      if (replica === null) continue;
      const { log, group } = replica;
      counters.rolls += this.#risen(`${life} ${uid} rolls`, log.rolledCount);
      counters.truncations += this.#risen(`${life} ${uid} cuts`, log.generation + (log.recoveredCutBytes > 0 ? 1 : 0));
      if (group.refusal === 0 && this.#risen(`${uid} term`, group.term) > 0) counters.elections++;
      const { config, configCommitted } = groupOf(replica).driver.node;
      if (configCommitted && this.#risen(`${uid} config`, config.index) > 0 && config.index > 1) counters.configChanges++;
    }
  }

  operation(operation: DiskOperation, up: boolean): void {
    if (operation.call !== 'read') return;
    if (up && operation.path.endsWith('.seg')) this.#counters.coldReads++;
    else if (operation.path.includes('/snapshot-')) this.#counters.snapshotLoads++;
  }

  #risen(key: string, value: number): number {
    const risen = value - (this.#last.get(key) ?? 0);
    if (risen > 0) this.#last.set(key, value);
    return Math.max(0, risen);
  }
}
