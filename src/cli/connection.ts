// How every client command is told where the server is: the same flags and environment names
// everywhere, and the same one-line errors when it cannot be reached.
import { readFileSync } from 'node:fs';
import { Client, ErrorCode, SidelogError } from '../wire/client/client.ts';
import type { ConnectionState, ConnectOptions } from '../wire/client/client.ts';
import { isLocal, parseAddress } from '../wire/client/address.ts';
import { CliError, Exit } from './command.ts';
import type { OptionSpecs, OptionValues } from './command.ts';

const DEFAULT_ADDRESS = '127.0.0.1:8400';
/** What a socket says when nobody is there: waiting would not help somebody at a terminal. */
const NOBODY_THERE: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTFOUND', 'EACCES', 'ENOTSOCK', 'EHOSTUNREACH', 'ENETUNREACH']);

/** Options of every command that talks to a server. `--to` and `--from` mean the same. */
export const CONNECTION_OPTIONS: OptionSpecs = {
  to: { type: 'string', hint: 'ADDR', help: `the server: HOST:PORT, [IPV6]:PORT or unix:PATH (default ${DEFAULT_ADDRESS})` },
  from: { type: 'string', hint: 'ADDR', help: 'the same as --to' },
  tls: { type: 'boolean', help: "use TLS and trust the system's authorities" },
  'tls-ca': { type: 'string', hint: 'FILE', help: 'use TLS and trust the authorities in this file (PEM)' },
  'tls-cert': { type: 'string', hint: 'FILE', help: 'use TLS with this client certificate (PEM)' },
  'tls-key': { type: 'string', hint: 'FILE', help: 'its private key (PEM)' },
  'tls-servername': { type: 'string', hint: 'NAME', help: 'use TLS; name the certificate must cover, if not the host' },
  token: { type: 'string', hint: 'TOKEN', help: 'bearer token; better given as SIDELOG_TOKEN' },
};

/** A flag, else its SIDELOG_* variable. */
function setting(values: OptionValues, name: string): string | undefined {
  const flag = values[name];
  if (typeof flag === 'string') return flag;
  const variable = process.env[`SIDELOG_${name.replaceAll('-', '_').toUpperCase()}`];
  return variable === '' ? undefined : variable;
}

/** Where and how to connect. Throws CliError (usage) that names what is wrong. */
export function connectOptions(values: OptionValues): ConnectOptions {
  // Either flag goes before either variable.
  const flag = (values['to'] ?? values['from']) as string | undefined;
  const address = flag ?? setting(values, 'to') ?? setting(values, 'from') ?? DEFAULT_ADDRESS;
  const target = parsed('--to', address, parseAddress);
  const options: ConnectOptions = { address, name: 'sidelog-cli', token: setting(values, 'token') };
  const cert = setting(values, 'tls-cert');
  const key = setting(values, 'tls-key');
  if ((values['tls-cert'] === undefined) !== (values['tls-key'] === undefined) && (cert === undefined || key === undefined)) {
    throw new CliError('--tls-cert and --tls-key go together: give both', Exit.usage);
  }
  if (wantsTls(values)) {
    const ca = setting(values, 'tls-ca');
    // A certificate without its key in the environment belongs to somebody else.
    const hasIdentity = cert !== undefined && key !== undefined;
    options.tls = {
      ca: ca === undefined ? undefined : readPem(ca, '--tls-ca'),
      cert: hasIdentity ? readPem(cert, '--tls-cert') : undefined,
      key: hasIdentity ? readPem(key, '--tls-key') : undefined,
      servername: setting(values, 'tls-servername'),
    };
  } else if (options.token !== undefined && !isLocal(target)) {
    throw new CliError(`--token: would go to ${address} unencrypted; add --tls or --tls-ca FILE`, Exit.usage);
  }
  return options;
}

/** Flags that only make sense with TLS ask for it; of the variables only SIDELOG_TLS and SIDELOG_TLS_CA do. */
function wantsTls(values: OptionValues): boolean {
  const flags = ['tls', 'tls-ca', 'tls-cert', 'tls-key', 'tls-servername'];
  if (flags.some((name) => values[name] !== undefined)) return true;
  if (setting(values, 'tls-ca') !== undefined) return true;
  const variable = process.env['SIDELOG_TLS'] ?? '';
  if (['', '0', 'false'].includes(variable)) return false;
  if (['1', 'true'].includes(variable)) return true;
  throw new CliError(`SIDELOG_TLS: "${variable}" is not accepted; expected true or false`, Exit.usage);
}

function readPem(path: string, flag: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(`${flag} ${path}: cannot be read: ${(error as Error).message}`, Exit.usage);
  }
}

