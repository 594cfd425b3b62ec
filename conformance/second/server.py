#!/usr/bin/env python3
"""A second sidelog server, written from docs/protocol.md and nothing else: one process, one thread, all in memory.

It serves the profiles core and streaming of wire protocol 1.0, in plaintext on loopback. What stands in
brackets, such as [FRAME-37], is a requirement of docs/protocol.md without its `SL-`.

Usage: server.py [--port N] [--max-store BYTES]     prints {"port": N} and serves until SIGTERM
"""
import argparse
import asyncio
import json
import os
import re
import signal
import struct
import sys
import time
import zlib
from collections import deque, namedtuple

NODE, VERSION = "second", "sidelog-second/1.0"

# ---- numbers: limits (§12), ops (§6), frame flags (§4), errors (§11) ----

MAX_BATCH, MAX_FRAME, EARLY_FRAME, LEAST_CLIENT_FRAME = 1 << 20, 4 << 20, 16384, (1 << 20) + 8192
MAX_EXT, MAX_LOGS, MAX_OPEN, MAX_CREDIT, MAX_CONNECTIONS = 4096, 1000, 256, 2**31 - 1, 1000
MAX_U64, NONE, NEVER = 2**53 - 1, 2**64 - 1, 2**32 - 1
DELIVER_BYTES = 256 << 10       # what one DELIVER aims at, and from where on subscriptions queue no more
BATCH_COST = 256                # what a stored batch costs beside its bytes
GRACE_MS = 3000                 # announced when the server stops; connections end after a third of it

HELLO, AUTH, PING, GOAWAY, CANCEL = 0x01, 0x02, 0x03, 0x04, 0x05
DESCRIBE_CLUSTER, CREATE_LOG, DELETE_LOG, DESCRIBE_LOG, LIST_LOGS, TRIM, ALTER_LOG = range(0x10, 0x17)
PRODUCE, FETCH, SUBSCRIBE, CREDIT, DELIVER, FIND_OFFSET = 0x20, 0x30, 0x31, 0x32, 0x33, 0x34
RESPONSE, MORE, CRITICAL_FLAGS, FATAL = 0x01, 0x02, 0x3C, 0x04
OFFSET, EARLIEST, NEXT, TIME, POSITION = range(5)               # the `from` of reads (§10.1)

ERRORS = {  # name: (code, class)
    "MALFORMED": (1, 4), "UNSUPPORTED_VERSION": (2, 4), "UNKNOWN_OP": (3, 0), "OP_NOT_ALLOWED": (4, 4),
    "FRAME_TOO_LARGE": (5, 4), "DUPLICATE_ID": (6, 4), "UNSUPPORTED_FEATURE": (7, 0),
    "TOO_MANY_INFLIGHT": (9, 1), "FLOW_CONTROL": (10, 0), "SHUTTING_DOWN": (11, 9), "IDLE_TIMEOUT": (12, 4),
    "CONTROL_FLOOD": (13, 4), "WRONG_CLUSTER": (14, 4), "FORBIDDEN": (102, 0), "LOG_NOT_FOUND": (200, 0),
    "LOG_EXISTS": (201, 0), "INVALID_ARGUMENT": (202, 0), "OFFSET_OUT_OF_RANGE": (203, 0),
    "CORRUPT_BATCH": (204, 0), "BATCH_TOO_LARGE": (205, 0), "UNSUPPORTED_COMPRESSION": (206, 0),
    "CANCELED": (208, 0), "LOG_CHANGED": (210, 0), "UNKNOWN_PRODUCER": (304, 2), "STORAGE_FULL": (305, 1),
    "OVERLOADED": (404, 1), "BEHIND": (405, 1), "INTERNAL": (500, 2),
}
ERROR_TLVS = {"log_uid": 2, "range": 4, "limit": 6, "field": 7, "supported": 8}

FRAME = struct.Struct(">IBBHI")                                 # length, op, flags, status, id
BATCH = struct.Struct(">4sIQQQQIIIHHQQ")                        # the header of §7
Batch = namedtuple("Batch", "magic header_crc index term base_offset append_time body_crc body_len count "
                            "attributes producer_epoch producer_id seq")


def text(value):
    return struct.pack(">H", len(value.encode())) + value.encode()


def ext(*tlvs):
    body = b"".join(struct.pack(">HH", kind, len(value)) + value for kind, value in tlvs)
    return struct.pack(">H", len(body)) + body


