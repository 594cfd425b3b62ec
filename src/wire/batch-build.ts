// Making batches (§5): a client's, record by record or from an array, and the node's own control
// batches. The four stamped fields are left 0; the leader writes them (stampBatch in batch.ts).
import { assert } from './assert.ts';
import {
  AT_ATTRIBUTES, AT_BODY_LEN, AT_COUNT, AT_MAGIC, AT_PRODUCER_EPOCH, AT_PRODUCER_ID, AT_SEQ, ATTRIBUTE_CONTROL, BATCH_MAGIC,
  stampBodyCrc,
} from './batch.ts';
import { Writer, writeU16, writeU32, writeU64 } from './bytes.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX } from './limits.ts';
import { encodeRecord } from './record.ts';
import type { RecordInput } from './record.ts';

export interface BatchOptions {
  /** 0 = none; then epoch and seq are ignored by everyone. */
  producerId?: number;
  epoch?: number;
  seq?: number;
}

/** A body that was compressed already: `u32 raw_len` and the compressed records. */
export interface CompressedBody {
  /** Bits 0–3 of the attributes. */
  compression: number;
  /** Bytes of the records before compression. */
  rawLen: number;
  packed: Uint8Array;
}

/** Collects records and makes batches of them; the memory is used again after each. */
export class BatchBuilder {
  count = 0;
  private readonly writer: Writer;

  constructor(initialSize = 4096) {
    this.writer = new Writer(Math.max(initialSize, BATCH_HEADER_SIZE));
    this.writer.reserve(BATCH_HEADER_SIZE);
  }

  /** Bytes that an uncompressed batch of the records so far has. */
  get size(): number {
    return this.writer.length;
  }

  /** @throws RangeError when a part of the record is too long; the builder then is as before. */
  add(record: RecordInput): void {
    assert(this.count < BATCH_RECORDS_MAX, 'a batch has at most 65,535 records');
    const before = this.writer.length;
    try {
      encodeRecord(this.writer, record);
    } catch (error) {
      this.writer.length = before;
      throw error;
    }
    this.count += 1;
  }

  /** A view of the records' bytes, valid until the next call. */
  records(): Buffer {
    return this.writer.buffer.subarray(BATCH_HEADER_SIZE, this.writer.length);
  }

  /** The finished batch as bytes of its own; the builder is empty afterwards. */
  finish(options: BatchOptions = {}, compressed?: CompressedBody): Buffer {
    const batch = compressed === undefined ? this.writer.copy() : packedBatch(compressed);
    fillHeader(batch, compressed?.compression ?? 0, this.count, options);
    this.clear();
    return batch;
  }

  /** The records with 72 bytes of room before them, as bytes of their own; the header is for the caller. */
  detach(): Buffer {
    const batch = this.writer.copy();
    this.clear();
    return batch;
  }

  clear(): void {
    this.count = 0;
    this.writer.length = BATCH_HEADER_SIZE;
  }
}

function packedBatch({ rawLen, packed }: CompressedBody): Buffer {
  const batch = Buffer.allocUnsafe(BATCH_HEADER_SIZE + 4 + packed.length);
  writeU32(batch, BATCH_HEADER_SIZE, rawLen);
  batch.set(packed, BATCH_HEADER_SIZE + 4);
  return batch;
}

function fillHeader(batch: Buffer, attributes: number, count: number, options: BatchOptions): void {
  batch.fill(0, 0, BATCH_HEADER_SIZE);
  writeU32(batch, AT_MAGIC, BATCH_MAGIC);
  writeU32(batch, AT_BODY_LEN, batch.length - BATCH_HEADER_SIZE);
  writeU32(batch, AT_COUNT, count);
  writeU16(batch, AT_ATTRIBUTES, attributes);
  writeU16(batch, AT_PRODUCER_EPOCH, options.epoch ?? 0);
  writeU64(batch, AT_PRODUCER_ID, options.producerId ?? 0);
  writeU64(batch, AT_SEQ, options.seq ?? 0);
  stampBodyCrc(batch, 0);
}

/** One uncompressed batch of `records`, at least one. */
export function buildBatch(records: readonly RecordInput[], options: BatchOptions = {}): Buffer {
  assert(records.length > 0, 'a batch has at least one record');
  const builder = new BatchBuilder(256);
  for (const record of records) builder.add(record);
  return builder.finish(options);
}

/** One batch of records compressed by the caller. */
export function buildCompressedBatch(count: number, body: CompressedBody, options: BatchOptions = {}): Buffer {
  const batch = packedBatch(body);
  fillHeader(batch, body.compression, count, options);
  return batch;
}

/** A control batch: count 0, the body as given (it begins `u8 type, u8 flags`). */
export function buildControlBatch(body: Uint8Array): Buffer {
  const batch = Buffer.allocUnsafe(BATCH_HEADER_SIZE + body.length);
  batch.set(body, BATCH_HEADER_SIZE);
  fillHeader(batch, ATTRIBUTE_CONTROL, 0, {});
  return batch;
}
