// One log on this node: takes PRODUCEs, judges them against the state including its uncommitted tail,
// proposes them to the group, and answers when the group reports the commit. Everything about one
// PRODUCE between the session and the group is here, without a promise, closure, object or string.
// The rarer writes are in log-writes.ts, snapshots and retention in log-upkeep.ts, opening in open-log.ts.
//
// Invariants: I6, I12, I13; answers to the PRODUCEs of a connection leave in the order in which they
// came, refusals too, because all of them pass through one ring.
import type { BatchLimits } from '../wire/batch.ts';
import { assert } from '../wire/assert.ts';
import { batchCount, batchSize, checkClientBatch, isControl } from '../wire/batch.ts';
import { buildControlBatch } from '../wire/batch-build.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { ErrorOptions } from '../wire/errors.ts';
import { BATCH_RECORDS_MAX, ID_SIZE } from '../wire/limits.ts';
import { Op, PRODUCE_DUPLICATE } from '../wire/ops.ts';
import type { ProduceView } from '../wire/produce-view.ts';
import type { Session } from '../wire/session/ports.ts';
import { DamageError } from '../segment/damage.ts';
import { TrimmedError } from '../segment/reader.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { LogState } from '../segment/log-options.ts';
import { CommittedBytes } from './committed-bytes.ts';
import type { NodeContext } from './context.ts';
import { encodeControl } from './control.ts';
import type { Control } from './control.ts';
import type { Group, GroupEvents } from './group.ts';
import { Judgment, judgeProduce, Verdict } from './judge.ts';
import { LogReaders } from './log-readers.ts';
import type { LogDescriptor } from './log-settings.ts';
import type { LogUse } from './log-use.ts';
import { answerWrite, expireWrite, PendingKind } from './log-answers.ts';
import { LogWrites } from './log-writes.ts';
import { Overlay } from './overlay.ts';
import { PendingRing } from './pending.ts';
import type { PendingVisitor } from './pending.ts';
import { RoomFor } from './space.ts';
import { StateError } from './state-error.ts';
import type { ReplicaState } from './state.ts';
import { mut } from '../wire/mut.ts';

export class LogReplica implements GroupEvents, PendingVisitor<Session> {
  readonly context: NodeContext;
  readonly uid: Buffer;
  readonly log: SegmentedLog;
  readonly group: Group;
  readonly state: ReplicaState;
  readonly overlay: Overlay;
  readonly readers = new LogReaders();
  readonly pending = new PendingRing<Session>();
  readonly verdict = new Verdict();
  readonly writes: LogWrites;
  descriptor: LogDescriptor;
  /** Not 0: reads end with this (the log was deleted, or its state cannot be trusted). */
  readRefusal: ErrorCode | 0 = 0;
  /** Entries that were acked are damaged: records are read around them, but the state is one of the past. */
  stateLags = false;
  /** Called after commits that may ask for a snapshot or for files to be deleted. */
  onTrimmed: (() => void) | null = null;
  /** Called when the replica cannot go on: committed entries and its state disagree. */
  onBroken: ((error: Error) => void) | null = null;

  /** Goes up whenever it is written to or read. */
  activity = 0;
  /** Batch bytes appended since it was opened. */
  appendedBytes = 0;

  readonly #limits: { maxBatch: number; compressions: number };
  readonly #bytes = new CommittedBytes();
  /** Counted in the node's memory gate. */
  #unwrittenBytes = 0;
  #pins = 0;
  /** The request whose latency is being measured: its index and when it came; 0 = none. */
  #sampleIndex = 0;
  #sampleMs = 0;

  constructor(context: NodeContext, descriptor: LogDescriptor, log: SegmentedLog, group: Group, state: ReplicaState) {
    this.context = context;
    this.descriptor = descriptor;
    this.uid = Buffer.from(descriptor.uid, 'hex');
    this.log = log;
    this.group = group;
    this.state = state;
    this.overlay = new Overlay(state);
    this.#limits = { maxBatch: context.maxBatchBytes, compressions: descriptor.settings.compressions };
    this.#bytes.reset(state.appliedIndex);
    this.writes = new LogWrites(this);
    group.events = this;
  }

  get batchLimits(): BatchLimits {
    return this.#limits;
  }

