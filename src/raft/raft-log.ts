// What the core knows about one log: its end, its terms, its configurations, what is on disk.
//
// The entries themselves live in the segment log. `generation` counts what rewrites the tail
// (truncation, cut, installed snapshot): a completion of an earlier generation says nothing about
// the entries that now have those indexes (the ABA problem of asynchronous writes). Invariant:
// base ≤ durableIndex ≤ lastIndex.
import { assert } from '../wire/assert.ts';
import { ConfigLog } from './config-log.ts';
import type { ConfigEntry } from './config.ts';
import { LogTerms } from './log-terms.ts';
import type { LogView } from './ports.ts';
import type { Index, LogDescription, Term, TermRun } from './types.ts';
import { mut } from '../wire/mut.ts';

export class RaftLog {
  readonly view: LogView;
  terms: LogTerms;
  configs: ConfigLog;
  /** Synced on this replica. Only a `persisted` input of the current generation moves it up. */
  durableIndex: Index;
  generation = 1;

  constructor(found: LogDescription, view: LogView) {
    this.view = view;
    this.terms = termsOf(found, view);
    this.configs = new ConfigLog(found.configs);
    this.durableIndex = found.lastIndex;
  }

  get baseIndex(): Index {
    return this.terms.baseIndex;
  }

  get lastIndex(): Index {
    return this.terms.lastIndex;
  }

  get lastTerm(): Term {
    return this.terms.lastTerm;
  }

  termAt(index: Index): Term {
    return this.terms.termAt(index);
  }

  /** Adds `count` entries of `term` and returns the first one's index. */
  appendOwn(count: number, term: Term): Index {
    const from = this.terms.lastIndex + 1;
    this.terms.append(from + count - 1, term);
    return from;
  }

  /** Adds `from … to` of a leader's range; `runs` and `configs` may begin before `from`. */
  appendRange(from: Index, to: Index, runs: readonly TermRun[], configs: readonly ConfigEntry[]): void {
    assert(from === this.terms.lastIndex + 1, 'entries follow each other without a gap');
    for (let i = 0; i < runs.length; i++) {
      const runTo = i + 1 < runs.length ? Math.min(runs[i + 1]!.fromIndex - 1, to) : to;
      if (runTo >= from && runTo > this.terms.lastIndex) this.terms.append(runTo, runs[i]!.term);
    }
    for (const entry of configs) if (entry.index >= from && entry.index <= to) this.configs.append(entry);
    assert(this.terms.lastIndex === to, 'the runs cover the range');
  }

  /** Drops everything after `index`. Whether that is allowed is the caller's business. */
  truncateAfter(index: Index): void {
    this.terms.truncateAfter(index);
    this.configs.truncateAfter(index);
    this.durableIndex = Math.min(this.durableIndex, index);
    this.generation++;
  }

  /** True when the completion is about entries that are in the log now. */
  persisted(index: Index, term: Term, generation: number): boolean {
    if (generation !== this.generation && !mut('stale-completion-accepted')) return false;
    if (index <= this.durableIndex) return true;
    if (mut('stale-completion-accepted') && index > this.terms.lastIndex) index = this.terms.lastIndex;
    else if (index > this.terms.lastIndex || this.terms.termAt(index) !== term) return mut('stale-completion-accepted');
    this.durableIndex = index;
    return true;
  }

  trimBefore(firstIndex: Index): void {
    this.terms.trimBefore(firstIndex);
    this.configs.trimBefore(firstIndex);
  }

  /** Another log, all of it durable, has taken this one's place. */
  replace(installed: LogDescription): void {
    this.terms = termsOf(installed, this.view);
    this.configs = new ConfigLog(installed.configs);
    this.durableIndex = installed.lastIndex;
    this.generation++;
  }

  /** Raft §5.4.1: the log that ends in the later term, or is longer in the same, is more up to date. */
  isUpToDate(lastIndex: Index, lastTerm: Term): boolean {
    if (lastTerm !== this.terms.lastTerm) return lastTerm > this.terms.lastTerm;
    return lastIndex >= this.terms.lastIndex;
  }
}

function termsOf(found: LogDescription, view: LogView): LogTerms {
  return new LogTerms(found.firstIndex, found.baseTerm, found.lastIndex, found.runs, view);
}
