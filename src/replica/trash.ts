// Deleted logs that can still be brought back: which there are, and when they go for good.
//
// Expiry goes by the wall clock, because it must survive a restart, but never while that clock is
// suspect. Invariant: an entry that is being restored or removed is no longer listed.
import { DiskError } from '../index/disk.ts';
import type { NodeContext } from './context.ts';
import { endReplica } from './end-replica.ts';
import type { LogFiles } from './log-files.ts';
import type { LogDescriptor } from './log-settings.ts';

export class Trash {
  readonly #context: NodeContext;
  readonly #files: LogFiles;
  /** How long a deleted log is kept. */
  readonly #keepMs: number;
  readonly #entries = new Map<string, LogDescriptor>();
  readonly #held = new Set<string>();
  /** Deleted, and by a failure not moved here yet. */
  readonly #unburied = new Map<string, LogDescriptor>();
  #removing: Promise<void> | null = null;
  /** One log after another: whoever comes second finds it done. */
  #burying: Promise<void> = Promise.resolve();

  constructor(context: NodeContext, files: LogFiles, keepMs: number) {
    this.#context = context;
    this.#files = files;
    this.#keepMs = keepMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  add(descriptor: LogDescriptor): void {
    this.#entries.set(descriptor.uid, descriptor);
  }

  /** Takes back an entry that could not be restored: somebody wants it, so it does not go before the next start. */
  hold(descriptor: LogDescriptor): void {
    this.#held.add(descriptor.uid);
    this.add(descriptor);
  }

  get(uid: string): LogDescriptor | null {
    return this.#entries.get(uid) ?? null;
  }

  /** Takes an entry out, for whoever restores it. */
  take(uid: string): LogDescriptor | null {
    const entry = this.get(uid);
    this.#entries.delete(uid);
    this.#held.delete(uid);
    return entry;
  }

  /** Moves a deleted log here. Rejects with DiskError: `finishBurying` tries again, and so does the next start. */
  bury(descriptor: LogDescriptor): Promise<void> {
    this.#unburied.set(descriptor.uid, descriptor);
    return this.finishBurying(descriptor.uid);
  }

  /** A later replica of the log is to be made, or moved here: nothing may be in its way. Rejects with DiskError. */
  finishBurying(uid: string): Promise<void> {
    const work = this.#burying.then(() => this.#bury(uid));
    this.#burying = work.catch(() => {});
    return work;
  }

  async #bury(uid: string): Promise<void> {
    const descriptor = this.#unburied.get(uid);
    if (descriptor === undefined) return;
    await endReplica(this.#context.journal, uid, descriptor.replicaId);
    // An earlier one goes now.
    while (this.#removing !== null) await this.#removing;
    const earlier = this.take(uid);
    if (earlier !== null) await this.#remove(earlier);
    await this.#files.moveToTrash(uid);
    this.add(descriptor);
    this.#unburied.delete(uid);
  }

  /** Those whose former name begins with `prefix`: by name, of one name the latest deletion first. */
  list(prefix: string): LogDescriptor[] {
    return [...this.#entries.values()]
      .filter(({ name }) => name.startsWith(prefix))
      .sort((a, b) => (a.name === b.name ? b.deletedMs! - a.deletedMs! : a.name < b.name ? -1 : 1));
  }

  /** Removes what has been there long enough, and under `pressure` (no room) the oldest in any case. */
  tick(pressure: boolean): void {
    if (this.#removing !== null || this.#entries.size <= this.#held.size) return;
    const free = [...this.#entries.values()].filter(({ uid }) => !this.#held.has(uid));
    const oldest = free.reduce((a, b) => (b.deletedMs! < a.deletedMs! ? b : a));
    const { clock } = this.#context;
    const expired = !clock.suspect && clock.nowMs() - oldest.deletedMs! >= this.#keepMs;
    if (!expired && !pressure) return;
    this.#entries.delete(oldest.uid);
    this.#removing = this.#remove(oldest).finally(() => {
      this.#removing = null;
    });
  }

  async #remove(entry: LogDescriptor): Promise<void> {
    this.#context.logEvent('info', 'trash removed', { log: entry.name, uid: entry.uid });
    const { journal } = this.#context;
    try {
      await endReplica(journal, entry.uid, entry.replicaId).catch(() => {});
      await this.#files.removeTrash(entry.uid);
      // Where there was no room for it before, there is now.
      await endReplica(journal, entry.uid, entry.replicaId);
      const uid = Buffer.from(entry.uid, 'hex');
      if (journal.get(uid, entry.replicaId) !== null) journal.forget(uid, entry.replicaId);
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      this.#context.logEvent('warn', 'trash could not be removed', { uid: entry.uid, reason: error.message });
    }
  }

  async close(): Promise<void> {
    await this.#removing;
  }
}
