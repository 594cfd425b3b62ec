// Turns what an application says about the start of a read into the fields of FETCH and SUBSCRIBE.
import { From } from '../ops.ts';
import type { ReadFrom } from './types.ts';

export interface ReadStart {
  readonly from: From;
  readonly value: number;
  readonly positionName: string;
}

/** @throws TypeError when `from` is none of the accepted forms. */
export function readStart(from: ReadFrom = 'earliest'): ReadStart {
  if (from === 'earliest') return { from: From.EARLIEST, value: 0, positionName: '' };
  if (from === 'next') return { from: From.NEXT, value: 0, positionName: '' };
  if (typeof from === 'object' && from !== null) {
    if ('offset' in from) return startAt(checkNumber('offset', from.offset));
    if ('time' in from) return { from: From.TIME, value: checkNumber('time', from.time), positionName: '' };
    if ('position' in from) return { from: From.POSITION, value: 0, positionName: from.position };
  }
  throw new TypeError(`from is not accepted; expected 'earliest', 'next', {offset}, {time} or {position}`);
}

export function startAt(offset: number): ReadStart {
  return { from: From.OFFSET, value: offset, positionName: '' };
}

/** An offset, time or size from the application. @throws TypeError */
export function checkNumber(name: string, value: number, max: number = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= 0 && value <= max) return value;
  throw new TypeError(`${name} ${value} is not accepted; expected a whole number from 0 to ${max}`);
}
