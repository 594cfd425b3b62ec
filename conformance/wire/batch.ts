// Record batches of §7: building (also with single faults), parsing and checking them. The CRC-32 is
// zlib's; everything else is written from the byte picture alone.
import { crc32, gzipSync } from 'node:zlib';
import { u16, u32, u64, str } from './codec.ts';
import { U64_MAX } from './layouts.ts';

export const BATCH_HEADER_SIZE = 72;
export const BATCH_MAGIC = 0x534c_4231;

export interface RecordInput {
  readonly value?: Buffer | string | null;
  readonly key?: Buffer | string;
  readonly headers?: readonly (readonly [string, Buffer | string])[];
  readonly time?: bigint;
  /** Replaces the flags that follow from the fields. */
  readonly flags?: number;
}

export interface BatchInput {
  readonly records: readonly RecordInput[];
  readonly compression?: 0 | 1 | 2;
  readonly producer?: { readonly id: bigint; readonly epoch: number; readonly seq: bigint };
}

const bytes = (value: Buffer | string): Buffer => (typeof value === 'string' ? Buffer.from(value) : value);

export function encodeRecord(record: RecordInput): Buffer {
  const value = record.value === null ? null : bytes(record.value ?? '');
  const key = record.key === undefined ? null : bytes(record.key);
  const flags = (key ? 1 : 0) | (record.headers ? 2 : 0) | (value === null ? 4 : 0);
  const parts = [Buffer.from([record.flags ?? flags]), u64(record.time ?? 0n)];
  if (key) parts.push(u16(key.length), key);
  if (record.headers) {
    parts.push(u16(record.headers.length));
    for (const [name, content] of record.headers) parts.push(str(name), u16(bytes(content).length), bytes(content));
  }
  if (value !== null) parts.push(value);
  const body = Buffer.concat(parts);
  return Buffer.concat([u32(body.length), body]);
}

/** A client's batch: index, term, base_offset and append_time 0, both checksums right. */
export function buildBatch(input: BatchInput): Buffer {
  const raw = Buffer.concat(input.records.map(encodeRecord));
  const compression = input.compression ?? 0;
  const body = compression === 0 ? raw : Buffer.concat([u32(raw.length), compression === 1 ? gzipSync(raw) : raw]);
  const batch = Buffer.alloc(BATCH_HEADER_SIZE + body.length);
  batch.writeUInt32BE(BATCH_MAGIC, 0);
  batch.writeUInt32BE(body.length, 44);
  batch.writeUInt32BE(input.records.length, 48);
  batch.writeUInt16BE(compression, 52);
  if (input.producer) {
    batch.writeUInt16BE(input.producer.epoch, 54);
    batch.writeBigUInt64BE(input.producer.id, 56);
    batch.writeBigUInt64BE(input.producer.seq, 64);
  }
  body.copy(batch, BATCH_HEADER_SIZE);
  return sealBatch(batch);
}

/** A batch of string values. */
export function batchOf(...values: string[]): Buffer {
  return buildBatch({ records: values.map((value) => ({ value })) });
}

/** Makes both checksums right, in place. */
export function sealBatch(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32(batch.subarray(44)), 40);
  return sealHeader(batch);
}

/** Makes header_crc right, in place, and leaves body_crc as it is. */
export function sealHeader(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32(batch.subarray(8, BATCH_HEADER_SIZE)), 4);
  return batch;
}

/** A copy of `batch` after `change`, with both checksums made right again. */
export function editBatch(batch: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(batch);
  change(copy);
  return sealBatch(copy);
}

export interface Batch {
  readonly bytes: Buffer;
  readonly index: bigint;
  readonly term: bigint;
  readonly baseOffset: bigint;
  readonly appendTime: bigint;
  readonly bodyCrc: number;
  readonly count: number;
  readonly attributes: number;
  readonly producer: { readonly id: bigint; readonly epoch: number; readonly seq: bigint };
  /** base_offset + count. */
  readonly nextOffset: bigint;
}

/** Why bytes are no sound sequence of batches. */
export class BatchError extends Error {
  override name = 'BatchError';
}

function parseOne(all: Buffer, at: number): Batch {
  if (at + BATCH_HEADER_SIZE > all.length) throw new BatchError(`${all.length - at} bytes at byte ${at} are no whole batch header`);
  const size = BATCH_HEADER_SIZE + all.readUInt32BE(at + 44);
  if (at + size > all.length) throw new BatchError(`the batch at byte ${at} has ${size} bytes, ${all.length - at} are there`);
  const whole = all.subarray(at, at + size);
  if (whole.readUInt32BE(0) !== BATCH_MAGIC) throw new BatchError(`the batch at byte ${at} has the magic ${whole.toString('hex', 0, 4)}`);
  if (whole.readUInt32BE(4) !== crc32(whole.subarray(8, BATCH_HEADER_SIZE))) throw new BatchError(`header_crc of the batch at byte ${at} does not match`);
  if (whole.readUInt32BE(40) !== crc32(whole.subarray(44))) throw new BatchError(`body_crc of the batch at byte ${at} does not match`);
  const baseOffset = whole.readBigUInt64BE(24);
  const count = whole.readUInt32BE(48);
  const stamped = [whole.readBigUInt64BE(8), whole.readBigUInt64BE(16), baseOffset, whole.readBigUInt64BE(32)] as const;
  if (stamped.some((value) => value > U64_MAX)) throw new BatchError(`the batch at byte ${at} has a stamp above 2^53 − 1`);
  return {
    bytes: whole, index: stamped[0], term: stamped[1], baseOffset, appendTime: stamped[3],
    bodyCrc: whole.readUInt32BE(40), count, attributes: whole.readUInt16BE(52),
    producer: { epoch: whole.readUInt16BE(54), id: whole.readBigUInt64BE(56), seq: whole.readBigUInt64BE(64) },
    nextOffset: baseOffset + BigInt(count),
  };
}

/** Whole batches one after another, both checksums checked; @throws BatchError. */
export function parseBatches(all: Buffer): Batch[] {
  const batches: Batch[] = [];
  for (let at = 0; at < all.length; ) {
    const batch = parseOne(all, at);
    batches.push(batch);
    at += batch.bytes.length;
  }
  return batches;
}

/** The values of an uncompressed batch's records, null for NULL_VALUE. */
export function recordValues(batch: Batch): (Buffer | null)[] {
  const body = batch.bytes.subarray(BATCH_HEADER_SIZE);
  const values: (Buffer | null)[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 4 + body.readUInt32BE(at);
    const flags = body[at + 4]!;
    let from = at + 13;
    if (flags & 1) from += 2 + body.readUInt16BE(from);
    if (flags & 2) {
      let headers = body.readUInt16BE(from);
      for (from += 2; headers > 0; headers--) {
        from += 2 + body.readUInt16BE(from);
        from += 2 + body.readUInt16BE(from);
      }
    }
    values.push(flags & 4 ? null : body.subarray(from, end));
    at = end;
  }
  return values;
}
