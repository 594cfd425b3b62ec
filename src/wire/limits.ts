// Every named bound of protocol v1 (§8) and of the wire code, in one place, with its unit and the
// reason for its number. Values a node may be configured with have a `_MIN` and a `_MAX` beside the
// default. Nothing here depends on anything else.

/** "No value" in a u64 field that allows it: eight FF bytes on the wire, −1 in memory. */
export const NONE = -1;

/** Largest u64 we read or write: a JS number holds integers exactly up to here (2^53 − 1). */
export const U64_MAX = Number.MAX_SAFE_INTEGER;
export const U32_MAX = 0xffff_ffff;
export const U16_MAX = 0xffff;

/** Bytes of the preface, each way; frozen for all versions. */
export const PREFACE_SIZE = 8;
/** Bytes of a frame header, its length field included. */
export const FRAME_HEADER_SIZE = 12;
/** Bytes that a frame's `length` counts although they are header: op, flags, status, id. */
export const FRAME_LENGTH_MIN = 8;
/** Largest frame length, in bytes, until a connection is READY: enough for a token, no more. */
export const FRAME_SIZE_BEFORE_READY_MAX = 16_384;

/** Largest frame length a receiver takes, in bytes. */
export const FRAME_SIZE_DEFAULT = 4 * 1024 * 1024;
export const FRAME_SIZE_MAX = 64 * 1024 * 1024;
/** Bytes a frame needs besides the batch it carries: name, fixed fields, ext, with room to spare. */
export const FRAME_OVERHEAD_SIZE = 8_192;

/** Largest batch, header included, in bytes; also bounds `raw_len` of a compressed body. */
export const BATCH_SIZE_DEFAULT = 1024 * 1024;
export const BATCH_SIZE_MIN = 64 * 1024;
export const BATCH_SIZE_MAX = 32 * 1024 * 1024;
/** Bytes of a batch header. */
export const BATCH_HEADER_SIZE = 72;
/** Records per batch: a reader may size tables by the count before it has decompressed the body. */
export const BATCH_RECORDS_MAX = 65_535;
/** Bytes of a record besides its u32 length: flags and client time. */
export const RECORD_FIXED_SIZE = 9;
/** Bytes of a record key or of one header value; their length field is a u16. */
export const RECORD_KEY_SIZE_MAX = 65_535;

/** Bytes of a log, position or producer name: a file name and a metrics label can hold it. */
export const NAME_SIZE_MAX = 200;
/** Bytes of one `ext` block. */
export const EXT_SIZE_MAX = 4_096;
/** Bytes that PING carries and echoes. */
export const PING_SIZE_MAX = 64;
/** Bytes of a node id, cluster id or log uid. */
export const ID_SIZE = 16;

/** Unanswered requests of a connection before the server stops reading it. */
export const INFLIGHT_DEFAULT = 1_024;
export const INFLIGHT_MAX = 65_535;
/** Waiting FETCHes of a connection; they hold memory for minutes, so they have their own limit. */
export const WAITS_DEFAULT = 256;
/** Subscriptions of a connection. */
export const SUBSCRIPTIONS_DEFAULT = 256;

/** Milliseconds without a received byte before a connection is closed. */
export const IDLE_MS_DEFAULT = 30_000;
export const IDLE_MS_MIN = 5_000;
export const IDLE_MS_MAX = 600_000;
/** "Never" in idle_ms; granted on loopback and Unix sockets only. */
export const IDLE_NEVER = U32_MAX;

/** Milliseconds an op waits for its result when it names no timeout. */
export const TIMEOUT_MS_DEFAULT = 30_000;
/** Longest timeout_ms and max_wait_ms; larger wishes are clamped. */
export const TIMEOUT_MS_MAX = 600_000;

/** Producers and named positions that one log keeps, each. */
export const PRODUCERS_MAX = 10_000;
export const POSITIONS_MAX = 10_000;
/** Logs of one node. */
export const LOGS_MAX = 1_000;
/** Unacknowledged batches per producer that the server can still recognize as duplicates. */
export const PRODUCER_WINDOW = 64;
/** Last producer epoch of an id; the next INIT_PRODUCER of that name gets a new id. */
export const EPOCH_MAX = 65_535;

/** Bytes of subscription credit that may be outstanding; above it FLOW_CONTROL. */
export const CREDIT_MAX = 0x7fff_ffff;
/** Elements of a list: its count is a u16. */
export const LIST_LENGTH_MAX = 65_535;
