// No durable mark names bytes that are about to be cut off: before a segment gets shorter both slots of its mark
// say so on disk, because a power cut in between would make damage out of what is missing then.
import { decodeMark, MARK_POSITIONS, SEGMENT_HEAD_SIZE } from '../../../src/segment/mark.ts';
import { segmentFirstIndex } from '../../../src/segment/head.ts';
import type { DiskOperation } from '../../support/sim-disk.ts';
import { demand } from '../core/failure.ts';
import type { Checker } from '../history/watch.ts';
import type { SimNode } from '../node/sim-node.ts';

export class Marks implements Checker {
  readonly rule = 'marks';
  readonly #head = Buffer.alloc(SEGMENT_HEAD_SIZE);

  reshapes(sim: SimNode, { call, path, position }: DiskOperation): void {
    if (call !== 'truncate' || !path.endsWith('.seg')) return;
    const file = sim.disk.media.file(path);
    if (file === null || file.readDurable(this.#head, 0, SEGMENT_HEAD_SIZE, 0) < SEGMENT_HEAD_SIZE) return;
    const first = segmentFirstIndex(path.slice(path.lastIndexOf('/') + 1));
    for (const slot of [0, 1] as const) {
      const mark = decodeMark(this.#head, MARK_POSITIONS[slot], slot, first);
      const holds = mark === null || mark.end.position <= position;
      demand(holds, this.rule, () => `${sim.name} cuts ${path} to ${position} bytes, and slot ${slot} of its mark says ${mark!.end.position}`);
    }
  }
}
