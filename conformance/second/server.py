#!/usr/bin/env python3
"""A second sidelog server, written from docs/protocol.md and nothing else: one thread, all in memory.

It serves the profiles core and streaming of wire protocol 1.0, in plaintext on loopback. What stands in
brackets, such as [FRAME-37], is a requirement of docs/protocol.md without its `SL-`.

Usage: server.py [--port N] [--max-store BYTES]     prints {"port": N} and serves until SIGTERM
"""
import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import deque, namedtuple
from struct import pack
from zlib import crc32

from wire import (
    ALTER_LOG, ANSWERS_UID, AUTH, CANCEL, CREATE_LOG, CREDIT, CRITICAL_FLAGS, DELETE_LOG, DELIVER,
    DESCRIBE_CLUSTER, DESCRIBE_LOG, EARLIEST, EARLY_FRAME, ERRORS, FATAL, FETCH, FIND_OFFSET, FRAME, GOAWAY,
    HELLO, LAYOUTS, LIST_LOGS, MAX_BATCH, MAX_CREDIT, MAX_FRAME, MORE, NEXT, NONE, OFFSET, PING, POSITION,
    PRODUCE, RESPONSE, SUBSCRIBE, TIME, TRIM, Refusal, check_batch, decode, ext, invalid, text,
)

LEAST_CLIENT_FRAME, NEVER = MAX_BATCH + 8192, 2**32 - 1
MAX_LOGS, MAX_OPEN, MAX_CONNECTIONS = 1000, 256, 1000
DELIVER_BYTES = 256 << 10               # what one DELIVER aims at, and how much reads may queue
BATCH_COST = 256                        # what a stored batch costs beside its bytes
GRACE_MS = 3000                         # announced when the server stops; connections end after a third of it


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


Stored = namedtuple("Stored", "base end time term data before")         # before: bytes stored before it, ever


class Store:
    """What outlives a connection."""

    def __init__(self, limit):
        self.limit, self.used, self.logs, self.connections, self.port = limit, 0, {}, set(), 0
        self.cluster_id, self.node_id = os.urandom(16), os.urandom(16)
        self.term = now_ms()                            # higher after every start (§13)


class Log:
    def __init__(self, store, name, settings):
        self.store, self.name, self.settings, self.deleted = store, name, settings, False
        self.uid, self.created = os.urandom(16), now_ms()       # a uid that no log had before [LOG-4]
        self.batches, self.start, self.end, self.index, self.time = [], 0, 0, 0, 0
        self.written, self.bytes, self.readers = 0, 0, set()    # readers: open reads, told of every change

    def append(self, raw, count):
        """Stamps bytes 4 to 39; from 40 on they stay the client's [BATCH-20] [BATCH-22]."""
        if self.store.used + len(raw) + BATCH_COST > self.store.limit:
            raise Refusal("STORAGE_FULL", "no room")
        self.index, self.time = self.index + 1, max(self.time, now_ms())        # never goes down [BATCH-24]
        stamped = pack(">4Q", self.index, self.store.term, self.end, self.time) + raw[40:72]
        data = b"".join((b"SLB1", pack(">I", crc32(stamped)), stamped, raw[72:]))
        batch = Stored(self.end, self.end + count, self.time, self.store.term, data, self.written)
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
        old = first(self.batches, lambda b: b.time > now - age) if age else 0  # [LOG-43]
        much = first(self.batches, lambda b: self.written - b.before - len(b.data) < size) if size else 0
        self.cut(max(old, much))                        # [LOG-44]

    def wake(self):
        for read in list(self.readers):
            read.step()

    def holding(self, offset):
        return first(self.batches, lambda batch: batch.end > offset)

    def by_time(self, when):
        number = first(self.batches, lambda batch: batch.time >= when)  # [READ-31] [READ-32]
        return self.batches[number].base if number < len(self.batches) else self.end

    def describe(self):
        s = self.settings
        return (text(self.name) + self.uid
                + pack(">6Q", self.start, self.end, 0, self.bytes, self.created, self.store.term)
                + text("second") + pack(">H", 1) + text("second") + pack(
                    ">BBBIQQQB", 1, s["durability"], s["replication"], s["interval_ms"], s["retain_bytes"],
                    s["retain_ms"], s["segment_bytes"], s["compressions"]))


