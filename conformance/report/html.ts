// The report as one HTML file, without scripts or anything to load, for a reader who has never seen
// the suite: verdict, what it means, a matrix, and every failure with the sentence it breaks.
import type { CaseResult, Report } from '../engine/result.ts';
import { requirement } from '../engine/suite.ts';
import { traceLines } from './decode.ts';
import { escapeXml as esc } from './junit.ts';
import { standings } from './requirements.ts';
import { STYLE } from './style.ts';

const MEANING: Readonly<Record<string, string>> = {
  pass: 'did what the protocol demands',
  fail: 'broke a MUST of the protocol',
  warn: 'broke a SHOULD, or a case that is new in this release',
  info: 'a MAY: noted, not judged',
  skip: 'could not be tried: the target lacks a capability, named beside it',
  error: 'the suite could not do its work (network, hook, or a bug of the suite)',
  xfail: 'failed, as listed in --known-failing',
  xpass: 'listed in --known-failing, but passed: the list is stale',
  flaky: 'did not do the same twice: not conformant',
};
const SIGNS: Readonly<Record<string, string>> = {
  pass: '·', fail: 'F', warn: 'W', info: 'i', skip: '–', disabled: '\u00a0', error: 'E', xfail: 'x', xpass: 'X', flaky: '?',
};
const FAILED = ['fail', 'flaky', 'error', 'xpass', 'xfail', 'warn'];

