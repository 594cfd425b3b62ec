// The disk side of a truncation: newest files first, then the mark of the segment that stays, then its
// bytes. Runs between two writes of the log, never beside one.
//
// Invariant: at every moment a crash leaves either the log as it was, or a prefix of it that reaches at
// least to the cut; nothing below the cut is touched.
import type { Disk } from '../index/disk.ts';
import { ENTRIES_PER_BLOCK } from '../index/offset-index.ts';
import type { DamageRange } from './damage.ts';
import { buildIndex } from './index-build.ts';
import type { HandleCache } from './handles.ts';
import type { LogEnd } from './mark.ts';
import { type Segment, SegmentState } from './segment.ts';
import { removeSegment } from './segment-file.ts';
import type { SyncGate } from './sync-gate.ts';
import { mut } from '../wire/mut.ts';

/** A truncation that waits for the write in flight. */
export interface PendingCut {
  /** The log's new end, in `target`. */
  end: LogEnd;
  target: Segment;
  /** Segments above it, newest first; those that never got a file are simply forgotten. */
  readonly removed: Segment[];
  /** A failed write may have left bytes behind the end that nobody knows of. */
  force: boolean;
}

export interface CutTools {
  readonly disk: Disk;
  readonly handles: HandleCache;
  readonly syncGate: SyncGate;
  readonly yieldTurn: () => Promise<void>;
  /** 512 bytes for mark slots. */
  readonly scratch: Buffer;
}

/** Makes the files agree with the cut, synced. Rejects with DiskError. */
export async function performCut(cut: PendingCut, commitIndex: number, tools: CutTools): Promise<void> {
  for (const segment of cut.removed) {
    if (segment.state === SegmentState.PLANNED) continue;
    await removeSegment(tools.disk, segment);
    await (segment.state === SegmentState.SEALED ? tools.handles.drop(segment) : segment.letGo());
  }
  const { target, end } = cut;
  if (target.state === SegmentState.PLANNED) return;
  if (target.end.position <= end.position && !cut.force) return;
  const work = shrink(target, end, commitIndex, tools);
  target.busy = work.then(() => {}, () => {});
  try {
    await work;
  } finally {
    target.busy = null;
  }
}

async function shrink(segment: Segment, end: LogEnd, commitIndex: number, tools: CutTools): Promise<void> {
  if (segment.state === SegmentState.ACTIVE) {
    await cutFile(segment, end, commitIndex, tools);
    await cutIndex(segment, tools);
    return;
  }
  await tools.handles.reclaim(segment);
  segment.file = await tools.disk.open(segment.path, 'write');
  try {
    await cutFile(segment, end, commitIndex, tools);
    await newIndex(segment, tools);
  } catch (error) {
    // The log fails now, but what it holds can still be read.
    await segment.letGo();
    throw error;
  }
  segment.state = SegmentState.ACTIVE;
}

async function cutFile(segment: Segment, end: LogEnd, commitIndex: number, tools: CutTools): Promise<void> {
  const { syncGate, scratch } = tools;
  const file = segment.file!;
  // What stays may be written and not yet synced (interval, memory): it must be before a mark names it.
  await syncGate.run(() => file.sync());
  segment.end.set(end);
  segment.synced.set(end);
  segment.forgetAfter(end.index);
  // Both slots, or the older one, being higher, would win should the newer one rot.
  if (!mut('mark-not-lowered-before-a-cut')) {
    segment.writeMark(scratch, commitIndex);
    segment.writeMark(scratch, commitIndex);
  }
  await syncGate.run(() => file.sync());
  await file.truncate(end.position);
  segment.zeroedTo = 0;
  await syncGate.run(() => file.sync());
}

async function cutIndex(segment: Segment, tools: CutTools): Promise<void> {
  const { index } = segment;
  if (index === null) return;
  if (segment.count > 0 && index.count < ENTRIES_PER_BLOCK) {
    index.truncate(segment.count);
    return;
  }
  // Without an entry it would keep the time of a batch that is gone as its base. And full blocks may
  // lie on disk with their seals: what vouches for batches that are gone must go too, file and all.
  await segment.letGoIndex();
  await newIndex(segment, tools);
}

/** In place of the old file, whose name the next roll's sync of the directory makes disappear for good. */
async function newIndex(segment: Segment, tools: CutTools): Promise<void> {
  if (segment.count === 0) return;
  const { disk, yieldTurn } = tools;
  const damaged = (range: DamageRange): void => segment.noteDamage(range);
  const file = segment.file!;
  segment.index = await buildIndex({ disk, segment, file, final: segment.end, visit: null, header: null, lost: null, damaged, yieldTurn });
  segment.indexBuilt = true;
}
