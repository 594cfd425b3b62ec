// Runs test/raft/scenarios/*.txt: stories of a few replicas, told in commands and what they print.
//
// `REWRITE=1 node test/run.mjs raft/scenarios` prints anew what the commands do now. Read each
// difference: keep it only if you understand what caused it and want it.
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rewriteScript } from './support/script.ts';

const FOLDER = join(process.cwd(), 'test/raft/scenarios');
const test = suite('raft/scenarios');
const names = readdirSync(FOLDER).filter((name) => name.endsWith('.txt')).sort();

for (const name of names) {
  test(`${name.slice(0, -4).replaceAll('_', ' ')}`, () => {
    const path = join(FOLDER, name);
    const text = readFileSync(path, 'utf8');
    const now = rewriteScript(text);
    if (process.env['REWRITE'] === '1') writeFileSync(path, now);
    else assert.fixture(now, text);
  });
}

test('there are at least forty situations', () => {
  assert.ok(names.length >= 40, `${names.length}`);
});

test.run();
