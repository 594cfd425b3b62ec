// `sidelog consume`: each value and a newline, byte for byte, or a JSON object per record. Stops at
// the end of the log as it was at the start, unless told to follow.
import { once } from 'node:events';
import type { Client, LogRecord, ReadFrom } from '../wire/client/client.ts';
import { parseTime } from '../units.ts';
import { CliError, Exit } from './command.ts';
import type { Command, CommandInput, ExitCode } from './command.ts';
import { CONNECTION_OPTIONS, numberOption, withClient } from './connection.ts';
import { Progress } from './progress.ts';
import { formatJsonRecord } from './record-json.ts';

/** Output is gathered into writes of about this size, in bytes. */
const WRITE_SIZE = 64 * 1024;
const NEWLINE = Buffer.from('\n');

export const consumeCommand: Command = {
  name: 'consume',
  operands: 'LOG',
  summary: 'print records to stdout',
  arity: [1, 1],
  options: {
    offset: { type: 'string', hint: 'WHERE', help: 'N, earliest (default), next, time:ISO or position:NAME' },
    count: { type: 'string', hint: 'N', help: 'stop after N records' },
    follow: { type: 'boolean', short: 'f', help: 'go on with records as they come, until interrupted' },
    format: { type: 'string', hint: 'FORMAT', help: 'value (default): the bytes and a newline; json: an object per record' },
    ...CONNECTION_OPTIONS,
  },
  run: (input) => withClient(input.values, (client) => consume(client, input)),
};

async function consume(client: Client, { values, operands }: CommandInput): Promise<ExitCode> {
  const log = operands[0]!;
  const from = parseFrom((values['offset'] as string | undefined) ?? 'earliest');
  const count = numberOption(values, 'count') ?? Infinity;
  const follow = values['follow'] === true;
  const output = new Output(formatter(values['format']));
  const interrupted = onInterrupt();
  // The first answer says where the read starts and where the log ends now; linearizable, so that
  // what was acked before this command began is printed.
  const first = await client.fetch(log, { from, maxBytes: 1, linearizable: true });
  const end = follow ? Infinity : first.committedEnd;
  const progress = new Progress();
  let left = count;
  if (left > 0 && first.startOffset < end) {
    const subscription = client.subscribe(log, { from: { offset: first.startOffset }, logUid: first.logUid });
    interrupted.then(() => subscription.close(), () => undefined);
    for await (const record of subscription) {
      const pending = output.add(record);
      if (pending !== null) await pending;
      if (!process.stdout.isTTY) progress.update('records', count - left, output.bytes, null);
      if (--left === 0 || record.offset + 1 >= end || output.closed) break;
      if (follow && subscription.bufferedRecords === 0) await output.flush();
    }
  }
  await output.flush();
  progress.end();
  return Exit.ok;
}

/** Gathers formatted records into writes, and waits when stdout is slow. */
class Output {
  bytes = 0;
  /** The reader of the pipe has gone: not an error, `| head` does that. */
  closed = false;
  private readonly format: (record: LogRecord) => Buffer | string;
  private pieces: Buffer[] = [];
  private size = 0;

  constructor(format: (record: LogRecord) => Buffer | string) {
    this.format = format;
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      this.closed = true;
    });
  }

  add(record: LogRecord): Promise<void> | null {
    const text = this.format(record);
    const piece = typeof text === 'string' ? Buffer.from(text) : text;
    this.pieces.push(piece, NEWLINE);
    this.size += piece.length + 1;
    return this.size >= WRITE_SIZE ? this.flush() : null;
  }

  async flush(): Promise<void> {
    if (this.size === 0 || this.closed) return;
    const bytes = Buffer.concat(this.pieces, this.size);
    this.bytes += this.size;
    this.pieces = [];
    this.size = 0;
    if (process.stdout.write(bytes)) return;
    await Promise.race([once(process.stdout, 'drain'), once(process.stdout, 'close')]).catch(() => undefined);
  }
}

function formatter(format: unknown): (record: LogRecord) => Buffer | string {
  if (format === undefined || format === 'value') return (record) => record.value ?? Buffer.alloc(0);
  if (format === 'json') return formatJsonRecord;
  throw new CliError(`--format: "${String(format)}" is not accepted; expected value or json`, Exit.usage);
}

/** `12`, `earliest`, `next`, `time:2026-01-31T12:00:00Z`, `position:NAME`. Throws CliError. */
export function parseFrom(text: string): ReadFrom {
  if (text === 'earliest' || text === 'next') return text;
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return { offset: Number(text) };
  if (text.startsWith('position:') && text.length > 'position:'.length) return { position: text.slice('position:'.length) };
  if (text.startsWith('time:')) {
    try {
      return { time: parseTime(text.slice('time:'.length)) };
    } catch (error) {
      throw new CliError(`--offset: "${text}" is not accepted; expected time: and ${(error as Error).message}`, Exit.usage);
    }
  }
  throw new CliError(`--offset: "${text}" is not accepted; expected N, earliest, next, time:ISO or position:NAME`, Exit.usage);
}

/** Resolves at the first SIGINT or SIGTERM, so that what was read is still printed. */
function onInterrupt(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', resolve);
    process.once('SIGTERM', resolve);
  });
}
