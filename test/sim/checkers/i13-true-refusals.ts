// I13: a refusal that depends on state was true of committed state at some moment between its request
// and its answer. The committed state of the node that answered is looked up when the answer arrives:
// what was refused because of something must have been committed by then.
import { ErrorCode, errorName } from '../../../src/wire/errors.ts';
import { NONE } from '../../../src/wire/limits.ts';
import { demand } from '../core/failure.ts';
import type { Checker, RefusalSeen } from '../history/watch.ts';

export class TrueRefusals implements Checker {
  readonly rule = 'I13';

  refusal(seen: RefusalSeen): void {
    const { log, code, detail, floor, fenceFloor, expectedOffset, fence } = seen;
    if (log.mayBeGone || (log.soft && log.era > 0)) return;
    const replica = seen.node?.node?.logs.find(log.name)?.replica ?? null;
    switch (code) {
      case ErrorCode.OFFSET_MISMATCH:
        demand(detail !== expectedOffset, this.rule, () => `${log.name}: offset ${expectedOffset} was expected, is next, and is a mismatch`);
        demand(detail >= floor, this.rule, () => `${log.name}: a mismatch says the next offset is ${detail}, and it had been ${floor} before`);
        if (replica !== null) demand(detail <= replica.committedEnd, this.rule, () => `${log.name}: a mismatch says the next offset is ${detail}, and ${replica.committedEnd} are committed`);
        return;
      case ErrorCode.FENCED:
        demand(detail !== fence, this.rule, () => `${log.name}: FENCED at ${detail} with fence ${fence}`);
        demand(detail >= fenceFloor, this.rule, () => `${log.name}: FENCED says ${detail}, and the fence had been ${fenceFloor} before`);
        if (replica !== null) demand(detail <= replica.state.fence, this.rule, () => `${log.name}: FENCED says ${detail}, and ${replica.state.fence} is committed`);
        return;
      case ErrorCode.UNKNOWN_PRODUCER:
      case ErrorCode.LOG_NOT_FOUND:
      case ErrorCode.LOG_CHANGED:
        // Of several nodes not every one has every log.
        demand(code === ErrorCode.LOG_NOT_FOUND && seen.fewReplicas, this.rule, () => `${log.name} was there with all its producers, and a request was refused with ${errorName(code)}`);
        return;
      case ErrorCode.SEQ_GAP:
      case ErrorCode.SEQ_REUSED:
        demand(detail !== NONE, this.rule, () => `${log.name}: ${errorName(code)} without the expected seq`);
        return;
      default:
        return;
    }
  }
}
