// The writes of a log besides PRODUCE: INIT_PRODUCER, FENCE, TRIM, PUT_POSITION. Each is judged
// (judge.ts), becomes a control entry, and is answered through the log's ring (log-answers.ts).
//
// Position updates of one turn are judged one by one and go into one entry at its end; whatever else
// was judged against them waits for that entry. Invariant: nothing is proposed while `group.refusal`
// is set, and everything staged is proposed or answered with an error.
import { ErrorCode } from '../wire/errors.ts';
import { NONE } from '../wire/limits.ts';
import { Op } from '../wire/ops.ts';
import { readU64 } from '../wire/bytes.ts';
import type { Session } from '../wire/session/ports.ts';
import { ControlType } from './control.ts';
import { judgeFence, judgeInitProducer, Judgment, judgePutPosition, judgeTrim } from './judge.ts';
import { PendingKind, writeErrorOptions } from './log-answers.ts';
import type { LogReplica } from './log-replica.ts';
import { indexToRead, lostBelow } from './read-start.ts';
import { RoomFor } from './space.ts';

/** Control batch header, type, flags and count: what an entry has besides its updates. */
const ENTRY_OVERHEAD_SIZE = 128;

/** Bytes of a name and numbers, at most: what room a small control entry asks for. */
const SMALL_ENTRY_SIZE = 512;

interface StagedPut {
  readonly session: Session;
  readonly id: number;
  readonly deadlineMs: number;
  readonly offset: number;
}

export class LogWrites {
  readonly #log: LogReplica;
  #staged: StagedPut[] = [];
  #flushDeferred = false;
  readonly #flush: () => void;

