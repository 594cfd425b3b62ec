// A log's settings and its `log.json`: what was asked for at creation, what may be altered, and how
// it lies on disk. Pure: no files here.
//
// Invariant: a file that decodes has a checksum that holds and settings that a CREATE_LOG could have
// made; anything else is an error value for the caller, who must never delete a log because of it.
import { crc32 } from '../wire/checksum.ts';
import { COMPRESSIONS_DEFAULT, Durability } from '../wire/ops.ts';

/** Segments are between 1 MiB (index overhead) and 1 GiB (u32 positions with room to spare). */
export const SEGMENT_BYTES_MIN = 1024 * 1024;
export const SEGMENT_BYTES_MAX = 1024 * 1024 * 1024;
export const SEGMENT_BYTES_DEFAULT = 64 * 1024 * 1024;

/** A sync interval beyond this is no durability worth a name. */
export const INTERVAL_MS_MAX = 60_000;

/** Bit n = compression n of the batch attributes: none, gzip, zstd. */
const COMPRESSIONS_KNOWN = 0b111;

/** Longest roll age of a segment, whatever the retention. */
const SEGMENT_AGE_MS_MAX = 7 * 24 * 3600 * 1000;

export interface LogSettings {
  durability: Durability;
  /** Milliseconds between syncs with durability `interval`, else 0. */
  intervalMs: number;
  /** The wished number of voters: 1, 3 or 5. */
  replication: number;
  /** Bytes of data to keep; 0 = all. */
  retainBytes: number;
  /** Milliseconds to keep records; 0 = for ever. */
  retainMs: number;
  segmentBytes: number;
  /** Mask of accepted compressions (bit n = compression n), never 0. */
  compressions: number;
}

/** What DESCRIBE_LOG says besides the settings. */
export interface LogFigures {
  readonly logStart: number;
  readonly committedEnd: number;
  readonly fence: number;
  readonly bytes: number;
  readonly term: number;
}

/** A replica of a log and its node (32 hex digits). */
export interface GroupMember {
  readonly replicaId: number;
  readonly nodeId: string;
}

export interface LogDescriptor {
  /** 32 hex digits. */
  readonly uid: string;
  readonly name: string;
  readonly createdMs: number;
  readonly replicaId: number;
  /** Who founded the group, where that is not this replica alone; none = it joins one that there is. */
  readonly voters?: readonly GroupMember[] | undefined;
  readonly settings: LogSettings;
  /** Set once DELETE_LOG was accepted: from then on the folder belongs to the trash. */
  readonly deletedMs?: number | undefined;
  /** As it was at the deletion. */
  readonly figures?: LogFigures | undefined;
  /** Of a log brought back from the trash: the log_uid that its segments may still name. */
  readonly formerUid?: string | undefined;
}

/** What is wrong with a wish for settings: the protocol's field name, and the bound if there is one. */
export interface SettingsFault {
  readonly field: string;
  readonly message: string;
  readonly limit?: number;
}

/** Settings as CREATE_LOG names them: zeros mean the default. */
export interface SettingsWish {
  durability: number;
  replication: number;
  intervalMs: number;
  retainBytes: number;
  retainMs: number;
  segmentBytes: number;
  compressions: number;
}

/** Applies defaults and checks; a fault names the field as protocol v1 does. */
export function settingsFromWish(wish: SettingsWish, segmentBytesDefault: number): LogSettings | SettingsFault {
  if (wish.durability !== 1 && wish.durability !== 2 && wish.durability !== 3) {
    return { field: 'durability', message: 'durability is 1 (fsync), 2 (interval) or 3 (memory)' };
  }
  const replicationFault = faultOfReplication(wish.replication, wish.durability);
  if (replicationFault !== null) return replicationFault;
  const interval = wish.durability === Durability.INTERVAL;
  if (interval && (wish.intervalMs < 1 || wish.intervalMs > INTERVAL_MS_MAX)) {
    return { field: 'interval_ms', message: `interval_ms is 1 to ${INTERVAL_MS_MAX}`, limit: INTERVAL_MS_MAX };
  }
  const segmentBytes = wish.segmentBytes === 0 ? segmentBytesDefault : wish.segmentBytes;
  if (segmentBytes < SEGMENT_BYTES_MIN || segmentBytes > SEGMENT_BYTES_MAX) {
    const limit = segmentBytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : SEGMENT_BYTES_MAX;
    return { field: 'segment_bytes', message: `segment_bytes is ${SEGMENT_BYTES_MIN} to ${SEGMENT_BYTES_MAX}`, limit };
  }
  const compressions = wish.compressions === 0 ? COMPRESSIONS_DEFAULT : wish.compressions;
  if ((compressions & ~COMPRESSIONS_KNOWN) !== 0) {
    return { field: 'compressions', message: 'compressions is a mask of bits 0 (none), 1 (gzip), 2 (zstd)' };
  }
  return {
    durability: wish.durability,
    intervalMs: interval ? wish.intervalMs : 0,
    replication: wish.replication === 0 ? 1 : wish.replication,
    retainBytes: wish.retainBytes,
    retainMs: wish.retainMs,
    segmentBytes,
    compressions,
  };
}

