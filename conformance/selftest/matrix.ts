// The selftest's report: gates, servers without a fault, and which mutant was caught by which case,
// seen from the mutants and from the cases. As one HTML file for people; the same as JSON.
import type { Status } from '../engine/case.ts';
import { cases } from '../engine/suite.ts';
import { escapeXml as esc } from '../report/junit.ts';
import { STYLE } from '../report/style.ts';
import type { Gate, Matrix } from './gates.ts';
import { kindOf } from './mutant-run.ts';
import type { MutantKind } from './mutant-run.ts';
import { mutationText } from './mutation-texts.ts';
import { nullServers } from './null-servers.ts';
import type { Found } from './saved.ts';
import { faultTexts } from './server-mutants.ts';
import { tlsFlaws } from './tls-proxy.ts';

const SERVER_TEXTS = faultTexts();

/** What is wrong with a mutant; null when nobody wrote it down. */
export function mutantText(name: string): string | null {
  switch (kindOf(name)) {
    case 'server': return SERVER_TEXTS.get(name) ?? null;
    case 'tls': return tlsFlaws[name.slice('tls:'.length)]?.what ?? null;
    case 'proxy': return mutationText(name);
  }
}

const KINDS: readonly (readonly [MutantKind, string, string])[] = [
  ['server', 'Our server with one fault', 'A test build, in which one fault is switched on.'],
  ['proxy', 'A sound server behind a proxy', 'The proxy changes what goes through, in one way.'],
  ['tls', 'A sound server behind a wrong TLS', 'A proxy ends TLS in one wrong way.'],
];

export function matrixHtml(gates: readonly Gate[], { pristine, nulls, matrix }: Found): string {
  const broken = gates.filter(({ problems }) => problems.length > 0).length;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidelog conformance: selftest</title><style>${STYLE}</style></head><body><main>
<h1>Can the suite fail?</h1>
<p class="verdict ${broken === 0 ? 'good' : 'bad'}">${broken === 0 ? `All ${gates.length} gates hold` : `${broken} of ${gates.length} gates do not hold`}.
${[...matrix.values()].filter(isCaught).length} of ${matrix.size} mutants were caught.</p>
<p>A conformance suite that passes everything shows nothing. So it is run against servers that are wrong on purpose, and must notice each: a <b>mutant</b> is
a server with one fault. Each case names mutants that must make it fail; those, and no others, it is tried on.</p>
<p><a href="#gates">Gates</a> · <a href="#sound">Servers without a fault</a> · <a href="#nulls">Servers that do nothing right</a> · ${KINDS.map(([kind, title]) => `<a href="#${kind}">${title}</a>`).join(' · ')} · <a href="#cases">Cases</a></p>
<h2 id="gates">Gates</h2><table>${gates.map(gateRow).join('\n')}</table>
<h2 id="sound">Servers without a fault</h2><table><tr><th>server</th><th>cases</th><th>seconds</th><th>verdict</th></tr>${pristine.map(({ name, cases: count, seconds, verdict }) => `<tr><td>${esc(name)}</td><td>${count}</td><td>${seconds.toFixed(0)}</td><td>${esc(verdict || '(some cases only)')}</td></tr>`).join('\n')}</table>
<h2 id="nulls">Servers that do nothing right</h2><table><tr><th>a server that</th><th>cases</th><th>passed</th></tr>${[...nulls].map(nullRow).join('\n')}</table>
${KINDS.map((kind) => mutantTable(kind, matrix)).join('\n')}
<h2 id="cases">Cases</h2><p>Which mutants made a case fail. A case that fails against none would check nothing.</p>
<table><tr><th>case</th><th></th><th>catches</th></tr>${caseRows(matrix)}</table></main></body></html>
`;
}

/** The same as data: mutant → case → status. */
export function matrixJson(gates: readonly Gate[], { matrix }: Found, seconds: number): Record<string, unknown> {
  return { schema: 'sidelog-selftest/1', seconds, gates, mutants: Object.fromEntries([...matrix.keys()].map((name) => [name, mutantText(name)])) };
}

function isCaught(row: ReadonlyMap<string, Status>): boolean {
  return [...row.values()].includes('fail');
}

function gateRow({ name, problems }: Gate): string {
  const holds = problems.length === 0;
  const list = holds ? '' : `<ul>${problems.map((problem) => `<li>${esc(problem)}</li>`).join('')}</ul>`;
  return `<tr><td><span class="${holds ? 'pass' : 'fail'}">${holds ? 'holds' : 'broken'}</span></td><td>${esc(name)}${list}</td></tr>`;
}

function nullRow([name, statuses]: [string, ReadonlyMap<string, Status>]): string {
  const passed = [...statuses].filter(([, status]) => status === 'pass').map(([id]) => id);
  const what = nullServers.find((server) => server.name === name)?.what ?? name;
  return `<tr><td>${esc(what)}</td><td>${statuses.size}</td><td>${esc(passed.join(' ') || 'none')}</td></tr>`;
}

function mutantTable([kind, title, what]: (typeof KINDS)[number], matrix: Matrix): string {
  const own = [...matrix].filter(([name]) => kindOf(name) === kind);
  return `<h2 id="${kind}">${title} (${own.length})</h2><p>${what}</p><table><tr><th></th><th>mutant</th><th>what is wrong</th><th>caught by</th></tr>${own.map(mutantRow).join('\n')}</table>`;
}

function mutantRow([mutant, statuses]: [string, ReadonlyMap<string, Status>]): string {
  const caught = [...statuses].filter(([, got]) => got === 'fail').map(([id]) => `<a href="#${esc(id)}"><code>${esc(id)}</code></a>`);
  const rest = [...statuses].filter(([, got]) => got !== 'fail').map(([id, got]) => `<code>${esc(id)}</code> <span class="${got}">${got}</span>`);
  return `<tr id="${esc(mutant)}"><td><span class="${caught.length > 0 ? 'pass' : 'fail'}">${caught.length > 0 ? 'caught' : 'survived'}</span></td><td><code>${esc(mutant)}</code></td>`
    + `<td>${esc(mutantText(mutant) ?? '')}</td><td>${caught.join(' ')}${rest.length > 0 ? `<br><small>not by ${rest.join(' ')}</small>` : ''}</td></tr>`;
}

function caseRows(matrix: Matrix): string {
  const by = new Map<string, string[]>();
  for (const [mutant, row] of matrix) for (const [id, status] of row) if (status === 'fail') by.set(id, [...(by.get(id) ?? []), mutant]);
  const tried = new Set([...matrix.values()].flatMap((row) => [...row.keys()]));
  return cases().filter(({ id }) => tried.has(id)).map(({ id, title }) => {
    const caught = by.get(id) ?? [];
    const links = caught.map((mutant) => `<a href="#${esc(mutant)}"><code>${esc(mutant)}</code></a>`).join(' ');
    return `<tr id="${esc(id)}"><td><code>${esc(id)}</code><br><small>${esc(title)}</small></td><td><span class="${caught.length > 0 ? 'pass' : 'fail'}">${caught.length}</span></td><td>${links}</td></tr>`;
  }).join('\n');
}
