// Walks the batches of a segment file in order and judges each: both checksums (the body's only where
// asked), and that it continues the one before. Stops at the first batch that does not hold; what that
// means is decided by who calls (recovery: an unsynced group; below the mark: damage).
//
// Invariant: `end` is the state after the last batch that held, and `end.position` where the next began.
import type { DiskFile } from '../index/disk.ts';
import {
  appendTime, baseOffset, batchCount, BatchFault, batchIndex, batchSize, batchTerm, checkBody, checkHeader, faultName, isControl,
} from '../wire/batch.ts';
import { BATCH_HEADER_SIZE, BATCH_SIZE_MAX } from '../wire/limits.ts';
import type { LogEnd } from './mark.ts';
import { FileWindow } from './window.ts';

/**
 * Sees a batch that held: its header at `at` in `buffer`, its place in the file. The bytes are valid
 * during the call only. The whole batch is there when it is a control batch or bodies are checked.
 */
export type BatchVisitor = (buffer: Buffer, at: number, position: number) => void;

export interface ScanOptions {
  readonly file: DiskFile;
  /** Exclusive end of the scan, at most the file's size. */
  readonly limit: number;
  /** From this position on bodies are read and checked too. */
  readonly bodiesFrom: number;
  /** Control batches are read whole and checked, so that `visit` can read them. */
  readonly controlBodies: boolean;
  readonly visit: BatchVisitor | null;
  /** Runs before each read of the file: to yield the turn, to make room for what the next read brings. */
  readonly betweenReads: (() => Promise<void> | null) | null;
}

/** '' when the header at `at` continues `end`, else what is wrong with it. The header itself must hold. */
export function chainFault(buffer: Buffer, at: number, end: LogEnd): string {
  if (batchIndex(buffer, at) !== end.index + 1) return `index ${batchIndex(buffer, at)} after ${end.index}`;
  if (batchTerm(buffer, at) < end.term) return `term ${batchTerm(buffer, at)} after ${end.term}`;
  if (baseOffset(buffer, at) !== end.nextOffset) return `base offset ${baseOffset(buffer, at)} instead of ${end.nextOffset}`;
  if (appendTime(buffer, at) < end.appendTime) return `append time ${appendTime(buffer, at)} after ${end.appendTime}`;
  return '';
}

/** Moves `end` over the batch at `at`. */
export function advance(end: LogEnd, buffer: Buffer, at: number): void {
  end.position += batchSize(buffer, at);
  end.index = batchIndex(buffer, at);
  end.term = batchTerm(buffer, at);
  end.nextOffset = baseOffset(buffer, at) + batchCount(buffer, at);
  end.appendTime = appendTime(buffer, at);
}

export class Scan {
  readonly end: LogEnd;
  /** Why the scan stopped before `limit`; '' when it arrived there. */
  fault = '';
  /** The header at `end.position` holds and continues the log; only the body is bad. */
  bodyOnly = false;
  readonly #options: ScanOptions;
  readonly #window: FileWindow;
  #lastSize = 0;

  /** Begins after `end`, which the scan moves. */
  constructor(end: LogEnd, options: ScanOptions) {
    this.end = end;
    this.#options = options;
    this.#window = new FileWindow(options.file, options.limit, options.betweenReads);
  }

  /** Goes on until `limit` or the first batch that does not hold. Rejects with DiskError. */
  async run(): Promise<void> {
    const { limit } = this.#options;
    const window = this.#window;
    this.fault = '';
    this.bodyOnly = false;
    while (this.end.position < limit) {
      const { position } = this.end;
      if (!window.has(position, BATCH_HEADER_SIZE)) await window.load(position, BATCH_HEADER_SIZE, this.#lastSize);
      this.fault = this.#headerFault(window.at(position));
      if (this.fault !== '') return;
      const size = batchSize(window.bytes, window.at(position));
      if (this.#wantsBody(window.at(position))) {
        if (!window.has(position, size)) await window.load(position, size, size);
        const fault = checkBody(window.bytes, window.at(position), window.end - window.start);
        if (fault !== BatchFault.OK) {
          this.fault = faultName(fault);
          this.bodyOnly = true;
          return;
        }
      }
      this.#options.visit?.(window.bytes, window.at(position), position);
      this.#lastSize = size;
      advance(this.end, window.bytes, window.at(position));
    }
  }

  /** Passes over a batch whose body is bad, as `bodyOnly` said, and returns its header's place. */
  skipBody(): { readonly buffer: Buffer; readonly at: number } {
    const at = this.#window.at(this.end.position);
    advance(this.end, this.#window.bytes, at);
    return { buffer: this.#window.bytes, at };
  }

  #headerFault(at: number): string {
    const { bytes, start, end } = this.#window;
    const fault = checkHeader(bytes, at, end - start);
    if (fault !== BatchFault.OK) return faultName(fault);
    const size = batchSize(bytes, at);
    if (size > BATCH_SIZE_MAX) return `a batch of ${size} bytes`;
    if (this.end.position + size > this.#options.limit) return faultName(BatchFault.SHORT);
    return chainFault(bytes, at, this.end);
  }

  #wantsBody(at: number): boolean {
    if (this.end.position >= this.#options.bodiesFrom) return true;
    return this.#options.controlBodies && isControl(this.#window.bytes, at);
  }
}