# ---- open reads (§10) ----

class Read:
    """An open FETCH or SUBSCRIBE. step() does what can be done now; it is called again after every change."""

    def __init__(self, conn, op, rid, f, log):
        self.conn, self.op, self.rid, self.f, self.log, self.start = conn, op, rid, f, log, None
        self.is_fetch, self.credit, self.waiting = op == FETCH, f.get("credit_bytes"), False
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
        self.close()                                    # op is DELIVER from the answer on [SUB-3] [SUB-13]
        self.conn.send(self.op, self.rid, refusal.body(), status=refusal.code)

    def step(self, final=False):
        """`final`: the wait is over."""
        self.conn.hungry.pop(self, None)
        try:
            if self.log.deleted:
                raise Refusal("LOG_NOT_FOUND", "the log was deleted")   # [LOG-25]
            if self.op == DELIVER:
                self.deliver()
            elif not self.locate():
                if final:
                    raise Refusal("BEHIND", "`after` was not reached", range=(self.log.start, self.log.end))
            elif self.op == FETCH:
                self.fetch(final)
            else:
                self.timer.cancel()
                self.conn.send(SUBSCRIBE, self.rid, self.head(), more=True)     # [SUB-1]
                self.op = DELIVER
                self.deliver()
        except Refusal as refusal:
            self.refuse(refusal)

    def locate(self):
        """Judges in the order of §10.1, again after every wait [READ-11]; False if `after` is not reached."""
        log, tlvs, source, value = self.log, self.f["ext"], self.f["from"], self.f["value"]
        if tlvs.get("after", 0) > log.end:
            return False
        if source != NEXT or self.start is None:        # what `next` means stays [READ-9]
            self.start = (value if source == OFFSET else log.start if source == EARLIEST
                          else log.by_time(value) if source == TIME else log.end)
        if not log.start <= self.start <= log.end:      # [READ-3] [READ-4]
            raise Refusal("OFFSET_OUT_OF_RANGE", "outside the log", range=(log.start, log.end))
        if "prev_term" in tlvs and self.start > log.start:      # else there is no batch to compare [READ-15]
            if log.batches[log.holding(self.start - 1)].term != tlvs["prev_term"]:
                raise Refusal("LOG_CHANGED", "another history", range=(log.start, log.end))
        return True

    def head(self):
        return pack(">3Q", self.start, self.log.start, self.log.end) + uid_ext(self.op, self.f, self.log)

    def gather(self, size, credit=NONE):
        """Whole batches: the first of any size [READ-17], more while they fit and credit is left [SUB-6]."""
        number, chunks, total = self.log.holding(self.start), [], 0
        size = min(size, self.conn.client_frame - 128, MAX_FRAME)  # 128: the rest of the frame [FRAME-19]
        while number < len(self.log.batches) and credit > total:
            data = self.log.batches[number].data
            if chunks and total + len(data) > size:
                break
            number, total = number + 1, total + len(data)
            chunks.append(data)
        return chunks, total

    def fetch(self, final):
        cap = min(self.f["max_bytes"], self.conn.client_frame - 128, MAX_FRAME)  # what fits counts [READ-35]
        number = self.log.holding(self.start)
        have = self.log.written - self.log.batches[number].before if self.start < self.log.end else 0
        if not final and have < max(1, min(self.f["min_bytes"], cap)):  # [READ-19]
            return
        if self.waiting and not final and not self.conn.has_room():
            self.conn.hungry[self] = True
            return
        self.close()
        self.conn.send(FETCH, self.rid, self.head(), *self.gather(self.f["max_bytes"])[0])

    def deliver(self):
        """At most one DELIVER. From the answer on, `start` is the next offset to send."""
        if self.start < self.log.start:                 # [SUB-14]
            raise Refusal("OFFSET_OUT_OF_RANGE", "overtaken by a trim", range=(self.log.start, self.log.end))
        if self.credit > 0 and self.start < self.log.end:
            self.conn.hungry[self] = True               # at the end: others have their turn first
            if self.conn.has_room():
                chunks, total = self.gather(DELIVER_BYTES, self.credit)
                self.credit -= total                    # may go below 0 [SUB-6]
                self.start = self.log.batches[self.log.holding(self.start) + len(chunks) - 1].end
                self.conn.send(DELIVER, self.rid, pack(">Q", self.log.end) + ext(), *chunks, more=True)


