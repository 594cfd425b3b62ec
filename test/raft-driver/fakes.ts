// Ports of the driver that do only what a test asks for, and one list of everything that was called, in order.
import type { ConfigEntry, Configuration } from '../../src/raft/config.ts';
import { decodeMessage, encodeMessage } from '../../src/raft/codec.ts';
import { RaftDriver } from '../../src/raft/driver/driver.ts';
import type { DriverSink, HardStatePort, LogPort, Stored, Transport } from '../../src/raft/driver/ports.ts';
import type { CatchUp, Fault, RoleChange } from '../../src/raft/effects.ts';
import { RAFT_DEFAULTS } from '../../src/raft/settings.ts';
import { MessageKind, UNKNOWN_TERM } from '../../src/raft/types.ts';
import type { Append, Index, Message, Serving, Term, TermRun } from '../../src/raft/types.ts';

export const CLUSTER = 'c1'.repeat(16);
export const LOG_UID = 'd2'.repeat(16);

export function nodeOf(replicaId: number): string {
  return replicaId.toString(16).padStart(2, '0').repeat(16);
}

/** A log of terms; what is written is durable when the test says so. */
export class FakeLog implements LogPort {
  readonly calls: string[];
  terms: Term[] = [];
  generation = 0;
  ready = true;
  /** The first index that `read` finds in memory. */
  cachedFrom = 1;
  loads: Array<{ from: Index; to: Index; end: (found: boolean) => void }> = [];
  configs: ConfigEntry[] = [];
  /** A truncation does not know its place yet. */
  slowCut = false;
  readonly #pendingCuts: Index[] = [];

  constructor(calls: string[]) {
    this.calls = calls;
  }

  get lastIndex(): Index {
    return this.terms.length;
  }

  termAt(index: Index): Term {
    return this.terms[index - 1] ?? (index === 0 ? 0 : UNKNOWN_TERM);
  }

  sizeOf(from: Index, to: Index): number {
    return (Math.min(to, this.lastIndex) - from + 1) * 100;
  }

  /** What a replica does with a client's request. */
  propose(term: Term): Index {
    return this.terms.push(term);
  }

  appendNoop(term: Term): void {
    this.terms.push(term);
    this.calls.push(`noop ${this.lastIndex}@${term}`);
  }

  appendConfig(term: Term, config: Configuration): void {
    this.terms.push(term);
    this.calls.push(`config ${this.lastIndex}@${term} ${config.voters.length}+${config.learners.length}`);
  }

  appendFrom(message: Append, from: Index, to: Index): void {
    const body = message.body as Buffer;
    for (let index = from; index <= to; index++) this.terms.push(body[index - message.fromIndex]!);
    this.calls.push(`append ${from}-${to}`);
  }

  truncateAfter(afterIndex: Index): void {
    this.calls.push(`truncate after ${afterIndex}`);
    if (this.slowCut) {
      this.ready = false;
      this.#pendingCuts.push(afterIndex);
      return;
    }
    this.generation++;
    this.terms.length = afterIndex;
  }

  /** The truncation that was waiting is made. */
  finishCut(): void {
    this.generation++;
    this.terms.length = this.#pendingCuts.shift()!;
    this.ready = true;
  }

  /** A full disk: back to `index`. */
  cutBack(index: Index): void {
    this.generation++;
    this.terms.length = index;
    this.ready = false;
  }

  read(from: Index, to: Index): readonly Buffer[] | null {
    return from < this.cachedFrom ? null : this.#bytes(from, to);
  }

