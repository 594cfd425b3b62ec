// The selftest's report: gates, servers without a fault, and which mutant was caught by which case.
import type { Status } from '../engine/case.ts';
import { escapeXml as esc } from '../report/junit.ts';
import { STYLE } from '../report/style.ts';
import { tlsFlaws } from './tls-proxy.ts';
import type { Gate } from './gates.ts';
import { kindOf } from './mutant-run.ts';
import type { Found } from './saved.ts';
import { faultTexts } from './server-mutants.ts';

export function matrixHtml(gates: readonly Gate[], { pristine, nulls, matrix }: Found): string {
  const broken = gates.filter(({ problems }) => problems.length > 0).length;
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidelog conformance: selftest</title><style>${STYLE}</style></head><body><main>
<h1>Can the suite fail?</h1>
<p class="verdict ${broken === 0 ? 'good' : 'bad'}">${broken === 0 ? `All ${gates.length} gates hold` : `${broken} of ${gates.length} gates do not hold`}.
${caughtCount(matrix)} of ${matrix.size} mutants were caught.</p>
<p>A conformance suite that passes everything shows nothing. So it is run against servers that are wrong on purpose, and must notice each. A <b>mutant</b> is
our server with one named fault (<code>srv:</code>), or a sound server behind a proxy that changes what goes through (<code>tls:</code> and the others).</p>
<h2>Gates</h2><table>${gates.map(gateRow).join('')}</table>
<h2>Servers without a fault</h2><table><tr><th>server</th><th>cases</th><th>verdict</th></tr>${pristine.map(({ name, cases, verdict }) => `<tr><td>${esc(name)}</td><td>${cases}</td><td>${esc(verdict || '(some cases only)')}</td></tr>`).join('')}</table>
<h2>Servers that do nothing right</h2><table><tr><th>server</th><th>cases</th><th>passed</th></tr>${[...nulls].map(nullRow).join('')}</table>
<h2>Mutants</h2><table><tr><th></th><th>mutant</th><th>what is wrong</th><th>caught by</th><th>not by</th></tr>${[...matrix].map(mutantRow).join('\n')}</table></main></body></html>
`;
}

function caughtCount(matrix: Found['matrix']): number {
  return [...matrix.values()].filter((row) => [...row.values()].includes('fail')).length;
}

function gateRow({ name, problems }: Gate): string {
  const holds = problems.length === 0;
  const list = holds ? '' : `<ul>${problems.map((problem) => `<li>${esc(problem)}</li>`).join('')}</ul>`;
  return `<tr><td><span class="${holds ? 'pass' : 'fail'}">${holds ? 'holds' : 'broken'}</span></td><td>${esc(name)}${list}</td></tr>`;
}

function nullRow([name, statuses]: [string, ReadonlyMap<string, Status>]): string {
  const passed = [...statuses].filter(([, status]) => status === 'pass').map(([id]) => id);
  return `<tr><td>${esc(name)}</td><td>${statuses.size}</td><td>${esc(passed.join(' ') || 'none')}</td></tr>`;
}

function mutantRow([mutant, statuses]: [string, ReadonlyMap<string, Status>]): string {
  const caught = [...statuses].filter(([, got]) => got === 'fail').map(([id]) => `<code>${esc(id)}</code>`);
  const rest = [...statuses].filter(([, got]) => got !== 'fail').map(([id, got]) => `<code>${esc(id)}</code> ${got}`);
  const what = kindOf(mutant) === 'tls' ? tlsFlaws[mutant.slice(4)]!.what : (faultTexts().get(mutant) ?? '');
  return `<tr><td><span class="${caught.length > 0 ? 'pass' : 'fail'}">${caught.length > 0 ? 'caught' : 'survived'}</span></td><td><code>${esc(mutant)}</code></td>`
    + `<td><small>${esc(what)}</small></td><td>${caught.join(' ')}</td><td><small>${rest.join(' ')}</small></td></tr>`;
}
