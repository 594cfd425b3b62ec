// Single replicas with a given log, and messages made by hand: for tests that state one rule.
import type { Configuration, ConfigEntry } from '../../../src/raft/config.ts';
import type { RaftNode } from '../../../src/raft/node.ts';
import type { RaftSettings } from '../../../src/raft/settings.ts';
import { MessageKind } from '../../../src/raft/types.ts';
import type { Envelope, Message, Serving, TermRun } from '../../../src/raft/types.ts';
import { Cluster } from './cluster.ts';
import { CLUSTER_ID, LOG_UID } from './replica.ts';
import type { Entry, Replica } from './replica.ts';

let ids = 1_000_000;

/** Entries with these terms. */
export function entriesOf(...terms: number[]): Entry[] {
  return terms.map((term) => ({ id: ++ids, term, kind: 'proposal', size: 100, config: null }));
}

export interface LoneOptions {
  /** Voters 1 … n; default 3. The replica under test is 1. */
  readonly voters?: number;
  readonly learners?: number;
  /** Terms of the log's entries, all on disk. */
  readonly log?: readonly number[];
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  readonly serving?: Serving;
  readonly settings?: Partial<RaftSettings>;
  readonly config?: Configuration;
  readonly random?: (bound: number, replicaId: number) => number;
}

/** Replica 1 alone: the others exist only as names in its configuration. */
export class Lone {
  readonly cluster: Cluster;
  readonly replica: Replica;

  constructor(options: LoneOptions = {}) {
    const { voters = 3, learners = 0, log = [], vote = 0, commit = 0 } = options;
    const random = options.random ? { random: options.random } : {};
    this.cluster = new Cluster({ voters, learners, settings: options.settings ?? {}, ...random });
    this.replica = this.cluster.at(1);
    const { disk } = this.replica;
    disk.entries = entriesOf(...log);
    disk.hard = { term: options.term ?? Math.max(0, ...log), vote };
    disk.commitMark = commit;
    if (options.config) disk.configs = [{ index: 0, config: options.config }];
    this.replica.serving = options.serving ?? 'ready';
    this.replica.start();
  }

  get node(): RaftNode {
    return this.replica.running();
  }

  /** Gives it messages, without persisting anything. */
  receive(...messages: Message[]): this {
    for (const message of messages) this.replica.input((node) => node.receive(message));
    return this;
  }

  /** What it has sent since the last call, of one kind if one is named. */
  sent<K extends MessageKind>(kind?: K): Extract<Message, { kind: K }>[] {
    const messages = this.cluster.network;
    this.cluster.network = [];
    return messages.filter((message) => kind === undefined || message.kind === kind) as Extract<
      Message,
      { kind: K }
    >[];
  }

  tick(ms: number, step: number = this.cluster.settings.tickMs): this {
    for (let elapsed = 0; elapsed < ms; elapsed += step) this.replica.input((node) => node.tick(step));
    return this;
  }

  /** Ticks until its election timeout is over, whatever was drawn. */
  timeOut(): this {
    return this.tick(this.cluster.settings.electionMaxMs);
  }

  persist(): this {
    while (this.replica.persist());
    return this;
  }

  /** Campaigns and wins with the votes of everybody; its no-op is on its own disk only. */
  lead(): this {
    this.replica.input((node) => node.campaign());
    const voters = this.node.config.config.voters.map((member) => member.replicaId);
    const { term } = this.node;
    if (this.node.role === 'preCandidate') {
      for (const from of voters) if (from !== 1) this.receive(preVoteReply({ from, term, forTerm: term + 1 }));
    }
    this.persist();
    for (const from of voters) if (from !== 1) this.receive(voteReply({ from, term: this.node.term }));
    this.persist();
    this.sent();
    return this;
  }

  /** Leads, and the no-op of its term is committed by acks of everybody. */
  leadCommitted(): this {
    this.lead();
    this.ackAll();
    this.sent();
    return this;
  }

  /** All peers ack everything. */
  ackAll(match: number = this.node.lastIndex): this {
    for (const { replicaId } of this.node.peers) {
      this.receive(ack({ from: replicaId, term: this.node.term, match }));
    }
    return this;
  }

  /** Terms of its log, from the base on. */
  terms(): number[] {
    return this.replica.entries.map((entry) => entry.term);
  }
}

interface Common {
  readonly from?: number;
  readonly to?: number;
  readonly term: number;
}

