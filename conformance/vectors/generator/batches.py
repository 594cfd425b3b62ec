"""batches.json: valid batches, and bad ones with the code they earn."""
import zlib

from .encode import MAX_SAFE, NONE, u16, u32, u64
from .batch import (
    APPEND_TIME, Batch, CLIENT, GZIP, HUFFMAN, HUFFMAN_PLAIN, IDEMPOTENT, MANY, NEXT, ONE, PRODUCER, STAMP,
    STAMPED, TWO, ZSTD, record)
from .rows import MIB, edited, row
from .layouts import produce


def batch_row(name, batch, note=None, produce="OK", reader="OK"):
    r = row(name, "batch", batch.raw, batch.fields, note)
    r["expect"] = {"produce": produce, "reader": reader}
    return r


BOTH = ("body_crc", "header_crc")
HEAD = ("header_crc",)


def bad_batches(bases):
    """Negative batches: (id, base, at, remove, insert, fix, produce, reader, note)."""
    bad, big, comp = "CORRUPT_BATCH", "BATCH_TOO_LARGE", "UNSUPPORTED_COMPRESSION"
    g = "golden-batch-client"
    gz = "gzip"
    flip = lambda base, at: bytes([bases[base][at] ^ 1])
    size = len(bases[g])
    first = 72                       # the first record of the golden batch: len, flags, client_time, "hello"
    second = 72 + 18                 # the second: len, flags, client_time, klen "k", headers, "w"
    rows = [
        ("bad-magic", g, 3, 1, b"2", (), bad, bad, "SLB2"),
        ("bad-magic-zero", g, 0, 4, bytes(4), (), bad, bad, None),
        ("bad-header-crc", g, 7, 1, flip(g, 7), (), bad, bad, None),
        ("bad-header-crc-index", g, 15, 1, flip(g, 15), (), bad, bad, "the leader's fields are ignored but header_crc covers them"),
        ("bad-header-crc-append-time", g, 39, 1, flip(g, 39), (), bad, bad, None),
        ("bad-header-crc-body-crc", g, 43, 1, flip(g, 43), (), bad, bad, "body_crc lies under header_crc"),
        ("bad-header-crc-last-byte", g, 71, 1, flip(g, 71), ("body_crc",), bad, bad, "byte 71 is the last one under header_crc; body_crc was made good in the body's range but header_crc was not"),
        ("bad-body-crc", g, 43, 1, flip(g, 43), HEAD, bad, bad, None),
        ("bad-body-crc-value", g, size - 1, 1, flip(g, size - 1), (), bad, bad, "the last byte of the body"),
        ("bad-body-crc-count", g, 51, 1, b"\x03", HEAD, bad, bad, "body_crc covers bytes 44 to 71 too"),
        ("bad-body-crc-seq", g, 71, 1, b"\x01", HEAD, bad, bad, "byte 71 lies under both checksums"),
        ("bad-body-crc-body-only", g, 40, 4, u32(zlib.crc32(bases[g][72:])), HEAD, bad, bad, "body_crc taken over the body alone, from byte 72"),
        ("bad-header-crc-from-0", g, 4, 4, u32(zlib.crc32(bases[g][:72])), (), bad, bad, "header_crc taken over bytes 0 to 71"),
        ("count-zero", g, 48, 4, u32(0), BOTH, bad, bad, None),
        ("count-one-of-two", g, 48, 4, u32(1), BOTH, bad, bad, None),
        ("count-three-of-two", g, 48, 4, u32(3), BOTH, bad, bad, None),
        ("count-65536", g, 48, 4, u32(65536), BOTH, big, bad, "over the limit of records per batch"),
        ("count-max", g, 48, 4, u32(0xFFFFFFFF), BOTH, big, bad, "over the limit of records per batch"),
        ("control-bit", g, 52, 2, u16(0x0010), BOTH, bad, bad, "control batches never appear on plane C"),
        ("attribute-bit-5", g, 52, 2, u16(0x0020), BOTH, bad, bad, None),
        ("attribute-bit-8", g, 52, 2, u16(0x0100), BOTH, bad, bad, None),
        ("attribute-bit-15", g, 52, 2, u16(0x8000), BOTH, bad, bad, None),
        ("compression-3", g, 52, 2, u16(3), BOTH, comp, comp, "reserved; no log's settings can name it"),
        ("compression-15", g, 52, 2, u16(15), BOTH, comp, comp, None),
        ("body-len-short", g, 44, 4, u32(42), BOTH, bad, bad, "body_len one too low: a byte is left over"),
        ("body-len-long", g, 44, 4, u32(44), BOTH, bad, bad, "body_len one too high"),
        ("body-len-zero", g, 44, 4, u32(0), BOTH, bad, bad, None),
        ("body-len-max", g, 44, 4, u32(0xFFFFFFFF), BOTH, bad, bad, "nothing may be allocated by this length"),
        ("truncated-body", g, size - 1, 1, b"", (), bad, bad, None),
        ("truncated-header", g, 71, size - 71, b"", (), bad, bad, "71 bytes"),
        ("empty", g, 0, size, b"", (), bad, bad, "a PRODUCE without a batch"),
        ("trailing-byte", g, size, 0, b"\x00", (), bad, bad, None),
        ("two-batches", g, size, 0, bases[g], (), bad, None, "a PRODUCE carries exactly one batch; an answer may carry several"),
        ("record-len-overrun", g, second, 4, u32(0x16), BOTH, bad, bad, "the last record reaches one byte past the body"),
        ("record-len-short", g, second, 4, u32(0x14), BOTH, bad, bad, "a byte is left over after the last record"),
        ("record-len-8", g, first, 4, u32(8), BOTH, bad, bad, "shorter than flags and client_time"),
        ("record-len-zero", g, first, 4, u32(0), BOTH, bad, bad, None),
        ("record-len-max", g, first, 4, u32(0xFFFFFFFF), BOTH, bad, bad, None),
        ("record-flag-label", g, first + 4, 1, b"\x08", BOTH, bad, bad, "LABEL is reserved and refused in v1.0"),
        ("record-flag-10", g, first + 4, 1, b"\x10", BOTH, bad, bad, None),
        ("record-flag-80", g, first + 4, 1, b"\x80", BOTH, bad, bad, None),
        ("record-key-overrun", g, second + 13, 2, u16(0xFFFF), BOTH, "OK", bad, "what lies inside a record is the reader's business"),
        ("record-headers-overrun", g, second + 16, 2, u16(2), BOTH, "OK", bad, "two headers announced, one there"),
        ("record-null-with-value", g, first + 4, 1, b"\x04", BOTH, "OK", bad, "NULL_VALUE and five value bytes"),
        ("record-time-above-2-53", g, first + 5, 8, u64(1 << 53), BOTH, "OK", bad, "client_time above 2^53-1"),
        ("producer-id-above-2-53", "idempotent", 56, 8, u64(1 << 53), BOTH, bad, bad, None),
        ("producer-id-none", "idempotent", 56, 8, u64(NONE), BOTH, bad, bad, "NONE is not allowed here"),
        ("seq-above-2-53", "idempotent", 64, 8, u64(1 << 53), BOTH, bad, bad, None),
        ("gzip-raw-len-over-limit", gz, 72, 4, u32(MIB + 1), BOTH, big, bad, "raw_len above a max_batch of 1 MiB"),
        ("gzip-raw-len-low", gz, 72, 4, u32(42), BOTH, "OK", bad, "the server cannot see it; the reader must"),
        ("gzip-raw-len-high", gz, 72, 4, u32(44), BOTH, "OK", bad, None),
        ("gzip-count-three-of-two", gz, 48, 4, u32(3), BOTH, "OK", bad, None),
        ("gzip-body-3-bytes", gz, 75, len(bases[gz]) - 75, b"", ("body_len",) + BOTH, bad, bad, "no room for raw_len"),
        ("gzip-damaged", gz, 76, 2, b"\x00\x00", BOTH, "OK", bad, "not gzip at all"),
    ]
    for name, base, at, remove, insert, fix, p, r, note in rows:
        yield edited(base, bases[base], name, at, remove, insert, fix, {"produce": p, **({"reader": r} if r else {})}, note, "batch")


