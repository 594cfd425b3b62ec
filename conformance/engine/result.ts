// What a run found, as data: the JSON report is exactly this, the other reports are made from it.
import type { Level, Status } from './case.ts';
import type { Trace } from '../net/trace.ts';

export interface CaseResult {
  readonly id: string;
  readonly title: string;
  readonly reqs: readonly string[];
  readonly profile: string;
  readonly level: Level;
  status: Status;
  ms: number;
  attempts: number;
  /** Why: the failed expectation, the missing capability, what was observed. */
  reason: string;
  expected?: string;
  actual?: string;
  capability?: string;
  /** The write mode in which it failed. */
  mode?: string;
  notes?: readonly string[];
  traces?: readonly Trace[];
  repro?: string;
}

export interface Counts {
  [status: string]: number;
}

export interface ProfileSummary {
  readonly profile: string;
  readonly must: Counts;
  readonly should: Counts;
  readonly may: Counts;
  /** Every MUST case passed, and none was skipped but for a capability that the profile allows to lack. */
  readonly conformant: boolean;
  readonly why: string;
}

export interface Report {
  readonly suite: string;
  readonly protocol: string;
  readonly seed: number;
  readonly node: string;
  readonly started: string;
  readonly seconds: number;
  readonly transport: string;
  readonly target: unknown;
  readonly targetName: string;
  readonly targetSha256: string;
  readonly server: string;
  readonly cases: readonly CaseResult[];
  readonly summary: readonly ProfileSummary[];
  /** Empty when core is not conformant. */
  readonly verdict: string;
  readonly uncoveredReqs: readonly string[];
  readonly exitCode: number;
}

export interface RunFilter {
  readonly profiles: readonly string[] | null;
  readonly cases: readonly string[];
  readonly skip: readonly string[];
  readonly level: Level;
}
