// Raft messages as bytes, between sidecars of one cluster. Private to the project: what a version does
// not know is dropped and counted, and the core sends again.
//
//    0 u32 size of what follows           so that several messages may travel in one frame
//    4 u8 version 1   5 u8 kind   6 u16 0
//    8 id16 cluster_id   24 id16 log_uid   40 u64 from   48 u64 to   56 id16 from_node   72 id16 to_node
//   88 u64 term
//   96 the kind's fields, in the order of `writeFields`
//
// Only ranges of single fields are judged here; relations between fields are message-check.ts's, and the
// entries in an Append's body are judged by whoever knows their layout. Invariant: decode(encode(m)) equals
// m (but for an Append's `configs`, which are read from its body), and reading never goes beyond the frame.
import { assert } from '../wire/assert.ts';
import { Reader, readU32, Writer } from '../wire/bytes.ts';
import { bytesOfId, idAt, ID_SIZE } from './ids.ts';
import { MessageKind } from './types.ts';
import type { Append, Envelope, Message, TermRun } from './types.ts';

export const RAFT_CODEC_VERSION = 1;

/** Bytes before the kind's fields. */
export const RAFT_HEADER_SIZE = 96;

const AT_KIND = 5;
const AT_LOG_UID = 24;

/** No message without entries or parts of files is longer. */
const BULK_SIZE_MIN = 256;

/** Far above what the settings allow one Append to carry; a longer one is refused unread. */
export const RAFT_MESSAGE_SIZE_MAX = 256 * 1024 * 1024;

const NO_BODY: readonly Buffer[] = [];

/** The whole message; `body` are the bytes of an Append's entries, in order. */
export function encodeMessage(message: Message, body: readonly Buffer[] = NO_BODY): Buffer {
  const w = beginMessage(message.kind, message, 64 + sizeOf(body));
  writeFields(w, message, body);
  return endMessage(w);
}

/** A message of any kind, up to where its fields begin; about `size` bytes of these will follow. */
export function beginMessage(kind: number, envelope: Envelope, size: number): Writer {
  const w = new Writer(RAFT_HEADER_SIZE + size);
  w.u32(0);
  w.u8(RAFT_CODEC_VERSION);
  w.u8(kind);
  w.u16(0);
  w.id16(bytesOfId(envelope.clusterId));
  w.id16(bytesOfId(envelope.logUid));
  w.u64(envelope.from);
  w.u64(envelope.to);
  w.id16(bytesOfId(envelope.fromNode));
  w.id16(bytesOfId(envelope.toNode));
  w.u64(envelope.term);
  assert(w.length === RAFT_HEADER_SIZE, 'the head has its size');
  return w;
}

export function endMessage(w: Writer): Buffer {
  w.patchU32(0, w.length - 4);
  return w.view();
}

/** The kind of the message at buffer[at], 0 when there is none: kinds beyond the core's are the replica's own. */
export function kindOf(buffer: Buffer, at: number): number {
  return buffer.length - at < RAFT_HEADER_SIZE ? 0 : buffer[at + AT_KIND]!;
}

/** Whether the message at buffer[at] is large and can wait: it must not hold up heartbeats (DESIGN §4). */
export function isBulk(buffer: Buffer, at: number): boolean {
  return buffer.length - at > BULK_SIZE_MIN;
}

/** Which group the message at buffer[at] is for: 32 hexadecimal digits, or '' when there is no message. */
export function logUidOf(buffer: Buffer, at: number): string {
  return buffer.length - at < RAFT_HEADER_SIZE ? '' : idAt(buffer, at + AT_LOG_UID);
}

/** Where the message at buffer[at] ends, or −1 when it is not there whole or cannot be one. */
export function messageEnd(buffer: Buffer, at: number): number {
  if (buffer.length - at < RAFT_HEADER_SIZE) return -1;
  const size = readU32(buffer, at);
  if (size < RAFT_HEADER_SIZE - 4 || size > RAFT_MESSAGE_SIZE_MAX) return -1;
  return at + 4 + size <= buffer.length ? at + 4 + size : -1;
}

