// One whole run against one target: first contact, cases, summary, verdict. The command `run` and the
// selftest both come through here.
import type { Case } from './case.ts';
import type { RunState, Transport } from './context.ts';
import { Failure, HarnessError } from './failure.ts';
import { findFeatures } from './features.ts';
import type { CaseResult, Report } from './result.ts';
import { runCases } from './runner.ts';
import type { RunOptions } from './runner.ts';
import { PROTOCOL_VERSION, SUITE_VERSION, coverage, requirements } from './suite.ts';
import type { Target } from './target.ts';
import { EXIT, exitCode, summarize, verdict } from './verdict.ts';

export interface ExecuteOptions extends RunOptions {
  readonly scale: number;
  readonly seed: number;
  readonly transport: Transport;
  readonly crashRounds: number;
}

export async function execute(target: Target, cases: readonly Case[], options: ExecuteOptions): Promise<Report> {
  const began = Date.now();
  const run: RunState = {
    target, scale: options.scale, seed: options.seed, transport: options.transport, features: new Map(), violations: [],
    runId: (began % 0x1_0000_0000).toString(36) + (process.pid % 1296).toString(36), crashRounds: options.crashRounds, nameCount: 0, revival: null, starts: 0,
  };
  let results: CaseResult[] = [];
  let server = '';
  let unreachable: string | null = null;
  try {
    server = await findFeatures({ ...run, scale: Math.max(1, run.scale) });
  } catch (error) {
    if (error instanceof HarnessError) unreachable = error.message;
    // A server that cannot even say HELLO still gets its cases: each says what went wrong.
    else if (!(error instanceof Failure)) throw error;
  }
  if (unreachable === null) results = await runCases(run, cases, options);
  const summary = summarize(results, run.features);
  const covered = coverage();
  return {
    suite: SUITE_VERSION, protocol: PROTOCOL_VERSION, seed: options.seed, node: process.version, started: new Date(began).toISOString(),
    seconds: (Date.now() - began) / 1000, transport: options.transport, target: target.redacted, targetName: target.name,
    targetSha256: target.sha256, server: unreachable ?? server, cases: results, summary, verdict: verdict(summary, results),
    uncoveredReqs: requirements.filter(({ id, later }) => later === null && covered.get(id)!.length === 0).map(({ id }) => id),
    exitCode: unreachable !== null ? EXIT.harness : exitCode(results, summary, options.filter),
  };
}
