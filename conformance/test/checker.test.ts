// The history checker of the crash kit: a sound history has no breach, each kind of damage has its own.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { check } from '../crash/checker.ts';
import { begin, newHistory } from '../crash/history.ts';
import type { FinalLog, LogHistory, Outcome, Seen } from '../crash/history.ts';
import { Prng } from '../engine/prng.ts';

const test = suite('conformance/checker');
const SEED = Number(process.env['SEED'] ?? 1);

interface Story {
  readonly history: LogHistory;
  readonly records: Seen[];
}

/** What an honest log would show after these sendings, in this order. */
function story(): Story {
  return { history: newHistory('t'), records: [] };
}

let clock = 0;
function send({ history, records }: Story, mark: string, count: number, outcome: Outcome, isStored: boolean, idempotent = false): void {
  const sending = begin(history, mark, count, idempotent, clock++);
  sending.outcome = outcome;
  sending.ended = outcome === 'unknown' ? Infinity : clock++;
  sending.status = outcome === 'ok' ? 'OK' : outcome === 'none' ? 'OFFSET_MISMATCH' : 'no answer';
  if (outcome === 'ok') sending.baseOffset = BigInt(records.length);
  if (isStored) for (let i = 0; i < count; i++) records.push({ offset: BigInt(records.length), value: `${mark}#${i}` });
}

const finalOf = (records: readonly Seen[]): FinalLog => ({ logStart: 0n, committedEnd: BigInt(records.length), records });
const renumbered = (records: readonly Seen[]): Seen[] => records.map(({ value }, i) => ({ offset: BigInt(i), value }));
const rules = ({ history }: Story, final: FinalLog): string[] => [...new Set(check(history, final).map(({ rule }) => rule))].sort();

function example(): Story {
  const it = story();
  send(it, 'a', 2, 'ok', true);
  send(it, 'b', 1, 'none', false);
  send(it, 'c', 3, 'unknown', true);
  send(it, 'd', 1, 'unknown', false);
  send(it, 'e', 2, 'ok', true);
  it.history.reads.push({ invoked: clock++, ended: clock++, committedEnd: BigInt(it.records.length), records: it.records.slice(1, 4) });
  return it;
}

test('a sound history has no breach, with unknown ones there or not', () => {
  const it = example();
  assert.equal(rules(it, finalOf(it.records)), []);
});

test('an acked batch that is gone is lost', () => {
  const it = example();
  assert.equal(rules(it, finalOf(it.records.slice(0, -2))), ['lost']);
});

test('an acked batch at another offset has moved', () => {
  const it = example();
  const [a0, a1, ...rest] = it.records;
  assert.ok(rules(it, finalOf(renumbered([...rest, a0!, a1!]))).includes('moved'));
});

test('a batch that was refused without effect and is there is undead', () => {
  const it = example();
  assert.equal(rules(it, finalOf([...it.records, { offset: BigInt(it.records.length), value: 'b#0' }])), ['undead']);
});

test('a batch that is there twice is doubled', () => {
  const it = example();
  const again = it.records.slice(0, 2).map(({ value }, i) => ({ offset: BigInt(it.records.length + i), value }));
  assert.equal(rules(it, finalOf([...it.records, ...again])), ['doubled']);
});

test('an idempotent batch is there once however often it was sent; a plain one once for each unknown sending', () => {
  for (const [idempotent, expected] of [[true, ['doubled']], [false, []]] as const) {
    const it = story();
    send(it, 'a', 1, 'unknown', true, idempotent);
    send(it, 'a', 1, 'unknown', true, idempotent);
    assert.equal(rules(it, finalOf(it.records)), expected);
  }
});

test('a part of a batch is torn, a value that nobody sent is a stranger, a gap is not dense', () => {
  const it = example();
  assert.ok(rules(it, finalOf(renumbered(it.records.filter(({ value }) => value !== 'c#1')))).includes('torn'));
  assert.ok(rules(it, finalOf([...it.records, { offset: BigInt(it.records.length), value: 'z#0' }])).includes('stranger'));
  const gap = [...it.records.slice(0, 5), ...it.records.slice(5).map(({ offset, value }) => ({ offset: offset + 1n, value }))];
  assert.ok(rules(it, { ...finalOf(gap), committedEnd: 8n }).includes('dense'));
});

test('a batch sent after another was acked and lying before it breaks the order', () => {
  const it = story();
  send(it, 'a', 1, 'ok', true);
  send(it, 'b', 1, 'ok', true);
  const [a, b] = [...it.history.appends.values()];
  a!.sendings[0]!.baseOffset = 1n;
  b!.sendings[0]!.baseOffset = 0n;
  assert.equal(rules(it, finalOf([{ offset: 0n, value: 'b#0' }, { offset: 1n, value: 'a#0' }])), ['order']);
});

test('a read of what is not there now, or that missed what was acked before it, is wrong', () => {
  const it = example();
  it.history.reads.push({ invoked: clock++, ended: clock++, committedEnd: 7n, records: [{ offset: 2n, value: 'x#0' }] });
  assert.equal(rules(it, finalOf(it.records)), ['read']);
  const other = example();
  other.history.reads.push({ invoked: clock++, ended: clock++, committedEnd: 2n, records: [] });
  assert.equal(rules(other, finalOf(other.records)), ['stale-read']);
});

test('of a thousand random sound histories none has a breach, and each one that is damaged has', () => {
  const random = new Prng(SEED);
  for (let run = 0; run < 1_000; run++) {
    const it = story();
    for (let i = 0; i < 12; i++) {
      const outcome = (['ok', 'ok', 'none', 'unknown'] as const)[random.below(4)]!;
      send(it, `m${i}`, random.between(1, 3), outcome, outcome === 'ok' || (outcome === 'unknown' && random.below(2) === 0));
    }
    assert.equal(check(it.history, finalOf(it.records)), [], `SEED=${SEED}, run ${run}`);
    const acked = [...it.history.appends.values()].filter(({ sendings }) => sendings[0]!.outcome === 'ok');
    if (acked.length === 0) continue;
    const { mark } = acked[random.below(acked.length)]!;
    const without = renumbered(it.records.filter(({ value }) => !value.startsWith(`${mark}#`)));
    assert.ok(check(it.history, finalOf(without)).length > 0, `SEED=${SEED}, run ${run}: ${mark} is gone and nobody says so`);
  }
});

test.run();
