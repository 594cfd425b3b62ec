// What logs have on disk for certain: follows the segments of each log as a power cut would leave them,
// entry by entry, with a parser of its own.
import type { SegmentedLog } from '../../../src/segment/log.ts';
import * as batch from '../../../src/wire/batch.ts';
import { BATCH_HEADER_SIZE } from '../../../src/wire/limits.ts';
import type { SimFileNode } from '../../support/sim-media.ts';
import type { SimNode } from '../node/sim-node.ts';

const SEGMENT_HEAD = 4096;
const SEGMENT_PATH = /\/\d{8}\/\d{20}\.seg$/;

/** An entry of a log, as it lies on a disk. `termBefore`: of the entry before it, −1 = not known. */
export type EntrySeen = (uid: string, index: number, term: number, termBefore: number, headerCrc: number, where: string) => void;

interface Place {
  /** Another one after a restart, and after a snapshot was installed. */
  readonly log: SegmentedLog | null;
  readonly generation: number;
  file: SimFileNode | null;
  /** Of the file. */
  firstIndex: number;
  position: number;
  /** The last entry that was found, and its term; −1 = not known. */
  index: number;
  term: number;
  /** Where that entry begins, and the checksum of its header; −1 = nowhere. */
  lastAt: number;
  lastCrc: number;
}

export class DurableLogs {
  readonly #seen: EntrySeen;
  readonly #places = new Map<string, Place>();
  readonly #head = Buffer.alloc(BATCH_HEADER_SIZE);

  constructor(seen: EntrySeen) {
    this.#seen = seen;
  }

  /** The highest entry, at most `wanted`, up to which the disk has all that it had before. */
  reach(node: SimNode, uid: string, wanted: number): number {
    const place = this.#place(node, uid);
    if (!this.#holds(place)) this.#beginAnew(place);
    while (place.index < wanted) {
      if (place.file === null && !this.#openAt(node, uid, place, wanted)) break;
      if (this.#step(node, uid, place)) continue;
      // The next entry may be the first of the next segment; or all was deleted since somebody looked.
      if (!this.#openAt(node, uid, place, place.index + 1) && !this.#openAt(node, uid, place, wanted)) break;
    }
    return place.index;
  }

  /** Begins anew with every log that was opened, and after every truncation. */
  #place(node: SimNode, uid: string): Place {
    const key = `${node.name} ${uid}`;
    const log = logOf(node, uid);
    const generation = log?.generation ?? -1;
    let place = this.#places.get(key);
    if (place === undefined || place.log !== log || place.generation !== generation) {
      place = { log, generation, file: null, firstIndex: 0, position: 0, index: 0, term: -1, lastAt: -1, lastCrc: 0 };
      this.#places.set(key, place);
    }
    return place;
  }

  /** A log says that it was cut before its file is: what was read in between may be others by now. */
  #holds({ file, lastAt, lastCrc }: Place): boolean {
    if (file === null || lastAt < 0) return true;
    const size = file.readDurable(this.#head, 0, BATCH_HEADER_SIZE, lastAt);
    return size === BATCH_HEADER_SIZE && this.#head.readUInt32BE(batch.AT_HEADER_CRC) === lastCrc;
  }

  #beginAnew(place: Place): void {
    place.file = null;
    place.index = 0;
    place.term = place.lastAt = -1;
  }

  /** Opens the segment in which `index` lies or would lie; false when that is the one that is open. */
  #openAt(node: SimNode, uid: string, place: Place, index: number): boolean {
    let best: SimFileNode | null = null;
    let bestFirst = 0;
    let folder = '';
    for (const [path, file] of node.disk.media.files()) {
      if (!SEGMENT_PATH.test(path) || !path.startsWith(`logs/${uid}/`)) continue;
      // Of two generations the later one was made because the earlier one had ended.
      if (path.slice(0, -25) > folder) {
        folder = path.slice(0, -25);
        best = null;
        bestFirst = 0;
      }
      const first = Number(path.slice(-24, -4));
      if (first <= index && first > bestFirst) {
        best = file;
        bestFirst = first;
      }
    }
    if (best === null || best === place.file) return false;
    place.file = best;
    place.firstIndex = bestFirst;
    place.position = SEGMENT_HEAD;
    place.lastAt = -1;
    if (place.index !== bestFirst - 1) place.term = -1;
    place.index = bestFirst - 1;
    return true;
  }

  /** Goes on by one entry; false when there is none that holds. */
  #step(node: SimNode, uid: string, place: Place): boolean {
    const head = this.#head;
    const file = place.file!;
    if (file.readDurable(head, 0, BATCH_HEADER_SIZE, place.position) < BATCH_HEADER_SIZE) return false;
    const size = batch.batchSize(head, 0);
    if (batch.batchIndex(head, 0) !== place.index + 1 || place.position + size > file.durableSize) return false;
    // The checksum of the header is compared where the same entry is seen elsewhere.
    if (head.readUInt32BE(batch.AT_MAGIC) !== batch.BATCH_MAGIC) return false;
    place.index++;
    place.lastAt = place.position;
    place.lastCrc = head.readUInt32BE(batch.AT_HEADER_CRC);
    place.position += size;
    const term = batch.batchTerm(head, 0);
    this.#seen(uid, place.index, term, place.term, head.readUInt32BE(batch.AT_HEADER_CRC), node.name);
    place.term = term;
    return true;
  }
}

function logOf(node: SimNode, uid: string): SegmentedLog | null {
  for (const slot of node.node?.logs.slots() ?? []) if (slot.uid === uid) return slot.replica?.log ?? null;
  return null;
}
