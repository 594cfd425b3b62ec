// When everything is mended: each log must take one more record. On a fenced log it takes the fence
// over first.
import { buildBatch } from '../../../src/wire/batch-build.ts';
import { ErrorCode } from '../../../src/wire/errors.ts';
import { Op } from '../../../src/wire/ops.ts';
import { fenceRequest } from '../../../src/wire/requests-write.ts';
import { fenceResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export class LastWord extends SimClient {
  done = false;
  /** The last error, for the message when it never succeeds. */
  why = 'no answer';
  readonly #ref: LogRef;
  #token = 0;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef) {
    super(world, name, prng, 10_000, ref);
    this.#ref = ref;
  }

  protected step(): void {
    if (this.done || this.underWay > 0) return;
    if (this.#ref.fenced && this.#token === 0) return this.#fence();
    const fates = this.newFates(this.#ref.name, 1, 50);
    this.produce({ ref: this.#ref, fates, bytes: buildBatch(this.records(fates)), fence: this.#token }, (outcome) => {
      if (outcome.ok) this.done = true;
      else this.#failed(outcome.code, outcome.error.message);
    });
  }

  #fence(): void {
    const log = this.#ref.history;
    const token = ++log.fenceAsked;
    this.begin('fence');
    this.link.call(Op.FENCE, fenceRequest, { log: this.#ref.name, token, logUid: this.#ref.uid }, fenceResponse, (outcome) => {
      this.ended('fence', outcome);
      if (!outcome.ok) return this.#failed(outcome.code, outcome.error.message);
      this.#token = token;
      log.fence = token;
    });
  }

  #failed(code: number, message: string): void {
    this.why = message;
    // A log whose only copy is damaged waits for an operator's decision: it need not take records.
    if (code === ErrorCode.LOG_STOPPED && this.#ref.history.damaged) this.done = true;
    this.backOff();
  }
}
