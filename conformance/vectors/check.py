#!/usr/bin/env python3
"""Golden vectors of the sidelog wire protocol, version 1: the second decoder.

Decodes every vector's bytes from scratch, compares the result with the fields that stand beside
them, recomputes both CRC-32s of every batch with a CRC of its own (table, no zlib), and applies
every edit to its base. It shares no code with generate.py. Standard library only.

Usage: check.py [file.json ...]      exit 1 on any mismatch
"""
import gzip
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
NONE = (1 << 64) - 1
SAFE = (1 << 53) - 1

CODES = """
1 MALFORMED 2 UNSUPPORTED_VERSION 3 UNKNOWN_OP 4 OP_NOT_ALLOWED 5 FRAME_TOO_LARGE 6 DUPLICATE_ID
7 UNSUPPORTED_FEATURE 8 TLS_REQUIRED 9 TOO_MANY_INFLIGHT 10 FLOW_CONTROL 11 SHUTTING_DOWN 12 IDLE_TIMEOUT
13 CONTROL_FLOOD 14 WRONG_CLUSTER 100 AUTH_REQUIRED 101 AUTH_FAILED 102 FORBIDDEN 200 LOG_NOT_FOUND
201 LOG_EXISTS 202 INVALID_ARGUMENT 203 OFFSET_OUT_OF_RANGE 204 CORRUPT_BATCH 205 BATCH_TOO_LARGE
206 UNSUPPORTED_COMPRESSION 207 DATA_LOSS 208 CANCELED 209 POSITION_NOT_FOUND 210 LOG_CHANGED
300 OFFSET_MISMATCH 301 FENCED 302 PRODUCER_FENCED 303 SEQ_GAP 304 UNKNOWN_PRODUCER 305 STORAGE_FULL
306 SEQ_REUSED 307 POSITION_MISMATCH 308 LOG_STOPPED 400 NOT_LEADER 401 NO_LEADER 402 TIMEOUT
403 LEADERSHIP_LOST 404 OVERLOADED 405 BEHIND 500 INTERNAL
""".split()
NAME_OF = {int(c): n for c, n in zip(CODES[::2], CODES[1::2])}

LOG = ("log:str log_uid:id16 log_start:u64 committed_end:u64 fence:u64 bytes:u64 created:u64 term:u64 leader:str "
       "replicas:[node:str,role:u8] durability:u8 replication:u8 interval_ms:u32 retain_bytes:u64 retain_ms:u64 "
       "segment_bytes:u64 compressions:u8")
READ = "log:str from:u8 {flags} value:u64n position_name:str "
NAMED = "log:str ext:ext"

