// A configuration as bytes: what a CONFIG entry of a log holds. On disk in every log that ever had more
// than its founder, so the layout only grows by versions.
//
//   u8 version 1   list of voters   list of learners
//   list: u16 n  n × { u64 replica_id  id16 node_id }, ascending by replica_id
//
// Invariant: decode(encode(c)) equals c; what decodes is a configuration that the core accepts.
import { Reader, readList, Writer, writeList } from '../wire/bytes.ts';
import { checked } from './config.ts';
import type { Configuration, Member } from './config.ts';
import { bytesOfId, idOfBytes } from './ids.ts';

const VERSION = 1;

export function encodeConfiguration(config: Configuration): Buffer {
  const w = new Writer(64);
  w.u8(VERSION);
  writeList(w, config.voters, writeMember);
  writeList(w, config.learners, writeMember);
  return w.copy();
}

/** Null when the bytes are not a configuration that this version can read. */
export function decodeConfiguration(bytes: Buffer): Configuration | null {
  const r = new Reader(bytes);
  try {
    if (r.u8('version') !== VERSION) return null;
    const voters = readList(r, 'voters', readMember);
    const learners = readList(r, 'learners', readMember);
    r.expectEnd();
    return checked({ voters, learners });
  } catch {
    // Cut short, a field out of range, or members that no configuration has together.
    return null;
  }
}

function writeMember(w: Writer, member: Member): void {
  w.u64(member.replicaId);
  w.id16(bytesOfId(member.nodeId));
}

function readMember(r: Reader): Member {
  const replicaId = r.u64('replica_id');
  return { replicaId, nodeId: idOfBytes(r.id16('node_id')) };
}
