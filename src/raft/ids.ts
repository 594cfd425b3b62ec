// Ids of clusters, logs and nodes: 16 bytes on disk and on the wire, 32 hexadecimal digits in the core,
// where they are only compared.
import { assert } from '../wire/assert.ts';

const ID_SIZE = 16;

export function bytesOfId(id: string): Buffer {
  const bytes = Buffer.from(id, 'hex');
  assert(bytes.length === ID_SIZE && id.length === 2 * ID_SIZE, 'an id is 32 hexadecimal digits');
  return bytes;
}

export function idOfBytes(bytes: Buffer): string {
  assert(bytes.length === ID_SIZE, 'an id has 16 bytes');
  return bytes.toString('hex');
}
