"""negatives.json: prefaces and frames that are refused, ignored or end the connection."""
from .encode import NONE, RESPONSE, blob, tlv, u16, u32, u64, u8
from .rows import MARKS, MIB, UID, edited
from .frames import rows_frames

INVALID, FEATURE = "INVALID_ARGUMENT", "UNSUPPORTED_FEATURE"
HOW_FATAL = ("goaway", "close", "preface")


class Negatives:
    """Collects negative frames; `base` names a row of frames.json."""

    def __init__(self, frames):
        self.base = {r["id"]: bytes.fromhex(r["hex"]) for r in frames}
        self.rows = []

    def add(self, name, base, at, remove, insert, error, how="answer", fix=("length",), field=None, state="ready",
            seen_by="codec", note=None, fatal=None, kind=None, limit=None, to=None):
        raw = self.base[base]
        if kind is None:
            kind = "preface_request" if len(raw) == 8 else ("response" if raw[5] & RESPONSE else "request")
        expect = {"error": error, "how": how, "fatal": how in HOW_FATAL if fatal is None else fatal}
        for key, value in (("field", field), ("limit", limit), ("to", to)):
            if value is not None:
                expect[key] = value
        if to is None:
            expect["state"] = state
        expect["seen_by"] = seen_by
        self.rows.append(edited(base, raw, name, at, remove, insert, fix, expect, note, kind))

    def at(self, base, field):
        """Start and end of a field of the base."""
        return next((a, b) for f, _, a, b in MARKS[base] if f == field)

    def replace(self, name, base, where, raw, error=INVALID, **more):
        """Puts other bytes in place of a whole field."""
        a, b = self.at(base, where)
        if error == INVALID:
            more.setdefault("field", where)
        self.add(name, base, a, b - a, raw, error, **more)


def bad_prefaces(n):
    g = "golden-preface-request"
    n.add("preface-first-byte-00", g, 0, 1, b"\x00", None, "close", (), state="new", note="none of TLS, preface, HTTP")
    n.add("preface-first-byte-15", g, 0, 1, b"\x15", None, "close", (), state="new", note="a TLS alert is no handshake")
    n.add("preface-wrong-magic", g, 3, 1, b"H", None, "close", (), state="new")
    n.add("preface-wrong-second-byte", g, 1, 1, b"s", None, "close", (), state="new")
    n.add("preface-plane-x", g, 4, 1, b"X", "OP_NOT_ALLOWED", "preface", (), state="new", seen_by="server")
    n.add("preface-plane-c-lower-case", g, 4, 1, b"c", "OP_NOT_ALLOWED", "preface", (), state="new", seen_by="server")
    for plane in "RBG":
        n.add(f"preface-plane-{plane.lower()}-without-right", g, 4, 1, plane.encode(), "FORBIDDEN", "preface", (),
              state="new", seen_by="server", note="a node that takes no peers")
    for name, versions in (("major-2", b"\x02\x02"), ("major-0", b"\x00\x00"), ("min-above-max", b"\x01\x02"),
                           ("majors-2-to-255", b"\xff\x02")):
        n.add(f"preface-{name}", g, 5, 2, versions, "UNSUPPORTED_VERSION", "preface", (), state="new", seen_by="server")


