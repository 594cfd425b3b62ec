// What a fence promises: from the offset that FENCE answered with, every record carries at least its
// token; and an ack to a produce means that its fence was the log's.
import { demand } from '../core/failure.ts';
import type { AckSeen, Checker, RecordSeen } from '../history/watch.ts';

export class Fences implements Checker {
  readonly rule = 'fences';

  record({ log, offset, fate }: RecordSeen): void {
    for (let i = log.fences.length - 1; i >= 0 && i >= log.fences.length - 16; i--) {
      const { offset: from, token } = log.fences[i]!;
      demand(offset < from || fate.fence >= token, this.rule, () => `offset ${offset} of ${log.name} was written with fence ${fate.fence}, and from ${from} on it is ${token}`);
    }
  }

  acked({ log, fence, duplicate }: AckSeen): void {
    demand(duplicate || fence <= Math.max(log.fenceAsked, 0), this.rule, () => `a produce with fence ${fence} was acked on ${log.name}, where nobody asked for it`);
  }
}
