// Mutations of answers: errors with another code, class or TLV, fields that are off, answers that
// come twice, late, for another request, or not at all.
import { LAYOUTS, opName } from '../wire/layouts.ts';
import type { OpName, Tlv } from '../wire/layouts.ts';
import { TLV_NUMBER, errorByName } from '../wire/errors.ts';
import type { TlvName } from '../wire/errors.ts';
import { buildFrame } from '../wire/frame.ts';
import type { Frame } from '../wire/frame.ts';
import type { Link, Mutation } from './proxy.ts';
import { altered, editError, editOk, errorFrame, isError, isFatalGoaway, isGoaway, isOk, isOp, isResponse, okFrame, reframe } from './reframe.ts';
import type { Fields } from './reframe.ts';

export type MakeMutation = (argument: string) => Mutation;

const onAnswer = (answer: NonNullable<Mutation['answer']>): Mutation => ({ answer });
const INTERNAL = errorByName('INTERNAL');

/** Rewrites one code to INTERNAL, in answers and GOAWAYs. */
function otherStatus(name: string): Mutation {
  const { code } = errorByName(name);
  return onAnswer((frame) => {
    if (isGoaway(frame) && frame.payload.readUInt16BE(0) === code) {
      return editError(frame, (fields) => Object.assign(fields, { code: INTERNAL.code, class: (fields.class as number) & 4 | INTERNAL.class, ext: [] }));
    }
    if (!isError(frame) || frame.status !== code) return null;
    const [bytes] = editError(frame, (fields) => Object.assign(fields, { class: INTERNAL.class, ext: [] })) ?? [];
    if (bytes === undefined) return null;
    bytes.writeUInt16BE(INTERNAL.code, 6);
    return [bytes];
  });
}

/** Turns one error into an OK that says nothing. */
function accepted(name: string): Mutation {
  const { code } = errorByName(name);
  return onAnswer((frame) => (isError(frame) && frame.status === code ? [okFrame(frame.op, frame.id)] : null));
}

function changeTlvs(frame: Frame, change: (tlvs: Tlv[]) => Tlv[]): Buffer[] | null {
  return editError(frame, (fields) => Object.assign(fields, { ext: change(fields.ext as Tlv[]) }));
}

function wrongTlv(name: string): Mutation {
  const type = TLV_NUMBER[name as TlvName];
  return onAnswer((frame) => changeTlvs(frame, (tlvs) => tlvs.map((tlv) => (tlv.type === type ? { type, value: altered(tlv.value) as Buffer } : tlv))));
}

function withoutTlv(name: string): Mutation {
  const type = TLV_NUMBER[name as TlvName];
  return onAnswer((frame) => changeTlvs(frame, (tlvs) => tlvs.filter((tlv) => tlv.type !== type)));
}

/** `OP.field` of every OK answer is off. */
function wrongField(argument: string): Mutation {
  const [op, field] = argument.split('.') as [OpName, string];
  return onAnswer((frame) => (isOp(frame, op) ? editOk(frame, (fields) => Object.assign(fields, { [field]: altered(fields[field]) })) : null));
}

/** `OP.field` of every OK answer is zero or empty. */
function zeroField(argument: string): Mutation {
  const [op, field] = argument.split('.') as [OpName, string];
  return onAnswer((frame) => (isOp(frame, op) ? editOk(frame, (fields) => Object.assign(fields, { [field]: undefined })) : null));
}

/** `OP.field` of every OK answer is 1. */
function oneField(argument: string): Mutation {
  const [op, field] = argument.split('.') as [OpName, string];
  return onAnswer((frame) => (isOp(frame, op) ? editOk(frame, (fields) => Object.assign(fields, { [field]: typeof fields[field] === 'bigint' ? 1n : 1 })) : null));
}

