// `selftest`: shows that the suite can fail. Only inside the repository, since it builds our server.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { selftest } from '../selftest/selftest.ts';
import { matrixHtml } from '../selftest/matrix.ts';
import { UsageError, parseArgs } from './args.ts';

export async function selftestCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, ['only', 'seed', 'report'], ['quick', 'full', 'matrix']);
  if (!existsSync('src/main.ts') || !existsSync('conformance/selftest')) throw new UsageError('selftest works only in the root of the repository');
  const seed = args.number('seed', 1);
  const log = (text: string): void => void process.stdout.write(`# ${text}\n`);
  const result = await selftest({ mode: args.flag('quick') ? 'quick' : 'full', seed, only: args.list('only'), log, wholeMatrix: args.flag('matrix') });
  let failed = 0;
  for (const { name, problems } of result.gates) {
    process.stdout.write(`${problems.length === 0 ? 'ok' : 'not ok'} - ${name}\n`);
    for (const problem of problems) process.stdout.write(`  ${problem}\n`);
    if (problems.length > 0) failed++;
  }
  const file = args.text('report') ?? 'build/conformance/selftest.html';
  mkdirSync('build/conformance', { recursive: true });
  writeFileSync(file, matrixHtml(result));
  process.stdout.write(`# ${file}\n${result.gates.length - failed} gates hold, ${failed} do not\n`);
  return failed === 0 ? 0 : 1;
}
