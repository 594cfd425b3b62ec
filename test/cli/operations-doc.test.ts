// docs/operations.md tells every setting by all of its names.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SETTINGS, environmentName, flagName } from '../../src/config.ts';

const test = suite('cli/operations-doc');
const rows = readFileSync('docs/operations.md', 'utf8').split('\n').filter((line) => line.startsWith('| `--'));

test('has a row for each setting, with flag, environment name and key', () => {
  for (const { key } of SETTINGS) {
    const start = `| \`--${flagName(key)}\` | \`${environmentName(key)}\` | \`${key}\` |`;
    assert.ok(rows.some((row) => row.startsWith(start)), `no row begins with ${start}`);
  }
  assert.is(rows.length, SETTINGS.length);
});

test.run();
