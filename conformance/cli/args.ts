// Command lines, without a package: `--name value`, `--name=value`, flags, and what is left over.

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface Args {
  readonly words: readonly string[];
  /** What follows `--`. */
  readonly rest: readonly string[];
  text(name: string): string | null;
  list(name: string): string[];
  number(name: string, fallback: number): number;
  /** A whole number from `min` to `max`. */
  whole(name: string, fallback: number, min: number, max?: number): number;
  flag(name: string): boolean;
}

/** Writes or makes what the command line names; @throws UsageError when that cannot be. */
export function write<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).syscall === 'string') throw new UsageError((error as Error).message);
    throw error;
  }
}

/** @param valued options that take a value, @param flags those that take none, @param wordsMax how many words may stand beside them. */
export function parseArgs(argv: readonly string[], valued: readonly string[], flags: readonly string[], wordsMax = 0): Args {
  const values = new Map<string, string[]>();
  const set = new Set<string>();
  const words: string[] = [];
  const cut = argv.indexOf('--');
  const own = cut < 0 ? argv : argv.slice(0, cut);
  for (let i = 0; i < own.length; i++) {
    const arg = own[i]!;
    if (!arg.startsWith('-')) {
      if (words.push(arg) > wordsMax) throw new UsageError(`${arg}: nothing is expected here`);
      continue;
    }
    if (!arg.startsWith('--')) throw new UsageError(`unknown option ${arg}; options begin with --`);
    const equals = arg.indexOf('=');
    const name = arg.slice(2, equals < 0 ? undefined : equals);
    if (flags.includes(name) && equals < 0) set.add(name);
    else if (valued.includes(name)) {
      const value = equals < 0 ? own[++i] : arg.slice(equals + 1);
      if (value === undefined) throw new UsageError(`--${name} wants a value`);
      values.set(name, [...(values.get(name) ?? []), value]);
    } else throw new UsageError(`unknown option --${name}; known are ${[...valued, ...flags].map((known) => `--${known}`).join(' ') || 'none'}`);
  }
  const number = (name: string, fallback: number): number => {
    const text = values.get(name)?.at(-1);
    if (text === undefined) return fallback;
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value) || value < 0) throw new UsageError(`--${name} wants a number, not ${text || 'nothing'}`);
    return value;
  };
  return {
    words,
    rest: cut < 0 ? [] : argv.slice(cut + 1),
    text: (name) => values.get(name)?.at(-1) ?? null,
    list: (name) => (values.get(name) ?? []).flatMap((value) => value.split(',')).filter((value) => value !== ''),
    number,
    whole: (name, fallback, min, max = Number.MAX_SAFE_INTEGER) => {
      const value = number(name, fallback);
      if (!Number.isInteger(value) || value < min || value > max) {
        throw new UsageError(`--${name} wants a whole number ${max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`}, not ${value}`);
      }
      return value;
    },
    flag: (name) => set.has(name),
  };
}
