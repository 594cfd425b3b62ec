// Runs one replica's core: one queue of inputs, one loop that carries out what they led to, in the order
// that effects.ts states: persist → send → apply. The only place of src/raft with promises.
//
// Proposals are counted, not passed on one by one: the log gives each its index at once, and the core
// is told of the range before it is told of anything else, or at the end of the turn. So what the core
// says about the log's end is true whenever it is asked, and a proposal costs one addition.
//
// Invariants: I3 by construction (promises wait inside the core for completions that come back as inputs);
// a completion counts only for the log it was begun on; nothing is proposed while `accepting` is false.
import { assert } from '../../wire/assert.ts';
import { decodeMessage } from '../codec.ts';
import { isSoleVoter } from '../config.ts';
import type { ConfigChange } from '../config.ts';
import type { ChangeRefusal } from '../config-change.ts';
import type { CatchUp, Effects } from '../effects.ts';
import { RaftNode } from '../node.ts';
import type { RaftOptions } from '../state.ts';
import type { TransferRefusal } from '../transfer.ts';
import { MessageKind } from '../types.ts';
import type { Index, LogDescription, Message, NodeId, ReplicaId, Term } from '../types.ts';
import { HardStateWriter } from './hard-state-writer.ts';
import { LogQueue } from './log-queue.ts';
import type { DriverPorts, DriverSink, LogPort } from './ports.ts';
import { Sender } from './sender.ts';
import { mut } from '../../wire/mut.ts';

export type DriverOptions = Omit<RaftOptions, 'view'>;

/** Counted, never thrown: what came in and could not be used. */
export interface DriverCounters {
  malformed: number;
  staleCompletions: number;
}

export class RaftDriver {
  readonly node: RaftNode;
  /** This replica leads, and proposals may be put into the log now. */
  accepting = false;
  /** It needs nobody to lead or to commit; there may be learners. */
  soleVoter = false;
  readonly counters: DriverCounters = { malformed: 0, staleCompletions: 0 };

  readonly #replicaId: ReplicaId;
  readonly #log: LogPort;
  readonly #sink: DriverSink;
  readonly #defer: (task: () => void) => void;
  readonly #hardState: HardStateWriter;
  readonly #queue: LogQueue;
  readonly #sender: Sender;
  /** In the log already, and not yet told to the core. */
  #unannounced = 0;
  /** There is somebody to replicate to. */
  #hasPeers = false;
  #running = false;
  #deferred = false;
  #closed = false;
  /** Catch-ups that came to nothing, to be tried again at the next tick. */
  #failedCatchUps: ReplicaId[] = [];
  readonly #deferredRun: () => void;

