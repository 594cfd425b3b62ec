// All named logs of this node: which there are; creating, altering, deleting and restoring them. Opening
// and closing is log-opener.ts, the folders on disk are log-files.ts.
//
// Invariants: a name belongs to at most one living log, and stays taken until the deletion is on disk;
// changes of one log run one after another; what was answered is on disk.
import { DiskError } from '../index/disk.ts';
import { ErrorCode, ProtocolError } from '../wire/errors.ts';
import type { NodeContext } from './context.ts';
import { endReplica } from './end-replica.ts';
import { LogFiles, LOGS, missingFolders, TRASH } from './log-files.ts';
import type { FoundLog } from './log-files.ts';
import { LogOpener } from './log-opener.ts';
import type { LogReplica } from './log-replica.ts';
import { segmentAgeMsMax } from './log-settings.ts';
import type { LogDescriptor, LogSettings } from './log-settings.ts';
import { LogSlot } from './log-slot.ts';
import { checkRelabel, relabel, RestoreError } from './restore.ts';
import { Trash } from './trash.ts';
import { unlessFull, UnknownReplicas } from './unknown-replicas.ts';

export interface LogsOptions {
  readonly logsMax: number;
  /** Logs that may be open at once; more are open only while they are in use. */
  readonly openLogsMax: number;
  /** Logs that may be open at once in any case. */
  readonly openLogsLimit: number;
  readonly trashKeepMs: number;
}

/** The replica_id of the only replica of a log, until a catalog gives them out. */
const FIRST_REPLICA = 1;

/** Logs opened at once for a list: their terms then share a few syncs. */
const OPENS_AT_ONCE = 16;

export class Logs {
  readonly trash: Trash;
  readonly opener: LogOpener;
  readonly #files: LogFiles;
  readonly #unknown: UnknownReplicas;
  readonly #context: NodeContext;
  readonly #options: LogsOptions;
  readonly #byName = new Map<string, LogSlot>();
  /** By folder, why the log in it is not served. */
  readonly leftOut = new Map<string, string>();
  /** Folders of which it cannot be told whose they are: any name that is not found may be theirs. */
  readonly #nameless: string[] = [];
  /** Names that are being created: the second of two waits for the first. */
  readonly #creating = new Map<string, Promise<LogSlot>>();

  /** By log_uid in the trash, what a restore that failed is to become: the next attempt goes on with it. */
  readonly #restoring = new Map<string, LogDescriptor>();

  /** By name, what a failed creation left on disk: it must be gone before another log gets the name. */
  readonly #halfMade = new Map<string, string>();

