// Opens one log: newest valid snapshot, then the entries behind it, then the group that leads it. What
// is found damaged decides whether the log takes records, never whether it can be read.
//
// Invariant: when this resolves, the applied state is that of the last entry, every entry is durable
// and committed, and a term above all earlier ones is on disk; or the log says why it takes no records.
import { Durability } from '../wire/ops.ts';
import { describeDamage } from '../segment/damage.ts';
import { segmentFirstIndex } from '../segment/head.ts';
import { SegmentedLog } from '../segment/log.ts';
import { LogState } from '../segment/log-options.ts';
import type { Durability as SegmentDurability, LogOptions } from '../segment/log-options.ts';
import type { NodeContext } from './context.ts';
import { LogReplica } from './log-replica.ts';
import { segmentAgeMsMax } from './log-settings.ts';
import type { LogDescriptor, LogSettings } from './log-settings.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { SnapshotStore } from './snapshot-store.ts';
import { SoloGroup } from './solo-group.ts';
import { StateRebuild } from './state-rebuild.ts';
import { ReplicaState } from './state.ts';

export interface OpenLog {
  readonly replica: LogReplica;
  readonly upkeep: LogUpkeep;
}

/** Ticks may be so far apart: an interval is kept to within it, a shorter one by syncing each write. */
const TICK_MS = 50;

/** Rejects with DiskError, DamageError or Error when not even a read-only log can be had. */
export async function openLog(context: NodeContext, descriptor: LogDescriptor, directory: string): Promise<OpenLog> {
  const uid = Buffer.from(descriptor.uid, 'hex');
  const snapshots = new SnapshotStore(context.disk, directory, context.yieldTurn);
  const loaded = await snapshots.load(uid);
  for (const damage of loaded.damaged) context.logEvent('error', 'snapshot damaged', { log: descriptor.name, damage });
  const rebuild = new StateRebuild(loaded.state ?? new ReplicaState(uid));
  const log = await openSegments(context, descriptor, uid, directory, rebuild);
  const stopped = whyStopped(context, descriptor, log, rebuild);
  const group = await SoloGroup.open({
    log,
    journal: context.journal,
    logUid: uid,
    replicaId: descriptor.replicaId,
    stopped,
    diskFull: () => context.space.exhausted(),
  });
  const replica = new LogReplica(context, descriptor, log, group, rebuild.state);
  if (group.refusal === 0) {
    // All that was recovered is committed: there is no tail to show.
    replica.elected();
    replica.leading();
  }
  return { replica, upkeep: new LogUpkeep(context, replica, snapshots) };
}

async function openSegments(
  context: NodeContext, descriptor: LogDescriptor, uid: Buffer, directory: string, rebuild: StateRebuild,
): Promise<SegmentedLog> {
  const { disk, journal } = context;
  const options = logOptions(context, descriptor, uid, directory);
  const names = await disk.list(directory);
  const isNew = !names.some((name) => segmentFirstIndex(name) > 0);
  const entered = journal.mayMissReplicas || journal.get(uid, descriptor.replicaId) !== null;
  if (isNew && !entered) return SegmentedLog.create(options);
  return SegmentedLog.open(options, (buffer, at) => rebuild.visit(buffer, at), rebuild.state.appliedIndex);
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

/** Why the log can be read only; '' when it takes records. */
function whyStopped(context: NodeContext, descriptor: LogDescriptor, log: SegmentedLog, rebuild: StateRebuild): string {
  const repair = `run "sidelog verify --accept-loss" on the data directory to go on without what is damaged`;
  for (const damage of log.damage) {
    context.logEvent('error', 'damage found', { log: descriptor.name, damage: describeDamage(damage) });
  }
  if (log.state === LogState.READ_ONLY) return `how much of the log was durable is not known; ${repair}`;
  if (rebuild.fault !== '') return `${rebuild.fault}; ${repair}`;
  if (rebuild.state.appliedIndex > log.lastIndex) return `entries below a snapshot are missing at the end; ${repair}`;
  if (rebuild.state.appliedIndex < log.lastIndex) return `entries behind the last snapshot are damaged; ${repair}`;
  return '';
}
