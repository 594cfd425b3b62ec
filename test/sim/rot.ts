// Flips bits of what a disk holds, where a lone node can stand it: in what has a second copy, or can be
// built again, nobody may notice; in a sealed segment the damage must be found and told. Of several nodes
// a minority may rot everywhere: it is mended by the others.
import { decodeMark, MARK_POSITIONS, SEGMENT_HEAD_SIZE } from '../../src/segment/mark.ts';
import { JOURNAL_PATHS } from '../../src/segment/journal.ts';
import { readRecord, RECORD_SIZE } from '../../src/segment/journal-record.ts';
import { segmentFirstIndex } from '../../src/segment/head.ts';
import type { Prng } from '../support/prng.ts';
import type { History } from './history/history.ts';
import type { SimNode } from './node/sim-node.ts';

/** Rots one thing and says what; '' when there was nothing fit. */
export function rotSomething(node: SimNode, prng: Prng, history: History, several: boolean): string {
  const paths = node.disk.media.files().map(([path]) => path);
  if (several && prng.chance(0.2)) return rotEnd(node, prng, paths);
  if (several && prng.chance(0.6)) return rotSegment(node, prng, paths);
  switch (prng.next(5)) {
    case 0:
      return rotIndex(node, prng, paths);
    case 1:
      return rotSnapshot(node, prng, paths, several);
    case 2:
      return rotJournal(node, prng, paths, several);
    case 3:
      return rotMark(node, prng, paths);
    default:
      return several ? rotSegment(node, prng, paths) : rotSealed(node, prng, paths, history);
  }
}

const SEGMENT_PATH = /^logs\/[0-9a-f]{32}\/\d{8}\/\d{20}\.seg$/;

function flip(node: SimNode, prng: Prng, path: string, from: number, to: number): string {
  // A file that was made just now may be empty.
  if (to <= from) return '';
  const position = prng.between(from, to - 1);
  node.disk.corrupt(path, position, 1 << prng.next(8));
  node.rotted.add(path);
  return `${path} at ${position}`;
}

/** An index is built anew from its segment. */
function rotIndex(node: SimNode, prng: Prng, paths: readonly string[]): string {
  const found = paths.filter((path) => path.startsWith('logs/') && path.endsWith('.idx'));
  if (found.length === 0) return '';
  const path = prng.pick(found);
  const size = node.disk.contents(path).length;
  return size === 0 ? '' : flip(node, prng, path, 0, Math.min(size, 4096));
}

/** The older of two snapshots is enough, and so is the log when nothing was trimmed; else the others must help. */
function rotSnapshot(node: SimNode, prng: Prng, paths: readonly string[], several: boolean): string {
  const found = paths.filter((path) => /\/snapshot-\d{20}$/.test(path) && (several || !node.rotted.has(folderOf(path))));
  if (found.length === 0) return '';
  const path = prng.pick(found);
  node.rotted.add(folderOf(path));
  return flip(node, prng, path, 0, node.disk.contents(path).length);
}

/** Of the two copies of the journal one at most is ever damaged, where nobody else can help. */
function rotJournal(node: SimNode, prng: Prng, paths: readonly string[], several: boolean): string {
  const path = prng.pick(several ? JOURNAL_PATHS : ['raft-state.b']);
  return paths.includes(path) ? flip(node, prng, path, 0, node.disk.contents(path).length) : '';
}

/** The older slot of the newest segment's mark: the newer one is the one that counts. */
function rotMark(node: SimNode, prng: Prng, paths: readonly string[]): string {
  const path = newestSegments(paths)[0] === undefined ? '' : prng.pick(newestSegments(paths));
  if (path === '') return '';
  const head = node.disk.contents(path).subarray(0, SEGMENT_HEAD_SIZE);
  const first = segmentFirstIndex(path.slice(path.lastIndexOf('/') + 1));
  const slots = ([0, 1] as const).map((slot) => decodeMark(head, MARK_POSITIONS[slot], slot, first));
  if (slots[0] == null || slots[1] == null) return '';
  const older = slots[0].sequence < slots[1].sequence ? 0 : 1;
  return flip(node, prng, path, MARK_POSITIONS[older], MARK_POSITIONS[older] + 512);
}

