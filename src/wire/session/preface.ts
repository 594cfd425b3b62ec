// The client's eight bytes that open a connection (protocol §2), read as they come and judged. The
// layouts are in requests-session.ts; this adds what a stream needs: wrong magic is recognized at
// its first wrong byte, and what follows the preface in the same chunk is left alone.
import { ErrorCode } from '../errors.ts';
import { PREFACE_SIZE } from '../limits.ts';
import {
  MAJOR_VERSION, PLANE_CLIENT, PLANE_GOSSIP, PLANE_RAFT_BULK, PLANE_RAFT_CONTROL, PREFACE_MAGIC,
} from '../ops.ts';
import type { PrefaceRequest } from '../requests-session.ts';

/** Collects a preface. */
export class PrefaceReader implements PrefaceRequest {
  plane = 0;
  maxMajor = 0;
  minMajor = 0;
  private count = 0;

  get complete(): boolean {
    return this.count === PREFACE_SIZE;
  }

  /** Takes bytes from chunk; returns how many, or −1 when the magic is wrong. */
  push(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length && this.count < PREFACE_SIZE) {
      if (!this.accept(chunk[at++]!)) return -1;
    }
    return at;
  }

  private accept(byte: number): boolean {
    const at = this.count++;
    if (at < 4) return byte === ((PREFACE_MAGIC >>> (24 - at * 8)) & 0xff);
    if (at === 4) this.plane = byte;
    else if (at === 5) this.maxMajor = byte;
    else if (at === 6) this.minMajor = byte;
    return true;
  }
}

/**
 * Status for a client-plane listener, 0 = OK. `refuse` is what the listener says to everybody
 * (TLS_REQUIRED, for one); it goes first, because it must not depend on anything the peer chose.
 * A peer plane that comes here came without the proof it needs.
 */
export function judgePreface(preface: PrefaceRequest, refuse: ErrorCode | 0): ErrorCode | 0 {
  if (refuse !== 0) return refuse;
  switch (preface.plane) {
    case PLANE_CLIENT:
      break;
    case PLANE_RAFT_CONTROL:
    case PLANE_RAFT_BULK:
    case PLANE_GOSSIP:
      return ErrorCode.FORBIDDEN;
    default:
      return ErrorCode.OP_NOT_ALLOWED;
  }
  const isCommon = preface.minMajor <= MAJOR_VERSION && MAJOR_VERSION <= preface.maxMajor;
  return isCommon ? 0 : ErrorCode.UNSUPPORTED_VERSION;
}
