#!/usr/bin/env python3
"""Golden vectors of the sidelog wire protocol, version 1: the generator.

Writes frames.json, batches.json, negatives.json and errors.json beside itself. It shares no code
with any server or client and needs the standard library only; check.py is the second, independent
decoder. Every run writes the same bytes: nothing here depends on time, chance or a zlib version.

Usage: generate.py          write the files
       generate.py --check  exit 1 if a file differs from what would be written
"""
import json
import pathlib
import struct
import sys
import zlib

HERE = pathlib.Path(__file__).resolve().parent
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

    def _put(self, raw, name, shown):
        self.raw += raw
        if name:
            self.fields[name] = shown
        return self

    def u8(self, name, v): return self._put(u8(v), name, v)
    def u16(self, name, v): return self._put(u16(v), name, v)
    def u32(self, name, v): return self._put(u32(v), name, v)
    def u64(self, name, v): return self._put(u64(v), name, str(v))
    def str(self, name, v): return self._put(text(v), name, v)
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
        return self._put(u16(len(body)) + body, "ext", shown)

    def error_ext(self, *tlvs):
        """tlvs: (kind, value, name, shown); the decoded form stands beside the raw one."""
        self.ext(*((k, v) for k, v, _, _ in tlvs))
        self.fields["tlvs"] = {name: shown for _, _, name, shown in tlvs}
        return self

    def batch(self, b): return self._put(b.raw, "batch", b.fields)

    def batches(self, bs):
        return self._put(b"".join(b.raw for b in bs), "batches", [b.fields for b in bs])


P = Payload

# ---------------------------------------------------------------- batches

CLIENT_TIME = 1790000000000
APPEND_TIME = 1790000000005


def record(value, key=None, headers=None, client_time=CLIENT_TIME):
    """One record; value None = NULL_VALUE. Gives (bytes, fields)."""
    flags = (key is not None) * 1 | (headers is not None) * 2 | (value is None) * 4
    body = u8(flags) + u64(client_time)
    if key is not None:
        body += u16(len(key)) + key
    if headers is not None:
        body += u16(len(headers)) + b"".join(text(n) + u16(len(v)) + v for n, v in headers)
    body += value or b""
    shown = {
        "flags": flags, "client_time": str(client_time), "key": None if key is None else key.hex(),
        "headers": None if headers is None else [{"name": n, "value": v.hex()} for n, v in headers],
        "value": None if value is None else value.hex(),
    }
    return u32(len(body)) + body, shown


class Batch:
    """One record batch: 72 bytes of header and the body, with both checksums."""

    def __init__(self, records, compression=0, packed=None, producer=(0, 0, 0), stamp=(0, 0, 0, 0),
                 attributes=None, count=None, control=None):
        plain = b"".join(r for r, _ in records)
        body = control if control is not None else plain
        shown = {}
        if compression:
            packed = packed if packed is not None else PACK[compression](plain)
            body = u32(len(plain)) + packed
            shown = {"raw_len": len(plain), "packed": packed.hex()}
        attributes = compression if attributes is None else attributes
        count = len(records) if count is None else count
        producer_id, epoch, seq = producer
        tail = (u32(len(body)) + u32(count) + u16(attributes) + u16(epoch) + u64(producer_id) + u64(seq) + body)
        body_crc = zlib.crc32(tail)
        index, term, base_offset, append_time = stamp
        head = (u64(index) + u64(term) + u64(base_offset) + u64(append_time) + u32(body_crc) + tail[:28])
        assert len(head) == 64
        header_crc = zlib.crc32(head)
        self.raw = b"SLB1" + u32(header_crc) + head + body
        self.fields = {
            "magic": "SLB1", "header_crc": header_crc, "index": str(index), "term": str(term),
            "base_offset": str(base_offset), "append_time": str(append_time), "body_crc": body_crc,
            "body_len": len(body), "count": count, "attributes": attributes, "producer_epoch": epoch,
            "producer_id": str(producer_id), "seq": str(seq), **shown,
        }
        if control is None:
            self.fields["records"] = [f for _, f in records]
        else:
            self.fields["control"] = control.hex()


def gzip_stored(plain):
    """A gzip member of one stored block, written by hand so that no zlib version can change it."""
    assert len(plain) < 65536
    block = b"\x01" + struct.pack("<HH", len(plain), len(plain) ^ 0xFFFF) + plain
    return (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + block
            + struct.pack("<II", zlib.crc32(plain), len(plain)))


def zstd_raw(plain):
    """A Zstandard frame (RFC 8878) of one raw block: single segment, one-byte content size, no checksum."""
    assert len(plain) < 256
    return b"\x28\xb5\x2f\xfd\x20" + u8(len(plain)) + struct.pack("<I", 1 | len(plain) << 3)[:3] + plain


PACK = {1: gzip_stored, 2: zstd_raw}

TWO = [record(b"hello"), record(b"w", key=b"k", headers=[("a", b"b")])]
STAMP = (57, 3, 41, APPEND_TIME)
PRODUCER = (8_123_456_789_012_345, 2, 7)

