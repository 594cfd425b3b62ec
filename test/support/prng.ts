// A small seeded random source for tests and the simulator: xoshiro128** seeded by splitmix32.
// Integer arithmetic only, so one seed gives one sequence on every V8 and every machine. Not for
// keys or ids of the product.

export class Prng {
  readonly seed: number;
  private a = 0;
  private b = 0;
  private c = 0;
  private d = 0;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    let state = this.seed;
    const mix = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) | 0;
    };
    this.a = mix();
    this.b = mix();
    this.c = mix();
    this.d = mix() | 1; // the all-zero state is the one that xoshiro never leaves
  }

  /** The next 32 random bits, 0 … 2^32 − 1. */
  next32(): number {
    const scrambled = Math.imul(rotateLeft(Math.imul(this.b, 5), 7), 9) >>> 0;
    const shifted = this.b << 9;
    this.c ^= this.a;
    this.d ^= this.b;
    this.b ^= this.c;
    this.a ^= this.d;
    this.c ^= shifted;
    this.d = rotateLeft(this.d, 11);
    return scrambled;
  }

  /** An integer in [0, bound); bound is 1 … 2^32. */
  next(bound: number): number {
    if (!(bound >= 1 && bound <= 0x1_0000_0000)) throw new RangeError(`bound ${bound}`);
    // Values above the largest multiple of bound are thrown away: no modulo bias.
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
    let value = this.next32();
    while (value >= limit) value = this.next32();
    return value % bound;
  }

  /** An integer in [low, high], both included. */
  between(low: number, high: number): number {
    return low + this.next(high - low + 1);
  }

  /** True with probability p (0 … 1). */
  chance(p: number): boolean {
    return this.next32() < p * 0x1_0000_0000;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.next(items.length)] as T;
  }

  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.next(i + 1);
      const held = items[i] as T;
      items[i] = items[j] as T;
      items[j] = held;
    }
    return items;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    for (let i = 0; i < length; i++) bytes[i] = this.next32() >>> 24;
    return bytes;
  }

  /** An independent source, so that one part's draws do not shift another's. */
  fork(): Prng {
    return new Prng(this.next32());
  }
}

/**
 * The seed of a test: SEED from the environment, else a new one. Prints it, so that a failure can
 * be replayed with `SEED=n`.
 */
export function testSeed(name: string): number {
  const given = process.env.SEED;
  const seed = given === undefined ? (Date.now() ^ (process.pid << 16)) >>> 0 : Number(given) >>> 0;
  console.log(`# ${name}: SEED=${seed}`);
  return seed;
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}
