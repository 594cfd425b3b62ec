// The selftest: shows that the suite can fail. Pristine servers must pass everything; every mutant
// must be caught by a case that expects it; every case must catch one; servers that do nothing right
// must pass nothing. `quick` is what `npm test` runs, `full` all of it.
import { allCases } from '../cases/all.ts';
import type { Case, Status } from '../engine/case.ts';
import type { Report } from '../engine/result.ts';
import { parseTarget } from '../engine/target.ts';
import { NoHooks } from '../engine/hooks.ts';
import { buildTestServer } from './build-server.ts';
import { brokenPromises, nullPasses, survivors, vacuous } from './gates.ts';
import type { Gate, Matrix } from './gates.ts';
import { exists, kindOf, newServer, runMutant, runOn, targetOf } from './mutant-run.ts';
import type { TryOptions } from './mutant-run.ts';
import { nullServers, serveNull } from './null-servers.ts';
import type { OwnServer } from './own-server.ts';
import { isQuick, plan } from './plan.ts';
import { serverMutants } from './server-mutants.ts';

export interface SelftestResult {
  readonly gates: Gate[];
  readonly matrix: Matrix;
  readonly nulls: Map<string, Map<string, Status>>;
  readonly pristine: Report[];
  readonly seconds: number;
}

export interface SelftestOptions {
  readonly mode: 'quick' | 'full';
  readonly seed: number;
  /** Only mutants whose name contains one of these; all when empty. */
  readonly only: readonly string[];
  readonly log: (text: string) => void;
  /** Every case against every proxy mutant, not only the ones that name it. */
  readonly wholeMatrix: boolean;
}

/** Against mutants a missing reaction is found sooner: nobody waits for a verdict here. */
const MUTANT_SCALE = 0.3;
const NULL_SCALE = 0.04;

export async function selftest(options: SelftestOptions): Promise<SelftestResult> {
  const began = performance.now();
  const { log } = options;
  const program = await buildTestServer(process.cwd());
  const pristineServer = newServer(program);
  const matrix: Matrix = new Map();
  const gates: Gate[] = [];
  const pristine: Report[] = [];
  const nulls = new Map<string, Map<string, Status>>();
  const wanted = (name: string): boolean => options.only.length === 0 || options.only.some((word) => name.includes(word));
  try {
    await pristineServer.start();
    if (options.only.length === 0) {
      gates.push(...(await pristineGates(pristineServer, options, pristine)));
      gates.push(...(await nullGates(options, nulls)));
    }
    const cases = options.mode === 'quick' ? allCases.filter(isQuick) : allCases;
    const promised = plan(cases);
    gates.push(unknownMutants(promised));
    const chosen = options.mode === 'quick' ? quickPlan(promised, options.seed) : promised;
    for (const [mutant, expecting] of chosen) {
      if (!wanted(mutant) || !exists(mutant, serverMutants.map(({ name }) => name))) continue;
      const run = options.wholeMatrix && kindOf(mutant) === 'proxy' ? cases.filter(isQuick).concat(expecting.filter((it) => !isQuick(it))) : expecting;
      matrix.set(mutant, await tryMutant(mutant, run, program, pristineServer, options));
    }
    gates.push(survivors(matrix, chosen));
    if (options.mode === 'full') gates.push(vacuous(matrix, options.only.length === 0 ? cases : []), brokenPromises(matrix, chosen));
  } finally {
    await pristineServer.destroy();
  }
  const seconds = (performance.now() - began) / 1000;
  log(`${matrix.size} mutants, ${seconds.toFixed(0)} s`);
  return { gates, matrix, nulls, pristine, seconds };
}

function unknownMutants(promised: ReadonlyMap<string, readonly Case[]>): Gate {
  const names = serverMutants.map(({ name }) => name);
  const problems = [...promised].filter(([name]) => !exists(name, names)).map(([name, cases]) => `${name}, named by ${cases.map((it) => it.id).join(', ')}`);
  const orphans = names.filter((name) => ![...plan().keys()].includes(name)).map((name) => `${name} is named by no case`);
  return { name: 'every mutant that a case names exists', problems: [...problems, ...orphans] };
}

