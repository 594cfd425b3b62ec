#!/usr/bin/env python3
"""A second sidelog server, written from docs/protocol.md and nothing else.

One process, one thread, everything in memory. It serves the profiles core and streaming of wire protocol 1.0 in
plaintext on loopback. Ids in brackets, such as [FRAME-37], are requirements of docs/protocol.md without their `SL-`.

Usage: server.py [--port N] [--max-store BYTES]       prints {"port": N} and serves until SIGTERM
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

NODE, SERVER = "second", "sidelog-second/1.0"

# Limits (§12)
MAX_BATCH = 1 << 20
MAX_FRAME = 4 << 20
EARLY_FRAME = 16384             # before READY [FRAME-4]
MAX_INFLIGHT = 1024             # announced only: all but waiting reads is answered before the next frame is looked at
MAX_EXT = 4096
MAX_LOGS = 1000
MAX_WAITING = 256               # FETCHes that wait, and as many subscriptions [SESS-35]
MAX_CONNECTIONS = 1000
MAX_CREDIT = 2**31 - 1
MAX_U64 = 2**53 - 1
NONE = 2**64 - 1
BACKLOG_BYTES, BACKLOG_SESSION = 1 << 20, 1000      # [SESS-38]
DELIVER_BYTES = 256 << 10       # what one DELIVER aims at, and how much is queued for subscriptions
GRACE_MS = 3000                 # announced at SIGTERM; connections are ended after a third of it
BATCH_COST = 256                # what a stored batch costs beside its bytes

# Operations (§6) and the flags of a frame (§4)
HELLO, AUTH, PING, GOAWAY, CANCEL = 0x01, 0x02, 0x03, 0x04, 0x05
DESCRIBE_CLUSTER, CREATE_LOG, DELETE_LOG, DESCRIBE_LOG, LIST_LOGS, TRIM, ALTER_LOG = range(0x10, 0x17)
PRODUCE, FETCH, SUBSCRIBE, CREDIT, DELIVER, FIND_OFFSET = 0x20, 0x30, 0x31, 0x32, 0x33, 0x34
SESSION_OPS = (HELLO, AUTH, PING, GOAWAY, CANCEL, CREDIT)
RESPONSE, MORE, CRITICAL_FLAGS = 0x01, 0x02, 0x3C

FRAME = struct.Struct(">IBBHI")                     # length, op, flags, status, id
BATCH = struct.Struct(">4sIQQQQIIIHHQQ")            # §7
FATAL = 0x04

ERRORS = {  # name: code, class (§11.2)
    "MALFORMED": (1, 4), "UNSUPPORTED_VERSION": (2, 4), "UNKNOWN_OP": (3, 0), "OP_NOT_ALLOWED": (4, 4),
    "FRAME_TOO_LARGE": (5, 4), "DUPLICATE_ID": (6, 4), "UNSUPPORTED_FEATURE": (7, 0), "TOO_MANY_INFLIGHT": (9, 1),
    "FLOW_CONTROL": (10, 0), "SHUTTING_DOWN": (11, 9), "IDLE_TIMEOUT": (12, 4), "CONTROL_FLOOD": (13, 4),
    "WRONG_CLUSTER": (14, 4), "FORBIDDEN": (102, 0), "LOG_NOT_FOUND": (200, 0), "LOG_EXISTS": (201, 0),
    "INVALID_ARGUMENT": (202, 0), "OFFSET_OUT_OF_RANGE": (203, 0), "CORRUPT_BATCH": (204, 0),
    "BATCH_TOO_LARGE": (205, 0), "UNSUPPORTED_COMPRESSION": (206, 0), "CANCELED": (208, 0), "LOG_CHANGED": (210, 0),
    "UNKNOWN_PRODUCER": (304, 2), "STORAGE_FULL": (305, 1), "OVERLOADED": (404, 1), "BEHIND": (405, 1),
    "INTERNAL": (500, 2),
}


# ---- encoding (§1) ----

def u8(n): return struct.pack(">B", n)
def u16(n): return struct.pack(">H", n)
def u32(n): return struct.pack(">I", n)
def u64(n): return struct.pack(">Q", n)
def string(text): return u16(len(text.encode())) + text.encode()


def ext(*tlvs):
    """An ext block of (type, value) pairs; the critical bit is for requests only [TYPE-23]."""
    body = b"".join(u16(kind) + u16(len(value)) + value for kind, value in tlvs)
    return u16(len(body)) + body


ERROR_TLVS = {  # §11.1
    "log_uid": (2, bytes), "range": (4, lambda pair: u64(pair[0]) + u64(pair[1])), "limit": (6, u64),
    "field": (7, str.encode), "supported": (8, u64),
}


class Refusal(Exception):
    """An error of §11 on its way to the client."""

    def __init__(self, name, message, **tlvs):
        super().__init__(message)
        self.name, self.message = name, message
        self.code, self.cls = ERRORS[name]
        self.tlvs = ext(*((ERROR_TLVS[key][0], ERROR_TLVS[key][1](value)) for key, value in tlvs.items()))

    def body(self, cls=0):
        return u8(self.cls | cls) + u8(0) + u32(0) + string(self.message) + self.tlvs


def invalid(field, message="wrong value", **tlvs):
    return Refusal("INVALID_ARGUMENT", "%s: %s" % (field, message), field=field, **tlvs)


# ---- decoding (§1) ----

class Payload:
    """Takes a request apart field by field, so that the first wrong field of the layout is the one reported."""

    NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")       # [LOG-1]

    def __init__(self, data):
        self.data, self.at, self.names = data, 0, []

    def take(self, size, field):
        if self.at + size > len(self.data):
            raise invalid(field, "the payload ends too early")      # [TYPE-6]
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size, field, allowed=None):
        value = int.from_bytes(self.take(size, field), "big")
        if allowed is not None and value not in allowed:
            raise invalid(field, "out of range")                    # [TYPE-10]
        return value

    def u8(self, field, allowed=None): return self.number(1, field, allowed)
    def u16(self, field): return self.number(2, field)
    def u32(self, field): return self.number(4, field)

    def u64(self, field, none=False, used=True):
        """A u64; None stands for NONE. A field that is not used is only skipped [TYPE-12]."""
        value = self.number(8, field)
        if none and value == NONE:
            return None
        if used and value > MAX_U64:
            raise invalid(field, "above 2^53 - 1")                  # [TYPE-3] [TYPE-4]
        return value

    def flags(self, known):
        if self.number(1, "flags") & ~known:
            raise invalid("flags", "unknown bits")                  # [TYPE-9]

    def reserved(self):
        self.number(1, "reserved", (0,))                            # [TYPE-8]

    def bytes(self, field, size=None):
        return self.take(self.number(4, field) if size is None else size, field)

    def str(self, field, used=True):
        raw = self.take(self.number(2, field), field)
        if not used:
            return ""
        try:
            return raw.decode()                                     # strict: no surrogates, nothing overlong [TYPE-5]
        except UnicodeDecodeError:
            raise invalid(field, "not UTF-8") from None

    def name(self, field, used=True):
        """A str that must be a name; that is judged only after the whole payload [LOG-9]."""
        value = self.str(field, used)
        if used:
            self.names.append((field, value))
        return value

    def ext(self, known=None):
        """The TLVs by name; known is {type: (name, length of the value)}."""
        size = self.number(2, "ext")
        block, at, seen, found = self.take(size, "ext"), 0, set(), {}
        if size > MAX_EXT:
            raise invalid("ext", "longer than %d bytes" % MAX_EXT)  # [TYPE-20]; 4,096 without the two length bytes
        while at < size:
            kind, length = struct.unpack_from(">HH", block, at) if at + 4 <= size else (0, size)
            value, at = block[at + 4:at + 4 + length], at + 4 + length
            if at > size or kind & 0x7FFF in seen:
                raise invalid("ext", "a TLV is cut off or comes twice")      # [TYPE-18] [TYPE-19]
            seen.add(kind & 0x7FFF)
            name, wanted = (known or {}).get(kind & 0x7FFF, (None, 0))       # critical or not [TYPE-17]
            if name is None:
                if kind & 0x8000:
                    raise Refusal("UNSUPPORTED_FEATURE", "unknown critical TLV %04x" % kind)     # [TYPE-15]
            elif length != wanted:
                raise invalid(name, "wrong length")                 # [TYPE-21]
            else:
                found[name] = int.from_bytes(value, "big") if wanted == 8 else value
                if wanted == 8 and found[name] > MAX_U64:
                    raise invalid(name, "above 2^53 - 1")
        return found

    def end(self):
        if self.at != len(self.data):
            raise invalid("end", "the payload goes on after the last field")     # [TYPE-7]
        self.check_names()

    def check_names(self):
        for field, value in self.names:
            if not self.NAME.fullmatch(value):
                raise invalid(field, "not a name")                  # [LOG-2]

    def rest(self):
        self.check_names()
        return self.data[self.at:]


LOG_UID = {2: ("log_uid", 16)}
READ_TLVS = {1: ("after", 8), 2: ("log_uid", 16), 3: ("prev_term", 8)}


# ---- logs (§7, §8) ----

def now_ms():
    return int(time.time() * 1000)


def first(items, test):
    """The index of the first item that passes, in a list where all items after it pass too."""
    low, high = 0, len(items)
    while low < high:
        mid = (low + high) // 2
        low, high = (low, mid) if test(items[mid]) else (mid + 1, high)
    return low


Stored = namedtuple("Stored", "base end time term data before")    # before: bytes of all batches there ever were before


def check_batch(raw, compressions):
    """Returns the header of a client's batch that may be stored (§7.1)."""
    def corrupt(message):
        return Refusal("CORRUPT_BATCH", message)

    if len(raw) < BATCH.size:
        raise corrupt("no whole header")                            # [BATCH-1]
    if len(raw) > MAX_BATCH:
        raise Refusal("BATCH_TOO_LARGE", "larger than max_batch", limit=MAX_BATCH)       # [BATCH-8]
    head = magic, header_crc, _, _, _, _, body_crc, body_len, count, attributes, _, producer, seq = BATCH.unpack_from(raw)
    if magic != b"SLB1" or len(raw) != BATCH.size + body_len:
        raise corrupt("not exactly one batch")                      # [BATCH-2] [BATCH-3]
    if header_crc != zlib.crc32(raw[8:72]) or body_crc != zlib.crc32(raw[44:]):
        raise corrupt("wrong checksum")                             # [BATCH-4] [BATCH-5]
    if count == 0 or attributes & 0xFFF0:
        raise corrupt("no records, a control batch, or unknown attributes")      # [BATCH-6] [BATCH-10] [BATCH-11]
    if count > 65535:
        raise Refusal("BATCH_TOO_LARGE", "too many records", limit=65535)        # [BATCH-7]
    if producer and max(producer, seq) > MAX_U64:
        raise corrupt("producer_id or seq above 2^53 - 1")          # [BATCH-15]; without a producer seq is ignored
    compression = attributes & 15
    if not compressions >> compression & 1:
        raise Refusal("UNSUPPORTED_COMPRESSION", "not in the log's settings", supported=compressions)    # [BATCH-12]
    if compression:
        if body_len < 4:
            raise corrupt("no raw_len")                             # [BATCH-13]
        if int.from_bytes(raw[72:76], "big") > MAX_BATCH:
            raise Refusal("BATCH_TOO_LARGE", "raw_len above max_batch", limit=MAX_BATCH)  # [BATCH-14]
        return head                                                 # the inside is the readers' business [BATCH-18]
    at, records = 72, 0
    while at + 5 <= len(raw):
        length, flags = struct.unpack_from(">IB", raw, at)
        if length < 9 or flags > 7:
            raise corrupt("a record is too short or has an unknown flag")        # [REC-2] [REC-4]
        at, records = at + 4 + length, records + 1
    if at != len(raw) or records != count:
        raise corrupt("the records do not fill the body, or are not count")      # [REC-1] [REC-3]
    return head


