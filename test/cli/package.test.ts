// The package as an application sees it: names imported from the built file, and its types.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BUILT, cleanEnvironment, endAll, serve, skipUnless, temporaryFolder } from '../support/sidecar.ts';

const test = suite('cli/package');

test.after(endAll);

const NAMES = ['BatchBuilder', 'buildBatch', 'Client', 'connect', 'ErrorCode', 'LocalCode', 'NONE', 'Producer', 'RawProducer', 'SidelogError', 'Subscription'];

/** A folder in which `sidelog` can be imported as an installed package. */
function application(): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(resolve('.'), join(folder, 'node_modules', 'sidelog'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  return folder;
}

function node(folder: string, ...args: string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env: cleanEnvironment() });
  return { code: status, stdout, stderr };
}

test('the built file is one executable that says what it is', () => {
  assert.ok(readFileSync(BUILT, 'utf8').startsWith('#!/usr/bin/env node\n'));
  if (BUILT === resolve('dist/sidelog.cjs')) assert.is(statSync(BUILT).mode & 0o111, 0o111);
});

test('an ES module imports every name, and keeps its own thread pool', () => {
  const folder = application();
  writeFileSync(join(folder, 'app.mjs'), `
    import { ${NAMES.join(', ')} } from ${JSON.stringify(BUILT)};
    console.log(JSON.stringify([${NAMES.map((name) => `typeof ${name}`).join(', ')}, process.env.UV_THREADPOOL_SIZE ?? null]));`);
  const { code, stdout, stderr } = node(folder, 'app.mjs');
  assert.is(code, 0, stderr);
  const kinds = JSON.parse(stdout) as (string | null)[];
  assert.equal(kinds, [...NAMES.map((name) => (name === 'NONE' ? 'number' : /Code$/.test(name) ? 'object' : 'function')), null]);
});

test('a CommonJS module requires the same names', () => {
  const folder = application();
  writeFileSync(join(folder, 'app.cjs'), `console.log(Object.keys(require(${JSON.stringify(BUILT)})).sort().join());`);
  assert.is(node(folder, 'app.cjs').stdout.trim(), [...NAMES].sort().join());
});

test('the program of the README runs against a real server', async () => {
  const code = /```js\n([\s\S]*?)```/.exec(readFileSync('README.md', 'utf8'))![1]!;
  const server = await serve();
  const folder = application();
  const program = code
    .replace("from 'sidelog'", `from ${JSON.stringify(BUILT)}`)
    .replace('127.0.0.1:8400', server.address)
    .replace(/console\.log\(record[^\n]*/, '$& break;');
  writeFileSync(join(folder, 'app.mjs'), `${program}\nawait client.close();\n`);
  const { code: exit, stdout, stderr } = node(folder, 'app.mjs');
  assert.is(exit, 0, stderr);
  assert.is(stdout, '0 paid\n');
  await server.end();
});

test('TypeScript finds the types, under both kinds of module resolution', () => {
  if (!skipUnless(existsSync('dist/types/wire/client/client.d.ts'), 'the declarations are not built')) return;
  const folder = application();
  writeFileSync(join(folder, 'app.ts'), `
    import { connect, ErrorCode, SidelogError } from 'sidelog';
    import type { Client, LogRecord, ProducerOptions, Receipt } from 'sidelog';
    const client: Client = await connect({ address: '127.0.0.1:8400' });
    const options: ProducerOptions = { name: 'x', compression: 'gzip' };
    const producer = client.producer('default', options);
    const more: boolean = producer.append({ value: Buffer.from('x') });
    const receipt: Receipt = await client.produce('default', [{ value: null, key: Buffer.from('k') }], { expectedOffset: 1 });
    for await (const record of client.subscribe('default', { from: { position: 'p' } })) {
      const read: LogRecord = record;
      console.log(read.offset, read.value?.length, more, receipt.copies);
    }
    try {
      await client.logs.create('x', { durability: 'interval', intervalMs: 5 });
    } catch (error) {
      if (error instanceof SidelogError && error.code === ErrorCode.LOG_EXISTS) console.log(error.retriable, error.outcomeUnknown);
    }
    // @ts-expect-error there is no such option
    await connect({ adress: 'x' });
    // @ts-expect-error nor such a durability
    await client.logs.create('x', { durability: 'maybe' });`);
  const common = { target: 'es2022', strict: true, noEmit: true, types: ['node'], typeRoots: [resolve('node_modules/@types')] };
  for (const [module, moduleResolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: { ...common, module, moduleResolution }, include: ['app.ts'] }));
    const { code, stdout } = node(folder, resolve('node_modules/typescript/bin/tsc'), '-p', '.');
    assert.is(code, 0, `${module}: ${stdout}`);
  }
});

test.run();
