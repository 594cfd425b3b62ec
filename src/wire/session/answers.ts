// Writes frames into a connection's output queue: the PRODUCE ack straight into the current chunk,
// everything else through one scratch writer that all connections share (it is empty between calls,
// because every call is synchronous). It keeps no state of requests and judges nothing.
import { assert } from '../assert.ts';
import { Writer, writeU16, writeU32, writeU64 } from '../bytes.ts';
import { goAway, writeErrorBody } from '../error-body.ts';
import type { GoAway } from '../error-body.ts';
import { errorName } from '../errors.ts';
import type { ErrorOptions } from '../errors.ts';
import { beginFrame, endFrame } from '../frame.ts';
import { FLAG_MORE, FLAG_RESPONSE, Op } from '../ops.ts';
import type { OutputQueue } from './output-queue.ts';

const ACK_SIZE = 50;
const LOG_UID_TLV_SIZE = 20;
/** The two first words after the length: op, flags and status of an OK answer to PRODUCE. */
const ACK_HEAD = (Op.PRODUCE << 24) | (FLAG_RESPONSE << 16);
/** A scratch writer that grew beyond this for one large answer is replaced by a small one. */
const SCRATCH_KEEP_SIZE = 256 * 1024;

let scratch = new Writer(4 * 1024);
let isWriting = false;

/** 50 bytes, or 70 with the log's uid: see the byte picture of PRODUCE's answer in protocol §4, §10. */
export function writeProduceAck(
  out: OutputQueue, id: number, baseOffset: number, nextOffset: number, appendTime: number,
  term: number, durability: number, copies: number, flags: number, logUid: Uint8Array | null,
): void {
  const size = logUid === null ? ACK_SIZE : ACK_SIZE + LOG_UID_TLV_SIZE;
  const at = out.reserve(size);
  const buffer = out.chunk;
  writeU32(buffer, at, size - 4);
  writeU32(buffer, at + 4, ACK_HEAD);
  writeU32(buffer, at + 8, id);
  writeU64(buffer, at + 12, baseOffset);
  writeU64(buffer, at + 20, nextOffset);
  writeU64(buffer, at + 28, appendTime);
  writeU64(buffer, at + 36, term);
  buffer[at + 44] = durability;
  buffer[at + 45] = copies;
  buffer[at + 46] = flags;
  buffer[at + 47] = 0;
  if (logUid === null) {
    writeU16(buffer, at + 48, 0);
    return;
  }
  assert(logUid.length === 16, 'a log uid has 16 bytes');
  writeU16(buffer, at + 48, LOG_UID_TLV_SIZE);
  writeU32(buffer, at + 50, 0x0002_0010);
  buffer.set(logUid, at + 54);
}

/** OK answer; `write` null = an empty ext. Returns the frame's length field. */
export function writeOk(
  out: OutputQueue, op: number, id: number, write: ((w: Writer) => void) | null, more: boolean, extraSize = 0,
): number {
  const flags = more ? FLAG_RESPONSE | FLAG_MORE : FLAG_RESPONSE;
  return writeFrame(out, op, flags, 0, id, write ?? writeEmptyExt, extraSize);
}

export function writeError(out: OutputQueue, op: number, id: number, code: number, options: ErrorOptions): void {
  const body = options.message ? options : { ...options, message: plainMessage(code) };
  writeFrame(out, op, FLAG_RESPONSE, code, id, (w) => writeErrorBody(w, code, body));
}

export function writeGoAway(out: OutputQueue, value: GoAway): void {
  const message = value.message || plainMessage(value.code);
  writeFrame(out, Op.GOAWAY, 0, 0, 0, (w) => goAway.write(w, { ...value, message }));
}

/** The server's own PING, without bytes to echo. */
export function writePing(out: OutputQueue, id: number): void {
  writeFrame(out, Op.PING, 0, 0, id, (w) => {
    w.u32(0);
    w.u16(0);
  });
}

/** "not leader": what people see when nobody had more to say. */
function plainMessage(code: number): string {
  return errorName(code).toLowerCase().replaceAll('_', ' ');
}

function writeEmptyExt(w: Writer): void {
  w.u16(0);
}

/** `extraSize` bytes of payload follow from elsewhere. Returns the frame's length field. */
function writeFrame(
  out: OutputQueue, op: number, flags: number, status: number, id: number,
  write: (w: Writer) => void, extraSize = 0,
): number {
  assert(!isWriting, 'no answer is written inside the writing of another');
  isWriting = true;
  try {
    scratch.clear();
    const at = beginFrame(scratch, op, flags, status, id);
    write(scratch);
    endFrame(scratch, at, extraSize);
    out.append(scratch.buffer, 0, scratch.length);
    return scratch.length - 4 + extraSize;
  } finally {
    isWriting = false;
    if (scratch.buffer.length > SCRATCH_KEEP_SIZE) scratch = new Writer(4 * 1024);
  }
}