class Refusal(Exception):
    """An error of §11 on its way to the client."""

    def __init__(self, name, message, **tlvs):
        super().__init__(name, message)
        (self.code, self.cls), self.message = ERRORS[name], message
        for key, value in tlvs.items():
            tlvs[key] = (value if isinstance(value, bytes) else value.encode() if isinstance(value, str)
                         else struct.pack(">%dQ" % len(value), *value))
        self.tlvs = ext(*((ERROR_TLVS[key], value) for key, value in tlvs.items()))

    def body(self, cls=0):
        return struct.pack(">BBI", self.cls | cls, 0, 0) + text(self.message) + self.tlvs


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
    FETCH: "log:name from:u8 flags:u8 value:u64 position_name:name min_bytes:u32 max_bytes:u32 max_wait_ms:u32",
    SUBSCRIBE: "log:name from:u8 reserved:u8 value:u64 position_name:name credit_bytes:u32",
    CREDIT: "add_bytes:u32",
    FIND_OFFSET: "log:name time:u64",
}
UID = {2: ("log_uid", 16)}                                      # type: (name, length of the value)
READ = {1: ("after", 8), 2: ("log_uid", 16), 3: ("prev_term", 8)}
TLVS = {CREATE_LOG: {3: ("restore_uid", 16)}, LIST_LOGS: {3: ("trash", 0)}, FETCH: READ, SUBSCRIBE: READ,
        **dict.fromkeys((DELETE_LOG, DESCRIBE_LOG, TRIM, ALTER_LOG, PRODUCE, FIND_OFFSET), UID)}
ANSWERS_UID = (DESCRIBE_LOG, PRODUCE, FETCH, SUBSCRIBE)         # [LOG-7]

RANGES = {  # of the value v, given the fields f before it; the same for every layout
    "data": lambda v, f: "mech" in f or len(v) <= 64,           # of PING, not of AUTH
    "durability": lambda v, f: v in (1, 2, 3),
    "replication": lambda v, f: v in (0, 1, 3, 5) and (v < 2 or f.get("durability", 1) == 1),    # [LOG-14]
    "interval_ms": lambda v, f: 1 <= v <= 60000,
    "segment_bytes": lambda v, f: v == 0 or 1 << 20 <= v <= 1 << 30,
    "compressions": lambda v, f: v < 8,
    "prefix": lambda v, f: len(v.encode()) <= 200,
    "from": lambda v, f: v <= POSITION,
    "flags": lambda v, f: v <= 1,                               # NO_FORWARD, LINEARIZABLE [TYPE-9]
    "reserved": lambda v, f: v == 0,
}
UNUSED = {  # such a field may hold anything [TYPE-12]
    "interval_ms": lambda f: f["durability"] != 2,
    "value": lambda f: f["from"] not in (OFFSET, TIME),
    "position_name": lambda f: f["from"] != POSITION,
}
SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "u64?": 8, "id16": 16}
LENGTHS = {"str": 2, "name": 2, "ext": 2, "bytes": 4}           # sizes of the length before the bytes
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")        # [LOG-1]


def decode(op, data):
    """The fields of a request. Of several wrong ones the first in the layout is reported (§1)."""
    fields, names, at = {}, [], 0

    def take(size, field):
        nonlocal at
        at += size
        if at > len(data):
            raise invalid(field, "the payload ends too early")                  # [TYPE-6]
        return data[at - size:at]

    for item in (LAYOUTS[op] + " ext:ext").split():
        field, kind = item.split(":")
        value = take(int.from_bytes(take(LENGTHS[kind], field), "big") if kind in LENGTHS else SIZES[kind], field)
        if field in UNUSED and UNUSED[field](fields):
            value = None
        elif kind == "ext":
            value = decode_ext(value, TLVS.get(op, {}))
        elif kind in ("str", "name"):
            try:
                value = value.decode()                          # strict: no surrogates, nothing overlong [TYPE-5]
            except UnicodeDecodeError:
                raise invalid(field, "not UTF-8") from None
            if kind == "name":
                names.append(field)
        elif kind in SIZES and kind != "id16":
            value = int.from_bytes(value, "big")
            if kind == "u64?" and value == NONE:
                value = None
            elif kind[:3] == "u64" and value > MAX_U64:
                raise invalid(field, "above 2^53 - 1")                          # [TYPE-3] [TYPE-4]
        if value is not None and field in RANGES and not RANGES[field](value, fields):
            raise invalid(field, "out of range")                                # [TYPE-8] [TYPE-9] [TYPE-10]
        fields[field] = value
    if op == PRODUCE:
        fields["batch"] = data[at:]
    elif at < len(data):
        raise invalid("end", "the payload goes on after the last field")        # [TYPE-7]
    for field in names:                                         # names are judged after the payload [LOG-9]
        if not NAME.fullmatch(fields[field]):
            raise invalid(field, "not a name")
    return fields


def decode_ext(block, known):
    found, seen, at = {}, set(), 0
    if len(block) > MAX_EXT:                                    # without the two bytes of its length
        raise invalid("ext", "longer than 4,096 bytes")                         # [TYPE-20]
    while at < len(block):
        kind, size = struct.unpack_from(">HH", block, at) if at + 4 <= len(block) else (0, MAX_EXT)
        value, at = block[at + 4:at + 4 + size], at + 4 + size
        if at > len(block) or kind & 0x7FFF in seen:
            raise invalid("ext", "a TLV is cut off or comes twice")             # [TYPE-18] [TYPE-19]
        seen.add(kind & 0x7FFF)
        name, wanted = known.get(kind & 0x7FFF, (None, size))   # critical or not [TYPE-17]
        if name is None and kind & 0x8000:
            raise Refusal("UNSUPPORTED_FEATURE", "unknown critical TLV")        # [TYPE-15]
        if size != wanted or (name and size == 8 and int.from_bytes(value, "big") > MAX_U64):
            raise invalid(name, "wrong length or value")                        # [TYPE-21]
        if name:
            found[name] = int.from_bytes(value, "big") if size == 8 else value
    return found


