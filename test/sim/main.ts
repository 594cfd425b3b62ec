// The simulator's command line; `npm run sim -- …` builds and starts it (run.mjs). What may stand on it
// is in arguments.ts.
import { HELP, parseArguments, UsageError } from './arguments.ts';
import type { Arguments } from './arguments.ts';
import { KEPT_SEEDS } from './kept-seeds.ts';
import { MUTANTS } from './mutants.ts';
import { runMutants } from './mutants-run.ts';
import { describeOptions, drawOptions } from './options.ts';
import { Counters } from './counters.ts';
import { shrink } from './shrink.ts';
import { Watchdog } from './watchdog.ts';
import { World } from './world.ts';
import type { WorldResult } from './world.ts';

const MINUTE_MS = 60_000;
/** A world whose time stands still for so long hangs. */
const STILL_MS = 60_000;
/** A set of so many seeds must have reached every coverage mark. */
const COVERAGE_SEEDS_MIN = 200;
/** Of --nodes all. */
const SIZES: readonly number[] = [1, 3, 1, 3, 5];

process.exitCode = await main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<number> {
  let args: Arguments;
  try {
    args = parseArguments(words, MUTANTS.map(({ name }) => name));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(error.message);
    return 2;
  }
  if (args.help) {
    process.stdout.write(HELP);
    return 0;
  }
  // A stack costs more than all else about a refused request; a replay with --trace has them.
  Error.stackTraceLimit = args.trace ? 30 : 0;
  if (args.mutants) return runMutants(args);
  if (args.mutant !== '') (globalThis as { sidelogMutant?: string }).sidelogMutant = args.mutant;
  return runSeeds(args);
}

async function runSeeds(wishes: Arguments): Promise<number> {
  const began = performance.now();
  const totals = new Counters();
  const speeds: number[] = [];
  const watchdog = new Watchdog(STILL_MS);
  let failures = 0;
  let count = 0;
  for (const { seed, nodeCount } of worldsOf(wishes, began)) {
    count++;
    const sized = { ...wishes, nodeCount };
    const { result, cpuMs } = await runOne(seed, sized, watchdog);
    speeds.push((result.simulatedSeconds * 1000) / cpuMs);
    totals.addAll(result.counters);
    if (result.violation !== null) {
      failures++;
      console.log(`seed ${seed} FAILED: ${result.violation.message}`);
      console.log(`  replay: ${replayCommand(seed, sized)}`);
      if (wishes.shrink) console.log(`  shrunk: ${await shrink(seed, sized)}`);
    }
  }
  await watchdog.end();
  report(count, failures, totals, speeds, began);
  const missing = count >= COVERAGE_SEEDS_MIN && !wishes.kept ? totals.missing(wishes.allSizes ? 3 : wishes.nodeCount) : [];
  if (missing.length > 0) console.log(`never happened: ${missing.join(', ')}`);
  console.log(`${count - failures} passed, ${failures + Math.min(1, missing.length)} failed`);
  return failures > 0 || missing.length > 0 ? 1 : 0;
}

/** Seed and size of one world after the other. */
function* worldsOf(wishes: Arguments, began: number): Generator<{ seed: number; nodeCount: number }> {
  const { list, minutes, seeds, kept, allSizes } = wishes;
  const sized = (seed: number) => ({ seed, nodeCount: allSizes ? SIZES[seed % SIZES.length]! : wishes.nodeCount });
  if (kept) for (const { seed, nodes } of KEPT_SEEDS) yield { seed, nodeCount: nodes };
  else if (list.length > 1) for (const seed of list) yield sized(seed);
  else for (let i = 0; minutes > 0 ? performance.now() - began < minutes * MINUTE_MS : i < seeds; i++) yield sized(wishes.seed + i);
}

/** The time counted is the processor's: other work on the machine must not look like a slow simulator. */
async function runOne(seed: number, wishes: Arguments, watchdog: Watchdog): Promise<{ result: WorldResult; cpuMs: number }> {
  const options = drawOptions(seed, wishes);
  if (!wishes.quiet) console.log(describeOptions(options));
  const began = process.cpuUsage();
  const world = new World(options, wishes.trace ? (line) => console.log(line) : null);
  watchdog.watch(`seed ${seed} stands still\n  replay: ${replayCommand(seed, wishes)}`, () => world.scheduler.nowUs / 1000);
  const result = await world.run();
  const { user, system } = process.cpuUsage(began);
  const cpuMs = (user + system) / 1000;
  if (!wishes.quiet) {
    const { counters, simulatedSeconds, hash, events } = result;
    const rate = ((simulatedSeconds * 1000) / cpuMs).toFixed(0);
    console.log(`seed ${seed}: ${hash} ${events} events, ${simulatedSeconds.toFixed(1)} s simulated, ${rate} per second; ${counters.toString()}`);
  }
  return { result, cpuMs };
}

function report(count: number, failures: number, totals: Counters, speeds: number[], began: number): void {
  speeds.sort((a, b) => a - b);
  const median = speeds[speeds.length >> 1] ?? 0;
  console.log(`${count} worlds, ${failures} failed, ${((performance.now() - began) / 1000).toFixed(1)} s; median ${median.toFixed(0)} simulated seconds per second`);
  console.log(totals.toString());
  const outcomes = [...totals.outcomes].sort(([a], [b]) => (a < b ? -1 : 1));
  console.log(outcomes.map(([key, value]) => `${key}: ${value}`).join(', '));
}

function replayCommand(seed: number, { nodeCount, seconds, without, mutant }: Arguments): string {
  const parts = [`npm run sim -- --seed ${seed} --nodes ${nodeCount} --trace`];
  if (seconds !== undefined) parts.push(`--seconds ${seconds}`);
  if (without !== undefined && without.length > 0) parts.push(`--without ${without.join(',')}`);
  if (mutant !== '') parts.push(`--mutant ${mutant}`);
  return parts.join(' ');
}