CLIENT = Batch(TWO)
STAMPED = Batch(TWO, stamp=STAMP)
ONE = Batch([record(b"hello")])
IDEMPOTENT = Batch(TWO, producer=PRODUCER)
GZIP = Batch(TWO, compression=1)
ZSTD = Batch(TWO, compression=2)
NEXT = Batch([record(b"next")], stamp=(58, 3, 43, APPEND_TIME + 1))
MANY = Batch([record(b"value-%03d" % i, key=b"key-%d" % (i % 7), client_time=CLIENT_TIME + i) for i in range(100)])
# What `gzip -9` makes of twenty times the first golden record: real Huffman blocks, kept as a literal.
HUFFMAN_PLAIN = [record(b"hello")] * 20
HUFFMAN = bytes.fromhex("1f8b08000000000002ff636060e0636060605c7024208721233527279f61548406220004bd7a6368010000")

# ---------------------------------------------------------------- golden bytes, verbatim from the specification

GOLDEN_BATCH_CLIENT = "534c42311daf19440000000000000000000000000000000000000000000000000000000000000000f898e1f20000002b0000000200000000000000000000000000000000000000000000000e00000001a0c4506c0068656c6c6f0000001503000001a0c4506c0000016b000100016100016277"
GOLDEN = {
    "golden-preface-request": "fa534c4743010100",
    "golden-preface-response": "fa534c4743010000",
    "golden-hello-request": "00000034010000000000000100000040000000007530000000000000000000000000000000000000000000000000000664656d6f2f310000",
    "golden-batch-client": GOLDEN_BATCH_CLIENT,
    "golden-batch-stamped": "534c42317c2f5663000000000000003900000000000000030000000000000029000001a0c4506c05f898e1f20000002b0000000200000000000000000000000000000000000000000000000e00000001a0c4506c0068656c6c6f0000001503000001a0c4506c0000016b000100016100016277",
    "golden-produce-request": "000000962000000000000002000174000000001388ffffffffffffffff00000000000000000000" + GOLDEN_BATCH_CLIENT,
    "golden-produce-request-log-uid": "000000aa2000000000000002000174000000001388ffffffffffffffff000000000000000000148002001000112233445566778899aabbccddeeff" + GOLDEN_BATCH_CLIENT,
    "golden-produce-response": "0000004220010000000000020000000000000029000000000000002b000001a0c4506c0500000000000000030101000000140002001000112233445566778899aabbccddeeff",
    "golden-produce-response-log-uid": "0000002e20010000000000020000000000000029000000000000002b000001a0c4506c050000000000000003010100000000",
    "golden-not-leader": "0000003b2001019000000002090000000000000a6e6f74206c6561646572001f0001001b00026e320000000000000007000d31302e302e302e323a38343030",
}

# ---------------------------------------------------------------- rows


def frame(op, ident, payload, flags=0, status=0):
    """A frame of op (name or number); gives (bytes, fields)."""
    number = OPS[op] if isinstance(op, str) else op
    raw = bytes(payload.raw)
    head = u32(8 + len(raw)) + u8(number) + u8(flags) + u16(status) + u32(ident)
    shown = {"length": 8 + len(raw), "op": number, "op_name": op if isinstance(op, str) else None,
             "flags": flags, "status": status, "id": ident}
    return head + raw, {"header": shown, "payload": payload.fields}


def request(name, op, ident, payload, flags=0, note=None):
    raw, fields = frame(op, ident, payload, flags)
    return row(name, "request", raw, fields, note)


def response(name, op, ident, payload, more=False, note=None):
    raw, fields = frame(op, ident, payload, RESPONSE | (MORE if more else 0))
    return row(name, "response", raw, fields, note)


def error_body(name, message, *tlvs, retry_after_ms=0, extra_class=0):
    return (P().u8("class", ERRORS[name][1] | extra_class).zero().u32("retry_after_ms", retry_after_ms)
            .str("message", message).error_ext(*tlvs))


def error(row_id, op, ident, name, message, *tlvs, retry_after_ms=0, extra_class=0, note=None):
    body = error_body(name, message, *tlvs, retry_after_ms=retry_after_ms, extra_class=extra_class)
    raw, fields = frame(op, ident, body, RESPONSE, ERRORS[name][0])
    fields["error"] = name
    return row(row_id, "error", raw, fields, note)


def row(name, kind, raw, fields, note=None):
    if name in GOLDEN:
        assert raw.hex() == GOLDEN[name], f"{name}: not the golden bytes\n{raw.hex()}\n{GOLDEN[name]}"
        USED_GOLDEN.add(name)
    r = {"id": name, "kind": kind, "hex": raw.hex(), "fields": fields}
    if note:
        r["note"] = note
    return r


USED_GOLDEN = set()

# error TLVs: (kind, value, name, decoded)


def t_leader(node, term, address):
    return (1, text(node) + u64(term) + text(address), "leader", {"node": node, "term": str(term), "address": address})


def t_uid(uid): return (2, uid, "log_uid", uid.hex())
def t_fence(v): return (3, u64(v), "fence", str(v))


def t_range(start, end):
    return (4, u64(start) + u64(end), "range", {"log_start": str(start), "committed_end": str(end)})


def t_seq(v): return (5, u64(v), "expected_seq", str(v))
def t_limit(v): return (6, u64(v), "limit", str(v))
def t_field(v): return (7, v.encode(), "field", v)
def t_supported(v): return (8, u64(v), "supported", str(v))
def t_next(v): return (9, u64(v), "next_offset", str(v))


