// A writer among several that take turns: it raises the log's fence to a token of its own, writes with
// it, and learns from FENCED that another one took over.
import { buildBatch } from '../../../src/wire/batch-build.ts';
import { ErrorCode } from '../../../src/wire/errors.ts';
import { Op } from '../../../src/wire/ops.ts';
import { fenceRequest } from '../../../src/wire/requests-write.ts';
import { fenceResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import { demand } from '../core/failure.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

/** Batches that it has on the way at most. */
const BURST_MAX = 8;

export class FencedProducer extends SimClient {
  readonly #ref: LogRef;
  #token = 0;
  /** The largest token that it has heard of. */
  #heard = 0;
  #holds = false;
  #fencing = false;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
  }

  protected step(): void {
    if (this.draining || this.#fencing || this.underWay >= BURST_MAX) return;
    if (!this.#holds || this.prng.chance(0.01)) {
      this.#takeOver();
      return;
    }
    for (let i = this.prng.between(1, BURST_MAX - this.underWay); i > 0; i--) this.#write();
  }

  #write(): void {
    // One that was paused, and does not know that it was replaced, goes on with its old token.
    const fence = this.prng.chance(0.05) ? Math.max(0, this.#token - this.prng.next(3)) : this.#token;
    const fates = this.newFates(this.#ref.name, 2, 300);
    this.produce({ ref: this.#ref, fates, bytes: buildBatch(this.records(fates)), fence }, (outcome) => {
      if (outcome.ok) return;
      if (outcome.code === ErrorCode.FENCED) {
        this.#heard = Math.max(this.#heard, outcome.error.detail.fence!);
        if (this.#heard > this.#token) this.#holds = this.prng.chance(0.3);
      } else if (outcome.retriable) this.backOff();
    });
  }

  #takeOver(): void {
    const { history } = this.#ref;
    const token = this.prng.chance(0.1) ? this.#token : this.#heard + this.prng.between(1, 3);
    const floor = history.end;
    const fenceFloor = history.fence;
    history.fenceAsked = Math.max(history.fenceAsked, token);
    this.#fencing = true;
    this.begin('fence');
    this.link.call(Op.FENCE, fenceRequest, { log: this.#ref.name, token, logUid: this.#ref.uid }, fenceResponse, (outcome) => {
      this.ended('fence', outcome);
      this.#fencing = false;
      if (outcome.ok) {
        demand(outcome.value.token === token, 'fences', () => `FENCE ${token} was answered with token ${outcome.value.token}`);
        demand(token >= fenceFloor, 'fences', () => `FENCE ${token} was accepted on ${this.#ref.name} although ${fenceFloor} had been`);
        if (!history.soft || !this.link.stale) {
          history.fence = Math.max(history.fence, token);
          history.fences.push({ offset: outcome.value.nextOffset, token });
        }
        this.#token = token;
        this.#heard = Math.max(this.#heard, token);
        this.#holds = true;
        return;
      }
      this.refusal(history, outcome, { floor, fenceFloor, expectedOffset: -1, fence: token, fates: [] });
      if (outcome.code === ErrorCode.FENCED) this.#heard = Math.max(this.#heard, outcome.error.detail.fence!);
      else if (outcome.retriable) this.backOff();
    });
  }
}
