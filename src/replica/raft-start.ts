// Starts a log's group from what its log and snapshot hold: which configuration counts, what is committed
// for certain, what may be applied, and what this replica may still promise.
//
// The only voter of its own newest configuration has committed whatever is on its disk: every majority
// is itself. Everybody else knows only what the durable mark and the snapshot say.
// Invariant: nothing is applied that is not committed; a replica that may have forgotten a promise makes
// none (DESIGN §4, Identity).
import { decodeConfiguration } from '../raft/config-codec.ts';
import { EMPTY_CONFIG, isSoleVoter } from '../raft/config.ts';
import type { ConfigEntry, Configuration } from '../raft/config.ts';
import type { DriverOptions } from '../raft/driver/driver.ts';
import type { RaftSettings } from '../raft/settings.ts';
import type { Identity, Index, LogDescription, ReplicaId, Serving } from '../raft/types.ts';
import { DamageError } from '../segment/damage.ts';
import type { RaftStateJournal } from '../segment/journal.ts';
import type { SegmentedLog } from '../segment/log.ts';
import { LogState } from '../segment/log-options.ts';
import { TrimmedError } from '../segment/reader.ts';
import { assert } from '../wire/assert.ts';
import { batchIndex, batchSize } from '../wire/batch.ts';
import { readU32 } from '../wire/bytes.ts';
import { configBatch, isConfigBatch, readConfigBatch } from './raft-entries.ts';
import { readTermRuns } from './raft-log-port.ts';
import { StateRebuild } from './state-rebuild.ts';
import type { ReplicaState } from './state.ts';
import { mut } from '../wire/mut.ts';

const APPLY_BYTES = 4 * 1024 * 1024;

/** Sees every entry behind the snapshot while the log is opened. */
export class RaftScan {
  readonly rebuild: StateRebuild;
  /** The newest configuration of the snapshot (or the founding one), and all behind it. */
  readonly configs: ConfigEntry[] = [];
  /** Not '': a configuration cannot be understood. */
  fault = '';
  readonly #replicaId: ReplicaId;
  /** So far everything seen is committed, because this replica alone was the majority. */
  #committed: boolean;

  /** `founding` counts while neither log nor snapshot has a configuration; it may be empty. */
  constructor(state: ReplicaState, replicaId: ReplicaId, founding: Configuration) {
    this.rebuild = new StateRebuild(state);
    this.#replicaId = replicaId;
    if (state.configuration === null) {
      if (founding.voters.length > 0) this.configs.push({ index: 0, config: founding });
    } else {
      this.#note({ index: state.configIndex, config: decodeConfiguration(state.configuration) });
    }
    this.#committed = this.alone;
  }

  get config(): Configuration {
    return this.configs.at(-1)?.config ?? EMPTY_CONFIG;
  }

