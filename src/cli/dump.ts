// `sidelog dump FILE`: what a file of a data directory says, one JSON line per thing. For people who look
// into damage; it changes nothing, takes no lock, and goes as far as the file can be understood.
import { existsSync, statSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { DiskError } from '../index/disk.ts';
import { CliError, Exit } from './command.ts';
import type { Command, ExitCode } from './command.ts';
import { dumpIndex } from './dump-index.ts';
import { dumpSegment } from './dump-segment.ts';
import { dumpJournal, dumpSnapshot } from './dump-state.ts';
import { isStdoutGone, writeStdout } from './stdout.ts';
import { NodeDisk } from '../segment/node-disk.ts';

/** Prints a line; waits when stdout is slow. */
export type Emit = (line: object) => Promise<void> | null;

/** Returns whether everything up to the end that counts could be understood. */
type Dump = (disk: NodeDisk, name: string, emit: Emit) => Promise<boolean>;

const KINDS: readonly { readonly pattern: RegExp; readonly dump: Dump }[] = [
  { pattern: /^\d{20}\.seg$/, dump: dumpSegment },
  { pattern: /^\d{20}\.idx$/, dump: dumpIndex },
  { pattern: /^snapshot-\d{20}(\.damaged)?$/, dump: dumpSnapshot },
  { pattern: /^raft-state\.[ab]$/, dump: dumpJournal },
];

export const dumpCommand: Command = {
  name: 'dump',
  operands: 'FILE',
  summary: 'show what is in a file of the data directory',
  arity: [1, 1],
  options: {},
  details: `FILE is a segment (*.seg), an index (*.idx), a snapshot (snapshot-*) or a raft-state file. Prints a JSON
line for the head, the marks and each batch, entry or record, with its position in the file. Exits 1 where
something does not hold. (node.json, log.json and CURRENT are text.)`,
  run: ({ operands }) => dump(operands[0]!),
};

async function dump(path: string): Promise<ExitCode> {
  if (!existsSync(path) || !statSync(path).isFile()) throw new CliError(`${path}: there is no such file`, Exit.usage);
  const name = basename(path);
  const kind = KINDS.find(({ pattern }) => pattern.test(name));
  if (kind === undefined) {
    throw new CliError(`${path}: the name is none of a segment, an index, a snapshot or a raft-state file`, Exit.usage);
  }
  const emit: Emit = (line) => {
    // `dump | head` is how this is used.
    if (isStdoutGone()) process.exit(Exit.ok);
    return writeStdout(`${JSON.stringify(line)}\n`);
  };
  try {
    return (await kind.dump(new NodeDisk(dirname(path), 'mirror'), name, emit)) ? Exit.ok : Exit.failed;
  } catch (error) {
    if (error instanceof DiskError) throw new CliError(`${path}: ${error.message}`, Exit.failed, { cause: error });
    throw error;
  }
}
