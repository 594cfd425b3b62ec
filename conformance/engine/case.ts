// What a case is, and the small definer that the files under cases/ use. Ids are given by hand and
// never reused; a renamed case keeps its old id in `was`.
import type { Profile } from '../wire/layouts.ts';
import type { Context } from './context.ts';

/** What a target must have for a case to mean anything; a missing one makes the case a skip. */
export type Need =
  | `feature:${string}` | `absent:${string}` | `hook:${string}` | `limit:${string}` | 'tls' | 'plaintext' | 'far' | 'pid' | 'several-nodes';

export interface CaseOptions {
  readonly needs?: readonly Need[];
  /** Runs three times: frames whole, byte by byte, and coalesced with the next frame. */
  readonly modes?: boolean;
  /** Takes seconds because it waits for a time limit: started first, beside the others. */
  readonly slow?: boolean;
  /** Stops, damages or fills the server: runs alone, after all others. */
  readonly exclusive?: boolean;
  /** Suite release that brought it. */
  readonly since?: string;
  /** Entered in a patch release: its failure is only a warning until the next minor. */
  readonly provisional?: boolean;
  readonly was?: string;
  /** Mutants that must make this case fail. */
  readonly kills: readonly string[];
}

export interface Case extends CaseOptions {
  /** `area/slug`. */
  readonly id: string;
  readonly title: string;
  /** Full requirement ids. */
  readonly reqs: readonly string[];
  readonly profile: Profile;
  readonly needs: readonly Need[];
  run(t: Context): Promise<void>;
}

export type Define = (slug: string, title: string, reqs: string, options: CaseOptions, run: (t: Context) => Promise<void>) => Case;

/** `reqs` is a list without the prefix: `'PROD-1 PROD-2'`. */
export function area(name: string, profile: Profile, always: readonly Need[] = []): Define {
  return (slug, title, reqs, options, run) => ({
    ...options,
    id: `${name}/${slug}`,
    title,
    reqs: reqs.split(' ').map((id) => `SL-${id}`),
    profile,
    needs: [...featureOf(profile), ...always, ...(options.needs ?? [])],
    run,
  });
}

function featureOf(profile: Profile): Need[] {
  if (profile === 'idempotence' || profile === 'conditional' || profile === 'streaming' || profile === 'http') return [`feature:${profile}`];
  return profile === 'tls' ? ['tls'] : [];
}

export type Status = 'pass' | 'fail' | 'warn' | 'info' | 'skip' | 'disabled' | 'error' | 'xfail' | 'xpass' | 'flaky';
export type Level = 'must' | 'should' | 'may';
export const PROFILES: readonly Profile[] = [
  'core', 'tls', 'idempotence', 'conditional', 'streaming', 'durability', 'http', 'peer-refusal', 'auth', 'cluster',
];

/** `*` is one component, `**` any number of them. */
export function matches(pattern: string, id: string): boolean {
  const source = pattern
    .split('/')
    .map((part) => (part === '**' ? '.*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]*')))
    .join('/');
  return new RegExp(`^${source}$`).test(id);
}
