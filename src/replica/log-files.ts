// The folders of logs on disk: `logs/<uid>/` with log.json, CURRENT and a generation folder, and
// `trash/<uid>/` with the same. Which names mean what, and the order of syncs that makes creating,
// altering and deleting atomic. It opens no segment and keeps nothing in memory.
//
//   logs/tmp-<uid>       being created: removed at start
//   logs/restore-<uid>   being brought back from the trash under that uid: finished at start
//
// Invariant: a folder named by a uid is complete; nothing is removed because a file in it is damaged.
import type { Disk } from '../index/disk.ts';
import { readWholeFile, replaceFile } from '../segment/atomic-file.ts';
import { messageOf } from '../segment/disk-advice.ts';
import type { RaftStateRecord } from '../segment/journal-record.ts';
import { CURRENT, FIRST_GENERATION, GENERATION } from './generations.ts';
import { decodeDescriptor, encodeDescriptor } from './log-settings.ts';
import type { LogDescriptor } from './log-settings.ts';
import { RestoreError } from './restore.ts';

export const LOGS = 'logs';
export const TRASH = 'trash';
const DESCRIPTOR = 'log.json';
const TEMPORARY = 'tmp-';
const RESTORING = 'restore-';
const UID = /^[0-9a-f]{32}$/;

/** log.json and CURRENT have some hundred bytes. */
const FILE_BYTES_MAX = 64 * 1024;

/** Folders read at once at start: enough to keep a disk busy, few enough for the descriptors. */
const READS_AT_ONCE = 16;

export interface FoundLog {
  readonly folder: string;
  readonly uid: string;
  /** What its log.json says, or why it cannot be read. */
  readonly descriptor: LogDescriptor | string;
}

export interface FoundFolders {
  readonly logs: FoundLog[];
  /** Undeletes that a crash interrupted. */
  readonly restoring: FoundLog[];
}

