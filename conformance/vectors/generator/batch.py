"""Record batches: the builder, and those that several files use."""
import struct
import zlib

from .encode import text, u16, u32, u64, u8

CLIENT_TIME = 1790000000000
APPEND_TIME = 1790000000005


def record(value, key=None, headers=None, client_time=CLIENT_TIME):
    """One record; value None = NULL_VALUE. Gives (bytes, fields)."""
    flags = (key is not None) * 1 | (headers is not None) * 2 | (value is None) * 4
    body = u8(flags) + u64(client_time)
    if key is not None:
        body += u16(len(key)) + key
    if headers is not None:
        body += u16(len(headers)) + b"".join(text(n) + u16(len(v)) + v for n, v in headers)
    body += value or b""
    shown = {
        "flags": flags, "client_time": str(client_time), "key": None if key is None else key.hex(),
        "headers": None if headers is None else [{"name": n, "value": v.hex()} for n, v in headers],
        "value": None if value is None else value.hex(),
    }
    return u32(len(body)) + body, shown


class Batch:
    """One record batch: 72 bytes of header and the body, with both checksums."""

    def __init__(self, records, compression=0, packed=None, producer=(0, 0, 0), stamp=(0, 0, 0, 0),
                 attributes=None, count=None, control=None):
        plain = b"".join(r for r, _ in records)
        body = control if control is not None else plain
        shown = {}
        if compression:
            packed = packed if packed is not None else PACK[compression](plain)
            body = u32(len(plain)) + packed
            shown = {"raw_len": len(plain), "packed": packed.hex()}
        attributes = compression if attributes is None else attributes
        count = len(records) if count is None else count
        producer_id, epoch, seq = producer
        tail = (u32(len(body)) + u32(count) + u16(attributes) + u16(epoch) + u64(producer_id) + u64(seq) + body)
        body_crc = zlib.crc32(tail)
        index, term, base_offset, append_time = stamp
        head = (u64(index) + u64(term) + u64(base_offset) + u64(append_time) + u32(body_crc) + tail[:28])
        assert len(head) == 64
        header_crc = zlib.crc32(head)
        self.raw = b"SLB1" + u32(header_crc) + head + body
        self.fields = {
            "magic": "SLB1", "header_crc": header_crc, "index": str(index), "term": str(term),
            "base_offset": str(base_offset), "append_time": str(append_time), "body_crc": body_crc,
            "body_len": len(body), "count": count, "attributes": attributes, "producer_epoch": epoch,
            "producer_id": str(producer_id), "seq": str(seq), **shown,
        }
        if control is None:
            self.fields["records"] = [f for _, f in records]
        else:
            self.fields["control"] = control.hex()


def gzip_stored(plain):
    """A gzip member of one stored block, written by hand so that no zlib version can change it."""
    assert len(plain) < 65536
    block = b"\x01" + struct.pack("<HH", len(plain), len(plain) ^ 0xFFFF) + plain
    return (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + block
            + struct.pack("<II", zlib.crc32(plain), len(plain)))


def zstd_raw(plain):
    """A Zstandard frame (RFC 8878) of one raw block: single segment, one-byte content size, no checksum."""
    assert len(plain) < 256
    return b"\x28\xb5\x2f\xfd\x20" + u8(len(plain)) + struct.pack("<I", 1 | len(plain) << 3)[:3] + plain


PACK = {1: gzip_stored, 2: zstd_raw}

TWO = [record(b"hello"), record(b"w", key=b"k", headers=[("a", b"b")])]
STAMP = (57, 3, 41, APPEND_TIME)
PRODUCER = (8_123_456_789_012_345, 2, 7)

CLIENT = Batch(TWO)
STAMPED = Batch(TWO, stamp=STAMP)
ONE = Batch([record(b"hello")])
IDEMPOTENT = Batch(TWO, producer=PRODUCER)
GZIP = Batch(TWO, compression=1)
ZSTD = Batch(TWO, compression=2)
NEXT = Batch([record(b"next")], stamp=(58, 3, 43, APPEND_TIME + 1))
MANY = Batch([record(b"value-%03d" % i, key=b"key-%d" % (i % 7), client_time=CLIENT_TIME + i) for i in range(100)])
# What `gzip -9` makes of twenty times the first golden record: real Huffman blocks, kept as a literal.
HUFFMAN_PLAIN = [record(b"hello")] * 20
HUFFMAN = bytes.fromhex("1f8b08000000000002ff636060e0636060605c7024208721233527279f61548406220004bd7a6368010000")