export function envelopeOf({ from = 2, to = 1, term }: Common): Envelope {
  return { clusterId: CLUSTER_ID, logUid: LOG_UID, from, fromNode: `n${from}`, to, toNode: `n${to}`, term };
}

interface LogEnd {
  readonly lastIndex?: number;
  readonly lastTerm?: number;
}

export function vote(m: Common & LogEnd & { transfer?: boolean }): Message {
  const { lastIndex = 0, lastTerm = 0, transfer = false } = m;
  return { ...envelopeOf(m), kind: MessageKind.Vote, forTerm: m.term, lastIndex, lastTerm, transfer };
}

export function preVote(m: Common & LogEnd): Message {
  const { lastIndex = 0, lastTerm = 0 } = m;
  return { ...envelopeOf(m), kind: MessageKind.PreVote, forTerm: m.term + 1, lastIndex, lastTerm, transfer: false };
}

export function voteReply(m: Common & { granted?: boolean; forTerm?: number }): Message {
  const { granted = true, forTerm = m.term } = m;
  return { ...envelopeOf(m), kind: MessageKind.VoteReply, forTerm, granted };
}

export function preVoteReply(m: Common & { granted?: boolean; forTerm: number }): Message {
  const { granted = true, forTerm } = m;
  return { ...envelopeOf(m), kind: MessageKind.PreVoteReply, forTerm, granted };
}

interface AppendFields extends Common {
  /** [index, term] of the entry before. */
  readonly prev?: readonly [number, number];
  readonly terms?: readonly number[];
  readonly entries?: readonly Entry[];
  readonly commit?: number;
  readonly configs?: readonly ConfigEntry[];
}

export function append(m: AppendFields): Message {
  const [prevIndex, prevTerm] = m.prev ?? [0, 0];
  const entries = m.entries ?? entriesOf(...(m.terms ?? []));
  const runs: TermRun[] = [];
  entries.forEach(({ term }, i) => {
    if (runs.at(-1)?.term !== term) runs.push({ fromIndex: prevIndex + 1 + i, term });
  });
  return {
    ...envelopeOf(m),
    kind: MessageKind.Append,
    prevIndex,
    prevTerm,
    fromIndex: prevIndex + 1,
    toIndex: prevIndex + entries.length,
    runs,
    configs: m.configs ?? [],
    commitIndex: m.commit ?? 0,
    body: entries,
  };
}

export function ack(m: Common & { match: number; commit?: number; wantsCommit?: boolean }): Message {
  const { match, commit = 0, wantsCommit = false } = m;
  return { ...envelopeOf(m), kind: MessageKind.AppendAck, match, commitIndex: commit, wantsCommit };
}

export function reject(m: Common & { prevIndex: number; hintIndex: number; hintTerm: number }): Message {
  const { prevIndex, hintIndex, hintTerm } = m;
  return { ...envelopeOf(m), kind: MessageKind.AppendReject, prevIndex, hintIndex, hintTerm };
}

export function heartbeat(m: Common & { commit?: number; readRound?: number; idle?: boolean }): Message {
  const { commit = 0, readRound = 0, idle = false } = m;
  return { ...envelopeOf(m), kind: MessageKind.Heartbeat, commitIndex: commit, readRound, idle };
}

export function heartbeatAck(
  m: Common & { commit?: number; readRound?: number; idle?: boolean; wantsCommit?: boolean },
): Message {
  const { commit = 0, readRound = 0, idle = false, wantsCommit = false } = m;
  return { ...envelopeOf(m), kind: MessageKind.HeartbeatAck, commitIndex: commit, readRound, idle, wantsCommit };
}

export function timeoutNow(m: Common): Message {
  return { ...envelopeOf(m), kind: MessageKind.TimeoutNow };
}

export function readRequest(m: Common & { sequence: number; incarnation?: number }): Message {
  const { sequence, incarnation = 1 } = m;
  return { ...envelopeOf(m), kind: MessageKind.ReadRequest, sequence, incarnation };
}

export function readReply(m: Common & { sequence: number; index: number; incarnation?: number }): Message {
  const { sequence, index, incarnation = 1 } = m;
  return { ...envelopeOf(m), kind: MessageKind.ReadReply, sequence, incarnation, index };
}

export function higherTerm(m: Common): Message {
  return { ...envelopeOf(m), kind: MessageKind.HigherTerm };
}
