// Entries that come from a leader are checked before anything is believed: each checksum, and that they are
// what the message says.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { configBatch, inspectEntries, isConfigBatch, NOOP_BATCH } from '../../src/replica/raft-entries.ts';
import { MessageKind } from '../../src/raft/types.ts';
import type { Append, TermRun } from '../../src/raft/types.ts';
import { stampBatch } from '../../src/wire/batch.ts';
import { buildControlBatch } from '../../src/wire/batch-build.ts';
import { ControlType, encodeControl } from '../../src/replica/control.ts';
import { records } from '../replica/support.ts';

const test = suite('raft-driver/entries');

interface Entry {
  readonly batch: Buffer;
  readonly index: number;
  readonly term: number;
  readonly offset: number;
  readonly time: number;
}

const config = { voters: [{ replicaId: 1, nodeId: '01'.repeat(16) }], learners: [] };

function good(): Entry[] {
  return [
    { batch: records('a', 'b'), index: 5, term: 2, offset: 10, time: 100 },
    { batch: configBatch(config), index: 6, term: 2, offset: 12, time: 100 },
    { batch: NOOP_BATCH, index: 7, term: 3, offset: 12, time: 101 },
    { batch: records('c'), index: 8, term: 3, offset: 12, time: 105 },
  ];
}

const RUNS = [{ fromIndex: 5, term: 2 }, { fromIndex: 7, term: 3 }];

function body(entries: readonly Entry[]): Buffer {
  return Buffer.concat(entries.map(({ batch, index, term, offset, time }) => {
    const copy = Buffer.from(batch);
    stampBatch(copy, 0, index, term, offset, time);
    return copy;
  }));
}

function append(bytes: Buffer, runs: TermRun[] = RUNS, fromIndex = 5, toIndex = 8): Append {
  return {
    clusterId: '', logUid: '', from: 1, fromNode: '', to: 2, toNode: '', term: 3, kind: MessageKind.Append,
    prevIndex: fromIndex - 1, prevTerm: 2, fromIndex, toIndex, runs, configs: [], commitIndex: 0, body: bytes,
  };
}

function changed(at: number, change: Partial<Entry>): Buffer {
  const entries = good();
  entries[at] = { ...entries[at]!, ...change };
  return body(entries);
}

test('entries as their message says are taken, with the configurations among them', () => {
  assert.equal(inspectEntries(append(body(good()))), [{ index: 6, config }]);
});

test('every flipped bit is found', () => {
  const bytes = body(good());
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.is(inspectEntries(append(flipped)), null, `bit ${bit}`);
  }
});

test('indexes, terms, offsets and times that do not go on as they should are refused', () => {
  assert.is(inspectEntries(append(changed(2, { index: 8 }))), null, 'index');
  assert.is(inspectEntries(append(changed(2, { term: 2 }))), null, 'term of another run');
  assert.is(inspectEntries(append(changed(3, { offset: 13 }))), null, 'a gap in offsets');
  assert.is(inspectEntries(append(changed(3, { offset: 11 }))), null, 'an offset used twice');
  assert.is(inspectEntries(append(changed(3, { time: 99 }))), null, 'I11: time goes back');
});

test('more or fewer entries than announced, or bytes behind them, are refused', () => {
  const all = good();
  assert.is(inspectEntries(append(body(all.slice(0, 3)))), null);
  assert.is(inspectEntries(append(body([...all, { ...all[3]!, index: 9, offset: 13 }]))), null);
  assert.is(inspectEntries(append(Buffer.concat([body(all), Buffer.alloc(3)]))), null);
  assert.is(inspectEntries(append(body(all).subarray(0, -1))), null);
  assert.is(inspectEntries(append(Buffer.alloc(0))), null);
});

test('a configuration that cannot be understood is refused: it would count at once', () => {
  const strange = buildControlBatch(encodeControl({ type: ControlType.CONFIG, data: Buffer.from([9, 9]) }));
  assert.ok(isConfigBatch(strange, 0));
  assert.is(inspectEntries(append(changed(1, { batch: strange }))), null);
});

test.run();
