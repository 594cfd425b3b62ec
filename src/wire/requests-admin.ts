// Admin requests of plane C (§4), ops 10–18, in the order of the page.
import { ErrorCode, FieldError } from './errors.ts';
import { flags, id16, layout, marker, name, oneOf, str, tlv, u32, u64, u64OrNone } from './layout.ts';
import type { Field, Values } from './layout.ts';
import { NAME_SIZE_MAX } from './limits.ts';
import { Durability, REMOVE_NODE_FORCE } from './ops.ts';

/** TLV 2 of a request that names a log: another uid → LOG_CHANGED. Critical. */
export const logUidTlv = tlv(2, true, id16);

/** Wished number of copies; 0 = default (CREATE_LOG) or as it is (ALTER_LOG). */
const replication = oneOf(0, 1, 3, 5);

/** Mask of the compressions a log takes, bit n = compression n; 0 = default or as it is. */
const compressionMask: Field<number> = flags(0b111);

/** The beginning of a name; empty = all. It need not be a whole name. */
const prefix: Field<string> = {
  write: (w, v) => w.str(v),
  read(r, field) {
    const value = r.str(field);
    if (Buffer.byteLength(value) > NAME_SIZE_MAX) {
      throw new FieldError(field, ErrorCode.INVALID_ARGUMENT, { limit: NAME_SIZE_MAX });
    }
    return value;
  },
};

export type DescribeClusterRequest = Values<typeof describeClusterRequest>;
export const describeClusterRequest = layout({});

/** With `restoreUid` the settings are checked too, but those of the deleted log hold (SL-LOG-50). */
export const createLogRequest = layout(
  {
    log: name,
    durability: oneOf(Durability.FSYNC, Durability.INTERVAL, Durability.MEMORY),
    replication,
    intervalMs: u32,
    /** 0 = all. */
    retainBytes: u64,
    /** 0 = all. */
    retainMs: u64,
    /** 0 = default. */
    segmentBytes: u64,
    compressions: compressionMask,
  },
  { restoreUid: tlv(3, true, id16) },
);
export type CreateLogRequest = Values<typeof createLogRequest>;
export type AlterLogRequest = Values<typeof alterLogRequest>;
export const alterLogRequest = layout(
  {
    log: name,
    /** NONE = as it is. */
    retainBytes: u64OrNone,
    /** NONE = as it is. */
    retainMs: u64OrNone,
    replication,
    compressions: compressionMask,
  },
  { logUid: logUidTlv },
);

export type DeleteLogRequest = Values<typeof deleteLogRequest>;
export const deleteLogRequest = layout({ log: name }, { logUid: logUidTlv });

export type TrimRequest = Values<typeof trimRequest>;
export const trimRequest = layout({ log: name, offset: u64 }, { logUid: logUidTlv });

export type DescribeLogRequest = Values<typeof describeLogRequest>;
export const describeLogRequest = layout({ log: name }, { logUid: logUidTlv });

export type ListLogsRequest = Values<typeof listLogsRequest>;
/** `trash`: list the deleted logs that can still be restored. */
export const listLogsRequest = layout({ prefix }, { trash: marker(3, true) });

export type TransferLeaderRequest = Values<typeof transferLeaderRequest>;
export const transferLeaderRequest = layout(
  {
    log: name,
    /** "" = any. */
    node: str,
  },
  { logUid: logUidTlv },
);

export type RemoveNodeRequest = Values<typeof removeNodeRequest>;
export const removeNodeRequest = layout({ node: str, flags: flags(REMOVE_NODE_FORCE) });
