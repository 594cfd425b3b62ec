// Mutations of what the server gets to see: requests with a part taken away, dropped, or answered by
// the proxy itself. So any server becomes one that ignores fences, credit, `after`, cancels …
import { CRITICAL, LAYOUTS, NONE, layoutOf, opName } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';
import { editBatch } from '../wire/batch.ts';
import { buildFrame } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import { decodeRequest } from '../wire/codec.ts';
import type { MakeMutation } from './mutations-answers.ts';
import type { Link, Mutation } from './proxy.ts';
import { editRequest, errorFrame, goawayFrame, isGoaway, isOp, isResponse, okFrame, reframe } from './reframe.ts';
import type { Fields } from './reframe.ts';

const onRequest = (request: NonNullable<Mutation['request']>): Mutation => ({ request });

/** The proxy answers in the server's place. */
function answerInstead(link: Link, bytes: Buffer): Buffer[] {
  link.toClient(bytes);
  link.open.delete(bytes.readUInt32BE(8));
  return [];
}

function edit(op: OpName | null, change: (fields: Fields) => void): Mutation {
  return onRequest((frame) => (op === null || isOp(frame, op) ? editRequest(frame, change) : null));
}

function strip(name: string): Mutation {
  return onRequest((frame) => editRequest(frame, (fields, op) => {
    const known = layoutOf(op).tlvs;
    fields.ext = (fields.ext as Tlv[]).filter(({ type }) => known[type & ~CRITICAL]?.[0] !== name);
  }));
}

/** OK without doing it. */
function swallow(op: string): Mutation {
  let next = 0n;
  return onRequest((frame, link) => {
    if (!isOp(frame, op as OpName) || isResponse(frame)) return null;
    const fields = decodeSafely(op as OpName, frame);
    if (fields === null) return null;
    const answer: Fields = op === 'PUT_POSITION' ? { offset: fields.offset } : op === 'TRIM' ? { log_start: fields.offset }
      : op === 'PRODUCE' ? { base_offset: next, next_offset: ++next, append_time: BigInt(Date.now()), term: 1n, durability: 1, copies: 1 } : {};
    return answerInstead(link, okFrame(frame.op, frame.id, answer));
  });
}

function decodeSafely(op: OpName, frame: Frame): Fields | null {
  try {
    return decodeRequest(op, frame.payload);
  } catch {
    return null;
  }
}

/** A CANCEL of this op is answered CANCELED at once, whatever the server does. */
function cancelLies(op: OpName): Mutation {
  return {
    request(frame, link) {
      if (!isOp(frame, 'CANCEL') || isResponse(frame) || link.open.get(frame.id)?.op !== LAYOUTS[op].op) return null;
      const lies = (link.memory.get('lies') ?? new Set()) as Set<number>;
      link.memory.set('lies', lies.add(frame.id));
      link.toClient(errorFrame(LAYOUTS[op].op, frame.id, 'CANCELED'));
      return null;
    },
    answer(frame, link) {
      const lies = link.memory.get('lies') as Set<number> | undefined;
      return lies?.has(frame.id) === true && isOp(frame, op) ? [] : null;
    },
  };
}

/** A PRODUCE equal to the one before it gets the same answer and is not stored. */
function dedupePlain(): Mutation {
  return {
    request(frame, link) {
      if (!isOp(frame, 'PRODUCE') || isResponse(frame)) return null;
      const before = link.memory.get('last') as { payload: Buffer; answer: Buffer | null } | undefined;
      if (before?.answer && before.payload.equals(frame.payload)) {
        const again = Buffer.from(before.answer);
        again.writeUInt32BE(frame.id, 8);
        return answerInstead(link, again);
      }
      link.memory.set('last', { payload: frame.payload, answer: null });
      return null;
    },
    answer(frame, link) {
      const last = link.memory.get('last') as { answer: Buffer | null } | undefined;
      if (last && isOp(frame, 'PRODUCE')) last.answer = reframe(frame);
      return null;
    },
  };
}

function refuseIf(error: string, wrong: (frame: Frame, fields: Fields) => boolean): Mutation {
  return onRequest((frame, link) => {
    const name = opName(frame.op);
    if (name === undefined || isResponse(frame) || isGoaway(frame)) return null;
    const fields = decodeSafely(name, frame);
    return fields !== null && wrong(frame, fields) ? answerInstead(link, errorFrame(frame.op, frame.id, error)) : null;
  });
}

const unknownTlv = (fields: Fields, frame: Frame): boolean => {
  const known = layoutOf(opName(frame.op)!).tlvs;
  return (fields.ext as Tlv[] | undefined)?.some(({ type }) => (type & CRITICAL) === 0 && known[type] === undefined) === true;
};

/** At most so many FETCHes may wait on a connection. */
function fewWaits(limit: number): Mutation {
  return onRequest((frame, link) => {
    if (!isOp(frame, 'FETCH') || isResponse(frame)) return null;
    const waiting = [...link.open.values()].filter(({ op }) => op === LAYOUTS.FETCH.op).length;
    return waiting > limit ? answerInstead(link, errorFrame(frame.op, frame.id, 'TOO_MANY_INFLIGHT')) : null;
  });
}

function floodLimit(limit: number): Mutation {
  return onRequest((frame, link) => {
    if (!isResponse(frame) && !isOp(frame, 'CANCEL') && !isOp(frame, 'CREDIT')) return null;
    const n = ((link.memory.get('flood') as number | undefined) ?? 0) + 1;
    link.memory.set('flood', n);
    if (n !== limit) return null;
    link.toClient(goawayFrame('CONTROL_FLOOD'));
    link.endClient();
    return [];
  });
}

