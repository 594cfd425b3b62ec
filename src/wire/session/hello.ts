// What HELLO agrees on (protocol §4, §8): pure judgment of the client's wishes, and the answer.
// Every refusal here is fatal for the connection; the session sees to that.
import { ErrorCode, FieldError, ProtocolError } from '../errors.ts';
import {
  FRAME_OVERHEAD_SIZE, FRAME_SIZE_MAX, IDLE_MS_MAX, IDLE_MS_MIN, IDLE_NEVER,
} from '../limits.ts';
import { MINOR_VERSION } from '../ops.ts';
import type { HelloRequest, HelloResponse } from '../requests-session.ts';
import type { SessionConfig } from './ports.ts';

export interface Agreement {
  /** Largest frame length that the client takes, in bytes. */
  readonly peerMaxFrame: number;
  /** Milliseconds, or IDLE_NEVER. */
  readonly idleMs: number;
  readonly minor: number;
}

/** @throws ProtocolError WRONG_CLUSTER, or FieldError for a frame size below what one batch needs. */
export function agree(request: HelloRequest, config: SessionConfig): Agreement {
  const isAnyCluster = request.clusterId.every((byte) => byte === 0);
  if (!isAnyCluster && !request.clusterId.equals(config.clusterId)) {
    throw new ProtocolError(ErrorCode.WRONG_CLUSTER, { message: 'this node belongs to another cluster' });
  }
  const frameSizeMin = config.maxBatch + FRAME_OVERHEAD_SIZE;
  if (request.maxFrame < frameSizeMin) {
    throw new FieldError('max_frame', ErrorCode.INVALID_ARGUMENT, { limit: frameSizeMin });
  }
  return {
    peerMaxFrame: Math.min(request.maxFrame, FRAME_SIZE_MAX),
    idleMs: grantIdle(request.idleMs, config),
    minor: Math.min(request.minor, MINOR_VERSION),
  };
}

/** v1.0 knows no feature bits, so none becomes active, whatever the client offers. */
export function helloAnswer(agreement: Agreement, config: SessionConfig): HelloResponse {
  return {
    minor: agreement.minor,
    maxFrame: config.maxFrame,
    idleMs: agreement.idleMs,
    features: 0,
    clusterId: config.clusterId,
    node: config.nodeName,
    maxBatch: config.maxBatch,
    maxInflight: config.maxInflight,
    authRequired: config.authRequired ? 1 : 0,
    server: config.serverVersion,
    authMechs: [...config.authMechs],
  };
}

function grantIdle(wishMs: number, config: SessionConfig): number {
  if (wishMs === 0) return config.idleMs;
  if (wishMs === IDLE_NEVER && config.loopback) return IDLE_NEVER;
  return Math.min(Math.max(wishMs, IDLE_MS_MIN), IDLE_MS_MAX);
}
