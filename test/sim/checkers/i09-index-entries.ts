// I9: an index entry points at the first byte of a valid batch with that index. Read from the disk as it
// is, with a parser of its own: every block of an index file that carries a seal which holds.
import * as batch from '../../../src/wire/batch.ts';
import { crc32 } from '../../../src/wire/checksum.ts';
import { demand } from '../core/failure.ts';
import type { Checker, EndSeen } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

const BLOCK = 65_536;
const HEAD = 16;
const ENTRY = 12;
const PER_BLOCK = 5460;
const MAGIC = 0x534c_4958;
/** Between two looks at the disk of a node that starts often. */
const STARTS_PER_LOOK = 3;

export class IndexEntries implements Checker {
  readonly rule = 'I9';
  /** Sealed entries seen, for whoever wants to know that there were any. */
  checked = 0;

  up(node: SimNode): void {
    if (node.incarnation % STARTS_PER_LOOK === 0) this.#look(node);
  }

  finish({ nodes }: EndSeen): void {
    for (const node of nodes) this.#look(node);
  }

  #look(node: SimNode): void {
    const files = new Map(node.disk.media.files());
    for (const path of files.keys()) {
      if (!path.startsWith('logs/') || !path.endsWith('.idx') || node.rotted.has(path)) continue;
      const segmentPath = `${path.slice(0, -4)}.seg`;
      if (files.has(segmentPath) && !node.rotted.has(segmentPath)) this.#check(path, node.disk.contents(path), node.disk.contents(segmentPath));
    }
  }

  #check(path: string, index: Buffer, segment: Buffer): void {
    const first = Number(path.slice(path.lastIndexOf('/') + 1, -4));
    for (let block = 0; (block + 1) * BLOCK <= index.length; block++) {
      const at = block * BLOCK;
      const count = index.readUInt32BE(at + 4);
      if (index.readUInt32BE(at) !== MAGIC || count === 0 || count > PER_BLOCK) continue;
      if (index.readUInt32BE(at + 8) !== crc32(index, at + HEAD, at + HEAD + count * ENTRY)) continue;
      for (let i = 0; i < count; i++) this.#entry(path, index.readUInt32BE(at + HEAD + i * ENTRY), first + block * PER_BLOCK + i, segment);
    }
  }

  #entry(path: string, position: number, wanted: number, segment: Buffer): void {
    this.checked++;
    const holds = position < segment.length && batch.checkHeader(segment, position, segment.length) === 0;
    demand(holds, this.rule, () => `${path}: the sealed entry of index ${wanted} points at byte ${position}, where no batch begins`);
    const found = batch.batchIndex(segment, position);
    demand(found === wanted, this.rule, () => `${path}: the sealed entry of index ${wanted} points at the batch with index ${found}`);
  }
}
