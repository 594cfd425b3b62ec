// I5: an entry of an older term is committed only through one of the current term. So what a leader has
// committed since its election ends with an entry of its own term.
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import type { LogMatching } from './i04-log-matching.ts';
import { coreOf } from './on-majority.ts';
import { isLeaders, kindOf, termOf, uidOf } from './raft-frame.ts';

export class OwnTermCommits implements Checker {
  readonly rule = 'I5';
  readonly #entries: LogMatching;
  /** By log: the newest term, and the commit index with which its leader began. */
  readonly #began = new Map<string, { term: number; commitIndex: number }>();

  constructor(entries: LogMatching) {
    this.#entries = entries;
  }

  message(from: SimNode, frame: Buffer): void {
    if (!isLeaders(kindOf(frame))) return;
    const uid = uidOf(frame);
    const term = termOf(frame);
    const began = this.#began.get(uid);
    if (began !== undefined && term < began.term) return;
    const core = coreOf(from, uid);
    if (core === null) return;
    const { commitIndex } = core;
    if (began === undefined || term > began.term) this.#began.set(uid, { term, commitIndex });
    else if (commitIndex > began.commitIndex) this.#check(uid, commitIndex, term);
  }

  #check(uid: string, commitIndex: number, term: number): void {
    demand(this.#entries.has(uid, commitIndex, term), this.rule, () => `the leader of term ${term} of ${uid} committed up to ${commitIndex}, which is no entry of its term`);
  }
}
