// The build's check of the suite against the norm. Pure: gets the text and the lock, gives back what
// is wrong. `build.mjs` bundles and calls it.
import { allCases } from './cases/all.ts';
import { isMust, parseRequirements } from './requirements.ts';
import type { Requirement } from './requirements.ts';
import waivers from './waivers.json';

/** Of the MUSTs that are not for later. */
const WAIVERS_MAX_SHARE = 0.03;

export interface Audit {
  readonly requirements: Requirement[];
  readonly problems: string[];
  readonly lock: Record<string, string>;
  readonly summary: string;
}

/** @param lock requirement id → hash of the text that its cases were written for. */
export function audit(markdown: string, lock: Readonly<Record<string, string>>, accept: boolean): Audit {
  const requirements = parseRequirements(markdown);
  const byId = new Map(requirements.map((entry) => [entry.id, entry]));
  const problems: string[] = [];
  const ids = new Set<string>();
  const covered = new Set<string>();
  for (const it of allCases) {
    for (const id of [it.id, ...(it.was ? [it.was] : [])]) {
      if (ids.has(id)) problems.push(`the case ${id} is there twice`);
      ids.add(id);
    }
    for (const id of it.reqs) {
      covered.add(id);
      if (!byId.has(id)) problems.push(`the case ${it.id} names ${id}, which docs/protocol.md does not have`);
    }
    if (it.kills.length === 0) problems.push(`the case ${it.id} names no mutant that it must catch`);
  }
  const musts = requirements.filter((entry) => isMust(entry) && entry.later === null);
  const waived = Object.keys(waivers);
  for (const id of waived) {
    if (!byId.has(id)) problems.push(`the waiver ${id} is of no requirement`);
    else if (covered.has(id)) problems.push(`${id} is waived and has a case: the waiver can go`);
  }
  for (const { id, text } of musts) if (!covered.has(id) && !waived.includes(id)) problems.push(`no case and no waiver: [${id}] ${text}`);
  if (waived.length > musts.length * WAIVERS_MAX_SHARE) problems.push(`${waived.length} of ${musts.length} MUSTs are waived, more than 3 %`);
  const now = Object.fromEntries(requirements.map(({ id, sha256 }) => [id, sha256.slice(0, 16)]));
  if (!accept) problems.push(...changes(now, lock));
  const later = requirements.filter((entry) => entry.later !== null).length;
  const done = musts.filter(({ id }) => covered.has(id)).length;
  return {
    requirements, problems, lock: now,
    summary: `${allCases.length} cases, ${done} of ${musts.length} MUSTs covered, ${waived.length} waived, ${later} for later`,
  };
}

function changes(now: Readonly<Record<string, string>>, lock: Readonly<Record<string, string>>): string[] {
  const out: string[] = [];
  for (const [id, hash] of Object.entries(now)) {
    if (lock[id] === hash) continue;
    const cases = allCases.filter((it) => it.reqs.includes(id)).map((it) => it.id).join(', ') || 'no case';
    out.push(`${id} ${lock[id] === undefined ? 'is new' : 'has another text'}: look at ${cases}, then node conformance/build.mjs --accept`);
  }
  for (const id of Object.keys(lock)) if (now[id] === undefined) out.push(`${id} is gone: ids are never reused; look for its cases, then node conformance/build.mjs --accept`);
  return out;
}
