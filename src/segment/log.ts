// One log on disk: appends go to the tail in memory and are written behind it in groups; reads come from
// the tail or, verified, from the segments. This is the face of the folder: the work is done by Tail,
// Flusher, Lookup, Reader and recovery, and this file puts them together and guards their states.
//
// Invariants: I7, I8, I9, I11 of the design; durableIndex ≤ lastIndex; commitIndex is only a hint that
// the mark carries, except that nothing at or below it is ever truncated.
import type { DiskError } from '../index/disk.ts';
import { assert } from '../wire/assert.ts';
import type { DamageRange } from './damage.ts';
import { Flusher } from './flusher.ts';
import { HandleCache } from './handles.ts';
import { SegmentList, type SegmentSummary } from './list.ts';
import { BEGINNING, type LogEvents, type LogOptions, type LogStart, LogState } from './log-options.ts';
import { ColdError, Lookup } from './lookup.ts';
import { Reader, type StoredRange } from './reader.ts';
import { type RecoveredLog, recoverLog } from './recovery.ts';
import { isRepairable, repairSegment } from './repair.ts';
import type { BatchVisitor } from './scan.ts';
import { type ScrubResult, Scrubber } from './scrub.ts';
import { Segment, SegmentState } from './segment.ts';
import { createUnnamed, discardUnnamed, giveName, writeHead } from './segment-file.ts';
import { SlabPool } from './slab.ts';
import { type BatchRange, Tail } from './tail.ts';
import { TermTable } from './terms.ts';
import { Trimmer } from './trim.ts';
import { Truncator } from './truncator.ts';

export class SegmentedLog {
  /** Bytes of an unsynced group that opening cut off. */
  readonly recoveredCutBytes: number;
  readonly #options: LogOptions;
  readonly #handles: HandleCache;
  readonly #list: SegmentList;
  readonly #tail: Tail;
  readonly #flusher: Flusher;
  readonly #lookup: Lookup;
  readonly #reader: Reader;
  readonly #scrubber: Scrubber;
  readonly #truncator: Truncator;
  readonly #trimmer: Trimmer;
  readonly #damage: DamageRange[];
  #flushScheduled = false;
  readonly #flushTask: () => void;
  #lastSyncMs = 0;

