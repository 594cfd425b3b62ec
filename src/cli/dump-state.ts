// Snapshots and raft-state files as JSON lines.
import { SNAPSHOT_BYTES_MAX } from '../replica/snapshot-store.ts';
import { decodeSnapshot } from '../replica/snapshot.ts';
import { StateError } from '../replica/state-error.ts';
import { readWholeFile } from '../segment/atomic-file.ts';
import { JournalVersionError, readRecord, RECORD_SIZE } from '../segment/journal-record.ts';
import type { NodeDisk } from '../segment/node-disk.ts';
import { ID_SIZE } from '../wire/limits.ts';
import { CliError } from './command.ts';
import type { Emit } from './dump.ts';

const JOURNAL_SIZE_MAX = 64 * 1024 * 1024;
const AT_SNAPSHOT_UID = 8;

export async function dumpSnapshot(disk: NodeDisk, name: string, emit: Emit): Promise<boolean> {
  const bytes = await readWholeFile(disk, name, SNAPSHOT_BYTES_MAX);
  try {
    const state = decodeSnapshot(bytes, Buffer.from(bytes.subarray(AT_SNAPSHOT_UID, AT_SNAPSHOT_UID + ID_SIZE)));
    const { appliedIndex, appliedTerm, appliedTime, nextOffset, logStart, fence } = state;
    await emit({ kind: 'snapshot', logUid: state.logUid.toString('hex'), appliedIndex, appliedTerm, appliedTime, nextOffset, logStart, fence });
    for (let producer = state.producers.oldest; producer !== null; producer = producer.newer) {
      await emit({ kind: 'producer', name: producer.name, id: producer.id, epoch: producer.epoch, nextSeq: producer.window.next, usedIndex: producer.usedIndex });
    }
    for (const position of state.positions.list()) await emit({ kind: 'position', ...position });
    return true;
  } catch (error) {
    if (!(error instanceof StateError) && !(error instanceof RangeError)) throw error;
    await emit({ kind: 'fault', reason: (error as Error).message });
    return false;
  }
}

export async function dumpJournal(disk: NodeDisk, name: string, emit: Emit): Promise<boolean> {
  const bytes = await readWholeFile(disk, name, JOURNAL_SIZE_MAX);
  let holds = true;
  let freeFrom = -1;
  for (let position = 0; position + RECORD_SIZE <= bytes.length; position += RECORD_SIZE) {
    const record = parsed(bytes, position, name);
    if (record === 'free') {
      if (freeFrom < 0) freeFrom = position;
      continue;
    }
    if (record === 'bad') {
      holds = false;
      await emit({ kind: 'fault', position, reason: 'the record does not hold' });
    } else if (record.kind === 'head') {
      await emit({ kind: 'head', position, sequence: record.sequence, records: record.baseCount, incomplete: record.incomplete });
    } else {
      await emit({ kind: 'state', position, sequence: record.sequence, ...record.entry, logUid: record.entry.logUid.toString('hex') });
    }
  }
  if (freeFrom >= 0) await emit({ kind: 'free', position: freeFrom, size: bytes.length - freeFrom });
  return holds;
}

function parsed(bytes: Buffer, position: number, name: string): ReturnType<typeof readRecord> {
  try {
    return readRecord(bytes, position, name);
  } catch (error) {
    if (error instanceof JournalVersionError) throw new CliError(error.message);
    throw error;
  }
}
