// The one writer of a log: takes what is queued, writes it, syncs it, writes the mark, says so; then the
// next group. Truncations, the syncs of `interval` and the cut after a full disk run in the same loop,
// one at a time, so that no two of them ever meet. No timer: what queues during one sync is the next group.
//
// Invariants: durable(index) is reported only after the write, the sync, the name of the file and the
// mark; a failed sync or write is never repeated; durableIndex ≤ lastIndex; a report carries the generation
// in which its group was taken.
import { DiskError, isDiskFull } from '../index/disk.ts';
import { performCut, type PendingCut } from './cut.ts';
import { type LogEvents, type LogOptions, LogState } from './log-options.ts';
import type { HandleCache } from './handles.ts';
import { Latch } from './latch.ts';
import type { SegmentList } from './list.ts';
import { type LogEnd, SEGMENT_HEAD_SIZE } from './mark.ts';
import { type Segment, SegmentState } from './segment.ts';
import { SegmentWriter } from './segment-writer.ts';
import type { Tail } from './tail.ts';
import { WriteGroup } from './write-group.ts';

export interface FlusherParts {
  readonly options: LogOptions;
  readonly tail: Tail;
  readonly list: SegmentList;
  readonly handles: HandleCache;
  readonly yieldTurn: () => Promise<void>;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class Flusher {
  events: LogEvents | null = null;
  state: LogState = LogState.OPEN;
  /** Why `state` is FAILED. */
  error: DiskError | null = null;
  /** Raised by every truncation. */
  generation = 0;
  /** What is known to be committed; a hint that the mark carries. */
  commitIndex: number;
  readonly #parts: FlusherParts;
  readonly #writer: SegmentWriter;
  readonly #group = new WriteGroup();
  /** The end of what was reported durable. */
  readonly #durable: LogEnd;
  #running = false;
  #cut: PendingCut | null = null;
  #cutWaiters: Waiter[] = [];
  readonly #becameIdle = new Latch();
  #syncWanted = false;
  readonly #synced = new Latch();

  /** Goes on after `durable`, in `newest`, the newest segment that has a file. */
  constructor(parts: FlusherParts, newest: Segment, durable: LogEnd, commitIndex: number) {
    this.#parts = parts;
    this.#writer = new SegmentWriter(parts, newest);
    this.#durable = durable.copy();
    this.commitIndex = commitIndex;
  }

  get durableIndex(): number {
    return this.#durable.index;
  }

  get rolledCount(): number {
    return this.#writer.rolledCount;
  }

  /** Whether nothing is under way. */
  get idle(): boolean {
    return !this.#running;
  }

  /** Starts on what is queued, unless it is at work already or may not write. */
  flush(): void {
    if (this.#running || this.state !== LogState.OPEN) return;
    if (this.#parts.tail.unwrittenBytes === 0 && this.#cut === null && !this.#syncWanted) return;
    void this.#run();
  }

  /** Syncs what is written and not yet synced, in its turn (durability `interval`, and on close). */
  requestSync(): void {
    this.#syncWanted ||= this.#writer.unsynced;
    this.flush();
  }

  /** Resolves when everything that is written by now is synced, or the log writes no more. */
  sync(): Promise<void> {
    if (!this.#writer.unsynced || this.state !== LogState.OPEN) return Promise.resolve();
    const synced = this.#synced.wait();
    this.requestSync();
    return synced;
  }

  /** Resolves when nothing is under way or queued, or the log has failed. */
  whenIdle(): Promise<void> {
    this.flush();
    return this.#running ? this.#becameIdle.wait() : Promise.resolve();
  }

  /**
   * Takes over a truncation that the tail and the list have already made: from now on the generation
   * is a new one, and durable is at most the cut. Resolves when the files agree, synced.
   */
  cut(end: LogEnd, target: Segment, removed: Segment[], force = false): Promise<void> {
    if (this.state === LogState.FAILED) return Promise.reject(this.error!);
    this.generation++;
    if (end.index < this.#durable.index) this.#durable.set(end);
    const pending = this.#cut;
    if (pending === null) {
      this.#cut = { end, target, removed, force };
    } else {
      pending.removed.push(...removed);
      pending.force ||= force;
      // The lower one counts, the older of two equal ones: what was appended since then, and the
      // segments that were planned for it, never got near a file.
      if (end.index < pending.end.index) {
        pending.end = end;
        pending.target = target;
      }
    }
    return new Promise((resolve, reject) => {
      this.#cutWaiters.push({ resolve, reject });
      this.flush();
    });
  }

  /** Stops all writing for good; what is in flight ends by itself and reports nothing. */
  fail(error: DiskError): void {
    if (this.state === LogState.FAILED || this.state === LogState.CLOSED) return;
    // Whoever is told ENOSPC or EDQUOT waits for `resumed`, which never comes after a failed sync or cut.
    const final = isDiskFull(error) ? new DiskError('EIO', 'write', error.path, { cause: error }) : error;
    this.state = LogState.FAILED;
    this.error = final;
    this.#cut = null;
    for (const { reject } of this.#cutWaiters.splice(0)) reject(final);
    this.events?.failed(final);
  }

  /** Waits for what runs beside the loop. The caller has waited for `whenIdle`. */
  close(): Promise<void> {
    return this.#writer.close(this.error !== null);
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.state === LogState.OPEN || this.state === LogState.FULL) {
        if (this.#cut !== null) await this.#performCut();
        // Before the next group: under constant load there is always one.
        else if (this.#syncWanted) await this.#syncNewest();
        else if (this.#group.take(this.#parts.tail, this.generation)) await this.#writeGroup();
        else break;
      }
    } catch (error) {
      // Not the disk's doing but our own bug: no further write, and let it be seen.
      this.state = LogState.FAILED;
      throw error;
    } finally {
      this.#running = false;
      if (this.state === LogState.FAILED) this.#synced.release();
      this.#becameIdle.release();
    }
  }

  async #writeGroup(): Promise<void> {
    const group = this.#group;
    try {
      await this.#writer.write(group, this.commitIndex);
    } catch (error) {
      group.clear();
      this.#writeFailed(error);
      return;
    }
    // The members go before anybody is told: a report may append, truncate or close.
    const { generation } = group;
    const { index, term } = group.end;
    const { tail } = this.#parts;
    group.noteWritten(tail);
    if (generation !== this.generation) tail.recount();
    const reached = this.#cut !== null && this.#cut.end.index < index ? this.#cut.end : group.end;
    if (reached.index > this.#durable.index) this.#durable.set(reached);
    group.clear();
    tail.evict(this.#durable.index);
    if (this.state !== LogState.FAILED) this.events?.durable(index, term, generation);
  }

  #writeFailed(error: unknown): void {
    if (!(error instanceof DiskError)) throw error;
    // What a failed sync (or a name in doubt) left on disk is unknown, whatever the code: that is final.
    if (isDiskFull(error) && !this.#writer.inDoubt) this.#diskFull(error);
    else this.fail(error);
  }

  /** Back to what is durable, and no appends until that cut is synced. */
  #diskFull(error: DiskError): void {
    const { tail, list } = this.#parts;
    const end = this.#durable.copy();
    const removed = list.truncate(end.index + 1);
    const target = list.last;
    if (target.firstIndex > end.index) end.position = SEGMENT_HEAD_SIZE;
    tail.truncate(target, end);
    this.state = LogState.FULL;
    this.cut(end, target, removed, true).catch(() => {});
    this.events?.failed(error);
  }

  async #performCut(): Promise<void> {
    const cut = this.#cut!;
    const waiters = this.#cutWaiters;
    this.#cut = null;
    this.#cutWaiters = [];
    const { options, handles, list, yieldTurn } = this.#parts;
    const { disk, syncGate } = options;
    try {
      await performCut(cut, this.commitIndex, { disk, handles, syncGate, yieldTurn, scratch: this.#writer.scratch });
    } catch (error) {
      // A truncation that failed half-way cannot be told from one that did not happen.
      if (!(error instanceof DiskError)) throw error;
      this.fail(error);
      for (const { reject } of waiters) reject(error);
      return;
    }
    this.#writer.newest = list.segments.findLast((segment) => segment.state !== SegmentState.PLANNED)!;
    for (const { resolve } of waiters) resolve();
    // Reports that the truncation made obsolete are repeated for what is left.
    this.events?.durable(this.#durable.index, this.#durable.term, this.generation);
    if (this.state !== LogState.FULL || this.#cut !== null) return;
    this.state = LogState.OPEN;
    this.events?.resumed?.();
  }

  async #syncNewest(): Promise<void> {
    this.#syncWanted = false;
    try {
      await this.#writer.syncNewest(this.commitIndex);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.fail(error);
    }
    this.#synced.release();
  }
}
