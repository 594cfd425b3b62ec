// The planted bugs, and the proof that the simulator finds each of them within a number of seeds.
import type { OptionWishes } from './options.ts';
import { drawOptions } from './options.ts';
import { World } from './world.ts';

export interface Mutant {
  readonly name: string;
  readonly what: string;
}

/** Bugs that a world of one node can show. */
export const MUTANTS: readonly Mutant[] = [
  { name: 'ack-before-fsync', what: 'a group is acknowledged without its sync' },
];

const SEEDS_MAX = 200;

/** Switches each mutant on and runs seeds until one fails; the exit code is 1 when one was not found. */
export async function runMutants(wishes: OptionWishes & { seed: number }): Promise<number> {
  const target = globalThis as { sidelogMutant?: string };
  let missed = 0;
  for (const { name, what } of MUTANTS) {
    target.sidelogMutant = name;
    const found = await firstFailure(wishes);
    if (found === '') missed++;
    console.log(`| \`${name}\` | ${what} | ${found === '' ? `not found in ${SEEDS_MAX} seeds` : found} |`);
  }
  delete target.sidelogMutant;
  return missed > 0 ? 1 : 0;
}

async function firstFailure(wishes: OptionWishes): Promise<string> {
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    const { violation } = await new World(drawOptions(seed, wishes), null).run();
    if (violation !== null) return `${seed}: ${violation.message.split('\n')[0]!.slice(0, 120)}`;
  }
  return '';
}
