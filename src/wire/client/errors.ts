// Failures that the client finds by itself, beside those a server answers. They are of the same class
// as the server's (SidelogError), so that an application handles one kind; their codes are negative.
import { CLASS_OUTCOME_UNKNOWN, CLASS_RETRIABLE, ProtocolError } from '../errors.ts';

export const LocalCode = {
  /** The connection ended before the answer came. */
  CONNECTION_LOST: -1,
  /** No connection could be made in time; `cause` is the last attempt's error. */
  CONNECT_FAILED: -2,
  CLIENT_CLOSED: -3,
  /** The client's own deadline passed; `cause` is the last failure of the request, if there was one. */
  TIMED_OUT: -4,
  /** The server sent what it must not send. */
  PROTOCOL_VIOLATION: -5,
  /** More was appended than four times the producer's bufferBytes. */
  BUFFER_FULL: -6,
  /** The producer failed before; `cause` is the error that ended it. */
  PRODUCER_FAILED: -7,
} as const;
export type LocalCode = (typeof LocalCode)[keyof typeof LocalCode];

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(LocalCode).map(([name, code]) => [code, name]));

/** Whether a request that failed locally may have had its effect. */
export type Outcome = 'none' | 'unknown';

/** A local failure; `retriable` for lost connections and time-outs, which may pass. */
export class LocalError extends ProtocolError {
  constructor(code: LocalCode, message: string, outcome: Outcome, cause?: unknown) {
    const mayPass = code === LocalCode.CONNECTION_LOST || code === LocalCode.CONNECT_FAILED || code === LocalCode.TIMED_OUT;
    const classBits = (mayPass ? CLASS_RETRIABLE : 0) | (outcome === 'unknown' ? CLASS_OUTCOME_UNKNOWN : 0);
    super(code, { message, class: classBits, cause });
    this.name = NAMES.get(code)!;
  }
}

/** The same error, saying that the outcome is known or not. */
export function withOutcome(error: ProtocolError, outcome: Outcome): ProtocolError {
  const isUnknown = outcome === 'unknown';
  if (error.outcomeUnknown === isUnknown) return error;
  if (error instanceof LocalError) return new LocalError(error.code as number as LocalCode, error.message, outcome, error.cause);
  const classBits = (error.class & ~CLASS_OUTCOME_UNKNOWN) | (isUnknown ? CLASS_OUTCOME_UNKNOWN : 0);
  const { message, retryAfterMs, detail } = error;
  return new ProtocolError(error.code, { ...detail, message, retryAfterMs, class: classBits, cause: error });
}
