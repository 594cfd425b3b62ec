// The board on which everything that clients and nodes observe is put up, and the checkers that look at
// it. A checker only watches: it throws a Violation, and changes nothing in the world.
//
// Invariant: checkers see a fact before the history notes it, so that they can compare the two.
import type { DiskOperation } from '../../support/sim-disk.ts';
import type { SimNode } from '../node/sim-node.ts';
import type { Fate } from './fate.ts';
import type { LogHistory } from './log-history.ts';

/** A committed record as a reader got it. */
export interface RecordSeen {
  readonly log: LogHistory;
  readonly offset: number;
  readonly fate: Fate;
  readonly appendTime: number;
  readonly term: number;
  /** How it was learned: `ack` or `read`. */
  readonly by: 'ack' | 'read';
}

/** OK to a PRODUCE. */
export interface AckSeen {
  readonly log: LogHistory;
  readonly fates: readonly Fate[];
  /** NONE for a duplicate that has left the window. */
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly appendTime: number;
  readonly term: number;
  readonly durability: number;
  readonly copies: number;
  readonly duplicate: boolean;
  /** What the log's end was known to be when this sending began. */
  readonly floor: number;
  /** How often the batch was sent, this time included. */
  readonly sendings: number;
  readonly expectedOffset: number;
  readonly fence: number;
  /** It comes from a process that has gone since. */
  readonly stale: boolean;
}

/** An error answer that rests on the log's state. */
export interface RefusalSeen {
  readonly log: LogHistory;
  readonly code: number;
  /** expected_seq, fence or next_offset, whatever belongs to the code; −1 = none was sent. */
  readonly detail: number;
  readonly floor: number;
  readonly fenceFloor: number;
  readonly expectedOffset: number;
  readonly fence: number;
  readonly fates: readonly Fate[];
  readonly node: SimNode | null;
  /** The answer may come from a node that does not hold the log. */
  readonly fewReplicas: boolean;
}

/** The figures of an answer. `linear`: it must reflect everything acknowledged before it was asked. */
export interface RangeSeen {
  readonly log: LogHistory;
  readonly logStart: number;
  readonly committedEnd: number;
  readonly floor: number;
  readonly startFloor: number;
  readonly linear: boolean;
  readonly stale: boolean;
}

/** What the world can tell at the end, when everything has come to rest. */
export interface EndSeen {
  readonly logs: Iterable<LogHistory>;
  readonly fates: readonly Fate[];
  readonly nodes: readonly SimNode[];
}

export interface Checker {
  /** Number of the invariant, or the name of what it checks of histories. */
  readonly rule: string;
  record?(seen: RecordSeen): void;
  acked?(seen: AckSeen): void;
  /** A sending of these was refused without effect, just counted. */
  refusedFates?(fates: readonly Fate[]): void;
  refusal?(seen: RefusalSeen): void;
  range?(seen: RangeSeen): void;
  /** A Raft message leaves a node. */
  message?(from: SimNode, frame: Buffer): void;
  /** A node came up or something happened on it. */
  node?(node: SimNode): void;
  up?(node: SimNode): void;
  /** A file is about to be renamed or cut. */
  reshapes?(node: SimNode, operation: DiskOperation): void;
  /** Nothing moves any more; every log was read from its start to its end. */
  finish?(seen: EndSeen): void;
}

export class Watch {
  readonly checkers: readonly Checker[];
  readonly #record: Checker[];
  readonly #node: Checker[];
  readonly #message: Checker[];

  constructor(checkers: readonly Checker[]) {
    this.checkers = checkers;
    this.#record = checkers.filter((checker) => checker.record !== undefined);
    this.#message = checkers.filter((checker) => checker.message !== undefined);
    this.#node = checkers.filter((checker) => checker.node !== undefined);
  }

  record(seen: RecordSeen): void {
    for (const checker of this.#record) checker.record!(seen);
  }

  acked(seen: AckSeen): void {
    for (const checker of this.checkers) checker.acked?.(seen);
  }

  refusedFates(fates: readonly Fate[]): void {
    for (const checker of this.checkers) checker.refusedFates?.(fates);
  }

  refusal(seen: RefusalSeen): void {
    for (const checker of this.checkers) checker.refusal?.(seen);
  }

  range(seen: RangeSeen): void {
    for (const checker of this.checkers) checker.range?.(seen);
  }

  message(from: SimNode, frame: Buffer): void {
    for (const checker of this.#message) checker.message!(from, frame);
  }

  node(node: SimNode): void {
    for (const checker of this.#node) checker.node!(node);
  }

  reshapes(node: SimNode, operation: DiskOperation): void {
    for (const checker of this.checkers) checker.reshapes?.(node, operation);
  }

  up(node: SimNode): void {
    for (const checker of this.checkers) checker.up?.(node);
  }

  finish(seen: EndSeen): void {
    for (const checker of this.checkers) checker.finish?.(seen);
  }
}