function editExt(edit: (ext: Tlv[], asksUid: boolean) => Tlv[]): Mutation {
  return onAnswer((frame, _link, asked) => {
    const asksUid = asked !== undefined && asked.payload.includes(Buffer.from('00020010', 'hex')) || asked?.payload.includes(Buffer.from('80020010', 'hex')) === true;
    return editOk(frame, (fields) => Object.assign(fields, { ext: edit(fields.ext as Tlv[], asksUid) }));
  });
}

const hasUid = (tlv: Tlv): boolean => (tlv.type & 0x7fff) === 2;
const UID_OPS: readonly OpName[] = ['CREATE_LOG', 'DESCRIBE_LOG', 'INIT_PRODUCER', 'PRODUCE', 'FENCE', 'FETCH', 'SUBSCRIBE', 'GET_POSITION'];

/** Answers leave in the order of the requests: one that waits holds up all behind it. */
function inOrderOnly(): Mutation {
  const state = (link: Link): { order: number[]; ready: Map<number, Buffer[]> } => {
    let held = link.memory.get('order') as { order: number[]; ready: Map<number, Buffer[]> } | undefined;
    if (held === undefined) link.memory.set('order', (held = { order: [], ready: new Map() }));
    return held;
  };
  return {
    request(frame, link) {
      if (!isResponse(frame) && ![0x04, 0x05, 0x32].includes(frame.op)) state(link).order.push(frame.id);
      return null;
    },
    answer(frame, link) {
      if (!isResponse(frame)) return null;
      const { order, ready } = state(link);
      ready.set(frame.id, [...(ready.get(frame.id) ?? []), reframe(frame)]);
      const out: Buffer[] = [];
      // A subscription stays open: everything behind it waits.
      while (order.length > 0 && ready.has(order[0]!)) {
        const bytes = ready.get(order[0]!)!;
        ready.delete(order[0]!);
        out.push(...bytes);
        if ((bytes.at(-1)![5]! & 2) !== 0) break;
        order.shift();
      }
      return out;
    },
  };
}

/** Holds the first of two PRODUCE answers back until the second has left. */
function swapped(): Mutation {
  return onAnswer((frame, link) => {
    if (!isOp(frame, 'PRODUCE') || !isResponse(frame)) return null;
    const held = link.memory.get('held') as Buffer | undefined;
    link.memory.delete('held');
    if (held !== undefined) return [reframe(frame), held];
    if (link.open.size === 0) return null;
    link.memory.set('held', reframe(frame));
    return [];
  });
}

/** The first answer to a request is given again to every equal request of the process. */
function stale(op: string): Mutation {
  const seen = new Map<string, Buffer>();
  return onAnswer((frame, _link, asked) => {
    if (!isOp(frame, op as OpName) || !isOk(frame) || asked === undefined) return null;
    const key = op === 'FETCH' ? asked.payload.toString('hex', 0, 2 + asked.payload.readUInt16BE(0)) : asked.payload.toString('hex');
    const before = seen.get(key);
    if (before === undefined) {
      seen.set(key, frame.payload);
      return null;
    }
    return [reframe(frame, { payload: before })];
  });
}

function listOff(how: string): Mutation {
  return onAnswer((frame) => {
    if (!isOp(frame, 'LIST_LOGS') && !isOp(frame, 'LIST_POSITIONS')) return null;
    return editOk(frame, (fields: Fields) => {
      const key = 'logs' in fields ? 'logs' : 'positions';
      const items = fields[key] as Fields[];
      if (how === 'drop-last') fields[key] = items.slice(0, -1);
      else if (how === 'reverse') fields[key] = [...items].reverse();
      else if (items.length > 0) fields[key] = [...items, items.at(-1)!];
    });
  });
}

/** The last frames of an answer in several parts are lost, and MORE with them. */
function moreLost(): Mutation {
  return onAnswer((frame, link) => {
    if (!isOp(frame, 'LIST_LOGS') && !isOp(frame, 'LIST_POSITIONS')) return null;
    const cut = (link.memory.get('cut') ?? new Set()) as Set<number>;
    link.memory.set('cut', cut);
    if (cut.has(frame.id)) return [];
    if ((frame.flags & 2) === 0) return null;
    cut.add(frame.id);
    return [reframe(frame, { flags: frame.flags & ~2 })];
  });
}

