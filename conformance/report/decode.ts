// Turns a trace into lines for people: each frame with its op, status and fields, then a hexdump.
import { BatchError, parseBatches } from '../wire/batch.ts';
import { DecodeError, decodeError, decodeFields } from '../wire/codec.ts';
import { statusName } from '../wire/errors.ts';
import { FLAG_MORE, FLAG_RESPONSE } from '../wire/frame.ts';
import { layoutOf, opName } from '../wire/layouts.ts';
import type { Trace, TraceEvent } from '../net/trace.ts';
import { show } from '../engine/failure.ts';

const HEX_BYTES_MAX = 320;

export interface TraceLine {
  readonly ms: string;
  readonly dir: '>' | '<' | '-';
  readonly text: string;
  readonly hex: string;
}

export function traceLines(trace: Trace): TraceLine[] {
  const lines = [...trace.first, ...trace.last].map(line);
  if (trace.dropped > 0) lines.splice(trace.first.length, 0, { ms: '', dir: '-', text: `(${trace.dropped} events left out)`, hex: '' });
  return lines;
}

function line(event: TraceEvent): TraceLine {
  const ms = event.ms.toFixed(1);
  if (event.bytes === undefined) return { ms, dir: event.dir, text: event.note ?? '', hex: '' };
  const cut = event.size! > event.bytes.length;
  const text = event.framed ? frameText(event.bytes, cut) : (prefaceText(event.bytes, event.dir) ?? `${event.size} ${event.size === 1 ? 'byte' : 'bytes'}${printable(event.bytes)}`);
  return { ms, dir: event.dir, text, hex: hexdump(event.bytes.subarray(0, HEX_BYTES_MAX), event.size!) };
}

/** Null when the bytes are no preface, or one with more behind it. */
function prefaceText(bytes: Buffer, dir: TraceEvent['dir']): string | null {
  if (bytes.length !== 8 || bytes.readUInt32BE(0) !== 0xfa53_4c47) return null;
  const plane = `plane ${String.fromCharCode(bytes[4]!)}`;
  if (dir === '>') return `preface: ${plane}, majors ${bytes[6]} to ${bytes[5]}`;
  return `preface answer: ${plane}, ${bytes[5] === 0 ? 'refused' : `major ${bytes[5]}`}, ${statusName(bytes.readUInt16BE(6))}`;
}

function printable(bytes: Buffer): string {
  const text = bytes.toString('latin1', 0, 40);
  return /^[\x20-\x7e\r\n]{4,}$/.test(text) ? ` ${JSON.stringify(text)}` : '';
}

function frameText(bytes: Buffer, cut: boolean): string {
  if (bytes.length < 12) return `${bytes.length} bytes, no whole header`;
  const op = bytes[4]!;
  const flags = bytes[5]!;
  const status = bytes.readUInt16BE(6);
  const response = (flags & FLAG_RESPONSE) !== 0;
  const name = opName(op);
  const head = `${name ?? `op ${op.toString(16).padStart(2, '0')}`} ${response ? 'answer' : 'request'} id ${bytes.readUInt32BE(8)}, length ${bytes.readUInt32BE(0)}`
    + `${flags & FLAG_MORE ? ', MORE' : ''}${flags & 0xfc ? `, flags ${flags.toString(16)}` : ''}${status !== 0 || response ? `, ${statusName(status)}` : ''}`;
  if (name === undefined || cut) return cut ? `${head} (payload cut)` : head;
  const payload = bytes.subarray(12);
  try {
    if (response && status !== 0) return `${head}\n${fieldsText(decodeError(payload))}`;
    const layout = layoutOf(name);
    return `${head}\n${fieldsText(decodeFields(response ? layout.response : layout.request, payload))}`;
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    return `${head}\n  (not the layout: ${error.message})`;
  }
}

function fieldsText(fields: Record<string, unknown>): string {
  return Object.entries(fields).map(([name, value]) => {
    if ((name === 'batch' || name === 'batches') && Buffer.isBuffer(value)) return `  ${name}: ${batchText(value)}`;
    if (name === 'ext') return `  ext: ${(value as { type: number; value: Buffer }[]).map((t) => `${t.type.toString(16).padStart(4, '0')}=${t.value.toString('hex')}`).join(' ') || 'empty'}`;
    return `  ${name}: ${show(value)}`;
  }).join('\n');
}

function batchText(bytes: Buffer): string {
  try {
    const batches = parseBatches(bytes);
    return batches.map((b) => `[offset ${b.baseOffset}, ${b.count} records, ${b.bytes.length} bytes, term ${b.term}, index ${b.index}]`).join(' ') || 'none';
  } catch (error) {
    if (!(error instanceof BatchError)) throw error;
    return `${bytes.length} bytes (${error.message})`;
  }
}

/** The classic picture: offset, 16 bytes in hex, the printable ones as text. */
export function hexdump(bytes: Buffer, size = bytes.length): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = bytes.subarray(at, at + 16);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`);
  }
  if (size > bytes.length) lines.push(`        … ${size - bytes.length} more bytes`);
  return lines.join('\n');
}
