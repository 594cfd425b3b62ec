// A producer that says where its batch must land, as a state machine does that must not miss what
// others wrote. Sometimes it sends several at once, each expecting the one before it.
import { buildBatch } from '../../../src/wire/batch-build.ts';
import { ErrorCode } from '../../../src/wire/errors.ts';
import type { Prng } from '../../support/prng.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export class ConditionalProducer extends SimClient {
  readonly #ref: LogRef;
  /** Where it thinks the log ends. */
  #next = 0;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
  }

  protected step(): void {
    if (this.draining || this.underWay > 0) return;
    let expectedOffset = this.prng.chance(0.5) ? this.#next : Math.max(this.#next, this.#ref.history.end);
    for (let i = this.prng.chance(0.5) ? 1 : this.prng.between(2, 6); i > 0; i--) {
      const fates = this.newFates(this.#ref.name, 3, 300);
      this.produce({ ref: this.#ref, fates, bytes: buildBatch(this.records(fates)), expectedOffset }, (outcome) => {
        if (outcome.ok) this.#next = outcome.value.nextOffset;
        else if (outcome.code === ErrorCode.OFFSET_MISMATCH) this.#next = outcome.error.detail.nextOffset!;
        else if (outcome.retriable) this.backOff();
      });
      expectedOffset += fates.length;
    }
  }
}