def check_batch(raw, compressions):
    """Takes the header of a client's batch apart, if it may be stored (§7.1)."""
    if len(raw) < BATCH.size:
        raise Refusal("CORRUPT_BATCH", "no whole header")                       # [BATCH-1]
    if len(raw) > MAX_BATCH:
        raise Refusal("BATCH_TOO_LARGE", "larger than max_batch", limit=(MAX_BATCH,))
    head = Batch(*BATCH.unpack_from(raw))
    if head.magic != b"SLB1" or len(raw) != BATCH.size + head.body_len:
        raise Refusal("CORRUPT_BATCH", "not exactly one batch")                 # [BATCH-2] [BATCH-3]
    if head.header_crc != zlib.crc32(raw[8:72]) or head.body_crc != zlib.crc32(raw[44:]):
        raise Refusal("CORRUPT_BATCH", "wrong checksum")                        # [BATCH-4] [BATCH-5]
    if head.count == 0 or head.attributes & 0xFFF0:
        raise Refusal("CORRUPT_BATCH", "no records, or a wrong attribute")      # [BATCH-6] [BATCH-10] [BATCH-11]
    if head.count > 65535:
        raise Refusal("BATCH_TOO_LARGE", "too many records", limit=(65535,))
    if head.producer_id and max(head.producer_id, head.seq) > MAX_U64:          # else seq is ignored [BATCH-17]
        raise Refusal("CORRUPT_BATCH", "producer_id or seq above 2^53 - 1")
    compression, at, records = head.attributes & 15, 72, 0
    if not compressions >> compression & 1:
        raise Refusal("UNSUPPORTED_COMPRESSION", "not in the log's settings", supported=(compressions,))
    if compression:                                             # its inside is the readers' business [BATCH-18]
        if head.body_len < 4:
            raise Refusal("CORRUPT_BATCH", "no raw_len")
        if int.from_bytes(raw[72:76], "big") > MAX_BATCH:
            raise Refusal("BATCH_TOO_LARGE", "raw_len above max_batch", limit=(MAX_BATCH,))
        return head
    while at + 5 <= len(raw):
        size, flags = struct.unpack_from(">IB", raw, at)
        at, records = at + 4 + size, records + 1
        if size < 9 or flags > 7:
            raise Refusal("CORRUPT_BATCH", "a record is too short or has an unknown flag")       # [REC-2] [REC-4]
    if at != len(raw) or records != head.count:
        raise Refusal("CORRUPT_BATCH", "the records do not fill the body, or are not count")     # [REC-1] [REC-3]
    return head


# ---- logs (§8) ----

def now_ms():
    return int(time.time() * 1000)


def first(items, test):
    """The number of the first item that passes, given that all after it pass too."""
    low, high = 0, len(items)
    while low < high:
        mid = (low + high) // 2
        low, high = (low, mid) if test(items[mid]) else (mid + 1, high)
    return low


Stored = namedtuple("Stored", "base end time term data before")                 # before: bytes ever stored before it


class Log:
    def __init__(self, store, name, settings):
        self.store, self.name, self.settings, self.deleted = store, name, settings, False
        self.uid, self.created = os.urandom(16), now_ms()       # an uid that no log had before [LOG-4]
        self.batches, self.start, self.end, self.index, self.time = [], 0, 0, 0, 0
        self.written, self.bytes, self.readers = 0, 0, set()    # readers: open reads, told of every change

    def append(self, raw, head):
        """Stamps bytes 4 to 39; from 40 on they stay the client's [BATCH-20]."""
        if self.store.used + len(raw) + BATCH_COST > self.store.limit:
            raise Refusal("STORAGE_FULL", "no room")
        self.index, self.time = self.index + 1, max(self.time, now_ms())        # never goes down [BATCH-24]
        stamped = struct.pack(">4Q", self.index, self.store.term, self.end, self.time) + raw[40:72]
        data = b"".join((b"SLB1", struct.pack(">I", zlib.crc32(stamped)), stamped, raw[72:]))
        batch = Stored(self.end, self.end + head.count, self.time, self.store.term, data, self.written)
        self.batches.append(batch)
        self.end, self.written, self.bytes = batch.end, self.written + len(data), self.bytes + len(data)
        self.store.used += len(data) + BATCH_COST
        self.wake()
        return batch

    def cut(self, number):
        """Gives up the first batches."""
        if number:
            size = sum(len(batch.data) for batch in self.batches[:number])
            self.start, self.bytes = self.batches[number - 1].end, self.bytes - size
            self.store.used -= size + number * BATCH_COST
            del self.batches[:number]
            self.wake()

    def retain(self):
        size, age, now = self.settings["retain_bytes"], self.settings["retain_ms"], now_ms()
        self.cut(max(first(self.batches, lambda b: b.time > now - age) if age else 0,            # [LOG-43] [LOG-44]
                     first(self.batches, lambda b: self.written - b.before - len(b.data) < size) if size else 0))

    def wake(self):
        for read in list(self.readers):
            read.step()

    def holding(self, offset):
        return first(self.batches, lambda batch: batch.end > offset)

    def by_time(self, when):
        number = first(self.batches, lambda batch: batch.time >= when)          # [READ-31] [READ-32]
        return self.batches[number].base if number < len(self.batches) else self.end

    def describe(self):
        s = self.settings
        return b"".join((
            text(self.name), self.uid, struct.pack(">6Q", self.start, self.end, 0, self.bytes, self.created, self.store.term),
            text(NODE), struct.pack(">H", 1), text(NODE), struct.pack(
                ">BBBIQQQB", 1, s["durability"], s["replication"], s["interval_ms"], s["retain_bytes"], s["retain_ms"],
                s["segment_bytes"], s["compressions"])))


