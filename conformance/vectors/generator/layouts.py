"""The layouts of plane C with example values: one function per layout that is used more than once."""
from .encode import ERRORS, NONE, P, u16, u8
from .batch import APPEND_TIME, CLIENT, CLIENT_TIME
from .rows import ANY, CLUSTER, MIB, UID, UID_ANSWER, row


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
            .u64n("expected_offset", expected).u64("fence", fence).ext(*ext).batch(batch))


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
