// I10: bytes behind the first broken frame of a connection are never interpreted. More widely: a record
// that for a named reason must never appear never does.
import { demand } from '../core/failure.ts';
import type { Checker, RecordSeen } from '../history/watch.ts';

export class BrokenFrames implements Checker {
  readonly rule = 'I10';

  record({ log, offset, fate }: RecordSeen): void {
    demand(fate.banned === '', this.rule, () => `offset ${offset} of ${log.name} holds ${fate}, which must not be there: ${fate.banned}`);
  }
}
