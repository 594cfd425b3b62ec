// A PRODUCE whose log is not open yet: a copy of its payload, and what was judged before.
import { ErrorCode } from '../wire/errors.ts';
import { Op } from '../wire/ops.ts';
import { ProduceView } from '../wire/produce-view.ts';
import type { Client } from './client.ts';
import type { MemoryGate } from './context.ts';
import type { LogReplica } from './log-replica.ts';
import type { LogTask } from './log-slot.ts';
import type { LogUse } from './log-use.ts';

const view = new ProduceView();

export class ProduceTask implements LogTask {
  readonly deadlineMs: number;
  readonly #client: Client;
  readonly #use: LogUse;
  readonly #id: number;
  readonly #payload: Buffer;
  /** Not 0: it is refused with this in any case, in its turn. */
  readonly #code: number;
  readonly #field: string | null;
  readonly #memory: MemoryGate;

  constructor(
    client: Client, use: LogUse, id: number, buffer: Buffer, start: number, end: number,
    code: number, field: string | null, deadlineMs: number, memory: MemoryGate,
  ) {
    this.#client = client;
    this.#use = use;
    this.#id = id;
    this.#payload = code === 0 ? Buffer.from(buffer.subarray(start, end)) : Buffer.alloc(0);
    this.#code = code;
    this.#field = field;
    this.deadlineMs = deadlineMs;
    this.#memory = memory;
    memory.add(this.#payload.length);
  }

  run(log: LogReplica): void {
    this.#memory.remove(this.#payload.length);
    const { session } = this.#client;
    if (this.#code !== 0) return log.keepPlace(session, this.#id, this.deadlineMs, this.#code, 0, this.#field);
    view.parse(this.#payload, 0, this.#payload.length);
    log.produce(session, this.#use, this.#id, view, this.#payload);
  }

  fail(code: ErrorCode, message: string): void {
    this.#memory.remove(this.#payload.length);
    this.#client.fail(this.#id, Op.PRODUCE, code, { message });
  }
}
