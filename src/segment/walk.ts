// Walks the durable part of a segment, whose end is known, and does not stop at damage: it reports the
// stretch, looks for the place where the log goes on, and continues there. Used to rebuild an index,
// at start-up below the durable mark, and by the offline check.
//
// Invariant: every index in (start, final] is either visited once or lies in exactly one reported range
// that took its header; a place to go on is believed only if a sealed index names it, or the headers
// from there arrive at `final`.
import type { DiskFile } from '../index/disk.ts';
import { BATCH_MAGIC, BatchFault, batchIndex, baseOffset, batchTerm, appendTime, checkHeader } from '../wire/batch.ts';
import { writeU32 } from '../wire/bytes.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import type { DamageRange } from './damage.ts';
import { LogEnd } from './mark.ts';
import type { StoredPlaces } from './places.ts';
import { Scan, type BatchVisitor } from './scan.ts';
import { FileWindow, WINDOW_SIZE } from './window.ts';

export interface WalkOptions {
  readonly file: DiskFile;
  /** Named in damage ranges. */
  readonly path: string;
  /** State before the first batch to walk. */
  readonly start: LogEnd;
  /** State after the last one. */
  readonly final: LogEnd;
  /** Check every body too. */
  readonly bodies: boolean;
  /** Check bodies of control batches, and give `visit` the whole of them. */
  readonly controlBodies: boolean;
  /** Each batch whose header holds, whatever its body is like. */
  readonly header: BatchVisitor | null;
  /** Each batch that holds as far as it was checked. */
  readonly visit: BatchVisitor | null;
  /** Headers of indexes [from, end.index] are lost; `from` would begin at `position`, the log goes on after `end`. */
  readonly lost: ((from: number, position: number, before: LogEnd, end: LogEnd) => Promise<void> | null) | null;
  readonly damaged: (range: DamageRange) => void;
  /** Asked only after damage; null where there is no sealed index. The caller closes it. */
  readonly places: StoredPlaces | null;
  readonly betweenReads: (() => Promise<void> | null) | null;
}

/** Places that may be tried as a continuation after one damaged stretch. */
const PROBES_MAX = 64;

/** Rejects with DiskError. */
export async function walkDurable(options: WalkOptions): Promise<void> {
  const { file, final, header, visit } = options;
  const fileSize = await file.size();
  const scan = new Scan(options.start.copy(), {
    file,
    limit: Math.max(options.start.position, Math.min(fileSize, final.position)),
    bodiesFrom: options.bodies ? 0 : Infinity,
    controlBodies: options.controlBodies,
    visit: (buffer, at, position) => {
      header?.(buffer, at, position);
      visit?.(buffer, at, position);
    },
    betweenReads: options.betweenReads,
  });
  for (;;) {
    await scan.run();
    const { end } = scan;
    if (scan.fault === '' && end.position === final.position && end.index === final.index) return;
    if (scan.bodyOnly) {
      const before = end.copy();
      const { buffer, at } = scan.skipBody();
      options.damaged(rangeOf(options.path, before, end, scan.fault));
      header?.(buffer, at, before.position);
      continue;
    }
    const before = end.copy();
    const limit = Math.min(fileSize, final.position);
    const resume = scan.fault === '' ? null : ((await indexedContinuation(options, before, limit)) ?? (await findContinuation(options, before, limit)));
    const after = resume ?? final;
    const fault = scan.fault !== '' ? scan.fault : 'the file ends before its durable end';
    options.damaged(rangeOf(options.path, before, after, fault));
    const pause = options.lost?.(before.index + 1, before.position, before, after);
    if (pause) await pause;
    if (resume === null) return;
    end.set(resume);
  }
}

/** What is missing between two states of a log. */
export function rangeOf(path: string, before: LogEnd, after: LogEnd, reason: string): DamageRange {
  return {
    file: path,
    position: before.position,
    firstIndex: before.index + 1,
    lastIndex: after.index,
    firstOffset: before.nextOffset,
    lastOffset: after.nextOffset - 1,
    reason,
  };
}

/** The state before the first later batch that lies where the sealed index says; null when there is none. */
async function indexedContinuation(options: WalkOptions, before: LogEnd, limit: number): Promise<LogEnd | null> {
  const { places, final } = options;
  if (places === null) return null;
  const header = Buffer.alloc(BATCH_HEADER_SIZE);
  for (let index = before.index + 2; index <= final.index; index++) {
    const position = await places.placeOf(index);
    if (position <= before.position || position + BATCH_HEADER_SIZE > limit) return null;
    await options.file.read(header, 0, BATCH_HEADER_SIZE, position);
    const candidate = plausibleBefore(header, 0, position, before, final);
    if (candidate !== null && candidate.index === index - 1) return candidate;
  }
  return null;
}

/**
 * The state before the first batch after `before.position` from which all headers hold up to `final`;
 * null when there is none. A record may contain bytes that look like a batch (a copied segment, say),
 * so one good header proves nothing: only arriving exactly at the known end does.
 */
async function findContinuation(options: WalkOptions, before: LogEnd, limit: number): Promise<LogEnd | null> {
  if (limit < options.final.position) return null;
  const magic = Buffer.allocUnsafe(4);
  writeU32(magic, 0, BATCH_MAGIC);
  const window = new FileWindow(options.file, limit, options.betweenReads);
  let probes = 0;
  let from = before.position + 1;
  while (limit - from >= BATCH_HEADER_SIZE && probes < PROBES_MAX) {
    if (!window.has(from, BATCH_HEADER_SIZE)) await window.load(from, WINDOW_SIZE, 0);
    const found = window.bytes.subarray(0, window.end - window.start).indexOf(magic, window.at(from));
    if (found < 0) {
      // The magic may lie across the end of the window.
      from = Math.max(from + 1, window.end - 3);
      continue;
    }
    from = window.start + found;
    if (!window.has(from, BATCH_HEADER_SIZE)) {
      if (limit - from < BATCH_HEADER_SIZE) return null;
      continue;
    }
    const candidate = plausibleBefore(window.bytes, window.at(from), from, before, options.final);
    if (candidate !== null) {
      probes++;
      if (await arrives(options, candidate)) return candidate;
    }
    from++;
  }
  return null;
}

/** The state before the batch at `at` if it could be the log's continuation after a lost stretch. */
function plausibleBefore(buffer: Buffer, at: number, position: number, before: LogEnd, final: LogEnd): LogEnd | null {
  if (checkHeader(buffer, at, at + BATCH_HEADER_SIZE) !== BatchFault.OK) return null;
  const index = batchIndex(buffer, at);
  const lostCount = index - 1 - before.index;
  if (lostCount < 1 || lostCount * BATCH_HEADER_SIZE > position - before.position) return null;
  const term = batchTerm(buffer, at);
  const offset = baseOffset(buffer, at);
  const time = appendTime(buffer, at);
  if (index > final.index || term < before.term || term > final.term) return null;
  if (offset < before.nextOffset || offset > final.nextOffset) return null;
  if (time < before.appendTime || time > final.appendTime) return null;
  // What is lost has at least the term before it, and no entry has term 0.
  return new LogEnd(position, index - 1, Math.max(1, before.term), offset, before.appendTime);
}

async function arrives(options: WalkOptions, candidate: LogEnd): Promise<boolean> {
  const probe = new Scan(candidate.copy(), {
    file: options.file,
    limit: options.final.position,
    bodiesFrom: Infinity,
    controlBodies: false,
    visit: null,
    betweenReads: options.betweenReads,
  });
  await probe.run();
  return probe.fault === '' && probe.end.equals(options.final);
}