/** Settings after ALTER_LOG; -1 (NONE) and 0 for the last two leave a value as it is. */
export function alteredSettings(
  settings: LogSettings,
  wish: { retainBytes: number; retainMs: number; replication: number; compressions: number },
): LogSettings | SettingsFault {
  if (wish.replication !== 0) {
    const fault = faultOfReplication(wish.replication, settings.durability);
    if (fault !== null) return fault;
  }
  if ((wish.compressions & ~COMPRESSIONS_KNOWN) !== 0) {
    return { field: 'compressions', message: 'compressions is a mask of bits 0 (none), 1 (gzip), 2 (zstd)' };
  }
  return {
    ...settings,
    retainBytes: wish.retainBytes === -1 ? settings.retainBytes : wish.retainBytes,
    retainMs: wish.retainMs === -1 ? settings.retainMs : wish.retainMs,
    replication: wish.replication === 0 ? settings.replication : wish.replication,
    compressions: wish.compressions === 0 ? settings.compressions : wish.compressions,
  };
}

export function isFault(value: LogSettings | SettingsFault): value is SettingsFault {
  return 'field' in value;
}

function faultOfReplication(replication: number, durability: number): SettingsFault | null {
  if (replication !== 0 && replication !== 1 && replication !== 3 && replication !== 5) {
    return { field: 'replication', message: 'replication is 1, 3 or 5' };
  }
  // A replica that lost acked entries must not vote, and these two may lose them in a power cut.
  if (durability !== Durability.FSYNC && replication > 1) {
    return { field: 'replication', message: 'replication above 1 needs durability fsync' };
  }
  return null;
}

/** Age at which a segment rolls: half the retention, so that age can be honoured within 1.5 times it. */
export function segmentAgeMsMax(settings: LogSettings): number {
  if (settings.retainMs === 0) return SEGMENT_AGE_MS_MAX;
  return Math.min(SEGMENT_AGE_MS_MAX, Math.max(1, Math.floor(settings.retainMs / 2)));
}

const FORMAT = 1;

/** `log.json`: one line of JSON, and a line with the CRC-32 of the first. */
export function encodeDescriptor(descriptor: LogDescriptor): Buffer {
  const line = Buffer.from(`${JSON.stringify({ format: FORMAT, ...descriptor })}\n`, 'utf8');
  return Buffer.concat([line, Buffer.from(`crc32 ${checksumOf(line)}\n`, 'latin1')]);
}

/** Returns the descriptor, or why the bytes are not one. */
export function decodeDescriptor(bytes: Buffer): LogDescriptor | string {
  const end = bytes.indexOf(0x0a);
  if (end === -1) return 'no complete line';
  const line = bytes.subarray(0, end + 1);
  const trailer = bytes.subarray(end + 1).toString('latin1');
  if (trailer !== `crc32 ${checksumOf(line)}\n`) return 'checksum does not hold';
  let value: unknown;
  try {
    value = JSON.parse(line.toString('utf8'));
  } catch {
    return 'not JSON';
  }
  return descriptorOf(value);
}

function descriptorOf(value: unknown): LogDescriptor | string {
  if (typeof value !== 'object' || value === null) return 'not an object';
  const json = value as Record<string, unknown>;
  if (json['format'] !== FORMAT) return `format ${String(json['format'])} is not ${FORMAT}`;
  const { uid, name, createdMs, replicaId, voters, settings, deletedMs, figures, formerUid } = json;
  if (!isUid(uid)) return 'uid is not 32 hex digits';
  if (typeof name !== 'string' || name === '') return 'name is missing';
  if (!isCount(createdMs)) return 'createdMs is not a time';
  if (!isCount(replicaId)) return 'replicaId is not a number';
  if (voters !== undefined && !areMembers(voters)) return 'voters are not replicas of nodes';
  if (typeof settings !== 'object' || settings === null) return 'settings are missing';
  const wish = settings as Record<string, unknown>;
  for (const key of ['durability', 'intervalMs', 'replication', 'retainBytes', 'retainMs', 'segmentBytes', 'compressions']) {
    if (!isCount(wish[key])) return `settings.${key} is not a number`;
  }
  const checked = settingsFromWish(settings as SettingsWish, SEGMENT_BYTES_DEFAULT);
  if (isFault(checked)) return checked.message;
  if (deletedMs !== undefined && !isCount(deletedMs)) return 'deletedMs is not a time';
  if (formerUid !== undefined && !isUid(formerUid)) return 'formerUid is not 32 hex digits';
  if (figures !== undefined && !areFigures(figures)) return 'figures are not numbers';
  const founders = voters === undefined ? {} : { voters };
  return { uid, name, createdMs, replicaId, ...founders, settings: checked, deletedMs, figures, formerUid };
}

function isUid(value: unknown): value is string {
  return typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
}

function areMembers(value: unknown): value is GroupMember[] {
  if (!Array.isArray(value)) return false;
  return value.every((one: Record<string, unknown> | null) => isCount(one?.['replicaId']) && isUid(one?.['nodeId']));
}

function areFigures(value: unknown): value is LogFigures {
  if (typeof value !== 'object' || value === null) return false;
  const json = value as Record<string, unknown>;
  return ['logStart', 'committedEnd', 'fence', 'bytes', 'term'].every((key) => isCount(json[key]));
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function checksumOf(line: Buffer): string {
  return crc32(line, 0, line.length).toString(16).padStart(8, '0');
}