  constructor(context: NodeContext, options: LogsOptions) {
    this.#context = context;
    this.#options = options;
    this.#files = new LogFiles(context.disk);
    this.#unknown = new UnknownReplicas(context.journal, () => this.slots());
    const { openLogsMax: openMax, openLogsLimit: limit } = options;
    this.opener = new LogOpener(context, this.#files, { openMax, limit, slots: () => this.slots() });
    this.trash = new Trash(context, this.#files, options.trashKeepMs);
  }

  get count(): number {
    return this.#byName.size;
  }

  /** Folders left out at the start: a restart looks at them again. */
  get namelessCount(): number {
    return this.#nameless.length;
  }

  slots(): IterableIterator<LogSlot> {
    return this.#byName.values();
  }

  /** Those whose name begins with `prefix`, in the order of their names as bytes (names are ASCII). */
  list(prefix: string): LogSlot[] {
    return [...this.#byName.values()].filter(({ name }) => name.startsWith(prefix)).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  find(name: string): LogSlot | null {
    return this.#byName.get(name) ?? null;
  }

  /** What is true of a name that `find` does not know: there is no such log, or it cannot be told. */
  absence(): ProtocolError {
    if (this.#nameless.length === 0) return new ProtocolError(ErrorCode.LOG_NOT_FOUND);
    const message = `it may be one of the ${this.#nameless.length} logs that cannot be read (${this.#nameless[0]!}); check the disk and restart sidelog`;
    return new ProtocolError(ErrorCode.LOG_STOPPED, { message });
  }

  /** Reads which logs there are, and finishes what a crash interrupted. Rejects with DiskError. */
  async start(): Promise<void> {
    await this.#files.prepare();
    const { logs, restoring } = await this.#files.findLogs();
    const trash = await this.#files.findTrash();
    for (const found of logs) await this.#startLog(found);
    for (const found of trash) if (this.trash.get(found.uid) === null) this.#startTrash(found);
    for (const found of restoring) await this.#resumeRestore(found);
    for (const found of trash) {
      const { descriptor, uid } = found;
      // Its descriptor is that of the log it is to become: a crash came before the folder was moved.
      if (typeof descriptor !== 'string' && descriptor.uid !== uid) await this.#resumeFromTrash(uid, descriptor);
    }
    for (const uid of missingFolders(this.#context.journal.list(), [...logs, ...restoring, ...trash])) {
      this.#nameless.push(`${LOGS}/${uid}`);
      const reason = 'its folder is missing: put it back from a backup, or give it up with "sidelog verify --accept-loss"';
      this.#leaveOut(`${LOGS}/${uid}`, reason);
    }
    // A log whose name cannot be read may be among them. On a full disk whoever makes the next log does it.
    if (this.#nameless.length === 0) await this.#unknown.enter().catch(unlessFull);
  }

  #leaveOut(folder: string, reason: string): void {
    this.leftOut.set(folder, reason);
    this.#context.logEvent('error', 'log left out', { folder, reason });
  }

  async #startLog({ folder, uid, descriptor }: FoundLog): Promise<void> {
    if (typeof descriptor === 'string' || descriptor.uid !== uid) {
      const reason = typeof descriptor === 'string' ? descriptor : 'it names another log_uid';
      if (typeof descriptor === 'string') this.#nameless.push(folder);
      this.#leaveOut(folder, reason);
      return;
    }
    if (descriptor.deletedMs !== undefined) {
      await endReplica(this.#context.journal, uid, descriptor.replicaId).catch(() => {}); // again when the trash goes
      await this.#files.moveToTrash(uid);
      this.trash.add(descriptor);
      return;
    }
    const other = this.find(descriptor.name);
    if (other === null) this.#byName.set(descriptor.name, new LogSlot(descriptor));
    else this.#leaveOut(folder, `its name belongs to ${other.uid}`);
  }

  #startTrash({ folder, uid, descriptor }: FoundLog): void {
    if (typeof descriptor !== 'string' && descriptor.uid === uid && descriptor.deletedMs !== undefined) {
      this.trash.add(descriptor);
    } else if (typeof descriptor === 'string') {
      this.#context.logEvent('error', 'trash left alone', { folder, reason: descriptor });
    }
  }

  // Creating and restoring

  /** Rejects with ProtocolError LOG_EXISTS, LOG_STOPPED or INVALID_ARGUMENT, or DiskError. */
  create(name: string, settings: LogSettings): Promise<LogSlot> {
    return this.#reserve(name, () => this.#makeFolder(this.#newDescriptor(name, settings)));
  }

  async #makeFolder(descriptor: LogDescriptor): Promise<LogDescriptor> {
    const { name, uid } = descriptor;
    try {
      await this.#files.create(descriptor);
    } catch (error) {
      this.#halfMade.set(name, uid);
      await this.#discardHalfMade(name).catch(() => {});
      throw error;
    }
    return descriptor;
  }

  /**
   * Makes this node's replica of a log that has others elsewhere. `descriptor.voters` are the founders of a new
   * group, the same on each of them and this replica among them; empty for a replica that is to be added to a
   * group that there is (RaftGroup.changeConfig at its leader). Rejects as `create`; with INVALID_ARGUMENT when this
   * node had that replica already: it may have forgotten promises, and comes back under another replica id only.
   */
  join(descriptor: LogDescriptor): Promise<LogSlot> {
    const { uid, replicaId, name } = descriptor;
    if (this.#context.journal.get(Buffer.from(uid, 'hex'), replicaId) !== null) {
      const message = 'this node had that replica before: it must come back under another replica id';
      return Promise.reject(new ProtocolError(ErrorCode.INVALID_ARGUMENT, { field: 'replica_id', message }));
    }
    // Of a folder that is gone it is known now whose it was.
    const missing = this.#nameless.indexOf(`${LOGS}/${uid}`);
    if (missing >= 0) this.#nameless.splice(missing, 1);
    this.leftOut.delete(`${LOGS}/${uid}`);
    return this.#reserve(name, async () => {
      await this.trash.finishBurying(uid);
      return this.#makeFolder(descriptor);
    });
  }

  /** Opens the logs whose other replicas wait for this one. */
  openShared(): void {
    for (const slot of this.slots()) if (slot.descriptor.voters !== undefined) void this.opener.open(slot);
  }

  /** Brings a deleted log back. Rejects with ProtocolError LOG_NOT_FOUND, LOG_EXISTS, …, or DiskError. */
  restore(name: string, trashUid: string): Promise<LogSlot> {
    if (this.trash.get(trashUid) === null) return Promise.reject(new ProtocolError(ErrorCode.LOG_NOT_FOUND));
    return this.#reserve(name, async () => {
      const deleted = this.trash.take(trashUid);
      if (deleted === null) throw new ProtocolError(ErrorCode.LOG_NOT_FOUND);
      try {
        return await this.#restore(name, deleted);
      } catch (error) {
        this.trash.hold(deleted);
        throw error;
      }
    });
  }

  /** The same restore goes on where it failed before: its files may name the new log_uid already. */
  async #restore(name: string, deleted: LogDescriptor): Promise<LogDescriptor> {
    const begun = this.#restoring.get(deleted.uid);
    if (begun === undefined) await this.#checkTrash(deleted.uid);
    const descriptor = { ...(begun ?? { ...this.#newDescriptor(name, deleted.settings), formerUid: deleted.uid }), name };
    this.#restoring.set(deleted.uid, descriptor);
    const folder = await this.#files.beginRestore(deleted.uid, descriptor, begun !== undefined);
    await this.#finishRestore(folder, descriptor);
    this.#restoring.delete(deleted.uid);
    return descriptor;
  }

  /** Nothing is changed for a log that cannot be restored. */
  async #checkTrash(trashUid: string): Promise<void> {
    try {
      const generation = await this.#files.generationFolder(`${TRASH}/${trashUid}`);
      await checkRelabel(this.#context.disk, generation, Buffer.from(trashUid, 'hex'));
    } catch (error) {
      if (!(error instanceof RestoreError)) throw error;
      throw new ProtocolError(ErrorCode.INTERNAL, { message: `the deleted log is damaged: ${error.message}`, cause: error });
    }
  }

  #newDescriptor(name: string, settings: LogSettings): LogDescriptor {
    const uid = this.#context.randomBytes(16).toString('hex');
    return { uid, name, createdMs: this.#context.clock.nowMs(), replicaId: FIRST_REPLICA, settings };
  }

  /** Runs `make` for a name that is free, and opens what it made. */
  async #reserve(name: string, make: () => Promise<LogDescriptor>): Promise<LogSlot> {
    await this.#creating.get(name)?.catch(() => {});
    const existing = this.find(name);
    if (existing !== null) throw new ProtocolError(ErrorCode.LOG_EXISTS, { logUid: Buffer.from(existing.uid, 'hex') });
    if (this.#creating.has(name)) return this.#reserve(name, make);
    // Of two logs with one name a start could serve only one.
    if (this.#nameless.length > 0) throw this.absence();
    if (this.#namesTaken() >= this.#options.logsMax) {
      throw new ProtocolError(ErrorCode.INVALID_ARGUMENT, { field: 'log', limit: this.#options.logsMax });
    }
    const made = this.#make(name, make);
    this.#creating.set(name, made);
    try {
      return await made;
    } finally {
      this.#creating.delete(name);
    }
  }

  /** A log that is being opened has its name already, and counts once. */
  #namesTaken(): number {
    let taken = this.count;
    for (const name of this.#creating.keys()) if (!this.#byName.has(name)) taken++;
    return taken;
  }

  async #make(name: string, make: () => Promise<LogDescriptor>): Promise<LogSlot> {
    await this.#discardHalfMade(name);
    // Or it would be taken for one that raft-state has forgotten.
    await this.#unknown.enter();
    const slot = new LogSlot(await make());
    this.#byName.set(name, slot);
    // It is answered when it takes records.
    await this.opener.open(slot);
    if (slot.replica !== null) return slot;
    throw new ProtocolError(ErrorCode.INTERNAL, { message: slot.failure || 'the log was made, but cannot be opened now' });
  }

  /** Rejects with DiskError when the next start may still find it. */
  async #discardHalfMade(name: string): Promise<void> {
    const uid = this.#halfMade.get(name);
    if (uid === undefined) return;
    await this.#files.discard(uid);
    this.#halfMade.delete(name);
  }

  async #finishRestore(folder: string, descriptor: LogDescriptor): Promise<void> {
    await endReplica(this.#context.journal, descriptor.formerUid!, FIRST_REPLICA);
    const from = Buffer.from(descriptor.formerUid!, 'hex');
    const generation = await this.#files.generationFolder(folder);
    await relabel(this.#context.disk, generation, from, Buffer.from(descriptor.uid, 'hex'));
    await this.#files.endRestore(folder, descriptor.uid);
  }

  async #resumeRestore({ folder, uid, descriptor }: FoundLog): Promise<void> {
    if (typeof descriptor === 'string' || descriptor.formerUid === undefined || this.find(descriptor.name) !== null) {
      if (typeof descriptor === 'string') this.#nameless.push(folder);
      this.#leaveOut(folder, 'it cannot be restored under its name');
      return;
    }
    try {
      await this.#finishRestore(folder, descriptor);
    } catch (error) {
      if (!(error instanceof RestoreError)) throw error;
      this.#leaveOut(folder, error.message);
      return;
    }
    await this.#startLog({ folder: `${LOGS}/${uid}`, uid, descriptor });
  }

  async #resumeFromTrash(trashUid: string, descriptor: LogDescriptor): Promise<void> {
    const folder = await this.#files.beginRestore(trashUid, descriptor);
    await this.#resumeRestore({ folder, uid: descriptor.uid, descriptor });
  }

  /** Resolves when DESCRIBE can say what these have: those that were never open are opened for that. */
  async makeKnown(slots: readonly LogSlot[]): Promise<void> {
    const unknown = slots.filter(({ replica, figures }) => replica === null && figures === null);
    for (let i = 0; i < unknown.length; i += OPENS_AT_ONCE) {
      await Promise.all(unknown.slice(i, i + OPENS_AT_ONCE).map((slot) => this.opener.visit(slot)));
    }
  }

  // Altering and deleting

  /** Rejects with DiskError, ProtocolError LOG_NOT_FOUND. */
  alter(slot: LogSlot, change: (settings: LogSettings) => LogSettings): Promise<void> {
    return this.opener.change(slot, async () => {
      const settings = change(slot.descriptor.settings);
      const descriptor = { ...slot.descriptor, settings };
      await this.#files.writeDescriptor(slot.directory, descriptor);
      slot.descriptor = descriptor;
      slot.replica?.alter(descriptor);
      slot.replica?.log.setMaxSegmentAge(segmentAgeMsMax(settings));
    });
  }

  /**
   * Moves a log to the trash. What was given an index before is answered with its result; what waits
   * ends with LOG_NOT_FOUND once the deletion is on disk. Rejects with DiskError (then nothing has
   * changed), ProtocolError LOG_NOT_FOUND.
   */
  async delete(slot: LogSlot): Promise<void> {
    // Open, because the trash shows it as it was.
    await this.opener.open(slot);
    await this.opener.change(slot, () => this.#delete(slot));
  }

  async #delete(slot: LogSlot): Promise<void> {
    const { replica } = slot;
    slot.replica = null;
    let descriptor = slot.descriptor;
    try {
      await replica?.group.settled();
      if (replica !== null) slot.noteLast(replica);
      await slot.upkeep?.finish();
      descriptor = { ...descriptor, deletedMs: this.#context.clock.nowMs(), figures: slot.figures ?? undefined };
      await this.#files.writeDescriptor(slot.directory, descriptor);
    } catch (error) {
      slot.replica = replica;
      slot.upkeep?.resume();
      if (replica !== null) slot.runTasks(replica);
      throw error;
    }
    // From here on it is deleted, whatever else goes wrong: a start finishes the rest.
    slot.deleted = true;
    this.#byName.delete(slot.name);
    slot.failTasks(ErrorCode.LOG_NOT_FOUND, 'the log was deleted');
    await this.#bury(slot, replica, descriptor);
  }

  async #bury(slot: LogSlot, replica: LogReplica | null, descriptor: LogDescriptor): Promise<void> {
    try {
      if (replica !== null) {
        replica.end(ErrorCode.LEADERSHIP_LOST, ErrorCode.LOG_NOT_FOUND);
        await this.opener.release(slot, replica);
      }
      await this.trash.bury(descriptor);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#context.logEvent('warn', 'deleted log left in place', { log: slot.name, reason: error.message });
    }
  }

  /** Closes all logs, each with a snapshot. */
  async stop(): Promise<void> {
    this.opener.stop();
    await Promise.all([...this.#creating.values()].map((creating) => creating.catch(() => {})));
    await Promise.all([...this.slots()].map((slot) => this.opener.close(slot)));
    await this.trash.close();
  }
}
