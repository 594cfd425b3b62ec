// Opens one log: newest valid snapshot, then the entries behind it, then its group. What is found damaged
// decides whether the log takes records, never whether it can be read.
//
// Invariant: when this resolves, every entry that is known to be committed is applied; and a lone voter
// leads, in a term above all earlier ones that is on disk, or the log says why it takes no records.
import { ErrorCode } from '../wire/errors.ts';
import { Durability } from '../wire/ops.ts';
import { describeDamage } from '../segment/damage.ts';
import type { Configuration } from '../raft/config.ts';
import type { Disk } from '../index/disk.ts';
import { segmentFirstIndex } from '../segment/head.ts';
import { listSegments } from '../segment/heads-read.ts';
import { SegmentedLog } from '../segment/log.ts';
import { LogState } from '../segment/log-options.ts';
import type { Durability as SegmentDurability, LogOptions } from '../segment/log-options.ts';
import type { NodeContext } from './context.ts';
import { LogReplica } from './log-replica.ts';
import { segmentAgeMsMax } from './log-settings.ts';
import type { LogDescriptor, LogSettings } from './log-settings.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { SnapshotStore } from './snapshot-store.ts';
import { removeOtherGenerations } from './generations.ts';
import { RaftGroup } from './raft-group.ts';
import type { CatchUpOptions } from './raft-group-options.ts';
import type { Replacement } from './catch-up/replacement.ts';
import { Staging } from './catch-up/staging.ts';
import type { StagingOptions } from './catch-up/staging.ts';
import { baseName, parentPath } from '../index/disk-path.ts';
import { describeStart, isLost, RaftScan, writeFounding } from './raft-start.ts';
import { ReplicaState } from './state.ts';

export interface OpenLog {
  readonly replica: LogReplica;
  readonly group: RaftGroup;
  readonly upkeep: LogUpkeep;
}

/** Ticks may be so far apart: an interval is kept to within it, a shorter one by syncing each write. */
const TICK_MS = 50;

/** Rejects with DiskError, DamageError or Error when not even a read-only log can be had. */
export async function openLog(
  context: NodeContext, descriptor: LogDescriptor, directory: string, reinstall: (replica: LogReplica, replacement: Replacement) => Promise<void>,
): Promise<OpenLog> {
  const folder = parentPath(directory);
  await removeOtherGenerations(context.disk, folder, baseName(directory));

  const uid = Buffer.from(descriptor.uid, 'hex');
  const snapshots = new SnapshotStore(context.disk, directory, context.yieldTurn);
  const loaded = await snapshots.load(uid);
  // Without it the state of what was trimmed would be forgotten, and that would be written down.
  if (loaded.state === null && loaded.unreadable !== null && (await isTrimmed(context.disk, directory))) throw loaded.unreadable;
  for (const damage of loaded.damaged) context.logEvent('error', 'snapshot damaged', { log: descriptor.name, damage });
  const { nodeId } = context.raft;
  const { replicaId } = descriptor;
  const founding: Configuration = { voters: descriptor.voters ?? [{ replicaId, nodeId }], learners: [] };
  const scan = new RaftScan(loaded.state ?? new ReplicaState(uid), replicaId, founding);
  const log = await openSegments(context, descriptor, uid, directory, scan);
  let upkeep: LogUpkeep | null = null;
  let group: RaftGroup;
  let stateLags: boolean;
  try {
    await writeFounding(log, scan, founding, descriptor.createdMs, isLost(context.journal, uid, replicaId));
    await scan.applyCommitted(log);
    stateLags = lags(log, scan);
    const stopped = whyStopped(context, descriptor, log, scan);
    group = await openGroup(context, descriptor, log, scan, stopped, {
      disk: context.disk,
      snapshot: () => upkeep!.freshSnapshot(),
      stage: (offer) => Staging.begin(stagingOptions(context, descriptor, directory), offer),
      install: (replacement) => reinstall(upkeep!.replica, replacement),
    });
  } catch (error) {
    // Whoever asks again opens it again: what is left open now stays open for ever.
    await log.close().catch(() => {});
    throw error;
  }
  const replica = new LogReplica(context, descriptor, log, group, scan.rebuild.state);
  if (scan.garbled) replica.readRefusal = ErrorCode.LOG_STOPPED;
  replica.stateLags = stateLags;
  replica.onBroken = (error) => group.broken(`the log and its state disagree: ${error.message}`);
  upkeep = new LogUpkeep(context, replica, snapshots);
  group.begin();
  return { replica, group, upkeep };
}

async function isTrimmed(disk: Disk, directory: string): Promise<boolean> {
  return (listSegments(await disk.list(directory))[0] ?? 1) > 1;
}

