// `sidelog produce`: one record per line of stdin, byte for byte. Prints one JSON line at the end
// and exits 0 only if every record was acked.
import { fstatSync } from 'node:fs';
import type { Client, RecordInput } from '../wire/client/client.ts';
import { CliError, Exit } from './command.ts';
import type { Command, CommandInput, ExitCode, OptionValues } from './command.ts';
import { CONNECTION_OPTIONS, explain, numberOption, printJson, withClient } from './connection.ts';
import { splitLines } from './lines.ts';
import { Progress } from './progress.ts';
import { parseJsonRecord } from './record-json.ts';

/** Records per batch when nothing else is said: large batches make long inputs fast. */
const BATCH_RECORDS_DEFAULT = 1000;

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
    compression: { type: 'string', hint: 'NAME', help: 'none (default), gzip or zstd' },
    ...CONNECTION_OPTIONS,
  },
  details: `JSON input: value, key and header values are strings, or {"base64":"…"} for bytes; value may be null.
At the end one line on stdout: {"records":N,"firstOffset":N,"lastOffset":N,"seconds":S}. Without --producer a
connection lost in between may leave records stored that were not acked; the exit code is then 1.`,
  run: (input) => withClient(input.values, (client) => produce(client, input)),
};

/** What was acked so far. */
interface Tally {
  records: number;
  firstOffset: number | null;
  lastOffset: number | null;
}

async function produce(client: Client, { values, operands }: CommandInput): Promise<ExitCode> {
  const log = operands[0]!;
  const parse = inputParser(values);
  const batchRecords = numberOption(values, 'batch', 1) ?? BATCH_RECORDS_DEFAULT;
  const tally: Tally = { records: 0, firstOffset: null, lastOffset: null };
  const started = performance.now();
  const progress = new Progress();
  const inputSize = stdinSize();
  let failure: unknown = null;
  try {
    const expected = numberOption(values, 'expect');
    const sink = expected === undefined
      ? streaming(client, log, values, batchRecords, tally)
      : await conditional(client, log, values, batchRecords, expected, tally);
    let lines = 0;
    let bytes = 0;
    for await (const line of splitLines(process.stdin)) {
      lines++;
      bytes += line.length + 1;
      await sink.append(parse(line, lines));
      progress.update('records', lines, bytes, inputSize === null ? null : bytes / inputSize);
    }
    await sink.end();
  } catch (error) {
    failure = explain(error);
  }
  progress.end();
  printJson({ ...tally, seconds: Number(((performance.now() - started) / 1000).toFixed(3)) });
  if (failure !== null) throw failure;
  return Exit.ok;
}

interface Sink {
  append(record: RecordInput): Promise<void> | void;
  end(): Promise<void>;
}

/** Pipelined batches: the fast way. */
function streaming(client: Client, log: string, values: OptionValues, batchRecords: number, tally: Tally): Sink {
  const producer = client.producer(log, {
    name: values['producer'] as string | undefined,
    fence: numberOption(values, 'fence'),
    batchRecords,
    compression: compression(values),
    onAck: (receipt, count) => note(tally, receipt.baseOffset, receipt.nextOffset, count),
  });
  return {
    append: (record) => (producer.append(record) ? undefined : producer.drained()),
    end: () => producer.close(),
  };
}

/** One batch after the other, each expecting the offset at which the one before ended. */
async function conditional(
  client: Client, log: string, values: OptionValues, batchRecords: number, expected: number, tally: Tally,
): Promise<Sink> {
  if (values['producer'] !== undefined) throw new CliError('--expect and --producer do not go together', Exit.usage);
  const fence = numberOption(values, 'fence');
  let next = expected;
  let waiting: RecordInput[] = [];
  const send = async (): Promise<void> => {
    const records = waiting;
    waiting = [];
    const receipt = await client.produce(log, records, { expectedOffset: next, fence });
    note(tally, receipt.baseOffset, receipt.nextOffset, records.length);
    next = receipt.nextOffset;
  };
  return {
    append: async (record) => {
      waiting.push(record);
      if (waiting.length >= batchRecords) await send();
    },
    end: async () => {
      if (waiting.length > 0) await send();
    },
  };
}

function note(tally: Tally, baseOffset: number, nextOffset: number, count: number): void {
  tally.records += count;
  // A duplicate so old that its place is forgotten has no offsets.
  if (baseOffset < 0) return;
  tally.firstOffset ??= baseOffset;
  tally.lastOffset = Math.max(tally.lastOffset ?? 0, nextOffset - 1);
}

function inputParser(values: OptionValues): (line: Buffer, number: number) => RecordInput {
  const format = values['input'] ?? 'lines';
  if (format === 'lines') return (line) => ({ value: line });
  if (format !== 'json') throw new CliError(`--input: "${String(format)}" is not accepted; expected lines or json`, Exit.usage);
  return (line, number) => parseJsonRecord(line.toString('utf8'), number);
}

function compression(values: OptionValues): 'none' | 'gzip' | 'zstd' | undefined {
  const name = values['compression'];
  if (name === undefined || name === 'none' || name === 'gzip' || name === 'zstd') return name;
  throw new CliError(`--compression: "${String(name)}" is not accepted; expected none, gzip or zstd`, Exit.usage);
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
