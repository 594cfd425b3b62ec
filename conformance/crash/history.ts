// The history of a crash run: what every client asked for and was told, and what readers saw. Plain
// data, written by workload.ts, judged by checker.ts. Times are milliseconds of one clock.

/** `none` = the answer promised no effect; `unknown` = OUTCOME_UNKNOWN, or no answer at all. */
export type Outcome = 'ok' | 'none' | 'unknown';

/** One sending of one batch; a batch that was sent again has several. */
export interface Sending {
  readonly invoked: number;
  ended: number;
  outcome: Outcome;
  /** Of an ack with an offset; null when it was DUPLICATE with NONE. */
  baseOffset: bigint | null;
  status: string;
}

/** One batch: its values are `mark#0`, `mark#1`, … and nobody else's. */
export interface Append {
  readonly mark: string;
  readonly count: number;
  /** Sent with a producer, so that it may be there once at most however often it was sent. */
  readonly idempotent: boolean;
  readonly sendings: Sending[];
}

export interface Seen {
  readonly offset: bigint;
  readonly value: string;
}

export interface Read {
  readonly invoked: number;
  readonly ended: number;
  readonly committedEnd: bigint;
  readonly records: readonly Seen[];
}

export interface LogHistory {
  readonly log: string;
  readonly appends: Map<string, Append>;
  readonly reads: Read[];
}

/** What the log holds when all is over. */
export interface FinalLog {
  readonly logStart: bigint;
  readonly committedEnd: bigint;
  readonly records: readonly Seen[];
}

export function newHistory(log: string): LogHistory {
  return { log, appends: new Map(), reads: [] };
}

/** Begins a sending; the caller fills in its end. Until then its outcome is unknown. */
export function begin(history: LogHistory, mark: string, count: number, idempotent: boolean, now: number): Sending {
  let append = history.appends.get(mark);
  if (append === undefined) {
    append = { mark, count, idempotent, sendings: [] };
    history.appends.set(mark, append);
  }
  const sending: Sending = { invoked: now, ended: Infinity, outcome: 'unknown', baseOffset: null, status: 'no answer' };
  append.sendings.push(sending);
  return sending;
}