# ---- operations ----

def uid_ext(op, f, log):
    return ext([(2, log.uid)] if op in ANSWERS_UID and "log_uid" not in f["ext"] else ())  # [LOG-7] [LOG-8]


def carry_out(conn, op, rid, f):
    """Judges a request whose payload is right; returns its answer, or None when that comes later."""
    store, name = conn.store, f.get("log")
    log = store.logs.get(name)
    if (f.get("expected_offset") is not None or f.get("fence")                  # [PROD-7]
            or f.get("from") == POSITION                                        # [READ-6]
            or "restore_uid" in f["ext"] or "trash" in f["ext"]):       # [LOG-47]
        raise Refusal("UNSUPPORTED_FEATURE", "there are no conditions, positions and trash here")
    if name is not None and op != CREATE_LOG:           # existence, then log_uid, then all else [LOG-9]
        if log is None:
            raise Refusal("LOG_NOT_FOUND", "no such log")
        if f["ext"].get("log_uid", log.uid) != log.uid:
            raise Refusal("LOG_CHANGED", "another log has this name now", log_uid=log.uid)

    if op == HELLO:
        return hello(conn, f)
    if op == AUTH:
        return pack(">BI", 1, 0) + ext()                # done, whatever they say [AUTH-1]
    if op == PING:
        return pack(">I", len(f["data"])) + f["data"] + ext()
    if op == DESCRIBE_CLUSTER:
        return (store.cluster_id + pack(">Q", store.term) + text("second") + pack(">H", 1) + text("second")
                + store.node_id + text("127.0.0.1:%d" % store.port) + pack(">BB", 1, 1) + text("")
                + text("1.0") + ext())
    if op == CREATE_LOG:
        if log:
            raise Refusal("LOG_EXISTS", "the name is in use", log_uid=log.uid)
        if len(store.logs) >= MAX_LOGS:
            raise invalid("log", "too many logs", limit=(MAX_LOGS,))    # [LOG-21]
        defaults = {"replication": 1, "segment_bytes": 64 << 20, "compressions": 3, "interval_ms": 0}
        settings = {key: value or defaults.get(key, 0) for key, value in f.items()}
        log = store.logs[name] = Log(store, name, settings)
        return log.uid + ext([(2, log.uid)])
    if op == DELETE_LOG:
        del store.logs[name]
        log.deleted = True
        log.cut(len(log.batches))
        log.wake()
        return ext()
    if op == DESCRIBE_LOG:
        return log.describe() + uid_ext(op, f, log)
    if op == LIST_LOGS:
        return list_logs(conn, rid, f["prefix"])
    if op == TRIM:
        log.cut(log.holding(f["offset"]))               # the batch that holds it stays [LOG-36]
        return pack(">Q", log.start) + ext()
    if op == ALTER_LOG:
        if f["replication"] > 1 and log.settings["durability"] != 1:
            raise invalid("replication", "this durability allows one copy")     # [LOG-41]
        for key in ("retain_bytes", "retain_ms", "replication", "compressions"):
            if f[key] is not None and (f[key] or key.startswith("retain")):     # NONE and 0 leave it [LOG-40]
                log.settings[key] = f[key]
        return ext()
    if op == PRODUCE:                                   # the order of §9.2
        head = check_batch(f["batch"], log.settings["compressions"])
        if head.producer_id:
            raise Refusal("UNKNOWN_PRODUCER", "there are no producers here")    # [PROD-6]
        batch = log.append(f["batch"], head.count)
        # A receipt says what was reached: memory (3), one copy, whatever the log wishes.
        return pack(">4Q4B", batch.base, batch.end, batch.time, batch.term, 3, 1, 0, 0) + uid_ext(op, f, log)
    if op == FIND_OFFSET:
        return pack(">3Q", log.by_time(f["time"]), log.start, log.end) + ext()
    return open_read(conn, op, rid, f, log)             # FETCH, SUBSCRIBE


