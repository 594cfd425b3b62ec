// The settings of `sidelog serve`: one table from which flags, environment names, the JSON file's
// keys, the help text and the checks are all made. Precedence: flags > SIDELOG_* > file > defaults.
// Anything wrong is one SettingError that names the setting, the value, and what is accepted.
import * as z from 'zod/mini';
import { hostname } from 'node:os';
import { readFileSync } from 'node:fs';
import { formatAddress, isLoopback, parseAddress, parseDuration, parseSize } from './units.ts';
import type { Address } from './units.ts';

/** A wrong setting: `message` is one line for the person who set it. */
export class SettingError extends Error {
  override name = 'SettingError';
}

type Kind = 'text' | 'path' | 'flag' | 'size' | 'duration' | 'count' | 'address' | 'choice' | 'list';

interface Setting {
  readonly key: keyof Settings;
  readonly kind: Kind;
  readonly fallback: unknown;
  readonly help: string;
  readonly hint?: string;
  readonly min?: number;
  readonly max?: number;
  readonly choices?: readonly string[];
}

export interface Settings {
  dataDir: string;
  listen: Address;
  unixSocket: string | null;
  nodeName: string;
  bootstrapExpect: number | null;
  tlsCert: string | null;
  tlsKey: string | null;
  allowPlaintext: boolean;
  allowAnonymous: boolean;
  httpHost: string[];
  httpOpen: boolean;
  indexBackend: 'auto' | 'mmap' | 'mirror';
  segmentBytes: number;
  maxBatch: number;
  maxFrame: number;
  maxInflight: number;
  maxConnections: number;
  maxLogs: number;
  memoryLimit: number;
  idle: number;
  trashAfter: number;
  reserve: number | null;
  shutdownGrace: number;
  logFormat: 'json' | 'pretty' | 'auto';
  logLevel: 'debug' | 'info' | 'warn' | 'error';
}

const MIB = 1024 * 1024;

export const SETTINGS: readonly Setting[] = [
  { key: 'dataDir', kind: 'path', fallback: './data', hint: 'DIR', help: 'where everything is kept' },
  { key: 'listen', kind: 'address', fallback: '127.0.0.1:8400', hint: 'HOST:PORT', help: 'the one port; port 0 takes a free one' },
  { key: 'unixSocket', kind: 'path', fallback: null, hint: 'PATH', help: 'also listen on this Unix socket (mode 0600)' },
  { key: 'nodeName', kind: 'text', fallback: hostname(), hint: 'NAME', help: 'label of this node in answers and metrics' },
  { key: 'bootstrapExpect', kind: 'count', fallback: null, min: 1, max: 1, hint: 'N', help: 'nodes that make a new cluster; needed on first start when --listen is not loopback' },
  { key: 'tlsCert', kind: 'path', fallback: null, hint: 'FILE', help: "the server's certificate chain (PEM)" },
  { key: 'tlsKey', kind: 'path', fallback: null, hint: 'FILE', help: "the certificate's private key (PEM)" },
  { key: 'allowPlaintext', kind: 'flag', fallback: false, help: 'take plaintext from other hosts too (only inside an encrypted network)' },
  { key: 'allowAnonymous', kind: 'flag', fallback: false, help: 'serve other hosts without knowing who they are' },
  { key: 'httpHost', kind: 'list', fallback: [], hint: 'NAME', help: 'further Host names that HTTP requests may carry (repeatable)' },
  { key: 'httpOpen', kind: 'flag', fallback: false, help: '/metrics for other hosts over plaintext' },
  { key: 'indexBackend', kind: 'choice', fallback: 'auto', choices: ['auto', 'mmap', 'mirror'], help: 'how index files are held in memory' },
  { key: 'segmentBytes', kind: 'size', fallback: 64 * MIB, min: MIB, max: 1024 * MIB, help: 'segment size of logs that do not set their own' },
  { key: 'maxBatch', kind: 'size', fallback: MIB, min: 64 * 1024, max: 32 * MIB, help: 'largest record batch' },
  { key: 'maxFrame', kind: 'size', fallback: 4 * MIB, min: 64 * 1024 + 8192, max: 64 * MIB, help: 'largest frame; at least the largest batch + 8 KiB' },
  { key: 'maxInflight', kind: 'count', fallback: 1024, min: 1, max: 65_535, help: 'unanswered requests per connection before reading stops' },
  { key: 'maxConnections', kind: 'count', fallback: 10_000, min: 1, max: 1_000_000, help: 'open connections; further ones are refused' },
  { key: 'maxLogs', kind: 'count', fallback: 1000, min: 1, max: 100_000, help: 'named logs' },
  { key: 'memoryLimit', kind: 'size', fallback: 64 * MIB, min: 8 * MIB, help: 'bytes waiting for the disk before clients are slowed down' },
  { key: 'idle', kind: 'duration', fallback: 30_000, min: 5000, max: 600_000, help: 'a silent connection is closed after this' },
  { key: 'trashAfter', kind: 'duration', fallback: 3_600_000, min: 0, help: 'a deleted log can be brought back for this long' },
  { key: 'reserve', kind: 'size', fallback: null, hint: 'SIZE', help: 'free disk space below which records are refused (default: the smaller of 256MiB and 2 %)' },
  { key: 'shutdownGrace', kind: 'duration', fallback: 2000, min: 0, max: 600_000, help: 'time to finish what was begun after SIGTERM' },
  { key: 'logFormat', kind: 'choice', fallback: 'auto', choices: ['auto', 'json', 'pretty'], help: 'format of the log on stderr; auto is pretty on a terminal' },
  { key: 'logLevel', kind: 'choice', fallback: 'info', choices: ['debug', 'info', 'warn', 'error'], help: 'least level that is logged' },
];

