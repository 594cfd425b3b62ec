// Read requests of plane C (§4): FETCH, SUBSCRIBE, FIND_OFFSET and the positions. CREDIT is in
// requests-session.ts.
import { flags, layout, name, oneOf, reserved, tlv, u32, u64, u64OrNone, unusedStr, unusedU64, usedIf } from './layout.ts';
import type { Values } from './layout.ts';
import { FETCH_LINEARIZABLE, From } from './ops.ts';
import { logUidTlv } from './requests-admin.ts';

const from = oneOf(From.OFFSET, From.EARLIEST, From.NEXT, From.TIME, From.POSITION);

/** Offset or time, when `from` asks for one. */
const value = usedIf((sofar) => sofar.from === From.OFFSET || sofar.from === From.TIME, u64, unusedU64);
const positionName = usedIf((sofar) => sofar.from === From.POSITION, { ...name, write: (w, v) => w.str(v) }, unusedStr);

const readTlvs = {
  /** Answer only from a node whose committed_end has reached this. */
  after: tlv(1, false, u64),
  logUid: logUidTlv,
  /** Term of the record before the start; another one there → LOG_CHANGED. */
  prevTerm: tlv(3, false, u64),
};

export type FetchRequest = Values<typeof fetchRequest>;
export const fetchRequest = layout(
  {
    log: name,
    from,
    flags: flags(FETCH_LINEARIZABLE),
    value,
    positionName,
    minBytes: u32,
    maxBytes: u32,
    maxWaitMs: u32,
  },
  readTlvs,
);

export type SubscribeRequest = Values<typeof subscribeRequest>;
export const subscribeRequest = layout(
  { log: name, from, reserved, value, positionName, creditBytes: u32 },
  readTlvs,
);

export type FindOffsetRequest = Values<typeof findOffsetRequest>;
export const findOffsetRequest = layout({ log: name, time: u64 }, { logUid: logUidTlv });

export type PutPositionRequest = Values<typeof putPositionRequest>;
export const putPositionRequest = layout(
  {
    log: name,
    name,
    /** NONE = delete. */
    offset: u64OrNone,
    /** NONE = any. */
    expected: u64OrNone,
  },
  { logUid: logUidTlv },
);

export type GetPositionRequest = Values<typeof getPositionRequest>;
export const getPositionRequest = layout({ log: name, name }, { logUid: logUidTlv });

export type ListPositionsRequest = Values<typeof listPositionsRequest>;
export const listPositionsRequest = layout({ log: name }, { logUid: logUidTlv });
