#!/usr/bin/env python3
"""Golden vectors of the sidelog wire protocol, version 1: the second decoder.

Decodes every vector's bytes from scratch, compares the result with the fields that stand beside
them, recomputes both CRC-32s of every batch with a CRC of its own (table, no zlib), and applies
every edit to its base. It shares no code with generate.py. Standard library only.

Usage: check.py [file.json ...]      exit 1 on any mismatch
       check.py --lines              answers the questions of `conformance.mjs check-vectors`, as an example of a codec
"""
import gzip
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
NONE = (1 << 64) - 1
SAFE = (1 << 53) - 1

# code, class bits, name
CODES = """
1 4 MALFORMED  2 4 UNSUPPORTED_VERSION  3 0 UNKNOWN_OP  4 4 OP_NOT_ALLOWED  5 4 FRAME_TOO_LARGE  6 4 DUPLICATE_ID
7 0 UNSUPPORTED_FEATURE  8 4 TLS_REQUIRED  9 1 TOO_MANY_INFLIGHT  10 0 FLOW_CONTROL  11 9 SHUTTING_DOWN
12 4 IDLE_TIMEOUT  13 4 CONTROL_FLOOD  14 4 WRONG_CLUSTER  100 4 AUTH_REQUIRED  101 0 AUTH_FAILED  102 0 FORBIDDEN
200 0 LOG_NOT_FOUND  201 0 LOG_EXISTS  202 0 INVALID_ARGUMENT  203 0 OFFSET_OUT_OF_RANGE  204 0 CORRUPT_BATCH
205 0 BATCH_TOO_LARGE  206 0 UNSUPPORTED_COMPRESSION  207 8 DATA_LOSS  208 0 CANCELED  209 0 POSITION_NOT_FOUND
210 0 LOG_CHANGED  300 0 OFFSET_MISMATCH  301 0 FENCED  302 2 PRODUCER_FENCED  303 0 SEQ_GAP  304 2 UNKNOWN_PRODUCER
305 1 STORAGE_FULL  306 0 SEQ_REUSED  307 0 POSITION_MISMATCH  308 0 LOG_STOPPED  400 9 NOT_LEADER  401 1 NO_LEADER
402 3 TIMEOUT  403 3 LEADERSHIP_LOST  404 1 OVERLOADED  405 1 BEHIND  500 2 INTERNAL
""".split()
NAME_OF = {int(code): name for code, name in zip(CODES[::3], CODES[2::3])}
CLASS_OF = {int(code): int(bits) for code, bits in zip(CODES[::3], CODES[1::3])}

# Types of the layouts below, besides the plain ones: u64n = NONE allowed; name = a name; str<n, bytes<n = at most n
# bytes; u8=a,b = one of these; u8&m = no bit outside m; value, posname = used or not, by `from`; ext(n=name.type) = an
# ext with these TLVs; 0 = a reserved zero byte. List elements are between [ and ], inner lists between { and }.
LOG = ("log:str log_uid:id16 log_start:u64 committed_end:u64 fence:u64 bytes:u64 created:u64 term:u64 leader:str "
       "replicas:{node:str;role:u8} durability:u8 replication:u8 interval_ms:u32 retain_bytes:u64 retain_ms:u64 "
       "segment_bytes:u64 compressions:u8")
UID = "ext:ext(2=log_uid.id16)"
NAMED = "log:name " + UID
READ_EXT = "ext:ext(1=after.u64,2=log_uid.id16,3=prev_term.u64)"
START = "start_offset:u64 log_start:u64 committed_end:u64 ext:ext()"

