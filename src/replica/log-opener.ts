// Opens logs at first use and closes those that nobody uses, so that a node may have a thousand of them
// with few files open. What is asked of a log meanwhile waits in its slot.
//
// Invariant: everything that changes a slot (opening, closing, altering, deleting) runs under
// `slot.changing`, one at a time; only an idle log is closed while the node runs. There are two bounds: above
// `openMax` logs are closed when they were unused for a while; above `limit` none is opened before another
// was closed, because file descriptors that run out would stop logs that are in use.
import { DiskError, isDiskFull } from '../index/disk.ts';
import { DamageError } from '../segment/damage.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { Latch } from '../segment/latch.ts';
import { ErrorCode, ProtocolError } from '../wire/errors.ts';
import type { Replacement } from './catch-up/replacement.ts';
import type { NodeContext } from './context.ts';
import type { LogFiles } from './log-files.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogSlot, LogTask } from './log-slot.ts';
import { openLog } from './open-log.ts';
import type { OpenLog } from './open-log.ts';
import { lostBelow } from './read-start.ts';

/** A log is not closed before it was unused for so long. */
const UNUSED_MS = 10_000;

/** A closed log with an age limit is opened when it was unused for so long; one log per step. */
const RETENTION_CLOSED_MS = 600_000;
const RETENTION_STEP_MS = 2_000;

/** How long a log waits for another to be closed while all that may be open are in use. */
const ROOM_PATIENCE_MS = 1_000;

/** Too many files are open. Like a full disk this passes by itself: asked again, the log is opened again. */
const NO_DESCRIPTORS = new Set(['EMFILE', 'ENFILE']);

export interface OpenerOptions {
  /** Logs that may be open at once while they are not used. */
  readonly openMax: number;
  /** Logs that may be open at once. */
  readonly limit: number;
  readonly slots: () => Iterable<LogSlot>;
}

export class LogOpener {
  openCount = 0;
  readonly #context: NodeContext;
  readonly #files: LogFiles;
  readonly #options: OpenerOptions;
  /** Being opened: they count against the limit too. */
  #opening = 0;
  readonly #lookAgain = new Latch();
  #stopping = false;
  #retentionAtMs: number;

  constructor(context: NodeContext, files: LogFiles, options: OpenerOptions) {
    this.#context = context;
    this.#files = files;
    this.#options = options;
    this.#retentionAtMs = context.clock.monotonicMs() + RETENTION_STEP_MS;
  }

  /** Gives `task` the open log, now or later. */
  whenOpen(slot: LogSlot, task: LogTask): void {
    if (slot.deleted) return task.fail(ErrorCode.LOG_NOT_FOUND, 'the log was deleted');
    slot.lastUsedMs = this.#context.clock.monotonicMs();
    if (slot.replica !== null) return task.run(slot.replica);
    if (slot.failure !== '') return task.fail(ErrorCode.LOG_STOPPED, slot.failure);
    slot.addTask(task);
    void this.open(slot);
  }

  /** Resolves when it is open, or has failed to open (`failure`), or is deleted. Never rejects. */
  async open(slot: LogSlot): Promise<void> {
    while (slot.changing !== null) await slot.changing;
    if (slot.replica !== null || slot.deleted || slot.failure !== '') return;
    await this.#exclusively(slot, () => this.#open(slot));
  }

  /** Opens a log to see what it has; it does not stay open when too many are. Never rejects. */
  async visit(slot: LogSlot): Promise<void> {
    await this.open(slot);
    if (this.openCount > this.#options.openMax && slot.replica?.idle === true) await this.close(slot);
  }

  /** Changes a living log, alone. Rejects with ProtocolError LOG_NOT_FOUND when it was deleted meanwhile. */
  async change(slot: LogSlot, work: () => Promise<void>): Promise<void> {
    while (slot.changing !== null) await slot.changing;
    if (slot.deleted) throw new ProtocolError(ErrorCode.LOG_NOT_FOUND);
    await this.#exclusively(slot, work);
  }

  async #exclusively(slot: LogSlot, work: () => Promise<void>): Promise<void> {
    let ended = (): void => {};
    slot.changing = new Promise((resolve) => {
      ended = resolve;
    });
    try {
      await work();
    } finally {
      slot.changing = null;
      ended();
      // Requests that came meanwhile want it open.
      if (slot.waitingTasks > 0 && !slot.deleted) void this.open(slot);
    }
  }

