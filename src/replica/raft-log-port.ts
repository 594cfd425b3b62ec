// The segment log as the Raft driver sees it: ranges of entries, their terms, sizes and bytes.
//
// Invariant: it answers for the log as it is now; terms of entries that lie in closed segments are read
// once (`loadTerms`) before anybody can ask for them, because the core cannot wait.
import type { Configuration, ConfigEntry } from '../raft/config.ts';
import type { LogPort } from '../raft/driver/ports.ts';
import { UNKNOWN_TERM } from '../raft/types.ts';
import type { Append, Index, Term, TermRun } from '../raft/types.ts';
import { DiskError } from '../index/disk.ts';
import { DamageError } from '../segment/damage.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { TrimmedError } from '../segment/reader.ts';
import type { StoredRange } from '../segment/reader.ts';
import { assert } from '../wire/assert.ts';
import { batchIndex, batchSize } from '../wire/batch.ts';
import { configBatch, inspectEntries, NOOP_BATCH } from './raft-entries.ts';

export interface RaftLogEvents {
  /** Entries can be appended again. */
  ready(): void;
  /** The group appended an entry of its own: the log's last one. */
  ownEntry(): void;
  /** A truncation cannot be made. */
  truncationFailed(error: DiskError): void;
  /** Nor this one, because what it would cut is damaged; nothing more is written before another log takes the place. */
  damagedAtCut(): void;
}

export class RaftLogPort implements LogPort {
  readonly #log: SegmentedLog;
  readonly #nowMs: () => number;
  readonly #events: RaftLogEvents;
  /** Terms of the entries up to `#olderTo`, all of them committed, ascending; what they say beyond may be cut off. */
  #older: readonly TermRun[] = [];
  #olderTo = 0;
  /** A truncation looks for its place, or cannot be made. */
  #uncut = false;

  constructor(log: SegmentedLog, nowMs: () => number, events: RaftLogEvents) {
    this.#log = log;
    this.#nowMs = nowMs;
    this.#events = events;
  }

  get lastIndex(): Index {
    return this.#log.lastIndex;
  }

  get generation(): number {
    return this.#log.generation;
  }

  get ready(): boolean {
    return this.#log.acceptsAppends && !this.#uncut;
  }

  termAt(index: Index): Term {
    const log = this.#log;
    if (index > log.lastIndex || index < log.firstIndex - 1) return UNKNOWN_TERM;
    return index <= this.#olderTo && index >= log.firstIndex ? this.#olderTerm(index) : log.termAt(index);
  }

  #olderTerm(index: Index): Term {
    let low = 0;
    let high = this.#older.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.#older[middle]!.fromIndex <= index) low = middle;
      else high = middle - 1;
    }
    return this.#older[low]!.term;
  }

  /**
   * Makes the terms of all entries up to `toIndex`, which are committed, known: for a group that has, or
   * is about to get, more than one replica. Rejects with DiskError or DamageError.
   */
  async loadTerms(toIndex: Index): Promise<void> {
    this.knowTerms(await readTermRuns(this.#log, toIndex), toIndex);
  }

  /** The same, where the runs of all entries up to `toIndex`, or more, were read already. */
  knowTerms(runs: readonly TermRun[], toIndex: Index): void {
    this.#older = runs;
    this.#olderTo = toIndex;
  }

  sizeOf(from: Index, to: Index): number {
    return this.#log.bytesBetween(from, to);
  }

  appendNoop(term: Term): void {
    this.#append(NOOP_BATCH, term);
  }

  appendConfig(term: Term, config: Configuration): void {
    this.#append(configBatch(config), term);
  }

  #append(batch: Buffer, term: Term): void {
    const log = this.#log;
    log.append(batch, 0, batch.length, term, Math.max(log.lastAppendTime, this.#nowMs()));
    this.#events.ownEntry();
  }

  appendFrom(message: Append, from: Index, to: Index): void {
    const body = message.body as Buffer;
    for (let at = 0; at < body.length; ) {
      const end = at + batchSize(body, at);
      const index = batchIndex(body, at);
      if (index >= from && index <= to) this.#log.appendStamped(body, at, end);
      at = end;
    }
  }

  truncateAfter(afterIndex: Index): void {
    this.#log.truncateSuffix(afterIndex + 1).then(
      () => {
        this.#uncut = false;
        this.#events.ready();
      },
      (error: unknown) => {
        if (error instanceof DamageError) return this.#events.damagedAtCut();
        if (!(error instanceof DiskError)) throw error;
        this.#events.truncationFailed(error);
      },
    );
    this.#uncut = this.#log.lastIndex > afterIndex;
  }

  inspect(message: Append): readonly ConfigEntry[] | null {
    return inspectEntries(message);
  }

  read(from: Index, to: Index): readonly Buffer[] | null {
    const found = this.#log.readCached(from, Number.MAX_SAFE_INTEGER, to);
    if (found === null) return null;
    assert(found.nextIndex === to + 1, 'what is in memory reaches to the end of the log');
    return found.buffers;
  }

  async load(from: Index, to: Index): Promise<readonly Buffer[] | null> {
    const buffers: Buffer[] = [];
    for (let next = from; next <= to; ) {
      const range = await this.#read(next, Number.MAX_SAFE_INTEGER, to);
      // Nothing there: it was cut off meanwhile.
      if (range === null || range.lastIndex < next) return null;
      buffers.push(...range.buffers);
      next = range.lastIndex + 1;
    }
    return buffers;
  }

  /** At least the entry `from`, at most `bytesMax` and `to`; null as for `load`. */
  async loadSome(from: Index, bytesMax: number, to: Index): Promise<readonly Buffer[] | null> {
    const range = await this.#read(from, bytesMax, to);
    return range === null || range.lastIndex < from ? null : range.buffers;
  }

  async #read(from: Index, bytesMax: number, to: Index): Promise<StoredRange | null> {
    try {
      return await this.#log.read(from, bytesMax, to);
    } catch (error) {
      if (error instanceof DiskError || error instanceof DamageError || error instanceof TrimmedError) return null;
      throw error;
    }
  }
}

/** The runs of equal terms from the first entry to `toIndex`. Rejects with DiskError. */
export async function readTermRuns(log: SegmentedLog, toIndex: Index): Promise<TermRun[]> {
  const runs: TermRun[] = [];
  for (let from = log.firstIndex; from <= toIndex; ) {
    const term = await termOf(log, from);
    if (runs.at(-1)?.term !== term) runs.push({ fromIndex: from, term });
    // Terms never go down: where the next one begins is found by halving.
    let low = from;
    let high = toIndex;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((await termOf(log, middle)) === term) low = middle;
      else high = middle - 1;
    }
    from = low + 1;
  }
  return runs;
}

/**
 * Where the header of an entry is damaged, the term of what follows the damage: nobody is led astray by it, because
 * what is below a snapshot is committed, and about committed entries no term is asked.
 */
async function termOf(log: SegmentedLog, index: Index): Promise<Term> {
  for (let at = index; ; ) {
    try {
      return await log.ask(() => log.termAt(at));
    } catch (error) {
      if (!(error instanceof DamageError)) throw error;
      at = Math.min(Math.max(error.lastIndex, at) + 1, log.lastIndex);
      if (at === log.lastIndex) return log.lastTerm;
    }
  }
}
