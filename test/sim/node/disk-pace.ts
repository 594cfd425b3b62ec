// How long the calls of a simulated disk take: small by nature, long now and then, and much longer
// while a fault makes the disk slow or lets it hang.
import type { Prng } from '../../support/prng.ts';
import type { DiskCall } from '../../support/sim-disk.ts';

export interface DiskPaceOptions {
  /** Microseconds of a sync, at least and at most. */
  readonly syncMinUs: number;
  readonly syncMaxUs: number;
  /** Chance that a sync takes up to `syncRareUs`. */
  readonly syncRareChance: number;
  readonly syncRareUs: number;
}

/** A disk that hangs for longer is a disk that failed, to whoever looks after the machine. */
const CALL_MAX_US = 4_000_000;

export class DiskPace {
  /** Every call takes so many times as long. */
  slowness = 1;
  readonly #options: DiskPaceOptions;
  readonly #prng: Prng;

  constructor(options: DiskPaceOptions, prng: Prng) {
    this.#options = options;
    this.#prng = prng;
  }

  /** Microseconds that a call takes. */
  duration(call: DiskCall, bytes: number): number {
    return Math.min(CALL_MAX_US, Math.floor(this.#plain(call, bytes) * this.slowness));
  }

  #plain(call: DiskCall, bytes: number): number {
    const prng = this.#prng;
    const { syncMinUs, syncMaxUs, syncRareChance, syncRareUs } = this.#options;
    switch (call) {
      case 'sync':
      case 'syncDirectory':
        if (syncRareChance > 0 && prng.chance(syncRareChance)) return prng.between(syncMaxUs, syncRareUs);
        return prng.between(syncMinUs, syncMaxUs);
      case 'write':
      case 'read':
        return 20 + prng.next(60) + (bytes >>> 9);
      default:
        return 10 + prng.next(30);
    }
  }
}
