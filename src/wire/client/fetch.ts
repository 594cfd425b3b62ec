// FETCH as a function: one answer, its batches checked and opened.
import { ProtocolError } from '../errors.ts';
import { TIMEOUT_MS_MAX, U32_MAX } from '../limits.ts';
import { FETCH_LINEARIZABLE, Op } from '../ops.ts';
import { fetchRequest } from '../requests-read.ts';
import { fetchResponse } from '../responses-data.ts';
import type { Reader } from '../bytes.ts';
import { walkBatches } from './batches.ts';
import type { BatchSpan } from './batches.ts';
import { exchange, uidFor } from './context.ts';
import type { ClientContext } from './context.ts';
import { checkNumber, readStart } from './read-start.ts';
import type { FetchOptions, FetchResult, LogRecord } from './types.ts';

const MAX_BYTES_DEFAULT = 1024 * 1024;

/** Reads from a log; see Client.fetch. */
export async function fetchRecords(context: ClientContext, log: string, options: FetchOptions): Promise<FetchResult> {
  const start = readStart(options.from);
  const maxWaitMs = checkNumber('maxWaitMs', options.maxWaitMs ?? 0, TIMEOUT_MS_MAX);
  const uid = uidFor(context, log, options.logUid);
  const answer = {
    read: (r: Reader) => {
      const value = fetchResponse.read(r);
      // The records outlive the frame.
      return { ...value, batches: Buffer.from(value.batches), logUid: value.logUid && Buffer.from(value.logUid) };
    },
  };
  const how = { op: Op.FETCH, request: fetchRequest, answer, retry: 'always' as const, extraMs: maxWaitMs };
  const got = await exchange(context, how, {
    log,
    ...start,
    flags: options.linearizable === true ? FETCH_LINEARIZABLE : 0,
    minBytes: checkNumber('minBytes', options.minBytes ?? 1, U32_MAX),
    maxBytes: checkNumber('maxBytes', options.maxBytes ?? MAX_BYTES_DEFAULT, U32_MAX),
    maxWaitMs,
    after: options.after,
    logUid: uid,
    prevTerm: options.prevTerm,
  });
  context.pins.learn(log, got.logUid);
  const opened = await open(got.batches, got.startOffset, options);
  return {
    ...opened,
    startOffset: got.startOffset,
    logStart: got.logStart,
    committedEnd: got.committedEnd,
    logUid: (got.logUid ?? uid)!.toString('hex'),
  };
}

type Opened = Pick<FetchResult, 'records' | 'nextOffset' | 'lastTerm'>;

/** Opens the batches up to the first bad one; that one is reported when nothing came before it. */
async function open(batches: Buffer, startOffset: number, options: FetchOptions): Promise<Opened> {
  const walk = walkBatches(batches, 0, batches.length, startOffset);
  const parts: LogRecord[][] = [];
  let nextOffset = startOffset;
  let lastTerm: number | undefined;
  for (const span of walk.spans) {
    const records = await openSpan(span, options);
    if (records instanceof ProtocolError) {
      if (parts.length === 0) throw records;
      return { records: parts.flat(), nextOffset, lastTerm };
    }
    parts.push(records);
    nextOffset = span.nextOffset;
    lastTerm = span.term;
  }
  if (walk.error !== null && parts.length === 0) throw walk.error;
  return { records: parts.length === 1 ? parts[0]! : parts.flat(), nextOffset, lastTerm };
}

async function openSpan(span: BatchSpan, { onBadBatch }: FetchOptions): Promise<LogRecord[] | ProtocolError> {
  try {
    return await span.records();
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    if (onBadBatch === undefined) return error;
    onBadBatch(error, span.baseOffset, span.nextOffset);
    return [];
  }
}