  constructor(options: DriverOptions, ports: DriverPorts) {
    const { log, sink, defer } = ports;
    this.#replicaId = options.identity.replicaId;
    this.#log = log;
    this.#sink = sink;
    this.#defer = defer;
    this.#queue = new LogQueue(log);
    this.#sender = new Sender(log, ports.transport);
    this.#hardState = new HardStateWriter(ports.hardState, {
      hardStateStored: (sequence) => this.#hardStateStored(sequence),
      hardStateFailed: (full) => this.#hardStateFailed(full),
    });
    this.#deferredRun = () => {
      this.#deferred = false;
      this.#run();
    };
    this.node = new RaftNode({ ...options, view: log });
    this.#configChanged();
  }

  /** Carries out what the start itself led to. To be called once, when the sink may be told. */
  start(): void {
    this.#run();
  }

  /** Nothing more is done or told; what is being written ends by itself. */
  close(): void {
    this.#closed = true;
    this.accepting = false;
    this.#hardState.end();
    this.#sender.end();
  }

  // Proposals

  /** One entry was appended to the log, in `term`; only while `accepting`. */
  proposed(): void {
    this.#unannounced++;
    // Alone there is nobody to send it to: its completion comes soon enough.
    if (this.#hasPeers && !this.#deferred) this.#runLater();
  }

  /** The term of proposals, and of everything else. */
  get term(): Term {
    return this.node.term;
  }

  /** This replica is the whole group; one that waits to be added to a group is not. */
  get alone(): boolean {
    return this.soleVoter && !this.#hasPeers;
  }

  /** Highest entry that any other node may have seen. */
  get sentIndex(): Index {
    return this.#sender.sentIndex;
  }

  #announce(): void {
    const count = this.#unannounced;
    if (count === 0) return;
    this.#unannounced = 0;
    const from = this.node.propose(count);
    assert(from > 0 && from + count - 1 === this.#log.lastIndex, 'the core counts what the log holds');
  }

  // Inputs

  /** One message that fills buffer[start, end), as a peer sent it. The buffer is kept until it is written. */
  receive(buffer: Buffer, start = 0, end = buffer.length): void {
    if (this.#closed) return;
    const message = this.#verified(decodeMessage(buffer, start, end));
    if (message === null) {
      this.counters.malformed++;
      return;
    }
    this.#announce();
    this.node.receive(message);
    this.#ended(false);
  }

  #verified(message: Message | null): Message | null {
    if (message === null || message.kind !== MessageKind.Append || message.toIndex < message.fromIndex) return message;
    const configs = this.#log.inspect(message);
    return configs === null ? null : { ...message, configs };
  }

  /** `elapsedMs` of real time went by since the last tick. What waits in the sockets is read first. */
  tick(elapsedMs: number): void {
    // A lone leader has nobody to remind of itself: an idle log costs nothing.
    if (this.#closed || (this.alone && this.node.role === 'leader')) return;
    // Asleep its clock may stand still: whoever wakes it says how long it was silent.
    if (this.node.asleep && this.#unannounced === 0) return;
    this.#announce();
    for (const replicaId of this.#failedCatchUps.splice(0)) this.node.catchUpFailed(replicaId);
    this.node.tick(elapsedMs);
    this.#ended(true);
  }

  /** A sequence that `readsConfirmed` or `readsFailed` will name, or 0 = there is nobody to ask. */
  requestRead(): number {
    if (this.#closed) return 0;
    this.#announce();
    const sequence = this.node.requestRead();
    if (!this.#deferred) this.#runLater();
    return sequence;
  }

  setWaitingReaders(waiting: boolean): void {
    this.node.setWaitingReaders(waiting);
  }

  /** Everything up to `index` is applied. */
  applied(index: Index): void {
    this.node.applied(index);
  }

  changeConfig(basedOn: Index, change: ConfigChange): Index | ChangeRefusal {
    this.#announce();
    const result = this.node.changeConfig(basedOn, change);
    this.#ended(true);
    return result;
  }

  transferLeadership(target: ReplicaId): TransferRefusal | null {
    this.#announce();
    const refusal = this.node.transferLeadership(target);
    this.#ended(true);
    return refusal;
  }

  /** Another replica is to lead, also one that this one cannot bring up to its own end. */
  resign(): void {
    if (this.#closed) return;
    this.#announce();
    this.node.resign();
    this.#ended(true);
  }

  /** Campaigns now: a lone voter that may lead again, or an operator's wish. */
  campaign(): void {
    if (this.#closed || this.#hardState.missing) return;
    this.#announce();
    this.node.campaign();
    this.#ended(true);
  }

  /** The connection to this node ended without a farewell. */
  peerReset(nodeId: NodeId): void {
    if (this.#closed) return;
    this.#announce();
    this.node.peerReset(nodeId);
    this.#ended(false);
  }

  peerSilent(nodeId: NodeId, elapsedMs: number): void {
    if (this.#closed) return;
    this.#announce();
    this.node.peerSilent(nodeId, elapsedMs);
    this.#ended(false);
  }

  catchUpDone(wanted: CatchUp, index: Index): void {
    this.node.catchUpDone(wanted.replicaId, index);
    this.#ended(true);
  }

  catchUpFailed(wanted: CatchUp): void {
    this.#failedCatchUps.push(wanted.replicaId);
  }

  /** A snapshot and what follows it are installed and synced: the log port shows the new log already. */
  snapshotInstalled(installed: LogDescription): void {
    this.#queue.drop();
    this.node.snapshotInstalled(installed);
    this.#queue.generation = this.node.generation;
    this.#ended(true);
  }

  /** Entries before `firstIndex` are gone. */
  logTrimmed(firstIndex: Index): void {
    if (!this.#closed) this.node.logTrimmed(firstIndex);
  }

  /** What a full disk had prevented. */
  retry(): void {
    if (!this.#closed) this.#hardState.retry();
  }

  // Completions

  /** Everything up to (index, term) is on disk, as of the log's generation `generation`. */
  logDurable(index: Index, term: Term, generation: number): void {
    if (this.#closed) return;
    this.#announce();
    // Older completions speak of other entries; the log repeats what holds when its cut is made.
    const current = (generation === this.#log.generation || mut('stale-completion-accepted')) && this.node.persisted(index, term, this.#queue.generation);
    if (!current) this.counters.staleCompletions++;
    this.#ended(true);
  }

  /** `LogPort.ready` has become true again. */
  logReady(): void {
    if (this.#closed) return;
    this.#queue.go();
    this.#ended(true);
  }

  /** The disk is full: the log has cut itself back to what is durable and is not `ready` meanwhile. */
  logCut(): void {
    if (this.#closed) return;
    // Nobody was told of them.
    this.#unannounced = 0;
    // What the core has taken in since the last round was to come behind what is gone now.
    this.#run();
    const waitingCut = this.#queue.drop();
    this.node.tailCut(Math.min(this.#log.lastIndex, this.node.lastIndex, waitingCut));
    this.#ended(true);
  }

  /** A write or a sync has failed: this replica makes nothing durable any more. */
  stop(): void {
    if (this.#closed) return;
    this.#announce();
    this.#queue.drop();
    this.node.setServing('stopped');
    this.#ended(true);
  }

  /** Entries on this disk are damaged, or are not any more: a damaged replica does not campaign. */
  setDamaged(damaged: boolean): void {
    const { serving } = this.node;
    if (this.#closed || serving === 'stopped' || serving === 'lost' || (serving === 'damaged') === damaged) return;
    this.node.setServing(damaged ? 'damaged' : 'ready');
  }

  #hardStateStored(sequence: number): void {
    this.#announce();
    this.node.hardStatePersisted(sequence);
    this.#ended(true);
  }

  #hardStateFailed(full: boolean): void {
    this.#sink.notStored(full);
    if (!full) this.stop();
  }

  // The loop

  /** An input has been given: says what it means for proposals, and runs the loop, now or at the turn's end. */
  #ended(now: boolean): void {
    this.#changed();
    if (now) this.#run();
    else if (!this.#deferred) this.#runLater();
  }

  #changed(): void {
    const { node } = this;
    // Entries of the group's own that are not in the log yet have the next indexes.
    const inStep = this.#queue.empty && node.lastIndex + this.#unannounced === this.#log.lastIndex;
    this.accepting = node.takesProposals && inStep && this.#log.ready && !this.#closed;
    this.#sink.changed();
  }

  #runLater(): void {
    this.#deferred = true;
    this.#defer(this.#deferredRun);
  }

  #run(): void {
    // Whoever is told something may give an input at once: its effects come in the next round.
    if (this.#running) {
      if (!this.#deferred) this.#runLater();
      return;
    }
    if (this.#closed) return;
    this.#running = true;
    try {
      this.#announce();
      this.#carryOut(this.node.flush());
    } finally {
      this.#running = false;
    }
  }

  #carryOut(effects: Effects): void {
    const sink = this.#sink;
    if (effects.configChanged) this.#configChanged();
    if (effects.role !== null && effects.role.role === 'leader') this.#sender.sentIndex = 0;
    if (effects.hardState !== null) this.#hardState.store(effects.hardState);
    if (effects.log.length > 0) {
      this.#queue.take(effects.log);
      this.#changed();
    }
    this.#sender.send(effects.messages);
    if (effects.committedTo >= effects.committedFrom) sink.committed(effects.committedTo);
    for (let i = 0; i < effects.reads.length; i++) sink.readsConfirmed(effects.reads[i]!.sequence, effects.reads[i]!.index);
    if (effects.readsFailedTo > 0) sink.readsFailed(effects.readsFailedTo);
    if (effects.role !== null) sink.roleChanged(effects.role);
    if (effects.configChanged) sink.configChanged();
    for (let i = 0; i < effects.catchUps.length; i++) sink.catchUpWanted(effects.catchUps[i]!);
    for (let i = 0; i < effects.idleChanges.length; i++) sink.idleChanged(effects.idleChanges[i]!);
    if (effects.awake !== null) sink.sleepChanged(!effects.awake);
    if (effects.fault !== null) sink.faulted(effects.fault);
  }

  #configChanged(): void {
    const { config } = this.node.config;
    this.soleVoter = isSoleVoter(config, this.#replicaId);
    this.#hasPeers = config.voters.length + config.learners.length > 1;
  }
}
