// What a server's client plane does with each op number, as one table: a frame's kind is known from
// its header alone (protocol §3, §4).
import { Op, OP_PEER_FIRST, OP_PEER_LAST } from '../ops.ts';

export const OpKind = {
  /** Answered UNKNOWN_OP; the connection stays. */
  UNKNOWN: 0,
  /** Goes to the service. */
  REQUEST: 1,
  /** The session's own: HELLO, AUTH, PING, GOAWAY. */
  SESSION: 2,
  /** About an open request: CREDIT, CANCEL. */
  ABOUT: 3,
  /** Peer planes' or only ever sent by a server: fatal on plane C. */
  FORBIDDEN: 4,
} as const;
export type OpKind = (typeof OpKind)[keyof typeof OpKind];

const KINDS = new Uint8Array(256);
for (const op of Object.values(Op)) {
  if (op >= Op.DESCRIBE_CLUSTER && op <= Op.LIST_POSITIONS) KINDS[op] = OpKind.REQUEST;
}
KINDS[Op.HELLO] = KINDS[Op.AUTH] = KINDS[Op.PING] = KINDS[Op.GOAWAY] = OpKind.SESSION;
KINDS[Op.CANCEL] = KINDS[Op.CREDIT] = OpKind.ABOUT;
KINDS[Op.DELIVER] = OpKind.FORBIDDEN;
KINDS.fill(OpKind.FORBIDDEN, OP_PEER_FIRST, OP_PEER_LAST + 1);

/** `op` is a u8. */
export function opKind(op: number): OpKind {
  return KINDS[op] as OpKind;
}
