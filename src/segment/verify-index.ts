// Compares the stored index of a sealed segment with the segment: entry by entry, seal by seal. The
// active segment's index is not looked at: it is built anew at every start.
import type { Disk, DiskFile } from '../index/disk.ts';
import { IndexDamageError, type OffsetIndex } from '../index/offset-index.ts';
import { appendTime, baseOffset } from '../wire/batch.ts';
import { NONE } from '../wire/limits.ts';
import { buildIndex, openStoredIndex } from './index-build.ts';
import type { Segment } from './segment.ts';

/** An index file that does not agree with its segment. Nothing is lost by it. */
export interface IndexFinding {
  readonly file: string;
  readonly reason: string;
  /** It was never finished, as after a crash: it is made again at its first use. */
  readonly unfinished: boolean;
  readonly repaired: boolean;
}

/** What the index of a segment must say, gathered from its batches. */
export class ExpectedIndex {
  readonly #positions: number[] = [];
  readonly #offsets: number[] = [];
  readonly #times: number[] = [];

  add(buffer: Buffer, at: number, position: number): void {
    this.#positions.push(position);
    this.#offsets.push(baseOffset(buffer, at));
    this.#times.push(appendTime(buffer, at));
  }

  /** `count` entries whose headers are lost: nothing can be expected of them. */
  addLost(count: number): void {
    for (let i = 0; i < count; i++) {
      this.#positions.push(NONE);
      this.#offsets.push(NONE);
      this.#times.push(NONE);
    }
  }

  /** '' when `index` agrees, else where it does not first. Throws IndexDamageError. */
  differenceTo(index: OffsetIndex): string {
    for (let i = 0; i < index.count; i++) {
      const position = index.positionAt(i);
      if (this.#positions[i] === NONE) continue;
      if (position !== this.#positions[i]) return `entry ${i} says byte ${position}, the batch begins at ${this.#positions[i]}`;
      if (index.offsetAt(i) !== this.#offsets[i]) return `entry ${i} says offset ${index.offsetAt(i)} instead of ${this.#offsets[i]}`;
      if (index.msAt(i) !== this.#times[i]) return `entry ${i} says time ${index.msAt(i)} instead of ${this.#times[i]}`;
    }
    return '';
  }
}

/** Null when the stored index agrees. Rejects with DiskError. */
export async function checkIndex(
  disk: Disk, segment: Segment, expected: ExpectedIndex,
): Promise<Omit<IndexFinding, 'repaired'> | null> {
  const { indexPath } = segment;
  if (segment.firstMs === NONE) return { file: indexPath, reason: 'the first batch of its segment is damaged', unfinished: false };
  const index = await openStoredIndex(disk, segment);
  if (index === null) return { file: indexPath, reason: 'missing or too short', unfinished: true };
  try {
    const reason = expected.differenceTo(index);
    return reason === '' ? null : { file: indexPath, reason, unfinished: false };
  } catch (error) {
    if (!(error instanceof IndexDamageError)) throw error;
    if (index.isUnsealed(error.block)) return { file: indexPath, reason: `block ${error.block} is not sealed`, unfinished: true };
    return { file: indexPath, reason: `block ${error.block} does not match its checksum`, unfinished: false };
  } finally {
    await index.close();
  }
}

/** Builds the index file anew and seals it. Rejects with DiskError. */
export async function repairIndex(disk: Disk, segment: Segment, file: DiskFile, yieldTurn: () => Promise<void>): Promise<void> {
  const index = await buildIndex({
    disk, segment, file, final: segment.end, visit: null, header: null, lost: null, damaged: () => {}, yieldTurn,
  });
  try {
    await index.seal();
  } finally {
    await index.close();
  }
  await disk.syncDirectory(segment.directory);
}
