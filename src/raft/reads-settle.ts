// How linearizable reads end: answered, or failed because leadership changed under them.
//
// Sequences are given out in order and end in order, so one number (`readSettled`) says which are
// open. Kept apart from read-index.ts because every change of role has to call it.
import { assert } from '../wire/assert.ts';
import type { RaftState } from './state.ts';
import type { Index } from './types.ts';

/** All own reads up to `sequence` may be answered once `index` is applied. */
export function settleReads(s: RaftState, sequence: number, index: Index): void {
  assert(sequence <= s.readSequence, 'only reads that were asked for are answered');
  if (sequence <= s.readSettled) return;
  s.readSettled = sequence;
  s.out.reads.push({ sequence, index });
}

/** Whoever was asked to confirm them no longer leads: the requests must be asked anew. */
export function failReads(s: RaftState): void {
  s.roundOpen = false;
  if (s.readSequence > s.readSettled) {
    s.readSettled = s.readSequence;
    s.out.readsFailedTo = s.readSequence;
  }
}
