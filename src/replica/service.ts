// The service behind the client sessions of this node: finds the log that a request names, asks
// whether it is allowed, waits for the log to be open, and hands the request on. PRODUCE takes the
// short way: its log is found by comparing the name's bytes with the connection's last one.
//
// Invariant: a request is judged in the order payload, right, name, existence, log_uid, all else; and
// the PRODUCEs of a connection to a log reach it in the order in which they came.
import type { Reader } from '../wire/bytes.ts';
import { ErrorCode, FieldError } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { TIMEOUT_MS_DEFAULT } from '../wire/limits.ts';
import { Op } from '../wire/ops.ts';
import { ProduceView } from '../wire/produce-view.ts';
import type { Service, Session } from '../wire/session/ports.ts';
import { Client } from './client.ts';
import type { NodeContext } from './context.ts';
import type { DeadlineQueue } from './deadlines.ts';
import type { LogSlot } from './log-slot.ts';
import { LogUse } from './log-use.ts';
import type { Logs } from './logs.ts';
import type { Action, Policy } from './policy.ts';
import { ProduceTask } from './produce-task.ts';
import { executeAdmin } from './service-admin.ts';
import type { ClusterView } from './service-admin.ts';
import { executeRead } from './service-read.ts';
import { executeWrite } from './service-write.ts';
import { ServiceTask } from './service-task.ts';
import type { WithLog } from './service-task.ts';

export interface ServiceParts {
  readonly context: NodeContext;
  readonly logs: Logs;
  readonly deadlines: DeadlineQueue;
  readonly policy: Policy;
  readonly cluster: ClusterView;
  /** Waiting FETCHes per connection, for the error that says so. */
  readonly waitsMax: number;
}

export class NodeService implements Service {
  readonly parts: ServiceParts;
  readonly #view = new ProduceView();

  constructor(parts: ServiceParts) {
    this.parts = parts;
  }

  produce(session: Session, id: number, buffer: Buffer, start: number, end: number): void {
    const { counters } = this.parts.context;
    counters.requests[Op.PRODUCE]! += 1;
    counters.produceBytesIn += end - start;
    const client = (session.attachment as Client | undefined) ?? this.#attach(session);
    const view = this.#view;
    const fault = view.parse(buffer, start, end);
    const use = client.lastUse;
    if (
      fault !== 0 || use === null || use.slot.replica === null ||
      use.policyVersion !== this.parts.policy.version || !use.mayProduce ||
      !use.isNamed(buffer, view.logStart, view.logEnd)
    ) {
      return this.#produceSlowly(client, id, buffer, start, end, fault);
    }
    use.slot.replica.produce(session, use, id, view, buffer);
  }

