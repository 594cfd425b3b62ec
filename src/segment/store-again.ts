// Writes bytes of a file again as they are, so that the sync that follows really stores them. After a
// failed fsync the kernel may hold pages that it takes for clean although they never reached the disk:
// a new process reads them, its fsync succeeds without doing anything, and a power cut takes them away.
//
// Invariant: what was durable before stays so; the content does not change.
import type { DiskFile } from '../index/disk.ts';
import { assert } from '../wire/assert.ts';

const CHUNK_SIZE = 256 * 1024;

/** Rewrites [from, to), which must exist, unsynced. Rejects with DiskError. */
export async function storeAgain(file: DiskFile, from: number, to: number, yieldTurn: () => Promise<void>): Promise<void> {
  if (from >= to) return;
  const bytes = Buffer.allocUnsafe(Math.min(CHUNK_SIZE, to - from));
  for (let at = from; at < to; at += bytes.length) {
    const length = Math.min(bytes.length, to - at);
    const read = await file.read(bytes, 0, length, at);
    assert(read === length, 'what is stored again was there a moment ago');
    await file.write(bytes, 0, length, at);
    await yieldTurn();
  }
}
