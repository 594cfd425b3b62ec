// `sidelog produce`: one record per line of stdin, byte for byte. Prints one JSON line at the end and
// exits 0 only if every record was acked. Stops at the first record that is not: nothing after it is
// sent any more.
import { fstatSync } from 'node:fs';
import { ErrorCode, SidelogError } from '../wire/client/client.ts';
import type { Client, CompressionName, RecordInput } from '../wire/client/client.ts';
import { BATCH_RECORDS_MAX } from '../wire/limits.ts';
import { CliError, Exit } from './command.ts';
import type { Command, CommandInput, ExitCode } from './command.ts';
import { choiceOption, CONNECTION_OPTIONS, explain, numberOption, parsedOption, withClient } from './connection.ts';
import { Interrupt } from './interrupt.ts';
import { parseDuration } from '../units.ts';
import { splitLines } from './lines.ts';
import { checkName } from './operands.ts';
import { openSink } from './produce-sink.ts';
import type { Sink, Tally } from './produce-sink.ts';
import { Progress } from './progress.ts';
import { parseJsonRecord } from './record-json.ts';
import { printJson } from './stdout.ts';

/** Records per batch when nothing else is said: large batches make long inputs fast. */
const BATCH_RECORDS_DEFAULT = 1000;
/** Long enough for a restart of the server. */
const TIMEOUT_MS_DEFAULT = 30_000;

export const produceCommand: Command = {
  name: 'produce',
  operands: 'LOG',
  summary: 'append a record per line of stdin',
  arity: [1, 1],
  options: {
    batch: { type: 'string', hint: 'N', help: `records per batch at most (default ${BATCH_RECORDS_DEFAULT})` },
    producer: { type: 'string', hint: 'NAME', help: 'idempotent producer: retries and reconnects never double a record' },
    expect: { type: 'string', hint: 'OFFSET', help: 'append only if the next offset is this one' },
    fence: { type: 'string', hint: 'N', help: "the log's fence token" },
    input: { type: 'string', hint: 'FORMAT', help: 'lines (default): the line is the value; json: {"value","key","headers"}' },
    timeout: { type: 'string', hint: 'TIME', help: 'how long a record is tried before it fails (default 30s)' },
    compression: { type: 'string', hint: 'NAME', help: 'none (default), gzip or zstd' },
    ...CONNECTION_OPTIONS,
  },
  details: `JSON input: value, key and header values are strings, or {"base64":"…"} for bytes; value may be null.
At the end one line on stdout: {"records":N,"firstOffset":N,"lastOffset":N,"seconds":S}; records counts those
that were acked. Without --producer a connection lost in between may leave records stored that were not
acked; the exit code is then 1. Ctrl-C stops reading, waits for what was sent, and exits 130.`,
  run(input) {
    const plan = planOf(input);
    return withClient(input.values, (client) => produce(client, plan));
  },
};

/** What was asked for, checked. */
export interface ProducePlan {
  readonly log: string;
  readonly batchRecords: number;
  readonly producer: string | undefined;
  readonly expect: number | undefined;
  readonly fence: number | undefined;
  readonly compression: CompressionName;
  readonly timeoutMs: number;
  readonly parse: (line: Buffer, number: number) => RecordInput;
}

function planOf({ values, operands }: CommandInput): ProducePlan {
  const format = choiceOption(values, 'input', ['lines', 'json'], 'lines');
  const plan: ProducePlan = {
    log: operands[0]!,
    batchRecords: numberOption(values, 'batch', 1, BATCH_RECORDS_MAX) ?? BATCH_RECORDS_DEFAULT,
    producer: values['producer'] as string | undefined,
    expect: numberOption(values, 'expect'),
    fence: numberOption(values, 'fence'),
    compression: choiceOption(values, 'compression', ['none', 'gzip', 'zstd'], 'none'),
    timeoutMs: parsedOption(values, 'timeout', parseDuration) ?? TIMEOUT_MS_DEFAULT,
    parse: format === 'json' ? parseJsonRecord : (line) => ({ value: line }),
  };
  if (plan.producer !== undefined) checkName('--producer', plan.producer);
  if (plan.expect !== undefined && plan.producer !== undefined) throw new CliError('--expect and --producer do not go together', Exit.usage);
  return plan;
}

async function produce(client: Client, plan: ProducePlan): Promise<ExitCode> {
  const tally: Tally = { records: 0, firstOffset: null, lastOffset: null };
  const started = performance.now();
  const interrupt = new Interrupt();
  const progress = new Progress();
  let failure: unknown = null;
  try {
    const sink = openSink(client, plan, tally, stopReading);
    interrupt.whenRaised(stopReading);
    const fault = await readAll(plan, sink, progress, () => interrupt.raised);
    // The lines before one that is wrong are sent, so that `records` says where to go on.
    await sink.end();
    failure = fault;
  } catch (error) {
    failure = explain(error);
    // What was sent gets its answers and counts; what waits behind the failure is not sent.
    await client.close();
  }
  interrupt.release();
  progress.end();
  printJson({ ...tally, seconds: Number(((performance.now() - started) / 1000).toFixed(3)) });
  if (failure !== null) throw failure;
  return interrupt.raised ? Exit.interrupted : Exit.ok;
}

/** Appends every line until `stopped` says so; returns what is wrong with the input, or null. Throws what the sink failed with. */
async function readAll(plan: ProducePlan, sink: Sink, progress: Progress, stopped: () => boolean): Promise<CliError | null> {
  if (fstatSync(0).isDirectory()) return new CliError('cannot read stdin: it is a directory');
  const inputSize = stdinSize();
  let number = 0;
  let bytes = 0;
  try {
    for await (const lines of splitLines(process.stdin)) {
      for (const line of lines) {
        bytes += line.length + 1;
        number++;
        const full = append(sink, plan.parse(line, number), number);
        if (full !== null) await full;
      }
      if (stopped()) return null;
      progress.update('records', number, bytes, inputSize === null ? null : bytes / inputSize);
    }
  } catch (error) {
    sink.check();
    if (error instanceof CliError) return error;
    if (stopped() && (error as NodeJS.ErrnoException).code === 'ERR_STREAM_PREMATURE_CLOSE') return null;
    if (error instanceof RangeError) return new CliError(`line ${number + 1}: ${error.message}`, Exit.failed, { cause: error });
    if ((error as NodeJS.ErrnoException).syscall === 'read') return new CliError(`cannot read stdin: ${(error as Error).message}`, Exit.failed, { cause: error });
    throw error;
  }
  return null;
}

/** Says which line a record came from that cannot be sent. */
function append(sink: Sink, record: RecordInput, number: number): Promise<void> | null {
  try {
    return sink.append(record);
  } catch (error) {
    const tooLarge = error instanceof SidelogError && error.code === ErrorCode.BATCH_TOO_LARGE;
    if (tooLarge || error instanceof RangeError) throw new CliError(`line ${number}: ${error.message}`, Exit.failed, { cause: error });
    throw error;
  }
}

/** Ends the loop over stdin, which may wait for input that never comes. */
function stopReading(): void {
  process.stdin.destroy();
}

/** Size of stdin when it is a file, for the progress bar. */
function stdinSize(): number | null {
  try {
    const stats = fstatSync(0);
    return stats.isFile() && stats.size > 0 ? stats.size : null;
  } catch {
    return null;
  }
}
