// Seeded randomness for the tests of this folder: SEED=n replays a failing run.
import { Prng, testSeed } from '../support/prng.ts';

/** A generator of numbers in [0, 1) with a printed seed. */
export function seededRandom(what: string): () => number {
  const prng = new Prng(testSeed(what));
  return () => prng.next32() / 0x1_0000_0000;
}
