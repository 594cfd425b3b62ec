// The selftest: shows that the suite can fail. Pristine servers must pass everything; every mutant
// must be caught by a case that expects it; every case must catch one; servers that do nothing right
// must pass nothing. `quick` is what `npm test` runs, `full` all of it, in parts if so wished.
import { allCases } from '../cases/all.ts';
import type { Case, Status } from '../engine/case.ts';
import { NoHooks } from '../engine/hooks.ts';
import { Prng } from '../engine/prng.ts';
import type { Report } from '../engine/result.ts';
import { parseTarget } from '../engine/target.ts';
import { misfits } from './build-server.ts';
import { brokenPromises, nullPasses, survivors, unknownMutants, untried, vacuous } from './gates.ts';
import type { Gate } from './gates.ts';
import { baseOf, kindOf, runMutant, runOn, startBases, stopBases, targetOf } from './mutant-run.ts';
import type { Bases, MutantBases, TryOptions } from './mutant-run.ts';
import { nullServers, serveNull } from './null-servers.ts';
import { isQuick, plan } from './plan.ts';
import type { Found, Pristine } from './saved.ts';
import { serverFaults } from './server-mutants.ts';

/** What a full selftest consists of; each can be run by itself and adds to what the others found. */
export const PARTS = ['plain', 'tls', 'second', 'small', 'nulls', 'proxy', 'faults'] as const;
export type Part = (typeof PARTS)[number];

export interface SelftestOptions {
  readonly mode: 'quick' | 'full';
  readonly parts: readonly Part[];
  readonly seed: number;
  /** Only mutants whose name contains one of these; all when empty. */
  readonly only: readonly string[];
  readonly log: (text: string) => void;
  /** What earlier parts found; this run adds to it. */
  readonly found: Found;
}

/** Against mutants a missing reaction is found sooner: nobody waits for a verdict here. */
const MUTANT_SCALE = 0.3;
const NULL_SCALE = 0.04;
/** Trials on servers of their own that run at the same time: they mostly wait. */
const LANES = 4;
/** The quick gate finds a missing reaction sooner still, and tries one of so many mutants, others with every seed; a fault of the server costs a server of its own. */
const QUICK_SCALE = 0.15;
const QUICK_ONE_OF = { proxy: 8, tls: 8, server: 20 } as const;
/** Of the cases, the quick gate tries one of so many on sound servers (`conformance:verdicts` all of them), and of these one of so many in all write modes. */
const QUICK_CASES = 2;
const QUICK_ALL_MODES = 4;

/** Runs what `options` asks for on `program`, the test build, and judges all that is known then. */
export async function selftest(program: string, options: SelftestOptions): Promise<Gate[]> {
  const faults = serverFaults();
  const bases = await startBases(program);
  try {
    if (options.parts.includes('nulls')) await tryNulls(options);
    const sound = tryPristine(bases, options);
    // The full selftest does one thing after the other, for the sake of the time limits of the slow cases.
    if (options.mode === 'full') await sound;
    await Promise.all([sound, tryMutants(program, bases, sound, options)]);
  } finally {
    await stopBases(bases);
  }
  return judge(options, faults);
}

function judge({ mode, only, found }: SelftestOptions, faults: ReadonlySet<string>): Gate[] {
  const promised = plan();
  const gates: Gate[] = [{ name: 'every fault of our server has its place in the sources', problems: misfits(process.cwd()) }, unknownMutants(promised, faults), survivors(found.matrix, promised), brokenPromises(found.matrix, promised)];
  for (const { name, problems } of found.pristine) gates.push({ name: `${name} fails nothing`, problems });
  for (const [server, statuses] of found.nulls) gates.push(nullPasses(nullServers.find(({ name }) => name === server)!.what, statuses));
  if (mode === 'quick' || only.length > 0) return gates;
  const isWhole = [...promised.keys()].every((name) => found.matrix.has(name));
  if (isWhole) gates.push(vacuous(found.matrix, allCases));
  gates.push(untried(found, promised));
  return gates;
}

/** Whether the quick gate takes it, as one of `oneOf`: another seed takes others. */
function isSampled(name: string, seed: number, oneOf: number): boolean {
  return new Prng(seed).fork(name).below(oneOf) === 0;
}

function sampleOfCases(seed: number): Case[] {
  const some = allCases.filter((it) => isQuick(it) && isSampled(it.id, seed, QUICK_CASES));
  return some.map((it) => ({ ...it, modes: it.modes === true && isSampled(it.id, seed + 1, QUICK_ALL_MODES) }));
}

/** Mutant → the cases to try on it. */
function chosenMutants({ mode, parts, only, seed }: SelftestOptions): Map<string, Case[]> {
  const promised = plan(mode === 'quick' ? allCases.filter(isQuick) : allCases);
  const chosen = new Map<string, Case[]>();
  for (const [name, cases] of promised) {
    if (!parts.includes(kindOf(name) === 'server' ? 'faults' : 'proxy') || (only.length > 0 && !only.some((word) => name.includes(word)))) continue;
    if (mode === 'full') chosen.set(name, cases);
    else if (isSampled(name, seed, QUICK_ONE_OF[kindOf(name)])) chosen.set(name, [new Prng(seed).fork(name).pick(cases)]);
  }
  return chosen;
}

interface Trial {
  readonly mutant: string;
  readonly cases: readonly Case[];
}

