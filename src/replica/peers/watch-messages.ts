// What two nodes say to each other about all their idle groups at once, with the head of every message
// between nodes (raft/codec.ts), whose log_uid and replica ids are zero here.
//
//   DIGEST     80  u64 round  u32 count  u32 xor  u32 sum          every heartbeat interval, while there are any
//   DIGEST_ACK 81  u64 round  u8 agrees
//   NAMES      82  u64 round  u32 n  n × { id16 log_uid  u64 leader  u64 follower  u64 term }   when it did not agree
//   NAMES_ACK  83  u64 round  u32 n  n × { id16 log_uid }           those that are not asleep there
import { beginMessage, endMessage, readMessage } from '../../raft/codec.ts';
import { bytesOfId, idOfBytes } from '../../raft/ids.ts';
import type { Envelope, NodeId, ReplicaId, Term } from '../../raft/types.ts';
import type { Reader } from '../../wire/bytes.ts';
import type { Digest } from './sleep-set.ts';

export const WatchKind = { Digest: 80, DigestAck: 81, Names: 82, NamesAck: 83 } as const;

/** Kinds from here on are about nodes, not about a log. */
export const FIRST_WATCH_KIND = WatchKind.Digest;

const NO_LOG = '0'.repeat(32);
const NAME_SIZE = 40;

export interface Name {
  readonly logUid: string;
  readonly leader: ReplicaId;
  readonly follower: ReplicaId;
  readonly term: Term;
}

interface Head {
  readonly clusterId: string;
  readonly fromNode: NodeId;
  readonly toNode: NodeId;
  /** Of the digest that this is, or answers. */
  readonly round: number;
}

export type WatchMessage = Head &
  (
    | { readonly kind: typeof WatchKind.Digest; readonly digest: Digest }
    | { readonly kind: typeof WatchKind.DigestAck; readonly agrees: boolean }
    | { readonly kind: typeof WatchKind.Names; readonly names: readonly Name[] }
    | { readonly kind: typeof WatchKind.NamesAck; readonly unknown: readonly string[] }
  );

export function encodeWatch(message: WatchMessage): Buffer {
  const { clusterId, fromNode, toNode, round, kind } = message;
  const size = kind === WatchKind.Names ? 16 + message.names.length * NAME_SIZE : 64;
  const w = beginMessage(kind, { clusterId, logUid: NO_LOG, from: 0, fromNode, to: 0, toNode, term: 0 }, size);
  w.u64(round);
  switch (kind) {
    case WatchKind.Digest:
      w.u32(message.digest.count);
      w.u32(message.digest.xor);
      w.u32(message.digest.sum);
      break;
    case WatchKind.DigestAck:
      w.u8(message.agrees ? 1 : 0);
      break;
    case WatchKind.Names:
      w.u32(message.names.length);
      for (const { logUid, leader, follower, term } of message.names) {
        w.id16(bytesOfId(logUid));
        w.u64(leader);
        w.u64(follower);
        w.u64(term);
      }
      break;
    case WatchKind.NamesAck:
      w.u32(message.unknown.length);
      for (const logUid of message.unknown) w.id16(bytesOfId(logUid));
      break;
  }
  return endMessage(w);
}

/** Null when it is none that this version understands. */
export function decodeWatch(buffer: Buffer): WatchMessage | null {
  return readMessage(buffer, 0, buffer.length, readFields);
}

function readFields(r: Reader, kind: number, { clusterId, fromNode, toNode }: Envelope): WatchMessage | null {
  const head = { clusterId, fromNode, toNode, round: r.u64('round') };
  switch (kind) {
    case WatchKind.Digest: {
      const count = r.u32('count');
      const xor = r.u32('xor');
      return { ...head, kind, digest: { count, xor, sum: r.u32('sum') } };
    }
    case WatchKind.DigestAck:
      return { ...head, kind, agrees: r.u8('agrees') !== 0 };
    case WatchKind.Names:
      return { ...head, kind, names: readMany(r, readName) };
    case WatchKind.NamesAck:
      return { ...head, kind, unknown: readMany(r, (reader) => idOfBytes(reader.id16('log_uid'))) };
    default:
      return null;
  }
}

/** Each costs bytes of the message, so the loop ends with it, whatever the count claims. */
function readMany<T>(r: Reader, readOne: (r: Reader) => T): T[] {
  const count = r.u32('count');
  const list: T[] = [];
  for (let i = 0; i < count; i++) list.push(readOne(r));
  return list;
}

function readName(r: Reader): Name {
  const logUid = idOfBytes(r.id16('log_uid'));
  const leader = r.u64('leader');
  const follower = r.u64('follower');
  return { logUid, leader, follower, term: r.u64('term') };
}
