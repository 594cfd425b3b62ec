// From cases to requirements: which sentences of the protocol a run has shown to be held.
import type { CaseResult } from '../engine/result.ts';
import { requirements } from '../engine/suite.ts';
import { isMust } from '../requirements.ts';

export type Standing = 'held' | 'broken' | 'not tried';

const BROKEN = ['fail', 'flaky', 'xfail', 'error'];
const HELD = ['pass', 'info', 'xpass'];

/** Of every MUST that one node can show. */
export function standings(results: readonly CaseResult[]): Map<string, Standing> {
  const statuses = new Map<string, string[]>();
  for (const { reqs, status } of results) for (const id of reqs) statuses.set(id, [...(statuses.get(id) ?? []), status]);
  return new Map(requirements.filter((entry) => isMust(entry) && entry.later === null).map(({ id }) => {
    const own = statuses.get(id) ?? [];
    return [id, own.some((status) => BROKEN.includes(status)) ? 'broken' : own.some((status) => HELD.includes(status)) ? 'held' : 'not tried'];
  }));
}
