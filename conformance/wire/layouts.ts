// The layouts of docs/protocol.md as data: every operation's request and response, field by field.
// One table drives the encoder, the strict decoder, the trace, the generic cases and the proxy, so
// that no layout is written twice. Knows nothing of sockets or of what a field means.

export type Scalar = 'u8' | 'u16' | 'u32' | 'u64' | 'u64n' | 'id16' | 'str' | 'bytes' | 'reserved';
/** `u64n` is "u64 or NONE"; `batch` and `batches` run to the end of the frame; `strings` is a list of str. */
export type FieldType = Scalar | 'strings' | 'ext' | 'batch' | 'batches' | 'logs' | 'nodes' | 'replicas' | 'positions';
export type Field = readonly [name: string, type: FieldType];
export type Profile =
  | 'core' | 'tls' | 'idempotence' | 'conditional' | 'streaming' | 'durability' | 'http' | 'peer-refusal' | 'auth' | 'cluster';

export interface OpLayout {
  readonly op: number;
  readonly profile: Profile;
  readonly request: readonly Field[];
  readonly response: readonly Field[];
  /** Known TLV types of the request: number → name and value kind. */
  readonly tlvs: Readonly<Record<number, readonly [name: string, kind: 'id16' | 'u64' | 'empty']>>;
  /** The OK answer carries the TLV log_uid when the request did not (SL-LOG-7). */
  readonly answersUid?: true;
}

const UID = { 2: ['log_uid', 'id16'] } as const;
const READ_TLVS = { 1: ['after', 'u64'], 2: ['log_uid', 'id16'], 3: ['prev_term', 'u64'] } as const;
const EXT = ['ext', 'ext'] as const;
const LOG = ['log', 'str'] as const;

/** The entry LOG of DESCRIBE_LOG and LIST_LOGS. */
export const LOG_FIELDS = [
  LOG, ['log_uid', 'id16'], ['log_start', 'u64'], ['committed_end', 'u64'], ['fence', 'u64'], ['bytes', 'u64'],
  ['created', 'u64'], ['term', 'u64'], ['leader', 'str'], ['replicas', 'replicas'], ['durability', 'u8'],
  ['replication', 'u8'], ['interval_ms', 'u32'], ['retain_bytes', 'u64'], ['retain_ms', 'u64'],
  ['segment_bytes', 'u64'], ['compressions', 'u8'],
] as const;
export const NODE_FIELDS = [
  ['node', 'str'], ['node_id', 'id16'], ['address', 'str'], ['state', 'u8'], ['role', 'u8'], ['zone', 'str'], ['version', 'str'],
] as const;
export const REPLICA_FIELDS = [['node', 'str'], ['role', 'u8']] as const;
export const POSITION_FIELDS = [['name', 'str'], ['offset', 'u64'], ['updated', 'u64']] as const;
/** The payload of every answer whose status is not 0 (§11). */
export const ERROR_FIELDS = [
  ['class', 'u8'], ['reserved', 'reserved'], ['retry_after_ms', 'u32'], ['message', 'str'], EXT,
] as const;