  get alone(): boolean {
    return isSoleVoter(this.config, this.#replicaId);
  }

  /** The state is that of no log: entries were damaged, from which on it was followed for readers only. */
  get garbled(): boolean {
    return !this.alone && this.rebuild.fault !== '';
  }

  visit(buffer: Buffer, at: number): void {
    if (isConfigBatch(buffer, at)) {
      this.#note(readConfigBatch(buffer, at) ?? { index: batchIndex(buffer, at), config: null });
      // It needs the majority of the configuration that it makes.
      this.#committed &&= this.alone;
    }
    if (this.#committed) this.rebuild.visit(buffer, at);
  }

  #note(entry: { readonly index: Index; readonly config: Configuration | null }): void {
    if (entry.config === null) this.fault = `the configuration in entry ${entry.index} cannot be understood`;
    else this.configs.push({ index: entry.index, config: entry.config });
  }

  /** Applies what is known to be committed and was not applied while scanning. Rejects with DiskError. */
  async applyCommitted(log: SegmentedLog): Promise<void> {
    const { rebuild } = this;
    const { state } = rebuild;
    const to = this.alone ? log.lastIndex : Math.min(log.commitIndex, log.lastIndex);
    try {
      while (state.appliedIndex < to && rebuild.fault === '') {
        const { buffers } = await log.read(state.appliedIndex + 1, APPLY_BYTES, to);
        for (const buffer of buffers) {
          for (let at = 0; at < buffer.length; at += batchSize(buffer, at)) rebuild.visit(buffer, at);
        }
      }
    } catch (error) {
      // No snapshot is whole, so what stood below the log's first entry is known to its peers alone.
      if (error instanceof TrimmedError) rebuild.fault = `no snapshot is whole, and ${error.message}`;
      else if (!(error instanceof DamageError)) throw error;
      // Peers have what is damaged here: the rest is applied when it is repaired.
      else if (this.alone) rebuild.fault = `entries behind the last snapshot are damaged: ${error.message}`;
    }
  }
}

/**
 * Founders of a group of several write its configuration as their logs' first entry, the same bytes on
 * each, before any of them says a word; so the log itself says who votes. Rejects with DiskError.
 */
export async function writeFounding(log: SegmentedLog, scan: RaftScan, founding: Configuration, createdMs: number, lost: boolean): Promise<void> {
  if (log.lastIndex > 0 || scan.alone || founding.voters.length === 0) return;
  // Its end was lost with everything in it: so is this replica, and it writes nothing.
  if (lost || log.state === LogState.READ_ONLY) return;
  const batch = configBatch(founding);
  log.append(batch, 0, batch.length, 1, createdMs);
  await log.whenIdle();
  if (log.failure !== null) throw log.failure;
  assert(log.durableIndex === 1, 'the founding configuration is on disk');
  scan.configs.push({ index: 1, config: founding });
}

export interface RaftStart {
  readonly identity: Identity;
  /** Grows with each start of the node. */
  readonly incarnation: number;
  readonly settings: RaftSettings;
  readonly randomBytes: (size: number) => Buffer;
  readonly journal: RaftStateJournal;
  readonly logUid: Buffer;
  readonly log: SegmentedLog;
  readonly scan: RaftScan;
  /** Why the log takes no records; '' = it does. */
  readonly stopped: string;
}

/** What the core is told at its start. Rejects with DiskError or DamageError. */
export async function describeStart(start: RaftStart): Promise<DriverOptions> {
  const { identity, incarnation, settings, randomBytes, journal, logUid, log, scan, stopped } = start;
  const stored = journal.get(logUid, identity.replicaId);
  return {
    identity,
    settings,
    random: (bound) => readU32(randomBytes(4), 0) % bound,
    hardState: { term: stored?.term ?? 0, vote: stored?.vote ?? 0, inDoubt: journal.inDoubt },
    log: await describeLog(log, scan, stopped),
    serving: servingOf(start, isLost(journal, logUid, identity.replicaId)),
    incarnation,
  };
}

/** Whether raft-state has forgotten what this replica promised, or may have. */
export function isLost(journal: RaftStateJournal, logUid: Buffer, replicaId: ReplicaId): boolean {
  const stored = journal.get(logUid, replicaId);
  return stored === null ? journal.mayMissReplicas : stored.state === 'lost';
}

/** The only voter of its own newest configuration is never lost: it goes on in a term above any in its log. */
function servingOf({ log, scan, stopped }: RaftStart, lost: boolean): Serving {
  const forgetful = lost || log.state === LogState.READ_ONLY;
  if (forgetful && !scan.alone && !mut('lost-replica-goes-on')) return 'lost';
  if (stopped !== '') return 'stopped';
  return scan.garbled || (!scan.alone && log.damage.length > 0) ? 'damaged' : 'ready';
}

async function describeLog(log: SegmentedLog, scan: RaftScan, stopped: string): Promise<LogDescription> {
  const { firstIndex, lastIndex, lastTerm } = log;
  // What cannot be applied is not the core's affair: it is told that nothing is left to do.
  const applied = stopped === '' ? appliedOf(log, scan) : lastIndex;
  const known = scan.alone || stopped !== '' ? lastIndex : Math.min(lastIndex, Math.max(applied, log.commitIndex));
  // Whoever is the whole group is asked for nothing old.
  const whole = scan.alone && scan.config.learners.length === 0;
  const newest = [{ fromIndex: lastIndex, term: lastTerm }];
  return {
    firstIndex,
    baseTerm: log.termAt(firstIndex - 1),
    lastIndex,
    runs: lastIndex < firstIndex ? [] : whole ? newest : await readTermRuns(log, lastIndex),
    commitIndex: known,
    appliedIndex: applied,
    configs: scan.configs,
  };
}

/** What the core may take for applied: of a state that is garbled nothing that it could contradict. */
function appliedOf(log: SegmentedLog, scan: RaftScan): Index {
  const { appliedIndex } = scan.rebuild.state;
  return scan.garbled ? Math.max(log.firstIndex - 1, Math.min(appliedIndex, log.commitIndex, log.lastIndex)) : appliedIndex;
}