def hello(conn, f):
    if f["max_frame"] < LEAST_CLIENT_FRAME:             # [HELLO-6]
        raise invalid("max_frame", "no batch fits in", limit=(LEAST_CLIENT_FRAME,))
    if f["cluster_id"] not in (bytes(16), conn.store.cluster_id):
        raise Refusal("WRONG_CLUSTER", "this is another cluster")
    idle = f["idle_ms"]
    if idle != NEVER:                                   # granted: all clients are on loopback [HELLO-11]
        idle = min(max(idle, 5000), 600000) if idle else 30000  # [HELLO-9] [HELLO-10]
        conn.idle = idle / 1000
    conn.client_frame, conn.state = f["max_frame"], "ready"
    return (pack(">HIIQ", 0, MAX_FRAME, idle, 0) + conn.store.cluster_id + text("second")
            + pack(">IHB", MAX_BATCH, 1024, 0) + text("sidelog-second/1.0") + pack(">H", 0) + ext())


def list_logs(conn, rid, prefix):
    frames, size = [[]], 0
    for name in sorted(name for name in conn.store.logs if name.startswith(prefix)):  # ASCII [LOG-32]
        entry = conn.store.logs[name].describe()
        if size + len(entry) > min(conn.client_frame, MAX_FRAME) - 64:  # [LOG-33]
            frames, size = frames + [[]], 0
        frames[-1].append(entry)
        size += len(entry)
    answers = [pack(">H", len(entries)) + b"".join(entries) + ext() for entries in frames]
    for answer in answers[:-1]:
        conn.send(LIST_LOGS, rid, answer, more=True)
    return answers[-1]


def open_read(conn, op, rid, f, log):
    full = sum(other.is_fetch == (op == FETCH) for other in conn.reads.values()) >= MAX_OPEN
    refusal = Refusal("TOO_MANY_INFLIGHT", "too many open reads", limit=(MAX_OPEN,))
    if op == SUBSCRIBE and f["credit_bytes"] > MAX_CREDIT:
        raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")  # [SUB-9]
    if op == SUBSCRIBE and full:
        raise refusal
    read = Read(conn, op, rid, f, log)
    read.step(final=f.get("max_wait_ms") == 0)
    read.waiting = True
    if full and rid in conn.reads:                      # a FETCH only when it would have to wait [SESS-36]
        read.refuse(refusal)


# ---- connections (§2, §4, §5) ----

