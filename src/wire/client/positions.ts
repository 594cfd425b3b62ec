// `client.positions`: named offsets that are stored with a log, where a reader goes on.
import type { Reader } from '../bytes.ts';
import { ErrorCode, ProtocolError } from '../errors.ts';
import { NONE } from '../limits.ts';
import { Op } from '../ops.ts';
import { getPositionRequest, listPositionsRequest, putPositionRequest } from '../requests-read.ts';
import { getPositionResponse, listPositionsResponse, putPositionResponse } from '../responses-data.ts';
import { exchange, exchangeList, uidFor } from './context.ts';
import type { ClientContext } from './context.ts';
import { checkNumber } from './read-start.ts';
import type { PositionEntry } from './types.ts';

export interface PositionOptions {
  /** Store only if the position has this value now; one that does not exist compares as 0. Else POSITION_MISMATCH. */
  expected?: number | undefined;
  /** Uid (hex) of the log that is meant. Default: the one this client has seen under the name. */
  logUid?: string | undefined;
}

export class Positions {
  private readonly context: ClientContext;

  constructor(context: ClientContext) {
    this.context = context;
  }

  /** The offset to read next, or null when there is no such position. */
  async get(log: string, name: string, options: Pick<PositionOptions, 'logUid'> = {}): Promise<number | null> {
    const { pins } = this.context;
    const answer = {
      read: (r: Reader): number => {
        const { offset, logUid } = getPositionResponse.read(r);
        pins.learn(log, logUid);
        return offset;
      },
    };
    const how = { op: Op.GET_POSITION, request: getPositionRequest, answer, retry: 'always' as const };
    try {
      return await exchange(this.context, how, { log, name, logUid: uidFor(this.context, log, options.logUid) });
    } catch (error) {
      if (error instanceof ProtocolError && error.code === ErrorCode.POSITION_NOT_FOUND) return null;
      throw error;
    }
  }

  /** Stores the offset to read next, lower ones too. With `expected` it is compare-and-set. */
  async put(log: string, name: string, offset: number, options: PositionOptions = {}): Promise<void> {
    await this.store(log, name, checkNumber('offset', offset), options);
  }

  /** Removes a position; one that does not exist is fine. */
  async delete(log: string, name: string, options: PositionOptions = {}): Promise<void> {
    await this.store(log, name, NONE, options);
  }

  /** All positions of a log, by name. */
  async list(log: string): Promise<PositionEntry[]> {
    const answer = { read: (r: Reader): PositionEntry[] => listPositionsResponse.read(r).positions };
    const how = { op: Op.LIST_POSITIONS, request: listPositionsRequest, answer, retry: 'always' as const };
    const frames = await exchangeList(this.context, how, { log, logUid: this.context.pins.get(log) });
    return frames.flat();
  }

  private async store(log: string, name: string, offset: number, options: PositionOptions): Promise<void> {
    const expected = options.expected === undefined ? NONE : checkNumber('expected', options.expected);
    // Storing the same offset twice changes nothing; a compare-and-set repeated after an unknown
    // outcome could meet its own success and report a mismatch.
    const retry = expected === NONE ? ('always' as const) : ('certain' as const);
    const how = { op: Op.PUT_POSITION, request: putPositionRequest, answer: putPositionResponse, retry };
    await exchange(this.context, how, { log, name, offset, expected, logUid: uidFor(this.context, log, options.logUid) });
  }
}
