// The terms of a log's entries as runs: (first index, term), one per change of term.
//
// A log of a million entries written under one leader is one run. What lies below the oldest run
// kept here is asked of the `LogView` port. Invariant: base ≤ last; runs ascend strictly in index
// and term; the entries base + 1 … last all have a known term, and so has the base itself.
import { assert } from '../wire/assert.ts';
import type { LogView } from './ports.ts';
import { UNKNOWN_TERM } from './types.ts';
import type { Index, Term, TermRun } from './types.ts';

/** Every start and every election is one run of 16 bytes; older ones can be read from the log. */
const RUNS_KEPT_MAX = 4096;

export class LogTerms {
  /** Entry `baseIndex` is gone (or is 0), but its term is still known: it can be a prevIndex. */
  baseIndex: Index;
  lastIndex: Index;
  lastTerm: Term;
  private baseTerm: Term;
  private starts: Index[] = [];
  private terms: Term[] = [];
  private readonly view: LogView;

  constructor(firstIndex: Index, baseTerm: Term, lastIndex: Index, runs: readonly TermRun[], view: LogView) {
    assert(firstIndex >= 1 && lastIndex >= firstIndex - 1, 'the log ends at or after its base');
    this.view = view;
    this.baseIndex = firstIndex - 1;
    this.baseTerm = baseTerm;
    this.lastIndex = this.baseIndex;
    this.lastTerm = baseTerm;
    if (lastIndex > this.baseIndex) this.load(runs, lastIndex);
  }

  private load(runs: readonly TermRun[], lastIndex: Index): void {
    assert(runs.length > 0 && runs[runs.length - 1]!.fromIndex <= lastIndex, 'the last entry has a run');
    for (const run of runs) {
      assert(run.fromIndex > this.baseIndex, 'runs start inside the log');
      this.pushRun(run.fromIndex, run.term);
    }
    this.lastIndex = lastIndex;
  }

  private pushRun(fromIndex: Index, term: Term): void {
    const count = this.starts.length;
    assert(count === 0 || fromIndex > this.starts[count - 1]!, 'runs ascend in index');
    assert(term >= this.lastTerm && term > 0, 'I2: terms never go down within a log');
    if (count === 0 || term > this.terms[count - 1]!) {
      this.starts.push(fromIndex);
      this.terms.push(term);
      if (count + 1 > RUNS_KEPT_MAX) this.dropOldest(RUNS_KEPT_MAX / 2);
    }
    this.lastTerm = term;
  }

  private dropOldest(count: number): void {
    this.starts = this.starts.slice(count);
    this.terms = this.terms.slice(count);
  }

  /** UNKNOWN_TERM below the base and after the end. */
  termAt(index: Index): Term {
    if (index > this.lastIndex || index < this.baseIndex) return UNKNOWN_TERM;
    if (index === this.baseIndex) return this.baseTerm;
    const count = this.starts.length;
    if (count === 0 || index < this.starts[0]!) return this.view.termAt(index);
    if (index >= this.starts[count - 1]!) return this.terms[count - 1]!;
    return this.terms[this.runOf(index)]!;
  }

  /** Position of the run that holds `index`; there is one. */
  private runOf(index: Index): number {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.starts[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Adds the entries `lastIndex + 1 … toIndex`, all of `term`. */
  append(toIndex: Index, term: Term): void {
    assert(toIndex > this.lastIndex, 'an append adds entries');
    if (term !== this.lastTerm || this.starts.length === 0) this.pushRun(this.lastIndex + 1, term);
    this.lastIndex = toIndex;
  }

  truncateAfter(index: Index): void {
    assert(index >= this.baseIndex && index <= this.lastIndex, 'a truncation ends inside the log');
    const lastTerm = this.termAt(index);
    assert(lastTerm !== UNKNOWN_TERM, 'the entry that becomes the last has a term');
    while (this.starts.length > 0 && this.starts[this.starts.length - 1]! > index) {
      this.starts.pop();
      this.terms.pop();
    }
    this.lastIndex = index;
    this.lastTerm = lastTerm;
    // Everything remembered is gone: the new last entry starts what is remembered from now on.
    if (this.starts.length === 0 && index > this.baseIndex) this.pushRun(index, lastTerm);
  }

  /** The log now begins at `firstIndex`. */
  trimBefore(firstIndex: Index): void {
    const base = firstIndex - 1;
    if (base <= this.baseIndex) return;
    assert(base <= this.lastIndex, 'a trim leaves the end where it is');
    const baseTerm = this.termAt(base);
    assert(baseTerm !== UNKNOWN_TERM, 'the entry before the first one has a term');
    let drop = 0;
    while (drop + 1 < this.starts.length && this.starts[drop + 1]! <= firstIndex) drop++;
    if (drop > 0) this.dropOldest(drop);
    this.baseIndex = base;
    this.baseTerm = baseTerm;
  }

  /** The runs of `from … to`, the first one beginning at `from`. */
  runsWithin(from: Index, to: Index): readonly TermRun[] {
    const runs: TermRun[] = [];
    let at = from;
    while (at <= to) {
      const term = this.termAt(at);
      assert(term !== UNKNOWN_TERM, 'entries that are sent have terms');
      runs.push({ fromIndex: at, term });
      at = this.lastWithTermAtMost(to, term) + 1;
    }
    return runs;
  }

  /**
   * The largest index ≤ `index` whose term is ≤ `term`, at least the base. Terms never go down
   * within a log, so this is a binary search; it is what makes conflict back-off fast (Raft §5.3).
   */
  lastWithTermAtMost(index: Index, term: Term): Index {
    assert(index >= this.baseIndex && index <= this.lastIndex, 'a search starts inside the log');
    if (this.lastTerm <= term || this.termAt(index) <= term) return index;
    let low = this.baseIndex;
    let high = index - 1;
    while (low < high) {
      const middle = low + Math.ceil((high - low) / 2);
      if (this.termAt(middle) <= term) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
