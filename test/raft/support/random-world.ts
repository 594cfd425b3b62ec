// One random world: draws its rates from the seed, does thousands of random steps, then heals.
import { assert } from '../../../src/wire/assert.ts';
import type { ConfigChange } from '../../../src/raft/config.ts';
import { isLearner, isVoter } from '../../../src/raft/config.ts';
import { Cluster } from './cluster.ts';
import { prng } from './prng.ts';
import type { Prng } from './prng.ts';
import type { CatchUpImage, Replica } from './replica.ts';

/** How often each thing happened; a set of worlds that never reached one of them proves little. */
export interface WorldReport {
  proposals: number;
  committed: number;
  elections: number;
  crashes: number;
  truncations: number;
  snapshots: number;
  configChanges: number;
  configRollbacks: number;
  transfers: number;
  readsConfirmed: number;
  readsFailed: number;
  staleCompletions: number;
  tailCuts: number;
  stops: number;
  sleeps: number;
}

interface PendingCatchUp {
  readonly leader: number;
  readonly term: number;
  readonly follower: number;
  readonly image: CatchUpImage;
}

/** What a reader was told: a linearizable read must see what was committed when it was asked. */
interface PendingRead {
  readonly replica: number;
  readonly incarnation: number;
  readonly sequence: number;
  readonly committed: number;
}

export class RandomWorld {
  readonly random: Prng;
  readonly cluster: Cluster;
  readonly report: WorldReport = {
    proposals: 0, committed: 0, elections: 0, crashes: 0, truncations: 0, snapshots: 0, configChanges: 0,
    configRollbacks: 0, transfers: 0, readsConfirmed: 0, readsFailed: 0, staleCompletions: 0, tailCuts: 0,
    stops: 0, sleeps: 0,
  };
  private readonly weights: [number, (replica: Replica) => void][];
  private readonly totalWeight: number;
  private readonly lossPercent: number;
  private readonly repeatPercent: number;
  private readonly reorderPercent: number;
  private readonly slowReplica: number;
  private nextReplicaId: number;
  private catchUps: PendingCatchUp[] = [];
  private reads: PendingRead[] = [];
  private readonly configs = new Map<number, number>();

  constructor(seed: number) {
    this.random = prng(seed);
    const voters = [1, 3, 3, 5][this.random(4)]!;
    const learners = this.random(3) === 0 ? 1 : 0;
    this.cluster = new Cluster({
      voters,
      learners,
      random: this.random,
      settings: {
        sleepWhenIdle: this.random(2) === 0,
        // Impatient: leaders change often, and with them the tails of logs.
        heartbeatMs: 50,
        electionMinMs: 150,
        electionMaxMs: [200, 300, 600][this.random(3)]!,
        appendSizeMax: 350,
        probeSizeMax: 150,
        inflightSizeMax: 1000,
        inflightCountMax: 4,
      },
    });
    this.slowReplica = this.random(8);
    this.nextReplicaId = voters + learners + 1;
    // Swarm: each fault is off in some worlds, rare in others, and frequent in the rest.
    const rate = (max: number): number => [0, this.random(max) + 1, this.random(6 * max) + 1][this.random(3)]!;
    this.lossPercent = rate(6);
    this.repeatPercent = rate(6);
    this.reorderPercent = rate(12);
    this.weights = [
      [300, () => this.deliverSome()],
      [100 + rate(150), (replica) => this.tick(replica)],
      [[50, 150, 400][this.random(3)]!, (replica) => this.persistSome(replica)],
      [100, (replica) => this.propose(replica)],
      [20, (replica) => this.read(replica)],
      [rate(3), (replica) => this.crash(replica)],
      [25, () => this.restart()],
      [rate(6), () => this.repartition()],
      [rate(15), (replica) => this.changeConfig(replica)],
      [rate(4), (replica) => this.transfer(replica)],
      [rate(8), (replica) => this.compact(replica)],
      [20, () => this.finishCatchUp()],
      [rate(6), (replica) => this.cutTail(replica)],
      [rate(3), (replica) => this.stall(replica)],
      [rate(10), (replica) => this.resetConnection(replica)],
      [rate(4), (replica) => this.serving(replica)],
      [rate(20), (replica) => this.usurp(replica)],
    ];
    this.totalWeight = this.weights.reduce((sum, [weight]) => sum + weight, 0);
    this.watch();
  }

