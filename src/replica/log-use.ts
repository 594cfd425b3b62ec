// One log as one connection uses it, under the name it was asked for: what the hot path compares and
// remembers, so that a PRODUCE needs no string and no map.
import { TIMEOUT_MS_DEFAULT, TIMEOUT_MS_MAX } from '../wire/limits.ts';
import type { LogSlot } from './log-slot.ts';

export class LogUse {
  readonly name: string;
  readonly nameBytes: Buffer;
  readonly slot: LogSlot;
  /** Whether this identity may produce here, as of `policyVersion`. */
  mayProduce = false;
  policyVersion = -1;
  /** Deadline of the last PRODUCE: the next one's is never before it. Monotonic milliseconds. */
  lastDeadlineMs = 0;

  constructor(slot: LogSlot) {
    this.slot = slot;
    this.name = slot.name;
    this.nameBytes = Buffer.from(slot.name, 'latin1');
  }

  /** Whether source[start, end) is this log's name. */
  isNamed(source: Buffer, start: number, end: number): boolean {
    const { nameBytes } = this;
    if (end - start !== nameBytes.length) return false;
    for (let i = 0; i < nameBytes.length; i++) if (source[start + i] !== nameBytes[i]) return false;
    return true;
  }

  /** When a PRODUCE that comes now is answered TIMEOUT. */
  deadline(nowMs: number, timeoutMs: number): number {
    const wait = timeoutMs === 0 ? TIMEOUT_MS_DEFAULT : Math.min(timeoutMs, TIMEOUT_MS_MAX);
    this.lastDeadlineMs = Math.max(this.lastDeadlineMs, nowMs + wait);
    return this.lastDeadlineMs;
  }
}
