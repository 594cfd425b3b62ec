// Reads what is stored again, slowly, one log after the other, so that rot is found before a reader
// needs the record. Only logs that are open anyway; one step of disk reads at a time.
import { DiskError } from '../index/disk.ts';
import { describeDamage } from '../segment/damage.ts';
import type { NodeContext } from './context.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogSlot } from './log-slot.ts';

/** Bytes checked per step; at a step a second a terabyte takes a month. */
const STEP_BYTES = 512 * 1024;

export class Scrub {
  readonly #context: NodeContext;
  readonly #stepBytes: number;
  #step: Promise<void> | null = null;
  /** Names of the logs that this round has still to visit. */
  #round: string[] = [];

  constructor(context: NodeContext, stepBytes = STEP_BYTES) {
    this.#context = context;
    this.#stepBytes = stepBytes;
  }

  /** Begins the next step unless one is under way. */
  tick(slots: Iterable<LogSlot>): void {
    if (this.#step !== null) return;
    const open = new Map<string, LogReplica>();
    for (const { name, replica } of slots) if (replica !== null && replica.readRefusal === 0) open.set(name, replica);
    if (open.size === 0) return;
    if (this.#round.length === 0) this.#round = [...open.keys()];
    const name = this.#round[this.#round.length - 1]!;
    const replica = open.get(name);
    if (replica === undefined) {
      this.#round.pop();
      return;
    }
    this.#step = this.#check(name, replica).finally(() => {
      this.#step = null;
    });
  }

  async #check(name: string, replica: LogReplica): Promise<void> {
    replica.pin();
    try {
      const { found, wrapped } = await replica.log.scrub(this.#stepBytes);
      for (const damage of found) {
        this.#context.counters.damageFound++;
        this.#context.logEvent('error', 'damage found', { log: name, damage: describeDamage(damage) });
      }
      if (wrapped) this.#round.pop();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#context.logEvent('warn', 'scrub failed', { log: name, reason: error.message });
      this.#round.pop();
    } finally {
      replica.unpin();
    }
  }

  async close(): Promise<void> {
    await this.#step;
  }
}
