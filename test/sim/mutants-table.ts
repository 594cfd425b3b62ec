// The table of planted bugs in docs/testing.md, read and written.
import type { Mutant } from './mutants.ts';

/** In so many seeds each has to be found. */
export const SEEDS_MAX = 200;

export interface TableRow {
  readonly name: string;
  readonly what: string;
  readonly nodes: number;
  readonly seed: number;
  /** The rule that was broken. */
  readonly rule: string;
}

const ROW = /^\| `([a-z0-9-]+)` \| (.+?) \| ([135]) \| (\d+) \| (.+) \|$/gm;

export function readTable(text: string): TableRow[] {
  return [...text.matchAll(ROW)].map(([, name, what, nodes, seed, rule]) => ({ name: name!, what: what!, nodes: Number(nodes), seed: Number(seed), rule: rule! }));
}

export function rowOf({ name, what, nodes }: Mutant, found: { seed: number; rule: string } | null): string {
  return `| \`${name}\` | ${what} | ${nodes} | ${found === null ? 'not found | |' : `${found.seed} | ${found.rule} |`}`;
}
