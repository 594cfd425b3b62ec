// The answer to PRODUCE as the application sees it.
import type { ProduceResponse } from '../responses-data.ts';
import { Durability, PRODUCE_DUPLICATE } from '../ops.ts';
import type { DurabilityName, Receipt } from './types.ts';

const DURABILITY_NAMES: Readonly<Record<Durability, DurabilityName>> = {
  [Durability.FSYNC]: 'fsync',
  [Durability.INTERVAL]: 'interval',
  [Durability.MEMORY]: 'memory',
};

export function durabilityName(code: Durability): DurabilityName {
  return DURABILITY_NAMES[code];
}

/** @throws TypeError */
export function durabilityCode(name: DurabilityName): Durability {
  for (const code of Object.values(Durability)) if (DURABILITY_NAMES[code] === name) return code;
  throw new TypeError(`durability "${name}" is not accepted; expected fsync, interval or memory`);
}

export function receiptOf(answer: ProduceResponse): Receipt {
  return {
    baseOffset: answer.baseOffset,
    nextOffset: answer.nextOffset,
    appendTime: answer.appendTime,
    term: answer.term,
    durability: durabilityName(answer.durability),
    copies: answer.copies,
    duplicate: (answer.flags & PRODUCE_DUPLICATE) !== 0,
  };
}
