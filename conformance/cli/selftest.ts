// `selftest`: shows that the suite can fail. Only inside the repository, since it builds our server.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { TEST_BUILD, buildTestServer } from '../selftest/build-server.ts';
import { matrixHtml, matrixJson } from '../selftest/matrix.ts';
import { plan } from '../selftest/plan.ts';
import { buildKey, load, nothingFound, save } from '../selftest/saved.ts';
import { PARTS, selftest } from '../selftest/selftest.ts';
import type { Part } from '../selftest/selftest.ts';
import { UsageError, parseArgs } from './args.ts';

const FOLDER = 'build/conformance';

export async function selftestCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, ['only', 'seed', 'report', 'part'], ['quick', 'full']);
  if (!existsSync('src/main.ts') || !existsSync('conformance/selftest')) throw new UsageError('selftest works only in the root of the repository');
  const mode = args.flag('quick') ? 'quick' : 'full';
  const some = args.list('part').map(partName);
  const only = args.list('only');
  const seed = args.whole('seed', 1, 0);
  for (const word of only) if (![...plan().keys()].some((name) => name.includes(word))) throw new UsageError(`--only ${word}: no mutant is called so`);
  mkdirSync(FOLDER, { recursive: true });
  const program = await buildTestServer(process.cwd());
  const state = `${FOLDER}/selftest.json`;
  const key = buildKey([fileURLToPath(import.meta.url), TEST_BUILD, 'conformance/second/server.py', 'conformance/second/wire.py']);
  // A run of everything begins anew; a part adds to what the parts before it found.
  const found = mode === 'full' && (some.length > 0 || only.length > 0) ? load(state, key) : nothingFound();
  const parts: readonly Part[] = some.length > 0 ? some : only.length > 0 ? ['proxy', 'faults'] : mode === 'quick' ? ['plain', 'second', 'nulls', 'proxy', 'faults'] : PARTS;
  const began = performance.now();
  const gates = await selftest(program, { mode, parts, seed, only, found, log: (text) => void process.stdout.write(`# ${text}\n`) });
  const seconds = (performance.now() - began) / 1000;
  if (mode === 'full') save(state, key, found, matrixJson(gates, found, seconds));
  for (const { name, problems } of gates) {
    process.stdout.write(`${problems.length === 0 ? 'ok' : 'not ok'} - ${name}\n`);
    for (const problem of problems) process.stdout.write(`  ${problem}\n`);
  }
  const file = args.text('report') ?? `${FOLDER}/selftest.html`;
  writeFileSync(file, matrixHtml(gates, found));
  const broken = gates.filter(({ problems }) => problems.length > 0).length;
  process.stdout.write(`# ${file} and ${state}, ${seconds.toFixed(0)} s\n${gates.length - broken} gates hold, ${broken} do not\n`);
  return broken === 0 ? 0 : 1;
}

function partName(name: string): Part {
  if (!(PARTS as readonly string[]).includes(name)) throw new UsageError(`--part ${name}: known are ${PARTS.join(', ')}`);
  return name as Part;
}
