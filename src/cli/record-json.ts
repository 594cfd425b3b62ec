// Records as JSON lines, for `produce --input json` and `consume --format json`. Text that is valid
// UTF-8 is a string; other bytes are {"base64":"…"}, so that every record survives the way there
// and back.
import { isUtf8 } from 'node:buffer';
import type { LogRecord, RecordInput } from '../wire/client/client.ts';
import { CliError } from './command.ts';

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** Parses one line. Throws CliError that names the line and the field. */
export function parseJsonRecord(bytes: Buffer, line: number): RecordInput {
  if (!isUtf8(bytes)) throw new CliError(`line ${line}: not UTF-8; give bytes as {"base64":"…"}`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    throw new CliError(`line ${line}: not JSON: ${(error as Error).message}`);
  }
  if (parsed === null || typeof parsed !== 'object' || Array.isArray(parsed)) {
    throw new CliError(`line ${line}: expected an object with "value", and "key" and "headers" if wanted`);
  }
  const fields = parsed as Record<string, unknown>;
  for (const name of Object.keys(fields)) {
    if (!['value', 'key', 'headers', 'clientTime', 'offset', 'appendTime'].includes(name)) {
      throw new CliError(`line ${line}: unknown field "${name}"; there are value, key, headers and clientTime`);
    }
  }
  if (!('value' in fields)) throw new CliError(`line ${line}: "value" is missing`);
  const headers = parseHeaders(fields['headers'], line);
  return {
    value: bytesOf(fields['value'], 'value', line),
    ...(fields['key'] === undefined || fields['key'] === null ? {} : { key: bytesOf(fields['key'], 'key', line)! }),
    ...(headers.length === 0 ? {} : { headers }),
    ...clientTimeOf(fields['clientTime'], line),
  };
}

/** The JSON object of a record; headers as pairs, because a name may come twice. */
export function formatJsonRecord(record: LogRecord): string {
  return JSON.stringify({
    offset: record.offset,
    appendTime: record.appendTime,
    ...(record.clientTime === 0 ? {} : { clientTime: record.clientTime }),
    ...(record.key === null ? {} : { key: textOf(record.key) }),
    ...(record.headers.length === 0 ? {} : { headers: record.headers.map(([name, value]) => [name, textOf(value)]) }),
    value: record.value === null ? null : textOf(record.value),
  });
}

function parseHeaders(headers: unknown, line: number): [string, Buffer][] {
  if (headers === undefined || headers === null) return [];
  const pairs = Array.isArray(headers) ? headers : typeof headers === 'object' ? Object.entries(headers) : null;
  if (pairs === null) throw new CliError(`line ${line}: "headers" must be an object or a list of pairs`);
  return pairs.map((pair: unknown) => {
    if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string') {
      throw new CliError(`line ${line}: each header must be a pair of name and value`);
    }
    return [pair[0], bytesOf(pair[1], `header ${pair[0]}`, line) ?? Buffer.alloc(0)];
  });
}

function clientTimeOf(value: unknown, line: number): { clientTime?: number } {
  if (value === undefined) return {};
  if (Number.isSafeInteger(value) && (value as number) >= 0) return { clientTime: value as number };
  throw new CliError(`line ${line}: "clientTime" must be milliseconds since 1970`);
}

function bytesOf(value: unknown, field: string, line: number): Buffer | null {
  if (value === null) return null;
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (typeof value === 'object' && typeof (value as { base64?: unknown }).base64 === 'string') {
    const { base64 } = value as { base64: string };
    // Buffer.from skips what is not base64; a record must not lose bytes in silence.
    if (!BASE64.test(base64) || base64.length % 4 !== 0) throw new CliError(`line ${line}: "${field}" is not base64`);
    return Buffer.from(base64, 'base64');
  }
  throw new CliError(`line ${line}: "${field}" must be a string, null or {"base64":"…"}`);
}

function textOf(bytes: Buffer): string | { base64: string } {
  return isUtf8(bytes) ? bytes.toString('utf8') : { base64: bytes.toString('base64') };
}
