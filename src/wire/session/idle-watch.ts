// Idleness of a connection (protocol §7): PING at half of idle_ms, the end at all of it, counted in
// received bytes. The clock stands still while the server itself does not read, because then the
// silence is ours; and it is judged in ticks, after what waited in the socket has been read.
import { IDLE_NEVER } from '../limits.ts';

export const IdleVerdict = { NOTHING: 0, PING: 1, OVER: 2 } as const;
export type IdleVerdict = (typeof IdleVerdict)[keyof typeof IdleVerdict];

export class IdleWatch {
  private limitMs = IDLE_NEVER;
  private sinceMs: number;
  private lastTickMs: number;
  private pinged = false;

  constructor(nowMs: number) {
    this.sinceMs = nowMs;
    this.lastTickMs = nowMs;
  }

  /** Starts to judge. `limitMs` may be IDLE_NEVER. */
  start(limitMs: number): void {
    this.limitMs = limitMs;
  }

  /** Bytes were received. */
  touch(nowMs: number): void {
    this.sinceMs = nowMs;
    this.pinged = false;
  }

  tick(nowMs: number, isReading: boolean): IdleVerdict {
    // Bytes may have come after the last tick: only the silence since then can stand still.
    if (!isReading) this.sinceMs += nowMs - Math.max(this.lastTickMs, this.sinceMs);
    this.lastTickMs = nowMs;
    if (this.limitMs === IDLE_NEVER) return IdleVerdict.NOTHING;
    const silentMs = this.silentMs(nowMs);
    if (silentMs >= this.limitMs) return IdleVerdict.OVER;
    if (silentMs < this.limitMs / 2 || this.pinged) return IdleVerdict.NOTHING;
    this.pinged = true;
    return IdleVerdict.PING;
  }

  silentMs(nowMs: number): number {
    return nowMs - this.sinceMs;
  }
}
