// A Raft group of one voter, behind the port that the Raft driver will satisfy: it leads from the
// moment its new term is on disk, and commits what is durable here.
//
// Invariants: I2 every opening raises the term above the journal's and the log's, synced before the
// first ack; I3 commit follows durable; after a failed write nothing is acked again, and after a full
// disk it leads in a new term only when the cut of what was refused is synced.
import { DiskError } from '../index/disk.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { LogState } from '../segment/log-options.ts';
import type { LogEvents } from '../segment/log-options.ts';
import { assert } from '../wire/assert.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { Group, GroupEvents } from './group.ts';

export interface SoloGroupOptions {
  readonly log: SegmentedLog;
  readonly journal: RaftStateJournal;
  readonly logUid: Buffer;
  readonly replicaId: number;
  /** Why the log takes no records although it can be read; '' = it does take them. */
  readonly stopped: string;
  /** A write met a full disk, or the journal could not store a term for want of room. */
  readonly diskFull: () => void;
}

export class SoloGroup implements Group, LogEvents {
  events: GroupEvents | null = null;
  term = 0;
  refusal: ErrorCode | 0 = ErrorCode.NO_LEADER;
  refusalMessage = 'the log is being opened';
  commitIndex: number;
  readonly copies = 1;
  confirmedTicket = 0;

  readonly #options: SoloGroupOptions;
  readonly #log: SegmentedLog;
  /** The cut after a full disk is synced, and the new term is not stored yet. */
  #termMissing = false;
  #storing = false;
  #waiters: Array<() => void> = [];

  private constructor(options: SoloGroupOptions) {
    this.#options = options;
    this.#log = options.log;
    this.commitIndex = options.log.durableIndex;
    options.log.commitIndex = this.commitIndex;
  }

  /** Raises and stores the term. Rejects with DiskError when the journal cannot store it. */
  static async open(options: SoloGroupOptions): Promise<SoloGroup> {
    const group = new SoloGroup(options);
    const stored = options.journal.get(options.logUid, options.replicaId);
    group.term = Math.max(stored?.term ?? 0, options.log.lastTerm);
    options.log.events = group;
    if (options.stopped !== '') group.#refuse(ErrorCode.LOG_STOPPED, options.stopped);
    else await group.#firstTerm();
    return group;
  }

  async #firstTerm(): Promise<void> {
    try {
      await this.#storeNextTerm();
    } catch (error) {
      // The log can be read all the same, and takes records as soon as there is room.
      if (!isFull(error)) throw error;
      this.#refuse(ErrorCode.STORAGE_FULL, 'the disk is full');
      this.#termMissing = true;
      this.#options.diskFull();
    }
  }

  get lastIndex(): number {
    return this.#log.lastIndex;
  }

  propose(source: Buffer, start: number, end: number, appendTime: number): number {
    assert(this.refusal === 0, 'only a leader proposes');
    // The log writes at the end of the turn, or with the group after the one in flight.
    return this.#log.append(source, start, end, this.term, appendTime);
  }

  requestRead(): number {
    return ++this.confirmedTicket;
  }

  settled(): Promise<void> {
    this.#log.flush();
    if (this.commitIndex === this.#log.lastIndex || this.#log.state === LogState.FAILED) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  /** Tries again to lead after a full disk; called now and then while `refusal` is STORAGE_FULL. */
  retry(): void {
    if (this.#termMissing && !this.#storing) void this.#leadAgain();
  }

  // Events of the log

  durable(index: number, _term: number, generation: number): void {
    // Entries of an older generation may have been replaced since: what is left is reported again.
    if (generation !== this.#log.generation || index <= this.commitIndex) return;
    this.commitIndex = index;
    this.#log.commitIndex = index;
    this.events?.committed(index);
    this.#wake();
  }

  failed(error: DiskError): void {
    if (isFull(error)) {
      this.#refuse(ErrorCode.STORAGE_FULL, 'the disk is full');
      this.events?.steppedDown();
      this.#options.diskFull();
    } else {
      this.#refuse(
        ErrorCode.LOG_STOPPED,
        `a write to disk failed (${error.code}); check the disk and restart sidelog`,
      );
      this.events?.steppedDown();
      this.events?.lost(this.commitIndex + 1, ErrorCode.LEADERSHIP_LOST);
    }
    this.#wake();
  }

  /** The cut is synced: what was refused can never come back. */
  resumed(): void {
    this.events?.lost(this.commitIndex + 1, ErrorCode.STORAGE_FULL);
    this.#termMissing = true;
    void this.#leadAgain();
  }

  async #leadAgain(): Promise<void> {
    try {
      await this.#storeNextTerm();
    } catch (error) {
      if (!(error instanceof DiskError)) throw error;
      if (isFull(error)) {
        this.#options.diskFull();
        return;
      }
      this.#termMissing = false;
      this.#refuse(ErrorCode.LOG_STOPPED, `its new term could not be stored (${error.code}); check the disk and restart sidelog`);
      return;
    }
    this.#termMissing = false;
    this.events?.elected();
    this.events?.leading(this.term);
  }

  async #storeNextTerm(): Promise<void> {
    const { journal, logUid, replicaId } = this.#options;
    const term = this.term + 1;
    this.#storing = true;
    try {
      // The vote of a lone voter is its own: nobody else can win this term.
      await journal.put({ logUid, replicaId, term, vote: replicaId, state: 'active' });
    } finally {
      this.#storing = false;
    }
    this.term = term;
    if (this.#log.state !== LogState.OPEN) return;
    this.refusal = 0;
    this.refusalMessage = '';
  }

  #refuse(code: ErrorCode, message: string): void {
    this.refusal = code;
    this.refusalMessage = message;
  }

  #wake(): void {
    const undecided = this.commitIndex < this.#log.lastIndex && this.#log.state === LogState.OPEN;
    if (undecided || this.#waiters.length === 0) return;
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}

function isFull(error: unknown): boolean {
  return error instanceof DiskError && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
}
