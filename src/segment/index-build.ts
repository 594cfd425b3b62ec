// Builds a segment's OffsetIndex from its batch headers: for the active segment at start-up, and for a
// sealed one whose index is missing or damaged. The segment is the truth; the index only repeats it.
//
// Invariant: entry i belongs to index firstIndex + i, also across damage: lost headers get entries that
// point into the damaged stretch, so that a read of them finds the damage and not another batch.
import type { Disk, DiskFile } from '../index/disk.ts';
import { OffsetIndex } from '../index/offset-index.ts';
import { assert } from '../wire/assert.ts';
import { appendTime, baseOffset, checkHeader, BatchFault } from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, NONE, U32_MAX } from '../wire/limits.ts';
import type { DamageRange } from './damage.ts';
import { endBefore } from './head.ts';
import { type LogEnd, SEGMENT_HEAD_SIZE } from './mark.ts';
import type { BatchVisitor } from './scan.ts';
import type { Segment } from './segment.ts';
import { walkDurable } from './walk.ts';
import { WINDOW_SIZE } from './window.ts';

/** Batches that one read of a scan can bring at most. */
const ENTRIES_PER_READ = Math.ceil(WINDOW_SIZE / BATCH_HEADER_SIZE) + 1;

export interface BuildOptions {
  readonly disk: Disk;
  readonly segment: Segment;
  readonly file: DiskFile;
  /** State after the last batch to index. */
  readonly final: LogEnd;
  readonly visit: BatchVisitor | null;
  readonly header: BatchVisitor | null;
  /** Headers are lost up to `end`, where the log goes on. */
  readonly lost: ((end: LogEnd) => void) | null;
  readonly damaged: (range: DamageRange) => void;
  readonly yieldTurn: () => Promise<void>;
}

/** The append_time of the batch that begins right behind the head, or NONE when none holds there. */
export function firstBatchMs(bytes: Buffer, size: number): number {
  const holds = checkHeader(bytes, SEGMENT_HEAD_SIZE, size) === BatchFault.OK;
  return holds ? appendTime(bytes, SEGMENT_HEAD_SIZE) : NONE;
}

/** Makes a new index file in place of the old one and fills it. Rejects with DiskError. */
export async function buildIndex(options: BuildOptions): Promise<OffsetIndex> {
  const { disk, segment, file, final, visit, header, damaged, yieldTurn } = options;
  if (segment.firstMs === NONE) {
    // The first batch is damaged, and with it the base of the times: a guess, with as much room for what follows.
    segment.firstMs = Math.max(segment.appendTimeBefore, final.appendTime - Math.floor(U32_MAX / 2));
  }
  const index = await OffsetIndex.create(disk, segment.indexPath, segment.firstIndex, segment.firstOffset, segment.firstMs);
  try {
    await walkDurable({
      file,
      path: segment.path,
      start: endBefore(segment),
      final,
      bodies: false,
      controlBodies: visit !== null,
      header: (buffer, at, position) => {
        addEntry(index, buffer, at, position);
        header?.(buffer, at, position);
      },
      visit,
      lost: (from, position, before, end) => {
        options.lost?.(end);
        return addLost(index, from, position, before, end);
      },
      damaged,
      places: null,
      betweenReads: roomAndTurn(index, yieldTurn),
    });
    assert(index.count === final.index - segment.firstIndex + 1, 'an index has an entry for each batch');
  } catch (error) {
    await index.close().catch(() => {});
    throw error;
  }
  return index;
}

/** The index that a sealed segment has on disk; null where that is missing, too short, or cannot be used. Rejects with DiskError. */
export async function openStoredIndex(disk: Disk, segment: Segment): Promise<OffsetIndex | null> {
  const { indexPath, firstIndex, firstOffset, firstMs, count } = segment;
  // Without its first batch the base of the times is not known.
  return firstMs === NONE ? null : OffsetIndex.open(disk, indexPath, firstIndex, firstOffset, firstMs, count);
}

/**
 * Adds the entry of the batch at `at`, which lies at `position` in the file. Where the base of the times is a guess a
 * time may not fit: the nearest that does is what can be said until the segment is mended.
 */
export function addEntry(index: OffsetIndex, buffer: Buffer, at: number, position: number): void {
  const ms = Math.min(Math.max(appendTime(buffer, at), index.firstMs), index.firstMs + U32_MAX);
  index.append(position, baseOffset(buffer, at), ms);
}

/** For `betweenReads` of a scan that fills `index`: room for what the next read brings, then a turn. */
export function roomAndTurn(index: OffsetIndex, yieldTurn: () => Promise<void>): () => Promise<void> {
  return async () => {
    await index.ensureRoom(ENTRIES_PER_READ);
    await yieldTurn();
  };
}

async function addLost(index: OffsetIndex, from: number, position: number, before: LogEnd, end: LogEnd): Promise<void> {
  const count = end.index - from + 1;
  await index.ensureRoom(count);
  const ms = Math.min(Math.max(index.firstMs, before.appendTime), index.firstMs + U32_MAX);
  index.appendGuesses(count, position, before.nextOffset, ms);
}