class Store:
    """What outlives a connection."""

    def __init__(self, limit):
        self.limit, self.used, self.logs, self.connections, self.port = limit, 0, {}, set(), 0
        self.cluster_id, self.node_id = os.urandom(16), os.urandom(16)
        self.term = now_ms()                                    # higher after every start (§13)


# ---- open reads (§10) ----

class Read:
    """An open FETCH or SUBSCRIBE. step() does what can be done now; it is called again after every change."""

    def __init__(self, conn, op, rid, f, log):
        self.conn, self.op, self.rid, self.f, self.log, self.start = conn, op, rid, f, log, None
        self.is_fetch, self.credit = op == FETCH, f.get("credit_bytes")
        wait = min(f["max_wait_ms"], 600000) / 1000 if self.is_fetch else 30    # [READ-13] [READ-22]
        self.timer = asyncio.get_running_loop().call_later(wait, self.step, True)
        conn.reads[rid] = self
        log.readers.add(self)

    def close(self):
        self.timer.cancel()
        self.conn.reads.pop(self.rid, None)
        self.conn.hungry.pop(self, None)
        self.log.readers.discard(self)

    def refuse(self, refusal):
        self.close()
        self.conn.send(self.op, self.rid, refusal.body(), status=refusal.code)  # op is DELIVER once answered [SUB-13]

    def step(self, final=False):
        """`final`: the wait is over."""
        self.conn.hungry.pop(self, None)
        try:
            if self.log.deleted:
                raise Refusal("LOG_NOT_FOUND", "the log was deleted")           # [LOG-25]
            if self.op == DELIVER:
                self.deliver()
            elif not self.locate():
                if final:
                    raise Refusal("BEHIND", "`after` was not reached", range=(self.log.start, self.log.end))
            elif self.op == FETCH:
                self.fetch(final)
            else:
                self.timer.cancel()
                self.conn.send(SUBSCRIBE, self.rid, self.head(), more=True)     # before the first DELIVER [SUB-1]
                self.op = DELIVER
                self.deliver()
        except Refusal as refusal:
            self.refuse(refusal)

    def locate(self):
        """Judges in the order of §10.1, again after every wait [READ-11]; False if `after` is not reached."""
        log, tlvs, source, bounds = self.log, self.f["ext"], self.f["from"], (self.log.start, self.log.end)
        if tlvs.get("after", 0) > log.end:
            return False
        if source != NEXT or self.start is None:                # what `next` means stays [READ-9], others do not [READ-10]
            self.start = (self.f["value"] if source == OFFSET else log.start if source == EARLIEST
                          else log.by_time(self.f["value"]) if source == TIME else log.end)
        if not log.start <= self.start <= log.end:
            raise Refusal("OFFSET_OUT_OF_RANGE", "outside the log", range=bounds)                # [READ-3] [READ-4]
        if "prev_term" in tlvs and self.start > log.start:      # else there is no batch to compare [READ-15]
            if log.batches[log.holding(self.start - 1)].term != tlvs["prev_term"]:
                raise Refusal("LOG_CHANGED", "another history", range=bounds)
        return True

    def head(self):
        return struct.pack(">3Q", self.start, self.log.start, self.log.end) + uid_ext(self.op, self.f, self.log)

    def gather(self, offset, size, credit=NONE):
        """Whole batches: the first whatever its size [READ-17], more while they fit in and credit is left [SUB-6]."""
        number, chunks, total = self.log.holding(offset), [], 0
        size = min(size, self.conn.client_frame - 128, MAX_FRAME)               # 128: all else in the frame [FRAME-19]
        while number < len(self.log.batches) and credit > total:
            data = self.log.batches[number].data
            if chunks and total + len(data) > size:
                break
            number, total = number + 1, total + len(data)
            chunks.append(data)
        return chunks, total

    def fetch(self, final):
        number = self.log.holding(self.start)
        have = self.log.written - self.log.batches[number].before if self.start < self.log.end else 0
        if final or have >= max(1, min(self.f["min_bytes"], self.f["max_bytes"])):               # [READ-19]
            if not final and not self.conn.has_room():
                self.conn.hungry[self] = True
                return
            self.close()
            self.conn.send(FETCH, self.rid, self.head(), *self.gather(self.start, self.f["max_bytes"])[0])

    def deliver(self):
        """At most one DELIVER. From the answer on, `start` is the next offset to send."""
        if self.start < self.log.start:
            raise Refusal("OFFSET_OUT_OF_RANGE", "overtaken by a trim", range=(self.log.start, self.log.end))    # [SUB-14]
        if self.credit > 0 and self.start < self.log.end:
            self.conn.hungry[self] = True                       # at the end: others have their turn first
            if self.conn.has_room():
                chunks, total = self.gather(self.start, DELIVER_BYTES, self.credit)
                self.credit -= total                            # may go below 0 [SUB-6]
                self.start = self.log.batches[self.log.holding(self.start) + len(chunks) - 1].end
                self.conn.send(DELIVER, self.rid, struct.pack(">Q", self.log.end) + ext(), *chunks, more=True)