def rows_batches():
    good = [
        batch_row("golden-batch-client", CLIENT),
        batch_row("golden-batch-stamped", STAMPED, "same body bytes, same body_crc: only 64 bytes are restamped"),
        batch_row("one-record", ONE),
        batch_row("stamped-next", NEXT),
        batch_row("empty-value", Batch([record(b"")])),
        batch_row("null-value", Batch([record(None)])),
        batch_row("null-value-with-key", Batch([record(None, key=b"gone")])),
        batch_row("null-value-with-headers", Batch([record(None, headers=[("why", b"erased")])])),
        batch_row("empty-key", Batch([record(b"v", key=b"")]), "an empty key is a key"),
        batch_row("headers-none-listed", Batch([record(b"v", headers=[])])),
        batch_row("headers-many", Batch([record(b"v", key=b"\x00\xff", headers=[
            ("content-type", b"application/json"), ("clé", b""), ("dup", b"1"), ("dup", b"\x00\x01")])])),
        batch_row("client-time-unset", Batch([record(b"v", client_time=0)])),
        batch_row("client-time-max", Batch([record(b"v", client_time=MAX_SAFE)])),
        batch_row("many-records", MANY),
        batch_row("idempotent", IDEMPOTENT),
        batch_row("idempotent-limits", Batch(TWO, producer=(MAX_SAFE, 65535, MAX_SAFE))),
        batch_row("idempotent-stamped", Batch(TWO, producer=PRODUCER, stamp=STAMP)),
        batch_row("epoch-and-seq-without-producer", Batch(TWO, producer=(0, 9, 99)),
                  "producer_id 0: epoch and seq are ignored"),
        batch_row("seq-above-2-53-without-producer", Batch(TWO, producer=(0, 65535, 1 << 53)),
                  "producer_id 0: seq is ignored, so it cannot be out of range either"),
        batch_row("client-stamps-ignored", Batch(TWO, stamp=(1 << 60, MAX_SAFE, 1 << 53, 1)),
                  "index, term, base_offset and append_time of a client are ignored, whatever they hold", reader="CORRUPT_BATCH"),
        batch_row("gzip", GZIP, "one stored block"),
        batch_row("gzip-huffman", Batch(HUFFMAN_PLAIN, compression=1, packed=HUFFMAN)),
        batch_row("gzip-stamped", Batch(TWO, compression=1, stamp=STAMP)),
        batch_row("zstd", ZSTD, "one raw block; a log takes it only if its settings name zstd; a reader without zstd reports UNSUPPORTED_COMPRESSION",
                  produce="UNSUPPORTED_COMPRESSION"),
        batch_row("control", Batch([], attributes=0x10, count=0, control=b"\x01\x00", stamp=(59, 3, 44, APPEND_TIME)),
                  "a control batch as it lies on disk: index, but no offset; never on plane C",
                  produce="CORRUPT_BATCH", reader="CORRUPT_BATCH"),
    ]
    yield from good
    yield from bad_batches({r["id"]: bytes.fromhex(r["hex"]) for r in good})
