// Which mutant which case must catch: the cases say so in `kills`; here it is turned round.
import type { Case } from '../engine/case.ts';
import { allCases } from '../cases/all.ts';

/** Mutant → the cases that must fail against it. */
export function plan(cases: readonly Case[] = allCases): Map<string, Case[]> {
  const mutants = new Map<string, Case[]>();
  for (const it of cases) for (const name of it.kills) mutants.set(name, [...(mutants.get(name) ?? []), it]);
  return new Map([...mutants].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A case that needs seconds of waiting; the quick gate leaves these out. */
export function isQuick(it: Case): boolean {
  return it.slow !== true && it.exclusive !== true;
}
