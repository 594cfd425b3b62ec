// A broken client: after some proper requests it sends bytes that are no frame, and then a proper batch
// that must never be read, let alone stored (I10).
import { buildBatch } from '../../../src/wire/batch-build.ts';
import { Writer } from '../../../src/wire/bytes.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { Op } from '../../../src/wire/ops.ts';
import { produceRequest } from '../../../src/wire/requests-write.ts';
import type { Prng } from '../../support/prng.ts';
import type { Fate } from '../history/fate.ts';
import { SimClient } from './client.ts';
import type { ClientWorld, LogRef } from './client.ts';

export class Rogue extends SimClient {
  readonly #ref: LogRef;
  #spoilt = false;

  constructor(world: ClientWorld, name: string, prng: Prng, ref: LogRef, thinkUs: number) {
    super(world, name, prng, thinkUs, ref);
    this.#ref = ref;
  }

  protected override connected(): void {
    this.#spoilt = false;
  }

  protected step(): void {
    if (this.draining || this.#spoilt) return;
    const fates = this.newFates(this.#ref.name, 2, 100);
    this.produce({ ref: this.#ref, fates, bytes: buildBatch(this.records(fates)) }, (outcome) => {
      if (!outcome.ok) this.backOff();
    });
    if (this.prng.chance(0.7)) return;
    this.#spoilt = true;
    // Behind what the machine has queued: it writes at the end of its turn.
    this.world.scheduler.after(100, () => this.link.raw(Buffer.concat([this.#garbage(), this.#hidden()])));
    this.world.scheduler.after(3_000_000, () => this.link.drop());
  }

  /** A header that makes its frame MALFORMED, or far too large. */
  #garbage(): Buffer {
    const head = Buffer.alloc(12);
    head.writeUInt32BE(this.prng.pick([0, 7, 0x7fff_ffff, 20]), 0);
    head[4] = Op.PRODUCE;
    // A reserved-critical flag: malformed whatever its length is.
    if (head.readUInt32BE(0) === 20) head[5] = 0x20;
    head.writeUInt32BE(9_999, 8);
    return head;
  }

  #hidden(): Buffer {
    const [fate] = this.newFates(this.#ref.name, 1, 50) as [Fate];
    fate.banned = 'it lay behind a broken frame';
    const w = new Writer();
    w.u32(0);
    w.u8(Op.PRODUCE);
    w.u8(0);
    w.u16(0);
    w.u32(10_000);
    produceRequest.write(w, {
      log: this.#ref.name, flags: 0, timeoutMs: 0, expectedOffset: NONE, fence: 0, logUid: this.#ref.uid, batch: buildBatch(this.records([fate])),
    });
    const bytes = w.copy();
    bytes.writeUInt32BE(bytes.length - 4, 0);
    return bytes;
  }
}
