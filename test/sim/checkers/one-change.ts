// The rules by which the voters of a log may change (thesis §4), watched where a leader sends its next message
// after a change: the change before it is committed, so is an entry of the leader's own term, and whoever
// becomes a voter holds at least the entry that made it a learner.
import type { Configuration } from '../../../src/raft/config.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import type { LogMatching } from './i04-log-matching.ts';
import { coreOf } from './on-majority.ts';
import type { OnMajority } from './on-majority.ts';
import { isLeaders, kindOf, termOf, uidOf } from './raft-frame.ts';

interface Known {
  term: number;
  /** Index of the newest configuration, and what it is. */
  index: number;
  config: Configuration;
}

export class OneChange implements Checker {
  readonly rule = 'changes';
  readonly #entries: LogMatching;
  readonly #majority: OnMajority;
  /** By log, what its leader of the newest term was seen with. */
  readonly #known = new Map<string, Known>();
  /** By log and replica: the configuration that made it a learner. */
  readonly #learnerSince = new Map<string, number>();

  constructor(entries: LogMatching, majority: OnMajority) {
    this.#entries = entries;
    this.#majority = majority;
  }

  message(from: SimNode, frame: Buffer): void {
    if (!isLeaders(kindOf(frame))) return;
    const uid = uidOf(frame);
    const term = termOf(frame);
    const known = this.#known.get(uid);
    if (known !== undefined && term < known.term) return;
    const core = coreOf(from, uid);
    if (core === null || core.role !== 'leader' || core.term !== term) return;
    const { index, config } = core.config;
    if (known !== undefined && known.term === term && index > known.index) this.#changed(from, uid, known, core.commitIndex, index, config);
    for (const { replicaId } of config.learners) {
      const learner = `${uid} ${replicaId}`;
      // A leader that was replaced may have made it one in a later entry, which counts no more.
      this.#learnerSince.set(learner, Math.min(this.#learnerSince.get(learner) ?? index, index));
    }
    if (known === undefined) this.#known.set(uid, { term, index, config });
    else Object.assign(known, { term, index, config });
  }

  #changed(from: SimNode, uid: string, before: Known, commitIndex: number, index: number, config: Configuration): void {
    const { term } = before;
    demand(commitIndex >= before.index, this.rule, () => `${from.name} changes the voters of ${uid} in entry ${index}, and the change in entry ${before.index} is not committed`);
    demand(this.#entries.has(uid, commitIndex, term), this.rule, () => `${from.name} changes the voters of ${uid} in entry ${index}, and nothing of its term ${term} is committed`);
    for (const { replicaId } of config.voters) {
      if (before.config.voters.some((voter) => voter.replicaId === replicaId)) continue;
      const since = this.#learnerSince.get(`${uid} ${replicaId}`) ?? 0;
      const acked = this.#majority.ackedBy(uid, replicaId);
      demand(acked >= since, this.rule, () => `replica ${replicaId} of ${uid} is made a voter in entry ${index}, holds entries up to ${acked}, and became a learner in ${since}`);
    }
  }
}
