// Reads data out of one log: whole committed batches, without the control batches between them, from
// the tail cache at once or from the disk later. It keeps nothing and decides nothing about waiting.
//
// Invariant: no entry above `limitIndex` is ever returned, and no control batch; `nextIndex` is right
// behind the last entry that was looked at, so that a run of control batches is passed only once.
import { batchCount, baseOffset, batchSize, isControl } from '../wire/batch.ts';
import type { SegmentedLog } from '../segment/log.ts';

/** What one read found. `bytes` 0 means that only control batches were there. */
export interface DataRun {
  readonly buffers: Buffer[];
  readonly bytes: number;
  /** Index to go on from. */
  readonly nextIndex: number;
  /** One past the last record in `buffers`; −1 when there is none. */
  readonly nextOffset: number;
}

/** From verified memory: null when `index` is no longer (or not) there. Zero-copy. */
export function readCachedData(log: SegmentedLog, index: number, bytesMax: number, limitIndex: number): DataRun | null {
  let from = index;
  while (from <= limitIndex) {
    const found = log.readCached(from, bytesMax, limitIndex);
    if (found === null) return null;
    const run = withoutControl(found.buffers, found.nextIndex);
    if (run.bytes > 0) return run;
    from = run.nextIndex;
  }
  return { buffers: [], bytes: 0, nextIndex: from, nextOffset: -1 };
}

/** From the disk, both checksums of every batch verified. Rejects with DamageError or DiskError. */
export async function readStoredData(
  log: SegmentedLog,
  index: number,
  bytesMax: number,
  limitIndex: number,
): Promise<DataRun> {
  let from = index;
  while (from <= limitIndex) {
    const found = await log.read(from, bytesMax, limitIndex);
    const run = withoutControl(found.buffers, found.lastIndex + 1);
    if (run.bytes > 0) return run;
    from = run.nextIndex;
  }
  return { buffers: [], bytes: 0, nextIndex: from, nextOffset: -1 };
}

/** Cuts control batches out; buffers without one stay as they are. */
export function withoutControl(buffers: readonly Buffer[], nextIndex: number): DataRun {
  const kept: Buffer[] = [];
  let bytes = 0;
  let nextOffset = -1;
  for (const buffer of buffers) {
    let start = 0;
    let at = 0;
    while (at < buffer.length) {
      const end = at + batchSize(buffer, at);
      if (isControl(buffer, at)) {
        if (at > start) kept.push(buffer.subarray(start, at));
        bytes += at - start;
        start = end;
      } else {
        nextOffset = baseOffset(buffer, at) + batchCount(buffer, at);
      }
      at = end;
    }
    if (start === 0) kept.push(buffer);
    else if (start < buffer.length) kept.push(buffer.subarray(start));
    bytes += buffer.length - start;
  }
  return { buffers: kept, bytes, nextIndex, nextOffset };
}
