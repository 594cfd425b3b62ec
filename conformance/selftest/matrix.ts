// The selftest's report: gates, and the matrix of mutants and the cases that caught them.
import type { SelftestResult } from './selftest.ts';
import { escapeXml as esc } from '../report/junit.ts';
import { STYLE } from '../report/style.ts';

export function matrixHtml({ gates, matrix, nulls, pristine, seconds }: SelftestResult): string {
  const gateRows = gates.map(({ name, problems }) => `<tr><td><span class="${problems.length === 0 ? 'pass' : 'fail'}">${problems.length === 0 ? 'holds' : 'broken'}</span></td>
<td>${esc(name)}${problems.length > 0 ? `<ul>${problems.map((problem) => `<li>${esc(problem)}</li>`).join('')}</ul>` : ''}</td></tr>`);
  const rows = [...matrix].map(([mutant, statuses]) => {
    const by = (status: string): string => [...statuses].filter(([, got]) => got === status).map(([id]) => `<code>${esc(id)}</code>`).join(' ');
    const rest = [...statuses].filter(([, got]) => got !== 'fail').map(([id, got]) => `<code>${esc(id)}</code> ${got}`).join(' ');
    const caught = [...statuses.values()].includes('fail');
    return `<tr><td><span class="${caught ? 'pass' : 'fail'}">${caught ? 'caught' : 'survived'}</span></td><td><code>${esc(mutant)}</code></td><td>${by('fail')}</td><td><small>${statuses.size > 40 ? `${statuses.size} cases tried` : rest}</small></td></tr>`;
  });
  const nullRows = [...nulls].map(([name, statuses]) => {
    const passed = [...statuses].filter(([, status]) => status === 'pass').map(([id]) => id);
    return `<tr><td>${esc(name)}</td><td>${statuses.size}</td><td>${esc(passed.join(' ') || 'none')}</td></tr>`;
  });
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>sidelog conformance: selftest</title><style>${STYLE}</style></head><body><main>
<h1>Can the suite fail?</h1><p>${matrix.size} mutants, ${seconds.toFixed(0)} s. A mutant is our server with one named fault, or behind a proxy that changes what goes through.</p>
<h2>Gates</h2><table>${gateRows.join('')}</table>
<h2>Pristine servers</h2><table>${pristine.map((report) => `<tr><td>${esc(report.transport)}</td><td>${esc(report.verdict || 'no verdict')}</td></tr>`).join('')}</table>
<h2>Servers that do nothing right</h2><table><tr><th>server</th><th>cases</th><th>passed</th></tr>${nullRows.join('')}</table>
<h2>Mutants</h2><table><tr><th></th><th>mutant</th><th>caught by</th><th>not by</th></tr>${rows.join('')}</table></main></body></html>\n`;
}
