// I4: two logs with the same (index, term) agree up to it. Of every entry that a leader sends, and of every
// one that a follower has on disk, the header's checksum is noted, which covers the body's, and the term of
// the entry before: equal index and term must mean equal entries behind equal terms. So they agree *up to
// it*, by induction.
import * as batch from '../../../src/wire/batch.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { kindOf, uidOf } from './raft-frame.ts';

const AT_PREV_TERM = 104;
/** Of an Append: behind prev_index, prev_term, to_index and commit_index. */
const AT_RUNS = 128;
const RUN_SIZE = 16;
const TERMS_MAX = 2 ** 20;
const U32 = 2 ** 32;

export class LogMatching implements Checker {
  readonly rule = 'I4';
  /** By log, and by index and term: the checksum, and above it one more than the term before, 0 = not known. */
  readonly #entries = new Map<string, Map<number, number>>();

  message(from: SimNode, frame: Buffer): void {
    if (kindOf(frame) !== MessageKind.Append) return;
    const uid = uidOf(frame);
    const runs = frame.readUInt32BE(AT_RUNS);
    let at = AT_RUNS + 4 + runs * RUN_SIZE + 4;
    let before = frame.readUInt32BE(AT_PREV_TERM) * U32 + frame.readUInt32BE(AT_PREV_TERM + 4);
    for (; at < frame.length; at += batch.batchSize(frame, at)) {
      const term = batch.batchTerm(frame, at);
      this.note(uid, batch.batchIndex(frame, at), term, before, frame.readUInt32BE(at + batch.AT_HEADER_CRC), from.name);
      before = term;
    }
  }

  note(uid: string, index: number, term: number, termBefore: number, headerCrc: number, where: string): void {
    let entries = this.#entries.get(uid);
    if (entries === undefined) this.#entries.set(uid, (entries = new Map()));
    const key = index * TERMS_MAX + term;
    const value = (termBefore + 1) * U32 + headerCrc;
    const known = entries.get(key);
    if (known === value) return;
    if (known === undefined || known < U32) entries.set(key, value);
    if (known === undefined) return;
    demand(known % U32 === headerCrc, this.rule, () => `entry ${index} of term ${term} of ${uid} is another one on ${where} than elsewhere`);
    const follows = known < U32 || value < U32;
    demand(follows, this.rule, () => `entry ${index} of term ${term} of ${uid} follows one of term ${termBefore} on ${where}, and one of term ${Math.floor(known / U32) - 1} elsewhere`);
  }

  /** Whether anybody has sent, or has on disk, an entry of this index and term. */
  has(uid: string, index: number, term: number): boolean {
    return this.#entries.get(uid)?.has(index * TERMS_MAX + term) ?? false;
  }
}
