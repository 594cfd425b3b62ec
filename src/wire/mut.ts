// Planted bugs for the tests of the tests: `if (mut('ack-before-fsync')) …` is true only in a build
// made with `__SIDELOG_MUTANTS__` defined as true and only while that one bug is switched on. The
// simulator and the conformance suite switch them on one by one and must notice each.
//
// Invariant: the shipped file contains none of it. build.mjs replaces every `mut('…')` by `false`
// before bundling, so the branch is dropped with its name, and fails if a name is left.

declare const __SIDELOG_MUTANTS__: boolean;

/** True while the planted bug `name` is switched on: `globalThis.sidelogMutant` holds its name. */
export function mut(name: string): boolean {
  if (typeof __SIDELOG_MUTANTS__ === 'undefined' || !__SIDELOG_MUTANTS__) return false;
  return (globalThis as { sidelogMutant?: string }).sidelogMutant === name;
}
