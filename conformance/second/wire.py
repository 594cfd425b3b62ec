"""The bytes of wire protocol 1.0: numbers, errors, requests and batches (§1, §4, §6, §7, §11, §12)."""
import re
from collections import namedtuple
from struct import Struct, pack, unpack_from
from zlib import crc32

# ---- numbers: limits (§12), ops (§6), frame flags (§4), errors (§11) ----

MAX_BATCH, MAX_FRAME, EARLY_FRAME, MAX_EXT, MAX_CREDIT = 1 << 20, 4 << 20, 16384, 4096, 2**31 - 1
MAX_U64, NONE = 2**53 - 1, 2**64 - 1

HELLO, AUTH, PING, GOAWAY, CANCEL = 0x01, 0x02, 0x03, 0x04, 0x05
DESCRIBE_CLUSTER, CREATE_LOG, DELETE_LOG, DESCRIBE_LOG, LIST_LOGS, TRIM, ALTER_LOG = range(0x10, 0x17)
PRODUCE, FETCH, SUBSCRIBE, CREDIT, DELIVER, FIND_OFFSET = 0x20, 0x30, 0x31, 0x32, 0x33, 0x34
RESPONSE, MORE, CRITICAL_FLAGS, FATAL = 0x01, 0x02, 0x3C, 0x04
OFFSET, EARLIEST, NEXT, TIME, POSITION = range(5)       # the `from` of reads (§10.1)

ERRORS = {                                              # name: (code, class)
    "MALFORMED": (1, 4), "UNSUPPORTED_VERSION": (2, 4), "UNKNOWN_OP": (3, 0), "OP_NOT_ALLOWED": (4, 4),
    "FRAME_TOO_LARGE": (5, 4), "DUPLICATE_ID": (6, 4), "UNSUPPORTED_FEATURE": (7, 0), "FLOW_CONTROL": (10, 0),
    "TOO_MANY_INFLIGHT": (9, 1), "SHUTTING_DOWN": (11, 9), "IDLE_TIMEOUT": (12, 4), "CONTROL_FLOOD": (13, 4),
    "WRONG_CLUSTER": (14, 4), "FORBIDDEN": (102, 0), "LOG_NOT_FOUND": (200, 0), "LOG_EXISTS": (201, 0),
    "INVALID_ARGUMENT": (202, 0), "OFFSET_OUT_OF_RANGE": (203, 0), "CORRUPT_BATCH": (204, 0),
    "BATCH_TOO_LARGE": (205, 0), "UNSUPPORTED_COMPRESSION": (206, 0), "CANCELED": (208, 0),
    "LOG_CHANGED": (210, 0), "UNKNOWN_PRODUCER": (304, 2), "STORAGE_FULL": (305, 1), "OVERLOADED": (404, 1),
    "BEHIND": (405, 1), "INTERNAL": (500, 2),
}
ERROR_TLVS = {"log_uid": 2, "range": 4, "limit": 6, "field": 7, "supported": 8}
FRAME = Struct(">IBBHI")                                # length, op, flags, status, id
BATCH = Struct(">4sIQQQQIIIHHQQ")                       # the header of §7
Batch = namedtuple("Batch", "magic header_crc index term base_offset append_time body_crc body_len count "
                            "attributes producer_epoch producer_id seq")


def text(value):
    return pack(">H", len(value.encode())) + value.encode()


def ext(tlvs=()):
    body = b"".join(pack(">HH", kind, len(value)) + value for kind, value in tlvs)
    return pack(">H", len(body)) + body


class Refusal(Exception):
    """An error of §11 on its way to the client."""

    def __init__(self, name, message, **tlvs):
        super().__init__(name, message)
        (self.code, self.cls), self.message = ERRORS[name], message
        for key, value in tlvs.items():                 # a str is UTF-8, a tuple some u64
            tlvs[key] = (value if isinstance(value, bytes) else value.encode() if isinstance(value, str)
                         else pack(">%dQ" % len(value), *value))
        self.tlvs = ext((ERROR_TLVS[key], value) for key, value in tlvs.items())

    def body(self, cls=0):
        return pack(">BBI", self.cls | cls, 0, 0) + text(self.message) + self.tlvs


