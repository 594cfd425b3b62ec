// Numbers of protocol v1 §3 and §4: operations, frame flags, planes, and the small codes inside
// requests. Only names for numbers; the layouts are in requests-*.ts and responses-*.ts.

export const Op = {
  HELLO: 0x01,
  AUTH: 0x02,
  PING: 0x03,
  GOAWAY: 0x04,
  CANCEL: 0x05,
  DESCRIBE_CLUSTER: 0x10,
  CREATE_LOG: 0x11,
  DELETE_LOG: 0x12,
  DESCRIBE_LOG: 0x13,
  LIST_LOGS: 0x14,
  TRIM: 0x15,
  ALTER_LOG: 0x16,
  TRANSFER_LEADER: 0x17,
  REMOVE_NODE: 0x18,
  PRODUCE: 0x20,
  INIT_PRODUCER: 0x21,
  FENCE: 0x22,
  FETCH: 0x30,
  SUBSCRIBE: 0x31,
  CREDIT: 0x32,
  DELIVER: 0x33,
  FIND_OFFSET: 0x34,
  PUT_POSITION: 0x35,
  GET_POSITION: 0x36,
  LIST_POSITIONS: 0x37,
  /** Never assigned; sent now and then so that nobody treats unknown ops as fatal. */
  GREASE: 0x7f,
} as const;
export type Op = (typeof Op)[keyof typeof Op];

/** Peer-plane ops: not allowed on plane C. */
export const OP_PEER_FIRST = 0x60;
export const OP_PEER_LAST = 0x6f;

const OP_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(Op).map(([name, op]) => [op, name]));

/** Name of an op for messages and metrics; `OP_7e` for one we do not know. */
export function opName(op: number): string {
  return OP_NAMES.get(op) ?? `OP_${op.toString(16).padStart(2, '0')}`;
}

export const FLAG_RESPONSE = 0x01;
export const FLAG_MORE = 0x02;
/** Reserved and critical: set → MALFORMED. */
export const FLAGS_RESERVED = 0x3c;

/** FA "SLG", as a u32. */
export const PREFACE_MAGIC = 0xfa53_4c47;
export const PLANE_CLIENT = 0x43;
export const PLANE_RAFT_CONTROL = 0x52;
export const PLANE_RAFT_BULK = 0x42;
export const PLANE_GOSSIP = 0x47;
export const MAJOR_VERSION = 1;
export const MINOR_VERSION = 0;

/** PRODUCE request flags. */
export const PRODUCE_NO_FORWARD = 1;
/** PRODUCE answer flags. */
export const PRODUCE_DUPLICATE = 1;
/** FETCH request flags. */
export const FETCH_LINEARIZABLE = 1;
/** REMOVE_NODE request flags. */
export const REMOVE_NODE_FORCE = 1;

/** Where a read starts. */
export const From = { OFFSET: 0, EARLIEST: 1, NEXT: 2, TIME: 3, POSITION: 4 } as const;
export type From = (typeof From)[keyof typeof From];

export const Durability = { FSYNC: 1, INTERVAL: 2, MEMORY: 3 } as const;
export type Durability = (typeof Durability)[keyof typeof Durability];

export const Role = { VOTER: 1, LEARNER: 2 } as const;
export type Role = (typeof Role)[keyof typeof Role];

export const NodeState = { ALIVE: 1, SUSPECT: 2, DEAD: 3, LEFT: 4 } as const;
export type NodeState = (typeof NodeState)[keyof typeof NodeState];

/** Bits 0–3 of a batch's attributes. */
export const Compression = { NONE: 0, GZIP: 1, ZSTD: 2 } as const;
export type Compression = (typeof Compression)[keyof typeof Compression];

/** Compressions a log accepts unless its settings say otherwise, as a mask (bit n = compression n). */
export const COMPRESSIONS_DEFAULT = (1 << Compression.NONE) | (1 << Compression.GZIP);
