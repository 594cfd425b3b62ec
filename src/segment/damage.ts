// How damaged storage is named: which file, where in it, and which entries and records it takes with
// it. Damage is a finding, not a decision: what is done about it (repair from a peer, read-only, DATA_LOSS
// to readers) belongs to the replica. Nothing here reads or writes.

/** One damaged stretch. Ranges are inclusive; `lastOffset < firstOffset` when no record is concerned. */
export interface DamageRange {
  /** Path of the file, relative to the data directory. */
  readonly file: string;
  /** First bad byte's batch (or head field) in the file. */
  readonly position: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstOffset: number;
  /** −1 (NONE) when the end is unknown. */
  readonly lastOffset: number;
  /** What was wrong there, for the operator. */
  readonly reason: string;
}

/** Bytes below the durable mark are not what was written; they are never served and never cut. */
export class DamageError extends Error implements DamageRange {
  override name = 'DamageError';
  readonly code = 'DATA_LOSS';
  readonly file: string;
  readonly position: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly reason: string;

  constructor(range: DamageRange, options?: ErrorOptions) {
    super(describeDamage(range), options);
    this.file = range.file;
    this.position = range.position;
    this.firstIndex = range.firstIndex;
    this.lastIndex = range.lastIndex;
    this.firstOffset = range.firstOffset;
    this.lastOffset = range.lastOffset;
    this.reason = range.reason;
  }
}

/** One line with everything an operator needs to find the place. */
export function describeDamage(range: DamageRange): string {
  const noEntry = range.lastIndex >= 0 && range.lastIndex < range.firstIndex;
  const offsets =
    noEntry ? 'no records'
    : range.lastOffset >= range.firstOffset ? `offsets ${range.firstOffset}..${range.lastOffset}`
    : range.lastOffset < 0 ? `offsets from ${range.firstOffset}`
    : 'no records';
  return `${range.file} at byte ${range.position}: ${range.reason} (${offsets}, indexes ${range.firstIndex}..${range.lastIndex})`;
}