  load(from: Index, to: Index): Promise<readonly Buffer[] | null> {
    return new Promise((resolve) => {
      this.loads.push({ from, to, end: (found) => resolve(found ? this.#bytes(from, to) : null) });
    });
  }

  /** One byte per entry: its term. */
  #bytes(from: Index, to: Index): readonly Buffer[] {
    return [Buffer.from(this.terms.slice(from - 1, to))];
  }

  inspect(message: Append): readonly ConfigEntry[] | null {
    const body = message.body as Buffer;
    if (body.length !== message.toIndex - message.fromIndex + 1) return null;
    return this.configs.filter(({ index }) => index >= message.fromIndex && index <= message.toIndex);
  }
}

export class FakeHardState implements HardStatePort {
  readonly calls: string[];
  readonly puts: Array<{ term: Term; vote: number; end: (stored: Stored) => void }> = [];
  /** Stores at once, in the next microtask. */
  quick = true;

  constructor(calls: string[]) {
    this.calls = calls;
  }

  put(term: Term, vote: number): Promise<Stored> {
    this.calls.push(`store ${term}/${vote}`);
    if (this.quick) return Promise.resolve('stored');
    return new Promise((resolve) => this.puts.push({ term, vote, end: resolve }));
  }
}

export interface RigOptions {
  voters?: number;
  replicaId?: number;
  log?: { terms: Term[]; commit?: Index };
  hardState?: { term: Term; vote: number };
  serving?: Serving;
}

/** One driver with everything around it in the test's hands. */
export class Rig implements DriverSink, Transport {
  readonly calls: string[] = [];
  readonly log = new FakeLog(this.calls);
  readonly hardState = new FakeHardState(this.calls);
  readonly sent: Message[] = [];
  readonly driver: RaftDriver;
  readonly replicaId: number;
  /** Called on `committed`: what a replica does when it is told. */
  onCommitted: ((to: Index) => void) | null = null;
  #tasks: Array<() => void> = [];

  constructor(options: RigOptions = {}) {
    const { voters = 1, replicaId = 1, log = { terms: [] }, hardState = { term: 0, vote: 0 }, serving = 'ready' } = options;
    this.replicaId = replicaId;
    this.log.terms = [...log.terms];
    const members = Array.from({ length: voters }, (_, i) => ({ replicaId: i + 1, nodeId: nodeOf(i + 1) }));
    this.driver = new RaftDriver(
      {
        identity: { clusterId: CLUSTER, logUid: LOG_UID, nodeId: nodeOf(replicaId), replicaId },
        settings: RAFT_DEFAULTS, random: () => 0, hardState, serving, incarnation: 1,
        log: {
          firstIndex: 1, baseTerm: 0, lastIndex: log.terms.length, runs: runsOf(log.terms), commitIndex: log.commit ?? 0,
          appliedIndex: log.commit ?? 0, configs: [{ index: 0, config: { voters: members, learners: [] } }],
        },
      },
      { log: this.log, hardState: this.hardState, transport: this, sink: this, defer: (task) => void this.#tasks.push(task) },
    );
  }

  /** Runs what was put off, until nothing is. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      if (this.#tasks.length > 0) quiet = 0;
      for (const task of this.#tasks.splice(0)) task();
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  get pendingTasks(): number {
    return this.#tasks.length;
  }

  async started(): Promise<this> {
    this.driver.start();
    await this.settle();
    return this;
  }

  /** Everything that is in the log is on disk. */
  async durable(index = this.log.lastIndex): Promise<void> {
    this.driver.logDurable(index, this.log.termAt(index), this.log.generation);
    await this.settle();
  }

  takeCalls(): string[] {
    return this.calls.splice(0);
  }

  take(kind: MessageKind): Message[] {
    const found = this.sent.filter((message) => message.kind === kind);
    this.sent.length = 0;
    return found;
  }

  /** Elects this one of three: time runs out, both peers agree. */
  async elected(): Promise<this> {
    await this.started();
    for (let ms = 0; ms <= RAFT_DEFAULTS.electionMinMs; ms += 50) this.driver.tick(50);
    await this.settle();
    this.answer({ kind: MessageKind.PreVoteReply, forTerm: this.driver.term + 1, granted: true }, 2, this.driver.term);
    await this.settle();
    this.answer({ kind: MessageKind.VoteReply, forTerm: this.driver.term, granted: true }, 2, this.driver.term);
    await this.settle();
    return this;
  }

  /** A message from a peer, through the codec. */
  answer(fields: object, from: number, term: Term, body: readonly Buffer[] = []): void {
    const message = {
      clusterId: CLUSTER, logUid: LOG_UID, from, fromNode: nodeOf(from), to: this.replicaId, toNode: nodeOf(this.replicaId), term, ...fields,
    } as Message;
    this.driver.receive(encodeMessage(message, body));
  }

  // Transport

  send(_nodeId: string, message: Buffer): void {
    const decoded = decodeMessage(message, 0, message.length)!;
    this.sent.push(decoded);
    this.calls.push(`send ${kindName(decoded.kind)} to ${decoded.to}`);
  }

  // DriverSink

  changed(): void {}
  committed(to: Index): void {
    this.calls.push(`committed ${to}`);
    this.onCommitted?.(to);
  }
  readsConfirmed(sequence: number, index: Index): void {
    this.calls.push(`reads ${sequence} at ${index}`);
  }
  readsFailed(sequence: number): void {
    this.calls.push(`reads failed ${sequence}`);
  }
  roleChanged(change: RoleChange): void {
    this.calls.push(`role ${change.role} ${change.term}`);
  }
  configChanged(): void {
    this.calls.push('config changed');
  }
  catchUpWanted(wanted: CatchUp): void {
    this.calls.push(`catch up ${wanted.replicaId}`);
  }
  idleChanged(): void {}
  sleepChanged(): void {}
  faulted(fault: Fault): void {
    this.calls.push(`fault ${fault}`);
  }
  notStored(full: boolean): void {
    this.calls.push(full ? 'no room for the term' : 'term not stored');
  }
}

function runsOf(terms: readonly Term[]): TermRun[] {
  const runs: TermRun[] = [];
  terms.forEach((term, i) => {
    if (runs.at(-1)?.term !== term) runs.push({ fromIndex: i + 1, term });
  });
  return runs;
}

function kindName(kind: MessageKind): string {
  return Object.entries(MessageKind).find(([, value]) => value === kind)![0];
}

