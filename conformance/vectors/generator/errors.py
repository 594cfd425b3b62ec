"""errors.json: every code, every TLV."""
from .encode import P, RESPONSE
from .rows import (
    MIB, OLD_UID, UID, error, frame, request, row, t_fence, t_field, t_leader, t_limit, t_next, t_range, t_seq,
    t_supported, t_uid)
from .layouts import goaway, preface_answer


def rows_errors():
    leader = t_leader("n2", 7, "10.0.0.2:8400")
    nowhere = t_leader("n2", 7, "[2001:db8::2]:8400")

    def answer(name, op, message, *tlvs, suffix="", **more):
        return error(f"error-{name.lower().replace('_', '-')}{suffix}", op, 2, name, message, *tlvs, **more)

    def bye(name, message, *tlvs):
        return request(f"goaway-error-{name.lower().replace('_', '-')}", "GOAWAY", 0, goaway(name, 0, message, *tlvs))

    yield bye("MALFORMED", "reserved flag set")
    yield preface_answer("error-unsupported-version", "C", 0, "UNSUPPORTED_VERSION")
    yield error("error-unknown-op", 0x7F, 2, "UNKNOWN_OP", "unknown op 7f", note="an error answer repeats the op, known or not")
    yield bye("OP_NOT_ALLOWED", "HELLO comes first")
    yield bye("FRAME_TOO_LARGE", "frame too large", t_limit(16384))
    yield bye("DUPLICATE_ID", "id 20 is open")
    yield answer("UNSUPPORTED_FEATURE", "FETCH", "unknown critical TLV 31 in ext")
    yield preface_answer("error-tls-required", "C", 0, "TLS_REQUIRED")
    yield answer("TOO_MANY_INFLIGHT", "FETCH", "too many waiting FETCHes", t_limit(256), retry_after_ms=1000)
    yield answer("FLOW_CONTROL", "SUBSCRIBE", "credit above 2^31 - 1")
    yield answer("SHUTTING_DOWN", "PRODUCE", "the node stops", leader, retry_after_ms=250)
    yield answer("SHUTTING_DOWN", "PRODUCE", "the node stops", suffix="-no-leader")
    yield bye("IDLE_TIMEOUT", "idle for 30000 ms")
    yield bye("CONTROL_FLOOD", "more than 10000 frames without effect in a second")
    yield answer("WRONG_CLUSTER", "HELLO", "another cluster")
    yield bye("AUTH_REQUIRED", "AUTH comes first")
    yield answer("AUTH_FAILED", "AUTH", "no such token")
    yield answer("AUTH_FAILED", "AUTH", "no such token", suffix="-third", extra_class=4)
    yield answer("FORBIDDEN", "PRODUCE", "not allowed", t_field("log"))
    yield answer("LOG_NOT_FOUND", "PRODUCE", "no log t")
    yield answer("LOG_EXISTS", "CREATE_LOG", "t exists", t_uid(UID))
    yield answer("INVALID_ARGUMENT", "CREATE_LOG", "durability is 1, 2 or 3", t_field("durability"))
    yield answer("INVALID_ARGUMENT", "CREATE_LOG", "no more than 1000 logs", t_field("log"), t_limit(1000), suffix="-limit")
    yield answer("INVALID_ARGUMENT", "HELLO", "max_frame too small", t_field("max_frame"), t_limit(MIB + 8192), suffix="-hello", extra_class=4)
    yield answer("OFFSET_OUT_OF_RANGE", "FETCH", "below log_start", t_range(5, 43))
    yield answer("CORRUPT_BATCH", "PRODUCE", "body_crc does not match")
    yield answer("BATCH_TOO_LARGE", "PRODUCE", "batch too large", t_limit(MIB))
    yield answer("UNSUPPORTED_COMPRESSION", "PRODUCE", "this log takes none and gzip", t_supported(3))
    yield answer("DATA_LOSS", "FETCH", "offsets 10 to 19 are damaged", t_range(10, 20), leader)
    yield answer("DATA_LOSS", "FETCH", "offsets 10 to 19 are damaged", t_range(10, 20), suffix="-no-leader")
    yield answer("CANCELED", "FETCH", "canceled")
    yield answer("POSITION_NOT_FOUND", "GET_POSITION", "no position billing")
    yield answer("LOG_CHANGED", "PRODUCE", "another log of the same name", t_uid(OLD_UID))
    yield answer("LOG_CHANGED", "FETCH", "another history", t_range(5, 43), suffix="-term")
    yield answer("OFFSET_MISMATCH", "PRODUCE", "next offset is 43", t_next(43))
    yield answer("FENCED", "PRODUCE", "the log's token is 9", t_fence(9))
    yield answer("PRODUCER_FENCED", "PRODUCE", "epoch 3 is current")
    yield answer("SEQ_GAP", "PRODUCE", "expected 7", t_seq(7))
    yield answer("UNKNOWN_PRODUCER", "PRODUCE", "unknown producer")
    yield answer("STORAGE_FULL", "PRODUCE", "no room", retry_after_ms=5000)
    yield answer("SEQ_REUSED", "PRODUCE", "seq 6 was another batch", t_seq(7))
    yield answer("POSITION_MISMATCH", "PUT_POSITION", "the position is 41", t_next(41))
    yield answer("LOG_STOPPED", "PRODUCE", "sync failed; see sidelog verify", leader)
    yield answer("NOT_LEADER", "PRODUCE", "not leader", nowhere)
    yield answer("NOT_LEADER", "PRODUCE", "not leader", suffix="-unknown")
    yield answer("NO_LEADER", "PRODUCE", "no leader", retry_after_ms=400)
    yield answer("TIMEOUT", "PRODUCE", "not committed in 5000 ms")
    yield answer("LEADERSHIP_LOST", "PRODUCE", "leadership lost")
    yield answer("OVERLOADED", "PRODUCE", "too much to do", retry_after_ms=0xFFFFFFFF)
    yield answer("BEHIND", "FETCH", "committed_end is 43", t_range(5, 43), leader)
    yield answer("INTERNAL", "PRODUCE", "")
    yield answer("FENCED", "PRODUCE", "le jeton du journal est 9, żółw", t_fence(9), suffix="-message-utf8")
    yield from odd_errors(answer)


def odd_errors(answer):
    """What a client must live with: unknown TLVs, class bits and codes."""
    yield answer("FENCED", "PRODUCE", "with unknown TLVs", suffix="-unknown-tlvs", *(
        (0x0A0A, b"\x01", None, None), t_fence(9), (99, b"later", None, None)))
    odd = P().u8("class", 0xF1).zero().u32("retry_after_ms", 0).str("message", "from the future").error_ext()
    raw, fields = frame("PRODUCE", 2, odd, RESPONSE, 9999)
    fields["error"] = None
    yield row("error-unknown-code", "error", raw, fields,
              "unknown code, unknown class bits: act on bit 01, ignore the others")