# op name: (number, request layout, response layout); 0 = a reserved zero byte
LAYOUTS = {
    "HELLO": (1, "minor:u16 max_frame:u32 idle_ms:u32 features:u64 cluster_id:id16 client:str ext:ext",
              "minor:u16 max_frame:u32 idle_ms:u32 features:u64 cluster_id:id16 node:str max_batch:u32 "
              "max_inflight:u16 auth_required:u8 server:str auth_mechs:strs ext:ext"),
    "AUTH": (2, "mech:str data:bytes ext:ext", "done:u8 data:bytes ext:ext"),
    "PING": (3, "data:bytes ext:ext", "data:bytes ext:ext"),
    "GOAWAY": (4, "code:u16 class:u8 0 grace_ms:u32 message:str ext:errext", None),
    "CANCEL": (5, "ext:ext", None),
    "DESCRIBE_CLUSTER": (16, "ext:ext", "cluster_id:id16 term:u64 catalog_leader:str "
                         "nodes:[node:str,node_id:id16,address:str,state:u8,role:u8,zone:str,version:str] ext:ext"),
    "CREATE_LOG": (17, "log:str durability:u8 replication:u8 interval_ms:u32 retain_bytes:u64 retain_ms:u64 "
                   "segment_bytes:u64 compressions:u8 ext:ext", "log_uid:id16 ext:ext"),
    "DELETE_LOG": (18, NAMED, "ext:ext"),
    "DESCRIBE_LOG": (19, NAMED, LOG + " ext:ext"),
    "LIST_LOGS": (20, "prefix:str ext:ext", "logs:[" + LOG.replace(" ", ",").replace("replicas:[node:str,role:u8]", "replicas:(node:str;role:u8)") + "] ext:ext"),
    "TRIM": (21, "log:str offset:u64 ext:ext", "log_start:u64 ext:ext"),
    "ALTER_LOG": (22, "log:str retain_bytes:u64n retain_ms:u64n replication:u8 compressions:u8 ext:ext", "ext:ext"),
    "TRANSFER_LEADER": (23, "log:str node:str ext:ext", "leader:str term:u64 ext:ext"),
    "REMOVE_NODE": (24, "node:str flags:u8 ext:ext", "ext:ext"),
    "PRODUCE": (32, "log:str flags:u8 0 timeout_ms:u32 expected_offset:u64n fence:u64 ext:ext batch:batch",
                "base_offset:u64n next_offset:u64n append_time:u64 term:u64 durability:u8 copies:u8 flags:u8 0 ext:ext"),
    "INIT_PRODUCER": (33, "log:str name:str ext:ext", "producer_id:u64 epoch:u16 next_seq:u64 window:u16 ext:ext"),
    "FENCE": (34, "log:str token:u64 ext:ext", "token:u64 next_offset:u64 ext:ext"),
    "FETCH": (48, READ.format(flags="flags:u8") + "min_bytes:u32 max_bytes:u32 max_wait_ms:u32 ext:ext",
              "start_offset:u64 log_start:u64 committed_end:u64 ext:ext batches:batches"),
    "SUBSCRIBE": (49, READ.format(flags="0") + "credit_bytes:u32 ext:ext",
                  "start_offset:u64 log_start:u64 committed_end:u64 ext:ext"),
    "CREDIT": (50, "add_bytes:u32 ext:ext", None),
    "DELIVER": (51, None, "committed_end:u64 ext:ext batches:batches"),
    "FIND_OFFSET": (52, "log:str time:u64 ext:ext", "offset:u64 log_start:u64 committed_end:u64 ext:ext"),
    "PUT_POSITION": (53, "log:str name:str offset:u64n expected:u64n ext:ext", "offset:u64n ext:ext"),
    "GET_POSITION": (54, "log:str name:str ext:ext", "offset:u64 ext:ext"),
    "LIST_POSITIONS": (55, NAMED, "positions:[name:str,offset:u64,updated:u64] ext:ext"),
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
    """The bytes are not what the layout says. `field` is the first one that failed."""

    def __init__(self, field, why):
        super().__init__(f"{field}: {why}")
        self.field = field


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

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

    def value(self, kind, field):
        if kind in ("u8", "u16", "u32"):
            return self.int(int(kind[1:]) // 8, field)
        if kind in ("u64", "u64n"):
            v = self.int(8, field)
            if v == NONE and kind == "u64n":
                return "NONE"
            return str(v)
        if kind == "id16":
            return self.take(16, field).hex()
        if kind == "str":
            return self.text(self.int(2, field), field)
        if kind == "strs":
            return [self.text(self.int(2, field), field) for _ in range(self.int(2, field))]
        if kind == "bytes":
            return self.take(self.int(4, field), field).hex()
        if kind == "rest":
            return self.text(self.left(), field)
        if kind[0] in "[(":
            inner, sep = kind[1:-1], "," if kind[0] == "[" else ";"
            return [self.layout(inner.split(sep)) for _ in range(self.int(2, field))]
        raise AssertionError(kind)

    def layout(self, parts):
        out = {}
        for part in parts:
            if part == "0":
                if self.int(1, "reserved"):
                    raise Bad("reserved", "not zero")
                continue
            name, kind = part.split(":", 1)
            if kind in ("ext", "errext"):
                out["ext"] = self.ext()
                if kind == "errext":
                    out["tlvs"] = error_tlvs(out["ext"])
            elif kind == "batch":
                out["batch"] = batch(self.rest())
            elif kind == "batches":
                out["batches"] = batches(self.rest())
            else:
                out[name] = self.value(kind, name)
        return out

    def ext(self):
        inner, out = Cursor(self.take(self.int(2, "ext"), "ext")), []
        while inner.left():
            kind = inner.int(2, "ext")
            out.append({"type": kind & 0x7FFF, "critical": kind >= 0x8000,
                        "value": inner.take(inner.int(2, "ext"), "ext").hex()})
        if len({t["type"] for t in out}) != len(out):
            raise Bad("ext", "the same type twice")
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


def payload(spec, data):
    c = Cursor(data)
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
    if h["length"] != len(data) - 4:
        raise Bad("length", f"{h['length']} announced, {len(data) - 4} there")
    if h["flags"] & 0x3C:
        raise Bad("flags", "reserved-critical flag")
    return {"length": h["length"], "op": h["op"], "op_name": OP_NAME.get(h["op"]), "flags": h["flags"],
            "status": h["status"], "id": h["id"]}, c.rest()


def frame(data):
    h, body = header(data)
    if not h["flags"] & 1:
        if h["status"] or (h["id"] == 0) != (h["op_name"] == "GOAWAY"):
            raise Bad("header", "status or id of a request")
        return {"header": h, "payload": payload(LAYOUTS[h["op_name"]][1], body)}
    if h["status"]:
        return {"header": h, "payload": payload(ERROR_BODY, body), "error": NAME_OF[h["status"]]}
    return {"header": h, "payload": payload(LAYOUTS[h["op_name"]][2], body)}


def preface(data, kind):
    if len(data) != 8 or data[:4] != b"\xfaSLG":
        raise Bad("magic", "not a preface")
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
        if fix == "body_crc":
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
    want = r.get("expect", {})
    if "reader" in want and reader_says(r, data) != want["reader"]:
        return f"a reader says {reader_says(r, data)}, the file {want['reader']}"
    for name in (want.get("produce"), want.get("reader"), want.get("error")):
        if name not in (None, "OK") and name not in NAME_OF.values():
            return f"unknown error {name}"
    return check_expect(r, data, want)


def check_expect(r, data, want):
    """Negative frames: a decoder must find what the row says can be seen in the bytes alone."""
    if want.get("seen_by") != "codec":
        return None
    try:
        decode(r, data)
    except Bad as e:
        if "field" in want and e.field != want["field"]:
            return f"the first wrong field is {e.field}, the file says {want['field']}"
        return None
    return "decodes, but should not"


def main():
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
    print(f"{total} vectors in {len(files)} files, {bad} bad")
    return 1 if bad or not total else 0


if __name__ == "__main__":
    sys.exit(main())
