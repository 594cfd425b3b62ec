// What a run makes of cases that pass, fail, change their mind or break: statuses, exit codes, verdict.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../engine/context.ts';
import { HarnessError } from '../engine/failure.ts';
import { execute } from '../engine/execute.ts';
import { fakeCase, runFakes, settings, statuses, targetAt } from './fake.ts';

const test = suite('conformance/run');

const passes = async (t: Context): Promise<void> => (await t.ready()).barrier();
const fails = async (t: Context): Promise<void> => t.fail('the thing', 'one', 'two');
const breaks = async (): Promise<void> => {
  throw new HarnessError('a cable is loose');
};
/** Fails at first, then passes. */
const wavers = (): ((t: Context) => Promise<void>) => {
  let tried = 0;
  return async (t) => t.ok(tried++ > 0, 'the second time');
};

test('a run in which all passes is conformant and ends with 0', async () => {
  const report = await runFakes([fakeCase('good', passes), fakeCase('better', passes)]);
  assert.equal(statuses(report), { good: 'pass', better: 'pass' });
  assert.is(report.exitCode, 0);
  assert.match(report.verdict, /^sidelog 1\.0: core; suite /);
});

test('a failure takes the verdict and ends with 1, with what was expected, what came, and the trace', async () => {
  const report = await runFakes([fakeCase('good', passes), fakeCase('bad', async (t) => {
    await (await t.ready()).barrier();
    await fails(t);
  })]);
  assert.equal([report.exitCode, report.verdict], [1, '']);
  const bad = report.cases.find(({ id }) => id === 'fake/bad')!;
  assert.equal([bad.status, bad.attempts, bad.reason, bad.expected, bad.actual], ['fail', 2, 'the thing', 'one', 'two']);
  assert.ok(bad.traces!.length > 0 && bad.traces![0]!.first.length > 2, 'a trace of the connection');
});

test('a rerun that differs is flaky, never a pass, and not conformant', async () => {
  const report = await runFakes([fakeCase('wavers', wavers())]);
  assert.equal([statuses(report), report.exitCode, report.verdict], [{ wavers: 'flaky' }, 1, '']);
  const listed = await runFakes([fakeCase('wavers', wavers())], { knownFlaky: ['fake/*'] });
  assert.equal([statuses(listed), listed.exitCode], [{ wavers: 'warn' }, 0]);
});

test('what is listed as known to fail does not fail the run, but takes the verdict', async () => {
  const report = await runFakes([fakeCase('good', passes), fakeCase('bad', fails)], { knownFailing: ['fake/bad'] });
  assert.equal([statuses(report), report.exitCode, report.verdict], [{ good: 'pass', bad: 'xfail' }, 0, '']);
});

test('what is listed as known to fail and passes ends the run with 4', async () => {
  const report = await runFakes([fakeCase('good', passes)], { knownFailing: ['fake/**'] });
  assert.equal([statuses(report), report.exitCode, report.verdict], [{ good: 'xpass' }, 4, '']);
  const both = await runFakes([fakeCase('good', passes), fakeCase('bad', fails)], { knownFailing: ['fake/good'] });
  assert.is(both.exitCode, 1, 'a failure counts for more');
});

test('trouble of the suite itself is an error and ends with 3; the other cases are run all the same', async () => {
  const report = await runFakes([fakeCase('broken', breaks), fakeCase('buggy', async () => {
    throw new TypeError('a bug of the case');
  }), fakeCase('good', passes)]);
  assert.equal([statuses(report), report.exitCode, report.verdict], [{ broken: 'error', buggy: 'error', good: 'pass' }, 3, '']);
});

test('nobody at the address is 3 with a report that says so', async () => {
  const report = await execute(targetAt(1), [fakeCase('good', passes)], settings());
  assert.equal([report.exitCode, report.cases.length, report.verdict], [3, 0, '']);
  assert.match(report.server, /cannot connect to 127\.0\.0\.1:1/);
});

