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

/** The keys of each object; target.schema.json says the same. */
const KEYS = {
  'the target file': ['$schema', 'schema', 'name', 'spec', 'endpoints', 'plaintext', 'tls', 'auth', 'features', 'limits', 'timing', 'far', 'hooks'],
  endpoint: ['node', 'host', 'port', 'pid', 'localAddress'],
  tls: ['ca', 'cert', 'key', 'servername'],
  auth: ['token'],
  features: ['idempotence', 'conditional', 'streaming', 'http', 'trash', 'tls', 'transfer-leader', 'remove-node', 'peers'],
  limits: ['logs'],
  timing: ['restart_ms', 'election_ms'],
  hooks: HOOK_NAMES,
} as const;
const RESTART_MS = 10_000;
const ELECTION_MS = 3_000;
/** Ten minutes: longer is a typing error. */
const TIMING_MAX_MS = 600_000;

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
  const root = keyed(json, 'the target file', 'the target file');
  if (root.schema !== 'sidelog-target/1') throw new ManifestError('schema: must be "sidelog-target/1"');
  if (root.spec !== undefined && root.spec !== '1.0') throw new ManifestError('spec: must be "1.0"');
  const secrets: string[] = [];
  const filled = fill(root, secrets) as Json;
  text(filled.$schema, '$schema');
  const tls = optional(filled, 'tls');
  const timing = optional(filled, 'timing') ?? {};
  const restartMs = whole(timing.restart_ms, 'timing.restart_ms', 1, TIMING_MAX_MS) ?? RESTART_MS;
  const redacted = redact(root);
  return {
    name: text(filled.name, 'name') ?? 'unnamed',
    endpoints: endpoints(filled.endpoints),
    plaintext: bool(filled.plaintext, 'plaintext') ?? true,
    tls: tls === null ? null : material(tls, folder),
    token: text((optional(filled, 'auth') ?? {}).token, 'auth.token') ?? null,
    features: values(filled, 'features', bool),
    limits: values(filled, 'limits', (value, where) => whole(value, where, 1)),
    timing: { restartMs, electionMs: whole(timing.election_ms, 'timing.election_ms', 1, TIMING_MAX_MS) ?? ELECTION_MS },
    far: filled.far === undefined || filled.far === null ? null : endpoint(filled.far, 'far'),
    hooks: hooks ?? new ArgvHooks(values(filled, 'hooks', argv), folder, restartMs),
    redacted,
    sha256: createHash('sha256').update(JSON.stringify(redacted)).digest('hex'),
  };
}

/** An object with no other keys than those of `kind`. */
function keyed(value: unknown, where: string, kind: keyof typeof KEYS): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ManifestError(`${where}: must be an object`);
  const known: readonly string[] = KEYS[kind];
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw new ManifestError(`${kind === 'the target file' ? '' : `${where}.`}${key}: unknown; known are ${known.join(', ')}`);
  }
  return value as Json;
}

function optional(json: Json, key: keyof typeof KEYS): Json | null {
  return json[key] === undefined || json[key] === null ? null : keyed(json[key], key, key);
}

/** Each entry of an object, read by `read`; null counts as not said. */
function values<T>(json: Json, key: keyof typeof KEYS, read: (value: unknown, where: string) => T | undefined): Record<string, T> {
  const out: Record<string, T> = {};
  for (const [name, value] of Object.entries(optional(json, key) ?? {})) {
    const found = read(value, `${key}.${name}`);
    if (found !== undefined) out[name] = found;
  }
  return out;
}

function text(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new ManifestError(`${where}: must be text`);
  return value;
}

function bool(value: unknown, where: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw new ManifestError(`${where}: must be true or false`);
  return value;
}

function whole(value: unknown, where: string, min: number, max = Number.MAX_SAFE_INTEGER): number | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
    throw new ManifestError(`${where}: must be a whole number ${max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`}`);
  }
  return value as number;
}

function argv(value: unknown, where: string): string[] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value) || value.length === 0 || value.some((part) => typeof part !== 'string')) {
    throw new ManifestError(`${where}: must be a list of words, as for exec`);
  }
  return value as string[];
}

function endpoint(value: unknown, where: string): NodeEndpoint {
  const json = keyed(value, where, 'endpoint');
  const host = text(json.host, `${where}.host`);
  const port = whole(json.port, `${where}.port`, 1, 65_535);
  if (!host || port === undefined) throw new ManifestError(`${where}: needs host (text) and port (number)`);
  const localAddress = text(json.localAddress, `${where}.localAddress`);
  return {
    host, port, node: whole(json.node, `${where}.node`, 1) ?? 1, pid: whole(json.pid, `${where}.pid`, 1) ?? null, ...(localAddress === undefined ? {} : { localAddress }),
  };
}

function endpoints(value: unknown): NodeEndpoint[] {
  if (!Array.isArray(value) || value.length === 0) throw new ManifestError('endpoints: must be a list with at least one endpoint');
  return value.map((item, i) => ({ ...endpoint(item, `endpoints[${i}]`), ...((item as Json).node === undefined ? { node: i + 1 } : {}) }));
}

function material(tls: Json, folder: string): TlsMaterial {
  const file = (key: string): Buffer | undefined => {
    const path = text(tls[key], `tls.${key}`);
    if (path === undefined) return undefined;
    try {
      return readFileSync(resolve(folder, path));
    } catch (error) {
      throw new ManifestError(`tls.${key}: ${(error as Error).message}`);
    }
  };
  return { ca: file('ca'), cert: file('cert'), key: file('key'), servername: text(tls.servername, 'tls.servername') };
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
