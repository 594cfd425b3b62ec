// Stands for the heartbeats of idle groups (DESIGN §4): one digest per pair of nodes and heartbeat interval
// says which groups both sides count as idle. A side that hears nothing, or another digest, for as long as an
// election waits at least lets these groups look after themselves again (core input `peerSilent`).
//
// Where the digests differ the next frame names the groups, so that only those that differ wake up.
// Invariant: a group is vouched for only by a digest or a name that both sides have counted it in, with the
// same replicas and the same term.
import type { Transport } from '../../raft/driver/ports.ts';
import type { RaftSettings } from '../../raft/settings.ts';
import type { NodeId } from '../../raft/types.ts';
import { SleepSet } from './sleep-set.ts';
import type { Sleeper } from './sleep-set.ts';
import { decodeWatch, encodeWatch, WatchKind } from './watch-messages.ts';
import type { Name, WatchMessage } from './watch-messages.ts';

export interface WatchOptions {
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly settings: RaftSettings;
  readonly transport: Transport;
}

/** Groups that this node leads and that are idle at one peer. */
interface Led {
  readonly set: SleepSet;
  round: number;
  sentMs: number;
  /** When the peer last agreed. */
  heardMs: number;
  /** It did not: the next frame names the groups. */
  differs: boolean;
}

/** Groups that are asleep here under leaders on one peer. */
interface Followed {
  readonly set: SleepSet;
  heardMs: number;
}

type Asleep = Omit<Sleeper, 'sinceMs'>;

/** An open replica, as far as nodes concern it. */
export interface WatchedGroup {
  peerSilent(nodeId: NodeId, elapsedMs: number): void;
  peerReset(nodeId: NodeId): void;
}

