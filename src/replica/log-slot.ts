// One named log as the node knows it, open or not. Logs are opened at first use; what is asked of one
// meanwhile waits here, in order.
//
// Invariant: `replica` is set exactly while requests may be given to it; a waiting task is run or
// failed exactly once.
import { ErrorCode } from '../wire/errors.ts';
import type { LogDescriptor, LogFigures } from './log-settings.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogUpkeep } from './log-upkeep.ts';

/** Something that needs the open log. */
export interface LogTask {
  readonly deadlineMs: number;
  run(log: LogReplica): void;
  fail(code: ErrorCode, message: string): void;
}

export class LogSlot {
  descriptor: LogDescriptor;
  /** Null while it is not open. */
  replica: LogReplica | null = null;
  upkeep: LogUpkeep | null = null;
  /** Set while it is being opened, closed or deleted: what comes next waits for it. */
  changing: Promise<void> | null = null;
  /** The name is free again: nothing more is done with this slot. */
  deleted = false;
  /** Why it could not be opened, and will not be until the node restarts; '' = nothing is wrong. */
  failure = '';
  /** Monotonic milliseconds of the last use, to find the one to close. */
  lastUsedMs = 0;
  /** `activity` of the replica at the last tick. */
  activitySeen = 0;
  /** What DESCRIBE says about it while it is closed; null before it was open once. */
  figures: LogFigures | null = null;
  #tasks: LogTask[] = [];

  constructor(descriptor: LogDescriptor) {
    this.descriptor = descriptor;
  }

  get name(): string {
    return this.descriptor.name;
  }

  get uid(): string {
    return this.descriptor.uid;
  }

  get directory(): string {
    return `logs/${this.descriptor.uid}`;
  }

  get waitingTasks(): number {
    return this.#tasks.length;
  }

  addTask(task: LogTask): void {
    this.#tasks.push(task);
  }

  /** Runs what waited. A task may find the log unfit again, and wait anew. */
  runTasks(replica: LogReplica): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task.run(replica);
  }

  failTasks(code: ErrorCode, message: string): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task.fail(code, message);
  }

  /** Fails what has waited too long: it had no effect, but the client is told TIMEOUT as for any other. */
  expireTasks(nowMs: number): void {
    if (this.#tasks.length === 0) return;
    const due = this.#tasks.filter((task) => task.deadlineMs <= nowMs);
    if (due.length === 0) return;
    this.#tasks = this.#tasks.filter((task) => task.deadlineMs > nowMs);
    for (const task of due) task.fail(ErrorCode.TIMEOUT, 'the log is still being opened');
  }

  /** Remembers what DESCRIBE says, before the replica goes. */
  noteLast(replica: LogReplica): void {
    this.figures = figuresOf(replica);
  }
}

export function figuresOf(replica: LogReplica): LogFigures {
  return {
    logStart: replica.logStart,
    committedEnd: replica.committedEnd,
    fence: replica.state.fence,
    bytes: replica.log.sizeBytes,
    term: replica.group.term,
  };
}
