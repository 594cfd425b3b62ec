// Apps that share named positions and move them only by compare-and-set: each value is put once, and
// larger than the one before, so a lost update or an old answer shows at once.
import { ErrorCode } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { Op } from '../../../src/wire/ops.ts';
import { getPositionRequest, listPositionsRequest, putPositionRequest } from '../../../src/wire/requests-read.ts';
import { getPositionResponse, listPositionsResponse, putPositionResponse } from '../../../src/wire/responses-data.ts';
import type { Prng } from '../../support/prng.ts';
import type { PositionHistory } from '../history/positions.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export class PositionMover extends SimClient {
  readonly #ref: LogRef;
  readonly #positions: PositionHistory;
  readonly #number: number;
  /** What it last heard of each. */
  readonly #heard = new Map<string, number>();

  /** `number` tells its values from those of the others. */
  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, positions: PositionHistory, number: number, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
    this.#positions = positions;
    this.#number = number;
  }

  protected step(): void {
    if (this.draining || this.underWay >= 6) return;
    const name = this.prng.pick(this.#positions.names);
    const what = this.prng.next(10);
    if (what < 2) this.#get(name);
    else if (what < 3) this.#list();
    else for (let i = this.prng.between(1, 4); i > 0; i--) this.#put(name);
  }

  #put(name: string): void {
    const { history } = this.#ref;
    const expected = this.#heard.get(name) ?? 0;
    const offset = this.#positions.newValue(expected, this.#number);
    const floor = this.#positions.floor(name);
    const put = this.#positions.putting(name, expected, offset);
    this.begin('put position');
    const request = { log: this.#ref.name, name, offset, expected, logUid: this.#ref.uid };
    this.link.call(Op.PUT_POSITION, putPositionRequest, request, putPositionResponse, (outcome) => {
      this.ended('put position', outcome);
      if (this.link.stale && history.soft) return;
      if (outcome.ok) {
        this.#positions.stored(put);
        this.#heard.set(name, offset);
      } else if (outcome.code === ErrorCode.POSITION_MISMATCH) {
        const current = outcome.error.detail.nextOffset ?? NONE;
        this.#positions.seen(name, current, floor, 'POSITION_MISMATCH');
        this.#positions.failed(put, current);
        this.#heard.set(name, current);
      } else {
        if (outcome.noEffect) this.#positions.failed(put, NONE);
        else this.#heard.delete(name);
        this.backOff();
      }
    });
  }

  #get(name: string): void {
    const { history } = this.#ref;
    const floor = this.#positions.floor(name);
    this.begin('get position');
    const request = { log: this.#ref.name, name, logUid: this.#ref.uid };
    this.link.call(Op.GET_POSITION, getPositionRequest, request, getPositionResponse, (outcome) => {
      this.ended('get position', outcome);
      if (this.link.stale && history.soft) return;
      if (outcome.ok) this.#positions.seen(name, outcome.value.offset, floor, 'GET_POSITION');
      else if (outcome.code === ErrorCode.POSITION_NOT_FOUND) this.#positions.seen(name, 0, floor, 'GET_POSITION');
      if (outcome.ok) this.#heard.set(name, outcome.value.offset);
    });
  }

  #list(): void {
    const { history } = this.#ref;
    const floors = new Map(this.#positions.names.map((name) => [name, this.#positions.floor(name)]));
    this.begin('list positions');
    this.link.call(Op.LIST_POSITIONS, listPositionsRequest, { log: this.#ref.name, logUid: this.#ref.uid }, listPositionsResponse, (outcome) => {
      if (outcome.ok && outcome.more) return;
      this.ended('list positions', outcome);
      if (!outcome.ok || (this.link.stale && history.soft)) return;
      const listed = new Map(outcome.value.positions.map(({ name, offset }) => [name, offset]));
      for (const [name, floor] of floors) this.#positions.seen(name, listed.get(name) ?? 0, floor, 'LIST_POSITIONS');
    });
  }
}
