// Reads data out of one log: whole committed batches, without the control batches between them, from
// the tail cache at once or from the disk later. It keeps nothing and decides nothing about waiting.
//
// Invariant: no entry above `limitIndex` is ever returned, and no control batch; a run ends at the limit
// or at the first batch with which it would exceed `bytesMax`, and holds at least one if there is one.
// What an offset's lookup led to begins with that record: `checkStart` says so before it is given out.
import { assert } from '../wire/assert.ts';
import { batchCount, baseOffset, batchSize, isControl } from '../wire/batch.ts';
import { DamageError, type DamageRange } from '../segment/damage.ts';
import type { SegmentedLog } from '../segment/log.ts';

/** What one read found; `bytes` 0 means that there are only control batches up to the limit. */
export class DataRun {
  readonly buffers: Buffer[] = [];
  bytes = 0;
  /** Index to go on from: a stretch of control batches is passed only once. */
  nextIndex: number;
  /** One past the last record in `buffers`; −1 when there is none. */
  nextOffset = -1;

  constructor(index: number) {
    this.nextIndex = index;
  }

  /** Takes over what was found from `nextIndex` on; false when that would be too much. */
  add(buffers: readonly Buffer[], nextIndex: number, bytesMax: number): boolean {
    // Only a first batch may be larger than what is asked for: then it is alone.
    if (this.bytes > 0 && this.bytes + sizeOf(buffers) > bytesMax && dataSize(buffers) > bytesMax - this.bytes) return false;
    for (const buffer of buffers) this.#addData(buffer);
    this.nextIndex = nextIndex;
    return true;
  }

  /** Nobody skips records without being told, whatever an index on disk may say. */
  checkStart(offset: number): void {
    assert(this.bytes === 0 || baseOffset(this.buffers[0]!, 0) <= offset, 'a read begins with the record that was asked for');
  }

  /** Cuts control batches out; a buffer without one stays as it is. */
  #addData(buffer: Buffer): void {
    let start = 0;
    for (let at = 0; at < buffer.length; ) {
      const end = at + batchSize(buffer, at);
      if (isControl(buffer, at)) {
        this.#push(buffer, start, at);
        start = end;
      } else {
        this.nextOffset = baseOffset(buffer, at) + batchCount(buffer, at);
      }
      at = end;
    }
    this.#push(buffer, start, buffer.length);
  }

  #push(buffer: Buffer, start: number, end: number): void {
    if (start === end) return;
    this.buffers.push(end - start === buffer.length ? buffer : buffer.subarray(start, end));
    this.bytes += end - start;
  }
}

/** From verified memory: null when `index` is no longer there. Zero-copy. */
export function readCachedData(log: SegmentedLog, index: number, bytesMax: number, limitIndex: number): DataRun | null {
  const run = new DataRun(index);
  while (wantsMore(run, bytesMax, limitIndex)) {
    const found = log.readCached(run.nextIndex, bytesMax - run.bytes, limitIndex);
    if (found === null) return null;
    // Nothing where there must be something: `readStoredData` says what that means.
    if (found.nextIndex === run.nextIndex) return run.bytes > 0 ? run : null;
    if (!run.add(found.buffers, found.nextIndex, bytesMax)) break;
  }
  return run;
}

/**
 * From disk and memory, both checksums of every stored batch verified. Rejects with DamageError or
 * DiskError when not even the first batch can be read.
 */
export async function readStoredData(log: SegmentedLog, index: number, bytesMax: number, limitIndex: number): Promise<DataRun> {
  const run = new DataRun(index);
  while (wantsMore(run, bytesMax, limitIndex)) {
    const found = log.readCached(run.nextIndex, bytesMax - run.bytes, limitIndex);
    if (found !== null) {
      if (found.nextIndex === run.nextIndex) {
        if (run.bytes > 0) break;
        throw new DamageError(missingEnd(log, limitIndex));
      }
      if (!run.add(found.buffers, found.nextIndex, bytesMax)) break;
      continue;
    }
    try {
      const stored = await log.read(run.nextIndex, bytesMax - run.bytes, limitIndex);
      if (!run.add(stored.buffers, stored.lastIndex + 1, bytesMax)) break;
    } catch (error) {
      // What was only the log's own bookkeeping is no loss to a reader.
      if (error instanceof DamageError && holdsNoRecord(error) && error.lastIndex >= run.nextIndex) {
        run.nextIndex = error.lastIndex + 1;
        continue;
      }
      if (run.bytes === 0) throw error;
      break;
    }
  }
  return run;
}

/** The entries behind the end of the log that are committed all the same: a snapshot knows of them. */
function missingEnd(log: SegmentedLog, limitIndex: number): DamageRange {
  return {
    file: 'the newest segment',
    position: 0,
    firstIndex: log.lastIndex + 1,
    lastIndex: limitIndex,
    firstOffset: log.nextOffset,
    lastOffset: log.nextOffset - 1,
    reason: 'entries below a snapshot are missing at the end of the log',
  };
}

function holdsNoRecord({ firstIndex, lastIndex, firstOffset, lastOffset }: DamageRange): boolean {
  return lastIndex >= firstIndex && lastOffset === firstOffset - 1;
}

function wantsMore(run: DataRun, bytesMax: number, limitIndex: number): boolean {
  return run.nextIndex <= limitIndex && (run.bytes < bytesMax || run.bytes === 0);
}

function sizeOf(buffers: readonly Buffer[]): number {
  let size = 0;
  for (const buffer of buffers) size += buffer.length;
  return size;
}

function dataSize(buffers: readonly Buffer[]): number {
  let size = 0;
  for (const buffer of buffers) {
    for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) {
      if (!isControl(buffer, at)) size += batchSize(buffer, at);
    }
  }
  return size;
}
