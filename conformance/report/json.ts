// The canonical report. Traces are decoded into lines; bigint and bytes do not occur outside of them.
import type { Report } from '../engine/result.ts';
import { traceLines } from './decode.ts';

export function jsonReport(report: Report): string {
  const cases = report.cases.map(({ traces, ...result }) => ({
    ...result,
    ...(traces && traces.length > 0
      ? { traces: traces.map((trace) => ({ connection: trace.label, events: traceLines(trace) })) }
      : {}),
  }));
  return `${JSON.stringify({ ...report, cases }, null, 1)}\n`;
}
