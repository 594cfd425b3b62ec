// The test build of our server: the same sources, bundled with the fault disk in place of NodeDisk, a
// clock that hooks can move, an address that counts as far, and the named faults of
// server-mutants.ts patched in. Nothing of this is in a product build or in the sources themselves.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Plugin } from 'esbuild';
import { patches } from './server-mutants.ts';
import type { Patch } from './server-mutants.ts';

export const TEST_BUILD = 'build/conformance/sidelog-faults.cjs';

/** What every test build needs does not fit the source any more. */
export class PatchError extends Error {
  override name = 'PatchError';
}

const SCENERY: readonly Patch[] = [
  {
    faults: { 'far-is-near': 'a far address is taken for loopback' }, file: 'src/units.ts', find: 'export function isLoopback(host: string): boolean {',
    replace: "export function isLoopback(host: string): boolean {\n  if (host.replace('::ffff:', '') === process.env.SIDELOG_FAR && !MUT('far-is-near')) return false;",
  },
];

const PRELUDE = `
globalThis.sidelogMutant = process.env.SIDELOG_MUTANT ?? '';
globalThis.MUT = (name) => globalThis.sidelogMutant === name;
{
  const fs = require('node:fs'), now = Date.now;
  let read = 0, offset = 0;
  Date.now = () => {
    const real = now();
    if (process.env.SIDELOG_FAULTS && real - read > 20) {
      read = real;
      try { offset = JSON.parse(fs.readFileSync(process.env.SIDELOG_FAULTS, 'utf8')).clockOffsetMs ?? 0; } catch { offset = 0; }
    }
    return real + offset;
  };
}`;

const all = [...SCENERY, ...patches];

/** The text of one source with its faults planted; faults without their place are told to `misfit`. */
export function patched(file: string, text: string, misfit: (problem: string) => void): string {
  let out = text;
  for (const patch of all) {
    if (patch.file !== file) continue;
    const find = anchor(patch.find);
    const places = out.match(find)?.length ?? 0;
    if (places === 1) out = out.replace(find, () => patch.replace);
    else misfit(`${Object.keys(patch.faults).join(', ')}: ${JSON.stringify(patch.find)} is there ${places} times in ${file}, not once${places > 1 ? '' : `; the likest line is ${likest(patch.find, text)}`}`);
  }
  return out;
}

/** Any white space fits any other, so that a line that was wrapped is still found. */
function anchor(text: string): RegExp {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/\s+/g, '\\s+'), 'g');
}

/** Every fault whose place the sources do not have any more, with the line that it may have become. */
export function misfits(root: string): string[] {
  const problems: string[] = [];
  for (const file of new Set(all.map((patch) => patch.file))) {
    const path = resolve(root, file);
    if (existsSync(path)) patched(file, readFileSync(path, 'utf8'), (problem) => problems.push(problem));
    else problems.push(`${file} is gone, where ${all.filter((patch) => patch.file === file).flatMap((patch) => Object.keys(patch.faults)).join(', ')} stood`);
  }
  return problems;
}

function likest(find: string, text: string): string {
  const words = new Set(find.match(/\w+/g) ?? []);
  let best = { score: -1, at: 0, line: '' };
  for (const [i, line] of text.split('\n').entries()) {
    const own = line.match(/\w+/g) ?? [];
    const score = own.filter((word) => words.has(word)).length * 2 - own.length;
    if (score > best.score) best = { score, at: i + 1, line: line.trim() };
  }
  return `${best.at}: ${best.line}`;
}

/** @throws PatchError when the scenery has no place; a fault without one is left out (see `misfits`). */
export async function buildTestServer(root: string): Promise<string> {
  const { build } = await import('esbuild');
  const outfile = resolve(root, TEST_BUILD);
  const files = new Set(all.map(({ file }) => resolve(root, file)));
  const plugin: Plugin = {
    name: 'faults',
    setup(api) {
      api.onResolve({ filter: /node-disk\.ts$/ }, ({ importer }) =>
        importer.endsWith('fault-disk.ts') ? undefined : { path: resolve(root, 'conformance/selftest/fault-disk.ts') });
      api.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!files.has(path)) return undefined;
        const file = path.slice(root.length + 1);
        const contents = patched(file, readFileSync(path, 'utf8'), (problem) => {
          if (SCENERY.some((patch) => patch.file === file)) throw new PatchError(problem);
        });
        return { contents, loader: 'ts' };
      });
    },
  };
  const { outputFiles } = await build({
    write: false, absWorkingDir: root, entryPoints: ['src/main.ts'], outfile, bundle: true, platform: 'node', target: 'node20.19', format: 'cjs', keepNames: true,
    sourcemap: 'inline', define: { __SIDELOG_VERSION__: '"0.0.0-test"', __SIDELOG_MUTANTS__: 'true' }, banner: { js: PRELUDE }, plugins: [plugin], logLevel: 'warning',
  });
  // Renamed into place: a server of another run may be reading the file.
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(`${outfile}.${process.pid}`, outputFiles[0]!.contents);
  renameSync(`${outfile}.${process.pid}`, outfile);
  return outfile;
}