class Connection:
    """Reads frame after frame and answers each before it reads the next one, except for reads that wait. So
    nothing else is ever in flight (§5.8), and the order of answers (§9.2) needs no care."""

    def __init__(self, store, reader, writer):
        self.store, self.reader, self.writer, self.state = store, reader, writer, "preface"
        self.client_frame, self.idle, self.pings = EARLY_FRAME, None, 0
        self.buffer, self.out, self.out_bytes, self.out_session = bytearray(), deque(), 0, 0
        self.more, self.room = asyncio.Event(), asyncio.Event()         # something to send; room to read on
        self.reads, self.hungry = {}, {}                # open reads by id; those whose data finds no room
        self.useless = deque(maxlen=10000)              # when frames without effect came [SESS-40]
        self.room.set()
        writer.transport.set_write_buffer_limits(high=0)  # what the kernel does not take stays in self.out

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
        except (OSError, asyncio.CancelledError):
            pass
        self.pouring.cancel()
        self.writer.transport.abort()
        self.store.connections.discard(self)

    async def end(self):
        """What is queued, FIN, and reading on for a while, since a reset would eat the error [SESS-8]."""
        self.state = "closing"
        for read in list(self.reads.values()):
            read.close()                                # [SESS-22]
        self.more.set()
        discarding = asyncio.ensure_future(self.discard())
        await asyncio.wait({self.pouring}, timeout=10)
        self.writer.write_eof()
        await asyncio.wait({discarding}, timeout=2)
        discarding.cancel()

    async def discard(self):
        left = MAX_FRAME
        try:
            while left > 0 and not self.reader.at_eof():
                left -= len(await self.reader.read(65536))
        except OSError:
            pass

    # -- in --

    async def take(self, size):
        """The next bytes. Silence is counted only here, where the connection is being read [SESS-31]."""
        silence = 0
        while len(self.buffer) < size:
            try:
                # The third and short wait is for what had come by then but was not read yet.
                wait = self.idle and (0.01 if silence == 2 else self.idle / 2)
                data = await asyncio.wait_for(self.reader.read(65536), wait)
            except asyncio.TimeoutError:
                silence += 1
                if silence == 3:
                    raise Refusal("IDLE_TIMEOUT", "nothing came in %g s" % self.idle) from None  # [SESS-29]
                if silence == 1:
                    self.pings += 1
                    self.send(PING, self.pings, pack(">I", 0) + ext(), request=True)  # [SESS-28]
                continue
            if not data:
                raise EOFError                          # part of a frame is nothing [FRAME-14]
            self.buffer += data                         # grows by what came, not by `length` [FRAME-12]
            silence = 0
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def take_preface(self):
        data = b""
        while len(data) < 8:                            # not a byte is sent before all are there [PRE-1]
            data += await self.take(1)
            if not b"\xfaSLG".startswith(data[:4]):
                raise EOFError                          # TLS, HTTP, or none of ours [PRE-13] [TLS-2] [HTTP-1]
        plane, highest, lowest, error = data[4:5], data[5], data[6], None
        if plane not in (b"C", b"R", b"B", b"G"):       # the order of [PRE-9]
            error = "OP_NOT_ALLOWED"
        elif plane != b"C":
            error = "FORBIDDEN"                         # [PEER-1]
        elif not lowest <= 1 <= highest:
            error = "UNSUPPORTED_VERSION"
        elif len(self.store.connections) > MAX_CONNECTIONS:
            error = "OVERLOADED"                        # [PRE-10]
        self.enqueue(data[:5] + pack(">BH", 0 if error else 1, ERRORS[error][0] if error else 0))
        if error:
            raise EOFError
        self.state = "hello"

    async def take_hello(self):
        while self.state == "hello":
            await self.take_frame()

    async def take_frame(self):
        await self.room.wait()                          # [SESS-38]
        length, op, flags, status, rid = FRAME.unpack(await self.take(FRAME.size))
        self.judge(length, op, flags, status, rid)      # without waiting for the payload [FRAME-11]
        payload = await self.take(length - 8)
        if flags & RESPONSE:
            if not 1 <= rid <= self.pings:              # to one of our PINGs, or to nothing [FRAME-24]
                self.no_effect()
        elif op == GOAWAY:                              # whatever its payload [SESS-19]
            self.drain()
            raise EOFError
        elif op in (CREDIT, CANCEL):
            self.about_read(op, rid, payload)
        else:
            self.request(op, rid, payload)

    def judge(self, length, op, flags, status, rid):
        """All that ends the connection, in the order of [FRAME-37]."""
        ready = self.state in ("ready", "draining")
        limit = MAX_FRAME if ready else EARLY_FRAME     # [FRAME-3] [FRAME-4]
        if length > limit:
            raise Refusal("FRAME_TOO_LARGE", "the frame is too long", limit=(limit,))
        if length < 8 or flags & CRITICAL_FLAGS:
            raise Refusal("MALFORMED", "wrong length or flags")
        if flags & RESPONSE:
            return
        if (rid == 0 and op != GOAWAY) or status != 0:
            raise Refusal("MALFORMED", "a request with id 0 or with a status")
        if (op == HELLO) == ready or op == DELIVER or 0x60 <= op <= 0x6F:  # [HELLO-1] [HELLO-2] [FRAME-35]
            raise Refusal("OP_NOT_ALLOWED", "op %02x is not allowed here" % op)
        if rid in self.reads and op not in (GOAWAY, CANCEL, CREDIT):
            raise Refusal("DUPLICATE_ID", "this id is still open")

    def request(self, op, rid, payload):
        try:
            if op not in LAYOUTS:
                raise Refusal("UNKNOWN_OP", "op %02x is not served here" % op)
            if self.state == "draining" and op not in (PING, AUTH):
                raise Refusal("SHUTTING_DOWN", "the server stops")      # [SESS-14]
            answer = carry_out(self, op, rid, decode(op, payload))
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
        """CREDIT and CANCEL get no answer [FRAME-30], but a wrong one ends what it is about [FRAME-32]."""
        read = self.reads.get(rid)
        if read is None or (op == CREDIT and read.is_fetch):
            return self.no_effect()                     # [FRAME-31]
        try:
            f = decode(op, payload)
            if op == CANCEL:
                raise Refusal("CANCELED", "cancelled by the client")
            read.credit += f["add_bytes"]
            if read.credit > MAX_CREDIT:
                raise Refusal("FLOW_CONTROL", "credit above 2^31 - 1")  # [SUB-10]
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
        """Batches are shared with the log, and copied only when their turn comes."""
        if self.state != "closing":
            self.out.append((chunks, session))
            self.count(1, chunks, session)
            self.more.set()

    def count(self, sign, chunks, session):
        self.out_bytes += sign * sum(map(len, chunks))
        self.out_session += sign * session
        if self.out_bytes > 1 << 20 or self.out_session > 1000:                 # [SESS-38]
            self.room.clear()
        else:
            self.room.set()

    def has_room(self):
        return self.out_bytes < DELIVER_BYTES           # data leaves room for other answers [SUB-17]

    async def pour(self):
        """Writes what is queued, until the connection ends."""
        try:
            while True:
                while self.out:
                    self.writer.write(b"".join(self.out[0][0]))
                    await self.writer.drain()
                    self.count(-1, *self.out.popleft())
                    while self.hungry and self.has_room():
                        next(iter(self.hungry)).step()  # it is hungry again if there is more to send
                        await asyncio.sleep(0)
                if self.state == "closing":
                    return
                self.more.clear()
                await self.more.wait()
        except OSError:
            self.task.cancel()

    # -- the end --

    def goaway(self, refusal, cls=0, grace=0):
        self.send(GOAWAY, 0, pack(">HBBI", refusal.code, refusal.cls | cls, 0, grace) + text(refusal.message)
                  + refusal.tlvs, request=True)

    def drain(self):
        """After a GOAWAY, sent or received: FETCHes get what there is, others end [SESS-12] [SESS-13]."""
        for read in list(self.reads.values()):
            if read.is_fetch:
                read.step(final=True)
            else:
                read.refuse(Refusal("SHUTTING_DOWN", "the connection ends"))

    def stop(self):
        """The server stops [SESS-10] [SESS-15]."""
        if self.state == "ready":
            self.goaway(Refusal("SHUTTING_DOWN", "the server stops"), grace=GRACE_MS)
            self.state = "draining"
            self.drain()
            asyncio.get_running_loop().call_later(GRACE_MS / 3000, self.stop)
        elif self.state != "closing":
            self.task.cancel()


async def main(options):
    loop, store, stopping = asyncio.get_running_loop(), Store(options.max_store), asyncio.Event()
    listener = await asyncio.start_server(
        lambda reader, writer: Connection(store, reader, writer).run(), "127.0.0.1", options.port)
    store.port = listener.sockets[0].getsockname()[1]
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    print(json.dumps({"port": store.port}), flush=True)
    stopped = asyncio.ensure_future(stopping.wait())
    while not (await asyncio.wait({stopped}, timeout=5))[0]:
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