class Log:
    def __init__(self, store, name, settings):
        self.store, self.name, self.settings = store, name, settings
        self.uid, self.created = os.urandom(16), now_ms()           # never one that a log had before [LOG-4]
        self.batches, self.start, self.end = [], 0, 0
        self.index = self.last_time = self.written = self.bytes = 0
        self.readers, self.deleted = set(), False                   # reads that wait for a change

    def append(self, raw, count):
        """Stamps a batch (§7.2): bytes 8 to 39 become ours, 40 to the end stay the client's [BATCH-20]."""
        if self.store.used + len(raw) + BATCH_COST > self.store.limit:
            raise Refusal("STORAGE_FULL", "no room")                # before there is an index [PROD-18]
        self.index += 1
        self.last_time = max(self.last_time, now_ms())              # never goes down [BATCH-24]
        head = u64(self.index) + u64(self.store.term) + u64(self.end) + u64(self.last_time) + raw[40:72]
        batch = Stored(self.end, self.end + count, self.last_time, self.store.term,
                       b"".join((b"SLB1", u32(zlib.crc32(head)), head, raw[72:])), self.written)
        self.batches.append(batch)
        self.end, self.written, self.bytes = batch.end, self.written + len(raw), self.bytes + len(raw)
        self.store.used += len(raw) + BATCH_COST
        self.wake()
        return batch

    def cut(self, number):
        """Gives up the first batches."""
        if number:
            gone = sum(len(batch.data) for batch in self.batches[:number])
            self.start = self.batches[number - 1].end
            del self.batches[:number]
            self.bytes -= gone
            self.store.used -= gone + number * BATCH_COST
            self.wake()

    def retain(self):
        """Retention by age and size, for what is certainly not to be kept [LOG-43] [LOG-44]."""
        size, age = self.settings["retain_bytes"], self.settings["retain_ms"]
        old = first(self.batches, lambda batch: batch.time > now_ms() - age) if age else 0
        over = first(self.batches, lambda batch: self.written - batch.before - len(batch.data) < size) if size else 0
        self.cut(max(old, over))

    def wake(self):
        for read in list(self.readers):
            read.step()

    def by_offset(self, offset):
        return first(self.batches, lambda batch: batch.end > offset)

    def by_time(self, when):
        """The offset of the first record of the first batch that is not older; else the end [READ-31] [READ-32]."""
        number = first(self.batches, lambda batch: batch.time >= when)
        return self.batches[number].base if number < len(self.batches) else self.end

    def describe(self):
        s = self.settings
        return (string(self.name) + self.uid + u64(self.start) + u64(self.end) + u64(0) + u64(self.bytes)
                + u64(self.created) + u64(self.store.term) + string(NODE) + u16(1) + string(NODE) + u8(1)
                + u8(s["durability"]) + u8(s["replication"]) + u32(s["interval_ms"]) + u64(s["retain_bytes"])
                + u64(s["retain_ms"]) + u64(s["segment_bytes"]) + u8(s["compressions"]))


