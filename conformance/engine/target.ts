// The target under test: the manifest (target.json) read and checked, or one address. Placeholders
// `${env:NAME}` are filled in here; reports show `redacted()`, never a secret.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Endpoint } from '../net/conn.ts';
import { Skip } from './failure.ts';
import type { Hooks } from './hooks.ts';
import { ArgvHooks, HOOK_NAMES } from './hooks.ts';

export interface TlsMaterial {
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly servername?: string;
}

export interface NodeEndpoint extends Endpoint {
  readonly node: number;
  pid: number | null;
}

export interface Target {
  readonly name: string;
  readonly endpoints: NodeEndpoint[];
  /** Plane C is served without TLS at the endpoints. */
  readonly plaintext: boolean;
  readonly tls: TlsMaterial | null;
  readonly token: string | null;
  /** Declared features; undefined = find out. */
  readonly features: Readonly<Record<string, boolean | undefined>>;
  readonly limits: Readonly<Record<string, number | undefined>>;
  /** Milliseconds; `restart` is how long a start may take. */
  readonly timing: { readonly restartMs: number; readonly electionMs: number };
  /** The same server, reached so that it does not see a loopback address. */
  readonly far: Endpoint | null;
  readonly hooks: Hooks;
  readonly redacted: unknown;
  readonly sha256: string;
}

/** The target file is wrong: exit code 2. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

const KEYS = new Set(['$schema', 'schema', 'name', 'spec', 'endpoints', 'plaintext', 'tls', 'auth', 'features', 'limits', 'timing', 'far', 'hooks']);
const FEATURES = new Set(['idempotence', 'conditional', 'streaming', 'http', 'trash', 'tls', 'transfer-leader', 'remove-node', 'peers']);

/** `host:port` or the path of a target.json. */
export function loadTarget(argument: string): Target {
  const address = /^(\[[^\]]+\]|[^/:]+):(\d{1,5})$/.exec(argument);
  if (address) {
    const endpoint = { host: address[1]!.replace(/^\[|\]$/g, ''), port: Number(address[2]) };
    return parseTarget({ schema: 'sidelog-target/1', name: argument, endpoints: [endpoint] }, process.cwd());
  }
  let text: string;
  try {
    text = readFileSync(argument, 'utf8');
  } catch (error) {
    throw new ManifestError(`cannot read the target file ${argument}: ${(error as Error).message}`);
  }
  try {
    return parseTarget(JSON.parse(text) as unknown, dirname(resolve(argument)));
  } catch (error) {
    if (error instanceof SyntaxError) throw new ManifestError(`${argument} is no JSON: ${error.message}`);
    throw error;
  }
}

type Json = Record<string, unknown>;

/** @param folder relative paths and hooks start here. */
export function parseTarget(json: unknown, folder: string, hooks?: Hooks): Target {
  const root = object(json, 'the target file');
  if (root.schema !== 'sidelog-target/1') throw new ManifestError('schema: must be "sidelog-target/1"');
  for (const key of Object.keys(root)) if (!KEYS.has(key)) throw new ManifestError(`${key}: unknown key; known are ${[...KEYS].join(', ')}`);
  const secrets: string[] = [];
  const filled = fill(root, secrets) as Json;
  const optional = (key: string): Json | null => (filled[key] === undefined || filled[key] === null ? null : object(filled[key], key));
  const tls = optional('tls');
  const auth = optional('auth') ?? {};
  const timing = optional('timing') ?? {};
  const redacted = redact(root);
  return {
    name: String(filled.name ?? 'unnamed'),
    endpoints: endpoints(filled.endpoints),
    plaintext: filled.plaintext !== false,
    tls: tls === null ? null : material(tls, folder),
    token: typeof auth.token === 'string' ? auth.token : null,
    features: features(filled.features),
    limits: numbers(filled.limits, 'limits'),
    timing: { restartMs: Number(timing.restart_ms ?? 10_000), electionMs: Number(timing.election_ms ?? 3_000) },
    far: filled.far === undefined ? null : endpoint(filled.far, 'far'),
    hooks: hooks ?? new ArgvHooks(hookTable(filled.hooks), folder, Number(timing.restart_ms ?? 10_000)),
    redacted,
    sha256: createHash('sha256').update(JSON.stringify(redacted)).digest('hex'),
  };
}

