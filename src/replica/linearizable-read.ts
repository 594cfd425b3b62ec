// A question about a log's small state that must be answered as of after the question came: it takes
// a ticket, waits for leadership to be confirmed, and then looks at the applied state, which on the
// leader holds everything that was acked before.
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import type { Op } from '../wire/ops.ts';
import type { Client } from './client.ts';
import { NOT_QUEUED } from './deadlines.ts';
import type { Waiting } from './deadlines.ts';
import type { LogReplica } from './log-replica.ts';

export class LinearizableRead implements Waiting {
  readonly deadlineMs: number;
  bucket = NOT_QUEUED;
  /** Only a confirmation wakes it. */
  readonly wakeBytes = Infinity;
  ticket = 0;
  readonly #client: Client;
  readonly #log: LogReplica;
  readonly #op: Op;
  readonly #id: number;
  readonly #answer: () => void;

  constructor(client: Client, log: LogReplica, op: Op, id: number, deadlineMs: number, answer: () => void) {
    this.#client = client;
    this.#log = log;
    this.#op = op;
    this.#id = id;
    this.deadlineMs = deadlineMs;
    this.#answer = answer;
  }

  advance(): void {
    const { group, readers } = this.#log;
    this.#leave();
    if (this.#log.readRefusal !== 0) return this.fail(this.#log.readRefusal);
    if (this.#log.stateLags) return this.fail(ErrorCode.LOG_STOPPED, { message: group.refusalMessage });
    if (this.ticket === 0) {
      this.ticket = group.requestRead();
      if (this.ticket === 0) return this.fail(ErrorCode.NO_LEADER, { message: group.refusalMessage });
    }
    if (this.ticket <= group.confirmedTicket) return this.#answer();
    readers.addWait(this);
    this.#client.deadlines.add(this);
  }

  expire(): void {
    this.fail(ErrorCode.TIMEOUT);
  }

  fail(code: ErrorCode, options: ErrorOptions = {}): void {
    this.#leave();
    this.#client.fail(this.#id, this.#op, code, options);
  }

  #leave(): void {
    this.#log.readers.removeWait(this);
    this.#client.deadlines.remove(this);
  }
}
