// After damage that may have swallowed whole replicas out of raft-state: a log of which it knows nothing may
// have promised anything, and is entered as lost; then nothing is missing any more, and new ones can be made.
import { isDiskFull } from '../index/disk.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { LogSlot } from './log-slot.ts';

/** `slots` are all logs of this node. Rejects with DiskError; on a full disk the next start does it. */
export async function enterUnknown(journal: RaftStateJournal, slots: Iterable<LogSlot>): Promise<void> {
  if (!journal.mayMissReplicas) return;
  try {
    for (const { uid, descriptor } of slots) {
      const logUid = Buffer.from(uid, 'hex');
      const { replicaId } = descriptor;
      if (journal.get(logUid, replicaId) === null) await journal.put({ logUid, replicaId, term: 0, vote: 0, state: 'lost' });
    }
    await journal.acceptIncomplete();
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
}