UID = bytes.fromhex("00112233445566778899aabbccddeeff")
OLD_UID = bytes.fromhex("ffeeddccbbaa99887766554433221100")
CLUSTER = bytes.fromhex("5c1d0a5e5c1d0a5e5c1d0a5e5c1d0a5e")
NODE_ID = bytes.fromhex("a1a2a3a4a5a6a7a8a9aaabacadaeafb0")
ANY = bytes(16)
UID_ASK, UID_ANSWER = (0x8002, UID), (0x0002, UID)
GREASE = (0x3A3A, b"\x01\x02\x03")

MIB = 1 << 20


def log_entry(p, log="t", uid=UID, created=CLIENT_TIME, leader="n1", replicas=(("n1", 1),), durability=1,
              replication=1, interval_ms=0, retain_bytes=0, retain_ms=0, compressions=3, fence=0):
    return (p.str("log", log).id16("log_uid", uid).u64("log_start", 5).u64("committed_end", 43)
            .u64("fence", fence).u64("bytes", 4321).u64("created", created).u64("term", 3).str("leader", leader)
            .list("replicas", [P().str("node", n).u8("role", r) for n, r in replicas])
            .u8("durability", durability).u8("replication", replication).u32("interval_ms", interval_ms)
            .u64("retain_bytes", retain_bytes).u64("retain_ms", retain_ms).u64("segment_bytes", 64 * MIB)
            .u8("compressions", compressions))


def hello(minor=0, max_frame=4 * MIB, idle_ms=30000, features=0, cluster=ANY, client="demo/1", ext=()):
    return (P().u16("minor", minor).u32("max_frame", max_frame).u32("idle_ms", idle_ms)
            .u64("features", features).id16("cluster_id", cluster).str("client", client).ext(*ext))


def hello_answer(auth_required=0, mechs=(), ext=()):
    return (P().u16("minor", 0).u32("max_frame", 4 * MIB).u32("idle_ms", 30000).u64("features", 0)
            .id16("cluster_id", CLUSTER).str("node", "n1").u32("max_batch", MIB).u16("max_inflight", 1024)
            .u8("auth_required", auth_required).str("server", "sidelog/1.0.0").strs("auth_mechs", mechs).ext(*ext))


def create_log(log="t", durability=1, replication=0, interval_ms=0, retain_bytes=0, retain_ms=0,
               segment_bytes=0, compressions=0, ext=()):
    return (P().str("log", log).u8("durability", durability).u8("replication", replication)
            .u32("interval_ms", interval_ms).u64("retain_bytes", retain_bytes).u64("retain_ms", retain_ms)
            .u64("segment_bytes", segment_bytes).u8("compressions", compressions).ext(*ext))


def produce(batch=CLIENT, flags=0, timeout_ms=5000, expected=NONE, fence=0, ext=(), log="t"):
    return (P().str("log", log).u8("flags", flags).zero().u32("timeout_ms", timeout_ms)
            .u64("expected_offset", expected).u64("fence", fence).ext(*ext).batch(batch))


def produced(base=41, after=43, append_time=APPEND_TIME, flags=0, ext=(UID_ANSWER,)):
    return (P().u64("base_offset", base).u64("next_offset", after).u64("append_time", append_time).u64("term", 3)
            .u8("durability", 1).u8("copies", 1).u8("flags", flags).zero().ext(*ext))


def fetch(start=0, value=41, name="", flags=0, min_bytes=1, max_bytes=MIB, max_wait_ms=500, ext=()):
    return (P().str("log", "t").u8("from", start).u8("flags", flags).u64("value", value)
            .str("position_name", name).u32("min_bytes", min_bytes).u32("max_bytes", max_bytes)
            .u32("max_wait_ms", max_wait_ms).ext(*ext))


def fetched(start, end, batches, ext=(UID_ANSWER,), log_start=5):
    return (P().u64("start_offset", start).u64("log_start", log_start).u64("committed_end", end)
            .ext(*ext).batches(batches))


def subscribe(start=0, value=41, name="", credit=MIB, ext=()):
    return (P().str("log", "t").u8("from", start).zero().u64("value", value).str("position_name", name)
            .u32("credit_bytes", credit).ext(*ext))


def named(log="t", ext=()): return P().str("log", log).ext(*ext)


def goaway(name, grace_ms, message, *tlvs):
    code, klass = ERRORS[name]
    return (P().u16("code", code).u8("class", klass).zero().u32("grace_ms", grace_ms).str("message", message)
            .error_ext(*tlvs))


def preface(name, plane, max_major, min_major, reserved=0, note=None):
    raw = b"\xfaSLG" + plane.encode() + bytes((max_major, min_major, reserved))
    return row(name, "preface_request", raw,
               {"plane": plane, "max_major": max_major, "min_major": min_major, "reserved": reserved}, note)


def preface_answer(name, plane, major, status="OK", note=None):
    code = 0 if status == "OK" else ERRORS[status][0]
    raw = b"\xfaSLG" + plane.encode("latin-1") + u8(major) + u16(code)
    return row(name, "preface_response", raw, {"plane": plane, "major": major, "status": code}, note)


