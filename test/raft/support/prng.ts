// A seeded random number generator for tests (xorshift128 seeded by splitmix32).
export type Prng = (bound: number) => number;

export function prng(seed: number): Prng {
  let mix = seed >>> 0;
  const next = (): number => {
    mix = (mix + 0x9e3779b9) >>> 0;
    let z = mix;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let [a, b, c, d] = [next(), next(), next(), next()];
  return (bound) => {
    const t = a ^ (a << 11);
    [a, b, c] = [b, c, d];
    d = d ^ (d >>> 19) ^ t ^ (t >>> 8);
    return (d >>> 0) % bound;
  };
}

/** The seed to use: SEED from the environment, else the given one. */
export function seedOr(fallback: number): number {
  return process.env['SEED'] === undefined ? fallback : Number(process.env['SEED']);
}