  constructor(log: LogReplica) {
    this.#log = log;
    this.#flush = () => {
      this.#flushDeferred = false;
      this.flushPositions();
    };
  }

  /** Position updates that were judged and are proposed at the end of the turn. */
  get stagedCount(): number {
    return this.#staged.length;
  }

  initProducer(session: Session, id: number, name: string, uid: Buffer | null, deadlineMs: number): void {
    const log = this.#log;
    const { overlay, verdict } = log;
    if (this.#refusedByGroup(session, id, Op.INIT_PRODUCER)) return;
    const hasRoom = log.context.space.admits(RoomFor.SMALL_STATE, SMALL_ENTRY_SIZE);
    let producerId = drawProducerId(log.context.randomBytes);
    let code = judgeInitProducer(overlay, verdict, producerId, hasRoom);
    while (code === Judgment.ID_TAKEN) {
      producerId = drawProducerId(log.context.randomBytes);
      code = judgeInitProducer(overlay, verdict, producerId, hasRoom);
    }
    if (code !== Judgment.ACCEPT) return log.refuse(session, id, Op.INIT_PRODUCER, deadlineMs, code);
    const index = log.propose({ type: ControlType.INIT_PRODUCER, name, producerId });
    const made = overlay.initialized!;
    log.pending.push(
      index, 0, deadlineMs, session, id, PendingKind.INIT_PRODUCER, 0, made.id, made.epoch, made.nextSeq, uid,
    );
  }

  fence(session: Session, id: number, token: number, uid: Buffer | null, deadlineMs: number): void {
    const log = this.#log;
    if (this.#refusedByGroup(session, id, Op.FENCE)) return;
    const code = judgeFence(log.overlay, log.verdict, token);
    if (code > 0) return log.refuse(session, id, Op.FENCE, deadlineMs, code);
    const index = code === Judgment.ACCEPT ? log.propose({ type: ControlType.FENCE, token }) : 0;
    this.#await(index, session, id, deadlineMs, PendingKind.FENCE, token, log.overlay.nextOffset, uid);
  }

  /**
   * TRIM to `offset`, rounded down to a batch border, at most the commit. Throws ColdError when the
   * border lies in a segment that is not open; then nothing has happened.
   */
  trim(session: Session, id: number, offset: number, deadlineMs: number): void {
    const log = this.#log;
    const border = batchBorder(log, offset);
    if (this.#refusedByGroup(session, id, Op.TRIM)) return;
    const code = judgeTrim(log.overlay, log.verdict, border);
    const index = code === Judgment.ACCEPT ? log.propose({ type: ControlType.TRIM, offset: border }) : 0;
    this.#await(index, session, id, deadlineMs, PendingKind.TRIM, log.overlay.logStart, 0, null);
  }

  /** A trim by retention: nobody is answered. `offset` is a batch border ≤ the commit. */
  trimByRetention(offset: number): void {
    const log = this.#log;
    if (log.group.refusal !== 0 || offset <= log.overlay.logStart) return;
    log.propose({ type: ControlType.TRIM, offset });
  }

  putPosition(session: Session, id: number, name: string, offset: number, expected: number, deadlineMs: number): void {
    const log = this.#log;
    const { overlay, verdict } = log;
    if (this.#refusedByGroup(session, id, Op.PUT_POSITION)) return;
    const hasRoom = log.context.space.admits(RoomFor.SMALL_STATE, SMALL_ENTRY_SIZE);
    const code = judgePutPosition(overlay, verdict, name, offset, expected, hasRoom);
    if (code !== Judgment.ACCEPT) {
      if (verdict.flushFirst) {
        this.flushPositions();
        verdict.waitIndex = overlay.lastIndex;
      }
      return log.refuse(session, id, Op.PUT_POSITION, deadlineMs, code);
    }
    // The entry must stay a batch that every replica takes.
    const size = overlay.positions.stagedBytes + ENTRY_OVERHEAD_SIZE + SMALL_ENTRY_SIZE;
    if (size > log.context.maxBatchBytes) this.flushPositions();
    overlay.positions.stage(name, offset);
    this.#staged.push({ session, id, deadlineMs, offset });
    if (this.#flushDeferred) return;
    this.#flushDeferred = true;
    log.context.defer(this.#flush);
  }

  /** Proposes the staged position updates as one entry. */
  flushPositions(): void {
    const log = this.#log;
    if (this.#staged.length === 0) return;
    // They were judged in this turn, and later in it the leader stopped taking proposals, perhaps for a moment.
    if (log.group.refusal !== 0) return this.dropStaged();
    const staged = this.#staged;
    this.#staged = [];
    const index = log.propose({ type: ControlType.POSITIONS, updates: log.overlay.positions.takeStaged() });
    for (const { session, id, deadlineMs, offset } of staged) {
      log.pending.push(index, 0, deadlineMs, session, id, PendingKind.PUT_POSITION, 0, offset, 0, 0, null);
    }
  }

  /** The staged updates can no more be proposed: they have no effect. */
  dropStaged(): void {
    const staged = this.#staged;
    this.#staged = [];
    this.#log.overlay.positions.dropStaged();
    const code = this.#log.group.refusal || ErrorCode.NOT_LEADER;
    for (const { session, id } of staged) this.#answer(session, id, Op.PUT_POSITION, code);
  }

  /** Waits for the entry `index`; 0 = nothing was appended, the answer rests on the log as it is. */
  #await(
    index: number, session: Session, id: number, deadlineMs: number,
    kind: PendingKind, a: number, b: number, uid: Buffer | null,
  ): void {
    const log = this.#log;
    const waitIndex = index === 0 ? log.verdict.waitIndex : index;
    const ticket = index === 0 && log.verdict.confirm ? log.group.requestRead() : 0;
    log.pending.push(waitIndex, ticket, deadlineMs, session, id, kind, 0, a, b, 0, uid);
    if (index === 0) log.releaseReady();
  }

  #refusedByGroup(session: Session, id: number, op: Op): boolean {
    const { refusal } = this.#log.group;
    if (refusal === 0) return false;
    this.#answer(session, id, op, refusal);
    return true;
  }

  #answer(session: Session, id: number, op: Op, code: ErrorCode): void {
    this.#log.countError(code);
    session.error(id, op, code, writeErrorOptions(this.#log, code, 0, null));
  }
}

/** The largest batch border ≤ min(offset, committed end); the log's start when it lies below. */
export function batchBorder(log: LogReplica, offset: number): number {
  if (offset >= log.committedEnd) return log.committedEnd;
  // Where batches are lost, nobody knows their borders.
  if (offset < lostBelow(log)) return log.logStart;
  return log.log.offsetAtIndex(indexToRead(log.log, offset));
}

/** 53 random bits, never 0: unique in the life of a cluster for all practical purposes. */
function drawProducerId(randomBytes: (size: number) => Buffer): number {
  for (;;) {
    const bytes = randomBytes(8);
    bytes[0] = 0;
    bytes[1]! &= 0x1f;
    const id = readU64(bytes, 0);
    if (id !== 0 && id !== NONE) return id;
  }
}