/**
 * The message that fills buffer[start, end), or null when it is none that this version understands. An
 * Append's `body` is a view of the buffer.
 */
export function decodeMessage(buffer: Buffer, start: number, end: number): Message | null {
  return readMessage(buffer, start, end, readFields);
}

/** Reads the head of a message of any kind, and its fields by `fields`, which says null to a kind it does not know. */
export function readMessage<T>(
  buffer: Buffer, start: number, end: number, fields: (r: Reader, kind: number, envelope: Envelope) => T | null,
): T | null {
  if (messageEnd(buffer, start) !== end) return null;
  const r = new Reader(buffer, start + 4, end);
  try {
    if (r.u8('version') !== RAFT_CODEC_VERSION) return null;
    const kind = r.u8('kind');
    if (r.u16('reserved') !== 0) return null;
    const message = fields(r, kind, readEnvelope(r, buffer));
    if (message !== null) r.expectEnd();
    return message;
  } catch {
    // Cut short, or a field out of its range.
    return null;
  }
}

function readEnvelope(r: Reader, buffer: Buffer): Envelope {
  const clusterId = readId(r, buffer, 'cluster_id');
  const logUid = readId(r, buffer, 'log_uid');
  const from = r.u64('from');
  const to = r.u64('to');
  const fromNode = readId(r, buffer, 'from_node');
  const toNode = readId(r, buffer, 'to_node');
  return { clusterId, logUid, from, to, fromNode, toNode, term: r.u64('term') };
}

function readId(r: Reader, buffer: Buffer, field: string): string {
  return idAt(buffer, r.skip(ID_SIZE, field));
}

function writeFields(w: Writer, message: Message, body: readonly Buffer[]): void {
  switch (message.kind) {
    case MessageKind.PreVote:
    case MessageKind.Vote:
      w.u64(message.forTerm);
      w.u64(message.lastIndex);
      w.u64(message.lastTerm);
      w.u8(message.transfer ? 1 : 0);
      return;
    case MessageKind.PreVoteReply:
    case MessageKind.VoteReply:
      w.u64(message.forTerm);
      w.u8(message.granted ? 1 : 0);
      return;
    case MessageKind.Append:
      writeAppend(w, message, body);
      return;
    case MessageKind.AppendAck:
      w.u64(message.match);
      w.u64(message.commitIndex);
      w.u8(message.wantsCommit ? 1 : 0);
      return;
    case MessageKind.AppendReject:
      w.u64(message.prevIndex);
      w.u64(message.hintIndex);
      w.u64(message.hintTerm);
      return;
    default:
      writeSmallFields(w, message);
  }
}

type SmallKind = Extract<
  Message['kind'],
  | typeof MessageKind.Heartbeat
  | typeof MessageKind.HeartbeatAck
  | typeof MessageKind.TimeoutNow
  | typeof MessageKind.ReadRequest
  | typeof MessageKind.ReadReply
  | typeof MessageKind.HigherTerm
>;

function writeSmallFields(w: Writer, message: Extract<Message, { kind: SmallKind }>): void {
  switch (message.kind) {
    case MessageKind.Heartbeat:
      w.u64(message.commitIndex);
      w.u64(message.readRound);
      w.u8(message.idle ? 1 : 0);
      return;
    case MessageKind.HeartbeatAck:
      w.u64(message.commitIndex);
      w.u64(message.readRound);
      w.u8(message.idle ? 1 : 0);
      w.u8(message.wantsCommit ? 1 : 0);
      return;
    case MessageKind.ReadRequest:
      w.u64(message.sequence);
      w.u64(message.incarnation);
      return;
    case MessageKind.ReadReply:
      w.u64(message.sequence);
      w.u64(message.incarnation);
      w.u64(message.index);
      return;
    case MessageKind.TimeoutNow:
    case MessageKind.HigherTerm:
      return;
  }
}

