// `sidelog serve`: runs a sidecar until a signal. Exactly one line goes to stdout, when it is ready;
// everything else is the log on stderr.
import { basename, relative, resolve } from 'node:path';
import { SETTINGS, SettingError, environmentName, flagName, loadSettings, unknownVariables } from '../config.ts';
import type { Settings } from '../config.ts';
import { createLogger } from '../logger.ts';
import type { Logger } from '../logger.ts';
import { messageOf } from '../segment/disk-advice.ts';
import { JournalVersionError } from '../segment/journal-record.ts';
import { DirectoryInUseError } from '../segment/lock.ts';
import { IdentityError } from '../sidecar-identity.ts';
import { StartError } from '../sidecar-checks.ts';
import { startSidecar } from '../sidecar.ts';
import { parseAddress } from '../units.ts';
import type { ReadyInfo, Sidecar } from '../sidecar.ts';
import { CliError, Exit } from './command.ts';
import type { Command, CommandInput, ExitCode, OptionSpec } from './command.ts';
import { printJson } from './stdout.ts';

const SIGNAL_NUMBER = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 } as const;
/** What a shell reports for a process that a signal ended. */
const SIGNAL_EXIT_BASE = 128;

export const serveCommand: Command = {
  name: 'serve',
  operands: '',
  summary: 'run a sidecar',
  arity: [0, 0],
  options: {
    config: { type: 'string', hint: 'FILE', help: 'JSON file of settings (keys as in the environment table of docs/operations.md)' },
    ...Object.fromEntries(SETTINGS.map((setting): [string, OptionSpec] => [
      flagName(setting.key),
      {
        type: setting.kind === 'flag' ? 'boolean' : 'string',
        ...(setting.kind === 'list' ? { multiple: true } : {}),
        hint: setting.hint ?? (setting.kind === 'choice' ? setting.choices!.join('|') : setting.kind.toUpperCase()),
        help: setting.fallback === null || setting.kind === 'flag' || setting.kind === 'list' ? setting.help : `${setting.help} (default ${String(shown(setting.fallback))})`,
      },
    ])),
  },
  details: `Precedence: flags, then SIDELOG_* (--data-dir is ${environmentName('dataDir')}), then --config, then defaults.
SIGTERM finishes what was begun and exits 0; a second one ends at once.`,
  run: serve,
};

async function serve({ values }: CommandInput): Promise<ExitCode> {
  let settings: Settings;
  try {
    settings = loadSettings(values, process.env);
  } catch (error) {
    if (error instanceof SettingError) throw new CliError(error.message, Exit.usage);
    throw error;
  }
  const format = settings.logFormat === 'auto' ? (process.stderr.isTTY === true ? 'pretty' : 'json') : settings.logFormat;
  const logger = createLogger((line) => process.stderr.write(line), format, settings.logLevel);
  for (const variable of unknownVariables(process.env)) logger.log('warn', 'unknown environment variable', { variable, effect: 'none; see sidelog serve --help' });
  crashLoudly(logger);
  logWarnings(logger);
  const sidecar = await start(settings, logger);
  // Whoever reads the ready line may send a signal at once: it must be understood by then.
  const ended = run(sidecar, logger);
  printJson(sidecar.ready);
  if (process.stderr.isTTY === true) process.stderr.write(welcome(sidecar.ready));
  return ended;
}

async function start(settings: Settings, logger: Logger): Promise<Sidecar> {
  try {
    return await startSidecar(settings, logger);
  } catch (error) {
    if (error instanceof SettingError) throw new CliError(error.message, Exit.usage);
    if (error instanceof StartError || error instanceof IdentityError || error instanceof DirectoryInUseError || error instanceof JournalVersionError) throw new CliError(error.message, Exit.failed);
    // Whatever the file system says (EACCES, ENOSPC, EROFS …) is for the operator too.
    if ((error as NodeJS.ErrnoException).code !== undefined) throw new CliError(`cannot start: ${messageOf(error, resolve(settings.dataDir))}`, Exit.failed, { cause: error });
    throw error;
  }
}

/** Waits for a signal, then stops; a second signal ends the process at once. */
function run(sidecar: Sidecar, logger: Logger): Promise<ExitCode> {
  return new Promise((resolve, reject) => {
    let stopping = false;
    const onSignal = (signal: 'SIGINT' | 'SIGTERM'): void => {
      if (stopping) endAtOnce(signal);
      stopping = true;
      logger.log('info', 'stopping', { signal });
      sidecar.stop().then((finished) => {
        if (!finished) {
          logger.log('error', 'not stopped in time', { reason: 'the disk does not answer', effect: 'what was acked is safe: the next start recovers it' });
          endAtOnce('SIGKILL');
        }
        logger.log('info', 'stopped');
        resolve(Exit.ok);
      }, reject);
    };
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  });
}

/**
 * Ends this process whatever it does. process.exit waits for the thread pool, and so for a disk that hangs;
 * only as the first process of a container, to which signals mean nothing, there is no other way.
 */
function endAtOnce(signal: keyof typeof SIGNAL_NUMBER): never {
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
  process.exit(SIGNAL_EXIT_BASE + SIGNAL_NUMBER[signal]);
}

/** A broken invariant ends the process: a log that went on wrong would be worse than one that stopped. */
function crashLoudly(logger: Logger): void {
  const crash = (error: unknown): void => {
    logger.log('error', 'crash', { reason: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    process.exit(Exit.failed);
  };
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
}

/** Node's own warnings become log lines, so that stderr stays what a log collector can read. */
function logWarnings(logger: Logger): void {
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => logger.log('warn', 'runtime warning', { name, reason: message }));
}

/** What to try next, for somebody who looks at a terminal. */
function welcome({ address, dataDir }: ReadyInfo): string {
  const program = invocation(process.argv[1] ?? 'sidelog');
  const { host, port } = parseAddress(address);
  const reach = host === '0.0.0.0' || host === '::' ? `127.0.0.1:${port}` : address;
  const to = reach === '127.0.0.1:8400' ? '' : ` --to ${reach}`;
  return [
    '',
    `sidelog listens on ${address} and keeps its data in ${dataDir}. Try, in another terminal:`,
    '',
    `  echo hello | ${program} produce default${to}`,
    `  ${program} consume default${to}`,
    `  ${program} status${to}`,
    `  curl http://${reach}/metrics`,
    '',
    'Ctrl-C stops it.',
    '',
    '',
  ].join('\n');
}

/** How this program is called from here: by its name when it was found by that, else through node. */
function invocation(script: string): string {
  return basename(script) === 'sidelog' ? 'sidelog' : `node ${relative(process.cwd(), script)}`;
}

function shown(fallback: unknown): unknown {
  return typeof fallback === 'number' && fallback % (1024 * 1024) === 0 && fallback > 0 ? `${fallback / (1024 * 1024)}MiB` : fallback;
}
