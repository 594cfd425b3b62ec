// `vectors` writes the golden vectors out; `check-vectors` plays them to a codec in whatever language,
// over JSON lines on its standard input and output, without a server.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { checkRow, questions } from '../vectors/check-codec.ts';
import { files, readme } from '../vectors/rows.ts';
import { HarnessError } from '../engine/failure.ts';
import { EXIT } from '../engine/verdict.ts';
import { UsageError, parseArgs, write } from './args.ts';
import { LineProcess } from './line-process.ts';

export async function vectorsCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, ['out'], []);
  const folder = args.text('out');
  if (folder === null) throw new UsageError('vectors wants --out DIR');
  // Below /proc, Node's recursive mkdir never ends.
  if (!existsSync(folder)) write(() => mkdirSync(folder, { recursive: !existsSync(dirname(resolve(folder))) }));
  for (const [name, file] of Object.entries(files)) {
    const { rows, ...head } = file;
    const lines = rows.map((row) => `  ${JSON.stringify(row)}`).join(',\n');
    write(() => writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(head).slice(0, -1)},"rows":[\n${lines}\n]}\n`));
  }
  write(() => writeFileSync(join(folder, 'README.md'), readme()));
  const count = Object.values(files).reduce((sum, { rows }) => sum + rows.length, 0);
  process.stdout.write(`${count} vectors in ${Object.keys(files).length} files, and README.md, are in ${folder}\n`);
  return EXIT.conformant;
}

/** A codec has this long for one line, before --timeout-scale. */
const PATIENCE_MS = 5_000;

export async function checkVectorsCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, ['only', 'timeout-scale'], []);
  const [command, ...rest] = args.rest;
  if (command === undefined) throw new UsageError('check-vectors wants a command behind --, as in: check-vectors -- python3 my_codec.py');
  const wanted = args.list('only');
  const asked = questions().filter(({ line }) => wanted.length === 0 || wanted.some((word) => line.id.includes(word)));
  if (asked.length === 0) throw new UsageError(`--only ${wanted.join(',')}: no vector is called so`);
  const codec = new LineProcess(command, rest, PATIENCE_MS * args.number('timeout-scale', 1));
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  print('TAP version 14');
  let failed = 0;
  let skipped = 0;
  try {
    for (const [i, question] of asked.entries()) {
      const { line } = question;
      const verdict = checkRow(question, await codec.ask({ n: i + 1, ...line }));
      const name = `${i + 1} - ${line.do} ${line.id}`;
      if (verdict.status === 'pass') print(`ok ${name}`);
      else if (verdict.status === 'skip') print(`ok ${name} # SKIP ${verdict.why}`);
      else print(`not ok ${name}\n  ---\n  asked: ${brief(line)}\n  expected: ${brief(verdict.expected)}\n  actual: ${brief(verdict.actual)}\n  ...`);
      if (verdict.status === 'fail') failed++;
      if (verdict.status === 'skip') skipped++;
    }
  } catch (error) {
    if (!(error instanceof HarnessError)) throw error;
    print(`Bail out! ${error.message}`);
    return EXIT.harness;
  } finally {
    codec.end();
  }
  print(`1..${asked.length}\n# ${asked.length - failed - skipped} right, ${failed} wrong, ${skipped} skipped`);
  if (skipped === asked.length) print('# nothing was checked');
  return failed > 0 || skipped === asked.length ? EXIT.failures : EXIT.conformant;
}

function brief(value: unknown): string {
  const text = JSON.stringify(value);
  return JSON.stringify(text.length > 1_000 ? `${text.slice(0, 1_000)}…` : text);
}
