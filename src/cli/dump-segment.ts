// A segment file as JSON lines: head, both slots of the mark, each batch with its place, and why it
// ends where it ends. Layout: docs/storage-format.md.
import { decodeControl } from '../replica/control.ts';
import { StateError } from '../replica/state-error.ts';
import { decodeHead, endBefore, segmentFirstIndex } from '../segment/head.ts';
import { decodeMark, LogEnd, MARK_POSITIONS, SEGMENT_HEAD_SIZE } from '../segment/mark.ts';
import type { DurableMark } from '../segment/mark.ts';
import type { NodeDisk } from '../segment/node-disk.ts';
import { Scan } from '../segment/scan.ts';
import {
  appendTime, baseOffset, batchCompression, batchCount, batchIndex, batchSize, batchTerm, bodyLen, isControl, producerEpoch,
  producerId, producerSeq,
} from '../wire/batch.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import type { Emit } from './dump.ts';

const CONTROL_NAMES = ['ignored', 'noop', 'config', 'init_producer', 'fence', 'trim', 'positions'];
/** Lines that may wait for a slow stdout between two reads of the file. */
const LINES_HELD_MAX = 10_000;

export async function dumpSegment(disk: NodeDisk, name: string, emit: Emit): Promise<boolean> {
  const firstIndex = segmentFirstIndex(name);
  const file = await disk.open(name, 'read');
  try {
    const size = await file.size();
    const bytes = Buffer.alloc(SEGMENT_HEAD_SIZE + BATCH_HEADER_SIZE);
    const read = await file.read(bytes, 0, bytes.length, 0);
    const { head, fault, mark } = decodeHead(bytes, read, firstIndex);
    if (head === null) await emit({ kind: 'head', fault });
    else await emit({ kind: 'head', ...head, logUid: head.logUid.toString('hex') });
    if (read >= SEGMENT_HEAD_SIZE) {
      for (const slot of [0, 1] as const) {
        await emit({ kind: 'mark', slot, position: MARK_POSITIONS[slot], ...markFields(decodeMark(bytes, MARK_POSITIONS[slot], slot, firstIndex)) });
      }
    }
    // Without its head the first batch says where it begins, if it can.
    const start = head !== null ? endBefore(head) : new LogEnd(SEGMENT_HEAD_SIZE, firstIndex - 1, 0, baseOffset(bytes, SEGMENT_HEAD_SIZE), 0);
    const lines: object[] = [];
    const scan = new Scan(start, {
      file, limit: Math.max(size, start.position), bodiesFrom: 0, controlBodies: true,
      visit: (buffer, at, position) => lines.push(batchFields(buffer, at, position)),
      betweenReads: () => flush(lines, emit, LINES_HELD_MAX),
    });
    await scan.run();
    await flush(lines, emit, 0);
    const holds = mark !== null && scan.end.position >= mark.end.position;
    await emit({
      kind: 'end', position: scan.end.position, nextIndex: scan.end.index + 1, nextOffset: scan.end.nextOffset,
      ...(scan.fault === '' ? {} : { then: scan.fault }), fileSize: size,
      verdict: mark === null ? 'both slots of the mark are bad' : holds ? 'everything below the durable mark holds' : 'damaged below the durable mark',
    });
    return head !== null && holds;
  } finally {
    await file.close();
  }
}

async function flush(lines: object[], emit: Emit, keep: number): Promise<void> {
  if (lines.length <= keep) return;
  for (const line of lines.splice(0)) {
    const slow = emit(line);
    if (slow !== null) await slow;
  }
}

function markFields(mark: DurableMark | null): object {
  if (mark === null) return { fault: 'does not hold' };
  const { position: durableEnd, ...end } = mark.end;
  return { sequence: mark.sequence, durableEnd, ...end, commitIndex: mark.commitIndex };
}

function batchFields(buffer: Buffer, at: number, position: number): object {
  const control = isControl(buffer, at);
  const producer = producerId(buffer, at);
  return {
    kind: 'batch', position, size: batchSize(buffer, at), index: batchIndex(buffer, at), term: batchTerm(buffer, at),
    baseOffset: baseOffset(buffer, at), count: batchCount(buffer, at), appendTime: appendTime(buffer, at),
    ...(batchCompression(buffer, at) === 0 ? {} : { compression: batchCompression(buffer, at) }),
    ...(producer === 0 ? {} : { producerId: producer, epoch: producerEpoch(buffer, at), seq: producerSeq(buffer, at) }),
    ...(control ? { control: controlFields(buffer, at) } : {}),
  };
}

function controlFields(buffer: Buffer, at: number): object {
  const start = at + BATCH_HEADER_SIZE;
  try {
    const { type, ...fields } = decodeControl(buffer, start, start + bodyLen(buffer, at));
    return { type: CONTROL_NAMES[type] ?? type, ...fields };
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    return { fault: error.message };
  }
}
