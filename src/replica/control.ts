// Bodies of control batches: the entries of a log that are not data. They have an index but no
// offset and never leave towards a client. This file knows their bytes, not their meaning (state.ts).
//
//   0 u8 type   1 u8 flags (1 = a version that does not know the type may ignore it)   2 fields
//   NOOP           –
//   CONFIG         bytes data            (the group's voters; opaque here, the Raft layer's own)
//   INIT_PRODUCER  str name  u64 producer_id (used if the name needs a new id)
//   FENCE          u64 token
//   TRIM           u64 offset            (first record that is kept)
//   POSITIONS      u16 n  n × { str name  u64 offset | NONE = delete }
//
// Invariant: decode(encode(c)) equals c, and a body that decodes has no byte too many. What changed
// when is the batch's append_time. Types 32–63 are kept for the catalog's own entries.
import { Reader, Writer } from '../wire/bytes.ts';
import { LIST_LENGTH_MAX } from '../wire/limits.ts';
import { assert, unreachable } from '../wire/assert.ts';
import { StateError } from './state-error.ts';

/** Append only: the numbers are in every log on disk. */
export const ControlType = {
  /** Not on disk: what an unknown entry that may be ignored decodes to. */
  IGNORED: 0,
  NOOP: 1,
  CONFIG: 2,
  INIT_PRODUCER: 3,
  FENCE: 4,
  TRIM: 5,
  POSITIONS: 6,
} as const;
export type ControlType = (typeof ControlType)[keyof typeof ControlType];

const FLAG_IGNORABLE = 1;

export interface PositionUpdate {
  readonly name: string;
  /** The next offset to read, or NONE to delete the position. */
  readonly offset: number;
}

export type Control =
  | { readonly type: typeof ControlType.IGNORED }
  | { readonly type: typeof ControlType.NOOP }
  | { readonly type: typeof ControlType.CONFIG; readonly data: Buffer }
  | { readonly type: typeof ControlType.INIT_PRODUCER; readonly name: string; readonly producerId: number }
  | { readonly type: typeof ControlType.FENCE; readonly token: number }
  | { readonly type: typeof ControlType.TRIM; readonly offset: number }
  | { readonly type: typeof ControlType.POSITIONS; readonly updates: readonly PositionUpdate[] };

/** The body of a control batch; `buildControlBatch` of wire/batch.ts puts the header before it. */
export function encodeControl(control: Control): Buffer {
  const w = new Writer(64);
  w.u8(control.type);
  w.u8(0);
  switch (control.type) {
    case ControlType.NOOP:
      break;
    case ControlType.CONFIG:
      w.bytes(control.data);
      break;
    case ControlType.INIT_PRODUCER:
      w.str(control.name);
      w.u64(control.producerId);
      break;
    case ControlType.FENCE:
      w.u64(control.token);
      break;
    case ControlType.TRIM:
      w.u64(control.offset);
      break;
    case ControlType.POSITIONS:
      writeUpdates(w, control.updates);
      break;
    case ControlType.IGNORED:
      assert(false, 'an ignored control entry has no bytes of its own');
      break;
    default:
      return unreachable(control);
  }
  return w.copy();
}

/**
 * Reads the body buffer[start, end). The result holds copies only.
 * @throws StateError UNKNOWN_CONTROL or BAD_CONTROL
 */
export function decodeControl(buffer: Buffer, start: number, end: number): Control {
  const r = new Reader(buffer, start, end);
  try {
    const type = r.u8('type');
    const flags = r.u8('flags');
    if ((flags & ~FLAG_IGNORABLE) !== 0) throw new StateError('BAD_CONTROL', `control flags ${flags}`);
    const control = readFields(r, type);
    if (control === null) {
      if ((flags & FLAG_IGNORABLE) !== 0) return { type: ControlType.IGNORED };
      throw new StateError('UNKNOWN_CONTROL', `control entry of type ${type}: a newer version wrote it`);
    }
    r.expectEnd();
    return control;
  } catch (error) {
    if (error instanceof StateError) throw error;
    throw new StateError('BAD_CONTROL', 'the body of a control entry is broken', { cause: error });
  }
}

function readFields(r: Reader, type: number): Control | null {
  switch (type) {
    case ControlType.NOOP:
      return { type };
    case ControlType.CONFIG:
      return { type, data: Buffer.from(r.bytes('data')) };
    case ControlType.INIT_PRODUCER:
      return { type, name: r.str('name'), producerId: r.u64('producer_id') };
    case ControlType.FENCE:
      return { type, token: r.u64('token') };
    case ControlType.TRIM:
      return { type, offset: r.u64('offset') };
    case ControlType.POSITIONS:
      return { type, updates: readUpdates(r) };
    default:
      return null;
  }
}

function writeUpdates(w: Writer, updates: readonly PositionUpdate[]): void {
  assert(updates.length <= LIST_LENGTH_MAX, 'one entry carries at most 65,535 position updates');
  w.u16(updates.length);
  for (const update of updates) {
    w.str(update.name);
    w.u64(update.offset);
  }
}

function readUpdates(r: Reader): PositionUpdate[] {
  const count = r.u16('count');
  const updates: PositionUpdate[] = [];
  for (let i = 0; i < count; i++) updates.push({ name: r.str('name'), offset: r.u64OrNone('offset') });
  return updates;
}