def bad_headers(n):
    ping, fetch, hello_id = "ping-request", "fetch-request-next", "golden-hello-request"
    bad, large = "MALFORMED", "FRAME_TOO_LARGE"
    for length in (0, 7):
        n.add(f"length-{length}", ping, 0, 4, u32(length), bad, "goaway", ())
    n.add("length-max-plus-1", ping, 0, 4, u32(4 * MIB + 1), large, "goaway", (), limit=str(4 * MIB),
          note="answered without waiting for the payload", seen_by="server")
    n.add("length-ffffffff", ping, 0, 4, u32(0xFFFFFFFF), large, "goaway", (), limit=str(4 * MIB),
          note="no memory may be reserved for it", seen_by="server")
    n.add("length-before-ready", hello_id, 0, 4, u32(16385), large, "goaway", (), state="preface", limit="16384",
          seen_by="server")
    for flag in (0x04, 0x08, 0x10, 0x20, 0x3C):
        n.add(f"flags-{flag:02x}", ping, 5, 1, u8(flag), bad, "goaway", ())
    n.add("flags-04-on-a-response", "ping-response", 5, 1, u8(RESPONSE | 4), bad, "goaway", ())
    n.add("id-0", ping, 8, 4, u32(0), bad, "goaway", ())
    n.add("status-1", ping, 6, 2, u16(1), bad, "goaway", ())
    n.add("status-ffff", ping, 6, 2, u16(0xFFFF), bad, "goaway", ())
    for op in (0x06, 0x0F, 0x19, 0x23, 0x38, 0x5F, 0x70, 0x7F, 0x80, 0xFF):
        n.add(f"unknown-op-{op:02x}", ping, 4, 1, u8(op), "UNKNOWN_OP", fix=(), seen_by="server")
    for op in (0x60, 0x6F):
        n.add(f"peer-op-{op:02x}", ping, 4, 1, u8(op), "OP_NOT_ALLOWED", "goaway", (), seen_by="server")
    n.add("deliver-as-request", "deliver", 5, 1, u8(0), "OP_NOT_ALLOWED", "goaway", (), seen_by="server", kind="request")
    n.add("second-hello", hello_id, 8, 4, u32(9), "OP_NOT_ALLOWED", "goaway", (), seen_by="server")
    n.add("ping-before-hello", ping, 8, 4, u32(9), "OP_NOT_ALLOWED", "goaway", (), state="preface", seen_by="server")
    n.add("unknown-op-before-hello", ping, 4, 1, u8(0x7F), "OP_NOT_ALLOWED", "goaway", (), state="preface", seen_by="server")
    n.add("duplicate-id", fetch, len(n.base[fetch]), 0, n.base[fetch], "DUPLICATE_ID", "goaway", (), seen_by="server",
          kind="bytes", note="two FETCHes with one id, the first of which waits; needs a log t without records")
    n.add("response-to-nothing", "ping-response", 8, 4, u32(0x01020304), None, "ignored", (), seen_by="server")
    n.add("response-to-nothing-bad-payload", "ping-response", 12, 4, u32(99), None, "ignored", (), seen_by="server")
    n.add("cancel-of-nothing", "cancel", 8, 4, u32(0x01020304), None, "ignored", (), seen_by="server")
    n.add("credit-of-nothing", "credit", 8, 4, u32(0x01020304), None, "ignored", (), seen_by="server")
    n.add("cancel-of-nothing-bad-payload", "cancel", 14, 0, b"\x00", None, "ignored", seen_by="server")
    n.add("unknown-minor", hello_id, 12, 2, u16(9999), None, "ok", (), state="preface", seen_by="server")


# One request of every op whose payload a server judges by itself, for the mechanical negatives.
PLAIN = {
    "hello": "golden-hello-request", "auth": "auth-request", "ping": "ping-request",
    "describe-cluster": "describe-cluster-request", "create-log": "create-log-request-full",
    "delete-log": "delete-log-request", "describe-log": "describe-log-request", "list-logs": "list-logs-request-prefix",
    "trim": "trim-request", "alter-log": "alter-log-request", "transfer-leader": "transfer-leader-request",
    "remove-node": "remove-node-request", "produce": "golden-produce-request", "init-producer": "init-producer-request",
    "fence": "fence-request", "fetch": "fetch-request-offset", "subscribe": "subscribe-request",
    "find-offset": "find-offset-request", "put-position": "put-position-request",
    "get-position": "get-position-request", "list-positions": "list-positions-request",
}


def bad_payloads(n):
    """Mechanical ones: every field cut, every u64 out of range, one byte too many."""
    for op, base in PLAIN.items():
        # An error answer to HELLO ends the connection, whatever its code.
        more = {"state": "preface", "fatal": True} if op == "hello" else {}
        size = len(n.base[base])
        for field, kind, a, b in MARKS[base]:
            if kind == "batch":
                continue
            n.add(f"short-{op}-{field}", base, b - 1, size - b + 1, b"", INVALID, field=field, **more)
            if kind in ("u64", "u64n"):
                n.add(f"above-2-53-{op}-{field}", base, a, 8, u64(1 << 53), INVALID, field=field, **more)
            if kind == "u64":
                n.add(f"none-{op}-{field}", base, a, 8, u64(NONE), INVALID, field=field, **more)
        if op != "produce":
            n.add(f"trailing-{op}", base, size, 0, b"\x00", INVALID, field="end", **more)
        ext = n.at(base, "ext")
        if ext[1] - ext[0] == 2:
            critical = b"\x00\x04\xfa\xce\x00\x00"
            n.add(f"unknown-critical-tlv-{op}", base, ext[0], 2, critical, FEATURE, **more)
            twice = (tlv(0x1A1A, b"") + tlv(0x1A1A, b"x"))
            n.add(f"grease-twice-{op}", base, ext[0], 2, u16(len(twice)) + twice, INVALID, field="ext", **more)