function writeAppend(w: Writer, message: Append, body: readonly Buffer[]): void {
  w.u64(message.prevIndex);
  w.u64(message.prevTerm);
  w.u64(message.toIndex);
  w.u64(message.commitIndex);
  w.u32(message.runs.length);
  for (const run of message.runs) {
    w.u64(run.fromIndex);
    w.u64(run.term);
  }
  w.u32(sizeOf(body));
  for (const buffer of body) w.raw(buffer);
}

function readFields(r: Reader, kind: number, envelope: Envelope): Message | null {
  switch (kind) {
    case MessageKind.PreVote:
    case MessageKind.Vote: {
      const forTerm = r.u64('for_term');
      const lastIndex = r.u64('last_index');
      return { ...envelope, kind, forTerm, lastIndex, lastTerm: r.u64('last_term'), transfer: flag(r) };
    }
    case MessageKind.PreVoteReply:
    case MessageKind.VoteReply:
      return { ...envelope, kind, forTerm: r.u64('for_term'), granted: flag(r) };
    case MessageKind.Append:
      return readAppend(r, envelope);
    case MessageKind.AppendAck: {
      const match = r.u64('match');
      return { ...envelope, kind, match, commitIndex: r.u64('commit_index'), wantsCommit: flag(r) };
    }
    case MessageKind.AppendReject: {
      const prevIndex = r.u64('prev_index');
      const hintIndex = r.u64('hint_index');
      return { ...envelope, kind, prevIndex, hintIndex, hintTerm: r.u64('hint_term') };
    }
    default:
      return readSmallFields(r, kind as SmallKind, envelope);
  }
}

function readSmallFields(r: Reader, kind: SmallKind, envelope: Envelope): Message | null {
  switch (kind) {
    case MessageKind.Heartbeat: {
      const commitIndex = r.u64('commit_index');
      return { ...envelope, kind, commitIndex, readRound: r.u64('read_round'), idle: flag(r) };
    }
    case MessageKind.HeartbeatAck: {
      const commitIndex = r.u64('commit_index');
      const readRound = r.u64('read_round');
      const idle = flag(r);
      return { ...envelope, kind, commitIndex, readRound, idle, wantsCommit: flag(r) };
    }
    case MessageKind.ReadRequest:
      return { ...envelope, kind, sequence: r.u64('sequence'), incarnation: r.u64('incarnation') };
    case MessageKind.ReadReply: {
      const sequence = r.u64('sequence');
      return { ...envelope, kind, sequence, incarnation: r.u64('incarnation'), index: r.u64('index') };
    }
    case MessageKind.TimeoutNow:
    case MessageKind.HigherTerm:
      return { ...envelope, kind };
    default:
      return null;
  }
}

function readAppend(r: Reader, envelope: Envelope): Append {
  const prevIndex = r.u64('prev_index');
  const prevTerm = r.u64('prev_term');
  const toIndex = r.u64('to_index');
  const commitIndex = r.u64('commit_index');
  const runCount = r.u32('runs');
  const runs: TermRun[] = [];
  // Each costs 16 bytes of the message, so the loop ends with it, whatever the count claims.
  for (let i = 0; i < runCount; i++) {
    const fromIndex = r.u64('from_index');
    runs.push({ fromIndex, term: r.u64('term') });
  }
  const body = r.bytes('body');
  const range = { prevIndex, prevTerm, fromIndex: prevIndex + 1, toIndex };
  return { ...envelope, kind: MessageKind.Append, ...range, runs, configs: [], commitIndex, body };
}

function flag(r: Reader): boolean {
  return r.u8('flag') !== 0;
}

function sizeOf(body: readonly Buffer[]): number {
  let size = 0;
  for (const buffer of body) size += buffer.length;
  return size;
}
