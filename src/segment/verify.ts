// The offline check of one log: every checksum, the chain of every batch, every index entry. It changes
// nothing, except that it builds index files anew when asked to (`repairIndex`): they are disposable.
// The data directory must be locked by the caller.
//
// Invariant: a report without findings means that every byte below the durable mark was read and holds.
import type { Disk, DiskFile } from '../index/disk.ts';
import { batchCount, isControl } from '../wire/batch.ts';
import { DamageError, type DamageRange } from './damage.ts';
import { endBefore } from './head.ts';
import { listSegments, noSegment, readHeads, type ReadSegment, unknownEnd } from './heads-read.ts';
import { LogEnd, SEGMENT_HEAD_SIZE } from './mark.ts';
import { StoredPlaces } from './places.ts';
import { type BatchVisitor, Scan } from './scan.ts';
import type { Segment } from './segment.ts';
import { checkIndex, ExpectedIndex, type IndexFinding, repairIndex } from './verify-index.ts';
import { walkDurable } from './walk.ts';

export interface VerifyOptions {
  readonly disk: Disk;
  /** Folder of the segments. */
  readonly directory: string;
  /** What the heads must say; null takes any. */
  readonly logUid: Buffer | null;
  /** Build index files that do not agree with their segment anew. */
  readonly repairIndex: boolean;
  /** Told now and then how many of how many bytes were read. */
  readonly progress?: (doneBytes: number, totalBytes: number) => void;
  readonly yieldTurn: () => Promise<void>;
  /** Sees, in order, what a start would rebuild the state from: headers of data batches, whole control batches. */
  readonly visit?: BatchVisitor;
}

export interface VerifyReport {
  readonly segments: number;
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  /** Entries that the log has, damaged ones included. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  /** Bytes below the durable mark that do not hold, in the order of the log. */
  readonly damage: readonly DamageRange[];
  /** Index files that do not agree with their segment; never a loss. */
  readonly index: readonly IndexFinding[];
  /** Bytes of an unsynced group behind the end: the next start cuts them off. Not damage. */
  readonly unsyncedBytes: number;
}

/** Rejects with DiskError. */
export async function verifyLog(options: VerifyOptions): Promise<VerifyReport> {
  const check = new LogCheck(options);
  await check.run();
  return check.report();
}

class LogCheck {
  readonly #options: VerifyOptions;
  readonly #damage: DamageRange[] = [];
  readonly #index: IndexFinding[] = [];
  #read: ReadSegment[] = [];
  #totalBytes = 0;
  #doneBytes = 0;
  #batches = 0;
  #records = 0;
  #unsyncedBytes = 0;
  #end: LogEnd = new LogEnd(0, 0, 0, 0, 0);

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { disk, directory, logUid } = this.#options;
    const firstIndexes = listSegments(await disk.list(directory));
    if (firstIndexes.length === 0) {
      this.#damage.push(noSegment(directory));
      return;
    }
    try {
      this.#read = await readHeads(disk, directory, logUid, firstIndexes, (range) => this.#damage.push(range));
    } catch (error) {
      if (!(error instanceof DamageError)) throw error;
      this.#damage.push(error);
      return;
    }
    for (const { segment } of this.#read) this.#totalBytes += segment.end.position;
    for (const [i, read] of this.#read.entries()) await this.#checkSegment(read, i === this.#read.length - 1);
  }

  report(): VerifyReport {
    const first = this.#read[0]?.segment;
    return {
      segments: this.#read.length,
      batches: this.#batches,
      records: this.#records,
      bytes: this.#doneBytes,
      firstIndex: first?.firstIndex ?? 1,
      lastIndex: this.#end.index,
      firstOffset: first?.firstOffset ?? 0,
      nextOffset: this.#end.nextOffset,
      damage: this.#damage,
      index: this.#index,
      unsyncedBytes: this.#unsyncedBytes,
    };
  }

  async #checkSegment({ segment, decoded }: ReadSegment, newest: boolean): Promise<void> {
    const { disk } = this.#options;
    const file = await disk.open(segment.path, 'read');
    const base = this.#doneBytes;
    // The active segment's index is not sealed, and says nothing that could be trusted.
    const places = newest ? null : new StoredPlaces(disk, segment);
    try {
      const expected = new ExpectedIndex();
      await walkDurable({
        file,
        path: segment.path,
        start: endBefore(segment),
        final: segment.end,
        bodies: true,
        controlBodies: true,
        header: (buffer, at, position) => {
          expected.add(buffer, at, position);
          this.#doneBytes = base + position - SEGMENT_HEAD_SIZE;
          if (!isControl(buffer, at)) this.#options.visit?.(buffer, at, position);
        },
        visit: (buffer, at, position) => {
          this.#batches++;
          this.#records += batchCount(buffer, at);
          if (isControl(buffer, at)) this.#options.visit?.(buffer, at, position);
        },
        lost: (from, _position, _before, end) => {
          expected.addLost(end.index - from + 1);
          return null;
        },
        damaged: (range) => this.#damage.push(range),
        places,
        betweenReads: () => this.#turn(),
      });
      this.#doneBytes = base + segment.end.position;
      this.#end = segment.end.copy();
      const size = await file.size();
      if (newest) {
        if (decoded.mark === null) this.#damage.push(unknownEnd(segment, await this.#validEnd(file, segment.end, size)));
        else this.#unsyncedBytes = Math.max(0, size - (await this.#validEnd(file, segment.end, size)).position);
      } else {
        if (size > segment.end.position) this.#damage.push(behindEnd(segment.path, segment.end));
        await this.#checkIndex(segment, file, expected);
      }
    } finally {
      await places?.close();
      await file.close();
    }
  }

  /** Where the valid batches behind the durable mark end. */
  async #validEnd(file: DiskFile, from: LogEnd, size: number): Promise<LogEnd> {
    const scan = new Scan(from.copy(), {
      file,
      limit: Math.max(size, from.position),
      bodiesFrom: 0,
      controlBodies: true,
      visit: (buffer, at, position) => {
        this.#batches++;
        this.#records += batchCount(buffer, at);
        this.#options.visit?.(buffer, at, position);
      },
      betweenReads: () => this.#turn(),
    });
    await scan.run();
    this.#end = scan.end;
    return scan.end;
  }

  async #checkIndex(segment: Segment, file: DiskFile, expected: ExpectedIndex): Promise<void> {
    const { disk, yieldTurn } = this.#options;
    const finding = await checkIndex(disk, segment, expected);
    if (finding === null) return;
    if (this.#options.repairIndex) await repairIndex(disk, segment, file, yieldTurn);
    this.#index.push({ ...finding, repaired: this.#options.repairIndex });
  }

  #turn(): Promise<void> {
    this.#options.progress?.(Math.min(this.#doneBytes, this.#totalBytes), this.#totalBytes);
    return this.#options.yieldTurn();
  }
}

function behindEnd(file: string, end: LogEnd): DamageRange {
  return {
    file,
    position: end.position,
    firstIndex: end.index + 1,
    lastIndex: end.index,
    firstOffset: end.nextOffset,
    lastOffset: end.nextOffset - 1,
    reason: 'bytes behind the end of a complete segment',
  };
}