  /** The applied commit: what readers may see. */
  get commitIndex(): number {
    if (mut('uncommitted-served')) return this.log.lastIndex;
    return this.state.appliedIndex;
  }

  get committedEnd(): number {
    if (mut('uncommitted-served')) return this.log.nextOffset;
    return this.state.nextOffset;
  }

  get logStart(): number {
    return this.state.logStart;
  }

  /** Data bytes committed since it was opened. */
  get committedBytes(): number {
    return this.#bytes.committed;
  }

  /** Nothing waits for it and nothing is under way, nor do peers need it: it may be closed. */
  get idle(): boolean {
    const isAsked = this.pending.length > 0 || this.writes.stagedCount > 0 || this.readers.count > 0 || this.#pins > 0;
    return this.group.alone && !isAsked && this.overlay.tailLength === 0;
  }

  /** Settings that ALTER_LOG changed. */
  alter(descriptor: LogDescriptor): void {
    this.descriptor = descriptor;
    this.#limits.compressions = descriptor.settings.compressions;
  }

  /** Keeps it open while something uses its files. */
  pin(): void {
    this.#pins++;
  }

  unpin(): void {
    this.#pins--;
  }

  // Writing

  /** One PRODUCE for this log, parsed; authorized already. The batch is buffer[view.batchStart, batchEnd). */
  produce(session: Session, use: LogUse, id: number, view: ProduceView, buffer: Buffer): void {
    const { context, overlay, verdict } = this;
    // Nothing is ahead of it: only requests in flight bind its deadline.
    if (this.pending.length === 0) use.lastDeadlineMs = 0;
    const deadlineMs = use.deadline(context.clock.monotonicMs(), view.timeoutMs);
    if (view.hasUid && !this.hasUid(buffer, view.uidStart)) {
      return this.keepPlace(session, id, deadlineMs, ErrorCode.LOG_CHANGED, 0, null);
    }
    const start = view.batchStart;
    const end = view.batchEnd;
    const fault = checkClientBatch(buffer, start, end, this.#limits);
    if (fault !== 0) return this.keepPlace(session, id, deadlineMs, fault, this.#faultDetail(fault, buffer, start), null);
    if (this.group.refusal !== 0) return this.keepPlace(session, id, deadlineMs, this.group.refusal, 0, null);

    const size = end - start;
    const hasRoom = context.space.admits(RoomFor.RECORDS, size);
    const code = judgeProduce(overlay, verdict, buffer, start, view.fence, view.expectedOffset, hasRoom);
    const uid = view.hasUid ? null : this.uid;
    if (code !== Judgment.ACCEPT) {
      if (code === Judgment.DUPLICATE) this.#duplicate(session, id, deadlineMs, uid);
      else this.refuse(session, id, Op.PRODUCE, deadlineMs, code);
      return;
    }
    const appendTime = Math.max(this.log.lastAppendTime, context.clock.nowMs());
    const baseOffset = overlay.nextOffset;
    const index = this.append(buffer, start, end, appendTime, size);
    this.pending.push(
      index, 0, deadlineMs, session, id, PendingKind.PRODUCE, 0, baseOffset, overlay.nextOffset, appendTime, uid,
    );
    context.counters.recordsProduced += overlay.nextOffset - baseOffset;
    if (this.#sampleIndex === 0) {
      this.#sampleIndex = index;
      this.#sampleMs = context.clock.monotonicMs();
    }
  }

  /** Gives a judged batch its index. `dataBytes` is 0 for a control batch. */
  append(buffer: Buffer, start: number, end: number, appendTime: number, dataBytes: number): number {
    const { context, group } = this;
    const index = group.propose(buffer, start, end, appendTime);
    this.overlay.propose(index, group.term, appendTime, buffer, start);
    this.#bytes.push(dataBytes);
    const size = end - start;
    this.appendedBytes += size;
    this.activity++;
    this.#unwrittenBytes += size;
    context.space.accepted(size);
    context.memory.add(size);
    return index;
  }

  /** Proposes a control entry. */
  propose(control: Control): number {
    const batch = buildControlBatch(encodeControl(control));
    const appendTime = Math.max(this.log.lastAppendTime, this.context.clock.nowMs());
    return this.append(batch, 0, batch.length, appendTime, 0);
  }

  /** Whether the log_uid at source[at] is this log's. */
  hasUid(source: Buffer, at: number): boolean {
    for (let i = 0; i < ID_SIZE; i++) if (source[at + i] !== this.uid[i]) return false;
    return true;
  }

  // Answers that keep their place

  /** A refusal of a PRODUCE that needs no state: it leaves after the answers to those before it. */
  keepPlace(session: Session, id: number, deadlineMs: number, code: number, detail: number, field: string | null): void {
    this.pending.push(0, 0, deadlineMs, session, id, PendingKind.PLAIN_REFUSAL, code, detail, Op.PRODUCE, 0, field);
    this.releaseReady();
  }

  /** A refusal that rests on the state, as `verdict` has it: a linearizable read (I13). */
  refuse(session: Session, id: number, op: Op, deadlineMs: number, code: number): void {
    const { verdict } = this;
    const ticket = verdict.confirm ? this.group.requestRead() : 0;
    this.pending.push(
      verdict.waitIndex, ticket, deadlineMs, session, id, PendingKind.REFUSAL, code, verdict.detail, op, 0, null,
    );
    this.releaseReady();
  }

  #duplicate(session: Session, id: number, deadlineMs: number, uid: Buffer | null): void {
    const { verdict } = this;
    const ticket = verdict.confirm ? this.group.requestRead() : 0;
    this.pending.push(
      verdict.waitIndex, ticket, deadlineMs, session, id, PendingKind.DUPLICATE, PRODUCE_DUPLICATE,
      verdict.baseOffset, verdict.nextOffset, verdict.appendTime, uid,
    );
    this.releaseReady();
  }

  #faultDetail(code: number, buffer: Buffer, start: number): number {
    if (code === ErrorCode.UNSUPPORTED_COMPRESSION) return this.#limits.compressions;
    if (code !== ErrorCode.BATCH_TOO_LARGE) return 0;
    return batchCount(buffer, start) > BATCH_RECORDS_MAX ? BATCH_RECORDS_MAX : this.#limits.maxBatch;
  }

