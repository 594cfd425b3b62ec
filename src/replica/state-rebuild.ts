// Brings a snapshot's state up to the end of its log while that is opened or checked.
//
// Invariant: while `fault` is '' the state is that of the log at `state.appliedIndex`; afterwards only the end
// of the log is followed, for readers.
import { isControl, appendTime, baseOffset, batchCount, batchIndex, batchTerm } from '../wire/batch.ts';
import { StateError } from './state-error.ts';
import type { ReplicaState } from './state.ts';

/** Applies recovered entries to a state; behind a gap only the end of the log is followed. */
export class StateRebuild {
  readonly state: ReplicaState;
  /** Why the state is not that of the log; '' while it is. */
  fault = '';

  constructor(state: ReplicaState) {
    this.state = state;
  }

  visit(buffer: Buffer, at: number): void {
    const { state } = this;
    const index = batchIndex(buffer, at);
    if (this.fault === '' && index !== state.appliedIndex + 1) {
      this.fault = `entries ${state.appliedIndex + 1} to ${index - 1} are damaged or missing`;
    }
    if (this.fault === '') {
      try {
        state.apply(buffer, at);
        return;
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        this.fault = error.message;
      }
    }
    // Readers go on to the end: what lies behind the damage is whole. Nothing else is believed.
    const end = baseOffset(buffer, at) + batchCount(buffer, at);
    if (isControl(buffer, at) || end <= state.nextOffset) return;
    state.applyPlain(index, batchTerm(buffer, at), appendTime(buffer, at), end);
  }
}
