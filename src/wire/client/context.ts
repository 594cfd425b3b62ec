// What the parts of a client share: the link, the uids it has seen, and how a request that names a log
// is made from a layout.
import type { Reader } from '../bytes.ts';
import type { Layout } from '../layout.ts';
import type { Op } from '../ops.ts';
import { call } from './call.ts';
import type { Link } from './link.ts';
import { parseUid } from './pins.ts';
import type { LogPins } from './pins.ts';

export interface ClientContext {
  readonly link: Link;
  readonly pins: LogPins;
  readonly requestTimeoutMs: number;
}

export interface Exchange<Q, A> {
  readonly op: Op;
  readonly request: Layout<Q>;
  readonly answer: { read(r: Reader): A };
  /** 'always' for what changes nothing, or the same thing twice. */
  readonly retry: 'always' | 'certain';
  /** Time beyond requestTimeoutMs, for requests that wait on purpose. */
  readonly extraMs?: number;
}

/** One request with an answer of one frame. The answer's ids must be copied in `read`: they are views. */
export function exchange<Q, A>(context: ClientContext, how: Exchange<Q, A>, request: Q): Promise<A> {
  return call(context.link, {
    op: how.op,
    write: (w, grease) => how.request.write(w, request, grease),
    read: (r) => how.answer.read(r),
    retry: how.retry,
    timeoutMs: context.requestTimeoutMs + (how.extraMs ?? 0),
  });
}

/** One request whose answer may come in several frames. */
export function exchangeList<Q, A>(context: ClientContext, how: Exchange<Q, A>, request: Q): Promise<A[]> {
  let frames: A[] = [];
  return call(context.link, {
    op: how.op,
    write: (w, grease) => {
      // A repeated request begins its list anew.
      frames = [];
      how.request.write(w, request, grease);
    },
    read: (r) => {
      frames.push(how.answer.read(r));
      return frames;
    },
    retry: how.retry,
    timeoutMs: context.requestTimeoutMs,
  });
}

/** The uid to send with a request about `log`: as given, else the one seen first. */
export function uidFor(context: ClientContext, log: string, given: string | undefined): Buffer | undefined {
  return given === undefined ? context.pins.get(log) : parseUid(given);
}
