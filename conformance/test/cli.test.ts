// The built suite as a program: commands, exit codes 0 to 4, files that it writes. Takes a build.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { UsageError } from '../cli/args.ts';
import { explainCommand, listCommand } from '../cli/catalog.ts';
import { initCommand } from '../cli/init.ts';
import { mockCommand } from '../cli/mock.ts';
import { runCommand } from '../cli/run.ts';
import { checkVectorsCommand, vectorsCommand } from '../cli/vectors.ts';
import { ManifestError } from '../engine/target.ts';
import { freePort, withMock } from './fake.ts';

const test = suite('conformance/cli');
const PROGRAM = resolve('dist/conformance.mjs');
const folder = mkdtempSync(join(tmpdir(), 'sidelog-conformance-'));
const file = (name: string): string => join(folder, name);

test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Without blocking this process, which may be the target. */
function suiteOf(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [PROGRAM, ...argv], { cwd: folder });
    let [out, err] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (out += chunk));
    child.stderr.on('data', (chunk: Buffer) => (err += chunk));
    child.on('close', (code) => done({ code: code ?? -1, out, err }));
  });
}

test('help, version, list, explain and coverage need no server', async () => {
  assert.equal([(await suiteOf('help')).code, (await suiteOf('--version')).out], [0, '1.0.0\n']);
  const list = JSON.parse((await suiteOf('list', '--json')).out) as { id: string }[];
  assert.ok(list.length >= 120 && list.some(({ id }) => id === 'batch/body-crc'), String(list.length));
  assert.match((await suiteOf('list', '--md')).out, /^\| case \| profile \|/);
  const explained = await suiteOf('explain', 'batch/body-crc');
  assert.match(explained.out, /\[SL-BATCH-5\][^]*body_crc does not match[^]*mutants/);
  assert.match((await suiteOf('explain', 'SL-BATCH-5')).out, /batch\/body-crc/);
  assert.match((await suiteOf('coverage')).out, /MUSTs covered, \d+ waived/);
});

test('a wrong command line is 2 and says what is wrong', async () => {
  const { code, err } = await suiteOf('run', '--target', '127.0.0.1:1', '--jbos', '2');
  assert.is(code, 2);
  assert.match(err, /unknown option --jbos; known are --target/);
  assert.is(err.trim().split('\n').length, 1, err);
  assert.is((await suiteOf('frobnicate')).code, 2);
  writeFileSync(file('bad.json'), '{"schema": "sidelog-target/1", "endpoints": [{"host": "127.0.0.1", "port": 1}], "hooks": {"stat": ["x"]}}');
  const run = (...argv: string[]): (() => Promise<number>) => () => runCommand(['--target', '127.0.0.1:1', ...argv]);
  const wrong: [() => Promise<number>, RegExp][] = [
    [() => runCommand([]), /wants --target/], [() => runCommand(['--target', 'nowhere.json']), /cannot read the target file nowhere\.json/],
    [() => runCommand(['--target', file('bad.json')]), /hooks\.stat: unknown/],
    [run('--case', 'produce/nothing'), /no case is called so/], [run('--known-failing', 'x/y'), /no case is called so/], [run('--known-failing', '@none.txt'), /ENOENT/],
    [run('--profile', 'kore'), /known are core/], [run('--profile', 'cluster'), /no cases for it yet/], [run('--report', 'pdf=x'), /json=FILE, junit=FILE or html=FILE/],
    [run('--timeout-scale', 'two'), /wants a number/], [run('--timeout-scale', '0'), /above 0/], [run('--level', 'most'), /must be one of must, should, may/],
    [() => explainCommand(['nothing/here']), /no case is called/], [() => checkVectorsCommand([]), /wants a command/], [() => vectorsCommand([]), /wants --out/],
    [() => mockCommand(['--script', 'none.json']), /ENOENT/], [() => mockCommand(['--port', '65536']), /whole number from 0 to 65535/],
    [run('more'), /more: nothing is expected here/], [run('-v'), /unknown option -v/], [run('--jobs', '0'), /whole number from 1/], [run('--rerun', '1.5'), /whole number/],
    [run('--seed', ''), /wants a number/], [run('--transport', 'tls'), /says nothing about TLS/], [() => runCommand(['--target', '127.0.0.1:65536']), /port: must be a whole number/],
    [run('--report', `json=${file('no/such/folder.json')}`), /ENOENT/], [() => listCommand(['all']), /nothing is expected/],
    [() => vectorsCommand(['--out', '/dev/null/x']), /ENOTDIR/], [() => initCommand([file('no/such/target.json')]), /ENOENT/],
    [() => checkVectorsCommand(['--only', 'nothing', '--', 'cat']), /no vector is called so/],
  ];
  for (const [command, message] of wrong) {
    const error = await command().then(() => null, (reason: Error) => reason);
    assert.ok(error instanceof UsageError || error instanceof ManifestError, `${message}: ${String(error)}`);
    assert.match(error.message, message);
  }
});

test('nobody there is 3, and the reports are written all the same', async () => {
  const { code, out } = await suiteOf('run', '--target', '127.0.0.1:1', '--report', 'json=none.json,junit=none.xml,html=none.html');
  assert.is(code, 3);
  assert.match(out, /unreachable: cannot connect/);
  assert.is((JSON.parse(readFileSync(file('none.json'), 'utf8')) as { exitCode: number }).exitCode, 3);
  assert.match(readFileSync(file('none.html'), 'utf8'), /cannot connect to 127\.0\.0\.1:1/);
  assert.ok(existsSync(file('none.xml')));
});