# op name: (number, request layout, response layout)
LAYOUTS = {
    "HELLO": (1, "minor:u16 max_frame:u32 idle_ms:u32 features:u64 cluster_id:id16 client:str ext:ext()",
              "minor:u16 max_frame:u32 idle_ms:u32 features:u64 cluster_id:id16 node:str max_batch:u32 "
              "max_inflight:u16 auth_required:u8 server:str auth_mechs:strs ext:ext()"),
    "AUTH": (2, "mech:str data:bytes ext:ext()", "done:u8 data:bytes ext:ext()"),
    "PING": (3, "data:bytes<64 ext:ext()", "data:bytes ext:ext()"),
    "GOAWAY": (4, "code:u16 class:u8 0 grace_ms:u32 message:str ext:errext", None),
    "CANCEL": (5, "ext:ext()", None),
    "DESCRIBE_CLUSTER": (16, "ext:ext()", "cluster_id:id16 term:u64 catalog_leader:str nodes:[node:str,node_id:id16,"
                         "address:str,state:u8,role:u8,zone:str,version:str] ext:ext()"),
    "CREATE_LOG": (17, "log:name durability:u8=1,2,3 replication:u8=0,1,3,5 interval_ms:u32 retain_bytes:u64 "
                   "retain_ms:u64 segment_bytes:u64 compressions:u8&7 ext:ext(3=restore_uid.id16)", "log_uid:id16 ext:ext()"),
    "DELETE_LOG": (18, NAMED, "ext:ext()"),
    "DESCRIBE_LOG": (19, NAMED, LOG + " ext:ext()"),
    "LIST_LOGS": (20, "prefix:str<200 ext:ext(3=trash.nothing)", "logs:[" + LOG.replace(" ", ",") + "] ext:ext()"),
    "TRIM": (21, "log:name offset:u64 " + UID, "log_start:u64 ext:ext()"),
    "ALTER_LOG": (22, "log:name retain_bytes:u64n retain_ms:u64n replication:u8=0,1,3,5 compressions:u8&7 " + UID,
                  "ext:ext()"),
    "TRANSFER_LEADER": (23, "log:name node:str " + UID, "leader:str term:u64 ext:ext()"),
    "REMOVE_NODE": (24, "node:str flags:u8&1 ext:ext()", "ext:ext()"),
    "PRODUCE": (32, "log:name flags:u8&1 0 timeout_ms:u32 expected_offset:u64n fence:u64 " + UID + " batch:batch",
                "base_offset:u64n next_offset:u64n append_time:u64 term:u64 durability:u8 copies:u8 flags:u8 0 ext:ext()"),
    "INIT_PRODUCER": (33, "log:name name:name " + UID, "producer_id:u64 epoch:u16 next_seq:u64 window:u16 ext:ext()"),
    "FENCE": (34, "log:name token:u64 " + UID, "token:u64 next_offset:u64 ext:ext()"),
    "FETCH": (48, "log:name from:u8=0,1,2,3,4 flags:u8&1 value:value position_name:posname min_bytes:u32 max_bytes:u32 "
              "max_wait_ms:u32 " + READ_EXT, START + " batches:batches"),
    "SUBSCRIBE": (49, "log:name from:u8=0,1,2,3,4 0 value:value position_name:posname credit_bytes:u32 " + READ_EXT, START),
    "CREDIT": (50, "add_bytes:u32 ext:ext()", None),
    "DELIVER": (51, None, "committed_end:u64 ext:ext() batches:batches"),
    "FIND_OFFSET": (52, "log:name time:u64 " + UID, "offset:u64 log_start:u64 committed_end:u64 ext:ext()"),
    "PUT_POSITION": (53, "log:name name:name offset:u64n expected:u64n " + UID, "offset:u64n ext:ext()"),
    "GET_POSITION": (54, "log:name name:name " + UID, "offset:u64 ext:ext()"),
    "LIST_POSITIONS": (55, NAMED, "positions:[name:str,offset:u64,updated:u64] ext:ext()"),
}
OP_NAME = {number: name for name, (number, _, _) in LAYOUTS.items()}
ERROR_BODY = "class:u8 0 retry_after_ms:u32 message:str ext:errext"
ERROR_TLV = {1: ("leader", "node:str term:u64 address:str"), 2: ("log_uid", "id16"), 3: ("fence", "u64"),
             4: ("range", "log_start:u64 committed_end:u64"), 5: ("expected_seq", "u64"), 6: ("limit", "u64"),
             7: ("field", "rest"), 8: ("supported", "u64"), 9: ("next_offset", "u64")}

CRC_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = (_n >> 1) ^ (0xEDB88320 if _n & 1 else 0)
    CRC_TABLE.append(_n)


def crc32(data):
    """CRC-32 of IEEE 802.3, reflected, as zlib's."""
    c = 0xFFFFFFFF
    for byte in data:
        c = CRC_TABLE[(c ^ byte) & 0xFF] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


assert crc32(b"123456789") == 0xCBF43926


class Bad(Exception):
    """The bytes are not what the layout says: the first field that failed, and the error it earns."""

    def __init__(self, field, why, error="INVALID_ARGUMENT"):
        super().__init__(f"{field}: {why}")
        self.field, self.error = field, error