/** Mutants of the proxy share the sound servers, one after another, once those are free; what needs a server of its own or waits long runs beside them. */
async function tryMutants(program: string, bases: Bases, areFree: Promise<void>, options: SelftestOptions): Promise<void> {
  const { matrix } = options.found;
  const shared: Trial[] = [];
  const own: Trial[] = [];
  for (const [mutant, cases] of chosenMutants(options)) {
    matrix.set(mutant, new Map());
    const isAlone = (it: Case): boolean => kindOf(mutant) === 'server' || (baseOf(it) === 'own' && (it.slow === true || it.exclusive === true));
    for (const [list, some] of [[own, cases.filter(isAlone)], [shared, cases.filter((it) => !isAlone(it))]] as const) {
      if (some.length > 0) list.push({ mutant, cases: some });
    }
  }
  const lane = async (queue: Trial[], isShared: boolean): Promise<void> => {
    for (let trial = queue.shift(); trial !== undefined; trial = queue.shift()) {
      const statuses = await tryMutant(trial, program, isShared ? bases : { ...bases, own: null }, options);
      for (const [id, status] of statuses) matrix.get(trial.mutant)!.set(id, status);
    }
  };
  own.sort((a, b) => Number(b.cases.some((it) => it.slow)) - Number(a.cases.some((it) => it.slow)));
  await Promise.all([areFree.then(() => lane(shared, true)), ...Array.from({ length: LANES }, () => lane(own, false))]);
}

async function tryMutant({ mutant: name, cases }: Trial, program: string, bases: MutantBases, options: SelftestOptions): Promise<Map<string, Status>> {
  const settings: TryOptions = { scale: options.mode === 'quick' ? QUICK_SCALE : MUTANT_SCALE, seed: options.seed, jobs: 4 };
  const began = performance.now();
  const results = await runMutant(name, cases, program, bases, settings);
  const caught = results.filter(({ status }) => status === 'fail').length;
  const missed = results.filter(({ status }) => status !== 'fail').map(({ id, status, reason }) => `${id} ${status}${reason ? ` (${reason.slice(0, 120)})` : ''}`);
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  options.log(`${caught === 0 ? 'SURVIVED' : 'caught  '} ${name} by ${caught} of ${results.length}, ${seconds} s${missed.length > 0 ? `; missed by ${missed.join('; ')}` : ''}`);
  return new Map(results.map(({ id, status }) => [id, status]));
}

async function tryPristine(bases: Bases, { mode, parts, found, seed, log }: SelftestOptions): Promise<void> {
  const isQuickRun = mode === 'quick';
  const cases = isQuickRun ? sampleOfCases(seed) : allCases;
  const settings = { scale: 2, seed, jobs: 3, crashRounds: 3, reruns: 1 } as const;
  const own = cases.filter((it) => baseOf(it) === 'own');
  const runs: Record<'plain' | 'tls' | 'second' | 'small', () => [string, Promise<Report>] | null> = {
    plain: () => ['our server without a fault', runOn(targetOf(bases.own), own, settings)],
    tls: () => ['our server without a fault, over TLS', runOn(targetOf(bases.own), own, { ...settings, transport: 'tls' })],
    second: () => (bases.second ? ['the second implementation', runOn(bases.second.target(), cases.filter((it) => baseOf(it) !== 'small'), settings)] : null),
    small: () => ['our server with small limits', runOn(targetOf(bases.small), cases.filter((it) => baseOf(it) === 'small'), settings)],
  };
  const one = async (part: 'plain' | 'tls' | 'second' | 'small'): Promise<void> => {
    const run = parts.includes(part) ? runs[part]() : null;
    if (run === null) return;
    const pristine = summary(run[0], part, await run[1], isQuickRun);
    found.pristine = [...found.pristine.filter((other) => other.part !== part), pristine];
    log(`${pristine.name}: ${pristine.cases - pristine.problems.length} of ${pristine.cases} cases without a failure, ${pristine.seconds.toFixed(0)} s; ${pristine.verdict || 'no verdict, since not all cases were run'}`);
  };
  // Each on a server of its own, but for TLS, which goes to the same server as plaintext.
  await Promise.all([one('plain').then(() => one('tls')), one('second'), one('small')]);
}

function summary(name: string, part: Part, report: Report, isSome: boolean): Pristine {
  const bad = report.cases.filter(({ status }) => ['fail', 'error', 'flaky', 'warn'].includes(status));
  const problems = bad.map(({ id, status, reason, expected, actual }) => `${id} ${status}: ${reason}; expected ${expected}, got ${actual}`);
  return { name, part, verdict: isSome || part === 'small' ? '' : report.verdict, cases: report.cases.length, problems, seconds: report.seconds };
}

async function tryNulls({ mode, found, seed, log }: SelftestOptions): Promise<void> {
  for (const server of nullServers) {
    if (mode === 'quick' && !server.isQuick) continue;
    const { port, close } = await serveNull(server);
    const target = parseTarget({
      schema: 'sidelog-target/1', name: server.name, endpoints: [{ host: '127.0.0.1', port }],
      features: { idempotence: true, conditional: true, streaming: true, http: true, trash: true, 'transfer-leader': true, 'remove-node': true, peers: false },
    }, process.cwd(), new NoHooks());
    const report = await runOn(target, mode === 'quick' ? allCases.filter(isQuick) : allCases, { scale: NULL_SCALE, seed, jobs: 24 });
    await close();
    const statuses = new Map(report.cases.map(({ id, status }) => [id, status]));
    found.nulls.set(server.name, statuses);
    const passed = [...statuses.values()].filter((status) => status === 'pass').length;
    log(`server that ${server.what}: ${passed} of ${statuses.size} pass, ${report.seconds.toFixed(0)} s`);
  }
}