  private watch(): void {
    this.cluster.onEffects = (replica, effects) => {
      if (effects.role?.role === 'leader') this.report.elections++;
      if (effects.awake === false) this.report.sleeps++;
      for (const op of effects.log) if (op.kind === 'truncate') this.report.truncations++;
      if (effects.configChanged) this.configChanged(replica);
      for (const { sequence, index } of effects.reads) this.readsAnswered(replica, sequence, index);
      if (effects.readsFailedTo > 0) {
        const failed = this.reads.filter((read) => isRead(read, replica) && read.sequence <= effects.readsFailedTo);
        this.report.readsFailed += failed.length;
        this.reads = this.reads.filter((read) => !failed.includes(read));
      }
      assert(effects.fault === null, `replica ${replica.id}: ${effects.fault}`);
    };
    this.cluster.wantsCatchUp = (replica, follower) => {
      const { term } = replica.running();
      this.catchUps.push({ leader: replica.id, term, follower, image: replica.capture() });
    };
  }

  private configChanged(replica: Replica): void {
    const { index } = replica.running().config;
    const before = this.configs.get(replica.id) ?? 0;
    if (index < before) this.report.configRollbacks++;
    this.configs.set(replica.id, index);
  }

  private readsAnswered(replica: Replica, sequence: number, index: number): void {
    const answered = this.reads.filter((read) => isRead(read, replica) && read.sequence <= sequence);
    for (const read of answered) {
      assert(index >= read.committed, `a linearizable read missed ${index} < ${read.committed}`);
    }
    this.report.readsConfirmed += answered.length;
    this.reads = this.reads.filter((read) => !answered.includes(read));
  }

  step(): void {
    const { replicas } = this.cluster;
    const replica = replicas[this.random(replicas.length)]!;
    let at = this.random(this.totalWeight);
    for (const [weight, act] of this.weights) {
      if (at < weight) return act(replica);
      at -= weight;
    }
  }

  private deliverSome(): void {
    const { network } = this.cluster;
    for (let left = this.random(6); left > 0 && network.length > 0; left--) {
      // Mostly in order, sometimes from anywhere; some come again, much later.
      const at = this.random(100) < this.reorderPercent ? this.random(network.length) : 0;
      const [message] = network.splice(at, 1);
      if (this.random(100) < this.repeatPercent) network.push(message!);
      if (this.random(100) >= this.lossPercent) this.cluster.deliver(message!);
    }
    if (network.length > 200) network.splice(0, 100);
  }

  private tick(replica: Replica): void {
    // Clocks differ: a slow leader goes on believing while the others elect.
    const elapsedMs = replica.id === this.slowReplica ? 5 : 50;
    if (replica.up) replica.input((node) => node.tick(elapsedMs));
  }

  private stall(replica: Replica): void {
    if (replica.up) replica.input((node) => node.tick(100 + this.random(300)));
  }

  private persistSome(replica: Replica): void {
    if (!replica.up) return;
    const stale = replica.running().counters.staleCompletions;
    if (this.random(2) === 0) replica.persistHard();
    const writes = this.random(4);
    for (let i = 0; i < writes; i++) replica.persistWrite();
    this.report.staleCompletions += replica.running().counters.staleCompletions - stale;
  }

  private propose(replica: Replica): void {
    if (!replica.up || replica.writes.length > 20) return;
    replica.entrySize = 50 + this.random(200);
    const count = 1 + this.random(8);
    if (replica.propose(count) > 0) this.report.proposals += count;
  }

  private read(replica: Replica): void {
    if (!replica.up) return;
    const committed = this.cluster.checkers.committedIndex();
    const sequence = replica.running().requestRead();
    const { incarnation } = replica;
    if (sequence > 0) this.reads.push({ replica: replica.id, incarnation, sequence, committed });
    replica.input(() => undefined);
  }

  private crash(replica: Replica): void {
    if (!replica.up) return;
    const some = (count: number): number => (this.random(2) === 0 ? this.random(count + 1) : 0);
    replica.crash(some(replica.writes.length), some(replica.pendingHards.length));
    this.reads = this.reads.filter((read) => !isRead(read, replica));
    this.report.crashes++;
  }

  private restart(): void {
    const down = this.cluster.replicas.filter((replica) => !replica.up || replica.running().serving !== 'ready');
    if (down.length === 0) return;
    const replica = down[this.random(down.length)]!;
    if (replica.up) replica.input((node) => node.setServing('ready'));
    else replica.start();
  }

