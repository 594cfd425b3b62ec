// The idle groups between two nodes as each of the two counts them: one leads, the other follows. Two nodes
// that agree on count and digest agree on every group, its replicas and its term.
import type { NodeId, ReplicaId, Term } from '../../raft/types.ts';

export interface Sleeper {
  /** 32 hex digits. */
  readonly logUid: string;
  readonly leader: ReplicaId;
  readonly follower: ReplicaId;
  readonly term: Term;
  /** Told when nobody vouches for it any more. */
  readonly group: { peerSilent(nodeId: NodeId, elapsedMs: number): void };
  /** Vouched for at this time by itself, whatever the digest says. */
  sinceMs: number;
}

export interface Digest {
  readonly count: number;
  readonly xor: number;
  readonly sum: number;
}

export class SleepSet {
  readonly #sleepers = new Map<string, Sleeper>();
  #xor = 0;
  #sum = 0;

  get count(): number {
    return this.#sleepers.size;
  }

  get digest(): Digest {
    return { count: this.count, xor: this.#xor, sum: this.#sum };
  }

  get(logUid: string): Sleeper | undefined {
    return this.#sleepers.get(logUid);
  }

  all(): Sleeper[] {
    return [...this.#sleepers.values()];
  }

  add(sleeper: Sleeper): void {
    this.remove(sleeper.logUid);
    this.#sleepers.set(sleeper.logUid, sleeper);
    this.#xor = (this.#xor ^ hashOf(sleeper, 0x811c_9dc5)) >>> 0;
    this.#sum = (this.#sum + hashOf(sleeper, 0x9747_b28c)) >>> 0;
  }

  remove(logUid: string): void {
    const sleeper = this.#sleepers.get(logUid);
    if (sleeper === undefined) return;
    this.#sleepers.delete(logUid);
    this.#xor = (this.#xor ^ hashOf(sleeper, 0x811c_9dc5)) >>> 0;
    this.#sum = (this.#sum - hashOf(sleeper, 0x9747_b28c)) >>> 0;
  }

  equals({ count, xor, sum }: Digest): boolean {
    return count === this.count && xor === this.#xor && sum === this.#sum;
  }
}

/** FNV-1a with a finish that mixes all bits, over what both sides know of the group. */
function hashOf({ logUid, leader, follower, term }: Sleeper, seed: number): number {
  let hash = seed;
  const text = `${logUid} ${leader} ${follower} ${term}`;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
