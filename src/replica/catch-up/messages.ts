// What two replicas say to each other while one brings the other on: messages of their own beside the core's,
// with the same head (raft/codec.ts). The one that lacks entries pulls, a part at a time; so a slow disk or
// network needs no other brake, and what is lost is asked for again.
//
//   leader                                   follower
//     OFFER  what there is        ─────────►
//            ◄───────────────────────────────  WANT  the snapshot from byte n | entries from index n
//     PART   bytes                ─────────►
//            …
//            ◄───────────────────────────────  DONE  installed up to index n, or given up (0)
//
//   OFFER 64  u64 session  u64 first_index  u64 first_offset  u64 term_before  u64 append_time_before
//             u64 snapshot_index  u64 snapshot_term  u64 snapshot_size
//   WANT  65  u64 session  u8 piece  u64 at
//   PART  66  u64 session  u8 piece  u64 at  bytes
//   DONE  67  u64 session  u64 index
//   ASK   68  (nothing)         "make me an offer": of one whose log is damaged
//
// A damaged replica asks any other one for single ranges by WANT and PART with session 0.
//
// Invariant: what is said here changes nothing that was promised: it is about committed entries only.
import { beginMessage, endMessage, readMessage } from '../../raft/codec.ts';
import type { Envelope, Index, Term } from '../../raft/types.ts';
import type { Reader, Writer } from '../../wire/bytes.ts';

export const CatchUpKind = { Offer: 64, Want: 65, Part: 66, Done: 67, Ask: 68 } as const;

/** Kinds from here on are not the core's. */
export const FIRST_CATCH_UP_KIND = CatchUpKind.Offer;

/** Entries wanted for a repair: part of no session. */
export const NO_SESSION = 0;

export const Piece = { SNAPSHOT: 1, ENTRIES: 2 } as const;
export type Piece = (typeof Piece)[keyof typeof Piece];

/** A snapshot, and all entries up to it that there are. */
export interface Offer extends Envelope {
  readonly kind: typeof CatchUpKind.Offer;
  /** Drawn by the leader; names this attempt in all that follows. */
  readonly session: number;
  /** Where its log begins, as a segment's head has it. */
  readonly firstIndex: Index;
  readonly firstOffset: number;
  readonly termBefore: Term;
  readonly appendTimeBefore: number;
  /** The entries end here too; committed. */
  readonly snapshotIndex: Index;
  readonly snapshotTerm: Term;
  readonly snapshotSize: number;
}

/** Where what is wanted or given begins. */
interface Place {
  readonly session: number;
  readonly piece: Piece;
  /** Byte of the snapshot, or index. */
  readonly at: number;
}

export interface Want extends Envelope, Place {
  readonly kind: typeof CatchUpKind.Want;
}

export interface Part extends Envelope, Place {
  readonly kind: typeof CatchUpKind.Part;
  /** Whole batches, where these are entries. */
  readonly bytes: Buffer;
}

export interface Done extends Envelope {
  readonly kind: typeof CatchUpKind.Done;
  readonly session: number;
  /** 0 = it was given up. */
  readonly index: Index;
}

export interface Ask extends Envelope {
  readonly kind: typeof CatchUpKind.Ask;
}

export type CatchUpMessage = Offer | Want | Part | Done | Ask;

export function encodeCatchUp(message: CatchUpMessage): Buffer {
  const w = beginMessage(message.kind, message, message.kind === CatchUpKind.Part ? 32 + message.bytes.length : 64);
  switch (message.kind) {
    case CatchUpKind.Ask:
      break;
    case CatchUpKind.Offer:
      w.u64(message.session);
      w.u64(message.firstIndex);
      w.u64(message.firstOffset);
      w.u64(message.termBefore);
      w.u64(message.appendTimeBefore);
      w.u64(message.snapshotIndex);
      w.u64(message.snapshotTerm);
      w.u64(message.snapshotSize);
      break;
    case CatchUpKind.Want:
      writePlace(w, message);
      break;
    case CatchUpKind.Part:
      writePlace(w, message);
      w.bytes(message.bytes);
      break;
    case CatchUpKind.Done:
      w.u64(message.session);
      w.u64(message.index);
      break;
  }
  return endMessage(w);
}

function writePlace(w: Writer, { session, piece, at }: Place): void {
  w.u64(session);
  w.u8(piece);
  w.u64(at);
}

/** Null when it is none that this version understands. A part's bytes are a view of the buffer. */
export function decodeCatchUp(buffer: Buffer): CatchUpMessage | null {
  return readMessage(buffer, 0, buffer.length, readFields);
}

function readFields(r: Reader, kind: number, envelope: Envelope): CatchUpMessage | null {
  switch (kind) {
    case CatchUpKind.Offer:
      return readOffer(r, envelope);
    case CatchUpKind.Want: {
      const place = readPlace(r);
      return place === null ? null : { ...envelope, kind, ...place };
    }
    case CatchUpKind.Part: {
      const place = readPlace(r);
      const bytes = r.bytes('bytes');
      return place === null ? null : { ...envelope, kind, ...place, bytes };
    }
    case CatchUpKind.Done: {
      const session = r.u64('session');
      return { ...envelope, kind, session, index: r.u64('index') };
    }
    case CatchUpKind.Ask:
      return { ...envelope, kind };
    default:
      return null;
  }
}

function readOffer(r: Reader, envelope: Envelope): Offer | null {
  const session = r.u64('session');
  const firstIndex = r.u64('first_index');
  const firstOffset = r.u64('first_offset');
  const termBefore = r.u64('term_before');
  const appendTimeBefore = r.u64('append_time_before');
  const snapshotIndex = r.u64('snapshot_index');
  const snapshotTerm = r.u64('snapshot_term');
  const snapshotSize = r.u64('snapshot_size');
  // A log of at least one entry, which the snapshot is of.
  if (firstIndex < 1 || snapshotIndex < firstIndex || snapshotTerm < 1 || termBefore > snapshotTerm) return null;
  const start = { firstIndex, firstOffset, termBefore, appendTimeBefore };
  return { ...envelope, kind: CatchUpKind.Offer, session, ...start, snapshotIndex, snapshotTerm, snapshotSize };
}

function readPlace(r: Reader): Place | null {
  const session = r.u64('session');
  const piece = r.u8('piece');
  const at = r.u64('at');
  return piece === Piece.SNAPSHOT || piece === Piece.ENTRIES ? { session, piece, at } : null;
}