# ---- operations: each returns its answer, except for reads, which send it themselves ----

def uid_ext(op, f, log):
    return ext(*[(2, log.uid)] if op in ANSWERS_UID and "log_uid" not in f["ext"] else [])       # [LOG-7] [LOG-8]


def hello(conn, rid, f, log):
    if f["max_frame"] < LEAST_CLIENT_FRAME:
        raise invalid("max_frame", "no batch fits in", limit=(LEAST_CLIENT_FRAME,))              # [HELLO-6]
    if f["cluster_id"] not in (bytes(16), conn.store.cluster_id):
        raise Refusal("WRONG_CLUSTER", "this is another cluster")
    idle = f["idle_ms"]                                         # NEVER is granted: all are on loopback [HELLO-11]
    if idle != NEVER:
        idle = min(max(idle, 5000), 600000) if idle else 30000                  # [HELLO-9] [HELLO-10]
        conn.idle = idle / 1000
    conn.client_frame, conn.state = f["max_frame"], "ready"
    return (struct.pack(">HIIQ", 0, MAX_FRAME, idle, 0) + conn.store.cluster_id + text(NODE)
            + struct.pack(">IHB", MAX_BATCH, 1024, 0) + text(VERSION) + struct.pack(">H", 0) + ext())


def auth(conn, rid, f, log):
    return struct.pack(">BI", 1, 0) + ext()                     # whatever they say [AUTH-1]


def ping(conn, rid, f, log):
    return struct.pack(">I", len(f["data"])) + f["data"] + ext()


def describe_cluster(conn, rid, f, log):
    store = conn.store
    return (store.cluster_id + struct.pack(">Q", store.term) + text(NODE) + struct.pack(">H", 1) + text(NODE) + store.node_id
            + text("127.0.0.1:%d" % store.port) + struct.pack(">BB", 1, 1) + text("") + text(VERSION) + ext())


def create_log(conn, rid, f, log):
    logs, name, defaults = conn.store.logs, f.pop("log"), {"replication": 1, "segment_bytes": 64 << 20, "compressions": 3}
    if name in logs:
        raise Refusal("LOG_EXISTS", "the name is in use", log_uid=logs[name].uid)
    if len(logs) >= MAX_LOGS:
        raise invalid("log", "too many logs", limit=(MAX_LOGS,))                # [LOG-21]
    log = logs[name] = Log(conn.store, name, {key: value or defaults.get(key, 0) for key, value in f.items()})
    return log.uid + ext((2, log.uid))


def delete_log(conn, rid, f, log):
    del conn.store.logs[log.name]
    log.deleted = True
    log.cut(len(log.batches))
    log.wake()
    return ext()


def describe_log(conn, rid, f, log):
    return log.describe() + uid_ext(DESCRIBE_LOG, f, log)


def list_logs(conn, rid, f, log):
    frames, size = [[]], 0
    for name in sorted(filter(lambda name: name.startswith(f["prefix"]), conn.store.logs)):      # ASCII: as bytes [LOG-32]
        entry = conn.store.logs[name].describe()
        if size + len(entry) > min(conn.client_frame, MAX_FRAME) - 64:          # [LOG-33]
            frames, size = frames + [[]], 0
        frames[-1].append(entry)
        size += len(entry)
    answers = [struct.pack(">H", len(entries)) + b"".join(entries) + ext() for entries in frames]
    for answer in answers[:-1]:
        conn.send(LIST_LOGS, rid, answer, more=True)
    return answers[-1]


