// A cluster of test replicas and the network between them: a list of messages, delivered by hand.
import { assert } from '../../../src/wire/assert.ts';
import type { Configuration } from '../../../src/raft/config.ts';
import type { Effects } from '../../../src/raft/effects.ts';
import { RAFT_DEFAULTS } from '../../../src/raft/settings.ts';
import type { RaftSettings } from '../../../src/raft/settings.ts';
import type { Message } from '../../../src/raft/types.ts';
import { Checkers } from './checkers.ts';
import { Replica } from './replica.ts';
import type { World } from './replica.ts';

export interface ClusterOptions {
  readonly voters: number;
  readonly learners?: number;
  readonly settings?: Partial<RaftSettings>;
  /** Default: replica 1 draws 0, replica 2 draws 100 …, so that elections are predictable. */
  readonly random?: (bound: number, replicaId: number) => number;
}

export function members(...ids: number[]): { replicaId: number; nodeId: string }[] {
  return ids.map((replicaId) => ({ replicaId, nodeId: `n${replicaId}` }));
}

export class Cluster implements World {
  readonly settings: RaftSettings;
  readonly replicas: Replica[] = [];
  readonly checkers = new Checkers((id) => this.replicas.find((replica) => replica.id === id));
  /** Sent, not yet delivered, oldest first. */
  network: Message[] = [];
  /** Followers that a leader cannot serve from its log: [leader, follower]. */
  catchUps: [number, number][] = [];
  /** Called with what a replica wants done, before it is done. */
  onEffects: (replica: Replica, effects: Effects) => void = () => {};
  onMessage: (message: Message) => void = () => {};
  /** Returns false to lose a message on its way out. */
  link: (from: number, to: number) => boolean = () => true;
  private entryIds = 0;
  private readonly draw: (bound: number, replicaId: number) => number;

  constructor(options: ClusterOptions) {
    this.settings = { ...RAFT_DEFAULTS, ...options.settings };
    this.draw = options.random ?? ((bound, id) => ((id - 1) * 100) % bound);
    const count = options.voters + (options.learners ?? 0);
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    const founding: Configuration = {
      voters: members(...ids.slice(0, options.voters)),
      learners: members(...ids.slice(options.voters)),
    };
    for (const id of ids) this.replicas.push(new Replica(id, founding, this));
  }

  /** Starts all replicas, in order. */
  start(): this {
    for (const replica of this.replicas) replica.start();
    return this;
  }

  /** A new, empty replica that nobody has told anything yet. */
  addReplica(id: number): Replica {
    const replica = new Replica(id, null, this);
    this.replicas.push(replica);
    replica.start();
    return replica;
  }

  at(id: number): Replica {
    const replica = this.replicas.find((one) => one.id === id);
    assert(replica !== undefined, `there is no replica ${id}`);
    return replica;
  }

  random(replica: Replica, bound: number): number {
    return this.draw(bound, replica.id);
  }
  nextEntryId(): number {
    return ++this.entryIds;
  }
  note(replica: Replica, effects: Effects): void {
    this.onEffects(replica, effects);
  }
  transmit(_replica: Replica, message: Message): void {
    this.onMessage(message);
    if (this.link(message.from, message.to)) this.network.push(message);
  }
  wantsCatchUp(replica: Replica, to: number): void {
    this.catchUps.push([replica.id, to]);
  }

  /** Hands over one message; messages to nobody or to a stopped process are lost. */
  deliver(message: Message): void {
    const replica = this.replicas.find((one) => one.id === message.to);
    if (replica?.up) replica.input((node) => node.receive(message));
  }

  /** Delivers everything that is under way now, not what follows from it. */
  deliverRound(): boolean {
    const batch = this.network;
    this.network = [];
    for (const message of batch) this.deliver(message);
    return batch.length > 0;
  }

  /** Persists and delivers until nothing is left to do. Time stands still. */
  settle(maxRounds = 1000): this {
    for (let round = 0; round < maxRounds; round++) {
      let any = false;
      for (const replica of this.replicas) if (replica.up && replica.persist()) any = true;
      if (this.deliverRound()) any = true;
      if (!any) return this;
    }
    throw new Error('the cluster does not come to rest');
  }

  /** Lets `ms` go by in ticks on all running replicas, settling after each tick. */
  run(ms: number): this {
    for (let elapsed = 0; elapsed < ms; elapsed += this.settings.tickMs) {
      for (const replica of this.replicas) {
        if (replica.up) replica.input((node) => node.tick(this.settings.tickMs));
      }
      this.settle();
    }
    return this;
  }

  /** Ships snapshots that leaders asked for. */
  serveCatchUps(): void {
    for (const [from, to] of this.catchUps.splice(0)) {
      const leader = this.at(from);
      const follower = this.at(to);
      if (!leader.up || !follower.up || !this.link(from, to)) {
        if (leader.up) leader.input((node) => node.catchUpFailed(to));
        continue;
      }
      const image = leader.capture();
      follower.install(image);
      leader.input((node) => node.catchUpDone(to, image.commitIndex));
    }
  }

  /**
   * Makes `id` the leader: the old one notices that its quorum is gone, the others that its
   * connection is, and `id` campaigns first.
   */
  elect(id: number): Replica {
    const replica = this.at(id);
    for (const other of this.replicas) if (other.up) this.forgetLeader(other);
    replica.input((node) => node.campaign());
    this.settle();
    assert(replica.running().role === 'leader', `replica ${id} was not elected`);
    return replica;
  }

  /** As if it had heard of nobody for a while. Whatever it sends meanwhile is lost. */
  forgetLeader(replica: Replica): void {
    const { link } = this;
    this.link = () => false;
    const node = replica.running();
    if (node.role === 'leader') replica.input((n) => n.tick(this.settings.electionMinMs));
    else if (node.leader !== 0) replica.input((n) => n.peerReset(n.leaderNode));
    this.link = link;
  }

  /** The running leader of the highest term. */
  leader(): Replica | null {
    let best: Replica | null = null;
    for (const replica of this.replicas) {
      if (!replica.up || replica.running().role !== 'leader') continue;
      if (best === null || replica.running().term > best.running().term) best = replica;
    }
    return best;
  }

  /** Cuts all links between the groups named. */
  partition(...groups: number[][]): void {
    const side = (id: number): number => groups.findIndex((group) => group.includes(id));
    this.link = (from, to) => side(from) === side(to);
    this.network = this.network.filter((message) => this.link(message.from, message.to));
  }
  heal(): void {
    this.link = () => true;
  }
}
