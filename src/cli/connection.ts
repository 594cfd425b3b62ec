// How every client command is told where the server is: the same flags and environment names
// everywhere, and the same one-line errors when it cannot be reached.
import { readFileSync } from 'node:fs';
import { connect, SidelogError } from '../wire/client/client.ts';
import type { Client, ConnectOptions } from '../wire/client/client.ts';
import { CliError, Exit } from './command.ts';
import type { OptionSpecs, OptionValues } from './command.ts';

const DEFAULT_ADDRESS = '127.0.0.1:8400';

/** Options of every command that talks to a server. `--to` and `--from` mean the same. */
export const CONNECTION_OPTIONS: OptionSpecs = {
  to: { type: 'string', hint: 'ADDR', help: `the server: HOST:PORT or unix:PATH (default ${DEFAULT_ADDRESS})` },
  from: { type: 'string', hint: 'ADDR', help: 'the same as --to' },
  tls: { type: 'boolean', help: "use TLS and trust the system's authorities" },
  'tls-ca': { type: 'string', hint: 'FILE', help: 'use TLS and trust the authorities in this file (PEM)' },
  'tls-cert': { type: 'string', hint: 'FILE', help: 'client certificate (PEM)' },
  'tls-key': { type: 'string', hint: 'FILE', help: 'its private key (PEM)' },
  'tls-servername': { type: 'string', hint: 'NAME', help: 'name the certificate must cover, if not the host' },
  token: { type: 'string', hint: 'TOKEN', help: 'bearer token; better given as SIDELOG_TOKEN' },
};

/** A flag, else its SIDELOG_* variable. */
function setting(values: OptionValues, name: string): string | undefined {
  const flag = values[name];
  if (typeof flag === 'string') return flag;
  const variable = process.env[`SIDELOG_${name.replaceAll('-', '_').toUpperCase()}`];
  return variable === '' ? undefined : variable;
}

/** Where and how to connect. Throws CliError when a file cannot be read. */
export function connectOptions(values: OptionValues): ConnectOptions {
  const address = setting(values, 'to') ?? setting(values, 'from') ?? DEFAULT_ADDRESS;
  const ca = setting(values, 'tls-ca');
  const options: ConnectOptions = { address, name: 'sidelog-cli', token: setting(values, 'token') };
  if (ca === undefined && values['tls'] !== true) return options;
  const cert = setting(values, 'tls-cert');
  const key = setting(values, 'tls-key');
  options.tls = {
    ca: ca === undefined ? undefined : readPem(ca, '--tls-ca'),
    // A certificate without its key belongs to a server in the same environment, not to us.
    cert: cert !== undefined && key !== undefined ? readPem(cert, '--tls-cert') : undefined,
    key: cert !== undefined && key !== undefined ? readPem(key, '--tls-key') : undefined,
    servername: setting(values, 'tls-servername'),
  };
  return options;
}

function readPem(path: string, flag: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(`${flag} ${path}: ${(error as Error).message}`, Exit.usage);
  }
}

/** Runs `use` with a connected client and closes it; every failure becomes a CliError. */
export async function withClient<T>(values: OptionValues, use: (client: Client) => Promise<T>): Promise<T> {
  const options = connectOptions(values);
  let client: Client;
  try {
    client = await connect(options);
  } catch (error) {
    throw new CliError(`cannot reach a sidelog server at ${options.address}: ${(error as Error).message}`, Exit.unreachable, { cause: error });
  }
  try {
    return await use(client);
  } catch (error) {
    throw explain(error);
  } finally {
    await client.close();
  }
}

/** A server's or client's error as one line; anything else passes. */
export function explain(error: unknown): unknown {
  if (!(error instanceof SidelogError)) return error;
  const unknown = error.outcomeUnknown ? ' (it may have taken effect all the same)' : '';
  return new CliError(`${error.name}: ${error.message}${unknown}`, Exit.failed, { cause: error });
}

/** A whole number ≥ 0 from an option; undefined when it was not given. Throws CliError. */
export function numberOption(values: OptionValues, name: string, least = 0): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  const value = typeof text === 'string' && /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < least) {
    throw new CliError(`--${name}: "${String(text)}" is not accepted; expected a whole number from ${least}`, Exit.usage);
  }
  return value;
}

/** Parses an option with one of the functions of units.ts. Throws CliError naming what is accepted. */
export function parsedOption<T>(values: OptionValues, name: string, parse: (text: string) => T): T | undefined {
  const text = values[name];
  if (typeof text !== 'string') return undefined;
  try {
    return parse(text);
  } catch (error) {
    throw new CliError(`--${name}: "${text}" is not accepted; expected ${(error as Error).message}`, Exit.usage);
  }
}

/** One JSON line on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}