def bad_values(n):
    bad_utf8 = {"ff": b"tok\xff\xff", "overlong": b"tok\xc0\x80", "surrogate": b"to\xed\xa0\x80",
                "cut": b"tok\xe2\x82", "above-10ffff": b"t\xf4\x90\x80\x80"}
    for name, raw in bad_utf8.items():
        n.replace(f"utf8-{name}", "auth-request", "mech", u16(5) + raw)
    n.replace("utf8-hello-client", "golden-hello-request", "client", u16(1) + b"\xff", state="preface", fatal=True)
    n.replace("utf8-list-logs-prefix", "list-logs-request-prefix", "prefix", u16(1) + b"\xff")
    n.replace("utf8-transfer-leader-node", "transfer-leader-request", "node", u16(1) + b"\xff")
    names = {"empty": b"", "201-bytes": b"a" * 201, "dot": b".hidden", "dollar": b"$cluster", "slash": b"a/b",
             "space": b"a b", "letter-beyond-ascii": "ö".encode(), "nul": b"a\x00", "not-utf8": b"\xff"}
    for name, raw in names.items():
        n.replace(f"name-{name}", "describe-log-request", "log", u16(len(raw)) + raw)
    for op in ("produce", "create-log", "fetch", "put-position"):
        n.replace(f"name-{op}", PLAIN[op], "log", u16(1) + b"/")
    for op in ("init-producer", "put-position", "get-position"):
        n.replace(f"name-{op}-name", PLAIN[op], "name", u16(4) + b".dot")
    n.replace("name-fetch-position-name", "fetch-request-position", "position_name", u16(0))
    n.replace("name-subscribe-position-name", "subscribe-request-position", "position_name", u16(3) + b"a/b")
    n.replace("prefix-201-bytes", "list-logs-request", "prefix", u16(201) + b"a" * 201)
    n.replace("ping-65-bytes", "ping-request", "data", blob(bytes(65)))
    n.replace("flags-produce-02", "golden-produce-request", "flags", u8(2))
    n.replace("flags-produce-80", "golden-produce-request", "flags", u8(0x80))
    n.replace("flags-fetch-02", "fetch-request-offset", "flags", u8(2))
    n.replace("flags-remove-node-02", "remove-node-request", "flags", u8(2))
    n.replace("reserved-produce", "golden-produce-request", "reserved", u8(1))
    n.replace("reserved-subscribe", "subscribe-request", "reserved", u8(1))
    n.replace("from-fetch-5", "fetch-request-offset", "from", u8(5))
    n.replace("from-subscribe-255", "subscribe-request", "from", u8(255))
    log = "create-log-request-full"
    for field, value in (("durability", 0), ("durability", 4), ("replication", 2), ("replication", 7), ("compressions", 8),
                         ("compressions", 0x80)):
        n.replace(f"create-log-{field}-{value}", log, field, u8(value))
    n.replace("create-log-interval-0", log, "interval_ms", u32(0), seen_by="server")
    n.replace("create-log-interval-60001", log, "interval_ms", u32(60001), seen_by="server")
    n.replace("create-log-segment-small", log, "segment_bytes", u64(MIB - 1), seen_by="server")
    n.replace("create-log-segment-large", log, "segment_bytes", u64((1 << 30) + 1), seen_by="server")
    n.replace("create-log-interval-three-copies", log, "replication", u8(3), seen_by="server",
              note="durability interval allows one copy only")
    n.replace("alter-log-replication-4", "alter-log-request", "replication", u8(4))
    n.replace("alter-log-compressions-8", "alter-log-request", "compressions", u8(8))
    n.replace("hello-max-frame-small", "golden-hello-request", "max_frame", u32(MIB + 8191), state="preface", fatal=True,
              limit=str(MIB + 8192), seen_by="server")
    n.replace("hello-other-cluster", "golden-hello-request", "cluster_id", b"\x01" * 16, "WRONG_CLUSTER", state="preface",
              fatal=True, seen_by="server")
    n.replace("subscribe-credit-2-31", "subscribe-request", "credit_bytes", u32(1 << 31), "FLOW_CONTROL", seen_by="server",
              note="needs the log t")
    n.replace("no-such-log", "describe-log-request", "log", u16(200) + b"z" * 200, "LOG_NOT_FOUND", seen_by="server",
              note="200 bytes are a name")


