// What the driver needs of the outside, declared by its consumer: a log, a place for term and vote, a
// way to other nodes, and somebody who applies. What is synchronous here must stay so: the loop
// (driver.ts) relies on it. The other end tells it what happened by the driver's `log…` methods.
import type { Configuration, ConfigEntry } from '../config.ts';
import type { CatchUp, Fault, IdleChange, RoleChange } from '../effects.ts';
import type { LogView } from '../ports.ts';
import type { Append, Index, NodeId, ReplicaId, Term } from '../types.ts';

export interface LogPort extends LogView {
  readonly lastIndex: Index;
  /** Raised by everything that takes entries away; a completion names the one it was begun in. */
  readonly generation: number;
  /** Entries can be appended and taken away now; `RaftDriver.logReady` says when that comes back. */
  readonly ready: boolean;
  /** Appends the entry that opens a term. */
  appendNoop(term: Term): void;
  appendConfig(term: Term, config: Configuration): void;
  /** Appends the entries `from … to` out of a message that `inspect` has accepted. */
  appendFrom(message: Append, from: Index, to: Index): void;
  /** Takes away what follows `afterIndex`. `ready` may be false until the truncation knows its place. */
  truncateAfter(afterIndex: Index): void;
  /** The entries' bytes, if they are in memory; null = ask `load`. */
  read(from: Index, to: Index): readonly Buffer[] | null;
  /** The same from disk; null when they cannot be had (damage, compacted away, a failed read). */
  load(from: Index, to: Index): Promise<readonly Buffer[] | null>;
  /**
   * Checks the bytes of an Append: every checksum, and that they are its entries. The configurations
   * among them, or null when anything does not hold.
   */
  inspect(message: Append): readonly ConfigEntry[] | null;
}

export type Stored = 'stored' | 'full' | 'failed';

/** Term and vote of this replica. One `put` at a time; `stored` = synced, in both copies. */
export interface HardStatePort {
  put(term: Term, vote: ReplicaId): Promise<Stored>;
}

/** Sends a message to a node. It may be lost, delayed, repeated or overtaken; it is never changed. */
export interface Transport {
  send(nodeId: NodeId, message: Buffer): void;
}

/** Who is told, in this order within one turn of the loop. */
export interface DriverSink {
  /** After every input: whether proposals are taken, and the term, may have changed. Nothing else has yet. */
  changed(): void;
  /** `to` and everything before it is committed and on this disk. */
  committed(to: Index): void;
  /** Reads up to `sequence` hold once `index` is applied. */
  readsConfirmed(sequence: number, index: Index): void;
  /** Reads up to `sequence` that were not confirmed never will be. */
  readsFailed(sequence: number): void;
  roleChanged(change: RoleChange): void;
  /** The newest configuration, or whether it is committed, changed. */
  configChanged(): void;
  catchUpWanted(wanted: CatchUp): void;
  idleChanged(change: IdleChange): void;
  /** Asleep: heartbeats do not come, and elections do not begin, until something happens or `peerSilent`. */
  sleepChanged(asleep: boolean): void;
  faulted(fault: Fault): void;
  /** Term or vote could not be stored: for want of room (`retry` tries again), or for good. */
  notStored(full: boolean): void;
}

export interface DriverPorts {
  readonly log: LogPort;
  readonly hardState: HardStatePort;
  readonly transport: Transport;
  readonly sink: DriverSink;
  /** Runs a task at the end of this turn of the event loop. */
  readonly defer: (task: () => void) => void;
}
