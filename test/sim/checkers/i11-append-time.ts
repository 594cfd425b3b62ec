// I11: append_time never goes down within a log.
import { demand } from '../core/failure.ts';
import type { Checker, RecordSeen } from '../history/watch.ts';

export class AppendTime implements Checker {
  readonly rule = 'I11';

  record({ log, offset, appendTime }: RecordSeen): void {
    if (log.soft) return;
    const before = log.appendTimes[offset - 1] ?? -1;
    const after = log.appendTimes[offset + 1] ?? -1;
    demand(before <= appendTime, this.rule, () => `offset ${offset} of ${log.name} has append_time ${appendTime}, the one before it ${before}`);
    demand(after === -1 || after >= appendTime, this.rule, () => `offset ${offset} of ${log.name} has append_time ${appendTime}, the one behind it ${after}`);
    const known = log.appendTimes[offset] ?? -1;
    demand(known === -1 || known === appendTime, this.rule, () => `offset ${offset} of ${log.name} had append_time ${known} and has ${appendTime}`);
  }
}
