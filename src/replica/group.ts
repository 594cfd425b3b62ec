// The port between one log's replica and its Raft group: what the replica may ask, and what the
// group tells it. `raft-group.ts` satisfies it.
//
// Order of events: `elected` → `replay` of each uncommitted entry → `leading` → any number of `committed`
// and `confirmed` → `steppedDown` → `lost` → `elected` again; and `apply` while another replica leads.
// Between `steppedDown` and `lost` the outcome of what is in flight is not yet decided, so nothing is
// answered. Events come one at a time and never from inside a call of the
// replica into the group: a group that can confirm a ticket at once has `confirmedTicket` say so
// when `requestRead` returns.
import type { ErrorCode } from '../wire/errors.ts';

/** What a group tells its replica. All indexes are Raft log positions. */
export interface GroupEvents {
  /** An entry that is committed while this replica does not lead: the stamped batch at buffer[at]. */
  apply(buffer: Buffer, at: number): void;
  /** This replica was elected; its log's uncommitted tail follows, if there is one. */
  elected(): void;
  /** One entry of the tail, in order: the stamped batch at buffer[at], whole. */
  replay(buffer: Buffer, at: number): void;
  /** This replica leads: everything up to `commitIndex` was reported, the tail shown, and proposals are taken. */
  leading(term: number): void;
  /** Every entry up to `index` is committed, and durable on a majority of the voters. */
  committed(index: number): void;
  /** More of what this replica had appended is on its own disk, also when it does not lead any more. */
  written(): void;
  /** Leadership was confirmed after every ticket up to `ticket` was taken (thesis §6.4, ReadIndex). */
  confirmed(ticket: number): void;
  /** Leadership ended: `refusal` says how new requests are answered from now on. */
  steppedDown(): void;
  /**
   * Entries from `fromIndex` on will not be reported as committed to this term's requests. `code` is
   * what these are told: LEADERSHIP_LOST (unknown) or STORAGE_FULL (cut, and the cut is synced).
   */
  lost(fromIndex: number, code: ErrorCode): void;
}

/** What a replica asks of its group. */
export interface Group {
  /** Null until the replica has taken its place. */
  events: GroupEvents | null;
  readonly term: number;
  /** 0 while it leads and takes proposals; else the code for requests that need the leader. */
  readonly refusal: ErrorCode | 0;
  /** What `refusal` means and what to do about it, in words; '' when it is 0. */
  readonly refusalMessage: string;
  readonly commitIndex: number;
  readonly lastIndex: number;
  /** Voters that hold a committed entry for certain, for the receipt in an ack. */
  readonly copies: number;
  /** Highest ticket for which leadership was confirmed. */
  readonly confirmedTicket: number;
  /**
   * Appends one checked batch in the current term and returns its index. Synchronous; copies the
   * bytes; leads to `committed` or `lost`. Only while `refusal` is 0.
   */
  propose(source: Buffer, start: number, end: number, appendTime: number): number;
  /**
   * Takes a ticket for a linearizable read or refusal; 0 when leadership cannot be confirmed here. A
   * lone voter always can, also while it takes no proposals: nobody else has a newer truth.
   */
  requestRead(): number;
  /** Called now and then: tries again what a full disk had prevented. */
  retry(): void;
  /** Called at ticks with any monotonic time. Readers that wait here are told of commits sooner. */
  tick(nowMs: number, waitingReaders: boolean): void;
  /** The oldest entries of the log were deleted. */
  trimmed(): void;
  /** Other replicas may still be sent the entries from here on: they are not deleted. */
  readonly neededFromIndex: number;
  /** The state and the log disagree: this replica must not answer for either any more. */
  broken(reason: string): void;
  /** This replica is the whole group: while nobody uses the log it may be closed. */
  readonly alone: boolean;
  /** A message of a peer; the buffer is kept until its entries are in the log. */
  receive(message: Buffer): void;
  /**
   * Nothing more is done or told; the caller then closes the log. Resolves when term and vote are on disk, or could not
   * be stored: whoever opens the replica anew must find them. Never rejects.
   */
  close(): Promise<unknown>;
  /**
   * Resolves when nothing that was proposed is undecided any more: it is committed, or another leads. Nothing is
   * proposed meanwhile, and ticks go on: a leader that hears from no majority gives up by itself.
   */
  settled(): Promise<void>;
}
