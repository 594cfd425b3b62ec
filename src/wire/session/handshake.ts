// HELLO, AUTH and PING: each reads a request of the session itself and writes its one answer. They
// return what the session needs to know; which of them is allowed when is the session's to judge.
import type { Reader } from '../bytes.ts';
import { CLASS_FATAL, ErrorCode, errorClass, ProtocolError } from '../errors.ts';
import { Op } from '../ops.ts';
import { authRequest, authResponse, helloRequest, helloResponse, ping } from '../requests-session.ts';
import { writeError, writeOk } from './answers.ts';
import { agree, helloAnswer } from './hello.ts';
import type { Agreement } from './hello.ts';
import type { OutputQueue } from './output-queue.ts';
import type { Identity, SessionConfig } from './ports.ts';

/** The third AUTH_FAILED of a connection is its last. */
const AUTH_FAILURES_MAX = 3;
const EMPTY = Buffer.alloc(0);

export const AuthVerdict = { DONE: 0, GO_ON: 1, OVER: 2 } as const;
export type AuthVerdict = (typeof AuthVerdict)[keyof typeof AuthVerdict];

/** What AUTH leaves behind between its attempts. */
export interface AuthProgress {
  authFailures: number;
  identity: Identity;
}

/** Null when HELLO was refused, which is fatal whatever the code's own class (protocol §3). */
export function answerHello(out: OutputQueue, id: number, payload: Reader, config: SessionConfig): Agreement | null {
  try {
    const agreement = agree(helloRequest.read(payload), config);
    writeOk(out, Op.HELLO, id, (w) => helloResponse.write(w, helloAnswer(agreement, config)), false);
    return agreement;
  } catch (error) {
    writeRefusal(out, Op.HELLO, id, error, CLASS_FATAL);
    return null;
  }
}

/** A token that is not needed is not looked at. */
export function answerAuth(
  out: OutputQueue, id: number, payload: Reader, config: SessionConfig, progress: AuthProgress,
): AuthVerdict {
  try {
    const request = authRequest.read(payload);
    if (config.authRequired) {
      const isKnown = config.authMechs.includes(request.mech);
      const identity = isKnown ? config.authenticate(request.mech, request.data) : null;
      if (identity === null) throw new ProtocolError(ErrorCode.AUTH_FAILED);
      progress.identity = identity;
    }
    writeOk(out, Op.AUTH, id, (w) => authResponse.write(w, { done: 1, data: EMPTY }), false);
    return AuthVerdict.DONE;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    if (error.code === ErrorCode.AUTH_FAILED) progress.authFailures++;
    const isOver = progress.authFailures >= AUTH_FAILURES_MAX;
    writeRefusal(out, Op.AUTH, id, error, isOver ? CLASS_FATAL : 0);
    return isOver ? AuthVerdict.OVER : AuthVerdict.GO_ON;
  }
}

export function answerPing(out: OutputQueue, id: number, payload: Reader): void {
  try {
    const request = ping.read(payload);
    writeOk(out, Op.PING, id, (w) => ping.write(w, request), false);
  } catch (error) {
    writeRefusal(out, Op.PING, id, error, 0);
  }
}

/** Answers with a ProtocolError as it is, its class widened by `classBits`; throws anything else on. */
export function writeRefusal(out: OutputQueue, op: number, id: number, error: unknown, classBits: number): void {
  if (!(error instanceof ProtocolError)) throw error;
  const { code, retryAfterMs, message, detail } = error;
  writeError(out, op, id, code, { ...detail, message, retryAfterMs, class: errorClass(code) | classBits });
}
