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
  /** The last value of each figure, by whatever has it: a node's life, a log on it, a log anywhere. */
  readonly #last = new Map<object | string, Map<string, number>>();

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  node(sim: SimNode): void {
    const { node } = sim;
    if (node === null) return;
    const counters = this.#counters;
    counters.snapshotWrites += this.#risen(node, 'snapshots', node.counters.snapshotsWritten);
    counters.snapshotInstalls += this.#risen(node, 'installs', node.counters.snapshotsInstalled);
    counters.repairs += this.#risen(node, 'repairs', node.counters.repairs);
    counters.memoryPauses += this.#risen(node, 'pauses', node.counters.memoryPauses);
    for (const { replica, uid } of node.logs.slots()) {
      if (replica === null) continue;
      const { log, group } = replica;
      counters.rolls += this.#risen(log, 'rolls', log.rolledCount);
      counters.truncations += this.#risen(log, 'cuts', log.generation + (log.recoveredCutBytes > 0 ? 1 : 0));
      if (group.refusal === 0 && this.#risen(uid, 'term', group.term) > 0) counters.elections++;
      const { config, configCommitted } = groupOf(replica).driver.node;
      if (configCommitted && this.#risen(uid, 'config', config.index) > 0 && config.index > 1) counters.configChanges++;
    }
  }

  operation(operation: DiskOperation, up: boolean): void {
    if (operation.call !== 'read') return;
    if (up && operation.path.endsWith('.seg')) this.#counters.coldReads++;
    else if (operation.path.includes('/snapshot-')) this.#counters.snapshotLoads++;
  }

  #risen(owner: object | string, figure: string, value: number): number {
    let last = this.#last.get(owner);
    if (last === undefined) this.#last.set(owner, (last = new Map()));
    const risen = value - (last.get(figure) ?? 0);
    if (risen > 0) last.set(figure, value);
    return Math.max(0, risen);
  }
}
