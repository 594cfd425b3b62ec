// The fields of a Raft message that the checkers look at, read by position from the frame itself: what
// leaves a node counts, not what the code that made it believes.
import { idAt } from '../../../src/raft/ids.ts';
import { MessageKind } from '../../../src/raft/types.ts';

const AT_KIND = 5;
const AT_UID = 24;
const AT_FROM = 40;
const AT_TO = 48;
const AT_TERM = 88;
const AT_FIELDS = 96;

export function kindOf(frame: Buffer): MessageKind {
  return frame[AT_KIND] as MessageKind;
}

export function uidOf(frame: Buffer): string {
  return idAt(frame, AT_UID);
}

export function senderOf(frame: Buffer): number {
  return u64(frame, AT_FROM);
}

export function receiverOf(frame: Buffer): number {
  return u64(frame, AT_TO);
}

export function termOf(frame: Buffer): number {
  return u64(frame, AT_TERM);
}

/** The term that a Vote asks for or a VoteReply is about. */
export function votedTermOf(frame: Buffer): number {
  return u64(frame, AT_FIELDS);
}

export function isGranted(frame: Buffer): boolean {
  return frame[AT_FIELDS + 8] === 1;
}

/** What an AppendAck says is on disk. */
export function matchOf(frame: Buffer): number {
  return u64(frame, AT_FIELDS);
}

/** Only leaders send these. */
export function isLeaders(kind: MessageKind): boolean {
  return kind === MessageKind.Append || kind === MessageKind.Heartbeat || kind === MessageKind.TimeoutNow;
}

function u64(frame: Buffer, at: number): number {
  return frame.readUInt32BE(at) * 0x1_0000_0000 + frame.readUInt32BE(at + 4);
}
