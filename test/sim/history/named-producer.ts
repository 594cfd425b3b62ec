// What the clients that share one producer name have learned about it: who sent which seq in which
// epoch, and what INIT_PRODUCER said became of them.
//
// Epochs only rise; `next_seq` tells a restarted app exactly which of its batches are stored: those
// below it are, the others never will be, because their epoch is over.
import { demand } from '../core/failure.ts';
import type { Fate } from './fate.ts';
import type { LogHistory } from './log-history.ts';

interface SentSeq {
  readonly epoch: number;
  readonly fates: readonly Fate[];
  acked: boolean;
  decided: boolean;
}

export class NamedProducer {
  readonly name: string;
  readonly log: () => LogHistory;
  /** INIT_PRODUCER requests so far. */
  asked = 0;
  #id = 0;
  #epoch = -1;
  /** By seq; a seq may be used again by a later epoch when it was not stored in the earlier one. */
  #sent = new Map<number, SentSeq[]>();
  /** Which log, and which era of it, all this is about. */
  #number = 0;
  #era = 0;

  constructor(name: string, log: () => LogHistory) {
    this.name = name;
    this.log = log;
    this.#number = log().number;
  }

  /** An INIT_PRODUCER goes out; returns what `initialized` wants to know about this moment. */
  asking(): number {
    this.asked++;
    this.#follow();
    return this.#epoch;
  }

  sent(epoch: number, seq: number, fates: readonly Fate[]): void {
    if (epoch < this.#epoch) {
      // Its epoch was over before it went out.
      for (const fate of fates) fate.said = 'not stored';
      return;
    }
    const list = this.#sent.get(seq) ?? [];
    list.push({ epoch, fates, acked: false, decided: false });
    this.#sent.set(seq, list);
  }

  acked(epoch: number, seq: number): void {
    const mine = this.#sent.get(seq)?.find((sent) => sent.epoch === epoch);
    if (mine !== undefined) mine.acked = true;
  }

  /** `epochBefore` is what was known when the request went out. */
  initialized(epochBefore: number, id: number, epoch: number, nextSeq: number, stale: boolean): void {
    if (stale) return;
    if (!this.#follow()) this.#check(epochBefore, id, epoch, nextSeq, this.log());
    if (epoch > this.#epoch) {
      this.#id = id;
      this.#epoch = epoch;
      this.#settle(epoch, nextSeq);
    }
  }

  #check(epochBefore: number, id: number, epoch: number, nextSeq: number, log: LogHistory): void {
    const who = `producer ${this.name} of ${log.name}`;
    demand(this.#id === 0 || id === this.#id, 'producers', () => `${who} had id ${this.#id} and got ${id}`);
    demand(epoch > epochBefore, 'producers', () => `${who} had epoch ${epochBefore} and got ${epoch}`);
    // Answers may overtake each other; only one that is newer than all others says what holds now.
    if (epoch < this.#epoch) return;
    const acked = this.#ackedEnd(epoch);
    demand(nextSeq >= acked, 'producers', () => `${who}: seq ${acked - 1} was acked, and next_seq is ${nextSeq} in epoch ${epoch}`);
  }

  /** One past the highest seq that an epoch below `epoch` had acked. */
  #ackedEnd(epoch: number): number {
    let end = 0;
    for (const [seq, list] of this.#sent) {
      if (seq + 1 > end && list.some((sent) => sent.acked && sent.epoch < epoch)) end = seq + 1;
    }
    return end;
  }

  /** What epochs before `epoch` sent is decided by `nextSeq`. */
  #settle(epoch: number, nextSeq: number): void {
    for (const [seq, list] of this.#sent) {
      const undecided = list.filter((sent) => sent.epoch < epoch && !sent.decided);
      if (seq >= nextSeq) for (const sent of undecided) this.#say(sent, 'not stored');
      // Where two epochs used one seq only one of them can be the stored one.
      else if (undecided.length === 1) this.#say(undecided[0]!, 'stored');
      if (list.every((sent) => sent.decided)) this.#sent.delete(seq);
    }
  }

  #say(sent: SentSeq, what: 'stored' | 'not stored'): void {
    sent.decided = true;
    for (const fate of sent.fates) fate.said = what;
  }

  /** Begins anew, and says so, when a power cut took the end of a log that promises less than fsync. */
  #follow(): boolean {
    const log = this.log();
    if (log.number === this.#number && log.era === this.#era) return false;
    this.#number = log.number;
    this.#era = log.era;
    this.#sent.clear();
    this.#id = 0;
    this.#epoch = -1;
    return true;
  }
}
