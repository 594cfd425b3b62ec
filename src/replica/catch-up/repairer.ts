// Mends a replica of a group of several whose disk has lost bytes: fetches the entries of a damaged range
// from a peer and puts them back where they were; asks to be brought on anew where that cannot be done.
//
// Invariants: only committed entries are fetched, so every peer that has them has the same bytes; nothing but
// the damaged range is written; what comes is checked before, and the whole log again when it is opened.
import type { Envelope, Index, NodeId, ReplicaId } from '../../raft/types.ts';
import type { DamageRange } from '../../segment/damage.ts';
import type { SegmentedLog } from '../../segment/log.ts';
import { batchEnd, batchIndex, batchSize } from '../../wire/batch.ts';
import { CatchUpKind, encodeCatchUp, NO_SESSION, Piece } from './messages.ts';
import type { Part } from './messages.ts';
import { Pull } from './pull.ts';
import type { Replacement } from './replacement.ts';

/** How often damage is looked for. */
const LOOK_EVERY_MS = 1_000;

/** A larger range comes with everything else. */
const RANGE_SIZE_MAX = 16 * 1024 * 1024;

/** After so many attempts that failed it does, too. */
const ATTEMPTS_MAX = 3;

export interface Other {
  readonly replicaId: ReplicaId;
  readonly nodeId: NodeId;
}

export interface RepairPorts {
  readonly log: SegmentedLog;
  envelope(to: ReplicaId, toNode: NodeId): Envelope;
  send(toNode: NodeId, message: Buffer): void;
  /** Committed, and in the files. */
  commitIndex(): Index;
  /** The leader, if that is another replica. */
  leader(): Other | null;
  /** Where this replica leads, another one should: nothing is put in place under a leader. */
  handOver(): void;
  /** The same, where no other can be brought up to this replica's end. */
  resign(): void;
  /** Closes this replica, puts the replacement in the place of its files and opens it on them. Never rejects. */
  install(replacement: Replacement): Promise<void>;
  report(what: string): void;
}

export class Repairer {
  /** Entries are damaged here: this replica must not campaign. */
  damaged = false;
  /** It has asked for everything anew. */
  wantsAll = false;
  readonly #ports: RepairPorts;
  readonly #pull = new Pull();
  #asked: Other | null = null;
  #at = 0;
  #lookAtMs = 0;
  #busy = false;
  #attempts = 0;

  /** `wantsAll`: what is here cannot be used even where it is whole. */
  constructor(ports: RepairPorts, wantsAll: boolean) {
    this.#ports = ports;
    this.wantsAll = wantsAll;
    this.damaged = wantsAll || ports.log.damage.length > 0;
  }

  tick(nowMs: number): void {
    this.#pull.tick(nowMs);
    if (nowMs < this.#lookAtMs || this.#busy) return;
    this.#lookAtMs = nowMs + LOOK_EVERY_MS;
    const damage = this.#ports.log.damage;
    this.damaged = this.wantsAll || damage.length > 0;
    if (!this.damaged) return;
    const leader = this.#ports.leader();
    if (leader === null) return this.#handOver(damage);
    const ranges = damage.filter((range) => this.#ports.log.canRepair(range));
    if (this.wantsAll || ranges.length === 0 || this.#attempts >= ATTEMPTS_MAX) return this.#askForAll(leader);
    // Before they are known to be committed other entries may come in their place.
    const known = ranges.filter(({ lastIndex }) => lastIndex <= this.#ports.commitIndex());
    if (known.length > 0) void this.#repair(known, leader);
  }

  /** What nobody else may have cannot be fetched, nor sent to whoever is to take over: it would wait for that for ever. */
  #handOver(damage: readonly DamageRange[]): void {
    const committed = this.#ports.commitIndex();
    if (damage.some(({ firstIndex, lastIndex }) => lastIndex >= firstIndex && lastIndex > committed)) this.#ports.resign();
    else this.#ports.handOver();
  }

  receive(part: Part): void {
    const asked = this.#asked;
    if (asked === null || part.piece !== Piece.ENTRIES || part.at !== this.#at) return;
    if (part.from === asked.replicaId && part.fromNode === asked.nodeId) this.#pull.answer(part.bytes);
  }

  end(): void {
    this.#pull.end();
  }

  #askForAll(leader: Other): void {
    this.wantsAll = true;
    const envelope = this.#ports.envelope(leader.replicaId, leader.nodeId);
    this.#ports.send(leader.nodeId, encodeCatchUp({ ...envelope, kind: CatchUpKind.Ask }));
  }

  async #repair(ranges: readonly DamageRange[], from: Other): Promise<void> {
    this.#busy = true;
    this.#asked = from;
    const mended: Mended[] = [];
    let size = 0;
    for (const range of ranges) {
      const bytes = await this.#fetch(range, from);
      // What is left over is for the next time.
      if (bytes === null || (size += bytes.length) > RANGE_SIZE_MAX) break;
      mended.push({ range, bytes });
    }
    this.#asked = null;
    // This object ends there, with its replica.
    if (mended.length > 0) await this.#ports.install(new Patch(mended, this.#ports.report));
    else this.#attempts++;
    this.#busy = false;
  }

  /** All entries of the range, or null. */
  async #fetch(range: DamageRange, { replicaId, nodeId }: Other): Promise<Buffer | null> {
    const { envelope, send } = this.#ports;
    const parts: Buffer[] = [];
    let size = 0;
    for (let next = range.firstIndex; next <= range.lastIndex; ) {
      this.#at = next;
      const want = { ...envelope(replicaId, nodeId), kind: CatchUpKind.Want, session: NO_SESSION, piece: Piece.ENTRIES, at: next };
      const bytes = await this.#pull.question(() => send(nodeId, encodeCatchUp(want)));
      const part = bytes === null ? null : upTo(bytes, next, range.lastIndex);
      if (part === null || size + part.length > RANGE_SIZE_MAX) return null;
      parts.push(part);
      size += part.length;
      next += countOf(part);
    }
    return Buffer.concat(parts);
  }
}

/** The batches of `bytes`, which begins with entry `first`, that are not above `last`; null when there is none. */
function upTo(bytes: Buffer, first: Index, last: Index): Buffer | null {
  let at = 0;
  let next = first;
  while (next <= last) {
    const end = batchEnd(bytes, at, bytes.length);
    if (end < 0 || batchIndex(bytes, at) !== next) break;
    at = end;
    next++;
  }
  return next === first ? null : bytes.subarray(0, at);
}

function countOf(bytes: Buffer): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at += batchSize(bytes, at)) count++;
  return count;
}

interface Mended {
  readonly range: DamageRange;
  readonly bytes: Buffer;
}

/** Entries put back into the place of damaged ones. */
class Patch implements Replacement {
  readonly kind = 'repair';
  readonly #mended: readonly Mended[];
  readonly #report: (what: string) => void;

  constructor(mended: readonly Mended[], report: (what: string) => void) {
    this.#mended = mended;
    this.#report = report;
  }

  async replace(old: SegmentedLog): Promise<void> {
    for (const { range, bytes } of this.#mended) {
      if (!(await old.repair(range, bytes))) this.#report('entries came that do not fit the damaged place');
    }
  }

  discard(): Promise<void> {
    return Promise.resolve();
  }
}