export const LAYOUTS = {
  HELLO: {
    op: 0x01, profile: 'core', tlvs: {},
    request: [['minor', 'u16'], ['max_frame', 'u32'], ['idle_ms', 'u32'], ['features', 'u64'], ['cluster_id', 'id16'], ['client', 'str'], EXT],
    response: [['minor', 'u16'], ['max_frame', 'u32'], ['idle_ms', 'u32'], ['features', 'u64'], ['cluster_id', 'id16'], ['node', 'str'],
      ['max_batch', 'u32'], ['max_inflight', 'u16'], ['auth_required', 'u8'], ['server', 'str'], ['auth_mechs', 'strings'], EXT],
  },
  AUTH: {
    op: 0x02, profile: 'core', tlvs: {},
    request: [['mech', 'str'], ['data', 'bytes'], EXT],
    response: [['done', 'u8'], ['data', 'bytes'], EXT],
  },
  PING: { op: 0x03, profile: 'core', tlvs: {}, request: [['data', 'bytes'], EXT], response: [['data', 'bytes'], EXT] },
  GOAWAY: {
    op: 0x04, profile: 'core', tlvs: {},
    request: [['code', 'u16'], ['class', 'u8'], ['reserved', 'reserved'], ['grace_ms', 'u32'], ['message', 'str'], EXT],
    response: [],
  },
  CANCEL: { op: 0x05, profile: 'core', tlvs: {}, request: [EXT], response: [] },
  DESCRIBE_CLUSTER: {
    op: 0x10, profile: 'core', tlvs: {}, request: [EXT],
    response: [['cluster_id', 'id16'], ['term', 'u64'], ['catalog_leader', 'str'], ['nodes', 'nodes'], EXT],
  },
  CREATE_LOG: {
    op: 0x11, profile: 'core', tlvs: { 3: ['restore_uid', 'id16'] }, answersUid: true,
    request: [LOG, ['durability', 'u8'], ['replication', 'u8'], ['interval_ms', 'u32'], ['retain_bytes', 'u64'], ['retain_ms', 'u64'],
      ['segment_bytes', 'u64'], ['compressions', 'u8'], EXT],
    response: [['log_uid', 'id16'], EXT],
  },
  DELETE_LOG: { op: 0x12, profile: 'core', tlvs: UID, request: [LOG, EXT], response: [EXT] },
  DESCRIBE_LOG: { op: 0x13, profile: 'core', tlvs: UID, answersUid: true, request: [LOG, EXT], response: [...LOG_FIELDS, EXT] },
  LIST_LOGS: { op: 0x14, profile: 'core', tlvs: { 3: ['trash', 'empty'] }, request: [['prefix', 'str'], EXT], response: [['logs', 'logs'], EXT] },
  TRIM: { op: 0x15, profile: 'core', tlvs: UID, request: [LOG, ['offset', 'u64'], EXT], response: [['log_start', 'u64'], EXT] },
  ALTER_LOG: {
    op: 0x16, profile: 'core', tlvs: UID,
    request: [LOG, ['retain_bytes', 'u64n'], ['retain_ms', 'u64n'], ['replication', 'u8'], ['compressions', 'u8'], EXT],
    response: [EXT],
  },
  TRANSFER_LEADER: {
    op: 0x17, profile: 'cluster', tlvs: UID, request: [LOG, ['node', 'str'], EXT],
    response: [['leader', 'str'], ['term', 'u64'], EXT],
  },
  REMOVE_NODE: { op: 0x18, profile: 'cluster', tlvs: {}, request: [['node', 'str'], ['flags', 'u8'], EXT], response: [EXT] },
  PRODUCE: {
    op: 0x20, profile: 'core', tlvs: UID, answersUid: true,
    request: [LOG, ['flags', 'u8'], ['reserved', 'reserved'], ['timeout_ms', 'u32'], ['expected_offset', 'u64n'], ['fence', 'u64'], EXT, ['batch', 'batch']],
    response: [['base_offset', 'u64n'], ['next_offset', 'u64n'], ['append_time', 'u64'], ['term', 'u64'], ['durability', 'u8'], ['copies', 'u8'],
      ['flags', 'u8'], ['reserved', 'reserved'], EXT],
  },
  INIT_PRODUCER: {
    op: 0x21, profile: 'idempotence', tlvs: UID, answersUid: true, request: [LOG, ['name', 'str'], EXT],
    response: [['producer_id', 'u64'], ['epoch', 'u16'], ['next_seq', 'u64'], ['window', 'u16'], EXT],
  },
  FENCE: {
    op: 0x22, profile: 'conditional', tlvs: UID, answersUid: true, request: [LOG, ['token', 'u64'], EXT],
    response: [['token', 'u64'], ['next_offset', 'u64'], EXT],
  },
  FETCH: {
    op: 0x30, profile: 'core', tlvs: READ_TLVS, answersUid: true,
    request: [LOG, ['from', 'u8'], ['flags', 'u8'], ['value', 'u64'], ['position_name', 'str'], ['min_bytes', 'u32'], ['max_bytes', 'u32'],
      ['max_wait_ms', 'u32'], EXT],
    response: [['start_offset', 'u64'], ['log_start', 'u64'], ['committed_end', 'u64'], EXT, ['batches', 'batches']],
  },
  SUBSCRIBE: {
    op: 0x31, profile: 'streaming', tlvs: READ_TLVS, answersUid: true,
    request: [LOG, ['from', 'u8'], ['reserved', 'reserved'], ['value', 'u64'], ['position_name', 'str'], ['credit_bytes', 'u32'], EXT],
    response: [['start_offset', 'u64'], ['log_start', 'u64'], ['committed_end', 'u64'], EXT],
  },
  CREDIT: { op: 0x32, profile: 'streaming', tlvs: {}, request: [['add_bytes', 'u32'], EXT], response: [] },
  DELIVER: { op: 0x33, profile: 'streaming', tlvs: {}, request: [], response: [['committed_end', 'u64'], EXT, ['batches', 'batches']] },
  FIND_OFFSET: {
    op: 0x34, profile: 'core', tlvs: UID, request: [LOG, ['time', 'u64'], EXT],
    response: [['offset', 'u64'], ['log_start', 'u64'], ['committed_end', 'u64'], EXT],
  },
  PUT_POSITION: {
    op: 0x35, profile: 'conditional', tlvs: UID, request: [LOG, ['name', 'str'], ['offset', 'u64n'], ['expected', 'u64n'], EXT],
    response: [['offset', 'u64n'], EXT],
  },
  GET_POSITION: {
    op: 0x36, profile: 'conditional', tlvs: UID, answersUid: true, request: [LOG, ['name', 'str'], EXT],
    response: [['offset', 'u64'], EXT],
  },
  LIST_POSITIONS: {
    op: 0x37, profile: 'conditional', tlvs: UID, request: [LOG, EXT], response: [['positions', 'positions'], EXT],
  },
} as const satisfies Record<string, OpLayout>;

