// Opening a log: which of its bytes count. Below the durable mark everything does: a bad byte there is
// damage, reported, never cut. At or above it the first batch that does not hold ends the log, whatever
// follows it: that was a group whose sync never returned, and a power cut keeps any subset of its sectors.
//
// Invariant: when this resolves, every byte that the log will serve is synced and has a synced name,
// because after a mere process crash valid batches above the mark may be in the page cache only.
import type { DiskFile } from '../index/disk.ts';
import type { OffsetIndex } from '../index/offset-index.ts';
import { batchIndex, batchTerm } from '../wire/batch.ts';
import { NONE } from '../wire/limits.ts';
import { DamageError, type DamageRange } from './damage.ts';
import type { HandleCache } from './handles.ts';
import { endBefore, indexFirstIndex, indexName, TEMPORARY_SUFFIX } from './head.ts';
import { listSegments, noSegment, readHeads, type ReadSegment, unknownEnd } from './heads-read.ts';
import { addEntry, buildIndex, roomAndTurn } from './index-build.ts';
import type { LogOptions } from './log-options.ts';
import { type LogEnd, MARK_SLOT_SIZE } from './mark.ts';
import { StoredPlaces } from './places.ts';
import { type BatchVisitor, Scan } from './scan.ts';
import type { Segment } from './segment.ts';
import { removeIfThere } from './segment-file.ts';
import { storeAgain } from './store-again.ts';
import type { TermTable } from './terms.ts';
import { walkDurable } from './walk.ts';
import { mut } from '../wire/mut.ts';

export interface RecoveryOptions {
  readonly options: LogOptions;
  readonly handles: HandleCache;
  readonly yieldTurn: () => Promise<void>;
  /** Sees the header of each batch with an index above `visitFrom`, and the whole of control batches. */
  readonly visit: BatchVisitor;
  readonly visitFrom: number;
  readonly terms: TermTable;
}

export interface RecoveredLog {
  readonly segments: Segment[];
  readonly end: LogEnd;
  /** From the mark: committed at least up to here. */
  readonly commitIndex: number;
  /** Damage of heads, and missing files; damage of batches is noted in their segments. */
  readonly damage: DamageRange[];
  /** Both slots of the newest segment's mark are bad: what is missing behind `end` is not known. */
  readonly endUnknown: boolean;
  /** Bytes of an unsynced group that were cut off. */
  readonly cutBytes: number;
}

/** Rejects with DiskError, or with DamageError when not even the log's segments can be told. */
export async function recoverLog(recovery: RecoveryOptions): Promise<RecoveredLog> {
  const { disk, directory, logUid } = recovery.options;
  const damage: DamageRange[] = [];
  const damaged = (range: DamageRange): void => void damage.push(range);
  const firstIndexes = await tidy(recovery);
  if (firstIndexes.length === 0) throw new DamageError(noSegment(directory));
  const read = await readHeads(disk, directory, logUid, firstIndexes, damaged);
  const newest = read[read.length - 1]!;
  await visitSealed(recovery, read);
  let cutBytes: number;
  try {
    cutBytes = await recoverNewest(recovery, newest);
    await disk.syncDirectory(directory);
  } catch (error) {
    // Whoever asks again opens them again: what is left open now stays open for ever.
    await newest.segment.letGo();
    throw error;
  }
  if (newest.decoded.mark === null) damaged(unknownEnd(newest.segment, newest.segment.end));
  return {
    segments: read.map(({ segment }) => segment),
    end: newest.segment.end.copy(),
    commitIndex: Math.max(0, ...read.map(({ decoded }) => decoded.mark?.commitIndex ?? 0)),
    damage,
    endUnknown: newest.decoded.mark === null,
    cutBytes,
  };
}

/** Removes what a crash left half-made, and returns the first indexes of the segments. */
async function tidy(recovery: RecoveryOptions): Promise<number[]> {
  const { disk, directory } = recovery.options;
  const names = await disk.list(directory);
  const firstIndexes = listSegments(names);
  const kept = new Set(firstIndexes.map(indexName));
  for (const name of names) {
    const orphan = indexFirstIndex(name) !== NONE && !kept.has(name);
    if (orphan || name.endsWith(`.seg${TEMPORARY_SUFFIX}`)) await disk.unlink(`${directory}/${name}`);
  }
  return firstIndexes;
}

