// Ids of clusters, logs and nodes: 16 bytes on disk and on the wire, 32 hexadecimal digits in the core,
// where they are only compared.
import { assert } from '../wire/assert.ts';
import { readU32 } from '../wire/bytes.ts';

export const ID_SIZE = 16;

/** Ids that were converted, in both directions: every message carries four, and most are of few groups. */
const KNOWN_MAX = 4096;
const bytesById = new Map<string, Buffer>();
const recent: Array<{ readonly a: number; readonly b: number; readonly c: number; readonly d: number; readonly id: string } | undefined> =
  new Array(KNOWN_MAX);

/** The bytes are shared: they must not be changed. */
export function bytesOfId(id: string): Buffer {
  const known = bytesById.get(id);
  if (known !== undefined) return known;
  const bytes = Buffer.from(id, 'hex');
  assert(bytes.length === ID_SIZE && id.length === 2 * ID_SIZE, 'an id is 32 hexadecimal digits');
  if (bytesById.size >= KNOWN_MAX) bytesById.clear();
  bytesById.set(id, bytes);
  return bytes;
}

export function idOfBytes(bytes: Buffer): string {
  assert(bytes.length === ID_SIZE, 'an id has 16 bytes');
  return idAt(bytes, 0);
}

/** The id at buffer[at]. */
export function idAt(buffer: Buffer, at: number): string {
  const a = readU32(buffer, at);
  const b = readU32(buffer, at + 4);
  const c = readU32(buffer, at + 8);
  const d = readU32(buffer, at + 12);
  const place = (a ^ b ^ c ^ d) & (KNOWN_MAX - 1);
  const known = recent[place];
  if (known !== undefined && known.a === a && known.b === b && known.c === c && known.d === d) return known.id;
  const id = buffer.toString('hex', at, at + ID_SIZE);
  recent[place] = { a, b, c, d, id };
  return id;
}
