"""Rows of the vector files: frames, errors, edits, the golden bytes to be reproduced."""
import zlib

from .encode import ERRORS, MORE, OPS, P, RESPONSE, text, u16, u32, u64, u8

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
    MARKS[name] = [(field, kind, a + 12, b + 12) for field, kind, a, b in payload.marks]
    return row(name, "request", raw, fields, note)


def response(name, op, ident, payload, more=False, note=None):
    raw, fields = frame(op, ident, payload, RESPONSE | (MORE if more else 0))
    MARKS[name] = [(field, kind, a + 12, b + 12) for field, kind, a, b in payload.marks]
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
MARKS = {}      # row id: where its payload's fields lie in the frame

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


def edited(base_id, base, name, at, remove, insert, fix, expect, note, kind):
    """One splice in a valid base; `fix` then makes good the named checks, in this order:
    body_len, body_crc, header_crc (batches), length (frames)."""
    raw = bytearray(base)
    raw[at:at + remove] = insert
    if "body_len" in fix:
        raw[44:48] = u32(len(raw) - 72)
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