/** A record that nobody has another copy of. */
function rotSealed(node: SimNode, prng: Prng, paths: readonly string[], history: History): string {
  const newest = newestSegments(paths);
  const found = paths.filter((path) => path.startsWith('logs/') && path.endsWith('.seg') && !newest.includes(path));
  if (found.length === 0) return '';
  const path = prng.pick(found);
  const size = node.disk.contents(path).length;
  if (size <= SEGMENT_HEAD_SIZE) return '';
  for (const log of history.logs) if (path.includes(log.uid)) log.damaged = true;
  return flip(node, prng, path, SEGMENT_HEAD_SIZE, size);
}

/**
 * Any byte of a segment that other nodes have another copy of; of the newest one only what lies below both
 * slots of its mark: what a disk loses behind the mark cannot be told from what was never synced.
 */
function rotSegment(node: SimNode, prng: Prng, paths: readonly string[]): string {
  const found = paths.filter((path) => SEGMENT_PATH.test(path));
  if (found.length === 0) return '';
  const path = prng.pick(found);
  const bytes = node.disk.contents(path);
  let end = bytes.length;
  if (newestSegments(paths).includes(path)) {
    const first = segmentFirstIndex(path.slice(path.lastIndexOf('/') + 1));
    const slots = ([0, 1] as const).map((slot) => decodeMark(bytes.subarray(0, SEGMENT_HEAD_SIZE), MARK_POSITIONS[slot], slot, first));
    if (slots[0] == null || slots[1] == null) return '';
    end = Math.min(slots[0].end.position, slots[1].end.position);
  }
  if (end <= SEGMENT_HEAD_SIZE) return '';
  return prng.chance(0.2) && end === bytes.length ? flip(node, prng, path, 0, 512) : flip(node, prng, path, SEGMENT_HEAD_SIZE, end);
}

/** Both slots of a mark, or the newest records of both copies of raft-state: how far it had promised is lost. */
function rotEnd(node: SimNode, prng: Prng, paths: readonly string[]): string {
  if (prng.chance(0.5)) {
    const found = newestSegments(paths).filter((path) => SEGMENT_PATH.test(path) && node.disk.contents(path).length > SEGMENT_HEAD_SIZE);
    if (found.length === 0) return '';
    const path = prng.pick(found);
    for (const slot of MARK_POSITIONS) flip(node, prng, path, slot, slot + 40);
    return `both marks of ${path}`;
  }
  const copies = JOURNAL_PATHS.filter((path) => paths.includes(path));
  let from = Infinity;
  for (const path of copies) from = Math.min(from, lastRecord(node.disk.contents(path)));
  if (copies.length < JOURNAL_PATHS.length || from < RECORD_SIZE) return '';
  // Of whom nothing else is left an operator must say that it was given up.
  const newest = readRecord(node.disk.contents(copies[0]!), from, copies[0]!);
  if (typeof newest === 'object' && newest.kind === 'state' && newest.entry.state === 'removed') return '';
  for (const path of copies) flip(node, prng, path, from, from + RECORD_SIZE);
  return 'the newest record of both copies of raft-state';
}

function lastRecord(bytes: Buffer): number {
  for (let at = bytes.length - RECORD_SIZE; at >= 0; at -= RECORD_SIZE) if (bytes.readUInt32BE(at) !== 0) return at;
  return -1;
}

/** Of each folder with segments the last one; `paths` in order. */
export function newestSegments(paths: readonly string[]): string[] {
  const newest = new Map<string, string>();
  for (const path of paths) if (path.startsWith('logs/') && path.endsWith('.seg')) newest.set(folderOf(path), path);
  return [...newest.values()];
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