/** `dataDir` → `data-dir`. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `dataDir` → `SIDELOG_DATA_DIR`. */
export function environmentName(key: string): string {
  return `SIDELOG_${flagName(key).replaceAll('-', '_').toUpperCase()}`;
}

/** The options of `util.parseArgs` for `serve`. */
export function settingOptions(): Record<string, { type: 'string' | 'boolean'; multiple?: boolean }> {
  const options: Record<string, { type: 'string' | 'boolean'; multiple?: boolean }> = { config: { type: 'string' } };
  for (const { key, kind } of SETTINGS) {
    options[flagName(key)] = { type: kind === 'flag' ? 'boolean' : 'string', ...(kind === 'list' ? { multiple: true } : {}) };
  }
  return options;
}

/**
 * Merges and checks all sources. `flags` is what parseArgs returned, keyed by flag name.
 * Throws SettingError.
 */
export function loadSettings(flags: Record<string, unknown>, environment: NodeJS.ProcessEnv): Settings {
  const path = (flags['config'] ?? (environment['SIDELOG_CONFIG'] || undefined)) as string | undefined;
  const file = path === undefined ? {} : readFile(path);
  const settings: Record<string, unknown> = {};
  for (const setting of SETTINGS) {
    const flag = flags[flagName(setting.key)];
    const variable = environment[environmentName(setting.key)];
    if (flag !== undefined) settings[setting.key] = check(setting, flag, `--${flagName(setting.key)}`);
    else if (variable !== undefined && variable !== '') settings[setting.key] = check(setting, variable, environmentName(setting.key));
    else if (setting.key in file) settings[setting.key] = check(setting, file[setting.key], `${path}: ${setting.key}`);
    else settings[setting.key] = setting.fallback === null ? null : check(setting, setting.fallback, setting.key);
  }
  const result = settings as unknown as Settings;
  checkTogether(result);
  return result;
}

/** Variables that may be set beside the settings: those of the client commands, and what a container platform sets. */
const OTHER_VARIABLES = /^SIDELOG_(CONFIG|TO|FROM|TOKEN|TLS(_CA|_SERVERNAME)?|(.*_)?SERVICE_.*|PORT(_.*)?|.*_PORT(_.*)?)$/;

/** Variables that look like settings and are none: mistyped, most likely. */
export function unknownVariables(environment: NodeJS.ProcessEnv): string[] {
  const known = new Set(SETTINGS.map(({ key }) => environmentName(key)));
  return Object.keys(environment).filter((name) => name.startsWith('SIDELOG_') && !known.has(name) && !OTHER_VARIABLES.test(name)).sort();
}

function readFile(path: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    // Some editors begin a file with a byte order mark.
    parsed = JSON.parse(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new SettingError(`--config ${path}: ${(error as Error).message.replace(/\s+/g, ' ')}`);
  }
  const result = z.safeParse(z.record(z.string(), z.unknown()), parsed);
  if (!result.success) throw new SettingError(`--config ${path}: must be one JSON object of settings`);
  const known = new Set<string>(SETTINGS.map(({ key }) => key));
  for (const key of Object.keys(result.data)) {
    if (!known.has(key)) throw new SettingError(`--config ${path}: unknown setting "${key}"; known are ${[...known].join(', ')}`);
  }
  return result.data;
}

