// The README's commands as a new user would type them, with a small input: real text in over TLS and
// plaintext, a kill -9 and a restart in between, and the same SHA-256 out.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUILT, cleanEnvironment, hasProgram, skipUnless, temporaryFolder } from '../support/sidecar.ts';

const test = suite('cli/readme');
const readme = readFileSync('README.md', 'utf8');

/** The first shell commands after a heading. */
function commandsUnder(heading: string): string {
  const section = readme.slice(readme.indexOf(`## ${heading}`));
  return /```sh\n([\s\S]*?)```/.exec(section.slice(0, section.indexOf('\n## ', 4)))![1]!;
}

function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  return new Promise((done) => server.once('listening', () => {
    const { port } = server.address() as AddressInfo;
    server.close(() => done(port));
  }));
}

test('real text comes back over TLS, plaintext, kill -9 and a restart, compared by SHA-256', async () => {
  const needed = ['bash', 'openssl', 'sha256sum', 'mktemp'];
  if (!skipUnless(needed.every(hasProgram), `needs ${needed.join(', ')}`)) return;
  const folder = temporaryFolder();
  const port = await freePort();
  const text = readFileSync('docs/protocol.md', 'utf8').repeat(8);
  writeFileSync(join(folder, 'text'), Buffer.concat([Buffer.from(text), Buffer.from([0, 255, 13, 10, 10]), Buffer.from('end\n')]));
  const script = commandsUnder('Your data comes back')
    .replace('$PWD/dist/sidelog.cjs', BUILT)
    .replace(/^find .*$/m, `cp ${join(folder, 'text')} input.txt`)
    .replaceAll('8499', String(port))
    .replaceAll('node $SIDELOG', `${process.execPath} $SIDELOG`);
  assert.match(script, `127.0.0.1:${port}`);
  const { stdout, stderr, status } = spawnSync('bash', ['-e', '-c', `${script}\nwait $PID`], {
    encoding: 'utf8', timeout: 60_000,
    env: cleanEnvironment({ TMPDIR: folder }),
  });
  assert.is(status, 0, stderr);
  const sums = [...stdout.matchAll(/^([0-9a-f]{64}) /gm)].map((match) => match[1]!);
  assert.is(sums.length, 2, stdout);
  assert.is(sums[0], sums[1]);
  const produced = [...stdout.matchAll(/"records":(\d+)/g)].map((match) => Number(match[1]));
  assert.is(produced.length, 2, stdout);
  assert.ok(produced[0]! > 1000 && produced[1]! > 1000);
});

test.run();
