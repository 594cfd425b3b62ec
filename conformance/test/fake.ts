// For tests of the engine: a mock as target, cases made for the occasion, and a whole run over them.
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { area } from '../engine/case.ts';
import type { Case, CaseOptions } from '../engine/case.ts';
import type { Context } from '../engine/context.ts';
import { execute } from '../engine/execute.ts';
import type { ExecuteOptions } from '../engine/execute.ts';
import { NoHooks } from '../engine/hooks.ts';
import type { Report } from '../engine/result.ts';
import { parseTarget } from '../engine/target.ts';
import type { Target } from '../engine/target.ts';
import type { Rule } from '../mock/script.ts';
import { MockServer } from '../mock/server.ts';

const define = area('fake', 'core');

/** A case with a requirement of the level wished. */
export function fakeCase(slug: string, run: (t: Context) => Promise<void>, options: Partial<CaseOptions> = {}, reqs = 'SESS-1'): Case {
  return define(slug, `The case ${slug} <&">.`, reqs, { kills: [], ...options }, run);
}

export function targetAt(port: number): Target {
  return parseTarget({
    schema: 'sidelog-target/1', name: 'a mock', endpoints: [{ host: '127.0.0.1', port }],
    features: { idempotence: true, conditional: true, streaming: true, http: false, trash: false, 'transfer-leader': false, 'remove-node': false },
  }, process.cwd(), new NoHooks());
}

export async function withMock<T>(rules: readonly Rule[], use: (port: number) => Promise<T>): Promise<T> {
  const mock = new MockServer({ hello: {}, rules }, () => undefined);
  try {
    return await use(await mock.listen(0));
  } finally {
    await mock.close();
  }
}

export function settings(change: Partial<ExecuteOptions> = {}): ExecuteOptions {
  return {
    scale: 1, seed: 7, transport: 'plain', crashRounds: 1, reruns: 1, jobs: 2, knownFailing: [], knownFlaky: [], provisionalFails: false, onResult: () => undefined,
    repro: (id) => `--case ${id}`, filter: { profiles: null, cases: [], skip: [], level: 'must' }, ...change,
  };
}

export function runFakes(cases: readonly Case[], change: Partial<ExecuteOptions> = {}, rules: readonly Rule[] = []): Promise<Report> {
  return withMock(rules, (port) => execute(targetAt(port), cases, settings(change)));
}

export function statuses(report: Report): Record<string, string> {
  return Object.fromEntries(report.cases.map(({ id, status }) => [id.slice('fake/'.length), status]));
}

export function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => done(port));
    });
  });
}
