// `sidelog consume`: each value and a newline, byte for byte, or a JSON object per record. Stops at
// the end of the log as it was at the start, unless told to follow.
import type { Client, LogRecord, ReadFrom, Subscription } from '../wire/client/client.ts';
import { parseTime } from '../units.ts';
import { Exit } from './command.ts';
import type { Command, CommandInput, ExitCode } from './command.ts';
import { choiceOption, CONNECTION_OPTIONS, numberOption, parsedOption, withClient } from './connection.ts';
import { Interrupt } from './interrupt.ts';
import { Progress } from './progress.ts';
import { formatJsonRecord } from './record-json.ts';
import { isStdoutGone, writeStdout } from './stdout.ts';

/** Output is gathered into writes of about this size, in bytes. */
const WRITE_SIZE = 64 * 1024;
const NEWLINE = Buffer.from('\n');
const NO_VALUE = Buffer.alloc(0);

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
  details: `Without --follow it stops at the end that the log had when it began; what was acked before that is
printed. A record without a value is an empty line; --format json shows the difference. Exits 130 when
interrupted.`,
  run(input) {
    const plan = planOf(input);
    return withClient(input.values, (client) => consume(client, plan));
  },
};

interface ConsumePlan {
  readonly log: string;
  readonly from: ReadFrom;
  readonly count: number;
  readonly follow: boolean;
  readonly format: (record: LogRecord) => Buffer | string;
}

function planOf({ values, operands }: CommandInput): ConsumePlan {
  const json = choiceOption(values, 'format', ['value', 'json'], 'value') === 'json';
  return {
    log: operands[0]!,
    from: parsedOption(values, 'offset', parseFrom) ?? 'earliest',
    count: numberOption(values, 'count') ?? Number.POSITIVE_INFINITY,
    follow: values['follow'] === true,
    format: json ? formatJsonRecord : (record) => record.value ?? NO_VALUE,
  };
}

async function consume(client: Client, plan: ConsumePlan): Promise<ExitCode> {
  const interrupt = new Interrupt();
  // The first answer says where the read starts and where the log ends now; linearizable, so that
  // what was acked before this command began is printed.
  const first = await client.fetch(plan.log, { from: plan.from, maxBytes: 1, linearizable: true });
  const end = plan.follow ? Number.POSITIVE_INFINITY : first.committedEnd;
  if (plan.count > 0 && first.startOffset < end) {
    const subscription = client.subscribe(plan.log, { from: { offset: first.startOffset }, logUid: first.logUid });
    interrupt.whenRaised(() => subscription.close());
    await print(subscription, plan, end, interrupt);
  }
  interrupt.release();
  return interrupt.raised ? Exit.interrupted : Exit.ok;
}

/** Prints until `end`, the wished count, an interrupt, or the reader of stdout has gone. */
async function print(subscription: Subscription, plan: ConsumePlan, end: number, interrupt: Interrupt): Promise<void> {
  const output = new Output(plan.format);
  const progress = new Progress(process.stdout.isTTY !== true);
  let left = plan.count;
  try {
    for await (const records of subscription.chunks()) {
      for (const record of records) {
        if (record.offset >= end) return;
        const pending = output.add(record);
        if (pending !== null) await pending;
        if (--left === 0 || isStdoutGone() || interrupt.raised) return;
        if (record.offset + 1 >= end) return;
      }
      if (subscription.bufferedRecords === 0 && plan.follow) output.flush();
      progress.update('records', output.records, output.bytes, null);
    }
  } finally {
    const pending = output.flush();
    if (pending !== null && !interrupt.raised) await pending;
    progress.end();
  }
}

/** Gathers formatted records into writes. */
class Output {
  records = 0;
  bytes = 0;
  private readonly format: (record: LogRecord) => Buffer | string;
  private pieces: Buffer[] = [];
  private size = 0;

  constructor(format: (record: LogRecord) => Buffer | string) {
    this.format = format;
  }

  /** A promise: stdout is slow, wait before the next. */
  add(record: LogRecord): Promise<void> | null {
    const text = this.format(record);
    const piece = typeof text === 'string' ? Buffer.from(text) : text;
    this.pieces.push(piece, NEWLINE);
    this.size += piece.length + 1;
    this.records++;
    return this.size >= WRITE_SIZE ? this.flush() : null;
  }

  flush(): Promise<void> | null {
    if (this.size === 0) return null;
    const bytes = Buffer.concat(this.pieces, this.size);
    this.bytes += this.size;
    this.pieces = [];
    this.size = 0;
    return writeStdout(bytes);
  }
}

/** `12`, `earliest`, `next`, `time:2026-01-31T12:00:00Z`, `position:NAME`. Throws RangeError. */
export function parseFrom(text: string): ReadFrom {
  if (text === 'earliest' || text === 'next') return text;
  if (/^\d+$/.test(text) && Number.isSafeInteger(Number(text))) return { offset: Number(text) };
  if (text.startsWith('position:') && text.length > 'position:'.length) return { position: text.slice('position:'.length) };
  if (text.startsWith('time:')) return { time: parseTime(text.slice('time:'.length)) };
  throw new RangeError('N, earliest, next, time:ISO or position:NAME');
}