def rows_session():
    yield preface("golden-preface-request", "C", 1, 1)
    yield preface_answer("golden-preface-response", "C", 1)
    yield preface("preface-range-1-9", "C", 9, 1, note="the server picks major 1")
    yield preface("preface-reserved-nonzero", "C", 1, 1, 0xAB, note="the reserved byte is ignored")
    yield preface("preface-major-2-only", "C", 2, 2)
    yield preface_answer("preface-unsupported-version", "C", 0, "UNSUPPORTED_VERSION")
    yield preface("preface-unknown-plane", "X", 1, 1)
    yield preface_answer("preface-op-not-allowed", "X", 0, "OP_NOT_ALLOWED")
    yield preface_answer("preface-tls-required", "C", 0, "TLS_REQUIRED")
    yield preface("preface-raft-control", "R", 1, 1)
    yield preface_answer("preface-forbidden", "R", 0, "FORBIDDEN")

    yield request("golden-hello-request", "HELLO", 1, hello())
    yield request("hello-request-full", "HELLO", 0xFFFFFFFF,
                  hello(9999, 16 * MIB, 0xFFFFFFFF, (0xF << 48) | 1, CLUSTER, "żółw/2", (GREASE, (0x0001, b""))),
                  note="minor negotiated down to 0; GREASE feature bits, an unassigned feature bit, GREASE and unknown TLVs are ignored")
    yield response("hello-response", "HELLO", 1, hello_answer())
    yield response("hello-response-auth", "HELLO", 1, hello_answer(1, ("token", "later"), (GREASE,)))
    yield error("hello-error-wrong-cluster", "HELLO", 1, "WRONG_CLUSTER", "another cluster")
    yield error("hello-error-max-frame", "HELLO", 1, "INVALID_ARGUMENT", "max_frame too small", t_field("max_frame"),
                t_limit(MIB + 8192), extra_class=4, note="an error answer to HELLO always carries class bit 04")
    yield request("auth-request", "AUTH", 2, P().str("mech", "token").bytes("data", b"s3cret").ext())
    yield response("auth-response", "AUTH", 2, P().u8("done", 1).bytes("data", b"").ext())
    yield response("auth-response-step", "AUTH", 2, P().u8("done", 0).bytes("data", b"\x00\xff").ext())
    yield error("auth-error", "AUTH", 2, "AUTH_FAILED", "no such token")
    yield error("auth-error-third", "AUTH", 2, "AUTH_FAILED", "no such token", extra_class=4)
    yield request("ping-request", "PING", 3, P().bytes("data", b"ping").ext())
    yield request("ping-request-empty", "PING", 4, P().bytes("data", b"").ext())
    yield request("ping-request-64", "PING", 5, P().bytes("data", bytes(range(64))).ext())
    yield request("ping-request-more-and-ignorable-flags", "PING", 6, P().bytes("data", b"").ext(), 0xC2,
                  note="MORE on a request and the flags 40 and 80 are ignored")
    yield response("ping-response", "PING", 3, P().bytes("data", b"ping").ext())
    yield request("goaway-shutting-down", "GOAWAY", 0, goaway("SHUTTING_DOWN", 2000, "restart",
                                                             t_leader("n2", 7, "10.0.0.2:8400")))
    yield request("goaway-malformed", "GOAWAY", 0, goaway("MALFORMED", 0, "length 7"))
    yield request("goaway-frame-too-large", "GOAWAY", 0, goaway("FRAME_TOO_LARGE", 0, "", t_limit(4 * MIB)))
    yield request("goaway-client", "GOAWAY", 0, P().u16("code", 0).u8("class", 0).zero().u32("grace_ms", 1000)
                  .str("message", "bye").error_ext(), note="a client that has finished: code 0")
    yield request("cancel", "CANCEL", 7, P().ext())
    yield request("credit", "CREDIT", 7, P().u32("add_bytes", 65536).ext())


