// All mutations of the proxy by name: `family:argument`, as the cases name them in `kills`.
import { answerMutations } from './mutations-answers.ts';
import { batchMutations } from './mutations-batches.ts';
import { linkMutations } from './mutations-link.ts';
import { requestMutations } from './mutations-requests.ts';
import type { Mutation } from './proxy.ts';

const FAMILIES = { ...answerMutations, ...batchMutations, ...linkMutations, ...requestMutations };

/** Null for a name that no family knows. A fresh one each time: mutations may remember. */
export function makeMutation(name: string): Mutation | null {
  const whole = FAMILIES[name];
  if (whole !== undefined) return whole('');
  const cut = name.indexOf(':');
  const family = cut < 0 ? undefined : FAMILIES[name.slice(0, cut)];
  return family === undefined ? null : family(name.slice(cut + 1));
}