export class PeerWatch {
  readonly #options: WatchOptions;
  readonly #groups = new Map<string, WatchedGroup>();
  readonly #led = new Map<NodeId, Led>();
  readonly #followed = new Map<NodeId, Followed>();
  #nowMs = 0;
  /** The same, but a late tick counts as two: what waits in the sockets after a pause was not read yet. */
  #patientMs = 0;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  join(logUid: string, group: WatchedGroup): void {
    this.#groups.set(logUid, group);
  }

  /** The connection to a node ended without a farewell: its process is probably gone. */
  peerReset(nodeId: NodeId): void {
    for (const group of [...this.#groups.values()]) group.peerReset(nodeId);
  }

  /** A group that this node leads is idle at `nodeId`. */
  idleAt(nodeId: NodeId, sleeper: Asleep): void {
    let led = this.#led.get(nodeId);
    if (led === undefined) {
      led = { set: new SleepSet(), round: 0, sentMs: -Infinity, heardMs: -Infinity, differs: false };
      this.#led.set(nodeId, led);
    }
    led.set.add({ ...sleeper, sinceMs: this.#nowMs });
  }

  busyAt(nodeId: NodeId, logUid: string): void {
    this.#led.get(nodeId)?.set.remove(logUid);
  }

  /** A group is asleep here, under a leader on `nodeId`. */
  asleepUnder(nodeId: NodeId, sleeper: Asleep): void {
    let followed = this.#followed.get(nodeId);
    if (followed === undefined) {
      followed = { set: new SleepSet(), heardMs: -Infinity };
      this.#followed.set(nodeId, followed);
    }
    followed.set.add({ ...sleeper, sinceMs: this.#patientMs });
  }

  awake(logUid: string): void {
    for (const { set } of this.#followed.values()) set.remove(logUid);
  }

  /** Its replica is closed. */
  forget(logUid: string): void {
    this.#groups.delete(logUid);
    this.awake(logUid);
    for (const { set } of this.#led.values()) set.remove(logUid);
  }

  tick(nowMs: number): void {
    const { heartbeatMs, tickMs } = this.#options.settings;
    const elapsedMs = this.#nowMs === 0 ? 0 : nowMs - this.#nowMs;
    this.#nowMs = nowMs;
    this.#patientMs += Math.min(elapsedMs, 2 * tickMs);
    for (const [nodeId, led] of this.#led) {
      if (led.set.count === 0) continue;
      this.#wakeSilent(nodeId, led, nowMs);
      if (led.set.count > 0 && nowMs - led.sentMs >= heartbeatMs) this.#speak(nodeId, led);
    }
    for (const [nodeId, followed] of this.#followed) this.#wakeSilent(nodeId, followed, this.#patientMs);
  }

  /** A message of this kind from another node. */
  receive(bytes: Buffer): void {
    const message = decodeWatch(bytes);
    const { clusterId, nodeId } = this.#options;
    if (message === null || message.clusterId !== clusterId || message.toNode !== nodeId) return;
    const { fromNode, round } = message;
    if (message.kind === WatchKind.Digest) {
      const followed = this.#followed.get(fromNode);
      const agrees = followed !== undefined && followed.set.equals(message.digest);
      if (agrees) followed.heardMs = this.#patientMs;
      this.#send(fromNode, { kind: WatchKind.DigestAck, agrees }, round);
    } else if (message.kind === WatchKind.Names) {
      this.#heardNames(fromNode, message.names, round);
    } else {
      this.#answered(message);
    }
  }

  #speak(nodeId: NodeId, led: Led): void {
    led.sentMs = this.#nowMs;
    led.round++;
    if (!led.differs) return this.#send(nodeId, { kind: WatchKind.Digest, digest: led.set.digest }, led.round);
    led.differs = false;
    const names = led.set.all().map(({ logUid, leader, follower, term }) => ({ logUid, leader, follower, term }));
    this.#send(nodeId, { kind: WatchKind.Names, names }, led.round);
  }

  #heardNames(fromNode: NodeId, names: readonly Name[], round: number): void {
    const followed = this.#followed.get(fromNode);
    const unknown: string[] = [];
    for (const name of names) {
      const sleeper = followed?.set.get(name.logUid);
      const isSame = sleeper !== undefined && sleeper.leader === name.leader && sleeper.follower === name.follower && sleeper.term === name.term;
      if (isSame) sleeper.sinceMs = this.#patientMs;
      else unknown.push(name.logUid);
    }
    this.#send(fromNode, { kind: WatchKind.NamesAck, unknown }, round);
  }

  #answered(message: WatchMessage): void {
    const { fromNode, round, kind } = message;
    const led = this.#led.get(fromNode);
    // What is older says nothing about now.
    if (led === undefined || round !== led.round) return;
    if (kind === WatchKind.DigestAck) {
      if (message.agrees) led.heardMs = this.#nowMs;
      else led.differs = true;
    } else if (kind === WatchKind.NamesAck) {
      for (const sleeper of led.set.all()) sleeper.sinceMs = this.#nowMs;
      for (const logUid of message.unknown) led.set.get(logUid)?.group.peerSilent(fromNode, 0);
    }
  }

  #wakeSilent(nodeId: NodeId, { set, heardMs }: { readonly set: SleepSet; readonly heardMs: number }, nowMs: number): void {
    const { electionMinMs } = this.#options.settings;
    if (set.count === 0 || nowMs - heardMs < electionMinMs) return;
    for (const { sinceMs, group } of set.all()) {
      const silentMs = nowMs - Math.max(sinceMs, heardMs);
      if (silentMs >= electionMinMs) group.peerSilent(nodeId, silentMs);
    }
  }

  #send(toNode: NodeId, fields: DistributiveFields, round: number): void {
    const { clusterId, nodeId, transport } = this.#options;
    transport.send(toNode, encodeWatch({ ...fields, clusterId, fromNode: nodeId, toNode, round }));
  }
}

type DistributiveFields = WatchMessage extends infer M ? (M extends WatchMessage ? Omit<M, 'clusterId' | 'fromNode' | 'toNode' | 'round'> : never) : never;
