// `run`: the suite against a target. TAP goes to stdout as the cases end, reports to files.
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { execute } from '../engine/execute.ts';
import type { Level } from '../engine/case.ts';
import { PROFILES, matches } from '../engine/case.ts';
import type { Report } from '../engine/result.ts';
import { cases } from '../engine/suite.ts';
import { loadTarget } from '../engine/target.ts';
import { htmlReport } from '../report/html.ts';
import { jsonReport } from '../report/json.ts';
import { junitReport } from '../report/junit.ts';
import { Tap } from '../report/tap.ts';
import { UsageError, parseArgs, write } from './args.ts';
import type { Args } from './args.ts';

const VALUED = [
  'target', 'spec', 'profile', 'level', 'case', 'skip', 'known-failing', 'known-flaky', 'report', 'seed', 'timeout-scale', 'rerun', 'jobs',
  'provisional', 'transport', 'crash-rounds',
];
const FORMATS: Readonly<Record<string, (report: Report) => string>> = { json: jsonReport, junit: junitReport, html: htmlReport };

export async function runCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, VALUED, ['quiet'], 1);
  const where = args.text('target') ?? args.words[0];
  if (args.text('target') !== null && args.words.length > 0) throw new UsageError(`${args.words[0]}: nothing is expected here`);
  if (where === undefined) throw new UsageError('run wants --target HOST:PORT or --target target.json');
  if ((args.text('spec') ?? '1.0') !== '1.0') throw new UsageError(`--spec ${args.text('spec')}: this suite knows 1.0`);
  for (const name of ['case', 'skip', 'known-failing', 'known-flaky']) for (const pattern of patterns(args.list(name))) known(name, pattern);
  const target = loadTarget(where);
  const reports = args.list('report').map(reportFile);
  // Now and not when the run is over: nobody wants to lose a report for a folder that is not there.
  for (const { file } of reports) write(() => closeSync(openSync(file, 'a')));
  const seed = args.whole('seed', Date.now() % 0x1_0000_0000, 0, 0xffff_ffff);
  const scale = args.number('timeout-scale', 1);
  if (scale === 0) throw new UsageError('--timeout-scale wants a number above 0');
  const transport = choice(args, 'transport', ['plain', 'tls'], target.plaintext ? 'plain' : 'tls');
  if (transport === 'tls' && target.tls === null) throw new UsageError('--transport tls: the target file says nothing about TLS');
  const settings = {
    crashRounds: args.whole('crash-rounds', 3, 1), reruns: args.whole('rerun', 1, 0), jobs: args.whole('jobs', 2, 1),
    knownFailing: patterns(args.list('known-failing')), knownFlaky: patterns(args.list('known-flaky')),
    provisionalFails: choice(args, 'provisional', ['fail', 'warn'], 'warn') === 'fail',
    filter: {
      profiles: args.text('profile') === null ? null : args.list('profile').map(profileName), cases: patterns(args.list('case')), skip: patterns(args.list('skip')),
      level: choice(args, 'level', ['must', 'should', 'may'], 'must') as Level,
    },
  };
  const tap = new Tap((line) => void process.stdout.write(`${line}\n`));
  tap.comment(`sidelog conformance suite, target ${target.name}, transport ${transport}, seed ${seed}`);
  const report = await execute(target, cases(), {
    scale, seed, transport: transport as 'plain' | 'tls', ...settings,
    onResult: (result) => {
      if (!args.flag('quiet') || result.status !== 'pass') tap.result(result);
    },
    repro: (id) => `node conformance.mjs run --target ${where} --transport ${transport} --case ${id} --seed ${seed}${scale === 1 ? '' : ` --timeout-scale ${scale}`}`,
  });
  tap.end();
  tap.comment(conclusion(report));
  for (const { file, render } of reports) writeFileSync(file, render(report));
  return report.exitCode;
}

function conclusion(report: Report): string {
  const lines = report.summary.map(({ profile, must, conformant, why }) => {
    const counts = Object.entries(must).map(([status, n]) => `${n} ${status}`).join(', ');
    return `${profile.padEnd(12)} ${conformant ? 'conformant' : why}${counts ? ` (MUST: ${counts})` : ''}`;
  });
  const last = report.cases.length === 0 ? `unreachable: ${report.server}` : (report.verdict || `no verdict: ${noVerdict(report)}`);
  return [...lines, `${report.seconds.toFixed(1)} s, exit ${report.exitCode}`, last].join('\n');
}

/** Why there is none. */
export function noVerdict({ summary }: Report): string {
  const core = summary.find(({ profile }) => profile === 'core');
  return core === undefined ? 'core was not run' : `core: ${core.why}`;
}

function choice(args: Args, name: string, allowed: readonly string[], fallback: string): string {
  const value = args.text(name) ?? fallback;
  if (!allowed.includes(value)) throw new UsageError(`--${name} ${value}: must be one of ${allowed.join(', ')}`);
  return value;
}

function profileName(name: string): string {
  if (!(PROFILES as readonly string[]).includes(name)) throw new UsageError(`--profile ${name}: known are ${PROFILES.join(', ')}`);
  if (!cases().some((it) => it.profile === name)) throw new UsageError(`--profile ${name}: this release of the suite has no cases for it yet`);
  return name;
}

/** A pattern that fits nothing is a typing error, or older than the suite. */
function known(option: string, pattern: string): void {
  if (!cases().some((it) => matches(pattern, it.id) || (it.was !== undefined && matches(pattern, it.was)))) {
    throw new UsageError(`--${option} ${pattern}: no case is called so; see: list`);
  }
}

/** `@file` is a list, one pattern a line, `#` begins a comment. */
function patterns(words: readonly string[]): string[] {
  return words.flatMap((word) => {
    if (!word.startsWith('@')) return [word];
    let lines: string[];
    try {
      lines = readFileSync(word.slice(1), 'utf8').split('\n');
    } catch (error) {
      throw new UsageError((error as Error).message);
    }
    return lines.map((line) => line.replace(/#.*/, '').trim()).filter((line) => line !== '');
  });
}

function reportFile(word: string): { file: string; render: (report: Report) => string } {
  const [format, file] = word.split('=') as [string, string | undefined];
  const render = FORMATS[format];
  if (render === undefined || !file) throw new UsageError(`--report ${word}: must be json=FILE, junit=FILE or html=FILE`);
  return { file, render };
}
