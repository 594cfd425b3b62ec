// All that clients have learned, over all logs: the door through which clients report what they sent
// and what they got, in front of the checkers.
import { NONE } from '../../../src/wire/limits.ts';
import * as batch from '../../../src/wire/batch.ts';
import { RecordReader } from '../../../src/wire/record.ts';
import { BATCH_HEADER_SIZE } from '../../../src/wire/limits.ts';
import { demand } from '../core/failure.ts';
import { Fate, idOf } from './fate.ts';
import { LogHistory } from './log-history.ts';
import type { AckSeen, RangeSeen, Watch } from './watch.ts';

export class History {
  readonly watch: Watch;
  readonly fates: Fate[] = [];
  readonly #logs = new Map<string, LogHistory>();
  readonly #durabilityOf: (name: string) => number;
  readonly #reader = new RecordReader();

  constructor(watch: Watch, durabilityOf: (name: string) => number) {
    this.watch = watch;
    this.#durabilityOf = durabilityOf;
  }

  get logs(): IterableIterator<LogHistory> {
    return this.#logs.values();
  }

  /** The history of the log with this uid, begun when it is first heard of. */
  log(uid: Buffer, name: string): LogHistory {
    const key = uid.toString('hex');
    let log = this.#logs.get(key);
    if (log === undefined) this.#logs.set(key, (log = new LogHistory(key, name, this.#logs.size, this.#durabilityOf(name))));
    return log;
  }

  newFate(client: string, log: string, size: number): Fate {
    const fate = new Fate(this.fates.length, client, log, size);
    this.fates.push(fate);
    return fate;
  }

  sending(fates: readonly Fate[], log: LogHistory | null, fence: number): void {
    for (const fate of fates) {
      if (fate.open + fate.acked + fate.unknown + fate.refused === 0) fate.floor = log?.end ?? 0;
      fate.open++;
      fate.fence = fence;
    }
  }

  unknown(fates: readonly Fate[]): void {
    for (const fate of fates) {
      fate.open--;
      fate.unknown++;
    }
  }

  refused(fates: readonly Fate[]): void {
    for (const fate of fates) {
      fate.open--;
      fate.refused++;
    }
    this.watch.refusedFates(fates);
  }

  acked(seen: AckSeen): void {
    for (const fate of seen.fates) {
      fate.open--;
      fate.acked++;
    }
    this.watch.acked(seen);
    const { log, baseOffset, nextOffset, appendTime, term } = seen;
    // Where an older process of a log that may lose its end had put them says nothing any more.
    if (baseOffset === NONE || (seen.stale && log.soft)) return;
    seen.fates.forEach((fate, i) => {
      this.watch.record({ log, offset: baseOffset + i, fate, appendTime, term: seen.duplicate ? -1 : term, by: 'ack' });
      log.note(baseOffset + i, fate, appendTime, seen.duplicate ? -1 : term);
    });
    log.noteEnd(nextOffset);
  }

  range(seen: RangeSeen): void {
    const { log } = seen;
    if (seen.stale && log.soft) return;
    this.watch.range(seen);
    log.noteEnd(seen.committedEnd);
    log.noteStart(seen.logStart);
  }

  /**
   * Batches as a reader got them, the first of which holds `offset`. Checks that they are whole, dense
   * and in order; notes their records. Returns the offset after the last one.
   */
  batches(log: LogHistory, bytes: Buffer, offset: number, who: string): number {
    let next = offset;
    for (let at = 0; at < bytes.length; at += batch.batchSize(bytes, at)) {
      const header = batch.checkHeader(bytes, at, bytes.length);
      demand(header === 0, 'reads', () => `${who} got a batch of ${log.name} whose header is wrong (${header}) where offset ${next} should be`);
      const body = batch.checkBody(bytes, at, bytes.length);
      demand(body === 0, 'reads', () => `${who} got a batch of ${log.name} whose body is wrong (${body}) where offset ${next} should be`);
      next = this.#batch(log, bytes, at, next, who, at === 0);
    }
    return next;
  }

  #batch(log: LogHistory, bytes: Buffer, at: number, next: number, who: string, first: boolean): number {
    const base = batch.baseOffset(bytes, at);
    const count = batch.batchCount(bytes, at);
    demand(!batch.isControl(bytes, at), 'reads', () => `${who} got a control batch of ${log.name}`);
    const fits = first ? base <= next && next < base + count : base === next;
    demand(fits, 'reads', () => `${who} wants offset ${next} of ${log.name} and got a batch of offsets ${base} to ${base + count - 1}`);
    const appendTime = batch.appendTime(bytes, at);
    const term = batch.batchTerm(bytes, at);
    const reader = this.#reader.reset(bytes, at + BATCH_HEADER_SIZE, at + batch.batchSize(bytes, at));
    let offset = base;
    while (reader.next()) {
      const id = idOf(bytes, reader.valueStart, reader.valueEnd);
      const fate = this.fates[id];
      demand(fate !== undefined, 'reads', () => `offset ${offset} of ${log.name} holds a value that nobody sent`);
      this.watch.record({ log, offset, fate, appendTime, term, by: 'read' });
      log.note(offset, fate, appendTime, term);
      offset++;
    }
    demand(offset === base + count, 'reads', () => `the batch at ${base} of ${log.name} says ${count} records and has ${offset - base}`);
    return offset;
  }
}
