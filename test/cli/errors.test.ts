// What the commands say and how they exit when something is wrong: one line that names it, and the exit
// codes of `sidelog --help`.
import { openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { endAll, exitOf, run, serve, skipUnless, spawnSidelog, temporaryFolder } from '../support/sidecar.ts';
import type { RunResult, Server } from '../support/sidecar.ts';

const test = suite('cli/errors');

let server: Server;

test.before(async () => {
  server = await serve();
});
test.after(async () => {
  await server.end();
  await endAll();
});

function sidelog(args: string[], input?: string | Buffer): Promise<RunResult> {
  return run(args, { input, env: { SIDELOG_TO: server.address } });
}

/** Nothing listens there: whatever is checked first must be checked before. */
const NOWHERE = '127.0.0.1:1';

test('wrong usage exits 2 with one line, before anything is connected', async () => {
  const wrong: [string[], string][] = [
    [['bogus'], 'there is no command "bogus"; see: sidelog --help'],
    [['log'], 'log needs one of: create, list, describe, alter, delete, undelete, trim'],
    [['produce'], 'something is missing; usage: sidelog produce LOG [OPTIONS]'],
    [['produce', 'a', 'b'], '"b" is one too many; usage: sidelog produce LOG [OPTIONS]'],
    [['produce', 'a', '--nope'], "Unknown option '--nope'; see: sidelog produce --help"],
    [['produce', 'a', '--batch', '0'], '--batch: "0" is not accepted; expected a whole number from 1 to 65535'],
    [['produce', 'a', '--expect', '-1'], "Option '--expect' argument is ambiguous"],
    [['produce', 'a', '--expect', '1', '--producer', 'p'], '--expect and --producer do not go together'],
    [['produce', 'a', '--input', 'xml'], '--input: "xml" is not accepted; expected lines or json'],
    [['produce', 'a', '--compression', 'lz4'], '--compression: "lz4" is not accepted; expected none, gzip or zstd'],
    [['consume', 'a', '--format', 'xml'], '--format: "xml" is not accepted; expected value or json'],
    [['consume', 'a', '--offset', 'here'], '--offset: "here" is not accepted; expected N, earliest, next, time:ISO or position:NAME'],
    [['consume', 'a', '--offset', 'time:now'], '--offset: "time:now" is not accepted; expected an ISO 8601 time such as 2026-01-31T12:00:00Z'],
    [['consume', 'a', '--count', 'ten'], '--count: "ten" is not accepted; expected a whole number from 0'],
    [['log', 'create', 'a', '--segment-bytes', 'big'], '--segment-bytes: "big" is not accepted; expected a size such as 4096, 64KiB, 64MiB or 1GiB'],
    [['log', 'create', 'a', '--durability', 'none'], '--durability: "none" is not accepted; expected fsync, interval:TIME or memory'],
    [['log', 'alter', 'a'], 'nothing to change: give --retain-bytes, --retain-time, --compressions'],
    [['log', 'undelete', 'a'], '"a" is not a log_uid: it has 32 hex digits; see: sidelog log list --deleted'],
    [['log', 'trim', 'a', 'b'], '"b" is not an offset; expected a whole number'],
    [['position', 'put', 'a', 'p', 'x'], '"x" is not an offset; expected a whole number'],
    [['consume', 'a', '--from', 'nowhere'], '--to: address "nowhere" is not accepted; expected HOST:PORT, [IPV6]:PORT, unix:PATH or /PATH'],
    [['consume', 'a', '--tls-ca', '/nope'], "--tls-ca /nope: cannot be read: ENOENT: no such file or directory, open '/nope'"],
    [['consume', 'a', '--tls-cert', 'x'], '--tls-cert and --tls-key go together: give both'],
    [['verify', '--data-dir', '/nope'], '--data-dir /nope: there is no such directory'],
    [['verify', '--data-dir', '/'], '--data-dir /: this is not a data directory of sidelog'],
    [['dump', '/nope'], '/nope: there is no such file'],
  ];
  const results = await Promise.all(wrong.map(([args]) => run(args, { env: { SIDELOG_TO: NOWHERE } })));
  for (const [i, [args, message]] of wrong.entries()) {
    const { code, stderr, stdout } = results[i]!;
    assert.is(code, 2, `${args.join(' ')}: ${stderr}`);
    assert.ok(stderr.startsWith(`sidelog: ${message}`), `${args.join(' ')}: ${stderr}`);
    assert.is(stdout, '');
  }
});

test('a token goes over plaintext to nobody but this host', async () => {
  const { code, stderr } = await run(['consume', 'default', '--from', '192.0.2.1:8400'], { env: { SIDELOG_TOKEN: 'secret' } });
  assert.is(code, 2);
  assert.is(stderr, 'sidelog: --token: would go to 192.0.2.1:8400 unencrypted; add --tls or --tls-ca FILE\n');
});

test('nobody listening is said at once, with exit code 3', async () => {
  const started = performance.now();
  const results = await Promise.all([
    run(['consume', 'default', '--from', NOWHERE]),
    run(['produce', 'default', '--to', 'unix:/nowhere/at.all']),
    run(['status', '--to', NOWHERE]),
  ]);
  for (const { code, stderr } of results) {
    assert.is(code, 3, stderr);
    assert.match(stderr, /^sidelog: cannot reach a sidelog server at [^\n]+\n$/);
  }
  assert.ok(performance.now() - started < 8000, 'it did not go on trying');
});

test('a log that is not there, or has no such name, is said with what to do', async () => {
  const missing = await sidelog(['produce', 'missing'], 'a\n');
  assert.is(missing.code, 1);
  assert.is(missing.stderr, 'sidelog: LOG_NOT_FOUND: log not found; see: sidelog log create\n');
  assert.match(missing.stdout, '"records":0,"firstOffset":null,"lastOffset":null');
  const wrong: [string[], string][] = [
    [['log', 'create', 'a b'], 'LOG: "a b"'],
    [['produce', ''], 'LOG: ""'],
    [['consume', '../etc'], 'LOG: "../etc"'],
    [['position', 'put', 'default', '.hidden', '1'], 'NAME: ".hidden"'],
    [['produce', 'default', '--producer', 'ä'], '--producer: "ä"'],
    [['log', 'undelete', '0'.repeat(32), '--as', 'x'.repeat(201)], `--as: "${'x'.repeat(201)}"`],
  ];
  const results = await Promise.all(wrong.map(([args]) => run(args)));
  for (const [i, [, what]] of wrong.entries()) {
    const { code, stderr } = results[i]!;
    assert.is(code, 2, stderr);
    assert.is(stderr, `sidelog: ${what} is not a name; expected 1 to 200 of the characters A-Z a-z 0-9 . _ - and no dot in front\n`);
  }
});

test('a line that no batch can hold is named; what came before it is stored', async () => {
  const line = 'x'.repeat(1024 * 1024);
  for (const options of [[], ['--expect', '1']]) {
    const { code, stdout, stderr } = await sidelog(['produce', 'default', ...options], `before\n${line}\nafter\n`);
    assert.is(code, 1);
    assert.is(stderr, 'sidelog: line 2: a record of 1048589 bytes does not fit a batch of 1048576\n');
    assert.match(stdout, '"records":1,');
  }
  assert.is((await sidelog(['consume', 'default'])).stdout, 'before\nbefore\n');
});

test('wrong JSON is named by its line; what came before it is stored', async () => {
  const wrong: [string | Buffer, RegExp][] = [
    ['{bad', /^sidelog: line 2: not JSON: /],
    ['[1]', /^sidelog: line 2: expected an object with "value"/],
    ['{"key":"k"}', /^sidelog: line 2: "value" is missing/],
    ['{"value":1}', /^sidelog: line 2: "value" must be a string, null or/],
    ['{"value":"v","vlaue":1}', /^sidelog: line 2: unknown field "vlaue"/],
    ['{"value":{"base64":"!!"}}', /^sidelog: line 2: "value" is not base64/],
    ['{"value":"v","headers":[["a"]]}', /^sidelog: line 2: each header must be a pair/],
    ['{"value":"v","clientTime":"now"}', /^sidelog: line 2: "clientTime" must be/],
    [`{"value":"v","key":"${'k'.repeat(70_000)}"}`, /^sidelog: line 2: a record key has at most 65,535 bytes/],
    [Buffer.from([0x22, 0xff, 0x22]), /^sidelog: line 2: not UTF-8/],
  ];
  await sidelog(['log', 'create', 'wrong-json']);
  const results = await Promise.all(
    wrong.map(([line]) => sidelog(['produce', 'wrong-json', '--input', 'json'], Buffer.concat([Buffer.from('{"value":"ok"}\n'), Buffer.from(line), Buffer.from('\n')]))),
  );
  for (const [i, [, message]] of wrong.entries()) {
    assert.is(results[i]!.code, 1);
    assert.match(results[i]!.stderr, message);
    assert.match(results[i]!.stdout, '"records":1,');
  }
});

test('stdin that cannot be read is a failure, not an empty input', async () => {
  const folder = openSync(temporaryFolder(), 'r');
  const { code, stderr } = await run(['produce', 'default', '--to', server.address], { stdio: [folder, 'pipe', 'pipe'] });
  assert.is(code, 1);
  assert.is(stderr, 'sidelog: cannot read stdin: it is a directory\n');
});

test('a reader of stdout that goes away ends the command quietly', async () => {
  await sidelog(['log', 'create', 'long']);
  await sidelog(['produce', 'long'], 'some text that is long enough\n'.repeat(20_000));
  for (const args of [['consume', 'long'], ['consume', 'long', '--format', 'json']]) {
    const child = spawnSidelog([...args, '--from', server.address]);
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdout!.once('data', () => child.stdout!.destroy());
    assert.is(await exitOf(child), 0, stderr);
    assert.is(stderr, '');
  }
});

test('a full disk behind stdout is a failure', async () => {
  if (!skipUnless(process.platform === 'linux', 'there is no /dev/full')) return;
  const { code, stderr } = await run(['log', 'list', '--to', server.address], { stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'] });
  assert.is(code, 1);
  assert.match(stderr, /^sidelog: cannot write to stdout: ENOSPC/);
});

test('a file behind stdout gets every byte', async () => {
  const file = join(temporaryFolder(), 'out');
  const { code } = await run(['consume', 'long', '--from', server.address], { stdio: ['ignore', openSync(file, 'w'), 'pipe'] });
  assert.is(code, 0);
  assert.is(readFileSync(file, 'utf8'), 'some text that is long enough\n'.repeat(20_000));
});

test('the server dying in the middle of produce is exit code 1, with what was acked', async () => {
  const own = await serve();
  const producer = spawnSidelog(['produce', 'default', '--to', own.address, '--timeout', '1s']);
  let [stdout, stderr] = ['', ''];
  producer.stdout!.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  producer.stderr!.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  producer.stdin!.write('acked\n');
  const { connect } = await import('../../src/wire/client/client.ts');
  const client = await connect({ address: own.address });
  const { records } = await client.fetch('default', { maxWaitMs: 10_000 });
  assert.is(records.length, 1);
  await client.close();
  await own.end('SIGKILL');
  producer.stdin!.write('never acked\n');
  assert.is(await exitOf(producer), 1);
  assert.match(stdout, '"records":1,');
  assert.match(stderr, /^sidelog: (TIMED_OUT|CONNECTION_LOST|CONNECT_FAILED)/);
});

test('help is there for everything, on stdout, with exit code 0', async () => {
  const overview = await run(['--help']);
  assert.is(overview.code, 0);
  assert.match(overview.stdout, 'exit codes: 0 done');
  const commands = [...overview.stdout.matchAll(/^ {2}([a-z]+(?: [a-z]+)?) {2,}/gm)].map((match) => match[1]!);
  assert.ok(commands.length >= 15, commands.join(', '));
  const helps = await Promise.all(commands.map((command) => run([...command.split(' '), '--help'])));
  for (const [i, { code, stdout, stderr }] of helps.entries()) {
    assert.is(code, 0, stderr);
    assert.ok(stdout.startsWith(`usage: sidelog ${commands[i]}`), stdout);
  }
  assert.match((await run(['log', '--help'])).stdout, /^usage: sidelog log COMMAND/);
  assert.is((await run(['help', 'log', 'create'])).stdout, helps[commands.indexOf('log create')]!.stdout);
  const nothing = await run([]);
  assert.is(nothing.code, 2);
  assert.is(nothing.stdout, overview.stdout);
  assert.match((await run(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
});

test.run();
