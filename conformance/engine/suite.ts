// The suite as a whole: all cases, all requirements, and which covers which. The requirements are
// put in by the build; run from source (tests), they are read from docs/protocol.md.
import { readFileSync } from 'node:fs';
import { allCases } from '../cases/all.ts';
import waiverList from '../waivers.json';
import { parseRequirements } from '../requirements.ts';
import type { Requirement } from '../requirements.ts';
import type { Case, Level } from './case.ts';

declare const __REQUIREMENTS__: Requirement[] | undefined;
declare const __SUITE_VERSION__: string | undefined;

export const PROTOCOL_VERSION = '1.0';
export const SUITE_VERSION = typeof __SUITE_VERSION__ === 'string' ? __SUITE_VERSION__ : `${PROTOCOL_VERSION}.0-source`;

export const requirements: readonly Requirement[] =
  typeof __REQUIREMENTS__ === 'object' ? __REQUIREMENTS__ : parseRequirements(readFileSync('docs/protocol.md', 'utf8'));
/** Requirement id → why no case can show it. */
export const waivers: Readonly<Record<string, string>> = waiverList;

const BY_ID = new Map(requirements.map((requirement) => [requirement.id, requirement]));

export function requirement(id: string): Requirement | undefined {
  return BY_ID.get(id);
}

export function cases(): readonly Case[] {
  return allCases;
}

/** The strongest level among the case's requirements. */
export function levelOf(it: Case): Level {
  const levels = it.reqs.map((id) => BY_ID.get(id)?.level ?? 'MUST');
  if (levels.some((level) => level.startsWith('MUST'))) return 'must';
  return levels.some((level) => level.startsWith('SHOULD')) ? 'should' : 'may';
}

/** Requirement id → ids of the cases that cover it. */
export function coverage(): Map<string, string[]> {
  const map = new Map<string, string[]>(requirements.map(({ id }) => [id, []]));
  for (const it of allCases) for (const id of it.reqs) map.get(id)?.push(it.id);
  return map;
}