/** Parses and checks one value; `source` says where it came from. */
function check(setting: Setting, raw: unknown, source: string): unknown {
  const result = z.safeParse(schemaOf(setting), raw);
  if (result.success) return result.data;
  const shown = typeof raw === 'string' ? `"${raw}"` : JSON.stringify(raw);
  throw new SettingError(`${source}: ${shown} is not accepted; expected ${accepted(setting)}`);
}

function schemaOf(setting: Setting): z.ZodMiniType<unknown> {
  switch (setting.kind) {
    case 'text':
      return z.string().check(z.minLength(1), z.maxLength(200), z.regex(/^[\x21-\x7e]+$/));
    case 'path':
      return z.string().check(z.minLength(1));
    case 'flag':
      return z.union([z.boolean(), z.pipe(z.enum(['true', 'false', '1', '0']), z.transform((text) => text === 'true' || text === '1'))]);
    case 'choice':
      return z.enum(setting.choices as [string, ...string[]]);
    case 'list':
      return z.union([z.array(z.string()), z.pipe(z.string(), z.transform((text) => text.split(',').map((item) => item.trim())))]);
    case 'address':
      return z.pipe(z.string(), parsedBy(parseAddress));
    case 'size':
      return numeric(setting, parseSize);
    case 'duration':
      return numeric(setting, parseDuration);
    case 'count':
      return numeric(setting, (text) => (/^\d+$/.test(text) ? Number(text) : Number.NaN));
  }
}

function numeric(setting: Setting, parse: (text: string) => number): z.ZodMiniType<unknown> {
  const min = setting.min ?? 0;
  const max = setting.max ?? Number.MAX_SAFE_INTEGER;
  return z.pipe(
    z.union([z.number(), z.pipe(z.string(), parsedBy(parse))]),
    z.int().check(z.minimum(min), z.maximum(max)),
  );
}

function parsedBy<T>(parse: (text: string) => T): z.ZodMiniTransform<T, string> {
  return z.transform((text: string, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.issues.push({ code: 'custom', message: (error as Error).message, input: text });
      return z.NEVER as T;
    }
  });
}

/** What a setting accepts, for errors and `--help`. */
export function accepted(setting: Setting): string {
  const range =
    setting.min === undefined && setting.max === undefined ? '' : ` (${setting.min ?? 0} to ${setting.max ?? '2^53'})`;
  switch (setting.kind) {
    case 'text':
      return '1 to 200 printable characters without spaces';
    case 'path':
      return 'a path';
    case 'flag':
      return 'true or false';
    case 'choice':
      return (setting.choices ?? []).join(', ').replace(/, ([^,]*)$/, ' or $1');
    case 'list':
      return 'a name, or several with commas';
    case 'address':
      return 'HOST:PORT, for example 127.0.0.1:8400';
    case 'size':
      return `a size such as 64MiB${range === '' ? '' : `${range} bytes`.replace(') bytes', ' bytes)')}`;
    case 'duration':
      return `a duration such as 500ms, 30s or 1h${range === '' ? '' : range.replace(')', ' ms)')}`;
    case 'count':
      return `a whole number${range}`;
  }
}

/** Rules between settings; each message says which flag mends it. */
function checkTogether(settings: Settings): void {
  if ((settings.tlsCert === null) !== (settings.tlsKey === null)) {
    throw new SettingError('--tls-cert and --tls-key go together: give both or neither');
  }
  if (settings.maxFrame < settings.maxBatch + 8192) {
    throw new SettingError(`--max-frame: ${settings.maxFrame} is too small for --max-batch ${settings.maxBatch}; it must be at least ${settings.maxBatch + 8192}`);
  }
  if (isLoopback(settings.listen.host)) return;
  const address = formatAddress(settings.listen);
  if (settings.tlsCert === null && !settings.allowPlaintext) {
    throw new SettingError(`--listen ${address} is reachable from other hosts: give --tls-cert and --tls-key, or --allow-plaintext`);
  }
  if (!settings.allowAnonymous) {
    throw new SettingError(`--listen ${address} is reachable from other hosts and this version cannot tell clients apart: give --allow-anonymous if whoever reaches the port may read and write every log`);
  }
}
