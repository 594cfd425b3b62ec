// Feeds one replica from its log: committed entries while another replica leads, and the tail when this
// one is elected. From memory at once; what lies on disk only is read first, one read at a time, and then
// the group is asked to go on.
//
// Invariant: entries come in order, each once; `applied` is the last one that the replica was given as
// committed; a tail is shown whole or not at all.
import type { Index } from '../raft/types.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { batchSize } from '../wire/batch.ts';
import type { GroupEvents } from './group.ts';
import type { RaftLogPort } from './raft-log-port.ts';

/** Bytes read from disk at once to be applied. */
const APPLY_BYTES_MAX = 1024 * 1024;

/** How often what could not be read is asked for again. */
const READ_AGAIN_MS = 1_000;

/** What was read from disk: it counts only while the log still is the one it was read from. */
interface ReadTail {
  readonly from: Index;
  readonly to: Index;
  readonly generation: number;
  readonly buffers: readonly Buffer[];
}

export class RaftFeed {
  events: GroupEvents | null = null;
  applied: Index;
  /** Nothing more is fed: the group was closed, or must not answer for its state. */
  ended = false;
  readonly #log: SegmentedLog;
  readonly #port: RaftLogPort;
  /** Called when a read has ended: false = it failed. */
  readonly #goOn: (read: boolean) => void;
  #reading = false;
  /** The last read has failed. */
  #unread = false;
  #readAgainMs = 0;
  #tail: ReadTail | null = null;

  constructor(log: SegmentedLog, port: RaftLogPort, applied: Index, goOn: (read: boolean) => void) {
    this.#log = log;
    this.#port = port;
    this.applied = applied;
    this.#goOn = goOn;
  }

  /** Whether it is time to ask again for what could not be read: it may be repaired, or have been a passing failure. */
  readsAgain(nowMs: number): boolean {
    if (!this.#unread || nowMs < this.#readAgainMs) return false;
    this.#unread = false;
    this.#readAgainMs = nowMs + READ_AGAIN_MS;
    return true;
  }

  /** Applies up to `commitIndex`; false when that takes a read, after which it is to be asked again. */
  apply(commitIndex: Index): boolean {
    while (this.applied < commitIndex && !this.ended) {
      if (this.#reading || this.#unread) return false;
      const from = this.applied + 1;
      const range = this.#log.readCached(from, APPLY_BYTES_MAX, commitIndex);
      if (range === null) {
        void this.#readAndApply(from, commitIndex);
        return false;
      }
      this.#applyAll(range.buffers);
    }
    return !this.ended;
  }

  /** The leader's replica has noted the entries up to `commitIndex` already. */
  commit(commitIndex: Index): void {
    if (commitIndex <= this.applied || this.ended) return;
    this.applied = commitIndex;
    this.events!.committed(commitIndex);
  }

  /** Tells of the election and shows what is behind `applied`; false when that takes a read first. */
  showTail(): boolean {
    if (this.#reading || this.#unread || this.ended) return false;
    const from = this.applied + 1;
    const to = this.#log.lastIndex;
    const tail = from > to ? [] : this.#tailOf(from, to);
    if (tail === null) {
      void this.#readTail(from, to);
      return false;
    }
    this.#tail = null;
    const events = this.events!;
    events.elected();
    for (const buffer of tail) {
      for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) events.replay(buffer, at);
    }
    return true;
  }

  /** Shows the entry that the group has just appended of its own while the replica leads. */
  showOwnEntry(): void {
    const index = this.#log.lastIndex;
    for (const buffer of this.#log.readCached(index, 1, index)!.buffers) this.events!.replay(buffer, 0);
  }

  #tailOf(from: Index, to: Index): readonly Buffer[] | null {
    const tail = this.#tail;
    if (tail !== null && tail.from === from && tail.to === to && tail.generation === this.#log.generation) return tail.buffers;
    return this.#port.read(from, to);
  }

  #applyAll(buffers: readonly Buffer[]): void {
    for (const buffer of buffers) {
      for (let at = 0; at < buffer.length && !this.ended; at += batchSize(buffer, at)) {
        this.applied++;
        this.events!.apply(buffer, at);
      }
    }
  }

  async #readAndApply(from: Index, to: Index): Promise<void> {
    this.#reading = true;
    const range = await this.#port.loadSome(from, APPLY_BYTES_MAX, to);
    this.#reading = false;
    if (this.ended) return;
    if (range !== null) this.#applyAll(range);
    else this.#unread = true;
    this.#goOn(range !== null);
  }

  async #readTail(from: Index, to: Index): Promise<void> {
    this.#reading = true;
    const { generation } = this.#log;
    const buffers = await this.#port.load(from, to);
    this.#reading = false;
    if (this.ended) return;
    // Cut off meanwhile: whoever leads now has another tail.
    const stale = buffers === null && this.#log.generation !== generation;
    this.#tail = buffers === null ? null : { from, to, generation, buffers };
    this.#unread = buffers === null && !stale;
    this.#goOn(!this.#unread);
  }
}
