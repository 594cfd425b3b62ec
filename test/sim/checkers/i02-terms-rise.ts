// I2: terms never go down on a replica, across restarts; and every start leads in a higher one. What a
// replica says to others counts even if it was killed right after.
import { FIRST_CATCH_UP_KIND } from '../../../src/replica/catch-up/messages.ts';
import type { RaftNode } from '../../../src/raft/node.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import { groupOf } from '../catalog.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { kindOf, senderOf, termOf, uidOf } from './raft-frame.ts';

interface Known {
  term: number;
  incarnation: number;
}

interface Sent {
  term: number;
  readonly node: string;
}

/** Messages that wait for nothing but term and vote. */
function isPromise(kind: number): boolean {
  return kind !== MessageKind.Append && kind < FIRST_CATCH_UP_KIND;
}

export class TermsRise implements Checker {
  readonly rule = 'I2';
  /** By log and replica: the highest term that it has sent, and from where. */
  readonly #sent = new Map<string, Map<number, Sent>>();
  readonly #known = new Map<string, Known>();

  message(from: SimNode, frame: Buffer): void {
    const sent = this.#sentIn(uidOf(frame));
    const sender = senderOf(frame);
    const term = termOf(frame);
    const before = sent.get(sender)?.term ?? 0;
    // An Append may have waited for its entries to be read from disk, as any message may on its way; and what
    // a replica asks of others for want of entries promises nothing.
    if (term < before && !isPromise(kindOf(frame))) return;
    demand(term >= before, this.rule, () => `${from.name} sends in term ${term} of ${uidOf(frame)}, and had sent in term ${before}`);
    if (before === 0) sent.set(sender, { term, node: from.name });
    else if (term > before) sent.get(sender)!.term = term;
  }

  #sentIn(uid: string): Map<number, Sent> {
    let sent = this.#sent.get(uid);
    if (sent === undefined) this.#sent.set(uid, (sent = new Map()));
    return sent;
  }

  /** What a start finds in raft-state. */
  up(sim: SimNode): void {
    for (const [uid, replicas] of this.#sent) {
      for (const [replicaId, { term, node }] of replicas) {
        if (node !== sim.name) continue;
        const stored = sim.node!.context.journal.get(Buffer.from(uid, 'hex'), replicaId);
        if (stored === null || stored.state === 'lost' || stored.state === 'removed') continue;
        demand(stored.term >= term, this.rule, () => `${sim.name} starts with term ${stored.term} of ${uid}, and had sent in term ${term}`);
      }
    }
  }

  node(sim: SimNode): void {
    if (sim.node === null) return;
    for (const slot of sim.node.logs.slots()) {
      const { replica } = slot;
      if (replica === null) continue;
      this.#remembers(sim, slot.uid, slot.descriptor.replicaId, groupOf(replica).driver.node);
      if (replica.group.refusal !== 0) continue;
      const { term } = replica.group;
      const key = `${slot.descriptor.replicaId} on ${sim.name} ${slot.uid}`;
      const known = this.#known.get(key);
      if (known !== undefined) {
        demand(term >= known.term, this.rule, () => `${slot.name} on ${sim.name} goes from term ${known.term} back to ${term}`);
        const same = known.incarnation !== sim.incarnation && term === known.term;
        demand(!same, this.rule, () => `${slot.name} on ${sim.name} leads in term ${term} again after a restart`);
        known.term = term;
        known.incarnation = sim.incarnation;
      } else this.#known.set(key, { term, incarnation: sim.incarnation });
    }
  }

  /** Whoever cannot know it any more says nothing any more. */
  #remembers(sim: SimNode, uid: string, replicaId: number, core: RaftNode): void {
    const sent = this.#sent.get(uid)?.get(replicaId);
    if (sent === undefined || core.serving === 'lost') return;
    demand(core.term >= sent.term, this.rule, () => `${sim.name} is in term ${core.term} of ${uid}, and had sent in term ${sent.term}`);
  }
}
