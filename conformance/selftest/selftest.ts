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
import { baseOf, exists, kindOf, runMutant, runOn, startBases, stopBases, targetOf } from './mutant-run.ts';
import type { Bases, TryOptions } from './mutant-run.ts';
import { nullServers, serveNull } from './null-servers.ts';
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
  const bases = await startBases(program);
  const matrix: Matrix = new Map();
  const gates: Gate[] = [];
  const pristine: Report[] = [];
  const nulls = new Map<string, Map<string, Status>>();
  const wanted = (name: string): boolean => options.only.length === 0 || options.only.some((word) => name.includes(word));
  try {
    if (options.only.length === 0) {
      gates.push(...(await pristineGates(bases, options, pristine)));
      gates.push(...(await nullGates(options, nulls)));
    }
    const cases = options.mode === 'quick' ? allCases.filter(isQuick) : allCases;
    const promised = plan(cases);
    gates.push(unknownMutants(promised));
    const chosen = options.mode === 'quick' ? quickPlan(promised, options.seed) : promised;
    for (const [mutant, expecting] of chosen) {
      if (!wanted(mutant) || !exists(mutant, serverMutants.map(({ name }) => name))) continue;
      const run = options.wholeMatrix && kindOf(mutant) === 'proxy' ? cases.filter(isQuick).concat(expecting.filter((it) => !isQuick(it))) : expecting;
      matrix.set(mutant, await tryMutant(mutant, run, program, bases, options));
    }
    gates.push(survivors(matrix, chosen));
    if (options.mode === 'full') gates.push(vacuous(matrix, options.only.length === 0 ? cases : []), brokenPromises(matrix, chosen));
  } finally {
    await stopBases(bases);
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

async function tryMutant(name: string, cases: readonly Case[], program: string, bases: Bases, options: SelftestOptions): Promise<Map<string, Status>> {
  const settings: TryOptions = { scale: MUTANT_SCALE, seed: options.seed, jobs: 4 };
  const began = performance.now();
  const results = await runMutant(name, cases, program, bases, settings);
  const statuses = new Map(results.map(({ id, status }) => [id, status]));
  const caught = [...statuses.values()].filter((status) => status === 'fail').length;
  const missed = results.filter(({ status }) => status !== 'fail').map(({ id, status, reason }) => `${id} ${status}${reason ? ` (${reason.slice(0, 120)})` : ''}`);
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

async function pristineGates(bases: Bases, options: SelftestOptions, reports: Report[]): Promise<Gate[]> {
  const gates: Gate[] = [];
  const quick = options.mode === 'quick';
  const cases = quick ? allCases.filter(isQuick) : allCases;
  const settings = { scale: 2, seed: options.seed, jobs: 3, crashRounds: 3, reruns: 1 } as const;
  const add = (name: string, report: Report): void => {
    reports.push(report);
    const bad = report.cases.filter(({ status }) => ['fail', 'error', 'flaky', 'warn'].includes(status));
    const problems = bad.map(({ id, status, reason, expected, actual }) => `${id} ${status}: ${reason}; expected ${expected}, got ${actual}`);
    gates.push({ name: `${name} fails nothing`, problems });
    options.log(`${name}: ${report.cases.length - bad.length} of ${report.cases.length} cases without a failure, ${report.seconds.toFixed(0)} s; ${report.verdict}`);
  };
  const own = cases.filter((it) => baseOf(it) === 'own');
  add('our server without a fault', await runOn(targetOf(bases.own), own, settings));
  if (bases.second) add('the second implementation', await runOn(bases.second.target(), cases.filter((it) => baseOf(it) !== 'small'), settings));
  if (quick) return gates;
  add('our server without a fault, over TLS', await runOn(targetOf(bases.own), own, { ...settings, transport: 'tls' }));
  add('our server with small limits', await runOn(targetOf(bases.small), cases.filter((it) => baseOf(it) === 'small'), settings));
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

