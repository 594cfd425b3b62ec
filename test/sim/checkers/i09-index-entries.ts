// I9: an index entry points at the first byte of a valid batch with that index. Read from the disk as it
// is, with a parser of its own: every block of an index file that carries a seal which holds. The index of
// a newest segment is built anew at every start, and may be one that a power cut has brought back.
import * as batch from '../../../src/wire/batch.ts';
import { crc32 } from '../../../src/wire/checksum.ts';
import { BATCH_HEADER_SIZE } from '../../../src/wire/limits.ts';
import type { SimFileNode } from '../../support/sim-media.ts';
import { demand } from '../core/failure.ts';
import type { Checker, EndSeen } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';
import { newestSegments } from '../rot.ts';

const BLOCK = 65_536;
const HEAD = 16;
const ENTRY = 12;
const PER_BLOCK = 5460;
const MAGIC = 0x534c_4958;
/** Between two looks at the disk of a node that starts often. */
const STARTS_PER_LOOK = 3;

/** A block of an index file, and the header of a batch, as they are read. */
const block = Buffer.alloc(BLOCK);
const header = Buffer.alloc(BATCH_HEADER_SIZE);

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
    const newest = newestSegments([...files.keys()]);
    for (const path of files.keys()) {
      if (!path.startsWith('logs/') || !path.endsWith('.idx') || node.rotted.has(path)) continue;
      const segmentPath = `${path.slice(0, -4)}.seg`;
      const segment = files.get(segmentPath);
      if (segment === undefined || newest.includes(segmentPath) || node.rotted.has(segmentPath)) continue;
      this.#check(path, files.get(path)!, segment);
    }
  }

  #check(path: string, index: SimFileNode, segment: SimFileNode): void {
    const first = Number(path.slice(path.lastIndexOf('/') + 1, -4));
    for (let number = 0; (number + 1) * BLOCK <= index.size; number++) {
      index.read(block, 0, HEAD, number * BLOCK);
      const count = block.readUInt32BE(4);
      if (block.readUInt32BE(0) !== MAGIC || count === 0 || count > PER_BLOCK) continue;
      index.read(block, HEAD, count * ENTRY, number * BLOCK + HEAD);
      if (block.readUInt32BE(8) !== crc32(block, HEAD, HEAD + count * ENTRY)) continue;
      for (let i = 0; i < count; i++) this.#entry(path, block.readUInt32BE(HEAD + i * ENTRY), first + number * PER_BLOCK + i, segment);
    }
  }

  #entry(path: string, position: number, wanted: number, segment: SimFileNode): void {
    this.checked++;
    const size = segment.read(header, 0, BATCH_HEADER_SIZE, position);
    const holds = size === BATCH_HEADER_SIZE && batch.checkHeader(header, 0, segment.size - position) === 0;
    demand(holds, this.rule, () => `${path}: the sealed entry of index ${wanted} points at byte ${position}, where no batch begins`);
    const found = batch.batchIndex(header, 0);
    demand(found === wanted, this.rule, () => `${path}: the sealed entry of index ${wanted} points at the batch with index ${found}`);
  }
}
