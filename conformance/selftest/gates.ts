// The gates of the selftest over what the mutants did to the cases: what held, what did not.
import type { Case, Status } from '../engine/case.ts';
import { mutantText } from './matrix.ts';
import { exists } from './mutant-run.ts';
import { nullServers } from './null-servers.ts';
import { PARTS } from './selftest.ts';
import type { Found } from './saved.ts';
import { patchedFaults } from './server-mutants.ts';

/** Mutant → case → status. */
export type Matrix = Map<string, Map<string, Status>>;

export interface Gate {
  readonly name: string;
  readonly problems: readonly string[];
}

/** Cases that may pass against a server that only closes or hangs, each with its reason. */
export const NULL_ALLOWED: Readonly<Record<string, string>> = {};

/** A name that a case promises to catch and that nothing has is a typing error. */
export function unknownMutants(promised: ReadonlyMap<string, readonly Case[]>, faults: ReadonlySet<string>): Gate {
  const problems = [...promised].filter(([name]) => !exists(name, faults)).map(([name, cases]) => `${name}, named by ${cases.map((it) => it.id).join(', ')}`);
  const orphans = [...patchedFaults()].filter((name) => !promised.has(name)).map((name) => `${name} is named by no case`);
  const silent = [...promised.keys()].filter((name) => mutantText(name) === null).map((name) => `what is wrong with ${name} is written nowhere`);
  return { name: 'every mutant that a case names exists and is explained, and every fault of ours is named', problems: [...problems, ...orphans, ...silent] };
}

export function survivors(matrix: Matrix, plan: ReadonlyMap<string, readonly Case[]>): Gate {
  const problems: string[] = [];
  for (const [mutant, cases] of plan) {
    const row = matrix.get(mutant);
    if (row === undefined) continue;
    const tried = cases.filter((it) => row.has(it.id));
    if (!tried.some((it) => row.get(it.id) === 'fail')) {
      problems.push(`${mutant} survived: ${tried.map((it) => `${it.id} ${row.get(it.id)}`).join(', ') || 'no case could be tried'}`);
    }
  }
  return { name: 'every mutant is caught by a case that expects it', problems };
}

export function vacuous(matrix: Matrix, cases: readonly Case[]): Gate {
  const problems: string[] = [];
  for (const it of cases) {
    const tried = it.kills.filter((name) => matrix.get(name)?.has(it.id) === true);
    if (tried.length > 0 && !tried.some((name) => matrix.get(name)!.get(it.id) === 'fail')) problems.push(`${it.id} fails against none of ${tried.join(', ')}`);
    if (tried.length === 0) problems.push(`${it.id} was tried against no mutant`);
  }
  return { name: 'every case catches at least one mutant', problems };
}

/** Pairs that were promised and did not hold, although mutant and case are fine by the other gates. */
export function brokenPromises(matrix: Matrix, plan: ReadonlyMap<string, readonly Case[]>): Gate {
  const problems: string[] = [];
  for (const [mutant, cases] of plan) {
    for (const it of cases) {
      const status = matrix.get(mutant)?.get(it.id);
      if (status !== undefined && status !== 'fail') problems.push(`${it.id} says that it fails against ${mutant}, and was ${status}`);
    }
  }
  return { name: 'every case fails against each mutant that it names', problems };
}

/** What a full selftest still lacks. */
export function untried(found: Found, plan: ReadonlyMap<string, readonly Case[]>): Gate {
  const mutants = [...plan.keys()].filter((name) => !found.matrix.has(name));
  const runs = PARTS.slice(0, 4).filter((part) => !found.pristine.some((run) => run.part === part)).map((part) => `the part ${part}`);
  const nulls = nullServers.filter(({ name }) => !found.nulls.has(name)).map(({ what }) => `the server that ${what}`);
  const some = mutants.length > 0 ? [`${mutants.length} mutants, the first ${mutants[0]}`] : [];
  return { name: 'everything was tried', problems: [...runs, ...nulls, ...some].map((what) => `${what}: not yet`) };
}

export function nullPasses(server: string, statuses: ReadonlyMap<string, Status>): Gate {
  const problems = [...statuses].filter(([id, status]) => (status === 'pass' || status === 'info') && NULL_ALLOWED[id] === undefined).map(([id]) => id);
  return { name: `nothing passes against the server that ${server}`, problems };
}
