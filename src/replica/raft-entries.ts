// The entries that the Raft group itself makes (no-op, configuration), and the check of entries that
// come from a leader: their layout is the batch's, which src/raft does not know.
//
// Invariant: what `inspectEntries` accepts can be appended as it is: every checksum holds, and indexes,
// terms, offsets and times go on as the message says.
import { decodeConfiguration, encodeConfiguration } from '../raft/config-codec.ts';
import type { ConfigEntry, Configuration } from '../raft/config.ts';
import type { Append } from '../raft/types.ts';
import * as batch from '../wire/batch.ts';
import { buildControlBatch } from '../wire/batch-build.ts';
import { BATCH_HEADER_SIZE } from '../wire/limits.ts';
import { ControlType, decodeControl, encodeControl } from './control.ts';
import { StateError } from './state-error.ts';

/** Stamped where it is appended; never changed here. */
export const NOOP_BATCH = buildControlBatch(encodeControl({ type: ControlType.NOOP }));

export function configBatch(config: Configuration): Buffer {
  return buildControlBatch(encodeControl({ type: ControlType.CONFIG, data: encodeConfiguration(config) }));
}

/** Whether the whole batch at buffer[at] holds a configuration. */
export function isConfigBatch(buffer: Buffer, at: number): boolean {
  return batch.isControl(buffer, at) && batch.bodyLen(buffer, at) > 0 && buffer[at + BATCH_HEADER_SIZE] === ControlType.CONFIG;
}

/** The configuration in the batch at buffer[at], which holds one; null when it cannot be understood. */
export function readConfigBatch(buffer: Buffer, at: number): ConfigEntry | null {
  const start = at + BATCH_HEADER_SIZE;
  try {
    const control = decodeControl(buffer, start, start + batch.bodyLen(buffer, at));
    const config = control.type === ControlType.CONFIG ? decodeConfiguration(control.data) : null;
    return config === null ? null : { index: batch.batchIndex(buffer, at), config };
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    return null;
  }
}

/** Checks an Append's body against what the message says of it; its configurations, or null. */
export function inspectEntries(message: Append): readonly ConfigEntry[] | null {
  const { fromIndex, toIndex, runs } = message;
  const body = message.body as Buffer;
  const configs: ConfigEntry[] = [];
  let index = fromIndex;
  let run = 0;
  let offset = -1;
  let time = 0;
  for (let at = 0; at < body.length; ) {
    if (index > toIndex || batch.checkBatch(body, at, body.length) !== batch.BatchFault.OK) return null;
    while (run + 1 < runs.length && runs[run + 1]!.fromIndex <= index) run++;
    if (batch.batchIndex(body, at) !== index || batch.batchTerm(body, at) !== runs[run]?.term) return null;
    if (offset >= 0 && batch.baseOffset(body, at) !== offset) return null;
    if (batch.appendTime(body, at) < time) return null;
    if (isConfigBatch(body, at)) {
      const entry = readConfigBatch(body, at);
      if (entry === null) return null;
      configs.push(entry);
    }
    offset = batch.baseOffset(body, at) + batch.batchCount(body, at);
    time = batch.appendTime(body, at);
    at += batch.batchSize(body, at);
    index++;
  }
  return index === toIndex + 1 ? configs : null;
}
