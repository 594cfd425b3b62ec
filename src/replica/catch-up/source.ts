// The leader's side of bringing a replica on that needs entries which are compacted away here: offers a
// snapshot of now and the entries up to it, and gives out the parts that are asked for.
//
// Invariants: while a session runs nothing of what it offered is deleted (`neededFromIndex`, and the open
// file); a session that hears nothing ends, so that a dead replica holds nothing up for long.
import { DiskError } from '../../index/disk.ts';
import type { Disk, DiskFile } from '../../index/disk.ts';
import type { CatchUp } from '../../raft/effects.ts';
import type { Envelope, Index, NodeId, ReplicaId } from '../../raft/types.ts';
import { DamageError } from '../../segment/damage.ts';
import type { SegmentedLog } from '../../segment/log.ts';
import { CatchUpKind, encodeCatchUp, NO_SESSION, Piece } from './messages.ts';
import type { Ask, CatchUpMessage, Done, Want } from './messages.ts';
import { REPEAT_MS, SILENCE_MS } from './pull.ts';

/** Bytes of one part. */
const PART_SIZE = 512 * 1024;

export interface SourcePorts {
  readonly log: SegmentedLog;
  readonly disk: Disk;
  envelope(to: ReplicaId, toNode: NodeId): Envelope;
  send(toNode: NodeId, message: Buffer): void;
  /** Makes a snapshot of now, on disk; null when the log is being closed. Rejects with DiskError. */
  snapshot(): Promise<{ readonly path: string; readonly index: Index } | null>;
  /** Entries from `from` on, about so many bytes, none above `to`; null when they cannot be had. */
  loadSome(from: Index, bytesMax: number, to: Index): Promise<readonly Buffer[] | null>;
  /** 1 … 2^31 − 1. */
  drawSession(): number;
  /** Committed, and in the files. */
  commitIndex(): Index;
  /** Whether this replica leads a group that has `from` as a member on `fromNode`. */
  mayOffer(from: ReplicaId, fromNode: NodeId): boolean;
  done(wanted: CatchUp, index: Index): void;
  failed(wanted: CatchUp): void;
}

interface Session {
  readonly wanted: CatchUp;
  readonly id: number;
  /** Not before the snapshot is there. */
  offer: Buffer | null;
  file: DiskFile | null;
  size: number;
  firstIndex: Index;
  index: Index;
  /** Monotonic milliseconds of the last message, and of the last offer. */
  heardMs: number;
  offeredMs: number;
  /** A part is being read: what is asked for meanwhile is asked for again. */
  busy: boolean;
}

export class CatchUpSource {
  readonly #ports: SourcePorts;
  readonly #sessions = new Map<ReplicaId, Session>();
  /** For whom single entries are being read: what else they ask for meanwhile is asked for again. */
  readonly #lending = new Set<ReplicaId>();
  #nowMs = 0;

  constructor(ports: SourcePorts) {
    this.#ports = ports;
  }