def rows_admin():
    yield request("describe-cluster-request", "DESCRIBE_CLUSTER", 8, P().ext())
    yield response("describe-cluster-response", "DESCRIBE_CLUSTER", 8,
                   P().id16("cluster_id", CLUSTER).u64("term", 2).str("catalog_leader", "n1").list("nodes", [
                       P().str("node", "n1").id16("node_id", NODE_ID).str("address", "127.0.0.1:8400").u8("state", 1)
                       .u8("role", 1).str("zone", "").str("version", "1.0.0")]).ext())
    yield response("describe-cluster-response-three", "DESCRIBE_CLUSTER", 8,
                   P().id16("cluster_id", CLUSTER).u64("term", 12).str("catalog_leader", "").list("nodes", [
                       P().str("node", f"n{i}").id16("node_id", bytes([i]) * 16).str("address", f"10.0.0.{i}:8400")
                       .u8("state", i).u8("role", 1 + (i == 3)).str("zone", "ab"[i % 2]).str("version", "1.0.0")
                       for i in (1, 2, 3)]).ext())
    yield request("create-log-request", "CREATE_LOG", 9, create_log())
    yield request("create-log-request-full", "CREATE_LOG", 9,
                  create_log("Orders_2026.eu-1", 2, 1, 250, 1 << 40, 604_800_000, 16 * MIB, 7))
    yield request("create-log-request-restore", "CREATE_LOG", 9, create_log(ext=((0x8003, OLD_UID),)),
                  note="TLV 3 restore_uid: bring this deleted log back; the settings are ignored")
    yield response("create-log-response", "CREATE_LOG", 9, P().id16("log_uid", UID).ext(UID_ANSWER))
    yield request("delete-log-request", "DELETE_LOG", 10, named())
    yield response("delete-log-response", "DELETE_LOG", 10, P().ext())
    yield request("describe-log-request", "DESCRIBE_LOG", 11, named())
    yield response("describe-log-response", "DESCRIBE_LOG", 11, log_entry(P()).ext(UID_ANSWER))
    yield request("describe-log-request-log-uid", "DESCRIBE_LOG", 11, named(ext=(UID_ASK,)))
    yield response("describe-log-response-log-uid", "DESCRIBE_LOG", 11,
                   log_entry(P(), leader="", replicas=(("n1", 1), ("n2", 1), ("n3", 2)), durability=1, replication=3,
                             retain_bytes=1 << 40, retain_ms=604_800_000, compressions=7, fence=9).ext())
    yield request("list-logs-request", "LIST_LOGS", 12, P().str("prefix", "").ext())
    yield request("list-logs-request-prefix", "LIST_LOGS", 12, P().str("prefix", "or").ext())
    yield request("list-logs-request-trash", "LIST_LOGS", 12, P().str("prefix", "").ext((0x8003, b"")),
                  note="TLV 3: list the deleted logs that can still be restored")
    yield response("list-logs-response-empty", "LIST_LOGS", 12, P().list("logs", []).ext())
    yield response("list-logs-response-more", "LIST_LOGS", 12,
                   P().list("logs", [log_entry(P(), "a"), log_entry(P(), "b", OLD_UID)]).ext(), more=True)
    yield response("list-logs-response-last", "LIST_LOGS", 12, P().list("logs", [log_entry(P(), "c")]).ext())
    yield response("list-logs-response-trash", "LIST_LOGS", 12,
                   P().list("logs", [log_entry(P(), "t", OLD_UID, created=APPEND_TIME, leader="", replicas=())]).ext(),
                   note="created is the time of deletion")
    yield request("trim-request", "TRIM", 13, P().str("log", "t").u64("offset", 42).ext(UID_ASK))
    yield response("trim-response", "TRIM", 13, P().u64("log_start", 41).ext())
    yield request("alter-log-request", "ALTER_LOG", 14, P().str("log", "t").u64("retain_bytes", NONE)
                  .u64("retain_ms", 86_400_000).u8("replication", 0).u8("compressions", 1).ext())
    yield response("alter-log-response", "ALTER_LOG", 14, P().ext())
    yield request("transfer-leader-request", "TRANSFER_LEADER", 15, P().str("log", "t").str("node", "").ext())
    yield response("transfer-leader-response", "TRANSFER_LEADER", 15, P().str("leader", "n1").u64("term", 4).ext())
    yield request("remove-node-request", "REMOVE_NODE", 16, P().str("node", "n3").u8("flags", 1).ext())
    yield response("remove-node-response", "REMOVE_NODE", 16, P().ext())


def rows_write():
    yield request("golden-produce-request", "PRODUCE", 2, produce())
    yield request("golden-produce-request-log-uid", "PRODUCE", 2, produce(ext=(UID_ASK,)))
    yield response("golden-produce-response", "PRODUCE", 2, produced())
    yield response("golden-produce-response-log-uid", "PRODUCE", 2, produced(ext=()))
    yield error("golden-not-leader", "PRODUCE", 2, "NOT_LEADER", "not leader", t_leader("n2", 7, "10.0.0.2:8400"))
    yield request("produce-request-conditional", "PRODUCE", 3,
                  produce(IDEMPOTENT, 1, 0, 43, 9, (UID_ASK, GREASE)),
                  note="NO_FORWARD, default deadline, expected offset, fence, idempotent batch, GREASE TLV")
    yield request("produce-request-gzip", "PRODUCE", 4, produce(GZIP))
    yield request("produce-request-log-uid-not-critical", "PRODUCE", 5, produce(ext=(UID_ANSWER,)),
                  note="a known TLV type is understood with or without bit 15")
    yield response("produce-response-duplicate", "PRODUCE", 3, produced(flags=1, ext=()))
    yield response("produce-response-duplicate-gone", "PRODUCE", 3, produced(NONE, NONE, 0, 1, ()),
                   note="the original has left the window")
    yield request("init-producer-request", "INIT_PRODUCER", 6, P().str("log", "t").str("name", "billing").ext())
    yield response("init-producer-response", "INIT_PRODUCER", 6,
                   P().u64("producer_id", PRODUCER[0]).u16("epoch", 2).u64("next_seq", 7).u16("window", 64).ext(UID_ANSWER))
    yield request("fence-request", "FENCE", 7, P().str("log", "t").u64("token", 9).ext(UID_ASK))
    yield response("fence-response", "FENCE", 7, P().u64("token", 9).u64("next_offset", 43).ext())


