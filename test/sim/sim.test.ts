// Tests of the simulator itself, through its command line: worlds are clean, equal seeds give equal
// worlds, a planted bug is found, and what it prints can be used to find a bug.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Prng } from '../support/prng.ts';
import { buildSim, OUTPUT } from './build.mjs';
import { Scheduler } from './core/scheduler.ts';
import { Trace, TraceKind } from './core/trace.ts';
import { Network } from './net/network.ts';
import type { Host } from './net/stream.ts';
import { SimSocket } from './net/stream.ts';
import { drawOptions } from './options.ts';

const test = suite('sim');

/** Hashes of worlds by the bundle that ran them: another version of Node must come to the same ones. */
const HASHES = 'build/sim/hashes.json';

interface Ended {
  readonly code: number;
  readonly output: string;
}

function sim(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--enable-source-maps', OUTPUT, ...args], { maxBuffer: 1 << 28 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), output: stdout + stderr });
    });
  });
}

/** Hash by seed. */
function hashesIn(output: string): Record<string, string> {
  return Object.fromEntries([...output.matchAll(/^seed (\d+): ([0-9a-f]{16}) /gm)].map((match) => [match[1]!, match[2]!]));
}

test.before(async () => {
  mkdirSync('build/sim', { recursive: true });
  await buildSim();
});

test('worlds of every size are clean', async () => {
  const { code, output } = await sim('--nodes', 'all', '--seed', '1', '--seeds', '5', '--quiet');
  assert.is(code, 0, output);
  assert.match(output, /^5 worlds, 0 failed/m);
});

test('equal seeds give equal worlds, on every version of Node', async () => {
  const args = ['--seed', '14,9', '--nodes', '1', '--seconds', '3'];
  const [first, second] = await Promise.all([sim(...args), sim(...args)]);
  const hashes = hashesIn(first.output);
  assert.equal(Object.keys(hashes), ['9', '14']);
  assert.equal(hashesIn(second.output), hashes);
  const bundle = createHash('sha256').update(readFileSync(OUTPUT)).digest('hex');
  const known = JSON.parse(readOr(HASHES, '{}')) as { bundle?: string; node?: string; hashes?: Record<string, string> };
  if (known.bundle === bundle) assert.equal(hashes, known.hashes, `on ${process.version}, and on ${known.node}`);
  else writeFileSync(HASHES, JSON.stringify({ bundle, node: process.version, hashes }));
});

test('what the simulator itself does is the same on every version of Node', async () => {
  assert.is(await coreHash(7), 'f6f1fc80ddc987ce');
});

/** A hash of clocks, random numbers and streams, without any code of the product. */
async function coreHash(seed: number): Promise<string> {
  const scheduler = new Scheduler();
  const trace = new Trace(() => scheduler.nowUs, null);
  const prng = new Prng(seed);
  const options = {
    delayMinUs: 20, delayMaxUs: 900, delayRareUs: 5000, splitChance: 0.3, windowBytes: 300, lossChance: 0, repeatChance: 0, reorderChance: 0,
  };
  const network = new Network(scheduler, prng.fork(), options);
  const host = (name: string): Host => ({ name, awake: true, deliver: (event) => event(), whenAwake: () => {} });
  const [left, right] = SimSocket.pair(network, host('a'), host('b'));
  right.on('data', (chunk: Buffer) => trace.add(TraceKind.NET, chunk.length, chunk[0]!, chunk.at(-1)!));
  right.resume();
  for (let i = 0; i < 200; i++) scheduler.after(prng.next(50_000), () => left.write(prng.bytes(prng.between(1, 200))));
  await scheduler.run(1_000_000, () => false);
  trace.say(TraceKind.CHECK, `${prng.next(2 ** 30)} ${Math.floor(prng.between(1, 1e9) / 3)}`);
  return trace.hash;
}

test('a planted bug is found, told with the command that replays it, and shrunk to a world that shows it', async () => {
  const found = await sim('--seed', '1', '--nodes', '1', '--mutant', 'ack-before-fsync', '--shrink', '--quiet');
  assert.is(found.code, 1);
  const rule = ruleIn(found.output);
  assert.match(found.output, /replay: npm run sim -- --seed 1 --nodes 1 --trace --mutant ack-before-fsync$/m);
  const shrunk = /shrunk: npm run sim -- (.*)$/m.exec(found.output)![1]!;
  assert.match(shrunk, / --without /);
  const again = await sim(...shrunk.split(' '));
  assert.is(again.code, 1);
  assert.is(ruleIn(again.output), rule);
  assert.match(again.output, /^ +0\.\d{6} n1 starts, life 1$/m, 'the readable trace');
  assert.ok(Number(/--seconds ([0-9.]+)/.exec(shrunk)![1]) < drawOptions(1, { nodeCount: 1 }).seconds);
  const clean = await sim(...shrunk.replace(' --mutant ack-before-fsync', '').split(' '), '--quiet');
  assert.is(clean.code, 0, 'without the bug the same world is clean');
});

test('a wrong argument is told in one line, and what there is can be asked for', async () => {
  const wrong = { '--nodes 7': '--nodes wants 1, 3, 5 or all, not 7', '--nodes x': '--nodes wants 1, 3, 5 or all, not x', '--sede 3': '--sede is no option; --help names all', '--seed': '--seed wants a value', '--mutant fig': '--mutant does not know fig', '--seeds 0': '--seeds wants a whole number from 1, not 0' };
  for (const [args, said] of Object.entries(wrong)) {
    const { code, output } = await sim(...args.split(' '));
    assert.equal([code, output], [2, `${said}\n`]);
  }
  const { code, output } = await sim('--help');
  assert.is(code, 0);
  assert.match(output, /^usage: node test\/sim\/run\.mjs/m);
});

/** The rule that seed 1 breaks. */
function ruleIn(output: string): string {
  return /^seed 1 FAILED: (\w+): /m.exec(output)![1]!;
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}

test.run();
