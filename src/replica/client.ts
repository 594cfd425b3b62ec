// What the service keeps per connection: its reads, what of it waits for a log to be opened, and which
// logs it uses under which name. One per session, made at its first request; gone with it.
//
// Reads run only while the connection takes output and a few disk reads at most are under way for it:
// others stall here, in order. Invariant: a stalled read is woken by `resume` after every drain and
// after every disk read that ended.
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import type { Op } from '../wire/ops.ts';
import type { Session } from '../wire/session/ports.ts';
import type { NodeContext } from './context.ts';
import type { DeadlineQueue } from './deadlines.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogUse } from './log-use.ts';
import type { ServiceTask } from './service-task.ts';
import type { Subscription } from './subscriptions.ts';
import type { Fetch } from './waits.ts';

/** Disk reads under way for one connection: two keep the next one ready while one is sent. */
const STORED_READS_MAX = 2;

/** Logs whose name a connection remembers. */
const USES_MAX = 64;

/** A read of the client's, as far as the disk has to do with it. */
export interface StoredReader {
  readonly log: LogReplica;
  /** Something is being read from disk for it. */
  reading: boolean;
  /** It wants no result any more. */
  readonly done: boolean;
  readFailed(error: unknown): void;
}

export class Client {
  readonly session: Session;
  readonly deadlines: DeadlineQueue;
  readonly waitsMax: number;
  readonly fetches = new Map<number, Fetch>();
  readonly subscriptions = new Map<number, Subscription>();
  /** Requests that wait for a log to be opened, or for work on the catalog. */
  readonly tasks = new Map<number, ServiceTask>();
  /** The log that the last PRODUCE named. */
  lastUse: LogUse | null = null;
  /** The connection ended, or its peer's side of it. */
  gone = false;
  readonly #context: NodeContext;
  readonly #uses = new Map<string, LogUse>();
  #stalled: Fetch[] = [];
  #lagging = new Set<Subscription>();
  #storedReads = 0;

  constructor(session: Session, deadlines: DeadlineQueue, context: NodeContext, waitsMax: number) {
    this.session = session;
    this.deadlines = deadlines;
    this.#context = context;
    this.waitsMax = waitsMax;
  }

  /** Answers a request with an error, and counts it. */
  fail(id: number, op: Op, code: ErrorCode, options: ErrorOptions): void {
    this.#context.counters.error(code);
    this.session.error(id, op, code, options);
  }

  /** Whether a read may put more into the connection's output now. */
  get mayRead(): boolean {
    return this.session.wantsData && this.#storedReads < STORED_READS_MAX;
  }

  stall(fetch: Fetch): void {
    this.#stalled.push(fetch);
  }

  lag(subscription: Subscription): void {
    this.#lagging.add(subscription);
  }

  /** Does something on disk for `reader` under the node's limit; then that goes on, and after it those that had to wait. */
  readStored<T>(reader: StoredReader, read: () => Promise<T>, then: (result: T) => void): void {
    this.#storedReads++;
    reader.log.pin();
    reader.reading = true;
    const ended = (tell: () => void): void => {
      reader.reading = false;
      if (!reader.done) tell();
      this.#storedReads--;
      reader.log.unpin();
      this.resume();
    };
    this.#inTurn(read).then(
      (result) => ended(() => then(result)),
      (error: unknown) => ended(() => reader.readFailed(error)),
    );
  }

  async #inTurn<T>(read: () => Promise<T>): Promise<T> {
    const gate = this.#context.readGate;
    const turn = gate.enter();
    if (turn !== null) await turn;
    try {
      return await read();
    } finally {
      gate.leave();
    }
  }

  /** Lets stalled reads go on, oldest first, as far as the output takes them. */
  resume(): void {
    while (this.#stalled.length > 0 && this.mayRead) this.#stalled.shift()!.advance();
    if (this.#lagging.size === 0 || !this.mayRead) return;
    const lagging = this.#lagging;
    this.#lagging = new Set();
    for (const subscription of lagging) subscription.pump();
  }

  /** GOAWAY was exchanged: waits are answered with what there is, subscriptions end. */
  goAway(): void {
    for (const fetch of [...this.fetches.values()]) {
      if (fetch.waiting) fetch.expire();
      else fetch.hurry();
    }
    for (const subscription of [...this.subscriptions.values()]) subscription.fail(ErrorCode.SHUTTING_DOWN);
  }

  /** The log last used under `name`, if it is remembered. */
  useOf(name: string): LogUse | null {
    return this.#uses.get(name) ?? null;
  }

  /** Remembers a log by name; forgets others that have nothing in flight when there are too many. */
  remember(use: LogUse, nowMs: number): void {
    if (this.#uses.size >= USES_MAX) {
      for (const [name, old] of this.#uses) if (old.lastDeadlineMs < nowMs) this.#uses.delete(name);
    }
    this.#uses.set(use.name, use);
  }

  /**
   * The peer's stream ended: waits and subscriptions are forgotten; with `all` (nothing can be
   * written any more) so is what would still be answered.
   */
  drop(all: boolean): void {
    this.gone = true;
    for (const fetch of [...this.fetches.values()]) {
      if (all || fetch.waiting) fetch.drop();
      else fetch.hurry();
    }
    for (const subscription of [...this.subscriptions.values()]) subscription.drop();
    this.#lagging.clear();
    if (!all) return;
    this.#stalled = [];
    this.#uses.clear();
    this.lastUse = null;
  }
}