function afterEffect(): Mutation {
  return onAnswer((frame) => (isOp(frame, 'PRODUCE') && isOk(frame) ? [errorFrame(frame.op, frame.id, 'STORAGE_FULL')] : null));
}

function endOn(name: string): Mutation {
  const { code } = errorByName(name);
  return onAnswer((frame, link) => {
    if (!isError(frame) || frame.status !== code) return null;
    setImmediate(() => link.endClient());
    return null;
  });
}

const simple = (answer: NonNullable<Mutation['answer']>): MakeMutation => () => ({ answer });

export const answerMutations: Readonly<Record<string, MakeMutation>> = {
  status: otherStatus,
  accept: accepted,
  tlv: wrongTlv,
  'no-tlv': withoutTlv,
  answer: wrongField,
  'answer-zero': zeroField,
  'answer-one': oneField,
  list: listOff,
  stale,
  'end-on': endOn,
  'more:lost': moreLost,
  'in-order-only': inOrderOnly,
  'swap-produce-answers': swapped,
  'status-after-effect': afterEffect,
  'error-for': (op) => onAnswer((frame) => (isOp(frame, op as OpName) && isOk(frame) ? [errorFrame(frame.op, frame.id, 'INTERNAL')] : null)),
  'drop-answer': (op) => onAnswer((frame) => (isOp(frame, op as OpName) && isResponse(frame) ? [] : null)),
  twice: (op) => onAnswer((frame) => (isOp(frame, op as OpName) && isResponse(frame) ? [reframe(frame), reframe(frame)] : null)),
  'more-on': (op) => onAnswer((frame) => (isOp(frame, op as OpName) && isOk(frame) ? [reframe(frame, { flags: frame.flags | 2 })] : null)),
  'answer-trailing': (op) => onAnswer((frame) => (isOp(frame, op as OpName) && isOk(frame) ? [reframe(frame, { payload: Buffer.concat([frame.payload, Buffer.alloc(1)]) })] : null)),
  'answer-u64-huge': (op) => onAnswer((frame) => (isOp(frame, op as OpName) ? editOk(frame, (fields) => Object.assign(fields, { append_time: 1n << 60n })) : null)),
  'answer-id': simple((frame) => (isResponse(frame) && frame.id >= 0x8000_0000 ? [reframe(frame, { id: frame.id & 0x7fff_ffff })] : null)),
  'answer-op': simple((frame) => (isOp(frame, 'DESCRIBE_CLUSTER') && isResponse(frame) ? [reframe(frame, { op: 0x13 })] : null)),
  'answer-small-max-batch': simple((frame) => (isOp(frame, 'HELLO') ? editOk(frame, (fields) => Object.assign(fields, { max_batch: 65_536 })) : null)),
  'answer-ext': () => editExt((ext) => ext.map((tlv) => (hasUid(tlv) ? { ...tlv, value: altered(tlv.value) as Buffer } : tlv))),
  'no-uid-in-answers': () => editExt((ext) => ext.filter((tlv) => !hasUid(tlv))),
  'uid-always': simple((frame, _link, asked) => {
    const name = opName(frame.op);
    if (asked === undefined || name === undefined || !UID_OPS.includes(name)) return null;
    return editOk(frame, (fields) => {
      const ext = fields.ext as Tlv[];
      if (!ext.some(hasUid)) fields.ext = [...ext, { type: 2, value: Buffer.alloc(16, 1) }];
    });
  }),
  'critical-in-answers': () => editExt((ext) => [...ext, { type: 0x8a0a, value: Buffer.alloc(0) }]),
  'strange-tlv': () => editExt((ext) => [...ext, { type: 0x0055, value: Buffer.alloc(0) }]),
  'strange-flag': simple((frame) => (isOk(frame) ? [reframe(frame, { flags: frame.flags | 0x40 })] : null)),
  'class-flip': simple((frame) => editError(frame, (fields) => Object.assign(fields, { class: (fields.class as number) ^ 1 }))),
  'clear-fatal': simple((frame) => (isError(frame) && isOp(frame, 'HELLO') ? editError(frame, (fields) => Object.assign(fields, { class: (fields.class as number) & ~4 })) : null)),
  'fatal-answers': simple((frame) => (isError(frame) && !isOp(frame, 'HELLO') ? editError(frame, (fields) => Object.assign(fields, { class: (fields.class as number) | 4 })) : null)),
  'error-empty': simple((frame) => (isError(frame) ? [reframe(frame, { payload: Buffer.alloc(0) })] : null)),
  'error-trailing': simple((frame) => (isError(frame) ? [reframe(frame, { payload: Buffer.concat([frame.payload, Buffer.alloc(1)]) })] : null)),
  'unknown-status': simple((frame) => (isError(frame) && frame.status === 202 ? [reframe(frame, { status: 999 })] : null)),
  'message-tells-payload': simple((frame, _link, asked) => (isError(frame) && asked !== undefined
    ? editError(frame, (fields) => Object.assign(fields, { message: `wrong: ${asked.payload.toString('latin1').replace(/[^\x20-\x7e]/g, '.')}` })) : null)),
  'hold-first-answer': simple((frame, link) => {
    if (isOp(frame, 'HELLO') && isResponse(frame)) {
      link.memory.set('hello', reframe(frame));
      return [];
    }
    const hello = link.memory.get('hello') as Buffer | undefined;
    link.memory.delete('hello');
    return hello === undefined ? null : [reframe(frame), hello];
  }),
  'deliver-without-more': simple((frame) => (isOp(frame, 'DELIVER') && isOk(frame) ? [reframe(frame, { flags: frame.flags & ~2 })] : null)),
  'final-deliver-more': simple((frame) => (isOp(frame, 'DELIVER') && isError(frame) ? [reframe(frame, { flags: frame.flags | 2 })] : null)),
  'deliver-empty': simple((frame, link) => {
    if (!isOp(frame, 'DELIVER') || !isOk(frame) || link.memory.has('empty')) return null;
    link.memory.set('empty', true);
    return [reframe(frame, { payload: frame.payload.subarray(0, 10) }), reframe(frame)];
  }),
  'no-server-ping': simple((frame) => (isOp(frame, 'PING') && !isResponse(frame) ? [] : null)),
  'goaway-dropped': simple((frame) => (isGoaway(frame) ? [] : null)),
  'frame-after-goaway': simple((frame) => (isFatalGoaway(frame) ? [reframe(frame), buildFrame({ op: LAYOUTS.PING.op, id: 1, flags: 1, payload: Buffer.alloc(6) })] : null)),
  'reset-on-goaway': () => ({
    request(frame, link) {
      if (frame.id === 0 && !isGoaway(frame)) link.stopReading();
      return null;
    },
    answer(frame, link) {
      if (!isFatalGoaway(frame)) return null;
      link.resetClient(reframe(frame));
      return [];
    },
  }),
  'end-all-on-broken': simple((frame, link) => {
    if (!isFatalGoaway(frame)) return null;
    for (const other of link.proxy.links) other.destroy();
    return [];
  }),
  'produce-lost-is-not-found': simple((frame, link) => (isOp(frame, 'PRODUCE') && isOk(frame) && [...link.open.values()].some(({ op }) => op === LAYOUTS.DELETE_LOG.op)
    ? [errorFrame(frame.op, frame.id, 'LOG_NOT_FOUND')] : null)),
  'goaway-drops-answers': () => ({
    request(frame, link) {
      if (isGoaway(frame)) link.memory.set('gone', true);
      return null;
    },
    answer(frame, link) {
      if (isGoaway(frame)) link.memory.set('gone', true);
      return link.memory.get('gone') === true && isResponse(frame) ? [] : null;
    },
  }),
};