export type OpName = keyof typeof LAYOUTS;
export const OP_NAMES = Object.keys(LAYOUTS) as OpName[];

const BY_OP = new Map<number, OpName>(OP_NAMES.map((name) => [LAYOUTS[name].op, name]));

export function opName(op: number): OpName | undefined {
  return BY_OP.get(op);
}

export function layoutOf(name: OpName): OpLayout {
  return LAYOUTS[name];
}

type ValueOf<T> =
  T extends 'u8' | 'u16' | 'u32' | 'reserved' ? number
  : T extends 'u64' | 'u64n' ? bigint
  : T extends 'id16' | 'bytes' | 'batch' ? Buffer
  : T extends 'str' ? string
  : T extends 'strings' ? string[]
  : T extends 'ext' ? Tlv[]
  : T extends 'batches' ? Buffer
  : T extends 'logs' ? FieldsOf<typeof LOG_FIELDS>[]
  : T extends 'nodes' ? FieldsOf<typeof NODE_FIELDS>[]
  : T extends 'replicas' ? FieldsOf<typeof REPLICA_FIELDS>[]
  : T extends 'positions' ? FieldsOf<typeof POSITION_FIELDS>[]
  : never;

export type FieldsOf<L extends readonly Field[]> = { [F in L[number] as F[0]]: ValueOf<F[1]> };
export type RequestOf<K extends OpName> = FieldsOf<(typeof LAYOUTS)[K]['request']>;
export type ResponseOf<K extends OpName> = FieldsOf<(typeof LAYOUTS)[K]['response']>;
/** What an encoder takes: missing fields are zero or empty; a str may be raw bytes, to send bad UTF-8. */
export type InputOf<K extends OpName> = { [F in keyof RequestOf<K>]?: RequestOf<K>[F] extends string ? string | Buffer : RequestOf<K>[F] };
export type LogEntry = FieldsOf<typeof LOG_FIELDS>;
export type NodeEntry = FieldsOf<typeof NODE_FIELDS>;
export type PositionEntry = FieldsOf<typeof POSITION_FIELDS>;

export interface Tlv {
  /** As on the wire, bit 15 (critical) included. */
  readonly type: number;
  readonly value: Buffer;
}

export const CRITICAL = 0x8000;
/** "No value" in a field of the type `u64 or NONE`. */
export const NONE = 0xffff_ffff_ffff_ffffn;
export const U64_MAX = (1n << 53n) - 1n;
export const GREASE_TLVS = [0x0a0a, 0x1a1a, 0x2a2a, 0x3a3a, 0x4a4a, 0x5a5a, 0x6a6a, 0x7a7a] as const;
