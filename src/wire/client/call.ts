// One request that a promise waits for: sends it when there is a connection, sends it again where that
// is safe, gathers the frames of its answer, and gives up at its deadline.
//
// What is safe: a request that changes nothing, or the same thing twice, is tried again after any
// passing failure ('always'); any other only while it certainly had no effect ('certain').
import type { Writer } from '../bytes.ts';
import { Reader } from '../bytes.ts';
import { readErrorBody } from '../error-body.ts';
import type { ProtocolError } from '../errors.ts';
import type { FrameReader } from '../frame.ts';
import { cancelRequest } from '../requests-session.ts';
import { Op, opName } from '../ops.ts';
import { Backoff } from './backoff.ts';
import { LocalCode, LocalError } from './errors.ts';
import type { Link, LinkListener } from './link.ts';
import type { ClientMachine } from './machine.ts';
import type { AnswerSink } from './pending.ts';

const RETRY_MIN_MS = 20;
const RETRY_MAX_MS = 1_000;

export interface CallSpec<T> {
  readonly op: Op;
  /** Writes the payload; `grease` is a TLV type to add, mostly 0. */
  write(w: Writer, grease: number): void;
  /** The last bytes of the payload, which must not change until the answer came. */
  readonly tail?: Buffer | undefined;
  /** Takes one frame of the answer; the result is that of the last frame. */
  read(r: Reader, more: boolean): T;
  readonly retry: 'always' | 'certain';
  readonly timeoutMs: number;
}

/** Carries out a request. Rejects with a SidelogError. */
export function call<T>(link: Link, spec: CallSpec<T>): Promise<T> {
  return new Promise((resolve, reject) => new Call(link, spec, resolve, reject));
}

class Call<T> implements AnswerSink, LinkListener {
  private readonly link: Link;
  private readonly spec: CallSpec<T>;
  private readonly resolve: (value: T) => void;
  private readonly reject: (error: ProtocolError) => void;
  private readonly deadline: NodeJS.Timeout;
  private readonly backoff: Backoff;
  private retryTimer: NodeJS.Timeout | null = null;
  /** Where the request is open, and under which id. */
  private machine: ClientMachine | null = null;
  private id = 0;
  private isDone = false;
  private lastError: ProtocolError | null = null;
  /** A sending ended without an answer, so that the outcome is unknown whatever comes after. */
  private wasLost = false;

  constructor(link: Link, spec: CallSpec<T>, resolve: (value: T) => void, reject: (error: ProtocolError) => void) {
    this.link = link;
    this.spec = spec;
    this.resolve = resolve;
    this.reject = reject;
    this.backoff = new Backoff(RETRY_MIN_MS, RETRY_MAX_MS, link.random);
    this.deadline = setTimeout(() => this.expire(), spec.timeoutMs);
    this.attempt();
  }

  linkReady(): void {
    this.attempt();
  }

  linkFailed(error: ProtocolError): void {
    if (this.machine === null) this.fail(error);
  }

  answer(_tag: number, frame: FrameReader, more: boolean): void {
    if (this.isDone) return;
    if (!more) this.machine = null;
    const r = new Reader(frame.buffer, frame.start, frame.end);
    if (frame.status !== 0) return this.refused(readErrorBody(r, frame.status));
    const value = this.spec.read(r, more);
    if (more) return;
    this.finish();
    this.resolve(value);
  }

  lost(_tag: number, error: ProtocolError): void {
    if (this.isDone) return;
    this.machine = null;
    this.wasLost = true;
    this.lastError = error;
    if (this.spec.retry === 'always' && !this.link.isClosed) this.attempt();
    else this.fail(error);
  }

  private attempt(): void {
    this.retryTimer = null;
    if (this.isDone) return;
    if (this.link.isClosed) return this.fail(new LocalError(LocalCode.CLIENT_CLOSED, 'the client was closed', 'none'));
    const machine = this.link.machine;
    if (machine === null) return this.link.add(this);
    this.link.remove(this);
    this.machine = machine;
    const { op, tail } = this.spec;
    const at = machine.begin(op, this, 0);
    this.id = machine.lastId;
    this.spec.write(machine.output.writer, machine.grease());
    machine.finish(at, tail);
  }

  private refused(error: ProtocolError): void {
    this.lastError = error;
    const mayRetry = error.retriable && (this.spec.retry === 'always' || !error.outcomeUnknown);
    if (!mayRetry) return this.fail(error);
    this.retryTimer = setTimeout(() => this.attempt(), this.backoff.nextMs(error.retryAfterMs));
  }

  private expire(): void {
    const { machine, lastError, spec } = this;
    // A request that only waits may be called off; the answer to that finds isDone set.
    if (machine !== null) machine.about(Op.CANCEL, this.id, (w) => cancelRequest.write(w, {}));
    // Between two tries the last refusal says more than that time is over.
    if (machine === null && lastError !== null && lastError.code > 0 && !this.wasLost) return this.fail(lastError);
    const why = lastError ?? (machine === null ? this.link.whyDown() : undefined);
    const message = `${opName(spec.op)} was not done in ${spec.timeoutMs} ms${why === undefined ? '' : `: ${why.message}`}`;
    const isUnknown = machine !== null || this.wasLost || lastError?.outcomeUnknown === true;
    this.fail(new LocalError(LocalCode.TIMED_OUT, message, isUnknown ? 'unknown' : 'none', why));
  }

  private fail(error: ProtocolError): void {
    if (this.isDone) return;
    this.finish();
    this.reject(error);
  }

  private finish(): void {
    this.isDone = true;
    clearTimeout(this.deadline);
    if (this.retryTimer !== null) clearTimeout(this.retryTimer);
    this.link.remove(this);
  }
}