  /** Infinity while nobody is being brought on. */
  get neededFromIndex(): Index {
    let index = Infinity;
    for (const session of this.#sessions.values()) index = Math.min(index, session.firstIndex);
    return index;
  }

  begin(wanted: CatchUp): void {
    this.#end(wanted.replicaId);
    const nowMs = this.#nowMs;
    const session: Session = {
      wanted, id: this.#ports.drawSession(), offer: null, file: null, size: 0, firstIndex: this.#ports.log.firstIndex,
      index: 0, heardMs: nowMs, offeredMs: nowMs, busy: false,
    };
    this.#sessions.set(wanted.replicaId, session);
    void this.#open(session);
  }

  receive(message: Want | Done | Ask): void {
    if (message.kind === CatchUpKind.Ask) {
      const { from: replicaId, fromNode: nodeId } = message;
      if (this.#ports.mayOffer(replicaId, nodeId) && !this.#sessions.has(replicaId)) this.begin({ replicaId, nodeId, match: 0 });
      return;
    }
    if (message.session === NO_SESSION && message.kind === CatchUpKind.Want) {
      if (!this.#lending.has(message.from)) void this.#lend(message);
      return;
    }
    const session = this.#sessions.get(message.from);
    if (session === undefined || session.id !== message.session || session.wanted.nodeId !== message.fromNode) return;
    session.heardMs = this.#nowMs;
    if (message.kind === CatchUpKind.Done) {
      this.#end(message.from);
      if (message.index > 0) this.#ports.done(session.wanted, message.index);
      else this.#ports.failed(session.wanted);
    } else if (!session.busy && session.file !== null) {
      void this.#answer(session, message);
    }
  }

  tick(nowMs: number): void {
    // The first tick says where the clock stands.
    if (this.#nowMs === 0) for (const session of this.#sessions.values()) session.heardMs = session.offeredMs = nowMs;
    this.#nowMs = nowMs;
    for (const session of this.#sessions.values()) {
      if (nowMs - session.heardMs >= SILENCE_MS) this.#fail(session);
      else if (session.offer !== null && nowMs - Math.max(session.offeredMs, session.heardMs) >= REPEAT_MS) this.#sayOffer(session);
    }
  }

  /** This replica leads no more, or is closed. */
  endAll(): void {
    for (const replicaId of [...this.#sessions.keys()]) this.#end(replicaId);
  }

  #end(replicaId: ReplicaId): void {
    const session = this.#sessions.get(replicaId);
    if (session === undefined) return;
    this.#sessions.delete(replicaId);
    void session.file?.close().catch(() => {});
    session.file = null;
  }

  #isOver(session: Session): boolean {
    return this.#sessions.get(session.wanted.replicaId) !== session;
  }

  #fail(session: Session): void {
    if (this.#isOver(session)) return;
    this.#end(session.wanted.replicaId);
    this.#ports.failed(session.wanted);
  }

  async #open(session: Session): Promise<void> {
    const { disk, log, snapshot, envelope } = this.#ports;
    const { replicaId, nodeId } = session.wanted;
    let file: DiskFile | null = null;
    try {
      const made = await snapshot();
      if (this.#isOver(session)) return;
      if (made === null || made.index < log.firstIndex) return this.#fail(session);
      const { path, index } = made;
      file = await disk.open(path, 'read');
      session.size = await file.size();
      const snapshotTerm = await log.ask(() => log.termAt(index));
      if (this.#isOver(session)) return;
      // From here on it is the session's, and closed by #end.
      session.file = file;
      file = null;
      const { firstIndex, firstOffset, termBefore, appendTimeBefore } = log.start;
      session.firstIndex = firstIndex;
      session.index = index;
      session.offer = encodeCatchUp({
        ...envelope(replicaId, nodeId), kind: CatchUpKind.Offer, session: session.id, firstIndex, firstOffset, termBefore,
        appendTimeBefore, snapshotIndex: index, snapshotTerm, snapshotSize: session.size,
      });
      this.#sayOffer(session);
    } catch (error) {
      if (!(error instanceof DiskError) && !(error instanceof DamageError)) throw error;
      this.#fail(session);
    } finally {
      void file?.close().catch(() => {});
    }
  }

  #sayOffer(session: Session): void {
    session.offeredMs = this.#nowMs;
    this.#ports.send(session.wanted.nodeId, session.offer!);
  }

  async #answer(session: Session, want: Want): Promise<void> {
    session.busy = true;
    const bytes = await this.#part(session, want).catch((error: unknown) => {
      if (!(error instanceof DiskError)) throw error;
      return null;
    });
    session.busy = false;
    if (this.#isOver(session)) return;
    if (bytes === null) return this.#fail(session);
    const { replicaId, nodeId } = session.wanted;
    const { piece, at } = want;
    const part: CatchUpMessage = { ...this.#ports.envelope(replicaId, nodeId), kind: CatchUpKind.Part, session: session.id, piece, at, bytes };
    this.#ports.send(nodeId, encodeCatchUp(part));
  }

  /** Entries for a repair: of those that are committed, whoever asks. */
  async #lend(want: Want): Promise<void> {
    const { log, commitIndex, loadSome, envelope, send } = this.#ports;
    const { from: replicaId, fromNode, at } = want;
    const to = commitIndex();
    if (want.piece !== Piece.ENTRIES || at < log.firstIndex || at > to) return;
    this.#lending.add(replicaId);
    const buffers = await loadSome(at, PART_SIZE, to);
    this.#lending.delete(replicaId);
    if (buffers === null) return;
    const part = { ...envelope(replicaId, fromNode), kind: CatchUpKind.Part, session: NO_SESSION, piece: want.piece, at, bytes: Buffer.concat(buffers) };
    send(fromNode, encodeCatchUp(part));
  }

  async #part(session: Session, { piece, at }: Want): Promise<Buffer | null> {
    if (piece === Piece.SNAPSHOT) {
      if (at >= session.size) return null;
      const bytes = Buffer.alloc(Math.min(PART_SIZE, session.size - at));
      const count = await session.file!.read(bytes, 0, bytes.length, at);
      return count === bytes.length ? bytes : null;
    }
    if (at < session.firstIndex || at > session.index) return null;
    const buffers = await this.#ports.loadSome(at, PART_SIZE, session.index);
    return buffers === null ? null : Buffer.concat(buffers);
  }
}