def trim(conn, rid, f, log):
    log.cut(log.holding(f["offset"]))                           # the batch that holds it stays [LOG-36]
    return struct.pack(">Q", log.start) + ext()


def alter_log(conn, rid, f, log):
    if f["replication"] > 1 and log.settings["durability"] != 1:
        raise invalid("replication", "this durability allows one copy")         # [LOG-41]
    for key in ("retain_bytes", "retain_ms", "replication", "compressions"):    # NONE and 0 leave it [LOG-40]
        if f[key] is not None and (f[key] or key.startswith("retain")):
            log.settings[key] = f[key]
    return ext()


def produce(conn, rid, f, log):
    head = check_batch(f["batch"], log.settings["compressions"])
    if head.producer_id:
        raise Refusal("UNKNOWN_PRODUCER", "no producers here")                  # [PROD-6]
    batch = log.append(f["batch"], head)
    # The receipt says what was reached, whatever the log wishes: memory (3), one copy.
    return struct.pack(">4Q4B", batch.base, batch.end, batch.time, batch.term, 3, 1, 0, 0) + uid_ext(PRODUCE, f, log)


def read(conn, op, rid, f, log):
    full = sum(other.is_fetch == (op == FETCH) for other in conn.reads.values()) >= MAX_OPEN
    refusal = Refusal("TOO_MANY_INFLIGHT", "too many open reads", limit=(MAX_OPEN,))
    if op == SUBSCRIBE and f["credit_bytes"] > MAX_CREDIT:
        raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")                  # [SUB-9]
    if op == SUBSCRIBE and full:
        raise refusal
    opened = Read(conn, op, rid, f, log)
    opened.step(final=f.get("max_wait_ms") == 0)
    if full and rid in conn.reads:                              # a FETCH only when it has to wait [SESS-36]
        opened.refuse(refusal)


def fetch(conn, rid, f, log):
    return read(conn, FETCH, rid, f, log)


def subscribe(conn, rid, f, log):
    return read(conn, SUBSCRIBE, rid, f, log)


def find_offset(conn, rid, f, log):
    return struct.pack(">3Q", log.by_time(f["time"]), log.start, log.end) + ext()


OPS = {HELLO: hello, AUTH: auth, PING: ping, DESCRIBE_CLUSTER: describe_cluster, CREATE_LOG: create_log,
       DELETE_LOG: delete_log, DESCRIBE_LOG: describe_log, LIST_LOGS: list_logs, TRIM: trim, ALTER_LOG: alter_log,
       PRODUCE: produce, FETCH: fetch, SUBSCRIBE: subscribe, FIND_OFFSET: find_offset}


def carry_out(conn, op, rid, payload):
    f = decode(op, payload)
    if (f.get("expected_offset") is not None or f.get("fence") or f.get("from") == POSITION         # [PROD-7] [READ-6]
            or "restore_uid" in f["ext"] or "trash" in f["ext"]):                                   # [LOG-47]
        raise Refusal("UNSUPPORTED_FEATURE", "this server has no conditions, positions and trash")
    log = conn.store.logs.get(f.get("log"))
    if "log" in f and op != CREATE_LOG:                         # existence, then log_uid, then all else [LOG-9]
        if log is None:
            raise Refusal("LOG_NOT_FOUND", "no such log")
        if f["ext"].get("log_uid", log.uid) != log.uid:
            raise Refusal("LOG_CHANGED", "another log has this name now", log_uid=log.uid)
    return OPS[op](conn, rid, f, log)


# ---- connections (§2, §4, §5) ----

