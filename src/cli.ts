// The command line: finds the command, prints help, and turns every failure into one line on
// stderr and an exit code. The commands themselves are in cli/.
import { CliError, Exit, commandHelp, parseCommand } from './cli/command.ts';
import type { Command, ExitCode } from './cli/command.ts';
import { COMMANDS } from './cli/commands.ts';
import { checkNames } from './cli/operands.ts';
import { checkStdout, watchOutput, writeStdout } from './cli/stdout.ts';

declare const __SIDELOG_VERSION__: string;

const EXIT_CODES = `exit codes: 0 done · 1 it failed, or something was found wrong · 2 wrong usage or setting
            3 the server cannot be reached · 130 interrupted`;

/** Runs `sidelog ARGS`; resolves with the exit code, never rejects. */
export async function runCli(args: readonly string[]): Promise<ExitCode> {
  watchOutput();
  try {
    const code = await dispatch(args);
    checkStdout();
    return code;
  } catch (error) {
    if (error instanceof CliError) {
      process.stderr.write(`sidelog: ${error.message}\n`);
      return error.exitCode;
    }
    // Ours: the one case where a stack helps, because somebody has to mend the code.
    process.stderr.write(`sidelog: internal error, please report it: ${(error as Error).stack ?? String(error)}\n`);
    return Exit.failed;
  }
}

async function dispatch(args: readonly string[]): Promise<ExitCode> {
  const [first, second] = args;
  if (first === undefined || first === '--help' || first === '-h' || (first === 'help' && second === undefined)) {
    void writeStdout(overview());
    return first === undefined ? Exit.usage : Exit.ok;
  }
  if (first === '--version' || first === '-v') {
    void writeStdout(`${__SIDELOG_VERSION__}\n`);
    return Exit.ok;
  }
  const words = first === 'help' ? args.slice(1) : args;
  const group = groupOf(words[0]!);
  if (group.length > 0 && (words[1] === '--help' || words[1] === '-h' || (first === 'help' && words[1] === undefined))) {
    void writeStdout(groupHelp(words[0]!, group));
    return Exit.ok;
  }
  const { command, rest } = find(words);
  if (first === 'help' || rest.includes('--help') || rest.includes('-h')) {
    void writeStdout(commandHelp(command));
    return Exit.ok;
  }
  const input = parseCommand(command, rest);
  checkNames(command.operands, input.operands);
  return command.run(input);
}

/** Finds the command by one or two words (`log create`). */
function find(words: readonly string[]): { command: Command; rest: readonly string[] } {
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(' ');
    const command = COMMANDS.find((candidate) => candidate.name === name);
    if (command !== undefined && words.length >= count) return { command, rest: words.slice(count) };
  }
  const group = groupOf(words[0]!);
  if (group.length > 0) {
    throw new CliError(`${words[0]} needs one of: ${group.map(({ name }) => name.split(' ')[1]).join(', ')}`, Exit.usage);
  }
  throw new CliError(`there is no command "${words[0]}"; see: sidelog --help`, Exit.usage);
}

/** The commands that begin with a word: `log create`, `log list`, … */
function groupOf(word: string): readonly Command[] {
  return COMMANDS.filter(({ name }) => name.startsWith(`${word} `));
}

function groupHelp(word: string, group: readonly Command[]): string {
  return [`usage: sidelog ${word} COMMAND [OPTIONS]`, '', 'commands:', ...table(group), '', `sidelog ${word} COMMAND --help tells more.`, ''].join('\n');
}

function table(commands: readonly Command[]): string[] {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`);
}

function overview(): string {
  return [
    'usage: sidelog COMMAND [OPTIONS]',
    '',
    'A durable commit log that runs right beside your app.',
    '',
    'commands:',
    ...table(COMMANDS),
    '',
    'sidelog COMMAND --help tells more. Every setting can also come from the environment',
    '(--data-dir is SIDELOG_DATA_DIR) or, for serve, from a JSON file (--config).',
    '',
    EXIT_CODES,
    '',
  ].join('\n');
}
