// From received batches to records: checks both checksums, the order of offsets and every record
// before anything is handed out. Headers are checked when batches arrive, bodies are opened one by one
// when they are wanted, so that a small answer cannot decompress into all of the memory at once.
// What one bad batch spoils is that batch: the walk goes on after it where its header can be trusted.
import {
  ATTRIBUTE_COMPRESSION_MASK,
  appendTime,
  attributes,
  baseOffset,
  batchCompression,
  batchCount,
  BatchFault,
  batchSize,
  batchTerm,
  checkBody,
  checkHeader,
  faultName,
} from '../batch.ts';
import { readU32 } from '../bytes.ts';
import { ErrorCode, ProtocolError } from '../errors.ts';
import { BATCH_HEADER_SIZE, BATCH_RECORDS_MAX, BATCH_SIZE_MAX } from '../limits.ts';
import { Compression } from '../ops.ts';
import { RecordReader } from '../record.ts';
import { decompress } from './compression.ts';
import type { LogRecord } from './types.ts';

const NO_HEADERS: readonly [string, Buffer][] = Object.freeze([]) as never;

/** One batch whose header holds. */
export class BatchSpan {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly term: number;
  private readonly buffer: Buffer;
  private readonly at: number;
  private readonly wanted: number;

  constructor(buffer: Buffer, at: number, wanted: number) {
    this.buffer = buffer;
    this.at = at;
    this.wanted = wanted;
    this.baseOffset = baseOffset(buffer, at);
    this.nextOffset = this.baseOffset + batchCount(buffer, at);
    this.term = batchTerm(buffer, at);
  }

  /**
   * Its records, from the wanted offset on; later when it is compressed. Fails with CORRUPT_BATCH or
   * UNSUPPORTED_COMPRESSION, whose `detail.nextOffset` is where the log goes on.
   */
  records(): LogRecord[] | Promise<LogRecord[]> {
    const { buffer, at, wanted } = this;
    const end = at + batchSize(buffer, at);
    const body = at + BATCH_HEADER_SIZE;
    const fault = checkBody(buffer, at, end);
    if (fault !== BatchFault.OK) throw this.bad(faultName(fault));
    const count = batchCount(buffer, at);
    const hasUnknownBits = (attributes(buffer, at) & ~ATTRIBUTE_COMPRESSION_MASK) !== 0;
    if (hasUnknownBits || count > BATCH_RECORDS_MAX) throw this.bad('attributes or count');
    const compression = batchCompression(buffer, at);
    if (compression !== Compression.NONE) return this.unpack(compression, body, end);
    return parseRecords(buffer, at, buffer, body, end, wanted) ?? this.fail('records');
  }

  private async unpack(compression: number, body: number, end: number): Promise<LogRecord[]> {
    const { buffer, at, wanted } = this;
    if (end - body < 4) throw this.bad('no raw length');
    const rawLen = readU32(buffer, body);
    // No server takes a batch above this, so more is damage, and is not worth the memory.
    if (rawLen > BATCH_SIZE_MAX) throw this.bad(`raw length ${rawLen}`);
    let raw: Buffer;
    try {
      raw = await decompress(compression, buffer.subarray(body + 4, end), rawLen);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw this.bad(error.message, error.code, error);
    }
    return parseRecords(buffer, at, raw, 0, raw.length, wanted) ?? this.fail('records');
  }

  private fail(what: string): never {
    throw this.bad(what);
  }

  private bad(what: string, code: number = ErrorCode.CORRUPT_BATCH, cause?: Error): ProtocolError {
    const message = `batch of offsets ${this.baseOffset}–${this.nextOffset - 1}: ${what}`;
    return new ProtocolError(code, { message, nextOffset: this.nextOffset, cause });
  }
}

export interface Walk {
  readonly spans: BatchSpan[];
  /** Offset after the last batch of the walk. */
  nextOffset: number;
  /** Term of the last batch; −1 when there was none. */
  lastTerm: number;
  /** Ends the walk: nobody can tell where the next batch begins. */
  error: ProtocolError | null;
}

/** Walks BATCH* in buffer[start, end), from the record `wanted` on, whose batch must come first. */
export function walkBatches(buffer: Buffer, start: number, end: number, wanted: number): Walk {
  const walk: Walk = { spans: [], nextOffset: wanted, lastTerm: -1, error: null };
  for (let at = start; at < end; at += batchSize(buffer, at)) {
    const fault = checkHeader(buffer, at, end);
    if (fault !== BatchFault.OK || at + batchSize(buffer, at) > end) {
      walk.error = corrupt(`batch header: ${fault === BatchFault.OK ? 'cut short' : faultName(fault)}`);
      break;
    }
    const base = baseOffset(buffer, at);
    const next = base + batchCount(buffer, at);
    // Batches follow each other without a gap; only the first may begin before what is wanted.
    if (base > walk.nextOffset || next <= walk.nextOffset || (walk.spans.length > 0 && base !== walk.nextOffset)) {
      walk.error = corrupt(`a batch of offsets ${base}–${next - 1} where ${walk.nextOffset} comes next`);
      break;
    }
    const span = new BatchSpan(buffer, at, walk.nextOffset);
    walk.spans.push(span);
    walk.nextOffset = next;
    walk.lastTerm = span.term;
  }
  return walk;
}

/** Null when the bytes are not exactly as many sound records as the header says. */
function parseRecords(
  header: Buffer, at: number, body: Buffer, start: number, end: number, wanted: number,
): LogRecord[] | null {
  const time = appendTime(header, at);
  const term = batchTerm(header, at);
  const count = batchCount(header, at);
  const reader = new RecordReader().reset(body, start, end);
  const records: LogRecord[] = [];
  let offset = baseOffset(header, at);
  const endOffset = offset + count;
  for (; reader.next(); offset++) {
    if (offset < wanted) continue;
    records.push({
      offset,
      value: reader.value(),
      key: reader.key(),
      headers: reader.headersCount === 0 ? NO_HEADERS : reader.headers(),
      appendTime: time,
      clientTime: reader.clientTime,
      term,
    });
  }
  return reader.corrupt || offset !== endOffset ? null : records;
}

function corrupt(what: string): ProtocolError {
  return new ProtocolError(ErrorCode.CORRUPT_BATCH, { message: what });
}
