// Human forms of sizes, durations, addresses and points in time, as flags and settings take them.
// Pure parsing: every function throws RangeError with what would have been accepted.

const SIZE_UNITS: Record<string, number> = {
  '': 1, b: 1, k: 1024, kb: 1000, kib: 1024, m: 1024 ** 2, mb: 1000 ** 2, mib: 1024 ** 2,
  g: 1024 ** 3, gb: 1000 ** 3, gib: 1024 ** 3, t: 1024 ** 4, tb: 1000 ** 4, tib: 1024 ** 4,
};

const DURATION_UNITS: Record<string, number> = {
  ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000,
};

/** Bytes from `64MiB`, `1.5g`, `4096`. Throws RangeError. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match === null ? undefined : SIZE_UNITS[match[2]!.toLowerCase()];
  if (match === null || unit === undefined) throw new RangeError('a size such as 4096, 64KiB, 64MiB or 1GiB');
  return checkedInteger(Number(match[1]) * unit, 'a size of at most 2^53 bytes');
}

/** Milliseconds from `500ms`, `30s`, `5m`, `1h`, `7d`; a bare number is milliseconds. Throws RangeError. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim());
  const unit = match === null ? undefined : DURATION_UNITS[match[2] === '' ? 'ms' : match[2]!.toLowerCase()];
  if (match === null || unit === undefined) throw new RangeError('a duration such as 500ms, 30s, 5m, 1h or 7d');
  return checkedInteger(Number(match[1]) * unit, 'a duration of at most 2^53 milliseconds');
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT`, `[::1]:8400`, `:8400` or `8400` (host 127.0.0.1). Throws RangeError. */
export function parseAddress(text: string): Address {
  const match = /^(?:(?:\[([^\]]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text.trim());
  const port = match === null ? -1 : Number(match[3]);
  if (match === null || port > 65_535) throw new RangeError('HOST:PORT, for example 127.0.0.1:8400 or [::1]:8400');
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? '127.0.0.1' : host, port };
}

export function formatAddress(address: Address): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Is this a literal loopback address (127.0.0.0/8, ::1, ::ffff:127.x, or the name localhost)? */
export function isLoopback(host: string): boolean {
  const bare = host.toLowerCase().replace(/^::ffff:/, '');
  return bare === 'localhost' || bare === '::1' || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** Unix milliseconds from an ISO 8601 time. Throws RangeError. */
export function parseTime(text: string): number {
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms) || ms < 0) throw new RangeError('an ISO 8601 time such as 2026-01-31T12:00:00Z');
  return ms;
}

export function formatSize(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = -1;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]}`;
}

function checkedInteger(value: number, accepted: string): number {
  const rounded = Math.round(value);
  if (!Number.isSafeInteger(rounded)) throw new RangeError(accepted);
  return rounded;
}
