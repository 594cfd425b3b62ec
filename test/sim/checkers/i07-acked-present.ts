// I7: what was acknowledged is present, once, after any crash that leaves a majority of disks. Watched as
// long as the world lives by what answers say about a log's end, and at the end by reading everything.
import { demand } from '../core/failure.ts';
import type { Checker, EndSeen, RangeSeen, RecordSeen } from '../history/watch.ts';

export class AckedPresent implements Checker {
  readonly rule = 'I7';

  range({ log, committedEnd, logStart, floor, startFloor, linear }: RangeSeen): void {
    if (!linear) return;
    demand(committedEnd >= Math.min(floor, log.end), this.rule, () => `${log.name} ends at ${committedEnd}, and had ended at ${floor} before that was asked`);
    demand(logStart >= Math.min(startFloor, log.start), this.rule, () => `${log.name} starts at ${logStart}, and had started at ${startFloor} before that was asked`);
  }

  record({ log, offset, fate, by }: RecordSeen): void {
    if (fate.lineage === -1) return;
    if (log.soft && log.outdated(fate.offset)) return;
    const same = fate.lineage === log.number && fate.offset === offset;
    demand(same, this.rule, () => `${fate} is at offset ${fate.offset} and, by ${by}, at ${offset} of ${log.name}`);
  }

  finish({ logs, fates }: EndSeen): void {
    const byNumber = [...logs];
    for (const fate of fates) {
      if (fate.acked === 0 || fate.offset === -1) continue;
      const log = byNumber[fate.lineage]!;
      if (log.mayBeGone || log.soft) continue;
      demand(fate.offset < log.end, this.rule, () => `${fate} was at offset ${fate.offset} of ${log.name}, which ends at ${log.end}`);
    }
    for (const fate of fates) {
      if (fate.said !== 'stored' || fate.offset !== -1) continue;
      const log = byNumber.find(({ name, mayBeGone }) => name === fate.log && !mayBeGone);
      if (log === undefined || log.soft || log.start > 0 || log.damaged) continue;
      demand(false, this.rule, () => `${fate} with seq ${fate.seq} is stored, as INIT_PRODUCER said, and nobody can read it`);
    }
  }
}