class Store:
    """All that outlives a connection."""

    def __init__(self, limit):
        self.limit, self.used, self.logs = limit, 0, {}
        self.cluster_id, self.node_id = os.urandom(16), os.urandom(16)
        self.term = now_ms()        # higher after every start (§13)
        self.port, self.connections = 0, set()

    def log(self, name, tlvs):
        """The log that a request names: existence, then log_uid [LOG-9]."""
        log = self.logs.get(name)
        if log is None:
            raise Refusal("LOG_NOT_FOUND", "no such log")
        if tlvs.get("log_uid", log.uid) != log.uid:
            raise Refusal("LOG_CHANGED", "another log has this name now", log_uid=log.uid)       # [LOG-5]
        return log


# ---- open reads (§10) ----

OFFSET, EARLIEST, NEXT, TIME, POSITION = range(5)


class Read:
    """What FETCH and SUBSCRIBE share: where they start, and how they end."""

    def __init__(self, conn, op, rid, log, source, value, tlvs):
        self.conn, self.op, self.rid, self.log = conn, op, rid, log
        self.source, self.value, self.tlvs, self.start, self.timer = source, value, tlvs, None, None

    def open(self, number, wait):
        """Waits until step() ends it; number is the limit's current use, wait in seconds."""
        if number >= MAX_WAITING:
            raise Refusal("TOO_MANY_INFLIGHT", "too many open reads", limit=MAX_WAITING)         # [SESS-36]
        self.conn.reads[self.rid] = self
        self.log.readers.add(self)
        self.timer = asyncio.get_running_loop().call_later(wait, self.step, True)

    def close(self):
        self.conn.reads.pop(self.rid, None)
        self.log.readers.discard(self)
        if self.timer:
            self.timer.cancel()

    def refuse(self, refusal):
        self.close()
        self.conn.send(self.op, self.rid, refusal.body(), status=refusal.code)

    def locate(self):
        """Judges the read in the order of §10.1, again after every wait; False while `after` is not reached."""
        log = self.log
        if log.deleted:
            raise Refusal("LOG_NOT_FOUND", "the log was deleted")   # [READ-11] [LOG-25]
        if self.tlvs.get("after", 0) > log.end:
            return False
        if self.source == OFFSET:
            self.start = self.value
        elif self.source == EARLIEST:
            self.start = log.start
        elif self.source == TIME:
            self.start = log.by_time(self.value)
        elif self.start is None:
            self.start = log.end                                    # NEXT stays what it was first [READ-9]
        bounds = (log.start, log.end)
        if not log.start <= self.start <= log.end:
            raise Refusal("OFFSET_OUT_OF_RANGE", "outside the log", range=bounds)        # [READ-3] [READ-4]
        if "prev_term" in self.tlvs and self.start > log.start:     # else there is no batch to compare [READ-15]
            if log.batches[log.by_offset(self.start - 1)].term != self.tlvs["prev_term"]:
                raise Refusal("LOG_CHANGED", "another history", range=bounds)    # [READ-14]
        return True

    def head(self):
        return (u64(self.start) + u64(self.log.start) + u64(self.log.end)
                + ext(*(() if "log_uid" in self.tlvs else ((2, self.log.uid),))))        # [LOG-7] [LOG-8]

    def behind(self):
        return Refusal("BEHIND", "`after` was not reached in time", range=(self.log.start, self.log.end))

    def gather(self, offset, size, limit):
        """Whole batches from the one that holds offset: the first whatever its size, others within both limits."""
        chunks, total, number = [], 0, self.log.by_offset(offset)
        size = min(size, limit, self.conn.client_frame - 128, MAX_FRAME)         # 128: header and fields [FRAME-19]
        for number in range(number, len(self.log.batches)):
            data = self.log.batches[number].data
            if chunks and total + len(data) > size:                 # [READ-17] [READ-18]
                break
            chunks.append(data)
            total += len(data)
            if total >= limit:
                break
        return chunks, total


