// The planted bugs, their table in docs/testing.md and the places where they are planted belong together.
// Whether the seeds of the table still show them is for `npm run sim -- --mutants --from-table` to say.
import { readdirSync, readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MUTANTS } from './mutants.ts';
import { readTable, rowOf, SEEDS_MAX } from './mutants-table.ts';

const test = suite('planted bugs');

/** A claim of this project: so many planted bugs are found at least. */
const FOUND_MIN = 20;

const names = MUTANTS.map(({ name }) => name);
const table = readTable(readFileSync('docs/testing.md', 'utf8'));

/** Names in `mut('…')` in the sources below a folder. */
function plantedIn(folder: string): string[] {
  const found: string[] = [];
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!path.endsWith('.ts') || path.endsWith('.test.ts') || path.endsWith('wire/mut.ts')) continue;
    for (const [, name] of readFileSync(`${folder}/${path}`, 'utf8').matchAll(/\bmut\('([^']+)'\)/g)) found.push(name!);
  }
  return found;
}

test('every planted bug has its row in docs/testing.md, and every row its planted bug', () => {
  assert.equal(table.map(({ name }) => name), names);
  for (const { name, what, nodes } of MUTANTS) {
    const row = table.find((found) => found.name === name)!;
    assert.equal([row.what, row.nodes], [what, nodes], name);
  }
});

test('at least twenty are found, each within 200 seeds', () => {
  assert.is(SEEDS_MAX, 200);
  assert.ok(table.length >= FOUND_MIN);
  for (const { name, seed, rule } of table) {
    assert.ok(seed >= 1 && seed <= SEEDS_MAX, `${name} is found in seed ${seed}`);
    assert.not.match(rule, /^\s*$/, name);
  }
});

test('each is planted somewhere, and nothing is planted that is not listed', () => {
  const planted = new Set([...plantedIn('src'), ...plantedIn('test/sim')]);
  assert.equal(names.filter((name) => !planted.has(name)), []);
  // Some are there for the conformance suite alone, which lists its own.
  const others = readFileSync('conformance/selftest/server-mutants.ts', 'utf8');
  assert.equal([...planted].filter((name) => !names.includes(name) && !others.includes(`'srv:${name}'`)), []);
  assert.is(new Set(names).size, names.length);
});

test('a row that is written can be read again', () => {
  const [first] = MUTANTS;
  const row = rowOf(first!, { seed: 12, rule: 'assertion I1' });
  assert.equal(readTable(`| planted bug | what |\n|---|---|\n${row}\n`), [{ ...first!, seed: 12, rule: 'assertion I1' }]);
  assert.equal(readTable(rowOf(first!, null)), []);
});

test('the shipped file has no planted bug in it', () => {
  const shipped = readFileSync('dist/sidelog.cjs', 'utf8');
  assert.equal(names.filter((name) => shipped.includes(name)), []);
  assert.not.ok(shipped.includes('sidelogMutant'));
});

test.run();
