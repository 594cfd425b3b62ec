// What a run, or many runs, went through: printed at the end, and the coverage marks that a set of
// seeds must have reached.
import { ErrorCode, errorName } from '../../src/wire/errors.ts';

export class Counters {
  operations = 0;
  recordsAcked = 0;
  recordsRead = 0;
  /** Terms that a replica began to lead in. */
  elections = 0;
  crashes = 0;
  powerCuts = 0;
  restarts = 0;
  pauses = 0;
  partitions = 0;
  clockJumps = 0;
  diskErrors = 0;
  diskFull = 0;
  slowDisks = 0;
  bitRot = 0;
  /** Suffixes cut off a log, by recovery or by a truncation. */
  truncations = 0;
  rolls = 0;
  snapshotWrites = 0;
  snapshotLoads = 0;
  snapshotInstalls = 0;
  repairs = 0;
  configChanges = 0;
  trims = 0;
  duplicates = 0;
  coldReads = 0;
  memoryPauses = 0;
  readonly #ended = new Map<string, Map<number, number>>();

  /** How often each kind of request ended how: `what CODE`. */
  get outcomes(): Map<string, number> {
    const outcomes = new Map<string, number>();
    for (const [what, codes] of this.#ended) {
      for (const [code, count] of codes) outcomes.set(`${what} ${code === 0 ? 'OK' : code < 0 ? 'LOST' : errorName(code)}`, count);
    }
    return outcomes;
  }

  began(_what: string): void {
    this.operations++;
  }

  ended(what: string, code: number, count = 1): void {
    let codes = this.#ended.get(what);
    if (codes === undefined) this.#ended.set(what, (codes = new Map()));
    codes.set(code, (codes.get(code) ?? 0) + count);
  }

  addAll(other: Counters): void {
    for (const [key, value] of Object.entries(other)) {
      if (typeof value === 'number') (this as unknown as Record<string, number>)[key]! += value;
    }
    for (const [what, codes] of other.#ended) for (const [code, count] of codes) this.ended(what, code, count);
  }

  /** One line of `name value` pairs. */
  toString(): string {
    return Object.entries(this)
      .filter(([, value]) => typeof value === 'number')
      .map(([key, value]) => `${key} ${value as number}`)
      .join(', ');
  }

  /** Marks that a set of runs should have reached and did not; `nodes` decides which can be. */
  missing(nodes: number): string[] {
    const numbers: (keyof Counters)[] = [
      'elections', 'crashes', 'powerCuts', 'restarts', 'pauses', 'partitions', 'clockJumps', 'diskErrors', 'diskFull', 'bitRot',
      'truncations', 'rolls', 'snapshotWrites', 'snapshotLoads', 'trims', 'duplicates', 'coldReads', 'memoryPauses',
    ];
    if (nodes > 1) numbers.push('snapshotInstalls', 'repairs', 'configChanges');
    const missing: string[] = numbers.filter((key) => this[key] === 0);
    for (const [what, code] of MARKS) {
      // Where another voter can lead a log seldom stops.
      if (code === ErrorCode.LOG_STOPPED && nodes === 5) continue;
      if (this.#ended.get(what)?.has(code) !== true) missing.push(`${what} ${errorName(code)}`);
    }
    return missing;
  }
}

/** Answers that clients must have met. */
const MARKS: readonly (readonly [string, number])[] = [
  ['produce', ErrorCode.OFFSET_MISMATCH],
  ['produce', ErrorCode.FENCED],
  ['produce', ErrorCode.SEQ_GAP],
  ['produce', ErrorCode.SEQ_REUSED],
  ['produce', ErrorCode.PRODUCER_FENCED],
  ['produce', ErrorCode.STORAGE_FULL],
  ['produce', ErrorCode.LEADERSHIP_LOST],
  ['produce', ErrorCode.LOG_STOPPED],
  ['produce', ErrorCode.TIMEOUT],
  ['put position', ErrorCode.POSITION_MISMATCH],
  ['fetch', ErrorCode.OFFSET_OUT_OF_RANGE],
  ['fetch', ErrorCode.DATA_LOSS],
];
