// An index file as JSON lines: each block with its seal, each entry. The number of entries is not in the
// file; in a block without a seal they are followed as long as their positions rise.
import { ENTRIES_PER_BLOCK, INDEX_MAGIC } from '../index/offset-index.ts';
import { BLOCK_SIZE } from '../index/mapped-file.ts';
import { indexFirstIndex } from '../segment/head.ts';
import type { NodeDisk } from '../segment/node-disk.ts';
import { readU32 } from '../wire/bytes.ts';
import { crc32 } from '../wire/checksum.ts';
import type { Emit } from './dump.ts';

const HEAD_SIZE = 16;
const ENTRY_SIZE = 12;

export async function dumpIndex(disk: NodeDisk, name: string, emit: Emit): Promise<boolean> {
  const firstIndex = indexFirstIndex(name);
  const file = await disk.open(name, 'read');
  let holds = true;
  try {
    const size = await file.size();
    const block = Buffer.alloc(BLOCK_SIZE);
    let lastPosition = -1;
    for (let number = 0; (number + 1) * BLOCK_SIZE <= size; number++) {
      await file.read(block, 0, BLOCK_SIZE, number * BLOCK_SIZE);
      const sealed = Math.min(readU32(block, 4), ENTRIES_PER_BLOCK);
      const isBlock = readU32(block, 0) === INDEX_MAGIC;
      const sealHolds = isBlock && sealed > 0 && readU32(block, 8) === crc32(block, HEAD_SIZE, HEAD_SIZE + sealed * ENTRY_SIZE);
      if (isBlock && sealed > 0 && !sealHolds) holds = false;
      await emit({ kind: 'block', position: number * BLOCK_SIZE, seal: !isBlock ? 'empty' : sealed === 0 ? 'none' : sealHolds ? 'holds' : 'does not hold', sealedEntries: sealed });
      for (let i = 0; isBlock && i < (sealed || ENTRIES_PER_BLOCK); i++) {
        const at = HEAD_SIZE + i * ENTRY_SIZE;
        const position = readU32(block, at);
        if (sealed === 0 && position <= lastPosition) break;
        lastPosition = position;
        const slow = emit({ kind: 'entry', index: firstIndex + number * ENTRIES_PER_BLOCK + i, position, offsetDelta: readU32(block, at + 4), msDelta: readU32(block, at + 8) });
        if (slow !== null) await slow;
      }
    }
    if (size % BLOCK_SIZE !== 0) await emit({ kind: 'rest', position: size - (size % BLOCK_SIZE), size: size % BLOCK_SIZE });
    return holds;
  } finally {
    await file.close();
  }
}
