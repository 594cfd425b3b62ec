// What one open log needs besides answering: snapshots of its small state, retention, and deleting
// files that a trim left behind. Driven by ticks and by the replica; one disk job at a time.
//
// Invariant: entries are deleted only below the older of two synced snapshots, so that one damaged
// file never costs the producers, positions or the fence. A trim that needs it makes both: the
// second is of a later entry, a NOOP if nothing else comes. And the newest one knows of the trim:
// a member of a group starts with what it finds committed, and would take for lost what is gone.
import { DiskError, isDiskFull } from '../index/disk.ts';
import { LogState } from '../segment/log-options.ts';
import { Durability } from '../wire/ops.ts';
import type { NodeContext } from './context.ts';
import { ControlType } from './control.ts';
import type { LogReplica } from './log-replica.ts';
import { AgeBudget, trimOffsetByAge, trimOffsetByBytes } from './retention.ts';
import type { SnapshotStore } from './snapshot-store.ts';
import { SNAPSHOTS_KEPT } from './snapshot-store.ts';

/** A snapshot at a roll is worth writing when so many times its own size was appended since the last. */
const SNAPSHOT_WORTH = 8;

/** How often retention looks at a log. */
const RETENTION_EVERY_MS = 5_000;

/** How often the disk work that is due is looked for; a trim looks at once. */
const WORK_EVERY_MS = 1_000;

export class LogUpkeep {
  readonly replica: LogReplica;
  readonly snapshots: SnapshotStore;
  readonly #context: NodeContext;
  readonly #budget = new AgeBudget();
  #job: Promise<void> | null = null;
  #retentionAtMs = 0;
  #workAtMs = 0;
  #rolledSeen = 0;
  /** `appendedBytes` of the replica at the last snapshot. */
  #snapshotBytes = 0;
  #closing = false;
  /** Age retention wants more than it may take in this minute. */
  #behind = false;

  constructor(context: NodeContext, replica: LogReplica, snapshots: SnapshotStore) {
    this.#context = context;
    this.replica = replica;
    this.snapshots = snapshots;
    // What was appended since the snapshot that was loaded is not known: take it for enough.
    this.#snapshotBytes = -Infinity;
    replica.onTrimmed = () => this.#start();
  }

  /** Nothing is under way on disk, and retention has nothing left to do. */
  get idle(): boolean {
    return this.#job === null && !this.#behind;
  }

  tick(monotonicMs: number): void {
    const replica = this.replica;
    if (replica.readRefusal !== 0 || this.#closing) return;
    if (monotonicMs >= this.#retentionAtMs) {
      this.#retentionAtMs = monotonicMs + RETENTION_EVERY_MS;
      this.#retain(monotonicMs);
    }
    if (monotonicMs < this.#workAtMs) return;
    this.#workAtMs = monotonicMs + WORK_EVERY_MS;
    this.replica.group.retry();
    this.#start();
  }

  /** Proposes the trim that the log's settings ask for. */
  #retain(monotonicMs: number): void {
    const { descriptor, log, group, logStart, committedEnd } = this.replica;
    const { retainBytes, retainMs } = descriptor.settings;
    if (group.refusal !== 0 || (retainBytes === 0 && retainMs === 0)) return;
    const segments = log.segmentSummaries();
    let offset = trimOffsetByBytes(segments, retainBytes);
    const { clock } = this.#context;
    const allowed = this.#budget.available(monotonicMs, log.rolledCount);
    this.#behind = false;
    if (!clock.suspect) {
      const byAge = trimOffsetByAge(segments, retainMs, clock.nowMs(), logStart, allowed);
      this.#behind = trimOffsetByAge(segments, retainMs, clock.nowMs(), logStart, allowed + 1).segments > byAge.segments;
      // The newest segment may end in records that are not committed yet: later, then.
      if (byAge.offset > logStart && byAge.offset <= committedEnd) {
        this.#budget.spend(byAge.segments, monotonicMs);
        offset = Math.max(offset, byAge.offset);
      }
    }
    if (offset > logStart && offset <= committedEnd) this.replica.writes.trimByRetention(offset);
  }

  /** Begins the disk work that is due, unless some is under way. */
  #start(): void {
    if (this.#job !== null || this.#closing || !this.#isDue()) return;
    this.#job = this.#work().then(
      () => {
        this.#job = null;
      },
      (error: unknown) => {
        this.#job = null;
        if (!(error instanceof DiskError)) throw error;
        this.#context.logEvent('warn', 'log upkeep failed', { log: this.replica.descriptor.name, reason: error.message });
        // Not again at once: the next roll or trim tries anew.
        this.#rolledSeen = this.replica.log.rolledCount;
      },
    );
  }