def rows_read():
    yield request("fetch-request-offset", "FETCH", 20, fetch())
    yield request("fetch-request-earliest", "FETCH", 21, fetch(1, 0, max_wait_ms=0))
    yield request("fetch-request-next", "FETCH", 22, fetch(2, 0, flags=1, min_bytes=65536, max_wait_ms=600_000))
    yield request("fetch-request-time", "FETCH", 23, fetch(3, APPEND_TIME))
    yield request("fetch-request-position", "FETCH", 24, fetch(4, 0, "billing"))
    yield request("fetch-request-ext", "FETCH", 25, fetch(ext=((0x0001, u64(43)), UID_ASK, (0x0003, u64(3)))),
                  note="after, log_uid, prev_term")
    yield request("fetch-request-unused-fields", "FETCH", 26, fetch(1, NONE, "not a name!"),
                  note="value and position_name are not used by from = earliest and so are ignored")
    yield response("fetch-response", "FETCH", 20, fetched(42, 44, [STAMPED, NEXT]),
                   note="start_offset 42 lies inside the first batch (41 and 42)")
    yield response("fetch-response-empty", "FETCH", 22, fetched(43, 43, []))
    yield error("fetch-error-range", "FETCH", 20, "OFFSET_OUT_OF_RANGE", "below log_start", t_range(5, 43))
    yield request("subscribe-request", "SUBSCRIBE", 30, subscribe())
    yield request("subscribe-request-position", "SUBSCRIBE", 31,
                  subscribe(4, 0, "billing", 0, ((0x0001, u64(43)), UID_ASK, (0x0003, u64(3)))))
    yield response("subscribe-response", "SUBSCRIBE", 30,
                   P().u64("start_offset", 42).u64("log_start", 5).u64("committed_end", 43).ext(UID_ANSWER), more=True)
    yield error("subscribe-error", "SUBSCRIBE", 31, "POSITION_NOT_FOUND", "no such position")
    yield response("deliver", "DELIVER", 30, P().u64("committed_end", 44).ext().batches([STAMPED, NEXT]), more=True)
    yield error("deliver-error-canceled", "DELIVER", 30, "CANCELED", "canceled")
    yield error("deliver-error-shutting-down", "DELIVER", 30, "SHUTTING_DOWN", "restart",
                t_leader("n2", 7, "10.0.0.2:8400"), retry_after_ms=100)
    yield request("find-offset-request", "FIND_OFFSET", 32, P().str("log", "t").u64("time", APPEND_TIME).ext())
    yield response("find-offset-response", "FIND_OFFSET", 32,
                   P().u64("offset", 41).u64("log_start", 5).u64("committed_end", 43).ext())
    put = lambda offset, expected: (P().str("log", "t").str("name", "billing").u64("offset", offset)
                                    .u64("expected", expected).ext(UID_ASK))
    yield request("put-position-request", "PUT_POSITION", 33, put(43, 41))
    yield request("put-position-request-any", "PUT_POSITION", 34, put(0, NONE))
    yield request("put-position-request-delete", "PUT_POSITION", 35, put(NONE, NONE))
    yield response("put-position-response", "PUT_POSITION", 33, P().u64("offset", 43).ext())
    yield response("put-position-response-deleted", "PUT_POSITION", 35, P().u64("offset", NONE).ext())
    yield request("get-position-request", "GET_POSITION", 36, P().str("log", "t").str("name", "billing").ext())
    yield response("get-position-response", "GET_POSITION", 36, P().u64("offset", 43).ext(UID_ANSWER))
    yield request("list-positions-request", "LIST_POSITIONS", 37, named())
    place = lambda n: P().str("name", n).u64("offset", 43).u64("updated", APPEND_TIME)
    yield response("list-positions-response-more", "LIST_POSITIONS", 37, P().list("positions", [place("a"), place("b")]).ext(), more=True)
    yield response("list-positions-response-last", "LIST_POSITIONS", 37, P().list("positions", [place("c")]).ext())


def rows_frames():
    yield from rows_session()
    yield from rows_admin()
    yield from rows_write()
    yield from rows_read()

# ---------------------------------------------------------------- batches.json


def batch_row(name, batch, note=None, produce="OK", reader="OK"):
    r = row(name, "batch", batch.raw, batch.fields, note)
    r["expect"] = {"produce": produce, "reader": reader}
    return r


def edited(base_id, base, name, at, remove, insert, fix, expect, note, kind):
    """One splice in a valid base; `fix` then makes good the named checks, in this order:
    body_crc, header_crc (batches), length (frames)."""
    raw = bytearray(base)
    raw[at:at + remove] = insert
    if "body_crc" in fix:
        raw[40:44] = u32(zlib.crc32(bytes(raw[44:])))
    if "header_crc" in fix:
        raw[4:8] = u32(zlib.crc32(bytes(raw[8:72])))
    if "length" in fix:
        raw[0:4] = u32(len(raw) - 4)
    r = {"id": name, "kind": kind, "hex": bytes(raw).hex(), "base": base_id,
         "edit": {"at": at, "remove": remove, "insert": insert.hex(), "fix": list(fix)}, "expect": expect}
    if note:
        r["note"] = note
    return r


BOTH = ("body_crc", "header_crc")
HEAD = ("header_crc",)


