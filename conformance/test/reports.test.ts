// The reports are what their formats say, for every status that there is.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../engine/context.ts';
import { HarnessError } from '../engine/failure.ts';
import type { CaseResult, Report } from '../engine/result.ts';
import { htmlReport } from '../report/html.ts';
import { jsonReport } from '../report/json.ts';
import { junitReport } from '../report/junit.ts';
import { Tap } from '../report/tap.ts';
import type { Matrix } from '../selftest/gates.ts';
import { matrixHtml, matrixJson } from '../selftest/matrix.ts';
import { fakeCase, runFakes } from './fake.ts';

const test = suite('conformance/reports');

const lines: string[] = [];
let report: Report;

test.before(async () => {
  const tap = new Tap((line) => void lines.push(line));
  let tried = 0;
  report = await runFakes([
    fakeCase('pass', async (t: Context) => t.note('seen <this> & "that"')),
    fakeCase('fail', async (t) => {
      const client = await t.ready();
      const log = await t.log(client);
      await client.ok('PRODUCE', { log, batch: Buffer.alloc(0) });
    }),
    fakeCase('flaky', async (t) => t.ok(tried++ > 0, 'the second time')),
    fakeCase('error', async () => {
      throw new HarnessError('a cable\nis ]]> loose \u0000');
    }),
    fakeCase('skip', async () => undefined, { needs: ['hook:kill'] }),
    fakeCase('xfail', async (t) => t.fail('x', 'a', 'b')),
    fakeCase('xpass', async () => undefined),
    fakeCase('warn', async (t) => t.fail('x', 'a', 'b'), {}, 'TLS-17'),
    fakeCase('info', async () => undefined, {}, 'TYPE-26'),
    fakeCase('disabled', async () => undefined),
  ], { knownFailing: ['fake/xfail', 'fake/xpass'], filter: { profiles: null, cases: [], skip: ['fake/disabled'], level: 'must' }, onResult: (result: CaseResult) => tap.result(result) });
  tap.end();
  tap.comment('the\nend');
});

test('every status occurs', () => {
  for (const { id, status } of report.cases) assert.is(id, `fake/${status}`);
  assert.is(report.cases.length, 10);
});

