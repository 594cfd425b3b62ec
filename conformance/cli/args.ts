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
  flag(name: string): boolean;
}

/** @param valued options that take a value, @param flags those that take none. */
export function parseArgs(argv: readonly string[], valued: readonly string[], flags: readonly string[]): Args {
  const values = new Map<string, string[]>();
  const set = new Set<string>();
  const words: string[] = [];
  const cut = argv.indexOf('--');
  const own = cut < 0 ? argv : argv.slice(0, cut);
  for (let i = 0; i < own.length; i++) {
    const arg = own[i]!;
    if (!arg.startsWith('--')) {
      words.push(arg);
      continue;
    }
    const equals = arg.indexOf('=');
    const name = arg.slice(2, equals < 0 ? undefined : equals);
    if (flags.includes(name) && equals < 0) set.add(name);
    else if (valued.includes(name)) {
      const value = equals < 0 ? own[++i] : arg.slice(equals + 1);
      if (value === undefined) throw new UsageError(`--${name} wants a value`);
      values.set(name, [...(values.get(name) ?? []), value]);
    } else throw new UsageError(`unknown option --${name}; known are ${[...valued, ...flags].map((known) => `--${known}`).join(' ') || 'none'}`);
  }
  return {
    words,
    rest: cut < 0 ? [] : argv.slice(cut + 1),
    text: (name) => values.get(name)?.at(-1) ?? null,
    list: (name) => (values.get(name) ?? []).flatMap((value) => value.split(',')).filter((value) => value !== ''),
    number: (name, fallback) => {
      const text = values.get(name)?.at(-1);
      if (text === undefined) return fallback;
      const number = Number(text);
      if (!Number.isFinite(number) || number < 0) throw new UsageError(`--${name} wants a number, not ${text}`);
      return number;
    },
    flag: (name) => set.has(name),
  };
}
