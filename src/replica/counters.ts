// Numbers for metrics: plain fields that hot paths add to and a scrape reads. No names of metrics, no
// text, no clock.
import type { Op } from '../wire/ops.ts';

/** Upper bounds of the latency buckets, in milliseconds; the last bucket is everything above. */
export const LATENCY_BOUNDS_MS: readonly number[] = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000,
];

/** Observations per bucket of {@link LATENCY_BOUNDS_MS}, and their sum. */
export class LatencyCounts {
  readonly counts = new Float64Array(LATENCY_BOUNDS_MS.length + 1);
  sumSeconds = 0;

  /** Counts `times` observations of `ms` milliseconds. */
  observe(ms: number, times: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && ms > LATENCY_BOUNDS_MS[bucket]!) bucket++;
    this.counts[bucket]! += times;
    this.sumSeconds += (ms / 1000) * times;
  }
}

/** Counters of one node, over all its logs. */
export class Counters {
  /** Requests received, by op number. */
  readonly requests = new Float64Array(256);
  /** Error answers, by error code. */
  readonly errors = new Map<number, number>();
  /** PRODUCE payload bytes received. */
  produceBytesIn = 0;
  /** Batch bytes handed to sessions by FETCH and DELIVER. */
  readBytesOut = 0;
  recordsProduced = 0;
  /** From the PRODUCE frame to its ack, sampled: one of each group that was committed together. */
  readonly produceLatency = new LatencyCounts();
  /** Each fdatasync of a file. */
  readonly syncLatency = new LatencyCounts();
  diskBytesWritten = 0;
  diskBytesRead = 0;
  /** Times that opening a log, a read or the scrub met damage. */
  damageFound = 0;
  logsOpened = 0;
  logsClosed = 0;
  segmentsTrimmed = 0;
  snapshotsWritten = 0;
  /** Replicas that were brought on by another's snapshot. */
  snapshotsInstalled = 0;
  /** Damaged ranges that were put back from a peer. */
  repairs = 0;
  /** Times that reading from clients was stopped because too much waited for the disk. */
  memoryPauses = 0;

  request(op: Op): void {
    this.requests[op]! += 1;
  }

  error(code: number): void {
    this.errors.set(code, (this.errors.get(code) ?? 0) + 1);
  }
}