  #isDue(): boolean {
    return this.#snapshotIsDue() || this.#lastTrimmableIndex() > 0;
  }

  #snapshotIsDue(): boolean {
    const { log, appendedBytes } = this.replica;
    if (log.rolledCount === this.#rolledSeen) return false;
    return appendedBytes - this.#snapshotBytes >= SNAPSHOT_WORTH * this.snapshots.newestBytes;
  }

  /** The last index that lies in a segment of which no record is kept; 0 when there is none. */
  #lastTrimmableIndex(): number {
    const { log, logStart } = this.replica;
    if (log.firstOffset >= logStart) return 0;
    const segments = log.segmentSummaries();
    let last = 0;
    for (let i = 0; i + 1 < segments.length && segments[i]!.nextOffset <= logStart; i++) last = segments[i + 1]!.firstIndex - 1;
    return last;
  }

  async #work(): Promise<void> {
    if (this.#snapshotIsDue()) await this.snapshot();
    const last = this.#lastTrimmableIndex();
    if (last === 0) return;
    for (let i = 0; i < SNAPSHOTS_KEPT && this.snapshots.safeIndex < last; i++) {
      if (this.replica.state.appliedIndex > this.snapshots.newestIndex) await this.snapshot();
    }
    if (this.snapshots.safeIndex < last) this.#proposeNoop();
    const { descriptor, log, logStart } = this.replica;
    if (this.snapshots.newestStart < logStart) await this.snapshot();
    // The entry that moved the log's start must outlive the records below it.
    if (descriptor.settings.durability !== Durability.FSYNC) await log.sync();
    if (log.state !== LogState.OPEN) return;
    const before = log.segmentSummaries().length;
    const trimming = log.trimPrefix(logStart, Math.min(this.snapshots.safeIndex + 1, this.replica.group.neededFromIndex));
    this.replica.group.trimmed();
    await trimming;
    this.#context.counters.segmentsTrimmed += before - log.segmentSummaries().length;
  }

  /** Something to make a second snapshot of; the tick after its commit goes on. */
  #proposeNoop(): void {
    const { group, overlay } = this.replica;
    if (group.refusal !== 0 || overlay.lastIndex > this.snapshots.newestIndex) return;
    this.replica.propose({ type: ControlType.NOOP });
  }

  /** Writes a snapshot of the applied state; what it rests on is synced first. Rejects with DiskError. */
  async snapshot(): Promise<void> {
    const { descriptor, log, state } = this.replica;
    this.#rolledSeen = log.rolledCount;
    this.#snapshotBytes = this.replica.appendedBytes;
    if (state.appliedIndex === this.snapshots.newestIndex) return;
    if (descriptor.settings.durability !== Durability.FSYNC) await log.sync();
    if (log.state === LogState.FAILED) return;
    await this.snapshots.write(state);
    this.#context.counters.snapshotsWritten++;
  }

  /** A snapshot of now, for a replica that is to be brought on; null when the log is being closed. Rejects with DiskError. */
  async freshSnapshot(): Promise<{ path: string; index: number } | null> {
    while (this.#job !== null) await this.#job;
    if (this.#closing) return null;
    const job = this.snapshot();
    const ended = (): void => void (this.#job = null);
    this.#job = job.then(ended, ended);
    await job;
    return { path: this.snapshots.newestPath, index: this.snapshots.newestIndex };
  }

  /** Ends the work under way and writes the last snapshot. Rejects with DiskError. */
  async finish(): Promise<void> {
    this.#closing = true;
    while (this.#job !== null) await this.#job;
    if (this.replica.group.refusal !== 0) return;
    try {
      await this.snapshot();
    } catch (error) {
      // It saves time at the next opening, no more: a log can be closed and deleted without.
      if (!isDiskFull(error)) throw error;
      this.#context.logEvent('warn', 'no room for a snapshot', { log: this.replica.descriptor.name });
    }
  }

  /** `finish` was for nothing: the log stays open. */
  resume(): void {
    this.#closing = false;
  }
}
