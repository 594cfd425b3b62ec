// The proof that the simulator bites: looks for each planted bug in up to so many seeds, or replays the
// seeds that the table of docs/testing.md names.
//
// Invariant: a world that fails counts only when the same world without the planted bug passes; one that
// fails without it, too, is a bug of ours, and fails the run. A planted bug also makes another world out of
// a seed, which may meet a bug of ours that the first one had not met: so a world that only stands still
// counts for those alone that are there to show in this way.
import { readFileSync } from 'node:fs';
import type { Violation } from './core/failure.ts';
import { MUTANTS } from './mutants.ts';
import type { Mutant } from './mutants.ts';
import { readTable, rowOf } from './mutants-table.ts';
import type { OptionWishes } from './options.ts';
import { drawOptions } from './options.ts';
import { World } from './world.ts';

/** Seeds between two signs of life. */
const SEEDS_PER_WORD = 25;

export type MutantWishes = OptionWishes & { readonly mutant: string; readonly fromTable: boolean; readonly seeds: number };

/** The exit code is 1 when one was not found, or when a world fails without any of them. */
export async function runMutants(wishes: MutantWishes): Promise<number> {
  const asked = wishes.mutant === '' ? null : wishes.mutant.split(',');
  const wanted = MUTANTS.filter(({ name }) => asked === null || asked.includes(name));
  const table = wishes.fromTable ? readTable(readFileSync('docs/testing.md', 'utf8')) : null;
  const search = new Search(wishes);
  let missed = 0;
  for (const mutant of wanted) {
    const began = performance.now();
    const row = table?.find(({ name }) => name === mutant.name);
    const seeds = table === null ? upTo(wishes.seeds) : row === undefined ? [] : [row.seed];
    const found = await search.find(mutant, seeds);
    if (found === null) missed++;
    console.log(rowOf(mutant, found));
    console.error(`  ${mutant.name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    if (found === null && table !== null) console.log(`  ${row === undefined ? 'not in the table' : `not in seed ${row.seed} any more`}: npm run sim -- --mutants --mutant ${mutant.name}`);
  }
  console.log(`${wanted.length - missed} passed, ${missed + search.ownFailures} failed`);
  return missed + search.ownFailures > 0 ? 1 : 0;
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

class Search {
  /** Worlds that fail without a planted bug. */
  ownFailures = 0;
  readonly #wishes: OptionWishes;
  /** Whether a world passes as it is, by nodes and seed. */
  readonly #passes = new Map<string, boolean>();

  constructor(wishes: OptionWishes) {
    this.#wishes = wishes;
  }

  /** The first of `seeds` that shows the bug and nothing else, with the rule that it broke. */
  async find({ name, nodes, needs = [], standstill }: Mutant, seeds: readonly number[]): Promise<{ seed: number; rule: string } | null> {
    for (const [i, seed] of seeds.entries()) {
      if (i > 0 && i % SEEDS_PER_WORD === 0) console.error(`  ${name}: ${i} seeds`);
      const { faults } = drawOptions(seed, { ...this.#wishes, nodeCount: nodes });
      if (!needs.every((kind) => faults[kind] > 0)) continue;
      const violation = await this.#run(seed, nodes, name);
      if (violation === null || (violation.rule === 'liveness' && standstill !== true)) continue;
      if (await this.#passesWithout(seed, nodes)) return { seed, rule: ruleOf(violation) };
    }
    return null;
  }

  async #passesWithout(seed: number, nodes: number): Promise<boolean> {
    const key = `${nodes} ${seed}`;
    const known = this.#passes.get(key);
    if (known !== undefined) return known;
    const violation = await this.#run(seed, nodes, '');
    this.#passes.set(key, violation === null);
    if (violation !== null) {
      this.ownFailures++;
      console.log(`seed ${seed} FAILED without any planted bug: ${violation.message}`);
      console.log(`  replay: npm run sim -- --seed ${seed} --nodes ${nodes} --trace`);
    }
    return violation === null;
  }

  async #run(seed: number, nodes: number, mutant: string): Promise<Violation | null> {
    const target = globalThis as { sidelogMutant?: string };
    target.sidelogMutant = mutant;
    try {
      return (await new World(drawOptions(seed, { ...this.#wishes, nodeCount: nodes }), null).run()).violation;
    } finally {
      delete target.sidelogMutant;
    }
  }
}

/** An assertion of the program names its invariant, if it has one. */
function ruleOf({ rule, message }: Violation): string {
  if (rule !== 'crash') return rule;
  const named = /InvariantError: (I\d+)?/.exec(message);
  return named === null ? 'crash' : named[1] === undefined ? 'assertion' : `assertion ${named[1]}`;
}