  /** Any PRODUCE that is not for the connection's last log, or is refused before it comes there. */
  #produceSlowly(client: Client, id: number, buffer: Buffer, start: number, end: number, fault: number): void {
    const view = this.#view;
    if (fault !== 0 && view.field === 'log') return client.fail(id, Op.PRODUCE, fault as ErrorCode, { field: 'log' });
    const { policy, context } = this.parts;
    const name = buffer.toString('latin1', view.logStart, view.logEnd);
    const allowed = policy.allows(client.session.identity, 'produce', name);
    let code = fault;
    let field: string | null = fault === 0 ? null : view.field;
    if (code === 0 && !allowed) {
      code = ErrorCode.FORBIDDEN;
      field = 'produce';
    }
    if (code === 0) {
      try {
        view.logName();
      } catch (error) {
        if (!(error instanceof FieldError)) throw error;
        return client.fail(id, Op.PRODUCE, error.code, error.detail);
      }
    }
    const use = this.#useOf(client, name, allowed);
    if (use === null) {
      if (code === 0) return this.#absent(client, Op.PRODUCE, id);
      return client.fail(id, Op.PRODUCE, code as ErrorCode, field === null ? {} : { field });
    }
    client.lastUse = use;
    const { slot } = use;
    const nowMs = context.clock.monotonicMs();
    if (slot.replica === null) {
      const task = new ProduceTask(client, use, id, buffer, start, end, code, field, use.deadline(nowMs, view.timeoutMs), context.memory);
      return this.parts.logs.opener.whenOpen(slot, task);
    }
    if (code === 0) slot.replica.produce(client.session, use, id, view, buffer);
    else slot.replica.keepPlace(client.session, id, use.deadline(nowMs, view.timeoutMs), code, 0, field);
  }

  #useOf(client: Client, name: string, mayProduce: boolean): LogUse | null {
    const slot = this.parts.logs.find(name);
    if (slot === null) return null;
    let use = client.useOf(name);
    if (use === null || use.slot !== slot) {
      use = new LogUse(slot);
      client.remember(use, this.parts.context.clock.monotonicMs());
    }
    use.mayProduce = mayProduce;
    use.policyVersion = this.parts.policy.version;
    return use;
  }

  /** May throw a ProtocolError, which the session answers. */
  request(session: Session, op: Op, id: number, payload: Reader): void {
    this.parts.context.counters.request(op);
    const client = (session.attachment as Client | undefined) ?? this.#attach(session);
    if (executeRead(this, client, op, id, payload)) return;
    if (executeWrite(this, client, op, id, payload)) return;
    if (executeAdmin(this, client, op, id, payload)) return;
    client.fail(id, op, ErrorCode.UNKNOWN_OP, {});
  }

  /**
   * Goes on with a request once its log is open: judges right, existence and log_uid first. `uid` is the
   * one that the request carries.
   */
  withLog(client: Client, op: Op, id: number, name: string, uid: Buffer | undefined, action: Action, then: WithLog): void {
    const slot = this.findLog(client, op, id, name, uid, action);
    if (slot === null) return;
    const task = new ServiceTask(client, op, id, this.deadline(), then);
    if (slot.replica !== null) return task.run(slot.replica);
    this.parts.logs.opener.whenOpen(slot, task);
  }

  /** The log that a request names, or null when the request was answered with an error. */
  findLog(client: Client, op: Op, id: number, name: string, uid: Buffer | undefined, action: Action): LogSlot | null {
    if (!this.allow(client, op, id, name, action)) return null;
    const slot = this.parts.logs.find(name);
    if (slot === null) {
      this.#absent(client, op, id);
      return null;
    }
    if (uid !== undefined && uid.toString('hex') !== slot.uid) {
      client.fail(id, op, ErrorCode.LOG_CHANGED, { logUid: Buffer.from(slot.uid, 'hex') });
      return null;
    }
    return slot;
  }

  #absent(client: Client, op: Op, id: number): void {
    const { code, message } = this.parts.logs.absence();
    client.fail(id, op, code, code === ErrorCode.LOG_NOT_FOUND ? {} : { message });
  }

  /** False when the request was answered FORBIDDEN. */
  allow(client: Client, op: Op, id: number, name: string, action: Action): boolean {
    if (this.parts.policy.allows(client.session.identity, action, name)) return true;
    client.fail(id, op, ErrorCode.FORBIDDEN, { field: action, message: `not allowed: ${action} ${name}`.trim() });
    return false;
  }

  /** When a request without a time of its own is answered TIMEOUT. */
  deadline(): number {
    return this.parts.context.clock.monotonicMs() + TIMEOUT_MS_DEFAULT;
  }

  credit(session: Session, id: number, addBytes: number): void {
    const client = session.attachment as Client;
    const subscription = client.subscriptions.get(id);
    if (subscription !== undefined) return subscription.addCredit(addBytes);
    const task = client.tasks.get(id);
    if (task !== undefined) task.extraCredit += addBytes;
  }

  cancel(session: Session, id: number, code: ErrorCode, field: string | null): void {
    const client = session.attachment as Client;
    const options: ErrorOptions = field === null ? {} : { field };
    const subscription = client.subscriptions.get(id);
    if (subscription !== undefined) return subscription.fail(code, options);
    const fetch = client.fetches.get(id);
    if (fetch !== undefined) return fetch.fail(code, options);
    // What waits for a log to be opened has had no effect yet; what works on the catalog may have.
    const task = client.tasks.get(id);
    if (task?.cancellable === true) task.error(code, options);
  }

  drained(session: Session): void {
    (session.attachment as Client | undefined)?.resume();
  }

  goingAway(session: Session): void {
    (session.attachment as Client | undefined)?.goAway();
  }

  closed(session: Session): void {
    (session.attachment as Client | undefined)?.drop(session.dead);
  }

  #attach(session: Session): Client {
    const { deadlines, context, waitsMax } = this.parts;
    const client = new Client(session, deadlines, context, waitsMax);
    session.attachment = client;
    return client;
  }
}
