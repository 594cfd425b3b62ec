// Looks at the logs of a data directory without running a node: what `sidelog verify` and its
// --accept-loss are made of. Checking changes nothing; accepting a loss lets a log that refuses records
// take them again, and gives up what is damaged. The data directory must be locked by the caller.
//
// Invariant: nothing is removed. What stands in the way (a damaged snapshot, or one of entries that are
// gone) is put aside under another name.
import { DiskError } from '../index/disk.ts';
import type { Disk } from '../index/disk.ts';
import { batchIndex } from '../wire/batch.ts';
import { acceptLoss, mendHeads } from '../segment/accept-loss.ts';
import { readWholeFile } from '../segment/atomic-file.ts';
import { describeDamage } from '../segment/damage.ts';
import type { DamageRange } from '../segment/damage.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { segmentName } from '../segment/head.ts';
import { RaftStateJournal } from '../segment/journal.ts';
import type { RaftStateRecord } from '../segment/journal-record.ts';
import { SegmentedLog } from '../segment/log.ts';
import { SyncGate } from '../segment/sync-gate.ts';
import { verifyLog } from '../segment/verify.ts';
import type { VerifyReport } from '../segment/verify.ts';
import { LOGS, LogFiles, missingFolders, TRASH } from './log-files.ts';
import type { FoundLog } from './log-files.ts';
import { RestoreError } from './restore.ts';
import { StateRebuild } from './state-rebuild.ts';
import { decodeSnapshotInSlices } from './snapshot.ts';
import { isSnapshotName, SNAPSHOT_BYTES_MAX, snapshotIndex, SnapshotStore } from './snapshot-store.ts';
import { StateError } from './state-error.ts';
import { ReplicaState } from './state.ts';

export interface OfflineOptions {
  readonly disk: Disk;
  readonly yieldTurn: () => Promise<void>;
  /** Build index files that do not agree with their segment anew. */
  readonly repairIndex: boolean;
  /** Told now and then how many of how many bytes of one log were read. */
  readonly progress: (log: string, doneBytes: number, totalBytes: number) => void;
}

export interface LogCheck {
  readonly name: string;
  readonly uid: string;
  readonly folder: string;
  readonly deleted: boolean;
  /** Null when its segments cannot even be found; `faults` says why. */
  readonly report: VerifyReport | null;
  /** Faults of other files than segments and indexes: one line each. */
  readonly faults: string[];
}

/** All logs, those in the trash too; what a crash left half-made is left as it is. Rejects with DiskError. */
export async function findLogs(disk: Disk): Promise<FoundLog[]> {
  const files = new LogFiles(disk);
  return [...(await files.look()), ...(await files.findTrash())];
}

/** Folders of logs that the journal says live here and that are not there. `entries` is what its copies hold. */
export async function findMissing(disk: Disk, entries: readonly RaftStateRecord[]): Promise<string[]> {
  return missingFolders(entries, await findLogs(disk)).map((uid) => `${LOGS}/${uid}`);
}

/** Lets those logs be forgotten, so that their names are free. Rejects with DiskError. */
export async function giveUpMissing(disk: Disk): Promise<void> {
  const journal = await RaftStateJournal.open(disk, undefined, true);
  try {
    const missing = new Set(missingFolders(journal.list(), await findLogs(disk)));
    for (const entry of journal.list()) {
      if (missing.has(entry.logUid.toString('hex'))) await journal.put({ ...entry, state: 'removed' });
    }
  } finally {
    await journal.close();
  }
}

/** Checks one log. */
export async function checkLog(found: FoundLog, options: OfflineOptions): Promise<LogCheck> {
  const { disk, yieldTurn, repairIndex, progress } = options;
  const { descriptor } = found;
  const deleted = found.folder.startsWith(`${TRASH}/`);
  // A log that is being restored goes from one log_uid to another file by file; the next start finishes that.
  const restoring = typeof descriptor !== 'string' && (descriptor.formerUid !== undefined && found.folder !== `${LOGS}/${found.uid}`);
  const faults: string[] = [];
  if (typeof descriptor === 'string') faults.push(`${found.folder}/log.json: ${descriptor}`);
  else if (descriptor.uid !== found.uid && !deleted) faults.push(`${found.folder}/log.json: names another log_uid`);
  const name = typeof descriptor === 'string' ? '' : descriptor.name;
  const identity = { name, uid: found.uid, folder: found.folder, deleted, faults };
  try {
    const directory = await new LogFiles(disk).generationFolder(found.folder);
    const logUid = Buffer.from(found.uid, 'hex');
    const newest = restoring ? null : await checkSnapshots(disk, directory, logUid, yieldTurn, faults);
    const rebuild = new StateRebuild(newest ?? new ReplicaState(logUid));
    const { appliedIndex } = rebuild.state;
    const report = await verifyLog({
      disk, directory, logUid: restoring ? null : logUid, repairIndex, yieldTurn, progress: (done, total) => progress(name, done, total),
      visit: (buffer, at) => {
        if (batchIndex(buffer, at) > appliedIndex) rebuild.visit(buffer, at);
      },
    });
    if (restoring) return { ...identity, report };
    if (rebuild.fault !== '') faults.push(`${directory}: ${rebuild.fault}: the log takes no records until that is accepted (--accept-loss)`);
    return { ...identity, report: { ...report, damage: [...report.damage, ...missingSegments(directory, report, rebuild)] } };
  } catch (error) {
    // What cannot be read here is a finding, and the other logs are looked at all the same.
    if (!(error instanceof RestoreError || error instanceof DiskError)) throw error;
    faults.push(messageOf(error));
    return { ...identity, report: null };
  }
}

