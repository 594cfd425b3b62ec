// Answers to the write and read requests of plane C (§4), ops 20–37. `batches` is the rest of the
// payload: BATCH* as a view. A server writes it empty and sends the batches behind the head.
import { answer, answerFlags, answerWithTail, list, name, oneOf, reserved, struct, u16, u64, u64OrNone, u8 } from './layout.ts';
import type { Values } from './layout.ts';
import { Durability, PRODUCE_DUPLICATE } from './ops.ts';
import { logUidAnswerTlv } from './responses-admin.ts';

export type ProduceResponse = Values<typeof produceResponse>;
export const produceResponse = answer(
  {
    /** NONE: a duplicate whose original has left the window. */
    baseOffset: u64OrNone,
    nextOffset: u64OrNone,
    appendTime: u64,
    term: u64,
    durability: oneOf(Durability.FSYNC, Durability.INTERVAL, Durability.MEMORY),
    copies: u8,
    flags: answerFlags(PRODUCE_DUPLICATE),
    reserved,
  },
  { logUid: logUidAnswerTlv },
);

export type InitProducerResponse = Values<typeof initProducerResponse>;
export const initProducerResponse = answer(
  { producerId: u64, epoch: u16, nextSeq: u64, window: u16 },
  { logUid: logUidAnswerTlv },
);

export type FenceResponse = Values<typeof fenceResponse>;
export const fenceResponse = answer({ token: u64, nextOffset: u64 }, { logUid: logUidAnswerTlv });

export type FetchResponse = Values<typeof fetchResponse>;
export const fetchResponse = answerWithTail(
  { startOffset: u64, logStart: u64, committedEnd: u64 },
  { logUid: logUidAnswerTlv },
  'batches',
);

export type SubscribeResponse = Values<typeof subscribeResponse>;
export const subscribeResponse = answer(
  { startOffset: u64, logStart: u64, committedEnd: u64 },
  { logUid: logUidAnswerTlv },
);

export type Deliver = Values<typeof deliver>;
export const deliver = answerWithTail({ committedEnd: u64 }, {}, 'batches');

export type FindOffsetResponse = Values<typeof findOffsetResponse>;
/** `offset` is committed_end when there is no such record. */
export const findOffsetResponse = answer({ offset: u64, logStart: u64, committedEnd: u64 });

export type PutPositionResponse = Values<typeof putPositionResponse>;
export const putPositionResponse = answer({ offset: u64OrNone });

export type GetPositionResponse = Values<typeof getPositionResponse>;
export const getPositionResponse = answer({ offset: u64 }, { logUid: logUidAnswerTlv });

export type PositionInfo = Values<typeof positionInfo>;
export const positionInfo = struct({ name, offset: u64, updated: u64 });

export type ListPositionsResponse = Values<typeof listPositionsResponse>;
export const listPositionsResponse = answer({ positions: list(positionInfo) });
