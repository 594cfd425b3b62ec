// A new generation of one log's files in the making: the folder `<generation>.tmp` beside the one that
// counts, filled with a snapshot and entries, checked, and put in its place at last.
//
// Invariant: until `CURRENT` names it, nothing of the old generation has changed; from then on the new one
// is complete and synced, with everything of the old one that may have been acknowledged (Raft §7).
import type { Disk, DiskFile } from '../../index/disk.ts';
import type { Index } from '../../raft/types.ts';
import { replaceFile } from '../../segment/atomic-file.ts';
import { DamageError } from '../../segment/damage.ts';
import type { DamageRange } from '../../segment/damage.ts';
import { SegmentedLog } from '../../segment/log.ts';
import type { LogOptions } from '../../segment/log-options.ts';
import { assert } from '../../wire/assert.ts';
import * as batch from '../../wire/batch.ts';
import { CURRENT, nextGeneration } from '../generations.ts';
import { snapshotName, SnapshotStore } from '../snapshot-store.ts';
import type { Offer } from './messages.ts';
import type { Replacement } from './replacement.ts';
import { mut } from '../../wire/mut.ts';

/** Bytes of the old log's tail that are carried over at once. */
const CARRY_BYTES = 1024 * 1024;

export interface StagingOptions {
  readonly disk: Disk;
  /** `logs/<uid>`. */
  readonly folder: string;
  /** Name of the generation that counts. */
  readonly current: string;
  readonly logUid: Buffer;
  readonly logOptions: (directory: string) => LogOptions;
  readonly yieldTurn: () => Promise<void>;
}

export class Staging implements Replacement {
  readonly kind = 'install';
  readonly offer: Offer;
  readonly #options: StagingOptions;
  readonly #directory: string;
  readonly #name: string;
  #log: SegmentedLog | null;
  #snapshot: DiskFile | null;

  private constructor(options: StagingOptions, offer: Offer, name: string, directory: string, log: SegmentedLog, snapshot: DiskFile) {
    this.#options = options;
    this.offer = offer;
    this.#name = name;
    this.#directory = directory;
    this.#log = log;
    this.#snapshot = snapshot;
  }

  /** Rejects with DiskError. */
  static async begin(options: StagingOptions, offer: Offer): Promise<Staging> {
    const { disk, folder, current } = options;
    const name = nextGeneration(current);
    const directory = `${folder}/${name}.tmp`;
    if (await disk.exists(directory)) await disk.removeTree(directory);
    await disk.makeDirectory(directory);
    const log = await SegmentedLog.create(options.logOptions(directory), {
      firstIndex: offer.firstIndex, firstOffset: offer.firstOffset, termBefore: offer.termBefore, appendTimeBefore: offer.appendTimeBefore,
    });
    // So that its marks say so.
    log.commitIndex = offer.snapshotIndex;
    const snapshot = await disk.open(`${directory}/${snapshotName(offer.snapshotIndex)}`, 'create');
    return new Staging(options, offer, name, directory, log, snapshot);
  }

  /** The entry that is to come next. */
  get nextIndex(): Index {
    return this.#log!.lastIndex + 1;
  }

  /** Rejects with DiskError. */
  async writeSnapshot(position: number, bytes: Buffer): Promise<void> {
    await this.#snapshot!.write(bytes, 0, bytes.length, position);
  }

  /** Takes entries that go on from the last one; false when they do not hold. Rejects with DiskError. */
  async append(bytes: Buffer): Promise<boolean> {
    const log = this.#log!;
    if (!appendChecked(log, bytes, this.offer.snapshotIndex)) return false;
    await settle(log);
    return true;
  }