async function tryMutant(name: string, cases: readonly Case[], program: string, pristine: OwnServer, options: SelftestOptions): Promise<Map<string, Status>> {
  const settings: TryOptions = { scale: MUTANT_SCALE, seed: options.seed, jobs: 4 };
  const began = performance.now();
  const report = await runMutant(name, cases, program, pristine, settings);
  const statuses = new Map(report.cases.map(({ id, status }) => [id, status]));
  const caught = [...statuses.values()].filter((status) => status === 'fail').length;
  const missed = report.cases.filter(({ status }) => status !== 'fail').map(({ id, status, reason }) => `${id} ${status}${reason ? ` (${reason.slice(0, 120)})` : ''}`);
  options.log(`${caught === 0 ? 'SURVIVED' : 'caught  '} ${name} by ${caught} of ${statuses.size}, ${((performance.now() - began) / 1000).toFixed(1)} s${options.wholeMatrix ? '' : missed.length > 0 ? `; missed by ${missed.join('; ')}` : ''}`);
  return statuses;
}

/** For each proxy mutant one case, and a few of the server's faults, which cost a server each. */
function quickPlan(promised: ReadonlyMap<string, Case[]>, seed: number): Map<string, Case[]> {
  const chosen = new Map<string, Case[]>();
  const faults = [...promised.keys()].filter((name) => kindOf(name) === 'server');
  const some = new Set(Array.from({ length: Math.min(8, faults.length) }, (_, i) => faults[(seed + i * 7) % faults.length]!));
  for (const [name, cases] of promised) if (kindOf(name) !== 'server' || some.has(name)) chosen.set(name, cases.slice(0, 1));
  return chosen;
}

async function pristineGates(server: OwnServer, options: SelftestOptions, reports: Report[]): Promise<Gate[]> {
  const gates: Gate[] = [];
  const cases = options.mode === 'quick' ? allCases.filter(isQuick) : allCases;
  for (const transport of options.mode === 'quick' ? (['plain'] as const) : (['plain', 'tls'] as const)) {
    options.log(`pristine server, ${cases.length} cases, ${transport}`);
    const report = await runOn(targetOf(server), cases, { scale: 2, seed: options.seed, jobs: 3, transport, crashRounds: 3 });
    reports.push(report);
    const bad = report.cases.filter(({ status }) => ['fail', 'error', 'flaky', 'warn'].includes(status));
    gates.push({ name: `our server without a fault fails nothing (${transport})`, problems: bad.map(({ id, status, reason, expected, actual }) => `${id} ${status}: ${reason}; expected ${expected}, got ${actual}`) });
  }
  return gates;
}

async function nullGates(options: SelftestOptions, nulls: Map<string, Map<string, Status>>): Promise<Gate[]> {
  const gates: Gate[] = [];
  for (const server of nullServers) {
    const { port, close } = await serveNull(server);
    const target = parseTarget({
      schema: 'sidelog-target/1', name: server.name, endpoints: [{ host: '127.0.0.1', port }],
      features: { idempotence: true, conditional: true, streaming: true, http: true, trash: true, 'transfer-leader': true, 'remove-node': true, peers: false },
    }, process.cwd(), new NoHooks());
    const report = await runOn(target, allCases.filter((it) => isQuick(it)), { scale: NULL_SCALE, seed: options.seed, jobs: 24 });
    await close();
    const statuses = new Map(report.cases.map(({ id, status }) => [id, status]));
    nulls.set(server.name, statuses);
    options.log(`server that ${server.what}: ${[...statuses.values()].filter((status) => status === 'pass').length} of ${statuses.size} pass`);
    gates.push(nullPasses(server.what, statuses));
  }
  return gates;
}

