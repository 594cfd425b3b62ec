// I3, afterwards: a replica holds what it acked as long as the term lasts in which it did, through restarts and
// installed snapshots. It says that it has lost what it promised only when its disk has lost something; and
// then it does say so, and goes on under that replica id no more. Nor does it find any other damage.
import { isSoleVoter } from '../../../src/raft/config.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { LogState } from '../../../src/segment/log-options.ts';
import { groupOf } from '../catalog.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { kindOf, matchOf, senderOf, termOf, uidOf } from './raft-frame.ts';

export class KeptPromises implements Checker {
  readonly rule = 'I3';
  /** By log and replica: up to where it acked in the newest term. */
  readonly #acked = new Map<string, { term: number; match: number }>();

  message(_from: SimNode, frame: Buffer): void {
    if (kindOf(frame) !== MessageKind.AppendAck) return;
    const key = `${uidOf(frame)} ${senderOf(frame)}`;
    const term = termOf(frame);
    const match = matchOf(frame);
    const acked = this.#acked.get(key);
    if (acked === undefined || term > acked.term) this.#acked.set(key, { term, match });
    else if (term === acked.term && match > acked.match) acked.match = match;
  }

  node(sim: SimNode): void {
    for (const { uid, replica, descriptor } of sim.node?.logs.slots() ?? []) {
      if (replica === null) continue;
      const whole = replica.log.damage.length === 0 || sim.rotted.size > 0;
      demand(whole, this.rule, () => `${sim.name} finds ${replica.log.damage[0]!.reason} in ${replica.log.damage[0]!.file}, and nothing has damaged its disk`);
      if (replica.group.alone) continue;
      const core = groupOf(replica).driver.node;
      if (core.serving === 'lost') {
        demand(sim.rotted.size > 0, this.rule, () => `${sim.name} has lost what it promised of ${uid}, and nothing has damaged its disk`);
        continue;
      }
      const forgotten = sim.node!.context.journal.get(Buffer.from(uid, 'hex'), descriptor.replicaId)?.state === 'lost' || replica.log.state === LogState.READ_ONLY;
      const alone = isSoleVoter(core.config.config, descriptor.replicaId);
      demand(!forgotten || alone, this.rule, () => `${sim.name} goes on as replica ${descriptor.replicaId} of ${uid}, and does not know what that promised`);
      const acked = this.#acked.get(`${uid} ${descriptor.replicaId}`);
      if (acked === undefined || acked.term !== core.term) continue;
      demand(core.lastIndex >= acked.match, this.rule, () => `${sim.name} acked entry ${acked.match} of ${uid} in term ${acked.term}, and its log ends at ${core.lastIndex}`);
    }
  }
}
