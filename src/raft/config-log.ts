// The configuration entries of one log, by index.
//
// A replica uses the newest configuration in its log, committed or not (thesis §4.1), so appending
// an entry changes the configuration and truncating it brings the one before back. All entries that
// the log still holds are kept (they are few), because a leader that ships old ranges names them.
import { assert } from '../wire/assert.ts';
import { checked, EMPTY_CONFIG } from './config.ts';
import type { ConfigEntry } from './config.ts';
import type { Index } from './types.ts';

const UNCONFIGURED: ConfigEntry = { index: 0, config: EMPTY_CONFIG };

export class ConfigLog {
  private entries: ConfigEntry[];
  /** The configuration that counts now. */
  latest: ConfigEntry = UNCONFIGURED;

  constructor(entries: readonly ConfigEntry[]) {
    this.entries = [];
    for (const entry of entries) this.append(entry);
  }

  append(entry: ConfigEntry): void {
    assert(
      this.entries.length === 0 || entry.index > this.latest.index,
      'configuration entries ascend by index',
    );
    checked(entry.config);
    this.entries.push(entry);
    this.latest = entry;
  }

  /** Forgets configurations after `index`: the one before counts again. */
  truncateAfter(index: Index): void {
    while (this.latest.index > index) {
      this.entries.pop();
      this.latest = this.entries[this.entries.length - 1] ?? UNCONFIGURED;
    }
  }

  /** Forgets what the log no longer holds, save the newest entry below: it is still in force there. */
  trimBefore(firstIndex: Index): void {
    let keepFrom = 0;
    while (keepFrom + 1 < this.entries.length && this.entries[keepFrom + 1]!.index < firstIndex) keepFrom++;
    if (keepFrom > 0) this.entries = this.entries.slice(keepFrom);
  }

  /** Configuration entries in `from … to`, ascending. Allocates only when there are any. */
  within(from: Index, to: Index): readonly ConfigEntry[] {
    if (this.latest.index < from) return NO_ENTRIES;
    return this.entries.filter((entry) => entry.index >= from && entry.index <= to);
  }

  /** The newest entry at or before `commitIndex`, and all after it: each may be the one that counts. */
  notYetSuperseded(commitIndex: Index): readonly ConfigEntry[] {
    let from = this.entries.length - 1;
    while (from > 0 && this.entries[from]!.index > commitIndex) from--;
    return this.entries.slice(Math.max(from, 0));
  }

  all(): readonly ConfigEntry[] {
    return this.entries;
  }
}

const NO_ENTRIES: readonly ConfigEntry[] = [];