test('0 for what passes, 1 for what fails, 0 and 4 for what is listed as known to fail', () => withMock([{ on: 'PING', connection: 900, drop: true }], async (port) => {
  const run = (...argv: string[]): ReturnType<typeof suiteOf> => suiteOf('run', '--target', `127.0.0.1:${port}`, '--timeout-scale', '0.2', ...argv);
  const passes = await run('--case', 'session/ping');
  assert.is(passes.code, 0, passes.out);
  const fails = await run('--case', 'session/ping', '--case', 'frame/length-below-8', '--report', 'html=one.html');
  assert.is(fails.code, 1);
  const again = /reproduce: "(.*)"/.exec(fails.out)![1]!;
  assert.match(again, /^node conformance\.mjs run --target 127\.0\.0\.1:\d+ --transport plain --case frame\/length-below-8 --seed \d+ --timeout-scale 0\.2$/);
  assert.is((await suiteOf(...again.split(' ').slice(2))).code, 1, 'the command that is printed fails again');
  writeFileSync(file('known.txt'), '# our own\nframe/length-below-8   # no GOAWAY yet\n');
  assert.is((await run('--case', 'session/ping', '--case', 'frame/length-below-8', '--known-failing', '@known.txt')).code, 0);
  writeFileSync(file('stale.txt'), 'session/ping\n');
  assert.is((await run('--case', 'session/ping', '--known-failing', '@stale.txt')).code, 4);
}));

test('init writes a manifest that is right and hooks that work, and overwrites nothing', async () => {
  assert.equal(JSON.parse((await suiteOf('init', '--schema')).out), JSON.parse(readFileSync('conformance/target.schema.json', 'utf8')));
  assert.is((await suiteOf('init')).code, 0);
  const again = await suiteOf('init');
  assert.is(again.code, 2);
  assert.match(again.err, /is there already/);
  const script = readFileSync(file('target.sh'), 'utf8');
  const port = await freePort();
  writeFileSync(file('target.sh'), script.replace(/exec my-server .*/, `exec "${process.execPath}" "${PROGRAM}" mock --port "$PORT"`).replace('PORT=8400', `PORT=${port}`));
  writeFileSync(file('target.json'), readFileSync(file('target.json'), 'utf8').replace('8400', String(port)));
  const hook = (name: string): { status: number | null; stdout: string } => spawnSync(file('target.sh'), [name], { encoding: 'utf8' });
  const { pid } = JSON.parse(hook('start').stdout) as { pid: number };
  assert.ok(process.kill(pid, 0));
  assert.is((await suiteOf('run', '--target', 'target.json', '--case', 'session/ping')).code, 0);
  assert.is(hook('stop').status, 0);
  assert.throws(() => process.kill(pid, 0), /ESRCH/);
  const next = JSON.parse(hook('start').stdout) as { pid: number };
  assert.is(hook('kill').status, 0);
  assert.throws(() => process.kill(next.pid, 0), /ESRCH/);
});

test('vectors are written out, and a codec is checked over its lines', async () => {
  assert.is((await suiteOf('vectors', '--out', 'vectors')).code, 0);
  for (const name of ['frames', 'batches', 'negatives', 'errors']) {
    assert.equal(JSON.parse(readFileSync(file(`vectors/${name}.json`), 'utf8')), JSON.parse(readFileSync(`conformance/vectors/${name}.json`, 'utf8')), name);
  }
  writeFileSync(file('lazy.mjs'), "for await (const line of (await import('node:readline')).createInterface({ input: process.stdin })) console.log(JSON.stringify({ n: JSON.parse(line).n, fields: {} }));\n");
  const lazy = await suiteOf('check-vectors', '--only', 'golden', '--', process.execPath, file('lazy.mjs'));
  assert.is(lazy.code, 1);
  assert.match(lazy.out, /^not ok 1 - decode golden-preface-request$/m);
  assert.is((await suiteOf('check-vectors', '--', process.execPath, '-e', '0')).code, 3, 'a codec that ends');
  if (spawnSync('python3', ['--version']).status !== 0) return void console.log('# skipped: there is no python3');
  const python = await suiteOf('check-vectors', '--', 'python3', resolve('conformance/vectors/check.py'), '--lines');
  assert.equal([python.code, /\d+ right, 0 wrong/.test(python.out)], [0, true]);
});

test('mock tells what a client does, and ends with 1 when the client broke the protocol', async () => {
  writeFileSync(file('script.json'), JSON.stringify({ schema: 'sidelog-mock/1', rules: [{ on: 'PING', goaway: 'IDLE_TIMEOUT' }] }));
  const child = spawn(process.execPath, [PROGRAM, 'mock', '--script', file('script.json')]);
  let out = '';
  const port = await new Promise<number>((done) => child.stdout.on('data', (chunk: Buffer) => {
    out += chunk;
    const told = /"port":(\d+)/.exec(out);
    if (told) done(Number(told[1]));
  }));
  const run = await suiteOf('run', '--target', `127.0.0.1:${port}`, '--case', 'frame/id-0', '--timeout-scale', '0.1', '--rerun', '0');
  assert.is(run.code, 1);
  const ended = new Promise<number | null>((done) => child.once('exit', done));
  child.kill('SIGTERM');
  assert.is(await ended, 1);
  const events = out.trim().split('\n').map((line) => JSON.parse(line) as { event: string });
  for (const name of ['listening', 'connection', 'request', 'rule', 'violation', 'end']) assert.ok(events.some(({ event }) => event === name), name);
});

test.run();