function stagingOptions(context: NodeContext, descriptor: LogDescriptor, directory: string): StagingOptions {
  const logUid = Buffer.from(descriptor.uid, 'hex');
  return {
    disk: context.disk, folder: parentPath(directory), current: baseName(directory), logUid, yieldTurn: context.yieldTurn,
    logOptions: (staged) => logOptions(context, descriptor, logUid, staged),
  };
}

async function openGroup(
  context: NodeContext, descriptor: LogDescriptor, log: SegmentedLog, scan: RaftScan, stopped: string, catchUp: CatchUpOptions,
): Promise<RaftGroup> {
  const { journal, randomBytes, clock, defer, raft } = context;
  const { clusterId, nodeId, settings, transport, watch } = raft;
  const { uid, replicaId } = descriptor;
  const logUid = Buffer.from(uid, 'hex');
  const identity = { clusterId, logUid: uid, nodeId, replicaId };
  const start = { identity, incarnation: raft.nextIncarnation(), settings, randomBytes, journal, logUid, log, scan, stopped };
  return RaftGroup.open({
    log,
    journal,
    logUid,
    raft: await describeStart(start),
    transport,
    watch,
    nowMs: () => clock.nowMs(),
    defer,
    stopped,
    garbled: scan.garbled,
    diskFull: () => context.space.exhausted(),
    catchUp,
    report: (event, reason) => context.logEvent('warn', event, { log: descriptor.name, reason }),
  });
}

async function openSegments(
  context: NodeContext, descriptor: LogDescriptor, uid: Buffer, directory: string, scan: RaftScan,
): Promise<SegmentedLog> {
  const { disk, journal } = context;
  const options = logOptions(context, descriptor, uid, directory);
  const names = await disk.list(directory);
  const isNew = !names.some((name) => segmentFirstIndex(name) > 0);
  const entered = journal.mayMissReplicas || journal.get(uid, descriptor.replicaId) !== null;
  // One that is lost takes no part any more, and can say so only from an open log.
  const isGivenUp = !scan.alone && isLost(journal, uid, descriptor.replicaId);
  if (isNew && (!entered || isGivenUp)) return SegmentedLog.create(options);
  return SegmentedLog.open(options, (buffer, at) => scan.visit(buffer, at), scan.rebuild.state.appliedIndex);
}

function logOptions(context: NodeContext, descriptor: LogDescriptor, uid: Buffer, directory: string): LogOptions {
  const { settings } = descriptor;
  return {
    disk: context.disk,
    directory,
    logUid: uid,
    segmentBytes: settings.segmentBytes,
    maxSegmentAgeMs: segmentAgeMsMax(settings),
    durability: segmentDurability(settings),
    cacheBytes: context.cacheBytes,
    syncGate: context.syncGate,
    defer: context.defer,
    yieldTurn: context.yieldTurn,
    slabs: context.slabs,
    handles: context.handles,
  };
}

function segmentDurability(settings: LogSettings): SegmentDurability {
  switch (settings.durability) {
    case Durability.FSYNC:
      return { mode: 'fsync' };
    case Durability.INTERVAL: {
      const ms = settings.intervalMs - TICK_MS;
      return ms > 0 ? { mode: 'interval', ms } : { mode: 'fsync' };
    }
    default:
      return { mode: 'memory' };
  }
}

/** Whether a lone voter's state may lack what it has acked; of several, the others know it. */
function lags(log: SegmentedLog, { alone, rebuild }: RaftScan): boolean {
  return alone && (log.state === LogState.READ_ONLY || rebuild.fault !== '' || rebuild.state.appliedIndex < log.lastIndex);
}

/** Why the log can be read only; '' when it takes records. */
function whyStopped(context: NodeContext, descriptor: LogDescriptor, log: SegmentedLog, scan: RaftScan): string {
  const { rebuild } = scan;
  const repair = `run "sidelog verify --accept-loss" on the data directory to go on without what is damaged`;
  for (const damage of log.damage) {
    context.logEvent('error', 'damage found', { log: descriptor.name, damage: describeDamage(damage) });
  }
  if (log.state === LogState.READ_ONLY) return `how much of the log was durable is not known; ${repair}`;
  if (scan.fault !== '') return `${scan.fault}; ${repair}`;
  // Peers have what is damaged here.
  if (!scan.alone) return '';
  if (rebuild.fault !== '') return `${rebuild.fault}; ${repair}`;
  if (rebuild.state.appliedIndex > log.lastIndex) return `entries below a snapshot are missing at the end; ${repair}`;
  if (rebuild.state.appliedIndex < log.lastIndex) return `entries behind the last snapshot are damaged; ${repair}`;
  return '';
}
