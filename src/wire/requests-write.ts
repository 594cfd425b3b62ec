// Write requests of plane C (§4): PRODUCE, INIT_PRODUCER, FENCE. The server reads PRODUCE through
// produce-view.ts instead, without allocation; the two are tested against each other.
import { flags, layout, layoutWithTail, name, reserved, u32, u64, u64OrNone } from './layout.ts';
import type { Values } from './layout.ts';
import { PRODUCE_NO_FORWARD } from './ops.ts';
import { logUidTlv } from './requests-admin.ts';

export type ProduceRequest = Values<typeof produceRequest>;
export const produceRequest = layoutWithTail(
  {
    log: name,
    flags: flags(PRODUCE_NO_FORWARD),
    reserved,
    /** 0 = 30 s. */
    timeoutMs: u32,
    /** NONE = any. */
    expectedOffset: u64OrNone,
    /** 0 = none. */
    fence: u64,
  },
  { logUid: logUidTlv },
  'batch',
);

export type InitProducerRequest = Values<typeof initProducerRequest>;
export const initProducerRequest = layout({ log: name, name }, { logUid: logUidTlv });

export type FenceRequest = Values<typeof fenceRequest>;
export const fenceRequest = layout({ log: name, token: u64 }, { logUid: logUidTlv });
