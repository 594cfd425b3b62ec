// The test build of our server: the same sources, bundled with the fault disk in place of NodeDisk, a
// clock that hooks can move, an address that counts as far, and the named faults of
// server-mutants.ts patched in. Nothing of this is in a product build or in the sources themselves.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Plugin } from 'esbuild';
import { serverMutants } from './server-mutants.ts';
import type { ServerMutant } from './server-mutants.ts';

export const TEST_BUILD = 'build/conformance/sidelog-faults.cjs';

/** A named fault does not fit the source any more. */
export class PatchError extends Error {
  override name = 'PatchError';
}

const SCENERY: readonly ServerMutant[] = [
  {
    name: '', what: 'an address that counts as far', file: 'src/units.ts', find: 'export function isLoopback(host: string): boolean {',
    replace: "export function isLoopback(host: string): boolean {\n  if (host.replace('::ffff:', '') === process.env.SIDELOG_FAR) return false;",
  },
];

const PRELUDE = `
globalThis.__mutant = process.env.SIDELOG_MUTANT ?? '';
globalThis.MUT = (name) => globalThis.__mutant === name;
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

/** The patched text of one source; @throws PatchError when a fault has no place, or several. */
export function patched(file: string, text: string): string {
  let out = text;
  for (const mutant of [...SCENERY, ...serverMutants]) {
    if (mutant.file !== file) continue;
    const places = out.split(mutant.find).length - 1;
    if (places !== 1) throw new PatchError(`the fault "${mutant.name || mutant.what}" fits ${places} places in ${file}, not one: look for ${JSON.stringify(mutant.find)} (conformance/selftest/server-mutants)`);
    out = out.replace(mutant.find, () => mutant.replace);
  }
  return out;
}

export async function buildTestServer(root: string): Promise<string> {
  const { build } = await import('esbuild');
  const outfile = resolve(root, TEST_BUILD);
  const files = new Set([...SCENERY, ...serverMutants].map(({ file }) => resolve(root, file)));
  const plugin: Plugin = {
    name: 'faults',
    setup(api) {
      api.onResolve({ filter: /node-disk\.ts$/ }, ({ importer }) =>
        importer.endsWith('fault-disk.ts') ? undefined : { path: resolve(root, 'conformance/selftest/fault-disk.ts') });
      api.onLoad({ filter: /\.ts$/ }, ({ path }) => {
        if (!files.has(path)) return undefined;
        return { contents: patched(path.slice(root.length + 1), readFileSync(path, 'utf8')), loader: 'ts' };
      });
    },
  };
  await build({
    absWorkingDir: root, entryPoints: ['src/main.ts'], outfile, bundle: true, platform: 'node', target: 'node20.19', format: 'cjs', keepNames: true,
    sourcemap: 'inline', define: { __SIDELOG_VERSION__: '"0.0.0-test"' }, banner: { js: PRELUDE }, plugins: [plugin], logLevel: 'warning',
  });
  return outfile;
}
