// TAP 14 on stdout, one line per case as it ends, with the failed expectation as a YAML block.
import type { CaseResult } from '../engine/result.ts';

export class Tap {
  private readonly write: (line: string) => void;
  private count = 0;

  constructor(write: (line: string) => void) {
    this.write = write;
    write('TAP version 14');
  }

  result(result: CaseResult): void {
    if (result.status === 'disabled') return;
    this.count++;
    const bad = result.status === 'fail' || result.status === 'error' || result.status === 'flaky' || result.status === 'xpass';
    const directive = result.status === 'skip' ? ` # SKIP ${oneLine(result.reason)}`
      : result.status === 'xfail' ? ' # TODO known failing'
      : result.status === 'pass' ? '' : ` # ${result.status}`;
    this.write(`${bad || result.status === 'xfail' ? 'not ok' : 'ok'} ${this.count} - ${result.id}${directive}`);
    if (result.status === 'pass' || result.status === 'skip') return;
    this.write('  ---');
    for (const [key, value] of [
      ['status', result.status], ['requirements', result.reqs.join(' ')], ['title', result.title], ['reason', result.reason], ['mode', result.mode],
      ['expected', result.expected], ['actual', result.actual], ['notes', result.notes?.join('; ')], ['reproduce', result.repro],
    ] as const) {
      if (value !== undefined && value !== '') this.write(`  ${key}: ${JSON.stringify(value)}`);
    }
    this.write('  ...');
  }

  comment(text: string): void {
    for (const line of text.split('\n')) this.write(`# ${line}`);
  }

  end(): void {
    this.write(`1..${this.count}`);
  }
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}