def invalid(field, message, **tlvs):
    return Refusal("INVALID_ARGUMENT", "%s: %s" % (field, message), field=field, **tlvs)


# ---- requests (§1) ----

LAYOUTS = {  # every layout ends in ext; a `name` is a str, `u64?` may be NONE
    HELLO: "minor:u16 max_frame:u32 idle_ms:u32 features:u64 cluster_id:id16 client:str",
    AUTH: "mech:str data:bytes",
    PING: "data:bytes",
    CANCEL: "",
    DESCRIBE_CLUSTER: "",
    CREATE_LOG: "log:name durability:u8 replication:u8 interval_ms:u32 retain_bytes:u64 retain_ms:u64 "
                "segment_bytes:u64 compressions:u8",
    DELETE_LOG: "log:name",
    DESCRIBE_LOG: "log:name",
    LIST_LOGS: "prefix:str",
    TRIM: "log:name offset:u64",
    ALTER_LOG: "log:name retain_bytes:u64? retain_ms:u64? replication:u8 compressions:u8",
    PRODUCE: "log:name flags:u8 reserved:u8 timeout_ms:u32 expected_offset:u64? fence:u64",
    FETCH: "log:name from:u8 flags:u8 value:u64 position_name:name min_bytes:u32 max_bytes:u32 "
           "max_wait_ms:u32",
    SUBSCRIBE: "log:name from:u8 reserved:u8 value:u64 position_name:name credit_bytes:u32",
    CREDIT: "add_bytes:u32",
    FIND_OFFSET: "log:name time:u64",
}
UID = {2: ("log_uid", 16)}                              # type: (name, length of the value)
READ = {1: ("after", 8), 2: ("log_uid", 16), 3: ("prev_term", 8)}
TLVS = {CREATE_LOG: {3: ("restore_uid", 16)}, LIST_LOGS: {3: ("trash", 0)}, FETCH: READ, SUBSCRIBE: READ,
        **dict.fromkeys((DELETE_LOG, DESCRIBE_LOG, TRIM, ALTER_LOG, PRODUCE, FIND_OFFSET), UID)}
ANSWERS_UID = (DESCRIBE_LOG, PRODUCE, FETCH, SUBSCRIBE)         # [LOG-7]

RANGES = {  # of the value v, given the fields f before it; a field has the same range in all layouts
    "data": lambda v, f: "mech" in f or len(v) <= 64,   # of PING; that of AUTH may be longer
    "durability": lambda v, f: v in (1, 2, 3),
    "replication": lambda v, f: v in (0, 1, 3, 5) and (v < 2 or f.get("durability", 1) == 1),  # [LOG-14]
    "interval_ms": lambda v, f: 1 <= v <= 60000,
    "segment_bytes": lambda v, f: v == 0 or 1 << 20 <= v <= 1 << 30,
    "compressions": lambda v, f: v < 8,
    "prefix": lambda v, f: len(v.encode()) <= 200,
    "from": lambda v, f: v <= POSITION,
    "flags": lambda v, f: v <= 1,                       # NO_FORWARD, LINEARIZABLE [TYPE-9]
    "reserved": lambda v, f: v == 0,
}
UNUSED = {                                              # when a field may hold anything [TYPE-12]
    "interval_ms": lambda f: f["durability"] != 2,
    "value": lambda f: f["from"] not in (OFFSET, TIME),
    "position_name": lambda f: f["from"] != POSITION,
}
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "u64?": 8, "id16": 16}
LENGTHS = {"str": 2, "name": 2, "ext": 2, "bytes": 4}   # sizes of the length before the bytes
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")        # [LOG-1]


