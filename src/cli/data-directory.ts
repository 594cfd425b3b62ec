// A data directory that no server runs on, for the commands that look into it: locked, so that none
// starts meanwhile either.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { environmentName } from '../config.ts';
import { DiskError } from '../index/disk.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { CannotLockError, DirectoryInUseError, lockDirectory } from '../segment/lock.ts';
import { NodeDisk } from '../segment/node-disk.ts';
import { CliError, Exit } from './command.ts';
import type { OptionSpec, OptionValues } from './command.ts';

export const DATA_DIR_OPTION: OptionSpec = { type: 'string', hint: 'DIR', help: 'the data directory (default ./data)' };

/** Runs `use` on the directory of --data-dir while it is locked. Throws CliError. */
export async function withDataDirectory<T>(values: OptionValues, use: (disk: NodeDisk) => Promise<T>): Promise<T> {
  const path = (values['data-dir'] as string | undefined) ?? (process.env[environmentName('dataDir')] || './data');
  if (!existsSync(path)) throw new CliError(`--data-dir ${path}: there is no such directory`, Exit.usage);
  if (!['node.json', 'logs'].some((name) => existsSync(join(path, name)))) {
    throw new CliError(`--data-dir ${path}: this is not a data directory of sidelog`, Exit.usage);
  }
  try {
    const lock = await lockUnlessReadOnly(path);
    try {
      return await use(new NodeDisk(path, 'mirror'));
    } finally {
      await lock?.release();
    }
  } catch (error) {
    if (error instanceof DirectoryInUseError) throw new CliError(error.message, Exit.failed, { cause: error });
    const { code } = error as NodeJS.ErrnoException;
    if (error instanceof DiskError || code !== undefined) throw new CliError(`--data-dir ${path}: ${messageOf(error)}`, Exit.failed, { cause: error });
    throw error;
  }
}

/** A file system that cannot be written to has no server on it either, and can still be looked into. */
async function lockUnlessReadOnly(path: string): Promise<{ release(): Promise<void> } | null> {
  try {
    return await lockDirectory(path);
  } catch (error) {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    if (error instanceof CannotLockError && cause?.code === 'EROFS') return null;
    throw error;
  }
}

/** Lets other work of the process go on between two slices of a long one. */
export function yieldTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
