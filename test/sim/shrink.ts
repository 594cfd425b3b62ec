// Finds a smaller world that still fails: less time first, then each kind of fault switched off, as long
// as the same rule is broken.
import type { FaultKind, OptionWishes } from './options.ts';
import { drawOptions, FAULT_KINDS } from './options.ts';
import { World } from './world.ts';

/** Returns the command that replays the smallest failing world that was found. */
export async function shrink(seed: number, wishes: OptionWishes & { mutant: string }): Promise<string> {
  const { nodeCount, mutant } = wishes;
  const rule = await ruleOf(seed, wishes);
  let seconds = drawOptions(seed, wishes).seconds;
  let without: FaultKind[] = [...(wishes.without ?? [])];
  const fails = async (trySeconds: number, tryWithout: FaultKind[]): Promise<boolean> =>
    (await ruleOf(seed, { ...wishes, seconds: trySeconds, without: tryWithout })) === rule;
  for (let step = seconds / 2; step >= 0.25; step /= 2) if (await fails(seconds - step, without)) seconds -= step;
  const on = drawOptions(seed, wishes).faults;
  for (const kind of FAULT_KINDS) {
    if (on[kind] === 0 || without.includes(kind)) continue;
    if (await fails(seconds, [...without, kind])) without = [...without, kind];
  }
  for (let step = seconds / 2; step >= 0.25; step /= 2) if (await fails(seconds - step, without)) seconds -= step;
  const left = without.length > 0 ? ` --without ${without.join(',')}` : '';
  const planted = mutant === '' ? '' : ` --mutant ${mutant}`;
  return `npm run sim -- --seed ${seed} --nodes ${nodeCount} --seconds ${seconds}${left}${planted} --trace`;
}

async function ruleOf(seed: number, wishes: OptionWishes): Promise<string> {
  const { violation } = await new World(drawOptions(seed, wishes), null).run();
  return violation?.rule ?? '';
}