  /** Sends what is ready to be sent. */
  releaseReady(): void {
    this.pending.release(this.commitIndex, this.group.confirmedTicket, this);
  }

  released(ring: PendingRing<Session>, slot: number): void {
    const { group } = this;
    if (ring.kind(slot) !== PendingKind.PRODUCE && ring.kind(slot) !== PendingKind.DUPLICATE) {
      return answerWrite(this, ring, slot);
    }
    const session = ring.session(slot);
    const failure = ring.failure(slot);
    if (failure !== 0) return answerWrite(this, ring, slot);
    session.produceAck(
      ring.id(slot), ring.a(slot), ring.b(slot), ring.c(slot), group.term,
      this.descriptor.settings.durability, group.copies, ring.code(slot), ring.extra(slot) as Buffer | null,
    );
  }

  expired(ring: PendingRing<Session>, slot: number): void {
    expireWrite(this, ring, slot);
  }

  // Events of the group

  elected(): void {
    this.overlay.begin();
    this.#bytes.reset(this.state.appliedIndex);
  }

  replay(buffer: Buffer, at: number): void {
    this.overlay.replay(buffer, at);
    this.#bytes.push(dataSize(buffer, at));
  }

  leading(): void {
    assert(this.overlay.active, 'a leader was elected');
    assert(this.overlay.lastIndex === this.group.lastIndex, 'a leader has seen its whole tail');
  }

  apply(buffer: Buffer, at: number): void {
    assert(!this.overlay.active, 'a leader applies what it has noted');
    const { nextOffset, logStart } = this.state;
    try {
      this.state.apply(buffer, at);
    } catch (error) {
      return this.#broken(error);
    }
    this.#bytes.push(dataSize(buffer, at));
    this.#bytes.commit(this.state.appliedIndex);
    this.#tellReaders(nextOffset, logStart);
  }

