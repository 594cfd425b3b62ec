// After damage that may have swallowed whole replicas out of raft-state: a log of which it knows nothing may
// have promised anything, and is entered as lost; then nothing is missing any more, and new ones can be made.
import { isDiskFull } from '../index/disk.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { LogSlot } from './log-slot.ts';

export class UnknownReplicas {
  readonly #journal: RaftStateJournal;
  readonly #slots: () => Iterable<LogSlot>;
  /** One that was made meanwhile must not be taken for an old one. */
  #entering: Promise<void> | null = null;

  /** `slots` are all logs of this node. */
  constructor(journal: RaftStateJournal, slots: () => Iterable<LogSlot>) {
    this.#journal = journal;
    this.#slots = slots;
  }

  /** Rejects with DiskError; it can be asked again. */
  enter(): Promise<void> {
    this.#entering ??= this.#enter().finally(() => {
      this.#entering = null;
    });
    return this.#entering;
  }

  async #enter(): Promise<void> {
    const journal = this.#journal;
    if (!journal.mayMissReplicas) return;
    for (const slot of [...this.#slots()]) {
      // A lone voter that is being opened enters itself.
      while (slot.changing !== null) await slot.changing;
      const logUid = Buffer.from(slot.uid, 'hex');
      const { replicaId } = slot.descriptor;
      if (journal.get(logUid, replicaId) === null) await journal.put({ logUid, replicaId, term: 0, vote: 0, state: 'lost' });
    }
    await journal.acceptIncomplete();
  }
}

export function unlessFull(error: unknown): void {
  if (!isDiskFull(error)) throw error;
}
