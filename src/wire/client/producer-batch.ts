// One batch of a producer on its way: its bytes, how often it was sent, and who waits for it.
import {
  AT_ATTRIBUTES, AT_BODY_LEN, AT_COUNT, AT_MAGIC, AT_PRODUCER_EPOCH, AT_PRODUCER_ID, AT_SEQ, BATCH_MAGIC, stampBodyCrc,
} from '../batch.ts';
import { writeU16, writeU32, writeU64 } from '../bytes.ts';
import type { ProtocolError } from '../errors.ts';
import { BATCH_HEADER_SIZE, NONE } from '../limits.ts';
import type { Receipt, RecordReceipt } from './types.ts';

/** Who waits for one record of a batch. */
export interface RecordWaiter {
  /** Place of the record in its batch. */
  readonly index: number;
  resolve(receipt: RecordReceipt): void;
  reject(error: ProtocolError): void;
}

export type BatchState = 'packing' | 'waiting' | 'sent' | 'acked' | 'failed';

export class ProducerBatch {
  /** Counts the producer's batches; the tag of its answer. */
  readonly ordinal: number;
  readonly count: number;
  /** Bytes of its records before compression. */
  readonly rawSize: number;
  readonly createdMs: number;
  state: BatchState;
  /** 72 bytes of header, filled in by seal, and the body. */
  bytes: Buffer;
  attributes = 0;
  /** The offset that its first record must get, or NONE. */
  expectedOffset: number = NONE;
  /** −1 until it is sealed. */
  seq = -1;
  isSealed = false;
  /** How often it was sent. */
  sendings = 0;
  error: ProtocolError | null = null;
  receipt: Receipt | null = null;
  readonly waiters: RecordWaiter[] | null;

  constructor(ordinal: number, bytes: Buffer, count: number, nowMs: number, waiters: RecordWaiter[] | null, isPacking: boolean) {
    this.ordinal = ordinal;
    this.bytes = bytes;
    this.count = count;
    this.rawSize = bytes.length - BATCH_HEADER_SIZE;
    this.createdMs = nowMs;
    this.waiters = waiters;
    this.state = isPacking ? 'packing' : 'waiting';
  }

  /** Takes the compressed body (`u32 raw_len` and what was packed), when it is smaller; else stays as it is. */
  packed(compression: number, packed: Buffer | null): void {
    if (packed !== null && packed.length + 4 < this.rawSize) {
      const bytes = Buffer.allocUnsafe(BATCH_HEADER_SIZE + 4 + packed.length);
      writeU32(bytes, BATCH_HEADER_SIZE, this.rawSize);
      packed.copy(bytes, BATCH_HEADER_SIZE + 4);
      this.bytes = bytes;
      this.attributes = compression;
    }
    this.state = 'waiting';
  }

  /** Fills in the header. From the first sending on the bytes stay as they are: a resend is the same batch. */
  seal(producerId: number, epoch: number, seq: number): void {
    const { bytes } = this;
    bytes.fill(0, 0, BATCH_HEADER_SIZE);
    writeU32(bytes, AT_MAGIC, BATCH_MAGIC);
    writeU32(bytes, AT_BODY_LEN, bytes.length - BATCH_HEADER_SIZE);
    writeU32(bytes, AT_COUNT, this.count);
    writeU16(bytes, AT_ATTRIBUTES, this.attributes);
    writeU16(bytes, AT_PRODUCER_EPOCH, epoch);
    writeU64(bytes, AT_PRODUCER_ID, producerId);
    writeU64(bytes, AT_SEQ, seq);
    stampBodyCrc(bytes, 0);
    this.seq = seq;
    this.isSealed = true;
  }

  /** Tells each waiter its offset. */
  settle(receipt: Receipt): void {
    if (this.waiters === null) return;
    for (const waiter of this.waiters) {
      const offset = receipt.baseOffset === NONE ? NONE : receipt.baseOffset + waiter.index;
      waiter.resolve({ ...receipt, offset });
    }
  }

  /** Tells each waiter; false when nobody waits. */
  reject(error: ProtocolError): boolean {
    if (this.waiters === null) return false;
    for (const waiter of this.waiters) waiter.reject(error);
    return true;
  }
}