  async #open(slot: LogSlot): Promise<void> {
    if (this.#stopping) return slot.failTasks(ErrorCode.SHUTTING_DOWN, 'the node is stopping');
    if (!(await this.#makeRoom())) {
      return slot.failTasks(ErrorCode.OVERLOADED, `${this.#options.limit} logs are in use, and for more the limit of open files is too low`);
    }
    let opened: OpenLog;
    this.#opening++;
    try {
      const folder = await this.#files.generationFolder(slot.directory);
      opened = await openLog(this.#context, slot.descriptor, folder, (replica, replacement) => this.reinstall(slot, replica, replacement));
    } catch (error) {
      return this.#openingFailed(slot, error);
    } finally {
      this.#opening--;
    }
    this.#countDamage(opened.replica);
    slot.replica = opened.replica;
    slot.upkeep = opened.upkeep;
    slot.lastUsedMs = this.#context.clock.monotonicMs();
    this.openCount++;
    this.#context.counters.logsOpened++;
    slot.runTasks(opened.replica);
  }

  /**
   * Closes the log that was unused for longest when there are as many as may be, and waits a little while all
   * are in use; false when they stay so.
   */
  async #makeRoom(): Promise<boolean> {
    const { clock } = this.#context;
    const untilMs = clock.monotonicMs() + ROOM_PATIENCE_MS;
    while (this.openCount + this.#opening >= this.#options.limit) {
      let oldest: LogSlot | null = null;
      for (const slot of this.#options.slots()) if (isIdle(slot) && (oldest === null || slot.lastUsedMs < oldest.lastUsedMs)) oldest = slot;
      if (oldest !== null) await this.close(oldest);
      else if (clock.monotonicMs() >= untilMs || this.#stopping) return false;
      else await this.#lookAgain.wait();
    }
    return true;
  }

  /** Lets those who wait for room look again: at each tick of the node. */
  wake(): void {
    this.#lookAgain.release();
  }

  /** What was found damaged, and the files that only the log's state still knows of. */
  #countDamage(replica: LogReplica): void {
    const { counters, logEvent } = this.#context;
    counters.damageFound += replica.log.damage.length;
    const readable = lostBelow(replica);
    if (readable === replica.logStart) return;
    counters.damageFound++;
    const damage = `the segment files of offsets ${replica.logStart}..${readable - 1} are missing`;
    logEvent('error', 'damage found', { log: replica.descriptor.name, damage });
  }

  /** Whatever it is, this log cannot be served, and every other one can. */
  #openingFailed(slot: LogSlot, error: unknown): void {
    const reason = messageOf(error);
    this.#context.logEvent('error', 'log cannot be opened', { log: slot.name, reason });
    if (isDiskFull(error) || (error instanceof DiskError && NO_DESCRIPTORS.has(error.code))) {
      this.#context.space.exhausted();
      return slot.failTasks(ErrorCode.OVERLOADED, reason);
    }
    slot.failure = `the log cannot be opened: ${reason}; check the disk and restart sidelog`;
    slot.failTasks(ErrorCode.LOG_STOPPED, slot.failure);
  }

  /** Closes a log, with a snapshot, so that opening it again is quick. Never rejects. */
  async close(slot: LogSlot): Promise<void> {
    while (slot.changing !== null) await slot.changing;
    if (slot.replica === null) return;
    await this.#exclusively(slot, () => this.#close(slot));
  }

  async #close(slot: LogSlot): Promise<void> {
    const replica = slot.replica!;
    slot.replica = null;
    try {
      await replica.group.settled();
      await slot.upkeep!.finish();
    } catch (error) {
      this.#closedBadly(slot, error);
    }
    slot.noteLast(replica);
    replica.end(ErrorCode.LEADERSHIP_LOST, ErrorCode.SHUTTING_DOWN);
    await this.release(slot, replica);
  }