/** The newest valid snapshot, or null; what is wrong with any goes to `faults`. */
async function checkSnapshots(
  disk: Disk, directory: string, logUid: Buffer, yieldTurn: () => Promise<void>, faults: string[],
): Promise<ReplicaState | null> {
  let newest: ReplicaState | null = null;
  for (const name of (await disk.list(directory)).filter(isSnapshotName).sort()) {
    const path = `${directory}/${name}`;
    try {
      const slices = decodeSnapshotInSlices(await readWholeFile(disk, path, SNAPSHOT_BYTES_MAX), logUid);
      let step = slices.next();
      for (; step.done !== true; step = slices.next()) await yieldTurn();
      newest = step.value;
    } catch (error) {
      if (!(error instanceof StateError || error instanceof DiskError)) throw error;
      faults.push(error instanceof StateError ? `${path}: ${error.message}` : messageOf(error));
    }
  }
  return newest;
}

/** Segment files that are gone from either end of the log: only its state knows that they were there. */
function missingSegments(directory: string, report: VerifyReport, { state }: StateRebuild): DamageRange[] {
  const { firstIndex, firstOffset, lastIndex, nextOffset, segments } = report;
  // Nothing at all: that is said already.
  if (segments === 0) return [];
  const missing: DamageRange[] = [];
  if (firstOffset > state.logStart) {
    missing.push({
      file: `${directory}/${segmentName(firstIndex)}`, position: 0, firstIndex: 1, lastIndex: firstIndex - 1,
      firstOffset: state.logStart, lastOffset: firstOffset - 1, reason: 'the segment files before this one are missing',
    });
  }
  if (state.appliedIndex > lastIndex) {
    missing.push({
      file: directory, position: 0, firstIndex: lastIndex + 1, lastIndex: state.appliedIndex,
      firstOffset: nextOffset, lastOffset: state.nextOffset - 1, reason: 'entries below the newest snapshot are missing at the end of the log',
    });
  }
  return missing;
}

/**
 * Makes a log take records again whose end, or whose state, cannot be told for damage. Returns what was
 * given up, one line each; nothing when nothing was in the way. Rejects with DiskError or DamageError.
 */
export async function acceptLossOf(found: FoundLog, disk: Disk, yieldTurn: () => Promise<void>): Promise<string[]> {
  if (typeof found.descriptor === 'string') return [];
  const directory = await new LogFiles(disk).generationFolder(found.folder);
  const given: string[] = [];
  const uid = Buffer.from(found.uid, 'hex');
  for (const file of await mendHeads(disk, directory, uid)) given.push(`${file}: its damaged head was written anew; no record was lost by it`);
  const endLost = await acceptLoss(disk, directory, uid, yieldTurn);
  if (endLost !== null) given.push(describeDamage(endLost));
  let rebuild = await rebuildState(disk, directory, uid, yieldTurn);
  if (rebuild.aheadOfLog) {
    await putSnapshotsAside(disk, directory, rebuild.lastIndex);
    given.push(`${directory}: the log ends before its newest snapshot: producers, positions and fence are those of an older one`);
    rebuild = await rebuildState(disk, directory, uid, yieldTurn);
  }
  if (rebuild.fault === '') return given;
  given.push(`${directory}: ${rebuild.fault}: what they said of producers, positions, fence and trims is forgotten`);
  await new SnapshotStore(disk, directory, yieldTurn).write(rebuild.state);
  return given;
}

interface Rebuilt {
  /** As of the last entry of the log. */
  readonly state: ReplicaState;
  readonly lastIndex: number;
  /** Why the state is not what the entries would make of it; '' when it is. */
  readonly fault: string;
  /** The newest snapshot is of an entry that the log does not have. */
  readonly aheadOfLog: boolean;
}

/** The state at the log's end as far as snapshots and entries tell, as a node would find it at its start. */
async function rebuildState(disk: Disk, directory: string, uid: Buffer, yieldTurn: () => Promise<void>): Promise<Rebuilt> {
  const loaded = await new SnapshotStore(disk, directory, yieldTurn).load(uid);
  const rebuild = new StateRebuild(loaded.state ?? new ReplicaState(uid));
  const { state } = rebuild;
  const log = await SegmentedLog.open(
    {
      disk, directory, logUid: uid, yieldTurn, segmentBytes: Number.MAX_SAFE_INTEGER, maxSegmentAgeMs: Number.MAX_SAFE_INTEGER,
      durability: { mode: 'fsync' }, cacheBytes: 0, syncGate: new SyncGate(1), defer: (task) => task(),
    },
    (buffer, at) => rebuild.visit(buffer, at),
    state.appliedIndex,
  );
  const { lastIndex } = log;
  const aheadOfLog = state.appliedIndex > lastIndex;
  let { fault } = rebuild;
  if (!aheadOfLog && state.appliedIndex < lastIndex) {
    if (fault === '') fault = `entries ${state.appliedIndex + 1} to ${lastIndex} are damaged`;
    state.appliedIndex = lastIndex;
    state.appliedTerm = log.lastTerm;
    state.appliedTime = log.lastAppendTime;
    state.nextOffset = log.nextOffset;
  }
  if (fault !== '') state.logStart = Math.max(state.logStart, log.firstOffset);
  await log.close();
  return { state, lastIndex, fault, aheadOfLog };
}

async function putSnapshotsAside(disk: Disk, directory: string, lastIndex: number): Promise<void> {
  for (const name of (await disk.list(directory)).filter(isSnapshotName)) {
    if (snapshotIndex(name) > lastIndex) await disk.rename(`${directory}/${name}`, `${directory}/${name}.damaged`);
  }
  await disk.syncDirectory(directory);
}