  private repartition(): void {
    const kind = this.random(4);
    if (kind === 0) {
      this.cluster.heal();
    } else if (kind === 1) {
      // One way only: some links drop everything.
      const cut = this.random(1000);
      this.cluster.link = (from, to) => (from * 31 + to * 17 + cut) % 3 !== 0;
    } else {
      const side = new Map(this.cluster.replicas.map((replica) => [replica.id, this.random(2)]));
      this.cluster.link = (from, to) => (side.get(from) ?? 0) === (side.get(to) ?? 0);
    }
  }

  private changeConfig(replica: Replica): void {
    if (!replica.up || replica.running().role !== 'leader') return;
    const node = replica.running();
    const change = this.drawChange(replica);
    const result = replica.input(() => node.changeConfig(node.config.index, change));
    if (typeof result !== 'number') return;
    this.report.configChanges++;
    if (change.kind === 'addLearner') {
      this.cluster.addReplica(change.member.replicaId);
      this.nextReplicaId++;
    }
  }

  private drawChange(replica: Replica): ConfigChange {
    const { config } = replica.running().config;
    const all = [...config.voters, ...config.learners];
    const { replicaId } = all[this.random(all.length)]!;
    if (all.length < 5 && this.random(2) === 0) {
      const id = this.nextReplicaId;
      return { kind: 'addLearner', member: { replicaId: id, nodeId: `n${id}` } };
    }
    if (isLearner(config, replicaId)) {
      return this.random(3) === 0 ? { kind: 'remove', replicaId } : { kind: 'promote', replicaId };
    }
    return this.random(3) === 0 ? { kind: 'demote', replicaId } : { kind: 'remove', replicaId };
  }

  private transfer(replica: Replica): void {
    if (!replica.up || replica.running().role !== 'leader') return;
    const target = this.random(2) === 0 ? 0 : 1 + this.random(this.nextReplicaId - 1);
    if (replica.input((node) => node.transferLeadership(target)) === null) this.report.transfers++;
  }

  private compact(replica: Replica): void {
    // Only what is on the disk: a compaction is made of files.
    if (!replica.up || replica.writes.length > 0) return;
    const { appliedIndex } = replica.running();
    const first = replica.baseIndex + 1;
    if (appliedIndex < first) return;
    replica.compact(first + this.random(appliedIndex - first + 2));
  }

  private finishCatchUp(): void {
    if (this.catchUps.length === 0) return;
    const [job] = this.catchUps.splice(this.random(this.catchUps.length), 1);
    const { leader, term, follower, image } = job!;
    const target = this.cluster.replicas.find((replica) => replica.id === follower);
    const done = target !== undefined && target.up && target.running().role !== 'leader';
    if (done && this.random(4) > 0 && target.install(image)) this.report.snapshots++;
    const source = this.cluster.at(leader);
    if (!source.up || source.running().term !== term) return;
    source.input((node) =>
      done ? node.catchUpDone(follower, image.commitIndex) : node.catchUpFailed(follower),
    );
  }

  private cutTail(replica: Replica): void {
    if (!replica.up || replica.writes.length === 0) return;
    // The driver gives up on what is queued, so the cut goes to the disk's own end.
    const { durableIndex } = replica.running();
    if (replica.writes.some(({ op }) => op.kind === 'truncate') || replica.diskLastIndex !== durableIndex) return;
    replica.writes = [];
    replica.input((node) => node.tailCut(durableIndex));
    this.report.tailCuts++;
  }

  private resetConnection(replica: Replica): void {
    if (!replica.up) return;
    const { replicas } = this.cluster;
    const { nodeId } = replicas[this.random(replicas.length)]!;
    replica.input((node) =>
      this.random(2) === 0 ? node.peerReset(nodeId) : node.peerSilent(nodeId, this.random(800)),
    );
  }

  /** Some lose sight of their leader, and one of them campaigns before its timer runs out. */
  private usurp(usurper: Replica): void {
    for (const replica of this.cluster.replicas) {
      if (!replica.up || this.random(4) === 0) continue;
      const node = replica.running();
      if (node.role === 'follower') replica.input(() => node.peerReset(node.leaderNode));
    }
    if (usurper.up) usurper.input((node) => node.campaign());
  }

