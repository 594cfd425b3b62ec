// Judges a history against what the log finally holds. Since every value is unique, each rule is one
// pass over the records: no search for an order that explains them.
// Rules: acked present once at its offset; never-stored absent; unknown at most once (idempotent) or
// once per unknown sending; dense offsets; whole batches; real-time order; reads are prefixes.
import type { Append, FinalLog, LogHistory, Seen } from './history.ts';

export interface Breach {
  readonly rule: 'dense' | 'stranger' | 'torn' | 'lost' | 'moved' | 'doubled' | 'undead' | 'order' | 'read' | 'stale-read';
  readonly text: string;
}

/** Breaches shown of each rule. */
const SHOWN_MAX = 5;

export function check(history: LogHistory, final: FinalLog): Breach[] {
  const breaches: Breach[] = [];
  const counts = new Map<string, number>();
  const report = (rule: Breach['rule'], text: string): void => {
    const n = (counts.get(rule) ?? 0) + 1;
    counts.set(rule, n);
    if (n <= SHOWN_MAX) breaches.push({ rule, text: `${history.log}: ${text}` });
  };
  const places = placesOf(history, final, report);
  checkDense(final, report);
  for (const append of history.appends.values()) checkAppend(append, places.get(append.mark) ?? [], final, report);
  checkOrder(history, places, report);
  checkReads(history, final, report);
  for (const [rule, n] of counts) if (n > SHOWN_MAX) breaches.push({ rule: rule as Breach['rule'], text: `${history.log}: ${n - SHOWN_MAX} more of this kind` });
  return breaches;
}

type ReportBreach = (rule: Breach['rule'], text: string) => void;

function split(value: string): { mark: string; index: number } {
  const at = value.lastIndexOf('#');
  return { mark: value.slice(0, at), index: Number(value.slice(at + 1)) };
}

/** mark → offsets at which whole copies of the batch begin. */
function placesOf(history: LogHistory, final: FinalLog, report: ReportBreach): Map<string, bigint[]> {
  const places = new Map<string, bigint[]>();
  const { records } = final;
  for (let i = 0; i < records.length; ) {
    const { mark, index } = split(records[i]!.value);
    const append = history.appends.get(mark);
    if (append === undefined) {
      report('stranger', `the record at ${records[i]!.offset} (${records[i]!.value}) was sent by nobody`);
      i++;
      continue;
    }
    let n = 0;
    while (n < append.count && records[i + n]?.value === `${mark}#${n}`) n++;
    if (index !== 0 || n !== append.count) {
      report('torn', `the batch ${mark} of ${append.count} records is there in part: record ${index} at ${records[i]!.offset}`);
      i += Math.max(1, n);
      continue;
    }
    places.set(mark, [...(places.get(mark) ?? []), records[i]!.offset]);
    i += n;
  }
  return places;
}

function checkDense(final: FinalLog, report: ReportBreach): void {
  let next = final.logStart;
  for (const { offset } of final.records) {
    if (offset !== next) report('dense', `after the offset ${next - 1n} comes ${offset}`);
    next = offset + 1n;
  }
  if (next !== final.committedEnd) report('dense', `committed_end is ${final.committedEnd}, the last record is at ${next - 1n}`);
}

function checkAppend(append: Append, places: readonly bigint[], final: FinalLog, report: ReportBreach): void {
  const acked = append.sendings.filter(({ outcome }) => outcome === 'ok');
  const unknown = append.sendings.filter(({ outcome }) => outcome === 'unknown');
  const trimmed = acked.some(({ baseOffset }) => baseOffset !== null && baseOffset < final.logStart);
  if (trimmed) return;
  if (acked.length > 0 && places.length === 0) {
    report('lost', `${append.mark} was acked at ${acked[0]!.baseOffset} and is not there`);
    return;
  }
  for (const { baseOffset } of acked) {
    if (baseOffset !== null && !places.includes(baseOffset)) report('moved', `${append.mark} was acked at ${baseOffset} and lies at ${places.join(', ')}`);
  }
  if (acked.length === 0 && unknown.length === 0 && places.length > 0) {
    report('undead', `every sending of ${append.mark} was refused without effect (${append.sendings.map(({ status }) => status).join(', ')}), and it lies at ${places.join(', ')}`);
  }
  const allowed = append.idempotent ? 1 : new Set(acked.map(({ baseOffset }) => baseOffset)).size + unknown.length;
  if (places.length > Math.max(allowed, 1) || (places.length > allowed && acked.length + unknown.length > 0)) {
    report('doubled', `${append.mark} lies at ${places.join(', ')}: ${places.length} times, at most ${allowed} are possible`);
  }
}

/** An append that was acked before another began lies before it. */
function checkOrder(history: LogHistory, places: ReadonlyMap<string, readonly bigint[]>, report: ReportBreach): void {
  interface Ack { readonly mark: string; readonly invoked: number; readonly ended: number; readonly offset: bigint }
  const acks: Ack[] = [];
  for (const append of history.appends.values()) {
    // A batch that was sent several times may lie where an earlier sending put it.
    if (append.sendings.length !== 1) continue;
    const { outcome, baseOffset, invoked, ended } = append.sendings[0]!;
    if (outcome === 'ok' && baseOffset !== null && places.has(append.mark)) acks.push({ mark: append.mark, invoked, ended, offset: baseOffset });
  }
  const byEnd = [...acks].sort((a, b) => a.ended - b.ended);
  const byStart = [...acks].sort((a, b) => a.invoked - b.invoked);
  let at = 0;
  let last: Ack | null = null;
  for (const ack of byStart) {
    for (; at < byEnd.length && byEnd[at]!.ended < ack.invoked; at++) if (last === null || byEnd[at]!.offset > last.offset) last = byEnd[at]!;
    if (last !== null && last.offset > ack.offset) report('order', `${ack.mark} (${ack.offset}) was sent after ${last.mark} (${last.offset}) had been acked`);
  }
}

function checkReads(history: LogHistory, final: FinalLog, report: ReportBreach): void {
  const first = final.records[0]?.offset ?? final.logStart;
  const at = (offset: bigint): Seen | undefined => final.records[Number(offset - first)];
  const acks = [...history.appends.values()].flatMap((append) => append.sendings
    .filter(({ outcome, baseOffset }) => outcome === 'ok' && baseOffset !== null)
    .map(({ ended, baseOffset }) => ({ ended, end: baseOffset! + BigInt(append.count) })))
    .sort((a, b) => a.ended - b.ended);
  let next = 0;
  let acked = 0n;
  for (const read of [...history.reads].sort((a, b) => a.invoked - b.invoked)) {
    for (; next < acks.length && acks[next]!.ended < read.invoked; next++) if (acks[next]!.end > acked) acked = acks[next]!.end;
    if (read.committedEnd < acked) report('stale-read', `a read saw committed_end ${read.committedEnd} after ${acked} had been acked`);
    for (const { offset, value } of read.records) {
      if (offset < final.logStart) continue;
      const held = at(offset);
      if (held?.value !== value) report('read', `a reader saw ${value} at ${offset}, where ${held?.value ?? 'nothing'} is now`);
    }
  }
}