class Fetch(Read):
    def __init__(self, conn, rid, log, source, value, tlvs, min_bytes, max_bytes):
        super().__init__(conn, FETCH, rid, log, source, value, tlvs)
        self.max_bytes, self.enough = max_bytes, max(1, min(min_bytes, max_bytes))       # [READ-19]

    def step(self, final=False):
        """Answers if there is enough, or if the wait is over; True when it was answered."""
        try:
            if not self.locate():
                if not final:
                    return False
                raise self.behind()                                 # [READ-12]
            number = self.log.by_offset(self.start)
            have = self.log.written - self.log.batches[number].before if number < len(self.log.batches) else 0
            if not final and (have < self.enough or not self.conn.has_room()):
                return False
            chunks, _ = self.gather(self.start, self.max_bytes, NONE)
            self.close()
            self.conn.send(FETCH, self.rid, self.head(), *chunks)
        except Refusal as refusal:
            self.refuse(refusal)
        return True


class Subscription(Read):
    def __init__(self, conn, rid, log, source, value, tlvs, credit):
        super().__init__(conn, SUBSCRIBE, rid, log, source, value, tlvs)
        self.credit = credit

    def step(self, final=False):
        """Answers the SUBSCRIBE when it can, then sends at most one DELIVER."""
        try:
            if self.op == SUBSCRIBE:
                if not self.locate():
                    if final:
                        raise self.behind()                         # [READ-13]
                    return
                self.timer.cancel()
                self.conn.send(SUBSCRIBE, self.rid, self.head(), more=True)      # [SUB-1]
                self.op, self.next = DELIVER, self.start            # from now on it ends by DELIVER [SUB-3] [SUB-13]
            if self.log.deleted:
                raise Refusal("LOG_NOT_FOUND", "the log was deleted")    # [LOG-25]
            if self.next < self.log.start:
                raise Refusal("OFFSET_OUT_OF_RANGE", "overtaken by a trim", range=(self.log.start, self.log.end))
            if self.credit <= 0 or self.next == self.log.end or not self.conn.has_room():        # [SUB-7] [SESS-37]
                return
            # `limit` stops at the batch that uses up the balance, which may overdraw it [SUB-6].
            chunks, total = self.gather(self.next, DELIVER_BYTES, self.credit)
            self.credit -= total
            self.next = self.log.batches[self.log.by_offset(self.next) + len(chunks) - 1].end
            self.conn.send(DELIVER, self.rid, u64(self.log.end) + ext(), *chunks, more=True)     # [SUB-2]
            self.conn.reads[self.rid] = self.conn.reads.pop(self.rid)    # others have their turn first
            self.conn.pump_soon()
        except Refusal as refusal:
            self.refuse(refusal)


# ---- connections (§2, §4, §5) ----

PREFACE, GREETING, READY, DRAINING, CLOSING = "preface", "hello", "ready", "draining", "closing"


