// Watches a test cluster and knows what must never happen (invariants I1–I7, DESIGN §8).
//
// It only looks: at entries when they enter a log, at messages when they leave, at commits when they
// are reported. Entries are compared by identity, so "the same entry" cannot be a coincidence.
import { assert } from '../../../src/wire/assert.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import type { Message } from '../../../src/raft/types.ts';
import type { Entry, Replica } from './replica.ts';

interface Seen {
  readonly entry: Entry;
  readonly prevTerm: number;
}

export class Checkers {
  /** committed[i] is the entry that the group has committed at index i. */
  readonly committed: (Entry | undefined)[] = [];
  private readonly find: (id: number) => Replica | undefined;
  private readonly leaders = new Map<number, number>();
  private readonly terms = new Map<number, number>();
  private readonly seen = new Map<string, Seen>();

  constructor(find: (id: number) => Replica | undefined) {
    this.find = find;
  }

  committedIndex(): number {
    return Math.max(0, this.committed.length - 1);
  }

  /** I4: an index and a term name one entry, and the same entry before it, in all logs. */
  appended(replica: Replica, index: number): void {
    const entry = replica.entryAt(index);
    const prevTerm = index - 1 === replica.baseIndex ? replica.baseTerm : replica.entryAt(index - 1).term;
    const key = `${index}/${entry.term}`;
    const before = this.seen.get(key);
    if (before === undefined) {
      this.seen.set(key, { entry, prevTerm });
      return;
    }
    assert(before.entry === entry, `I4: two entries with index/term ${key}`);
    assert(before.prevTerm === prevTerm, `I4: two histories before index/term ${key}`);
  }

  /** I1, and leader completeness (Raft §5.4.3): who leads holds all that was committed. */
  roleChanged(replica: Replica): void {
    const node = replica.running();
    if (node.role !== 'leader') return;
    const known = this.leaders.get(node.term);
    assert(known === undefined || known === replica.id, `I1: two leaders in term ${node.term}`);
    this.leaders.set(node.term, replica.id);
    for (let i = replica.baseIndex + 1; i < this.committed.length; i++) {
      assert(i <= replica.lastIndex, `I7: leader ${replica.id} lacks committed entry ${i}`);
      assert(replica.entryAt(i) === this.committed[i], `I7: leader ${replica.id} has another entry ${i}`);
    }
  }

  /** I4, I7: what is committed is the same everywhere, for ever. I6: and it is on this disk. */
  reported(replica: Replica, from: number, to: number): void {
    for (let i = from; i <= to; i++) {
      const entry = replica.entryAt(i);
      assert(replica.isOnDisk(i), `I6: replica ${replica.id} may apply ${i} before it is on its disk`);
      assert((this.committed[i] ?? entry) === entry, `I7: another entry was committed at ${i}`);
      this.committed[i] = entry;
    }
  }

  /** I4: an ack in a term means agreement with the leader of that term, up to the entry it names. */
  private agreesWithLeader(replica: Replica, leaderId: number, term: number, match: number): void {
    const leader = this.find(leaderId);
    if (!leader?.up || leader.running().role !== 'leader' || leader.running().term !== term) return;
    if (match <= Math.max(leader.baseIndex, replica.baseIndex)) return;
    assert(match <= leader.lastIndex, `I4: replica ${replica.id} acks ${match}, beyond its leader's log`);
    assert(leader.entryAt(match) === replica.entryAt(match), `I4: replica ${replica.id} acks another entry ${match}`);
  }

  /** I3: promises leave after they are on disk. I2: and no term after a higher one, across restarts. */
  sent(replica: Replica, message: Message): void {
    const { hard } = replica.disk;
    const lastTerm = this.terms.get(replica.id) ?? 0;
    assert(message.term >= lastTerm, `I2: replica ${replica.id} went back from term ${lastTerm} to ${message.term}`);
    this.terms.set(replica.id, message.term);
    assert(message.term <= Math.max(hard.term, replica.diskLastTerm), 'I3: a term is on disk before it is named');
    if (message.kind === MessageKind.AppendAck) {
      assert(replica.isOnDisk(message.match), 'I3: an ack names only what is on disk');
      this.agreesWithLeader(replica, message.to, message.term, message.match);
    }
    if (message.kind === MessageKind.VoteReply && message.granted) {
      assert(hard.term === message.term && hard.vote === message.to, 'I3: a vote is on disk before it leaves');
    }
    if (message.kind === MessageKind.Vote) {
      assert(hard.term === message.term && hard.vote === replica.id, 'I3: the own vote is on disk first');
    }
  }
}
