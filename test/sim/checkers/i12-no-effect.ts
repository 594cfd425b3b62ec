// I12: a record whose every sending got an error without OUTCOME_UNKNOWN never appears.
import { demand } from '../core/failure.ts';
import type { Fate } from '../history/fate.ts';
import type { Checker, RecordSeen } from '../history/watch.ts';

export class NoEffect implements Checker {
  readonly rule = 'I12';

  record({ log, offset, fate }: RecordSeen): void {
    demand(!fate.hadNoEffect, this.rule, () => `offset ${offset} of ${log.name} holds ${fate}`);
    const said = fate.said !== 'not stored' || log.soft;
    demand(said, this.rule, () => `offset ${offset} of ${log.name} holds ${fate} with seq ${fate.seq}, which INIT_PRODUCER said was not stored`);
  }

  refusedFates(fates: readonly Fate[]): void {
    for (const fate of fates) {
      demand(!fate.hadNoEffect || fate.offset === -1, this.rule, () => `${fate} was refused without effect, and is at offset ${fate.offset}`);
    }
  }
}
