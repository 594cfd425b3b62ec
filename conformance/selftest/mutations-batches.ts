// Mutations of the batches in FETCH answers and DELIVERs.
import { BATCH_HEADER_SIZE, BatchError, buildBatch, parseBatches, sealBatch, sealHeader } from '../wire/batch.ts';
import { isOk, isOp, editOk } from './reframe.ts';
import type { MakeMutation } from './mutations-answers.ts';

type Edit = (batches: Buffer[]) => Buffer[];

const U64_FIELDS = { index: 8, term: 16, offset: 24, time: 32 } as const;

function stamp(batch: Buffer, at: number, change: (value: bigint) => bigint): Buffer {
  const copy = Buffer.from(batch);
  copy.writeBigUInt64BE(change(copy.readBigUInt64BE(at)), at);
  return sealHeader(copy);
}

/** All batches get the same stamp. */
const same = (at: number): Edit => (batches) => batches.map((batch) => stamp(batch, at, () => 1n));

const flip = (batch: Buffer, at: number): Buffer => {
  const copy = Buffer.from(batch);
  copy[at]! ^= 1;
  return copy;
};

const EDITS: Readonly<Record<string, Edit>> = {
  'drop-first': (batches) => batches.slice(1),
  'drop-last': (batches) => batches.slice(0, -1),
  'drop-middle': (batches) => (batches.length > 2 ? [...batches.slice(0, 1), ...batches.slice(2)] : batches),
  swap: (batches) => (batches.length > 1 ? [batches[1]!, batches[0]!, ...batches.slice(2)] : batches),
  'flip-body': (batches) => batches.map((batch) => flip(batch, batch.length - 1)),
  'flip-header': (batches) => batches.map((batch) => flip(batch, 33)),
  'flip-body-recrc': (batches) => batches.map((batch) => sealBatch(flip(batch, batch.length - 1))),
  'shift-offset': (batches) => batches.map((batch) => stamp(batch, U64_FIELDS.offset, (value) => value + 1n)),
  'index-down': same(U64_FIELDS.index),
  'term-down': (batches) => batches.map((batch) => stamp(batch, U64_FIELDS.term, () => 0n)),
  'time-down': (batches) => batches.map((batch, i) => stamp(batch, U64_FIELDS.time, (value) => value - BigInt(i))),
  merge: (batches) => merged(batches),
  'none-when-small': (batches) => batches,
  control: (batches) => {
    if (batches.length === 0) return batches;
    const control = buildBatch({ records: [] });
    batches[0]!.copy(control, 8, 8, 40);
    control.writeUInt16BE(0x10, 52);
    return [...batches, sealBatch(control)];
  },
};

/** Two uncompressed neighbours become one, with right checksums. */
function merged(batches: Buffer[]): Buffer[] {
  const isPlain = (batch: Buffer | undefined): boolean => batch !== undefined && batch.readUInt16BE(52) === 0;
  const at = batches.findIndex((batch, i) => isPlain(batch) && isPlain(batches[i + 1]));
  if (at < 0) return batches;
  const [first, second] = [batches[at]!, batches[at + 1]!];
  const one = Buffer.concat([first, second.subarray(BATCH_HEADER_SIZE)]);
  one.writeUInt32BE(one.length - BATCH_HEADER_SIZE, 44);
  one.writeUInt32BE(first.readUInt32BE(48) + second.readUInt32BE(48), 48);
  return [...batches.slice(0, at), sealBatch(one), ...batches.slice(at + 2)];
}

export const batchMutations: Readonly<Record<string, MakeMutation>> = {
  batch: (argument) => {
    const edit = EDITS[argument];
    if (edit === undefined) throw new Error(`batch:${argument}: no such mutation`);
    return {
      answer(frame, _link, asked) {
        if (!isOk(frame) || !(isOp(frame, 'FETCH') || isOp(frame, 'DELIVER'))) return null;
        return editOk(frame, (fields) => {
          const bytes = fields.batches as Buffer;
          try {
            const batches = parseBatches(bytes).map((batch) => batch.bytes);
            const isSmall = argument === 'none-when-small' && asked !== undefined && batches.length === 1;
            fields.batches = Buffer.concat(isSmall ? [] : edit(batches));
          } catch (error) {
            if (!(error instanceof BatchError)) throw error;
          }
        });
      },
    };
  },
};
