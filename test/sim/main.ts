// The simulator's command line; `npm run sim -- …` builds and starts it (run.mjs).
//
//   --seed N        one world, or the first of --seeds; N,M,… = these worlds
//   --seeds K       so many worlds, seeds N … N + K − 1
//   --minutes M     as many fresh worlds as fit into so many real minutes
//   --nodes 1|3|5   nodes per world (1); all = of every size, by the seed
//   --seconds S     simulated seconds of phase 1, instead of what the seed says
//   --without a,b   leave these faults out
//   --trace         write the readable trace (of a few seeds: it is long)
//   --shrink        find a shorter world that fails, by less time and fewer faults
//   --mutant NAME   switch a planted bug on; --mutants: each in turn, until found
//   --quiet         no line per world
import { runMutants } from './mutants.ts';
import type { OptionWishes } from './options.ts';
import { describeOptions, drawOptions, FAULT_KINDS } from './options.ts';
import type { FaultKind } from './options.ts';
import { Counters } from './counters.ts';
import { shrink } from './shrink.ts';
import { World } from './world.ts';
import type { WorldResult } from './world.ts';

const MINUTE_MS = 60_000;
/** A set of so many seeds must have reached every coverage mark. */
const COVERAGE_SEEDS_MIN = 200;
/** Of --nodes all. */
const SIZES: readonly number[] = [1, 3, 1, 3, 5];

interface Arguments extends OptionWishes {
  /** The first one, when it is not a list. */
  seed: number;
  list: readonly number[];
  /** Worlds of all sizes. */
  allSizes: boolean;
  seeds: number;
  minutes: number;
  trace: boolean;
  shrink: boolean;
  quiet: boolean;
  mutant: string;
  mutants: boolean;
}

const args = parse(process.argv.slice(2));
// A stack costs more than all else about a refused request; a replay with --trace has them.
Error.stackTraceLimit = args.trace ? 30 : 0;
if (args.mutant !== '') (globalThis as { sidelogMutant?: string }).sidelogMutant = args.mutant;
process.exitCode = args.mutants ? await runMutants(args) : await runSeeds(args);

async function runSeeds(wishes: Arguments): Promise<number> {
  const began = performance.now();
  const totals = new Counters();
  const speeds: number[] = [];
  let failures = 0;
  let count = 0;
  const { list, minutes } = wishes;
  const seeds = list.length > 1 ? list.length : wishes.seeds;
  const more = (): boolean => (minutes > 0 ? performance.now() - began < minutes * MINUTE_MS : count < seeds);
  while (more()) {
    const seed = list.length > 1 ? list[count]! : wishes.seed + count;
    count++;
    const sized = wishes.allSizes ? { ...wishes, nodeCount: SIZES[seed % SIZES.length]! } : wishes;
    const { result, cpuMs } = await runOne(seed, sized);
    speeds.push((result.simulatedSeconds * 1000) / cpuMs);
    totals.addAll(result.counters);
    if (result.violation !== null) {
      failures++;
      console.log(`seed ${seed} FAILED: ${result.violation.message}`);
      console.log(`  replay: ${replayCommand(seed, sized)}`);
      if (wishes.shrink) console.log(`  shrunk: ${await shrink(seed, sized)}`);
    }
  }
  report(count, failures, totals, speeds, began);
  const missing = count >= COVERAGE_SEEDS_MIN ? totals.missing(wishes.allSizes ? 3 : wishes.nodeCount) : [];
  if (missing.length > 0) console.log(`never happened: ${missing.join(', ')}`);
  console.log(`${count - failures} passed, ${failures + Math.min(1, missing.length)} failed`);
  return failures > 0 || missing.length > 0 ? 1 : 0;
}

/** The time counted is the processor's: other work on the machine must not look like a slow simulator. */
async function runOne(seed: number, wishes: Arguments): Promise<{ result: WorldResult; cpuMs: number }> {
  const options = drawOptions(seed, wishes);
  if (!wishes.quiet) console.log(describeOptions(options));
  const began = process.cpuUsage();
  const result = await new World(options, wishes.trace ? (line) => console.log(line) : null).run();
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

function parse(words: readonly string[]): Arguments {
  const value = (name: string): string | undefined => {
    const at = words.indexOf(`--${name}`);
    return at < 0 ? undefined : words[at + 1];
  };
  const number = (name: string, fallback: number): number => {
    const text = value(name);
    if (text === undefined) return fallback;
    const parsed = Number(text);
    if (!Number.isFinite(parsed) || parsed < 0) throw new RangeError(`--${name} wants a number, not ${text}`);
    return parsed;
  };
  const without = (value('without') ?? '').split(',').filter((kind): kind is FaultKind => (FAULT_KINDS as readonly string[]).includes(kind));
  const list = (value('seed') ?? String(Date.now() % 1_000_000_000)).split(',').map(Number);
  if (!list.every((seed) => Number.isSafeInteger(seed) && seed >= 0)) throw new RangeError(`--seed wants numbers, not ${value('seed')}`);
  return {
    seed: list[0]!,
    list,
    seeds: number('seeds', 1),
    minutes: number('minutes', 0),
    nodeCount: value('nodes') === 'all' ? 1 : number('nodes', 1),
    allSizes: value('nodes') === 'all',
    seconds: value('seconds') === undefined ? undefined : number('seconds', 0),
    without,
    trace: words.includes('--trace'),
    shrink: words.includes('--shrink'),
    quiet: words.includes('--quiet'),
    mutant: value('mutant') ?? '',
    mutants: words.includes('--mutants'),
  };
}
