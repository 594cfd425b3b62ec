// Runs the cases: slow ones beside the others, exclusive ones alone at the end, each in isolation.
// A failure is tried once more, alone; a rerun that differs makes it `flaky`, never `pass`.
import { attempt } from './attempt.ts';
import type { Attempt } from './attempt.ts';
import { matches } from './case.ts';
import type { Case, Level } from './case.ts';
import type { RunState } from './context.ts';
import { missing } from './features.ts';
import { Guard } from './guard.ts';
import type { CaseResult, RunFilter } from './result.ts';
import { levelOf } from './suite.ts';

export interface RunOptions {
  readonly filter: RunFilter;
  readonly reruns: number;
  readonly jobs: number;
  readonly knownFailing: readonly string[];
  readonly knownFlaky: readonly string[];
  readonly provisionalFails: boolean;
  /** Called once per case, in the order in which they end. */
  readonly onResult: (result: CaseResult) => void;
  readonly repro: (id: string) => string;
}

const LEVEL_ORDER: readonly Level[] = ['must', 'should', 'may'];

export async function runCases(run: RunState, cases: readonly Case[], options: RunOptions): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const runnable: Case[] = [];
  const add = (result: CaseResult): void => {
    results.push(result);
    options.onResult(result);
  };
  for (const it of cases) {
    const reason = disabledBy(it, options.filter);
    const lack = reason ? null : it.needs.map((need) => [need, missing(run, need)] as const).find(([, why]) => why !== null);
    if (reason) add({ ...base(it), status: 'disabled', reason });
    else if (lack) add({ ...base(it), status: 'skip', reason: lack[1]!, capability: lack[0] });
    else runnable.push(it);
  }
  const failed: [Case, CaseResult][] = [];
  const settle = (it: Case, result: CaseResult): void => {
    if ((result.status === 'fail' || result.status === 'error') && options.reruns > 0) failed.push([it, result]);
    else add(finish(it, result, options));
  };
  const last = (it: Case): boolean => it.exclusive === true || it.id.startsWith('always/');
  await pool(run, runnable.filter((it) => it.slow && !last(it)), runnable.filter((it) => !it.slow && !last(it)), options, settle);
  const alone = runnable.filter((it) => it.exclusive).concat(runnable.filter((it) => it.id.startsWith('always/')));
  await inTurn(run, alone, options, settle);
  await rerun(run, failed, options, add);
  return results.sort((a, b) => order(cases, a.id) - order(cases, b.id));
}

function order(cases: readonly Case[], id: string): number {
  return cases.findIndex((it) => it.id === id);
}

function disabledBy(it: Case, filter: RunFilter): string | null {
  if (filter.profiles !== null && !filter.profiles.includes(it.profile)) return `profile ${it.profile} was not asked for`;
  const names = [it.id, ...(it.was ? [it.was] : [])];
  if (filter.cases.length > 0 && !filter.cases.some((pattern) => names.some((name) => matches(pattern, name)))) return 'not chosen by --case';
  if (filter.skip.some((pattern) => names.some((name) => matches(pattern, name)))) return 'left out by --skip';
  return null;
}

function base(it: Case): CaseResult {
  return { id: it.id, title: it.title, reqs: it.reqs, profile: it.profile, level: levelOf(it), status: 'pass', ms: 0, attempts: 0, reason: '' };
}

/** Slow cases in workers of their own, so that waiting for a time limit costs no time. */
async function pool(
  run: RunState, slow: readonly Case[], quick: readonly Case[], options: RunOptions, settle: (it: Case, result: CaseResult) => void,
): Promise<void> {
  const worker = async (queue: Case[], label: string): Promise<void> => {
    const guard = new Guard(run, label);
    for (let it = queue.shift(); it !== undefined; it = queue.shift()) settle(it, await one(run, it, guard, options));
    await guard.close();
  };
  const slowQueue = [...slow];
  const quickQueue = [...quick];
  const workers: Promise<void>[] = [];
  for (let i = 0; i < Math.min(slow.length, options.jobs * 4); i++) workers.push(worker(slowQueue, `slow-${i}`));
  for (let i = 0; i < Math.min(quick.length, options.jobs); i++) workers.push(worker(quickQueue, `job-${i}`));
  await Promise.all(workers);
}

async function inTurn(run: RunState, cases: readonly Case[], options: RunOptions, settle: (it: Case, result: CaseResult) => void): Promise<void> {
  const guard = new Guard(run, 'alone');
  for (const it of cases) settle(it, await one(run, it, guard, options));
  await guard.close();
}

async function one(run: RunState, it: Case, guard: Guard, options: RunOptions): Promise<CaseResult> {
  const began = performance.now();
  return { ...fromAttempt(it, await attempt(run, it, guard), options), ms: Math.round(performance.now() - began), attempts: 1 };
}

function fromAttempt(it: Case, { notes, ...tried }: Attempt, options: RunOptions): CaseResult {
  const wrong = tried.status === 'fail' || tried.status === 'error';
  return {
    ...base(it), ...tried,
    ...(notes.length > 0 ? { notes } : {}),
    ...(wrong ? { repro: options.repro(it.id) } : { traces: undefined }),
  };
}

async function rerun(run: RunState, failed: readonly [Case, CaseResult][], options: RunOptions, add: (result: CaseResult) => void): Promise<void> {
  if (failed.length === 0) return;
  const guard = new Guard(run, 'again');
  for (const [it, first] of failed) {
    let result = first;
    for (let i = 0; i < options.reruns && result.status === first.status; i++) {
      const again = await one(run, it, guard, options);
      result = { ...again, ms: first.ms + again.ms, attempts: result.attempts + 1 };
    }
    const same = result.status === first.status;
    const merged: CaseResult = same
      ? result
      : { ...first, status: 'flaky', attempts: result.attempts, reason: `${first.status}, then ${result.status}: ${first.reason}` };
    add(finish(it, merged, options));
  }
  await guard.close();
}

/** Level, known failures and provisional cases turn a plain status into the reported one. */
function finish(it: Case, result: CaseResult, options: RunOptions): CaseResult {
  const listed = (patterns: readonly string[]): boolean => patterns.some((pattern) => matches(pattern, it.id));
  const level = levelOf(it);
  let { status } = result;
  if (status === 'fail') {
    if (listed(options.knownFailing)) status = 'xfail';
    else if (level === 'may') status = 'info';
    else if (LEVEL_ORDER.indexOf(level) > LEVEL_ORDER.indexOf(options.filter.level)) status = 'warn';
    else if (it.provisional && !options.provisionalFails) status = 'warn';
  } else if (status === 'pass') {
    if (listed(options.knownFailing)) status = 'xpass';
    else if (level === 'may') status = 'info';
  } else if (status === 'flaky' && listed(options.knownFlaky)) status = 'warn';
  return { ...result, status };
}
