// I4: two logs with the same (index, term) agree up to it. Of every entry that a leader sends, and of every
// one that a follower has on disk, the header's checksum is noted, which covers the body's: equal index
// and term must mean equal entries. That they agree *up to it* follows, because it holds for each.
import * as batch from '../../../src/wire/batch.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { kindOf, uidOf } from './raft-frame.ts';

/** Of an Append: behind prev_index, prev_term, to_index and commit_index. */
const AT_RUNS = 128;
const RUN_SIZE = 16;
const TERMS_MAX = 2 ** 20;

export class LogMatching implements Checker {
  readonly rule = 'I4';
  /** By log: checksum by index and term. */
  readonly #entries = new Map<string, Map<number, number>>();

  message(from: SimNode, frame: Buffer): void {
    if (kindOf(frame) !== MessageKind.Append) return;
    const uid = uidOf(frame);
    const runs = frame.readUInt32BE(AT_RUNS);
    let at = AT_RUNS + 4 + runs * RUN_SIZE + 4;
    for (; at < frame.length; at += batch.batchSize(frame, at)) {
      this.note(uid, batch.batchIndex(frame, at), batch.batchTerm(frame, at), frame.readUInt32BE(at + batch.AT_HEADER_CRC), from.name);
    }
  }

  note(uid: string, index: number, term: number, headerCrc: number, where: string): void {
    let entries = this.#entries.get(uid);
    if (entries === undefined) this.#entries.set(uid, (entries = new Map()));
    const key = index * TERMS_MAX + term;
    const known = entries.get(key);
    if (known === undefined) entries.set(key, headerCrc);
    else demand(known === headerCrc, this.rule, () => `entry ${index} of term ${term} of ${uid} is another one on ${where} than elsewhere`);
  }

  /** Whether anybody has sent, or has on disk, an entry of this index and term. */
  has(uid: string, index: number, term: number): boolean {
    return this.#entries.get(uid)?.has(index * TERMS_MAX + term) ?? false;
  }
}
