// What clients have learned about one log, by its uid: which record lies at which offset, how far it
// reached, where it begins. Facts only; whether they are right is for the checkers, which see each
// fact before it is noted.
//
// A log that promises less than fsync may lose its end in a power cut: what was known before belongs
// to an older era then, and gives way to what is seen afterwards.
import { Durability } from '../../../src/wire/ops.ts';
import type { Fate } from './fate.ts';

const UNKNOWN = -1;

export class LogHistory {
  readonly uid: string;
  readonly name: string;
  readonly number: number;
  readonly durability: number;
  /** Fates by offset. */
  readonly records: (Fate | null)[] = [];
  readonly appendTimes: number[] = [];
  readonly terms: number[] = [];
  readonly #eras: number[] = [];
  /** The largest committed end that any answer showed or implied. */
  end = 0;
  /** The largest log start that any answer showed. */
  start = 0;
  /** What FENCE answers said: records from `offset` on carry at least `token`. */
  readonly fences: { offset: number; token: number }[] = [];
  /** Largest fence token that was acknowledged, and largest that was ever asked for. */
  fence = 0;
  fenceAsked = 0;
  /** Largest offset that a trim asked for. */
  trimAsked = 0;
  /** Records go by age or bytes, without being asked. */
  retained = false;
  term = 0;
  /** It was deleted, or its node was wiped, or somebody tried: it may be gone. */
  mayBeGone = false;
  /** Bits of it were flipped on disk: parts may be refused as damaged. */
  damaged = false;
  /** Raised by every power cut of a log that may lose its end. */
  era = 0;

  constructor(uid: string, name: string, number: number, durability: number) {
    this.uid = uid;
    this.name = name;
    this.number = number;
    this.durability = durability;
  }

  /** What was acknowledged may be lost in a power cut. */
  get soft(): boolean {
    return this.durability !== Durability.FSYNC;
  }

  at(offset: number): Fate | null {
    return this.records[offset] ?? null;
  }

  note(offset: number, fate: Fate, appendTime: number, term: number): void {
    const known = this.at(offset);
    if (known !== null && known !== fate) this.#forgetFrom(offset);
    while (this.records.length < offset) this.#push(null, UNKNOWN, UNKNOWN);
    this.records[offset] = fate;
    this.appendTimes[offset] = appendTime;
    this.terms[offset] = term;
    this.#eras[offset] = this.era;
    fate.lineage = this.number;
    fate.offset = offset;
    fate.lost = false;
    this.noteEnd(offset + 1);
  }

  noteEnd(end: number): void {
    if (end > this.end) this.end = end;
  }

  noteStart(start: number): void {
    if (start > this.start) this.start = start;
  }

  /** Whether the fact about `offset` is older than a power cut that it may not have survived. */
  outdated(offset: number): boolean {
    return this.soft && (this.#eras[offset] ?? -1) < this.era;
  }

  /** How far it reaches is not known any more, if it may lose its end; nor where it begins. */
  powerCut(): void {
    if (!this.soft) return;
    this.era++;
    this.end = 0;
    this.start = 0;
    this.fence = 0;
    this.fences.length = 0;
  }

  #forgetFrom(offset: number): void {
    for (let at = offset; at < this.records.length; at++) {
      const fate = this.records[at];
      if (fate == null) continue;
      fate.lineage = -1;
      fate.offset = -1;
      fate.lost = true;
    }
    this.records.length = Math.min(this.records.length, offset);
    this.appendTimes.length = this.terms.length = this.#eras.length = this.records.length;
  }

  #push(fate: Fate | null, appendTime: number, term: number): void {
    this.records.push(fate);
    this.appendTimes.push(appendTime);
    this.terms.push(term);
    this.#eras.push(this.era);
  }
}