  /** Everything is there: syncs and checks it. '' or why it is not what was offered. Rejects with DiskError. */
  async check(): Promise<string> {
    const { offer } = this;
    const { disk, logUid, yieldTurn } = this.#options;
    const log = this.#log!;
    if (!mut('installed-without-sync')) await this.#snapshot!.sync();
    await this.#snapshot!.close();
    this.#snapshot = null;
    await settle(log);
    const { state, damaged } = await new SnapshotStore(disk, this.#directory, yieldTurn).load(logUid);
    if (state === null) return damaged.join('; ');
    const index = offer.snapshotIndex;
    if (state.appliedIndex !== index || log.lastIndex !== index) return 'the snapshot and the entries end in different places';
    const agree = state.appliedTerm === log.lastTerm && log.lastTerm === offer.snapshotTerm &&
      state.nextOffset === log.nextOffset && state.appliedTime === log.lastAppendTime;
    return agree ? '' : 'the snapshot is not of the entries that came with it';
  }

  /**
   * Takes over what the old log has behind the snapshot, where it goes on from it: it may have been
   * acknowledged. Nobody writes to the old log any more. Rejects with DiskError or DamageError.
   */
  async carryOver(old: SegmentedLog): Promise<void> {
    if (mut('catch-up-drops-an-acked-tail')) return;
    const { snapshotIndex, snapshotTerm } = this.offer;
    await old.whenIdle();
    const to = old.durableIndex;
    if (to <= snapshotIndex) return;
    // A leader that was elected just now may offer less than what is deleted here already.
    if (snapshotIndex < old.firstIndex - 1) throw new DamageError(this.#endsBefore(old));
    // Then it cannot be told whether the old log goes on from there.
    const doubt = old.damage.find(({ firstIndex, lastIndex }) => firstIndex <= snapshotIndex && snapshotIndex <= lastIndex);
    if (doubt !== undefined) throw new DamageError(doubt);
    if ((await old.ask(() => old.termAt(snapshotIndex))) !== snapshotTerm) return;
    const log = this.#log!;
    for (let next = snapshotIndex + 1; next <= to; ) {
      const { buffers, lastIndex } = await old.read(next, CARRY_BYTES, to);
      for (const bytes of buffers) {
        assert(appendChecked(log, bytes, to), 'a log goes on from its own entries');
      }
      await log.whenIdle();
      next = lastIndex + 1;
    }
  }

  /** What lies between what was offered and the old log is in neither. */
  #endsBefore({ start, firstIndex }: SegmentedLog): DamageRange {
    const { folder, current } = this.#options;
    const { firstOffset } = start;
    const reason = 'what was offered ends before this log begins';
    return { file: `${folder}/${current}`, position: 0, firstIndex, lastIndex: firstIndex - 1, firstOffset, lastOffset: firstOffset - 1, reason };
  }

  async replace(old: SegmentedLog): Promise<void> {
    await this.carryOver(old);
    await this.putInPlace();
  }

  /** Makes it the log's generation. Rejects with DiskError; then the old one counts, or after a start the new one. */
  async putInPlace(): Promise<void> {
    const { disk, folder } = this.#options;
    await settle(this.#log!);
    await this.#log!.close();
    this.#log = null;
    if (!mut('installed-without-sync')) await disk.syncDirectory(this.#directory);
    const place = `${folder}/${this.#name}`;
    // Of an attempt that a crash ended before CURRENT named it.
    if (await disk.exists(place)) await disk.removeTree(place);
    await disk.rename(this.#directory, place);
    await disk.syncDirectory(folder);
    await replaceFile(disk, `${folder}/${CURRENT}`, Buffer.from(`${this.#name}\n`));
  }

  /** Never rejects: what cannot be removed is removed at the next opening. */
  async discard(): Promise<void> {
    await this.#snapshot?.close().catch(() => {});
    await this.#log?.close().catch(() => {});
    this.#snapshot = this.#log = null;
    await this.#options.disk.removeTree(this.#directory).catch(() => {});
  }
}

/** Writes and syncs what is queued. Rejects with DiskError. */
async function settle(log: SegmentedLog): Promise<void> {
  log.flush();
  await log.whenIdle();
  if (log.failure !== null) throw log.failure;
}

/** Appends whole batches that go on from the log's end; false at the first that does not hold, or goes beyond `to`. */
function appendChecked(log: SegmentedLog, bytes: Buffer, to: Index): boolean {
  for (let at = 0; at < bytes.length; ) {
    if (batch.checkBatch(bytes, at, bytes.length) !== batch.BatchFault.OK) return false;
    const index = batch.batchIndex(bytes, at);
    if (index !== log.lastIndex + 1 || index > to || batch.batchTerm(bytes, at) < log.lastTerm) return false;
    if (batch.baseOffset(bytes, at) !== log.nextOffset || batch.appendTime(bytes, at) < log.lastAppendTime) return false;
    const end = at + batch.batchSize(bytes, at);
    log.appendStamped(bytes, at, end);
    at = end;
  }
  return bytes.length > 0;
}
