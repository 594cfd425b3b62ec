// The report as one HTML file, without scripts or anything to load, for a reader who has never seen
// the suite: verdict, what it means, the matrix, and every failure with the sentence it breaks.
import type { CaseResult, Report } from '../engine/result.ts';
import { requirement } from '../engine/suite.ts';
import { traceLines } from './decode.ts';
import { escapeXml as esc } from './junit.ts';
import { STYLE } from './style.ts';

const MEANING: Readonly<Record<string, string>> = {
  pass: 'did what the protocol demands',
  fail: 'broke a MUST of the protocol',
  warn: 'broke a SHOULD, or a case that is new in this release',
  info: 'a MAY: noted, not judged',
  skip: 'could not be tried: the target lacks a capability, named beside it',
  disabled: 'was not asked for',
  error: 'the suite could not do its work (network, hook, or a bug of the suite)',
  xfail: 'failed, as listed in --known-failing',
  xpass: 'listed in --known-failing, but passed: the list is stale',
  flaky: 'did not do the same twice: not conformant',
};
const FAILED = ['fail', 'flaky', 'error', 'xpass', 'xfail', 'warn'];

export function htmlReport(report: Report): string {
  const failures = report.cases.filter(({ status }) => FAILED.includes(status));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidelog conformance: ${esc(report.targetName)}</title><style>${STYLE}</style></head><body><main>
<h1>Conformance of ${esc(report.targetName)}</h1>
${verdictBox(report, failures.length)}
<p>The sidelog conformance suite ${esc(report.suite)} opened connections to a server (it calls itself <code>${esc(report.server)}</code>), sent right and wrong bytes, and compared
every answer with the sentences of the wire protocol ${esc(report.protocol)}. Each sentence has an id such as <code>SL-FRAME-3</code>; each case holds the server to one or more of them.
After every case a fresh connection made sure that the server still works.</p>
<h2>Profiles</h2>${profiles(report)}
<h2>What did not pass (${failures.length})</h2>${failures.length === 0 ? '<p>Nothing.</p>' : failures.map(failure).join('\n')}
<h2>All cases</h2>${legend(report)}${matrix(report)}
<h2>This run</h2>${facts(report)}
</main></body></html>
`;
}

function verdictBox(report: Report, failures: number): string {
  if (report.verdict) return `<p class="verdict good">Conformant. <b>${esc(report.verdict)}</b></p>`;
  const why = report.cases.length === 0 ? report.server : (report.summary.find(({ profile }) => profile === 'core')?.why ?? 'the profile core was not run');
  return `<p class="verdict bad">No verdict: ${esc(why)}.${failures > 0 ? ' What is wrong is below.' : ''}</p>`;
}

function profiles(report: Report): string {
  const rows = report.summary.map(({ profile, must, should, conformant, why }) => {
    const text = (counts: Record<string, number>): string => Object.entries(counts).map(([status, n]) => `<span class="${status}">${n} ${status}</span>`).join(' ');
    return `<tr><td><b>${esc(profile)}</b></td><td>${conformant ? '<span class="pass">conformant</span>' : esc(why)}</td><td>${text(must)}</td><td>${text(should)}</td></tr>`;
  });
  return `<table><tr><th>profile</th><th>result</th><th>MUST cases</th><th>SHOULD cases</th></tr>${rows.join('')}</table>`;
}

function failure(result: CaseResult): string {
  const sentences = result.reqs.map((id) => {
    const found = requirement(id);
    return `<li><code>${esc(id)}</code> <small>§${esc(found?.section ?? '')}</small><br>${esc(found?.text ?? '')}</li>`;
  });
  const traces = (result.traces ?? []).map((trace) => {
    const rows = traceLines(trace).map(({ ms, dir, text, hex }) =>
      `<tr class="d${dir === '>' ? 'out' : dir === '<' ? 'in' : 'note'}"><td>${ms}</td><td>${esc(dir === '>' ? 'sent' : dir === '<' ? 'got' : '')}</td>`
      + `<td><pre>${esc(text)}</pre>${hex ? `<details><summary>bytes</summary><pre>${esc(hex)}</pre></details>` : ''}</td></tr>`);
    return `<details><summary>${esc(trace.label)}: ${rows.length} events</summary><table class="trace"><tr><th>ms</th><th></th><th></th></tr>${rows.join('')}</table></details>`;
  });
  return `<section class="failure" id="${esc(result.id)}"><h3><span class="${result.status}">${result.status}</span> ${esc(result.id)}</h3>
<p>${esc(result.title)}</p>
<table class="facts"><tr><th>where</th><td>${esc(result.reason)}${result.mode ? ` (write mode: ${esc(result.mode)})` : ''}</td></tr>
<tr><th>expected</th><td><pre>${esc(result.expected ?? '')}</pre></td></tr><tr><th>actual</th><td><pre>${esc(result.actual ?? '')}</pre></td></tr>
<tr><th>again</th><td><pre>${esc(result.repro ?? '')}</pre></td></tr></table>
<ul>${sentences.join('')}</ul>${traces.join('\n')}</section>`;
}

function legend(report: Report): string {
  const seen = [...new Set(report.cases.map(({ status }) => status))];
  return `<ul class="legend">${seen.map((status) => `<li><span class="${status}">${status}</span> ${esc(MEANING[status] ?? '')}</li>`).join('')}</ul>`;
}

function matrix(report: Report): string {
  const areas = new Map<string, CaseResult[]>();
  for (const result of report.cases) {
    const area = result.id.split('/')[0]!;
    areas.set(area, [...(areas.get(area) ?? []), result]);
  }
  return [...areas].map(([area, results]) => {
    const rows = results.map(({ id, title, status, reason, reqs, ms }) => {
      const name = FAILED.includes(status) ? `<a href="#${esc(id)}">${esc(id)}</a>` : esc(id);
      const note = status === 'skip' || status === 'info' ? ` <small>${esc(reason)}</small>` : '';
      return `<tr><td><span class="${status}">${status}</span></td><td>${name}</td><td>${esc(title)}${note}</td><td><small>${esc(reqs.join(' '))}</small></td><td>${ms}</td></tr>`;
    });
    const passed = results.filter(({ status }) => status === 'pass').length;
    return `<details open><summary><b>${esc(area)}</b> ${passed} of ${results.length} passed</summary>
<table><tr><th></th><th>case</th><th>what it holds the server to</th><th>requirements</th><th>ms</th></tr>${rows.join('')}</table></details>`;
  }).join('\n');
}

function facts(report: Report): string {
  const rows: [string, string][] = [
    ['target', report.targetName], ['transport', report.transport], ['started', report.started], ['took', `${report.seconds.toFixed(1)} s`],
    ['seed', String(report.seed)], ['suite', report.suite], ['Node', report.node], ['exit code', String(report.exitCode)],
    ['target file', JSON.stringify(report.target, null, 1)], ['its sha256', report.targetSha256],
  ];
  return `<table class="facts">${rows.map(([name, value]) => `<tr><th>${esc(name)}</th><td><pre>${esc(value)}</pre></td></tr>`).join('')}</table>`;
}