class Cursor:
    """Reads one payload; `strict` = it is a request, judged as a server does."""

    def __init__(self, data, strict=True):
        self.data, self.at, self.strict = data, 0, strict

    def take(self, n, field):
        if n > len(self.data) - self.at:
            raise Bad(field, "ends too early")
        self.at += n
        return self.data[self.at - n:self.at]

    def int(self, n, field): return int.from_bytes(self.take(n, field), "big")
    def rest(self): return self.take(len(self.data) - self.at, "rest")
    def left(self): return len(self.data) - self.at

    def text(self, n, field):
        try:
            return self.take(n, field).decode("utf-8")
        except UnicodeDecodeError:
            raise Bad(field, "not UTF-8") from None

    def value(self, kind, field, sofar=()):
        plain, _, limit = kind.partition("<")
        if plain in ("u8", "u16", "u32"):
            return self.int(int(plain[1:]) // 8, field)
        if kind[:3] in ("u8=", "u8&"):
            return self.small(kind[2], kind[3:], field)
        if kind in ("u64", "u64n", "value"):
            used = kind != "value" or sofar["from"] in (0, 3)
            return self.u64(field, kind == "u64n", used)
        if kind == "id16":
            return self.take(16, field).hex()
        if kind == "name" or kind == "posname" and sofar["from"] == 4:
            return self.name(field)
        if plain in ("str", "posname"):
            size = self.int(2, field)
            if limit and size > int(limit):
                raise Bad(field, "too long")
            return self.text(size, field)
        if kind == "strs":
            return [self.text(self.int(2, field), field) for _ in range(self.int(2, field))]
        if plain == "bytes":
            size = self.int(4, field)
            if limit and size > int(limit):
                raise Bad(field, "too long")
            return self.take(size, field).hex()
        if kind == "rest":
            return self.text(self.left(), field)
        if kind == "nothing":
            return None
        if kind[0] in "[{":
            parts = kind[1:-1].split("," if kind[0] == "[" else ";")
            return [self.layout(parts) for _ in range(self.int(2, field))]
        raise AssertionError(kind)

    def u64(self, field, none_allowed, used):
        v = self.int(8, field)
        if v == NONE and (none_allowed or not used):
            return "NONE"
        if v > SAFE and used:
            raise Bad(field, "above 2^53-1")
        return str(v)

    def small(self, rule, allowed, field):
        v = self.int(1, field)
        if v not in map(int, allowed.split(",")) if rule == "=" else v & ~int(allowed):
            raise Bad(field, "out of range")
        return v

    def name(self, field):
        raw = self.take(self.int(2, field), field)
        letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
        if not 1 <= len(raw) <= 200 or raw[0] == 0x2E or any(c not in letters for c in raw):
            raise Bad(field, "not a name")
        return raw.decode("ascii")

    def layout(self, parts):
        out = {}
        for part in parts:
            if part == "0":
                if self.int(1, "reserved"):
                    raise Bad("reserved", "not zero")
                continue
            name, kind = part.split(":", 1)
            if kind == "errext":
                out["ext"] = self.ext("")
                out["tlvs"] = error_tlvs(out["ext"])
            elif kind.startswith("ext("):
                out["ext"] = self.ext(kind[4:-1])
            elif kind == "batch":
                out["batch"] = batch(self.rest())
            elif kind == "batches":
                out["batches"] = batches(self.rest())
            else:
                out[name] = self.value(kind, name, out)
        return out

    def ext(self, known):
        """An ext; `known` lists the TLVs that a server understands in this request."""
        size = self.int(2, "ext")
        if size > 4096:
            raise Bad("ext", "longer than 4,096 bytes")
        inner, out, seen = Cursor(self.take(size, "ext")), [], set()
        understood = {int(n): what.split(".") for n, what in (k.split("=") for k in known.split(",") if k)}
        while inner.left():
            bits = inner.int(2, "ext")
            kind, value = bits & 0x7FFF, inner.take(inner.int(2, "ext"), "ext")
            if kind in seen:
                raise Bad("ext", "the same type twice")
            seen.add(kind)
            if kind in understood:
                field, layout = understood[kind]
                c = Cursor(value)
                c.value(layout, field)
                if c.left():
                    raise Bad(field, "too long")
            elif bits >= 0x8000 and self.strict:
                raise Bad("ext", "unknown critical TLV", "UNSUPPORTED_FEATURE")
            out.append({"type": kind, "critical": bits >= 0x8000, "value": value.hex()})
        return out


def error_tlvs(ext):
    out = {}
    for t in ext:
        if t["type"] in ERROR_TLV:
            name, kind = ERROR_TLV[t["type"]]
            c = Cursor(bytes.fromhex(t["value"]))
            out[name] = c.layout(kind.split()) if ":" in kind else c.value(kind, name)
            if c.left():
                raise Bad("ext", "bytes after the TLV's value")
    return out


def payload(spec, data, strict):
    c = Cursor(data, strict)
    out = c.layout(spec.split())
    if c.left():
        raise Bad("end", f"{c.left()} bytes after the last field")
    return out


def records(data, count):
    c, out = Cursor(data), []
    while c.left():
        r = Cursor(c.take(c.int(4, "record"), "record"))
        flags, time = r.int(1, "flags"), r.int(8, "client_time")
        if flags & ~7:
            raise Bad("flags", "unknown record flag")
        if time > SAFE:
            raise Bad("client_time", "above 2^53-1")
        key = r.take(r.int(2, "key"), "key").hex() if flags & 1 else None
        headers = None
        if flags & 2:
            headers = []
            for _ in range(r.int(2, "headers")):
                name = r.text(r.int(2, "headers"), "headers")
                headers.append({"name": name, "value": r.take(r.int(2, "headers"), "headers").hex()})
        value = r.rest().hex()
        if flags & 4 and value:
            raise Bad("value", "bytes after NULL_VALUE")
        out.append({"flags": flags, "client_time": str(time), "key": key, "headers": headers,
                    "value": None if flags & 4 else value})
    if len(out) != count:
        raise Bad("count", f"{count} announced, {len(out)} there")
    return out


def unzstd(data):
    """Only what the vectors use: one single-segment frame of raw blocks."""
    c = Cursor(data)
    if c.take(5, "zstd") != b"\x28\xb5\x2f\xfd\x20":
        raise Bad("zstd", "not the form used here")
    size, out, last = c.int(1, "zstd"), b"", 0
    while not last:
        head = int.from_bytes(c.take(3, "zstd"), "little")
        last, kind = head & 1, head >> 1 & 3
        if kind:
            raise Bad("zstd", "not a raw block")
        out += c.take(head >> 3, "zstd")
    if len(out) != size or c.left():
        raise Bad("zstd", "content size")
    return out


def batch(data):
    """Decodes one whole batch as a reader on plane C would; raises Bad."""
    c = Cursor(data)
    if c.take(4, "magic") != b"SLB1":
        raise Bad("magic", "not SLB1")
    out = {"magic": "SLB1", "header_crc": c.int(4, "header_crc")}
    for name in ("index", "term", "base_offset", "append_time"):
        out[name] = str(c.int(8, name))
    out["body_crc"], out["body_len"], out["count"] = (c.int(4, n) for n in ("body_crc", "body_len", "count"))
    out["attributes"], out["producer_epoch"] = c.int(2, "attributes"), c.int(2, "producer_epoch")
    out["producer_id"], out["seq"] = str(c.int(8, "producer_id")), str(c.int(8, "seq"))
    if crc32(data[8:72]) != out["header_crc"]:
        raise Bad("header_crc", "does not match")
    if c.left() != out["body_len"]:
        raise Bad("body_len", f"{out['body_len']} announced, {c.left()} there")
    if crc32(data[44:]) != out["body_crc"]:
        raise Bad("body_crc", "does not match")
    body, attributes = c.rest(), out["attributes"]
    if attributes & ~0x1F:
        raise Bad("attributes", "reserved bits")
    if attributes & 0x10:
        if out["count"]:
            raise Bad("count", "a control batch has none")
        out["control"] = body.hex()
        return out
    if not 1 <= out["count"] <= 65535:
        raise Bad("count", "out of range")
    if int(out["producer_id"]) and max(int(out["producer_id"]), int(out["seq"])) > SAFE:
        raise Bad("producer_id", "above 2^53-1")
    if attributes & 15:
        packed = Cursor(body)
        out["raw_len"] = packed.int(4, "raw_len")
        packed = packed.rest()
        out["packed"] = packed.hex()
        try:
            body = {1: gzip.decompress, 2: unzstd}[attributes & 15](packed)
        except KeyError:
            raise Bad("attributes", "unknown compression") from None
        except (OSError, EOFError) as e:
            raise Bad("body", str(e)) from None
        if len(body) != out["raw_len"]:
            raise Bad("raw_len", f"{out['raw_len']} announced, {len(body)} there")
    out["records"] = records(body, out["count"])
    return out


def batches(data):
    out, at = [], 0
    while at < len(data):
        if len(data) - at < 72:
            raise Bad("batches", "less than a batch header is left")
        end = at + 72 + int.from_bytes(data[at + 44:at + 48], "big")
        out.append(batch(data[at:end]))
        at = end
    return out


def header(data):
    c = Cursor(data)
    h = {"length": c.int(4, "length"), "op": c.int(1, "op"), "flags": 0, "status": 0, "id": 0}
    h["flags"], h["status"], h["id"] = c.int(1, "flags"), c.int(2, "status"), c.int(4, "id")
    if h["length"] < 8:
        raise Bad("length", "below 8", "MALFORMED")
    if h["flags"] & 0x3C:
        raise Bad("flags", "reserved-critical flag", "MALFORMED")
    if not h["flags"] & 1 and (h["status"] or h["id"] == 0 and h["op"] != 4):
        raise Bad("header", "status or id of a request", "MALFORMED")
    if h["length"] != len(data) - 4:
        raise Bad("length", f"{h['length']} announced, {len(data) - 4} there", "FRAME_TOO_LARGE")
    return {"length": h["length"], "op": h["op"], "op_name": OP_NAME.get(h["op"]), "flags": h["flags"],
            "status": h["status"], "id": h["id"]}, c.rest()


def frame(data):
    h, body = header(data)
    request = not h["flags"] & 1
    if not request and h["status"]:
        return {"header": h, "payload": payload(ERROR_BODY, body, False), "error": NAME_OF.get(h["status"])}
    if h["op_name"] is None:
        raise Bad("op", "unknown", "UNKNOWN_OP")
    layout = LAYOUTS[h["op_name"]][1 if request else 2]
    if layout is None:
        raise Bad("op", "has no such frame", "OP_NOT_ALLOWED")
    return {"header": h, "payload": payload(layout, body, request)}


def preface(data, kind):
    if len(data) != 8 or data[:4] != b"\xfaSLG":
        raise Bad("magic", "not a preface", None)
    plane = chr(data[4])
    if kind == "preface_request":
        return {"plane": plane, "max_major": data[5], "min_major": data[6], "reserved": data[7]}
    return {"plane": plane, "major": data[5], "status": data[6] << 8 | data[7]}


def decode(r, data):
    if r["kind"].startswith("preface"):
        return preface(data, r["kind"])
    return batch(data) if r["kind"] == "batch" else frame(data)


def apply_edit(base, edit):
    at, remove = edit["at"], edit["remove"]
    out = base[:at] + bytes.fromhex(edit["insert"]) + base[at + remove:]
    for fix in edit["fix"]:
        if fix == "body_len":
            out = out[:44] + (len(out) - 72).to_bytes(4, "big") + out[48:]
        elif fix == "body_crc":
            out = out[:40] + crc32(out[44:]).to_bytes(4, "big") + out[44:]
        elif fix == "header_crc":
            out = out[:4] + crc32(out[8:72]).to_bytes(4, "big") + out[8:]
        elif fix == "length":
            out = (len(out) - 4).to_bytes(4, "big") + out[4:]
        else:
            raise AssertionError(fix)
    return out


def reader_says(r, data):
    """What a reader on plane C makes of a batch row: OK or an error's name."""
    try:
        got = batch(data)
    except Bad as e:
        return "UNSUPPORTED_COMPRESSION" if "unknown compression" in str(e) else "CORRUPT_BATCH"
    stamps = [int(got[n]) for n in ("index", "term", "base_offset", "append_time")]
    return "CORRUPT_BATCH" if "control" in got or max(stamps) > SAFE else "OK"


def check_row(r, bases):
    data = bytes.fromhex(r["hex"])
    if r["hex"] != data.hex():
        return "hex is not lower-case"
    if "edit" in r and apply_edit(bases[r["base"]], r["edit"]) != data:
        return "base and edit do not give hex"
    if "fields" in r:
        try:
            got = decode(r, data)
        except Bad as e:
            return f"does not decode: {e}"
        if got != r["fields"]:
            return f"decodes to\n    {json.dumps(got)}\n  but the file says\n    {json.dumps(r['fields'])}"
        problem = check_class(got)
        if problem:
            return problem
    want = r.get("expect", {})
    if "reader" in want and reader_says(r, data) != want["reader"]:
        return f"a reader says {reader_says(r, data)}, the file {want['reader']}"
    for name in (want.get("produce"), want.get("reader"), want.get("error")):
        if name not in (None, "OK") and name not in NAME_OF.values():
            return f"unknown error {name}"
    return check_expect(r, data, want)


def check_class(got):
    """An error's class is the table's; answers to HELLO and AUTH may add bit 04."""
    head, body = got.get("header"), got.get("payload")
    if head is None or "class" not in body:
        return None
    code = body["code"] if head["op_name"] == "GOAWAY" else head["status"]
    if code not in CLASS_OF:
        return None
    extra = 4 if head["op_name"] in ("HELLO", "AUTH") else 0
    if body["class"] not in (CLASS_OF[code], CLASS_OF[code] | extra):
        return f"class {body['class']} of {NAME_OF[code]}"
    return None


def check_document(rows):
    """The specification prints the golden bytes and the error table: both must be what stands here."""
    path = HERE.parent.parent / "docs" / "protocol.md"
    if not path.exists():
        return []
    text = path.read_text("utf-8")
    problems = [f"{r['id']}: not in docs/protocol.md" for r in rows
                if r["id"].startswith("golden-") and f"\n{r['hex']}\n" not in text]
    table = {int(c): (name, int(bits, 16)) for c, name, bits in
             re.findall(r"^\| (\d+) \| ([A-Z_]+) \| ([0-9A-F]{2})", text, re.M)}
    if table != {code: (NAME_OF[code], CLASS_OF[code]) for code in NAME_OF}:
        problems.append("the error table of docs/protocol.md differs")
    return problems


def check_expect(r, data, want):
    """Negative frames: this decoder must find what the row says the bytes alone show, and only that."""
    if "seen_by" not in want:
        return None
    try:
        decode(r, data)
    except Bad as e:
        if want["how"] == "ok":
            return f"does not decode: {e}"
        if want["seen_by"] == "server" or "to" in want:
            return None
        if e.error != want["error"]:
            return f"earns {e.error}, the file says {want['error']}"
        if e.field != want.get("field", e.field):
            return f"the first wrong field is {e.field}, the file says {want['field']}"
        return None
    return "decodes, but should not" if want["seen_by"] == "codec" else None


def answer(question):
    """One line of check-vectors: {"n", "do", "kind", "hex"} -> {"n", "fields"} or {"n", "error", "field"}."""
    if question["do"] != "decode":
        return {"n": question["n"], "skip": "this codec only decodes"}
    data = bytes.fromhex(question["hex"])
    if question["kind"] == "batch" and reader_says(None, data) != "OK":
        return {"n": question["n"], "error": reader_says(None, data)}
    try:
        return {"n": question["n"], "fields": decode(question, data)}
    except Bad as e:
        return {"n": question["n"], "error": e.error, "field": e.field}


def main():
    if sys.argv[1:] == ["--lines"]:
        for line in sys.stdin:
            print(json.dumps(answer(json.loads(line))), flush=True)
        return 0
    paths = [pathlib.Path(a) for a in sys.argv[1:]] or sorted(HERE.glob("*.json"))
    files = {p: json.loads(p.read_text("utf-8")) for p in paths}
    everything = {p: json.loads(p.read_text("utf-8")) for p in HERE.glob("*.json")}
    bases = {r["id"]: bytes.fromhex(r["hex"]) for f in everything.values() for r in f["rows"] if "edit" not in r}
    bad = total = 0
    for path, file in files.items():
        for r in file["rows"]:
            total += 1
            problem = check_row(r, bases)
            if problem:
                bad += 1
                print(f"{path.name}: {r['id']}: {problem}", file=sys.stderr)
    for problem in check_document([r for f in everything.values() for r in f["rows"]]):
        bad += 1
        print(problem, file=sys.stderr)
    print(f"{total} vectors in {len(files)} files, {bad} bad")
    return 1 if bad or not total else 0


if __name__ == "__main__":
    sys.exit(main())
