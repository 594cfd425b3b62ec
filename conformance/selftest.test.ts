// The suite can fail: the selftest's quick gate, which takes other cases and mutants every time.
// `npm run conformance:selftest` is all of it, and `conformance:verdicts` runs every case on sound servers.
import { existsSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildTestServer, misfits } from './selftest/build-server.ts';
import type { Gate } from './selftest/gates.ts';
import { SecondServer } from './selftest/second-server.ts';
import { nothingFound } from './selftest/saved.ts';
import { selftest } from './selftest/selftest.ts';

const test = suite('conformance/selftest');
/** Others are tried every time: a failure prints the seed. */
const SEED = Number(process.env['SEED'] ?? Date.now() % 100_000);

test('every fault that the selftest plants into our server has its place in the sources', () => {
  assert.equal(misfits(process.cwd()), [], 'the line has changed: adapt conformance/selftest/mutants-*.ts, so that the fault is still planted');
});

test('sound servers pass, and some of the mutants and the servers that do nothing right are caught', async () => {
  assert.ok(existsSync('conformance/second/server.py'));
  if (!SecondServer.isThere()) console.log('# skipped: the second implementation, there is no python3');
  const log: string[] = [];
  const gates: Gate[] = await selftest(await buildTestServer(process.cwd()), {
    mode: 'quick', parts: ['plain', 'second', 'nulls', 'proxy', 'faults'], seed: SEED, only: [], found: nothingFound(), log: (line) => void log.push(line),
  });
  const broken = gates.filter(({ problems }) => problems.length > 0);
  assert.equal(broken, [], `SEED=${SEED} tries the same again\n${log.filter((line) => !line.startsWith('caught')).join('\n')}`);
});

test.run();
