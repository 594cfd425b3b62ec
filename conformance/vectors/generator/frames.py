"""frames.json: every request and response layout."""
from .encode import NONE, P, u64
from .batch import APPEND_TIME, GZIP, IDEMPOTENT, NEXT, PRODUCER, STAMPED
from .rows import (
    CLUSTER, GREASE, MIB, NODE_ID, OLD_UID, UID, UID_ANSWER, UID_ASK, error, request, response, t_field,
    t_leader, t_limit, t_range)
from .layouts import (
    create_log, fetch, fetched, goaway, hello, hello_answer, log_entry, named, preface, preface_answer, produce,
    produced, subscribe)


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
    yield request("alter-log-request", "ALTER_LOG", 14, P().str("log", "t").u64n("retain_bytes", NONE)
                  .u64n("retain_ms", 86_400_000).u8("replication", 0).u8("compressions", 1).ext())
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
    put = lambda offset, expected: (P().str("log", "t").str("name", "billing").u64n("offset", offset)
                                    .u64n("expected", expected).ext(UID_ASK))
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
