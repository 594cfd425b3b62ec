// JUnit XML for build servers: one testsuite per area.
import type { CaseResult, Report } from '../engine/result.ts';

export function escapeXml(text: string): string {
  // Control characters are not allowed in XML 1.0 at all.
  return text.replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`).replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/g, '?');
}

export function junitReport(report: Report): string {
  const areas = new Map<string, CaseResult[]>();
  for (const result of report.cases) {
    const area = result.id.split('/')[0]!;
    areas.set(area, [...(areas.get(area) ?? []), result]);
  }
  const suites = [...areas].map(([area, results]) => {
    const count = (test: (result: CaseResult) => boolean): number => results.filter(test).length;
    const attributes = `name="${escapeXml(area)}" tests="${results.length}" failures="${count(isFailure)}" errors="${count(({ status }) => status === 'error')}"`
      + ` skipped="${count(isSkipped)}" time="${(results.reduce((sum, { ms }) => sum + ms, 0) / 1000).toFixed(3)}"`;
    return `  <testsuite ${attributes}>\n${results.map(testcase).join('')}  </testsuite>\n`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="sidelog conformance ${escapeXml(report.suite)}" time="${report.seconds}">\n${suites.join('')}</testsuites>\n`;
}

function isFailure({ status }: CaseResult): boolean {
  return status === 'fail' || status === 'flaky' || status === 'xpass';
}
function isSkipped({ status }: CaseResult): boolean {
  return status === 'skip' || status === 'disabled' || status === 'xfail';
}

function testcase(result: CaseResult): string {
  const [area, slug] = result.id.split('/') as [string, string];
  const open = `    <testcase classname="${escapeXml(area)}" name="${escapeXml(slug)}" time="${(result.ms / 1000).toFixed(3)}"`;
  if (isSkipped(result)) return `${open}><skipped message="${escapeXml(result.reason || result.status)}"/></testcase>\n`;
  if (!isFailure(result) && result.status !== 'error') return `${open}/>\n`;
  const tag = result.status === 'error' ? 'error' : 'failure';
  const body = [result.title, `requirements: ${result.reqs.join(' ')}`, `expected: ${result.expected ?? ''}`, `actual: ${result.actual ?? ''}`, result.repro ?? ''];
  return `${open}><${tag} type="${result.status}" message="${escapeXml(result.reason)}">${escapeXml(body.join('\n'))}</${tag}></testcase>\n`;
}