export function htmlReport(report: Report): string {
  const failures = report.cases.filter(({ status }) => FAILED.includes(status));
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidelog conformance: ${esc(report.targetName)}</title><style>${STYLE}</style></head><body><main>
<h1>Conformance of ${esc(report.targetName)}</h1>
${verdictBox(report, failures.length)}
<p>The sidelog conformance suite ${esc(report.suite)} opened connections to a server${report.cases.length > 0 ? ` (it calls itself <code>${esc(report.server)}</code>)` : ''}, sent right and wrong bytes, and compared
every answer with the sentences of the wire protocol ${esc(report.protocol)}. Each sentence has an id such as <code>SL-FRAME-3</code>; each case holds the server to one or more of them.
After every case a fresh connection made sure that the server still works.${sentenceCount(report)}</p>
<h2>Profiles</h2>${profiles(report)}
<h2>Cases at a glance</h2>${legend(report)}${glance(report)}
<h2>What did not pass (${failures.length})</h2>${failures.length === 0 ? '<p>Nothing.</p>' : failures.map(failure).join('\n')}
<h2>All cases</h2>${list(report)}
<h2>This run</h2>${facts(report)}
</main></body></html>
`;
}

function verdictBox(report: Report, failures: number): string {
  if (report.verdict) return `<p class="verdict good">Conformant. <b>${esc(report.verdict)}</b></p>`;
  const core = report.summary.find(({ profile }) => profile === 'core');
  const why = report.cases.length === 0 ? report.server : core === undefined ? 'the profile core was not run' : `core: ${core.why}`;
  return `<p class="verdict bad">No verdict. ${esc(why)}.${failures > 0 ? ' What is wrong is <a href="#failures">below</a>.' : ''}</p>`;
}

function sentenceCount({ cases }: Report): string {
  if (cases.length === 0) return '';
  const counts = { held: 0, broken: 0, 'not tried': 0 };
  for (const standing of standings(cases).values()) counts[standing]++;
  return ` Of the sentences with MUST it held ${counts.held}, broke ${counts.broken}, and ${counts['not tried']} could not be tried here.`;
}

function profiles(report: Report): string {
  const text = (counts: Record<string, number>): string => Object.entries(counts).map(([status, n]) => `<span class="${status}">${n} ${status}</span>`).join(' ');
  const hasShould = report.summary.some(({ should }) => Object.keys(should).length > 0);
  const rows = report.summary.map(({ profile, must, should, conformant, why }) =>
    `<tr><td><b>${esc(profile)}</b></td><td>${conformant ? '<span class="pass">conformant</span>' : esc(why)}</td><td>${text(must)}</td>${hasShould ? `<td>${text(should)}</td>` : ''}</tr>`);
  return `<table><tr><th>profile</th><th>result</th><th>MUST cases</th>${hasShould ? '<th>SHOULD cases</th>' : ''}</tr>${rows.join('')}</table>`;
}

function byArea(report: Report): Map<string, CaseResult[]> {
  const areas = new Map<string, CaseResult[]>();
  for (const result of report.cases) {
    if (result.status === 'disabled') continue;
    const area = result.id.split('/')[0]!;
    areas.set(area, [...(areas.get(area) ?? []), result]);
  }
  return areas;
}

/** One sign per case that was asked for, area by area. */
function glance(report: Report): string {
  const rows = [...byArea(report)].map(([area, results]) => {
    const signs = results.map(({ id, status, title }) => {
      const sign = `<span class="sign ${status}" title="${esc(`${id}: ${title} (${status})`)}">${SIGNS[status] ?? '?'}</span>`;
      return FAILED.includes(status) ? `<a href="#${esc(id)}">${sign}</a>` : sign;
    });
    return `<tr><td><a href="#area-${esc(area)}">${esc(area)}</a></td><td>${signs.join('')}</td></tr>`;
  });
  return `<table class="glance">${rows.join('')}</table>`;
}

/** Text of the protocol, in which \`…\` is code. */
function prose(text: string): string {
  return esc(text).replace(/`([^`]*)`/g, '<code>$1</code>');
}

function failure(result: CaseResult, at: number): string {
  const sentences = result.reqs.map((id) => {
    const found = requirement(id);
    return `<li><code>${esc(id)}</code> <small>§${esc(found?.section ?? '')}</small><br>${prose(found?.text ?? '')}</li>`;
  });
  const rows: [string, string | undefined][] = [
    ['step', `${result.reason}${result.mode ? ` (frames written ${MODES[result.mode] ?? result.mode})` : ''}`], ['expected', result.expected], ['actual', result.actual], ['reproduce', result.repro],
  ];
  return `<section class="failure" id="${esc(result.id)}">${at === 0 ? '<a id="failures"></a>' : ''}<h3><span class="${result.status}">${result.status}</span> ${esc(result.id)}</h3>
<p>${prose(result.title)}</p>
<table class="facts">${rows.filter(([, text]) => text !== undefined).map(([name, text]) => `<tr><th>${name}</th><td><pre>${esc(text!)}</pre></td></tr>`).join('')}</table>
<ul>${sentences.join('')}</ul>${(result.traces ?? []).map(trace).join('\n')}</section>`;
}

const MODES: Readonly<Record<string, string>> = { whole: 'whole', bytes: 'byte by byte', joined: 'together with the next one' };

function trace(it: NonNullable<CaseResult['traces']>[number]): string {
  const lines = traceLines(it);
  const rows = lines.map(({ ms, dir, text, hex }) =>
    `<tr class="d${dir === '>' ? 'out' : dir === '<' ? 'in' : 'note'}"><td>${ms}</td><td>${dir === '>' ? 'sent' : dir === '<' ? 'got' : ''}</td>`
    + `<td><pre>${esc(text)}</pre>${hex ? `<details><summary>bytes</summary><pre>${esc(hex)}</pre></details>` : ''}</td></tr>`);
  return `<details><summary>Trace of the connection “${esc(it.label)}”, ${lines.length} ${lines.length === 1 ? 'event' : 'events'}</summary>
<table class="trace"><tr><th>ms</th><th></th><th>frame or event</th></tr>${rows.join('')}</table></details>`;
}

function legend(report: Report): string {
  const seen = [...new Set(report.cases.map(({ status }) => status))].filter((status) => status !== 'disabled');
  return `<ul class="legend">${seen.map((status) => `<li><span class="sign ${status}">${SIGNS[status] ?? '?'}</span> <b>${status}</b> ${esc(MEANING[status] ?? '')}</li>`).join('')}</ul>`;
}

function list(report: Report): string {
  return [...byArea(report)].map(([area, results]) => {
    const rows = results.map(({ id, title, status, reason, notes, reqs, ms }) => {
      const name = FAILED.includes(status) ? `<a href="#${esc(id)}">${esc(id)}</a>` : esc(id);
      const note = status === 'skip' ? reason : (notes ?? []).join('; ');
      return `<tr><td><span class="${status}">${status}</span></td><td>${name}</td><td>${prose(title)}${note ? ` <small>${esc(note)}</small>` : ''}</td><td><small>${esc(reqs.join(' '))}</small></td><td>${ms}</td></tr>`;
    });
    const passed = results.filter(({ status }) => status === 'pass').length;
    return `<details id="area-${esc(area)}"><summary><b>${esc(area)}</b> ${passed} of ${results.length} passed</summary>
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