export class LogFiles {
  readonly #disk: Disk;

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Makes the two folders. */
  async prepare(): Promise<void> {
    for (const folder of [LOGS, TRASH]) {
      if (!(await this.#disk.exists(folder))) await this.#disk.makeDirectory(folder);
    }
    await this.#disk.syncDirectory('');
  }

  /** All living logs; what a crash left half-made is removed. */
  async findLogs(): Promise<FoundFolders> {
    const uids: string[] = [];
    const restoring: FoundLog[] = [];
    for (const name of await this.#disk.list(LOGS)) {
      if (UID.test(name)) uids.push(name);
      else if (name.startsWith(TEMPORARY)) await this.#disk.removeTree(`${LOGS}/${name}`);
      else if (name.startsWith(RESTORING)) restoring.push(await this.#read(`${LOGS}/${name}`, name.slice(RESTORING.length)));
    }
    return { logs: await this.#readAll(LOGS, uids), restoring };
  }

  /** All living logs, changing nothing; those that are being restored too. */
  async look(): Promise<FoundLog[]> {
    const names = (await this.#disk.exists(LOGS)) ? await this.#disk.list(LOGS) : [];
    const restoring = names.filter((name) => name.startsWith(RESTORING));
    const found = await this.#readAll(LOGS, names.filter((name) => UID.test(name)));
    for (const name of restoring) found.push(await this.#read(`${LOGS}/${name}`, name.slice(RESTORING.length)));
    return found;
  }

  async findTrash(): Promise<FoundLog[]> {
    const names = (await this.#disk.exists(TRASH)) ? await this.#disk.list(TRASH) : [];
    return this.#readAll(TRASH, names.filter((name) => UID.test(name)));
  }

  async #readAll(root: string, uids: readonly string[]): Promise<FoundLog[]> {
    const found: FoundLog[] = [];
    for (let i = 0; i < uids.length; i += READS_AT_ONCE) {
      found.push(...(await Promise.all(uids.slice(i, i + READS_AT_ONCE).map((uid) => this.#read(`${root}/${uid}`, uid)))));
    }
    return found;
  }

  async #read(folder: string, uid: string): Promise<FoundLog> {
    try {
      const descriptor = decodeDescriptor(await readWholeFile(this.#disk, `${folder}/${DESCRIPTOR}`, FILE_BYTES_MAX));
      return { folder, uid, descriptor };
    } catch (error) {
      return { folder, uid, descriptor: messageOf(error) };
    }
  }

  /** A new log's folder, complete and durable when it resolves. Rejects with DiskError. */
  async create(descriptor: LogDescriptor): Promise<void> {
    const disk = this.#disk;
    const folder = `${LOGS}/${TEMPORARY}${descriptor.uid}`;
    await disk.makeDirectory(folder);
    await disk.makeDirectory(`${folder}/${FIRST_GENERATION}`);
    await writeNew(disk, `${folder}/${DESCRIPTOR}`, encodeDescriptor(descriptor));
    await writeNew(disk, `${folder}/${CURRENT}`, Buffer.from(`${FIRST_GENERATION}\n`));
    await disk.syncDirectory(folder);
    await disk.rename(folder, `${LOGS}/${descriptor.uid}`);
    await disk.syncDirectory(LOGS);
  }

  /**
   * Removes what `create` of this uid left behind when it failed. Rejects with DiskError when the next
   * start may find the log all the same.
   */
  async discard(uid: string): Promise<void> {
    const disk = this.#disk;
    const temporary = `${LOGS}/${TEMPORARY}${uid}`;
    if (await disk.exists(`${LOGS}/${uid}`)) await disk.rename(`${LOGS}/${uid}`, temporary);
    // Also when another attempt has moved it: its sync may be what failed.
    await disk.syncDirectory(LOGS);
    await disk.removeTree(temporary).catch(() => {});
  }

  async writeDescriptor(folder: string, descriptor: LogDescriptor): Promise<void> {
    await replaceFile(this.#disk, `${folder}/${DESCRIPTOR}`, encodeDescriptor(descriptor));
  }

  /** The generation folder that counts. Rejects with DiskError, or RestoreError when none can be told. */
  async generationFolder(folder: string): Promise<string> {
    const text = await readWholeFile(this.#disk, `${folder}/${CURRENT}`, FILE_BYTES_MAX).then(
      (bytes) => bytes.toString('latin1').trim(),
      () => '',
    );
    if (GENERATION.test(text) && (await this.#disk.exists(`${folder}/${text}`))) return `${folder}/${text}`;
    const found = (await this.#disk.list(folder)).filter((name) => GENERATION.test(name));
    if (found.length !== 1) throw new RestoreError(`${folder}/${CURRENT} is damaged, and ${found.length} generations are there`);
    return `${folder}/${found[0]!}`;
  }

  /** Moves a log whose descriptor says `deletedMs` to the trash, durably; an earlier replica of it that lies there goes. */
  async moveToTrash(uid: string): Promise<void> {
    // It was moved already where only a sync has failed before.
    if (await this.#disk.exists(`${LOGS}/${uid}`)) {
      if (await this.#disk.exists(`${TRASH}/${uid}`)) await this.removeTrash(uid);
      await this.#disk.rename(`${LOGS}/${uid}`, `${TRASH}/${uid}`);
    }
    await this.#disk.syncDirectory(TRASH);
    await this.#disk.syncDirectory(LOGS);
  }

  /**
   * Takes a log out of the trash to be restored under another uid; returns its folder. `again`: this was
   * tried with the same uid before, and came as far as it came.
   */
  async beginRestore(trashUid: string, descriptor: LogDescriptor, again = false): Promise<string> {
    const folder = `${LOGS}/${RESTORING}${descriptor.uid}`;
    for (const moved of again ? [folder, `${LOGS}/${descriptor.uid}`] : []) {
      if (!(await this.#disk.exists(moved))) continue;
      await this.writeDescriptor(moved, descriptor);
      await this.#disk.syncDirectory(LOGS);
      await this.#disk.syncDirectory(TRASH);
      return moved;
    }
    // The new descriptor first: from then on a start knows what the folder is to become.
    await this.writeDescriptor(`${TRASH}/${trashUid}`, descriptor);
    await this.#disk.rename(`${TRASH}/${trashUid}`, folder);
    await this.#disk.syncDirectory(LOGS);
    await this.#disk.syncDirectory(TRASH);
    return folder;
  }

  async endRestore(folder: string, uid: string): Promise<void> {
    if (folder !== `${LOGS}/${uid}`) await this.#disk.rename(folder, `${LOGS}/${uid}`);
    await this.#disk.syncDirectory(LOGS);
  }

  /** Removes a deleted log for good. */
  async removeTrash(uid: string): Promise<void> {
    await this.#disk.removeTree(`${TRASH}/${uid}`);
    await this.#disk.syncDirectory(TRASH);
  }
}

/** Uids of replicas that live by the journal and have no folder: lost with everything that was in it. */
export function missingFolders(entries: readonly RaftStateRecord[], found: readonly FoundLog[]): string[] {
  // Of a log that this node has had several replicas of the last one counts.
  const newest = new Map<string, RaftStateRecord>();
  for (const entry of entries) {
    const uid = entry.logUid.toString('hex');
    if (entry.replicaId > (newest.get(uid)?.replicaId ?? 0)) newest.set(uid, entry);
  }
  for (const { folder, uid, descriptor } of found) {
    const mayBeOlder = folder.startsWith(`${TRASH}/`) && typeof descriptor !== 'string';
    if (!mayBeOlder || descriptor.replicaId >= (newest.get(uid)?.replicaId ?? 0)) newest.delete(uid);
  }
  return [...newest].filter(([, { state }]) => state !== 'removed').map(([uid]) => uid);
}

/** A file in a folder that nobody reads yet: its name is made durable with the others. */
async function writeNew(disk: Disk, path: string, bytes: Buffer): Promise<void> {
  const file = await disk.open(path, 'create');
  try {
    await file.write(bytes, 0, bytes.length, 0);
    await file.sync();
  } finally {
    await file.close();
  }
}