  committed(index: number): void {
    const { nextOffset, logStart, appliedIndex } = this.state;
    if (index <= appliedIndex) return;
    try {
      this.overlay.advance(index);
    } catch (error) {
      return this.#broken(error);
    }
    this.#bytes.commit(index);
    this.#countWritten();
    if (this.#sampleIndex !== 0 && index >= this.#sampleIndex) this.#takeSample(index);
    this.releaseReady();
    this.#tellReaders(nextOffset, logStart);
  }

  written(): void {
    if (this.#unwrittenBytes > 0) this.#countWritten();
  }

  #tellReaders(endBefore: number, startBefore: number): void {
    const { nextOffset, logStart } = this.state;
    if (nextOffset !== endBefore) this.readers.committed(this.#bytes.committed);
    if (logStart === startBefore) return;
    this.readers.trimmed();
    this.onTrimmed?.();
  }

  confirmed(ticket: number): void {
    this.releaseReady();
    this.readers.confirmed(ticket);
  }

  steppedDown(): void {
    this.writes.dropStaged();
    if (this.overlay.active) this.overlay.end();
    this.#bytes.reset(this.state.appliedIndex);
    this.#sampleIndex = 0;
  }

  lost(fromIndex: number, code: ErrorCode): void {
    this.#countWritten();
    this.pending.fail(fromIndex, this.group.confirmedTicket, code);
    this.releaseReady();
    this.readers.failUnconfirmed(this.group.confirmedTicket, ErrorCode.NOT_LEADER);
  }

  /** Ends everything that waits here: the log was deleted or is being closed. */
  end(writeCode: ErrorCode, readCode: ErrorCode): void {
    this.readRefusal = readCode;
    this.context.memory.remove(this.#unwrittenBytes);
    this.#unwrittenBytes = 0;
    this.writes.dropStaged();
    this.pending.failAll(writeCode, this);
    this.readers.end(readCode);
  }

  /** A committed entry does not fit the state: every answer from here on would be a guess. */
  #broken(error: unknown): void {
    if (!(error instanceof StateError)) throw error;
    this.context.logEvent('error', 'log stopped', { log: this.descriptor.name, reason: error.message });
    this.end(ErrorCode.LEADERSHIP_LOST, ErrorCode.LOG_STOPPED);
    this.onBroken?.(error);
  }

  // Counting

  #countWritten(): void {
    const { state } = this.log;
    // A log that failed writes nothing any more: what it holds must not hold back the others.
    const left = state === LogState.OPEN || state === LogState.FULL ? this.log.unwrittenBytes : 0;
    if (left >= this.#unwrittenBytes) return;
    this.context.memory.remove(this.#unwrittenBytes - left);
    this.#unwrittenBytes = left;
  }

  #takeSample(index: number): void {
    const elapsed = this.context.clock.monotonicMs() - this.#sampleMs;
    this.context.counters.produceLatency.observe(elapsed, index - this.#sampleIndex + 1);
    this.#sampleIndex = 0;
  }

  countRead(bytes: number): void {
    this.activity++;
    this.context.counters.readBytesOut += bytes;
  }

  countError(code: number): void {
    this.context.counters.error(code);
  }

  /** How a read that failed is answered. */
  readFailure(error: unknown): { code: ErrorCode; options: ErrorOptions } {
    // Trimmed while the read waited for its turn at the disk: as if it had come a moment later.
    if (error instanceof TrimmedError) return { code: ErrorCode.OFFSET_OUT_OF_RANGE, options: {} };
    if (error instanceof DamageError) {
      this.context.counters.damageFound++;
      this.context.logEvent('error', 'damage found', { log: this.descriptor.name, damage: error.message });
      // Not beyond the end that readers know: what is damaged there cannot be asked for.
      const committedEnd = error.lastOffset < error.firstOffset ? this.committedEnd : Math.min(error.lastOffset + 1, this.committedEnd);
      const range = { logStart: error.firstOffset, committedEnd };
      return { code: ErrorCode.DATA_LOSS, options: { range, message: 'these records are damaged on disk' } };
    }
    const message = error instanceof Error ? error.message : String(error);
    this.context.logEvent('error', 'read failed', { log: this.descriptor.name, reason: message });
    return { code: ErrorCode.INTERNAL, options: { message: 'the records could not be read from disk' } };
  }
}

/** Bytes that a batch counts for readers. */
function dataSize(buffer: Buffer, at: number): number {
  return isControl(buffer, at) ? 0 : batchSize(buffer, at);
}
