// What may stand on the simulator's command line, and its help. It starts nothing.
import { SEEDS_MAX } from './mutants-table.ts';
import type { OptionWishes } from './options.ts';
import { FAULT_KINDS } from './options.ts';
import type { FaultKind } from './options.ts';

export const HELP = `Simulated worlds of whole nodes: one seed, one world (docs/testing.md).

usage: node test/sim/run.mjs [options]        or: npm run sim -- [options]

which worlds
  --seed N[,M…]      one world, or the first of --seeds; several: just these (default: a seed of now)
  --seeds K          so many worlds, seeds N … N + K − 1 (default 1)
  --minutes M        as many worlds as fit into so many real minutes
  --nodes 1|3|5|all  nodes of a world (default 1); all: of every size, by the seed
  --kept             the worlds that once found a bug (kept-seeds.ts)
  --seconds S        simulated seconds with faults, instead of what the seed says
  --without a,b      leave these faults out
what is told
  --trace            the readable trace (long)
  --shrink           look for a shorter world with fewer faults that fails the same way
  --quiet            no line per world
planted bugs
  --mutant NAME      switch one on
  --mutants          look for each in up to 200 seeds, or in --seeds K; with --mutant a,b only for these
  --from-table       with --mutants: each with the seed that the table of docs/testing.md names
how it is run
  --node PATH        on another Node
  --built            run what was built last
  --profile FOLDER   write a CPU profile there
  --help             this
`;

/** Said in one line, with exit code 2. */
export class UsageError extends Error {}

export interface Arguments extends OptionWishes {
  /** The first one, when it is not a list. */
  seed: number;
  list: readonly number[];
  /** Worlds of all sizes. */
  allSizes: boolean;
  seeds: number;
  minutes: number;
  kept: boolean;
  trace: boolean;
  shrink: boolean;
  quiet: boolean;
  /** '' = none; with `mutants` a list. */
  mutant: string;
  mutants: boolean;
  fromTable: boolean;
  help: boolean;
}

const WITH_VALUE = new Set(['seed', 'seeds', 'minutes', 'nodes', 'seconds', 'without', 'mutant']);
const ALONE = new Set(['kept', 'trace', 'shrink', 'quiet', 'mutants', 'from-table', 'help']);

/** `planted` are the names of all planted bugs. Throws UsageError. */
export function parseArguments(words: readonly string[], planted: readonly string[]): Arguments {
  const values = collect(words);
  const text = (name: string): string => values.get(name) ?? '';
  const list = (text('seed') || String(Date.now() % 1_000_000_000)).split(',').map((word) => wholeNumber('seed', word));
  const nodes = values.get('nodes') ?? '1';
  if (!['1', '3', '5', 'all'].includes(nodes)) throw new UsageError(`--nodes wants 1, 3, 5 or all, not ${nodes}`);
  const without = names('without', text('without'), FAULT_KINDS) as FaultKind[];
  const mutants = names('mutant', text('mutant'), planted);
  if (mutants.length > 1 && !values.has('mutants')) throw new UsageError('--mutant wants one name unless --mutants is given, too');
  if (values.has('from-table') && !values.has('mutants')) throw new UsageError('--from-table goes with --mutants');
  const seconds = values.get('seconds');
  return {
    seed: list[0]!,
    list,
    seeds: values.has('seeds') ? wholeNumber('seeds', text('seeds'), 1) : values.has('mutants') ? SEEDS_MAX : 1,
    minutes: values.has('minutes') ? positive('minutes', text('minutes')) : 0,
    kept: values.has('kept'),
    nodeCount: nodes === 'all' ? 1 : Number(nodes),
    allSizes: nodes === 'all',
    seconds: seconds === undefined ? undefined : positive('seconds', seconds),
    without,
    trace: values.has('trace'),
    shrink: values.has('shrink'),
    quiet: values.has('quiet'),
    mutant: mutants.join(','),
    mutants: values.has('mutants'),
    fromTable: values.has('from-table'),
    help: values.has('help'),
  };
}

function collect(words: readonly string[]): Map<string, string> {
  const values = new Map<string, string>();
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const name = word.startsWith('--') ? word.slice(2) : '';
    if (ALONE.has(name)) values.set(name, '');
    else if (!WITH_VALUE.has(name)) throw new UsageError(`${word} is no option; --help names all`);
    else {
      const value = words[++i];
      if (value === undefined || value === '' || value.startsWith('--')) throw new UsageError(`${word} wants a value`);
      values.set(name, value);
    }
  }
  return values;
}

function wholeNumber(name: string, text: string, min = 0): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value) || value < min) throw new UsageError(`--${name} wants a whole number${min > 0 ? ` from ${min}` : ''}, not ${text}`);
  return value;
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value <= 0) throw new UsageError(`--${name} wants a number above 0, not ${text}`);
  return value;
}

function names(option: string, text: string, known: readonly string[]): string[] {
  const found = text === '' ? [] : text.split(',');
  for (const name of found) if (!known.includes(name)) throw new UsageError(`--${option} does not know ${name === '' ? 'an empty name' : name}`);
  return found;
}
