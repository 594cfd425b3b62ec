// Writing and reading snapshots of one log's state (layout: snapshot-format.ts), in slices: with
// 10,000 producers of 64 batches it is 17 MB, most of the time in SHA-256, and a log must go on
// meanwhile. Entries may be applied between two slices: what changes before its turn came is saved as
// it was (ProducerTable.beginCapture), so the bytes are those of the moment the encoder was made.
// It does no I/O: the caller writes the slices to a file, syncs and renames it.
// Invariant: a snapshot of which any bit was flipped, cut or added is refused.
import { sha256 } from '@noble/hashes/sha2.js';
import { assert } from '../wire/assert.ts';
import { Reader, Writer } from '../wire/bytes.ts';
import type { Position } from './positions.ts';
import type { Producer } from './producers.ts';
import { bad, DIGEST_SIZE, readHead, readPosition, readProducer, snapshotSize } from './snapshot-format.ts';
import { writeHead, writePosition, writeProducer } from './snapshot-format.ts';
import { StateError } from './state-error.ts';
import { STATE_LIMITS } from './state.ts';
import type { ReplicaState, StateLimits } from './state.ts';

/** Bytes per slice: below a millisecond of work. */
export const SNAPSHOT_SLICE_SIZE = 64 * 1024;

/** One snapshot in the making. Until it ended or was abandoned, its state cannot start another. */
export class SnapshotEncoder {
  /** What it is a snapshot of. */
  readonly index: number;
  readonly term: number;
  readonly nextOffset: number;
  /** Bytes it will have. */
  readonly size: number;
  private readonly state: ReplicaState;
  private readonly hash = sha256.create();
  private readonly w = new Writer(SNAPSHOT_SLICE_SIZE * 2);
  private producers: Producer[];
  private positions: Position[];
  private producersDone = 0;
  private positionsDone = 0;
  private ended = false;

  constructor(state: ReplicaState) {
    this.state = state;
    this.index = state.appliedIndex;
    this.term = state.appliedTerm;
    this.nextOffset = state.nextOffset;
    this.size = snapshotSize(state);
    this.producers = state.producers.beginCapture(saveProducer);
    this.positions = state.positions.list();
    writeHead(this.w, state);
  }

  /** The next bytes, about `sliceSize` of them, in a buffer of their own; null after the last. */
  next(sliceSize = SNAPSHOT_SLICE_SIZE): Buffer | null {
    if (this.ended) return null;
    const w = this.w;
    while (w.length < sliceSize && this.producersDone < this.producers.length) this.writeNextProducer();
    if (this.producersDone === this.producers.length) {
      while (w.length < sliceSize && this.positionsDone < this.positions.length) {
        writePosition(w, this.positions[this.positionsDone]!);
        this.positionsDone += 1;
      }
    }
    this.hash.update(w.view());
    if (this.producersDone === this.producers.length && this.positionsDone === this.positions.length) {
      w.raw(this.hash.digest());
      this.abandon();
    }
    const slice = w.copy();
    w.clear();
    return slice;
  }

  /** Ends it early (or after the last slice, by itself). */
  abandon(): void {
    if (this.ended) return;
    this.ended = true;
    this.state.producers.endCapture(this.producers);
    this.producers = [];
    this.positions = [];
    this.producersDone = 0;
    this.positionsDone = 0;
  }

  private writeNextProducer(): void {
    const producer = this.producers[this.producersDone]!;
    const image = this.state.producers.take(producer);
    if (image === null) writeProducer(this.w, producer);
    else this.w.raw(image);
    this.producersDone += 1;
  }
}

/** The whole snapshot at once; for small states and tests. */
export function encodeSnapshot(state: ReplicaState): Buffer {
  const encoder = new SnapshotEncoder(state);
  const slices: Buffer[] = [];
  for (let slice = encoder.next(); slice !== null; slice = encoder.next()) slices.push(slice);
  const bytes = Buffer.concat(slices);
  assert(bytes.length === encoder.size, 'a snapshot has the size that was foretold');
  return bytes;
}

/**
 * Checks and reads a snapshot of log `logUid`; yields between slices of work and returns the state.
 * @throws StateError BAD_SNAPSHOT: damaged, of another log, of another version or other table sizes
 */
export function* decodeSnapshotInSlices(
  bytes: Buffer,
  logUid: Buffer,
  limits: StateLimits = STATE_LIMITS,
): Generator<void, ReplicaState, void> {
  yield* checkDigest(bytes);
  const r = new Reader(bytes, 0, bytes.length - DIGEST_SIZE);
  try {
    return yield* readState(r, logUid, limits);
  } catch (error) {
    if (error instanceof StateError) throw error;
    throw bad('its digest holds, but its fields do not', error);
  }
}

/** The same at once. @throws StateError BAD_SNAPSHOT */
export function decodeSnapshot(bytes: Buffer, logUid: Buffer, limits: StateLimits = STATE_LIMITS): ReplicaState {
  const slices = decodeSnapshotInSlices(bytes, logUid, limits);
  for (;;) {
    const step = slices.next();
    if (step.done === true) return step.value;
  }
}

/** Before anything else: no field of a damaged snapshot is believed, not even a length. */
function* checkDigest(bytes: Buffer): Generator<void, void, void> {
  const end = bytes.length - DIGEST_SIZE;
  if (end < 0) throw bad('it is shorter than its digest');
  const hash = sha256.create();
  for (let at = 0; at < end; at += SNAPSHOT_SLICE_SIZE) {
    hash.update(bytes.subarray(at, Math.min(end, at + SNAPSHOT_SLICE_SIZE)));
    yield;
  }
  if (!bytes.subarray(end).equals(hash.digest())) throw bad('its digest does not hold: it is damaged');
}

function* readState(r: Reader, logUid: Buffer, limits: StateLimits): Generator<void, ReplicaState, void> {
  const { state, producerCount, positionCount } = readHead(r, logUid, limits);
  if (producerCount > limits.producersMax) throw bad('it has more producers than fit');
  if (positionCount > limits.positionsMax) throw bad('it has more positions than fit');
  let sliceEnd = SNAPSHOT_SLICE_SIZE;
  for (let i = 0; i < producerCount; i++) {
    state.producers.add(readProducer(r, limits.window));
    if (r.position < sliceEnd) continue;
    sliceEnd = r.position + SNAPSHOT_SLICE_SIZE;
    yield;
  }
  for (let i = 0; i < positionCount; i++) {
    state.positions.set(readPosition(r));
    if (r.position < sliceEnd) continue;
    sliceEnd = r.position + SNAPSHOT_SLICE_SIZE;
    yield;
  }
  r.expectEnd();
  return state;
}

function saveProducer(producer: Producer): Buffer {
  const w = new Writer(256);
  writeProducer(w, producer);
  return w.copy();
}
