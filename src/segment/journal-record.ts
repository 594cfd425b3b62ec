// The record of the raft-state journal: 64 bytes, big-endian, holding the whole state of a replica,
// so that a later one makes all earlier ones of that replica superfluous.
//
//    0 u32 crc32 of bytes 4..63
//    4 u8  kind (1 head, 2 state)   5 u8 version 1   6 u8 state or head flags   7 u8 0
//    8 u64 sequence: 1 more than that of the record before it in the file, never used again
//   16 u64 first: the sequence of the file's head; (sequence − first) × 64 is where the record lies
//   24 id16 log_uid
//   40 u64 replica_id            head: how many state records belong to the head
//   48 u64 term
//   56 u64 vote (0 = none)
//
// 64 zero bytes are free space. A head says: what was known before `first` is stated anew in the
// records that belong to me, and nothing of it is needed from elsewhere.
import { readU64, writeU64 } from '../wire/bytes.ts';
import { crc32 } from '../wire/checksum.ts';
import { assert } from '../wire/assert.ts';

export const RECORD_SIZE = 64;
const VERSION = 1;

const Kind = { HEAD: 1, STATE: 2 } as const;
const STATE_CODES = { active: 1, removed: 2, lost: 3 } as const;
const STATE_NAMES: readonly (ReplicaState | undefined)[] = [undefined, 'active', 'removed', 'lost'];

/** `lost`: a newer record of it is damaged, so it must never vote again under this replica_id. */
export type ReplicaState = keyof typeof STATE_CODES;

export interface RaftStateRecord {
  /** 16 bytes. */
  readonly logUid: Buffer;
  readonly replicaId: number;
  readonly term: number;
  /** replica_id that got the vote of this term; 0 = none. */
  readonly vote: number;
  readonly state: ReplicaState;
}

/** Head flag: the journal was damaged, and replicas may be missing from it altogether. */
const FLAG_INCOMPLETE = 1;

export type JournalRecord =
  | { readonly kind: 'head'; readonly sequence: number; readonly first: number; readonly baseCount: number; readonly incomplete: boolean }
  | { readonly kind: 'state'; readonly sequence: number; readonly first: number; readonly entry: RaftStateRecord };

/** The journal was written by a newer release; going on could vote twice. */
export class JournalVersionError extends Error {
  override name = 'JournalVersionError';
  constructor(path: string, version: number) {
    super(`${path}: record version ${version} is newer than ${VERSION}, which this release reads`);
  }
}

/** Writes a record at `at`, which is also where it will lie in the file when `first` is its head. */
export function writeRecord(target: Buffer, at: number, record: JournalRecord): void {
  const head = record.kind === 'head';
  target.fill(0, at, at + RECORD_SIZE);
  target[at + 4] = head ? Kind.HEAD : Kind.STATE;
  target[at + 5] = VERSION;
  target[at + 6] = head ? (record.incomplete ? FLAG_INCOMPLETE : 0) : STATE_CODES[record.entry.state];
  writeU64(target, at + 8, record.sequence);
  writeU64(target, at + 16, record.first);
  if (head) {
    writeU64(target, at + 40, record.baseCount);
  } else {
    assert(record.entry.logUid.length === 16, 'log_uid has 16 bytes');
    record.entry.logUid.copy(target, at + 24);
    writeU64(target, at + 40, record.entry.replicaId);
    writeU64(target, at + 48, record.entry.term);
    writeU64(target, at + 56, record.entry.vote);
  }
  target.writeUInt32BE(crc32(target, at + 4, at + RECORD_SIZE), at);
}

/** The record at `at`, 'free', or 'bad'. Throws JournalVersionError, naming `path`. */
export function readRecord(source: Buffer, at: number, path: string): JournalRecord | 'free' | 'bad' {
  if (source.readUInt32BE(at) !== crc32(source, at + 4, at + RECORD_SIZE)) {
    for (let i = at; i < at + RECORD_SIZE; i++) if (source[i] !== 0) return 'bad';
    return 'free';
  }
  const version = source[at + 5] as number;
  if (version > VERSION) throw new JournalVersionError(path, version);
  const sequence = readU64(source, at + 8);
  const first = readU64(source, at + 16);
  const kind = source[at + 4];
  if (version !== VERSION || sequence < first) return 'bad';
  if (kind === Kind.HEAD) {
    const incomplete = ((source[at + 6] as number) & FLAG_INCOMPLETE) !== 0;
    return { kind: 'head', sequence, first, baseCount: readU64(source, at + 40), incomplete };
  }
  const state = STATE_NAMES[source[at + 6] as number];
  if (kind !== Kind.STATE || state === undefined) return 'bad';
  const logUid = Buffer.from(source.subarray(at + 24, at + 40));
  const entry = { logUid, replicaId: readU64(source, at + 40), term: readU64(source, at + 48), vote: readU64(source, at + 56), state };
  return { kind: 'state', sequence, first, entry };
}
