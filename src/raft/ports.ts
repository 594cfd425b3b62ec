// What the Raft core needs of the outside, all of it synchronous and free of side effects.
//
// There is deliberately no clock here (time comes as `tick`), no disk (writes are effects, their
// completion is an input) and no network (messages are effects and inputs).
import type { Index, Term } from './types.ts';

/** An integer in 0 … bound − 1. The only source of randomness; the simulator passes a seeded one. */
export type Random = (bound: number) => number;

/**
 * Questions about entries that the core does not remember, answered from the segment log.
 * `from … to` always lies inside the log, or in what the effects not yet taken will append.
 */
export interface LogView {
  /** Term of an entry that is in the log; UNKNOWN_TERM when it was compacted away. */
  termAt(index: Index): Term;
  /**
   * Bytes of the entries `from … to` as they go over the wire. Entries that the driver has not
   * written yet (a no-op or configuration of this very turn) may count as 0.
   */
  sizeOf(from: Index, to: Index): number;
}
