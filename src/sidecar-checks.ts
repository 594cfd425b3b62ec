// What the world outside must be like for a sidecar to start: the data directory, the TLS files, the
// port, file descriptors. Every failure names the setting that mends it; nothing here is kept open.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { SettingError } from './config.ts';
import type { Settings } from './config.ts';
import { HANDLES_DEFAULT } from './segment/handles.ts';
import { UnixSocketError } from './tls/unix-socket.ts';
import { formatAddress } from './units.ts';

/** File descriptors that connections leave for segments, indexes and the process itself. */
const DESCRIPTORS_RESERVED = 1024;

/** The sidecar cannot start here and now; `message` says what to do. */
export class StartError extends Error {
  override name = 'StartError';
}

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Unix ms at which the certificate expires. */
  readonly expiresMs: number;
}

/** Makes the data directory, closed to others, unless it is there. Throws StartError. */
export function makeDataDirectory(path: string): void {
  try {
    makeFolders(resolve(path));
  } catch (error) {
    throw new StartError(`--data-dir ${path}: cannot be made: ${(error as Error).message}`, { cause: error });
  }
  if (!statSync(path).isDirectory()) throw new StartError(`--data-dir ${path}: there is a file at this path`);
}

/** One folder after the other: where the file system makes none (/proc), mkdir's own `recursive` tries for ever. */
function makeFolders(path: string): void {
  if (existsSync(path)) return;
  const parent = dirname(path);
  if (parent !== path) makeFolders(parent);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Two that start at once make it together.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || !existsSync(path)) throw error;
  }
}

/** libuv's own default when UV_THREADPOOL_SIZE is not set, and the most that it takes. */
const POOL_DEFAULT = 4;
const POOL_MAX = 1024;

/** Threads that libuv makes of UV_THREADPOOL_SIZE, which it reads as a C program does. */
export function threadPoolSize(variable: string | undefined): number {
  if (variable === undefined) return POOL_DEFAULT;
  const threads = Number.parseInt(variable, 10) || 1;
  return threads < 0 ? POOL_MAX : Math.min(threads, POOL_MAX);
}

/** Reads the certificate and key and tries whether they fit; null when TLS is not set up. Throws SettingError. */
export function readTlsFiles(settings: Settings): TlsFiles | null {
  const { tlsCert, tlsKey } = settings;
  if (tlsCert === null || tlsKey === null) return null;
  const files = { cert: readSettingFile('--tls-cert', tlsCert), key: readSettingFile('--tls-key', tlsKey) };
  const certificate = attempt(`--tls-cert ${tlsCert}: is not a certificate in PEM`, () => new X509Certificate(files.cert));
  const key = attempt(`--tls-key ${tlsKey}: is not an unencrypted private key in PEM`, () => createPrivateKey(files.key));
  attempt(`--tls-cert ${tlsCert}: is not a certificate in PEM`, () => createSecureContext({ cert: files.cert }));
  // A key of another kind than the certificate's is taken by TLS without a word, and no handshake succeeds.
  if (!certificate.checkPrivateKey(key)) throw new SettingError(`--tls-key ${tlsKey}: is not the key of the certificate in ${tlsCert}`);
  return { ...files, expiresMs: Date.parse(certificate.validTo) };
}

function attempt<T>(wrong: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new SettingError(`${wrong}: ${(error as Error).message}`, { cause: error });
  }
}

function readSettingFile(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new SettingError(`${flag} ${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** How many connections may be open: the setting, or fewer where file descriptors would run out. */
export function connectionsWithin(connectionsMax: number, descriptors: number | null): number {
  if (descriptors === null) return connectionsMax;
  const left = Math.max(Math.floor(descriptors / 4), descriptors - DESCRIPTORS_RESERVED);
  return Math.min(connectionsMax, left);
}

/** Descriptors of the process itself, of sealed segments (the handle cache) and of what is made and removed at times. */
const DESCRIPTORS_BESIDE_LOGS = 64 + 2 * HANDLES_DEFAULT;
/** The newest segment and its index. */
const DESCRIPTORS_PER_LOG = 2;
const OPEN_LOGS_MIN = 16;

/** How many logs may be open at once beside so many connections. */
export function openLogsWithin(connections: number, descriptors: number | null): number {
  if (descriptors === null) return Infinity;
  const left = descriptors - connections - DESCRIPTORS_BESIDE_LOGS;
  return Math.max(OPEN_LOGS_MIN, Math.floor(left / DESCRIPTORS_PER_LOG));
}

/** The process's limit of open files; null where the system does not say. */
export function descriptorLimit(): number | null {
  try {
    const match = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'));
    return match === null ? null : Number(match[1]);
  } catch {
    return null;
  }
}

/** Descriptors that the process has open; null where the system does not say. */
export function openDescriptors(): number | null {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return null;
  }
}

/** Turns what listening failed with into an error for the operator. */
export function listenError(settings: Settings, error: NodeJS.ErrnoException): Error {
  if (error instanceof UnixSocketError) {
    return new StartError(`--unix-socket ${settings.unixSocket}: ${error.message}`, { cause: error });
  }
  const where = `--listen ${formatAddress(settings.listen)}`;
  if (error.code === 'EADDRINUSE') return new StartError(`${where}: something else listens there; stop it or take another port`, { cause: error });
  if (error.code === 'EACCES') return new StartError(`${where}: not permitted; ports below 1024 need rights`, { cause: error });
  if (error.syscall === 'bind' || error.syscall === 'listen' || error.syscall === 'getaddrinfo') {
    return new StartError(`${where}: ${error.message}`, { cause: error });
  }
  return error;
}
