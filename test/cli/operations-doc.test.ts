// docs/operations.md tells every setting by all of its names, and every metric.
import { readFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { SETTINGS, environmentName, flagName } from '../../src/config.ts';
import { endAll, serve } from '../support/sidecar.ts';

const test = suite('cli/operations-doc');

test.after(endAll);

const document = readFileSync('docs/operations.md', 'utf8');
const rows = document.split('\n').filter((line) => line.startsWith('| `--'));

test('has a row for each setting, with flag, environment name and key', () => {
  for (const { key } of SETTINGS) {
    const start = `| \`--${flagName(key)}\` | \`${environmentName(key)}\` | \`${key}\` |`;
    assert.ok(rows.some((row) => row.startsWith(start)), `no row begins with ${start}`);
  }
  assert.is(rows.length, SETTINGS.length);
});

test('lists exactly the metrics that a server gives out', async () => {
  const server = await serve();
  const text = await (await fetch(`http://${server.address}/metrics`)).text();
  await server.end();
  const given = [...text.matchAll(/^# TYPE (\S+) /gm)].map(([, name]) => name!);
  const told = document.split('\n').map((line) => /^\| `((?:sidelog|process)_\w+)` \|/.exec(line)?.[1]).filter((name) => name !== undefined);
  assert.ok(given.length > 20);
  assert.equal(told.sort(), given.sort());
});

test.run();
