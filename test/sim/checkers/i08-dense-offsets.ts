// I8: offsets are dense, and no committed offset is used again for another record under the same
// log_uid. That batches follow each other without a gap is checked where they are read (history.ts).
import { demand } from '../core/failure.ts';
import type { AckSeen, Checker, RecordSeen } from '../history/watch.ts';
import { NONE } from '../../../src/wire/limits.ts';

export class DenseOffsets implements Checker {
  readonly rule = 'I8';

  record({ log, offset, fate, by }: RecordSeen): void {
    const known = log.at(offset);
    if (known === null || known === fate || log.outdated(offset)) return;
    demand(false, this.rule, () => `offset ${offset} of ${log.name} held ${known} and holds ${fate}, by ${by}`);
  }

  acked({ log, baseOffset, nextOffset, fates, duplicate, floor, expectedOffset }: AckSeen): void {
    if (baseOffset === NONE) {
      demand(duplicate, this.rule, () => `an ack of ${log.name} without offsets`);
      return;
    }
    demand(nextOffset === baseOffset + fates.length, this.rule, () => `${fates.length} records of ${log.name} got offsets ${baseOffset} to ${nextOffset}`);
    // What was acknowledged before it was sent lies before it.
    const late = duplicate || baseOffset >= Math.min(floor, log.end) || log.soft;
    demand(late, this.rule, () => `a batch of ${log.name} got offset ${baseOffset}, and the log had ended at ${floor} before it was sent`);
    const expected = duplicate || expectedOffset === NONE || expectedOffset === baseOffset;
    demand(expected, this.rule, () => `a batch of ${log.name} expected offset ${expectedOffset} and got ${baseOffset}`);
  }
}