  /** Puts other files in the place of an open replica's, and opens it on them. Never rejects. */
  async reinstall(slot: LogSlot, replica: LogReplica, replacement: Replacement): Promise<void> {
    while (slot.changing !== null) await slot.changing;
    // It was made beside the files of that replica: another one may have other files by now.
    if (this.#stopping || slot.replica !== replica || replica.group.refusal === 0) return replacement.discard();
    await this.#exclusively(slot, () => this.#reinstall(slot, replica, replacement));
    await this.open(slot);
  }

  async #reinstall(slot: LogSlot, replica: LogReplica, replacement: Replacement): Promise<void> {
    slot.replica = null;
    void replica.group.close();
    try {
      await slot.upkeep!.finish();
      slot.noteLast(replica);
      replica.end(ErrorCode.LEADERSHIP_LOST, ErrorCode.OVERLOADED);
      await replacement.replace(replica.log);
      if (replacement.kind === 'repair') this.#context.counters.repairs++;
      else this.#context.counters.snapshotsInstalled++;
    } catch (error) {
      // The generation that CURRENT names counts, whichever it is.
      this.#closedBadly(slot, error);
      await replacement.discard();
    }
    await this.release(slot, replica);
  }

  /** Closes the files of a log that takes no requests any more. Never rejects. */
  async release(slot: LogSlot, replica: LogReplica): Promise<void> {
    slot.upkeep = null;
    this.openCount--;
    this.#context.counters.logsClosed++;
    await replica.group.close();
    try {
      await replica.log.close();
    } catch (error) {
      this.#closedBadly(slot, error);
    }
  }

  #closedBadly(slot: LogSlot, error: unknown): void {
    if (!(error instanceof DiskError) && !(error instanceof DamageError)) throw error;
    this.#context.logEvent('warn', 'log closed badly', { log: slot.name, reason: error.message });
  }

  /** Closes what is not used while too many are open; opens what age retention has to look at. */
  tick(nowMs: number): void {
    if (nowMs >= this.#retentionAtMs) this.#openForRetention(nowMs);
    const unused: LogSlot[] = [];
    for (const slot of this.#options.slots()) {
      const { replica } = slot;
      if (replica === null || slot.changing !== null) continue;
      if (!isIdle(slot) || replica.activity !== slot.activitySeen) slot.lastUsedMs = nowMs;
      else if (nowMs - slot.lastUsedMs >= UNUSED_MS) unused.push(slot);
      slot.activitySeen = replica.activity;
    }
    const tooMany = this.openCount - this.#options.openMax;
    if (tooMany <= 0) return;
    unused.sort((a, b) => a.lastUsedMs - b.lastUsedMs);
    for (const slot of unused.slice(0, tooMany)) void this.close(slot);
  }

  /** One closed log at a time: its upkeep then sees to it, and it is closed like any other. */
  #openForRetention(nowMs: number): void {
    this.#retentionAtMs = nowMs + RETENTION_STEP_MS;
    for (const slot of this.#options.slots()) {
      const { retainMs } = slot.descriptor.settings;
      if (retainMs === 0 || slot.replica !== null || slot.changing !== null || slot.failure !== '') continue;
      if (nowMs - slot.lastUsedMs < RETENTION_CLOSED_MS) continue;
      slot.lastUsedMs = nowMs;
      void this.open(slot);
      return;
    }
  }

  /** No log is opened from here on. */
  stop(): void {
    this.#stopping = true;
    this.wake();
  }
}

function isIdle({ replica, upkeep, changing }: LogSlot): boolean {
  return replica !== null && changing === null && replica.idle && upkeep!.idle;
}