def bad_exts(n):
    def ext(name, base, body, error=INVALID, **more):
        n.replace(name, base, "ext", u16(len(body)) + body, error, **more)
    ping, fetch = "ping-request", "fetch-request-offset"
    ext("ext-one-byte", ping, b"\x00")
    ext("ext-three-bytes", ping, b"\x00\x01\x00")
    ext("ext-tlv-overrun", ping, u16(0x0A0A) + u16(1))
    ext("ext-tlv-overrun-max", ping, u16(0x0A0A) + u16(0xFFFF) + b"x")
    ext("ext-4097-bytes", ping, tlv(0x2A2A, bytes(4093)), note="one byte too long")
    ext("ext-4096-bytes", ping, tlv(0x2A2A, bytes(4092)), None, how="ok", seen_by="server", note="just fits")
    ext("ext-unknown-ignored", ping, tlv(0x0001, b"x") + tlv(0x7FFF, b""), None, how="ok", seen_by="server")
    ext("ext-grease-all", ping, b"".join(tlv(0x0A0A + 0x1010 * i, bytes(i)) for i in range(8)), None, how="ok", seen_by="server")
    ext("ext-critical-grease", ping, tlv(0x8A0A, b""), FEATURE, note="the critical bit makes it a demand")
    ext("ext-twice-known", fetch, tlv(0x0001, u64(1)) + tlv(0x0001, u64(1)))
    ext("ext-twice-known-critical-and-not", fetch, tlv(0x8002, UID) + tlv(0x0002, UID))
    ext("ext-twice-unknown", ping, tlv(0x0009, b"") + tlv(0x0009, b""))
    ext("ext-log-uid-15-bytes", fetch, tlv(0x8002, UID[:15]), field="log_uid")
    ext("ext-log-uid-17-bytes", fetch, tlv(0x8002, UID + b"x"), field="log_uid")
    ext("ext-produce-log-uid-empty", "golden-produce-request", tlv(0x8002, b""), field="log_uid")
    ext("ext-after-4-bytes", fetch, tlv(0x0001, u32(1)), field="after")
    ext("ext-after-above-2-53", fetch, tlv(0x0001, u64(1 << 53)), field="after")
    ext("ext-prev-term-none", fetch, tlv(0x0003, u64(NONE)), field="prev_term")
    ext("ext-trash-not-empty", "list-logs-request", tlv(0x8003, b"x"), field="trash")
    ext("ext-restore-uid-15-bytes", "create-log-request", tlv(0x8003, UID[:15]), field="restore_uid")
    ext("ext-create-log-log-uid", "create-log-request", tlv(0x8002, UID), FEATURE, note="CREATE_LOG names no existing log")
    ext("ext-list-logs-log-uid", "list-logs-request", tlv(0x8002, UID), FEATURE)
    ext("ext-critical-in-hello", "golden-hello-request", tlv(0x8001, b""), FEATURE, state="preface", fatal=True)


def bad_answers(n):
    """For clients: answers whose payload does not have its layout, which ends the connection."""
    def bad(name, base, at, remove, insert, **more):
        n.add("client-" + name, base, at, remove, insert, None, "close", to="client", **more)
    for name, base in (("hello", "hello-response"), ("produce", "golden-produce-response"), ("describe-log", "describe-log-response"),
                       ("list-logs", "list-logs-response-last"), ("describe-cluster", "describe-cluster-response")):
        size = len(n.base[base])
        bad(f"short-{name}", base, size - 1, 1, b"")
        bad(f"trailing-{name}", base, size, 0, b"\x00")
    for name, base, field in (("hello-auth-mechs", "hello-response-auth", "auth_mechs"), ("list-logs-logs", "list-logs-response-more", "logs"),
                              ("describe-cluster-nodes", "describe-cluster-response", "nodes"),
                              ("list-positions", "list-positions-response-more", "positions")):
        a, _ = n.at(base, field)
        bad(f"list-too-long-{name}", base, a, 2, b"\xff\xff", note="65,535 elements announced")
    a, _ = n.at("golden-produce-response", "term")
    bad("u64-produce-term", "golden-produce-response", a, 8, u64(1 << 53))
    a, _ = n.at("fetch-response", "committed_end")
    bad("none-fetch-committed-end", "fetch-response", a, 8, u64(NONE))
    a, b = n.at("hello-response", "node")
    bad("utf8-hello-node", "hello-response", a, b - a, u16(1) + b"\xff")
    bad("flags-10", "ping-response", 5, 1, u8(RESPONSE | 0x10), fix=())


def rows_negatives():
    n = Negatives(list(rows_frames()))
    for part in (bad_prefaces, bad_headers, bad_payloads, bad_values, bad_exts, bad_answers):
        part(n)
    return n.rows
