// The bytes of a snapshot of one log's state: head, producers in order of use, positions by name, and
// the SHA-256 of all before it. What is the same state is the same bytes, on every replica.
//
//   head      0 u32 magic "SLSN"  4 u16 version 1  6 u16 0  8 id16 log_uid
//             u64 index  u64 term  u64 append_time  u64 next_offset  u64 log_start  u64 fence
//             u32 producers_max  u32 positions_max  u32 window
//             u64 config_index  u8 has_config  bytes config
//             u32 producers  u32 positions
//   producer  u64 id  str name  u16 epoch  u64 first_seq  u64 next_seq  u64 used_index
//             u16 n  n × { u16 epoch  u32 body_crc  u32 count  u64 base_offset  u64 append_time }
//             (the batches next_seq − n … next_seq − 1)
//   position  str name  u64 offset  u64 updated
//   end       32 bytes digest
//
// This file writes and reads the parts; snapshot.ts cuts the work into slices and guards the digest.
import type { Reader, Writer } from '../wire/bytes.ts';
import { ID_SIZE } from '../wire/limits.ts';
import type { Position } from './positions.ts';
import { Producer } from './producers.ts';
import { BatchWindow } from './producers-window.ts';
import { StateError } from './state-error.ts';
import { ReplicaState } from './state.ts';
import type { StateLimits } from './state.ts';
import { mut } from '../wire/mut.ts';

/** "SLSN" as a u32. */
const MAGIC = 0x534c_534e;
/** Raised whenever the meaning of a snapshot's bytes changes. */
const VERSION = 1;

export const DIGEST_SIZE = 32;
const HEAD_FIXED_SIZE = 4 + 2 + 2 + ID_SIZE + 6 * 8 + 3 * 4 + 8 + 1 + 4 + 4 + 4;
const PRODUCER_FIXED_SIZE = 8 + 2 + 2 + 3 * 8 + 2;
const WINDOW_ENTRY_SIZE = 2 + 4 + 4 + 8 + 8;
const POSITION_FIXED_SIZE = 2 + 8 + 8;

/** Bytes that a snapshot of `state` has, digest included; exact, and cheap however large the tables. */
export function snapshotSize(state: ReplicaState): number {
  const { producers, positions } = state;
  const producerBytes = producers.size * PRODUCER_FIXED_SIZE + producers.nameBytes;
  const windowBytes = mut('snapshot-without-window') ? 0 : producers.batchCount * WINDOW_ENTRY_SIZE;
  const positionBytes = positions.size * POSITION_FIXED_SIZE + positions.nameBytes;
  const configBytes = state.configuration?.length ?? 0;
  return HEAD_FIXED_SIZE + configBytes + producerBytes + windowBytes + positionBytes + DIGEST_SIZE;
}

/** What stands before the tables. */
export function writeHead(w: Writer, state: ReplicaState): void {
  w.u32(MAGIC);
  w.u16(VERSION);
  w.u16(0);
  w.id16(state.logUid);
  w.u64(state.appliedIndex);
  w.u64(state.appliedTerm);
  w.u64(state.appliedTime);
  w.u64(state.nextOffset);
  w.u64(state.logStart);
  w.u64(state.fence);
  w.u32(state.limits.producersMax);
  w.u32(state.limits.positionsMax);
  w.u32(state.limits.window);
  w.u64(state.configIndex);
  w.u8(state.configuration === null ? 0 : 1);
  w.bytes(state.configuration ?? Buffer.alloc(0));
  w.u32(state.producers.size);
  w.u32(state.positions.size);
}

export interface Head {
  /** Its tables are still empty. */
  readonly state: ReplicaState;
  readonly producerCount: number;
  readonly positionCount: number;
}

/** Reads the head; the caller's log and limits must be the snapshot's. */
export function readHead(r: Reader, logUid: Buffer, limits: StateLimits): Head {
  if (r.u32('magic') !== MAGIC) throw bad('it does not begin with SLSN');
  const version = r.u16('version');
  if (version !== VERSION) throw bad(`it has version ${version}, this program reads ${VERSION}`);
  if (r.u16('reserved') !== 0) throw bad('reserved bytes are set');
  if (!r.id16('log_uid').equals(logUid)) throw bad('it belongs to another log');
  const state = new ReplicaState(logUid, limits);
  state.appliedIndex = r.u64('index');
  state.appliedTerm = r.u64('term');
  state.appliedTime = r.u64('append_time');
  state.nextOffset = r.u64('next_offset');
  state.logStart = r.u64('log_start');
  state.fence = r.u64('fence');
  // Replicas whose tables differ in size let go of different producers.
  if (r.u32('producers_max') !== limits.producersMax) throw bad('its producer table has another size');
  if (r.u32('positions_max') !== limits.positionsMax) throw bad('its position table has another size');
  if (r.u32('window') !== limits.window) throw bad('its producers have another window');
  state.configIndex = r.u64('config_index');
  const hasConfig = r.u8('has_config') === 1;
  const config = r.bytes('config');
  state.configuration = hasConfig ? Buffer.from(config) : null;
  return { state, producerCount: r.u32('producers'), positionCount: r.u32('positions') };
}

export function writeProducer(w: Writer, producer: Producer): void {
  const window = producer.window;
  w.u64(producer.id);
  w.str(producer.name);
  w.u16(producer.epoch);
  w.u64(producer.firstSeq);
  w.u64(producer.nextSeq);
  w.u64(producer.usedIndex);
  if (mut('snapshot-without-window')) {
    w.u16(0);
    return;
  }
  w.u16(window.size);
  for (let seq = window.first; seq < window.next; seq++) {
    w.u16(window.epoch(seq));
    w.u32(window.bodyCrc(seq));
    w.u32(window.count(seq));
    w.u64(window.baseOffset(seq));
    w.u64(window.appendTime(seq));
  }
}

export function readProducer(r: Reader, windowLimit: number): Producer {
  const id = r.u64('id');
  const name = r.str('name');
  const epoch = r.u16('epoch');
  const firstSeq = r.u64('first_seq');
  const nextSeq = r.u64('next_seq');
  const usedIndex = r.u64('used_index');
  const size = r.u16('n');
  if (size > windowLimit || size > nextSeq) throw bad('a producer has more batches than it can');
  const window = new BatchWindow(windowLimit, nextSeq - size);
  for (let i = 0; i < size; i++) {
    const batchEpoch = r.u16('epoch');
    const bodyCrc = r.u32('body_crc');
    const count = r.u32('count');
    window.push(batchEpoch, bodyCrc, count, r.u64('base_offset'), r.u64('append_time'));
  }
  return new Producer(id, name, epoch, firstSeq, usedIndex, window);
}

export function writePosition(w: Writer, position: Position): void {
  w.str(position.name);
  w.u64(position.offset);
  w.u64(position.updatedMs);
}

export function readPosition(r: Reader): Position {
  return { name: r.str('name'), offset: r.u64('offset'), updatedMs: r.u64('updated') };
}

/** A snapshot that cannot be used, and why. */
export function bad(what: string, cause?: unknown): StateError {
  return new StateError('BAD_SNAPSHOT', `snapshot: ${what}`, cause === undefined ? undefined : { cause });
}
