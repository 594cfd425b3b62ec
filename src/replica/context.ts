// What one node gives to all of its logs: ports to the outside, and the things that are bounded over
// the whole node. No behaviour besides the memory gate's.
import type { Disk } from '../index/disk.ts';
import type { Transport } from '../raft/driver/ports.ts';
import type { RaftSettings } from '../raft/settings.ts';
import type { PeerWatch } from './peers/watch.ts';
import type { HandleCache } from '../segment/handles.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { SlabPool } from '../segment/slab.ts';
import type { SyncGate } from '../segment/sync-gate.ts';
import type { TrustedClock } from './clock.ts';
import type { Counters } from './counters.ts';
import type { Space } from './space.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogEvent = (level: LogLevel, event: string, fields?: Record<string, string | number | boolean>) => void;

/** What the groups of this node say who they are, and how they reach their peers. */
export interface RaftContext {
  /** 32 hex digits each. */
  readonly clusterId: string;
  readonly nodeId: string;
  /** Grows with each call, over starts of this node too: what a replica asked before it was opened anew is not taken for what it asks now. */
  readonly nextIncarnation: () => number;
  readonly settings: RaftSettings;
  readonly transport: Transport;
  /** Over the groups that are idle. */
  readonly watch: PeerWatch;
}

export interface NodeContext {
  readonly raft: RaftContext;
  readonly nodeName: string;
  /** Largest batch, header included. */
  readonly maxBatchBytes: number;
  /** Bytes of tail cache per log. */
  readonly cacheBytes: number;
  readonly disk: Disk;
  readonly journal: RaftStateJournal;
  readonly clock: TrustedClock;
  readonly space: Space;
  readonly memory: MemoryGate;
  readonly counters: Counters;
  readonly slabs: SlabPool;
  /** Open files of sealed segments. */
  readonly handles: HandleCache;
  /** At most pool − 2 syncs at once. */
  readonly syncGate: SyncGate;
  /** Disk reads at once, over all connections. */
  readonly readGate: SyncGate;
  /** Runs a task at the end of this turn, before answers are written. */
  readonly defer: (task: () => void) => void;
  /** Resolves in a later turn: long work is cut by it. */
  readonly yieldTurn: () => Promise<void>;
  /** Unpredictable bytes. */
  readonly randomBytes: (size: number) => Buffer;
  readonly logEvent: LogEvent;
}

/**
 * Bounds what was accepted and not yet written, over all logs: above the limit the node stops reading
 * from clients, until half of it is gone. Requests that were read are never refused for it.
 */
export class MemoryGate {
  bytes = 0;
  paused = false;
  readonly limitBytes: number;
  readonly #onPause: (paused: boolean) => void;

  constructor(limitBytes: number, onPause: (paused: boolean) => void) {
    this.limitBytes = limitBytes;
    this.#onPause = onPause;
  }

  add(bytes: number): void {
    this.bytes += bytes;
    if (this.paused || this.bytes <= this.limitBytes) return;
    this.paused = true;
    this.#onPause(true);
  }

  remove(bytes: number): void {
    this.bytes -= bytes;
    if (!this.paused || this.bytes > this.limitBytes / 2) return;
    this.paused = false;
    this.#onPause(false);
  }
}