function object(value: unknown, where: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ManifestError(`${where}: must be an object`);
  return value as Json;
}

function endpoint(value: unknown, where: string): Endpoint {
  const json = object(value, where);
  if (typeof json.host !== 'string' || !Number.isInteger(json.port)) throw new ManifestError(`${where}: needs host (text) and port (number)`);
  return {
    host: json.host, port: json.port as number,
    ...(typeof json.localAddress === 'string' ? { localAddress: json.localAddress } : {}),
  };
}

function endpoints(value: unknown): NodeEndpoint[] {
  if (!Array.isArray(value) || value.length === 0) throw new ManifestError('endpoints: must be a list with at least one endpoint');
  return value.map((item, i) => {
    const { node, pid } = item as Json;
    return { ...endpoint(item, `endpoints[${i}]`), node: typeof node === 'number' ? node : i + 1, pid: typeof pid === 'number' ? pid : null };
  });
}

function material(tls: Json, folder: string): TlsMaterial {
  const file = (key: string): Buffer | undefined => {
    if (tls[key] === undefined || tls[key] === null) return undefined;
    try {
      return readFileSync(resolve(folder, String(tls[key])));
    } catch (error) {
      throw new ManifestError(`tls.${key}: ${(error as Error).message}`);
    }
  };
  return { ca: file('ca'), cert: file('cert'), key: file('key'), servername: typeof tls.servername === 'string' ? tls.servername : undefined };
}

function features(value: unknown): Record<string, boolean> {
  if (value === undefined) return {};
  const json = object(value, 'features');
  for (const [key, on] of Object.entries(json)) {
    if (!FEATURES.has(key)) throw new ManifestError(`features.${key}: unknown; known are ${[...FEATURES].join(', ')}`);
    if (typeof on !== 'boolean') throw new ManifestError(`features.${key}: must be true or false`);
  }
  return json as Record<string, boolean>;
}

function numbers(value: unknown, where: string): Record<string, number> {
  if (value === undefined) return {};
  const json = object(value, where);
  for (const [key, n] of Object.entries(json)) if (typeof n !== 'number') throw new ManifestError(`${where}.${key}: must be a number`);
  return json as Record<string, number>;
}

function hookTable(value: unknown): Record<string, string[]> {
  if (value === undefined) return {};
  const table: Record<string, string[]> = {};
  for (const [name, argv] of Object.entries(object(value, 'hooks'))) {
    if (argv === null) continue;
    if (!(HOOK_NAMES as readonly string[]).includes(name)) throw new ManifestError(`hooks.${name}: unknown; known are ${HOOK_NAMES.join(', ')}`);
    if (!Array.isArray(argv) || argv.length === 0 || argv.some((part) => typeof part !== 'string')) {
      throw new ManifestError(`hooks.${name}: must be a list of words, as for exec`);
    }
    table[name] = argv as string[];
  }
  return table;
}

/** Replaces `${env:NAME}` in every text. */
function fill(value: unknown, secrets: string[]): unknown {
  if (typeof value === 'string') {
    return value.replace(/\$\{env:([A-Za-z0-9_]+)\}/g, (_all, name: string) => {
      const found = process.env[name];
      if (found === undefined) throw new ManifestError(`the environment has no ${name}`);
      secrets.push(found);
      return found;
    });
  }
  if (Array.isArray(value)) return value.map((item) => fill(item, secrets));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fill(inner, secrets)]));
  }
  return value;
}

/** The file as it was written, so with `${env:…}` unfilled, and without literal tokens. */
function redact(root: Json): unknown {
  if (typeof root.auth !== 'object' || root.auth === null) return root;
  const auth = Object.fromEntries(
    Object.entries(root.auth).map(([key, value]) => [key, /token/i.test(key) && typeof value === 'string' && !value.startsWith('${env:') ? '***' : value]),
  );
  return { ...root, auth };
}

/** The options of node:tls for this target; @throws Skip when it has no TLS. */
export function tlsOptions(target: Target): { ca?: Buffer; cert?: Buffer; key?: Buffer; servername?: string } {
  if (target.tls === null) throw new Skip('tls', 'the target file says nothing about TLS');
  const { ca, cert, key, servername } = target.tls;
  return { ca, cert, key, servername: servername ?? 'localhost' };
}
