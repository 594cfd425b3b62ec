// What one group remembers of a full disk: what to tell those who wait once the cut is synced, and whether it
// is worth while to lead again.
import type { Index } from '../raft/types.ts';
import { ErrorCode } from '../wire/errors.ts';
import type { GroupEvents } from './group.ts';

interface Cut {
  readonly wasLeading: boolean;
  /** Highest entry that another node may have been sent. */
  readonly sentIndex: Index;
}

export class FullDisk {
  /** Since the last time that this replica led. */
  noted = false;
  /** A full disk has ended a term in which nothing was written: the next one is not begun at once. */
  termWasVain = false;
  #cut: Cut | null = null;

  /** The log is being cut back: nobody is answered before that is synced. */
  get cutting(): boolean {
    return this.#cut !== null;
  }

  begin(wasLeading: boolean, sentIndex: Index): void {
    this.noted = true;
    this.#cut = { wasLeading, sentIndex };
  }

  /** The cut is synced, and the log ends at `lastIndex`. */
  settle(events: GroupEvents | null, lastIndex: Index, commitIndex: Index): void {
    const cut = this.#cut;
    this.#cut = null;
    if (cut === null || !cut.wasLeading || events === null) return;
    // What another replica may have been sent can still be committed: unknown.
    events.lost(Math.max(cut.sentIndex, lastIndex) + 1, ErrorCode.STORAGE_FULL);
    events.lost(commitIndex + 1, ErrorCode.LEADERSHIP_LOST);
  }

  /** The cut cannot be made: what waited for it is unknown. */
  abandon(events: GroupEvents | null, commitIndex: Index): void {
    if (this.#cut?.wasLeading === true) events?.lost(commitIndex + 1, ErrorCode.LEADERSHIP_LOST);
    this.#cut = null;
  }
}