/** Runs `use` with a connected client and closes it; every failure of the client becomes a CliError. */
export async function withClient<T>(values: OptionValues, use: (client: Client) => Promise<T>): Promise<T> {
  const client = await connected(connectOptions(values));
  try {
    return await use(client);
  } catch (error) {
    throw explain(error);
  } finally {
    await client.close();
  }
}

/** Unlike an app, somebody at a terminal is told at once that nobody listens. */
async function connected(options: ConnectOptions): Promise<Client> {
  let giveUp: (error: Error) => void = () => undefined;
  const hopeless = new Promise<never>((_resolve, reject) => (giveUp = reject));
  const onState = (state: ConnectionState): void => {
    if (state.event === 'failed' && NOBODY_THERE.has(causeCode(state.error))) giveUp(state.error);
    if (state.event === 'ready') giveUp = () => undefined;
  };
  let client: Client;
  try {
    client = new Client({ ...options, onState });
  } catch (error) {
    throw new CliError((error as Error).message, Exit.usage, { cause: error });
  }
  try {
    await Promise.race([client.opened(), hopeless]);
    return client;
  } catch (error) {
    await client.close();
    throw new CliError(`cannot reach a sidelog server at ${options.address}: ${(error as Error).message}${advice(error)}`, Exit.unreachable, { cause: error });
  }
}

function advice(error: unknown): string {
  const code = causeCode(error);
  if (/^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_)/.test(code)) return '; give the authority that signed its certificate with --tls-ca FILE';
  if (error instanceof SidelogError && error.code === ErrorCode.TLS_REQUIRED) return '; give --tls or --tls-ca FILE';
  return '';
}

function causeCode(error: unknown): string {
  const code = (error as { cause?: { code?: unknown } }).cause?.code;
  return typeof code === 'string' ? code : '';
}

/** A server's or client's error as one line; anything else passes. */
export function explain(error: unknown): unknown {
  if (!(error instanceof SidelogError)) return error;
  const unknown = error.outcomeUnknown ? ' (it may have taken effect all the same)' : '';
  const message = error.message === error.name ? '' : `: ${error.message}`;
  return new CliError(`${error.name}${message}${details(error)}${unknown}`, Exit.failed, { cause: error });
}

/** What the server told besides its message. */
function details({ code, detail, message }: SidelogError): string {
  const { range, nextOffset, fence, field, limit } = detail;
  const parts = [
    ...(code === ErrorCode.LOG_NOT_FOUND ? ['see: sidelog log create'] : []),
    ...(range === undefined ? [] : [code === ErrorCode.DATA_LOSS ? `offsets ${range.logStart} to ${range.committedEnd - 1}; go on with --offset ${range.committedEnd}` : `the log has the offsets ${range.logStart} to ${range.committedEnd - 1}`]),
    ...(nextOffset === undefined ? [] : [`the next offset is ${nextOffset}`]),
    ...(fence === undefined ? [] : [`the fence is ${fence}`]),
    ...(field === undefined || message.includes(field) ? [] : [`field ${field}`]),
    ...(limit === undefined || message.includes(String(limit)) ? [] : [`limit ${limit}`]),
  ];
  return parts.length === 0 ? '' : `; ${parts.join(', ')}`;
}

/** A whole number from an option; undefined when it was not given. Throws CliError. */
export function numberOption(values: OptionValues, name: string, least = 0, most = Number.MAX_SAFE_INTEGER): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    throw new CliError(`--${name}: "${String(text)}" is not accepted; expected a whole number ${range}`, Exit.usage);
  }
  return value;
}

/** Parses an option with a function that throws an error saying what is accepted. Throws CliError. */
export function parsedOption<T>(values: OptionValues, name: string, parse: (text: string) => T): T | undefined {
  const text = values[name];
  return typeof text === 'string' ? parsed(`--${name}`, text, parse) : undefined;
}

/** One of a closed set of words. Throws CliError. */
export function choiceOption<T extends string>(values: OptionValues, name: string, choices: readonly T[], fallback: T): T {
  const text = values[name] ?? fallback;
  const choice = choices.find((candidate) => candidate === text);
  if (choice !== undefined) return choice;
  throw new CliError(`--${name}: "${String(text)}" is not accepted; expected ${choices.join(', ').replace(/, ([^,]*)$/, ' or $1')}`, Exit.usage);
}

function parsed<T>(source: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    const { message } = error as Error;
    throw new CliError(error instanceof TypeError ? `${source}: ${message}` : `${source}: "${text}" is not accepted; expected ${message}`, Exit.usage);
  }
}
