// The end of a turn, as src/tls/turn.ts has it, with the simulator deciding when the turn ends: later
// on a busy node, so that one turn gathers what several events brought.
import type { Turn } from '../../../src/tls/turn.ts';

/** The public face of Turn. */
type TurnPort = Pick<Turn, 'defer' | 'flushLater'>;

export class SimTurn implements TurnPort {
  readonly #schedule: (task: () => void) => void;
  #tasks: Array<() => void> = [];
  #flushes: Array<{ flush(): void }> = [];
  #scheduled = false;

  /** `schedule` runs a task at the end of the turn that is going on. */
  constructor(schedule: (task: () => void) => void) {
    this.#schedule = schedule;
  }

  readonly defer = (task: () => void): void => {
    this.#tasks.push(task);
    this.#begin();
  };

  flushLater(target: { flush(): void }): void {
    this.#flushes.push(target);
    this.#begin();
  }

  #begin(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(this.#run);
  }

  readonly #run = (): void => {
    this.#scheduled = false;
    const tasks = this.#tasks;
    const flushes = this.#flushes;
    this.#tasks = [];
    this.#flushes = [];
    for (const task of tasks) task();
    for (const target of flushes) target.flush();
  };
}
