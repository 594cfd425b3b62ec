// Term and vote of one replica in the node's raft-state journal, as the driver stores them.
import { DiskError, isDiskFull } from '../index/disk.ts';
import type { HardStatePort, Stored } from '../raft/driver/ports.ts';
import type { ReplicaId, Term } from '../raft/types.ts';
import type { RaftStateJournal } from '../segment/journal.ts';

export class TermStore implements HardStatePort {
  /** Why the last `put` has failed for good. */
  error: DiskError | null = null;
  /** The last `put`; it may be under way still. Never rejects. */
  settled: Promise<unknown> = Promise.resolve();
  readonly #journal: RaftStateJournal;
  readonly #logUid: Buffer;
  readonly #replicaId: ReplicaId;

  constructor(journal: RaftStateJournal, logUid: Buffer, replicaId: ReplicaId) {
    this.#journal = journal;
    this.#logUid = logUid;
    this.#replicaId = replicaId;
  }

  put(term: Term, vote: ReplicaId): Promise<Stored> {
    const stored = this.#put(term, vote);
    this.settled = stored.catch(() => {});
    return stored;
  }

  async #put(term: Term, vote: ReplicaId): Promise<Stored> {
    try {
      await this.#journal.put({ logUid: this.#logUid, replicaId: this.#replicaId, term, vote, state: 'active' });
      return 'stored';
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      if (isDiskFull(error)) return 'full';
      this.error = error;
      return 'failed';
    }
  }
}