const simple = (request: NonNullable<Mutation['request']>): MakeMutation => () => ({ request });

export const requestMutations: Readonly<Record<string, MakeMutation>> = {
  strip,
  swallow,
  'cancel-answers-create': () => cancelLies('CREATE_LOG'),
  'cancel-answers-produce': () => cancelLies('PRODUCE'),
  'dedupe-plain': dedupePlain,
  'accept-waits': (limit) => fewWaits(Number(limit)),
  'flood-limit': (limit) => floodLimit(Number(limit)),
  deaf: (op) => onRequest((frame) => (isOp(frame, op as OpName) && !isResponse(frame) ? [] : null)),
  'answer-to': (op) => onRequest((frame, link) => {
    if (isOp(frame, op as OpName) && !isResponse(frame)) link.toClient(buildFrame({ op: frame.op, id: frame.id, flags: 1, payload: Buffer.alloc(2) }));
    return null;
  }),
  'strip-restore': () => onRequest((frame) => (isOp(frame, 'CREATE_LOG') || isOp(frame, 'LIST_LOGS')
    ? editRequest(frame, (fields) => Object.assign(fields, { ext: (fields.ext as Tlv[]).filter(({ type }) => (type & ~CRITICAL) !== 3) })) : null)),
  'request-expected-none': () => edit(null, (fields) => {
    if ('expected_offset' in fields) fields.expected_offset = NONE;
    if ('expected' in fields) fields.expected = NONE;
  }),
  'request-fence-none': () => edit('PRODUCE', (fields) => Object.assign(fields, { fence: 0n })),
  'request-from-earliest': () => edit(null, (fields) => {
    if ('from' in fields) fields.from = 1;
  }),
  'request-plain-producer': () => edit('PRODUCE', (fields) => {
    const batch = fields.batch as Buffer;
    if (batch.length >= 72) fields.batch = editBatch(batch, (copy) => copy.fill(0, 54, 72));
  }),
  'ignore-max-bytes': () => edit('FETCH', (fields) => Object.assign(fields, { max_bytes: 0xffff_ffff })),
  'fetch-no-wait': () => edit('FETCH', (fields) => Object.assign(fields, { max_wait_ms: 0 })),
  'fetch-wait-min': () => edit('FETCH', (fields) => {
    if ((fields.max_wait_ms as number) > 0) Object.assign(fields, { min_bytes: 0xffff_ffff, max_bytes: 0xffff_ffff });
  }),
  'credit-infinite': () => edit('SUBSCRIBE', (fields) => Object.assign(fields, { credit_bytes: 0x7fff_ffff })),
  'credit-doubled': () => edit(null, (fields) => {
    if ('credit_bytes' in fields) fields.credit_bytes = Math.min(2 * (fields.credit_bytes as number), 0x7fff_ffff);
    if ('add_bytes' in fields) fields.add_bytes = 2 * (fields.add_bytes as number);
  }),
  'raise-max-frame': () => edit('HELLO', (fields) => Object.assign(fields, { max_frame: 64 << 20 })),
  'lower-case-names': () => edit(null, (fields) => {
    if (typeof fields.log === 'string') fields.log = fields.log.toLowerCase();
  }),
  'refuse-ext': () => refuseIf('UNSUPPORTED_FEATURE', (frame, fields) => unknownTlv(fields, frame)),
  'refuse-stamps': () => refuseIf('CORRUPT_BATCH', (_frame, { batch }) => Buffer.isBuffer(batch) && batch.length >= 72 && batch.readBigUInt64BE(8) !== 0n),
  'refuse-unused': simple((frame, link) => {
    // Read by hand: a value that is not used may be no u64 at all.
    if (!isOp(frame, 'FETCH') || frame.payload.length < 12) return null;
    const at = 2 + frame.payload.readUInt16BE(0);
    const unused = frame.payload[at] === 1 || frame.payload[at] === 2;
    return unused && frame.payload.readBigUInt64BE(at + 2) !== 0n ? answerInstead(link, errorFrame(frame.op, frame.id, 'INVALID_ARGUMENT')) : null;
  }),
  'timeout-for-long': () => refuseIf('TIMEOUT', (frame, fields) => isOp(frame, 'PRODUCE') && (fields.timeout_ms as number) > 600_000),
  'reject-frame-flags': simple((frame, link) => {
    if (isResponse(frame) || (frame.flags & 0xc2) === 0) return null;
    link.toClient(goawayFrame('MALFORMED'));
    link.endClient();
    return [];
  }),
  'clear-frame-flags': simple((frame) => [reframe(frame, { flags: frame.flags & 0x03 })]),
  'goaway-id-malformed': simple((frame) => (isGoaway(frame) && (frame.id !== 0 || decodeSafely('GOAWAY', frame) === null) ? [] : null)),
  'drop-answers-of-client': simple((frame) => (isResponse(frame) ? [] : null)),
  'echo-responses': simple((frame, link) => {
    if (isResponse(frame)) link.toClient(reframe(frame));
    return null;
  }),
  'ping-from-afar': simple((frame, link) => (isOp(frame, 'PING') && !isResponse(frame)
    ? answerInstead(link, buildFrame({ op: frame.op, id: frame.id, flags: 1, payload: frame.payload })) : null)),
  'end-on-big-frame': simple((frame, link) => {
    if (frame.length > 1 << 20) link.endClient();
    return null;
  }),
};
