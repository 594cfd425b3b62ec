// Reads the requirements out of docs/protocol.md: every line `- [SL-AREA-n] …` with its level, its
// section and a hash of its text. Pure; the build runs it and embeds what it gives.
import { createHash } from 'node:crypto';

export interface Requirement {
  readonly id: string;
  readonly level: 'MUST' | 'MUST NOT' | 'SHOULD' | 'SHOULD NOT' | 'MAY';
  /** `9.2 Judging and order`. */
  readonly section: string;
  readonly text: string;
  readonly sha256: string;
  /** Set when one plain node cannot show it: `cluster`, `auth`, `client`. */
  readonly later: string | null;
}

const LINE = /^- \[(SL-[A-Z]+-\d+)(?: later:([a-z]+))?\] (.+)$/;
const LEVELS = /\b(MUST NOT|MUST|SHOULD NOT|SHOULD|MAY)\b/g;

/** @throws Error when an id comes twice, or a line has no level or several. */
export function parseRequirements(markdown: string): Requirement[] {
  const found: Requirement[] = [];
  const ids = new Set<string>();
  let section = '';
  for (const line of markdown.split('\n')) {
    const heading = /^#{2,3} (.+)$/.exec(line);
    if (heading) section = heading[1]!;
    const match = LINE.exec(line);
    if (match === null) {
      if (line.startsWith('- [SL-')) throw new Error(`this line begins like a requirement and is none: ${line}`);
      continue;
    }
    const [, id, later, text] = match as unknown as [string, string, string | undefined, string];
    if (ids.has(id)) throw new Error(`the requirement ${id} is there twice`);
    ids.add(id);
    const levels = [...text.matchAll(LEVELS)].map((hit) => hit[0]);
    if (levels.length !== 1) throw new Error(`${id} has ${levels.length} words of level, not one: ${text}`);
    const sha256 = createHash('sha256').update(text).digest('hex');
    found.push({ id, level: levels[0] as Requirement['level'], section, text, sha256, later: later ?? null });
  }
  return found;
}

export function isMust(requirement: Requirement): boolean {
  return requirement.level.startsWith('MUST');
}
