// From results to a verdict: per profile, in one line, and as an exit code.
import { PROFILES } from './case.ts';
import type { CaseResult, Counts, ProfileSummary, RunFilter } from './result.ts';
import { PROTOCOL_VERSION, SUITE_VERSION } from './suite.ts';

export const EXIT = { conformant: 0, failures: 1, usage: 2, harness: 3, stale: 4 } as const;

/** A skip for one of these leaves a profile conformant: the capability is not part of it. */
const FREE_CAPABILITIES = [/^feature:/, /^absent:/, /^limit:/, /^far$/, /^pid$/, /^several-nodes$/, /^tls$/, /^plaintext$/, /^auth$/];
/** Hooks without which the profile durability has not been looked at. */
const DURABILITY_HOOKS = new Set(['hook:stop', 'hook:start', 'hook:kill']);
const BAD = ['fail', 'flaky', 'error', 'xfail', 'xpass'];

export function summarize(results: readonly CaseResult[], features: ReadonlyMap<string, boolean>): ProfileSummary[] {
  return PROFILES.map((profile) => {
    const own = results.filter((result) => result.profile === profile);
    const must = own.filter((result) => result.level === 'must');
    const why = whyNot(profile, must, features);
    return {
      profile,
      must: count(must),
      should: count(own.filter((result) => result.level === 'should')),
      may: count(own.filter((result) => result.level === 'may')),
      conformant: why === null,
      why: why ?? '',
    };
  }).filter((summary) => results.some((result) => result.profile === summary.profile));
}

function whyNot(profile: string, must: readonly CaseResult[], features: ReadonlyMap<string, boolean>): string | null {
  if (features.get(profile) === false) return 'not offered';
  if (must.every((result) => result.status === 'disabled')) return 'not asked for';
  if (must.some((result) => result.status === 'disabled')) return 'not all cases were run';
  const bad = must.filter((result) => BAD.includes(result.status));
  if (bad.length > 0) return `${bad.length} of ${must.length} cases did not pass`;
  const hole = must.find((result) => result.status === 'skip' && !isFree(profile, result.capability ?? ''));
  if (hole) return `${hole.id} was skipped: ${hole.reason}`;
  return must.some((result) => result.status === 'pass' || result.status === 'warn') ? null : 'nothing was run';
}

function isFree(profile: string, capability: string): boolean {
  if (profile === 'durability') return !DURABILITY_HOOKS.has(capability);
  return FREE_CAPABILITIES.some((free) => free.test(capability)) || capability.startsWith('hook:');
}

function count(results: readonly CaseResult[]): Counts {
  const counts: Counts = {};
  for (const { status } of results) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** `sidelog 1.0: core, tls; suite 1.0.3`, or empty when core is not conformant. */
export function verdict(summary: readonly ProfileSummary[], results: readonly CaseResult[]): string {
  const good = summary.filter((profile) => profile.conformant).map((profile) => profile.profile);
  if (!good.includes('core')) return '';
  const names = good.map((profile) => (profile === 'durability' ? durabilityLevel(results) : profile));
  return `sidelog ${PROTOCOL_VERSION}: ${names.join(', ')}; suite ${SUITE_VERSION}`;
}

/** L1 restart, L2 kill -9, L3 loss of power: as far as there were hooks to try it. */
function durabilityLevel(results: readonly CaseResult[]): string {
  const passed = (id: string): boolean => results.some((result) => result.id === id && result.status === 'pass');
  const level = passed('durability/acked-after-powerloss') ? 'L3' : passed('durability/acked-after-kill') ? 'L2' : 'L1';
  return `durability (${level})`;
}

/** Whoever asks for profiles, and not for single cases, wants to hear when one of them is not conformant, whatever the reason. */
export function exitCode(results: readonly CaseResult[], summary: readonly ProfileSummary[], filter: RunFilter): number {
  const some = (...statuses: string[]): boolean => results.some(({ status }) => statuses.includes(status));
  if (some('fail', 'flaky')) return EXIT.failures;
  if (some('error')) return EXIT.harness;
  if (some('xpass')) return EXIT.stale;
  const isWhole = filter.cases.length === 0 && filter.skip.length === 0;
  const isExcused = (profile: string): boolean => results.some((result) => result.profile === profile && result.status === 'xfail');
  const missing = (filter.profiles ?? ['core']).filter((name) => !isExcused(name) && summary.every(({ profile, conformant }) => profile !== name || !conformant));
  if (isWhole && missing.length > 0) return EXIT.failures;
  return EXIT.conformant;
}