test('a SHOULD warns and a MAY informs, until --level asks for more', async () => {
  const cases = [fakeCase('should', fails, {}, 'TLS-17'), fakeCase('may', fails, {}, 'TYPE-26'), fakeCase('may-too', passes, {}, 'TYPE-26'), fakeCase('must', passes)];
  const report = await runFakes(cases);
  assert.equal([statuses(report), report.exitCode], [{ should: 'warn', may: 'info', 'may-too': 'info', must: 'pass' }, 0]);
  const strict = await runFakes(cases, { filter: { profiles: null, cases: [], skip: [], level: 'should' } });
  assert.equal([statuses(strict).should, strict.exitCode], ['fail', 1]);
});

test('a case that is new in this release only warns, unless asked to fail', async () => {
  const cases = [fakeCase('new', fails, { provisional: true }), fakeCase('old', passes)];
  assert.equal(statuses(await runFakes(cases)), { new: 'warn', old: 'pass' });
  assert.equal(statuses(await runFakes(cases, { provisionalFails: true })), { new: 'fail', old: 'pass' });
});

test('a missing capability is a skip that names it; a profile asked for by name is not conformant without its cases', async () => {
  const cases = [fakeCase('good', passes), fakeCase('crash', passes, { needs: ['hook:kill'] })];
  const report = await runFakes(cases);
  assert.equal([statuses(report), report.exitCode], [{ good: 'pass', crash: 'skip' }, 0]);
  assert.is(report.cases[1]!.capability, 'hook:kill');
  const asked = await runFakes(cases, { filter: { profiles: ['core', 'durability'], cases: [], skip: [], level: 'must' } });
  assert.is(asked.exitCode, 1, 'durability was asked for and not looked at');
});

test('cases that are left out take the verdict and do not fail the run', async () => {
  const cases = [fakeCase('good', passes), fakeCase('bad', fails)];
  const report = await runFakes(cases, { filter: { profiles: null, cases: [], skip: ['fake/bad'], level: 'must' } });
  assert.equal([statuses(report), report.exitCode, report.verdict], [{ good: 'pass', bad: 'disabled' }, 0, '']);
});

test('--timeout-scale stretches how long a reaction may take', async () => {
  const slow = [{ on: 'DESCRIBE_CLUSTER', delay_ms: 400 }] as const;
  const asks = (): ReturnType<typeof fakeCase> => fakeCase('asks', async (t) => void (await (await t.ready()).ok('DESCRIBE_CLUSTER')));
  const impatient = await runFakes([asks()], { scale: 0.04 }, slow);
  assert.equal(statuses(impatient), { asks: 'fail' });
  assert.match(impatient.cases[0]!.actual!, /^no reaction in 200 ms/);
  assert.equal(statuses(await runFakes([asks()], { scale: 0.4 }, slow)), { asks: 'pass' });
});

test('a server that dies under a case does not pass it', async () => {
  const report = await runFakes([fakeCase('deadly', async (t) => {
    const client = await t.ready();
    client.request('REMOVE_NODE', { node: 'all' });
    await client.conn.untilEnded();
  })], { reruns: 0 }, [{ on: 'REMOVE_NODE', close: 'reset' }, { on: 'PING', close: 'reset' }]);
  assert.equal(statuses(report), { deadly: 'fail' });
  assert.is(report.cases[0]!.reason, 'after the case');
});

test('a server that answers nobody else afterwards does not pass', async () => {
  const rules = [{ on: 'CREATE_LOG', drop: true, skip: 1 }] as const;
  const report = await runFakes([fakeCase('one', passes), fakeCase('two', async (t) => void (await t.log(await t.ready())))], { reruns: 0, jobs: 1, scale: 0.1 }, rules);
  assert.equal(statuses(report), { one: 'pass', two: 'fail' });
});

test.run();
