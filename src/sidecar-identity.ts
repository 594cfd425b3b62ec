// Who this node is: `node.json`, made with the data directory and never guessed again. A directory
// that holds logs without it is not touched: an emptied or half-restored node must not come back
// under an old name, and nothing is deleted because metadata is missing.
//
// The file carries a checksum: a flipped digit of an id would make this another node.
import { isDiskFull } from './index/disk.ts';
import type { Disk } from './index/disk.ts';
import { readWholeFile, replaceFile } from './segment/atomic-file.ts';
import { crc32 } from './wire/checksum.ts';

const PATH = 'node.json';
const FORMAT_VERSION = 1;
const FILE_SIZE_MAX = 64 * 1024;

/** The data directory cannot be used; `message` says what to do. */
export class IdentityError extends Error {
  override name = 'IdentityError';
}

export interface NodeIdentity {
  /** 32 hex digits, random. */
  readonly nodeId: string;
  /** 32 hex digits, random; of the cluster that this node bootstrapped or joined. */
  readonly clusterId: string;
  /** Raised and synced at each start: tells a copied or restored directory from the original. */
  readonly startCount: number;
  /** This is the first start, or one before it never got as far as to make the first log. */
  readonly fresh: boolean;
}

/**
 * Loads or makes the identity and raises its start counter. On a full disk the raised counter is not
 * stored and `noRoom` is told: a node that cannot start cannot be trimmed either. Rejects with
 * IdentityError or DiskError.
 */
export async function openIdentity(
  disk: Disk, randomBytes: (size: number) => Buffer, mayBootstrap: boolean, noRoom: () => void,
): Promise<NodeIdentity> {
  const names = await disk.list('');
  if (!names.includes(PATH)) {
    if (names.includes('logs')) {
      throw new IdentityError(`the data directory has logs but no ${PATH}: put the file back from a backup, or use another --data-dir`);
    }
    if (!mayBootstrap) {
      throw new IdentityError('the data directory is new and --listen is not loopback: give --bootstrap-expect 1 to begin a new cluster of one node');
    }
    return save(disk, { nodeId: randomBytes(16).toString('hex'), clusterId: randomBytes(16).toString('hex'), startCount: 1, fresh: true });
  }
  const stored = await readIdentity(disk);
  const raised = { ...stored, startCount: stored.startCount + 1 };
  try {
    return await save(disk, raised);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    noRoom();
    return raised;
  }
}

/** What the directory says it is, changing nothing. Rejects with IdentityError or DiskError. */
export async function readIdentity(disk: Disk): Promise<NodeIdentity> {
  if (!(await disk.exists(PATH))) throw new IdentityError(`${PATH} is missing: put it back from a backup`);
  return parse((await readWholeFile(disk, PATH, FILE_SIZE_MAX)).toString('utf8'));
}

/** Notes that the first log exists, so that a later start does not make it again once it was deleted. */
export function settleIdentity(disk: Disk, identity: NodeIdentity): Promise<NodeIdentity> {
  return save(disk, { ...identity, fresh: false });
}

async function save(disk: Disk, identity: NodeIdentity): Promise<NodeIdentity> {
  const fields = { format: FORMAT_VERSION, ...identity };
  const text = JSON.stringify({ ...fields, crc32: checksumOf(fields) }, null, 2);
  await replaceFile(disk, PATH, Buffer.from(`${text}\n`));
  return identity;
}

/** Of the fields as one line of JSON, in their order: spaces and line breaks may be changed by an editor. */
function checksumOf(fields: object): string {
  const line = Buffer.from(JSON.stringify(fields));
  return crc32(line, 0, line.length).toString(16).padStart(8, '0');
}

/** Files of before the checksum: these fields and no other, so that a damaged name is not taken for a missing one. */
const FIELDS_WITHOUT_CHECKSUM = 'format,nodeId,clusterId,startCount,fresh';

function isWhole(fields: Record<string, unknown>): boolean {
  const { crc32: stored, ...rest } = fields;
  // What another version calls its checksum is not known here: it is told by its format.
  const { format } = rest;
  if (stored === undefined) return Object.keys(rest).join() === FIELDS_WITHOUT_CHECKSUM || (Number.isInteger(format) && format !== FORMAT_VERSION);
  return stored === checksumOf(rest);
}

function parse(text: string): NodeIdentity {
  let fields: Record<string, unknown> | null;
  try {
    fields = JSON.parse(text) as Record<string, unknown> | null;
  } catch {
    throw damaged();
  }
  if (typeof fields !== 'object' || fields === null || !isWhole(fields)) throw damaged();
  if (fields['format'] !== FORMAT_VERSION) {
    throw new IdentityError(`${PATH} has format ${String(fields['format'])}; this version reads ${FORMAT_VERSION}: use a newer sidelog`);
  }
  const { nodeId, clusterId, startCount, fresh } = fields;
  const isId = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value);
  if (!isId(nodeId) || !isId(clusterId) || !Number.isSafeInteger(startCount) || typeof fresh !== 'boolean') {
    throw damaged();
  }
  return { nodeId, clusterId, startCount: startCount as number, fresh };
}

function damaged(): IdentityError {
  return new IdentityError(`${PATH} is damaged: put it back from a backup`);
}
