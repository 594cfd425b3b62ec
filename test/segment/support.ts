// What the tests of the segmented log share: small batches, options over a simulated disk, and a model
// that knows byte for byte what the log must hold.
import * as assert from 'uvu/assert';
import type { Disk, DiskError } from '../../src/index/disk.ts';
import { baseOffset, batchCount, batchIndex, batchSize, stampBatch } from '../../src/wire/batch.ts';
import { buildBatch, buildControlBatch } from '../../src/wire/batch-build.ts';
import { SegmentedLog } from '../../src/segment/log.ts';
import type { LogEvents, LogOptions } from '../../src/segment/log-options.ts';
import { SyncGate } from '../../src/segment/sync-gate.ts';
import type { Prng } from '../support/prng.ts';
import { SimDisk } from '../support/sim-disk.ts';

export const DIRECTORY = 'log';
export const LOG_UID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

/** A batch of `count` records whose values name `tag`; `size` pads the first one. */
export function batchOf(tag: string, count = 1, size = 0): Buffer {
  const records = Array.from({ length: count }, (_, i) => ({ value: Buffer.from(`${tag}/${i}`.padEnd(i === 0 ? size : 0, '.')), clientTime: 0 }));
  return buildBatch(records);
}

export function controlOf(tag: string): Buffer {
  return buildControlBatch(Buffer.from(`\x63\x01${tag}`));
}

export function optionsOn(disk: Disk, more: Partial<LogOptions> = {}): LogOptions {
  return {
    disk,
    directory: DIRECTORY,
    logUid: LOG_UID,
    segmentBytes: 64 * 1024,
    maxSegmentAgeMs: 3_600_000,
    durability: { mode: 'fsync' },
    cacheBytes: 32 * 1024,
    syncGate: new SyncGate(4),
    defer: (task) => queueMicrotask(task),
    ...more,
  };
}

/** A new log on a new (or the given) disk. */
export async function createLog(disk: Disk = new SimDisk(), more: Partial<LogOptions> = {}): Promise<SegmentedLog> {
  if (!(await disk.exists(DIRECTORY))) {
    await disk.makeDirectory(DIRECTORY);
    await disk.syncDirectory('');
  }
  return SegmentedLog.create(optionsOn(disk, more));
}

export function openLog(disk: Disk, more: Partial<LogOptions> = {}): Promise<SegmentedLog> {
  return SegmentedLog.open(optionsOn(disk, more), () => {}, Number.MAX_SAFE_INTEGER);
}

/** Keeps what a log reports. */
export class EventLog implements LogEvents {
  readonly reports: Array<[index: number, term: number, generation: number]> = [];
  readonly failures: string[] = [];
  resumedCount = 0;
  onDurable: ((index: number, generation: number) => void) | null = null;

  durable(index: number, term: number, generation: number): void {
    this.reports.push([index, term, generation]);
    this.onDurable?.(index, generation);
  }

  failed(error: DiskError): void {
    this.failures.push(error.code);
  }

  resumed(): void {
    this.resumedCount++;
  }
}

/** What the log must hold: the stamped bytes of each entry, from index `firstIndex` on. */
export class Model {
  readonly entries: Buffer[] = [];
  firstIndex = 1;
  firstOffset = 0;
  lastTime = 0;
  term = 1;

  get lastIndex(): number {
    return this.firstIndex + this.entries.length - 1;
  }

  get nextOffset(): number {
    const last = this.entries[this.entries.length - 1];
    return last === undefined ? this.firstOffset : baseOffset(last, 0) + batchCount(last, 0);
  }

  /** Appends to both and checks that they agree on the place. */
  append(log: SegmentedLog, batch: Buffer, term = this.term, time = this.lastTime): number {
    const stamped = Buffer.from(batch);
    stampBatch(stamped, 0, this.lastIndex + 1, term, this.nextOffset, time);
    const index = log.append(batch, 0, batch.length, term, time);
    assert.is(index, this.lastIndex + 1);
    this.entries.push(stamped);
    this.term = term;
    this.lastTime = time;
    return index;
  }

  truncate(fromIndex: number): void {
    this.entries.length = fromIndex - this.firstIndex;
    const last = this.entries[this.entries.length - 1];
    this.lastTime = last === undefined ? 0 : Number(last.readBigUInt64BE(32));
    this.term = last === undefined ? 1 : Number(last.readBigUInt64BE(16));
  }

  at(index: number): Buffer {
    return this.entries[index - this.firstIndex]!;
  }

  copy(): Model {
    const copy = new Model();
    copy.entries.push(...this.entries);
    copy.firstIndex = this.firstIndex;
    copy.firstOffset = this.firstOffset;
    copy.lastTime = this.lastTime;
    copy.term = this.term;
    return copy;
  }
}

/** All entries from `from` on as reads return them, in pieces of about `maxBytes`. */
export async function readAll(log: SegmentedLog, from = log.firstIndex, maxBytes = 4096, limit = log.lastIndex): Promise<Buffer[]> {
  const entries: Buffer[] = [];
  let next = from;
  while (next <= limit) {
    const range = await log.read(next, maxBytes, limit);
    assert.is(range.bytes, range.buffers.reduce((sum, buffer) => sum + buffer.length, 0));
    for (const buffer of range.buffers) entries.push(...split(buffer));
    assert.ok(range.lastIndex >= next, 'a read makes progress');
    assert.is(from + entries.length - 1, range.lastIndex);
    next = range.lastIndex + 1;
  }
  return entries;
}

/** The batches in a buffer. */
export function split(buffer: Buffer): Buffer[] {
  const batches: Buffer[] = [];
  for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) batches.push(buffer.subarray(at, at + batchSize(buffer, at)));
  return batches;
}

/** Checks that the log holds exactly entries [log.firstIndex, lastIndex] of the model. */
export async function expectHolds(log: SegmentedLog, model: Model, maxBytes = 4096): Promise<void> {
  const entries = await readAll(log, log.firstIndex, maxBytes);
  assert.is(entries.length, log.lastIndex - log.firstIndex + 1);
  for (const [i, entry] of entries.entries()) {
    const index = log.firstIndex + i;
    assert.is(batchIndex(entry, 0), index);
    if (!entry.equals(model.at(index))) assert.unreachable(`entry ${index} differs: ${entry.toString('hex')} instead of ${model.at(index).toString('hex')}`);
  }
}

/** Random appends: mostly small, sometimes several records, a control batch, or a large one. */
export function randomBatch(prng: Prng, tag: string): Buffer {
  const kind = prng.next(12);
  if (kind === 0) return controlOf(tag);
  if (kind === 1) return batchOf(tag, 1, prng.between(1000, 20_000));
  return batchOf(tag, prng.between(1, 4), prng.next(300));
}