def decode(op, data):
    """The fields of a request. Of several wrong ones the first in the layout is reported (§1)."""
    fields, at = {}, 0

    def take(size, field):
        nonlocal at
        at += size
        if at > len(data):
            raise invalid(field, "the payload ends too early")  # [TYPE-6]
        return data[at - size:at]

    for field, kind in (item.split(":") for item in (LAYOUTS[op] + " ext:ext").split()):
        size = int.from_bytes(take(LENGTHS[kind], field), "big") if kind in LENGTHS else SIZES[kind]
        value = take(size, field)
        if field in UNUSED and UNUSED[field](fields):
            value = None
        elif kind == "ext":
            value = decode_ext(value, TLVS.get(op, {}))
        elif kind in ("str", "name"):
            try:
                value = value.decode()                  # strict: no surrogates, nothing overlong
            except UnicodeDecodeError:
                raise invalid(field, "not UTF-8") from None     # [TYPE-5]
            if kind == "name" and not NAME.fullmatch(value):    # counts among the wrong fields (§1)
                raise invalid(field, "not a name")      # [LOG-2]
        elif kind in SIZES and kind != "id16":
            value = int.from_bytes(value, "big")
            if value > MAX_U64 and not (kind == "u64?" and value == NONE):
                raise invalid(field, "above 2^53 - 1")  # [TYPE-3] [TYPE-4]
            value = None if value == NONE else value
        if value is not None and field in RANGES and not RANGES[field](value, fields):
            raise invalid(field, "out of range")        # [TYPE-8] [TYPE-9] [TYPE-10]
        fields[field] = value
    if op == PRODUCE:
        fields["batch"] = data[at:]
    elif at < len(data):
        raise invalid("end", "the payload goes on after the last field")        # [TYPE-7]
    return fields


def decode_ext(block, known):
    found, seen, at = {}, set(), 0
    if len(block) > MAX_EXT:                            # without the two bytes of its length
        raise invalid("ext", "longer than 4,096 bytes")         # [TYPE-20]
    while at < len(block):
        kind, size = unpack_from(">HH", block, at) if at + 4 <= len(block) else (0, MAX_EXT)
        value, at = block[at + 4:at + 4 + size], at + 4 + size
        if at > len(block) or kind & 0x7FFF in seen:
            raise invalid("ext", "a TLV is cut off or comes twice")     # [TYPE-18] [TYPE-19]
        seen.add(kind & 0x7FFF)
        name, wanted = known.get(kind & 0x7FFF, (None, size))   # critical or not [TYPE-17]
        if name is None and kind & 0x8000:
            raise Refusal("UNSUPPORTED_FEATURE", "unknown critical TLV")        # [TYPE-15]
        if size != wanted or (name and size == 8 and int.from_bytes(value, "big") > MAX_U64):
            raise invalid(name, "wrong length or value")        # [TYPE-21]
        if name:
            found[name] = int.from_bytes(value, "big") if size == 8 else value
    return found


def check_batch(raw, compressions):
    """Takes the header of a client's batch apart, if it may be stored (§7.1)."""
    def corrupt(wrong, message):
        if wrong:
            raise Refusal("CORRUPT_BATCH", message)

    def too_large(value, limit, message):
        if value > limit:
            raise Refusal("BATCH_TOO_LARGE", message, limit=(limit,))

    corrupt(len(raw) < BATCH.size, "no whole header")   # [BATCH-1]
    too_large(len(raw), MAX_BATCH, "larger than max_batch")
    head = Batch(*BATCH.unpack_from(raw))
    corrupt(head.magic != b"SLB1" or len(raw) != BATCH.size + head.body_len, "not exactly one batch")
    corrupt(head.header_crc != crc32(raw[8:72]) or head.body_crc != crc32(raw[44:]), "wrong checksum")
    corrupt(head.count == 0 or head.attributes & 0xFFF0, "no records, or a wrong attribute")
    too_large(head.count, 65535, "too many records")
    corrupt(head.producer_id and max(head.producer_id, head.seq) > MAX_U64, "producer_id or seq out of range")
    compression, at, records = head.attributes & 15, 72, 0
    if not compressions >> compression & 1:
        raise Refusal("UNSUPPORTED_COMPRESSION", "not in the log's settings", supported=(compressions,))
    if compression:                                     # its inside is the readers' business [BATCH-18]
        corrupt(head.body_len < 4, "no raw_len")
        too_large(int.from_bytes(raw[72:76], "big"), MAX_BATCH, "raw_len above max_batch")
        return head
    while at + 5 <= len(raw):
        size, flags = unpack_from(">IB", raw, at)
        at, records = at + 4 + size, records + 1
        corrupt(size < 9 or flags > 7, "a record is too short or has an unknown flag")  # [REC-2] [REC-4]
    corrupt(at != len(raw) or records != head.count, "the records do not fill the body, or are not count")
    return head