class Connection:
    """Reads frame after frame and answers each before it reads the next one, except for reads that wait: nothing else
    is ever in flight, and the order of answers (§9.2) needs no care."""

    def __init__(self, store, reader, writer):
        self.store, self.reader, self.writer, self.state = store, reader, writer, "preface"
        self.client_frame, self.idle, self.pings = EARLY_FRAME, None, 0
        self.buffer, self.out, self.out_bytes, self.out_session = bytearray(), deque(), 0, 0
        self.more, self.room = asyncio.Event(), asyncio.Event()     # there is something to send; there is room to read on
        self.reads, self.hungry = {}, {}                        # open reads by id; those with data that had no room
        self.useless = deque(maxlen=10000)                      # when frames without effect came [SESS-40]
        self.room.set()
        writer.transport.set_write_buffer_limits(high=0)        # what the kernel does not take stays in self.out

    async def run(self):
        self.task, self.pouring = asyncio.current_task(), asyncio.ensure_future(self.pour())
        self.store.connections.add(self)
        try:
            await asyncio.wait_for(self.take_preface(), 5)      # or not a byte [PRE-14]
            try:
                await asyncio.wait_for(self.take_hello(), 5)
            except asyncio.TimeoutError:
                raise Refusal("IDLE_TIMEOUT", "no HELLO within 5 s") from None  # [HELLO-17]
            while True:
                await self.take_frame()
        except Refusal as refusal:
            self.goaway(refusal, FATAL)
        except (EOFError, OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass
        try:
            await self.end()
        except asyncio.CancelledError:
            pass
        finally:
            self.pouring.cancel()
            self.writer.transport.abort()
            self.store.connections.discard(self)

    async def end(self):
        """What is queued, FIN, and reading on for a while, since a reset would eat the error [SESS-8]."""
        self.state = "closing"
        for read in list(self.reads.values()):
            read.close()                                        # [SESS-22]
        self.more.set()
        discarding = asyncio.ensure_future(self.discard())
        await asyncio.wait({self.pouring}, timeout=10)
        try:
            self.writer.write_eof()
        except OSError:
            pass
        await asyncio.wait({discarding}, timeout=2)
        discarding.cancel()

    async def discard(self):
        left = MAX_FRAME
        while left > 0 and not self.reader.at_eof():
            try:
                left -= len(await self.reader.read(65536))
            except OSError:
                return

    # -- in --

    async def take(self, size, keep=False):
        """The next bytes. Silence is counted only here, where the connection is being read [SESS-31]."""
        silence = 0
        while len(self.buffer) < size:
            try:        # the third, short wait sees what had come by then
                wait = self.idle and (0.01 if silence == 2 else self.idle / 2)
                data = await asyncio.wait_for(self.reader.read(65536), wait)
            except asyncio.TimeoutError:
                silence += 1
                if silence == 3:
                    raise Refusal("IDLE_TIMEOUT", "nothing came in %g s" % self.idle) from None  # [SESS-29]
                if silence == 1:
                    self.pings += 1
                    self.send(PING, self.pings, struct.pack(">I", 0) + ext(), request=True)     # [SESS-28]
                continue
            if not data:
                raise EOFError                                  # part of a frame is nothing [FRAME-14]
            self.buffer += data                                 # grows by what came, not by `length` [FRAME-12]
            silence = 0
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def take_preface(self):
        data = b""
        while len(data) < 8:                                    # not a byte is sent before all are there [PRE-1]
            data += await self.take(1)
            if not b"\xfaSLG".startswith(data[:4]):
                raise EOFError                                  # TLS, HTTP, or none of ours [PRE-13] [TLS-2] [HTTP-1]
        plane, highest, lowest, error = data[4:5], data[5], data[6], None
        if plane not in (b"C", b"R", b"B", b"G"):               # the order of [PRE-9]
            error = "OP_NOT_ALLOWED"
        elif plane != b"C":
            error = "FORBIDDEN"                                 # [PEER-1]
        elif not lowest <= 1 <= highest:
            error = "UNSUPPORTED_VERSION"
        elif len(self.store.connections) > MAX_CONNECTIONS:
            error = "OVERLOADED"                                # [PRE-10]
        self.enqueue(data[:5] + struct.pack(">BH", 0 if error else 1, ERRORS[error][0] if error else 0))
        if error:
            raise EOFError
        self.state = "hello"

    async def take_hello(self):
        while self.state == "hello":
            await self.take_frame()

    async def take_frame(self):
        await self.room.wait()                                  # [SESS-38]
        length, op, flags, status, rid = FRAME.unpack(await self.take(FRAME.size))
        self.judge(length, op, flags, status, rid)              # without waiting for the payload [FRAME-11]
        payload = await self.take(length - 8)
        if flags & RESPONSE:
            if not 1 <= rid <= self.pings:                      # to one of our PINGs, or to nothing [FRAME-24]
                self.no_effect()
        elif op == GOAWAY:                                      # whatever its payload [SESS-19]
            self.drain()
            raise EOFError
        elif op in (CREDIT, CANCEL):
            self.about_read(op, rid, payload)
        else:
            self.request(op, rid, payload)

    def judge(self, length, op, flags, status, rid):
        """All that ends the connection, in the order of [FRAME-37]."""
        ready = self.state in ("ready", "draining")
        limit = MAX_FRAME if ready else EARLY_FRAME             # [FRAME-3] [FRAME-4]
        if length > limit:
            raise Refusal("FRAME_TOO_LARGE", "the frame is too long", limit=(limit,))
        if length < 8 or flags & CRITICAL_FLAGS:
            raise Refusal("MALFORMED", "wrong length or flags")
        if flags & RESPONSE:
            return
        if (rid == 0 and op != GOAWAY) or status != 0:
            raise Refusal("MALFORMED", "a request with id 0 or with a status")
        if (op == HELLO) == ready or op == DELIVER or 0x60 <= op <= 0x6F:       # [HELLO-1] [HELLO-2] [FRAME-35]
            raise Refusal("OP_NOT_ALLOWED", "op %02x is not allowed here" % op)
        if rid in self.reads and op not in (GOAWAY, CANCEL, CREDIT):
            raise Refusal("DUPLICATE_ID", "this id is still open")

    def request(self, op, rid, payload):
        try:
            if op not in OPS:
                raise Refusal("UNKNOWN_OP", "op %02x is not served here" % op)
            if self.state == "draining" and op not in (PING, AUTH):
                raise Refusal("SHUTTING_DOWN", "the server stops")              # [SESS-14]
            answer = carry_out(self, op, rid, payload)
            if answer is not None:
                self.send(op, rid, answer)
        except Refusal as refusal:
            # An error to HELLO is always fatal, and no GOAWAY follows it [HELLO-15] [HELLO-16].
            self.send(op, rid, refusal.body(FATAL if op == HELLO else 0), status=refusal.code)
            if op == HELLO:
                raise EOFError from None
        except Exception as error:
            print("op %02x: %r" % (op, error), file=sys.stderr)
            raise Refusal("INTERNAL", "internal error") from error

    def about_read(self, op, rid, payload):
        """CREDIT and CANCEL are never answered [FRAME-30], but a wrong one ends what it is about [FRAME-32]."""
        read = self.reads.get(rid)
        if read is None or (op == CREDIT and read.is_fetch):
            return self.no_effect()                             # [FRAME-31]
        try:
            f = decode(op, payload)
            if op == CANCEL:
                raise Refusal("CANCELED", "cancelled by the client")
            read.credit += f["add_bytes"]
            if read.credit > MAX_CREDIT:
                raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")          # [SUB-10]
            read.step()
        except Refusal as refusal:
            read.refuse(refusal)

    def no_effect(self):
        now = time.monotonic()
        if len(self.useless) == 10000 and now - self.useless[0] < 1:
            raise Refusal("CONTROL_FLOOD", "more than 10,000 frames without effect in a second")
        self.useless.append(now)

    # -- out --

    def send(self, op, rid, *chunks, status=0, more=False, request=False):
        flags, length = 0 if request else RESPONSE | (MORE if more else 0), 8 + sum(map(len, chunks))
        self.enqueue(FRAME.pack(length, op, flags, status, rid), *chunks, session=op <= CANCEL)

    def enqueue(self, *chunks, session=False):
        """Batches are shared with the log and copied only when their turn comes."""
        if self.state != "closing":
            self.out.append((chunks, session))
            self.count(1, chunks, session)
            self.more.set()

    def count(self, sign, chunks, session):
        self.out_bytes, self.out_session = self.out_bytes + sign * sum(map(len, chunks)), self.out_session + sign * session
        (self.room.clear if self.out_bytes > 1 << 20 or self.out_session > 1000 else self.room.set)()    # [SESS-38]

    def has_room(self):
        return self.out_bytes < DELIVER_BYTES                   # the data of reads leaves room for answers [SUB-17]

    async def pour(self):
        """Writes what is queued, until the connection ends."""
        try:
            while True:
                while self.out:
                    self.writer.write(b"".join(self.out[0][0]))
                    await self.writer.drain()
                    self.count(-1, *self.out.popleft())
                    while self.hungry and self.has_room():
                        next(iter(self.hungry)).step()          # one that cannot go on drops out of hungry
                        await asyncio.sleep(0)
                if self.state == "closing":
                    return
                self.more.clear()
                await self.more.wait()
        except OSError:
            self.task.cancel()

    # -- the end --

    def goaway(self, refusal, cls=0, grace=0):
        self.send(GOAWAY, 0, struct.pack(">HBBI", refusal.code, refusal.cls | cls, 0, grace) + text(refusal.message)
                  + refusal.tlvs, request=True)

    def drain(self):
        """After a GOAWAY, sent or received: what waits gets what there is, subscriptions end [SESS-12] [SESS-13]."""
        for read in list(self.reads.values()):
            if read.is_fetch:
                read.step(final=True)
            else:
                read.refuse(Refusal("SHUTTING_DOWN", "the connection ends"))

    def stop(self):
        if self.state == "ready":                               # [SESS-10]
            self.goaway(Refusal("SHUTTING_DOWN", "the server stops"), grace=GRACE_MS)
            self.state = "draining"
            self.drain()
            asyncio.get_running_loop().call_later(GRACE_MS / 3000, self.task.cancel)             # [SESS-15]
        elif self.state != "closing":
            self.task.cancel()


async def main(options):
    loop, store, stopping = asyncio.get_running_loop(), Store(options.max_store), asyncio.Event()
    listener = await asyncio.start_server(lambda *pair: Connection(store, *pair).run(), "127.0.0.1", options.port)
    store.port = listener.sockets[0].getsockname()[1]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    print(json.dumps({"port": store.port}), flush=True)
    stop = asyncio.ensure_future(stopping.wait())
    while not (await asyncio.wait({stop}, timeout=5))[0]:
        for log in list(store.logs.values()):
            log.retain()
    listener.close()
    for connection in list(store.connections):
        connection.stop()
    deadline = loop.time() + GRACE_MS / 1000
    while store.connections and loop.time() < deadline:
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--max-store", type=int, default=256 << 20, help="bytes of all logs together")
    asyncio.run(main(parser.parse_args()))