test('TAP: a version, numbered lines, YAML blocks in place, and a plan that counts them', () => {
  assert.is(lines[0], 'TAP version 14');
  const points = lines.filter((line) => /^(not )?ok /.test(line));
  assert.equal(points.map((line) => Number(/^(?:not )?ok (\d+) - /.exec(line)![1])), points.map((_, i) => i + 1));
  assert.is(lines.find((line) => line.startsWith('1..')), `1..${points.length}`);
  assert.is(points.length, 9, 'what is disabled is no point');
  const bad = points.filter((line) => line.startsWith('not ok')).map((line) => / - fake\/(\w+)/.exec(line)![1]).sort();
  assert.equal(bad, ['error', 'fail', 'flaky', 'xfail', 'xpass']);
  assert.ok(points.some((line) => line.endsWith('# TODO known failing')) && points.some((line) => line.includes('# SKIP the target has no hook kill')));
  let inside = false;
  for (const line of lines) {
    if (line === '  ---' || line === '  ...') inside = line === '  ---';
    else if (inside) assert.match(line, /^ {2}[a-z]+: ".*"$/);
    else assert.match(line, /^(TAP version 14|(not )?ok \d+ - |1\.\.\d+|# )/);
  }
  assert.not(inside, 'an open YAML block');
});

/** Elements in document order; @throws when tags do not match or a character is not allowed. */
function parseXml(text: string): { name: string; attributes: string }[] {
  if (/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/.test(text)) throw new Error('a character that XML does not allow');
  const found: { name: string; attributes: string }[] = [];
  const open: string[] = [];
  const rest = text.replace(/<\?xml[^>]*\?>/, '').replace(/<(\/?)([a-z]+)((?: [a-z]+="[^"<]*")*)(\/?)>/g, (_all, end: string, name: string, attributes: string, single: string) => {
    if (end) assert.is(open.pop(), name);
    else {
      found.push({ name, attributes });
      if (!single) open.push(name);
    }
    return '';
  });
  assert.equal(open, []);
  assert.not.match(rest, /[<>]/);
  assert.not.match(rest.replace(/&(?:#\d+|amp|lt|gt|quot|apos);/g, ''), /&/);
  return found;
}

test('JUnit: well-formed, and its counts are those of its cases', () => {
  const elements = parseXml(junitReport(report));
  const named = (name: string): number => elements.filter((element) => element.name === name).length;
  assert.equal([named('testsuites'), named('testsuite'), named('testcase')], [1, 1, 10]);
  assert.equal([named('failure'), named('error'), named('skipped')], [3, 1, 3]);
  const [suiteElement] = elements.filter(({ name }) => name === 'testsuite');
  assert.match(suiteElement!.attributes, / tests="10" failures="3" errors="1" skipped="3" /);
});

test('JSON: parses, holds every case, decoded traces and no bytes', () => {
  interface Told {
    readonly id: string;
    readonly status: string;
    readonly traces?: { readonly events: { readonly text: string; readonly hex: string }[] }[];
  }
  const json = JSON.parse(jsonReport(report)) as { cases: Told[]; exitCode: number };
  assert.equal(json.cases.map(({ status }) => status), report.cases.map(({ status }) => status));
  assert.is(json.exitCode, 1);
  const failed = json.cases.find(({ id }) => id === 'fake/fail')!;
  const events = failed.traces!.flatMap((trace) => trace.events);
  assert.ok(events.some(({ text }) => text.startsWith('PRODUCE request id ')), 'the PRODUCE, decoded');
  assert.ok(events.some(({ text }) => text.includes('CORRUPT_BATCH')), 'its answer, decoded');
  assert.ok(events.some(({ hex }) => /^000000 {2}([0-9a-f]{2} )+/.test(hex)), 'a hexdump');
});

test('HTML: one file with nothing to load, every failure with requirement, expected, actual, trace and command', () => {
  const html = htmlReport(report);
  assert.not.match(html, /<script|<link|src=|url\(|@import/);
  for (const status of ['fail', 'flaky', 'error', 'xfail', 'xpass', 'warn']) assert.match(html, `id="fake/${status}"`);
  const section = html.slice(html.indexOf('id="fake/fail"'), html.indexOf('id="fake/flaky"'));
  for (const part of ['<th>expected</th>', '<th>actual</th>', 'SL-SESS-1', 'A server MUST answer a PING', 'CORRUPT_BATCH', '--case fake/fail', 'PRODUCE request', '000000 ']) assert.ok(section.includes(part), part);
  assert.not.match(html, '<this>');
  const open = (tag: string): number => html.split(`<${tag}`).length - 1;
  for (const tag of ['table', 'section', 'details', 'ul', 'main', 'body']) assert.is(html.split(`</${tag}>`).length - 1, open(`${tag}>`) + open(`${tag} `), tag);
});

test('the selftest as HTML: gates, mutants with what is wrong, what each case catches, and every link leads somewhere', () => {
  const matrix: Matrix = new Map([
    ['accept:CORRUPT_BATCH', new Map([['batch/body-crc', 'fail'], ['batch/header-crc', 'pass']])],
    ['srv:produce-skip-body-crc', new Map([['batch/body-crc', 'fail']])], ['tls:refuse', new Map([['tls/one-port', 'pass']])],
  ]);
  const gates = [{ name: 'a gate', problems: [] }, { name: 'another', problems: ['<this> is wrong'] }];
  const found = { pristine: [{ name: 'ours', part: 'plain', verdict: 'a verdict', cases: 9, problems: [], seconds: 3 }], nulls: new Map([['hang', new Map()]]), matrix };
  const html = matrixHtml(gates, found);
  for (const part of ['1 of 2 gates do not hold', '2 of 3 mutants were caught', '&#60;this&#62; is wrong', 'the error CORRUPT_BATCH becomes an OK', 'accepts and says nothing', 'takes no TLS', 'survived']) assert.ok(html.includes(part), part);
  const ids = new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  for (const [, link] of html.matchAll(/ href="#([^"]+)"/g)) assert.ok(ids.has(link), link);
  for (const tag of ['table', 'tr', 'td', 'ul', 'small', 'code', 'main']) assert.is(html.split(`</${tag}>`).length, html.split(new RegExp(`<${tag}[ >]`)).length, tag);
  assert.equal(Object.keys(matrixJson(gates, found, 5)['mutants'] as object), [...matrix.keys()]);
});

test.run();