  private serving(replica: Replica): void {
    if (!replica.up) return;
    const next = (['ready', 'damaged', 'stopped'] as const)[this.random(3)]!;
    replica.input((node) => node.setServing(next));
    if (next === 'stopped') this.report.stops++;
  }

  /** Everything works again: what counts must elect a leader, commit, and agree. */
  heal(): void {
    const { cluster } = this;
    cluster.heal();
    for (const replica of cluster.replicas) {
      if (!replica.up) replica.start();
      replica.input((node) => node.setServing('ready'));
    }
    const before = cluster.checkers.committedIndex();
    this.runUntil('elect a leader that commits in its term', () => {
      const leader = cluster.leader();
      return leader !== null && leader.running().termCommitted;
    });
    let proposed = false;
    this.runUntil('bring every member up', () => {
      proposed ||= (cluster.leader()?.propose(3) ?? 0) > 0;
      return proposed && this.everybodyHas(before + 1);
    });
    const { config } = cluster.leader()!.running().config;
    const expected = cluster.leader()!.state;
    for (const replica of cluster.replicas) {
      if (!isVoter(config, replica.id) && !isLearner(config, replica.id)) continue;
      assert(replica.state.length === expected.length, `replica ${replica.id} applied something else`);
      replica.state.forEach((id, i) => assert(id === expected[i], `replica ${replica.id} differs at ${i}`));
    }
    this.report.committed += cluster.checkers.committedIndex();
  }

  private everybodyHas(minimum: number): boolean {
    const leader = this.cluster.leader();
    if (leader === null) return false;
    const node = leader.running();
    const { config } = node.config;
    if (node.reportedIndex !== node.lastIndex || node.lastIndex < minimum) return false;
    return this.cluster.replicas.every((replica) => {
      if (!isVoter(config, replica.id) && !isLearner(config, replica.id)) return true;
      return replica.running().reportedIndex === node.lastIndex;
    });
  }

  private runUntil(what: string, done: () => boolean): void {
    for (let ms = 0; ms < 30_000; ms += 50) {
      if (done()) return;
      this.wakeSleepers();
      this.cluster.run(50);
      while (this.catchUps.length > 0) this.finishCatchUp();
      this.cluster.settle();
    }
    throw new Error(`within 30 s the healed cluster did not ${what}:\n${this.describe()}`);
  }

  private describe(): string {
    return this.cluster.replicas.map((replica) => describeReplica(replica)).join('\n');
  }

  /** The digest between nodes: whoever sleeps on a leader that no longer names it is woken. */
  private wakeSleepers(): void {
    for (const replica of this.cluster.replicas) {
      const node = replica.running();
      if (!node.asleep || node.role === 'leader') continue;
      const leader = this.cluster.replicas.find((other) => other.nodeId === node.leaderNode);
      const peer = leader?.running().peers.find(({ replicaId }) => replicaId === replica.id);
      const named = leader?.running().term === node.term && peer?.idle === true;
      if (!named) replica.input((one) => one.peerSilent(node.leaderNode, 400));
    }
  }
}

function isRead(read: PendingRead, replica: Replica): boolean {
  return read.replica === replica.id && read.incarnation === replica.incarnation;
}

export function runWorld(seed: number, steps: number): WorldReport {
  const world = new RandomWorld(seed);
  // Founding learners included: everything starts at once.
  world.cluster.start();
  for (let i = 0; i < steps; i++) world.step();
  world.heal();
  return world.report;
}

/** One line per replica, for the message of a failure. */
function describeReplica(replica: Replica): string {
  if (!replica.up) return `${replica.id}: down`;
  const n = replica.running();
  const { voters, learners } = n.config.config;
  const ids = (list: readonly { replicaId: number }[]): string => list.map((m) => m.replicaId).join(',');
  const config = `config ${n.config.index} voters ${ids(voters)} learners ${ids(learners)}`;
  const log = `log ${n.firstIndex}-${n.lastIndex} (t${n.lastTerm}) durable ${n.durableIndex} commit ${n.commitIndex}`;
  const peers = n.peers.map((p) => `${p.replicaId}:${p.state}@${p.match}${p.idle ? ' idle' : ''}`).join(' ');
  const flags = `${n.serving}${n.asleep ? ' asleep' : ''}`;
  return `${replica.id}: ${n.role} term ${n.term} vote ${n.vote} leader ${n.leader} ${flags} ${log} ${config} ${peers}`;
}
