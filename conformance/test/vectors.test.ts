// The check of a codec against the vectors: a right one passes, and each kind of mistake is found.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { checkRow, questions } from '../vectors/check-codec.ts';
import type { Question } from '../vectors/check-codec.ts';

const test = suite('conformance/vectors');
const all = questions();

/** A codec that knows the answers. */
function right({ line, row }: Question): Record<string, unknown> {
  if (line.do === 'encode') return { hex: row.hex };
  const reader = row.expect?.reader ?? row.expect?.produce;
  if (row.kind === 'batch') return reader === 'OK' ? { fields: row.fields } : { error: reader };
  if (row.fields !== undefined) return { fields: row.fields };
  return { error: row.expect?.error ?? null, ...(row.expect?.field ? { field: row.expect.field } : {}) };
}

test('all valid rows are asked both ways, and every bad one that its bytes alone give away', () => {
  assert.ok(all.length > 600, String(all.length));
  assert.is(new Set(all.map(({ line }) => `${line.do} ${line.id}`)).size, all.length);
  const ways = all.filter(({ row }) => row.fields !== undefined && row.kind !== 'batch');
  assert.is(ways.filter(({ line }) => line.do === 'decode').length, ways.filter(({ line }) => line.do === 'encode').length);
  assert.not.ok(all.some(({ row }) => row.expect?.seen_by === 'server'));
});

test('a codec that is right passes every question', () => {
  for (const question of all) assert.equal(checkRow(question, { n: 1, ...right(question) }), { status: 'pass' }, question.line.id);
});

test('the order of keys does not matter, and skipping is told', () => {
  const question = all.find(({ line }) => line.id === 'golden-hello-request')!;
  const { header, payload } = question.row.fields as { header: object; payload: object };
  assert.is(checkRow(question, { fields: { payload: Object.fromEntries(Object.entries(payload).reverse()), header } }).status, 'pass');
  assert.equal(checkRow(question, { skip: 'later' }), { status: 'skip', why: 'later' });
});

test('a wrong answer to any question fails it', () => {
  for (const question of all) {
    const { line, row } = question;
    const wrong = line.do === 'encode' ? [{ hex: `${row.hex}00` }, {}]
      : 'error' in right(question) ? [{ fields: {} }, ...(right(question).error === null ? [] : [{ error: 'INTERNAL' }]), {}]
      : [{ fields: { ...row.fields, more: 1 } }, { error: 'MALFORMED' }, {}];
    for (const answer of wrong) assert.is(checkRow(question, answer).status, 'fail', `${line.do} ${line.id} ${JSON.stringify(answer).slice(0, 80)}`);
  }
});

test('a wrong name of the field fails', () => {
  const named = all.filter(({ row }) => row.expect?.field !== undefined);
  assert.ok(named.length > 100);
  for (const question of named) {
    assert.is(checkRow(question, { error: question.row.expect!.error, field: 'another' }).status, 'fail', question.line.id);
    assert.is(checkRow(question, { error: question.row.expect!.error }).status, 'pass', 'not naming it is for servers to do');
  }
});

test.run();
