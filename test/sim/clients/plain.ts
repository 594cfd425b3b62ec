// A producer without a name: sends batches, several at once, and sends none of them again.
import { buildBatch } from '../../../src/wire/batch-build.ts';
import type { Prng } from '../../support/prng.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export interface PlainOptions {
  readonly thinkUs: number;
  readonly depth: number;
  readonly recordsMax: number;
  readonly sizeMax: number;
}

export class PlainProducer extends SimClient {
  readonly #ref: LogRef;
  readonly #options: PlainOptions;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, options: PlainOptions) {
    super(world, name, prng, options.thinkUs, ref);
    this.#ref = ref;
    this.#options = options;
  }

  protected step(): void {
    const { depth, recordsMax, sizeMax } = this.#options;
    if (this.draining || this.underWay >= depth) return;
    for (let i = this.prng.between(1, depth - this.underWay); i > 0; i--) {
      const fates = this.newFates(this.#ref.name, recordsMax, sizeMax);
      const timeoutMs = this.prng.chance(0.3) ? this.prng.between(1, 3000) : 0;
      this.produce({ ref: this.#ref, fates, bytes: buildBatch(this.records(fates)), timeoutMs }, (outcome) => {
        if (!outcome.ok && outcome.retriable) this.backOff();
      });
    }
    if (this.prng.chance(0.002)) this.link.drop();
    else if (this.prng.chance(0.002)) this.link.leave();
  }
}