def bad_batches(bases):
    """Negative batches: (id, base, at, remove, insert, fix, produce, reader, note)."""
    bad, big, comp = "CORRUPT_BATCH", "BATCH_TOO_LARGE", "UNSUPPORTED_COMPRESSION"
    g = "golden-batch-client"
    gz = "gzip"
    flip = lambda base, at: bytes([bases[base][at] ^ 1])
    size = len(bases[g])
    first = 72                       # the first record of the golden batch: len, flags, client_time, "hello"
    second = 72 + 18                 # the second: len, flags, client_time, klen "k", headers, "w"
    rows = [
        ("bad-magic", g, 3, 1, b"2", (), bad, bad, "SLB2"),
        ("bad-magic-zero", g, 0, 4, bytes(4), (), bad, bad, None),
        ("bad-header-crc", g, 7, 1, flip(g, 7), (), bad, bad, None),
        ("bad-header-crc-index", g, 15, 1, flip(g, 15), (), bad, bad, "the leader's fields are ignored but header_crc covers them"),
        ("bad-header-crc-append-time", g, 39, 1, flip(g, 39), (), bad, bad, None),
        ("bad-header-crc-body-crc", g, 43, 1, flip(g, 43), (), bad, bad, "body_crc lies under header_crc"),
        ("bad-header-crc-last-byte", g, 71, 1, flip(g, 71), ("body_crc",), bad, bad, "byte 71 is the last one under header_crc; body_crc was made good in the body's range but header_crc was not"),
        ("bad-body-crc", g, 43, 1, flip(g, 43), HEAD, bad, bad, None),
        ("bad-body-crc-value", g, size - 1, 1, flip(g, size - 1), (), bad, bad, "the last byte of the body"),
        ("bad-body-crc-count", g, 51, 1, b"\x03", HEAD, bad, bad, "body_crc covers bytes 44 to 71 too"),
        ("bad-body-crc-seq", g, 71, 1, b"\x01", HEAD, bad, bad, "byte 71 lies under both checksums"),
        ("bad-body-crc-body-only", g, 40, 4, u32(zlib.crc32(bases[g][72:])), HEAD, bad, bad, "body_crc taken over the body alone, from byte 72"),
        ("bad-header-crc-from-0", g, 4, 4, u32(zlib.crc32(bases[g][:72])), (), bad, bad, "header_crc taken over bytes 0 to 71"),
        ("count-zero", g, 48, 4, u32(0), BOTH, bad, bad, None),
        ("count-one-of-two", g, 48, 4, u32(1), BOTH, bad, bad, None),
        ("count-three-of-two", g, 48, 4, u32(3), BOTH, bad, bad, None),
        ("count-65536", g, 48, 4, u32(65536), BOTH, big, bad, "over the limit of records per batch"),
        ("count-max", g, 48, 4, u32(0xFFFFFFFF), BOTH, big, bad, "over the limit of records per batch"),
        ("control-bit", g, 52, 2, u16(0x0010), BOTH, bad, bad, "control batches never appear on plane C"),
        ("attribute-bit-5", g, 52, 2, u16(0x0020), BOTH, bad, bad, None),
        ("attribute-bit-8", g, 52, 2, u16(0x0100), BOTH, bad, bad, None),
        ("attribute-bit-15", g, 52, 2, u16(0x8000), BOTH, bad, bad, None),
        ("compression-3", g, 52, 2, u16(3), BOTH, comp, comp, "reserved; no log's settings can name it"),
        ("compression-15", g, 52, 2, u16(15), BOTH, comp, comp, None),
        ("body-len-short", g, 44, 4, u32(42), BOTH, bad, bad, "body_len one too low: a byte is left over"),
        ("body-len-long", g, 44, 4, u32(44), BOTH, bad, bad, "body_len one too high"),
        ("body-len-zero", g, 44, 4, u32(0), BOTH, bad, bad, None),
        ("body-len-max", g, 44, 4, u32(0xFFFFFFFF), BOTH, bad, bad, "nothing may be allocated by this length"),
        ("truncated-body", g, size - 1, 1, b"", (), bad, bad, None),
        ("truncated-header", g, 71, size - 71, b"", (), bad, bad, "71 bytes"),
        ("empty", g, 0, size, b"", (), bad, bad, "a PRODUCE without a batch"),
        ("trailing-byte", g, size, 0, b"\x00", (), bad, bad, None),
        ("two-batches", g, size, 0, bases[g], (), bad, None, "a PRODUCE carries exactly one batch; an answer may carry several"),
        ("record-len-overrun", g, second, 4, u32(0x16), BOTH, bad, bad, "the last record reaches one byte past the body"),
        ("record-len-short", g, second, 4, u32(0x14), BOTH, bad, bad, "a byte is left over after the last record"),
        ("record-len-8", g, first, 4, u32(8), BOTH, bad, bad, "shorter than flags and client_time"),
        ("record-len-zero", g, first, 4, u32(0), BOTH, bad, bad, None),
        ("record-len-max", g, first, 4, u32(0xFFFFFFFF), BOTH, bad, bad, None),
        ("record-flag-label", g, first + 4, 1, b"\x08", BOTH, bad, bad, "LABEL is reserved and refused in v1.0"),
        ("record-flag-10", g, first + 4, 1, b"\x10", BOTH, bad, bad, None),
        ("record-flag-80", g, first + 4, 1, b"\x80", BOTH, bad, bad, None),
        ("record-key-overrun", g, second + 13, 2, u16(0xFFFF), BOTH, "OK", bad, "what lies inside a record is the reader's business"),
        ("record-headers-overrun", g, second + 16, 2, u16(2), BOTH, "OK", bad, "two headers announced, one there"),
        ("record-null-with-value", g, first + 4, 1, b"\x04", BOTH, "OK", bad, "NULL_VALUE and five value bytes"),
        ("record-time-above-2-53", g, first + 5, 8, u64(1 << 53), BOTH, "OK", bad, "client_time above 2^53-1"),
        ("producer-id-above-2-53", "idempotent", 56, 8, u64(1 << 53), BOTH, bad, bad, None),
        ("producer-id-none", "idempotent", 56, 8, u64(NONE), BOTH, bad, bad, "NONE is not allowed here"),
        ("seq-above-2-53", "idempotent", 64, 8, u64(1 << 53), BOTH, bad, bad, None),
        ("gzip-raw-len-over-limit", gz, 72, 4, u32(MIB + 1), BOTH, big, bad, "raw_len above a max_batch of 1 MiB"),
        ("gzip-raw-len-low", gz, 72, 4, u32(42), BOTH, "OK", bad, "the server cannot see it; the reader must"),
        ("gzip-raw-len-high", gz, 72, 4, u32(44), BOTH, "OK", bad, None),
        ("gzip-count-three-of-two", gz, 48, 4, u32(3), BOTH, "OK", bad, None),
        ("gzip-damaged", gz, 76, 2, b"\x00\x00", BOTH, "OK", bad, "not gzip at all"),
    ]
    for name, base, at, remove, insert, fix, p, r, note in rows:
        yield edited(base, bases[base], name, at, remove, insert, fix, {"produce": p, **({"reader": r} if r else {})}, note, "batch")
    short = bytearray(bases[gz][:75])
    short[44:48] = u32(3)
    short[40:44] = u32(zlib.crc32(bytes(short[44:])))
    short[4:8] = u32(zlib.crc32(bytes(short[8:72])))
    yield {"id": "gzip-body-3-bytes", "kind": "batch", "hex": bytes(short).hex(),
           "expect": {"produce": bad, "reader": bad}, "note": "no room for raw_len"}


