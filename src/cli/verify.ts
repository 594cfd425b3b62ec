// `sidelog verify`: reads every byte of a data directory and checks every checksum and index entry.
// What is found is one line each, with file, position and offsets; the exit code says whether there was
// anything.
import { DiskError } from '../index/disk.ts';
import { acceptLossOf, checkLog, findLogs, findMissing, giveUpMissing } from '../replica/offline.ts';
import type { LogCheck } from '../replica/offline.ts';
import { readWholeFile } from '../segment/atomic-file.ts';
import { DamageError, describeDamage } from '../segment/damage.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { JOURNAL_PATHS } from '../segment/journal.ts';
import { mergeCopies } from '../segment/journal-merge.ts';
import type { NodeDisk } from '../segment/node-disk.ts';
import { IdentityError, readIdentity } from '../sidecar-identity.ts';
import { formatSize } from '../units.ts';
import { Exit } from './command.ts';
import type { Command, ExitCode, OptionValues } from './command.ts';
import { DATA_DIR_OPTION, withDataDirectory, yieldTurn } from './data-directory.ts';
import { Progress } from './progress.ts';
import { printJson, writeStdout } from './stdout.ts';

const JOURNAL_SIZE_MAX = 64 * 1024 * 1024;

export const verifyCommand: Command = {
  name: 'verify',
  operands: '',
  summary: 'check every checksum and index entry of a data directory',
  arity: [0, 0],
  options: {
    'data-dir': DATA_DIR_OPTION,
    'repair-index': { type: 'boolean', help: 'build index files anew that do not agree with their segment' },
    'accept-loss': { type: 'boolean', help: 'let logs take records again that refuse them because of damage' },
    json: { type: 'boolean', help: 'the whole report as one JSON object' },
  },
  details: `No server may run on the directory. Exits 0 when everything holds (or was mended, or its loss accepted),
1 when something does not: each finding names the file, the position in it and the offsets concerned.
Damage is never cut away: what is damaged stays unreadable, what lies behind it stays readable.`,
  run: ({ values }) => withDataDirectory(values, (disk) => verify(disk, values)),
};

interface Finding {
  readonly log: string;
  readonly kind: 'damage' | 'index' | 'file';
  readonly message: string;
  readonly file?: string;
  readonly position?: number;
  readonly firstOffset?: number;
  /** -1: not known. */
  readonly lastOffset?: number;
  /** Nothing has to be done about it, or not any more. */
  readonly settled: boolean;
  readonly repaired?: boolean;
}

async function verify(disk: NodeDisk, values: OptionValues): Promise<ExitCode> {
  const acceptsLoss = values['accept-loss'] === true;
  const say = values['json'] === true ? (): void => undefined : (line: string): void => void writeStdout(`${line}\n`);
  const findings: Finding[] = await checkNodeFiles(disk, acceptsLoss);
  const accepted: string[] = [];
  const checks: LogCheck[] = [];
  for (const finding of findings) say(`DAMAGE ${finding.message}`);
  const progress = new Progress();
  for (const found of await findLogs(disk)) {
    const given = acceptsLoss ? await accept(found, disk) : [];
    const check = await checkLog(found, {
      disk, yieldTurn, repairIndex: values['repair-index'] === true,
      progress: (log, done, total) => progress.update(`bytes of ${log} checked`, done, done, total === 0 ? 1 : done / total),
    });
    progress.end();
    const ofLog = findingsOf(check, acceptsLoss);
    say(`${title(check).padEnd(24)} ${figures(check)}`);
    for (const line of given) say(`  ACCEPTED ${line}`);
    for (const finding of ofLog) say(`  ${label(finding)} ${finding.message}`);
    findings.push(...ofLog);
    accepted.push(...given);
    checks.push(check);
  }
  const open = findings.filter(({ settled }) => !settled).length;
  if (values['json'] === true) printJson({ ok: open === 0, dataDir: disk.root, findings, accepted, logs: checks.map(summary) });
  else say(open === 0 ? 'every checksum and index entry holds' : `findings: ${open}`);
  return open === 0 ? Exit.ok : Exit.failed;
}

/** A log whose segments cannot be told at all is reported by the check. */
async function accept(found: Parameters<typeof acceptLossOf>[0], disk: NodeDisk): Promise<string[]> {
  try {
    return await acceptLossOf(found, disk, yieldTurn);
  } catch (error) {
    if (error instanceof DamageError || error instanceof DiskError || (error as Error).name === 'RestoreError') return [];
    throw error;
  }
}

async function checkNodeFiles(disk: NodeDisk, acceptsLoss: boolean): Promise<Finding[]> {
  const findings: Finding[] = [];
  const fault = (message: string, settled = false): void => void findings.push({ log: '', kind: 'file', message, settled });
  try {
    await readIdentity(disk);
  } catch (error) {
    if (!(error instanceof IdentityError || error instanceof DiskError)) throw error;
    fault(messageOf(error));
  }
  const copies = [];
  for (const path of JOURNAL_PATHS) copies.push((await disk.exists(path)) ? await readWholeFile(disk, path, JOURNAL_SIZE_MAX) : null);
  const merged = mergeCopies(copies[0]!, copies[1]!);
  // One bad copy is made whole at the next start; only what both have lost is lost.
  if (merged.incomplete) fault(`${JOURNAL_PATHS.join(' and ')}: the same records are bad in both; what they said of terms and votes is lost`);
  const missing = await findMissing(disk, [...merged.entries.values()]);
  for (const folder of missing) fault(`${folder}: the folder of this log is missing, with everything that was in it`, acceptsLoss);
  if (acceptsLoss && missing.length > 0) await giveUpMissing(disk);
  return findings;
}

function findingsOf(check: LogCheck, acceptsLoss: boolean): Finding[] {
  const log = check.name || check.uid;
  const findings: Finding[] = check.faults.map((message) => ({ log, kind: 'file', message, settled: false }));
  for (const range of check.report?.damage ?? []) {
    const { file, position, firstOffset, lastOffset } = range;
    findings.push({ log, kind: 'damage', message: describeDamage(range), file, position, firstOffset, lastOffset, settled: acceptsLoss });
  }
  for (const { file, reason, unfinished, repaired } of check.report?.index ?? []) {
    const message = `${file}: ${reason}${unfinished && !repaired ? ': it is made again when it is needed' : ''}`;
    findings.push({ log, kind: 'index', message, file, settled: repaired || unfinished, repaired });
  }
  return findings;
}

function label({ kind, settled, repaired }: Finding): string {
  if (kind !== 'index') return 'DAMAGE';
  return repaired === true ? 'REPAIRED' : settled ? 'NOTE' : 'INDEX';
}

function title({ name, uid, deleted }: LogCheck): string {
  return `${name || uid}${deleted ? ` (deleted, ${uid})` : ''}`;
}

function figures({ report }: LogCheck): string {
  if (report === null) return 'cannot be read';
  const { segments, batches, records, bytes, firstOffset, nextOffset, unsyncedBytes } = report;
  const tail = unsyncedBytes > 0 ? `, ${formatSize(unsyncedBytes)} that were never acked behind the end` : '';
  const offsets = nextOffset > firstOffset ? ` (offsets ${firstOffset} to ${nextOffset - 1})` : '';
  return `records: ${records}${offsets}, batches: ${batches}, segments: ${segments}, ${formatSize(bytes)}${tail}`;
}

function summary({ name, uid, folder, deleted, report }: LogCheck): object {
  if (report === null) return { name, uid, folder, deleted };
  const { damage: _damage, index: _index, ...counts } = report;
  return { name, uid, folder, deleted, ...counts };
}
