// `sidelog log …`: create, list, describe, alter, delete, undelete and trim named logs. Answers are
// JSON lines, so that scripts can read them; `list` and `describe` print a table on a terminal.
import type { Client, CompressionName, DurabilityName, LogDescription, LogSettings } from '../wire/client/client.ts';
import { formatSize, parseDuration, parseSize } from '../units.ts';
import { CliError, Exit } from './command.ts';
import type { Command, CommandInput, ExitCode, OptionSpecs, OptionValues } from './command.ts';
import { CONNECTION_OPTIONS, parsedOption, withClient } from './connection.ts';
import { checkName, offsetOperand } from './operands.ts';
import { printJson, writeStdout } from './stdout.ts';

const RETENTION_OPTIONS: OptionSpecs = {
  'retain-bytes': { type: 'string', hint: 'SIZE', help: 'data to keep, for example 10GiB; 0 keeps all' },
  'retain-time': { type: 'string', hint: 'TIME', help: 'time to keep records, for example 7d; 0 keeps them for ever' },
  compressions: { type: 'string', hint: 'LIST', help: 'compressions producers may use, for example none,gzip' },
};

const CREATE_OPTIONS: OptionSpecs = {
  durability: { type: 'string', hint: 'MODE', help: 'fsync (default), interval:TIME (for example interval:50ms) or memory' },
  'segment-bytes': { type: 'string', hint: 'SIZE', help: 'size of a segment file, 1MiB to 1GiB' },
  ...RETENTION_OPTIONS,
};

/** `prepare` checks what was given, before there is a connection, and returns what to do with one. */
function logCommand(
  name: string, operands: string, summary: string, arity: readonly [number, number], options: OptionSpecs,
  prepare: (input: CommandInput) => (client: Client) => Promise<void>, details?: string,
): Command {
  return {
    name: `log ${name}`, operands, summary, arity, details,
    options: { ...options, ...CONNECTION_OPTIONS },
    run: (input) => {
      const act = prepare(input);
      return withClient(input.values, async (client): Promise<ExitCode> => {
        await act(client);
        return Exit.ok;
      });
    },
  };
}

export const logCommands: readonly Command[] = [
  logCommand('create', 'LOG', 'create a log', [1, 1], CREATE_OPTIONS, ({ values, operands }) => {
    const [log] = operands as [string];
    const settings = createSettings(values);
    return async (client) => {
      const { logUid } = await client.logs.create(log, settings);
      printJson({ log, logUid });
    };
  }),
  logCommand('list', '[PREFIX]', 'list the logs', [0, 1], {
    deleted: { type: 'boolean', help: 'list deleted logs that can still be brought back' },
    json: { type: 'boolean', help: 'a JSON object per log' },
  }, ({ values, operands }) => async (client) => {
    const logs = await client.logs.list({ prefix: operands[0] ?? '', trash: values['deleted'] === true });
    if (values['json'] === true || !process.stdout.isTTY) logs.forEach(printJson);
    else printTable(logs);
  }),
  logCommand('describe', 'LOG', 'show a log and its settings', [1, 1], {}, ({ operands }) => async (client) => {
    printJson(await client.logs.describe(operands[0]!));
  }),
  logCommand('alter', 'LOG', 'change how long records are kept, or the compressions', [1, 1], RETENTION_OPTIONS, ({ values, operands }) => {
    const [log] = operands as [string];
    const changes = retention(values);
    if (Object.values(changes).every((change) => change === undefined)) {
      throw new CliError(`nothing to change: give ${Object.keys(RETENTION_OPTIONS).map((name) => `--${name}`).join(', ')}`, Exit.usage);
    }
    return async (client) => {
      await client.logs.alter(log, changes);
      printJson(await client.logs.describe(log));
    };
  }),
  logCommand('delete', 'LOG', 'delete a log; it can be brought back for a while', [1, 1], {}, ({ operands }) => async (client) => {
    const [log] = operands as [string];
    const { logUid } = await client.logs.describe(log);
    await client.logs.delete(log, { logUid });
    printJson({ log, logUid, undelete: `sidelog log undelete ${logUid}` });
  }, 'Prints the log_uid, with which `sidelog log undelete` brings the records back until --trash-after of the server is over.'),
  logCommand('undelete', 'UID', 'bring a deleted log back, under a new log_uid', [1, 1], {
    as: { type: 'string', hint: 'LOG', help: 'under this name instead of its old one' },
  }, ({ values, operands }) => {
    const uid = operands[0]!.toLowerCase();
    if (!/^[0-9a-f]{32}$/.test(uid)) throw new CliError(`"${operands[0]}" is not a log_uid: it has 32 hex digits; see: sidelog log list --deleted`, Exit.usage);
    if (values['as'] !== undefined) checkName('--as', values['as'] as string);
    return async (client) => {
      const log = (values['as'] as string | undefined) ?? (await client.logs.list({ trash: true })).find((deleted) => deleted.logUid === uid)?.log;
      if (log === undefined) throw new CliError(`no deleted log has the uid ${uid}; see: sidelog log list --deleted`);
      const { logUid } = await client.logs.restore(log, uid);
      printJson({ log, logUid });
    };
  }),
  logCommand('trim', 'LOG OFFSET', 'forget the records before an offset', [2, 2], {}, ({ operands }) => {
    const offset = offsetOperand(operands[1]!);
    return async (client) => printJson({ log: operands[0], logStart: await client.logs.trim(operands[0]!, offset) });
  }, 'The offset is rounded down to the border of a batch.'),
];

function createSettings(values: OptionValues): LogSettings {
  const settings: LogSettings = { ...retention(values), segmentBytes: parsedOption(values, 'segment-bytes', parseSize) };
  const durability = parsedOption(values, 'durability', parseDurability);
  return durability === undefined ? settings : { ...settings, ...durability };
}

function retention(values: OptionValues): Pick<LogSettings, 'retainBytes' | 'retainMs' | 'compressions'> {
  return {
    retainBytes: parsedOption(values, 'retain-bytes', parseSize),
    retainMs: parsedOption(values, 'retain-time', parseDuration),
    compressions: parsedOption(values, 'compressions', parseCompressions),
  };
}

function parseDurability(text: string): { durability: DurabilityName; intervalMs?: number } {
  if (text === 'fsync' || text === 'memory') return { durability: text };
  if (text.startsWith('interval:')) return { durability: 'interval', intervalMs: parseDuration(text.slice('interval:'.length)) };
  throw new RangeError('fsync, interval:TIME or memory');
}

function parseCompressions(text: string): CompressionName[] {
  return text.split(',').map((name) => {
    if (name === 'none' || name === 'gzip' || name === 'zstd') return name;
    throw new RangeError('a list of none, gzip and zstd');
  });
}

function printTable(logs: readonly LogDescription[]): void {
  const rows = [['LOG', 'RECORDS', 'FROM', 'SIZE', 'DURABILITY', 'LOG_UID']].concat(
    logs.map(({ log, logStart, committedEnd, bytes, durability, logUid }) => [
      log, String(committedEnd - logStart), String(logStart), formatSize(bytes), durability, logUid,
    ]),
  );
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  for (const row of rows) void writeStdout(`${row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()}\n`);
}