  private constructor(options: LogOptions, handles: HandleCache, recovered: RecoveredLog, terms: TermTable) {
    this.#options = options;
    this.#handles = handles;
    this.#list = new SegmentList(options.directory, recovered.segments);
    const newest = this.#list.last;
    this.#tail = new Tail(newest, recovered.end, terms, options.maxSegmentAgeMs, {
      cacheBytes: options.cacheBytes,
      pool: options.slabs ?? new SlabPool(),
      segmentBytes: options.segmentBytes,
      plan: (end) => this.#list.plan(end),
    });
    const parts = { options, tail: this.#tail, list: this.#list, handles, yieldTurn: options.yieldTurn ?? nextMicrotask };
    this.#flusher = new Flusher(parts, newest, recovered.end, recovered.commitIndex);
    if (recovered.endUnknown) this.#flusher.state = LogState.READ_ONLY;
    this.#lookup = new Lookup(this.#list, this.#tail, handles);
    this.#reader = new Reader(this.#list, this.#tail, handles, this.#lookup);
    this.#scrubber = new Scrubber(this.#list, this.#reader);
    this.#truncator = new Truncator(this.#list, this.#tail, this.#lookup, this.#flusher);
    this.#trimmer = new Trimmer(options.disk, this.#list, handles);
    this.#damage = recovered.damage;
    this.recoveredCutBytes = recovered.cutBytes;
    this.#flushTask = () => {
      this.#flushScheduled = false;
      this.#flusher.flush();
    };
  }

  /**
   * Makes the first segment in an existing folder, durably, and opens the log. Rejects with DiskError.
   */
  static async create(options: LogOptions, start: LogStart = BEGINNING): Promise<SegmentedLog> {
    const { disk, directory, logUid } = options;
    const segment = new Segment(directory, start);
    const unnamed = await createUnnamed(disk, directory);
    try {
      await writeHead(unnamed, segment, logUid);
      await options.syncGate.run(() => unnamed.file.sync());
      await giveName(disk, unnamed, segment);
    } catch (error) {
      await discardUnnamed(disk, unnamed);
      throw error;
    }
    await unnamed.file.close();
    return SegmentedLog.open(options, () => {}, 0);
  }

  /**
   * Opens the log and recovers its end. `visit` sees the header of every batch with an index above
   * `visitFromIndex`, in order, and the whole of control batches; damaged ones are left out (see `damage`).
   * Rejects with DiskError, and with DamageError when not even the log's segments can be told.
   */
  static async open(options: LogOptions, visit: BatchVisitor, visitFromIndex: number): Promise<SegmentedLog> {
    const yieldTurn = options.yieldTurn ?? nextMicrotask;
    const handles = options.handles ?? new HandleCache({ disk: options.disk, yieldTurn });
    const terms = new TermTable();
    const recovered = await recoverLog({ options, handles, yieldTurn, visit, visitFrom: visitFromIndex, terms });
    return new SegmentedLog(options, handles, recovered, terms);
  }

  /** Told what became durable and what failed; set once, right after opening. */
  get events(): LogEvents | null {
    return this.#flusher.events;
  }

  set events(events: LogEvents | null) {
    this.#flusher.events = events;
  }

  /** Only OPEN takes appends. */
  get state(): LogState {
    return this.#flusher.state;
  }

  /** Why `state` is FAILED. */
  get failure(): DiskError | null {
    return this.#flusher.error;
  }

  /** Where it begins. */
  get start(): LogStart {
    return this.#list.first;
  }

  /** Index of the oldest entry that is kept; lastIndex + 1 when there is none. */
  get firstIndex(): number {
    return this.#list.first.firstIndex;
  }

  /** Offset of the oldest record that is kept. */
  get firstOffset(): number {
    return this.#list.first.firstOffset;
  }

  /** append_time of the entry before `firstIndex`, Unix ms; 0 when there was none, or it is not known. */
  get appendTimeBefore(): number {
    return this.#list.first.appendTimeBefore;
  }

  /** 0 when the log is empty and was never trimmed. */
  get lastIndex(): number {
    return this.#tail.lastIndex;
  }

  get lastTerm(): number {
    return this.#tail.lastTerm;
  }

  /** Offset that the next record gets. */
  get nextOffset(): number {
    return this.#tail.nextOffset;
  }

  /** append_time of the last entry, Unix ms; the next one must not be earlier. */
  get lastAppendTime(): number {
    return this.#tail.lastAppendTime;
  }

  /** Every entry up to here is as durable as the log promises. */
  get durableIndex(): number {
    return this.#flusher.durableIndex;
  }

  /** Raised by every truncation; see LogEvents.durable. */
  get generation(): number {
    return this.#flusher.generation;
  }

  /** Bytes of all segments, heads included, written or not; index files are not counted. */
  get sizeBytes(): number {
    return this.#list.bytes(this.#tail.position);
  }

  /** Bytes that were appended and that no finished write covers: for back-pressure. */
  get unwrittenBytes(): number {
    return this.#tail.unwrittenBytes;
  }

  /** Bytes of memory that the tail holds. */
  get cachedBytes(): number {
    return this.#tail.memoryBytes;
  }

  /** The oldest index that readCached can serve. */
  get cachedFromIndex(): number {
    return this.#tail.firstIndex;
  }

  /** Segments that this process has begun since it opened the log. */
  get rolledCount(): number {
    return this.#flusher.rolledCount;
  }

  /** What is known to be committed. After opening: what the mark said, at most. */
  get commitIndex(): number {
    return this.#flusher.commitIndex;
  }

  /** A hint for the next mark; it never goes down, and nothing below it can be truncated. */
  set commitIndex(index: number) {
    if (index > this.#flusher.commitIndex) this.#flusher.commitIndex = index;
  }

  /** All damage that opening, reads and scrubs have found. */
  get damage(): DamageRange[] {
    return [...this.#damage, ...this.#list.segments.flatMap((segment) => segment.damage)];
  }

  /** The segments as retention sees them, oldest first. */
  segmentSummaries(): SegmentSummary[] {
    return this.#list.summaries(this.#tail.end());
  }

  /** Milliseconds of append time after which a segment is complete. */
  setMaxSegmentAge(ms: number): void {
    this.#tail.setMaxSegmentAge(ms);
  }

  /**
   * Copies one checked batch into the tail, stamps it with the next index and offset, and returns its
   * index. Synchronous, without allocation; it is written at the end of the turn at the latest.
   * `appendTime` in Unix ms, at least `lastAppendTime`.
   */
  append(source: Buffer, start: number, end: number, term: number, appendTime: number): number {
    assert(this.#flusher.state === LogState.OPEN && !this.#truncator.loading, 'the log takes no appends now');
    const index = this.#tail.append(source, start, end, term, appendTime);
    if (!this.#flushScheduled && this.#flusher.idle) this.#scheduleFlush();
    return index;
  }

  /** Copies one checked batch that its leader stamped, and that continues this log. */
  appendStamped(source: Buffer, start: number, end: number): void {
    assert(this.#flusher.state === LogState.OPEN && !this.#truncator.loading, 'the log takes no appends now');
    this.#tail.appendStamped(source, start, end);
    if (!this.#flushScheduled && this.#flusher.idle) this.#scheduleFlush();
  }

  #scheduleFlush(): void {
    this.#flushScheduled = true;
    this.#options.defer(this.#flushTask);
  }

  /** Starts writing what is queued; nothing to do while a write is in flight: the next one takes it. */
  flush(): void {
    this.#flusher.flush();
  }

  /** Resolves when nothing is queued or under way any more, or the log has failed. */
  whenIdle(): Promise<void> {
    return this.#flusher.whenIdle();
  }

  /** Resolves when everything that is durable by now is synced, whatever the durability; or the log has failed. */
  sync(): Promise<void> {
    return this.#flusher.sync();
  }

  /** For durability `interval`: to be called now and then with any monotonic time. */
  tick(nowMs: number): void {
    const { durability } = this.#options;
    if (durability.mode !== 'interval' || nowMs - this.#lastSyncMs < durability.ms) return;
    this.#lastSyncMs = nowMs;
    this.#flusher.requestSync();
  }

  /**
   * Removes the entries from `fromIndex` on, which must not be committed. The log's end is the new one
   * when this returns, and appends may follow at once (except after a cut deep into sealed segments:
   * `acceptsAppends`); resolves when the files agree, synced. Rejects with DiskError,
   * and with DamageError where the first of these entries is damaged: then nothing was changed.
   */
  truncateSuffix(fromIndex: number): Promise<void> {
    assert(this.acceptsAppends, 'the log is not open for truncation');
    assert(fromIndex > this.commitIndex, 'what is committed is never truncated');
    assert(fromIndex >= this.firstIndex, 'what is trimmed cannot be truncated');
    if (fromIndex > this.lastIndex) return Promise.resolve();
    return this.#truncator.truncate(fromIndex);
  }

  /** False while the log is not OPEN, or a truncation still reads where it has to cut. */
  get acceptsAppends(): boolean {
    return this.#flusher.state === LogState.OPEN && !this.#truncator.loading;
  }

  /**
   * Removes whole segments whose records all lie below `offset` and whose entries lie below
   * `keepFromIndex`. What is gone is gone for lookups at once; resolves with the bytes freed when the
   * files are deleted, which waits for reads in them. Rejects with DiskError; a later call tries again.
   */
  trimPrefix(offset: number, keepFromIndex: number): Promise<number> {
    const work = this.#trimmer.trim(offset, Math.min(keepFromIndex, this.durableIndex + 1));
    this.#tail.terms.trim(this.firstIndex);
    return work;
  }

  /** base_offset of the entry `index`; nextOffset for lastIndex + 1. Throws ColdError. */
  offsetAtIndex(index: number): number {
    return this.#lookup.offsetAtIndex(index);
  }

  /** The last entry whose base_offset is at most `offset`. Throws ColdError. */
  indexOfOffset(offset: number): number {
    return this.#lookup.indexOfOffset(offset);
  }

  /** The first entry with append_time ≥ `ms`; lastIndex + 1 when there is none. Throws ColdError. */
  firstIndexAtTime(ms: number): number {
    return this.#lookup.firstIndexAtTime(ms);
  }

  /** Term of the entry `index` (firstIndex − 1 … lastIndex). Throws ColdError. */
  termAt(index: number): number {
    return this.#lookup.termAt(index);
  }

  /** Bytes of the entries `from … to`; see Lookup. */
  bytesBetween(from: number, to: number): number {
    return this.#lookup.bytesBetween(from, to);
  }

  /**
   * Asks a question that may raise ColdError until it has an answer, opening what it needs.
   * Rejects with DiskError and DamageError.
   */
  async ask<T>(question: () => T): Promise<T> {
    for (;;) {
      try {
        return question();
      } catch (error) {
        if (!(error instanceof ColdError)) throw error;
        await error.load();
      }
    }
  }

  /**
   * Batches from `index` on out of memory, as views: at most `maxBytes` but at least one, none above
   * `limitIndex` (none at all when `index` is above it). Null when `index` is no longer in memory.
   */
  readCached(index: number, maxBytes: number, limitIndex: number): BatchRange | null {
    return this.#tail.read(index, maxBytes, limitIndex);
  }

  /**
   * The same from disk, every batch checked. May give less than asked (segment borders, damage behind
   * a good prefix). Rejects with DamageError when the first batch does not hold, TrimmedError, DiskError.
   */
  read(index: number, maxBytes: number, limitIndex: number): Promise<StoredRange> {
    return this.#reader.read(index, maxBytes, limitIndex);
  }

  /** Whether `range`, one of `damage`, can be put back in its place. */
  canRepair(range: DamageRange): boolean {
    return this.#list.segments.some((segment) => isRepairable(segment, range));
  }

  /**
   * Puts the entries of a damaged range back; false when `bytes` are not these. Nothing else may use the log,
   * which is then to be closed and opened anew. Rejects with DiskError.
   */
  async repair(range: DamageRange, bytes: Buffer): Promise<boolean> {
    const segment = this.#list.segments.find((one) => isRepairable(one, range));
    return segment !== undefined && repairSegment(this.#options.disk, segment, range, bytes);
  }

  /** Checks about `budgetBytes` of sealed segments, going on where it last stopped. Rejects with DiskError. */
  scrub(budgetBytes: number): Promise<ScrubResult> {
    return this.#scrubber.step(budgetBytes);
  }

  /** Gives back memory of the tail beyond `limitBytes`, as far as it is durable. */
  shrinkCache(limitBytes: number): void {
    this.#tail.evict(this.durableIndex, limitBytes);
  }

  /** Writes and syncs what is queued, if the log can, and closes its files. */
  async close(): Promise<void> {
    await this.#truncator.whenLoaded();
    await this.#scrubber.stop();
    await this.#flusher.whenIdle();
    this.#flusher.requestSync();
    await this.#flusher.whenIdle();
    if (this.state !== LogState.FAILED) this.#flusher.state = LogState.CLOSED;
    await this.#flusher.close();
    await this.#trimmer.whenIdle();
    for (const segment of this.#list.segments) {
      await (segment.state === SegmentState.SEALED ? this.#handles.drop(segment) : segment.letGo());
    }
  }
}

function nextMicrotask(): Promise<void> {
  return Promise.resolve();
}