/** Shows the visitor what it asked for of the sealed segments. */
async function visitSealed(recovery: RecoveryOptions, read: ReadSegment[]): Promise<void> {
  const { options, visitFrom, yieldTurn } = recovery;
  for (const { segment } of read.slice(0, -1)) {
    if (segment.end.index <= visitFrom) continue;
    const file = await options.disk.open(segment.path, 'read');
    const places = new StoredPlaces(options.disk, segment);
    try {
      await walkDurable({
        file,
        path: segment.path,
        start: endBefore(segment),
        final: segment.end,
        bodies: false,
        controlBodies: true,
        header: termVisitor(recovery.terms),
        visit: visitor(recovery),
        lost: (_from, _position, _before, after) => {
          recovery.terms.add(after.index, after.term);
          return null;
        },
        damaged: (range) => segment.noteDamage(range),
        places,
        betweenReads: yieldTurn,
      });
    } finally {
      await places.close();
      await file.close();
    }
  }
}

/** Returns how many bytes were cut. */
async function recoverNewest(recovery: RecoveryOptions, read: ReadSegment): Promise<number> {
  const { options, yieldTurn, terms } = recovery;
  const { segment, decoded } = read;
  const file = await options.disk.open(segment.path, 'write');
  segment.file = file;
  const size = await file.size();
  const header = termVisitor(terms);
  if (segment.end.index >= segment.firstIndex || segment.firstMs !== NONE) {
    const { disk } = options;
    const final = segment.end;
    const lost = (end: LogEnd): void => terms.add(end.index, end.term);
    const damaged = (range: DamageRange): void => segment.noteDamage(range);
    const visit = visitor(recovery);
    segment.indexBuilt = true;
    segment.index = await buildIndex({ disk, segment, file, final, visit, header, lost, damaged, yieldTurn });
    await scanBehindMark(recovery, segment, file, segment.index, Math.max(size, final.position));
  }
  if (segment.count === 0) {
    await segment.letGoIndex();
    await removeIfThere(options.disk, segment.indexPath);
    segment.firstMs = NONE;
  }
  // How much counts is not known: nothing is cut, and nothing is claimed to be durable.
  if (decoded.mark === null) return 0;
  const cutBytes = Math.max(0, size - segment.end.position);
  if (cutBytes > 0) await file.truncate(segment.end.position);
  // A sync of it may have failed before: then syncing it once more would do nothing. Also where nothing is promised: what
  // follows in the next segment would survive what it follows.
  if (!mut('found-after-a-crash-not-synced')) {
    await storeAgain(file, decoded.mark.end.position, segment.end.position, yieldTurn);
  }
  if (!mut('found-after-a-crash-not-synced')) await options.syncGate.run(() => file.sync());
  segment.synced.set(segment.end);
  // The slot that is written is the older one, or the one that was bad.
  segment.writeMark(Buffer.alloc(MARK_SLOT_SIZE), decoded.mark.commitIndex);
  return cutBytes;
}

/** From the mark on, or from the head when there is none: everything is checked, and the first fault ends it. */
async function scanBehindMark(
  recovery: RecoveryOptions, segment: Segment, file: DiskFile, index: OffsetIndex, size: number,
): Promise<void> {
  const visit = visitor(recovery);
  const header = termVisitor(recovery.terms);
  const scan = new Scan(segment.end, {
    file,
    limit: size,
    bodiesFrom: 0,
    controlBodies: true,
    visit: (buffer, at, position) => {
      addEntry(index, buffer, at, position);
      header(buffer, at, position);
      visit(buffer, at, position);
    },
    betweenReads: roomAndTurn(index, recovery.yieldTurn),
  });
  await scan.run();
}

function visitor(recovery: RecoveryOptions): BatchVisitor {
  const { visit, visitFrom } = recovery;
  return (buffer, at, position) => {
    if (batchIndex(buffer, at) > visitFrom) visit(buffer, at, position);
  };
}

function termVisitor(terms: TermTable): BatchVisitor {
  return (buffer, at) => terms.add(batchIndex(buffer, at), batchTerm(buffer, at));
}
