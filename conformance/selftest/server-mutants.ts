// The named faults of our server, for the test build alone: each is a change of one place in its
// sources, switched on by name. A place that no longer fits fails the selftest, which says so; faults
// that stand in the sources themselves (`mut('name')`, src/wire/mut.ts) are found there.
import { readFileSync, readdirSync } from 'node:fs';
import { replicaMutants } from './mutants-replica.ts';
import { sessionMutants } from './mutants-session.ts';
import { wireMutants } from './mutants-wire.ts';

export interface Patch {
  /** Name → what is wrong then. */
  readonly faults: Readonly<Record<string, string>>;
  readonly file: string;
  /** Text that is there exactly once; how it is broken into lines does not matter. */
  readonly find: string;
  /** `MUT('name')` is true while that fault is on. */
  readonly replace: string;
}

export const patches: readonly Patch[] = [...wireMutants, ...sessionMutants, ...replicaMutants];

/** The faults of the table, by the names that cases use: `srv:` and its own. */
export function patchedFaults(): Set<string> {
  return new Set(patches.flatMap(({ faults }) => Object.keys(faults)).map((name) => `srv:${name}`));
}

/** Those that cases use and that are not in the table. */
const PLANTED: readonly [string, string][] = [
  ['srv:ack-before-fsync', 'batches are acked before they are synced'], ['srv:uncommitted-served', 'readers see what is not committed'],
  ['srv:position-set-without-comparing', 'expected of a position is ignored'], ['srv:fence-ignored', 'the fence of a PRODUCE is ignored'],
  ['srv:damaged-body-served', 'a batch whose body is damaged on disk is sent'],
  ['srv:far-is-near', 'a far address is taken for loopback'],
];

/** Fault → what is wrong then. */
export function faultTexts(): Map<string, string> {
  const patched = patches.flatMap(({ faults }) => Object.entries(faults)).map(([name, what]): [string, string] => [`srv:${name}`, what]);
  return new Map([...patched, ...PLANTED]);
}

/** All faults: those of the table, and those planted in the sources. */
export function serverFaults(root = '.'): Set<string> {
  const faults = patchedFaults().add('srv:far-is-near');
  for (const file of readdirSync(`${root}/src`, { recursive: true }) as string[]) {
    if (!file.endsWith('.ts') || file.endsWith('mut.ts')) continue;
    for (const [, name] of readFileSync(`${root}/src/${file}`, 'utf8').matchAll(/\bmut\('([^']+)'\)/g)) faults.add(`srv:${name}`);
  }
  return faults;
}
