// The end of a replica: it never votes again, and a log that is restored from its files is another replica,
// of another log_uid. An entry of a living replica without a folder would be a log that was lost.
import type { RaftStateJournal } from '../segment/journal.ts';

/** Rejects with DiskError. Once is as good as twice. */
export async function endReplica(journal: RaftStateJournal, uid: string, replicaId: number): Promise<void> {
  const stored = journal.get(Buffer.from(uid, 'hex'), replicaId);
  if (stored !== null && stored.state !== 'removed') await journal.put({ ...stored, state: 'removed' });
}
