// What every command has in common: its description, its options, and how it fails. A command
// never prints a stack trace for something the user can mend: it throws CliError.
import { parseArgs } from 'node:util';

/** Exit codes of every command; documented in `sidelog --help` and docs/operations.md. */
export const Exit = { ok: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];

/** A failure whose message is one line for the user, with what to do about it. */
export class CliError extends Error {
  override name = 'CliError';
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = Exit.failed, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
  }
}

export interface OptionSpec {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Placeholder of the value in the help. */
  readonly hint?: string;
  readonly help: string;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface Command {
  readonly name: string;
  /** What follows the name in the usage line. */
  readonly operands: string;
  readonly summary: string;
  /** Paragraphs of help after the options. */
  readonly details?: string;
  readonly options: OptionSpecs;
  /** Least and most operands. */
  readonly arity: readonly [number, number];
  run(input: CommandInput): Promise<ExitCode>;
}

export type OptionValues = Record<string, string | boolean | Array<string | boolean> | undefined>;

export interface CommandInput {
  readonly values: OptionValues;
  readonly operands: readonly string[];
}

/** Parses the arguments after the command's name. Throws CliError (usage). */
export function parseCommand(command: Command, args: readonly string[]): CommandInput {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple?: boolean }> = {};
  for (const [name, spec] of Object.entries(command.options)) {
    options[name] = { type: spec.type, ...(spec.short ? { short: spec.short } : {}), ...(spec.multiple ? { multiple: true } : {}) };
  }
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    // parseArgs appends advice that does not fit here, on lines of its own too; its first sentence says it all.
    const [said] = (error as Error).message.split(/\. |\.?\n/);
    const ambiguous = /^Option '(?:-\w, )?(--[\w-]+)/.exec(said!);
    const dash = said!.includes('ambiguous') && ambiguous !== null ? `: a value that begins with a dash is given as ${ambiguous[1]}=VALUE` : '';
    throw new CliError(`${said}${dash}; see: sidelog ${command.name} --help`, Exit.usage);
  }
  const [least, most] = command.arity;
  if (parsed.positionals.length < least || parsed.positionals.length > most) {
    const extra = parsed.positionals[most];
    const what = extra === undefined ? 'something is missing' : `"${extra}" is one too many`;
    throw new CliError(`${what}; ${usageLine(command)}`, Exit.usage);
  }
  return { values: parsed.values as OptionValues, operands: parsed.positionals };
}

function usageLine({ name, operands, options }: Command): string {
  const words = [name, operands, Object.keys(options).length > 0 ? '[OPTIONS]' : ''];
  return `usage: sidelog ${words.filter((word) => word !== '').join(' ')}`;
}

/** The text of `sidelog COMMAND --help`. */
export function commandHelp(command: Command): string {
  const rows = Object.entries(command.options).map(([name, spec]) => {
    const flag = `${spec.short ? `-${spec.short}, ` : ''}--${name}${spec.type === 'string' ? ` ${spec.hint ?? 'VALUE'}` : ''}`;
    return [flag, spec.help] as const;
  });
  const width = Math.min(34, Math.max(0, ...rows.map(([flag]) => flag.length)) + 2);
  const lines = rows.map(([flag, help]) =>
    flag.length < width ? `  ${flag.padEnd(width)}${help}` : `  ${flag}\n  ${' '.repeat(width)}${help}`,
  );
  return [
    usageLine(command),
    '',
    command.summary,
    ...(lines.length > 0 ? ['', 'options:', ...lines] : []),
    ...(command.details === undefined ? [] : ['', command.details]),
    '',
  ].join('\n');
}
