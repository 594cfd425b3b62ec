"""The scalars, tables and the payload writer of the vectors. No layouts here."""
import struct

MAX_SAFE = (1 << 53) - 1
NONE = "NONE"
RESPONSE, MORE = 1, 2

OPS = {
    "HELLO": 0x01, "AUTH": 0x02, "PING": 0x03, "GOAWAY": 0x04, "CANCEL": 0x05,
    "DESCRIBE_CLUSTER": 0x10, "CREATE_LOG": 0x11, "DELETE_LOG": 0x12, "DESCRIBE_LOG": 0x13,
    "LIST_LOGS": 0x14, "TRIM": 0x15, "ALTER_LOG": 0x16, "TRANSFER_LEADER": 0x17, "REMOVE_NODE": 0x18,
    "PRODUCE": 0x20, "INIT_PRODUCER": 0x21, "FENCE": 0x22,
    "FETCH": 0x30, "SUBSCRIBE": 0x31, "CREDIT": 0x32, "DELIVER": 0x33, "FIND_OFFSET": 0x34,
    "PUT_POSITION": 0x35, "GET_POSITION": 0x36, "LIST_POSITIONS": 0x37,
}

# name: (code, class bits, TLVs that belong to it)
ERRORS = {
    "MALFORMED": (1, 4), "UNSUPPORTED_VERSION": (2, 4), "UNKNOWN_OP": (3, 0), "OP_NOT_ALLOWED": (4, 4),
    "FRAME_TOO_LARGE": (5, 4), "DUPLICATE_ID": (6, 4), "UNSUPPORTED_FEATURE": (7, 0), "TLS_REQUIRED": (8, 4),
    "TOO_MANY_INFLIGHT": (9, 1), "FLOW_CONTROL": (10, 0), "SHUTTING_DOWN": (11, 9), "IDLE_TIMEOUT": (12, 4),
    "CONTROL_FLOOD": (13, 4), "WRONG_CLUSTER": (14, 4),
    "AUTH_REQUIRED": (100, 4), "AUTH_FAILED": (101, 0), "FORBIDDEN": (102, 0),
    "LOG_NOT_FOUND": (200, 0), "LOG_EXISTS": (201, 0), "INVALID_ARGUMENT": (202, 0),
    "OFFSET_OUT_OF_RANGE": (203, 0), "CORRUPT_BATCH": (204, 0), "BATCH_TOO_LARGE": (205, 0),
    "UNSUPPORTED_COMPRESSION": (206, 0), "DATA_LOSS": (207, 8), "CANCELED": (208, 0),
    "POSITION_NOT_FOUND": (209, 0), "LOG_CHANGED": (210, 0),
    "OFFSET_MISMATCH": (300, 0), "FENCED": (301, 0), "PRODUCER_FENCED": (302, 2), "SEQ_GAP": (303, 0),
    "UNKNOWN_PRODUCER": (304, 2), "STORAGE_FULL": (305, 1), "SEQ_REUSED": (306, 0),
    "POSITION_MISMATCH": (307, 0), "LOG_STOPPED": (308, 0),
    "NOT_LEADER": (400, 9), "NO_LEADER": (401, 1), "TIMEOUT": (402, 3), "LEADERSHIP_LOST": (403, 3),
    "OVERLOADED": (404, 1), "BEHIND": (405, 1), "INTERNAL": (500, 2),
}

# ---------------------------------------------------------------- scalars


def u8(v): return struct.pack(">B", v)
def u16(v): return struct.pack(">H", v)
def u32(v): return struct.pack(">I", v)


def u64(v):
    """Eight bytes; NONE is eight FF. Values above 2^53-1 are written as they are: negatives need them."""
    return b"\xff" * 8 if v == NONE else struct.pack(">Q", v)


def text(v):
    raw = v.encode("utf-8")
    return u16(len(raw)) + raw


def blob(v): return u32(len(v)) + v


def tlv(kind, value): return u16(kind) + u16(len(value)) + value


class Payload:
    """Writes a payload and, in the same step, the decoded fields that the vector file carries."""

    def __init__(self):
        self.raw, self.fields = bytearray(), {}
        self.marks = []     # (field, type, start, end), for the negatives

    def _put(self, raw, name, shown, kind=""):
        self.marks.append((name or "reserved", kind, len(self.raw), len(self.raw) + len(raw)))
        self.raw += raw
        if name:
            self.fields[name] = shown
        return self

    def u8(self, name, v): return self._put(u8(v), name, v)
    def u16(self, name, v): return self._put(u16(v), name, v)
    def u32(self, name, v): return self._put(u32(v), name, v)
    def u64(self, name, v): return self._put(u64(v), name, str(v), "u64")
    def u64n(self, name, v): return self._put(u64(v), name, str(v), "u64n")
    def str(self, name, v): return self._put(text(v), name, v, "str")
    def bytes(self, name, v): return self._put(blob(v), name, v.hex())
    def id16(self, name, v): return self._put(v, name, v.hex())
    def zero(self, n=1): return self._put(bytes(n), None, None)
    def strs(self, name, vs): return self._put(u16(len(vs)) + b"".join(map(text, vs)), name, list(vs))

    def list(self, name, items):
        """items: Payloads, one per element."""
        raw = u16(len(items)) + b"".join(bytes(i.raw) for i in items)
        return self._put(raw, name, [i.fields for i in items])

    def ext(self, *tlvs):
        body = b"".join(tlv(k, v) for k, v in tlvs)
        shown = [{"type": k & 0x7FFF, "critical": k >= 0x8000, "value": v.hex()} for k, v in tlvs]
        return self._put(u16(len(body)) + body, "ext", shown, "ext")

    def error_ext(self, *tlvs):
        """tlvs: (kind, value, name, shown); the decoded form stands beside the raw one."""
        self.ext(*((k, v) for k, v, _, _ in tlvs))
        self.fields["tlvs"] = {name: shown for _, _, name, shown in tlvs if name}
        return self

    def batch(self, b): return self._put(b.raw, "batch", b.fields, "batch")

    def batches(self, bs):
        return self._put(b"".join(b.raw for b in bs), "batches", [b.fields for b in bs])


P = Payload