class Connection(asyncio.Protocol):
    """Bytes, frames and states. Everything is answered at once but waiting reads, so order needs no care."""

    def __init__(self, store):
        self.store, self.loop = store, asyncio.get_running_loop()
        self.state, self.transport, self.timer = PREFACE, None, None
        self.buffer, self.reading, self.eof, self.discarded = bytearray(), True, False, 0
        self.out, self.out_bytes, self.out_session, self.clogged, self.fin = deque(), 0, 0, False, False
        self.reads, self.pumping = {}, False                        # open FETCHes and SUBSCRIBEs by id
        self.client_frame, self.idle = EARLY_FRAME, None
        self.heard, self.pinged, self.pings = 0.0, False, 0
        self.useless = deque(maxlen=10000)                          # when frames without effect came [SESS-40]

    def arm(self, seconds, action, *args):
        """Each state has one deadline."""
        if self.timer:
            self.timer.cancel()
        self.timer = self.loop.call_later(seconds, action, *args)

    # -- the transport's calls --

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=0)   # what the kernel does not take waits in self.out, where it counts
        self.store.connections.add(self)
        self.arm(5, self.finish)                    # [PRE-14]

    def connection_lost(self, error):
        self.state = CLOSING
        self.store.connections.discard(self)
        self.timer.cancel()
        self.drop_reads()
        self.out.clear()

    def data_received(self, data):
        self.heard, self.pinged = self.loop.time(), False           # every byte is a sign of life [SESS-30]
        if self.state == CLOSING:                                   # read on, or a reset eats the error [SESS-8]
            self.discarded += len(data)
            if self.discarded > MAX_FRAME:
                self.transport.abort()
            return
        self.buffer += data                                         # grows by what came, not by `length` [FRAME-12]
        self.process()

    def eof_received(self):
        self.eof = True
        self.process()
        return True                                                 # answers may still go out [SESS-20]

    def pause_writing(self):
        self.clogged = True

    def resume_writing(self):
        self.clogged = False
        self.flush()
        if self.state != CLOSING:
            self.process()
            self.pump()

    # -- in --

    def process(self):
        """Takes what lies in the buffer, as long as its answers are taken [SESS-38]."""
        while self.state != CLOSING:
            backlog = self.out_bytes + self.transport.get_write_buffer_size() > BACKLOG_BYTES
            if backlog or self.out_session > BACKLOG_SESSION:
                return self.read(False)
            if not (self.take_preface() if self.state == PREFACE else self.take_frame()):
                break
        self.read(True)
        if self.eof:
            self.finish()                           # an incomplete frame is nothing [FRAME-14]

    def read(self, on):
        if on != self.reading and not self.transport.is_closing():
            self.reading, self.heard = on, self.loop.time()         # what is not read is no silence [SESS-31]
            (self.transport.resume_reading if on else self.transport.pause_reading)()

    def take_preface(self):
        data = self.buffer
        if not (b"\xfaSLG".startswith(data[:4])):
            self.finish()                           # TLS, HTTP or nothing of ours: no byte [PRE-13] [TLS-2] [HTTP-1]
        if self.state == CLOSING or len(data) < 8:
            return False                            # not a byte before all eight are there [PRE-1]
        plane, major, minor = data[4:5], data[5], data[6]           # byte 7 is ignored [PRE-12]
        error = None
        if plane not in b"CRBG":                                    # the order of [PRE-9]
            error = "OP_NOT_ALLOWED"
        elif plane != b"C":
            error = "FORBIDDEN"                                     # takes no peers [PEER-1]
        elif not minor <= 1 <= major:
            error = "UNSUPPORTED_VERSION"
        elif len(self.store.connections) > MAX_CONNECTIONS:
            error = "OVERLOADED"                                    # [PRE-10]
        status = ERRORS[error][0] if error else 0
        del data[:8]
        self.enqueue((b"\xfaSLG" + plane + u8(0 if error else 1) + u16(status),), False)
        if error:
            self.finish()
        else:
            self.state = GREETING
            self.arm(5, self.goaway, Refusal("IDLE_TIMEOUT", "no HELLO within 5 s"))     # [HELLO-17]
        return True

    def take_frame(self):
        if len(self.buffer) < FRAME.size:
            return False
        length, op, flags, status, rid = FRAME.unpack_from(self.buffer)
        try:
            self.judge_header(length, op, flags, status, rid)       # without waiting for the payload [FRAME-11]
        except Refusal as refusal:
            self.goaway(refusal)
            return False
        if len(self.buffer) < 4 + length:
            return False
        payload = bytes(self.buffer[FRAME.size:4 + length])
        del self.buffer[:4 + length]
        self.take_request(op, flags, rid, payload)
        return True

    def judge_header(self, length, op, flags, status, rid):
        """All that ends the connection, in the order of [FRAME-37]."""
        ready = self.state in (READY, DRAINING)
        limit = MAX_FRAME if ready else EARLY_FRAME
        if length < 8:
            raise Refusal("MALFORMED", "length below 8")
        if length > limit:
            raise Refusal("FRAME_TOO_LARGE", "the frame is too long", limit=limit)
        if flags & CRITICAL_FLAGS:
            raise Refusal("MALFORMED", "reserved flag")
        if flags & RESPONSE:
            return
        if (rid == 0 and op != GOAWAY) or status:
            raise Refusal("MALFORMED", "a request with id 0 or a status")
        if (op == HELLO) == ready or op == DELIVER or 0x60 <= op <= 0x6F:        # [HELLO-1] [HELLO-2] [FRAME-35]
            raise Refusal("OP_NOT_ALLOWED", "op %02x is not allowed here" % op)
        if op not in (GOAWAY, CANCEL, CREDIT) and rid in self.reads:
            raise Refusal("DUPLICATE_ID", "id %d is still open" % rid)

    def take_request(self, op, flags, rid, payload):
        if flags & RESPONSE:
            if not 1 <= rid <= self.pings:          # an answer to one of our PINGs, or to nothing [FRAME-24]
                self.no_effect()
        elif op == GOAWAY:                          # whatever its payload [SESS-19]
            self.drain()
            self.finish()
        elif op in (CREDIT, CANCEL):
            self.about_read(op, rid, payload)
        else:
            try:
                if op not in self.OPS:
                    raise Refusal("UNKNOWN_OP", "op %02x is not served here" % op)
                if self.state == DRAINING and op not in (PING, AUTH):
                    raise Refusal("SHUTTING_DOWN", "the server stops")           # [SESS-14]
                answer = self.OPS[op](self, rid, Payload(payload))
            except Refusal as refusal:
                # Errors to HELLO are always fatal, and no GOAWAY follows them [HELLO-15] [HELLO-16].
                self.send(op, rid, refusal.body(FATAL if op == HELLO else 0), status=refusal.code)
                if op == HELLO:
                    self.finish()
            except Exception as error:
                print("internal error in op %02x: %r" % (op, error), file=sys.stderr)
                self.goaway(Refusal("INTERNAL", "internal error"))
            else:
                if answer is not None:
                    self.send(op, rid, answer)

    def about_read(self, op, rid, payload):
        """CREDIT and CANCEL: never answered [FRAME-30], but a wrong one ends what it is about [FRAME-32]."""
        read = self.reads.get(rid)
        if read is None or (op == CREDIT and not isinstance(read, Subscription)):
            return self.no_effect()
        try:
            fields = Payload(payload)
            more = fields.u32("add_bytes") if op == CREDIT else 0
            fields.ext()
            fields.end()
            if op == CANCEL:
                raise Refusal("CANCELED", "cancelled by the client")
            if read.credit + more > MAX_CREDIT:
                raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")           # [SUB-10]
            read.credit += more
            read.step()
        except Refusal as refusal:
            read.refuse(refusal)

    def no_effect(self):
        now = self.loop.time()
        if len(self.useless) == 10000 and now - self.useless[0] < 1:
            return self.goaway(Refusal("CONTROL_FLOOD", "more than 10,000 frames without effect in a second"))
        self.useless.append(now)

    # -- out --

    def send(self, op, rid, *chunks, status=0, more=False, request=False):
        length = FRAME.size - 4 + sum(map(len, chunks))
        flags = 0 if request else RESPONSE | (MORE if more else 0)
        self.enqueue((FRAME.pack(length, op, flags, status, rid),) + chunks, op in SESSION_OPS)

    def enqueue(self, chunks, session):
        if self.state != CLOSING:                   # nothing follows a final GOAWAY [SESS-9]
            size = sum(map(len, chunks))
            self.out.append((chunks, size, session))    # batches are shared with the log, not copied
            self.out_bytes, self.out_session = self.out_bytes + size, self.out_session + session
            self.flush()

    def flush(self):
        while self.out and not self.clogged:
            chunks, size, session = self.out.popleft()
            self.out_bytes, self.out_session = self.out_bytes - size, self.out_session - session
            self.transport.write(b"".join(chunks))
        if self.state == CLOSING and not self.out and not self.clogged and not self.fin:
            self.fin = True
            if self.eof:
                self.transport.close()
            elif not self.transport.is_closing():
                self.transport.write_eof()
                self.arm(2, self.transport.abort)   # [SESS-8]

    def has_room(self):
        """Data of subscriptions leaves room for answers, so that it does not delay them [SUB-17]."""
        return self.out_bytes < DELIVER_BYTES

    def pump_soon(self):
        if not self.pumping:
            self.pumping = True
            self.loop.call_soon(self.pump)

    def pump(self):
        """Gives every open read a turn."""
        self.pumping = False
        for read in list(self.reads.values()):
            read.step()

    # -- the end --

    def goaway(self, refusal, cls=FATAL, grace=0):
        self.send(GOAWAY, 0, u16(refusal.code) + u8(refusal.cls | cls) + u8(0) + u32(grace)
                  + string(refusal.message) + refusal.tlvs, request=True)
        if cls & FATAL:
            self.finish()

    def finish(self):
        """Sends what is queued, then FIN, then discards what still comes."""
        if self.state == CLOSING:
            if self.eof and self.fin:
                self.transport.close()
            return
        self.drop_reads()
        self.state = CLOSING
        self.buffer.clear()
        self.read(True)
        self.arm(10, self.transport.abort)          # for a client that does not take what is queued
        self.flush()

    def drop_reads(self):
        for read in list(self.reads.values()):
            read.close()

    def drain(self):
        """A GOAWAY went one way or the other [SESS-12] [SESS-13]."""
        for read in list(self.reads.values()):
            if isinstance(read, Fetch):
                read.step(final=True)
            else:
                read.refuse(Refusal("SHUTTING_DOWN", "the connection ends"))

    def stop(self):
        """The server is asked to stop [SESS-10]."""
        if self.state == READY:
            self.goaway(Refusal("SHUTTING_DOWN", "the server stops"), cls=0, grace=GRACE_MS)
            self.state = DRAINING
            self.drain()
            self.arm(GRACE_MS / 3000, self.finish)  # [SESS-15]
        else:
            self.finish()

    def check_idle(self):
        """The loop reads what has come before it runs timers, so nothing that waits is overlooked [SESS-31]."""
        now = self.loop.time()
        if not self.reading:
            self.heard = now
        if now - self.heard >= self.idle:
            return self.goaway(Refusal("IDLE_TIMEOUT", "nothing came for %d ms" % (self.idle * 1000)))
        if not self.pinged and now - self.heard >= self.idle / 2:
            self.pinged, self.pings = True, self.pings + 1
            self.send(PING, self.pings, u32(0) + ext(), request=True)            # [SESS-28]
        self.arm(max(self.heard + self.idle / (1 if self.pinged else 2) - now, 0.001), self.check_idle)

    # -- operations --

    def op_hello(self, rid, p):
        p.u16("minor")
        max_frame = p.u32("max_frame")
        if max_frame < MAX_BATCH + 8192:
            raise invalid("max_frame", "no batch fits", limit=MAX_BATCH + 8192)  # [HELLO-6]
        idle = p.u32("idle_ms")
        p.u64("features")                           # none is known here [HELLO-5]
        cluster = p.bytes("cluster_id", 16)
        p.str("client")
        p.ext()
        p.end()
        if cluster not in (bytes(16), self.store.cluster_id):
            raise Refusal("WRONG_CLUSTER", "this is another cluster")
        self.client_frame, self.state, self.heard = max_frame, READY, self.loop.time()
        if idle == 0xFFFFFFFF:                      # granted: all our clients are on loopback [HELLO-11]
            self.timer.cancel()
        else:
            idle = min(max(idle, 5000), 600000) if idle else 30000               # [HELLO-9] [HELLO-10]
            self.idle = idle / 1000
            self.arm(self.idle / 2, self.check_idle)
        return (u16(0) + u32(MAX_FRAME) + u32(idle) + u64(0) + self.store.cluster_id + string(NODE) + u32(MAX_BATCH)
                + u16(MAX_INFLIGHT) + u8(0) + string(SERVER) + u16(0) + ext())

    def op_auth(self, rid, p):
        p.str("mech")
        p.bytes("data")
        p.ext()
        p.end()
        return u8(1) + u32(0) + ext()               # whatever they say [AUTH-1]

    def op_ping(self, rid, p):
        data = p.bytes("data")
        if len(data) > 64:
            raise invalid("data", "more than 64 bytes")
        p.ext()
        p.end()
        return u32(len(data)) + data + ext()

    def op_describe_cluster(self, rid, p):
        p.ext()
        p.end()
        store = self.store
        return (store.cluster_id + u64(store.term) + string(NODE) + u16(1) + string(NODE) + store.node_id
                + string("127.0.0.1:%d" % store.port) + u8(1) + u8(1) + string("") + string(SERVER) + ext())

    def op_create_log(self, rid, p):
        name = p.name("log")
        s = {"durability": p.u8("durability", (1, 2, 3)), "replication": p.u8("replication", (0, 1, 3, 5)) or 1}
        if s["durability"] != 1 and s["replication"] > 1:
            raise invalid("replication", "this durability allows one copy")      # [LOG-14]
        s["interval_ms"] = p.u32("interval_ms")
        if s["durability"] != 2:
            s["interval_ms"] = 0                    # not used, whatever it is [TYPE-12]
        elif not 1 <= s["interval_ms"] <= 60000:
            raise invalid("interval_ms", "1 to 60,000")
        s["retain_bytes"], s["retain_ms"] = p.u64("retain_bytes"), p.u64("retain_ms")
        s["segment_bytes"] = p.u64("segment_bytes") or 64 << 20
        if not 1 << 20 <= s["segment_bytes"] <= 1 << 30:
            raise invalid("segment_bytes", "1 MiB to 1 GiB")
        s["compressions"] = p.u8("compressions", range(8)) or 3                  # [LOG-20]
        tlvs = p.ext({3: ("restore_uid", 16)})
        p.end()
        if tlvs:
            raise Refusal("UNSUPPORTED_FEATURE", "no trash here")                # [LOG-47]
        logs = self.store.logs
        if name in logs:
            raise Refusal("LOG_EXISTS", "the name is in use", log_uid=logs[name].uid)
        if len(logs) >= MAX_LOGS:
            raise invalid("log", "too many logs", limit=MAX_LOGS)                # [LOG-21]
        log = logs[name] = Log(self.store, name, s)
        return log.uid + ext((2, log.uid))

    def named(self, p, *fields, answer=False):
        """For layouts of log, fields and ext: the log, the fields, and the ext of the answer."""
        name = p.name("log")
        values = [take() for take in fields]
        tlvs = p.ext(LOG_UID)
        p.end()
        log = self.store.log(name, tlvs)
        return (log, *values, ext(*([(2, log.uid)] if answer and not tlvs else [])))

    def op_delete_log(self, rid, p):
        log, tail = self.named(p)
        del self.store.logs[log.name]
        log.deleted = True
        log.cut(len(log.batches))
        log.wake()                                  # reads end with LOG_NOT_FOUND [LOG-25]
        return tail

    def op_describe_log(self, rid, p):
        log, tail = self.named(p, answer=True)
        return log.describe() + tail

    def op_list_logs(self, rid, p):
        prefix = p.str("prefix")
        if len(prefix.encode()) > 200:
            raise invalid("prefix", "longer than 200 bytes")
        tlvs = p.ext({3: ("trash", 0)})
        p.end()
        if tlvs:
            raise Refusal("UNSUPPORTED_FEATURE", "no trash here")
        frames, room = [[]], 0                      # names are ASCII, so sorted() sorts by bytes [LOG-32]
        for name in sorted(name for name in self.store.logs if name.startswith(prefix)):
            entry = self.store.logs[name].describe()
            if room + len(entry) > min(self.client_frame, MAX_FRAME) - 64:       # [LOG-33]
                frames.append([])
                room = 0
            frames[-1].append(entry)
            room += len(entry)
        bodies = [u16(len(entries)) + b"".join(entries) + ext() for entries in frames]
        for body in bodies[:-1]:
            self.send(LIST_LOGS, rid, body, more=True)
        return bodies[-1]

    def op_trim(self, rid, p):
        log, offset, tail = self.named(p, lambda: p.u64("offset"))
        log.cut(first(log.batches, lambda batch: batch.end > offset))            # a batch border [LOG-36]
        return u64(log.start) + tail

    def op_alter_log(self, rid, p):
        log, *values, tail = self.named(
            p, lambda: p.u64("retain_bytes", none=True), lambda: p.u64("retain_ms", none=True),
            lambda: p.u8("replication", (0, 1, 3, 5)) or None, lambda: p.u8("compressions", range(8)) or None)
        if log.settings["durability"] != 1 and (values[2] or 1) > 1:
            raise invalid("replication", "this durability allows one copy")      # and nothing is changed [LOG-41]
        for key, value in zip(("retain_bytes", "retain_ms", "replication", "compressions"), values):
            if value is not None:
                log.settings[key] = value
        return tail

    def op_produce(self, rid, p):
        name = p.name("log")
        p.flags(1)                                  # NO_FORWARD changes nothing on one node [CLUS-4]
        p.reserved()
        p.u32("timeout_ms")                         # nothing here takes time
        expected, fence = p.u64("expected_offset", none=True), p.u64("fence")
        tlvs, raw = p.ext(LOG_UID), p.rest()
        if expected is not None or fence:
            raise Refusal("UNSUPPORTED_FEATURE", "no conditional writes here")   # [PROD-7]
        log = self.store.log(name, tlvs)            # from here on the order of §9.2
        head = check_batch(raw, log.settings["compressions"])
        if head[11]:
            raise Refusal("UNKNOWN_PRODUCER", "no producers here")               # [PROD-6]
        batch = log.append(raw, head[8])
        # A receipt says what was really reached: durability 3 (memory), one copy [CLUS-6].
        return (u64(batch.base) + u64(batch.end) + u64(batch.time) + u64(batch.term) + u8(3) + u8(1) + u8(0) + u8(0)
                + ext(*([] if tlvs else [(2, log.uid)])))

    def read_start(self, p):
        """The fields after `from` and `flags` or `reserved` that both reads have."""

    def op_fetch(self, rid, p):
        name, source = p.name("log"), p.u8("from", range(5))
        p.flags(1)                                  # LINEARIZABLE: one node has nothing newer elsewhere [READ-28]
        value = p.u64("value", used=source in (OFFSET, TIME))
        p.name("position_name", used=source == POSITION)
        min_bytes, max_bytes, wait = p.u32("min_bytes"), p.u32("max_bytes"), min(p.u32("max_wait_ms"), 600000)
        tlvs = p.ext(READ_TLVS)
        p.end()
        read = Fetch(self, rid, self.read_log(name, source, tlvs), source, value, tlvs, min_bytes, max_bytes)
        if not read.step(final=wait == 0):          # [READ-23]
            read.open(sum(isinstance(other, Fetch) for other in self.reads.values()), wait / 1000)

    def op_subscribe(self, rid, p):
        name, source = p.name("log"), p.u8("from", range(5))
        p.reserved()
        value = p.u64("value", used=source in (OFFSET, TIME))
        p.name("position_name", used=source == POSITION)
        credit, tlvs = p.u32("credit_bytes"), p.ext(READ_TLVS)
        p.end()
        log = self.read_log(name, source, tlvs)
        if credit > MAX_CREDIT:
            raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")               # [SUB-9]
        read = Subscription(self, rid, log, source, value, tlvs, credit)
        read.open(sum(isinstance(other, Subscription) for other in self.reads.values()), 30)
        read.step()

    def read_log(self, name, source, tlvs):
        if source == POSITION:
            raise Refusal("UNSUPPORTED_FEATURE", "no positions here")            # [READ-6]
        return self.store.log(name, tlvs)

    def op_find_offset(self, rid, p):
        log, when, tail = self.named(p, lambda: p.u64("time"))
        return u64(log.by_time(when)) + u64(log.start) + u64(log.end) + tail

    OPS = {
        HELLO: op_hello, AUTH: op_auth, PING: op_ping, DESCRIBE_CLUSTER: op_describe_cluster, CREATE_LOG: op_create_log,
        DELETE_LOG: op_delete_log, DESCRIBE_LOG: op_describe_log, LIST_LOGS: op_list_logs, TRIM: op_trim,
        ALTER_LOG: op_alter_log, PRODUCE: op_produce, FETCH: op_fetch, SUBSCRIBE: op_subscribe,
        FIND_OFFSET: op_find_offset,
    }


async def main(options):
    loop, store, stopped = asyncio.get_running_loop(), Store(options.max_store), asyncio.Event()
    listener = await loop.create_server(lambda: Connection(store), "127.0.0.1", options.port, backlog=512)
    store.port = listener.sockets[0].getsockname()[1]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print(json.dumps({"port": store.port}), flush=True)
    while not stopped.is_set():
        for log in list(store.logs.values()):
            log.retain()
        try:
            await asyncio.wait_for(stopped.wait(), 5)
        except asyncio.TimeoutError:
            pass
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
