// A subscription's memory, without I/O: where it goes on, what waits here, and how much credit the
// server may be given. It makes sure that what an application gets is one history without gaps and
// repetitions, over any number of connections.
// Invariant: granted − received bytes on the present connection + bytes waiting here ≤ creditBytes.
import { walkBatches } from './batches.ts';
import type { BatchSpan } from './batches.ts';
import type { ProtocolError } from '../errors.ts';
import type { ReadStart } from './read-start.ts';
import { startAt } from './read-start.ts';

interface Waiting {
  readonly spans: BatchSpan[];
  readonly bytes: number;
  next: number;
}

export class SubscriptionState {
  /** Offset after the last batch received; −1 until the server has said where the read starts. */
  receivedEnd = -1;
  /** Term of the last batch received; −1 = unknown. */
  receivedTerm: number;
  /** Batches that wait here. */
  waitingBatches = 0;

  private readonly start: ReadStart;
  private readonly creditBytes: number;
  private readonly queue: Waiting[] = [];
  private waitingBytes = 0;
  /** Bytes used by the application since credit was given last. */
  private usedBytes = 0;

  constructor(start: ReadStart, creditBytes: number, prevTerm: number) {
    this.start = start;
    this.creditBytes = creditBytes;
    this.receivedTerm = prevTerm;
  }

  /** Where the next SUBSCRIBE starts: as asked at first, then exactly where it goes on. */
  startNow(): ReadStart {
    return this.receivedEnd < 0 ? this.start : startAt(this.receivedEnd);
  }

  /** Credit of a new SUBSCRIBE: what the batches that wait here leave. */
  firstCredit(): number {
    this.usedBytes = 0;
    return Math.max(0, this.creditBytes - this.waitingBytes);
  }

  /** The server's answer to SUBSCRIBE. */
  opened(startOffset: number): void {
    if (this.receivedEnd < 0) this.receivedEnd = startOffset;
  }

  /** Takes BATCH* of a DELIVER, whose bytes must stay as they are; returns why it cannot go on, or null. */
  received(buffer: Buffer, start: number, end: number): ProtocolError | null {
    const walk = walkBatches(buffer, start, end, this.receivedEnd);
    if (walk.spans.length > 0) {
      this.queue.push({ spans: walk.spans, bytes: end - start, next: 0 });
      this.waitingBatches += walk.spans.length;
      this.waitingBytes += end - start;
      this.receivedEnd = walk.nextOffset;
      this.receivedTerm = walk.lastTerm;
    }
    return walk.error;
  }

  /** The next batch for the application, or null when none waits. */
  take(): BatchSpan | null {
    const first = this.queue[0];
    if (first === undefined) return null;
    const span = first.spans[first.next]!;
    first.next += 1;
    this.waitingBatches -= 1;
    if (first.next === first.spans.length) {
      this.queue.shift();
      this.waitingBytes -= first.bytes;
      this.usedBytes += first.bytes;
    }
    return span;
  }

  /** Credit to give now: in halves of creditBytes, so that it is not one frame per batch. 0 = none yet. */
  creditDue(): number {
    if (this.usedBytes * 2 < this.creditBytes) return 0;
    const due = this.usedBytes;
    this.usedBytes = 0;
    return due;
  }
}
