// `list`, `explain` and `coverage`: what the suite has, without a server.
import { cases, coverage, levelOf, requirement, requirements, waivers } from '../engine/suite.ts';
import { isMust } from '../requirements.ts';
import { matches } from '../engine/case.ts';
import { UsageError, parseArgs } from './args.ts';

const print = (text: string): void => void process.stdout.write(`${text}\n`);

export async function listCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, [], ['json', 'md']);
  const rows = cases().map((it) => ({
    id: it.id, profile: it.profile, level: levelOf(it), title: it.title, requirements: it.reqs, needs: it.needs, since: it.since ?? '1.0.0',
  }));
  if (args.flag('json')) print(JSON.stringify(rows, null, 1));
  else if (args.flag('md')) {
    print('| case | profile | level | what it holds a server to | requirements |\n|---|---|---|---|---|');
    for (const row of rows) print(`| \`${row.id}\` | ${row.profile} | ${row.level} | ${row.title} | ${row.requirements.join(' ')} |`);
  } else for (const row of rows) print(`${row.id.padEnd(44)} ${row.profile.padEnd(12)} ${row.level.padEnd(6)} ${row.title}`);
  return 0;
}

export async function explainCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, [], [], 1);
  const pattern = args.words[0];
  if (pattern === undefined) throw new UsageError('explain wants a case, as in: explain produce/bad-body-crc');
  const found = cases().filter((it) => matches(pattern, it.id) || it.was === pattern || it.reqs.includes(pattern));
  if (found.length === 0) throw new UsageError(`no case is called ${pattern}; see: list`);
  for (const it of found) {
    print(`${it.id}\n  ${it.title}\n  profile ${it.profile}, level ${levelOf(it)}, since ${it.since ?? '1.0.0'}`);
    if (it.needs.length > 0) print(`  needs ${it.needs.join(', ')}`);
    if (it.modes) print('  runs three times: frames whole, byte by byte, and coalesced with the next frame');
    for (const id of it.reqs) {
      const sentence = requirement(id);
      print(`  [${id}] §${sentence?.section ?? '?'}\n    ${sentence?.text ?? '(no such requirement)'}`);
    }
    print(`  must fail against the mutants: ${it.kills.join(', ') || 'none'}\n`);
  }
  return 0;
}

export async function coverageCommand(argv: readonly string[]): Promise<number> {
  const args = parseArgs(argv, [], ['json']);
  const map = coverage();
  const musts = requirements.filter((entry) => isMust(entry) && entry.later === null);
  const covered = musts.filter(({ id }) => map.get(id)!.length > 0);
  const totals = {
    requirements: requirements.length, musts: musts.length, covered: covered.length,
    waived: Object.keys(waivers).length, later: requirements.filter(({ later }) => later !== null).length, cases: cases().length,
  };
  if (args.flag('json')) {
    print(JSON.stringify({ totals, requirements: requirements.map((entry) => ({ ...entry, cases: map.get(entry.id), waiver: waivers[entry.id] })) }, null, 1));
    return 0;
  }
  for (const { id, level, later } of requirements) {
    const by = map.get(id)!.join(' ') || (waivers[id] ? `waived: ${waivers[id]}` : later ? `later: ${later}` : '(none)');
    print(`${id.padEnd(14)} ${level.padEnd(10)} ${by}`);
  }
  print(`\n${totals.requirements} requirements; ${totals.covered} of ${totals.musts} MUSTs covered, ${totals.waived} waived; ${totals.later} for later; ${totals.cases} cases`);
  return 0;
}