def rows_batches():
    good = [
        batch_row("golden-batch-client", CLIENT),
        batch_row("golden-batch-stamped", STAMPED, "same body bytes, same body_crc: only 64 bytes are restamped"),
        batch_row("one-record", ONE),
        batch_row("stamped-next", NEXT),
        batch_row("empty-value", Batch([record(b"")])),
        batch_row("null-value", Batch([record(None)])),
        batch_row("null-value-with-key", Batch([record(None, key=b"gone")])),
        batch_row("null-value-with-headers", Batch([record(None, headers=[("why", b"erased")])])),
        batch_row("empty-key", Batch([record(b"v", key=b"")]), "an empty key is a key"),
        batch_row("headers-none-listed", Batch([record(b"v", headers=[])])),
        batch_row("headers-many", Batch([record(b"v", key=b"\x00\xff", headers=[
            ("content-type", b"application/json"), ("clé", b""), ("dup", b"1"), ("dup", b"\x00\x01")])])),
        batch_row("client-time-unset", Batch([record(b"v", client_time=0)])),
        batch_row("client-time-max", Batch([record(b"v", client_time=MAX_SAFE)])),
        batch_row("many-records", MANY),
        batch_row("idempotent", IDEMPOTENT),
        batch_row("idempotent-limits", Batch(TWO, producer=(MAX_SAFE, 65535, MAX_SAFE))),
        batch_row("idempotent-stamped", Batch(TWO, producer=PRODUCER, stamp=STAMP)),
        batch_row("epoch-and-seq-without-producer", Batch(TWO, producer=(0, 9, 99)),
                  "producer_id 0: epoch and seq are ignored"),
        batch_row("client-stamps-ignored", Batch(TWO, stamp=(1 << 60, MAX_SAFE, 1 << 53, 1)),
                  "index, term, base_offset and append_time of a client are ignored, whatever they hold", reader="CORRUPT_BATCH"),
        batch_row("gzip", GZIP, "one stored block"),
        batch_row("gzip-huffman", Batch(HUFFMAN_PLAIN, compression=1, packed=HUFFMAN)),
        batch_row("gzip-stamped", Batch(TWO, compression=1, stamp=STAMP)),
        batch_row("zstd", ZSTD, "one raw block; a log takes it only if its settings name zstd; a reader without zstd reports UNSUPPORTED_COMPRESSION",
                  produce="UNSUPPORTED_COMPRESSION"),
        batch_row("control", Batch([], attributes=0x10, count=0, control=b"\x01\x00", stamp=(59, 3, 44, APPEND_TIME)),
                  "a control batch as it lies on disk: index, but no offset; never on plane C",
                  produce="CORRUPT_BATCH", reader="CORRUPT_BATCH"),
    ]
    yield from good
    yield from bad_batches({r["id"]: bytes.fromhex(r["hex"]) for r in good})


# ---------------------------------------------------------------- output


def render(name, about, rows):
    rows = list(rows)
    seen = set()
    for r in rows:
        assert r["id"] not in seen, f"{name}: {r['id']} twice"
        seen.add(r["id"])
    lines = ",\n".join("  " + json.dumps(r, ensure_ascii=False) for r in rows)
    return (f'{{"schema": "sidelog-vectors/1", "protocol": "1.0", "file": "{name}", "about": "{about}", "rows": [\n'
            f"{lines}\n]}}\n")


FILES = {
    "frames": ("valid prefaces and frames of plane C, decoded", rows_frames),
    "batches": ("record batches: valid ones decoded, bad ones with the code they earn", rows_batches),
}


def main():
    stale = 0
    for name, (about, rows) in FILES.items():
        path, out = HERE / f"{name}.json", render(name, about, rows())
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text("utf-8") != out:
                print(f"{path.name}: differs from what generate.py writes", file=sys.stderr)
                stale = 1
        else:
            path.write_text(out, "utf-8")
            print(f"{path.name}: {out.count(chr(10)) - 2} rows")
    missing = set(GOLDEN) - USED_GOLDEN
    assert not missing, f"golden bytes not reproduced: {sorted(missing)}"
    return stale


if __name__ == "__main__":
    sys.exit(main())
