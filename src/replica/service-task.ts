// A request that waits for its log to be opened, or for work on the catalog: who asked, how to go on,
// and that it is answered once, by whoever comes first (result, deadline, CANCEL).
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import type { Op } from '../wire/ops.ts';
import type { Client } from './client.ts';
import { NOT_QUEUED } from './deadlines.ts';
import type { Waiting } from './deadlines.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogTask } from './log-slot.ts';

/** Goes on with a request once its log is open. */
export type WithLog = (log: LogReplica, request: ServiceTask) => void;

export class ServiceTask implements LogTask, Waiting {
  readonly client: Client;
  readonly op: Op;
  readonly id: number;
  readonly deadlineMs: number;
  bucket = NOT_QUEUED;
  /** Credit that came while a SUBSCRIBE waited here. */
  extraCredit = 0;
  readonly #then: WithLog | null;
  #over = false;

  constructor(client: Client, op: Op, id: number, deadlineMs: number, then: WithLog | null) {
    this.client = client;
    this.op = op;
    this.id = id;
    this.deadlineMs = deadlineMs;
    this.#then = then;
    client.tasks.set(id, this);
  }

  /** Waits for a log to be opened and so has had no effect; work on the catalog may have one. */
  get cancellable(): boolean {
    return this.#then !== null;
  }

  /** Answered, or handed on to where it will be. */
  get over(): boolean {
    return this.#over;
  }

  run(log: LogReplica): void {
    if (this.#over) return;
    this.end();
    this.#then?.(log, this);
  }

  fail(code: ErrorCode, message: string): void {
    this.error(code, { message });
  }

  error(code: ErrorCode, options: ErrorOptions): void {
    if (this.#over) return;
    this.end();
    this.client.fail(this.id, this.op, code, options);
  }

  /** Answers OK by `answer`, unless it was answered already. */
  succeed(answer: () => void): void {
    if (this.#over) return;
    this.end();
    answer();
  }

  expire(): void {
    this.error(ErrorCode.TIMEOUT, { message: 'not done in time; it may still be done' });
  }

  /** Forgets it without an answer. */
  end(): void {
    this.#over = true;
    this.client.deadlines.remove(this);
    if (this.client.tasks.get(this.id) === this) this.client.tasks.delete(this.id);
  }
}
